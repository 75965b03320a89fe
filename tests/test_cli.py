from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from dubrelay import cli, config
from dubrelay.__main__ import main
from dubrelay.errors import DubrelayError, MediaError
from dubrelay.wire.status import SOUNDS

pytestmark = pytest.mark.service

OPEN_TO_ALL = ("--set", "orchestrator.host=0.0.0.0")


def _dubrelay(*arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dubrelay", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        check=False,
    )


def test_every_command_of_the_contract_is_there(tmp_path: Path) -> None:
    shown = _dubrelay("--help", cwd=tmp_path)
    assert shown.returncode == 0
    for command in (
        *("up", "demo", "dub", "orchestrator", "worker", "sts", "sts-check", "doctor", "engines"),
        *("status", "mediamtx", "trace", "keys"),
    ):
        assert f" {command} " in shown.stdout
        assert _help(command)


def _help(command: str) -> bool:
    return main([command, "--help"]) == 0


def test_engines_lists_what_can_be_dubbed_without_loading_anything(tmp_path: Path) -> None:
    chosen = ["--set", 'sts.mt=["mock"]', "--set", 'sts.tts=["hibari"]', "--set", 'sts.asr=["mock"]']
    shown = _dubrelay("engines", *chosen, cwd=tmp_path)
    assert (shown.returncode, shown.stdout.splitlines()[-1]) == (0, "to en from *")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nope"], "No such command 'nope'"),
        (["up", "--nope"], "No such option"),
        (["worker"], "Missing argument 'STREAM'"),
        (["up", "--config", "none.toml"], "none.toml: cannot be read: No such file"),
        (["up", "--set", "latency"], "--set latency: must be KEY=VALUE"),
        (["up", "--set", "sts.prot=1"], "sts.prot: there is no such key"),
        (["up", "--set", "sts.port=x"], "flag: sts.port = 'x': must be a whole number from 1 to 65535"),
        (["up", "--set", "paths.state_dir="], "flag: paths.state_dir = '': must not be empty"),
        (["orchestrator", *OPEN_TO_ALL], "the API needs a token"),
        (["up", *OPEN_TO_ALL], "the API needs a token"),
        (["orchestrator", "--set", "orchestrator.host=::"], "the API needs a token"),
        (["orchestrator", "--set", 'orchestrator.allowed_hosts=["a.example"]'], "the API needs a token"),
        (["orchestrator", *OPEN_TO_ALL, "--set", "orchestrator.api_token=0123456789abcdef"], "hook_token must be set"),
        (["keys", "new", "a"], "a key is for one thing"),
        (["keys", "new", "a", "--watch", "x/y"], "STREAM = 'x/y': must be STREAM, STREAM/out or STREAM/in"),
        (["keys", "new", "a", "--publish", "m", "--days", "1e300"], "Invalid value for '--days'"),
        (["keys", "new", "a", "--publish", "m", "--days", "nan"], "Invalid value for '--days'"),
        (["keys", "link", "m", "--hours", "nan"], "Invalid value for '--hours'"),
        (["keys", "revoke"], "name the keys, or say --links"),
        (["keys", "revoke", "a"], "NAME = a: there is no such key"),
        (["sts", "--set", 'sts.asr=["nope"]'], "sts.asr = 'nope': there is no such engine"),
        (["sts", "--mock-fail-rate", "2"], "sts.faults.fail_rate = 2.0"),
        (["sts", "--mock", "--set", "sts.faults.fail_rate=2"], "sts.faults.fail_rate = '2'"),
        (["sts", "--set", f"sts.asr=[{'9' * 5000}]"], "sts.asr = '[999"),
        (["sts", "--set", f"sts.asr={'[' * 5000}"], "sts.asr = '[[["),
        (["worker", "a/b"], "stream_id = 'a/b'"),
        (["worker", "../etc"], "stream_id = '../etc'"),
        (["dub", "none.wav", "out.wav"], "none.wav: there is no such file"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments: list[str], says: str, tmp_path: Path) -> None:
    done = _dubrelay(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("dubrelay: ")
    assert says in line


def test_a_mistake_in_the_environment_names_its_key(tmp_path: Path) -> None:
    done = _dubrelay("engines", cwd=tmp_path, DUBRELAY_WORKER__LATENCY="6")
    told = "dubrelay: environment DUBRELAY_WORKER__LATENCY: worker.latency: there is no such key\n"
    assert (done.returncode, done.stderr) == (2, told)


@pytest.mark.parametrize(
    ("mode", "silent", "says"),
    [
        ("dub", [], "Everything is up: en to es, 8 s behind."),
        ("bypass", [], "Everything is up: streams go out as they came in, 1 s behind."),
        (
            "dub",
            ["http://a", "http://b"],
            "Up, but no STS service is ready at http://a and http://b: until one is, phrases become the fallback "
            "(original).\nen to es, 8 s behind.",
        ),
        (
            "dub",
            ["http://a"],
            "Up, but no STS service is ready at http://a: the others dub meanwhile.\nen to es, 8 s behind.",
        ),
    ],
)
def test_up_says_what_is_up(mode: str, silent: list[str], says: str) -> None:
    settings = config.load(None, {}, {"worker.mode": mode, "sts_client.urls": ["http://a", "http://b"]})
    assert cli._what(settings, silent) == says


def test_settings_come_from_the_current_folder_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DUBRELAY_STS__PORT", "2")
    assert cli.settings_from(None, None).worker.latency_s == 8
    (tmp_path / "dubrelay.toml").write_text("[worker]\nlatency_s = 7\n[sts]\nport = 1\n")
    settings = cli.settings_from(None, ['sts.asr=["whisper-base"]', "dub.voice=a"], {"dub.voice": "b", "sts.key": None})
    assert (settings.worker.latency_s, settings.sts.port) == (7, 2)
    assert (settings.sts.asr, settings.dub.voice) == (["whisper-base"], "b")
    assert cli.settings_from(Path(os.devnull), None).worker.latency_s == 8
    assert cli.settings_from(None, ["dub.voice=a"], {"dub.voice": None}).dub.voice == "a"


@pytest.mark.parametrize(
    ("error", "exit_code", "says"),
    [
        (MediaError("the line is cut"), 40, "dubrelay: the line is cut\n"),
        (DubrelayError("one\ntwo"), 70, "dubrelay: one\ndubrelay: two\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_how_a_command_ends_is_its_exit_code(
    error: BaseException,
    exit_code: int,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "settings_from", fails)
    assert main(["engines"]) == exit_code
    assert capsys.readouterr().err == says


def test_a_bug_is_exit_code_70_with_its_traceback_in_the_log(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom dubrelay import cli, __main__\ncli.settings_from = None\nsys.exit(__main__.main(['engines']))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False)
    assert done.returncode == 70
    (line,) = done.stderr.splitlines()
    assert "TypeError: 'NoneType' object is not callable" in line


def test_help_is_quick_because_no_room_is_imported() -> None:
    program = "import sys; from dubrelay import cli; print([m for m in sys.modules if m.startswith('dubrelay.')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    imported = {name.removeprefix("dubrelay.") for name in eval(done.stdout)}
    shapes = {name for name in imported if name.partition(".")[0] == "wire"}  # what an option may be
    assert imported - shapes == {"allowed", "cli", "config", "destination", "errors", "logs"}


@pytest.mark.parametrize(
    ("arguments", "choices"),
    [
        (["worker", "x", "--mode", "nope"], get_args(config.Mode)),
        (["worker", "x", "--input", "nope"], ("auto", *get_args(config.InputProtocol))),
        (["trace", "x", "--sound", "nope"], SOUNDS),
    ],
)
def test_an_option_takes_what_the_settings_and_the_trace_know(
    arguments: list[str], choices: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert f"': 'nope' is not one of {', '.join(map(repr, choices))}." in capsys.readouterr().err


def test_keys_are_made_listed_and_revoked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def keys(*arguments: str) -> str:
        assert main(["keys", *arguments, "--set", f"paths.state_dir={tmp_path}"]) == 0
        return capsys.readouterr().out

    made = [
        keys("new", "studio", "--publish", "main"),
        keys("new", "hall", "--watch", "main/in", "--days", "7"),
        keys("new", "maria", "--role", "operator"),
    ]
    assert all(len(key.strip()) == 32 for key in made)
    listed = keys("list")
    assert all(word in listed for word in ("studio", "publishing main", "watching main/in", "the API as operator"))
    assert not any(key.strip() in listed for key in made)
    page, player = keys("link", "main", "--hours", "2").splitlines()
    assert page.startswith("http://127.0.0.1:8888/live/main/out/?exp=")
    assert player.startswith("rtmp://127.0.0.1:1935/live/main/out?exp=")
    assert page.partition("?")[2] == player.partition("?")[2]
    keys("revoke", "studio", "maria", "--links")
    assert "hall" in keys("list")
    assert "studio" not in keys("list")

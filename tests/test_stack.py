from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path

import httpx2
import psutil
import pytest
from pydantic import SecretStr

from certificates import certificate
from dubrelay import config, ports, stack
from dubrelay.__main__ import main
from dubrelay.children import answers, listens
from dubrelay.config import INTERNAL_USER, Settings
from dubrelay.errors import ConfigError, StartupError
from lying_service import Liar
from media import free_mediamtx_settings, free_ports
from waiting import wait_for

pytestmark = pytest.mark.service


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    orchestrator, sts = free_ports(2)
    mock = config.Sts(port=sts, asr=["mock"], mt=["mock"], tts=["mock"], tts_fast=[])
    return Settings(
        paths=config.Paths(state_dir=tmp_path / "state"),
        mediamtx=free_mediamtx_settings(),
        orchestrator=config.Orchestrator(port=orchestrator, hook_token=SecretStr("hush-hush")),
        sts=mock,
    )


@contextmanager
def _listening(port: int) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", port)):
        yield


def _free(settings: Settings) -> bool:
    return not any(ports.taken(listen) for listen in ports.needed(settings))


def _control_api(settings: Settings) -> int:
    """The status that MediaMTX answers with."""
    auth = (INTERNAL_USER, settings.orchestrator.internal_secret.get_secret_value() or "wrong")
    url = f"{settings.mediamtx.api_url}/v3/paths/list"
    return httpx2.get(url, auth=auth, timeout=10, trust_env=False).status_code


def _with(settings: Settings, section: str, **values: object) -> Settings:
    return settings.model_copy(update={section: getattr(settings, section).model_copy(update=values)})


def test_a_slate_that_is_none_is_one_line(settings: Settings) -> None:
    with pytest.raises(ConfigError, match=r"^worker\.slate = 'none\.mp4': cannot be read: No such file"):
        stack.require_startable(_with(settings, "worker", slate=Path("none.mp4")))


def test_everything_starts_answers_and_is_gone_afterwards(settings: Settings) -> None:
    said: list[str] = []
    with stack.running(settings, said.append) as up:
        assert set(up.pids()) == {"sts", "mediamtx", "orchestrator"}
        assert up.settings.sts_client.urls == [settings.sts.url]
        urls = (stack.metrics_url(settings), f"{settings.orchestrator.url}/healthz", f"{settings.sts.url}/health")
        assert all(answers(url) for url in urls)
        assert _control_api(up.settings) == httpx2.codes.OK
        assert _control_api(settings) == httpx2.codes.UNAUTHORIZED
        secret = up.settings.orchestrator.internal_secret.get_secret_value()
        for pid in up.pids().values():
            arguments = " ".join(psutil.Process(pid).cmdline())
            assert "hush-hush" not in arguments
            assert secret not in arguments
        by_name = {name: " ".join(psutil.Process(pid).environ().values()) for name, pid in up.pids().items()}
        assert [name for name, values in by_name.items() if "hush-hush" in values] == ["mediamtx", "orchestrator"]
        pids = up.pids()
    assert [line for line in said if "ready" in line] == [
        f"{name} is ready" for name in ("sts", "mediamtx", "orchestrator")
    ]
    assert not any(psutil.pid_exists(pid) for pid in pids.values())
    assert _free(settings)
    assert {log.name for log in up.log_dir.iterdir()} == {"sts.log", "mediamtx.log", "orchestrator.log"}


def test_mediamtx_alone_is_what_the_stack_would_start_in_place_of_the_command(settings: Settings) -> None:
    command = [sys.executable, "-m", "dubrelay", "mediamtx", "--config", os.devnull]
    environ = os.environ | config.to_environ(settings)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environ) as process:
        try:
            wait_for(lambda: listens("127.0.0.1", settings.mediamtx.api_port), 20, "MediaMTX")
            became = psutil.Process(process.pid)
            assert Path(became.exe()).name == "mediamtx"
            assert "hush-hush" not in " ".join(became.cmdline())
            environ = became.environ()
            assert environ["DUBRELAY_HOOK_TOKEN"] == "hush-hush"
            assert not [name for name in environ if name.startswith("DUBRELAY_ORCHESTRATOR__")]
        finally:
            process.terminate()


def test_mediamtx_with_a_file_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mediamtx", "--file", "none.yml"]) == 3
    assert capsys.readouterr().err == "dubrelay: none.yml is missing: run dubrelay from its checkout\n"


def test_a_part_that_dies_comes_back_and_it_is_said(settings: Settings) -> None:
    said: list[str] = []
    with stack.running(settings, said.append) as up:
        dead = up.pids()["sts"]
        os.kill(dead, signal.SIGKILL)
        wait_for(lambda: up.pids().get("sts") not in {None, dead}, 20, "another STS service")
        wait_for(lambda: answers(f"{settings.sts.url}/health"), 20, "it to answer")
        wait_for(lambda: "sts is ready again" in said, 20, "it to be said")
        pids = up.pids()
    assert said[-2:] == ["sts ended with exit code -9; starting it again in 1 s", "sts is ready again"]
    assert not any(psutil.pid_exists(pid) for pid in pids.values())


def test_languages_that_cannot_be_dubbed_are_one_line_and_nothing_stays(settings: Settings) -> None:
    robot = config.MockEngine(languages=["es", "ca"])
    narrow = _with(settings, "sts", mt=["robot"], engines={"robot": robot})
    with pytest.raises(ConfigError) as caught, stack.running(_with(narrow, "dub", target_language="fr"), print):
        pass
    assert caught.value.message == (
        "dub.source_language = 'en', dub.target_language = 'fr': the engines in sts cannot dub that; "
        "they can * to ca, * to es"
    )
    assert _free(settings)
    alone = _with(narrow, "worker", mode="bypass").model_copy(
        update={"streams": {"x": config.Stream(mode="dub", target_language="it"), "y": config.Stream()}}
    )
    with pytest.raises(ConfigError) as caught, stack.running(alone, print):
        pass
    assert caught.value.message.startswith("streams.x.source_language = 'en', streams.x.target_language = 'it': ")
    with stack.running(_with(narrow, "dub", source_language="auto"), print):
        pass


def test_a_taken_port_is_one_line_that_names_the_setting_and_nothing_starts(settings: Settings) -> None:
    with _listening(settings.orchestrator.port), pytest.raises(StartupError) as caught, stack.running(settings, print):
        pass
    (line,) = caught.value.message.splitlines()
    assert line.startswith(f"orchestrator.port = {settings.orchestrator.port} (tcp, 127.0.0.1): already in use")
    assert caught.value.exit_code == 3
    assert not (settings.paths.state_dir / "log").exists()


def test_two_settings_with_one_port_are_found(settings: Settings) -> None:
    twice = _with(settings, "sts", port=settings.mediamtx.rtmp_port)
    with pytest.raises(StartupError, match=r"sts\.port = .* in use by another setting"):
        ports.refuse_taken(ports.needed(twice))


def test_a_host_that_is_not_this_machine_is_named(settings: Settings) -> None:
    with pytest.raises(StartupError, match=r"mediamtx\.rtmp_port = \d+ \(tcp, 192\.0\.2\.1\): cannot be listened on"):
        ports.refuse_taken(ports.needed(_with(settings, "mediamtx", host="192.0.2.1"))[:1])


def test_the_part_that_does_not_start_is_named_with_what_it_said(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "models/whisper-tiny.en").mkdir(parents=True)
    broken = _with(settings, "sts", asr=["whisper-tiny.en"])
    broken = broken.model_copy(update={"paths": broken.paths.model_copy(update={"models_dir": tmp_path / "models"})})
    with pytest.raises(StartupError) as caught, stack.running(broken, print):
        pass
    (line,) = caught.value.message.splitlines()
    assert line.startswith("sts ended at once (exit code 3): ")
    assert "whisper-tiny.en" in line
    assert _free(settings)


def test_an_engine_that_does_not_exist_is_refused_before_anything_starts(settings: Settings) -> None:
    with (
        pytest.raises(ConfigError, match=r"sts\.asr = 'no-such-engine': there is no such engine; allowed: "),
        stack.running(_with(settings, "sts", asr=["no-such-engine"]), print),
    ):
        pass
    assert not list(settings.paths.state_dir.glob("log/*"))


def test_a_program_that_is_not_there_is_named(settings: Settings) -> None:
    with pytest.raises(ConfigError, match=r"mediamtx\.binary = '/nope': there is no such program") as caught:
        stack.require_startable(_with(settings, "mediamtx", binary="/nope"))
    assert caught.value.exit_code == 2


def test_that_none_is_installed_is_no_mistake_of_the_settings(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "ROOT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StartupError, match=r"run scripts/setup, or set mediamtx\.binary") as caught:
        stack.mediamtx_binary(settings)
    assert caught.value.exit_code == 3


def _shown(up: subprocess.Popen[str]) -> str:
    """What it says until it is up, or has ended."""
    assert up.stdout is not None
    return "".join(takewhile("Ctrl-C ends all of it.\n".__ne__, up.stdout))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_up_leaves_no_process_behind_however_it_ends(settings: Settings, number: signal.Signals) -> None:
    environ = {**os.environ, **config.to_environ(settings)}
    command = [sys.executable, "-m", "dubrelay", "up", "--config", os.devnull]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as up:
        shown = _shown(up)
        assert f"rtmp://127.0.0.1:{settings.mediamtx.rtmp_port}/live/main/out" in shown
        children = psutil.Process(up.pid).children(recursive=True)
        assert len(children) >= 3
        up.send_signal(number)
        assert up.wait(20) == (-number if number == signal.SIGKILL else 0)
    _, alive = psutil.wait_procs(children, timeout=15)
    assert not alive


def test_up_under_nohup_goes_on_when_its_terminal_is_closed_and_nobody_reads_what_it_says(settings: Settings) -> None:
    environ = {**os.environ, **config.to_environ(settings)}
    command = ["nohup", sys.executable, "-m", "dubrelay", "up", "--config", os.devnull]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as up:
        try:
            _shown(up)
            assert up.stderr is not None
            up.stderr.close()
            up.send_signal(signal.SIGHUP)
            (before,) = _services_of(up)
            os.kill(before, signal.SIGKILL)
            wait_for(lambda: _services_of(up) not in ([], [before]), 20, "another service")
            up.terminate()
            assert up.wait(20) == 0
        finally:
            up.kill()


def _services_of(up: subprocess.Popen[str]) -> list[int]:
    """Process ids of the STS services that it runs."""
    found = []
    for child in psutil.Process(up.pid).children():
        with suppress(psutil.Error):
            if "sts" in child.cmdline():
                found.append(child.pid)
    return found


def test_in_bypass_mode_there_is_no_service_and_none_is_missed(settings: Settings) -> None:
    bypass = _with(settings, "worker", mode="bypass")
    with stack.running(bypass, print) as up:
        assert set(up.pids()) == {"mediamtx", "orchestrator"}
        assert stack.silent_services(up.settings) == []
    assert not [listen for listen in ports.needed(bypass, own_sts=stack.runs_sts(bypass)) if listen.key == "sts.port"]


def test_a_service_that_is_not_ready_is_known(settings: Settings) -> None:
    dead = f"http://127.0.0.1:{free_ports(1)[0]}"
    with Liar() as liar:
        assert stack.silent_services(_with(settings, "sts_client", urls=[dead, liar.service.url + "/"])) == [dead]


def test_up_says_that_a_service_elsewhere_cannot_be_reached(settings: Settings) -> None:
    dead = f"http://127.0.0.1:{free_ports(1)[0]}"
    environ = {**os.environ, **config.to_environ(_with(settings, "sts_client", urls=[dead]))}
    command = [sys.executable, "-m", "dubrelay", "up", "--config", os.devnull]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as up:
        shown = _shown(up)
        up.terminate()
    assert f"Up, but no STS service is ready at {dead}: " in shown
    assert "Everything is up" not in shown


def test_the_client_follows_our_own_service_but_never_leaves_another_one() -> None:
    own = config.load(None, {}, {"sts.port": 9000, "sts.key": "k", "sts.cost_per_hour": 0.6})
    assert stack.with_own_sts(own).sts_client.cost_per_hour == 0.6
    assert stack.with_own_sts(own).sts_client.urls == ["http://127.0.0.1:9000"]
    assert stack.with_own_sts(own).sts_client.key.get_secret_value() == "k"
    for urls in (["https://gpu.example/sts"], ["http://127.0.0.1:8000", "https://gpu.example/sts"]):
        other = config.load(None, {}, {"sts_client.urls": urls, "sts.key": "k"})
        assert stack.with_own_sts(other) == other
        assert not stack.runs_sts(other)


def test_the_api_stays_on_loopback_when_streams_come_from_elsewhere(settings: Settings) -> None:
    environ = stack.mediamtx_environ(_with(settings, "mediamtx", host="0.0.0.0"))
    assert environ["MTX_RTMPADDRESS"] == f"0.0.0.0:{settings.mediamtx.rtmp_port}"
    assert environ["MTX_APIADDRESS"] == f"127.0.0.1:{settings.mediamtx.api_port}"
    assert environ["MTX_METRICSADDRESS"] == f"127.0.0.1:{settings.mediamtx.metrics_port}"
    one = stack.mediamtx_environ(_with(settings, "mediamtx", host="10.0.0.5"))
    assert one["MTX_APIADDRESS"] == f"10.0.0.5:{settings.mediamtx.api_port}"
    assert one["MTX_METRICSADDRESS"] == f"127.0.0.1:{settings.mediamtx.metrics_port}"


def test_where_there_is_rtmps_plain_rtmp_stays_on_this_machine(settings: Settings, tmp_path: Path) -> None:
    own = certificate(tmp_path)
    secure = _with(
        settings, "mediamtx", host="0.0.0.0", tls_cert=own.file, tls_key=own.key, rtmps_port=free_ports(1)[0]
    )
    environ = stack.mediamtx_environ(secure)
    assert environ["MTX_RTMPADDRESS"] == f"127.0.0.1:{settings.mediamtx.rtmp_port}"
    assert environ["MTX_RTMPSADDRESS"] == f"0.0.0.0:{secure.mediamtx.rtmps_port}"
    assert environ["MTX_RTMPSERVERKEY"] == str(own.key)
    assert "mediamtx.rtmps_port" in {listen.key for listen in ports.needed(secure)}
    assert secure.mediamtx.output_url("x").startswith("rtmp://127.0.0.1:")
    stack.require_startable(secure)
    with pytest.raises(ConfigError, match=r"^mediamtx\.tls_cert = .*of no use together"):
        stack.require_startable(_with(secure, "mediamtx", tls_cert=own.key))


def test_each_start_makes_its_own_secrets(settings: Settings) -> None:
    bare = _with(settings, "orchestrator", hook_token=SecretStr(""))
    made = [stack.with_secrets(bare).orchestrator for _ in range(2)]
    secrets = {one.get_secret_value() for each in made for one in (each.hook_token, each.internal_secret)}
    assert len(secrets) == 4
    assert all(len(secret) >= 32 for secret in secrets)
    assert stack.with_secrets(settings).orchestrator.hook_token == settings.orchestrator.hook_token

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dubrelay import cli
from dubrelay.__main__ import main
from dubrelay.config import Paths
from dubrelay.errors import ConfigError, DubrelayError, MediaError, StartupError
from dubrelay.models import catalogue
from dubrelay.models.pull import pull
from model_host import ModelHost
from waiting import wait_for

pytestmark = pytest.mark.service

BIG = bytes(range(256)) * 4096
FILES = {"/model.bin": BIG, "/config.json": b"{}"}
ENTRY: dict[str, Any] = {"kind": "whisper", "licence": "MIT"}


@pytest.fixture
def host() -> Iterator[ModelHost]:
    with ModelHost(dict(FILES)) as running:
        yield running


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(state_dir=tmp_path / "state")


def listed(host: ModelHost, **of_model_bin: Any) -> catalogue.Model:
    files = [
        {"name": path[1:], "url": host.url + path, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for path, data in FILES.items()
    ]
    files[0] |= of_model_bin
    return catalogue.Model.model_validate({**ENTRY, "files": files})


def written(tmp_path: Path, model: catalogue.Model, name: str = "large") -> Path:
    lines = [f"[{name}]", f'kind = "{model.kind}"', f'licence = "{model.licence}"']
    for file in model.files:
        lines += [f"[[{name}.files]]", *(f"{key} = {json.dumps(value)}" for key, value in file)]
    out = tmp_path / "models.toml"
    out.write_text("\n".join(lines))
    return out


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def failure(host: ModelHost, paths: Paths, model: catalogue.Model | None = None) -> DubrelayError:
    with pytest.raises(DubrelayError) as caught:
        pull("large", model or listed(host), paths)
    assert "\n" not in caught.value.message
    assert not (paths.state_dir / "models" / "large").exists()
    return caught.value


def test_a_model_is_put_in_place_as_a_whole(host: ModelHost, paths: Paths) -> None:
    told: dict[str, int] = {}
    out = pull("large", listed(host), paths, lambda name, done: told.update({name: done}))
    assert out == paths.state_dir / "models" / "large"
    assert {f"/{path.name}": path.read_bytes() for path in out.iterdir()} == FILES
    assert told == {"model.bin": len(BIG), "config.json": 2}
    assert leftovers(out.parent) == ["large"]


def test_what_is_there_is_checked_and_not_fetched_again(host: ModelHost, paths: Paths) -> None:
    out = pull("large", listed(host), paths)
    asked = len(host.asked)
    assert pull("large", listed(host), paths) == out
    assert len(host.asked) == asked
    assert leftovers(out.parent) == ["large"]


def test_what_is_there_and_is_another_is_left_alone(host: ModelHost, paths: Paths) -> None:
    out = pull("large", listed(host), paths)
    (out / "config.json").write_bytes(b"[]")
    with pytest.raises(StartupError, match=r"large is there with another config\.json, or none: remove or rename it"):
        pull("large", listed(host), paths)
    assert (out / "config.json").read_bytes() == b"[]"


def test_a_wrong_checksum_puts_nothing_in_place_and_leaves_nothing(host: ModelHost, paths: Paths) -> None:
    host.files["/model.bin"] = BIG[:-1] + b"x"
    error = failure(host, paths)
    assert (error.exit_code, "model.bin" in error.message, "SHA-256" in error.message) == (3, True, True)
    assert leftovers(paths.state_dir / "models") == []
    host.files["/model.bin"] = BIG
    assert (pull("large", listed(host), paths) / "model.bin").read_bytes() == BIG


def test_what_was_cut_off_goes_on_where_it_was(host: ModelHost, paths: Paths) -> None:
    host.break_off_after = 300_000
    error = failure(host, paths)
    assert isinstance(error, MediaError)
    assert "300000 of 1048576 bytes are there, run it again to go on" in error.message
    host.break_off_after = None
    assert (pull("large", listed(host), paths) / "model.bin").read_bytes() == BIG
    assert host.asked[1] == ("/model.bin", "bytes=300000-")


def test_where_the_server_knows_no_ranges_it_begins_anew(host: ModelHost, paths: Paths) -> None:
    host.break_off_after, host.ranges = 300_000, False
    failure(host, paths)
    host.break_off_after = None
    assert (pull("large", listed(host), paths) / "model.bin").read_bytes() == BIG


def test_a_file_that_was_whole_is_not_fetched_again_for_the_next_one(host: ModelHost, paths: Paths) -> None:
    del host.files["/config.json"]
    error = failure(host, paths)
    assert (error.exit_code, "config.json" in error.message, "answered 404" in error.message) == (3, True, True)
    host.files["/config.json"] = b"{}"
    pull("large", listed(host), paths)
    assert [path for path, _ in host.asked].count("/model.bin") == 1


def test_what_another_catalogue_left_half_fetched_goes(host: ModelHost, paths: Paths) -> None:
    host.break_off_after = 300_000
    failure(host, paths)
    host.break_off_after = None
    host.files["/model.bin"] = b"another"
    newer = listed(host, size=7, sha256=hashlib.sha256(b"another").hexdigest())
    out = pull("large", newer, paths)
    assert leftovers(out) == ["config.json", "model.bin"]


@pytest.mark.parametrize(("size", "says"), [(len(BIG) + 1, "has 1048576 bytes"), (5, "has 1048576 bytes")])
def test_a_file_of_another_size_is_not_even_begun(host: ModelHost, paths: Paths, size: int, says: str) -> None:
    error = failure(host, paths, listed(host, size=size))
    assert f"{says}, not the catalogue's {size}" in error.message


def test_a_redirect_is_followed_and_a_query_is_not_shown(host: ModelHost, paths: Paths) -> None:
    url = f"{host.url}/moved/model.bin?token=hunter2"
    assert (pull("large", listed(host, url=url), paths) / "model.bin").read_bytes() == BIG
    del host.files["/model.bin"]
    error = failure(host, Paths(state_dir=paths.state_dir / "other"), listed(host, url=url))
    assert "404" in error.message
    assert "hunter2" not in error.message


def test_a_busy_server_may_be_asked_again(host: ModelHost, paths: Paths) -> None:
    host.status = 503
    error = failure(host, paths)
    assert (error.exit_code, error.retryable) == (40, True)


def test_a_server_that_is_not_there_is_a_network_failure(host: ModelHost, paths: Paths) -> None:
    error = failure(host, paths, listed(host, url="http://127.0.0.1:1/model.bin"))
    assert isinstance(error, MediaError)
    assert "model.bin from http://127.0.0.1:1/model.bin" in error.message


@pytest.mark.parametrize("url", [f"http://{'a' * 300}/model.bin", "http://[::1/model.bin"])
def test_an_address_that_is_none_is_told(host: ModelHost, paths: Paths, url: str) -> None:
    error = failure(host, paths, listed(host, url=url))
    assert isinstance(error, StartupError)
    assert error.message == f"model large: model.bin from {url}: not an address that can be asked"


def test_without_room_nothing_is_fetched(host: ModelHost, paths: Paths) -> None:
    error = failure(host, paths, listed(host, size=10**17))
    assert re.search(r"models has \d+ bytes left, 100000000000000002 are needed", error.message)
    assert host.asked == []
    assert leftovers(paths.state_dir / "models") == []


def test_where_nothing_may_be_written_the_path_is_named(host: ModelHost, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file, not a folder")
    error = failure(host, Paths(state_dir=tmp_path / "state"))
    assert (error.exit_code, str(tmp_path / "state") in error.message) == (3, True)


def test_the_disk_that_fills_up_is_one_line_and_the_rest_comes_later(host: ModelHost, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dubrelay", "engines", "pull", "large"]
    command += ["--from", str(written(tmp_path, listed(host)))]
    limited = "import resource, sys, signal, os\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    limited += "resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))\nos.execv(sys.argv[1], sys.argv[1:])"
    first = _run([sys.executable, "-c", limited, *command], tmp_path)
    assert (first.returncode, len(first.stderr.splitlines())) == (3, 1), first.stderr
    assert "File too large" in first.stderr
    second = _run(command, tmp_path)
    assert (second.returncode, second.stderr) == (0, "")
    assert (tmp_path / "var" / "models" / "large" / "model.bin").read_bytes() == BIG


def _run(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, cwd=cwd, stdin=subprocess.DEVNULL, check=False
    )


def test_two_at_once_do_not_disturb_each_other(host: ModelHost, paths: Paths) -> None:
    host.hold.clear()
    done: list[Path] = []
    first = threading.Thread(target=lambda: done.append(pull("large", listed(host), paths)))
    first.start()
    wait_for(lambda: host.asked, 10, "the first to ask")
    assert "another process is pulling it already" in failure(host, paths).message
    host.hold.set()
    first.join(20)
    assert (done[0] / "model.bin").read_bytes() == BIG


def test_a_bundled_model_is_not_replaced_by_surprise(host: ModelHost, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"whisper-base is bundled: set paths\.models_dir"):
        pull("whisper-base", listed(host), Paths(state_dir=tmp_path / "state"))
    own = Paths(state_dir=tmp_path / "state", models_dir=tmp_path / "own")
    assert pull("whisper-base", listed(host), own) == tmp_path / "own" / "whisper-base"


def test_the_command_says_where_it_is_and_its_licence(
    host: ModelHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file = written(tmp_path, listed(host))
    assert main(["engines", "pull", "--from", str(file)]) == 0
    assert capsys.readouterr().out == "large: whisper, MIT, 1.0 MB\n"
    monkeypatch.setenv("DUBRELAY_PATHS__CATALOGUE", str(file))
    assert main(["engines", "pull", "large"]) == 0
    assert "var/models/large: 2 files, as in the catalogue; licence MIT" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["pull"], "paths.catalogue is not set"),
        (["pull", "small", "--from", "models.toml"], "models.toml has no model 'small'; it has large"),
        (["pull", "large", "--from", "none.toml"], "none.toml: cannot be read: No such file"),
        (["--set", "log.level=debug", "pull", "large"], "options belong behind the command: dubrelay engines pull"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    host: ModelHost,
    arguments: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, listed(host))
    assert main(["engines", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sha256": "69f7"}, "large.files.0.sha256 = '69f7'"),
        ({"size": 0}, "large.files.0.size = 0"),
        ({"name": "../../etc/passwd"}, "large.files.0.name = '../../etc/passwd'"),
        ({"name": ".hidden"}, "large.files.0.name = '.hidden'"),
        ({"name": "config.json"}, "each file may be named only once"),
        ({"url": "ftp://models.example.org/a"}, "large.files.0.url = 'ftp://models.example.org/a'"),
        ({"url": "https://me:secret@models.example.org/a"}, "large.files.0.url = 'https://***@models.example.org/a'"),
        ({"colour": "red"}, "large.files.0.colour: there is no such key"),
    ],
)
def test_a_catalogue_that_is_wrong_says_where(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    files = [{"name": "a", "url": "https://models.example.org/a", "size": 1, "sha256": "0" * 64} | change]
    files += [{"name": "config.json", "url": "https://models.example.org/c", "size": 1, "sha256": "0" * 64}]
    lines = ["[large]", 'kind = "whisper"', 'licence = "MIT"']
    for file in files:
        lines += ["[[large.files]]", *(f"{key} = {json.dumps(value)}" for key, value in file.items())]
    (tmp_path / "models.toml").write_text("\n".join(lines))
    with pytest.raises(ConfigError) as caught:
        catalogue.read(tmp_path / "models.toml")
    assert says in caught.value.message
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "names no model"),
        ("[large", "not valid TOML"),
        ('[large]\nkind = "nope"\nlicence = "MIT"\nfiles = []', "large.kind = 'nope': there is no such kind of engine"),
        ('["../x"]\nkind = "whisper"\nlicence = "MIT"\nfiles = []', "../x"),
    ],
)
def test_a_catalogue_that_is_none_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "models.toml").write_text(text)
    with pytest.raises(ConfigError, match=re.escape(says)):
        catalogue.read(tmp_path / "models.toml")


def test_the_example_in_the_documents_is_a_catalogue(tmp_path: Path) -> None:
    text = (Path(cli.__file__).parents[2] / "docs" / "engines.md").read_text("utf-8")
    found = re.search(r"TOML file:\n\n((?:    .*\n|\n)+)", text)
    assert found
    (tmp_path / "models.toml").write_text(found[1].replace('"..."', f'"{"0" * 64}"').replace("\n    ", "\n").strip())
    assert list(catalogue.read(tmp_path / "models.toml")) == ["whisper-large-v3"]
    assert os.environ.get("DUBRELAY_PATHS__CATALOGUE") is None

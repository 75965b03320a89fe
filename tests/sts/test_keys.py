from __future__ import annotations

import json
from pathlib import Path

import httpx2
import pytest

from dubrelay.config import Settings
from dubrelay.errors import ConfigError, StsError
from dubrelay.sts.keys import KEY_OF_SETTINGS, Keys, Rates, TooOften
from dubrelay.wire.fragment import ProcessError
from running_sts import MOCK, RunningSts
from sts_parts import FakeClock, buzz, mock_settings, request_for, service

pytestmark = pytest.mark.service

STUDIO, TRUCK, NEXT = "studio-key-0123456789", "truck-key-0123456789", "next-studio-key-98765"
PHRASE = request_for(buzz(0.5))


def key_file(path: Path, text: str, mode: int = 0o600) -> Path:
    """Put in place as a whole, as an operator should."""
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.chmod(mode)
    return new.replace(path)


def keys(path: Path, key: str = "") -> Keys:
    return Keys(mock_settings(keys_file=str(path), key=key).sts)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_each_key_has_its_name(tmp_path: Path) -> None:
    file = key_file(tmp_path / "keys", f"# ours\n\nstudio:{STUDIO}\n  truck:{TRUCK}\n")
    known = keys(file, key="k3y")
    assert known.name_of(f"Bearer {STUDIO}") == "studio"
    assert known.name_of(f"bearer  {TRUCK}") == "truck"
    assert known.name_of("Bearer k3y") == KEY_OF_SETTINGS


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", f"Basic {STUDIO}", f"Bearer {STUDIO[:-1]}", f"Bearer {STUDIO} x", "Bearer \udcff"],
)
def test_all_else_is_refused(header: str, tmp_path: Path) -> None:
    known = keys(key_file(tmp_path / "keys", f"studio:{STUDIO}\n"))
    with pytest.raises(StsError) as refused:
        known.name_of(header)
    assert refused.value.code == "UNAUTHORIZED"


def test_without_keys_everybody_may() -> None:
    assert Keys(mock_settings().sts).name_of("") == ""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no key"),
        ("# nothing\n", "holds no key"),
        (f"studio:{STUDIO}\n{TRUCK}\n", "line 2: must be NAME:KEY"),
        (f"{STUDIO}:\n", "line 1: must be NAME:KEY"),
        (f"the studio:{STUDIO}\n", "line 1: must be NAME:KEY"),
        ("studio:short\n", "line 1: the key must be 16 to 512 visible ASCII characters"),
        ("studio:schlüssel-schlüssel\n", "line 1: the key must be"),
        (f"studio:{STUDIO}\nstudio:{TRUCK}\n", "line 2: the name or its key stands there twice"),
        (f"studio:{STUDIO}\ntruck:{STUDIO}\n", "line 2: the name or its key stands there twice"),
        ("\udcff", "is not UTF-8 text"),
    ],
)
def test_a_wrong_file_is_refused_by_line_without_its_keys(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    file.chmod(0o600)
    with pytest.raises(ConfigError) as refused:
        keys(file)
    assert str(refused.value).startswith(f"sts.keys_file = '{file}': {says}")
    assert STUDIO not in str(refused.value) and TRUCK not in str(refused.value)


def test_a_mark_that_an_editor_puts_in_front_is_no_part_of_a_name(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"\ufeffstudio:{STUDIO}\n", "utf-8")
    file.chmod(0o600)
    assert keys(file).name_of(f"Bearer {STUDIO}") == "studio"


def test_a_file_that_is_not_there_or_a_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(ConfigError, match="there is no such file"):
            keys(path)


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o644])
def test_a_file_that_others_may_read_or_change_is_refused(mode: int, tmp_path: Path) -> None:
    file = key_file(tmp_path / "keys", f"studio:{STUDIO}\n", mode)
    with pytest.raises(ConfigError, match=rf"other users may read or change it \(mode {mode:04o}\): chmod o-rw it"):
        keys(file)
    assert keys(key_file(file, f"studio:{STUDIO}\n", 0o640)).name_of(f"Bearer {STUDIO}") == "studio"


def test_keys_change_with_their_file(tmp_path: Path) -> None:
    file = key_file(tmp_path / "keys", f"studio:{STUDIO}\n")
    known = keys(file)
    key_file(file, f"studio:{NEXT}\ntruck:{TRUCK}\n")
    assert known.name_of(f"Bearer {NEXT}") == "studio"
    with pytest.raises(StsError):
        known.name_of(f"Bearer {STUDIO}")


def test_a_file_that_is_broken_or_gone_leaves_the_keys_as_they_were(tmp_path: Path) -> None:
    file = key_file(tmp_path / "keys", f"studio:{STUDIO}\n")
    known = keys(file)
    key_file(file, "studio")
    assert known.name_of(f"Bearer {STUDIO}") == "studio"
    file.unlink()
    assert known.name_of(f"Bearer {STUDIO}") == "studio"
    key_file(file, f"studio:{NEXT}\n")
    assert known.name_of(f"Bearer {NEXT}") == "studio"


def test_a_host_off_loopback_needs_a_key_of_either_kind(tmp_path: Path) -> None:
    file = key_file(tmp_path / "keys", f"studio:{STUDIO}\n")
    Settings.model_validate({"sts": {"host": "0.0.0.0", "keys_file": file}})
    with pytest.raises(ValueError, match="key is required"):
        Settings.model_validate({"sts": {"host": "0.0.0.0"}})


def test_a_name_may_ask_so_often_in_any_minute() -> None:
    clock = FakeClock()
    rates = Rates(2, clock)
    rates.count("a")
    clock.advance(20)
    rates.count("a")
    with pytest.raises(TooOften) as refused:
        rates.count("a")
    assert refused.value.retry_after_s == 40
    rates.count("b")
    clock.advance(40)
    rates.count("a")
    with pytest.raises(TooOften):
        rates.count("a")


def test_no_limit_is_no_limit() -> None:
    rates = Rates(0)
    for _ in range(1000):
        rates.count("a")


def test_one_request_too_many_is_429_for_its_key_only(tmp_path: Path) -> None:
    file = key_file(tmp_path / "keys", f"studio:{STUDIO}\ntruck:{TRUCK}\n")
    with service(mock_settings(keys_file=str(file), requests_per_minute_per_key=2)) as running:
        answers = [running.post(PHRASE, headers=bearer(STUDIO)) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        error = ProcessError.model_validate_json(answers[2].content).error
        assert (error.code, error.retryable) == ("OVERLOADED", True)
        assert 1 <= int(answers[2].headers["retry-after"]) <= 60
        assert running.post(PHRASE, headers=bearer(TRUCK)).status_code == 200


def test_the_log_has_the_name_and_never_the_key(tmp_path: Path) -> None:
    file = key_file(tmp_path / "keys", f"studio:{STUDIO}\n")
    with RunningSts(tmp_path, **MOCK, keys_file=file) as sts:
        url, body = f"{sts.url}/api/v1/sts/process", PHRASE.model_dump()
        statuses = [httpx2.post(url, json=body, headers=bearer(STUDIO)).status_code]
        key_file(file, "studio:broken\n")
        statuses.append(httpx2.post(url, json=body, headers=bearer(TRUCK)).status_code)
        key_file(file, f"studio:{NEXT}\n")
        statuses.append(httpx2.post(url, json=body, headers=bearer(NEXT)).status_code)
    assert statuses == [200, 401, 200]
    log = (tmp_path / "sts.log").read_text("utf-8")
    assert not [key for key in (STUDIO, TRUCK, NEXT) if key in log]
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["client"] for line in lines if line["event"] == "phrase"] == ["studio", "studio"]
    (broken,) = [line for line in lines if line["event"] == "keys not read, the old ones stay"]
    assert "line 1: the key must be" in broken["reason"]
    (read,) = [line for line in lines if line["event"] == "keys read"]
    assert read["names"] == ["studio"]


def test_a_key_file_of_no_use_ends_the_start_with_one_line(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"dubrelay: sts\.keys_file = .*: there is no such file"):
        RunningSts(tmp_path, **MOCK, keys_file=tmp_path / "none").start()

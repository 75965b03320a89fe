from __future__ import annotations

import shutil
import socket
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from dubrelay import config, doctor
from dubrelay.doctor import Row
from media import free_mediamtx_settings, free_ports

pytestmark = pytest.mark.service


@pytest.fixture
def settings() -> config.Settings:
    orchestrator, sts = free_ports(2)
    return config.Settings(
        mediamtx=free_mediamtx_settings(),
        orchestrator=config.Orchestrator(port=orchestrator),
        sts=config.Sts(port=sts),
    )


def _row(rows: list[Row], name: str) -> Row:
    (found,) = [row for row in rows if row.name.startswith(name)]
    return found


def test_on_a_machine_that_is_set_up_everything_is_there(settings: config.Settings) -> None:
    rows = doctor.check(settings)
    assert [row for row in rows if not row.ok] == []
    names = {row.name for row in rows}
    assert {"Python", "GStreamer elements", "ffmpeg", "apertium", "espeak-ng", "MediaMTX", "disk"} <= names
    assert {"model whisper-tiny.en", "model kokoro", "model deepfilternet"} <= names


def test_a_taken_port_and_a_remote_service_that_is_silent_are_told(settings: config.Settings) -> None:
    dead, deaf = free_ports(2)
    urls = [f"http://127.0.0.1:{dead}", f"https://127.0.0.1:{deaf}"]
    away = settings.model_copy(update={"sts_client": config.StsClient(urls=urls)})
    with socket.create_server(("127.0.0.1", settings.orchestrator.port)):
        rows = doctor._ports(away)
    taken = _row(rows, "orchestrator.port")
    assert not taken.ok
    assert "set another orchestrator.port" in taken.remedy
    assert [row.name for row in rows if row.name.startswith("sts_client") and not row.ok] == [
        f"sts_client.urls 127.0.0.1:{dead}",
        f"sts_client.urls 127.0.0.1:{deaf}",
    ]
    assert not [row for row in rows if row.name.startswith("sts.port")]
    bypass = away.model_copy(update={"worker": config.Worker(mode="bypass")})
    assert not [row for row in doctor._ports(bypass) if row.name.startswith("sts")]


def test_missing_programs_are_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ffmpeg = shutil.which("ffmpeg")
    assert ffmpeg
    (tmp_path / "ffmpeg").symlink_to(ffmpeg)
    monkeypatch.setenv("PATH", str(tmp_path))
    rows = doctor._programs()
    assert {row.name: row.ok for row in rows} == {"ffmpeg": True, "espeak-ng": False, "apertium": False}
    assert all(row.remedy == "run scripts/setup" for row in rows)


def test_a_missing_model_and_mediamtx_are_told(tmp_path: Path, settings: config.Settings) -> None:
    bare = settings.model_copy(
        update={
            "paths": config.Paths(state_dir=tmp_path),
            "mediamtx": settings.mediamtx.model_copy(update={"binary": str(tmp_path / "none")}),
        }
    )
    assert not _row(doctor._models(bare), "model whisper-base").ok
    assert "no such program" in doctor._mediamtx(bare).remedy


def test_another_version_of_mediamtx_is_told(tmp_path: Path, settings: config.Settings) -> None:
    old = tmp_path / "mediamtx"
    old.write_text("#!/bin/sh\necho v1.0.0\n")
    old.chmod(0o755)
    row = doctor._mediamtx(
        settings.model_copy(update={"mediamtx": settings.mediamtx.model_copy(update={"binary": str(old)})})
    )
    assert (row.ok, row.found) == (False, f"v1.0.0 at {old}")


def test_the_table_says_what_to_do_only_where_something_lacks() -> None:
    out = StringIO()
    doctor.show(
        [Row("one", True, "here", "never shown"), Row("two", False, "", "fetch it")], Console(file=out, width=100)
    )
    assert "fetch it" in out.getvalue()
    assert "never shown" not in out.getvalue()
    assert "Not as it should be: two" in out.getvalue()

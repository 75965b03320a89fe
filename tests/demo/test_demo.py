"""The demo as a user starts it: one command, real parts, ports and state of its own."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from dubrelay.demo.access_units import access_units
from dubrelay.ffmpeg import duration_s
from media import BINARY, ROOT, free_mediamtx_settings, free_ports
from waiting import wait_for

pytestmark = pytest.mark.live

MOCK = [
    "--set",
    'sts.asr=["mock"]',
    "--set",
    'sts.mt=["mock"]',
    "--set",
    'sts.tts=["mock"]',
    "--set",
    "sts.tts_fast=[]",
]


def _command(state: Path, *arguments: str) -> list[str]:
    (state / "models").symlink_to(ROOT / "var/models")
    orchestrator, sts = free_ports(2)
    values = {f"mediamtx.{name}": port for name, port in free_mediamtx_settings() if name.endswith("_port")}
    values |= {"mediamtx.binary": BINARY, "orchestrator.port": orchestrator, "sts.port": sts, "paths.state_dir": state}
    keys = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    return [sys.executable, "-m", "dubrelay", "demo", *arguments, *keys]


@contextmanager
def _demo(state: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with (state / "screen.txt").open("w") as screen:
        process = subprocess.Popen(_command(state, *arguments), stdout=screen, stderr=subprocess.STDOUT, text=True)
        try:
            yield process
        finally:
            process.kill()
            process.wait(10)


def _screen(state: Path) -> str:
    return (state / "screen.txt").read_text()


@pytest.mark.timeout(300)
def test_the_demo_dubs_its_programme_and_finds_its_recording_good(tmp_path: Path) -> None:
    with _demo(tmp_path, "--seconds", "30") as process:
        code = process.wait(280)
    text = _screen(tmp_path)
    assert code == 0, text
    assert "kokoro" in text or "espeak-ng" in text
    assert re.search(r"good  es is spoken", text), text
    equal = re.search(r"(\d+) of (\d+) access units are equal", text)
    assert equal is not None, text
    assert equal[1] == equal[2]
    assert all(len(line) <= 100 for line in text.splitlines())


@pytest.mark.timeout(180)
def test_a_tone_is_no_dubbed_speech(tmp_path: Path) -> None:
    with _demo(tmp_path, "--seconds", "20", *MOCK) as process:
        code = process.wait(170)
    text = _screen(tmp_path)
    assert code == 1, text
    assert "mock/tone" in text
    assert re.search(r"BAD +es is spoken", text), text


@pytest.mark.timeout(180)
def test_ctrl_c_ends_all_of_it_with_a_summary_and_a_recording_that_plays(tmp_path: Path) -> None:
    recording = tmp_path / "demo/out.mp4"
    with _demo(tmp_path, "--seconds", "120", *MOCK) as process:
        wait_for(lambda: _screen(tmp_path).count("margin") >= 3, 60, "three phrases")
        wait_for(lambda: recording.is_file() and recording.stat().st_size > 100_000, 30, "a few pictures of it")
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 5
        process.send_signal(signal.SIGINT)
        code = process.wait(30)
    assert code == 130
    assert re.search(r"phrases in all +\d+, [1-9]\d* dubbed", _screen(tmp_path))
    assert [child for child in children if child.is_running()] == []
    assert duration_s(recording) > 1
    assert len(access_units(recording)) > 25


def test_wrong_input_is_named_before_anything_starts(tmp_path: Path) -> None:
    with _demo(tmp_path, "--input", str(tmp_path / "gone.wav")) as process:
        code = process.wait(30)
    assert code == 2
    assert _screen(tmp_path) == f"dubrelay: INPUT={tmp_path / 'gone.wav'}: there is no such file or folder\n"

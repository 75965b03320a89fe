"""What may be a slate, and what is made of it."""

from __future__ import annotations

import os
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay.errors import ConfigError
from dubrelay.worker import slate
from dubrelay.worker.slate import decoding_times, nal_types, read_slate
from running_worker import RunningWorker

pytestmark = pytest.mark.gst

H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "25", "-pix_fmt", "yuv420p")


def made(path: Path, *codec: str, seconds: float = 2) -> Path:
    """A picture at 25 per second and a tone."""
    sources = ["-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25", "-f", "lavfi", "-i", "sine", "-t", str(seconds)]
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *sources, *codec, str(path)], check=True)
    return path


@pytest.mark.parametrize("name", ["slate.mp4", "slate.mkv", "slate.flv", "SLATE.TS"])
def test_the_picture_of_a_file_is_read_with_the_times_it_is_decoded_at(tmp_path: Path, name: str) -> None:
    loop = read_slate(made(tmp_path / name, *H264))
    assert len(loop.units) == 50
    assert loop.units[0].key and sum(unit.key for unit in loop.units) == 2
    assert loop.length == pytest.approx(2e9, abs=2e6)
    assert loop.units[0].dts == 0
    again = [unit.dts + loop.length for unit in loop.units]
    assert all(b > a for a, b in pairwise([unit.dts for unit in loop.units] + again))
    assert all(unit.pts >= unit.dts for unit in loop.units)
    assert loop.caps.get_structure(0).has_field("codec_data")


def test_one_picture_is_enough(tmp_path: Path) -> None:
    loop = read_slate(made(tmp_path / "still.mp4", *H264, "-frames:v", "1", "-an"))
    assert len(loop.units) == 1
    assert loop.length > 0


@pytest.mark.parametrize(
    ("name", "codec", "seconds", "why"),
    [
        ("sound.mp4", ["-vn"], 2, "an H.264 picture"),
        ("mpeg4.mp4", ["-c:v", "mpeg4"], 2, "an H.264 picture"),
        ("slate.avi", H264, 2, "must end in .mp4"),
        ("headless.mp4", [*H264, "-bsf:v", "noise=drop=eq(n\\,0)"], 2, "begin with a key frame"),
        ("long.mp4", [*H264, "-r", "5"], 61, "not be longer than 60 s"),
    ],
)
def test_what_is_no_slate_is_refused_in_one_line(
    tmp_path: Path, name: str, codec: list[str], seconds: float, why: str
) -> None:
    refused(made(tmp_path / name, *codec, seconds=seconds), why)


def refused(path: Path, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        read_slate(path)
    assert caught.value.message.startswith(f"worker.slate = '{path}': ")
    assert "\n" not in caught.value.message


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "none.mp4", "No such file")
    refused(tmp_path, "must be a file")
    os.mkfifo(tmp_path / "pipe.mp4")
    refused(tmp_path / "pipe.mp4", "must be a file")
    (tmp_path / "empty.mp4").touch()
    refused(tmp_path / "empty.mp4", "at most 64 MB")
    (tmp_path / "text.mp4").write_text("no video")
    refused(tmp_path / "text.mp4", "an H.264 picture")
    with (tmp_path / "big.mp4").open("wb") as file:
        file.truncate(slate.MAX_BYTES + 1)
    refused(tmp_path / "big.mp4", "at most 64 MB")


def test_a_worker_with_a_wrong_slate_does_not_start(tmp_path: Path) -> None:
    nowhere = "rtmp://127.0.0.1:1/live/x/"
    with RunningWorker(f"{nowhere}in", f"{nowhere}out", mode="bypass", directory=tmp_path, slate=Path("none.mp4")) as w:
        assert w.wait_exit(30) == ConfigError.exit_code
    assert (
        w.logged("worker_failed")["message"] == "worker.slate = 'none.mp4': cannot be read: No such file or directory"
    )


@given(st.lists(st.integers(0, 10**11), min_size=1, max_size=40, unique=True), st.integers(-1, 10**9))
def test_every_picture_is_decoded_before_it_is_shown_and_after_the_one_before_it(shown: list[int], last: int) -> None:
    decoded, length = decoding_times(shown, last)
    assert all(b > a for a, b in pairwise([*decoded, decoded[0] + length]))
    assert all(at <= seen for at, seen in zip(decoded, shown, strict=True))


@given(st.lists(st.tuples(st.integers(0, 31), st.integers(0, 40))), st.integers(2, 4))
def test_nal_types_are_those_of_the_units(units: list[tuple[int, int]], length_bytes: int) -> None:
    coded = b"".join((1 + n).to_bytes(length_bytes, "big") + bytes([0x60 | kind]) + bytes(n) for kind, n in units)
    assert list(nal_types(coded, length_bytes)) == [kind for kind, _ in units]

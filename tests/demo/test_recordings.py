from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dubrelay.demo import recordings
from dubrelay.demo.access_units import access_units
from dubrelay.errors import ConfigError
from dubrelay.ffmpeg import duration_s, probe, stream_of
from sounds import quiet, write_wav

pytestmark = pytest.mark.service


def _video(path: Path, *codecs: str) -> Path:
    sources = ["-f", "lavfi", "-i", "testsrc=size=320x180:rate=25:duration=2", "-f", "lavfi", "-i", "sine=duration=2"]
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", *sources, *codecs, path], check=True)
    return path


def _codecs(path: Path) -> list[str]:
    found = probe(path)
    return [s["codec_name"] for s in (stream_of(found, "video"), stream_of(found, "audio")) if s]


def test_what_can_be_published_as_it_is_keeps_its_picture_bit_by_bit(tmp_path: Path) -> None:
    own = _video(tmp_path / "own.mkv", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac")
    made = recordings.prepare(own, tmp_path / "state")
    assert [u.digest for u in access_units(made.path)] == [u.digest for u in access_units(own)]
    assert made.seconds == pytest.approx(2, abs=0.05)


def test_other_codecs_become_h264_and_aac(tmp_path: Path) -> None:
    own = _video(tmp_path / "own.avi", "-c:v", "mpeg4", "-c:a", "mp3")
    assert _codecs(recordings.prepare(own, tmp_path / "state").path) == ["h264", "aac"]


def test_sound_alone_gets_a_picture_as_long_as_it_is(tmp_path: Path) -> None:
    own = write_wav(tmp_path / "it's 100% mine: really.wav", quiet("music", 2.5))
    made = recordings.prepare(own, tmp_path / "state")
    assert _codecs(made.path) == ["h264", "aac"]
    assert len(access_units(made.path)) == 63
    assert made.seconds == pytest.approx(2.52, abs=0.03)


def test_a_folder_is_joined_in_order_of_names_with_a_pause_after_each(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    write_wav(folder / "b.wav", quiet("music", 1.5))
    _video(folder / "a.mp4", "-c:v", "libx264", "-c:a", "aac")
    (folder / "notes.txt").write_text("no sound")
    made = recordings.prepare(folder, tmp_path / "state")
    found = probe(made.path)
    lengths = [float(s["duration"]) for s in found["streams"]]
    assert lengths == [pytest.approx(2 + 1 + 1.52 + 1, abs=0.1)] * 2
    assert not list((tmp_path / "state").glob("tmp*"))


def test_recordings_are_converted_once_and_anew_when_they_change(tmp_path: Path) -> None:
    own = write_wav(tmp_path / "own.wav", quiet("noise", 1))
    first = recordings.prepare(own, tmp_path / "state")
    made_at = first.path.stat().st_mtime_ns
    assert recordings.prepare(own, tmp_path / "state").path.stat().st_mtime_ns == made_at
    write_wav(own, quiet("noise", 2))
    other = recordings.prepare(own, tmp_path / "state")
    assert other.path != first.path
    assert duration_s(other.path) == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize(
    ("name", "says"), [("gone.wav", "there is no such"), ("empty", "no recording"), ("text.wav", "cannot be read")]
)
def test_nothing_to_hear_is_said_in_one_line_that_names_it(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.wav").write_text("not a sound")
    with pytest.raises(ConfigError, match=says) as raised:
        recordings.prepare(tmp_path / name, tmp_path / "state")
    assert name in raised.value.message
    assert "\n" not in raised.value.message

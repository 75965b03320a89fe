from __future__ import annotations

import json
import subprocess
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from dubrelay.audio import RATE_HZ, rms, samples_in
from dubrelay.demo import programme
from dubrelay.demo.programme import BED_DB, SPEECH_RMS, Sentence
from dubrelay.ffmpeg import probe, stream_of

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def half_minute() -> tuple[np.ndarray, list[Sentence]]:
    said: list[Sentence] = []
    return np.concatenate(list(programme.sound(30, said))), said


def test_the_sound_is_as_long_as_asked_and_about_three_fifths_speech(
    half_minute: tuple[np.ndarray, list[Sentence]],
) -> None:
    sound, said = half_minute
    assert sound.shape == (30 * RATE_HZ, 2)
    assert 0.45 < sum(s.end_s - s.start_s for s in said) / 30 < 0.75
    assert said[0].start_s < 2
    assert np.abs(sound).max() < 1


def test_sentences_are_where_they_are_said_to_be_and_only_the_bed_is_between_them(
    half_minute: tuple[np.ndarray, list[Sentence]],
) -> None:
    sound, said = half_minute
    for before, after in pairwise(said):
        assert after.start_s - before.end_s >= 0.5
        spoken = sound[samples_in(before.start_s) : samples_in(before.end_s)]
        pause = sound[samples_in(before.end_s) : samples_in(after.start_s)]
        assert rms(spoken) > 2.5 * rms(pause)
        assert rms(pause) > 0.2 * SPEECH_RMS * 10 ** (BED_DB / 20)


def test_the_sound_is_the_same_each_time(half_minute: tuple[np.ndarray, list[Sentence]]) -> None:
    sound, said = half_minute
    again: list[Sentence] = []
    same = np.concatenate(list(programme.sound(8, again)))
    heard = samples_in(again[-1].end_s)
    assert np.array_equal(same[:heard], sound[:heard])
    assert again == said[: len(again)]


def test_no_sentence_is_cut_off_at_the_end(half_minute: tuple[np.ndarray, list[Sentence]]) -> None:
    _, said = half_minute
    assert said[-1].end_s < 29.5
    assert len({s.text for s in said}) == len(said)


def test_the_file_has_b_frames_a_key_frame_every_two_seconds_and_its_texts_beside_it(tmp_path: Path) -> None:
    made = programme.make(tmp_path / "p.mp4", 6)
    found = probe(made.path)
    video, audio = stream_of(found, "video"), stream_of(found, "audio")
    assert video is not None
    assert audio is not None
    assert (video["codec_name"], video["has_b_frames"], video["r_frame_rate"]) == ("h264", 2, "25/1")
    assert (audio["codec_name"], audio["sample_rate"], audio["channels"]) == ("aac", "48000", 2)
    assert float(found["format"]["duration"]) == pytest.approx(6, abs=0.03)
    assert _key_frames(made.path) == [0.0, 2.0, 4.0]
    beside = json.loads((tmp_path / "p.json").read_text())
    assert [s["text"] for s in beside["sentences"]] == [s.text for s in made.sentences] != []


def test_a_programme_is_made_once_and_anew_after_it_was_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "p.mp4"
    first = programme.make(path, 4)
    made_at = path.stat().st_mtime_ns
    assert programme.make(path, 4) == first
    assert path.stat().st_mtime_ns == made_at
    (tmp_path / "p.json").unlink()
    assert programme.make(path, 4) == first
    assert path.stat().st_mtime_ns > made_at


def _key_frames(path: Path) -> list[float]:
    entries = ["-select_streams", "v", "-show_entries", "packet=pts_time,flags", "-of", "csv=p=0"]
    lines = subprocess.run(
        ["ffprobe", "-v", "error", *entries, path], capture_output=True, text=True, check=True
    ).stdout
    return [float(line.split(",")[0]) for line in lines.splitlines() if ",K" in line]

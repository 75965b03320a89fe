from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from dubrelay import config, offline
from dubrelay.audio import CHANNELS, RATE_HZ, Samples, rms, samples_in
from dubrelay.config import Settings
from dubrelay.demo import programme
from dubrelay.demo import recordings as demo_recordings
from dubrelay.demo.access_units import access_units
from dubrelay.demo.programme import Programme, Sentence
from dubrelay.errors import ConfigError, MediaError, StsError
from dubrelay.ffmpeg import _SOUND_ONLY, CONTAINERS, probe, stream_of
from sounds import quiet, write_wav

pytestmark = pytest.mark.service

TONE_HZ = 440.0
SECONDS = 14


def _settings(**overrides: object) -> Settings:
    mock = {"sts.asr": ["mock"], "sts.mt": ["mock"], "sts.tts": ["mock"], "sts.tts_fast": []}
    return config.load(None, {}, mock | overrides)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Programme:
    return programme.make(tmp_path_factory.mktemp("programme") / "p.mp4", SECONDS)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Sentence]]:
    """The programme's sound as a wav of an odd number of samples."""
    said: list[Sentence] = []
    sound = np.concatenate(list(programme.sound(SECONDS, said)))[: SECONDS * RATE_HZ - 7]
    return write_wav(tmp_path_factory.mktemp("spoken") / "spoken.wav", sound), said


def _sound(path: Path) -> Samples:
    command = ["ffmpeg", "-v", "error", "-i", path, "-map", "0:a:0", "-f", "f32le", "-ac", str(CHANNELS)]
    raw = subprocess.run([*command, "-ar", str(RATE_HZ), "-"], capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.float32).reshape(-1, CHANNELS)


def _tone(samples: Samples) -> float:
    """Share of the energy that is the mock voice's tone."""
    spectrum = np.abs(np.fft.rfft(samples.mean(axis=1) * np.hanning(len(samples)))) ** 2
    hz = np.fft.rfftfreq(len(samples), 1 / RATE_HZ)
    return float(spectrum[np.abs(hz - TONE_HZ) < 10].sum() / spectrum.sum())


def test_the_dub_is_where_the_speech_was_and_all_else_is_as_it_was(
    spoken: tuple[Path, list[Sentence]], tmp_path: Path
) -> None:
    source, said = spoken
    report = offline.dub_file(_settings(), source, tmp_path / "out.wav", "es", "en")
    before, after = _sound(source), _sound(tmp_path / "out.wav")
    assert len(after) == len(before)
    assert report.dubbed == len(said)
    assert report.seconds == pytest.approx(SECONDS, abs=0.01)
    for sentence in said:
        middle = slice(samples_in(sentence.start_s + 0.3), samples_in(sentence.end_s - 0.3))
        assert _tone(after[middle]) > 0.8 > _tone(before[middle])
    untouched = slice(0, samples_in(said[0].start_s - 0.4))
    assert np.abs(after[untouched] - before[untouched]).max() < 2 / 32768


def test_the_picture_is_copied_and_the_length_kept(shown: Programme, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    steps: list[tuple[float, float]] = []
    offline.dub_file(_settings(), shown.path, out, "es", "en", lambda done, total: steps.append((done, total)))
    assert [u.digest for u in access_units(out)] == [u.digest for u in access_units(shown.path)]
    assert [u.pts_s for u in access_units(out)] == [u.pts_s for u in access_units(shown.path)]
    assert abs(len(_sound(out)) - len(_sound(shown.path))) <= 1024
    assert steps == sorted(steps)
    assert steps[-1] == (pytest.approx(SECONDS, abs=0.03),) * 2


def test_sound_that_begins_after_the_picture_stays_there(shown: Programme, tmp_path: Path) -> None:
    late = tmp_path / "late.mkv"
    inputs = ["-i", shown.path, "-itsoffset", "1.5", "-i", shown.path, "-map", "0:v", "-map", "1:a", "-c", "copy"]
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", *inputs, late], check=True)
    offline.dub_file(_settings(), late, tmp_path / "out.mkv", "es", "en")
    after = _sound(tmp_path / "out.mkv")
    first = shown.sentences[0]
    assert rms(after[: samples_in(1.4)]) < 1e-3
    assert _tone(after[samples_in(first.start_s + 1.8) : samples_in(first.end_s + 1.2)]) > 0.8


@pytest.mark.parametrize("suffix", [".mp3", ".flac", ".m4a", ".mov", ".mkv"])
def test_what_comes_out_follows_the_name(shown: Programme, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"out{suffix}"
    offline.dub_file(_settings(), shown.path, out, "es", "en")
    found = probe(out)
    assert (stream_of(found, "video") is not None) == (suffix in {".mov", ".mkv"})
    assert stream_of(found, "audio") is not None
    assert float(found["format"]["duration"]) == pytest.approx(SECONDS, abs=0.1)


_OF_PICTURES = {".webm": "libvpx", ".avi": "mpeg4", ".mpg": "mpeg2video", ".mpeg": "mpeg2video"}


@pytest.mark.parametrize("suffix", [s for s in CONTAINERS if s not in {".wav", ".mp3", ".m4v"}])
def test_a_recording_in_any_container_comes_out_in_the_same_with_the_same_picture(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    pictures = ["-f", "lavfi", "-i", "testsrc=size=160x90:rate=25:duration=2"]
    sound, codec = ["-f", "lavfi", "-i", "sine=duration=2"], ["-c:v", _OF_PICTURES.get(suffix, "libx264")]
    inputs = sound if suffix in _SOUND_ONLY else [*pictures, *sound, *codec]
    own = folder / f"own{suffix.upper()}"
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", *inputs, own], check=True)
    ((source, out),) = offline.recordings(folder, tmp_path / "dubbed")
    offline.dub_file(_settings(**{"mix.separate": False}), source, out, "es", "en")
    before, after = probe(own), probe(out)
    assert [s["codec_type"] for s in after["streams"]] == [s["codec_type"] for s in before["streams"]]
    assert len(_sound(out)) == pytest.approx(len(_sound(own)), abs=0.1 * RATE_HZ)
    if suffix not in _SOUND_ONLY:
        assert (own.name, _pictures(out)) == (out.name, _pictures(own))


def _pictures(file: Path) -> list[str]:
    """A digest of each, decoded."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", file, "-map", "0:v", "-f", "framemd5", "-"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line.rpartition(",")[2] for line in said.splitlines() if not line.startswith("#")]


def test_mono_at_another_rate_and_mp3_are_as_long_as_before(
    spoken: tuple[Path, list[Sentence]], tmp_path: Path
) -> None:
    source, said = spoken
    for name, codec in (("mono.wav", ["-ac", "1", "-ar", "16000"]), ("own.mp3", ["-ar", "44100"])):
        subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-i", source, *codec, tmp_path / name], check=True)
        report = offline.dub_file(_settings(), tmp_path / name, tmp_path / f"{name}.wav", "es", "en")
        assert report.dubbed == len(said)
        assert len(_sound(tmp_path / f"{name}.wav")) == len(_sound(tmp_path / name))


@pytest.mark.parametrize("kind", ["silence", "noise", "music"])
def test_without_a_word_nothing_is_said(tmp_path: Path, kind: str) -> None:
    source = write_wav(tmp_path / "quiet.wav", quiet(kind, 12))  # type: ignore[arg-type]
    report = offline.dub_file(_settings(), source, tmp_path / "out.wav", "es", "en")
    assert report.dubbed == report.failed == 0
    assert np.array_equal(_sound(tmp_path / "out.wav"), _sound(source))


def test_a_file_shorter_than_a_block_comes_out_as_it_was(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "short.wav", quiet("noise", 0.1))
    offline.dub_file(_settings(), source, tmp_path / "out.wav", "es", "en")
    assert np.array_equal(_sound(tmp_path / "out.wav"), _sound(source))


def test_phrases_that_fail_stay_original_and_are_reported(
    spoken: tuple[Path, list[Sentence]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, said = spoken

    def fail(*_: object) -> None:
        raise StsError("MODEL_ERROR", "the voice is hoarse", stage="tts")

    monkeypatch.setattr("dubrelay.sts.pipeline.Pipeline.process", fail)
    report = offline.dub_file(_settings(), source, tmp_path / "out.wav", "es", "en")
    assert (report.failed, report.dubbed, report.messages) == (len(said), 0, ["the voice is hoarse"])
    assert np.abs(_sound(tmp_path / "out.wav") - _sound(source)).max() < 2 / 32768


def test_wrong_files_are_named_in_one_line_and_nothing_is_written(
    spoken: tuple[Path, list[Sentence]], tmp_path: Path
) -> None:
    source, _ = spoken
    own = tmp_path / "own.wav"
    own.write_bytes(source.read_bytes())
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "link.wav").symlink_to(own)
    subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=duration=1", tmp_path / "mute.mp4"], check=True
    )
    there = sorted(tmp_path.iterdir())
    for name, out, says in (
        ("gone.wav", "out.wav", "no such file"),
        ("text.wav", "out.wav", "cannot be read"),
        ("mute.mp4", "out.mp4", "no sound"),
        ("own.wav", "own.wav", "write to another one"),
        ("own.wav", "link.wav", "write to another one"),
        ("own.wav", "out.doc", "must end in one of"),
        ("own.wav", "nowhere/out.wav", "no folder"),
    ):
        with pytest.raises(ConfigError, match=says) as raised:
            offline.dub_file(_settings(), tmp_path / name, tmp_path / out, "es", "en")
        assert "\n" not in raised.value.message
    assert sorted(tmp_path.iterdir()) == there
    assert own.read_bytes() == source.read_bytes()


def test_a_voice_that_nobody_has_is_named(shown: Programme, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.voice_profile = 'caruso'"):
        offline.dub_file(_settings(**{"dub.voice": "caruso"}), shown.path, tmp_path / "out.mp4", "es", "en")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_engine_and_an_impossible_container_leave_nothing_behind(shown: Programme, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such engine"):
        offline.dub_file(_settings(**{"sts.asr": ["ears"]}), shown.path, tmp_path / "out.mp4", "es", "en")
    odd = tmp_path / "odd.mkv"
    subprocess.run(["ffmpeg", "-v", "error", "-i", shown.path, "-t", "2", "-c:v", "ffv1", odd], check=True)
    with pytest.raises(MediaError, match=r"out\.mp4: cannot be written"):
        offline.dub_file(_settings(), odd, tmp_path / "out.mp4", "es", "en")
    assert list(tmp_path.iterdir()) == [odd]


def test_a_folder_is_dubbed_into_a_folder_under_the_same_names(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("b.wav", "a.wav", "notes.txt", "c.OGG", "d.ts"):
        (folder / name).write_bytes(b"")
    assert offline.recordings(folder, tmp_path / "out") == [
        (folder / name, tmp_path / "out" / name) for name in ("a.wav", "b.wav", "c.OGG", "d.ts")
    ]
    assert (tmp_path / "out").is_dir()
    with pytest.raises(ConfigError, match="is no folder"):
        offline.recordings(folder, folder / "a.wav")
    with pytest.raises(ConfigError, match="holds no file that ends in one of"):
        offline.recordings(tmp_path / "out", tmp_path / "more")


def test_the_demo_looks_for_the_same_files_in_a_folder(tmp_path: Path) -> None:
    told = []
    for look in (offline.recordings, demo_recordings.prepare):
        with pytest.raises(ConfigError) as caught:
            look(tmp_path, tmp_path / "out")
        told.append(caught.value.message.partition(" .")[2])
    assert told[0] == told[1] != ""

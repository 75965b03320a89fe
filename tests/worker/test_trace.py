from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from dubrelay import config
from dubrelay.audio import RATE_HZ, Samples, samples_in
from dubrelay.wire import trace
from dubrelay.wire.status import PhraseReport
from dubrelay.wire.trace import PhraseTrace
from dubrelay.worker.trace import Tracer
from waiting import wait_for

pytestmark = pytest.mark.unit

SECOND = samples_in(1)


def record(number: int) -> PhraseTrace:
    phrase = PhraseReport(
        sequence_number=number, t0_ms=number * 1000, started_at=1.7e9 + number, duration_ms=900, status="dubbed"
    )
    return PhraseTrace(
        stream_id="x", run_id="r", instance_id="abcdef", fragment_id=f"f{number}", source_language="en",
        target_language="es", voice_profile="default", programme="dub", phrase=phrase, voice_ms=number * 1000,
        known_ms=number * 1000 + 1200, decided_ms=number * 1000 + 8000,
    )  # fmt: skip


def ramp(start: int, count: int) -> Samples:
    """Each sample says its number."""
    n = np.arange(start, start + count, dtype=np.float32) % 30_000 / 32_767
    return np.stack([n, n], axis=1)


def kept(limits: config.Trace, directory: Path, numbers: range) -> list[PhraseTrace]:
    """What is there after phrases of a second each, one after the other."""
    tracer = Tracer(limits, directory)
    for number in numbers:
        start = number * SECOND
        sounds = {"original": (ramp(start, SECOND), RATE_HZ), "dub": (np.zeros(24_000, np.float32), 24_000)}
        tracer.decided(record(number), sounds if limits.sounds else {}, start, start + SECOND)  # type: ignore[arg-type]
        for at in range(start, start + SECOND, 9_600):
            tracer.went_out(at, ramp(at, 9_600))
    tracer.close()
    return list(trace.read(directory))


def test_a_phrase_is_kept_when_it_has_gone_out_and_not_before(tmp_path: Path) -> None:
    tracer = Tracer(config.Trace(), tmp_path / "x")
    tracer.decided(record(1), {}, SECOND, 2 * SECOND)
    tracer.went_out(SECOND, ramp(SECOND, SECOND - 1))
    tracer.decided(record(2), {}, 2 * SECOND, 3 * SECOND)
    tracer.went_out(2 * SECOND - 1, ramp(2 * SECOND - 1, 1))
    tracer.close()
    assert [r.phrase.sequence_number for r in trace.read(tmp_path / "x")] == [1]


def test_the_three_sounds_are_those_of_the_phrase(tmp_path: Path) -> None:
    (only,) = kept(config.Trace(sounds=True), tmp_path / "x", range(3, 4))
    assert set(only.sounds) == {"original", "dub", "out"}
    for sound in ("original", "out"):
        with wave.open(str(trace.sound_file(tmp_path / "x", only.stem, sound))) as wav:  # type: ignore[arg-type]
            assert (wav.getframerate(), wav.getnchannels(), wav.getnframes()) == (RATE_HZ, 2, SECOND)
            pcm = np.frombuffer(wav.readframes(SECOND), "<i2").reshape(-1, 2)
        assert np.array_equal(pcm[:, 0], np.arange(3 * SECOND, 4 * SECOND) % 30_000)


def test_only_the_owner_can_read_what_was_said(tmp_path: Path) -> None:
    kept(config.Trace(sounds=True), tmp_path / "x", range(1))
    assert (tmp_path / "x").stat().st_mode & 0o077 == 0
    assert all(file.stat().st_mode & 0o077 == 0 for file in (tmp_path / "x").iterdir())


def test_the_oldest_go_when_there_are_too_many_those_of_earlier_workers_first(tmp_path: Path) -> None:
    kept(config.Trace(phrases=4), tmp_path / "x", range(4))
    found = kept(config.Trace(phrases=4, sounds=True), tmp_path / "x", range(4, 6))
    assert [r.phrase.sequence_number for r in found] == [2, 3, 4, 5]
    assert len(list((tmp_path / "x").glob("*.wav"))) == 2 * 3


def test_the_oldest_go_when_they_are_too_large(tmp_path: Path) -> None:
    found = kept(config.Trace(sounds=True, max_mb=1), tmp_path / "x", range(8))
    size = sum(file.stat().st_size for file in (tmp_path / "x").iterdir())
    assert [r.phrase.sequence_number for r in found] == [6, 7]
    assert size <= 1_000_000


def test_after_the_operator_has_cleared_the_folder_new_phrases_stay(tmp_path: Path) -> None:
    tracer = Tracer(config.Trace(phrases=3), tmp_path / "x")

    def phrases(numbers: range) -> list[int]:
        for number in numbers:
            tracer.decided(record(number), {}, number * SECOND, (number + 1) * SECOND)
            tracer.went_out(number * SECOND, ramp(number * SECOND, SECOND))
            file = trace.record_file(tmp_path / "x", record(number).stem)
            wait_for(file.exists, 5, f"phrase {number}")
        newest = [record(number).stem for number in numbers[-3:]]
        wait_for(lambda: trace.stems(tmp_path / "x") == newest, 5, "the last three")
        return [r.phrase.sequence_number for r in trace.read(tmp_path / "x")]

    assert phrases(range(40)) == [37, 38, 39]
    for file in (tmp_path / "x").iterdir():
        file.unlink()
    assert phrases(range(40, 46)) == [43, 44, 45]
    tracer.close()


def test_a_disk_that_cannot_be_written_is_said_once_and_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("a file where the folder should be")
    with capture_logs() as lines:
        assert kept(config.Trace(), tmp_path / "x", range(3)) == []
    assert [line["event"] for line in lines] == ["trace_failed"]
    assert "File exists" in lines[0]["reason"]


def test_what_is_no_record_is_left_out(tmp_path: Path) -> None:
    kept(config.Trace(), tmp_path / "x", range(2))
    (tmp_path / "x" / "0000000000000000-0000.json").write_text("{")
    assert [r.phrase.sequence_number for r in trace.read(tmp_path / "x")] == [0, 1]


def test_a_file_that_is_not_the_workers_is_neither_counted_nor_removed(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    for name in ("notes.json", "0-first.json", "0001764108000123-5f0c.bak.json"):
        (tmp_path / "x" / name).write_text("{}")
    assert len(kept(config.Trace(phrases=2), tmp_path / "x", range(3))) == 2
    assert len(trace.stems(tmp_path / "x")) == 2
    assert len(list((tmp_path / "x").glob("*.json"))) == 5

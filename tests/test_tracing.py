"""dubrelay trace, on what a worker's tracer wrote."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np
import pytest

from dubrelay import config
from dubrelay.__main__ import main
from dubrelay.audio import RATE_HZ, samples_in
from dubrelay.wire import trace
from dubrelay.wire.status import PhraseReport
from dubrelay.wire.trace import PhraseTrace
from dubrelay.worker.trace import Tracer

pytestmark = pytest.mark.unit


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trace of three phrases of one stream; the second one was not dubbed."""
    monkeypatch.setenv("DUBRELAY_PATHS__STATE_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    tracer = Tracer(config.Trace(sounds=True), trace.folder(config.Paths(state_dir=tmp_path), "match"))
    for number in range(3):
        dubbed = number != 1
        phrase = PhraseReport(
            sequence_number=number, t0_ms=number * 1000, started_at=1.7e9 + number, duration_ms=1000,
            status="dubbed" if dubbed else "fallback", reason=None if dubbed else "timeout",
            transcript="Goal [bold]", translated_text="Gol", margin_ms=2100, tempo=1.2, voice="kokoro/jm_kumo",
        )  # fmt: skip
        record = PhraseTrace(
            stream_id="match", run_id="r", instance_id="abcdef", fragment_id=f"f{number}", source_language="en",
            target_language="es", voice_profile="default", programme="dub", phrase=phrase, voice_ms=number * 1000,
            known_ms=0, decided_ms=0,
        )  # fmt: skip
        start, second = samples_in(number), samples_in(1)
        sounds = {"original": (np.full((second, 2), 0.25, np.float32), RATE_HZ)}
        if dubbed:
            sounds["dub"] = (np.full(12_000, 0.5, np.float32), 24_000)
        tracer.decided(record, sounds, start, start + second)  # type: ignore[arg-type]
        tracer.went_out(start, np.full((second, 2), 0.75, np.float32))
    tracer.close()
    return tmp_path


def test_it_lists_streams_and_phrases(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (state / "trace/match/notes.json").write_text("{}")
    assert main(["trace"]) == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "match" in line]
    assert [cell.strip() for cell in row.strip("│ ").split("│")][:2] == ["match", "3"]
    assert main(["trace", "match", "--last", "2"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("Goal [bold]") == 2
    assert "timeout" in shown
    assert "margin 2.10 s" in shown


def test_all_that_is_known_of_a_phrase_is_json(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "match", "--phrase", "1", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["phrase"]["reason"] == "timeout"


def test_its_sounds_are_played_back_one_after_the_other_or_alone(state: Path) -> None:
    out = state / "heard.wav"
    assert main(["trace", "match", "--phrase", "0", "--wav", str(out)]) == 0
    levels = np.abs(samples(out)).max(axis=1)
    quarter, half, three = (np.flatnonzero(np.isclose(levels, level, atol=0.01)) for level in (0.25, 0.5, 0.75))
    assert (len(quarter), len(three)) == (pytest.approx(RATE_HZ, rel=0.01), pytest.approx(RATE_HZ, rel=0.01))
    assert len(half) == pytest.approx(RATE_HZ / 2, rel=0.05)
    assert np.median(quarter) < np.median(half) < np.median(three)
    assert main(["trace", "match", "--phrase", "0", "--wav", str(out), "--sound", "dub"]) == 0
    assert len(samples(out)) == RATE_HZ // 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nobody"], "no trace of a stream 'nobody'"),
        (["../match"], "no trace of a stream '../match'"),
        (["match", "--phrase", "7"], "--phrase 7: the trace has 0 to 2"),
        (["match", "--wav", "x.wav"], "--wav needs --phrase"),
        (["match", "--phrase", "1", "--wav", "x.wav", "--sound", "dub"], "it has original, out"),
        (["match", "--phrase", "0", "--wav", "x.wav", "--sound", "original"], "original.wav: is damaged"),
        (["match", "--phrase", "2", "--wav", "/nowhere/x.wav"], "/nowhere/x.wav: No such file or directory"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    state: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    next((state / "trace/match").glob("*.original.wav")).write_bytes(b"junk")
    assert main(["trace", *arguments]) == (3 if "/nowhere/x.wav" in arguments else 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


def samples(file: Path) -> np.ndarray:
    with wave.open(str(file)) as wav:
        return np.frombuffer(wav.readframes(wav.getnframes()), "<i2").reshape(-1, 2) / 32768

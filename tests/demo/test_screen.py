from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from dubrelay.config import Settings
from dubrelay.demo import screen
from dubrelay.demo.summary import Finding, Summary
from dubrelay.demo.usage import Share
from dubrelay.orchestrator import keys
from dubrelay.wire.status import PhraseReport

pytestmark = pytest.mark.unit


def _report(**changes: object) -> PhraseReport:
    known: dict[str, object] = {
        "sequence_number": 3,
        "t0_ms": 61_500,
        "started_at": 1_000_061.5,
        "duration_ms": 2600,
        "status": "dubbed",
        "transcript": "The town council has approved a new bridge over the river, and the work begins in the spring.",
        "translated_text": "El consejo de pueblo ha aprobado un puente nuevo [sobre] el río, y el trabajo empezará.",
        "voice": "kokoro/jm_kumo",
        "tempo": 1.31,
        "lag_ms": 240,
        "rtt_ms": 3120,
        "stage_ms": {"asr": 271, "mt": 4, "tts": 2402, "fit": 3, "wait": 120},
        "margin_ms": 1930,
        "notes": ["fast voice: kokoro would have been late"],
    }
    return PhraseReport.model_validate(known | changes)


def _printed(*reports: PhraseReport) -> str:
    out = Console(file=StringIO(), width=100, highlight=False)
    for report in reports:
        screen.phrase(out, report, 61.5)
    text = out.file.getvalue()  # type: ignore[attr-defined]
    assert all(len(line.rstrip()) <= 100 for line in text.splitlines())
    return str(text)


def test_a_dubbed_phrase_shows_all_that_is_known_of_it() -> None:
    text = " ".join(_printed(_report()).split())
    for part in (
        "1:01.5",
        "town council",
        "[sobre]",
        "2.6 s spoken",
        "3.12 s to dub",
        "asr 0.27",
        "mt 0.00",
        "tts 2.40",
    ):
        assert part in text
    for part in ("wait 0.12", "margin 1.9 s", "tempo 1.31", "kokoro/jm_kumo", "0.2 s late in place", "fast voice"):
        assert part in text


def test_a_phrase_left_original_says_why() -> None:
    report = _report(status="fallback", reason="deadline", message="no answer yet", transcript="", translated_text="")
    assert "stays: deadline, no answer yet" in _printed(report)


def test_no_words_is_one_line() -> None:
    report = _report(status="no_speech", transcript="", translated_text="")
    assert _printed(report).count("\n") == 1


def test_the_summary_counts_phrases_with_words_after_the_start() -> None:
    found = Summary(recording=Path("out.mp4"))
    found.phrases = [
        (2.0, _report(status="fallback", reason="error")),
        (20.0, _report(margin_ms=500)),
        (25.0, _report(voice="espeak-ng/es", margin_ms=2500)),
        (30.0, _report(status="no_speech")),
        (35.0, _report(status="fallback", reason="deadline")),
    ]
    found.measured(8420, -0.5)
    found.measured(8440, 1.0)
    found.measured(None, None)
    rows = dict(found.rows())
    assert rows["dubbed on time"] == "2 of 3 (67 %)"
    assert rows["of them in the quality voice"] == "1 of 2 (50 %)"
    assert rows["left original"] == "1 deadline"
    assert rows["margin to the deadline"] == "1.50 s median, 0.50 s least"
    assert rows["delay in to out"] == "8.43 s median, 8.44 s most"
    assert rows["sound against picture"] == "0.25 ms median, 1.00 ms most"


def test_an_empty_run_has_a_summary_too() -> None:
    found = Summary(recording=Path("out.mp4"))
    assert dict(found.rows())["dubbed on time"] == "none"
    assert found.last_failure == "No speech was found."


def test_addresses_summary_and_findings_fit_100_columns(tmp_path: Path) -> None:
    out = Console(file=StringIO(), width=100, highlight=False)
    link = keys.link(tmp_path / "keys.json", "demo", "in", 86_400)
    screen.addresses(out, Settings(), "demo", {"in": link})
    screen.summary(out, Summary(recording=Path("var/demo/out.mp4")), [Share("worker", 0.22, 170)])
    screen.findings(out, [Finding("es is spoken", True, "in 8 of 8 places"), Finding("x", False, "y", needed=False)])
    text = out.file.getvalue()  # type: ignore[attr-defined]
    assert f"rtmp://127.0.0.1:1935/live/demo/in?{link}\n" in text
    assert "rtmp://127.0.0.1:1935/live/demo/out\n" in text
    assert "http://127.0.0.1:8888/live/demo/out" in text
    assert "0.22 core, 170 MB" in text
    assert all(len(line) <= 100 for line in text.splitlines())

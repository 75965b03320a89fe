from __future__ import annotations

from pathlib import Path

import pytest

from dubrelay.orchestrator.captionfiles import Journal, Said, captions, ends_at
from dubrelay.wire.status import PhraseReport

pytestmark = pytest.mark.unit

EPOCH = 1.7e9


def said(at: float, text: str = "Hola.", *, source: str = "en", target: str = "es", delay_s: float = 8) -> Said:
    """Its dub is heard from EPOCH + at + delay_s on, for 1.8 s."""
    phrase = PhraseReport(
        sequence_number=round(at), t0_ms=round(at * 1000), started_at=EPOCH + at, duration_ms=2000, status="dubbed",
        dub_t0_ms=round(at * 1000), dubbed_ms=1800, transcript=f"{text} in the original", translated_text=text,
    )  # fmt: skip
    return Said(source_language=source, target_language=target, delay_s=delay_s, phrase=phrase)


def test_each_language_has_a_file_with_times_from_the_beginning_of_the_recording() -> None:
    found = captions([said(0), said(5, "Adiós.")], EPOCH + 10, EPOCH + 20)
    assert found == {
        "es": "WEBVTT - es\n\n00:00:03.000 --> 00:00:04.800\nAdiós.\n",
        "en": "WEBVTT - en\n\n00:00:03.000 --> 00:00:05.000\nAdiós. in the original\n",
    }


def test_a_phrase_across_two_recordings_is_in_both() -> None:
    whole = [said(1)]
    assert "00:00:09.000 --> 00:00:10.000" in captions(whole, EPOCH, EPOCH + 10)["es"]
    assert "00:00:00.000 --> 00:00:00.800" in captions(whole, EPOCH + 10, EPOCH + 20)["es"]


def test_a_language_that_changes_on_the_way_has_what_was_said_in_it() -> None:
    phrases = [said(0, "Uno."), said(4, "Two.", source="es", target="en")]
    found = captions(phrases, EPOCH + 8, EPOCH + 20)
    assert "Uno.\n" in found["es"]
    assert "Two. in the original" in found["es"]
    assert "Uno. in the original" in found["en"]
    assert "Two.\n" in found["en"]


def test_a_language_that_nobody_named_is_undetermined_and_one_that_is_both_is_there_once() -> None:
    assert set(captions([said(0, source="auto")], EPOCH, EPOCH + 20)) == {"es", "und"}
    assert set(captions([said(0, source="es")], EPOCH, EPOCH + 20)) == {"es"}


def test_where_nothing_is_heard_there_is_no_file() -> None:
    assert captions([said(0)], EPOCH + 11, EPOCH + 20) == {}
    assert captions([], EPOCH, EPOCH + 20) == {}


def test_what_was_said_outlives_the_process_also_behind_a_line_that_was_cut_off(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "live" / "x" / "out")
    journal.add([said(0), said(3)])
    with journal.file.open("a", encoding="utf-8") as opened:
        opened.write('{"source_language": "en", "tar')
    again = Journal(journal.file.parent)
    again.load()
    again.add([said(6)])
    third = Journal(journal.file.parent)
    third.load()
    assert third.said == again.said == [said(0), said(3), said(6)]


def test_what_is_over_is_forgotten_and_an_empty_journal_leaves_no_file(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.add([said(0), said(3)])
    journal.forget_before(ends_at(said(0)) + 0.1)
    again = Journal(tmp_path)
    again.load()
    assert again.said == journal.said == [said(3)]
    journal.forget_before(EPOCH + 100)
    assert list(tmp_path.iterdir()) == []

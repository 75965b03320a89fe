from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dubrelay.demo.access_units import PictureMatch
from dubrelay.demo.listening import (
    RATE_HZ,
    Mono,
    Recording,
    bed_finding,
    is_heard,
    language_finding,
    original_finding,
    picture_finding,
)
from dubrelay.demo.programme import Programme, Sentence

pytestmark = pytest.mark.unit

SECONDS = 30.0
TEXTS = ("the bridge will be closed until the spring", "farmers expect a very good harvest this year")
SENTENCES = tuple(
    Sentence(text=TEXTS[n % 2], start_s=start, end_s=start + 2.5)
    for n, start in enumerate((1.0, 7.0, 13.0, 19.0, 25.0))
)


def _bed(seconds: float, level: float = 0.02) -> Mono:
    return np.asarray(level * np.random.default_rng(0).standard_normal(round(seconds * RATE_HZ)), np.float32)


def _spoken(value: float, level: float = 0.02, shift_s: float = 0.0, seconds: float = SECONDS) -> Mono:
    """A bed in which each sentence is a stretch of one constant value: who listens tells them apart by it."""
    sound = _bed(seconds, level)
    for sentence in SENTENCES:
        lo, hi = round((sentence.start_s + shift_s) * RATE_HZ), round((sentence.end_s + shift_s) * RATE_HZ)
        sound[max(0, lo) : max(0, hi)] += value
    return sound


def _recording(recorded: Mono, offset_s: float = 0.0) -> Recording:
    return Recording(
        programme=Programme(path=Path("p.mp4"), seconds=SECONDS, sentences=SENTENCES),
        published=_spoken(0.3),
        recorded=recorded,
        picture=PictureMatch(recorded=10, equal=10, first=0, offset_s=offset_s),
    )


class _Ear:
    """Hears the original where the sound's mean is positive, Spanish where it is negative."""

    def language(self, samples: Mono) -> tuple[str, float]:
        middle = float(samples[: 2 * RATE_HZ].mean())
        return ("en" if middle > 0.1 else "es", 0.9 if abs(middle) > 0.1 else 0.2)

    def words(self, samples: Mono) -> str:
        return " ".join(TEXTS) if float(samples.mean()) > 0.1 else "a frase in otra lengua"


def test_a_dubbed_recording_is_found_good_at_any_offset() -> None:
    recording = _recording(_spoken(-0.3, shift_s=-2.0), offset_s=-2.0)
    assert [s.start_s for s in recording.sentences] == [5.0, 11.0, 17.0, 23.0]
    assert language_finding(recording, _Ear(), "es").good
    assert original_finding(recording, _Ear(), most=0).good
    assert bed_finding(recording).good


def test_the_original_left_as_it_was_is_found_bad() -> None:
    recording = _recording(_spoken(0.3))
    language, original = language_finding(recording, _Ear(), "es"), original_finding(recording, _Ear(), most=0)
    assert not language.good
    assert "elsewhere en" in language.how
    assert not original.good
    assert original.how.startswith("5 of 5")


def test_what_was_left_original_on_purpose_may_be_heard() -> None:
    assert original_finding(_recording(_spoken(0.3)), _Ear(), most=5).good


def test_an_ear_that_does_not_hear_the_original_in_what_was_published_proves_nothing() -> None:
    deaf = _Ear()
    deaf.words = lambda samples: ""  # type: ignore[method-assign]
    assert not original_finding(_recording(_spoken(-0.3)), deaf, most=0).good


def test_no_speech_in_the_recording_is_no_proof_of_the_language() -> None:
    assert not language_finding(_recording(_bed(SECONDS)), _Ear(), "es").good


def test_a_background_that_was_lost_is_found() -> None:
    finding = bed_finding(_recording(_spoken(-0.3, level=0.005)))
    assert not finding.good
    assert "-12.0 dB in 4 pauses" in finding.how


def test_a_repeated_programme_has_its_sentences_again() -> None:
    recording = _recording(_bed(2 * SECONDS), offset_s=-10.0)
    assert [round(s.start_s, 3) for s in recording.sentences] == [3, 9, 15, 21, 27, 33, 39, 45, 51, 57]


def test_a_changed_picture_is_found() -> None:
    assert picture_finding(_recording(_bed(1))).good
    changed = Recording(
        programme=Programme(path=Path("p.mp4"), seconds=1),
        published=_bed(1),
        recorded=_bed(1),
        picture=PictureMatch(recorded=10, equal=9, first=0, offset_s=0),
    )
    assert not picture_finding(changed).good
    assert not picture_finding(Recording(changed.programme, changed.published, changed.recorded, None)).good


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        ("The bridge will be closed until the spring.", True),
        ("the bridge will be closed, until spring", True),
        ("the bridge is closed in the spring", False),
        ("el puente estará cerrado hasta la primavera", False),
        ("", False),
    ],
)
def test_a_sentence_is_heard_when_half_of_its_runs_of_three_words_are(heard: str, expected: bool) -> None:
    assert is_heard(TEXTS[0], heard) is expected

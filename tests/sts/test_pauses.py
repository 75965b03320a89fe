from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay.sts.pauses import Span, followed, of_original
from dubrelay.wire.fragment import Word

pytestmark = pytest.mark.unit

RATE_HZ = 16_000
Mono = npt.NDArray[np.float32]


def sound(*lengths_s: float, bed: float = 0.0) -> Mono:
    """Buzz and silence by turns, so long each, over a bed of noise."""
    pieces = []
    for turn, length_s in enumerate(lengths_s):
        at_s = np.arange(round(length_s * RATE_HZ)) / RATE_HZ
        pieces.append(0.3 * np.sin(2 * np.pi * 150 * at_s) * (turn % 2 == 0))
    whole = np.concatenate(pieces)
    return (whole + np.random.default_rng(1).normal(0, 1, len(whole)) * bed).astype(np.float32)


def lengths_s(samples: Mono) -> list[float]:
    """Of buzz and silence by turns."""
    whole = len(samples) // 160 * 160
    loud = np.abs(samples[:whole].reshape(-1, 160)).max(axis=1) > 0.03
    edges = np.flatnonzero(np.diff(loud.astype(int)) != 0) + 1
    return [float(n) * 0.01 for n in np.diff([0, *edges, len(loud)])]


def test_pauses_are_found_under_music_and_count_from_where_the_voice_begins() -> None:
    original = np.concatenate([np.zeros(4000, np.float32), sound(1.0, 0.3, 1.0, 0.05, 0.5)])
    noise = np.random.default_rng(1).normal(0, 0.03, len(original)).astype(np.float32)
    (pause,) = of_original(original + noise, RATE_HZ)
    assert pause == pytest.approx((1.0, 1.3), abs=0.03)


def test_silence_around_the_voice_is_no_pause() -> None:
    quiet = np.zeros(RATE_HZ, np.float32)
    assert of_original(np.concatenate([quiet, sound(1.0), quiet]), RATE_HZ) == []
    assert of_original(quiet, RATE_HZ) == of_original(quiet[:0], RATE_HZ) == []


def test_the_times_of_the_words_are_believed_when_there_are_any() -> None:
    words = [Word(text="a", start_ms=200, end_ms=600), Word(text="b", start_ms=950, end_ms=1200)]
    words.append(Word(text="c", start_ms=1250, end_ms=1500))
    assert of_original(sound(3.0), RATE_HZ, words) == [pytest.approx((0.4, 0.75))]


DUB = sound(0.8, 0.06, 0.8)
TEXT = "Buenas noches, buenas tardes."


def test_the_dub_waits_between_clauses_where_the_speaker_paused() -> None:
    out = followed(DUB, RATE_HZ, TEXT, [Span(0.9, 1.2)], 3.0)
    assert lengths_s(out) == pytest.approx([0.8, 0.3, 0.8], abs=0.02)


def test_no_more_silence_than_there_is_room_for() -> None:
    out = followed(DUB, RATE_HZ, TEXT, [Span(0.9, 1.2)], 1.76)
    assert len(out) / RATE_HZ == pytest.approx(1.76, abs=0.001)
    assert lengths_s(out) == pytest.approx([0.8, 0.16, 0.8], abs=0.02)


@pytest.mark.parametrize(
    ("dub", "text", "pauses", "room_s"),
    [
        (DUB, TEXT, [Span(0.9, 1.2)], 1.66),  # no room
        (DUB, TEXT, [Span(0.9, 1.2)], 1.0),  # less than none
        (DUB, TEXT, [], 3.0),  # the speaker did not pause
        (DUB, "Buenas noches buenas tardes.", [Span(0.9, 1.2)], 3.0),  # one clause
        (DUB, "2,5 y 3.5 son muchos", [Span(0.9, 1.2)], 3.0),  # marks inside numbers end no clause
        (DUB, TEXT, [Span(2.2, 2.5)], 3.0),  # the speaker paused elsewhere
        (sound(1.66), TEXT, [Span(0.9, 1.2)], 3.0),  # the dub has no gap: never inside a word
        (DUB, TEXT, [Span(0.8, 0.85)], 3.0),  # its gap is as long already
    ],
)
def test_else_the_dub_stays_as_it_is(dub: Mono, text: str, pauses: list[Span], room_s: float) -> None:
    assert followed(dub, RATE_HZ, text, pauses, room_s) is dub


def test_several_pauses_are_followed_in_their_order() -> None:
    dub = sound(0.6, 0.05, 0.6, 0.05, 0.6)
    text = "uno dos tres, uno dos tres, uno dos tres"
    out = followed(dub, RATE_HZ, text, [Span(0.6, 0.8), Span(1.4, 1.65)], 4.0)
    assert lengths_s(out) == pytest.approx([0.6, 0.2, 0.6, 0.25, 0.6], abs=0.02)


def test_nothing_clicks_where_silence_is_put_in() -> None:
    dub = DUB + np.float32(0.02)
    out = followed(dub, RATE_HZ, TEXT, [Span(0.9, 1.2)], 3.0)
    assert len(out) > len(dub)
    assert np.abs(np.diff(out)).max() <= np.abs(np.diff(dub)).max() + 1e-6


@given(
    st.lists(st.floats(0.05, 0.8), min_size=1, max_size=9),
    st.lists(st.tuples(st.floats(0, 4), st.floats(0.12, 0.4)), max_size=4),
    st.floats(0.1, 8),
    st.text("ab, .1", max_size=40),
)
def test_the_room_is_never_passed_and_no_sound_is_lost(
    lengths: list[float], pauses: list[tuple[float, float]], room_s: float, text: str
) -> None:
    dub = sound(*lengths)
    spans = [Span(at, at + length) for at, length in sorted(pauses)]
    out = followed(dub, RATE_HZ, text, spans, room_s)
    assert len(out) <= max(len(dub), room_s * RATE_HZ)
    assert len(out) >= len(dub)
    assert np.abs(out).sum() == pytest.approx(np.abs(dub).sum(), rel=0.03)

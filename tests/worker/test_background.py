from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dubrelay.audio import Samples, samples_in
from dubrelay.worker.background import MARGIN, Background
from dubrelay.worker.separate import DELAY, FRAME

pytestmark = pytest.mark.unit

VAD_FRAME = 1536
FADE = samples_in(0.01)
LEFT = np.float32(0.25)
"""What the separation here leaves of every sample, whatever it is."""
COURSES = st.lists(st.tuples(st.booleans(), st.integers(1, 40)), max_size=8).map(
    lambda runs: [spoken for spoken, count in runs for _ in range(count)]
)
"""Whether somebody speaks in each frame: in runs, as people do."""


class KnownSeparation:
    """With the delay of the real one and a result that is known."""

    def __init__(self) -> None:
        self.heard = self.restarts = 0
        self.restart()

    def restart(self) -> None:
        self.restarts += 1
        self._run: Samples = np.zeros((0, 2), np.float32)
        self._out = 0

    def push(self, samples: Samples) -> tuple[Samples, npt.NDArray[np.float32]]:
        self.heard += len(samples)
        self._run = np.concatenate([self._run, samples])
        start, self._out = self._out, max(0, len(self._run) // FRAME * FRAME - DELAY)
        return self._run[start : self._out] * LEFT, self._run[start : self._out, 0] * (1 - LEFT)


def sound_of(frames: int, seed: int = 0) -> Samples:
    return np.random.default_rng(seed).uniform(0.1, 1, (frames * VAD_FRAME, 2)).astype(np.float32)


def heard(by: Background, sound: Samples, course: list[bool], at: int, taken_at: set[int], wanted: set[int]) -> Samples:
    """All of the background, asked for after some of the frames."""
    by.begin(at)
    by.add(sound)
    parts = []
    for n, spoken in enumerate(course):
        start = at + n * VAD_FRAME
        by.frame(start, start + VAD_FRAME, spoken, wanted=n in wanted)
        if n in taken_at:
            parts.append(by.take())
    parts.append(by.end())
    ends = [begins + len(part) for begins, part in parts]
    assert [begins for begins, _ in parts] == [at, *ends[:-1]]
    assert ends[-1] == at + len(sound)
    return np.concatenate([part for _, part in parts])


def near_speech(course: list[bool], reach: int) -> npt.NDArray[np.bool_]:
    near = np.zeros(len(course) * VAD_FRAME, np.bool_)
    for n, spoken in enumerate(course):
        if spoken:
            near[max(0, n * VAD_FRAME - reach) : (n + 1) * VAD_FRAME + reach] = True
    return near


@given(COURSES, st.sets(st.integers(0, 300)), st.sets(st.integers(0, 300)), st.integers(0, 10**9))
@settings(max_examples=60)
def test_it_is_the_original_away_from_speech_and_what_separation_leaves_near_it(
    course: list[bool], taken_at: set[int], wanted: set[int], at: int
) -> None:
    sound = sound_of(len(course))
    found = heard(Background(KnownSeparation()), sound, course, at, taken_at, wanted)
    far = ~near_speech(course, MARGIN + FADE)
    assert np.array_equal(found[far], sound[far])
    near = near_speech(course, MARGIN - FADE)
    np.testing.assert_allclose(found[near], sound[near] * LEFT, rtol=1e-5)
    share = (sound - found) / (sound * (1 - LEFT))
    assert -1e-5 < share.min(initial=0) <= share.max(initial=1) < 1 + 1e-5
    assert np.abs(np.diff(share, axis=0)).max(initial=0) < 2 / FADE


@given(COURSES, st.sets(st.integers(0, 300)), st.sets(st.integers(0, 300)))
@settings(max_examples=40)
def test_when_it_is_asked_for_changes_nothing(course: list[bool], taken_at: set[int], wanted: set[int]) -> None:
    sound = sound_of(len(course))
    one = heard(Background(KnownSeparation()), sound, course, 0, taken_at, wanted)
    other = heard(Background(KnownSeparation()), sound, course, 0, set(), wanted)
    assert np.array_equal(one, other)


@given(COURSES)
@settings(max_examples=40)
def test_it_is_never_far_behind_and_close_when_it_is_wanted(course: list[bool]) -> None:
    background, given_until = Background(KnownSeparation()), 0
    background.add(sound_of(len(course)))
    for n, spoken in enumerate(course):
        end = (n + 1) * VAD_FRAME
        wanted = n % 7 == 0
        background.frame(end - VAD_FRAME, end, spoken, wanted)
        at, part = background.take()
        given_until = at + len(part)
        speaking = any(course[max(0, n - 3) : n + 1])
        assert given_until >= end - samples_in(0.6)
        assert not (wanted and speaking) or given_until >= end - DELAY - FRAME


def test_separation_hears_what_is_near_speech_and_a_second_before() -> None:
    separation = KnownSeparation()
    course = [False] * 100 + [True] * 30 + [False] * 100 + [True] * 30 + [False] * 100
    heard(Background(separation), sound_of(len(course)), course, 0, set(range(len(course))), set())
    once = samples_in(1.0) + MARGIN + 30 * VAD_FRAME + MARGIN
    assert 2 * once < separation.heard < 2 * (once + samples_in(0.1))


def test_after_a_short_pause_separation_goes_on_where_it_was() -> None:
    separation = KnownSeparation()
    course = [False] * 100 + ([True] * 30 + [False] * 30) * 5
    background = Background(separation)
    before = separation.restarts
    heard(background, sound_of(len(course)), course, 0, set(range(len(course))), set())
    assert separation.restarts == before + 2  # the beginning, and the first word
    assert separation.heard < samples_in(1.0) + MARGIN + (len(course) - 100) * VAD_FRAME


def test_a_new_run_knows_nothing_of_the_one_before() -> None:
    background = Background(KnownSeparation())
    course = [False] * 5 + [True] * 5
    heard(background, sound_of(10), course, 0, set(), set())
    sound = sound_of(20, seed=1)
    assert np.array_equal(heard(background, sound, [False] * 20, 10 * VAD_FRAME, set(), set()), sound)

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dubrelay import config
from dubrelay.audio import RATE_HZ, Samples, rms, samples_in
from dubrelay.worker.cut import Span
from dubrelay.worker.listen import Heard, Listener

pytestmark = pytest.mark.unit

FRAME = 1536


class Loudness:
    """A detector that takes all that is loud for speech: it is known to the sample where it must find some."""

    def push(self, samples: npt.NDArray[np.float32]) -> list[float]:
        return [1.0 if rms(samples) > 0.02 else 0.0]

    def reset(self) -> None:
        pass


def listener() -> Listener:
    return Listener(config.Cut(), Loudness(), None)


def beeps(*times: tuple[float, float], length_s: float = 6.0) -> Samples:
    sound = np.zeros((samples_in(length_s), 2), np.float32)
    for start, end in times:
        n = np.arange(samples_in(start), samples_in(end))
        sound[n] = (0.3 * np.sin(2 * np.pi * 500 * n / RATE_HZ))[:, None]
    return sound


def listen(to: Listener, sound: Samples, at: int, blocks: list[int]) -> list[Span]:
    spans, done = list[Span](), 0
    for block in [*blocks, *[9600] * (len(sound) // 9600 + 1)]:
        spans += to.push(at + done, sound[done : done + block]).spans
        done = min(len(sound), done + block)
    return spans + to.flush().spans


def assert_tiles(spans: list[Span], start: int, end: int) -> None:
    assert [s.start for s in spans] == [start, *(s.end for s in spans[:-1])]
    assert spans[-1].end == end


@given(st.floats(0.5, 2.0), st.lists(st.integers(1, 30_000), max_size=20))
@settings(max_examples=40)
def test_speech_is_found_where_it_is_to_one_frame(start_s: float, blocks: list[int]) -> None:
    at = 1_000_003
    spans = listen(listener(), beeps((start_s, start_s + 1.2)), at, blocks)
    assert_tiles(spans, at, at + samples_in(6))
    (phrase,) = [s for s in spans if s.speech]
    assert abs(phrase.voice_start - (at + samples_in(start_s))) <= FRAME
    assert abs(phrase.end - samples_in(0.12) - (at + samples_in(start_s + 1.2))) <= FRAME


@given(st.lists(st.integers(0, 50_000), max_size=20))
@settings(max_examples=20)
def test_the_size_of_blocks_changes_nothing(blocks: list[int]) -> None:
    sound = beeps((0.7, 1.9), (2.4, 2.9), (3.4, 5.9))
    assert listen(listener(), sound, 0, blocks) == listen(listener(), sound, 0, [])


def test_a_jump_ends_what_was_begun_and_starts_over_there() -> None:
    ear, sound = listener(), beeps((0.5, 2.0), length_s=2)
    spans = ear.push(0, sound).spans
    jump = samples_in(10)
    spans += ear.push(jump, sound).spans
    first = [s for s in spans if s.start < jump]
    second = [s for s in spans if s.start >= jump] + ear.flush().spans
    assert_tiles(first, 0, len(sound))
    assert_tiles(second, jump, jump + len(sound))
    assert sum(s.speech for s in first) == sum(s.speech for s in second) == 1


def test_samples_that_were_heard_before_are_not_heard_again() -> None:
    ear, sound = listener(), beeps((0.5, 2.0), length_s=3)
    spans = ear.push(0, sound[:96_000]).spans
    spans += ear.push(48_000, sound[48_000:144_000]).spans
    spans += ear.push(10_000, sound[10_000:20_000]).spans + ear.flush().spans
    assert_tiles(spans, 0, 144_000)
    assert spans == listen(listener(), sound, 0, [])


def test_flush_of_nothing_is_nothing() -> None:
    ear = listener()
    assert ear.flush() == Heard(0, None, [])
    ear.push(0, beeps(length_s=1))
    assert ear.flush().spans
    assert ear.flush().spans == []


def test_after_a_flush_it_goes_on_where_it_was() -> None:
    ear, sound = listener(), beeps((0.2, 0.9), length_s=1)
    spans = ear.push(0, sound).spans + ear.flush().spans
    spans += ear.push(48_000, sound).spans + ear.flush().spans
    assert_tiles(spans, 0, 96_000)
    assert sum(s.speech for s in spans) == 2

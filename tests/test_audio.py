from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay import audio
from dubrelay.audio import Ring, Samples

pytestmark = pytest.mark.unit

CAPACITY = 40


def numbered(at: int, count: int) -> Samples:
    """Samples that say which ones they are; none is zero."""
    n = np.arange(at, at + count, dtype=np.float32) + 1
    return np.stack([n, -n], axis=1)


writes = st.lists(st.tuples(st.integers(-30, 70), st.integers(0, 55), st.integers(-20, 30)), min_size=1, max_size=25)


@given(writes)
def test_ring_holds_what_a_dictionary_of_the_latest_samples_would(steps: list[tuple[int, int, int]]) -> None:
    ring, known = Ring(CAPACITY), dict[int, float]()
    end = start = 0
    for move, count, forget in steps:
        at = max(0, end + move)
        ring.write(at, numbered(at, count))
        known.update({n: float(n + 1) for n in range(max(at, start), at + count)})
        if at + count > start:
            end = max(end, at + count)
        start = max(start, end - CAPACITY)
        if forget > 0:
            start = max(start, start + forget)
            end = max(end, start)
            ring.forget(start)
        assert (ring.start, ring.end) == (start, end)
        lo = start - 7
        got = ring.read(lo, end - lo + 9)
        expected = [known.get(n, 0.0) if start <= n < end else 0.0 for n in range(lo, end + 9)]
        assert got[:, 0].tolist() == expected
        assert got[:, 1].tolist() == [-x for x in expected]


def test_ring_takes_a_block_longer_than_itself() -> None:
    ring = Ring(CAPACITY)
    ring.write(5, numbered(5, 100))
    assert (ring.start, ring.end) == (65, 105)
    assert np.array_equal(ring.read(65, 40), numbered(65, 40))


@given(st.integers(0, 10**11))
def test_sample_number_and_time_go_back_and_forth(sample: int) -> None:
    assert audio.sample_at(audio.time_of(sample)) == sample


@given(st.binary(min_size=0, max_size=400).map(lambda b: b[: len(b) // 4 * 4]))
def test_pcm_comes_back_bit_exact(pcm: bytes) -> None:
    assert audio.to_pcm(audio.from_pcm(pcm)) == pcm


def test_what_is_too_loud_is_clipped_and_does_not_wrap() -> None:
    loud = np.array([[2.0, -2.0], [1.0, -1.0]], np.float32)
    assert np.frombuffer(audio.to_pcm(loud), "<i2").tolist() == [32767, -32768, 32767, -32768]


def test_gain_of_minus_100_db_is_nothing() -> None:
    assert audio.gain(-100) == 0.0
    assert audio.gain(0) == 1.0
    assert audio.gain(-20) == pytest.approx(0.1)

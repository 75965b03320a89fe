from __future__ import annotations

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from dubrelay.wire.status import PEAK_MS, Peaks
from dubrelay.worker.peaks import peaks

pytestmark = pytest.mark.unit


def decoded(text: str) -> list[int]:
    return list(base64.b64decode(text))


def test_each_byte_is_the_loudest_sample_of_its_time() -> None:
    samples = np.zeros((48_000 * 2 * PEAK_MS // 1000, 2), np.float32)
    samples[10, 1] = -0.5
    samples[-1, 0] = 1.0
    assert decoded(peaks(samples, 48_000)) == [128, 255]


def test_what_is_louder_than_full_scale_is_full_scale_and_nothing_is_nothing() -> None:
    assert decoded(peaks(np.full(3, -1.5, np.float32), 24_000)) == [255]
    assert peaks(np.zeros(0, np.float32), 24_000) == ""


@given(st.integers(1, 5000), st.sampled_from([8_000, 22_050, 24_000, 48_000]))
def test_it_is_as_long_as_the_sound(count: int, rate_hz: int) -> None:
    step = rate_hz * PEAK_MS // 1000
    assert len(decoded(peaks(np.zeros(count, np.float32), rate_hz))) == -(-count // step)


@given(st.integers(0, 5000))
def test_a_report_takes_them(count: int) -> None:
    made = peaks(np.ones(count, np.float32), 8000)
    assert TypeAdapter(Peaks).validate_python(made) == made


@pytest.mark.parametrize("text", ["A", "AA", "AAA", "AAAA=", "AB<>", "A===", "AAAA\n", "é", "A" * 4004])
def test_a_report_takes_nothing_else_for_them(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Peaks).validate_python(text)

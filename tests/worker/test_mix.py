from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay import config
from dubrelay.audio import RATE_HZ, samples_in
from dubrelay.loudness import loudness
from dubrelay.worker.mix import CEILING, Blend, Mode, Weights, limited, onset, placed

pytestmark = pytest.mark.unit

FADE = 960
runs = st.lists(st.tuples(st.sampled_from(list(Mode)), st.integers(1, 2500)), min_size=1, max_size=8)


def blend(**settings: float) -> Blend:
    return Blend(config.Mix(crossfade_ms=20, **settings))  # type: ignore[arg-type]


@given(runs)
def test_weights_are_ramps_between_the_modes_and_never_jump(parts: list[tuple[Mode, int]]) -> None:
    modes = np.concatenate([np.full(n, mode, np.int8) for mode, n in [(parts[0][0], FADE - 1), *parts]])
    weights = blend().weights(modes, 0)
    if weights is None:
        assert set(modes) == {Mode.ORIGINAL}
        return
    for track in (weights.original, weights.background, weights.dubbed):
        assert len(track) == len(modes) - FADE + 1
        assert track.min() >= 0
        assert track.max() <= 1
        assert np.abs(np.diff(track)).max(initial=0) <= 1 / FADE + 1e-6


@given(
    st.lists(
        st.tuples(st.sampled_from([Mode.ORIGINAL, Mode.DUBBED, Mode.BACKGROUND]), st.integers(1, 2500)), max_size=8
    )
)
def test_original_and_background_together_are_always_whole(parts: list[tuple[Mode, int]]) -> None:
    modes = np.concatenate(
        [np.full(n, mode, np.int8) for mode, n in [(Mode.DUBBED, FADE - 1), *parts, (Mode.DUBBED, 5)]]
    )
    weights = blend(original_gain_db=-20).weights(modes, 0)
    assert weights is not None
    np.testing.assert_allclose(weights.original + weights.background, 1, atol=1e-6)


def test_equal_modes_in_a_row_have_no_dip() -> None:
    weights = blend().weights(np.full(FADE - 1 + 100, Mode.DUBBED, np.int8), 0)
    assert weights is not None
    assert set(weights.background) == {1.0}
    assert set(weights.original) == {0.0}


@given(st.lists(st.tuples(st.integers(1, 2000), st.floats(-100, 0), st.floats(-100, 0)), min_size=1, max_size=6))
def test_gains_that_are_changed_move_along_a_crossfade(changes: list[tuple[int, float, float]]) -> None:
    made, at = blend(), 0
    parts: list[Weights] = []
    for count, floor_db, original_db in [*changes, (FADE, 0, -100)]:
        made.change(config.Mix(floor_gain_db=floor_db, original_gain_db=original_db), at)
        weights = made.weights(np.full(FADE - 1 + count, Mode.DUBBED, np.int8), at)
        assert weights is not None
        parts.append(weights)
        at += count
    for track in ("original", "background"):
        weight = np.concatenate([getattr(part, track) for part in parts])
        assert np.abs(np.diff(weight, prepend=track == "background")).max() <= 2 / FADE + 1e-6
    after = made.weights(np.full(FADE, Mode.DUBBED, np.int8), at)
    assert after is not None
    assert (float(after.original[0]), float(after.background[0])) == (0, 1)


def test_the_floor_is_how_loud_the_background_stays() -> None:
    weights = blend(floor_gain_db=-20).weights(np.full(FADE, Mode.DUBBED, np.int8), 0)
    assert weights is not None
    assert weights.background[0] == pytest.approx(0.1)


def test_limited_stays_below_the_ceiling_and_leaves_what_is_quiet_alone() -> None:
    sound = np.stack([np.linspace(-3, 3, 6001)] * 2, axis=1).astype(np.float32)
    out = limited(sound)
    assert np.abs(out).max() <= CEILING + 1e-6
    assert (np.diff(out[:, 0]) >= 0).all()
    quiet = np.abs(sound) < 0.59
    assert np.array_equal(out[quiet], sound[quiet])


def both(sound: npt.NDArray[np.float64], left: float = 1, right: float = 1) -> npt.NDArray[np.float32]:
    return np.asarray(np.stack([left * sound, right * sound], axis=1), np.float32)


def sine(peak_db: float, seconds: float = 5, hz: float = 997) -> npt.NDArray[np.float64]:
    return np.asarray(10 ** (peak_db / 20) * np.sin(2 * np.pi * hz * np.arange(samples_in(seconds)) / RATE_HZ))


def test_a_dub_is_as_loud_as_the_voice_it_replaces_whatever_the_pauses() -> None:
    rng = np.random.default_rng(1)
    voice = both(rng.standard_normal(96_000) * 0.1)
    voice[20_000:60_000] = 0
    dub = (rng.standard_normal(60_000) * 0.02).astype(np.float32)
    assert loudness(placed(dub, voice)) == pytest.approx(loudness(voice), abs=0.5)


@pytest.mark.parametrize(("left", "right"), [(1, 1), (1, 0), (0, 1), (1, 0.5)])
def test_a_dub_comes_from_where_the_voice_came(left: float, right: float) -> None:
    rng = np.random.default_rng(1)
    voice = both(rng.standard_normal(96_000) * 0.1, left, right)
    out = placed((rng.standard_normal(60_000) * 0.02).astype(np.float32), voice)
    powers, wanted = np.mean(out**2, axis=0), np.mean(voice**2, axis=0)
    np.testing.assert_allclose(powers / powers.sum(), wanted / wanted.sum(), atol=0.02)
    assert loudness(out) == pytest.approx(loudness(voice), abs=0.5)


@pytest.mark.parametrize(("own_db", "gain_db"), [(-50, 15), (0, -12), (-200, 0)])
def test_the_gain_of_a_dub_is_bounded(own_db: float, gain_db: float) -> None:
    out = placed(sine(own_db).astype(np.float32), both(sine(-23)))
    assert out[24_000:].max() == pytest.approx(10 ** ((own_db + gain_db) / 20), rel=0.01)


def test_a_dub_begins_and_ends_softly() -> None:
    out = placed(np.full(9_600, 0.1, np.float32), both(np.full(9_600, 0.1)))
    assert (out[0] == 0).all()
    assert np.abs(out[-1]).max() < 0.001
    assert np.abs(np.diff(out, axis=0)).max() < 0.001


def test_a_voice_is_placed_from_its_soft_first_sound_on() -> None:
    rng = np.random.default_rng(1)
    voice = (0.001 * rng.standard_normal(samples_in(1))).astype(np.float32)
    soft, loud = samples_in(0.2), samples_in(0.28)
    voice[soft:loud] += 0.04 * np.sin(np.arange(loud - soft) * 0.4).astype(np.float32)
    voice[loud:] += 0.2 * np.sin(np.arange(len(voice) - loud) * 0.05).astype(np.float32)
    assert onset(voice, samples_in(0.3)) == pytest.approx(soft, abs=samples_in(0.011))
    assert onset(voice[soft:], 0) == 0
    assert onset(np.zeros(1000, np.float32), 900) == 900

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay import config
from dubrelay.audio import samples_in
from dubrelay.worker.mix import CEILING, Blend, Mode, levelled, limited, onset, voiced_rms

pytestmark = pytest.mark.unit

FADE = 960
runs = st.lists(st.tuples(st.sampled_from(list(Mode)), st.integers(1, 2500)), min_size=1, max_size=8)


def blend(**settings: float) -> Blend:
    return Blend(config.Mix(crossfade_ms=20, **settings))  # type: ignore[arg-type]


@given(runs)
def test_weights_are_ramps_between_the_modes_and_never_jump(parts: list[tuple[Mode, int]]) -> None:
    modes = np.concatenate([np.full(n, mode, np.int8) for mode, n in [(parts[0][0], FADE - 1), *parts]])
    weights = blend().weights(modes)
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
    weights = blend(original_gain_db=-20).weights(modes)
    assert weights is not None
    np.testing.assert_allclose(weights.original + weights.background, 1, atol=1e-6)


def test_equal_modes_in_a_row_have_no_dip() -> None:
    weights = blend().weights(np.full(FADE - 1 + 100, Mode.DUBBED, np.int8))
    assert weights is not None
    assert set(weights.background) == {1.0}
    assert set(weights.original) == {0.0}


def test_limited_stays_below_minus_1_dbfs_and_leaves_what_is_quiet_alone() -> None:
    sound = np.stack([np.linspace(-3, 3, 6001)] * 2, axis=1).astype(np.float32)
    out = limited(sound)
    assert np.abs(out).max() <= CEILING + 1e-6
    assert (np.diff(out[:, 0]) >= 0).all()
    quiet = np.abs(sound) < 0.6
    assert np.array_equal(out[quiet], sound[quiet])


def test_a_dub_gets_the_level_of_the_voice_it_replaces_whatever_the_pauses() -> None:
    rng = np.random.default_rng(1)
    voice = (rng.standard_normal(48_000) * 0.1).astype(np.float32)
    voice[20_000:40_000] = 0
    dub = (rng.standard_normal(60_000) * 0.02).astype(np.float32)
    assert voiced_rms(levelled(dub, voice)) == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize(("own", "gain"), [(0.001, 6.0), (0.9, 0.25), (0.0, 1.0)])
def test_the_gain_of_a_dub_is_bounded(own: float, gain: float) -> None:
    voice = np.full(48_000, 0.1, np.float32)
    dub = np.full(48_000, own, np.float32)
    assert levelled(dub, voice)[24_000] == pytest.approx(own * gain, rel=1e-5)


def test_a_dub_begins_and_ends_softly() -> None:
    out = levelled(np.full(9_600, 0.1, np.float32), np.full(9_600, 0.1, np.float32))
    assert out[0] == 0
    assert abs(out[-1]) < 0.001
    assert np.abs(np.diff(out)).max() < 0.001


def test_a_voice_is_placed_from_its_soft_first_sound_on() -> None:
    rng = np.random.default_rng(1)
    voice = (0.001 * rng.standard_normal(samples_in(1))).astype(np.float32)
    soft, loud = samples_in(0.2), samples_in(0.28)
    voice[soft:loud] += 0.04 * np.sin(np.arange(loud - soft) * 0.4).astype(np.float32)
    voice[loud:] += 0.2 * np.sin(np.arange(len(voice) - loud) * 0.05).astype(np.float32)
    assert onset(voice, samples_in(0.3)) == pytest.approx(soft, abs=samples_in(0.011))
    assert onset(voice[soft:], 0) == 0
    assert onset(np.zeros(1000, np.float32), 900) == 900

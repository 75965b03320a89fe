from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dubrelay import config
from dubrelay.audio import RATE_HZ, Samples, samples_in
from dubrelay.config import Programme
from dubrelay.wire.status import FallbackReason
from dubrelay.worker.cut import Span
from dubrelay.worker.mix import CEILING
from dubrelay.worker.steady import Steadiness
from dubrelay.worker.timeline import GAP, OVERRUN, Decision, Timeline

pytestmark = pytest.mark.unit

LENGTH = samples_in(6)
FADE = samples_in(0.02)


def tone(hz: float, level: float, count: int = LENGTH, rate_hz: int = RATE_HZ) -> npt.NDArray[np.float32]:
    return (level * np.sin(2 * np.pi * hz * np.arange(count) / rate_hz)).astype(np.float32)


BED: Samples = np.stack([tone(110, 0.1), tone(140, 0.1)], axis=1)
VOICE: Samples = np.stack([tone(400, 0.2)] * 2, axis=1)
ORIGINAL: Samples = BED + VOICE


def span(start_s: float, end_s: float, *, voice_s: float | None = None, quiet_s: float = 0.2) -> Span:
    start, end = samples_in(start_s), samples_in(end_s)
    voice = start if voice_s is None else samples_in(voice_s)
    return Span(start, end, True, voice, end + samples_in(quiet_s))


def timeline(fallback: config.Fallback = "original", *, background: bool = True, **mix: float) -> Timeline:
    made = Timeline(config.Mix(**mix), fallback, capacity_s=10)  # type: ignore[arg-type]
    made.write_original(0, ORIGINAL)
    if background:
        made.write_background(0, BED)
    return made


def spoken(duration_s: float, level: float = 0.2) -> npt.NDArray[np.float32]:
    return tone(900, level, round(duration_s * 24_000), 24_000)


def render(made: Timeline, block: int = 9_600, count: int = LENGTH) -> Samples:
    return np.concatenate([made.render(at, min(block, count - at)) for at in range(0, count, block)])


def fate(made: Timeline) -> dict[int, Decision]:
    return {d.sequence: d for d in made.decided()}


def level_of(sound: Samples, hz: float) -> float:
    """Amplitude of one frequency in the left channel."""
    n = np.arange(len(sound))
    return float(2 * abs(np.mean(sound[:, 0] * np.exp(-2j * np.pi * hz * n / RATE_HZ))))


def part(sound: Samples, start_s: float, end_s: float) -> Samples:
    return sound[samples_in(start_s) : samples_in(end_s)]


def test_without_a_phrase_the_output_is_the_original_bit_for_bit() -> None:
    assert np.array_equal(render(timeline(), block=777), ORIGINAL)


def test_what_never_came_in_is_silence_and_not_a_gap() -> None:
    made = Timeline(config.Mix(), "original", capacity_s=2)
    made.write_original(4_800, ORIGINAL[:4_800])
    out = made.render(0, 14_400)
    assert not out[:4_800].any()
    assert np.array_equal(out[4_800:9_600], ORIGINAL[:4_800])
    assert not out[9_600:].any()


def test_a_dubbed_phrase_is_heard_over_the_background_from_where_its_voice_began() -> None:
    made = timeline()
    original = ORIGINAL.copy()
    original[: samples_in(1.25)] = BED[: samples_in(1.25)]
    made.write_original(0, original)
    made.add(0, span(1, 3, voice_s=1.32))  # where the detector was sure
    made.dubbed(0, spoken(1.5), 24_000)
    out = render(made)
    decided = fate(made)[0]
    assert (decided.status, decided.lag_samples, decided.dub_samples) == ("dubbed", 0, samples_in(1.5))
    assert decided.placed_at == pytest.approx(samples_in(1.25), abs=samples_in(0.011))
    assert np.array_equal(part(out, 0, 1), part(original, 0, 1))
    np.testing.assert_allclose(part(out, 1.03, 1.25), part(BED, 1.03, 1.25), atol=1e-6)
    middle = part(out, 1.5, 2.5)
    assert level_of(middle, 900) == pytest.approx(0.2, rel=0.1)  # as loud, which 900 Hz is with a little less
    assert level_of(middle, 400) < 0.001
    assert level_of(middle, 110) == pytest.approx(0.1, rel=0.02)
    np.testing.assert_allclose(part(out, 2.76, 3), part(BED, 2.76, 3), atol=1e-6)
    assert np.array_equal(part(out, 3.02, 6), part(ORIGINAL, 3.02, 6))


def test_background_stays_until_a_long_dub_has_ended() -> None:
    made = timeline()
    made.add(0, span(1, 2))
    made.dubbed(0, spoken(1.5), 24_000)
    out = render(made)
    assert level_of(part(out, 2.1, 2.45), 400) < 0.002
    assert np.array_equal(part(out, 2.53, 6), part(ORIGINAL, 2.53, 6))


def test_the_original_may_be_left_under_the_dub() -> None:
    made = timeline(original_gain_db=-20)
    made.add(0, span(1, 3))
    made.dubbed(0, spoken(1.9), 24_000)
    middle = part(render(made), 1.5, 2.5)
    assert level_of(middle, 400) == pytest.approx(0.02, rel=0.02)
    assert level_of(middle, 110) == pytest.approx(0.1, rel=0.02)


@pytest.mark.parametrize(
    ("fallback", "voice", "bed"),
    [("original", 0.2, 0.1), ("background", 0, 0.1), ("ducked", 0.0356, 0.0178), ("silence", 0, 0)],
)
def test_a_failed_phrase_becomes_the_fallback(fallback: config.Fallback, voice: float, bed: float) -> None:
    made = timeline(fallback)
    made.add(0, span(1, 3))
    made.failed(0, "error")
    out = render(made)
    assert fate(made)[0] == Decision(0, span(1, 3), "fallback", "error")
    middle = part(out, 1.5, 2.5)
    assert level_of(middle, 400) == pytest.approx(voice, abs=0.001)
    assert level_of(middle, 110) == pytest.approx(bed, abs=0.001)
    assert np.array_equal(part(out, 3.02, 6), part(ORIGINAL, 3.02, 6))


def halves(made: Timeline, at_s: float, change: Callable[[], None]) -> Samples:
    """Rendered up to `at_s`, changed, and rendered on."""
    first, whole = samples_in(at_s), LENGTH
    before = made.render(0, first)
    change()
    return np.concatenate([before, *(made.render(at, min(9_600, whole - at)) for at in range(first, whole, 9_600))])


@pytest.mark.parametrize(("programme", "bed"), [("bypass", 0.1), ("silence", 0)])
def test_bypass_and_silence_take_over_in_the_middle_of_a_dub(programme: Programme, bed: float) -> None:
    made = timeline()
    made.add(0, span(1, 4))
    made.dubbed(0, spoken(2.9), 24_000)
    out = halves(made, 2, lambda: made.put_on(programme))
    assert level_of(part(out, 1.2, 1.9), 900) > 0.1
    after = part(out, 2.03, 3.9)
    assert level_of(after, 900) < 0.001
    assert level_of(after, 400) == pytest.approx(2 * bed, abs=0.001)
    assert level_of(after, 110) == pytest.approx(bed, abs=0.001)
    assert clicks(out) == 0
    assert fate(made)[0].status == "dubbed"


def test_the_original_is_kept_whole_under_a_dub_and_silent_where_silence_is_on() -> None:
    made = timeline()
    made.add(0, span(1, 4))
    made.dubbed(0, spoken(2.9), 24_000)
    kept: list[Samples] = []
    for at in range(0, LENGTH, 9_600):
        if at == samples_in(2):
            made.put_on("silence")
        if at == samples_in(4):
            made.put_on("bypass")
        made.render(at, 9_600)
        kept.append(made.kept(at, 9_600))
    out = np.concatenate(kept)
    assert np.array_equal(part(out, 0, 2), part(ORIGINAL, 0, 2))
    assert not part(out, 2.021, 4).any()
    assert np.array_equal(part(out, 4.021, 6), part(ORIGINAL, 4.021, 6))
    assert clicks(out) == 0


def test_a_dub_that_goes_on_under_the_bypass_is_heard_again_at_once_when_that_ends() -> None:
    made = timeline()
    made.put_on("bypass")
    made.add(0, span(1, 4))
    made.dubbed(0, spoken(2.9), 24_000)
    out = halves(made, 2, lambda: made.put_on("dub"))
    assert np.array_equal(part(out, 0, 2), part(ORIGINAL, 0, 2))
    assert level_of(part(out, 2.03, 3.8), 900) > 0.1
    assert clicks(out) == 0


def test_gains_and_fallback_change_in_the_middle_of_a_phrase() -> None:
    made = timeline("silence")
    made.add(0, span(1, 4))
    made.failed(0, "error")
    out = halves(made, 2, lambda: made.remix(config.Mix(floor_gain_db=-20), "background"))
    assert not part(out, 1.03, 2).any()
    assert level_of(part(out, 2.03, 3.9), 110) == pytest.approx(0.01, abs=0.001)
    assert level_of(part(out, 2.03, 3.9), 400) < 0.001
    assert clicks(out) == 0


def test_no_speech_leaves_the_original_whatever_the_fallback() -> None:
    made = timeline("silence")
    made.add(0, span(1, 3))
    made.no_speech(0)
    assert np.array_equal(render(made), ORIGINAL)
    assert fate(made)[0].status == "no_speech"


def test_an_answer_after_the_deadline_is_dropped_and_counted() -> None:
    made = timeline()
    made.add(0, span(1, 3))
    assert made.deadline(0) == samples_in(1)
    made.render(0, samples_in(1))
    assert made.decided() == []
    made.render(samples_in(1), 1)
    assert fate(made)[0].reason == "deadline"
    assert not made.dubbed(0, spoken(1), 24_000)
    assert not made.failed(0, "timeout")
    assert made.late_answers == 2
    rest = made.render(samples_in(1) + 1, LENGTH - samples_in(1) - 1)
    assert np.array_equal(rest, ORIGINAL[samples_in(1) + 1 :])


def test_a_phrase_that_is_known_too_late_falls_back_at_once() -> None:
    made = timeline()
    made.render(0, samples_in(2))
    made.add(0, span(1, 3))
    assert fate(made)[0].reason == "deadline"
    assert not made.dubbed(0, spoken(1), 24_000)


def test_a_dub_waits_until_the_one_before_it_has_ended() -> None:
    made = timeline()
    made.add(0, span(1, 2))
    made.add(1, span(2.2, 3))
    made.dubbed(1, spoken(0.5), 24_000)  # answers may come in any order
    made.dubbed(0, spoken(1.6), 24_000)
    render(made)
    second = fate(made)[1]
    assert second.placed_at == samples_in(2.6) + GAP
    assert second.lag_samples == samples_in(0.4) + GAP


def test_a_phrase_whose_turn_would_come_too_late_falls_back() -> None:
    made = timeline(max_lag_s=0.5)
    made.add(0, span(1, 2))
    made.add(1, span(2.2, 3.5))
    made.dubbed(0, spoken(1.9), 24_000)
    made.dubbed(1, spoken(1), 24_000)
    out = render(made)
    second = fate(made)[1]
    assert (second.status, second.reason, second.placed_at) == ("fallback", "deadline", None)
    assert second.lag_samples == samples_in(0.7) + GAP
    # the dub that still speaks is not talked into by the original
    assert level_of(part(out, 2.3, 2.8), 400) < 0.002
    assert np.array_equal(part(out, 2.93, 6), part(ORIGINAL, 2.93, 6))


def test_without_background_the_original_is_ducked_under_the_dub() -> None:
    made = timeline(background=False)
    made.add(0, span(1, 3))
    made.dubbed(0, spoken(1.9), 24_000)
    middle = part(render(made), 1.5, 2.5)
    assert level_of(middle, 400) == pytest.approx(0.2 * 10 ** (-15 / 20), rel=0.05)
    assert level_of(middle, 900) > 0.1


def test_where_background_ends_in_a_phrase_it_is_faded_out_in_time() -> None:
    made = timeline(background=False)
    made.write_background(0, BED[: samples_in(2)])
    made.add(0, span(1, 3))
    made.dubbed(0, spoken(0.4), 24_000)
    out = render(made)
    assert level_of(part(out, 1.5, 1.9), 400) < 0.001
    assert level_of(part(out, 2.1, 2.9), 400) == pytest.approx(0.0356, rel=0.02)
    assert clicks(out) == 0


def test_a_quiet_dub_is_raised_and_a_loud_mix_stays_below_minus_1_dbfs() -> None:
    made = Timeline(config.Mix(), "original", capacity_s=10)
    made.write_original(0, ORIGINAL * 3)
    made.write_background(0, BED * 3)
    made.add(0, span(1, 3))
    made.dubbed(0, spoken(1.9, level=0.9), 24_000)
    out = render(made)
    assert np.abs(part(out, 1.02, 3)).max() <= CEILING + 1e-6
    assert level_of(part(out, 1.5, 2.5), 900) == pytest.approx(0.6, rel=0.1)


def test_room_lasts_until_the_next_voice_or_past_the_pause_that_was_heard() -> None:
    made = timeline()
    made.add(0, span(1, 2, voice_s=1.2, quiet_s=0.3))
    expected = samples_in(2.3) + OVERRUN - samples_in(1.2)
    assert made.room_ms(0) == expected * 1000 // RATE_HZ
    made.add(1, span(2.5, 4, voice_s=2.7))
    assert made.room_ms(0) == (samples_in(1.5) - GAP) * 1000 // RATE_HZ


def test_room_begins_after_the_predicted_end_of_the_dub_before_it() -> None:
    made = timeline()
    made.add(0, span(1, 2))
    made.add(1, span(2.2, 3.2))
    alone = made.room_ms(1)
    made.dubbed(0, spoken(1.5), 24_000)
    assert alone - made.room_ms(1) == pytest.approx(350, abs=1)
    made.failed(1, "error")
    render(made)
    assert made.room_ms(1) == alone - 350


def test_room_counts_on_a_dub_as_long_as_the_room_it_was_promised() -> None:
    made = timeline()
    made.add(0, span(1, 2))
    assert made.room_ms(0) == 1_600
    made.add(1, span(2.2, 3.2))
    # it may speak until 2.6 s, so this one begins at 2.65 s instead of 2.2 s
    assert made.room_ms(1) == 1_600 - 450


def test_a_phrase_that_was_cut_short_has_no_more_room_than_itself() -> None:
    made = timeline()
    made.add(0, span(1, 3, quiet_s=0))
    assert made.room_ms(0) == 2000


def test_room_of_a_phrase_that_is_long_gone_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        timeline().room_ms(7)


def test_phrase_audio_is_the_original_at_16_khz() -> None:
    sound = timeline().phrase_audio(span(1, 3))
    assert sound.shape == (32_000,)
    assert sound.dtype == np.float32
    n = np.arange(len(sound))
    assert 2 * abs(np.mean(sound * np.exp(-2j * np.pi * 400 * n / 16_000))) == pytest.approx(0.2, rel=0.01)


def clicks(sound: Samples) -> int:
    """Steps that none of the tones, at their levels, could make."""
    return int((np.abs(np.diff(sound, axis=0)) > 0.05).sum())


Fate = tuple[str, float]
reasons: list[FallbackReason] = ["error", "timeout", "overload"]
phrases = st.lists(
    st.tuples(
        st.integers(0, 20_000),  # pause before
        st.integers(2_000, 60_000),  # length
        st.integers(0, 12_000),  # pre-roll
        st.sampled_from(["dubbed", "failed", "no_speech", "pending"]),
        st.integers(1_500, 40_000),  # dub at 24 kHz
    ),
    max_size=6,
)


def with_phrases(fallback: config.Fallback, background: int, plan: list[tuple[int, int, int, str, int]]) -> Timeline:
    made = timeline(fallback, background=False)
    made.write_background(0, BED[:background])
    at = 0
    for i, (pause, length, pre_roll, what, dub) in enumerate(plan):
        start = at + pause
        at = start + length
        made.add(i, Span(start, at, True, start + min(pre_roll, length - 1), at))
        if what == "dubbed":
            made.dubbed(i, spoken(dub / 24_000), 24_000)
        elif what == "failed":
            made.failed(i, reasons[i % 3])
        elif what == "no_speech":
            made.no_speech(i)
    return made


@settings(max_examples=60)
@given(
    phrases,
    st.sampled_from(["original", "background", "ducked", "silence"]),
    st.integers(0, LENGTH),
    st.lists(st.integers(1, 30_000), min_size=1, max_size=60),
)
def test_any_block_sizes_give_identical_samples(
    plan: list[tuple[int, int, int, str, int]], fallback: config.Fallback, background: int, blocks: list[int]
) -> None:
    whole, pieces = with_phrases(fallback, background, plan), with_phrases(fallback, background, plan)
    expected, at, out = whole.render(0, LENGTH), 0, []
    for block in [*blocks, LENGTH]:
        out.append(pieces.render(at, min(block, LENGTH - at)))
        at += len(out[-1])
    assert np.array_equal(np.concatenate(out), expected)
    assert pieces.decided() == whole.decided()


@settings(max_examples=60)
@given(
    phrases,
    st.lists(
        st.tuples(
            st.integers(1, 60_000),
            st.sampled_from(["dub", "bypass", "silence"]),
            st.sampled_from(["original", "background", "ducked", "silence"]),
            st.floats(-100, 0),
        ),
        max_size=8,
    ),
)
def test_whatever_the_operator_does_there_is_no_click_and_no_phrase_is_decided_otherwise(
    plan: list[tuple[int, int, int, str, int]],
    moves: list[tuple[int, Programme, config.Fallback, float]],
) -> None:
    alone, made = with_phrases("original", LENGTH, plan), with_phrases("original", LENGTH, plan)
    alone.render(0, LENGTH)
    at, out = 0, []
    for count, programme, fallback, gain_db in [*moves, (LENGTH, "dub", "original", 0)]:
        out.append(made.render(at, min(count, LENGTH - at)))
        at += len(out[-1])
        made.put_on(programme)
        made.remix(config.Mix(floor_gain_db=gain_db, original_gain_db=gain_db), fallback)
    assert clicks(np.concatenate(out)) == 0
    assert made.decided() == alone.decided()


@settings(max_examples=60)
@given(phrases, st.sampled_from(["original", "background", "ducked", "silence"]), st.integers(0, LENGTH))
def test_whatever_happens_there_is_no_click_no_overlap_and_each_phrase_has_one_fate(
    plan: list[tuple[int, int, int, str, int]], fallback: config.Fallback, background: int
) -> None:
    made = with_phrases(fallback, background, plan)
    out = render(made)
    assert out.shape == (LENGTH, 2)
    assert clicks(out) == 0
    decisions = made.decided()
    begun = [i for i, phrase in enumerate(plan) if sum(p[0] + p[1] for p in plan[:i]) + phrase[0] < LENGTH]
    assert [d.sequence for d in decisions] == begun
    free = 0
    for d in decisions:
        if d.placed_at is not None:
            assert d.placed_at >= max(free, d.span.voice_start)
            free = d.placed_at + d.dub_samples + GAP
        else:
            assert (d.reason is None) == (d.status == "no_speech")


@settings(max_examples=60)
@given(phrases, st.lists(st.integers(0, LENGTH), min_size=6, max_size=6), st.integers(1_000, 30_000))
def test_whenever_answers_come_each_sample_is_the_original_or_background_and_dub_in_its_place(
    plan: list[tuple[int, int, int, str, int]], comes_at: list[int], block: int
) -> None:
    """In any order, too late or never: `comes_at` is what had gone out by then."""
    made = with_phrases("original", LENGTH, [(*phrase[:3], "pending", phrase[4]) for phrase in plan])
    out, at = [], 0
    while at < LENGTH:
        for i, (*_, what, dub) in enumerate(plan):
            if at - block < comes_at[i] <= at:
                if what == "dubbed":
                    made.dubbed(i, spoken(dub / 24_000), 24_000)
                elif what == "failed":
                    made.failed(i, "error")
        out.append(made.render(at, min(block, LENGTH - at)))
        at += block
    sound, original, spoken_in = np.concatenate(out), np.ones(LENGTH, np.bool_), np.zeros(LENGTH, np.bool_)
    dubbed = [d for d in made.decided() if d.placed_at is not None]
    for d in dubbed:
        assert comes_at[d.sequence] <= d.span.start
        original[d.span.start : max(d.span.end, d.placed_at + d.dub_samples) + FADE] = False
        spoken_in[d.placed_at : d.placed_at + d.dub_samples] = True
    over_background = np.abs(sound - BED).max(axis=1) > 1e-4
    for d in dubbed:
        whole = slice(d.span.start + FADE, max(d.span.end, d.placed_at + d.dub_samples))
        assert not (over_background & ~spoken_in)[whole].any()
        begins = slice(max(d.placed_at, whole.start), max(d.placed_at, whole.start) + samples_in(0.02))
        if begins.stop < min(LENGTH, d.placed_at + d.dub_samples):
            assert over_background[begins].any()
    assert np.array_equal(sound[original], ORIGINAL[original])


def test_a_long_stream_keeps_only_what_it_may_still_need() -> None:
    made = Timeline(config.Mix(), "original", capacity_s=4)
    second = samples_in(1)
    for i in range(60):
        made.write_original(i * second, ORIGINAL[:second])
        made.write_background(i * second, BED[:second])
        made.add(i, Span(i * second, (i + 1) * second, True, i * second, (i + 1) * second))
        if i >= 2:
            made.render((i - 2) * second, second)
    assert made.decided()[-1].sequence == 57
    assert made.room_ms(57) > 0
    with pytest.raises(KeyError):
        made.room_ms(40)


def test_an_answer_without_a_voice_and_a_voice_for_silence_are_not_let_through() -> None:
    made = timeline()
    quiet = ORIGINAL.copy()
    quiet[samples_in(3) :] = BED[samples_in(3) :]
    made.write_original(0, quiet)
    made.add(0, span(1, 2))
    made.dubbed(0, spoken(1, level=0.0005), 24_000)
    made.add(1, span(3.2, 4.2))
    made.dubbed(1, spoken(1), 24_000)
    out = render(made)
    decided = fate(made)
    assert [(d.status, d.reason, d.note) for d in decided.values()] == [
        ("fallback", "invalid_output", "dead_dub"),
        ("fallback", "invalid_output", "ghost_dub"),
    ]
    assert np.array_equal(out, quiet)


def test_dubs_are_held_back_while_the_service_is_not_steady() -> None:
    made = Timeline(config.Mix(), "original", 10, Steadiness())
    made.write_original(0, ORIGINAL)
    made.write_background(0, BED)
    for n, answered in enumerate([False, False, True, False, True, True, True, True]):
        made.add(n, span(0.6 * n + 0.2, 0.6 * n + 0.6, quiet_s=0.1))
        if answered:
            made.dubbed(n, spoken(0.35), 24_000)
    render(made)
    decided = fate(made)
    assert [d.status for d in decided.values()] == [*2 * ["fallback"], "dubbed", *3 * ["fallback"], *2 * ["dubbed"]]
    assert [d.note for d in decided.values()] == [None] * 4 + ["held_back"] * 2 + [None] * 2
    assert {d.reason for d in decided.values() if d.note} == {"breaker_open"}

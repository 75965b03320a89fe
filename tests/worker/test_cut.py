from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay import config
from dubrelay.audio import samples_in, seconds
from dubrelay.worker.cut import TAIL, Cutter, Span

pytestmark = pytest.mark.unit

FRAME = 1536
SETTINGS = config.Cut()


def heard(
    probabilities: list[float], settings: config.Cut = SETTINGS, at: int = 0, energy: list[float] | None = None
) -> list[Span]:
    cutter = Cutter(settings)
    cutter.restart(at)
    spans: list[Span] = []
    for i, p in enumerate(probabilities):
        start = at + i * FRAME
        spans += cutter.push(start, start + FRAME, p, energy[i] if energy else 0.0)
    return spans + cutter.flush()


def phrases(spans: list[Span]) -> list[Span]:
    return [s for s in spans if s.speech]


def frames(duration_s: float, probability: float) -> list[float]:
    return [probability] * round(samples_in(duration_s) / FRAME)


def assert_tiles(spans: list[Span], start: int, end: int) -> None:
    at = start
    for span in spans:
        assert span.start == at
        assert span.end > span.start
        assert span.start <= span.voice_start < span.end
        assert span.quiet_until >= span.end
        at = span.end
    assert at == end


probabilities = st.lists(
    st.tuples(st.sampled_from([0.0, 0.2, 0.34, 0.4, 0.5, 0.51, 0.8, 1.0]), st.integers(1, 160)), min_size=0, max_size=12
).map(lambda runs: [p for p, n in runs for _ in range(n)])
settings_any = st.builds(
    config.Cut,
    pause_s=st.floats(0.1, 2),
    short_pause_s=st.floats(0.05, 2),
    short_pause_after_s=st.floats(0.4, 20),
    max_phrase_s=st.floats(1, 20),
    min_voiced_s=st.floats(0.1, 2),
    pre_roll_s=st.floats(0.05, 1),
)


@given(probabilities, settings_any, st.integers(0, 10**9))
def test_spans_tile_the_timeline_whatever_the_probabilities(ps: list[float], settings: config.Cut, at: int) -> None:
    spans = heard(ps, settings, at)
    assert_tiles(spans, at, at + len(ps) * FRAME)
    longest = samples_in(settings.max_phrase_s) + FRAME + samples_in(settings.pre_roll_s)
    assert all(len(s) <= longest for s in phrases(spans))


def test_a_voice_that_begins_in_what_was_given_out_already_begins_with_its_phrase() -> None:
    """Only frames longer than the pre-roll can do that."""
    cutter = Cutter(config.Cut(max_phrase_s=1, pre_roll_s=0.1))
    spans: list[Span] = []
    for start, end, probability in ((0, 26_000, 0.0), (26_000, 57_600, 1.0), (57_600, 61_600, 1.0)):
        spans += cutter.push(start, end, probability)
    spans += cutter.flush()
    assert [s.voice_start for s in phrases(spans)] == [48_000]
    assert_tiles(spans, 0, 61_600)


@given(st.lists(st.tuples(st.integers(1, 70_000), st.floats(0, 1)), max_size=60), settings_any)
def test_spans_tile_the_timeline_whatever_the_size_of_frames(
    sizes: list[tuple[int, float]], settings: config.Cut
) -> None:
    cutter, at = Cutter(settings), 77
    spans: list[Span] = []
    for size, p in sizes:
        spans += cutter.push(at, at + size, p)
        at += size
    assert_tiles(spans + cutter.flush(), 77, at)


def test_a_phrase_has_its_pre_roll_and_a_short_tail() -> None:
    spans = heard(frames(2, 0.0) + frames(1.5, 0.9) + frames(2, 0.1))
    (phrase,) = phrases(spans)
    voice = round(samples_in(2) / FRAME) * FRAME
    voice_end = voice + round(samples_in(1.5) / FRAME) * FRAME
    assert phrase.voice_start == voice
    assert phrase.start == voice - samples_in(SETTINGS.pre_roll_s)
    assert phrase.end == voice_end + TAIL
    assert seconds(phrase.quiet_until - voice_end) == pytest.approx(SETTINGS.pause_s, abs=0.033)


def test_frames_that_are_nearly_sure_before_the_onset_belong_to_the_voice() -> None:
    (phrase,) = phrases(heard([*frames(1, 0.0), 0.4, 0.45, *frames(1, 0.9), *frames(1, 0.0)]))
    assert phrase.voice_start == round(samples_in(1) / FRAME) * FRAME


def test_one_loud_frame_is_no_phrase() -> None:
    assert not phrases(heard([*frames(1, 0.0), 1.0, *frames(1, 0.0)]))


def test_too_little_voice_is_no_phrase() -> None:
    assert not phrases(heard(frames(1, 0.0) + frames(0.35, 0.95) + frames(1, 0.0)))
    assert phrases(heard(frames(1, 0.0) + frames(0.45, 0.95) + frames(1, 0.0)))


def test_a_short_pause_ends_a_long_phrase_only() -> None:
    pause = frames(0.22, 0.0)
    short = heard(frames(1.5, 0.9) + pause + frames(0.5, 0.9) + frames(1, 0.0))
    long = heard(frames(2.8, 0.9) + pause + frames(0.5, 0.9) + frames(1, 0.0))
    assert len(phrases(short)) == 1
    assert len(phrases(long)) == 2


def test_a_phrase_without_a_pause_is_cut_at_its_least_sure_frame() -> None:
    ps = frames(6, 0.9)
    cut = round(samples_in(3.4) / FRAME)
    ps[cut] = 0.4
    first, second = phrases(heard(ps))
    assert cut * FRAME < first.end < (cut + 1) * FRAME
    assert second.start == first.end == first.quiet_until
    assert second.voice_start == (cut + 1) * FRAME


def test_among_equally_sure_frames_the_quietest_is_cut() -> None:
    ps = frames(6, 0.97)
    cut = round(samples_in(3.6) / FRAME)
    energy = [0.2] * len(ps)
    energy[cut] = 0.01
    first, _ = phrases(heard(ps, energy=energy))
    assert cut * FRAME < first.end < (cut + 1) * FRAME


def test_speech_without_end_is_cut_for_ever_and_nothing_of_it_is_lost() -> None:
    spans = heard(frames(61, 0.9))
    assert all(s.speech for s in spans)
    assert 15 <= len(spans) <= 22


def test_long_silence_is_given_out_in_pieces() -> None:
    cutter, longest, behind = Cutter(SETTINGS), samples_in(SETTINGS.max_phrase_s), 0
    for i in range(1000):
        for span in cutter.push(i * FRAME, (i + 1) * FRAME, 0.0):
            behind = span.end
        assert (i + 1) * FRAME - behind <= longest + samples_in(2 * SETTINGS.pre_roll_s) + FRAME


def test_restart_forgets_the_phrase_and_goes_on_elsewhere() -> None:
    cutter = Cutter(SETTINGS)
    for i in range(30):
        cutter.push(i * FRAME, (i + 1) * FRAME, 0.9)
    cutter.restart(1_000_000)
    spans = cutter.push(1_000_000, 1_000_000 + FRAME, 0.0) + cutter.flush()
    assert_tiles(spans, 1_000_000, 1_000_000 + FRAME)


def test_a_frame_that_does_not_follow_is_refused() -> None:
    cutter = Cutter(SETTINGS)
    cutter.push(0, FRAME, 0.0)
    with pytest.raises(ValueError, match="does not follow"):
        cutter.push(FRAME + 1, 2 * FRAME, 0.0)

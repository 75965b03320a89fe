from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from dubrelay.sts.admission import (
    FULL_SHARE,
    HALF_FULL_SHARE,
    MARGIN_S,
    ONE_IN_S,
    SERVED_S,
    Admission,
    Place,
    Refused,
    Way,
)
from dubrelay.sts.lanes import Lane, Pace
from sts_parts import FakeClock

pytestmark = pytest.mark.unit


def measured(factor: float) -> Pace:
    pace = Pace(0.0)
    pace.learn(1.0, factor)
    return pace


class Stages:
    """One lane per stage, and a fast one for the last; each stage costs `factor` seconds for its 1 s of work."""

    def __init__(self, factors: tuple[float, float, float], fast: float | None = None) -> None:
        self.clock = FakeClock()
        self.admission = Admission(self.clock)
        self.lanes = [Lane(stage, stage, self.clock) for stage in ("asr", "mt", "tts")]
        ways = [[Way(lane, measured(factor), 1.0)] for lane, factor in zip(self.lanes, factors, strict=True)]
        if fast is not None:
            ways[2].append(Way(Lane("tts", "tts-fast", self.clock), measured(fast), 1.0))
        self.ways = {"asr": ways[0], "mt": ways[1], "tts": ways[2]}

    def admit(self, left_s: float, stream_id: str = "a") -> Place:
        return self.admission.admit(stream_id, self.ways, left_s)  # type: ignore[arg-type]

    def refusal(self, left_s: float, stream_id: str = "a") -> Refused:
        with pytest.raises(Refused) as caught:
            self.admit(left_s, stream_id)
        return caught.value


@pytest.fixture
def busy() -> Iterator[Callable[[Lane, float], None]]:
    """Puts a call into a lane that is predicted to cost so many seconds, and runs until the test is over."""
    let_go, threads = threading.Event(), []

    def begin(lane: Lane, cost_s: float) -> None:
        begun = threading.Event()
        thread = threading.Thread(
            target=lane.run, args=(lambda: (begun.set(), let_go.wait()), 1e9, cost_s), daemon=True
        )
        thread.start()
        threads.append(thread)
        assert begun.wait(5), "the lane's thread begins"

    yield begin
    let_go.set()
    for thread in threads:
        thread.join(5)


def test_the_first_phrase_is_taken_as_nothing_is_known() -> None:
    clock = FakeClock()
    ways = {stage: [Way(Lane(stage, stage, clock), Pace(), 30.0)] for stage in ("asr", "mt", "tts")}
    Admission(clock).admit("a", ways, 0.1)  # type: ignore[arg-type]


def test_a_phrase_that_would_be_late_is_refused_with_the_time_after_which_it_would_not(
    busy: Callable[[Lane, float], None],
) -> None:
    stages = Stages((0.5, 0.1, 0.5))
    stages.admit(5.0)
    busy(stages.lanes[0], 3.0)
    stages.admit(3.0 + 2 * 0.6 + 0.5 + MARGIN_S + 0.01)
    refused = stages.refusal(2.0)
    assert (refused.code, refused.retryable) == ("OVERLOADED", True)
    assert refused.message.startswith("it would be done in ")
    assert refused.retry_after_s > 1.0


def test_what_waits_in_one_stage_passes_while_the_others_compute(busy: Callable[[Lane, float], None]) -> None:
    stages = Stages((2.0, 0.1, 0.5))
    stages.admit(9.0).reached("asr")
    busy(stages.lanes[2], 2.0)
    # The voice is busy for 2 s, in which the phrase is heard: 2.0 + 0.1 + 0.1 (the first one's translation) + ...
    stages.admit(2.0 + 0.2 + 1.0 + MARGIN_S + 0.5)


def test_those_inside_count_where_they_have_not_come_yet() -> None:
    stages = Stages((0.0, 0.0, 1.0))
    for _ in range(3):
        stages.admit(10.0)
    assert stages.refusal(3.9).retry_after_s == pytest.approx(4.0 + MARGIN_S - 3.9)
    stages.admit(4.0 + MARGIN_S + 0.01)


def test_the_fast_lane_takes_what_the_quality_lane_would_be_late_with(busy: Callable[[Lane, float], None]) -> None:
    stages = Stages((0.1, 0.1, 1.0), fast=0.1)
    stages.admit(5.0)
    busy(stages.lanes[2], 60.0)
    stages.admit(1.0)


def test_a_place_that_is_given_back_counts_no_more() -> None:
    stages = Stages((0.0, 0.0, 1.0))
    places = [stages.admit(10.0) for _ in range(4)]
    places[0].reached("asr")
    for place in places:
        place.close()
    stages.admit(1.0)


def test_a_phrase_that_holds_nobody_up_is_tried_though_it_seems_late() -> None:
    Stages((0.5, 0.5, 0.5)).admit(0.8)


def test_a_phrase_that_is_out_of_the_question_is_refused_even_alone_until_what_was_learnt_is_doubted() -> None:
    stages = Stages((1.0, 1.0, 1.0))
    refusals = 0
    while True:
        try:
            stages.admit(0.1)
            break
        except Refused:
            refusals += 1
    assert 10 < refusals < 200


def test_when_it_is_full_streams_that_are_served_go_before_new_ones(busy: Callable[[Lane, float], None]) -> None:
    stages = Stages((0.01, 0.01, 0.01))
    place = stages.admit(5.0, "served")
    busy(stages.lanes[0], 1.0)
    stages.clock.advance(58.0)
    assert stages.lanes[0].busy_share() > FULL_SHARE
    late = 200.0  # the lane's call overruns: nobody is refused for the time it takes
    assert "of the time with the streams that are served already" in stages.refusal(late, "new").message
    stages.admit(late, "served").close()
    stages.clock.advance(SERVED_S + 1)
    assert "busy" in stages.refusal(late, "served").message, "nothing of it was taken for a minute"
    place.close()
    stages.admit(late, "new")


def test_a_stream_that_was_refused_is_a_new_one(busy: Callable[[Lane, float], None]) -> None:
    stages = Stages((0.01, 0.01, 0.01))
    stages.admit(5.0, "served")
    busy(stages.lanes[0], 1.0)
    stages.clock.advance(60.0 - 1.0)
    assert "done in" in stages.refusal(1.0, "served").message
    assert "busy" in stages.refusal(500.0, "served").message


def test_when_it_is_half_full_new_streams_come_in_one_after_the_other(busy: Callable[[Lane, float], None]) -> None:
    stages = Stages((0.01, 0.01, 0.01))
    stages.admit(5.0, "served")
    busy(stages.lanes[0], 1.0)
    stages.clock.advance(10.0)
    assert HALF_FULL_SHARE < stages.lanes[0].busy_share() < FULL_SHARE
    stages.admit(100.0, "second")
    assert "busy" in stages.refusal(100.0, "third").message
    stages.admit(100.0, "second")
    stages.clock.advance(ONE_IN_S - 2)
    assert stages.lanes[0].busy_share() < FULL_SHARE
    assert "busy" in stages.refusal(100.0, "third").message

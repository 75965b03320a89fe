"""Each condition holding, and close by not; the worker's figures come out of its own metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from dubrelay.orchestrator.conditions import Condition, Conditions, Look, StreamLook
from dubrelay.orchestrator.history import samples_of
from dubrelay.wire.streams import DestinationView, StreamView, WorkerView
from dubrelay.worker.dub import DubMetrics
from dubrelay.worker.meter import Meter
from dubrelay.worker.metrics import WorkerMetrics

pytestmark = pytest.mark.unit


class Worker:
    """What one says of itself."""

    def __init__(self) -> None:
        self.metrics = WorkerMetrics()
        self.dub = DubMetrics(self.metrics.registry)
        self.meter = Meter()
        self.metrics.show("input", self.meter)
        self.metrics.show("output", Meter())

    def phrases(self, dubbed: int = 0, fallback: int = 0) -> None:
        self.metrics.fragments.labels("dubbed").inc(dubbed)
        self.metrics.fragments.labels("fallback").inc(fallback)


class House:
    """Looks every two seconds, as the orchestrator does."""

    def __init__(self, step_s: float = 2, **view: Any) -> None:
        self.now = 0.0
        self._step_s = step_s
        self.worker = Worker()
        self.view = {"stream_id": "x", "state": "running", "mode": "dub", "programme": "dub", **view}
        self.host: dict[str, Any] = {"mediamtx_problem": None, "services": {}, "restarts": 0, "rss_bytes": 10**8}
        self._conditions = Conditions()

    def look(self, seconds: float = 2, meanwhile: Callable[[], object] = lambda: None) -> list[Condition]:
        """The latest of the looks of so many seconds."""
        found: list[Condition] = []
        until = self.now + seconds
        while self.now < until:
            self.now += self._step_s
            meanwhile()
            stream = StreamLook(StreamView.model_validate(self.view), samples_of(self.worker.metrics.text()))
            found = self._conditions.holding(Look(at=self.now, streams=[stream], **self.host))
        return found

    def holding(self, seconds: float = 2, meanwhile: Callable[[], object] = lambda: None) -> set[str]:
        return {condition.name for condition in self.look(seconds, meanwhile)}


def names(conditions: Iterable[Condition]) -> set[tuple[str, str, str]]:
    return {condition.key for condition in conditions}


def test_nothing_holds_where_all_is_well() -> None:
    house = House(av_sync_ms=3, delay_ms=8000, destinations=[destination("forwarding")])
    assert house.look(60, lambda: house.worker.phrases(dubbed=1)) == []


def destination(state: str | None, **values: Any) -> DestinationView:
    return DestinationView.model_validate(
        {"name": "a", "url": "rtmp://h/a", "given_by": "settings", "state": state, **values}
    )


@pytest.mark.parametrize(
    ("state", "alert"),
    [
        ("starting", {"StreamDown"}), ("degraded", {"StreamDown"}), ("refused", {"StreamRefused"}),
        ("grace", {"PublisherGone"}), ("running", set()), ("idle", set()), ("stopping", set()),
    ],
)  # fmt: skip
def test_what_a_stream_s_state_says(state: str, alert: set[str]) -> None:
    assert House(state=state, message="why").holding() == alert


def test_a_stream_that_is_down_says_why() -> None:
    (condition,) = House(state="degraded", message="HEVC is not taken").look()
    assert condition.summary == "Stream x is degraded: HEVC is not taken"


def test_what_a_destination_s_state_says() -> None:
    house = House()
    for state in ("refused", "unreachable", "stalled"):
        house.view["destinations"] = [
            destination(state, last_error="is the key right?"),
            destination("forwarding", name="b"),
        ]
        (condition,) = house.look()
        assert condition.key == ("EgressDown", "x", "a")
        assert condition.summary == f"Destination a of stream x is {state}: is the key right?"
    house.view["destinations"] = [destination("connecting"), destination(None, name="b")]
    assert names(house.look()) == {("EgressStuck", "x", "a")}


def test_a_recording_that_a_limit_or_a_failure_has_stopped() -> None:
    house = House()
    for state in ("full", "failing"):
        house.view["recording"] = {"state": state, "message": "the disk has nothing left"}
        (condition,) = house.look()
        assert condition.key == ("RecordingStopped", "x", "")
        assert condition.summary.endswith("not recorded though it should be: the disk has nothing left")
    house.view["recording"] = {"state": "waiting"}
    assert names(house.look()) == set()


def test_mediamtx_and_services_that_do_not_answer() -> None:
    house = House()
    house.host |= {"mediamtx_problem": "refused", "services": {"http://a": "", "http://b": "it cannot be reached"}}
    assert names(house.look()) == {("MediaMtxDown", "", ""), ("StsDown", "", "http://b")}


def test_more_than_three_restarts_in_ten_minutes() -> None:
    house = House(restarts=4)
    house.host["restarts"] = 3
    assert house.holding() == set()
    house.host["restarts"] = 4
    (condition,) = house.look()
    assert condition.summary == "Workers were started again 4 times in 10 minutes (by stream, in this session: x 4)"
    assert house.holding(600) == set()


def test_nothing_of_what_was_said_is_dubbed() -> None:
    house = House()
    assert house.holding(60, lambda: house.worker.phrases(dubbed=1)) == set()
    assert "DubDead" not in house.holding(110, lambda: house.worker.phrases(fallback=1)), "some was, two minutes ago"
    assert "DubDead" in house.holding(20, lambda: house.worker.phrases(fallback=1))
    assert "DubDead" not in house.holding(2, lambda: house.worker.phrases(dubbed=1))


def test_silence_and_music_are_no_dead_dub() -> None:
    house = House()
    assert house.holding(300, lambda: house.worker.metrics.fragments.labels("no_speech").inc()) == set()


def test_more_than_a_tenth_of_at_least_ten_phrases_became_the_fallback() -> None:
    house = House()
    house.worker.phrases(dubbed=8, fallback=2)
    assert house.holding() == set(), "ten are too few to tell"
    house.worker.phrases(dubbed=1)
    (condition,) = house.look()
    assert (condition.name, condition.summary) == ("FallbackRate", "18% of the phrases of stream x became the fallback")
    house.worker.phrases(dubbed=9)
    assert house.holding() == set()


def test_what_was_ten_minutes_ago_is_forgotten_and_a_new_worker_counts_from_nothing() -> None:
    house = House()
    house.worker.phrases(dubbed=2, fallback=20)
    assert house.holding() == {"FallbackRate"}
    house.worker = Worker()
    house.worker.phrases(dubbed=1, fallback=1)
    assert house.holding(300) == {"FallbackRate"}, "what the worker before counted has happened all the same"
    assert house.holding(302) == set()


def test_answers_without_a_voice_or_with_one_where_nobody_spoke() -> None:
    for found, alert in {"dead_dub": "SilentDub", "ghost_dub": "GhostDub"}.items():
        house = House()
        house.worker.metrics.unheard.labels(found).inc(2)
        assert house.holding() == set()
        house.worker.metrics.unheard.labels(found).inc()
        assert house.holding() == {alert}
        assert house.holding(300) == set()


def test_no_service_that_works() -> None:
    house = House()
    for state, alert in {1: {"BreakerOpen"}, 2: {"BreakerOpen"}, 0: set()}.items():
        house.worker.dub.breaker_state.set(state)
        assert house.holding() == alert


def test_one_answer_in_twenty_that_is_only_just_in_time() -> None:
    house = House()
    for margin_ms in (*[3000] * 19, 400):
        house.worker.metrics.margin_ms.observe(margin_ms)
    assert house.holding() == set()
    house.worker.metrics.margin_ms.observe(-100)
    assert house.holding() == {"DelayMarginLow"}


def test_sound_off_the_picture_either_way() -> None:
    for av_sync_ms, alert in {41: {"AvSyncOff"}, -41: {"AvSyncOff"}, -40: set(), None: set()}.items():
        assert House(av_sync_ms=av_sync_ms).holding() == alert


def test_a_side_that_reconnects_again_and_again() -> None:
    house = House()
    house.worker.metrics.reconnects.labels("output").inc(3)
    assert house.look() == []
    house.worker.metrics.reconnects.labels("output").inc()
    assert names(house.look()) == {("Reconnects", "x", "output")}


def test_a_silent_input_while_somebody_publishes() -> None:
    house = House()
    house.worker.meter.silent_s = 60
    assert house.holding() == set()
    house.worker.meter.silent_s = 61
    assert house.holding() == {"SilentInput"}
    house.view["state"] = "grace"
    assert house.holding() == {"PublisherGone"}


def test_sound_at_full_scale() -> None:
    house = House()
    house.worker.metrics.clipped_s.labels("input").inc(0.9)
    house.worker.metrics.clipped_s.labels("output").inc(1.1)
    assert names(house.look()) == {("Clipping", "x", "output")}


def test_memory_that_grows_for_two_hours_in_one_process() -> None:
    house = House(step_s=30)

    def grow(by: float) -> Callable[[], None]:
        def once() -> None:
            house.view["worker"] = WorkerView(pid=1, started_at=0, rss_bytes=int(2e8 + by * house.now / 3600))
            house.host["rss_bytes"] = int(1e8 + by * house.now / 3600)

        return once

    assert house.look(7000, grow(60e6)) == [], "it is not old enough"
    assert names(house.look(300, grow(60e6))) == {("MemoryGrowth", "x", ""), ("MemoryGrowth", "", "")}
    house.view["worker"] = WorkerView(pid=2, started_at=0, rss_bytes=10**9)
    assert names(house.look()) == {("MemoryGrowth", "", "")}, "another process"


def test_a_stream_that_is_gone_leaves_nothing() -> None:
    house = House()
    house.worker.phrases(fallback=20)
    assert house.holding(4)
    assert house._conditions.holding(Look(at=house.now + 2, streams=[], **house.host)) == []
    assert house._conditions._streams == {}

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay.worker.replicas import AGAIN_S, Replica, Replicas

pytestmark = pytest.mark.unit

OPEN_S = 30.0


class Services:
    """Replicas whose members can be told apart by their place in the setting."""

    def __init__(self, count: int = 2, failures: int = 5) -> None:
        self.replicas = Replicas([f"http://{place}" for place in range(count)], failures, OPEN_S)
        self.all = self.replicas._replicas

    def taken(self, now: float = 0, but: tuple[int, ...] = ()) -> int | None:
        return self._place(self.replicas.take(now, [self.all[place] for place in but]))

    def due(self, now: float) -> int | None:
        return self._place(self.replicas.take_due(now))

    def fail(self, place: int, times: int = 1, now: float = 0) -> None:
        for _ in range(times):
            self.all[place].failed(now, late=False)

    def answer(self, place: int, rtt_s: float = 0.5, now: float = 0) -> None:
        self.all[place].answered(now, rtt_s, 8)

    def _place(self, replica: Replica | None) -> int | None:
        return None if replica is None else self.all.index(replica)


def test_services_that_are_equal_come_in_the_order_of_the_setting() -> None:
    assert Services(3).taken() == 0


def test_the_least_busy_one_is_taken() -> None:
    services = Services(3)
    with services.all[0].asked(0), services.all[1].asked(0):
        assert services.taken() == 2
        with services.all[2].asked(0), services.all[2].asked(0):
            assert services.taken() == 0
    assert [replica.in_flight for replica in services.all] == [0, 0, 0]


def test_among_equally_busy_ones_the_quicker_of_late_is_taken_and_an_unknown_one_before_it() -> None:
    services = Services(3)
    services.answer(0, 0.9)
    services.answer(1, 0.5)
    assert services.taken(1) == 2
    services.answer(2, 0.7)
    assert services.taken(1) == 1
    for _ in range(3):
        services.answer(1, 1.2, now=2)
    assert services.taken(3) == 2


def test_how_quick_one_was_long_ago_does_not_count() -> None:
    services = Services()
    services.answer(0, 5)
    services.answer(1, 1, now=50)
    assert services.taken(59) == 1
    assert services.taken(61) == 0


def test_one_that_failed_last_time_gets_no_phrase_while_another_will_do_however_busy() -> None:
    services = Services()
    services.fail(0)
    with services.all[1].asked(0), services.all[1].asked(0):
        assert services.taken() == 1
    services.fail(1)
    assert services.taken() == 0
    services.answer(1)
    assert services.taken() == 1


def test_one_that_lets_a_phrase_wait_for_much_longer_than_usual_gets_no_other() -> None:
    services = Services()
    services.answer(0, 0.5)
    services.fail(1)
    with services.all[0].asked(1):
        assert services.taken(2) == 0
        assert services.taken(2.5) == 1
    assert services.taken(2.5) == 0


def test_a_probe_is_the_last_choice_and_one_at_a_time() -> None:
    services = Services()
    services.fail(0, 5)
    services.fail(1)
    assert services.taken(OPEN_S) == 1
    services.fail(1, 4, now=OPEN_S)
    assert services.taken(OPEN_S) == 0
    assert services.taken(OPEN_S) is None
    assert services.replicas.state == "half_open"


def test_a_retry_goes_to_another_one_even_if_that_failed_before() -> None:
    services = Services()
    services.fail(1)
    assert services.taken() == 0
    assert services.taken(but=(0,)) == 1
    services.fail(1, 4)
    assert services.taken(but=(0,)) is None


def test_one_that_failed_is_tried_with_a_copy_after_a_while_and_taken_again_once_it_answers() -> None:
    services = Services()
    services.fail(0, now=10)
    assert services.due(10 + AGAIN_S - 0.1) is None
    assert services.due(10 + AGAIN_S) == 0
    services.answer(0, now=16)
    assert services.due(99) is None
    assert services.taken(16) == 1
    services.answer(1, 0.9, now=16)
    assert services.taken(16) == 0


def test_an_open_one_is_tried_with_a_copy_when_its_breaker_lets_a_probe_pass() -> None:
    services = Services()
    services.fail(0, 5)
    assert services.due(OPEN_S - 0.1) is None
    assert services.due(OPEN_S) == 0
    assert services.due(OPEN_S) is None
    assert services.taken(OPEN_S) == 1


def test_no_copy_goes_to_one_that_has_a_phrase_still() -> None:
    services = Services()
    services.fail(0)
    with services.all[0].asked(0):
        assert services.due(AGAIN_S) is None


def test_the_best_state_is_shown() -> None:
    services = Services()
    services.fail(0, 5)
    states = [services.replicas.state]
    services.fail(1, 5)
    states.append(services.replicas.state)
    services.taken(OPEN_S)
    assert [*states, services.replicas.state] == ["closed", "open", "half_open"]


def wait_until(services: Services, ends_at: float = 6) -> float:
    return services.replicas.wait_until(0, ends_at, [services.all[0]])


def test_a_phrase_waits_as_long_as_another_service_could_still_say_it() -> None:
    services = Services()
    services.answer(0, 0.4)
    services.answer(1, 0.3)
    services.answer(1, 0.5)
    assert wait_until(services) == pytest.approx(6 - 2 * 0.5 - 0.2)


@pytest.mark.parametrize(
    "prepare",
    [
        lambda services: None,
        lambda services: services.fail(1),
        lambda services: services.fail(1, 5),
        lambda services: services.answer(1, 2.5),
        lambda services: (services.answer(0, 2.5), services.answer(1, 0.5)),
    ],
    ids=["unknown", "not trusted", "open", "too slow", "this one is always slow"],
)
def test_it_waits_to_the_end_where_nobody_else_is_known_to_be_quick_enough(
    prepare: Callable[[Services], object],
) -> None:
    services = Services()
    prepare(services)
    assert wait_until(services) == 6


EVENTS = st.lists(
    st.tuples(
        st.floats(0, 20),
        st.sampled_from(["answer", "refuse", "hang"]),
        st.integers(0, 3),
        st.booleans(),
        st.floats(0, 9),
    ),
    max_size=150,
)


@given(st.integers(1, 4), EVENTS)
def test_an_open_one_is_never_taken_before_its_time_and_somebody_is_where_one_is_closed(
    count: int, events: list[tuple[float, str, int, bool, float]]
) -> None:
    services, now = Services(count, failures=2), 0.0
    opened_at: dict[int, float] = {}
    for pause_s, what, other, copy, rtt_s in events:
        now += pause_s
        closed = {place for place, r in enumerate(services.all) if r.breaker.state == "closed"}
        but = (other,) if other < count and count > 1 else ()
        place = services.due(now) if copy else services.taken(now, but)
        assert place is not None or copy or not closed - set(but)
        if place is None:
            continue
        assert place not in but or copy
        assert place in closed or now - opened_at[place] >= OPEN_S
        assert place in closed or copy or not closed - set(but)
        if what == "answer":
            services.answer(place, rtt_s, now)
        elif what == "refuse":
            services.fail(place, now=now)
        if services.all[place].breaker.state != "closed":
            opened_at[place] = now


@given(st.integers(1, 4), st.integers(1, 32))
def test_phrases_in_flight_are_spread_evenly(count: int, phrases: int) -> None:
    services = Services(count)
    with ExitStack() as asked:
        for _ in range(phrases):
            asked.enter_context(services.all[services.taken() or 0].asked(0))
        loads = [replica.in_flight for replica in services.all]
    assert max(loads) - min(loads) <= 1


@given(st.integers(0, 1), st.floats(0.5, 8), st.floats(0, 500))
def test_a_dead_one_costs_no_second_phrase_is_tried_for_ever_and_used_again_when_it_is_back(
    dead: int, every_s: float, dead_for_s: float
) -> None:
    services, now, lost, tried = Services(), 0.0, 0, [0.0]
    while now < dead_for_s:
        place = services.taken(now)
        assert place is not None
        if place == dead:
            services.fail(dead, now=now)
            lost += 1
        else:
            services.answer(place, 0.5, now)
        if services.due(now) is not None:
            services.fail(dead, now=now)
            tried.append(now)
        now += every_s
    assert lost <= 1
    assert all(later - earlier <= OPEN_S + every_s for earlier, later in zip(tried, [*tried[1:], now], strict=True))
    now += OPEN_S
    if services.due(now) is not None:
        services.answer(dead, 0.1, now)
    with services.all[1 - dead].asked(now):
        assert services.taken(now) == dead

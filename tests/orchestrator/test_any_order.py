"""Any order of events, with crashes of everything: one worker for what is published, none for what is not, in time.

A world with real publishers, a real list and real processes, of which the state machines are told in any order, late,
twice, or not at all.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from dubrelay.orchestrator.plan import Plan, Unsupported
from dubrelay.orchestrator.streams import Action, Source, StartWorker, Stream, give_places

pytestmark = pytest.mark.unit

SEQUENCES, LENGTH = 2000, 60
STREAMS, PLACES, GRACE_S = ("x", "y", "z"), 2, 30.0
RIGHT_AGAIN_S = 5
LONGEST_S = 130
"""Until every back-off, cool-down and grace is over."""
PLANS: Sequence[Plan | Unsupported] = (
    Plan("rtmp", "dub"),
    Plan("rtmp", "dub"),
    Plan("rtmp", "bypass"),
    Unsupported("needs H264 video"),
)
EXIT_CODES = (0, 2, 3, 20, 30, 40, 70, -9, -11)


@dataclass
class Process:
    """A worker. `orphaned`: its orchestrator was killed; it ends by itself soon, and holds its output until then."""

    start: StartWorker
    told_to_stop: bool = False
    orphaned: bool = False


@dataclass
class World:
    now: float = 1000.0
    media_runs: bool = True
    publishers: dict[str, Source] = field(default_factory=dict)
    old_list: dict[str, Source] = field(default_factory=dict)
    """A list that was read and has not been acted on yet."""
    gone: list[tuple[str, str]] = field(default_factory=list)
    """(stream, source id) of all sessions that have ended: their hooks may still come."""
    machines: dict[str, Stream] = field(default_factory=dict)
    processes: dict[str, list[Process]] = field(default_factory=lambda: {stream: [] for stream in STREAMS})
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    # ------------------------------------------------------------------------------------------- what the world does

    def publish(self, stream: str, number: float) -> None:
        if self.media_runs:
            self.leave(stream, number)  # one that comes takes the path over
            n = next(self.numbers)
            self.publishers[stream] = Source(f"s{n}", f"{n:08}", PLANS[int(number) % len(PLANS)])

    def leave(self, stream: str, _: float) -> None:
        if (source := self.publishers.pop(stream, None)) is not None:
            self.gone.append((stream, source.source_id))

    def media_dies(self, _: str, __: float) -> None:
        self.media_runs = False
        for stream in STREAMS:
            self.leave(stream, 0)

    def media_starts(self, _: str, __: float) -> None:
        self.media_runs = True

    def orchestrator_is_killed(self, _: str, __: float) -> None:
        """And starts anew, knowing nothing."""
        self.machines, self.old_list = {}, {}
        for process in itertools.chain(*self.processes.values()):
            process.orphaned = True

    def orphans_end(self, _: str, __: float) -> None:
        for stream in STREAMS:
            self.processes[stream] = [process for process in self.processes[stream] if not process.orphaned]

    def time_passes(self, _: str, seconds: float) -> None:
        self.now += seconds
        self.decide()

    def time_passes_and_nobody_looks(self, _: str, seconds: float) -> None:
        self.now += seconds

    # ------------------------------------------------------------------------------------ what the orchestrator hears

    def poll(self, stream: str, number: float) -> None:
        self.read_list(stream, number)
        self.act_on_list(stream, number)

    def read_list(self, _: str, __: float) -> None:
        if self.media_runs:
            self.old_list = dict(self.publishers)

    def act_on_list(self, _: str, __: float) -> None:
        """Also late, or twice."""
        if not self.media_runs:
            return
        for stream, source in self.old_list.items():
            self.machines.setdefault(stream, self.new_machine()).listed(source)
        for stream, machine in self.machines.items():
            if stream not in self.old_list:
                machine.unlisted(self.now)
        give_places(self.machines.values(), PLACES, self.now)
        self.decide()

    def not_ready_hook(self, _: str, number: float) -> None:
        """Of any session that has ended, however long ago."""
        if not self.gone:
            return
        stream, source_id = self.gone[int(number) % len(self.gone)]
        machine = self.machines.get(stream)
        if machine is None:
            return
        others = machine.source is not None and machine.source.source_id != source_id
        before = machine.state(self.now)
        scheduled = machine.hook_not_ready(source_id, self.now)
        if others:
            assert not scheduled
            assert machine.state(self.now) == before, "the hook of an old session touched the new one"
        self.decide()

    def worker_becomes_ready(self, stream: str, _: float) -> None:
        if self.own(stream):
            self.machines[stream].worker_ready()
            self.decide()

    def worker_ends(self, stream: str, number: float) -> None:
        for process in self.own(stream):
            self.processes[stream].remove(process)
            code = 0 if process.told_to_stop else EXIT_CODES[int(number) % len(EXIT_CODES)]
            self.machines[stream].worker_exited(code, "", self.now)
        self.decide()

    # -------------------------------------------------------------------------------------------- what it then does

    def new_machine(self) -> Stream:
        return Stream(GRACE_S, lambda: f"run{next(self.numbers)}", lambda: 1.0)

    def own(self, stream: str) -> list[Process]:
        return [process for process in self.processes[stream] if not process.orphaned]

    def decide(self) -> None:
        for stream, machine in self.machines.items():
            for _ in range(5):
                action = machine.decide(self.now)
                if action is None:
                    break
                self.carry_out(stream, action)
            else:
                raise AssertionError("no rest")

    def carry_out(self, stream: str, action: Action) -> None:
        own, machine = self.own(stream), self.machines[stream]
        if isinstance(action, StartWorker):
            assert own == [], "two workers"
            assert machine.source is not None, "a worker without a reason"
            assert action.plan == machine.source.plan
            assert action.run_id
            assert machine.refused_since is None
            self.processes[stream].append(Process(action))
        else:
            assert len(own) == 1, "nothing to stop"
            assert not own[0].told_to_stop, "told to stop twice"
            own[0].told_to_stop = True

    # --------------------------------------------------------------------------------------------- what must be true

    def check(self) -> None:
        assert sum(len(self.own(stream)) for stream in STREAMS) <= PLACES, "more than there are places for"
        for stream in STREAMS:
            own, machine = self.own(stream), self.machines.get(stream)
            state = machine.state(self.now) if machine else "idle"
            assert len(own) <= 1
            assert (state in {"idle", "degraded", "refused"}) <= (not own), "a worker without a reason"
            assert (state in {"running", "stopping"}) <= bool(own)
            assert (state == "stopping") == any(process.told_to_stop for process in own)

    def settle(self, seconds: int) -> None:
        """All works from now on: polls, workers that start, and stop when told to."""
        self.media_starts("", 0)
        for _ in range(seconds):
            self.now += 1.0
            self.orphans_end("", 0)
            for stream in STREAMS:
                if any(process.told_to_stop for process in self.own(stream)):
                    self.worker_ends(stream, 0)
                self.worker_becomes_ready(stream, 0)
            self.poll("", 0)
            self.check()

    def right(self, stream: str) -> bool:
        """One worker with the right plan for what is published, none for what is not, or a reason in words."""
        source, own = self.publishers.get(stream), self.own(stream)
        machine = self.machines.get(stream)
        state = machine.state(self.now) if machine else "idle"
        if source is None:
            return not own and state == "idle"
        if own:
            return own[0].start.plan == source.plan and state == "running"
        assert machine is not None
        return state in {"degraded", "refused"} and bool(machine.message())


KINDS = (
    *("publish", "publish", "publish", "leave", "poll", "poll", "poll", "poll", "not_ready_hook", "not_ready_hook"),
    *("worker_becomes_ready", "worker_becomes_ready", "read_list", "act_on_list", "orphans_end"),
    *("media_dies", "media_starts", "media_starts", "orchestrator_is_killed"),
    *("time_passes", "time_passes", "time_passes_and_nobody_looks"),
)
FAILING = (*KINDS, "worker_ends", "worker_ends")
SECONDS = (0.1, 1.0, 10.0, 31.0, 61.0, 700.0)
SEQUENCE = st.binary(min_size=LENGTH, max_size=3 * LENGTH)
"""Three bytes an event: hypothesis makes and shrinks them quickly."""


def lived(sequence: bytes, kinds: Sequence[str]) -> World:
    world = World()
    for what, where, number in zip(sequence[::3], sequence[1::3], sequence[2::3], strict=False):
        kind, stream = kinds[what % len(kinds)], STREAMS[where % len(STREAMS)]
        value = SECONDS[number % len(SECONDS)] if kind.startswith("time") else number
        note(f"{kind} {stream} {value}")
        getattr(world, kind)(stream, value)
        world.check()
    return world


@settings(max_examples=SEQUENCES)
@given(SEQUENCE)
def test_whatever_came_in_the_end_what_runs_is_what_is_wanted(sequence: bytes) -> None:
    world = lived(sequence, FAILING)
    world.settle(LONGEST_S)
    assert all(world.right(stream) for stream in STREAMS)
    waiting = [stream for stream, machine in world.machines.items() if machine.state(world.now) == "refused"]
    running = [stream for stream in STREAMS if world.own(stream)]
    assert not waiting or len(running) == PLACES, "refused where there is a place"


@settings(max_examples=SEQUENCES)
@given(SEQUENCE)
def test_as_long_as_no_worker_fails_all_is_right_within_seconds(sequence: bytes) -> None:
    """Nothing but a grace or a place is waited for."""
    world = lived(sequence, KINDS)
    world.settle(RIGHT_AGAIN_S)
    for stream, machine in world.machines.items():
        state = machine.state(world.now)
        assert world.right(stream) or (stream not in world.publishers and state in {"grace", "stopping"})

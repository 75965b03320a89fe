"""One stream's state machine: when its worker starts and stops. Pure: time and chance are given.

    idle ──listed──> starting ──first status──> running ──unlisted──> grace ──over──> stopping ──exited──> idle
                        ^                          │  ^─────listed─────┘
                        └──────back-off────exited──┘──too often, or exit 2 or 3──> degraded

A stream that finds no place among those that run is `refused` until `give_places` has one for it.

It keeps facts (who publishes, what the worker does, what failed when) and derives the state from them, so an event
that is lost, late, doubled or out of order leaves nothing wrong behind: the next look at MediaMTX's list puts it right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from dubrelay.errors import ConfigError, InputNotReady, StartupError
from dubrelay.orchestrator.plan import Plan, Unsupported
from dubrelay.wire.streams import StreamState

WorkerState = Literal["none", "starting", "ready", "stopping"]

MAX_RESTARTS = 6
RESTART_WINDOW_S = 600.0
COOL_DOWN_S = 60.0
FIRST_BACK_OFF_S = 0.5
MAX_BACK_OFF_S = 30.0
_NOT_RESTARTED = frozenset({ConfigError.exit_code, StartupError.exit_code})


@dataclass(frozen=True)
class Source:
    """One publishing session; a publisher that reconnects is another one."""

    source_id: str
    available_time: str
    plan: Plan | Unsupported
    asked: Mapping[str, str] = field(default_factory=dict)
    """What its query chose: plan.ASKED."""


@dataclass(frozen=True)
class StartWorker:
    run_id: str
    plan: Plan


@dataclass(frozen=True)
class StopWorker:
    pass


Action = StartWorker | StopWorker


@dataclass
class RestartPolicy:
    """When a failed worker may start again: at once where it is the first failure in RESTART_WINDOW_S, as a viewer sees
    nothing meanwhile. `jitter` gives a number in 0..1.
    """

    jitter: Callable[[], float]
    not_before: float = 0.0
    cooling_down: bool = False
    _failures: list[float] = field(default_factory=list)

    def failed(self, now: float) -> None:
        self._failures = [at for at in self._failures if now - at < RESTART_WINDOW_S]
        self.cooling_down = len(self._failures) >= MAX_RESTARTS
        if self.cooling_down:
            self._failures.clear()
            self.not_before = now + COOL_DOWN_S
        else:
            before = len(self._failures)
            delay = min(MAX_BACK_OFF_S, FIRST_BACK_OFF_S * 2 ** (before - 1)) if before else 0.0
            self.not_before = now + delay * (0.5 + self.jitter() / 2)
            self._failures.append(now)

    def allows(self, now: float) -> bool:
        return now >= self.not_before


class Stream:
    """Feed it events, then carry out what `decide` says until it says None."""

    def __init__(self, grace_s: float, new_run_id: Callable[[], str], jitter: Callable[[], float]) -> None:
        self._grace_s = grace_s
        self._new_run_id = new_run_id
        self._restart = RestartPolicy(jitter)
        self._gone_at = 0.0
        self._gone_source = ""
        self._failed_source = ""
        self._worker_plan: Plan | None = None
        self.source: Source | None = None
        self.worker: WorkerState = "none"
        self.run_id = ""
        """Lasts as long as the session: from the first start until the grace is over."""
        self.restarts = 0
        self.error = ""
        """Why the latest worker failed; empty once one runs."""
        self.refused_since: float | None = None
        """When it first found no place; None: it may start."""
        self._keeps_place = False

    @property
    def has_place(self) -> bool:
        """Whether it has a worker, or had one that is to be started again."""
        return self.worker != "none" or self._keeps_place

    @property
    def wants_place(self) -> bool:
        return self.source is not None and not self.has_place and not self._blocked()

    def listed(self, source: Source) -> None:
        """MediaMTX's list names `source` as publishing."""
        if self.source is not None and self.source.source_id == source.source_id:
            return
        self.source = source

    def replan(self, plan: Plan) -> None:
        """Who publishes is to be served otherwise than when it was found."""
        if self.source is not None and isinstance(self.source.plan, Plan) and self.source.plan != plan:
            self.source = replace(self.source, plan=plan)
            self._failed_source = ""

    def restart(self) -> None:
        """An operator wants another worker, at once: what kept one from starting is forgotten."""
        self._worker_plan = None
        self._failed_source = ""
        self._restart = RestartPolicy(self._restart.jitter)

    def unlisted(self, now: float) -> None:
        """MediaMTX's list says that nobody publishes."""
        if self.source is not None:
            self._gone_source = self.source.source_id
            self._gone_at = now
            self.source = None
            self.refused_since = None

    def hook_not_ready(self, source_id: str, now: float) -> bool:
        """Whether the session that ended is the one this stream lives on; any other is none of its business."""
        if self.source is not None and self.source.source_id == source_id:
            self.unlisted(now)
        return self.source is None and self._gone_source == source_id and self.run_id != ""

    def worker_ready(self) -> None:
        if self.worker == "starting":
            self.worker = "ready"
            self.error = ""
            self._failed_source = ""

    def worker_exited(self, code: int, message: str, now: float) -> bool:
        """Whether it failed: it was not asked to end."""
        asked_to = self.worker == "stopping"
        self.worker = "none"
        self._worker_plan = None
        if asked_to:
            return False
        self.error = message or f"the worker ended with exit code {code}"
        self._restart.failed(now)
        if code in _NOT_RESTARTED and self.source is not None:
            self._failed_source = self.source.source_id
        if code == InputNotReady.exit_code:
            # The worker has waited its own grace: the list must name the source anew before another one starts.
            self.unlisted(now)
        return True

    def held_off_s(self, now: float) -> float:
        """For how long the latest failure keeps another worker from starting."""
        return max(0.0, self._restart.not_before - now)

    def decide(self, now: float) -> Action | None:
        """The one thing to do now, already noted as done."""
        if self.worker in {"starting", "ready"}:
            if self._grace_over(now):
                self._end_session()
            elif not self._plan_changed():
                return None
            self.worker = "stopping"
            return StopWorker()
        if self.worker == "none":
            if self._grace_over(now):
                self._end_session()
            elif self.source is not None and self._blocked():
                self._keeps_place = False
            plan = self._startable(now)
            if plan is not None:
                return self._start(plan)
        return None

    def state(self, now: float) -> StreamState:
        if self.worker == "stopping":
            return "stopping"
        if self.source is None:
            in_session = self.worker != "none" or (self.run_id and not self._grace_over(now))
            return "grace" if in_session else "idle"
        if self.worker == "none" and (self._blocked() or self._restart.cooling_down):
            return "degraded"
        if self.refused_since is not None:
            return "refused"
        return "running" if self.worker == "ready" else "starting"

    def message(self) -> str:
        """One line for people: why there is no worker, or why the last one failed."""
        if self.source is not None and isinstance(self.source.plan, Unsupported):
            return self.source.plan.message
        if self.refused_since is not None:
            return "as many streams run as orchestrator.max_streams allows: it starts when one of them ends"
        return self.error

    def _start(self, plan: Plan) -> StartWorker:
        if self.error:
            self.restarts += 1
        self._restart.cooling_down = False
        self.run_id = self.run_id or self._new_run_id()
        self.worker = "starting"
        self._keeps_place = True
        self._worker_plan = plan
        return StartWorker(self.run_id, plan)

    def _startable(self, now: float) -> Plan | None:
        if self.source is None or isinstance(self.source.plan, Unsupported) or self._blocked():
            return None
        if self.refused_since is not None:
            return None
        return self.source.plan if self._restart.allows(now) else None

    def _blocked(self) -> bool:
        assert self.source is not None
        return isinstance(self.source.plan, Unsupported) or self.source.source_id == self._failed_source

    def _grace_over(self, now: float) -> bool:
        return self.source is None and now - self._gone_at >= self._grace_s

    def _plan_changed(self) -> bool:
        return self.source is not None and self.source.plan != self._worker_plan

    def _end_session(self) -> None:
        self.run_id = ""
        self.error = ""
        self._failed_source = ""
        self._keeps_place = False
        self._restart = RestartPolicy(self._restart.jitter)


def give_places(streams: Iterable[Stream], places: int, now: float) -> None:
    """Lets those start that find one of `places`, in the order they came, and refuses the others. Before `decide`."""
    streams = list(streams)
    free = places - sum(stream.has_place for stream in streams)
    waiting = sorted((stream for stream in streams if stream.wants_place), key=lambda stream: _came(stream, now))
    for n, stream in enumerate(waiting):
        if n < free:
            stream.refused_since = None
        elif stream.refused_since is None:
            stream.refused_since = now


def _came(stream: Stream, now: float) -> tuple[float, str]:
    assert stream.source is not None
    return now if stream.refused_since is None else stream.refused_since, stream.source.available_time

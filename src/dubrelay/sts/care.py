"""What becomes of an engine that fails: it is left out, loaded again in the background, and comes back by itself.

    works --FAILURES in a row--> down --loading, first after FIRST_S, then after twice as long each time--> works

While it is down, phrases go to the next engine of its list that knows the language, or to the fast one; where there is
none they are refused with an error that can be retried. An engine that hangs cannot be ended; it is told of.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from dubrelay import logs
from dubrelay.errors import Stage, StsError
from dubrelay.sts.route import Engines, closed

Reload = Callable[[Stage, str], Any]

FAILURES = 3
FIRST_S, LONGEST_S = 1.0, 60.0


class Care:
    """Keeps the engines; without `reload` they are only counted. Safe to use from several threads."""

    def __init__(self, engines: Engines, reload: Reload | None = None) -> None:
        self._all = engines
        self._reload = reload
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._failures: dict[int, int] = {}
        self._down: dict[int, tuple[Stage, Any]] = {}
        for stage, engine in engines.loaded():
            self._watch_members(stage, engine)

    @property
    def engines(self) -> Engines:
        """All of them, those that are down included."""
        return self._all

    def working(self) -> Engines:
        """Those that work. Where one of a stage does not, its fast engines stand in after the rest of its list."""
        with self._lock:
            if not self._down:
                return self._all
            lists = {field.name: getattr(self._all, field.name) for field in fields(Engines)}
            up = {key: tuple(engine for engine in some if self._works(engine)) for key, some in lists.items()}
        for stage in ("asr", "mt", "tts"):
            if len(up[stage]) < len(lists[stage]):
                up[stage] = tuple(dict.fromkeys((*up[stage], *up[f"{stage}_fast"])))
        return Engines(**up)

    def down(self) -> list[str]:
        """stage/name of what is being loaded again."""
        with self._lock:
            return sorted(f"{stage}/{engine.name}" for stage, engine in self._down.values())

    def worked(self, engine: Any) -> None:
        if id(engine) in self._failures:
            with self._lock:
                self._failures.pop(id(engine), None)

    def failed(self, stage: Stage, engine: Any, error: Exception) -> None:
        """It raised. What a phrase or its language is to blame for does not count."""
        if isinstance(error, StsError) and not (error.code == "MODEL_ERROR" and error.retryable):
            return
        if hasattr(engine, "members"):  # each of them has been told of
            return
        with self._lock:
            count = self._failures[id(engine)] = self._failures.get(id(engine), 0) + 1
            if count < FAILURES or self._reload is None or id(engine) in self._down or not self._has(stage, engine):
                return
            self._down[id(engine)] = (stage, engine)
        logs.get().warning("engine is down", stage=stage, engine=engine.name, error=type(error).__name__)
        threading.Thread(target=self._revive, args=(stage, engine), name=f"sts-reload-{stage}", daemon=True).start()

    def close(self) -> None:
        """Loads nothing any more, and ends what the engines started."""
        self._ended.set()
        self._all.close()

    def _revive(self, stage: Stage, engine: Any) -> None:
        assert self._reload is not None
        self._quietly_closed(stage, engine)  # its memory first: two of a large model may not fit
        wait_s = FIRST_S
        while not self._ended.wait(wait_s):
            wait_s = min(2 * wait_s, LONGEST_S)
            try:
                fresh = self._reload(stage, engine.name)
            except Exception as e:
                why = {"error": type(e).__name__, "next_s": round(wait_s, 1)}
                logs.get().warning("engine cannot be loaded", stage=stage, engine=engine.name, **why)
                continue
            self._watch_members(stage, fresh)
            self._replaced(engine, fresh)
            logs.get().info("engine is back", stage=stage, engine=engine.name)
            return

    def _replaced(self, engine: Any, fresh: Any) -> None:
        def new(one: Any) -> Any:
            return fresh if one is engine else one

        with self._lock:
            lists = {field.name: tuple(map(new, getattr(self._all, field.name))) for field in fields(Engines)}
            for _, chain in self._all.loaded():
                if members := getattr(chain, "members", None):
                    members[:] = map(new, members)
            self._all = replace(self._all, **lists)
            self._failures.pop(id(engine), None)
            self._down.pop(id(engine), None)

    def _works(self, engine: Any) -> bool:
        members = getattr(engine, "members", ())
        return id(engine) not in self._down and (not members or any(id(one) not in self._down for one in members))

    def _has(self, stage: Stage, engine: Any) -> bool:
        """Whether it is one of ours still: a phrase may be on its way with one that was replaced."""
        ours = [known for at, known in self._all.loaded() if at == stage]
        return any(engine is one for known in ours for one in (known, *getattr(known, "members", ())))

    def _watch_members(self, stage: Stage, engine: Any) -> None:
        """A chain tells how its engines fare: they fail where nobody else sees it."""
        if hasattr(engine, "members"):
            engine.told = lambda member, error: self.failed(stage, member, error) if error else self.worked(member)
            engine.left_out = lambda member: id(member) in self._down

    @staticmethod
    def _quietly_closed(stage: Stage, engine: Any) -> None:
        try:
            closed(engine)
        except Exception as e:
            logs.get().warning("engine cannot be closed", stage=stage, engine=engine.name, error=type(e).__name__)

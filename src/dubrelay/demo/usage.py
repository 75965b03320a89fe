"""What the demo's processes take of the machine."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

_MARKS = (("mediamtx", "MediaMTX"), ("worker", "worker"), ("sts", "STS"), ("orchestrator", "orchestrator"))
_ENGINES = "STS' engines"


@dataclass(frozen=True)
class Share:
    name: str
    cores: float
    """On average since the first sample."""
    peak_mb: float


class Usage:
    """Sampled now and then: all descendants of this process, by what they are."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._cpu_s: dict[tuple[str, int], float] = {}
        self._before_s: dict[tuple[str, int], float] = {}
        self._peak_mb: dict[str, float] = {}

    def sample(self) -> None:
        if self._began is None:
            self._began = time.monotonic()
        mb: dict[str, float] = {}
        for name, process in _labelled(psutil.Process(os.getpid())):
            try:
                times, memory = process.cpu_times(), process.memory_info()
            except psutil.Error:
                continue  # it has just ended
            key, spent_s = (name, process.pid), times.user + times.system
            self._before_s.setdefault(key, spent_s)
            self._cpu_s[key] = spent_s
            mb[name] = mb.get(name, 0.0) + memory.rss / 1e6
        for name, now_mb in mb.items():
            self._peak_mb[name] = max(now_mb, self._peak_mb.get(name, 0.0))

    def shares(self) -> list[Share]:
        elapsed_s = max(0.001, time.monotonic() - (self._began or 0.0))
        cores = dict.fromkeys(self._peak_mb, 0.0)
        for key, spent_s in self._cpu_s.items():
            cores[key[0]] += (spent_s - self._before_s[key]) / elapsed_s
        return [Share(name, cores[name], self._peak_mb[name]) for name in sorted(cores)]


def _labelled(parent: psutil.Process, label: str = "") -> list[tuple[str, psutil.Process]]:
    found = []
    try:
        children = parent.children()
    except psutil.Error:
        return []
    for child in children:
        name = _label(child, label)
        if name:
            found.append((name, child))
        found += _labelled(child, name)
    return found


def _label(process: psutil.Process, parent: str) -> str:
    """A name for what belongs to the chain; "" for the demo's own publisher and viewer."""
    try:
        words = process.cmdline()[:6]
    except psutil.Error:
        return parent
    if parent in {"STS", _ENGINES}:
        return _ENGINES
    for word in words:
        for mark, name in _MARKS:
            if Path(word).name == mark or word == f"dubrelay.{mark}":
                return name
    return parent

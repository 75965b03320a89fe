"""The last hour of one stream in rows of some seconds, for charts. Pure: time is given.

A row tells how the stream was at its end, and what became of the phrases that were decided in it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

from prometheus_client.parser import text_string_to_metric_families

from dubrelay.wire.status import PhraseReport
from dubrelay.wire.streams import HistoryRow, Loudness, Mark, StreamView

STEP_S = 5.0
ROWS = 720
_SILENT_S = 10.0
"""Sound that is away for so long is worth a mark; a pause is not."""
_FOUND: Mapping[str, Mark] = {"dead_dub": "dead dub", "ghost_dub": "ghost dub"}


@dataclass
class _Phrases:
    outcomes: Counter[str] = field(default_factory=Counter)
    margins_ms: list[int] = field(default_factory=list)
    stages_ms: dict[str, list[int]] = field(default_factory=dict)


class History:
    """`phrase` as they come and `look` at least every STEP_S; rows are in `since`."""

    def __init__(self) -> None:
        self._rows: deque[HistoryRow] = deque(maxlen=ROWS)
        self._phrases = _Phrases()
        self._next_at = 0.0
        self._counted: dict[str, float] = {}
        self.samples: Mapping[str, float] = {}
        """The worker's metrics at the latest row, as `samples_of` gives them."""

    def phrase(self, report: PhraseReport) -> None:
        now = self._phrases
        now.outcomes[report.reason or report.status] += 1
        if report.margin_ms is not None:
            now.margins_ms.append(report.margin_ms)
        for stage, ms in report.stage_ms.items():
            now.stages_ms.setdefault(stage, []).append(ms)

    def look(self, now: float, view: StreamView, metrics: str) -> None:
        """`now` in seconds since the epoch; `metrics` is the worker's text, empty where none runs."""
        if now < self._next_at:
            return
        self._next_at = now + STEP_S
        phrases, self._phrases = self._phrases, _Phrases()
        samples = self.samples = samples_of(metrics)
        worker = view.worker
        self._rows.append(
            HistoryRow(
                at=now,
                state=view.state,
                delay_ms=view.delay_ms,
                av_sync_ms=view.av_sync_ms,
                cpu_percent=worker.cpu_percent if worker else None,
                rss_bytes=worker.rss_bytes if worker else None,
                outcomes=dict(phrases.outcomes),
                margin_ms=min(phrases.margins_ms, default=None),
                stage_ms={stage: round(median(ms)) for stage, ms in phrases.stages_ms.items()},
                loudness=_loudness(samples),
                marks=self._marks(samples),
            )
        )

    def since(self, at: float) -> list[HistoryRow]:
        return [row for row in self._rows if row.at > at]

    def _marks(self, samples: Mapping[str, float]) -> list[Mark]:
        marks = [
            mark for found, mark in _FOUND.items() if self._grew(samples, f"worker_unheard_dubs_total found={found}")
        ]
        if samples.get("worker_silence_seconds side=input", 0) > _SILENT_S:
            marks.append("silence in")
        clipped: dict[str, Mark] = {"input": "clipping in", "output": "clipping out"}
        for side, mark in clipped.items():
            if self._grew(samples, f"worker_clipped_seconds_total side={side}"):
                marks.append(mark)
        if self._grew(samples, "worker_frozen_seconds_total"):
            marks.append("frozen picture")
        return marks

    def _grew(self, samples: Mapping[str, float], name: str) -> bool:
        """Since the last look; a worker that begins anew counts from 0."""
        before, value = self._counted.get(name, 0.0), samples.get(name, 0.0)
        self._counted[name] = value
        return value > before


def samples_of(metrics: str) -> dict[str, float]:
    """By name and labels, as `name label=value ...`. Nothing of what cannot be read."""
    try:
        families = list(text_string_to_metric_families(metrics))
    except ValueError:
        return {}
    return {
        " ".join([s.name, *(f"{key}={value}" for key, value in sorted(s.labels.items()))]): s.value
        for family in families
        for s in family.samples
    }


def _loudness(samples: Mapping[str, float]) -> Loudness | None:
    def of(side: str, window: str) -> float | None:
        return samples.get(f"worker_loudness_lufs side={side} window={window}")

    if of("input", "momentary") is None:
        return None
    return Loudness(
        input_momentary=of("input", "momentary"),
        input_integrated=of("input", "integrated"),
        output_momentary=of("output", "momentary"),
        output_integrated=of("output", "integrated"),
    )

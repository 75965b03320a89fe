from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dubrelay.orchestrator.history import ROWS, STEP_S, History
from dubrelay.wire.status import PhraseReport
from dubrelay.wire.streams import StreamView, WorkerView
from dubrelay.worker.meter import Meter
from dubrelay.worker.metrics import WorkerMetrics

pytestmark = pytest.mark.unit

VIEW = StreamView(
    stream_id="x", state="running", mode="dub", programme="dub", delay_ms=8100, av_sync_ms=0.3,
    worker=WorkerView(pid=1, started_at=0, cpu_percent=12, rss_bytes=2 * 10**8),
)  # fmt: skip


def report(number: int, **values: Any) -> PhraseReport:
    given = {"sequence_number": number, "t0_ms": 0, "started_at": 0, "duration_ms": 900, "status": "dubbed"}
    return PhraseReport.model_validate(given | values)


def metrics_of(**unheard: int) -> WorkerMetrics:
    made = WorkerMetrics()
    for found, count in unheard.items():
        made.unheard.labels(found).inc(count)
    return made


def test_a_row_tells_how_it_was_and_what_became_of_the_phrases_in_it() -> None:
    history = History()
    history.look(100, VIEW, "")
    history.phrase(report(1, margin_ms=1800, stage_ms={"asr": 200, "tts": 900}))
    history.phrase(report(2, margin_ms=700, stage_ms={"asr": 300, "tts": 1300}))
    history.phrase(report(3, status="fallback", reason="deadline"))
    history.look(100 + STEP_S / 2, VIEW, "")
    history.look(100 + STEP_S, VIEW, "")
    history.look(100 + 2 * STEP_S, VIEW, "")
    first, second, third = history.since(0)
    assert (first.outcomes, third.outcomes, third.margin_ms, third.stage_ms) == ({}, {}, None, {})
    assert second.outcomes == {"dubbed": 2, "deadline": 1}
    assert (second.margin_ms, second.stage_ms) == (700, {"asr": 250, "tts": 1100})
    assert (second.state, second.delay_ms, second.cpu_percent, second.rss_bytes) == ("running", 8100, 12, 2 * 10**8)
    assert [row.at for row in history.since(100)] == [105, 110]


def test_an_hour_is_kept() -> None:
    history = History()
    for n in range(ROWS + 50):
        history.look(n * STEP_S, VIEW, "")
    rows = history.since(-1)
    assert (len(rows), rows[-1].at - rows[0].at) == (ROWS, 3600 - STEP_S)


def test_what_the_worker_s_own_metrics_show_is_in_the_row() -> None:
    metrics, meter = metrics_of(), Meter()
    metrics.show("input", meter)
    metrics.show("output", Meter())
    meter.note(np.full((19_200, 2), 0.1, np.float32) * np.sin(np.arange(19_200) / 8)[:, None].astype(np.float32))
    history = History()
    history.look(0, VIEW, metrics.text())
    (row,) = history.since(-1)
    assert row.loudness is not None
    assert row.loudness.input_momentary == pytest.approx(meter.momentary_lufs)
    assert row.loudness.output_momentary == -70
    assert row.marks == []


def test_a_detector_that_fired_leaves_its_mark_once_also_after_a_restart() -> None:
    history = History()
    for at, metrics in enumerate(
        [
            metrics_of(),
            metrics_of(dead_dub=1),
            metrics_of(dead_dub=1),
            metrics_of(),
            metrics_of(dead_dub=1, ghost_dub=2),
        ]
    ):
        history.look(at * STEP_S, VIEW, metrics.text())
    assert [row.marks for row in history.since(-1)] == [[], ["dead dub"], [], [], ["dead dub", "ghost dub"]]


def test_a_picture_that_stood_still_leaves_a_mark() -> None:
    metrics, history = metrics_of(), History()
    history.look(0, VIEW, metrics.text())
    metrics.frozen_s.inc(2)
    history.look(STEP_S, VIEW, metrics.text())
    history.look(2 * STEP_S, VIEW, metrics.text())
    assert [row.marks for row in history.since(-1)] == [[], ["frozen picture"], []]


def test_silence_and_clipping_leave_a_mark() -> None:
    metrics, meter = metrics_of(), Meter()
    metrics.show("input", meter)
    meter.silent_s = 11
    metrics.clipped_s.labels("output").inc(0.2)
    history = History()
    history.look(0, VIEW, metrics.text())
    assert history.since(-1)[0].marks == ["silence in", "clipping out"]


def test_without_a_worker_or_with_rubbish_there_is_a_row_all_the_same() -> None:
    history = History()
    history.look(0, VIEW.model_copy(update={"worker": None}), "")
    history.look(STEP_S, VIEW, "no metrics {{{")
    assert [row.loudness for row in history.since(-1)] == [None, None]

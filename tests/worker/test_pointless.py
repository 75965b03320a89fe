"""What nobody waits for any more is not asked for, or given up on the wire, so that the service can notice."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from dubrelay import config
from dubrelay.audio import samples_in, time_of
from dubrelay.wire.worker import WorkerSettings
from dubrelay.worker.cut import Span
from dubrelay.worker.metrics import WorkerMetrics
from dubrelay.worker.phrases import Phrases
from dubrelay.worker.report import Reporter
from lying_service import Service, hangs, serving, until

pytestmark = pytest.mark.service

LATENCY_S = 40.0
"""Longer than any test waits: no request ends because its time has come."""


def span(start_s: float, end_s: float) -> Span:
    start, end = samples_in(start_s), samples_in(end_s)
    return Span(start, end, True, start, end)


class Track:
    """The sound of dub mode with six seconds of it fed; the clock stands still."""

    def __init__(self, url: str, reports: Path) -> None:
        self.reports = reports
        self._fd: int | None = os.open(reports, os.O_WRONLY | os.O_CREAT)
        settings = WorkerSettings(
            stream_id="x",
            run_id="run",
            input_url="rtmp://127.0.0.1:1/live/x/in",
            output_url="rtmp://127.0.0.1:1/live/x/out",
            worker=config.Worker(latency_s=LATENCY_S),
            mix=config.Mix(separate=False),
            sts_client=config.StsClient(urls=[url], timeout_s=LATENCY_S),
        )
        self.reporter = Reporter(self._fd)
        self.phrases = Phrases(settings, WorkerMetrics(), self.reporter, lambda: time_of(samples_in(6)))
        self.phrases.feed(0, np.zeros((samples_in(6), 2), np.float32))

    async def close(self) -> None:
        """Once is enough."""
        if self._fd is None:
            return
        await asyncio.to_thread(self.phrases.close)
        self.reporter.close()
        os.close(self._fd)
        self._fd = None


def with_track(directory: Path, scenario: Callable[[Service, Track], Awaitable[None]]) -> None:
    async def run() -> None:
        async with serving() as service:
            service.behaviours = [hangs]
            track = Track(service.url, directory / "reports.jsonl")
            try:
                await scenario(service, track)
            finally:
                await track.close()

    asyncio.run(run())


def test_a_worker_that_stops_gives_up_what_it_asked_for(tmp_path: Path) -> None:
    async def scenario(service: Service, track: Track) -> None:
        track.phrases._begin(span(1, 3))
        track.phrases._begin(span(3, 5))
        await until(lambda: len(service.requests) == 2, "two requests")
        await track.close()
        await until(lambda: service.gone == 2, "the service to notice")

    with_track(tmp_path, scenario)


def test_a_phrase_that_is_known_too_late_is_not_asked_for(tmp_path: Path) -> None:
    async def scenario(service: Service, track: Track) -> None:
        track.phrases.render(0, samples_in(2))
        track.phrases._begin(span(1, 3))
        track.phrases._begin(span(3, 5))
        await until(lambda: service.requests, "a request")
        assert [request["sequence_number"] for request in service.requests] == [1]
        track.phrases.render(samples_in(2), 1)
        await until(lambda: '"reason":"deadline"' in track.reports.read_text(), "what became of it")

    with_track(tmp_path, scenario)


def test_phrases_that_a_fault_in_the_mix_forgot_are_given_up(tmp_path: Path) -> None:
    async def scenario(service: Service, track: Track) -> None:
        track.phrases._begin(span(1, 3))
        await until(lambda: service.requests, "a request")
        track.phrases._begin_anew(0, 1)
        await until(lambda: service.gone == 1, "the service to notice")
        track.phrases._begin(span(3, 5))
        await until(lambda: len(service.requests) == 2, "the next one to be asked for")

    with_track(tmp_path, scenario)

"""The worker's metrics (contracts, section 5) move when what they count is caused. Two of them move in tests nearer to
their cause: sound that waits (worker/test_phrases.py) and warnings of GStreamer (gst/test_pipeline.py)."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dubrelay.config import StsClient
from dubrelay.demo.programme import make
from dubrelay.wire.fragment import Audio, ProcessResult
from fault_proxy import FaultProxy, rtmp_kind
from lying_service import Behaviour, Liar, Send, answers, hangs, refuses, respond, says_nonsense, success
from media import MediaMtx, publish
from running_worker import RunningWorker
from waiting import wait_for

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

LATENCY_S = 6
PROGRAMME_S = 200


async def hears_nothing(request: dict[str, Any], send: Send) -> None:
    result = ProcessResult(fragment_id=request["fragment_id"], status="no_speech")
    await respond(send, 200, result.model_dump_json().encode())


async def talks_on(request: dict[str, Any], send: Send) -> None:
    """As long as a translation may just be, and so into the phrases after it."""
    t = np.arange(round(24 * 2.9 * request["max_duration_ms"]), dtype=np.float32) / 24_000
    voice = np.asarray(0.2 * np.sin(2 * np.pi * 300 * t), np.float32)
    await respond(send, 200, success(request, dubbed_audio=Audio.from_samples(voice, 24_000)))


FATES: list[Behaviour] = [
    *(talks_on, answers, answers),
    *(hears_nothing, hangs, refuses(500, "MODEL_ERROR"), refuses(503, "OVERLOADED"), says_nonsense),
    *5 * (refuses(500, "MODEL_ERROR"),),
    answers,
]
"""One phrase each; the last one stays."""

COUNTED = [
    *(f'worker_audio_fragments_total{{status="{status}"}}' for status in ("dubbed", "no_speech", "fallback")),
    *(
        f'worker_fallback_total{{reason="{reason}"}}'
        for reason in ("timeout", "deadline", "error", "overload", "invalid_output", "breaker_open")
    ),
    'worker_unheard_dubs_total{found="held_back"}',
    *("worker_sts_rtt_ms_count", "worker_deadline_margin_ms_count", "worker_fragment_end_to_end_latency_ms_count"),
]


def test_each_metric_moves_when_what_it_counts_is_caused(media: MediaMtx, tmp_path: Path) -> None:
    programme = make(tmp_path / "programme.mp4", PROGRAMME_S)
    with (
        Liar() as liar,
        FaultProxy(media.settings().rtmp_port, rtmp_kind) as network,
        publish(media.rtmp("live/x/in"), file=programme.path),
        RunningWorker(
            f"rtmp://127.0.0.1:{network.port}/live/x/in",
            f"rtmp://127.0.0.1:{network.port}/live/x/out",
            directory=tmp_path,
            latency_s=LATENCY_S,
            sts=StsClient(urls=[liar.service.url], retries=0, timeout_s=2, breaker_failures=5, breaker_open_s=1),
        ) as worker,
    ):
        liar.service.behaviours[:] = FATES
        media.wait_available("live/x/out", 30)
        for sample in COUNTED:
            wait_for(lambda sample=sample: worker.metric(sample) > 0, 150, f"{sample} to move")
        wait_for(lambda: gauge(worker, "worker_sts_breaker_state")[-1] == 0, 30, "the breaker to close again")
        assert max(gauge(worker, "worker_sts_breaker_state")) == 2
        assert max(gauge(worker, "worker_inflight_fragments")) > 0
        assert (
            max(gauge(worker, "worker_video_queue_ms")) > (LATENCY_S - 2.5) * 1000
        )  # it waits from key frame to key frame
        assert max(map(abs, gauge(worker, "worker_av_sync_delta_ms"))) < 20
        waited = "worker_fragment_end_to_end_latency_ms"
        mean_ms = worker.metric(f"{waited}_sum") / worker.metric(f"{waited}_count")
        assert LATENCY_S * 1000 - 300 < mean_ms < LATENCY_S * 1000 + 1500

        errors = worker.metric("worker_gst_bus_errors_total")
        for side in ("in", "out"):
            reconnects = f'worker_reconnects_total{{side="{side}put"}}'
            assert worker.metric(reconnects) == 0
            network.reset(side)
            wait_for(lambda reconnects=reconnects: worker.metric(reconnects) == 1, 30, f"{reconnects} to move")
            lost = f'worker_lost_ms_total{{side="{side}put"}}'
            wait_for(lambda lost=lost: worker.metric(lost) > 0, 30, f"{lost} to move")  # told once the picture is back
        assert worker.metric("worker_gst_bus_errors_total") > errors

        worker.process.send_signal(signal.SIGSTOP)
        try:
            come = received(media) + 5 * programme.path.stat().st_size / PROGRAMME_S
            wait_for(lambda: received(media) > come, 30, "five seconds of the programme")
        finally:
            worker.process.send_signal(signal.SIGCONT)
        wait_for(lambda: worker.metric("worker_skipped_ms_total") > 500, 20, "worker_skipped_ms_total to move")


def test_a_picture_that_stands_still_is_counted_in_bypass_mode_too(media: MediaMtx, tmp_path: Path) -> None:
    frozen = "worker_frozen_seconds_total"
    with (
        FaultProxy(media.settings().rtmp_port, rtmp_kind) as network,
        publish(media.rtmp("live/x/in")),
        RunningWorker(
            f"rtmp://127.0.0.1:{network.port}/live/x/in", media.rtmp("live/x/out"), mode="bypass", directory=tmp_path
        ) as worker,
    ):
        media.wait_available("live/x/out", 30)
        before = worker.metric(frozen)
        network.fault("stall", "in")
        wait_for(lambda: worker.metric(frozen) > before, 30, f"{frozen} to move")
        network.heal()


def gauge(worker: RunningWorker, name: str) -> list[float]:
    """Its values so far."""
    lines = [line for status in worker.statuses() for line in status.metrics.splitlines()]
    return [float(line.split()[1]) for line in lines if line.startswith(name + " ")]


def received(media: MediaMtx) -> int:
    """Bytes that the publisher has sent so far."""
    return int(media.api("/v3/paths/get/live/x/in")["bytesReceived"])

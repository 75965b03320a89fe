"""Milestone D: the worker with the mock STS service. Its voice is a tone, so where it speaks can be measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from alignment import RATE_HZ, sound_on_published_time, tones
from dubrelay.config import StsClient
from dubrelay.demo.programme import Programme, make
from media import MediaMtx, publish, record
from running_sts import MOCK, RunningSts
from running_worker import RunningWorker
from waiting import wait_for

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def programme(tmp_path_factory: pytest.TempPathFactory) -> Programme:
    return make(tmp_path_factory.mktemp("programme") / "programme.mp4", 45)


def test_d_the_tone_is_heard_exactly_where_speech_was(media: MediaMtx, programme: Programme, tmp_path: Path) -> None:
    with (
        RunningSts(tmp_path, **MOCK) as sts,
        publish(media.rtmp("live/x/in"), file=programme.path),
        RunningWorker(
            media.rtmp("live/x/in"),
            media.rtmp("live/x/out"),
            directory=tmp_path,
            latency_s=6,
            sts=StsClient(urls=[sts.url]),
        ) as worker,
    ):
        media.wait_available("live/x/out", 30)
        recording = record(media.rtmp("live/x/out"), tmp_path / "out.flv", 26)
        offsets = [status.av_sync_ms for status in worker.statuses() if status.av_sync_ms is not None]
        assert len(offsets) > 15
        assert max(map(abs, offsets)) <= 20
        assert {phrase.status for phrase in worker.phrases()} == {"dubbed"}

    start_s, sound = sound_on_published_time(recording, programme.path)
    heard = tones(sound, start_s)
    end_s = start_s + len(sound) / RATE_HZ
    spoken = [s for s in programme.sentences if s.start_s > start_s + 0.5 and s.end_s < end_s - 1]
    assert len(spoken) >= 4
    late_s = []
    for sentence in spoken:
        begin, end = min(heard, key=lambda tone: abs(tone[0] - sentence.start_s))
        late_s.append(begin - sentence.start_s)
        assert -0.1 < late_s[-1] < 0.3, sentence  # a soft first syllable is heard as speech that much later
        assert -0.2 < end - sentence.end_s < 0.5, sentence
    assert abs(np.median(late_s)) < 0.08
    inside = [tone for tone in heard if start_s + 0.5 < tone[0] < end_s - 1]
    assert len(inside) <= len(spoken) + 1  # one may be of a sentence that was begun before the recording


def test_d_failed_requests_are_retried_once_and_in_flight_never_exceeds_its_bound(
    media: MediaMtx, programme: Programme, tmp_path: Path
) -> None:
    client = {"max_in_flight": 2, "breaker_failures": 100}
    with (
        RunningSts(tmp_path, **MOCK, faults={"delay_ms": 2500, "fail_rate": 0.5, "seed": 3}) as sts,
        publish(media.rtmp("live/x/in"), file=programme.path),
        RunningWorker(
            media.rtmp("live/x/in"),
            media.rtmp("live/x/out"),
            directory=tmp_path,
            sts=StsClient.model_validate({"urls": [sts.url], **client}),
        ) as worker,
    ):
        media.wait_available("live/x/out", 30)
        wait_for(lambda: len(worker.phrases()) >= 7, 60, "seven phrases to be decided")
        in_flight = [gauge(status.metrics, "worker_inflight_fragments") for status in worker.statuses()]
        log = worker.log()
    assert max(in_flight) in (1, 2)
    answered = [line for line in log if line["event"] == "sts_answered"]
    retried = [line for line in log if line["event"] == "sts_retry"]
    assert answered
    assert retried
    assert max(line["attempt"] for line in retried) == 1
    assert {"fragmentId", "sequenceNumber", "t0_ms", "duration_ms", "sts_rtt_ms", "status"} <= answered[0].keys()


def gauge(metrics: str, name: str) -> float:
    return next(float(line.split()[1]) for line in metrics.splitlines() if line.startswith(name + " "))

"""The sound of dub mode by itself: real networks, no service to ask."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from dubrelay.audio import Samples, samples_in, time_of
from dubrelay.config import Settings, StsClient, Trace
from dubrelay.wire.control import Control
from dubrelay.wire.worker import WorkerSettings
from dubrelay.worker.metrics import WorkerMetrics
from dubrelay.worker.phrases import Phrases
from dubrelay.worker.report import Reporter
from sounds import quiet
from waiting import wait_for

pytestmark = pytest.mark.service

BLOCK = 9_600


@pytest.fixture
def phrases() -> Iterator[Phrases]:
    settings = Settings(trace=Trace(phrases=0), sts_client=StsClient(urls=["http://127.0.0.1:9"]))
    stream = WorkerSettings.for_stream(settings, "x", "run-1", "rtmp")
    reporter = Reporter()
    clock = itertools.count(0, time_of(BLOCK))
    made = Phrases(stream, WorkerMetrics(), reporter, lambda: next(clock))
    yield made
    made.close()
    reporter.close()


def fed(phrases: Phrases, sound: Samples) -> None:
    for at in range(0, len(sound), BLOCK):
        phrases.feed(at, sound[at : at + BLOCK])


def test_sound_that_waits_to_be_listened_to_shows_until_it_is_heard(phrases: Phrases) -> None:
    fed(phrases, quiet("music", 15))
    assert phrases.queue_ms > 3_000
    wait_for(lambda: phrases.queue_ms == 0, 30, "all of it to be heard")


def test_what_is_on_stays_on_when_a_mix_fails(phrases: Phrases, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = quiet("music", 2)
    fed(phrases, sound)
    phrases.obey(Control(programme="silence"))
    assert not phrases.render(0, BLOCK)[samples_in(0.02) :].any()
    with monkeypatch.context() as broken:
        broken.setattr("dubrelay.worker.timeline.mixed", None)
        assert np.array_equal(phrases.render(BLOCK, BLOCK), sound[BLOCK : 2 * BLOCK])
    assert not phrases.render(2 * BLOCK, BLOCK).any()

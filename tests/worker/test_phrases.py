"""The sound of dub mode by itself: real networks, no service to ask."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr
from hibari import Hibari

from dubrelay.audio import RATE_HZ, Samples, samples_in, time_of
from dubrelay.config import Dub, Mix, Settings, StsClient, Trace
from dubrelay.wire.control import Control
from dubrelay.wire.fragment import Metadata
from dubrelay.wire.worker import WorkerSettings
from dubrelay.worker.metrics import WorkerMetrics
from dubrelay.worker.phrases import Phrases
from dubrelay.worker.report import Reporter
from lying_service import Liar, Send, respond, success
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


def test_the_language_that_a_service_found_goes_back_with_the_next_phrase() -> None:
    spoken = Hibari(voice="heart")("The minister said that the new law will come into force next month.")
    sound = soxr.resample(np.asarray(spoken, np.float32), 24_000, RATE_HZ)
    sentence = np.stack([sound, sound], axis=1)[: len(sound) // BLOCK * BLOCK]
    pause = np.zeros((5 * BLOCK, 2), np.float32)
    found = Metadata(source_language="fr", heard_language="de")

    async def answers_in_french(request: dict[str, Any], send: Send) -> None:
        await respond(send, 200, success(request, metadata=found))

    with Liar() as liar:
        liar.service.behaviours[:] = [answers_in_french]
        settings = Settings(
            trace=Trace(phrases=0), mix=Mix(separate=False), dub=Dub(source_language="auto"),
            sts_client=StsClient(urls=[liar.service.url]),
        )  # fmt: skip
        stream, reporter = WorkerSettings.for_stream(settings, "x", "run-1", "rtmp"), Reporter()
        phrases = Phrases(stream, WorkerMetrics(), reporter, lambda: 0)
        try:
            fed(phrases, np.concatenate([sentence, pause]))
            wait_for(lambda: phrases._context.source_language, 20, "the first phrase to be answered")
            asked = len(liar.service.requests)
            later = np.concatenate([sentence, pause])
            for at in range(0, len(later), BLOCK):
                phrases.feed(len(later) + at, later[at : at + BLOCK])
            wait_for(lambda: len(liar.service.requests) > asked, 20, "the next phrase to be sent")
        finally:
            phrases.close()
            reporter.close()
    first, after = liar.service.requests[0], liar.service.requests[asked]
    assert (first["config"]["source_language"], "source_language" in first["context"]) == ("auto", False)
    assert (after["context"]["source_language"], after["context"]["heard_language"]) == ("fr", "de")


def test_a_phrase_without_words_says_why(tmp_path: Path) -> None:
    spoken = Hibari(voice="heart")("The minister said that the new law will come into force next month.")
    sound = soxr.resample(np.asarray(spoken, np.float32), 24_000, RATE_HZ)
    said = np.concatenate([np.stack([sound, sound], axis=1), np.zeros((5 * BLOCK, 2), np.float32)])
    unsure = Metadata(asr_model="tiny", stage_ms={"asr": 210}, notes=["refused: repeats itself"])

    async def hears_nothing(request: dict[str, Any], send: Send) -> None:
        nothing = {"status": "no_speech", "dubbed_audio": None, "transcript": "", "translated_text": ""}
        await respond(send, 200, success(request, **nothing, metadata=unsure))

    with Liar() as liar, (tmp_path / "lines").open("wb") as lines:
        liar.service.behaviours[:] = [hears_nothing]
        settings = Settings(
            trace=Trace(phrases=0), mix=Mix(separate=False), sts_client=StsClient(urls=[liar.service.url])
        )
        stream, reporter = WorkerSettings.for_stream(settings, "x", "run-1", "rtmp"), Reporter(lines.fileno())
        phrases = Phrases(stream, WorkerMetrics(), reporter, lambda: 0)
        try:
            fed(phrases, said)
            wait_for(lambda: any(p.answer for p in phrases._phrases.values()), 20, "the phrase to be answered")
            phrases.render(0, len(said) // BLOCK * BLOCK)
        finally:
            phrases.close()
            reporter.close()
    reports = [json.loads(line) for line in (tmp_path / "lines").read_text("utf-8").splitlines()]
    reported = next(line for line in reports if line["type"] == "phrase")
    assert (reported["status"], reported["notes"]) == ("no_speech", ["refused: repeats itself"])
    assert (reported["stage_ms"], reported["tempo"]) == ({"asr": 210}, None)


def test_in_the_break_nothing_is_sent_and_after_it_the_next_phrase_is() -> None:
    spoken = Hibari(voice="heart")("The minister said that the new law will come into force next month.")
    sound = soxr.resample(np.asarray(spoken, np.float32), 24_000, RATE_HZ)
    sentence = np.stack([sound, sound], axis=1)[: len(sound) // BLOCK * BLOCK]
    said = np.concatenate([sentence, np.zeros((5 * BLOCK, 2), np.float32)])
    with Liar() as liar:
        settings = Settings(
            trace=Trace(phrases=0), mix=Mix(separate=False), sts_client=StsClient(urls=[liar.service.url])
        )
        stream, reporter = WorkerSettings.for_stream(settings, "x", "run-1", "rtmp"), Reporter()
        phrases = Phrases(stream, WorkerMetrics(), reporter, lambda: 0)

        def say(nth: int) -> None:
            for at in range(0, len(said), BLOCK):
                phrases.feed(nth * len(said) + at, said[at : at + BLOCK])

        try:
            say(0)
            asked = wait_for(lambda: phrases.queue_ms == 0 and len(liar.service.requests), 20, "a phrase to be sent")
            phrases.obey(Control(programme="break"))
            say(1)
            assert phrases.queue_ms == 0, "nobody listens"
            original = phrases.render(len(said), len(sentence))
            assert np.array_equal(original[BLOCK:], sentence[BLOCK:]), "what was said is heard as it came"
            assert len(liar.service.requests) == asked
            phrases.obey(Control(programme="dub"))
            say(2)
            wait_for(lambda: len(liar.service.requests) > asked, 20, "the next phrase to be sent")
            assert liar.service.requests[asked]["sequence_number"] == asked
        finally:
            phrases.close()
            reporter.close()


def test_what_is_on_stays_on_when_a_mix_fails(phrases: Phrases, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = quiet("music", 2)
    fed(phrases, sound)
    phrases.obey(Control(programme="silence"))
    assert not phrases.render(0, BLOCK)[samples_in(0.02) :].any()
    with monkeypatch.context() as broken:
        broken.setattr("dubrelay.worker.timeline.mixed", None)
        assert np.array_equal(phrases.render(BLOCK, BLOCK), sound[BLOCK : 2 * BLOCK])
    assert not phrases.render(2 * BLOCK, BLOCK).any()

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dubrelay.errors import StsError
from dubrelay.sts.remember import Remembering, key_of
from dubrelay.wire.fragment import Audio, Context, ProcessRequest, ProcessResult
from sts_parts import FakeClock, buzz, request_for

pytestmark = pytest.mark.unit

SOUND = buzz(0.2)
PHRASE = request_for(SOUND)
AUDIO = Audio.from_samples(SOUND, 16_000)
SIZE = len(AUDIO.data_base64)


class Service:
    """Counts what is computed; `held` answers only when it is set."""

    def __init__(self, keep_s: float = 10.0, keep_bytes: int = 10**6, held: bool = False) -> None:
        self.clock = FakeClock()
        self.computed: list[ProcessRequest] = []
        self.cancelled = 0
        self.errors: list[StsError] = []
        self.let_go = asyncio.Event()
        if not held:
            self.let_go.set()
        self.memory = Remembering(self._answer, keep_s, keep_bytes, self.clock)

    async def _answer(self, request: ProcessRequest, arrived: float) -> ProcessResult:
        self.computed.append(request)
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.errors:
            raise self.errors.pop(0)
        text = f"answer {len(self.computed)}"
        return ProcessResult(fragment_id=request.fragment_id, status="success", dubbed_audio=AUDIO, transcript=text)

    async def ask(self, request: ProcessRequest = PHRASE) -> str:
        return (await self.memory(key_of(request), request, self.clock())).transcript


def run(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scene())  # type: ignore[arg-type]


def changed(**values: Any) -> ProcessRequest:
    return PHRASE.model_copy(update=values)


def test_a_retry_gets_the_answer_that_was_given_though_it_has_less_time() -> None:
    async def scene() -> None:
        service = Service()
        assert await service.ask() == "answer 1"
        assert await service.ask(changed(timeout_ms=900)) == "answer 1"
        assert len(service.computed) == 1

    run(scene)


@pytest.mark.parametrize(
    "other",
    [
        {"stream_id": "another"},
        {"sequence_number": 8},
        {"audio": Audio.from_samples(0.5 * SOUND, 16_000)},
        {"config": PHRASE.config.model_copy(update={"target_language": "pt"})},
        {"context": Context(transcript="before")},
        {"max_duration_ms": 999},
    ],
)
def test_the_same_fragment_id_with_anything_else_is_another_phrase(other: dict[str, Any]) -> None:
    async def scene() -> None:
        service = Service()
        assert [await service.ask(), await service.ask(changed(**other))] == ["answer 1", "answer 2"]

    run(scene)


def test_a_second_request_waits_for_the_work_that_goes_on() -> None:
    async def scene() -> None:
        service = Service(held=True)
        both = [asyncio.create_task(service.ask()) for _ in range(2)]
        await asyncio.sleep(0)
        service.let_go.set()
        assert await asyncio.gather(*both) == ["answer 1", "answer 1"]

    run(scene)


def test_an_answer_that_is_given_again_says_what_it_took_this_time() -> None:
    async def scene() -> None:
        service = Service()
        await service.ask()
        arrived = service.clock()
        service.clock.advance(0.25)
        assert (await service.memory(key_of(PHRASE), PHRASE, arrived)).processing_time_ms == 250

    run(scene)


def test_work_is_given_up_when_the_last_one_leaves_and_not_before() -> None:
    async def scene() -> None:
        service = Service(held=True)
        first, second = (asyncio.create_task(service.ask()) for _ in range(2))
        await turns()
        first.cancel()
        await turns()
        assert service.cancelled == 0
        second.cancel()
        again = asyncio.create_task(service.ask())
        await turns()
        assert service.cancelled == 1
        service.let_go.set()
        assert await again == "answer 2", "what comes after is not part of what was given up"

    run(scene)


async def turns() -> None:
    """Lets everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_an_error_is_told_to_all_who_wait_and_not_kept() -> None:
    async def scene() -> None:
        service = Service(held=True)
        service.errors = [StsError("MODEL_ERROR", "broken", stage="asr", retryable=True)]
        both = [asyncio.create_task(service.ask()) for _ in range(2)]
        await turns()
        service.let_go.set()
        outcomes = await asyncio.gather(*both, return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["broken", "broken"]
        assert await service.ask() == "answer 2"

    run(scene)


def test_who_has_more_time_than_the_one_before_is_not_late_with_it() -> None:
    async def scene() -> None:
        service = Service(held=True)
        service.errors = [StsError("TIMEOUT", "late", stage="tts", retryable=True)]
        hasty = asyncio.create_task(service.ask(changed(timeout_ms=100)))
        patient = asyncio.create_task(service.ask())
        await turns()
        service.let_go.set()
        outcomes = await asyncio.gather(hasty, patient, return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["late", "answer 2"]

    run(scene)


def test_answers_go_when_they_are_old() -> None:
    async def scene() -> None:
        service = Service(keep_s=10.0)
        await service.ask()
        service.clock.advance(9.9)
        assert await service.ask() == "answer 1"
        service.clock.advance(0.2)
        assert await service.ask() == "answer 2"

    run(scene)


def test_the_oldest_answers_go_when_all_of_them_are_too_large() -> None:
    async def scene() -> None:
        service = Service(keep_bytes=3 * (SIZE + 2100))
        phrases = [changed(sequence_number=number) for number in range(5)]
        for phrase in phrases:
            await service.ask(phrase)
        assert [await service.ask(phrase) for phrase in phrases[2:]] == ["answer 3", "answer 4", "answer 5"]
        assert await service.ask(phrases[0]) == "answer 6"

    run(scene)


def test_with_no_time_to_keep_them_answers_are_not_kept() -> None:
    async def scene() -> None:
        service = Service(keep_s=0.0)
        assert [await service.ask(), await service.ask()] == ["answer 1", "answer 2"]

    run(scene)


def test_an_error_does_not_keep_the_request_it_was_about() -> None:
    async def go() -> weakref.ref[StsError]:
        service = Service()
        service.errors.append(StsError("MODEL_ERROR", "no answer"))
        try:  # pytest.raises would hold it
            await service.ask()
        except StsError as e:
            return weakref.ref(e)
        raise AssertionError("no error")

    gc.disable()
    try:
        assert asyncio.run(go())() is None
    finally:
        gc.enable()

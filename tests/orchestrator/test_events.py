from __future__ import annotations

import asyncio
import json

import pytest

from dubrelay.orchestrator.events import MOST_LISTENERS, WAITING, Events
from dubrelay.wire.status import PhraseReport
from dubrelay.wire.streams import PhraseView, StreamList, StreamView

pytestmark = pytest.mark.unit


def phrase(number: int, text: str = "Hola") -> PhraseView:
    report = PhraseReport(
        sequence_number=number, t0_ms=0, started_at=0, duration_ms=900, status="dubbed", translated_text=text
    )
    return PhraseView(sequence=number, phrase=report)


def streams(*ids: str) -> StreamList:
    return StreamList(streams=[StreamView(stream_id=id_, state="running", mode="dub", programme="dub") for id_ in ids])


def parsed(text: str) -> tuple[str, dict[str, object]]:
    event, data, *rest = text.split("\n")
    assert rest == ["", ""]
    return event.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def test_a_listener_hears_how_it_is_and_what_happens_then() -> None:
    async def heard() -> list[tuple[str, dict[str, object]]]:
        events = Events()
        events.streams(streams("a"))
        listener = events.listen()
        events.streams(streams("a"))
        events.phrase("a", phrase(7, "dos\nlíneas </script>"))
        events.streams(streams("a", "b"))
        return [parsed(await anext(listener)) for _ in range(3)]

    first, second, third = asyncio.run(heard())
    assert first[0] == third[0] == "streams"
    assert [s["streamId"] for s in third[1]["streams"]] == ["a", "b"]  # type: ignore[union-attr, attr-defined]
    name, data = second
    assert (name, data["streamId"], data["sequence"]) == ("phrase", "a", 7)
    assert data["phrase"]["translated_text"] == "dos\nlíneas </script>"  # type: ignore[index]


def test_one_that_does_not_keep_up_is_let_go_and_costs_the_others_nothing() -> None:
    async def heard() -> tuple[list[str], int]:
        events = Events()
        slow, quick = events.listen(), events.listen()
        got = []
        for number in range(WAITING + 5):
            events.phrase("a", phrase(number))
            got.append(await anext(quick))
        with pytest.raises(StopAsyncIteration):
            await anext(slow)
        return got, events.listeners

    got, listeners = asyncio.run(heard())
    assert [parsed(text)[1]["sequence"] for text in got] == list(range(WAITING + 5))
    assert listeners == 1


def test_who_leaves_is_forgotten_and_too_many_are_refused() -> None:
    async def tried() -> None:
        events = Events()
        kept = [events.listen() for _ in range(MOST_LISTENERS)]
        with pytest.raises(ValueError, match=f"{MOST_LISTENERS} listen already"):
            events.listen()
        events.phrase("a", phrase(1))
        await anext(kept[0])
        await kept[0].aclose()  # type: ignore[attr-defined]
        assert events.listeners == MOST_LISTENERS - 1
        events.listen()
        events.close()
        await anext(kept[1])
        with pytest.raises(StopAsyncIteration):
            await anext(kept[1])

    asyncio.run(tried())

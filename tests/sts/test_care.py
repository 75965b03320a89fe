from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from dubrelay.errors import Stage, StartupError, StsError
from dubrelay.sts import care as care_module
from dubrelay.sts.care import FAILURES, Care
from dubrelay.sts.chain import AsrChain, TtsChain
from dubrelay.sts.pipeline import Pipeline
from dubrelay.sts.route import Engines
from sts_parts import TinyAsr, TinyTranslator, TinyTts, buzz, request_for, tiny_engines, tiny_sts
from waiting import wait_for

pytestmark = pytest.mark.unit

BROKEN = RuntimeError("CUDA error: an illegal memory access was encountered")
PHRASE = request_for(buzz(1.0))


class Workshop:
    """Loads engines: the ones it was given by name; none as long as `open` is not set."""

    def __init__(self, *fresh: Any) -> None:
        self.open = threading.Event()
        self.open.set()
        self.tries = 0
        self._fresh = {engine.name: engine for engine in fresh}

    def __call__(self, stage: Stage, name: str) -> Any:
        self.tries += 1
        if not self.open.is_set():
            raise StartupError("no memory on the device")
        return self._fresh[name]


@pytest.fixture
def cared(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(care_module, "FIRST_S", 0.01)
    made: list[Care] = []

    def make(engines: Engines, *fresh: Any) -> tuple[Care, Workshop]:
        workshop = Workshop(*fresh)
        made.append(Care(engines, workshop))
        return made[-1], workshop

    yield make
    for care in made:
        care.close()


def fail(care: Care, stage: Stage, engine: Any, times: int = FAILURES, error: Exception = BROKEN) -> None:
    for _ in range(times):
        care.failed(stage, engine, error)


def test_an_engine_that_fails_again_and_again_is_replaced(cared: Any) -> None:
    engines, fresh = tiny_engines(), TinyTts()
    care, _ = cared(engines, fresh)
    fail(care, "tts", engines.tts[0])
    wait_for(lambda: care.engines.tts == (fresh,), 5, "the engine to be replaced")
    assert care.down() == []
    assert care.working() is care.engines


def test_meanwhile_it_is_left_out_and_told_of(cared: Any) -> None:
    engines = tiny_engines(asr=TinyAsr())
    care, workshop = cared(engines, TinyAsr())
    workshop.open.clear()
    fail(care, "asr", engines.asr[0])
    assert care.down() == ["asr/tiny-asr"]
    assert care.working().asr == () and care.working().pairs() == frozenset()
    wait_for(lambda: workshop.tries >= 3, 5, "loading to be tried again")
    workshop.open.set()
    wait_for(lambda: not care.down(), 5, "the engine to be back")
    assert care.working().pairs() == {("en", "es")}


def test_the_rest_of_its_list_and_then_the_fast_ones_stand_in(cared: Any) -> None:
    first, second, fast = TinyTts("first"), TinyTts("second"), TinyTts("fast")
    care, workshop = cared(Engines((TinyAsr(),), (TinyTranslator(),), (first, second), (fast,)))
    workshop.open.clear()
    fail(care, "tts", first)
    assert care.working().tts == (second, fast)
    fail(care, "tts", second)
    assert care.working().tts == (fast,)
    assert care.working().route("en", "es", "default").fast is None, "it stands in for itself"


@pytest.mark.parametrize(
    "error",
    [
        StsError("UNSUPPORTED_LANGUAGE", "no such language", stage="asr"),
        StsError("TIMEOUT", "late", stage="asr", retryable=True),
        StsError("MODEL_ERROR", "the text is empty", stage="asr"),
    ],
)
def test_what_the_phrase_is_to_blame_for_does_not_count(cared: Any, error: StsError) -> None:
    engines = tiny_engines()
    care, workshop = cared(engines)
    fail(care, "asr", engines.asr[0], 10, error)
    assert (care.down(), workshop.tries) == ([], 0)


def test_failures_in_between_do_not_count(cared: Any) -> None:
    engines = tiny_engines()
    care, _ = cared(engines)
    for _ in range(5):
        fail(care, "mt", engines.mt[0], FAILURES - 1)
        care.worked(engines.mt[0])
    assert care.down() == []


def test_an_engine_is_ended_before_it_is_loaded_again(cared: Any) -> None:
    old = TinyTranslator()
    care, workshop = cared(tiny_engines(mt=old), TinyTranslator())
    workshop.open.clear()
    fail(care, "mt", old)
    wait_for(lambda: workshop.tries > 0, 5, "loading to be tried")
    assert old.closed


def test_failures_of_one_that_was_replaced_are_nobodys(cared: Any) -> None:
    engines = tiny_engines()
    care, workshop = cared(engines, TinyTts())
    old = engines.tts[0]
    fail(care, "tts", old)
    wait_for(lambda: care.engines.tts != (old,), 5, "the engine to be replaced")
    fail(care, "tts", old, 10)
    assert (care.down(), workshop.tries) == ([], 1)


def breaks(*_: object) -> None:
    raise BROKEN


def test_a_member_of_a_chain_is_replaced_alone_and_not_asked_meanwhile(cared: Any) -> None:
    asked = []

    def breaks_and_counts(*_: object) -> None:
        asked.append(1)
        breaks()

    bad, good = TinyTts("bad", cost=breaks_and_counts), TinyTts("good")
    chain = TtsChain("both", [bad, good])
    fresh = TinyTts("bad")
    care, workshop = cared(Engines((TinyAsr(),), (TinyTranslator(),), (chain,)), fresh)
    workshop.open.clear()
    with closing(Pipeline(care.engines, tiny_sts(), care=care)) as pipeline:
        for _ in range(FAILURES + 2):
            assert pipeline.process(PHRASE).status == "success"
        assert len(asked) == FAILURES
        assert care.down() == ["tts/bad"] and pipeline.works()
        workshop.open.set()
        wait_for(lambda: chain.members[0] is fresh, 5, "the member to be replaced")
    assert care.engines.tts == (chain,)


def test_a_chain_all_of_which_fails_is_down(cared: Any) -> None:
    chain = AsrChain("both", [TinyAsr(cost=breaks)])
    care, workshop = cared(Engines((chain,), (TinyTranslator(),), (TinyTts(),)), TinyAsr())
    workshop.open.clear()
    with closing(Pipeline(care.engines, tiny_sts(), care=care)) as pipeline:
        for _ in range(FAILURES):
            with pytest.raises(StsError):
                pipeline.process(PHRASE)
        assert care.working().asr == () and not pipeline.works()
        with pytest.raises(StsError, match="asr/tiny-asr: failed, and is being loaded again") as caught:
            pipeline.process(PHRASE)
        assert (caught.value.code, caught.value.stage, caught.value.retryable) == ("MODEL_ERROR", "asr", True)
        workshop.open.set()
        wait_for(pipeline.works, 5, "the recogniser to be back")
        assert pipeline.process(PHRASE).status == "success"


def test_a_pair_that_never_was_possible_is_told_as_such_while_an_engine_is_down(cared: Any) -> None:
    engines = tiny_engines()
    care, workshop = cared(engines)
    workshop.open.clear()
    fail(care, "asr", engines.asr[0])
    with closing(Pipeline(engines, tiny_sts(), care=care)) as pipeline, pytest.raises(StsError) as caught:
        pipeline.process(request_for(buzz(1.0), target="fr"))
    assert caught.value.code == "UNSUPPORTED_LANGUAGE"


def test_closing_ends_the_tries(cared: Any) -> None:
    engines = tiny_engines()
    care, workshop = cared(engines)
    workshop.open.clear()
    fail(care, "tts", engines.tts[0])
    wait_for(lambda: workshop.tries > 0, 5, "loading to be tried")
    care.close()
    reloading = [thread for thread in threading.enumerate() if thread.name == "sts-reload-tts"]
    for thread in reloading:
        thread.join(5)
        assert not thread.is_alive()

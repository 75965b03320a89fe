from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dubrelay.errors import StsError
from dubrelay.loudness import loudness
from dubrelay.sts.lanes import RESERVE_S, Leave
from dubrelay.sts.pipeline import Pipeline
from dubrelay.sts.route import Engines
from dubrelay.wire.fragment import ProcessRequest, ProcessResult
from sts_parts import RATE_HZ, FakeClock, TinyAsr, TinyTranslator, TinyTts, buzz, request_for, tiny_engines, tiny_sts
from waiting import wait_for

pytestmark = pytest.mark.unit

PHRASE = request_for(buzz(2.0))


def dub(request: ProcessRequest = PHRASE, sts: dict[str, Any] | None = None, **engines: Any) -> ProcessResult:
    with closing(Pipeline(tiny_engines(**engines), tiny_sts(**(sts or {})))) as pipeline:
        return pipeline.process(request)


def error_of(call: Callable[[], object]) -> StsError:
    with pytest.raises(StsError) as caught:
        call()
    return caught.value


def test_a_phrase_comes_back_dubbed_with_what_was_done() -> None:
    result = dub()
    assert (result.fragment_id, result.status) == ("f-1", "success")
    assert (result.transcript, result.translated_text) == ("hello there", "hola")
    assert result.dubbed_audio is not None and result.dubbed_audio.sample_rate_hz == 24_000
    meta = result.metadata
    assert (meta.asr_model, meta.translation_model, meta.tts_model) == ("tiny-asr", "tiny-mt", "tiny-tts/ana")
    assert set(meta.stage_ms) - {"wait"} == {"asr", "mt", "tts", "fit"}
    assert (meta.notes, meta.overflow_ms) == ([], 0)


def test_stage_times_are_those_of_the_engines() -> None:
    clock = FakeClock()
    engines = tiny_engines(
        TinyAsr(cost=lambda: clock.advance(0.3)),
        TinyTranslator(cost=lambda: clock.advance(0.004)),
        TinyTts(cost=lambda _: clock.advance(1.5)),
    )
    with closing(Pipeline(engines, tiny_sts(), clock)) as pipeline:
        result = pipeline.process(PHRASE)
    assert result.metadata.stage_ms == {"asr": 300, "mt": 4, "tts": 1500, "fit": 0}
    assert result.processing_time_ms == 1804


@pytest.mark.parametrize("rate_hz", [8000, 22_050, 48_000])
def test_the_recogniser_always_hears_16_khz(rate_hz: int) -> None:
    asr = TinyAsr()
    dub(request_for(buzz(2.0, rate_hz), rate_hz), asr=asr)
    assert asr.heard_rates == [pytest.approx(2 * RATE_HZ, abs=2)]


@pytest.mark.parametrize(
    ("natural_s", "room_ms", "tempo", "length_s", "overflow_ms"),
    [
        (1.0, 2000, 1.0, 1.0, 0),  # shorter than its room: not slowed down
        (2.4, 2000, 1.2, 2.0, 0),  # the voice itself speaks faster
        (2.8, 2000, 1.4, 2.0, 0),  # 1.25 by the voice, the rest by stretching
        (4.0, 2000, 1.45, 4 / 1.45, 759),  # at the fastest tempo allowed; never cut
    ],
)
def test_speech_is_fitted_into_its_room(
    natural_s: float, room_ms: int, tempo: float, length_s: float, overflow_ms: int
) -> None:
    result = dub(request_for(buzz(1.5), max_duration_ms=room_ms), tts=TinyTts(natural_s=natural_s))
    assert result.dubbed_audio is not None
    assert result.metadata.tempo == pytest.approx(tempo, abs=0.01)
    assert result.dubbed_audio.duration_ms == pytest.approx(1000 * length_s, abs=25)
    assert result.metadata.overflow_ms == pytest.approx(overflow_ms, abs=25)


@pytest.mark.parametrize(
    ("natural_s", "sts", "by_itself"),
    [
        (2.2, {}, 1.1),
        (2.8, {}, 1.25),
        (4.0, {}, 1.25),
        (2.8, {"preferred_tempo": 2}, 1.3),
        (2.8, {"max_tempo": 1.2}, 1.2),
    ],
)
def test_the_voice_itself_hurries_up_to_the_preferred_tempo(
    natural_s: float, sts: dict[str, Any], by_itself: float
) -> None:
    computed_s: list[float] = []
    dub(request_for(buzz(2.0)), sts, tts=TinyTts(natural_s=natural_s, cost=computed_s.append))
    assert computed_s == [pytest.approx(natural_s / by_itself)]


def test_the_room_is_the_audio_when_none_is_given() -> None:
    result = dub(request_for(buzz(2.0)), tts=TinyTts(natural_s=2.4))
    assert result.metadata.tempo == pytest.approx(1.2)


def test_a_configured_slower_tempo_lets_a_short_dub_fill_its_room() -> None:
    result = dub(request_for(buzz(2.0)), {"min_tempo": 0.9}, tts=TinyTts(natural_s=1.0))
    assert result.metadata.tempo == pytest.approx(0.9)


@pytest.mark.parametrize("level", [0.02, 1.0, 3.0])
def test_every_answer_is_equally_loud(level: float) -> None:
    result = dub(tts=TinyTts(sound=lambda samples: level * samples), sts={"loudness_lufs": -20.0})
    assert result.dubbed_audio is not None
    assert loudness(result.dubbed_audio.to_mono()[:, None], 24_000) == pytest.approx(-20, abs=0.1)


def test_a_dub_with_room_pauses_where_the_speaker_did() -> None:
    gap = np.zeros(round(0.3 * RATE_HZ), np.float32)
    original = np.concatenate([buzz(0.9), gap, buzz(0.9)])

    def with_a_gap(samples: Any) -> Any:
        samples[round(0.78 * 24_000) : round(0.84 * 24_000)] = 0
        return samples

    lengths_ms = {}
    for text in ("buenas noches, buenas tardes", "buenas noches buenas tardes"):
        engines = {"mt": TinyTranslator(text), "tts": TinyTts(natural_s=1.6, sound=with_a_gap)}
        result = dub(request_for(original), **engines)
        assert result.dubbed_audio is not None and result.metadata.tempo == 1.0
        lengths_ms[text] = result.dubbed_audio.duration_ms
    assert list(lengths_ms.values()) == [pytest.approx(1840, abs=25), 1600]


@pytest.mark.parametrize("refused", ["", "logprob -1.4"])
def test_where_nothing_was_said_nothing_is_invented(refused: str) -> None:
    result = dub(asr=TinyAsr(text="", refused=refused))
    assert (result.status, result.dubbed_audio, result.transcript) == ("no_speech", None, "")
    assert result.metadata.notes == ([f"refused: {refused}"] if refused else [])


def test_audio_of_no_length_is_no_speech() -> None:
    asr = TinyAsr()
    assert dub(request_for(np.zeros(0, np.float32)), asr=asr).status == "no_speech"
    assert asr.heard_rates == []


costs = st.floats(0, 3, allow_nan=False)


@settings(max_examples=60)
@given(costs, costs, costs, st.floats(0, 3), st.floats(0.1, 6), st.integers(1, 8000), st.booleans())
def test_no_answer_ever_comes_after_its_deadline(
    asr_s: float, mt_s: float, tts_s: float, before_s: float, natural_s: float, timeout_ms: int, has_fast: bool
) -> None:
    clock = FakeClock()
    engines = tiny_engines(
        TinyAsr(cost=lambda: clock.advance(asr_s)),
        TinyTranslator(cost=lambda: clock.advance(mt_s)),
        TinyTts(natural_s=natural_s, cost=lambda _: clock.advance(tts_s)),
        TinyTts("fast", cost=lambda _: clock.advance(0.01)) if has_fast else None,
    )
    arrived = clock() - before_s
    with closing(Pipeline(engines, tiny_sts(), clock)) as pipeline:
        try:
            pipeline.process(request_for(buzz(2.0), timeout_ms=timeout_ms), arrived)
        except StsError as e:
            assert (e.code, e.retryable) == ("TIMEOUT", True)
        else:
            assert clock() <= arrived + timeout_ms / 1000


@pytest.mark.parametrize(
    ("asr_s", "mt_s", "stage"), [(0.0, 0.0, "asr"), (2.0, 0.0, "mt"), (0.5, 2.0, "tts"), (0.5, 0.4, None)]
)
def test_a_late_phrase_ends_before_the_next_stage(asr_s: float, mt_s: float, stage: str | None) -> None:
    clock = FakeClock()
    engines = tiny_engines(
        TinyAsr(cost=lambda: clock.advance(asr_s)),
        TinyTranslator(cost=lambda: clock.advance(mt_s)),
        TinyTts(cost=lambda _: clock.advance(5)),
    )
    arrived = clock() - (1.0 if stage == "asr" else 0.0)
    with closing(Pipeline(engines, tiny_sts(), clock)) as pipeline:
        error = error_of(lambda: pipeline.process(request_for(buzz(2.0), timeout_ms=1000), arrived))
    assert (error.code, error.stage) == ("TIMEOUT", stage)


def voices_of(true_factor: float, timeouts_ms: list[int], natural_s: float = 3.0) -> list[str]:
    """Which voice says each of a row of phrases when the quality voice costs `true_factor`."""
    clock = FakeClock()
    quality = TinyTts("neural", natural_s, lambda work_s: clock.advance(true_factor * work_s))
    engines = tiny_engines(tts=quality, fast=TinyTts("robot", natural_s, lambda _: clock.advance(0.01)))
    request = request_for(buzz(natural_s))
    with closing(Pipeline(engines, tiny_sts(), clock)) as pipeline:
        requests = [request.model_copy(update={"timeout_ms": timeout_ms}) for timeout_ms in timeouts_ms]
        return [pipeline.process(each).metadata.tts_model.partition("/")[0] for each in requests]


def test_the_quality_voice_speaks_while_it_is_in_time() -> None:
    assert voices_of(0.65, [2800] * 5) == ["neural"] * 5


def test_a_phrase_that_would_be_late_is_said_by_the_fast_voice() -> None:
    assert voices_of(0.65, [2800, 1500, 2900]) == ["neural", "robot", "neural"]


def test_a_costlier_voice_is_learnt_before_it_is_late() -> None:
    # 3 s of work do not fit into 3.05 s with the reserve; the first phrases believe in 0.7 x 3 s. Tries go on.
    spoken = voices_of(1.0, [3050] * 20)
    assert spoken[0] == "neural" and spoken.count("robot") >= 12


def test_the_voice_does_not_flap_at_the_edge() -> None:
    edge_ms = [2600, 2400, 2600, 2400]
    assert voices_of(0.7, edge_ms) == ["neural", "robot", "robot", "robot"]


def test_the_fast_lane_is_noted() -> None:
    clock = FakeClock()
    with closing(Pipeline(tiny_engines(fast=TinyTts("robot")), tiny_sts(), clock)) as pipeline:
        result = pipeline.process(request_for(buzz(1.0), timeout_ms=300))
    assert result.metadata.tts_model == "robot/ana"
    assert result.metadata.notes == ["fast voice: tiny-tts would have been late"]


def test_without_a_fast_voice_the_quality_voice_tries() -> None:
    clock = FakeClock()
    with closing(Pipeline(tiny_engines(), tiny_sts(), clock)) as pipeline:
        assert pipeline.process(request_for(buzz(1.0), timeout_ms=300)).metadata.tts_model == "tiny-tts/ana"


def test_a_quality_voice_that_hangs_is_replaced_before_the_deadline() -> None:
    let_go = threading.Event()
    engines = tiny_engines(tts=TinyTts("neural", cost=lambda _: let_go.wait(20)), fast=TinyTts("robot"))
    with closing(Pipeline(engines, tiny_sts())) as pipeline:
        request = request_for(buzz(1.0), timeout_ms=1500)
        began = time.monotonic()
        result = pipeline.process(request)
        took_s = time.monotonic() - began
        overrun = pipeline.backlog_s()
        again = pipeline.process(request)
        let_go.set()
    assert result.metadata.tts_model.startswith("robot")
    assert took_s < 1.5
    assert overrun > 0, "the hung call still occupies the lane"
    assert again.metadata.tts_model.startswith("robot")


def test_recognition_never_waits_behind_a_voice() -> None:
    let_go, heard = threading.Event(), []
    engines = tiny_engines(
        TinyAsr(cost=lambda: heard.append(time.monotonic())), tts=TinyTts(cost=lambda _: let_go.wait(20))
    )
    with closing(Pipeline(engines, tiny_sts())) as pipeline:
        threads = [threading.Thread(target=pipeline.process, args=(PHRASE,), daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(heard) == 2, 5, "both phrases to be heard while the voice is busy")
        let_go.set()
        for thread in threads:
            thread.join(5)


def test_time_spent_waiting_for_an_engine_is_told() -> None:
    let_go = threading.Event()
    results: list[ProcessResult] = []
    with closing(Pipeline(tiny_engines(tts=TinyTts(cost=lambda _: let_go.wait(20))), tiny_sts())) as pipeline:
        threads = [
            threading.Thread(target=lambda: results.append(pipeline.process(PHRASE)), daemon=True) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        wait_for(lambda: pipeline.backlog_s() > 1.0, 5, "one phrase to wait for the other")
        waits_since = time.monotonic()
        wait_for(lambda: time.monotonic() > waits_since + 0.05, 5, "it to wait for 50 ms")
        let_go.set()
        for thread in threads:
            thread.join(5)
    assert len(results) == 2
    assert max(result.metadata.stage_ms.get("wait", 0) for result in results) >= 50


def test_more_phrases_than_places_are_refused_at_once() -> None:
    let_go = threading.Event()
    engines = tiny_engines(TinyAsr(cost=lambda: let_go.wait(20)))
    with closing(Pipeline(engines, tiny_sts(max_queue=1))) as pipeline:
        thread = threading.Thread(target=pipeline.process, args=(PHRASE,), daemon=True)
        thread.start()
        error = wait_for(lambda: refused(pipeline), 5, "a phrase to be refused")
        assert error
        let_go.set()
        thread.join(5)
        assert pipeline.process(PHRASE).status == "success"
    assert (error.code, error.retryable) == ("OVERLOADED", True)


def refused(pipeline: Pipeline) -> StsError | None:
    try:
        pipeline.process(request_for(buzz(0.1), timeout_ms=50))
    except StsError as e:
        return e if e.code == "OVERLOADED" else None
    return None


def breaks(*_: object) -> Any:
    raise RuntimeError("the tensor is on fire\nand here is more")


class BreaksInPrepare(TinyTts):
    def prepare(self, text: str, language: str, voice: str) -> Any:
        breaks()


@pytest.mark.parametrize(
    ("engines", "stage"),
    [
        ({"asr": TinyAsr(cost=breaks)}, "asr"),
        ({"mt": TinyTranslator(cost=breaks)}, "mt"),
        ({"tts": TinyTts(cost=breaks)}, "tts"),
        ({"tts": BreaksInPrepare()}, "tts"),
    ],
)
def test_what_an_engine_raises_becomes_a_model_error_of_its_stage(engines: dict[str, Any], stage: str) -> None:
    error = error_of(lambda: dub(**engines))
    assert (error.code, error.stage, error.retryable) == ("MODEL_ERROR", stage, True)
    assert error.message == "RuntimeError: the tensor is on fire"


@pytest.mark.parametrize("sound", [lambda samples: samples * np.nan, lambda samples: samples[:0]])
def test_sound_that_is_none_is_a_model_error(sound: Any) -> None:
    error = error_of(lambda: dub(tts=TinyTts(sound=sound)))
    assert (error.code, error.stage) == ("MODEL_ERROR", "tts")


def test_an_empty_translation_is_a_model_error() -> None:
    error = error_of(lambda: dub(mt=TinyTranslator(text=" ")))
    assert (error.code, error.stage, error.retryable) == ("MODEL_ERROR", "mt", False)


@pytest.mark.parametrize(
    ("audio", "named"),
    [
        ({"data_base64": "***"}, "audio.data_base64 is not base64"),
        ({"data_base64": base64.b64encode(b"abc").decode()}, "3 bytes"),
        ({"duration_ms": 900}, "audio.duration_ms = 900: audio.data_base64 holds 2000 ms"),
    ],
)
def test_audio_that_contradicts_itself_is_refused(audio: dict[str, Any], named: str) -> None:
    request = PHRASE.model_copy(update={"audio": PHRASE.audio.model_copy(update=audio)})
    error = error_of(lambda: dub(request))
    assert error.code == "INVALID_INPUT" and not error.retryable
    assert named in error.message


def test_more_than_30_s_of_audio_is_refused() -> None:
    error = error_of(lambda: dub(request_for(buzz(30.5, 8000), 8000)))
    assert error.code == "INVALID_INPUT" and "at most 30 s" in error.message


def test_a_refused_phrase_gives_its_place_back() -> None:
    with closing(Pipeline(tiny_engines(), tiny_sts(max_queue=1))) as pipeline:
        for _ in range(3):
            assert error_of(lambda: pipeline.process(request_for(buzz(1), target="fr"))).code == "UNSUPPORTED_LANGUAGE"
        assert pipeline.process(PHRASE).status == "success"


def test_a_phrase_at_the_reserve_goes_to_the_fast_voice_even_when_the_engine_is_free_of_cost() -> None:
    clock = FakeClock()
    engines = tiny_engines(tts=TinyTts("neural", natural_s=0.001), fast=TinyTts("robot"))
    with closing(Pipeline(engines, tiny_sts(), clock)) as pipeline:
        request = request_for(buzz(1.0), timeout_ms=round(1000 * RESERVE_S) - 1)
        assert pipeline.process(request).metadata.tts_model.startswith("robot")


def test_closing_tells_whether_an_engine_still_computes() -> None:
    let_go = threading.Event()
    engines = tiny_engines(TinyAsr(cost=lambda: let_go.wait(20)))
    pipeline = Pipeline(engines, tiny_sts())
    assert error_of(lambda: pipeline.process(request_for(buzz(1.0), timeout_ms=100))).code == "TIMEOUT"
    assert not pipeline.close(timeout_s=0.1)
    let_go.set()
    assert pipeline.close(timeout_s=5.0)


def test_a_closed_pipeline_refuses_with_a_retryable_error() -> None:
    pipeline = Pipeline(tiny_engines(), tiny_sts())
    pipeline.close()
    error = error_of(lambda: pipeline.process(PHRASE))
    assert (error.code, error.retryable) == ("OVERLOADED", True)


def test_a_recogniser_that_would_be_late_is_replaced_by_the_fast_one_and_the_answer_says_so() -> None:
    clock = FakeClock()
    slow, quick = TinyAsr(cost=lambda: clock.advance(1.0)), TinyAsr(cost=lambda: clock.advance(0.05))
    slow.name, quick.name = "large", "small"  # type: ignore[misc]
    engines = Engines((slow,), (TinyTranslator(),), (TinyTts(),), (), (quick,))
    with closing(Pipeline(engines, tiny_sts(), clock)) as pipeline:
        requests = [request_for(buzz(2.0), timeout_ms=ms) for ms in (3000, 1500, 1300, 1500, 3000)]
        heard = [pipeline.process(request).metadata for request in requests]
    # The fourth is as long as the second: the good one comes back only with some to spare.
    assert [meta.asr_model for meta in heard] == ["large", "large", "small", "small", "large"]
    assert heard[2].notes == ["fast recogniser: large would have been late"]


def test_a_translator_that_would_be_late_is_replaced_by_the_fast_one() -> None:
    clock = FakeClock()
    slow, quick = TinyTranslator(cost=lambda: clock.advance(2.0)), TinyTranslator("listo")
    slow.name, quick.name = "llm", "rules"  # type: ignore[misc]
    engines = Engines((TinyAsr(),), (slow,), (TinyTts(),), (), (), (quick,))
    with closing(Pipeline(engines, tiny_sts(), clock)) as pipeline:
        assert pipeline.process(request_for(buzz(1.0))).metadata.translation_model == "llm"
        late = pipeline.process(request_for(buzz(1.0), timeout_ms=2200))
        assert pipeline.meter.spent().hurried == {"asr": 0, "mt": 1, "tts": 0}
    assert (late.metadata.translation_model, late.translated_text) == ("rules", "listo")
    assert late.metadata.notes == ["fast translator: llm would have been late"]


def test_an_engine_that_takes_several_calls_at_once_is_given_them() -> None:
    together = threading.Barrier(3, timeout=5)
    remote = TinyAsr(cost=together.wait)
    remote.concurrency = 3  # type: ignore[attr-defined]
    with closing(Pipeline(tiny_engines(remote), tiny_sts())) as pipeline:
        threads = [threading.Thread(target=pipeline.process, args=(PHRASE,), daemon=True) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert not together.broken, "all three were in the engine at the same time"


def test_what_nobody_waits_for_any_more_is_taken_out_of_the_lanes() -> None:
    let_go, heard = threading.Event(), []

    def hear() -> None:
        heard.append(1)
        let_go.wait(20)

    errors: list[StsError] = []

    def wait(leave: Leave) -> None:
        try:
            pipeline.process(PHRASE, leave=leave)
        except StsError as e:
            errors.append(e)

    with closing(Pipeline(tiny_engines(TinyAsr(cost=hear)), tiny_sts(max_queue=2))) as pipeline:
        leaves = [Leave(), Leave()]
        threads = [threading.Thread(target=wait, args=(leave,), daemon=True) for leave in leaves]
        threads[0].start()
        wait_for(lambda: heard, 5, "the first phrase to be heard")
        threads[1].start()
        wait_for(lambda: refused(pipeline), 5, "both to be inside")
        for leave, thread in zip(leaves, threads, strict=True):
            leave.go()
            thread.join(5)
            assert not thread.is_alive()
        let_go.set()
        assert pipeline.process(PHRASE).status == "success", "their places are free"
    assert [e.message for e in errors] == ["nobody waits for the answer any more"] * 2
    assert len(heard) == 2, "the one that waited was never begun"


def test_of_a_crowd_as_many_are_taken_as_will_be_in_time_and_the_rest_is_refused_at_once() -> None:
    """30 phrases come at the same time. Each costs 50 ms, and all have 800."""
    clock, let_go = FakeClock(), threading.Event()

    def hear() -> None:
        let_go.wait(20)
        clock.advance(0.05)

    outcomes: list[str] = []

    def ask(number: int) -> None:
        try:
            outcomes.append(pipeline.process(request_for(buzz(1.0), stream_id=f"s{number}", timeout_ms=800)).status)
        except StsError as e:
            outcomes.append(e.code)

    with closing(Pipeline(tiny_engines(TinyAsr(cost=hear)), tiny_sts(max_queue=100), clock)) as pipeline:
        let_go.set()
        ask(0)  # tells what a phrase costs
        let_go.clear()
        threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(1, 31)]
        for thread in threads:
            thread.start()
        wait_for(lambda: pipeline.meter.streams() == 31, 5, "all of them to have come")
        let_go.set()
        for thread in threads:
            thread.join(10)
    assert set(outcomes) == {"success", "OVERLOADED"}
    assert 11 <= outcomes.count("success") <= 15

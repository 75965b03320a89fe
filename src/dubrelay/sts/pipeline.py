"""One phrase through recognition, translation, synthesis and fitting, within its time.

    request -> asr -> mt -> quality voice, or the fast one -> fit -> result

The deadline counts from the request's arrival. It is looked at before each stage and again when an engine becomes
free. A phrase that the quality voice would finish too late is said by the fast voice (`lanes.Pace` has the rule).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import soxr

from dubrelay.config import Sts
from dubrelay.errors import Stage, StsError
from dubrelay.sts.asr.base import RATE_HZ as ASR_RATE_HZ
from dubrelay.sts.asr.base import Transcript
from dubrelay.sts.engines import one_line
from dubrelay.sts.fit import stretch
from dubrelay.sts.hearing import heard, route_for
from dubrelay.sts.lanes import RESERVE_S, Clock, Done, Lane, Pace
from dubrelay.sts.mt.base import Wish, heeds
from dubrelay.sts.mt.faithful import Asking, Kept, never, while_cheap
from dubrelay.sts.phrase import Phrase
from dubrelay.sts.route import Engines, while_hearing
from dubrelay.sts.tts.base import FollowsOriginal, Prepared, Speech, Tts
from dubrelay.wire.fragment import ProcessRequest, ProcessResult

T = TypeVar("T")

TEMPO_TOLERANCE = 1.005
"""A dub that is half a percent too long is left as it is: stretching costs more quality than it gains."""


@dataclass(frozen=True)
class _Plan:
    """A phrase made ready for one voice."""

    tts: Tts
    prepared: Prepared
    tempo: float

    @property
    def work_s(self) -> float:
        return self.prepared.work_s / self.tempo


class Pipeline:
    """Dubs phrases with loaded engines; `process` may be called from several threads at once."""

    def __init__(self, engines: Engines, settings: Sts, clock: Clock = time.monotonic) -> None:
        self._engines = engines
        self._settings = settings
        self._clock = clock
        self._asr = Lane("asr", "asr", clock)
        self._mt = Lane("mt", "mt", clock)
        self._quality = Lane("tts", "tts", clock)
        self._fast = Lane("tts", "tts-fast", clock)
        self._paces = {tts.name: Pace() for tts in engines.tts}
        self._inside = 0
        self._lock = threading.Lock()

    def process(self, request: ProcessRequest, arrived: float | None = None) -> ProcessResult:
        """The dubbed phrase. `arrived` is the clock's time at which its timeout began to count (None: now).

        StsError says which stage failed, and whether to try again.
        """
        arrived = self._clock() if arrived is None else arrived
        with self._place():
            phrase = self._begun(request, arrived)
            heard = self._hear(phrase)
            if not heard.text:
                return phrase.no_speech(heard, self._clock())
            text = self._shortened(phrase, heard.text, self._translate(phrase, heard.text))
            plan, speech = self._speak(phrase, text)
            voice = f"{plan.tts.name}/{plan.prepared.voice}"
            return phrase.dubbed(heard, text, self._fit(phrase, speech), voice, self._clock())

    def backlog_s(self) -> float:
        """Predicted seconds of work before a new phrase's turn at the quality voice."""
        return self._quality.backlog_s()

    def close(self, timeout_s: float = 5.0) -> bool:
        """Refuses what waits and what comes. The engines stay open.

        Whether no engine computes any more, after waiting so long: a process must not end while native code runs.
        """
        lanes = (self._asr, self._mt, self._quality, self._fast)
        for lane in lanes:
            lane.close()
        until = time.monotonic() + timeout_s
        return all(lane.ended(max(0.0, until - time.monotonic())) for lane in lanes)

    @contextmanager
    def _place(self) -> Iterator[None]:
        """One of the `max_queue` places in here."""
        with self._lock:
            if self._inside >= self._settings.max_queue:
                message = f"{self._inside} phrases are in work already (sts.max_queue)"
                raise StsError("OVERLOADED", message, retryable=True)
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1

    def _begun(self, request: ProcessRequest, arrived: float) -> Phrase:
        with _engine_errors("tts"):
            route, source = route_for(request, self._engines)
        return Phrase.begun(request, arrived, route, source)

    def _hear(self, phrase: Phrase) -> Transcript:
        self._in_time(phrase, "asr")
        original = phrase.original
        if not original.samples.size:
            return Transcript("")
        samples = soxr.resample(original.samples, original.rate_hz, ASR_RATE_HZ)
        return self._in_lane(phrase, "asr", self._asr, partial(heard, phrase, samples, self._engines))

    def _translate(self, phrase: Phrase, heard: str) -> str:
        self._in_time(phrase, "mt")
        config, mt = phrase.request.config, phrase.route.mt
        if while_hearing(mt):
            if config.glossary:
                phrase.notes.append(f"glossary: not used, {mt.name} never knows what was said")
            return heard
        translation = self._asked(phrase, heard, None, phrase.deadline)
        phrase.notes += translation.notes
        if not translation.text.strip():
            raise StsError("MODEL_ERROR", "the translation is empty", stage="mt")
        return translation.text

    def _shortened(self, phrase: Phrase, heard: str, text: str) -> str:
        """`text`, or a shorter one where the voice would have to hurry: asked for once, if there is time for it."""
        if not heeds(phrase.route.mt, "shortens"):
            return text
        plan = self._planned(phrase, phrase.route.tts, phrase.route.voice, text)
        hurry = plan.prepared.natural_s / phrase.original.room_s / self._settings.preferred_tempo
        pace = self._paces[plan.tts.name]
        until = phrase.deadline - RESERVE_S - self._quality.backlog_s() - pace.cost_s(plan.work_s)
        if hurry <= 1 or self._clock() + phrase.stage_s["mt"] > until:
            return text
        try:
            shorter = self._asked(phrase, heard, max(1, int(len(text) / hurry)), until)
        except StsError:
            return text
        if not shorter.text.strip() or len(shorter.text) >= len(text) or set(shorter.notes) - set(phrase.notes):
            return text
        phrase.notes.append(f"shortened: {len(shorter.text)} of {len(text)} characters")
        return shorter.text

    def _asked(self, phrase: Phrase, heard: str, most_characters: int | None, deadline: float) -> Kept:
        """What translation makes of it."""
        config, context = phrase.request.config, phrase.request.context
        same_language = context.source_language in (None, phrase.source)
        goes_on = same_language and context.sequence_number == phrase.request.sequence_number - 1
        wish = Wish(context, config.glossary, most_characters, goes_on)

        def call() -> Kept:
            again = never if most_characters else while_cheap(self._clock, deadline)
            languages = phrase.source, config.target_language
            return Asking(phrase.route.mt, *languages, wish, again).phrase(heard)

        return self._in_lane(phrase, "mt", self._mt, call, deadline)

    def _speak(self, phrase: Phrase, text: str) -> tuple[_Plan, Speech]:
        self._in_time(phrase, "tts")
        route = phrase.route
        plan = self._planned(phrase, route.tts, route.voice, text)
        if route.fast is None:
            return plan, self._speak_well(phrase, plan, phrase.deadline)
        pace = self._paces[route.tts.name]
        if pace.admits(self._quality.backlog_s(), plan.work_s, phrase.deadline - self._clock()):
            try:
                return plan, self._speak_well(phrase, plan, phrase.deadline - RESERVE_S)
            except StsError as e:
                if e.code != "TIMEOUT":
                    raise
                pace.shedding = True
        phrase.notes.append(f"fast voice: {route.tts.name} would have been late")
        plan = self._planned(phrase, route.fast, route.fast_voice, text)
        return plan, self._in_lane(phrase, "tts", self._fast, partial(_spoken, plan))

    def _planned(self, phrase: Phrase, tts: Tts, voice: str, text: str) -> _Plan:
        began = self._clock()
        with _engine_errors("tts"):
            prepared = tts.prepare(text, phrase.request.config.target_language, voice)
            if isinstance(tts, FollowsOriginal):
                prepared = tts.follow(prepared, phrase.original)
        phrase.spent("tts", self._clock() - began)
        slowest = max(tts.min_tempo, self._settings.min_tempo)
        fastest = max(slowest, min(tts.max_tempo, self._settings.max_tempo))
        tempo = min(max(prepared.natural_s / phrase.original.room_s, slowest), fastest)
        return _Plan(tts, prepared, tempo)

    def _speak_well(self, phrase: Phrase, plan: _Plan, deadline: float) -> Speech:
        """In the quality lane. It learns what that cost, even when nobody waits for the end any more."""
        pace = self._paces[plan.tts.name]

        def speak() -> Speech:
            began = self._clock()
            speech = _spoken(plan)
            pace.learn(plan.work_s, self._clock() - began)
            return speech

        cost_s = pace.cost_s(plan.work_s)
        latest_start = deadline - cost_s if phrase.route.fast else deadline
        return self._in_lane(phrase, "tts", self._quality, speak, deadline, cost_s, latest_start)

    def _fit(self, phrase: Phrase, speech: Speech) -> Speech:
        """What the engine's own tempo left too long is stretched; the tempo becomes the one in all."""
        self._in_time(phrase, None)
        began = self._clock()
        too_long = len(speech.samples) / speech.rate_hz / phrase.original.room_s
        extra = min(too_long, self._settings.max_tempo / speech.tempo)
        if extra > TEMPO_TOLERANCE:
            samples = stretch(speech.samples, speech.rate_hz, extra)
            speech = Speech(samples, speech.rate_hz, speech.tempo * extra)
        phrase.spent("fit", self._clock() - began)
        self._in_time(phrase, None)
        return speech

    def _in_lane(
        self,
        phrase: Phrase,
        stage: Stage,
        lane: Lane,
        call: Callable[[], T],
        deadline: float | None = None,
        cost_s: float = 0.0,
        latest_start: float | None = None,
    ) -> T:
        began = self._clock()
        deadline = phrase.deadline if deadline is None else deadline
        try:
            with _engine_errors(stage):
                done: Done[T] = lane.run(call, deadline, cost_s, latest_start)
        except StsError:
            phrase.waited_s += self._clock() - began
            raise
        phrase.waited_s += done.waited_s
        phrase.spent(stage, done.took_s)
        return done.value

    def _in_time(self, phrase: Phrase, stage: Stage | None) -> None:
        if self._clock() >= phrase.deadline:
            message = f"timeout_ms = {phrase.request.timeout_ms} was over before {stage or 'the end'}"
            raise StsError("TIMEOUT", message, stage=stage, retryable=True)


def _spoken(plan: _Plan) -> Speech:
    """What the voice said; nonsense from the engine is its failure, not the phrase's sound."""
    speech = plan.tts.speak(plan.prepared, plan.tempo)
    if not speech.samples.size or not np.isfinite(speech.samples).all():
        raise StsError("MODEL_ERROR", f"{plan.tts.name} made no usable sound", stage="tts", retryable=True)
    return speech


@contextmanager
def _engine_errors(stage: Stage) -> Iterator[None]:
    """The one place where what an engine or its library raises becomes an StsError."""
    try:
        yield
    except StsError:
        raise
    except Exception as e:
        raise StsError("MODEL_ERROR", one_line(e), stage=stage, retryable=True) from e

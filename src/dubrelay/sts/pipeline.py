"""One phrase through recognition, translation, synthesis and fitting, within its time.

    request -> in time at all? -> asr -> mt -> tts -> fit -> result

The deadline counts from the request's arrival. It is looked at before each stage and again when an engine becomes
free. What a stage's quality engine would finish too late its fast engine does (`lanes.Pace` has the rule), and what
cannot be done in time even so is refused at once (`admission`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np
import soxr

from dubrelay.config import AUTO, Sts
from dubrelay.errors import Stage, StsError
from dubrelay.sts import pauses
from dubrelay.sts.admission import Admission, Way, Ways
from dubrelay.sts.asr.base import RATE_HZ as ASR_RATE_HZ
from dubrelay.sts.asr.base import Asr, Transcript, told
from dubrelay.sts.care import Care
from dubrelay.sts.engines import one_line
from dubrelay.sts.fit import levelled, stretch
from dubrelay.sts.hearing import heard, route_for
from dubrelay.sts.lanes import FIRST_FACTOR, RESERVE_S, STAGES, Clock, Lanes, Leave, Pace
from dubrelay.sts.meter import Meter
from dubrelay.sts.mt.base import Translator, Wish, heeds
from dubrelay.sts.mt.faithful import Asking, Kept, never, while_cheap
from dubrelay.sts.phrase import Phrase
from dubrelay.sts.route import Engines, Route, while_hearing
from dubrelay.sts.tts.base import FollowsOriginal, Prepared, Speech, Tts
from dubrelay.wire.fragment import NO_TRANSCRIPT, ProcessRequest, ProcessResult

E = TypeVar("E", Asr, Translator, Tts)
T = TypeVar("T")

FAST: dict[Stage, str] = {"asr": "recogniser", "mt": "translator", "tts": "voice"}
HEARING_S = 3.0
"""A recogniser's work is the phrase and so much more: it looks at a window that is filled up with silence."""
TRANSLATING_S = 1.0
CHARACTERS_PER_S = 15.0
"""Of speech: what is not translated yet is that long."""

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


@dataclass(frozen=True)
class _Work(Generic[T]):
    """What an engine is to do for a phrase."""

    engine: Any
    call: Callable[[], T]
    work_s: float


class Pipeline:
    """Dubs phrases with loaded engines; `process` may be called from several threads at once."""

    def __init__(
        self, engines: Engines, settings: Sts, clock: Clock = time.monotonic, care: Care | None = None
    ) -> None:
        """`care`: what loads an engine again that has failed; None: nobody does."""
        self.care = care or Care(engines)
        self.meter = Meter(clock)
        self._settings = settings
        self._clock = clock
        self._lanes = Lanes(engines.loaded(), clock, self.meter)
        quality = {engine.name for engine in engines.tts}
        self._paces = {
            (stage, engine.name): Pace(FIRST_FACTOR if stage == "tts" and engine.name in quality else 0.0)
            for stage, engine in engines.loaded()
        }
        self._around = Pace(0.0)
        """A phrase's seconds outside the lanes: preparing, fitting."""
        self._admission = Admission(clock)
        self._inside = 0
        self._lock = threading.Lock()

    def process(
        self, request: ProcessRequest, arrived: float | None = None, leave: Leave | None = None
    ) -> ProcessResult:
        """The dubbed phrase. `arrived` is the clock's time at which its timeout began to count (None: now); `leave`
        says when nobody wants it any more.

        StsError says which stage failed, and whether to try again.
        """
        arrived = self._clock() if arrived is None else arrived
        with self._place(), self._begun(request, arrived, leave or Leave()) as phrase:
            heard = self._hear(phrase)
            if not heard.text:
                return phrase.no_speech(heard, self._clock())
            text, ready = self._shortened(phrase, heard.text, self._translate(phrase, heard.text))
            plan, speech = self._speak(phrase, text, ready)
            speech = self._fit(phrase, speech, heard, text)
            self._around.learn(1.0, self._clock() - phrase.taken_at - phrase.in_lanes_s)
            voice = f"{plan.tts.name}/{plan.prepared.voice}"
            return phrase.dubbed(heard, text, speech, voice, self._clock())

    def backlog_s(self) -> float:
        """Predicted seconds of work before a new phrase's turn at the quality voice."""
        return max(self._lanes.of("tts", engine, fast=False).backlog_s() for engine in self.care.engines.tts)

    def hung(self) -> list[str]:
        """stage/name of the engines that are in a call which takes many times what it should."""
        return self._lanes.hung()

    def works(self) -> bool:
        """Whether a phrase can be dubbed: each stage has an engine that is neither down nor behind one that hangs."""
        working = self.care.working()

        def free(stage: Stage, fast: bool) -> bool:
            some = getattr(working, f"{stage}_fast" if fast else stage)
            return any(not self._lanes.of(stage, engine, fast=fast).hung() for engine in some)

        return all(free(stage, False) or free(stage, True) for stage in STAGES)

    def close(self, timeout_s: float = 5.0) -> bool:
        """Refuses what waits and what comes. The engines stay open.

        Whether no engine computes any more, after waiting so long: a process must not end while native code runs.
        """
        return self._lanes.close(timeout_s)

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

    @contextmanager
    def _begun(self, request: ProcessRequest, arrived: float, leave: Leave) -> Iterator[Phrase]:
        """A phrase that will be in time, as far as one can know. StsError for one that is refused."""
        route, source = self._route(request)
        phrase = Phrase.begun(request, arrived, route, source)
        phrase.leave = leave
        length_s = len(phrase.original.samples) / phrase.original.rate_hz
        self.meter.heard(request.stream_id, length_s)
        self._in_time(phrase, "asr")
        phrase.taken_at = self._clock()
        left_s, around_s = phrase.deadline - phrase.taken_at, self._around.measured_s(1.0)
        phrase.place = self._admission.admit(request.stream_id, self._ways(route, length_s), left_s, around_s)
        try:
            yield phrase
        finally:
            phrase.place.close()

    def _ways(self, route: Route, length_s: float) -> Ways:
        """How a phrase of that length may go. What it says is not known: about as much as fits into its length."""
        work_s: dict[Stage, float] = {"asr": HEARING_S + length_s, "mt": TRANSLATING_S + length_s, "tts": length_s}
        engines: dict[Stage, tuple[Any, Any]] = {
            "asr": (route.asr, route.fast_asr),
            "mt": (route.mt, route.fast_mt),
            "tts": (route.tts, route.fast),
        }
        return {
            stage: [
                Way(self._lanes.of(stage, engine, fast=bool(fast)), self._paces[stage, engine.name], work_s[stage])
                for fast, engine in enumerate(some)
                if engine is not None
            ]
            for stage, some in engines.items()
        }

    def _route(self, request: ProcessRequest) -> tuple[Route, str]:
        with _engine_errors("tts"):
            try:
                route, source = route_for(request, self.care.working())
            except StsError as e:
                if not self.care.down():
                    raise
                route_for(request, self.care.engines)  # what is not possible at any time is told as such
                message = f"{', '.join(self.care.down())}: failed, and is being loaded again"
                raise StsError("MODEL_ERROR", message, stage=e.stage, retryable=True) from None
        if request.config.source_language == AUTO:  # to detect it is more than the fast recogniser may be able to
            route = replace(route, fast_asr=None)
        return route, source

    def _hear(self, phrase: Phrase) -> Transcript:
        self._in_time(phrase, "asr")
        original = phrase.original
        if not original.samples.size:
            return Transcript("")
        samples = soxr.resample(original.samples, original.rate_hz, ASR_RATE_HZ)
        engines, route = self.care.working(), phrase.route
        work_s = HEARING_S + len(samples) / ASR_RATE_HZ

        def hearing(asr: Asr) -> _Work[Transcript]:
            if asr is route.fast_asr:
                return _Work(asr, partial(told(asr, phrase.terms), samples, phrase.source), work_s)
            listener = engines.linguist() if phrase.request.config.source_language == AUTO else None
            return _Work(listener or asr, partial(heard, phrase, samples, engines), work_s)

        asr, transcript = self._done(phrase, "asr", route.asr, route.fast_asr, hearing)
        if asr is route.fast_asr:
            phrase.route = replace(route, asr=asr)
        return transcript

    def _translate(self, phrase: Phrase, heard: str) -> str:
        self._in_time(phrase, "mt")
        config, route = phrase.request.config, phrase.route
        if while_hearing(route.mt):
            phrase.notes.append(f"{NO_TRANSCRIPT} {route.mt.name} never knows what was said")
            if config.glossary:
                phrase.notes.append("glossary: not used without a transcript")
            return heard

        def translating(mt: Translator) -> _Work[Kept]:
            return self._asked(phrase, mt, heard, None, phrase.deadline)

        mt, translation = self._done(phrase, "mt", route.mt, route.fast_mt, translating)
        phrase.route = replace(route, mt=mt)
        phrase.notes += translation.notes
        if not translation.text.strip():
            raise StsError("MODEL_ERROR", "the translation is empty", stage="mt")
        return translation.text

    def _shortened(self, phrase: Phrase, heard: str, text: str) -> tuple[str, _Plan | None]:
        """`text`, with what the voice made ready of it; or a shorter one where the voice would have to hurry: asked for
        once, if there is time for it."""
        if not heeds(phrase.route.mt, "shortens"):
            return text, None
        plan = self._planned(phrase, phrase.route.tts, phrase.route.voice, text)
        hurry = plan.prepared.natural_s / phrase.original.room_s / self._settings.preferred_tempo
        pace, waiting_s = self._paces["tts", plan.tts.name], self._lanes.of("tts", plan.tts, fast=False).backlog_s()
        until = phrase.deadline - RESERVE_S - waiting_s - pace.cost_s(plan.work_s)
        if hurry <= 1 or self._clock() + phrase.stage_s["mt"] > until:
            return text, plan
        try:
            work = self._asked(phrase, phrase.route.mt, heard, max(1, int(len(text) / hurry)), until)
            shorter = self._in_lane(phrase, "mt", work, False, until)
        except StsError:
            return text, plan
        if not shorter.text.strip() or len(shorter.text) >= len(text) or set(shorter.notes) - set(phrase.notes):
            return text, plan
        phrase.notes.append(f"shortened: {len(shorter.text)} of {len(text)} characters")
        return shorter.text, None

    def _asked(
        self, phrase: Phrase, mt: Translator, heard: str, most_characters: int | None, deadline: float
    ) -> _Work[Kept]:
        """What translation makes of it."""
        config, context = phrase.request.config, phrase.request.context
        same_language = context.source_language in (None, phrase.source)
        goes_on = same_language and context.sequence_number == phrase.request.sequence_number - 1
        wish = Wish(context, config.glossary, most_characters, goes_on)

        def call() -> Kept:
            again = never if most_characters else while_cheap(self._clock, deadline)
            return Asking(mt, phrase.source, config.target_language, wish, again).phrase(heard)

        return _Work(mt, call, TRANSLATING_S + len(heard) / CHARACTERS_PER_S)

    def _speak(self, phrase: Phrase, text: str, ready: _Plan | None) -> tuple[_Plan, Speech]:
        """`ready` is what the quality voice has made ready already."""
        self._in_time(phrase, "tts")
        route = phrase.route

        def speaking(tts: Tts) -> _Work[tuple[_Plan, Speech]]:
            if tts is route.tts:
                plan = ready or self._planned(phrase, tts, route.voice, text)
            else:
                plan = self._planned(phrase, tts, route.fast_voice, text)
            return _Work(tts, lambda: (plan, _spoken(plan)), plan.work_s)

        return self._done(phrase, "tts", route.tts, route.fast, speaking)[1]

    def _planned(self, phrase: Phrase, tts: Tts, voice: str, text: str) -> _Plan:
        began = self._clock()
        with _engine_errors("tts"), self._told("tts", tts):
            prepared = tts.prepare(text, phrase.request.config.target_language, voice)
            if isinstance(tts, FollowsOriginal):
                prepared = tts.follow(prepared, phrase.original)
        phrase.spent("tts", self._clock() - began)
        slowest = max(tts.min_tempo, self._settings.min_tempo)
        fastest = max(slowest, min(tts.max_tempo, self._settings.preferred_tempo, self._settings.max_tempo))
        tempo = min(max(prepared.natural_s / phrase.original.room_s, slowest), fastest)
        return _Plan(tts, prepared, tempo)

    def _fit(self, phrase: Phrase, speech: Speech, heard: Transcript, text: str) -> Speech:
        """What the engine's own tempo left too long is stretched; the tempo becomes the one in all.

        Where there is room left, the speaker's pauses are followed; the loudness becomes the one configured.
        """
        self._in_time(phrase, None)
        began = self._clock()
        original, rate_hz = phrase.original, speech.rate_hz
        too_long = len(speech.samples) / rate_hz / original.room_s
        extra = min(too_long, self._settings.max_tempo / speech.tempo)
        samples, tempo = speech.samples, speech.tempo
        if extra > TEMPO_TOLERANCE:
            samples, tempo = stretch(samples, rate_hz, extra), tempo * extra
        else:
            spoken = pauses.of_original(original.samples, original.rate_hz, heard.words)
            samples = pauses.followed(samples, rate_hz, text, spoken, original.room_s)
        speech = Speech(levelled(samples, rate_hz, self._settings.loudness_lufs), rate_hz, tempo)
        phrase.spent("fit", self._clock() - began)
        self._in_time(phrase, None)
        return speech

    def _done(
        self, phrase: Phrase, stage: Stage, engine: E, fast: E | None, made: Callable[[E], _Work[T]]
    ) -> tuple[E, T]:
        """What the stage's engine made of the phrase, or its fast one where the other would be late; and which did."""
        work = made(engine)
        if phrase.place is not None:
            phrase.place.reached(stage)
        if fast is None:
            return engine, self._in_lane(phrase, stage, work, False, phrase.deadline)
        pace, lane = self._paces[stage, engine.name], self._lanes.of(stage, engine, fast=False)
        end = phrase.deadline - self._after_s(phrase, stage) - self._reserve_s(stage, fast, work.work_s)
        if pace.admits(lane.backlog_s(), work.work_s, end + RESERVE_S - self._clock()):
            try:
                return engine, self._in_lane(phrase, stage, work, False, end)
            except StsError as e:
                if e.code != "TIMEOUT":
                    raise
                pace.shedding = True
        self.meter.hurried(stage)
        phrase.notes.append(f"fast {FAST[stage]}: {engine.name} would have been late")
        return fast, self._in_lane(phrase, stage, made(fast), True, phrase.deadline)

    def _reserve_s(self, stage: Stage, fast: Any, work_s: float) -> float:
        """What is kept back of a phrase's time for the fast engine: RESERVE_S, more where it takes more."""
        waiting_s = self._lanes.of(stage, fast, fast=True).backlog_s()
        cost_s = self._paces[stage, fast.name].measured_s(work_s) + self._around.measured_s(1.0)
        return max(RESERVE_S, waiting_s + cost_s)

    def _after_s(self, phrase: Phrase, stage: Stage) -> float:
        """What the stages that follow will take at least."""
        return phrase.place.after_s(stage) if phrase.place is not None else 0.0

    def _in_lane(self, phrase: Phrase, stage: Stage, work: _Work[T], fast: bool, deadline: float) -> T:
        """In the engine's lane; its pace learns what that cost, even when nobody waits for the end any more."""
        pace = self._paces[stage, work.engine.name]

        def call() -> T:
            began = self._clock()
            try:
                value = work.call()
            except Exception as e:
                self.care.failed(stage, work.engine, e)
                raise
            pace.learn(work.work_s, self._clock() - began)
            self.care.worked(work.engine)
            return value

        cost_s = pace.cost_s(work.work_s)
        latest_start = deadline - cost_s if deadline < phrase.deadline else deadline
        lane = self._lanes.of(stage, work.engine, fast=fast)
        began = self._clock()
        try:
            with _engine_errors(stage):
                done = lane.run(call, deadline, cost_s, latest_start, who=work.engine.name, leave=phrase.leave)
        except StsError:
            phrase.waited_s += self._clock() - began
            raise
        finally:
            phrase.in_lanes_s += self._clock() - began
        phrase.waited_s += done.waited_s
        phrase.spent(stage, done.took_s)
        return done.value

    @contextmanager
    def _told(self, stage: Stage, engine: Any) -> Iterator[None]:
        try:
            yield
        except Exception as e:
            self.care.failed(stage, engine, e)
            raise

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

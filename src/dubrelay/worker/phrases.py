"""The sound of dub mode: listens, has each phrase dubbed, and puts what came back on the timeline.

Three threads meet here, under one lock round the timeline: the session's pump feeds and renders, one thread listens
(separation, voice detection, cutting), and one runs the event loop of the STS client. None of them waits for another
longer than a mix of two hundred milliseconds takes.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass

from dubrelay import logs, models
from dubrelay.audio import RATE_HZ, Samples, seconds, time_of
from dubrelay.config import Programme
from dubrelay.errors import MediaError
from dubrelay.wire import trace
from dubrelay.wire.control import Control
from dubrelay.wire.fragment import Context
from dubrelay.wire.status import PhraseReport, SoundName
from dubrelay.wire.trace import PhraseTrace
from dubrelay.wire.worker import WorkerSettings
from dubrelay.worker.cut import Span
from dubrelay.worker.desk import Desk
from dubrelay.worker.dub import Dubbed, DubClient, DubMetrics, NoSpeech, PhraseFailed
from dubrelay.worker.listen import Listener
from dubrelay.worker.meter import Meter
from dubrelay.worker.metrics import Side, WorkerMetrics
from dubrelay.worker.peaks import peaks
from dubrelay.worker.report import Reporter
from dubrelay.worker.separate import Separator
from dubrelay.worker.steady import Steadiness
from dubrelay.worker.timeline import Decision, Note, Timeline, fitted, heard_by_service
from dubrelay.worker.trace import Sound, Tracer
from dubrelay.worker.vad import Vad

_QUEUE_BLOCKS = 100
"""About 20 s; more than that is not listened to, it stays original."""
_SPARE_S = 4.0
"""How much longer than the latency sound is kept."""
_DECISION_S = 0.05
"""An answer that comes later than this before the pump's look may miss it."""


_SAYS: dict[Note | None, str] = {
    "dead_dub": "the answer has no voice",
    "ghost_dub": "nobody spoke, but the answer has a voice",
    "held_back": "held back until several answers in a row are in time",
}


@dataclass
class _Phrase:
    span: Span
    desk: Desk
    """As it was when the phrase was sent."""
    known_at: int
    """Running time in ns, as `answered_at`."""
    room_ms: int | None = None
    answer: Dubbed | NoSpeech | None = None
    answered_at: int | None = None
    message: str = ""
    margin_ms: int | None = None
    asked: Future[None] | None = None


class Phrases:
    """The track of dub mode (session.Track)."""

    def __init__(
        self, settings: WorkerSettings, metrics: WorkerMetrics, reporter: Reporter, now: Callable[[], int]
    ) -> None:
        self._settings, self._metrics, self._reporter, self._now = settings, metrics, reporter, now
        self._log = logs.get()
        self._latency_ns = round(settings.worker.latency_s * 1e9)
        self._lock = threading.Lock()
        self._desk = Desk.at_start(settings)
        self._timeline = self._new_timeline()
        self._tracer = self._new_tracer()
        self._meters: dict[Side, Meter] = {"input": Meter(), "output": Meter()}
        for side, meter in self._meters.items():
            metrics.show(side, meter)
        self._phrases: dict[int, _Phrase] = {}
        self._sequence = 0
        self._context = Context()
        self._blocks: queue.Queue[tuple[int, Samples] | None] = queue.Queue(_QUEUE_BLOCKS)
        self._fed_until = self._queued_until = 0
        self._listener = self._new_listener()
        self._closing = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._client = DubClient(settings.sts_client, settings.stream_id, self._log, DubMetrics(metrics.registry))
        self._threads = [
            threading.Thread(target=self._run_loop, name="dub", daemon=True),
            threading.Thread(target=self._listen, name="listen", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _new_timeline(self) -> Timeline:
        desk, capacity_s = self._desk, self._settings.worker.latency_s + _SPARE_S
        timeline = Timeline(desk.mix, desk.fallback, capacity_s, Steadiness())
        timeline.put_on(desk.programme)
        return timeline

    def _new_tracer(self) -> Tracer | None:
        if not self._settings.trace.phrases:
            return None
        return Tracer(self._settings.trace, trace.folder(self._settings.paths, self._settings.stream_id))

    def _new_listener(self) -> Listener:
        paths = self._settings.paths
        separator = Separator(models.deepfilternet(paths)) if self._settings.mix.separate else None
        return Listener(self._settings.cut, Vad(models.silero_vad(paths)), separator)

    # --- the pump's side

    def feed(self, at: int, samples: Samples) -> None:
        if not all(thread.is_alive() for thread in self._threads):
            raise MediaError("a dubbing thread ended; its last words are in the log")
        with self._lock:
            self._timeline.write_original(at, samples)
        self._fed_until = at + len(samples)
        self._measure("input", samples)
        if self._desk.programme == "break":
            return
        self._queued_until = self._fed_until
        try:
            self._blocks.put_nowait((at, samples))
        except queue.Full:
            self._log.warning(
                "not_listened", reason="the worker is behind", duration_ms=round(seconds(len(samples)) * 1000)
            )

    def obey(self, control: Control) -> None:
        before, self._desk = self._desk, self._desk.after(control)
        with self._lock:
            self._timeline.remix(self._desk.mix, self._desk.fallback)
            self._timeline.put_on(self._desk.programme)
        if not self._desk.speaks_as(before):
            self._context = Context()
        if self._desk.programme == "break" != before.programme:
            self.paused()

    @property
    def programme(self) -> Programme:
        return self._desk.programme

    def paused(self) -> None:
        with suppress(queue.Full):
            self._blocks.put_nowait(None)

    def render(self, at: int, count: int) -> Samples:
        try:
            with self._lock:
                samples = self._timeline.render(at, count)
                decisions = self._timeline.decided()
        except Exception:
            # A fault in the mix must not end the stream: the viewer hears the original.
            self._log.exception("mix_failed")
            return self._begin_anew(at, count)
        for decision in decisions:
            self._report(decision)
        if self._tracer is not None:
            self._tracer.went_out(at, samples)
        self._measure("output", samples)
        return samples

    def kept(self, at: int, count: int) -> Samples:
        with self._lock:
            return self._timeline.kept(at, count)

    def _measure(self, side: Side, samples: Samples) -> None:
        meter = self._meters[side]
        before = meter.clipped_s
        meter.note(samples)
        self._metrics.clipped_s.labels(side).inc(meter.clipped_s - before)

    def _begin_anew(self, at: int, count: int) -> Samples:
        """The original of the block; what was known of the phrases goes, since something in it cannot be mixed."""
        with self._lock:
            kept = self._fed_until - at
            original = self._timeline.original(at, max(count, kept))
            self._timeline = self._new_timeline()
            self._timeline.write_original(at, original)
            for phrase in self._phrases.values():
                if phrase.asked is not None:
                    phrase.asked.cancel()
            self._phrases.clear()
        return original[:count]

    @property
    def queue_ms(self) -> float:
        return seconds(max(0, self._queued_until - self._listener.heard_until)) * 1000

    def close(self) -> None:
        self._closing.set()
        self.paused()
        dub, listen = self._threads
        listen.join(1.0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        dub.join(1.0)
        if self._tracer is not None:
            self._tracer.close()

    # --- the listening thread

    def _listen(self) -> None:
        while not self._closing.is_set():
            block = self._blocks.get()
            try:
                heard = self._listener.flush() if block is None else self._listener.push(*block)
            except Exception:
                self._log.exception("listening_failed")
                self._listener = self._new_listener()
                continue
            with self._lock:
                if heard.background is not None:
                    self._timeline.write_background(heard.background_at, heard.background)
            for span in heard.spans:
                if span.speech:
                    self._begin(span)

    def _begin(self, span: Span) -> None:
        if self._desk.programme == "break":
            return
        sequence, self._sequence = self._sequence, self._sequence + 1
        with self._lock:
            phrase = self._phrases[sequence] = _Phrase(span, self._desk, self._now())
            if not self._timeline.add(sequence, span):
                return
            deadline_ns = time_of(self._timeline.deadline(sequence)) + self._latency_ns
            phrase.asked = asyncio.run_coroutine_threadsafe(self._dub(sequence, span, deadline_ns), self._loop)

    # --- the event loop's thread

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    async def _end(self) -> None:
        """Nobody waits for the phrases on their way any more: their requests are broken off."""
        phrases = asyncio.all_tasks() - {asyncio.current_task()}
        for phrase in phrases:
            phrase.cancel()
        await asyncio.gather(*phrases, return_exceptions=True)
        await self._client.close()

    async def _dub(self, sequence: int, span: Span, deadline_ns: int) -> None:
        def time_left_s() -> float:
            return (deadline_ns - self._now()) / 1e9 - _DECISION_S

        try:
            with self._lock:
                original, room_ms = self._timeline.original(span.start, len(span)), self._timeline.room_ms(sequence)
                if phrase := self._phrases.get(sequence):
                    phrase.room_ms = room_ms
            desk, fragment_id = self._desk, self._id_of(sequence)
            samples = heard_by_service(original)
            answer = await self._client.dub(
                sequence, span, samples, room_ms, time_left_s, desk.languages, self._context, fragment_id=fragment_id
            )
            self._answered(sequence, answer, desk, round(time_left_s() * 1000))
        except PhraseFailed as e:
            self._failed(sequence, e)
        except Exception as e:  # the client maps all it knows; anything else costs this phrase, not the stream
            self._log.exception("dubbing_failed", sequenceNumber=sequence)
            self._failed(sequence, PhraseFailed("error", str(e)))

    def _id_of(self, sequence: int) -> str:
        """Unique over all runs of all workers."""
        return f"{self._settings.run_id}-{logs.INSTANCE_ID}-{sequence}"[-64:]

    def _failed(self, sequence: int, failure: PhraseFailed) -> None:
        with self._lock:
            if phrase := self._phrases.get(sequence):
                phrase.message = failure.message
                self._timeline.failed(sequence, failure.reason)

    def _answered(self, sequence: int, answer: Dubbed | NoSpeech, desk: Desk, margin_ms: int) -> None:
        self._metrics.margin_ms.observe(margin_ms)
        if desk.detects and desk.speaks_as(self._desk):
            self._context = self._context.in_language(answer.metadata.source_language, answer.metadata.heard_language)
        with self._lock:
            if phrase := self._phrases.get(sequence):
                phrase.answer, phrase.margin_ms, phrase.answered_at = answer, margin_ms, self._now()
            if isinstance(answer, NoSpeech):
                self._timeline.no_speech(sequence)
                return
            voice = self._timeline.voice(sequence)
        if voice is not None:
            dub = fitted(answer.samples, answer.rate_hz, voice)  # not under the lock: the pump would wait
            with self._lock:
                self._timeline.put(sequence, dub)
        if desk.speaks_as(self._desk):
            self._context = self._context.followed_by(answer.transcript, answer.translated_text, sequence)

    # --- what became of a phrase

    def _report(self, decision: Decision) -> None:
        span = decision.span
        with self._lock:
            known = self._phrases.pop(decision.sequence, None)
            original = self._timeline.original(span.start, len(span))
        phrase = known or _Phrase(decision.span, self._desk, self._now())
        self._metrics.fragments.labels(decision.status).inc()
        if decision.reason is not None:
            self._metrics.fallbacks.labels(decision.reason).inc()
        if decision.note is not None:
            self._metrics.unheard.labels(decision.note).inc()
        started_ns = time_of(phrase.span.start)
        self._metrics.end_to_end_ms.observe((self._now() - started_ns) / 1e6)
        report = self._line(decision, phrase, started_ns, original)
        self._log.info(
            "fragment",
            fragmentId=self._id_of(decision.sequence),
            sequenceNumber=report.sequence_number,
            t0_ms=report.t0_ms,
            duration_ms=report.duration_ms,
            sts_rtt_ms=report.rtt_ms,
            status=report.status,
            reason=report.reason,
            margin_ms=report.margin_ms,
            note=decision.note,
        )
        self._reporter.send(report)
        if self._tracer is not None:
            self._trace(self._tracer, decision, phrase, report, original)

    def _trace(
        self, tracer: Tracer, decision: Decision, phrase: _Phrase, report: PhraseReport, original: Samples
    ) -> None:
        span, placed_at, languages = decision.span, decision.placed_at, phrase.desk.languages
        record = PhraseTrace(
            stream_id=self._settings.stream_id,
            run_id=self._settings.run_id,
            instance_id=logs.INSTANCE_ID,
            fragment_id=self._id_of(decision.sequence),
            source_language=languages.source_language,
            target_language=languages.target_language,
            voice_profile=languages.voice_profile,
            programme=self._desk.programme,
            phrase=report,
            voice_ms=_ms(time_of(span.voice_start)),
            known_ms=_ms(phrase.known_at),
            answered_ms=None if phrase.answered_at is None else _ms(phrase.answered_at),
            decided_ms=_ms(self._now()),
            dub_ms=None if placed_at is None else _ms(time_of(placed_at)),
        )
        sounds: dict[SoundName, Sound] = {}
        if self._settings.trace.sounds:
            sounds["original"] = original, RATE_HZ
            if isinstance(phrase.answer, Dubbed):
                sounds["dub"] = phrase.answer.samples, phrase.answer.rate_hz
        tracer.decided(record, sounds, span.start, max(span.end, (placed_at or 0) + decision.dub_samples))

    def _not_heard(self, decision: Decision) -> str:
        programme = self._desk.programme
        return f"not heard: {programme} is on" if decision.status == "dubbed" and programme != "dub" else ""

    def _traced(self, dubbed: Dubbed | None) -> tuple[SoundName, ...]:
        """What will be kept to listen to."""
        if self._tracer is None or not self._settings.trace.sounds:
            return ()
        return ("original", "dub", "out") if dubbed else ("original", "out")

    def _line(self, decision: Decision, phrase: _Phrase, started_ns: int, original: Samples) -> PhraseReport:
        dubbed = phrase.answer if isinstance(phrase.answer, Dubbed) else None
        metadata = phrase.answer.metadata if phrase.answer else None
        not_heard = self._not_heard(decision)
        # As of now: the stream's clock follows the publisher's, which may be a second an hour away from the machine's.
        started_at = time.time() - (self._now() - started_ns) / 1e9
        return PhraseReport(
            sequence_number=decision.sequence,
            t0_ms=_ms(started_ns),
            started_at=started_at,
            duration_ms=round(seconds(phrase.span.end - phrase.span.start) * 1000),
            status=decision.status,
            reason=decision.reason,
            message=phrase.message or _SAYS.get(decision.note, "") or not_heard,
            transcript=dubbed.transcript if dubbed else "",
            translated_text=dubbed.translated_text if dubbed else "",
            voice=metadata.tts_model if metadata else "",
            tempo=metadata.tempo if metadata and dubbed else None,
            dub_t0_ms=None if decision.placed_at is None or not_heard else _ms(time_of(decision.placed_at)),
            dubbed_ms=round(len(dubbed.samples) / dubbed.rate_hz * 1000) if dubbed else None,
            room_ms=phrase.room_ms,
            original_peaks=peaks(original, RATE_HZ),
            dub_peaks=peaks(dubbed.samples, dubbed.rate_hz) if dubbed else "",
            lag_ms=round(decision.lag_samples * 1000 / RATE_HZ),
            rtt_ms=phrase.answer.rtt_ms if phrase.answer else None,
            stage_ms=metadata.stage_ms if metadata else {},
            margin_ms=phrase.margin_ms,
            notes=[*(metadata.notes if metadata else ()), *(dubbed.repairs if dubbed else ())],
            trace=trace.stem_of(started_at, logs.INSTANCE_ID) if self._tracer is not None else "",
            sounds=self._traced(dubbed),
        )


def _ms(ns: int) -> int:
    return ns // 10**6

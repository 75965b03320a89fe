"""The dub track and the background by time: what came in is written, phrases are told their fate, blocks come out.

Everywhere the original plays as it came in, except where a phrase says otherwise. A phrase's fate is decided once, when
the output reaches its first sample: dubbed if the answer is there and its turn is not too late, else the fallback. What
comes later is dropped. Pure: no clock, no I/O. Not thread-safe: whoever shares it locks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Literal

import numpy as np
import numpy.typing as npt
import soxr

from dubrelay import config
from dubrelay.audio import CHANNELS, RATE_HZ, Ring, Samples, samples_in
from dubrelay.wire import fragment
from dubrelay.wire.status import FallbackReason, PhraseStatus
from dubrelay.worker.cut import Span
from dubrelay.worker.mix import (
    FALLBACK_MODE,
    PROGRAMME_MODE,
    WITHOUT_BACKGROUND,
    Blend,
    Mode,
    Modes,
    audible,
    mixed,
    onset,
    placed,
)
from dubrelay.worker.steady import Steadiness

GAP = samples_in(0.05)
"""Between the end of one dub and the start of the next."""
OVERRUN = samples_in(0.4)
"""How far a dub may reach past the pause that was heard after its phrase, while the next phrase is not known: Spanish
is longer than English by about that much, and most pauses are longer than what had to be heard of them."""
_LEAST_ROOM = samples_in(0.3)
_GHOST_S = 0.1
"""A source that is audible for less than that did not speak."""
_DEAD_SHARE = 0.15
"""A dub that is audible for less than that share of its source's time does not speak."""

Mono = npt.NDArray[np.float32]


Note = Literal["dead_dub", "ghost_dub", "held_back"]
"""Why an answer that was there is not heard: it has no voice though somebody spoke; it has one though nobody did; or
the service is not steady (steady.py)."""


@dataclass(frozen=True)
class Voice:
    """A phrase as it was spoken."""

    span: Span
    """With the voice's start where it is first heard."""
    sound: Samples
    """From there on, without the background where that is known."""


@dataclass(frozen=True)
class Fitted:
    """An answer, made ready for its place."""

    span: Span
    sound: Samples
    """At 48 kHz, at its level, from where the voice came."""
    note: Note | None
    """Why it may not be heard."""


def fitted(samples: Mono, rate_hz: int, voice: Voice) -> Fitted:
    """(n,) in -1..1 as the service sent it. The most costly step by far (100 ms), so nobody should wait for it."""
    dub = np.asarray(soxr.resample(samples, rate_hz, RATE_HZ), np.float32)
    return Fitted(voice.span, placed(dub, voice.sound), _doubt(dub, voice.sound.mean(axis=1)))


def _doubt(dub: Mono, voice: Mono) -> Note | None:
    if audible(voice) < _GHOST_S:
        return "ghost_dub"
    return "dead_dub" if audible(dub) < _DEAD_SHARE * audible(voice) else None


def heard_by_service(original: Samples) -> Mono:
    """(n,) at the rate that phrases are sent with, both channels averaged."""
    return np.asarray(soxr.resample(original.mean(axis=1), RATE_HZ, fragment.RATE_HZ), np.float32)


@dataclass(frozen=True)
class Decision:
    """What became of a phrase."""

    sequence: int
    span: Span
    status: PhraseStatus
    reason: FallbackReason | None = None
    placed_at: int | None = None
    """Sample where the dub starts."""
    lag_samples: int = 0
    """How much later than the voice it replaces the dub starts, or would have started."""
    dub_samples: int = 0
    note: Note | None = None


@dataclass
class _Phrase:
    sequence: int
    span: Span
    dub: Samples | None = None
    """At 48 kHz, at its level, from its place."""
    reason: FallbackReason | None = None
    note: Note | None = None
    silent: bool = False
    promised: int = 0
    """The room that was last told for it, in samples."""
    decision: Decision | None = None

    @property
    def pending(self) -> bool:
        return self.decision is None and self.dub is None and self.reason is None and not self.silent

    @property
    def end(self) -> int:
        """One past the last sample that a decided phrase has a say in."""
        dub_end = self.dub_end
        return self.span.end if dub_end is None else max(self.span.end, dub_end)

    @property
    def dub_end(self) -> int | None:
        """Where the dub of a phrase that is decided ends."""
        decision = self.decision
        if decision is None or decision.placed_at is None:
            return None
        return decision.placed_at + decision.dub_samples


@dataclass
class _Runs:
    """Which samples of a track were written: runs [start, end) in order."""

    runs: list[tuple[int, int]] = field(default_factory=list)

    def add(self, start: int, end: int) -> None:
        touching = [run for run in self.runs if run[0] <= end and start <= run[1]]
        apart = [run for run in self.runs if run not in touching]
        joined = (min([start, *(run[0] for run in touching)]), max([end, *(run[1] for run in touching)]))
        self.runs = sorted([*apart, joined])

    def forget(self, before: int) -> None:
        self.runs = [(max(start, before), end) for start, end in self.runs if end > before]

    def covers(self, start: int, end: int) -> bool:
        return any(run[0] <= start and end <= run[1] for run in self.runs)


class Timeline:
    """`capacity_s` of sound are held: the latency, and what is asked for of the past."""

    def __init__(
        self, mix: config.Mix, fallback: config.Fallback, capacity_s: float, steady: Steadiness | None = None
    ) -> None:
        self._capacity = samples_in(capacity_s)
        self._original, self._background = Ring(self._capacity), Ring(self._capacity)
        self._background_runs = _Runs()
        self._blend = Blend(mix)
        self._fallback = FALLBACK_MODE[fallback]
        self._steady = steady
        self._max_lag = samples_in(mix.max_lag_s)
        self._phrases: list[_Phrase] = []  # in the order of their spans
        self._news: list[Decision] = []
        self._rendered = 0
        self._tail: Modes = np.zeros(0, np.int8)  # modes of the last fade - 1 samples that went out
        self._programmes: list[tuple[int, config.Programme]] = [(-self._capacity, "dub")]
        """From which sample on, in order."""
        self.late_answers = 0
        """Answers that came after their phrase had been decided."""

    def remix(self, mix: config.Mix, fallback: config.Fallback) -> None:
        """Other gains and another fallback from the next sample on that goes out, crossfaded."""
        self._blend.change(mix, self._rendered)
        self._fallback = FALLBACK_MODE[fallback]

    def put_on(self, programme: config.Programme) -> None:
        """What goes out from the next sample on, crossfaded. Phrases are dubbed and decided meanwhile as ever."""
        if programme != self._programmes[-1][1]:
            self._programmes.append((self._rendered, programme))

    def write_original(self, at: int, samples: Samples) -> None:
        self._original.write(at, samples)

    def write_background(self, at: int, samples: Samples) -> None:
        if len(samples):
            self._background.write(at, samples)
            self._background_runs.add(at, at + len(samples))

    def add(self, sequence: int, span: Span) -> bool:
        """A phrase that will be dubbed, if all goes well. Spans come in order and do not overlap.

        False when it is known too late: its fate is decided, and nobody needs to be asked for it.
        """
        phrase = _Phrase(sequence, span)
        self._phrases.append(phrase)
        if span.start < self._rendered:
            self._decide(phrase)
        return phrase.pending

    def deadline(self, sequence: int) -> int:
        """The output position at which the phrase's fate is decided: an answer must be there before it is rendered."""
        return self._find(sequence).span.start

    def room_ms(self, sequence: int) -> int:
        """How long its dub may be: from where it will be put to where the next phrase's voice begins.

        It will be put where its voice begins, or after the dub before it, taken as long as it is, or as the room that
        was told for it.
        While the next phrase is not known, the room lasts as long as it was quiet after the phrase, and OVERRUN more
        unless the phrase was cut in the middle of speech. Never less than 0.3 s.
        """
        free = 0
        for i, phrase in enumerate(self._phrases):
            start = max(phrase.span.voice_start, free)
            room = max(_LEAST_ROOM, self._next_voice(i) - start)
            if phrase.sequence == sequence:
                phrase.promised = room
                return room * 1000 // RATE_HZ
            if phrase.decision is not None:
                free = max(free, (phrase.dub_end or 0) + GAP)
            elif phrase.dub is not None:
                free = start + len(phrase.dub) + GAP
            elif phrase.pending:
                free = start + (phrase.promised or room) + GAP
        raise KeyError(sequence)

    def _next_voice(self, index: int) -> int:
        if index + 1 < len(self._phrases):
            return self._phrases[index + 1].span.voice_start - GAP
        span = self._phrases[index].span
        return span.quiet_until + (OVERRUN if span.quiet_until > span.end else 0)

    def phrase_audio(self, span: Span) -> Mono:
        """(n,) the original of a span at 16 kHz, both channels averaged."""
        return heard_by_service(self._original.read(span.start, len(span)))

    def dubbed(self, sequence: int, samples: Mono, rate_hz: int) -> bool:
        """The answer for a phrase, (n,) in -1..1. False when it came too late: it is dropped and counted."""
        voice = self.voice(sequence)
        return voice is not None and self.put(sequence, fitted(samples, rate_hz, voice))

    def voice(self, sequence: int) -> Voice | None:
        """What the answer of a phrase will take the place of; None when that has been decided, as `dubbed` says it."""
        phrase = self._open(sequence)
        if phrase is None:
            return None
        span = self._from_onset(phrase.span)
        return Voice(span, self._speech(span))

    def put(self, sequence: int, dub: Fitted) -> bool:
        """Takes a dub that was fitted to the phrase's voice. False when it came too late, as `dubbed` says it."""
        phrase = self._open(sequence)
        if phrase is not None:
            phrase.span, phrase.note = dub.span, dub.note
            if dub.note is None:
                phrase.dub = dub.sound
            else:
                phrase.reason = "invalid_output"
        return phrase is not None

    def failed(self, sequence: int, reason: FallbackReason) -> bool:
        """The phrase cannot be dubbed. False when it had been decided before, as too late."""
        phrase = self._open(sequence)
        if phrase is not None:
            phrase.reason = reason
        return phrase is not None

    def no_speech(self, sequence: int) -> bool:
        """The service heard no words: the original stays. False when the answer came too late."""
        phrase = self._open(sequence)
        if phrase is not None:
            phrase.silent = True
        return phrase is not None

    def render(self, at: int, count: int) -> Samples:
        """(count, 2) of the output from `at`; blocks follow one another. It decides the phrases that begin in them.

        What lies before `at` and was not rendered is skipped: nobody will hear it.
        """
        tail_fits = at == self._rendered
        self._rendered = max(self._rendered, at)
        for phrase in takewhile(lambda p: p.span.start < at + count, self._phrases):
            if phrase.decision is None:
                self._decide(phrase)
        before = self._blend.fade - 1
        tail = self._tail if tail_fits and len(self._tail) == before else self._modes(at - before, before)
        modes = np.concatenate([tail, self._modes(at, count)])
        self._rendered, self._tail = at + count, modes[len(modes) - before :]
        original = self._original.read(at, count)
        weights = self._blend.weights(modes, at)
        out = original
        if weights is not None:
            dub = self._dub(at, count) * self._on_air(at, count, lambda programme: programme == "dub")[:, None]
            out = mixed(weights, original, self._background.read(at, count), dub)
        self._forget()
        return out

    def original(self, at: int, count: int) -> Samples:
        """(count, 2) as it came in, whatever the phrases say."""
        return self._original.read(at, count)

    def kept(self, at: int, count: int) -> Samples:
        """(count, 2) for who wants the original instead of what was rendered: silent where silence was put on."""
        original = self._original.read(at, count)
        if all(programme != "silence" for _, programme in self._programmes):
            return original
        return original * self._on_air(at, count, lambda programme: programme != "silence")[:, None]

    def decided(self) -> list[Decision]:
        """The decisions since the last call, in the order of the phrases."""
        news, self._news = self._news, []
        return news

    def _find(self, sequence: int) -> _Phrase:
        """KeyError when it was never added, or so long ago that it was forgotten."""
        for phrase in self._phrases:
            if phrase.sequence == sequence:
                return phrase
        raise KeyError(sequence)

    def _open(self, sequence: int) -> _Phrase | None:
        """A phrase that waits for its answer; an answer for any other counts as late."""
        for phrase in self._phrases:
            if phrase.sequence == sequence and phrase.pending:
                return phrase
        self.late_answers += 1
        return None

    def _decide(self, phrase: _Phrase) -> None:
        span = phrase.span
        ends = [p.dub_end + GAP for p in self._phrases if p.dub_end is not None]
        at = max([span.voice_start, *ends])
        decision = Decision(phrase.sequence, span, "fallback", phrase.reason or "deadline", note=phrase.note)
        if phrase.silent:
            decision = replace(decision, status="no_speech", reason=None)
        elif phrase.dub is not None and span.start >= self._rendered:
            decision = replace(decision, lag_samples=at - span.voice_start, dub_samples=len(phrase.dub))
            if decision.lag_samples <= self._max_lag:
                decision = replace(decision, status="dubbed", reason=None, placed_at=at)
        phrase.decision = decision = self._steadied(decision)
        self._news.append(decision)

    def _steadied(self, decision: Decision) -> Decision:
        in_time = decision.status == "dubbed"
        if self._steady is None or decision.status == "no_speech" or self._steady.may_be_heard(in_time) or not in_time:
            return decision
        return replace(decision, status="fallback", reason="breaker_open", placed_at=None, note="held_back")

    def _modes(self, at: int, count: int) -> Modes:
        """The mode of each sample. A dub that still speaks goes before what the phrase under it would have."""
        modes = np.full(count, Mode.ORIGINAL, np.int8)
        for status, mode in (("fallback", self._fallback), ("dubbed", Mode.DUBBED)):
            for phrase in self._phrases:
                if phrase.decision is not None and phrase.decision.status == status:
                    modes[max(0, phrase.span.start - at) : max(0, phrase.end - at)] = mode
        without = ~self._has_background(at, count)
        for mode, instead in WITHOUT_BACKGROUND.items():
            modes[without & (modes == mode)] = instead
        for part, programme in self._shown(at, count):
            if programme != "dub":
                modes[part] = PROGRAMME_MODE[programme]
        return modes

    def _shown(self, at: int, count: int) -> Iterator[tuple[slice, config.Programme]]:
        """The programmes of `count` samples from `at`, and which of them are whose."""
        ends = [start for start, _ in self._programmes[1:]] + [at + count]
        for (start, programme), end in zip(self._programmes, ends, strict=True):
            if start < at + count and end > at:
                yield slice(max(0, start - at), end - at), programme

    def _on_air(self, at: int, count: int, lets_out: Callable[[config.Programme], bool]) -> Mono:
        """(count,) in 0..1: how far the programmes let something out."""
        if len(self._programmes) == 1:
            return np.full(count, lets_out(self._programmes[0][1]), np.float32)
        before = self._blend.fade - 1
        out = np.zeros(before + count, np.bool_)
        for part, programme in self._shown(at - before, before + count):
            out[part] = lets_out(programme)
        return np.asarray(self._blend.share(out), np.float32)

    def _has_background(self, at: int, count: int) -> npt.NDArray[np.bool_]:
        """Where there is background, and will be for as long as it takes to fade it out."""
        has = np.zeros(count, np.bool_)
        for start, end in self._background_runs.runs:
            has[max(0, start - at) : max(0, end - self._blend.fade - at)] = True
        return has

    def _dub(self, at: int, count: int) -> Samples:
        out = np.zeros((count, CHANNELS), np.float32)
        for phrase in self._phrases:
            if phrase.dub is None or phrase.decision is None or phrase.decision.placed_at is None:
                continue
            offset = phrase.decision.placed_at - at
            lo, hi = max(0, offset), min(count, offset + len(phrase.dub))
            if hi > lo:
                out[lo:hi] += phrase.dub[lo - offset : hi - offset]
        return out

    def _from_onset(self, span: Span) -> Span:
        """With the voice's start where it is first heard, which can be told where the background is known."""
        if not self._background_runs.covers(span.start, span.end):
            return span
        voice = self._speech(replace(span, voice_start=span.start))
        return replace(span, voice_start=span.start + onset(voice.mean(axis=1), span.voice_start - span.start))

    def _speech(self, span: Span) -> Samples:
        """(n, 2) of the voice itself: without the background where that is known."""
        count = span.end - span.voice_start
        sound = self._original.read(span.voice_start, count)
        if self._background_runs.covers(span.voice_start, span.end):
            sound = sound - self._background.read(span.voice_start, count)
        return sound

    def _forget(self) -> None:
        oldest = self._rendered - self._capacity
        self._phrases = [p for p in self._phrases if p.decision is None or p.end > oldest]
        self._background_runs.forget(oldest)
        while len(self._programmes) > 1 and self._programmes[1][0] <= oldest:
            del self._programmes[0]

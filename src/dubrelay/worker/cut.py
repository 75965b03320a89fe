"""Where phrases begin and end: one probability of speech per VAD frame in, spans that cover the timeline exactly out.

Every sample from the first frame to the last lies in exactly one span, whatever the probabilities are. A phrase ends at
a pause, or, when nobody pauses, at the least bad place of its last second.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dubrelay import config
from dubrelay.audio import samples_in

SPEECH_ON = 0.5
"""Two frames above this begin a phrase."""
SPEECH_OFF = 0.35
"""Frames above this keep it going."""
TAIL = samples_in(0.12)
"""What a phrase keeps after its last voiced frame: a consonant's end and a little room."""
_SEARCH = samples_in(1.0)


@dataclass(frozen=True)
class Span:
    """Samples [start, end) that are a phrase, or are not."""

    start: int
    end: int
    speech: bool
    voice_start: int
    """Where the voice itself begins, after the pre-roll; `start` when this is no phrase."""
    quiet_until: int
    """No speech was heard in [end, quiet_until). Equal to `end` when the phrase was cut while the speaker went on."""

    def __len__(self) -> int:
        return self.end - self.start


@dataclass(frozen=True)
class _Frame:
    start: int
    end: int
    probability: float
    energy: float

    @property
    def voiced(self) -> bool:
        return self.probability > SPEECH_OFF


@dataclass
class _Phrase:
    """A phrase that is being spoken; `frames` are those from its first voiced one on."""

    start: int
    frames: list[_Frame] = field(default_factory=list)

    @property
    def voice_start(self) -> int:
        return max(self.start, next((f.start for f in self.frames if f.voiced), self.start))

    @property
    def voice_end(self) -> int:
        return next((f.end for f in reversed(self.frames) if f.voiced), self.start)

    @property
    def voiced(self) -> int:
        """Samples that are surely speech."""
        return sum(f.end - f.start for f in self.frames if f.probability > SPEECH_ON)


class Cutter:
    """Pure: no clock and no sound, only frames. When one does not follow the last, `restart` says where it begins."""

    def __init__(self, settings: config.Cut) -> None:
        self._settings = settings
        self._pre_roll = samples_in(settings.pre_roll_s)
        self._longest = samples_in(settings.max_phrase_s)
        self._delivered: int | None = None  # spans were given out up to here
        self._heard = 0  # frames were taken in up to here
        self._recent: list[_Frame] = []
        self._phrase: _Phrase | None = None

    def push(self, start: int, end: int, probability: float, energy: float = 0.0) -> list[Span]:
        """One frame, beginning where the last one ended; gives the spans that are settled by it, in order.

        A span of no speech comes with the phrase after it, or in pieces of `max_phrase_s` when none comes.
        `energy` helps to find the least bad place for a cut without a pause.
        """
        if self._delivered is None:
            self.restart(start)
        if start != self._heard or end <= start:
            raise ValueError(f"frame [{start}, {end}) does not follow {self._heard}")
        self._heard = end
        frame = _Frame(start, end, probability, energy)
        return self._idle(frame) if self._phrase is None else self._speaking(self._phrase, frame)

    def flush(self) -> list[Span]:
        """Ends the phrase that is being spoken, if any, and gives out all that was heard."""
        spans = self._close(self._phrase) if self._phrase else []
        return spans + self._no_speech_until(self._heard)

    def restart(self, at: int) -> None:
        """Forgets what was heard (see `flush`) and goes on at `at`."""
        self._delivered = self._heard = at
        self._recent = []
        self._phrase = None

    def _idle(self, frame: _Frame) -> list[Span]:
        oldest = frame.end - self._pre_roll
        self._recent = [f for f in self._recent if f.end > oldest] + [frame]
        if all(f.probability > SPEECH_ON for f in self._recent[-2:]) and len(self._recent) >= 2:
            self._phrase = self._begin()
            return []
        settled = self._heard - 2 * self._pre_roll  # what comes later may become pre-roll
        return self._no_speech_until(settled) if settled - self._open >= self._longest else []

    def _begin(self) -> _Phrase:
        voiced = len(self._recent) - 2
        while voiced > 0 and self._recent[voiced - 1].voiced:
            voiced -= 1
        frames, self._recent = self._recent[voiced:], []
        return _Phrase(max(self._open, frames[0].start - self._pre_roll), frames)

    def _speaking(self, phrase: _Phrase, frame: _Frame) -> list[Span]:
        phrase.frames.append(frame)
        length = frame.end - phrase.start
        settings = self._settings
        is_long = length >= samples_in(settings.short_pause_after_s)
        pause_s = min(settings.short_pause_s, settings.pause_s) if is_long else settings.pause_s
        if frame.end - phrase.voice_end >= samples_in(pause_s):
            return self._close(phrase)
        if length >= self._longest:
            return self._cut(phrase)
        return []

    def _close(self, phrase: _Phrase) -> list[Span]:
        """The phrase ends at a pause."""
        self._phrase = None
        return self._phrase_until(min(self._heard, phrase.voice_end + TAIL), phrase, quiet_until=self._heard)

    def _cut(self, phrase: _Phrase) -> list[Span]:
        """The phrase ends because it is too long; what was said after the cut begins the next one."""
        window = min(_SEARCH, self._longest // 2)
        late = [i for i, f in enumerate(phrase.frames) if f.start >= self._heard - window]
        # The network is about equally sure of any voiced frame: among such ones the loudness tells more.
        least = min(
            late or [len(phrase.frames) - 1],
            key=lambda i: (round(phrase.frames[i].probability, 1), phrase.frames[i].energy),
        )
        quiet = phrase.frames[least]
        middle = (quiet.start + quiet.end + 1) // 2
        said = _Phrase(phrase.start, phrase.frames[: least + 1])
        self._phrase = _Phrase(middle, phrase.frames[least + 1 :])
        return self._phrase_until(middle, said, quiet_until=middle) or self._no_speech_until(middle)

    def _phrase_until(self, end: int, phrase: _Phrase, quiet_until: int) -> list[Span]:
        """The span of a phrase and the one before it; nothing yet when too little of it was voiced."""
        if phrase.voiced < samples_in(self._settings.min_voiced_s):
            return []
        spans = self._no_speech_until(phrase.start)
        spans.append(Span(phrase.start, end, True, phrase.voice_start, quiet_until))
        self._delivered = end
        return spans

    def _no_speech_until(self, end: int) -> list[Span]:
        start, self._delivered = self._open, max(self._open, end)
        return [Span(start, end, False, start, end)] if end > start else []

    @property
    def _open(self) -> int:
        """Where the samples begin that lie in no span yet."""
        return self._heard if self._delivered is None else self._delivered

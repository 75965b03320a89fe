"""Phrases as the worker cuts them from a programme, each with the room it has, and requests made of them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from dubrelay import config, models
from dubrelay.audio import Samples, from_pcm, samples_in, seconds, to_pcm
from dubrelay.demo.programme import sound
from dubrelay.wire.fragment import RATE_HZ, Audio, Languages, ProcessRequest
from dubrelay.worker.cut import Span
from dubrelay.worker.listen import Listener
from dubrelay.worker.timeline import Timeline
from dubrelay.worker.vad import Vad

LANGUAGES = Languages(source_language="en", target_language="es")
MEMORY_S = 30.0
BEHIND_S = 20.0


@dataclass(frozen=True)
class Phrase:
    start_s: float
    """Since the programme's start."""
    known_s: float
    """When the worker has heard its end and posts it."""
    audio: Audio
    room_ms: int

    @property
    def length_s(self) -> float:
        return self.audio.duration_ms / 1000

    def request(self, languages: Languages = LANGUAGES, **fields: Any) -> ProcessRequest:
        """A new one each time: a service may remember what it answered to a fragment_id."""
        return ProcessRequest(
            fragment_id=uuid.uuid4().hex,
            stream_id="bench",
            sequence_number=0,
            audio=self.audio,
            config=languages,
            max_duration_ms=self.room_ms,
            timeout_ms=60_000,
            **fields,
        )


def programme(length_s: float) -> list[Phrase]:
    """Of the demo's programme."""
    return list(cut(sound(length_s, [])))


def cut(blocks: Iterable[Samples]) -> Iterator[Phrase]:
    """`blocks` of 48 kHz stereo, one after the other; what is said at the very end needs some quiet after it."""
    settings = config.Settings()
    listener = Listener(settings.cut, Vad(models.silero_vad(settings.paths)), None)
    timeline = Timeline(settings.mix, "original", MEMORY_S)
    at, samples = 0, np.zeros((0, 2), np.float32)

    def found(spans: Iterable[Span]) -> Iterator[Phrase]:
        for span in spans:
            if span.speech:
                timeline.add(span.start, span)
                audio = Audio.from_samples(timeline.phrase_audio(span), RATE_HZ)
                yield Phrase(seconds(span.start), seconds(at + len(samples)), audio, timeline.room_ms(span.start))

    for block in blocks:
        samples = from_pcm(to_pcm(np.clip(block, -1, 1)))
        timeline.write_original(at, samples)
        yield from found(listener.push(at, samples).spans)
        at += len(samples)
        timeline.render(max(0, at - samples_in(BEHIND_S)), len(samples))
    samples = samples[:0]
    yield from found(listener.flush().spans)


def spread(values: Iterable[float]) -> dict[str, float]:
    found = list(values)
    return {"median": float(np.median(found)), "p95": float(np.percentile(found, 95)), "max": max(found)}

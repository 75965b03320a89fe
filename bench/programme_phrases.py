"""The phrases of the demo's generated programme, cut as the worker cuts them, with when each is known and its room."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dubrelay import config, models
from dubrelay.audio import RATE_HZ as MEDIA_RATE_HZ
from dubrelay.audio import Samples, from_pcm, samples_in
from dubrelay.demo.programme import Sentence, sound
from dubrelay.wire.fragment import RATE_HZ, Audio
from dubrelay.worker.listen import Listener
from dubrelay.worker.timeline import Timeline
from dubrelay.worker.vad import Vad


@dataclass(frozen=True)
class Asked:
    """One phrase; times are seconds from the programme's start."""

    start_s: float
    known_s: float
    """When the worker has heard its end and posts it."""
    audio: Audio
    room_ms: int


def phrases(programme_s: float) -> Iterator[Asked]:
    settings = config.Settings()
    listener = Listener(settings.cut, Vad(models.silero_vad(settings.paths)), None)
    timeline = Timeline(settings.mix, "original", 30)
    said: list[Sentence] = []
    at = 0
    for block in sound(programme_s, said):
        samples: Samples = from_pcm((np.clip(block, -1, 1) * 32767).astype("<i2").tobytes())
        timeline.write_original(at, samples)
        for span in listener.push(at, samples).spans:
            if span.speech:
                timeline.add(span.start, span)
                audio = Audio.from_samples(timeline.phrase_audio(span), RATE_HZ)
                known = at + len(samples)
                yield Asked(span.start / MEDIA_RATE_HZ, known / MEDIA_RATE_HZ, audio, timeline.room_ms(span.start))
        at += len(samples)
        timeline.render(max(0, at - samples_in(20)), len(samples))

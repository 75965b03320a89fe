"""The sound of dub mode: decoded to 48 kHz stereo, numbered by sample, handed to dubbing, and coded again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from dubrelay.audio import CHANNELS, RATE_HZ, Samples, from_pcm, sample_at, samples_in, time_of, to_pcm
from dubrelay.config import Programme
from dubrelay.wire.control import Control
from dubrelay.worker.sound import DECODERS, LATE_NS, Codec, Graph, SoundGraph, Step
from dubrelay.worker.stamps import Pace

PCM = f"audio/x-raw,format=S16LE,layout=interleaved,rate={RATE_HZ},channels={CHANNELS}"
_PRIMING_SAMPLES = 1024
"""avenc_aac's first packet is silence of that length: what is pushed for t would be heard that much later."""
_TIMESTAMP_JITTER_SAMPLES = RATE_HZ * 2 // 1000
"""FLV rounds to milliseconds; a larger step than 2 ms is a real one."""
_PAUSED_S = 0.6
_BLOCK = samples_in(0.4)
"""After a standstill seconds of sound go out at once; audioconvert keeps memory for the largest piece it ever got."""


def graph(bitrate_kbps: int, batch_ms: int) -> SoundGraph:
    """Sound comes in batches: asking GStreamer for each frame would cost more than all that is done with it."""
    return SoundGraph(
        heard="audioconvert name=audio dithering=none noise-shaping=none "
        f"! audiobuffersplit output-buffer-duration={batch_ms}/1000 alignment-threshold=2000000 discont-wait=0 "
        f"! audioresample ! {PCM}",
        said=coder(bitrate_kbps),
    )


def coder(bitrate_kbps: int) -> str:
    """From PCM to AAC, for gst-launch."""
    return f"audioconvert ! avenc_aac aac-coder=fast bitrate={bitrate_kbps * 1000} tolerance=2000000"


class Track(Protocol):
    """What becomes of the sound: a dub track (phrases.py)."""

    def feed(self, at: int, samples: Samples) -> None:
        """What came in."""

    def paused(self) -> None:
        """Nothing came in for a while: what was begun is to be finished."""

    def render(self, at: int, count: int) -> Samples:
        """What goes out at these sample numbers: (count, 2)."""

    def kept(self, at: int, count: int) -> Samples:
        """The same for who wants the original: (count, 2). Called after `render`, for the same samples."""

    def obey(self, control: Control) -> None:
        """Does what was asked for while the worker runs."""

    @property
    def programme(self) -> Programme: ...

    @property
    def queue_ms(self) -> float:
        """Sound that waits to be listened to."""

    def close(self) -> None: ...


class DecodedSound:
    """Between the graph and a track. Every sample that comes in keeps its number."""

    def __init__(self, graph: Graph, track: Track, keep: Callable[[int, bytes, int], None] | None = None) -> None:
        """`keep` takes the original beside what goes out, in pieces of the same times, each as `graph.push` does."""
        self._graph, self._track, self._keep = graph, track, keep
        self._cursor: int | None = None
        self._next_heard: int | None = None
        self._heard_at = time.monotonic()
        self._paused = True
        self._pace = Pace()
        graph.speak(PCM)

    @property
    def queue_ms(self) -> float:
        return self._track.queue_ms

    @property
    def programme(self) -> Programme:
        return self._track.programme

    def obey(self, control: Control) -> None:
        self._track.obey(control)

    @property
    def of_other_pace(self) -> bool:
        return self._pace.other

    def way_in(self, codec: Codec) -> Sequence[Step]:
        return (DECODERS[codec.name],)

    def begin(self, at: int) -> None:
        if self._cursor is None:
            self._cursor = sample_at(at)

    def take_in(self) -> None:
        blocks = self._graph.pull()
        for block in blocks:
            samples = from_pcm(block.data)
            at = sample_at(block.at)
            self._pace.note(block.at, time_of(len(samples)))
            if self._next_heard is not None and abs(at - self._next_heard) <= _TIMESTAMP_JITTER_SAMPLES:
                at = self._next_heard
            self._next_heard = at + len(samples)
            self._track.feed(at, samples)
        self._note_pauses(heard=bool(blocks))

    def _note_pauses(self, heard: bool) -> None:
        now = time.monotonic()
        if heard:
            self._heard_at, self._paused = now, False
        elif not self._paused and now - self._heard_at > _PAUSED_S:
            self._track.paused()
            self._paused = True

    def send_out(self, until: int) -> int:
        due = sample_at(max(0, until))
        if self._cursor is None or due <= self._cursor:
            return 0
        skipped = max(0, due - self._cursor - sample_at(LATE_NS))
        self._cursor += skipped
        while self._cursor < due:
            count = min(_BLOCK, due - self._cursor)
            at, lasts = time_of(self._cursor - _PRIMING_SAMPLES), time_of(count)
            pcm = to_pcm(self._track.render(self._cursor, count))
            if self._keep is not None:
                self._keep(at, to_pcm(self._track.kept(self._cursor, count)), lasts)
            self._graph.push(at, pcm, lasts)
            self._cursor += count
        return time_of(skipped)

    def close(self) -> None:
        self._track.close()

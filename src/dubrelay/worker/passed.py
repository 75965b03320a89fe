"""The sound of bypass mode: AAC frames as they came, each at its own time, and silent ones where none came.

As the first track is coded, so is the output said to be, for ever. A later track of another format (or a first one that
is not AAC) is decoded and coded anew to that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from threading import Lock

from dubrelay.config import Programme
from dubrelay.wire.control import Control, ControlRefused
from dubrelay.worker.aac import DEFAULT_CONFIG, DEFAULT_FORMAT, AacFormat, parse_config
from dubrelay.worker.sound import DECODERS, LATE_NS, Block, Codec, Graph, SoundGraph, Step
from dubrelay.worker.stamps import Pace

GRAPH = SoundGraph(heard="identity name=audio silent=true ! audio/mpeg,mpegversion=4,stream-format=raw")
_LOOSE_FRAMES = 3
"""Publishers' stamps are not exact: only a hole of more frames is filled, only a frame further back is dropped."""

_LEAPT_NS = 200_000_000
"""A frame so far behind the one before it is of a new source: the one before had run ahead, and its time is taken."""


@dataclass(frozen=True)
class _Coding:
    """How the output's sound is coded."""

    format: AacFormat
    config: bytes

    @property
    def caps(self) -> str:
        return (
            f"audio/mpeg,mpegversion=4,stream-format=raw,framed=true,rate={self.format.rate_hz},"
            f"channels={self.format.channels},codec_data=(buffer){self.config.hex()}"
        )


class PassedSound:
    queue_ms = 0.0

    def __init__(self, graph: Graph, bitrate_kbps: int, programme: Programme = "bypass") -> None:
        self._graph, self._bitrate_kbps = graph, bitrate_kbps
        self.programme: Programme = programme
        self._lock = Lock()
        self._coding: _Coding | None = None
        self._frames: deque[Block] = deque()
        self._delay_ns = 0
        """Of a track that is coded anew: the encoder's first frame is silence, so all that follows is late by it."""
        self._cursor: int | None = None
        self._last = 0
        self._silent = True
        self._pace = Pace()

    @property
    def of_other_pace(self) -> bool:
        return self._pace.other

    def obey(self, control: Control) -> None:
        """Silence is made of silent frames; each overlaps with the one before it, which is the crossfade."""
        if control.programme in ("dub", "break"):
            asked = f"control: programme = {control.programme!r}"
            raise ControlRefused(f"{asked}: the worker runs in bypass mode and does not decode the sound", control.id)
        self.programme = control.programme or self.programme

    def way_in(self, codec: Codec) -> Sequence[Step]:
        offered = parse_config(codec.config) if codec.name == "aac" else None
        wanted = self._coded_as(_Coding(offered, codec.config) if offered else None).format
        self._delay_ns = 0 if offered == wanted else wanted.frame_ns
        if offered == wanted:
            return ()
        pcm = f"audio/x-raw,rate={wanted.rate_hz},channels={wanted.channels}"
        encoder: Step = ("avenc_aac", {"bitrate": self._bitrate_kbps * 1000, "aac_coder": "fast"})
        return (DECODERS[codec.name], "audioconvert", "audioresample", ("capsfilter", {"caps": pcm}), encoder)

    def begin(self, at: int) -> None:
        if self._cursor is None:
            self._cursor = self._last = at

    def take_in(self) -> None:
        for block in self._graph.pull():
            self._pace.note(block.at, self._coded_as(None).format.frame_ns)
            frame = replace(block, at=block.at - self._delay_ns)
            while self._frames and self._frames[-1].at > frame.at + _LEAPT_NS:
                self._frames.pop()
            self._frames.append(frame)

    def send_out(self, until: int) -> int:
        if self._cursor is None or until <= self._cursor:
            return 0
        skipped = max(0, until - self._cursor - LATE_NS)
        self._cursor += skipped
        coded_as = self._coded_as(None).format
        step, silence = coded_as.frame_ns, coded_as.silent_frame()
        loose = _LOOSE_FRAMES * step
        while self._cursor + step <= until:
            at = self._frames[0].at if self._frames else until + loose
            if at < self._cursor - loose:
                self._frames.popleft()
            elif at >= self._cursor + (step if self._silent else loose):
                self._push(self._cursor, silence, step)
                self._silent = True
            elif at > until:
                break
            else:
                data = self._frames.popleft().data
                self._push(at, data if self.programme == "bypass" else silence, step)
                self._silent = False
        return skipped

    def _push(self, at: int, frame: bytes, duration: int) -> None:
        self._last = max(at, self._last)
        self._graph.push(self._last, frame, duration)
        self._cursor = self._last + duration

    def _coded_as(self, offered: _Coding | None) -> _Coding:
        """How the output is coded; the first who asks decides."""
        with self._lock:
            if self._coding is None:
                self._coding = offered or _Coding(DEFAULT_FORMAT, DEFAULT_CONFIG)
                self._graph.speak(self._coding.caps)
            return self._coding

    def close(self) -> None:
        pass

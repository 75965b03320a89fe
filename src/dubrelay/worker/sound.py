"""What the session asks of the way the sound takes through the worker.

There are two: decoded.py (dub mode) and passed.py (bypass mode). Times are running times in ns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from dubrelay.config import Programme
from dubrelay.wire.control import Control

Step = str | tuple[str, Mapping[str, object]]
"""A GStreamer element to be made, alone or with its properties."""

CodecName = Literal["aac", "mp3", "opus"]
DECODERS: dict[CodecName, str] = {"aac": "avdec_aac", "mp3": "avdec_mp3float", "opus": "avdec_opus"}
PATIENCE_NS = 3_000_000_000
"""So much longer than the latency the muxer waits for sound: a machine that stands still for a moment costs a viewer
that moment, and then gives all of it.
"""
LATE_NS = PATIENCE_NS - 300_000_000
"""Sound that comes later than the muxer waits would be squeezed together."""


@dataclass(frozen=True)
class Codec:
    """How a track of the input is coded."""

    name: CodecName
    config: bytes = b""
    """AAC: its AudioSpecificConfig."""


@dataclass(frozen=True)
class SoundGraph:
    """What lies between the input's sound and Python, and between Python and the muxer (gst-launch's language)."""

    heard: str
    """Its first element is named `audio`."""
    said: str = ""


@dataclass(frozen=True)
class Block:
    """Sound as it came in."""

    at: int
    """Running time of its first sample, ns."""
    data: bytes


class Graph(Protocol):
    """The fixed part of the GStreamer graph, as far as sound is concerned (pipeline.MediaPipeline)."""

    def pull(self) -> list[Block]: ...

    def speak(self, caps: str) -> None: ...

    def push(self, at: int, data: bytes, duration: int) -> None: ...


class Sound(Protocol):
    def way_in(self, codec: Codec) -> Sequence[Step]:
        """The elements between a parsed track of the input and the graph. Called on GStreamer's threads."""

    def begin(self, at: int) -> None:
        """The output begins at this time; only the first call counts. Called on GStreamer's threads."""

    def take_in(self) -> None:
        """Takes what has come in since the last call."""

    def send_out(self, until: int) -> int:
        """Sends all that lies before `until`, without a hole. Gives how many ns were skipped, as that was too late."""

    def obey(self, control: Control) -> None:
        """Does what was asked for while the worker runs. ControlRefused when it cannot, and then does none of it."""

    @property
    def programme(self) -> Programme: ...

    @property
    def queue_ms(self) -> float:
        """Sound that waits to be listened to."""

    @property
    def of_other_pace(self) -> bool:
        """It comes faster or slower than its coding says."""

    def close(self) -> None: ...

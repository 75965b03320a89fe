"""What goes when recordings take more than they may, and when recording stops. Pure.

Whole segments only, the oldest first, never one that is being written. A disk that is short of room is no reason to
delete: others may have filled it, and would fill what is freed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dubrelay.config import Recording
from dubrelay.orchestrator.segments import Segment

MB = 1_000_000
Full = Literal["", "quota", "disk"]
_ROOM = 0.05
"""Recording that has stopped goes on once there is so much more room than it stopped at: not for a second at a time."""


@dataclass(frozen=True)
class Verdict:
    delete: tuple[Segment, ...] = ()
    full: Full = ""
    """Why nothing may be recorded once those are gone; empty: it may."""


def judge(segments: Sequence[Segment], free: int, limits: Recording, before: Full) -> Verdict:
    """`segments` oldest first, `free` bytes of their disk; `before` is what `full` was the last time."""
    used = sum(segment.size for segment in segments)
    most, least_free = limits.max_total_mb * MB, limits.min_free_mb * MB
    delete: list[Segment] = []
    if limits.when_full == "delete-oldest":
        for segment in segments:
            if used <= most:
                break
            if not segment.open:
                delete.append(segment)
                used -= segment.size
    if free < least_free * (1 + _ROOM if before == "disk" else 1):
        return Verdict(tuple(delete), "disk")
    stops_at = most * (1 - _ROOM) if before == "quota" else most
    return Verdict(tuple(delete), "quota" if used > stops_at else "")


def in_words(full: Full, limits: Recording, directory: object) -> str:
    """What an operator can do about it. Empty where nothing is full."""
    if full == "disk":
        return (
            f"recording has stopped: the disk of {directory} has less than recording.min_free_mb = "
            f"{limits.min_free_mb} left; it goes on when there is room"
        )
    if full == "quota" and limits.when_full == "stop":
        return (
            f"recording has stopped: all recordings together have reached recording.max_total_mb = "
            f"{limits.max_total_mb}; it goes on when some are deleted"
        )
    if full == "quota":
        return (
            f"recording has stopped: what is being written alone has more than recording.max_total_mb = "
            f"{limits.max_total_mb}; raise it, or lower recording.segment_s"
        )
    return ""

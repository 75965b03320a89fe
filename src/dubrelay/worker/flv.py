"""FLV tags, as RTMP carries them, and a second track of sound in them. Pure.

Source: FLV 10.1, annex E.4 (tags); Enhanced RTMP v2, "Enhanced Audio" (AudioPacketType.Multitrack, OneTrack), which the
flvmux of Debian 12 does not write.
"""

from __future__ import annotations

AUDIO_TAG, VIDEO_TAG = 8, 9
_EX_HEADER, _MULTITRACK = 9, 5
_ONE_TRACK, _SEQUENCE_START, _CODED_FRAMES = 0, 0, 1
_AAC = b"mp4a"


def stamp_of(tag: bytes) -> int:
    """In ms, from the first 8 bytes."""
    return int.from_bytes(tag[4:7], "big") | tag[7] << 24


def restamped(tag: bytes, stamp_ms: int) -> bytes:
    return tag[:4] + _stamp(stamp_ms) + tag[8:]


def is_key_frame(tag: bytes) -> bool:
    """Whether a tag, of which 13 bytes are enough, holds an AVC key frame (not the codec's headers)."""
    return len(tag) >= 13 and tag[0] == VIDEO_TAG and tag[11] >> 4 == 1 and tag[12] == 1


def sequence_start(track: int, stamp_ms: int, config: bytes) -> bytes:
    """What a track of AAC begins with, once a connection; `config` is its AudioSpecificConfig."""
    return _of_track(track, stamp_ms, _SEQUENCE_START, config)


def coded_frame(track: int, stamp_ms: int, frame: bytes) -> bytes:
    """A raw AAC frame."""
    return _of_track(track, stamp_ms, _CODED_FRAMES, frame)


def _of_track(track: int, stamp_ms: int, kind: int, payload: bytes) -> bytes:
    """`track` is 1 to 255; 0 is the one that is written without a number."""
    body = bytes([_EX_HEADER << 4 | _MULTITRACK, _ONE_TRACK << 4 | kind]) + _AAC + bytes([track]) + payload
    header = bytes([AUDIO_TAG]) + len(body).to_bytes(3, "big") + _stamp(stamp_ms) + bytes(3)
    return header + body + (len(header) + len(body)).to_bytes(4, "big")


def _stamp(ms: int) -> bytes:
    """The upper eight bits come last; after 2^32 - 1 it counts on from 0."""
    stamp = (ms % 2**32).to_bytes(4, "big")
    return stamp[1:] + stamp[:1]

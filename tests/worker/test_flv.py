from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay.worker.flv import coded_frame, is_key_frame, restamped, sequence_start, stamp_of

pytestmark = pytest.mark.unit


def test_a_track_is_announced_as_enhanced_rtmp_has_it() -> None:
    tag = sequence_start(1, 0x01020304, bytes.fromhex("1190"))
    assert tag == (
        bytes.fromhex("08 000009 020304 01 000000")  # sound, 9 bytes, stamp with its upper byte last
        + bytes.fromhex("95 00") + b"mp4a" + bytes.fromhex("01 1190")  # multitrack; one track, sequence start
        + bytes.fromhex("00000014")  # 20 bytes so far
    )  # fmt: skip


@given(st.binary(max_size=2000), st.integers(1, 255), st.integers(0, 2**33))
def test_a_frame_is_whole_and_its_sizes_fit(frame: bytes, track: int, stamp_ms: int) -> None:
    tag = coded_frame(track, stamp_ms, frame)
    assert tag[11:18] == b"\x95\x01mp4a" + bytes([track])
    assert tag[18:-4] == frame
    assert int.from_bytes(tag[1:4], "big") == len(tag) - 15
    assert int.from_bytes(tag[-4:], "big") == len(tag) - 4
    assert stamp_of(tag) == stamp_ms % 2**32


@given(st.integers(0, 2**32 - 1))
def test_a_tag_is_stamped_anew_and_nothing_else_of_it_changes(stamp_ms: int) -> None:
    tag = coded_frame(1, 7, b"frame")
    again = restamped(tag, stamp_ms)
    assert stamp_of(again) == stamp_ms
    assert restamped(again, 7) == tag


def test_a_key_frame_is_told_from_headers_and_other_pictures() -> None:
    def tag(*first: int) -> bytes:
        return bytes([9]) + bytes(10) + bytes(first)

    assert is_key_frame(tag(0x17, 1))
    assert not is_key_frame(tag(0x17, 0))
    assert not is_key_frame(tag(0x27, 1))
    assert not is_key_frame(tag(0x17))
    assert not is_key_frame(coded_frame(1, 0, b"frame"))

"""Bypass mode's sound without a graph: which frame leaves when, whatever comes in."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay.worker.aac import DEFAULT_FORMAT, AacFormat
from dubrelay.worker.passed import PassedSound
from dubrelay.worker.sound import LATE_NS, Block, Codec

pytestmark = pytest.mark.unit

MS = 1_000_000
LATENCY = 1000 * MS
TICK = 300 * MS
STEREO_44 = bytes.fromhex("1210")
STEP = AacFormat(44_100, 2).frame_ns
SILENCE = AacFormat(44_100, 2).silent_frame()


class Lines:
    """What lies round PassedSound: frames to be pulled, and what was pushed."""

    def __init__(self) -> None:
        self.coming: list[Block] = []
        self.sent: list[tuple[int, bytes]] = []
        self.caps: list[str] = []

    def pull(self) -> list[Block]:
        coming, self.coming = self.coming, []
        return coming

    def speak(self, caps: str) -> None:
        self.caps.append(caps)

    def push(self, at: int, data: bytes, duration: int) -> None:
        self.sent.append((at, data))


def _played(frames: list[Block], until: int, freeze: tuple[int, int] | None = None) -> tuple[Lines, int]:
    """The frames arrive at their time; the pump looks every tick, but not during `freeze`. -> lines, ns skipped."""
    lines = Lines()
    sound = PassedSound(lines, bitrate_kbps=128)
    sound.way_in(Codec("aac", STEREO_44))
    sound.begin(0)
    skipped, waiting = 0, list(frames)
    for now in range(0, until + LATENCY + TICK, TICK):
        if freeze and freeze[0] <= now < freeze[1]:
            continue
        while waiting and waiting[0].at <= now:
            lines.coming.append(waiting.pop(0))
        sound.take_in()
        skipped += sound.send_out(now - LATENCY)
    return lines, skipped


def _frames(start: int, count: int, name: str = "a") -> list[Block]:
    return [Block(start + n * STEP, f"{name}{n}".encode()) for n in range(count)]


def test_frames_leave_as_they_came_at_their_own_times() -> None:
    frames = _frames(0, 200)
    lines, skipped = _played(frames, frames[-1].at)
    assert lines.sent[:198] == [(f.at, f.data) for f in frames[:198]]
    assert skipped == 0


def test_stamps_that_are_not_exact_are_left_alone() -> None:
    frames = [Block(f.at + (n * 7 % 13 - 6) * 2 * MS, f.data) for n, f in enumerate(_frames(20 * MS, 200))]
    lines, _ = _played(frames, frames[-1].at)
    first = [data for _, data in lines.sent].index(b"a0")
    assert first <= 3
    assert [data for _, data in lines.sent[first : first + 190]] == [f.data for f in frames[:190]]


@given(
    away=st.integers(10 * STEP, 40 * STEP),
    first=st.integers(0, 80),
)
def test_a_publisher_that_was_away_leaves_silence_and_no_hole(away: int, first: int) -> None:
    before, after = _frames(0, first, "a"), _frames(first * STEP + away, 60, "b")
    lines, _ = _played(before + after, after[-1].at)
    times = [at for at, _ in lines.sent]
    assert all(STEP - 1 <= later - at < 2 * STEP for at, later in pairwise(times))
    told = {data: at for at, data in lines.sent if data != SILENCE}
    assert all(told[f.data] == f.at for f in before + after[:-2])


@given(st.lists(st.integers(-200, 200), min_size=1, max_size=60), st.integers(0, 10), st.integers(0, 18))
def test_time_never_runs_backwards_and_no_hole_is_longer_than_a_few_frames(
    jumps: list[int], frozen_from: int, frozen_for: int
) -> None:
    at, frames = 0, []
    for n, jump in enumerate(jumps):
        at = max(0, at + STEP + jump * MS)
        frames.append(Block(at, f"{n}".encode()))
    frames.sort(key=lambda f: f.at)
    freeze = (frozen_from * TICK, (frozen_from + frozen_for) * TICK)
    lines, skipped = _played(frames, 8_000 * MS, freeze)
    times = [at for at, _ in lines.sent]
    assert times == sorted(times)
    gaps = sum(max(0, later - at - 4 * STEP) for at, later in pairwise(times))
    assert gaps <= skipped
    assert skipped == 0 or frozen_for * TICK > LATE_NS - TICK - 4 * STEP


def test_a_worker_that_was_frozen_skips_what_is_too_late_and_says_how_much() -> None:
    frames = _frames(0, 400)
    lines, skipped = _played(frames, frames[-1].at, freeze=(3000 * MS, 6000 * MS))
    assert skipped == pytest.approx(3000 * MS + TICK - LATE_NS, abs=TICK)
    missing = len(frames) - len([1 for _, data in lines.sent if data != SILENCE])
    assert missing * STEP >= skipped - 4 * STEP
    assert lines.sent[-1][0] > frames[-20].at


def test_without_sound_the_output_has_silence_of_the_default_format() -> None:
    lines = Lines()
    sound = PassedSound(lines, bitrate_kbps=128)
    sound.begin(0)
    sound.send_out(600 * MS)
    assert {data for _, data in lines.sent} == {DEFAULT_FORMAT.silent_frame()}
    assert "rate=48000,channels=2" in lines.caps[0]


def test_the_first_track_decides_and_others_are_coded_to_it() -> None:
    lines = Lines()
    sound = PassedSound(lines, bitrate_kbps=96)
    assert sound.way_in(Codec("aac", STEREO_44)) == ()
    assert sound.way_in(Codec("aac", bytes.fromhex("121056e500"))) == ()
    others = sound.way_in(Codec("aac", bytes.fromhex("1188"))), sound.way_in(Codec("opus"))
    for steps, decoder in zip(others, ("avdec_aac", "avdec_opus"), strict=True):
        assert steps[0] == decoder
        assert ("capsfilter", {"caps": "audio/x-raw,rate=44100,channels=2"}) in steps
    assert len(lines.caps) == 1
    assert "codec_data=(buffer)1210" in lines.caps[0]


def test_frames_whose_stamps_ran_ahead_do_not_hold_up_those_of_the_next_connection() -> None:
    before, ahead = _frames(0, 40), [Block(f.at + 1500 * MS, f.data) for f in _frames(40 * STEP, 10, "ahead")]
    after = _frames(50 * STEP, 100, "b")
    lines = Lines()
    sound = PassedSound(lines, bitrate_kbps=128)
    sound.way_in(Codec("aac", STEREO_44))
    sound.begin(0)
    for coming in (before, ahead, after):
        lines.coming = coming
        sound.take_in()
    for until in range(0, after[-1].at, TICK):
        sound.send_out(until)
    sent = [data for _, data in lines.sent if data != SILENCE]
    assert sent == [f.data for f in before + after][: len(sent)]
    assert len(sent) >= 120

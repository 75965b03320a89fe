"""Stamps of two tracks to running time, whatever a publisher does with them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay.worker.stamps import EARLY_NS, Lateness, Pace, Stamps, pace_ppm

pytestmark = pytest.mark.unit

MS = 1_000_000
S = 1000 * MS


def tracks(seconds: float, interleaved_ms: int = 0) -> Iterator[tuple[str, int, int]]:
    """(track, true time, arrival): 25 pictures a second, and a frame of sound every 21 ms that comes so much later."""
    events = [("video", n * 40 * MS, n * 40 * MS) for n in range(int(seconds * 25))]
    events += [("audio", n * 21 * MS, (n * 21 + interleaved_ms) * MS) for n in range(int(seconds * 1000 / 21))]
    return iter(sorted(events, key=lambda event: event[2]))


def test_the_first_buffer_is_of_now() -> None:
    stamps = Stamps()
    assert stamps.place("video", 36_000 * S, 7 * S)
    assert stamps.shift == -36_000 * S + 7 * S


@given(
    leap=st.one_of(st.integers(-40_000, -500), st.integers(2_500, 4_000_000)),
    at_s=st.floats(0.5, 9.5),
    interleaved_ms=st.integers(0, 400),
)
def test_a_leap_is_seen_with_its_first_buffer(leap: int, at_s: float, interleaved_ms: int) -> None:
    stamps = Stamps()
    for track, true, arrival in tracks(10, interleaved_ms):
        leapt = true >= at_s * S
        assert stamps.place(track, true + leap * MS * leapt, arrival) is not leapt
        if leapt:
            break


@given(st.integers(0, 1400))
def test_tracks_that_are_badly_interleaved_are_no_leap(interleaved_ms: int) -> None:
    stamps = Stamps()
    assert all(stamps.place(*event) for event in tracks(10, interleaved_ms))


@pytest.mark.parametrize(("away_s", "fits"), [(-30, False), (-3, True), (0, True), (1, True), (30, False)])
def test_a_track_that_begins_far_from_the_other_has_leapt(away_s: int, fits: bool) -> None:
    stamps = Stamps()
    assert stamps.place("audio", 7 * S, 100 * S)
    assert stamps.place("video", (8 + away_s) * S, 101 * S) is fits


def test_a_network_that_stalls_is_no_leap() -> None:
    stamps = Stamps()
    assert all(stamps.place("video", n * 40 * MS, max(n * 40 * MS, 9 * S)) for n in range(400))


def test_a_track_that_stays_away_and_comes_back_is_no_leap() -> None:
    stamps = Stamps()
    away = (event for event in tracks(20) if event[0] == "video" or not 5 * S < event[1] < 15 * S)
    assert all(stamps.place(*event) for event in away)


@pytest.mark.parametrize("ppm", [-200, -20, 20, 200])
def test_our_clock_follows_the_publishers_and_nothing_piles_up(ppm: int) -> None:
    lateness = Lateness()
    true_ns, ours_ns, grown = 0.0, 0.0, []
    for _ in range(3600):
        true_ns += 1e9 * (1 + ppm / 1e6)
        ours_ns += 1e9 * (1 + pace_ppm(lateness.grown) / 1e6)
        lateness.note(round(ours_ns - true_ns), round(ours_ns))
        grown.append(lateness.grown)
    assert max(map(abs, grown)) < 20 * MS
    assert abs(grown[-1] - grown[-600]) < 1 * MS


def test_a_burst_does_not_count_as_lateness() -> None:
    lateness = Lateness()
    for n in range(200):
        lateness.note(EARLY_NS if n % 10 else 5 * MS, n * 100 * MS)
    assert lateness.grown == 0


def frames(pace: Pace, seconds: float, rate_hz: int, announced_hz: int) -> None:
    """Stamps are those of FLV: whole milliseconds."""
    for n in range(int(seconds * rate_hz / 1024)):
        pace.note(n * 1024 * 1000 // rate_hz * MS, 1024 * S // announced_hz)


@pytest.mark.parametrize(("rate_hz", "other"), [(48_000, False), (44_100, True), (32_000, True), (96_000, True)])
def test_sound_of_another_rate_than_announced_is_noticed(rate_hz: int, other: bool) -> None:
    pace = Pace()
    frames(pace, 11, rate_hz, announced_hz=48_000)
    assert pace.other is other


def test_a_pause_or_a_lost_frame_is_no_other_pace_and_the_right_one_is_noticed_again() -> None:
    pace = Pace()
    frames(pace, 11, 44_100, announced_hz=48_000)
    for n in range(1000):
        if n % 40 and not 300 < n < 500:
            pace.note(60 * S + n * 21 * MS, 21 * MS)
    assert not pace.other

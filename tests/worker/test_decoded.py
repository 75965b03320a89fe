"""Dub mode's sound between the graph and the track."""

from __future__ import annotations

import numpy as np
import pytest

from dubrelay.audio import RATE_HZ, Samples, samples_in, time_of
from dubrelay.config import Programme
from dubrelay.wire.control import Control
from dubrelay.worker.decoded import DecodedSound
from dubrelay.worker.sound import Block

pytestmark = pytest.mark.unit


class Graph:
    def __init__(self) -> None:
        self.pushed: list[tuple[int, int, int]] = []  # when, bytes, how long

    def pull(self) -> list[Block]:
        return []

    def speak(self, caps: str) -> None:
        pass

    def push(self, at: int, data: bytes, duration: int) -> None:
        self.pushed.append((at, len(data), duration))


class Track:
    queue_ms = 0.0
    programme: Programme = "dub"

    def __init__(self) -> None:
        self.rendered: list[tuple[int, int]] = []

    def feed(self, at: int, samples: Samples) -> None:
        pass

    def paused(self) -> None:
        pass

    def render(self, at: int, count: int) -> Samples:
        self.rendered.append((at, count))
        return np.zeros((count, 2), np.float32)

    def obey(self, control: Control) -> None:
        pass

    def close(self) -> None:
        pass


def test_after_a_standstill_the_sound_goes_out_in_small_pieces_without_a_gap() -> None:
    graph, track = Graph(), Track()
    sound = DecodedSound(graph, track)
    sound.begin(0)
    assert sound.send_out(time_of(samples_in(2.5))) == 0
    assert max(count for _, count in track.rendered) <= RATE_HZ / 2
    assert [at for at, _ in track.rendered] == list(np.cumsum([0, *(count for _, count in track.rendered)])[:-1])
    assert sum(size for _, size, _ in graph.pushed) == samples_in(2.5) * 2 * 2
    for (at, _, duration), (following, _, _) in zip(graph.pushed, graph.pushed[1:], strict=False):
        assert at + duration == following

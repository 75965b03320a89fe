"""Everything round a worker that can break (desk.py), each with how it is mended."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
from desk import LATENCY_S, Desk

from dubrelay.wire.fragment import Audio
from lying_service import (
    Behaviour,
    breaks_off,
    floods,
    hangs,
    lies_about_the_fragment,
    respond,
    says_nonsense,
    success,
)
from waiting import wait_for

QUIET_S = 4
"""How long all must have gone well before the next fault, longer than any tone or pause of the programme."""
BACK_S = 60
"""Nothing takes so long to come back."""


@dataclass(frozen=True)
class Fault:
    name: str
    begin: Callable[[Desk], None]
    end: Callable[[Desk], None]
    lasts_s: float = 5.0
    input_side: bool = True
    """The viewer's connection must outlive it."""
    empties: bool = False
    """What waits for its time in the worker is lost, or nothing more comes into it: the latency passes until the next
    picture may go out, as the delay is constant."""


@dataclass
class Happened:
    fault: Fault
    began: float
    ended: float
    back: float | None
    """When the next phrase was dubbed; None: not within BACK_S."""
    before: tuple[int, float, int]
    after: tuple[int, float, int]
    """Restarts, memory in MB, descriptors."""
    restart_s: float | None
    """From the fault to another worker process; None: it is the same one."""


def voice(seconds: float, level: float = 0.2) -> np.ndarray[Any, np.dtype[np.float32]]:
    t = np.arange(round(24_000 * seconds), dtype=np.float32) / 24_000
    return np.asarray(level * np.sin(2 * np.pi * 300 * t), np.float32)


def says(audio: Callable[[], Audio]) -> Behaviour:
    async def say(request: dict[str, Any], send: Any) -> None:
        await respond(send, 200, success(request, dubbed_audio=audio()))

    return say


async def says_nan(request: dict[str, Any], send: Any) -> None:
    await respond(send, 200, success(request).replace(b'"duration_ms":1000', b'"duration_ms":NaN'))


def nothing(_: Desk) -> None:
    pass


def network(fault: str, kind: str) -> Callable[[Desk], None]:
    return lambda desk: desk.network.fault(fault, kind)  # type: ignore[arg-type]


def service(fault: str) -> Callable[[Desk], None]:
    return lambda desk: desk.service_network.fault(fault)  # type: ignore[arg-type]


def heal(desk: Desk) -> None:
    desk.network.heal()
    desk.service_network.heal()


def lie(behaviour: Behaviour) -> Callable[[Desk], None]:
    def begin(desk: Desk) -> None:
        desk.liar.service.behaviours[:] = [behaviour]
        desk.service(desk.liar.service.port)

    return begin


def honest(desk: Desk) -> None:
    desk.service(desk.sts.settings.port)


def slow(desk: Desk) -> None:
    desk.sts.stop()
    desk.sts.start(delay_ms=3000)


def quick(desk: Desk) -> None:
    desk.sts.stop()
    desk.sts.start(delay_ms=0)


def signalled(number: int) -> Callable[[Desk], None]:
    return lambda desk: desk.worker().send_signal(number)


def media_signalled(number: int) -> Callable[[Desk], None]:
    def send(desk: Desk) -> None:
        assert desk.media.process is not None
        desk.media.process.send_signal(number)

    return send


def kill_media(desk: Desk) -> None:
    desk.media.kill()
    desk.leave()


def restart_media(desk: Desk) -> None:
    desk.media.start()
    desk.publish()


def kill_service(desk: Desk) -> None:
    desk.sts.stop(signal.SIGKILL)


FAULTS = [
    Fault("input reset", lambda d: d.network.reset("in"), nothing, 0),
    Fault("input refused", network("refuse", "in"), heal),
    Fault("input silent", network("stall", "in"), heal),
    Fault("input drips", network("drip", "in"), heal),
    Fault("publisher replaced", Desk.replace_publisher, nothing, 0),
    Fault("publisher away", Desk.leave, Desk.publish, 10),
    Fault("output reset", lambda d: d.network.reset("out"), nothing, 0, input_side=False),
    Fault("output refused", network("refuse", "out"), heal, input_side=False),
    Fault("output stalls", network("stall", "out"), heal, input_side=False),
    Fault("output stalls for long", network("stall", "out"), heal, 30, input_side=False),
    Fault("MediaMTX killed", kill_media, restart_media, 3, input_side=False, empties=True),
    Fault("MediaMTX frozen", media_signalled(signal.SIGSTOP), media_signalled(signal.SIGCONT), input_side=False),
    Fault("service refuses", service("refuse"), heal),
    Fault("service killed", kill_service, lambda d: d.sts.start() and None),
    Fault("service 3 s slower", slow, quick, 12),
    Fault("service hangs", lie(hangs), honest, 12),
    Fault("network to it hangs", service("stall"), heal, 12),
    Fault("service drips", service("drip"), heal, 12),
    Fault("another fragment's id", lie(lies_about_the_fragment), honest, 10),
    Fault("says no JSON", lie(says_nonsense), honest, 10),
    Fault("breaks off", lie(breaks_off), honest, 10),
    Fault("not a number", lie(says_nan), honest, 10),
    Fault("50 MB", lie(floods), honest, 10),
    Fault("30 s for a phrase", lie(says(lambda: Audio.from_samples(voice(30), 24_000))), honest, 10),
    Fault("digital silence", lie(says(lambda: Audio.from_samples(voice(1, 0), 24_000))), honest, 10),
    Fault("clipped", lie(says(lambda: Audio.from_samples(voice(1, 50), 24_000))), honest, 10),
    Fault("worker stopped 3 s", signalled(signal.SIGSTOP), signalled(signal.SIGCONT), 3),
    Fault("worker stopped 10 s", signalled(signal.SIGSTOP), signalled(signal.SIGCONT), 10, input_side=False),
    Fault("audio thread frozen 1 s", Desk.freeze, Desk.thaw, 1),
    Fault("audio thread frozen 10 s", Desk.freeze, Desk.thaw, 10),
    Fault("worker killed", signalled(signal.SIGKILL), nothing, 0, input_side=False, empties=True),
]


def suffered(desk: Desk, fault: Fault) -> Happened:
    steady(desk)
    worker, before, began = desk.worker(), desk.use(), time.monotonic()
    fault.begin(desk)
    time.sleep(fault.lasts_s)
    fault.end(desk)
    ended, wall = time.monotonic(), time.time()
    back = None
    while back is None and time.monotonic() < ended + BACK_S:
        time.sleep(0.2)
        if desk.dubbed_since(wall):
            back = time.monotonic()
    time.sleep(QUIET_S)
    now = desk.worker()
    restart_s = None if now == worker else started_at(now) - began
    return Happened(fault, began, ended, back, before, desk.use(), restart_s)


def started_at(process: psutil.Process) -> float:
    """On time.monotonic(). The kernel keeps it since boot; when that was, psutil rounds to a second."""
    since_boot_s = process.create_time() - psutil.boot_time()
    return since_boot_s - (time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic())


def steady(desk: Desk) -> None:
    wall = time.time()
    wait_for(lambda: desk.dubbed_since(wall - LATENCY_S), BACK_S, f"dubbing; {desk.stream()}")

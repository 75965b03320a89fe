"""Which ports the settings ask for, and which of them somebody else has."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

import psutil

from dubrelay.config import Settings
from dubrelay.errors import StartupError

Transport = Literal["tcp", "udp"]
_KIND = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


@dataclass(frozen=True)
class Listen:
    """One address that something of ours is going to listen on."""

    key: str
    """The setting, as mediamtx.rtmp_port."""
    host: str
    port: int
    transport: Transport = "tcp"


def needed(settings: Settings, own_sts: bool = True) -> list[Listen]:
    """Everything that `dubrelay up` opens."""
    m, o, s = settings.mediamtx, settings.orchestrator, settings.sts
    tcp = ("rtsp", "hls", "webrtc", "api", "metrics")
    listens = [Listen(f"mediamtx.{name}_port", m.host, getattr(m, f"{name}_port")) for name in tcp]
    listens.insert(0, Listen("mediamtx.rtmp_port", m.rtmp_host, m.rtmp_port))
    if m.tls_cert is not None:
        listens.append(Listen("mediamtx.rtmps_port", m.host, m.rtmps_port))
    listens.append(Listen("mediamtx.srt_port", m.host, m.srt_port, "udp"))
    listens.append(Listen("mediamtx.webrtc_port", m.host, m.webrtc_port, "udp"))
    listens.append(Listen("orchestrator.port", o.host, o.port))
    if own_sts:
        listens.append(Listen("sts.port", s.host, s.port))
    return listens


def refuse_taken(listens: Sequence[Listen]) -> None:
    """StartupError with one line for each that cannot be listened on; two settings with one port are found as well."""
    problems = []
    with ExitStack() as held:
        for listen in listens:
            problem = _open(listen, held)
            if problem:
                problems.append(problem)
    if problems:
        raise StartupError("\n".join(problems), code="PORT_IN_USE")


def taken(listen: Listen) -> str:
    """Why it cannot be listened on, in words; empty when it can."""
    with ExitStack() as held:
        return _open(listen, held)


def _open(listen: Listen, held: ExitStack) -> str:
    try:
        family, _, _, _, address = socket.getaddrinfo(listen.host, listen.port, type=_KIND[listen.transport])[0]
        one = held.enter_context(socket.socket(family, _KIND[listen.transport]))
        if listen.transport == "tcp":
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(address)
        if listen.transport == "tcp":
            one.listen()
    except OSError as e:
        return _problem(listen, e)
    return ""


def _problem(listen: Listen, error: OSError) -> str:
    where = f"{listen.key} = {listen.port} ({listen.transport}, {listen.host})"
    if error.errno == errno.EADDRINUSE:
        return f"{where}: already in use{_by(listen)}; stop what listens there or set another {listen.key}"
    return f"{where}: cannot be listened on: {error.strerror}"


def _by(listen: Listen) -> str:
    """Who has the port, as far as we may know; two settings with the same port find ourselves."""
    try:
        owner = next(
            psutil.Process(one.pid)
            for one in psutil.net_connections(listen.transport)
            if one.laddr and one.laddr.port == listen.port and one.pid and one.status in {"LISTEN", "NONE"}
        )
        return " by another setting" if owner == psutil.Process() else f" by {owner.name()} (pid {owner.pid})"
    except (StopIteration, psutil.Error, OSError):
        return ""

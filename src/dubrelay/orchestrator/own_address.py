"""Whether a destination is a port of this system itself: a loop, or a way into what listens on loopback only."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address

from dubrelay.config import Settings
from dubrelay.destination import Target

LOOK_UP_S = 3.0


async def is_own_address(settings: Settings, target: Target) -> bool:
    """False for a name that cannot be looked up: MediaMTX cannot reach it either."""
    if target.port not in _own_ports(settings):
        return False
    addresses = await _addresses(target.host)
    return any(_is_local(address) for address in addresses) or bool(
        addresses & await _addresses(settings.mediamtx.host)
    )


def _own_ports(settings: Settings) -> set[int]:
    media = [port for key, port in settings.mediamtx if key.endswith("_port")]
    return {*media, settings.orchestrator.port, settings.sts.port}


async def _addresses(host: str) -> set[str]:
    loop = asyncio.get_running_loop()
    try:
        found = await asyncio.wait_for(loop.getaddrinfo(host, None, type=socket.SOCK_STREAM), LOOK_UP_S)
    except (OSError, TimeoutError, UnicodeError):
        return set()
    return {str(address[0]) for *_, address in found}


def _is_local(address: str) -> bool:
    """Whether one can listen on it, which holds for a machine's own addresses only."""
    if ip_address(address).is_loopback:
        return True
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True

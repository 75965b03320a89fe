"""Who may do what at MediaMTX (contracts, section 2). Pure: a question, the rules, the keys, the time."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal, get_args
from urllib.parse import parse_qs

from dubrelay.config import INTERNAL_USER, Readers, Settings
from dubrelay.orchestrator.keys import KeyRing, Side
from dubrelay.orchestrator.mediamtx import Place, stream_of

_MAX_QUERY_CHARACTERS = 4096
_MAX_QUERY_FIELDS = 50
_LOOPBACK = ("127.0.0.0/8", "::1/128")

Action = Literal["publish", "read", "playback", "api", "metrics", "pprof"]
Network = IPv4Network | IPv6Network
Reason = Literal[
    "",
    "no such path",
    "no such action",
    "no key",
    "wrong key",
    "not from this machine",
    "the output is the worker's",
]


@dataclass(frozen=True)
class Attempt:
    """What MediaMTX asks about: somebody wants to do `action` at `path`."""

    action: str
    path: str = ""
    ip: str = ""
    user: str = ""
    password: str = ""
    token: str = ""
    query: str = ""


@dataclass(frozen=True)
class Rules:
    internal_secret: str
    """Empty: nobody has it."""
    internal_networks: tuple[Network, ...]
    """From where the internal secret opens streams, beside loopback."""
    open_publishing: bool
    """From loopback without a key."""
    readers: Callable[[str], Readers]
    """Who may watch the output of a stream, by its id."""


@dataclass(frozen=True)
class Verdict:
    allowed: bool
    who: str = ""
    """Name of the key; how else it was opened: internal, open, link."""
    reason: Reason = ""
    """Why not."""
    guessed: bool = False
    """Credentials were given, and they are wrong."""


def rules_of(settings: Settings, internal_secret: str, readers: Callable[[str], Readers]) -> Rules:
    """`readers`: who may watch the output of a stream, by its id."""
    networks = [*settings.access.internal_networks]
    with suppress(ValueError):
        networks.append(str(ip_address(settings.mediamtx.host)))  # we come from there when we go there
    return Rules(
        internal_secret=internal_secret,
        internal_networks=tuple(ip_network(one) for one in (*_LOOPBACK, *networks)),
        open_publishing=settings.access.publishers == "open",
        readers=readers,
    )


def decide(attempt: Attempt, rules: Rules, ring: KeyRing, now: float) -> Verdict:
    """What is not allowed here is refused. `now` is Unix time in s."""
    internal = _is_internal(attempt, rules.internal_secret)
    if attempt.action not in get_args(Action):
        return Verdict(False, reason="no such action")
    if attempt.action not in {"publish", "read"}:
        return Verdict(True, INTERNAL_USER) if internal else _refused(attempt)
    stream = stream_of(attempt.path)
    if stream is None:
        return Verdict(False, reason="no such path")
    stream_id, place = stream
    if internal and (attempt.action, place) != ("publish", "in"):
        inside = _within(attempt.ip, rules.internal_networks)
        return Verdict(True, INTERNAL_USER) if inside else Verdict(False, reason="not from this machine")
    wanted = _publish if attempt.action == "publish" else _read
    return wanted(attempt, rules, ring, stream_id, place, now)


def _publish(attempt: Attempt, rules: Rules, ring: KeyRing, stream_id: str, place: Place, now: float) -> Verdict:
    if place != "in":
        return Verdict(False, reason="the output is the worker's", guessed=_has_credentials(attempt))
    who = ring.publisher(_given(attempt), stream_id, now)
    if who:
        return Verdict(True, who)
    if rules.open_publishing and _on_loopback(attempt.ip):
        return Verdict(True, "open")
    return _refused(attempt)


def _read(attempt: Attempt, rules: Rules, ring: KeyRing, stream_id: str, place: Place, now: float) -> Verdict:
    side: Side = "in" if place == "in" else "out"  # who may watch the output may watch it with both sounds
    if side == "out" and rules.readers(stream_id) == "open":
        return Verdict(True, "open")
    who = ring.watcher(_given(attempt), stream_id, side, now)
    if who:
        return Verdict(True, who)
    fields = _fields(attempt.query)
    if ring.link_holds(stream_id, side, fields.get("exp", ""), fields.get("sig", ""), now):
        return Verdict(True, "link")
    if side == "in" and rules.open_publishing and _on_loopback(attempt.ip):
        return Verdict(True, "open")
    return _refused(attempt)


def _refused(attempt: Attempt) -> Verdict:
    guessed = _has_credentials(attempt)
    return Verdict(False, reason="wrong key" if guessed else "no key", guessed=guessed)


def _is_internal(attempt: Attempt, secret: str) -> bool:
    same = hmac.compare_digest(attempt.password.encode("utf-8", "surrogatepass"), secret.encode())
    return bool(secret) and same and attempt.user == INTERNAL_USER


def _given(attempt: Attempt) -> list[str]:
    """What may be a key: a password, a bearer token, `key` of the query."""
    return [one for one in (attempt.password, attempt.token, _fields(attempt.query).get("key", "")) if one]


def _has_credentials(attempt: Attempt) -> bool:
    return bool(_given(attempt)) or "sig" in _fields(attempt.query)


def _fields(query: str) -> dict[str, str]:
    """Those that stand there once, of a query of sane length: the others are nothing that we gave anybody."""
    if len(query) > _MAX_QUERY_CHARACTERS:
        return {}
    try:
        fields = parse_qs(query, max_num_fields=_MAX_QUERY_FIELDS)
    except ValueError:
        return {}
    return {name: values[0] for name, values in fields.items() if len(values) == 1}


def _on_loopback(ip: str) -> bool:
    return _within(ip, tuple(ip_network(one) for one in _LOOPBACK))


def _within(ip: str, networks: tuple[Network, ...]) -> bool:
    try:
        address = ip_address(ip)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)

"""How often somebody may be wrong. Pure: the clock is given.

Who is right is let in, however often others at the same address were wrong: keys are random, so guessing is hopeless,
and a limit that locked out would hand everybody behind one address, or one proxy, a way to put a stream off the air.
What the limit bounds is what wrong tries cost: log lines, and with 429 the tries of clients that mean well.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from math import ceil

KEPT = 4096
_IPV6_SUBSCRIBER = 64
"""Length of the prefix that one customer of a provider has all of."""


@dataclass
class _Bucket:
    left: float
    at: float


class Failures:
    """A bucket of `per_minute` failures for each origin, filled again within a minute. Remembers the latest `KEPT`."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def count(self, origin: str) -> int:
        """Counts one. 0 while there are not too many, else in how many whole seconds another one is looked at."""
        now, full = self._clock(), float(self._per_minute)
        bucket = self._buckets.pop(origin, _Bucket(full, now))
        left = min(full, bucket.left + (now - bucket.at) * full / 60)
        self._buckets[origin] = _Bucket(max(0.0, left - 1), now)
        if len(self._buckets) > KEPT:
            self._buckets.popitem(last=False)
        return 0 if left >= 1 else max(1, ceil((1 - left) * 60 / full))

    def __len__(self) -> int:
        return len(self._buckets)


def origin_of(ip: str) -> str:
    """Who is behind an address: of IPv6 its network."""
    try:
        address = ip_address(ip)
    except ValueError:
        return "?"
    if isinstance(address, IPv6Address) and not address.ipv4_mapped:
        return str(ip_network((address.packed, _IPV6_SUBSCRIBER), strict=False))
    return str(address)

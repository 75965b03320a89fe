"""Two ends of a wire with a length and with losses, for network namespaces where the kernel has no netem.

    lossy_link.py INTERFACE INTERFACE DELAY_MS LOSS_PERCENT

Each frame that comes in at one interface goes out at the other one so much later, or not at all. Runs as root until it
is ended; says "ready" first.
"""

from __future__ import annotations

import heapq
import random
import selectors
import socket
import sys
import time

ETH_P_ALL = 3
SOL_PACKET, PACKET_VNET_HDR = 263, 15
"""With it each frame carries what the kernel left to the card: checksums, and segments that are not cut yet."""
OUTGOING = 4
LARGEST = 1 << 17


def opened(interface: str) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    made.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    made.bind((interface, ETH_P_ALL))
    made.setblocking(False)
    return made


def carry(left: socket.socket, right: socket.socket, delay_s: float, loss: float, seed: int = 1) -> None:
    """For ever."""
    other = {left: right, right: left}
    chance = random.Random(seed)
    waiting: list[tuple[float, int, socket.socket, bytes]] = []
    count = 0
    selector = selectors.DefaultSelector()
    for end in other:
        selector.register(end, selectors.EVENT_READ)
    while True:
        wait_s = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        for key, _ in selector.select(wait_s):
            end = key.fileobj
            assert isinstance(end, socket.socket)
            frame, address = end.recvfrom(LARGEST)
            if address[2] != OUTGOING and chance.random() >= loss:
                count += 1
                heapq.heappush(waiting, (time.monotonic() + delay_s, count, other[end], frame))
        while waiting and waiting[0][0] <= time.monotonic():
            _, _, to, frame = heapq.heappop(waiting)
            to.send(frame)


if __name__ == "__main__":
    with opened(sys.argv[1]) as one, opened(sys.argv[2]) as another:
        print("ready", flush=True)
        carry(one, another, float(sys.argv[3]) / 1000, float(sys.argv[4]) / 100)

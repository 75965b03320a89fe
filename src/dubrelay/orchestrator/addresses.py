"""Where a stream is published and watched, as people paste it."""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from html import escape

from dubrelay.config import Readers, Settings, is_loopback
from dubrelay.wire.streams import StreamAddresses

WILDCARDS = ("0.0.0.0",)
_ELSEWHERE = ("192.0.2.1", 9)
"""An address of nobody's (RFC 5737)."""
_HOST = re.compile(r"([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


def reached_at(host: str) -> str:
    """What others call this machine where it listens on all its addresses: the one that it would send from."""
    if host not in WILDCARDS:
        return host
    with socket.socket(type=socket.SOCK_DGRAM) as anywhere, suppress(OSError):
        anywhere.connect(_ELSEWHERE)  # nothing is sent
        return str(anywhere.getsockname()[0])
    return socket.gethostname()


def media_host(settings: Settings, asked_as: str = "") -> str:
    """How MediaMTX is reached by who has asked the orchestrator under the name `asked_as` (a `Host`, port or not).

    That name is right where MediaMTX listens on all addresses, also behind NAT and in containers, where this machine
    does not know it itself.
    """
    host = settings.mediamtx.host
    found = _HOST.fullmatch(asked_as)
    if host in WILDCARDS and found is not None and not is_loopback(found[1].strip("[]")):
        return found[1]
    return reached_at(host)


def stream_addresses(settings: Settings, stream_id: str, readers: Readers, asked_as: str = "") -> StreamAddresses:
    """Of a stream, there or not. Where a key is needed KEY stands for it; `readers` is who may watch this one."""
    m, host = settings.mediamtx, media_host(settings, asked_as)
    open_in = settings.access.publishers == "open"
    given, watched = "" if open_in else "?key=KEY", "" if readers == "open" else "?key=KEY"
    rtmp = f"rtmps://{host}:{m.rtmps_port}" if m.tls_cert else f"rtmp://{host}:{m.rtmp_port}"
    page = f"http://{host}:{m.hls_port}/live/{stream_id}/out/"
    return StreamAddresses(
        publish=f"{rtmp}/live/{stream_id}/in{given}",
        obs_server=f"{rtmp}/live",
        obs_stream_key=f"{stream_id}/in{given}",
        publish_srt=f"srt://{host}:{m.srt_port}?streamid=publish:live/{stream_id}/in{'' if open_in else ':ANY:KEY'}",
        publish_whip=f"http://{host}:{m.webrtc_port}/live/{stream_id}/in/whip",
        watch=page + watched,
        watch_hls=f"{page}index.m3u8{watched}",
        watch_rtmp=f"{rtmp}/live/{stream_id}/out{watched}",
        player=f'<iframe src="{escape(page + watched)}" title="{stream_id}" width="640" height="360" '
        'allow="autoplay; fullscreen" style="border: 0"></iframe>',
        publish_needs_key=not open_in,
        watch_needs_key=readers != "open",
    )

"""A destination's URL as people paste it, as MediaMTX's `forward` wants it, and as it may be shown. Pure.

rtmp://a.rtmp.youtube.com/live2/KEY       -> rtmp://a.rtmp.youtube.com/live2#KEY
rtmps://host/rtmp/KEY?s_bl=1&a=SECRET     -> rtmps://host/rtmp#KEY%3Fs_bl=1&a=SECRET    (all of it is the key)
rtmp://host/live2?backup=1/KEY            -> rtmp://host/live2?backup=1#KEY
srt://host:9000?streamid=#!::m=publish    -> srt://host:9000?streamid=%23!::m=publish   (SRT has no fragment)
whips://host/whip#KEY                     -> whips://host/whip, KEY as bearer token
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlsplit

_PORTS = {"rtmp": 1935, "rtmps": 443, "srt": 0, "whip": 80, "whips": 443}
SCHEMES = tuple(_PORTS)
_PRINTABLE = re.compile(r"[!-~]{1,2000}")
_KEY_SAFE = "!&'()*+,;=:@/?~-._"
_SRT_PATIENCE = "conntimeo=10000"
"""In ms. Some ponder a wrong key longer than MediaMTX waits of itself, and would seem not to be there."""
_SRT_SECRETS = ("streamid", "passphrase")


@dataclass(frozen=True)
class Target:
    forward: str
    """`dest` of MediaMTX's forward. Holds the key."""
    bearer: str
    """`whipBearerToken` of it; empty without one."""
    shown: str
    """Scheme, host and app: what logs, API and errors may say."""
    scheme: str
    host: str
    port: int
    secrets: tuple[str, ...]
    """Every text that must not be shown."""
    in_mediamtx_log: bool
    """Whether MediaMTX writes a secret of it to its own log at level info."""

    def __repr__(self) -> str:
        return f"Target({self.shown!r})"


def target(url: str) -> Target:
    """ValueError, in words that do not hold the URL, when it is none that MediaMTX can forward to."""
    if not _PRINTABLE.fullmatch(url):
        raise ValueError("must be a URL of up to 2000 ASCII characters without spaces")
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in _PORTS:
        raise ValueError("must be an rtmp, rtmps, srt, whip or whips URL")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    host, port = _host_and_port(f"{scheme}://{authority}")
    if scheme == "srt" and not port:
        raise ValueError("an SRT URL names a port: srt://host:9000?streamid=...")
    described = f"{scheme}://{authority.rpartition('@')[2]}"
    after = rest[len(authority) :]
    user = authority.rpartition("@")[0]
    who = tuple(text for part in user.split(":") for text in (part, unquote(part)))
    place = f"{scheme}://{authority}"
    if scheme == "srt":
        return _srt(place, described, after, host, port, who)
    if scheme.startswith("whip"):
        return _whip(place, described, after, scheme, host, port or _PORTS[scheme], who)
    return _rtmp(place, described, after, scheme, host, port or _PORTS[scheme], who)


def _rtmp(place: str, described: str, after: str, scheme: str, host: str, port: int, who: tuple[str, ...]) -> Target:
    app, key = _app_and_key(after)
    if not app and not key:
        raise ValueError(f"lacks app and key: {scheme}://host/app/KEY")
    shown = described + ("/" + app.partition("?")[0].partition("/")[0] if app else "")
    forward = f"{place}/{app}" + (f"#{quote(key, safe=_KEY_SAFE)}" if key else "")
    secrets = _texts(key, quote(key, safe=_KEY_SAFE), unquote(key), *who, *_query_values(key.partition("?")[2]))
    return Target(forward, "", shown, scheme, host, port, secrets, False)


def _app_and_key(after: str) -> tuple[str, str]:
    """What `rtmp://host` is followed by, in two. The key may hold a query, the app as well."""
    path, hash_sign, key = after.partition("#")
    path = path.lstrip("/")
    if hash_sign:
        return path.strip("/"), key
    before_query, question, query = path.partition("?")
    app, slash, name = before_query.strip("/").rpartition("/")
    if slash:
        return app, name + question + query
    if "/" in query:  # app?query/KEY
        query, _, key = query.rpartition("/")
        return f"{name}?{query}", key
    return "", name + question + query


def _srt(place: str, described: str, after: str, host: str, port: int, who: tuple[str, ...]) -> Target:
    query = after.partition("?")[2].replace("#", "%23").replace("$", "%24")
    pairs = parse_qsl(query)
    if not any(key == "conntimeo" for key, _ in pairs):
        query = f"{query}&{_SRT_PATIENCE}" if query else _SRT_PATIENCE
    secrets = _texts(query, *(value for key, value in pairs), *_query_values(query), *who)
    told = any(key in _SRT_SECRETS and value for key, value in pairs)
    return Target(f"{place}?{query}", "", described, "srt", host, port, secrets, told)


def _whip(place: str, described: str, after: str, scheme: str, host: str, port: int, who: tuple[str, ...]) -> Target:
    path, _, token = after.partition("#")
    if "?" in path:
        raise ValueError(
            "a WHIP URL takes no query, which MediaMTX would write to its log: put the key behind #, "
            "it is sent as bearer token"
        )
    return Target(place + path, token, described, scheme, host, port, _texts(token, path.strip("/"), *who), False)


def _host_and_port(url: str) -> tuple[str, int]:
    """Port 0: none is named."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("must name a host, and a port of 1 to 65535 if it names one") from None
    if not host or port == 0 or not re.fullmatch(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+", host):
        raise ValueError("must name a host, and a port of 1 to 65535 if it names one")
    return host, port or 0


def _query_values(query: str) -> list[str]:
    return [text for pair in query.split("&") for text in [pair.partition("=")[2]] if text]


def _texts(*texts: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text))

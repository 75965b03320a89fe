"""MediaMTX, the media server: its environment when we start it, and a client of its Control API."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args
from urllib.parse import quote

import httpx2
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from dubrelay import config
from dubrelay.errors import MediaError
from dubrelay.trust import fingerprint
from dubrelay.wire import hook

TIMEOUT_S = 2.0
LOOPBACK = "127.0.0.1"
_PAGE = 500
_PATH = re.compile(r"live/([A-Za-z0-9][A-Za-z0-9_-]{0,63})/(in|out|languages)")
_PUBLISHERS = {
    "rtmpConn": "rtmpconns",
    "rtmpsConn": "rtmpsconns",
    "rtspSession": "rtspsessions",
    "rtspsSession": "rtspssessions",
    "srtConn": "srtconns",
    "webRTCSession": "webrtcsessions",
}
"""Type of a path's source -> where the Control API lists such sessions."""


Place = Literal["in", "out", "languages"]
"""`languages` is the output with both sounds (worker/languages.py)."""
PLACES: tuple[Place, ...] = get_args(Place)


def stream_of(path: str) -> tuple[str, Place] | None:
    """Stream id and place of `live/<streamId>/in|out|languages`; None for every other path."""
    match = _PATH.fullmatch(path)
    return (match[1], cast("Place", match[2])) if match else None


def server_environment(settings: config.Settings) -> dict[str, str]:
    """What deploy/mediamtx.yml wants to find in MediaMTX's environment, its own addresses included.

    Holds the hook token, twice: for a process' environment, never for a log.
    """
    server = settings.mediamtx
    addresses = {
        "RTMP": server.rtmp_port,
        "RTSP": server.rtsp_port,
        "HLS": server.hls_port,
        "SRT": server.srt_port,
        "WEBRTC": server.webrtc_port,
        "WEBRTCLOCALUDP": server.webrtc_port,
        "API": server.api_port,
        "METRICS": server.metrics_port,
    }
    orchestrator = settings.orchestrator
    environ = {
        **{f"MTX_{name}ADDRESS": f"{server.host}:{port}" for name, port in addresses.items()},
        "MTX_LOGLEVEL": server.log_level,
        "MTX_AUTHHTTPADDRESS": _auth_address(orchestrator),
        "DUBRELAY_PYTHON": sys.executable,
        "DUBRELAY_HOOK": str(Path(hook.__file__).resolve()),
        hook.URL_VARIABLE: orchestrator.url,
        hook.TOKEN_VARIABLE: orchestrator.hook_token.get_secret_value(),
    }
    if orchestrator.tls_cert is not None:
        environ["MTX_AUTHHTTPFINGERPRINT"] = fingerprint(orchestrator.tls_cert, "orchestrator.tls_cert")
        environ[hook.CERTIFICATE_VARIABLE] = str(orchestrator.tls_cert.absolute())
    if server.tls_cert is not None and server.tls_key is not None:
        environ |= {
            "MTX_RTMPADDRESS": f"{server.rtmp_host}:{server.rtmp_port}",
            "MTX_RTMPENCRYPTION": "optional",
            "MTX_RTMPSADDRESS": f"{server.host}:{server.rtmps_port}",
            "MTX_RTMPSERVERCERT": str(server.tls_cert.absolute()),
            "MTX_RTMPSERVERKEY": str(server.tls_key.absolute()),
        }
    return environ


def _auth_address(orchestrator: config.Orchestrator) -> str:
    """MediaMTX sends the password in it as basic authentication."""
    scheme, _, address = orchestrator.url.partition("://")
    token = quote(orchestrator.hook_token.get_secret_value(), safe="")
    return f"{scheme}://{f'hook:{token}@' if token else ''}{address}{hook.AUTH_PATH}"


class _Item(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=to_camel)


class PathSource(_Item):
    type: str = ""
    id: str = ""


class Track(_Item):
    codec: str


class MediaPath(_Item):
    """One path of the list; `available` means that somebody publishes and readers get it."""

    name: str
    conf_name: str = ""
    """Which path of the configuration it is made after: a regular expression, or its own name."""
    available: bool = False
    available_time: str | None = None
    source: PathSource | None = None
    tracks: list[Track] = Field([], alias="tracks2")

    @property
    def codecs(self) -> list[str]:
        return [track.codec for track in self.tracks]

    @property
    def is_exact(self) -> bool:
        return self.conf_name == self.name


class ForwardConf(_Item):
    dest: str
    whip_bearer_token: str = ""


class Forward(_Item):
    """One entry of a path's `forward` list. `forwarding` is said from before it connects."""

    id: str
    conf: ForwardConf
    state: Literal["idle", "forwarding", "error"]
    last_error: str = ""
    outbound_bytes: int = 0


class _Forwards(_Item):
    items: list[Forward]


class _PathConf(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class _Global(_Item):
    log_level: str


class _Page(_Item):
    page_count: int
    items: list[MediaPath]


class _Publisher(_Item):
    query: str = ""


class MediaMtxError(MediaError):
    """The Control API does not answer, or not as it should."""


T = TypeVar("T", bound=BaseModel)


class ControlApi:
    """Client of MediaMTX's Control API. Every method raises MediaMtxError and nothing else."""

    def __init__(self, url: str, secret: str = "") -> None:
        """`secret`: orchestrator.internal_secret."""
        self.url = url
        # A proxy of the environment must not come between two programs of one machine.
        self._client = httpx2.AsyncClient(
            base_url=url, timeout=TIMEOUT_S, trust_env=False, auth=(config.INTERNAL_USER, secret) if secret else None
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def paths(self) -> list[MediaPath]:
        """All paths, of all pages."""
        paths: list[MediaPath] = []
        page, pages = 0, 1
        while page < pages:
            answer = await self._ask("GET", f"/v3/paths/list?itemsPerPage={_PAGE}&page={page}")
            listed = self._parsed(_Page, answer)
            paths += listed.items
            page, pages = page + 1, listed.page_count
        return paths

    async def query_of(self, source: PathSource) -> str:
        """The query a publisher came with; empty when it is gone or of a kind that has none. May hold its key."""
        kind = _PUBLISHERS.get(source.type)
        answer = await self._ask("GET", f"/v3/{kind}/get/{quote(source.id, safe='')}") if kind else None
        return "" if answer is None else self._parsed(_Publisher, answer).query

    async def kick(self, source: PathSource) -> bool:
        """Ends a publisher's session; False when there was none."""
        kind = _PUBLISHERS.get(source.type)
        answer = await self._ask("POST", f"/v3/{kind}/kick/{quote(source.id, safe='')}") if kind else None
        return answer is not None

    async def forwards(self, path: str) -> list[Forward]:
        """Where a path is forwarded to, by position; empty when there is no such path. Holds keys."""
        answer = await self._ask("GET", f"/v3/paths/forward/list?path={quote(path, safe='')}&itemsPerPage={_PAGE}")
        return [] if answer is None else self._parsed(_Forwards, answer).items

    async def path_conf(self, name: str) -> dict[str, Any]:
        """All settings of a path of the configuration, but its name."""
        answer = await self._ask("GET", f"/v3/config/paths/get/{quote(name, safe='')}")
        conf = self._parsed(_PathConf, answer).model_dump()
        conf.pop("name", None)
        return conf

    async def put_path(self, name: str, conf: dict[str, Any]) -> None:
        """Gives a path a configuration of its own, whether it has one or not."""
        await self._ask("POST", f"/v3/config/paths/replace/{name}", conf)

    async def patch_path(self, name: str, conf: dict[str, Any]) -> None:
        await self._ask("PATCH", f"/v3/config/paths/patch/{name}", conf)

    async def delete_path(self, name: str) -> None:
        await self._ask("DELETE", f"/v3/config/paths/delete/{name}")

    async def log_level(self) -> str:
        return self._parsed(_Global, await self._ask("GET", "/v3/config/global/get")).log_level

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The JSON of the answer, or None for 404. The one place where the HTTP client's errors become ours."""
        try:
            response = await self._client.request(method, path, json=body)
            if response.status_code == httpx2.codes.NOT_FOUND:
                return None
            response.raise_for_status()
            return response.json()
        except httpx2.HTTPStatusError as e:
            raise self._unavailable(f"answered {e.response.status_code}") from e
        except httpx2.TimeoutException as e:
            raise self._unavailable(f"does not answer within {TIMEOUT_S:g} s") from e
        except (httpx2.HTTPError, httpx2.InvalidURL) as e:
            raise self._unavailable(f"cannot be reached: {e}") from e
        except ValueError as e:
            raise self._unavailable("answered with something that is not JSON") from e

    def _parsed(self, shape: type[T], answer: Any) -> T:
        try:
            return shape.model_validate(answer)
        except ValidationError as e:
            problem = e.errors()[0]
            key = ".".join(str(part) for part in problem["loc"])
            raise self._unavailable(f"answered with an unknown shape: {key}: {problem['msg']}") from e

    def _unavailable(self, what: str) -> MediaMtxError:
        return MediaMtxError(f"MediaMTX's Control API at {self.url} {what}", code="MEDIAMTX_UNAVAILABLE")

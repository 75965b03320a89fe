"""Who may ask the orchestrator: a bearer token with a role, on every route but the few that are named here.

    GET, HEAD            viewer
    every other method   operator
    /v1/mediamtx/...     the hook token, which MediaMTX and its hooks are given
    /v1/me               nothing: who sends no token learns whether one is needed

`request.state.who` is the name of the token, "local" where none is asked for. Without any token the API is open to this
machine, and then to no browser that another site has sent: Host and Origin are looked at. Every answer, refusals
included, tells browsers that it is for our own page only.
"""

from __future__ import annotations

import base64
import hmac
import re
import time
from http import HTTPStatus
from typing import Any, get_args

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dubrelay import logs
from dubrelay.config import INTERNAL_USER, Orchestrator, Role, is_loopback
from dubrelay.errors import ConfigError
from dubrelay.orchestrator.keys import Keys
from dubrelay.orchestrator.limits import Failures, origin_of
from dubrelay.orchestrator.page import ASSETS
from dubrelay.wire.hook import TOKEN_HEADER
from dubrelay.wire.streams import ME_PATH

LOCAL = "local"
MEDIAMTX = "mediamtx"
API_TOKEN_OF_SETTINGS = "orchestrator.api_token"  # noqa: S105 -- the name under which it is logged
MAX_BODY_BYTES = 1_000_000
_READING = {"GET", "HEAD"}
_OPEN = {"/", "/healthz"}
_OF_MEDIAMTX = "/v1/mediamtx/"
_ONLY_ONCE = ("host", "authorization", "content-length", "content-type", "origin", "x-hook-token")
_SHOWN_CHARACTERS = 200
_FOR_BROWSERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""On every answer that does not say otherwise itself: it is no page, in no frame, of no use to another site."""
_HOST = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


class Refusal(Exception):
    def __init__(self, status: HTTPStatus, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.response = JSONResponse({"error": {"code": code, "message": message}}, status, headers)
        self.status, self.code = status, code


def require_token(settings: Orchestrator, keys: Keys) -> None:
    """ConfigError where the orchestrator would stand open to other machines."""
    where = f"orchestrator.host = {settings.host!r} is not a loopback address"
    if settings.allowed_hosts:
        where = f"orchestrator.allowed_hosts = {settings.allowed_hosts}: a proxy makes it reachable"
    elif is_loopback(settings.host):
        return
    if not settings.api_token.get_secret_value() and not keys.ring().callers:
        raise ConfigError(
            f"{where}: the API needs a token; make one with `dubrelay keys new NAME --role admin`, or set "
            "orchestrator.api_token"
        )
    if not settings.hook_token.get_secret_value():
        raise ConfigError(f"{where}: orchestrator.hook_token must be set, here and for MediaMTX (deploy/mediamtx.yml)")


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, settings: Orchestrator, keys: Keys, failures_per_minute: int) -> None:
        self._app = app
        self._settings = settings
        self._keys = keys
        self._failures = Failures(failures_per_minute)
        self._told = Failures(failures_per_minute)
        self._loopback = is_loopback(settings.host)
        self._open = _OPEN | ({"/metrics"} if self._loopback and not settings.allowed_hosts else set())
        self._hosts = {"localhost", "127.0.0.1", "::1", settings.host, *map(str.lower, settings.allowed_hosts)}
        """What a request to a loopback address may call it: any other name is a site's that points here."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            send = _for_our_page_only(send)
            try:
                who, role = self._checked(scope)
            except Refusal as refusal:
                self._tell(scope, refusal)
                await refusal.response(scope, receive, send)
                return
            scope.setdefault("state", {}).update(who=who, role=role)
        elif scope["type"] != "lifespan":
            raise NotImplementedError(f"nobody guards {scope['type']}")
        await self._app(scope, receive, send)

    def _checked(self, scope: Scope) -> tuple[str, Role | None]:
        headers, path, method = Headers(scope=scope), scope["path"], scope["method"]
        _well_formed(headers)
        if self._loopback:
            self._known_host(headers)
        if method not in _READING or headers.get("sec-fetch-mode") != "navigate":  # a link may lead here
            _not_from_another_site(headers)
        if method not in _READING:
            _json_only(headers)
        if path in self._open or path.startswith(ASSETS):
            return LOCAL, "viewer"
        if path.startswith(_OF_MEDIAMTX):
            self._from_mediamtx(scope, headers)
            return MEDIAMTX, "viewer"
        if path == ME_PATH and "authorization" not in headers and self._asks_for_tokens():
            return "", None
        who, role = self._caller(scope, headers)
        needed: Role = "viewer" if method in _READING else "operator"
        if not allows(role, needed):
            message = f"{method} needs the role {needed}; this token is a {role}'s"
            raise Refusal(HTTPStatus.FORBIDDEN, "FORBIDDEN", message)
        return who, role

    def _known_host(self, headers: Headers) -> None:
        found = _HOST.fullmatch(headers.get("host", "").lower())
        if found is None or found[1].strip("[]") not in self._hosts:
            message = "Host is no name of this server; orchestrator.allowed_hosts adds one"
            raise Refusal(HTTPStatus.MISDIRECTED_REQUEST, "UNKNOWN_HOST", message)

    def _asks_for_tokens(self) -> bool:
        if not self._loopback or self._settings.allowed_hosts:
            return True
        return bool(self._keys.ring().callers or self._settings.api_token.get_secret_value())

    def _caller(self, scope: Scope, headers: Headers) -> tuple[str, Role]:
        if not self._asks_for_tokens():
            return LOCAL, "admin"
        fixed = {
            API_TOKEN_OF_SETTINGS: self._settings.api_token.get_secret_value(),
            INTERNAL_USER: self._settings.internal_secret.get_secret_value(),
        }
        scheme, _, token = headers.get("authorization", "").partition(" ")
        token = token.strip() if scheme.lower() == "bearer" else ""
        for name, known in fixed.items():
            if known and hmac.compare_digest(token.encode("latin-1"), known.encode()):
                return name, "admin"
        found = self._keys.ring().caller(token, time.time())
        if found is None:
            raise self._wrong_token(scope, bool(token))
        return found

    def _from_mediamtx(self, scope: Scope, headers: Headers) -> None:
        """Nothing is asked for where no token is configured, which is on loopback only."""
        wanted = self._settings.hook_token.get_secret_value()
        given = headers.get(TOKEN_HEADER) or _password(headers.get("authorization", ""))
        if wanted and not hmac.compare_digest(given.encode(), wanted.encode()):
            raise self._wrong_token(scope, bool(given), f"{TOKEN_HEADER} is missing or wrong")

    def _wrong_token(
        self, scope: Scope, given: bool, message: str = "Authorization: Bearer TOKEN is missing or wrong"
    ) -> Refusal:
        wait_s = self._failures.count(origin_of(_peer(scope))) if given else 0
        if wait_s:
            return Refusal(HTTPStatus.TOO_MANY_REQUESTS, "TOO_MANY", message, {"Retry-After": str(wait_s)})
        return Refusal(HTTPStatus.UNAUTHORIZED, "UNAUTHORIZED", message, {"WWW-Authenticate": "Bearer"})

    def _tell(self, scope: Scope, refusal: Refusal) -> None:
        """One line for each, of nobody more than is read."""
        if not self._told.count(origin_of(_peer(scope))):
            logs.get().warning(
                "request_refused",
                code=refusal.code,
                reason=str(refusal),
                method=scope["method"][:_SHOWN_CHARACTERS],
                path=scope["path"][:_SHOWN_CHARACTERS],
                ip=_peer(scope),
            )


def allows(role: Role, needed: Role) -> bool:
    order = get_args(Role)
    return order.index(role) >= order.index(needed)


def _for_our_page_only(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _FOR_BROWSERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sent


def _well_formed(headers: Headers) -> None:
    """No second opinion about where a request ends or whose it is."""
    for name in _ONLY_ONCE:
        if len(headers.getlist(name)) > 1:
            raise Refusal(HTTPStatus.BAD_REQUEST, "INVALID_INPUT", f"{name} stands there twice")
    if "transfer-encoding" in headers:
        raise Refusal(HTTPStatus.LENGTH_REQUIRED, "INVALID_INPUT", "Content-Length is needed, not Transfer-Encoding")
    length = headers.get("content-length", "0")
    if not length.isdigit() or int(length[:20]) > MAX_BODY_BYTES:
        raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "TOO_LARGE", f"a body is at most {MAX_BODY_BYTES} bytes")


def _not_from_another_site(headers: Headers) -> None:
    """Browsers say which page sends; no page of another site may make one of ours do or hold anything."""
    origin, host = headers.get("origin"), headers.get("host", "")
    foreign = origin is not None and origin.lower().partition("://")[2] != host.lower()
    if foreign or headers.get("sec-fetch-site") in {"cross-site", "same-site"}:
        raise Refusal(HTTPStatus.FORBIDDEN, "FOREIGN_ORIGIN", "another site's page may not ask for this")


def _json_only(headers: Headers) -> None:
    """A form can be sent to us by any page, JSON only by one of ours."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if headers.get("content-length", "0") != "0" and kind != "application/json":
        raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "INVALID_INPUT", "Content-Type must be application/json")


def _password(authorization: str) -> str:
    """A bearer token, or the password that stands in MediaMTX's authHTTPAddress."""
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() != "basic":
        return rest
    try:
        return base64.b64decode(rest, validate=True).decode("utf-8", "replace").partition(":")[2]
    except ValueError:
        return ""


def _peer(scope: Scope) -> str:
    """Who is connected; what a request says of its own way (X-Forwarded-For) is anybody's word."""
    client: Any = scope.get("client")
    return str(client[0]) if client else "?"

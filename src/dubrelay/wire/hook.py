"""What MediaMTX tells the orchestrator, and the script that tells it.

MediaMTX runs this file as `python3 -I -S hook.py ready|not-ready`, so it imports the standard library only. The
event is what MediaMTX puts into the environment of its hooks; the orchestrator's address and token come the same way.
Whatever goes wrong, the script says one line, exits with 1, and is over within three seconds: MediaMTX waits for its
hooks without limit when it shuts down.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import ssl
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Literal, get_args
from urllib.parse import unquote_plus, urlsplit

EVENTS_PATH = "/v1/mediamtx/events"
AUTH_PATH = "/v1/mediamtx/auth"
TOKEN_HEADER = "X-Hook-Token"  # noqa: S105 -- the name of a header
URL_VARIABLE = "DUBRELAY_HOOK_URL"
TOKEN_VARIABLE = "DUBRELAY_HOOK_TOKEN"  # noqa: S105 -- the name of a variable
CERTIFICATE_VARIABLE = "DUBRELAY_HOOK_CERTIFICATE"
DEFAULT_URL = "http://127.0.0.1:8080"
TIMEOUT_S = 3

EventName = Literal["ready", "not-ready"]
Action = Literal["start", "none", "stop-scheduled"]


@dataclass(frozen=True)
class HookEvent:
    """The body of a POST to EVENTS_PATH/ready or EVENTS_PATH/not-ready."""

    path: str
    query: str
    """As the publisher sent it: `lang=es&voice=default`."""
    sourceType: str  # noqa: N815 -- the name on the wire
    sourceId: str  # noqa: N815


@dataclass(frozen=True)
class HookAnswer:
    requestId: str  # noqa: N815
    streamId: str  # noqa: N815
    action: Action


def event_from(environ: Mapping[str, str]) -> HookEvent:
    return HookEvent(
        path=environ["MTX_PATH"],
        # MediaMTX URL-encodes the whole query once more than the publisher did.
        query=unquote_plus(environ.get("MTX_QUERY", "")),
        sourceType=environ.get("MTX_SOURCE_TYPE", ""),
        sourceId=environ.get("MTX_SOURCE_ID", ""),
    )


def post(name: str, event: HookEvent, url: str, token: str, certificate: str = "") -> None:
    """Tells the orchestrator; OSError or HTTPException when it is not there or does not take the event.

    `certificate`: file of the one that the orchestrator shows where `url` is https; empty: the system's CAs decide.
    """
    server = urlsplit(url)
    if server.scheme not in ("http", "https") or not server.hostname:
        raise ValueError(f"{URL_VARIABLE} must be http://HOST:PORT or https://HOST:PORT")
    where = (server.hostname, server.port)
    headers = {"Content-Type": "application/json"}
    if token:
        headers[TOKEN_HEADER] = token
    body = json.dumps(asdict(event)).encode()
    with closing(
        http.client.HTTPConnection(*where, timeout=TIMEOUT_S)
        if server.scheme == "http"
        else http.client.HTTPSConnection(*where, timeout=TIMEOUT_S, context=_trusting(certificate))
    ) as connection:
        connection.request("POST", f"{server.path.rstrip('/')}{EVENTS_PATH}/{name}", body, headers)
        answer = connection.getresponse()
        if answer.status != http.client.ACCEPTED:
            raise OSError(f"the orchestrator answered {answer.status}")


def _trusting(certificate: str) -> ssl.SSLContext:
    """That one certificate, under whatever name it is reached; or what the system trusts."""
    if not certificate:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(certificate)
    return context


def _out_of_time(_: int, __: object) -> None:
    raise TimeoutError(f"no answer within {TIMEOUT_S} s")


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    if len(arguments) != 1 or arguments[0] not in get_args(EventName):
        print("usage: hook.py ready|not-ready", file=sys.stderr)  # noqa: T201 -- no logging library here
        return 1
    # MediaMTX sends SIGINT to a hook whose path is gone: no traceback for that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # A socket's timeout starts anew with each byte; the alarm does not.
    signal.signal(signal.SIGALRM, _out_of_time)
    signal.alarm(TIMEOUT_S)
    try:
        url = environ.get(URL_VARIABLE) or DEFAULT_URL
        given = environ.get(TOKEN_VARIABLE, ""), environ.get(CERTIFICATE_VARIABLE, "")
        post(arguments[0], event_from(environ), url, *given)
    except (OSError, http.client.HTTPException, KeyError, ValueError) as e:
        print(f"hook {arguments[0]}: {type(e).__name__}: {e}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))

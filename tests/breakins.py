"""Ways to get in where one does not belong, tried on a real MediaMTX and a real orchestrator:
tests/live/test_breakins.py holds them, bench/breakins shows them.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import psutil
from pydantic import SecretStr

from dubrelay import config, stack
from dubrelay.config import INTERNAL_USER, Settings
from dubrelay.orchestrator import keys
from dubrelay.wire.alerts import ALERTS_PATH
from dubrelay.wire.hook import AUTH_PATH, EVENTS_PATH
from dubrelay.wire.streams import STREAMS_PATH
from media import free_mediamtx_settings, free_port, publish_command

STREAM, OTHER = "main", "other"
HOUR_S = 3600.0
PER_MINUTE = 200
"""More than there are attempts: each is to be logged."""


@dataclass
class House:
    """What is broken into."""

    settings: Settings
    log_dir: Path
    pids: dict[str, int]
    key: str
    other_key: str
    viewer_key: str
    gone_key: str
    token: str
    """A viewer's."""
    operator: str
    secrets: list[str] = field(default_factory=list)
    """Everything that must never be seen."""

    def rtmp(self, path: str) -> tuple[bool, str]:
        m = self.settings.mediamtx
        return _published(f"rtmp://{m.host}:{m.rtmp_port}/{path}")

    def srt(self, streamid: str) -> tuple[bool, str]:
        m = self.settings.mediamtx
        return _published(f"srt://{m.host}:{m.srt_port}?streamid={streamid}&connect_timeout=8000")

    def rtsp(self, path: str, user: str, password: str) -> tuple[bool, str]:
        """A DESCRIBE."""
        port = self.settings.mediamtx.rtsp_port
        basic = base64.b64encode(f"{user}:{password}".encode()).decode()
        request = f"DESCRIBE rtsp://127.0.0.1:{port}/{path} RTSP/1.0\r\nCSeq: 1\r\nAuthorization: Basic {basic}\r\n\r\n"
        answer = _raw(port, request.encode())
        return not answer.startswith("RTSP/1.0 401"), answer.partition("\r\n")[0]

    def hls(self, path: str, **headers: str) -> tuple[bool, str]:
        return self._http(self.settings.mediamtx.hls_port, "GET", path, headers)

    def whip(self, path: str, key: str) -> tuple[bool, str]:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/sdp"}
        return self._http(self.settings.mediamtx.webrtc_port, "POST", f"{path}/whip", headers, b"v=0\r\n")

    def control(self, method: str, path: str, user: str = "", password: str = "", **body: Any) -> tuple[bool, str]:
        headers = {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"} if user else {}
        content = json.dumps(body).encode() if body else b""
        return self._http(self.settings.mediamtx.api_port, method, path, headers, content)

    def api(self, method: str, path: str, token: str = "", body: bytes = b"", **headers: str) -> tuple[bool, str]:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if body:
            headers.setdefault("Content-Type", "application/json")
        return self._http(self.settings.orchestrator.port, method, path, headers, body)

    def raw(self, request: str) -> tuple[bool, str]:
        answer = _raw(self.settings.orchestrator.port, request.encode("latin-1"))
        return " 2" in answer[:13], answer.partition("\r\n")[0]

    def _http(self, port: int, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> tuple[bool, str]:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as client:
            answer = client.request(method, path, headers=headers, content=body, follow_redirects=True)
        # MediaMTX says 404 of what nobody publishes only to those who may see it.
        return answer.status_code < 400 or answer.status_code == 404, f"HTTP {answer.status_code}"


@dataclass(frozen=True)
class Attempt:
    name: str
    made: Callable[[House], tuple[bool, str]]
    """Whether it got in, and what the answer was."""
    logged: tuple[str, str] | None = None
    """Event and reason (or code) of the orchestrator's line; None: it is refused before, or asked to come again."""


@dataclass(frozen=True)
class Result:
    name: str
    refused: bool
    answer: str


def _access(reason: str) -> tuple[str, str]:
    return "access_refused", reason


def _request(code: str) -> tuple[str, str]:
    return "request_refused", code


def _link(house: House, stream: str, side: keys.Side, lasts_s: float = HOUR_S) -> str:
    return keys.link(keys.file_of(house.settings.paths), stream, side, lasts_s)


def _event(path: str = f"live/{STREAM}/in") -> bytes:
    return json.dumps({"path": path, "query": "", "sourceType": "rtmpConn", "sourceId": "forged"}).encode()


def _auth_question(house: House) -> bytes:
    question = {"ip": "127.0.0.1", "action": "publish", "path": f"live/{STREAM}/in", "query": f"key={house.key}"}
    return json.dumps(question).encode()


def _changed(key: str) -> str:
    """By one character."""
    return key[:-1] + ("A" if key[-1] != "A" else "B")


def _refused_settings(*values: str) -> tuple[bool, str]:
    """Whether the orchestrator starts with them."""
    flags = [part for value in values for part in ("--set", value)]
    command = [sys.executable, "-m", "dubrelay", "orchestrator", "--config", os.devnull, *flags]
    environ = {name: value for name, value in os.environ.items() if not name.startswith(config.ENV_PREFIX)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode != 2 or "Traceback" in done.stderr, f"exit code {done.returncode}"


def _revoked_link(house: House) -> tuple[bool, str]:
    link = _link(house, STREAM, "out")
    before = house.hls(f"/live/{STREAM}/out/?{link}")
    keys.revoke_links(keys.file_of(house.settings.paths))
    after = house.hls(f"/live/{STREAM}/out/?{link}")
    return after[0] or not before[0], f"{before[1]}, revoked: {after[1]}"


def _smuggled(house: House) -> tuple[bool, str]:
    inner = f"POST {EVENTS_PATH}/ready HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n"
    return house.raw(
        f"POST {STREAMS_PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n"
        f"Authorization: Bearer {house.operator}\r\nContent-Type: application/json\r\n\r\n0\r\n\r\n{inner}"
    )


def _two_tokens(house: House) -> tuple[bool, str]:
    return house.raw(
        f"GET {STREAMS_PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer wrong\r\n"
        f"Authorization: Bearer {house.token}\r\n\r\n"
    )


def _hammered(house: House) -> tuple[bool, str]:
    """Wrong tokens one after the other: refused faster and faster, and the right one is not locked out."""
    port = house.settings.orchestrator.port
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as client:
        answers = [
            client.get(STREAMS_PATH, headers={"Authorization": f"Bearer guess{number:032}"})
            for number in range(PER_MINUTE + 50)
        ]
        right = client.get(STREAMS_PATH, headers={"Authorization": f"Bearer {house.token}"}).status_code
    counted = Counter(answer.status_code for answer in answers)
    limited = all(int(answer.headers["Retry-After"]) >= 1 for answer in answers if answer.status_code == 429)
    told = ", ".join(f"{count} times {status}" for status, count in sorted(counted.items()))
    return not (set(counted) == {401, 429} and limited and right == 200), f"{told}; the right one {right}"


WRONG, NONE = _access("wrong key"), _access("no key")
OUTPUT = _access("the output is the worker's")
UNAUTHORIZED = _request("UNAUTHORIZED")
ESCAPES = '\x1b[2J\r\n{"event": "forged"}'
RUN_ON_INIT = {"runOnInit": "touch /tmp/owned"}

ATTEMPTS = [
    # publishing
    Attempt("publish without a key", lambda h: h.rtmp(f"live/{STREAM}/in"), NONE),
    Attempt("a wrong key", lambda h: h.rtmp(f"live/{STREAM}/in?key={'x' * 32}"), WRONG),
    Attempt("the key, one character changed", lambda h: h.rtmp(f"live/{STREAM}/in?key={_changed(h.key)}"), WRONG),
    Attempt("the key of another stream", lambda h: h.rtmp(f"live/{STREAM}/in?key={h.other_key}"), WRONG),
    Attempt("a revoked key", lambda h: h.rtmp(f"live/{STREAM}/in?key={h.gone_key}"), WRONG),
    Attempt("a viewer's key to publish", lambda h: h.rtmp(f"live/{STREAM}/in?key={h.viewer_key}"), WRONG),
    Attempt("a signed link to publish", lambda h: h.rtmp(f"live/{STREAM}/in?{_link(h, STREAM, 'in')}"), WRONG),
    Attempt("a token of the API to publish", lambda h: h.rtmp(f"live/{STREAM}/in?key={h.operator}"), WRONG),
    Attempt("two keys at once", lambda h: h.rtmp(f"live/{STREAM}/in?key=x&key={h.key}"), NONE),
    Attempt("publish the output from this machine", lambda h: h.rtmp(f"live/{STREAM}/out"), OUTPUT),
    Attempt("publish the output with the stream's key", lambda h: h.rtmp(f"live/{STREAM}/out?key={h.key}"), OUTPUT),
    Attempt(
        "publish the output as the worker, guessed",
        lambda h: h.rtmp(f"live/{STREAM}/out?user={INTERNAL_USER}&pass={'x' * 32}"),
        OUTPUT,
    ),
    Attempt("SRT with a wrong key", lambda h: h.srt(f"publish:live/{STREAM}/in:me:{_changed(h.key)}"), WRONG),
    Attempt("SRT with the key as the user", lambda h: h.srt(f"publish:live/{STREAM}/in:{h.key}:x"), WRONG),
    Attempt("WHIP with a wrong key", lambda h: h.whip(f"/live/{STREAM}/in", _changed(h.key)), WRONG),
    Attempt("publish both languages from this machine", lambda h: h.rtmp(f"live/{STREAM}/languages"), OUTPUT),
    Attempt("watch both languages without a key", lambda h: h.hls(f"/live/{STREAM}/languages/")),
    Attempt("WHIP to the output", lambda h: h.whip(f"/live/{STREAM}/out", h.key), OUTPUT),
    # paths
    Attempt("path traversal", lambda h: h.rtmp(f"live/{OTHER}/../{STREAM}/in?key={h.other_key}")),
    Attempt("path traversal over HTTP", lambda h: h.whip(f"/live/{OTHER}/%2e%2e/{STREAM}/in", h.other_key)),
    Attempt("control characters in the path", lambda h: h.rtmp(f"live/{STREAM}{ESCAPES}/in?key={h.key}")),
    Attempt("a path of 10 kB", lambda h: h.rtmp(f"live/{STREAM}{'a' * 10_000}/in?key={h.key}")),
    Attempt("a path of nobody's", lambda h: h.rtmp(f"secret/{STREAM}?key={h.key}")),
    # watching
    Attempt("watch without a key", lambda h: h.hls(f"/live/{STREAM}/out/")),
    Attempt("watch with the publisher's key", lambda h: h.hls(f"/live/{STREAM}/out/?key={h.key}"), WRONG),
    Attempt(
        "watch the original with the output's key", lambda h: h.rtsp(f"live/{STREAM}/in", "me", h.viewer_key), WRONG
    ),
    Attempt("a link of another stream", lambda h: h.hls(f"/live/{STREAM}/out/?{_link(h, OTHER, 'out')}"), WRONG),
    Attempt(
        "a link of the output to the original", lambda h: h.hls(f"/live/{STREAM}/in/?{_link(h, STREAM, 'out')}"), WRONG
    ),
    Attempt("a link that is over", lambda h: h.hls(f"/live/{STREAM}/out/?{_link(h, STREAM, 'out', -1)}"), WRONG),
    Attempt(
        "a link with another end",
        lambda h: h.hls(f"/live/{STREAM}/out/?{_link(h, STREAM, 'out').replace('exp=1', 'exp=9')}"),
        WRONG,
    ),
    # MediaMTX's Control API
    Attempt("the Control API without a password", lambda h: h.control("GET", "/v3/paths/list")),
    Attempt("a program through the Control API", lambda h: h.control("POST", "/v3/config/paths/add/x", **RUN_ON_INIT)),
    Attempt(
        "the Control API with a stream's key",
        lambda h: h.control("GET", "/v3/rtmpconns/list", INTERNAL_USER, h.key),
        WRONG,
    ),
    Attempt(
        "the Control API with a token of ours", lambda h: h.control("GET", "/v3/paths/list", "root", h.operator), WRONG
    ),
    # hooks
    Attempt("a hook without a token", lambda h: h.api("POST", f"{EVENTS_PATH}/ready", body=_event()), UNAUTHORIZED),
    Attempt(
        "a hook with a wrong token",
        lambda h: h.api("POST", f"{EVENTS_PATH}/not-ready", body=_event(), X_Hook_Token="x" * 32),
        UNAUTHORIZED,
    ),
    Attempt(
        "trying keys at MediaMTX's own question",
        lambda h: h.api("POST", AUTH_PATH, body=_auth_question(h)),
        UNAUTHORIZED,
    ),
    # the API
    Attempt("the API without a token", lambda h: h.api("GET", STREAMS_PATH), UNAUTHORIZED),
    Attempt("the API with a wrong token", lambda h: h.api("GET", STREAMS_PATH, _changed(h.token)), UNAUTHORIZED),
    Attempt("the API with a stream's key", lambda h: h.api("GET", STREAMS_PATH, h.key), UNAUTHORIZED),
    Attempt(
        "changes as a viewer", lambda h: h.api("DELETE", f"{STREAMS_PATH}/{STREAM}", h.token), _request("FORBIDDEN")
    ),
    Attempt(
        "changes as a viewer, with a method of one's own",
        lambda h: h.api("GETX", f"{STREAMS_PATH}/{STREAM}", h.token),
        _request("FORBIDDEN"),
    ),
    Attempt(
        "messages to the webhooks as a viewer",
        lambda h: h.api("POST", f"{ALERTS_PATH}/test", h.token),
        _request("FORBIDDEN"),
    ),
    Attempt(
        "posing as this machine",
        lambda h: h.api("GET", STREAMS_PATH, X_Forwarded_For="127.0.0.1", Forwarded="for=127.0.0.1"),
        UNAUTHORIZED,
    ),
    Attempt("two tokens at once", _two_tokens, _request("INVALID_INPUT")),
    Attempt("a request inside a request", _smuggled, _request("INVALID_INPUT")),
    Attempt(
        "DNS rebinding", lambda h: h.api("GET", STREAMS_PATH, h.token, Host="rebound.example"), _request("UNKNOWN_HOST")
    ),
    Attempt(
        "DNS rebinding of a hook",
        lambda h: h.api("POST", f"{EVENTS_PATH}/ready", body=_event(), Host="rebound.example:80"),
        _request("UNKNOWN_HOST"),
    ),
    Attempt(
        "another site's page",
        lambda h: h.api("POST", STREAMS_PATH, h.operator, b"{}", Origin="https://evil.example"),
        _request("FOREIGN_ORIGIN"),
    ),
    Attempt(
        "a form on another site's page",
        lambda h: h.api("POST", STREAMS_PATH, h.operator, b"{}", Content_Type="text/plain"),
        _request("INVALID_INPUT"),
    ),
    Attempt(
        "a body of 2 MB", lambda h: h.api("POST", f"{EVENTS_PATH}/ready", body=b" " * 2_000_000), _request("TOO_LARGE")
    ),
    Attempt(
        "a forged line for the log",
        lambda h: h.api("GET", f"{STREAMS_PATH}/%0a%7b%22event%22:%22forged%22%7d%1b%5b2J"),
        UNAUTHORIZED,
    ),
    # settings
    Attempt(
        "a destination inside the network",
        lambda h: _refused_settings('streams={"a":{"destinations":[{"name":"x","url":"http://169.254.169.254/"}]}}'),
    ),
    Attempt(
        "a webhook that is a file",
        lambda h: _refused_settings('alerts.webhooks=[{"name":"x","url":"file:///etc/passwd"}]'),
    ),
    Attempt("a service that is a file", lambda h: _refused_settings('sts_client.urls=["file:///etc/passwd"]')),
    Attempt(
        "open to all without a token",
        lambda h: _refused_settings("orchestrator.host=0.0.0.0", f"paths.state_dir={h.log_dir / 'none'}"),
    ),
    Attempt("publishing open to all", lambda h: _refused_settings("mediamtx.host=0.0.0.0", "access.publishers=open")),
]
AT_LAST = [
    Attempt("a link that was taken back, replayed", _revoked_link, WRONG),
    Attempt("tokens guessed one after the other", _hammered, UNAUTHORIZED),
]
"""What changes the house for the others."""


@contextmanager
def house(directory: Path, way_in: config.WayIn = "auto") -> Iterator[House]:
    """Everything by default, but that viewers need a key. `way_in`: how workers read."""
    settings = Settings(
        paths=config.Paths(state_dir=directory),
        log=config.Log(format="json"),
        mediamtx=free_mediamtx_settings(),
        orchestrator=config.Orchestrator(port=free_port(), hook_token=SecretStr("the hook token, with spaces/@:?")),
        access=config.Access(readers="key", failures_per_minute=PER_MINUTE),
        worker=config.Worker(mode="bypass", input=way_in),
    )
    file = keys.file_of(settings.paths)
    made = {
        "key": keys.new(file, "studio", "publish", stream=STREAM),
        "other_key": keys.new(file, "truck", "publish", stream=OTHER),
        "viewer_key": keys.new(file, "hall", "watch", stream=STREAM, side="out"),
        "gone_key": keys.new(file, "gone", "publish", stream=STREAM),
        "token": keys.new(file, "look", "api", role="viewer"),
        "operator": keys.new(file, "desk", "api", role="operator"),
    }
    keys.revoke(file, ["gone"])
    with stack.running(settings, lambda _: None) as up:
        orchestrator = up.settings.orchestrator
        between = [orchestrator.internal_secret.get_secret_value(), orchestrator.hook_token.get_secret_value()]
        yield House(
            up.settings, up.log_dir, up.pids(), **made, secrets=[*made.values(), *between, *map(quote, between)]
        )


def tried(house: House, attempts: list[Attempt]) -> list[Result]:
    """Some at once: MediaMTX thinks about each refusal for up to 4 s."""

    def one(attempt: Attempt) -> Result:
        inside, answer = attempt.made(house)
        return Result(attempt.name, not inside, answer)

    with ThreadPoolExecutor(6) as pool:
        return [*pool.map(one, attempts)]


def right_ones(house: House) -> list[Result]:
    """Those who belong, so that the refusals say something."""
    m, key = house.settings.mediamtx, house.key
    link = _link(house, STREAM, "out")
    inside = [
        ("RTMP, OBS's way", _published(f"rtmp://{m.host}:{m.rtmp_port}/live/{STREAM}/in?key={key}")),
        ("RTMP, user and password", _published(f"rtmp://{m.host}:{m.rtmp_port}/live/{STREAM}/in?user=me&pass={key}")),
        ("SRT", _published(f"srt://{m.host}:{m.srt_port}?streamid=publish:live/{STREAM}/in:me:{key}")),
        ("RTSP", _published(f"rtsp://me:{key}@{m.host}:{m.rtsp_port}/live/{STREAM}/in")),
        ("a viewer's key", house.hls(f"/live/{STREAM}/out/?key={house.viewer_key}")),
        ("a signed link", house.hls(f"/live/{STREAM}/out/?{link}")),
        ("the API as viewer", house.api("GET", STREAMS_PATH, house.token)),
        ("a change as operator", house.api("DELETE", f"{STREAMS_PATH}/nobody", house.operator)),
    ]
    return [Result(name, not got_in and answer != "HTTP 405", answer) for name, (got_in, answer) in inside]


def unlogged(house: House, attempts: list[Attempt]) -> Counter[tuple[str, str]]:
    """Refusals of which the orchestrator's log says nothing, by event and reason."""
    wanted = Counter(attempt.logged for attempt in attempts if attempt.logged is not None)
    found: Counter[tuple[str, str]] = Counter()
    for line in log_lines(house):
        found[line.get("event", ""), line.get("code") or line.get("reason", "")] += 1
    return wanted - found


def log_lines(house: House) -> list[dict[str, Any]]:
    """Of the orchestrator; each is one JSON object, or this fails."""
    return [dict(json.loads(line)) for line in (house.log_dir / "orchestrator.log").read_text("utf-8").splitlines()]


def seen_secrets(house: House) -> list[str]:
    """Where a secret can be read that must not be: logs, arguments, status, metrics."""
    places = {str(log.name): log.read_text("utf-8", "replace") for log in house.log_dir.iterdir()}
    for name, pid in house.pids.items():
        with suppress(psutil.Error):
            family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
            places[f"arguments of {name}"] = " ".join(" ".join(process.cmdline()) for process in family)
    for path in (STREAMS_PATH, f"{STREAMS_PATH}/{STREAM}", "/metrics", "/"):
        url = f"{house.settings.orchestrator.url}{path}"
        headers = {"Authorization": f"Bearer {house.token}"}
        places[path] = httpx2.get(url, headers=headers, timeout=10, trust_env=False).text
    places["MediaMTX's metrics"] = httpx2.get(stack.metrics_url(house.settings), timeout=10, trust_env=False).text
    return [f"{place}: {secret[:4]}..." for place, text in places.items() for secret in house.secrets if secret in text]


def _published(url: str) -> tuple[bool, str]:
    done = subprocess.run(
        publish_command(url, seconds=0.6), capture_output=True, text=True, errors="replace", timeout=60, check=False
    )
    said = done.stderr.strip().splitlines()
    return done.returncode == 0, "in" if done.returncode == 0 else (said[-1].rpartition(": ")[2][:60] if said else "?")


def _raw(port: int, request: bytes) -> str:
    """The beginning of the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request)
        return connection.recv(4096).decode("latin-1")

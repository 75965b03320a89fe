"""Who may ask the orchestrator, over real HTTP."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from certificates import certificate
from dubrelay import config, connections
from dubrelay.config import INTERNAL_USER
from dubrelay.errors import ConfigError
from dubrelay.orchestrator import guard, keys
from dubrelay.orchestrator.keys import Keys
from dubrelay.trust import fingerprint, that_certificate, verification
from dubrelay.wire import hook
from fake_mediamtx import FakeMediaMtx
from media import INTERNAL_SECRET, free_port
from running_orchestrator import RunningOrchestrator

pytestmark = pytest.mark.service

EVENT = {"path": "live/x/in", "query": "", "sourceType": "rtmpConn", "sourceId": "a1"}
QUESTION = {"ip": "203.0.113.9", "action": "publish", "path": "live/x/in", "protocol": "rtmp"}


def settings_for(fake: FakeMediaMtx, state: Path, per_minute: int = 20, **orchestrator: Any) -> config.Settings:
    return config.Settings(
        mediamtx=config.MediaMtx(api_port=fake.port),
        orchestrator=config.Orchestrator.model_validate({"port": free_port(), "poll_interval_s": 0.2, **orchestrator}),
        paths=config.Paths(state_dir=state),
        access=config.Access(failures_per_minute=per_minute),
    )


@pytest.fixture
def fake() -> Iterator[FakeMediaMtx]:
    with FakeMediaMtx() as server:
        yield server


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def outcome(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"] if answer.status_code >= 400 else ""


def test_without_a_token_this_machine_may_do_everything(fake: FakeMediaMtx, tmp_path: Path) -> None:
    with RunningOrchestrator(settings_for(fake, tmp_path)) as orchestrator:
        assert outcome(orchestrator.http.get("/v1/streams")) == (200, "")
        assert outcome(orchestrator.http.delete("/v1/streams/x"))[0] in {404, 405}
        assert outcome(orchestrator.http.post("/v1/mediamtx/events/ready", json=EVENT)) == (202, "")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Host": "evil.example"}, (421, "UNKNOWN_HOST")),
        ({"Host": "127.0.0.1.evil.example"}, (421, "UNKNOWN_HOST")),
        ({"Host": "localhost.evil.example:80"}, (421, "UNKNOWN_HOST")),
        ({"Host": "evil@127.0.0.1.example"}, (421, "UNKNOWN_HOST")),
        ({"Host": ""}, (421, "UNKNOWN_HOST")),
        ({"Host": "["}, (421, "UNKNOWN_HOST")),
        ({"Host": "evil@127.0.0.1"}, (421, "UNKNOWN_HOST")),
        ({"Host": "127.0.0.1:80:80"}, (421, "UNKNOWN_HOST")),
        ({"Host": "LOCALHOST"}, (202, "")),
        ({"Origin": "http://["}, (403, "FOREIGN_ORIGIN")),
        ({"Origin": ""}, (403, "FOREIGN_ORIGIN")),
        ({"Host": "localhost:8080"}, (202, "")),
        ({"Host": "[::1]:8080"}, (202, "")),
        ({"Origin": "https://evil.example"}, (403, "FOREIGN_ORIGIN")),
        ({"Origin": "null"}, (403, "FOREIGN_ORIGIN")),
        ({"Origin": "http://127.0.0.1:1"}, (403, "FOREIGN_ORIGIN")),
        ({"Sec-Fetch-Site": "cross-site"}, (403, "FOREIGN_ORIGIN")),
        ({"Sec-Fetch-Site": "same-origin"}, (202, "")),
        ({"Content-Type": "text/plain"}, (415, "INVALID_INPUT")),
        ({"Content-Type": "application/x-www-form-urlencoded"}, (415, "INVALID_INPUT")),
        ({"Content-Type": ""}, (415, "INVALID_INPUT")),
    ],
)
def test_a_browser_that_another_site_sent_may_do_nothing(
    fake: FakeMediaMtx, tmp_path: Path, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    with RunningOrchestrator(settings_for(fake, tmp_path)) as orchestrator:
        assert outcome(orchestrator.http.post("/v1/mediamtx/events/ready", json=EVENT, headers=headers)) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, (403, "FOREIGN_ORIGIN")),  # an img, a fetch
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, (403, "FOREIGN_ORIGIN")),  # another port
        ({"Origin": "https://evil.example"}, (403, "FOREIGN_ORIGIN")),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, (200, "")),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, (200, "")),  # a link, an address typed in
    ],
)
def test_a_page_of_another_site_may_not_even_hold_a_connection(
    fake: FakeMediaMtx, tmp_path: Path, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    with RunningOrchestrator(settings_for(fake, tmp_path)) as orchestrator:
        assert outcome(orchestrator.http.get("/v1/streams", headers=headers)) == expected


def test_browsers_are_told_that_every_answer_is_for_our_page_only(fake: FakeMediaMtx, tmp_path: Path) -> None:
    with RunningOrchestrator(settings_for(fake, tmp_path)) as orchestrator:
        http = orchestrator.http
        answers = [http.get(path) for path in ("/", "/console/console.js", "/v1/streams", "/healthz", "/no/such")]
        for answer in (*answers, http.get("/", headers={"Host": "evil.example"})):
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["cross-origin-resource-policy"] == "same-origin"
            assert answer.headers["x-content-type-options"] == "nosniff"


def test_half_a_request_keeps_no_connection(
    fake: FakeMediaMtx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.3)
    with RunningOrchestrator(settings_for(fake, tmp_path)) as orchestrator:
        port = orchestrator.settings.orchestrator.port
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.sendall(b"GET /v1/streams HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            assert connection.recv(1) == b""


def test_no_page_runs_scripts_of_strangers(fake: FakeMediaMtx, tmp_path: Path) -> None:
    """FastAPI's own pages would, and they could do here whatever our page can."""
    with RunningOrchestrator(settings_for(fake, tmp_path)) as orchestrator:
        for path in ("/docs", "/redoc", "/docs/oauth2-redirect"):
            assert orchestrator.http.get(path).status_code == 404
        assert orchestrator.http.get("/openapi.json").status_code == 200


def test_a_proxy_may_give_it_a_name_and_then_a_token_is_needed(fake: FakeMediaMtx, tmp_path: Path) -> None:
    settings = settings_for(fake, tmp_path, allowed_hosts=["Dub.example"], api_token="a-token-of-the-settings")
    named = {"Host": "dub.example"}
    with RunningOrchestrator(settings) as orchestrator:
        assert outcome(orchestrator.http.get("/v1/streams", headers=named)) == (401, "UNAUTHORIZED")
        assert outcome(orchestrator.http.get("/metrics", headers=named)) == (401, "UNAUTHORIZED")
        token = bearer("a-token-of-the-settings")
        assert outcome(orchestrator.http.get("/v1/streams", headers=named | token)) == (200, "")
        assert outcome(orchestrator.http.get("/v1/streams", headers={"Host": "x.example"} | token))[0] == 421


def test_the_own_page_may(fake: FakeMediaMtx, tmp_path: Path) -> None:
    with RunningOrchestrator(settings_for(fake, tmp_path)) as orchestrator:
        origin = {"Origin": orchestrator.settings.orchestrator.url}
        assert outcome(orchestrator.http.post("/v1/mediamtx/events/ready", json=EVENT, headers=origin)) == (202, "")


def test_each_role_may_what_it_may(fake: FakeMediaMtx, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    tokens = {role: keys.new(file, role, "api", role=role) for role in ("viewer", "operator", "admin")}
    tokens |= {"internal": INTERNAL_SECRET.get_secret_value(), "configured": "a-token-of-the-settings"}
    settings = settings_for(fake, tmp_path, internal_secret=INTERNAL_SECRET, api_token=tokens["configured"])
    stream_key = keys.new(file, "studio", "publish", stream="x")
    with RunningOrchestrator(settings) as orchestrator:
        http = orchestrator.http
        for role, token in tokens.items():
            assert outcome(http.get("/v1/streams", headers=bearer(token))) == (200, ""), role
            changed = outcome(http.delete("/v1/streams/x", headers=bearer(token)))
            assert (changed == (403, "FORBIDDEN")) == (role == "viewer"), role
        wrong = [
            bearer(stream_key),
            {"Authorization": "Bearer"},
            bearer(tokens["admin"][:-1]),
            {"Authorization": tokens["admin"]},
        ]
        for given in ({}, *wrong):
            assert outcome(http.get("/v1/streams", headers=given)) == (401, "UNAUTHORIZED")
        assert http.get("/v1/streams").headers["WWW-Authenticate"] == "Bearer"
        assert outcome(http.get("/openapi.json"))[0] == 401
        for path in ("/", "/healthz", "/metrics"):
            assert http.get(path).status_code in {200, 503}, path
        keys.revoke(file, ["viewer"])
        assert outcome(http.get("/v1/streams", headers=bearer(tokens["viewer"]))) == (401, "UNAUTHORIZED")


def test_the_first_token_closes_a_running_orchestrator(fake: FakeMediaMtx, tmp_path: Path) -> None:
    with RunningOrchestrator(settings_for(fake, tmp_path)) as orchestrator:
        assert orchestrator.http.get("/v1/streams").status_code == 200
        token = keys.new(tmp_path / "keys.json", "me", "api", role="viewer")
        assert orchestrator.http.get("/v1/streams").status_code == 401
        assert orchestrator.http.get("/v1/streams", headers=bearer(token)).status_code == 200


def test_wrong_tokens_are_answered_slower_and_the_right_one_is_not_locked_out(
    fake: FakeMediaMtx, tmp_path: Path
) -> None:
    token = keys.new(tmp_path / "keys.json", "me", "api", role="viewer")
    with RunningOrchestrator(settings_for(fake, tmp_path, per_minute=3)) as orchestrator:
        answers = [orchestrator.http.get("/v1/streams", headers=bearer("wrong")) for _ in range(6)]
        assert [answer.status_code for answer in answers[:4]] == [401, 401, 401, 429]
        assert 1 <= int(answers[3].headers["Retry-After"]) <= 60
        assert orchestrator.http.get("/v1/streams").status_code == 401, "who guesses nothing is told what to do"
        assert orchestrator.http.get("/v1/streams", headers=bearer(token)).status_code == 200
        # What a request says of its way changes nobody's address.
        moved = orchestrator.http.get("/v1/streams", headers={**bearer("wrong"), "X-Forwarded-For": "198.51.100.7"})
        assert moved.status_code == 429


def test_mediamtx_is_answered_and_its_clients_learn_nothing(fake: FakeMediaMtx, tmp_path: Path) -> None:
    key = keys.new(tmp_path / "keys.json", "studio", "publish", stream="x")
    with RunningOrchestrator(settings_for(fake, tmp_path, hook_token="the token", per_minute=2)) as orchestrator:
        http = orchestrator.http
        by_url = httpx2.BasicAuth("hook", "the token")
        right = {**QUESTION, "query": f"key={key}"}
        assert http.post(hook.AUTH_PATH, json=right, auth=by_url).status_code == 204
        for _ in range(5):
            answer = http.post(hook.AUTH_PATH, json={**QUESTION, "query": "key=hush-hush"}, auth=by_url)
            assert (answer.status_code, answer.content) == (401, b"")
        assert http.post(hook.AUTH_PATH, json=right, auth=by_url).status_code == 204, "the right key still opens"
        assert outcome(http.post(hook.AUTH_PATH, json=right)) == (401, "UNAUTHORIZED")
        assert outcome(http.post(hook.AUTH_PATH, json=right, headers=bearer("wrong"))) == (401, "UNAUTHORIZED")
        assert outcome(http.post(hook.AUTH_PATH, json={"ip": 3}, auth=by_url)) == (400, "INVALID_INPUT")
        text = http.get("/metrics").text
    assert 'orchestrator_access_total{action="publish",result="allowed"} 2.0' in text
    assert 'orchestrator_access_total{action="publish",result="refused"} 5.0' in text
    assert "orchestrator_access_limited_total 3.0" in text


@pytest.mark.parametrize(
    "request_lines",
    [
        ["GET /v1/streams HTTP/1.1", "Host: 127.0.0.1", "Host: evil.example"],
        ["GET /v1/streams HTTP/1.1", "Host: 127.0.0.1", "Authorization: Bearer a", "Authorization: Bearer b"],
        ["POST /v1/streams HTTP/1.1", "Host: 127.0.0.1", "Transfer-Encoding: chunked", "", "0"],
        ["POST /v1/streams HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 1", "Content-Length: 2", "", "ab"],
        ["POST /v1/streams HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 1000001", "Content-Type: application/json"],
        ["POST /v1/streams HTTP/1.1", "Host: 127.0.0.1", "Content-Length: -1"],
        ["GET /v1/streams HTTP/1.1"],
        ["GET http://evil.example/v1/streams HTTP/1.1", "Host: evil.example"],
        ["GET /v1/streams HTTP/1.1", "Host: 127.0.0.1", "Authorization : Bearer x"],
        ["nonsense"],
    ],
)
def test_a_request_that_can_be_read_in_two_ways_is_refused(
    fake: FakeMediaMtx, tmp_path: Path, request_lines: list[str]
) -> None:
    settings = settings_for(fake, tmp_path)
    there = ("127.0.0.1", settings.orchestrator.port)
    with RunningOrchestrator(settings), socket.create_connection(there, timeout=10) as raw:
        raw.sendall("\r\n".join([*request_lines, "", ""]).encode())
        answer = raw.recv(1000).decode()
    assert answer.startswith("HTTP/1.1 4"), answer


def test_the_page_learns_that_a_token_is_needed_without_an_error(fake: FakeMediaMtx, tmp_path: Path) -> None:
    """For a 401 the browser would write one into its console at every first visit."""
    token = keys.new(tmp_path / "keys.json", "vera", "api", role="viewer")
    with RunningOrchestrator(settings_for(fake, tmp_path)) as orchestrator:
        assert orchestrator.get("/v1/me") == {"who": "", "role": None}
        assert orchestrator.http.get("/v1/me", headers=bearer(token)).json() == {"who": "vera", "role": "viewer"}
        assert outcome(orchestrator.http.get("/v1/me", headers=bearer("wrong"))) == (401, "UNAUTHORIZED")
        assert outcome(orchestrator.http.get("/v1/streams")) == (401, "UNAUTHORIZED")


def test_who_asks_is_known_to_the_routes(fake: FakeMediaMtx, tmp_path: Path) -> None:
    seen: list[tuple[str, str]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["state"]["who"], scope["state"]["role"]))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    file = tmp_path / "keys.json"
    token = keys.new(file, "maria", "api", role="operator")
    settings = config.Orchestrator(internal_secret=INTERNAL_SECRET)
    guarded = guard.Guard(app, settings=settings, keys=Keys(file), failures_per_minute=9)
    transport = httpx2.ASGITransport(app=guarded)

    async def ask(method: str, given: str) -> int:
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return (await client.request(method, "/v1/streams/x/restart", headers=bearer(given))).status_code

    assert asyncio.run(ask("POST", token)) == 204
    assert asyncio.run(ask("PUT", INTERNAL_SECRET.get_secret_value())) == 204
    keys.revoke(file, ["maria"])
    assert asyncio.run(ask("POST", token)) == 204
    assert seen == [("maria", "operator"), (INTERNAL_USER, "admin"), ("local", "admin")]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5"])
def test_nothing_stands_open_to_other_machines(host: str, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    hooked = config.Orchestrator.model_validate({"host": host, "hook_token": "x"})
    with pytest.raises(ConfigError, match="the API needs a token; make one with `dubrelay keys new NAME --role admin`"):
        guard.require_token(hooked, Keys(file))
    keys.new(file, "studio", "publish", stream="x")
    with pytest.raises(ConfigError, match="the API needs a token"):
        guard.require_token(hooked, Keys(file))
    keys.new(file, "me", "api", role="viewer")
    guard.require_token(hooked, Keys(file))
    with pytest.raises(ConfigError, match=r"orchestrator\.hook_token must be set"):
        guard.require_token(config.Orchestrator(host=host), Keys(file))
    guard.require_token(config.Orchestrator(), Keys(tmp_path / "none.json"))


def test_it_speaks_https_and_its_hook_knows_the_certificate(fake: FakeMediaMtx, tmp_path: Path) -> None:
    own = certificate(tmp_path, "DNS:dub.example")
    settings = settings_for(fake, tmp_path, tls_cert=own.file, tls_key=own.key)
    url = settings.orchestrator.url
    assert url.startswith("https://127.0.0.1:")
    with RunningOrchestrator(settings):
        ours = that_certificate(own.file, "orchestrator.tls_cert")
        assert httpx2.get(url + "/healthz", verify=ours, trust_env=False).status_code in {200, 503}
        for other in (True, verification(own.file)):  # unknown; known, but of another name
            with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                httpx2.get(url, verify=other, trust_env=False)
        with pytest.raises(httpx2.TransportError):
            httpx2.get(url.replace("https", "http"), trust_env=False)
        event = hook.HookEvent("live/x/in", "", "rtmpConn", "a1")
        hook.post("ready", event, url, "", str(own.file))
        with pytest.raises(ssl.SSLCertVerificationError):
            hook.post("ready", event, url, "")
        (tmp_path / "other").mkdir()
        stranger = certificate(tmp_path / "other", "DNS:dub.example")
        with pytest.raises(ssl.SSLCertVerificationError):
            hook.post("ready", event, url, "", str(stranger.file))
    assert len(fingerprint(own.file, "x")) == 64
    for broken in (own.key, tmp_path / "none.pem"):
        with pytest.raises(ConfigError, match=r"^x = '.*': (holds no certificate|cannot be read)"):
            fingerprint(broken, "x")

"""Webhooks against real servers that take, refuse, hang, redirect and break; alerts of a real orchestrator to one."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from certificates import certificate
from dubrelay import config, logs
from dubrelay.errors import ConfigError
from dubrelay.orchestrator import webhooks
from dubrelay.orchestrator.conditions import Conditions
from dubrelay.orchestrator.webhooks import TEST_TEXT, Webhooks, slack_text, targets
from dubrelay.wire.alerts import AlertView, Message
from fake_mediamtx import FakeMediaMtx
from media import free_port
from running_orchestrator import RunningOrchestrator
from waiting import wait_for
from webhook_server import WebhookServer

pytestmark = pytest.mark.service

FIRING = AlertView(
    name="EgressDown", status="firing", severity="critical", stream_id="x", of="a", since=1.0, description="d",
    summary="Destination a of stream x is refused: <key> & more",
)  # fmt: skip
RESOLVED = FIRING.model_copy(update={"status": "resolved", "resolved_at": 9.0})
OTHER = FIRING.model_copy(update={"name": "GhostDub"})


def alerts_to(*hooks: dict[str, Any]) -> config.Alerts:
    return config.Alerts.model_validate({"webhooks": hooks, "resolve_after_s": 0})


def to(server: WebhookServer, **values: Any) -> dict[str, Any]:
    return {"name": "team", "url": server.url, **values}


def with_running(alerts: config.Alerts, act: Callable[[Webhooks], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        hooks = Webhooks(targets(alerts))
        task = asyncio.create_task(hooks.run())
        try:
            return await act(hooks)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return asyncio.run(run())


async def until(condition: Callable[[], object], what: str, timeout_s: float = 15) -> None:
    await asyncio.to_thread(wait_for, condition, timeout_s, what)


def test_what_begins_and_ends_at_once_comes_in_one_json_message() -> None:
    with WebhookServer() as server:

        async def act(hooks: Webhooks) -> None:
            hooks.tell([FIRING, OTHER])
            hooks.tell([])
            hooks.tell([RESOLVED])
            await until(lambda: len(server.bodies) == 2, "two messages")
            await until(lambda: hooks.views()[0].waiting == 0, "both to be taken")
            assert hooks.views()[0].state == "took it (HTTP 200)"

        with_running(alerts_to(to(server)), act)
    first, second = map(Message.model_validate, server.bodies)
    assert (first.version, first.kind, first.alerts) == (1, "alerts", [FIRING, OTHER])
    assert first.text.split("\n")[0] == f"{first.host}: critical: EgressDown: {FIRING.summary}"
    assert second.alerts == [RESOLVED]
    assert second.text == f"{first.host}: over: EgressDown: {FIRING.summary}"
    assert set(server.bodies[0]["alerts"][0]) == {
        "name", "status", "severity", "streamId", "of", "summary", "description", "since", "resolvedAt"
    }  # fmt: skip


def test_each_gets_what_it_wants() -> None:
    with WebhookServer() as all_of_them, WebhookServer() as some:
        hooks = alerts_to(to(all_of_them), to(some, name="b", rules=["GhostDub"], send_resolved=False))

        async def act(hooks: Webhooks) -> None:
            hooks.tell([FIRING])
            hooks.tell([OTHER, RESOLVED.model_copy(update={"name": "GhostDub"})])
            await until(lambda: len(all_of_them.bodies) == 2 and some.bodies, "the messages")

        with_running(hooks, act)
        assert some.alerts() == [("GhostDub", "firing")]
        assert len(all_of_them.alerts()) == 3


def test_slack_gets_its_three_characters_escaped() -> None:
    with WebhookServer() as server:

        async def act(hooks: Webhooks) -> None:
            hooks.tell([FIRING])
            await until(lambda: server.bodies, "a message")

        with_running(alerts_to(to(server, format="slack")), act)
    (body,) = server.bodies
    assert set(body) == {"text"}
    assert body["text"].endswith("Destination a of stream x is refused: &lt;key&gt; &amp; more")


def test_slack_gets_no_more_lines_than_anybody_reads() -> None:
    text = slack_text(Message(kind="alerts", host="h", text="\n".join(map(str, range(50))), alerts=[]))
    assert text.split("\n")[-2:] == ["19", "and 30 more"]


def test_a_summary_stays_on_one_line_and_is_not_endless() -> None:
    with WebhookServer() as server:

        async def act(hooks: Webhooks) -> None:
            hooks.tell([FIRING.model_copy(update={"summary": "a\nb\r\n" + "x" * 5000})])
            await until(lambda: server.bodies, "a message")

        with_running(alerts_to(to(server)), act)
    assert "\n" not in server.bodies[0]["text"]
    assert len(server.bodies[0]["text"]) < 600


def test_what_fails_for_now_is_tried_again_and_what_comes_meanwhile_waits_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webhooks, "FIRST_PAUSE_S", 0.05)
    with WebhookServer(500, "cut", 429, 200, Retry_After="0") as server:

        async def act(hooks: Webhooks) -> None:
            hooks.tell([FIRING])
            hooks.tell([OTHER])
            await until(lambda: hooks.views()[0].waiting == 0, "both to be taken")
            assert (hooks.views()[0].well, hooks.views()[0].lost) == (True, 0)

        with_running(alerts_to(to(server)), act)
        assert [alert for alert, _ in server.alerts()] == ["EgressDown"] * 4 + ["GhostDub"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (404, "refuses it (HTTP 404)"),
        (302, "wants to redirect (HTTP 302), which is not followed: the URL must be the last one"),
    ],
)
def test_what_is_refused_is_not_tried_again(answer: int, said: str) -> None:
    with WebhookServer() as elsewhere, WebhookServer(answer, Location=elsewhere.url) as server:

        async def act(hooks: Webhooks) -> None:
            hooks.tell([FIRING])
            await until(lambda: hooks.views()[0].lost == 1, "it to be given up")
            view = hooks.views()[0]
            assert (view.waiting, view.well, view.state) == (0, False, said)

        with_running(alerts_to(to(server)), act)
        assert len(server.bodies) == 1
        assert elsewhere.bodies == [], "a redirect is not followed"


def test_a_queue_that_nobody_empties_loses_its_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "WAITING", 3)
    with WebhookServer("hang") as server:

        async def act(hooks: Webhooks) -> None:
            hooks.tell([FIRING])
            await until(lambda: server.bodies, "the first message to be there")
            for _ in range(4):
                hooks.tell([FIRING])
            assert (hooks.views()[0].waiting, hooks.views()[0].lost) == (3, 2)

        with_running(alerts_to(to(server)), act)


def test_what_nobody_took_for_an_hour_is_given_up() -> None:
    clock = iter([0.0, 0.0, *[3601.0] * 9])
    with WebhookServer(503) as server:

        async def run() -> None:
            hooks = Webhooks(targets(alerts_to(to(server))), lambda: next(clock))
            task = asyncio.create_task(hooks.run())
            hooks.tell([FIRING])
            await until(lambda: hooks.views()[0].lost == 1, "it to be given up")
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(run())


def test_a_test_says_in_words_what_each_answered_and_waits_for_none_too_long(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(webhooks, "ANSWER_S", 1.0)
    own = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.file, own.key)
    with (
        WebhookServer() as well,
        WebhookServer(403) as refusing,
        WebhookServer("hang") as hanging,
        WebhookServer("drip") as dripping,
        WebhookServer("cut") as cutting,
        WebhookServer() as untrusted,
    ):
        untrusted.speak_tls(context)
        hooks = {
            "well": (well.url, "took it (HTTP 200)"),
            "refusing": (refusing.url, "refuses it (HTTP 403)"),
            "hanging": (hanging.url, "does not answer within 1 s"),
            "dripping": (dripping.url, "does not answer within 1 s"),
            "cutting": (cutting.url, "broke the connection"),
            "nobody": (f"http://127.0.0.1:{free_port()}/x", "cannot be reached"),
            "nowhere": ("http://no-such-host.invalid/x", "cannot be reached"),
            "untrusted": (untrusted.url.replace("http:", "https:"), "its certificate is not trusted"),
            "plain": (well.url.replace("http:", "https:"), "does not speak TLS as it should"),
        }  # fmt: skip
        alerts = alerts_to(*({"name": name, "url": url} for name, (url, _) in hooks.items()))

        async def act(hooks: Webhooks) -> Any:
            return await hooks.test()

        results = with_running(alerts, act)
    assert {result.name: result.said for result in results} == {name: said for name, (_, said) in hooks.items()}
    assert [result.name for result in results if result.ok] == ["well"]
    assert well.bodies[0]["text"].endswith(TEST_TEXT)
    assert (well.bodies[0]["kind"], well.bodies[0]["alerts"]) == ("test", [])


def test_a_url_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "slack.url"
    hook = {"name": "team", "url_file": str(file)}
    where = f"alerts.webhooks.0.url_file = '{file}'"
    with pytest.raises(ConfigError) as missing:
        targets(alerts_to(hook))
    assert missing.value.message == f"{where}: cannot be read: No such file or directory"
    file.write_text("ftp://example.org/SECRET\n")
    with pytest.raises(ConfigError) as useless:
        targets(alerts_to(hook))
    assert useless.value.message.startswith(f"{where}: what it holds must be an http or https URL")
    assert "SECRET" not in useless.value.message
    file.write_text("https://hooks.example.org:8443/services/SECRET\n")
    (target,) = targets(alerts_to(hook))
    assert target.host == "hooks.example.org:8443"
    assert "SECRET" not in repr(target)


def test_a_real_condition_is_told_when_it_begins_and_when_it_ends_and_the_url_nowhere() -> None:
    with FakeMediaMtx() as fake, WebhookServer() as json_hook, WebhookServer(500) as failing:
        settings = config.Settings(
            mediamtx=config.MediaMtx(api_port=fake.port),
            orchestrator=config.Orchestrator(port=free_port(), poll_interval_s=0.2),
            worker=config.Worker(mode="bypass"),
            alerts=alerts_to(to(json_hook), to(failing, name="failing", format="slack", rules=["MediaMtxDown"])),
        )
        began = time.monotonic()
        thirty_times = lambda: began + 30 * (time.monotonic() - began)  # noqa: E731
        with capture_logs() as said, RunningOrchestrator(settings, alert_clock=thirty_times) as orchestrator:
            wait_for(lambda: orchestrator.http.get("/healthz").status_code == 200, 10, "the first poll")
            fake.answer = (500, b"{}")
            wait_for(lambda: json_hook.alerts() == [("MediaMtxDown", "firing")], 20, "the alert")
            shown = orchestrator.get("/v1/alerts")
            assert [(alert["name"], alert["severity"]) for alert in shown["firing"]] == [("MediaMtxDown", "critical")]
            fake.answer = None
            wait_for(lambda: len(json_hook.bodies) == 2, 20, "its end")
            assert json_hook.alerts()[1] == ("MediaMtxDown", "resolved")
            tested = orchestrator.http.post("/v1/alerts/test").json()["results"]
            assert [(result["name"], result["ok"]) for result in tested] == [("team", True), ("failing", False)]
            shown = orchestrator.get("/v1/alerts")
            assert shown["firing"] == []
            assert shown["recent"][0]["resolvedAt"] > shown["recent"][0]["since"]
            good, bad = shown["webhooks"]
            assert (good["host"], good["well"], good["waiting"]) == (json_hook.host, True, 0)
            assert (bad["well"], bad["format"], bad["rules"]) == (False, "slack", ["MediaMtxDown"])
            assert bad["state"].startswith("cannot take it now (HTTP 500)")
    for everything in (json.dumps(shown), json.dumps(tested), repr(said)):
        assert "SECRET" not in everything
    assert {"alert_firing", "alert_resolved", "webhook_answered"} <= {line["event"] for line in said}


def test_a_bug_in_the_alerts_is_shown_and_ends_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Conditions, "holding", broken)
    with FakeMediaMtx() as fake:
        settings = config.Settings(
            mediamtx=config.MediaMtx(api_port=fake.port),
            orchestrator=config.Orchestrator(port=free_port(), poll_interval_s=0.2),
        )
        with capture_logs() as said, RunningOrchestrator(settings) as orchestrator:
            problem = wait_for(lambda: orchestrator.get("/v1/alerts")["problem"], 10, "it to be noticed")
            assert problem == "the orchestrator failed to look for alerts; its log has the traceback"
            fake.publish("x", "a1")
            orchestrator.wait_state("x", "running")
    assert [line["event"] for line in said if line["log_level"] == "error"] == ["alerts_bug"]


def test_the_secret_of_a_url_is_hidden_from_every_log() -> None:
    Webhooks(targets(alerts_to({"name": "a", "url": "https://h/services/T1/VERY-SECRET"})))
    assert "VERY-SECRET" not in logs.scrubbed("POST https://h/services/T1/VERY-SECRET failed")

"""Tells webhooks of alerts. Nobody waits for them: each has a bounded queue and a task of its own.

    tell ──> queue ──POST──> taken (2xx)
               ^       ├── refused (3xx, 4xx): said, not tried again
               └─back─off── no answer, 408, 429, 5xx: tried again for an hour

Where it goes to says the configuration alone, never a request; no redirect is followed, no answer's body is read, and
of the URL nothing but the host is said anywhere.
"""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import httpx2
from pydantic import SecretStr

from dubrelay import logs
from dubrelay.config import AlertName, Alerts, WebhookFormat, webhook_host
from dubrelay.errors import ConfigError
from dubrelay.wire.alerts import AlertView, Message, TestResult, WebhookView

WAITING = 100
ANSWER_S = 10.0
"""For all of it: the name, the connection, the answer's head."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
GIVE_UP_S = 3600.0
SLACK_LINES = 20
_LINE_CHARACTERS = 400
_AGAIN = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_MAX_FILE_BYTES = 4096
TEST_TEXT = "A test from dubrelay: alerts would come here."


@dataclass(frozen=True)
class Target:
    """A webhook as it is configured."""

    name: str
    url: SecretStr
    host: str
    format: WebhookFormat
    rules: tuple[AlertName, ...] | None
    send_resolved: bool

    def wants(self, alert: AlertView) -> bool:
        return (self.rules is None or alert.name in self.rules) and (self.send_resolved or alert.status == "firing")


def targets(alerts: Alerts) -> list[Target]:
    """ConfigError when a `url_file` cannot be read or holds no URL."""
    found = []
    for n, hook in enumerate(alerts.webhooks):
        url = hook.url
        if hook.url_file is not None:
            where = f"alerts.webhooks.{n}.url_file = '{hook.url_file}'"
            try:
                with hook.url_file.open("rb") as file:
                    url = SecretStr(file.read(_MAX_FILE_BYTES).decode("ascii", "replace").strip())
                webhook_host(url.get_secret_value())
            except OSError as e:
                raise ConfigError(f"{where}: cannot be read: {e.strerror}") from e
            except ValueError as e:
                raise ConfigError(f"{where}: what it holds {e}") from e
        assert url is not None
        host = webhook_host(url.get_secret_value())
        found.append(Target(hook.name, url, host, hook.format, hook.rules, hook.send_resolved))
    return found


@dataclass(frozen=True)
class Answer:
    """What became of one attempt."""

    ok: bool
    said: str
    again: bool = False
    """Whether it makes sense to try again."""
    pause_s: float = 0.0
    """As the other side asks for."""


@dataclass
class _Waiting:
    message: Message
    since: float


class _Hook:
    """One webhook: its queue, and how it fares."""

    def __init__(self, target: Target, client: httpx2.AsyncClient, clock: Callable[[], float]) -> None:
        self.target = target
        self._client = client
        self._clock = clock
        self._queue: deque[_Waiting] = deque()
        self._news = asyncio.Event()
        self._last: Answer | None = None
        self._next_at: float | None = None
        self._lost = 0
        self._log = logs.get().bind(webhook=target.name, to=target.host)

    def put(self, message: Message) -> None:
        if len(self._queue) >= WAITING:
            self._queue.popleft()
            self._lose(f"more than {WAITING} waited")
        self._queue.append(_Waiting(message, self._clock()))
        self._news.set()

    async def run(self) -> None:
        while True:
            self._news.clear()
            if self._queue:
                await self._deliver(self._queue[0])
            else:
                await self._news.wait()

    async def _deliver(self, waiting: _Waiting) -> None:
        """Until it is taken, refused, too old, or pushed out of the queue."""
        pause_s = FIRST_PAUSE_S
        while waiting in self._queue:
            answer = await self.post(waiting.message)
            if not answer.again or self._clock() - waiting.since > GIVE_UP_S:
                if waiting in self._queue:
                    self._queue.remove(waiting)
                    if not answer.ok:
                        self._lose(answer.said)
                return
            wait_s = min(max(pause_s, answer.pause_s), LONGEST_PAUSE_S) * random.uniform(0.8, 1.2)
            self._next_at = self._clock() + wait_s
            await asyncio.sleep(wait_s)
            self._next_at = None
            pause_s *= 2

    async def post(self, message: Message) -> Answer:
        """One attempt."""
        answer = await self._post(message)
        if self._last is None or answer != self._last:
            log = self._log.info if answer.ok else self._log.warning
            log("webhook_answered", said=answer.said, again=answer.again)
        self._last = answer
        return answer

    async def _post(self, message: Message) -> Answer:
        body = message.model_dump(mode="json", by_alias=True)
        content = {"text": slack_text(message)} if self.target.format == "slack" else body
        try:
            async with (
                asyncio.timeout(ANSWER_S),
                self._client.stream("POST", self.target.url.get_secret_value(), json=content) as answer,
            ):
                return _meaning(answer.status_code, answer.headers.get("retry-after", ""))
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as e:  # TimeoutError is an OSError
            return Answer(False, _trouble(e), again=not isinstance(e, httpx2.InvalidURL))

    def view(self) -> WebhookView:
        target = self.target
        return WebhookView(
            name=target.name,
            host=target.host,
            format=target.format,
            rules=None if target.rules is None else list(target.rules),
            send_resolved=target.send_resolved,
            well=self._last is None or self._last.ok,
            state=self._state(),
            waiting=len(self._queue),
            lost=self._lost,
        )

    def _state(self) -> str:
        if self._last is None:
            return "nothing was sent yet"
        if self._next_at is not None:
            return f"{self._last.said}; it is tried again"
        return self._last.said

    def _lose(self, why: str) -> None:
        self._lost += 1
        self._log.warning("webhook_message_lost", why=why, lost=self._lost)


class Webhooks:
    """`run` delivers until it is cancelled."""

    def __init__(self, to: Sequence[Target], clock: Callable[[], float] = time.monotonic) -> None:
        logs.hide(*(part for target in to for part in _secrets(target.url.get_secret_value())))
        self._host = socket.gethostname()
        self._client = httpx2.AsyncClient(
            timeout=ANSWER_S, trust_env=False, follow_redirects=False, headers={"User-Agent": "dubrelay"}
        )
        self._hooks = [_Hook(target, self._client, clock) for target in to]

    async def run(self) -> None:
        try:
            await asyncio.gather(*(hook.run() for hook in self._hooks))
        finally:
            await self._client.aclose()

    def tell(self, alerts: Sequence[AlertView]) -> None:
        """What began or ended at one moment, in one message to each that wants any of it. Returns at once."""
        for hook in self._hooks:
            wanted = [alert for alert in alerts if hook.target.wants(alert)]
            if wanted:
                hook.put(self._message("alerts", [_line(alert) for alert in wanted], wanted))

    async def test(self) -> list[TestResult]:
        """Sends a message to each, past its queue, and says what each answered; takes ANSWER_S at the longest."""
        message = self._message("test", [TEST_TEXT], [])
        answers = await asyncio.gather(*(hook.post(message) for hook in self._hooks))
        return [
            TestResult(name=hook.target.name, ok=answer.ok, said=answer.said)
            for hook, answer in zip(self._hooks, answers, strict=True)
        ]

    def views(self) -> list[WebhookView]:
        return [hook.view() for hook in self._hooks]

    def _message(self, kind: str, lines: Sequence[str], alerts: Sequence[AlertView]) -> Message:
        text = "\n".join(f"{self._host}: {line}" for line in lines)
        return Message.model_validate({"kind": kind, "host": self._host, "text": text, "alerts": list(alerts)})


def slack_text(message: Message) -> str:
    """As Slack's incoming webhooks want text: three characters escaped, and no more lines than anybody reads."""
    lines = message.text.split("\n")
    more = [f"and {len(lines) - SLACK_LINES} more"] if len(lines) > SLACK_LINES else []
    text = "\n".join(lines[:SLACK_LINES] + more)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _line(alert: AlertView) -> str:
    what = "over" if alert.status == "resolved" else alert.severity
    line = " ".join(f"{what}: {alert.name}: {alert.summary}".split())
    return line if len(line) <= _LINE_CHARACTERS else line[:_LINE_CHARACTERS] + "..."


def _meaning(status: int, retry_after: str) -> Answer:
    name = f"HTTP {status}"
    if 200 <= status < 300:
        return Answer(True, f"took it ({name})")
    if 300 <= status < 400:
        return Answer(False, f"wants to redirect ({name}), which is not followed: the URL must be the last one")
    again = status >= 500 or status in _AGAIN
    pause_s = float(retry_after) if again and retry_after.isdecimal() and len(retry_after) < 6 else 0.0
    return Answer(False, f"{'cannot take it now' if again else 'refuses it'} ({name})", again, pause_s)


def _trouble(error: Exception) -> str:
    """In words of ours: those of the exception might hold the URL."""
    text = str(error)
    if isinstance(error, httpx2.InvalidURL):
        return "its URL is none"
    if isinstance(error, (TimeoutError, httpx2.TimeoutException)):
        return f"does not answer within {ANSWER_S:g} s"
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "its certificate is not trusted"
    if "SSL" in text:
        return "does not speak TLS as it should"
    if isinstance(error, httpx2.ConnectError):
        return "cannot be reached"
    return "broke the connection"


def _secrets(url: str) -> list[str]:
    """What of a URL must not be in any log: all of it, and what stands behind the host."""
    return [url, url.partition("://")[2].partition("/")[2]]

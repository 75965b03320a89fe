"""The mock service behind somebody who spoils its answers: servers that break the contract in one place each."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from dubrelay.wire.fragment import ENGINES_PATH, PROCESS_PATH
from lying_service import success

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    body: dict[str, Any]
    """Empty where it is no JSON object."""
    at_once: Callable[[], int]
    """Requests inside, with this one."""
    nth: int
    """Which one with this fragment_id it is."""

    @property
    def audio(self) -> dict[str, Any]:
        return {"data_base64": "", **(self.body.get("audio") or {})}


@dataclass(frozen=True)
class Answered:
    status: int
    content: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def fields(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.content)
        return found

    def with_fields(self, **changes: Any) -> Answered:
        return replace(self, content=json.dumps(self.fields | changes).encode())


Flaw = Callable[[Asked, Answered], Awaitable[Answered]]


class Broken:
    """An ASGI application that hands requests on and the answers through `flaw`."""

    def __init__(self, app: Any, flaw: Flaw, *, reads_all: bool = False) -> None:
        self._app, self._flaw, self._reads_all = app, flaw, reads_all
        self._inside = 0
        self._seen: Counter[str] = Counter()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body, answer = bytearray(), []
        more = True

        async def listen() -> Message:
            nonlocal more
            message = await receive()
            if message["type"] == "http.request":
                body.extend(message.get("body", b"")[: max(0, 10_000_000 - len(body))])
                more = message.get("more_body", False)
            return message

        async def keep(message: Message) -> None:
            answer.append(message)

        self._inside += 1
        try:
            await self._app(scope, listen, keep)
            while self._reads_all and more and (await listen())["type"] == "http.request":
                pass
            asked = self._asked(scope, bytes(body))
            start, *parts = answer
            headers = {name.decode(): value.decode() for name, value in start["headers"]}
            content = b"".join(part.get("body", b"") for part in parts)
            spoilt = await self._flaw(asked, Answered(start["status"], content, headers))
        finally:
            self._inside -= 1
        headers = spoilt.headers
        if scope["method"] != "HEAD":
            headers = headers | {"content-length": str(len(spoilt.content))}
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": spoilt.status, "headers": raw})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else spoilt.content})

    def _asked(self, scope: Message, content: bytes) -> Asked:
        try:
            body = json.loads(content)
        except (ValueError, RecursionError):
            body = None
        body = body if isinstance(body, dict) else {}
        name = str(body.get("fragment_id", ""))
        self._seen[name] += 1
        return Asked(scope["method"], scope["path"], body, lambda: self._inside, self._seen[name])


def _dub(asked: Asked, answered: Answered) -> bool:
    return asked.path == PROCESS_PATH and answered.status == 200 and answered.fields["status"] == "success"


def _made_up(asked: Asked, answered: Answered) -> Answered:
    """A success, whatever was asked for."""
    return Answered(200, success(asked.body), {"content-type": "application/json"})


def _quiet(asked: Asked) -> Answered:
    """no_speech, whatever was asked for."""
    spoken = json.loads(success(asked.body))
    spoken |= {"status": "no_speech", "dubbed_audio": None, "transcript": "", "translated_text": ""}
    return Answered(200, json.dumps(spoken).encode(), {"content-type": "application/json"})


def _refusal(asked: Asked, message: str, status: int = 400, code: str = "INVALID_INPUT") -> Answered:
    error = {"code": code, "stage": None, "message": message, "retryable": False}
    body = {"fragment_id": asked.body.get("fragment_id", ""), "status": "error", "error": error}
    return Answered(status, json.dumps(body).encode(), {"content-type": "application/json"})


async def hands_on(asked: Asked, answered: Answered) -> Answered:
    """No flaw."""
    return answered


async def cuts_ids_short(asked: Asked, answered: Answered) -> Answered:
    if asked.path == PROCESS_PATH and answered.status == 200:
        return answered.with_fields(fragment_id=answered.fields["fragment_id"][:60])
    return answered


async def is_off_by_40_ms(asked: Asked, answered: Answered) -> Answered:
    if not _dub(asked, answered):
        return answered
    audio = answered.fields["dubbed_audio"]
    return answered.with_fields(dubbed_audio=audio | {"duration_ms": audio["duration_ms"] + 40})


async def answers_at_96_khz(asked: Asked, answered: Answered) -> Answered:
    if not _dub(asked, answered):
        return answered
    return answered.with_fields(dubbed_audio=answered.fields["dubbed_audio"] | {"sample_rate_hz": 96_000})


async def says_milliseconds_as_text(asked: Asked, answered: Answered) -> Answered:
    return answered.with_fields(processing_time_ms="12") if _dub(asked, answered) else answered


async def forgets_the_words(asked: Asked, answered: Answered) -> Answered:
    if not _dub(asked, answered):
        return answered
    metadata = answered.fields["metadata"]
    del metadata["words"]
    return answered.with_fields(metadata=metadata)


async def keeps_what_it_heard_to_itself(asked: Asked, answered: Answered) -> Answered:
    return answered.with_fields(transcript="") if _dub(asked, answered) else answered


async def has_no_transcript_and_says_why(asked: Asked, answered: Answered) -> Answered:
    """No flaw."""
    if not _dub(asked, answered):
        return answered
    metadata = answered.fields["metadata"] | {"notes": ["no transcript: it hears everything as Spanish"]}
    return answered.with_fields(transcript="", metadata=metadata)


async def speaks_in_silence(asked: Asked, answered: Answered) -> Answered:
    nothing = asked.path == PROCESS_PATH and answered.status == 200 and answered.fields["status"] == "no_speech"
    return _made_up(asked, answered) if nothing else answered


async def dubs_with_silence(asked: Asked, answered: Answered) -> Answered:
    if not _dub(asked, answered):
        return answered
    audio = answered.fields["dubbed_audio"]
    return answered.with_fields(dubbed_audio=audio | {"data_base64": "A" * len(audio["data_base64"].rstrip("="))})


async def knows_no_room(asked: Asked, answered: Answered) -> Answered:
    """Every dub is a second long."""
    return _made_up(asked, answered) if _dub(asked, answered) else answered


async def takes_its_time(asked: Asked, answered: Answered) -> Answered:
    if asked.body.get("timeout_ms") == 1:
        await asyncio.sleep(1.7)
    return answered


async def has_forgotten_what_it_said(asked: Asked, answered: Answered) -> Answered:
    if _dub(asked, answered) and asked.nth > 1:
        return answered.with_fields(translated_text="otra cosa")
    return answered


async def hears_stereo_wrong(asked: Asked, answered: Answered) -> Answered:
    if _dub(asked, answered) and asked.audio.get("channels") == 2:
        return answered.with_fields(transcript="slow and deep words")
    return answered


async def knows_no_44100_hz(asked: Asked, answered: Answered) -> Answered:
    if asked.audio.get("sample_rate_hz") == 44_100:
        return _refusal(asked, "audio.sample_rate_hz = 44100: not supported")
    return answered


async def knows_no_context(asked: Asked, answered: Answered) -> Answered:
    return _refusal(asked, "context.transcript: no such field") if asked.body.get("context") else answered


async def knows_no_glossary(asked: Asked, answered: Answered) -> Answered:
    config = asked.body.get("config") or {}
    return _refusal(asked, "config.glossary: no such field") if "glossary" in config else answered


async def takes_only_5_s(asked: Asked, answered: Answered) -> Answered:
    if asked.audio.get("duration_ms", 0) > 5000:
        return _refusal(asked, "audio.duration_ms: at most 5000", 413)
    return answered


def accepts(field_name: str, value: object) -> Flaw:
    async def flaw(asked: Asked, answered: Answered) -> Answered:
        part: Any = asked.body
        for name in field_name.split("."):
            part = part.get(name) if isinstance(part, dict) else None
        return _quiet(asked) if answered.status == 400 and part == value else answered

    return flaw


async def takes_half_a_sample(asked: Asked, answered: Answered) -> Answered:
    return _quiet(asked) if answered.status == 400 and b"32001 bytes" in answered.content else answered


async def breaks_on_what_is_not_base64(asked: Asked, answered: Answered) -> Answered:
    return Answered(500, b"Internal Server Error") if b"not base64" in answered.content else answered


async def breaks_on_deep_json(asked: Asked, answered: Answered) -> Answered:
    if answered.status == 400 and (b"recursion" in answered.content or b"no request has so many" in answered.content):
        return Answered(500, b"Internal Server Error")
    return answered


async def says_detail(asked: Asked, answered: Answered) -> Answered:
    if answered.status != 400:
        return answered
    return replace(answered, content=b'{"detail": "bad request: timeout_ms"}')


async def shows_its_traceback(asked: Asked, answered: Answered) -> Answered:
    if answered.status != 400 or b"stream_id = " not in answered.content:
        return answered
    return _refusal(asked, 'Traceback (most recent call last): File "/srv/app.py", line 3: stream_id')


async def ignores_some_fields(asked: Asked, answered: Answered) -> Answered:
    return _quiet(asked) if "colour" in asked.body else answered


async def says_no_voice_as_400(asked: Asked, answered: Answered) -> Answered:
    return replace(answered, status=400) if answered.status == 422 else answered


async def knows_every_language_but_says_nothing(asked: Asked, answered: Answered) -> Answered:
    if (asked.body.get("config") or {}).get("target_language") == "qzz":
        return _refusal(asked, "unsupported", 422, "UNSUPPORTED_LANGUAGE")
    return answered


async def answers_without_a_key(asked: Asked, answered: Answered) -> Answered:
    return _quiet(asked) if answered.status == 401 and asked.path == PROCESS_PATH else answered


async def guards_only_phrases(asked: Asked, answered: Answered) -> Answered:
    if answered.status == 401 and asked.path == ENGINES_PATH:
        return Answered(200, b'{"engines": []}', {"content-type": "application/json"})
    return answered


async def forgets_retry_after(asked: Asked, answered: Answered) -> Answered:
    if asked.at_once() <= 8:
        return answered
    return _refusal(asked, "busy", 503, "OVERLOADED")


async def closes_connections(asked: Asked, answered: Answered) -> Answered:
    return replace(answered, headers=answered.headers | {"connection": "close"})


async def says_405_in_html(asked: Asked, answered: Answered) -> Answered:
    if answered.status != 405:
        return answered
    return Answered(405, b"<h1>no</h1>", {"content-type": "text/html", "allow": "POST"})


async def is_never_well(asked: Asked, answered: Answered) -> Answered:
    return replace(answered, status=503) if asked.path == "/health" and answered.status == 200 else answered


async def counts_nothing(asked: Asked, answered: Answered) -> Answered:
    if asked.path != "/metrics":
        return answered
    lines = [line for line in answered.content.splitlines() if not line.startswith(b"sts_requests_total")]
    return replace(answered, content=b"\n".join([*lines, b'sts_requests_total{status="success"} 0']))


async def names_no_voices(asked: Asked, answered: Answered) -> Answered:
    if asked.path != ENGINES_PATH:
        return answered
    return answered.with_fields(engines=[one | {"voices": {}} for one in answered.fields["engines"]])


async def describes_nothing(asked: Asked, answered: Answered) -> Answered:
    return answered.with_fields(paths={}) if asked.path == "/openapi.json" else answered


async def mixes_up(asked: Asked, answered: Answered) -> Answered:
    """Who is silent beside others gets an answer that is not for him."""
    if asked.path != PROCESS_PATH or answered.status != 200 or answered.fields["status"] != "no_speech":
        return answered
    for _ in range(20):
        if asked.at_once() > 1:
            return _made_up(asked, answered)
        await asyncio.sleep(0.01)
    return answered

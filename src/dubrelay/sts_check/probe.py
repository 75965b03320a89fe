"""The client side of the check: requests, and what an answer has to be like whatever was asked."""

from __future__ import annotations

import json
import ssl
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import httpx2
import numpy as np
from pydantic import ValidationError

from dubrelay.errors import StsCode
from dubrelay.sts_check.speech import Mono, as_audio
from dubrelay.wire.fragment import NO_TRANSCRIPT, PROCESS_PATH, ErrorBody, ProcessError, ProcessResult

TIMEOUT_MS = 30_000
"""What requests allow by default: a slow machine is no broken one."""
ANSWER_S = 40.0
RETRIES = 5
LONGEST_PAUSE_S = 10.0
AUDIBLE = 0.002
SHOWN = 160

_RESULT = ("fragment_id", "status", "dubbed_audio", "transcript", "translated_text", "processing_time_ms", "metadata")
_METADATA = ("asr_model", "translation_model", "tts_model", "tempo", "stage_ms", "words")


class Broken(Exception):
    """A clause does not hold; says what was seen."""


class NotTried(Exception):
    """A clause cannot be tried on this service; says why."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: httpx2.Headers
    content: bytes
    took_s: float

    @property
    def text(self) -> str:
        """On one line, cut short."""
        text = " ".join(self.content.decode("utf-8", "replace").split())
        return text if len(text) <= SHOWN else text[:SHOWN] + "..."


@dataclass
class Probe:
    """Requests to one service. Broken where no answer comes."""

    client: httpx2.Client
    """With the service's URL; without its key."""
    speech: Mono
    source: str
    target: str
    key: str = ""
    verify: ssl.SSLContext | bool = True
    bodies: int = field(default=0, init=False)
    heard: str = field(default="", init=False)
    """What the service hears in the speech as it is."""

    @property
    def silence(self) -> Mono:
        return np.zeros(16_000, np.float32)

    def body(self, samples: Mono | None = None, **changes: Any) -> dict[str, Any]:
        """A good request for a phrase of its own; a name with __ changes a part: config__voice_profile="ana"."""
        self.bodies += 1
        body: dict[str, Any] = {
            "fragment_id": str(uuid.uuid4()),
            "stream_id": "sts-check",
            "sequence_number": self.bodies,
            "audio": as_audio(self.speech if samples is None else samples),
            "config": {"source_language": self.source, "target_language": self.target, "voice_profile": "default"},
            "timeout_ms": TIMEOUT_MS,
        }
        for name, value in changes.items():
            *parts, last = name.split("__")
            part = body
            for step in parts:
                part = part.setdefault(step, {})
            part[last] = value
        return body

    def post(self, body: object, *, once: bool = False, **options: Any) -> Answer:
        """`body` is JSON, or bytes as they are. Unless `once`, an overloaded service is asked again when it says so."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        for _ in range(RETRIES):
            answer = self.ask("POST", PROCESS_PATH, content=content, **options)
            pause = answer.headers.get("retry-after", "")
            if once or answer.status not in (429, 503) or not pause.isdecimal() or int(pause) > LONGEST_PAUSE_S:
                break
            time.sleep(int(pause))
        return answer

    def ask(self, method: str, path: str, key: str | None = None, **options: Any) -> Answer:
        """With the service's key, or with another one; an empty one is not sent."""
        key = self.key if key is None else key
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
        began = time.monotonic()
        try:
            answer = self.client.request(method, path, headers=headers, **options)
        except httpx2.HTTPError as e:
            raise Broken(f"{method} {path}: no answer: {str(e) or type(e).__name__}") from e
        return Answer(answer.status_code, answer.headers, answer.content, time.monotonic() - began)

    def dubbed(self, **changes: Any) -> ProcessResult:
        """The dub of the speech."""
        body = self.body(**changes)
        return success(self.post(body), body)


def success(answer: Answer, body: dict[str, Any]) -> ProcessResult:
    """The result of a phrase in which somebody speaks. Broken."""
    result = result_of(answer, body)
    audio = result.dubbed_audio
    if audio is None:
        raise Broken(f"status {result.status} for speech")
    try:
        samples = audio.to_mono()
    except ValueError as e:
        raise Broken(f"dubbed_{e}") from e
    duration_ms = 1000 * len(samples) / audio.sample_rate_hz
    if abs(duration_ms - audio.duration_ms) > 1:
        raise Broken(f"dubbed_audio.duration_ms = {audio.duration_ms}, and the data holds {duration_ms:.1f} ms")
    if not len(samples) or float(np.abs(samples).max()) < AUDIBLE:
        raise Broken("status success, and dubbed_audio is silent")
    excused = any(note.startswith(NO_TRANSCRIPT) for note in result.metadata.notes)
    if not result.translated_text.strip() or not (result.transcript.strip() or excused):
        raise Broken("status success without transcript or translated_text")
    return result


def result_of(answer: Answer, body: dict[str, Any]) -> ProcessResult:
    """An HTTP 200 in the contract's shape, for this request. Broken."""
    fields = _fields(answer, 200)
    lacks = [name for name in _RESULT if name not in fields]
    lacks += [f"metadata.{name}" for name in _METADATA if name not in (fields.get("metadata") or {})]
    if lacks:
        raise Broken(f"the answer lacks {', '.join(lacks)}")
    try:
        result = ProcessResult.model_validate_json(answer.content, strict=True)
    except ValidationError as e:
        raise Broken(_first_problem(e)) from e
    if result.fragment_id != body["fragment_id"]:
        raise Broken(f"fragment_id {body['fragment_id']} was asked for, {result.fragment_id} answered")
    if not 0 <= result.processing_time_ms <= 1000 * answer.took_s + 100:
        raise Broken(f"processing_time_ms = {result.processing_time_ms} of {1000 * answer.took_s:.0f} ms in all")
    return result


def error_of(answer: Answer, status: int | tuple[int, ...], code: StsCode, fragment_id: str | None = None) -> ErrorBody:
    """The error of an answer with that status, in the contract's shape. `fragment_id` None: any. Broken."""
    _fields(answer, status)
    try:
        error = ProcessError.model_validate_json(answer.content, strict=True)
    except ValidationError as e:
        raise Broken(f"HTTP {answer.status}: {_first_problem(e)}: {answer.text}") from e
    if error.error.code != code:
        raise Broken(f"HTTP {answer.status} {error.error.code} instead of {code}")
    if fragment_id is not None and error.fragment_id != fragment_id:
        raise Broken(f"HTTP {answer.status} for fragment_id {error.fragment_id!r} instead of {fragment_id!r}")
    if not error.error.message.strip():
        raise Broken(f"HTTP {answer.status} without a message")
    if "Traceback" in error.error.message or '.py"' in error.error.message:
        raise Broken(f"HTTP {answer.status} with a traceback in its message")
    return error.error


def overloaded(answer: Answer) -> None:
    """What 429 and 503 must say. Broken."""
    error = error_of(answer, (429, 503), "OVERLOADED")
    pause = answer.headers.get("retry-after")
    if pause is None or not pause.isdecimal():
        raise Broken(f"HTTP {answer.status} with Retry-After: {pause}: must be whole seconds")
    if not error.retryable:
        raise Broken(f"HTTP {answer.status} that is not retryable")


def _fields(answer: Answer, status: int | tuple[int, ...]) -> dict[str, Any]:
    """The JSON object of an answer with that status."""
    allowed = status if isinstance(status, tuple) else (status,)
    if answer.status not in allowed:
        raise Broken(f"HTTP {answer.status} instead of {' or '.join(map(str, allowed))}: {answer.text}")
    return json_object(answer)


def json_object(answer: Answer) -> dict[str, Any]:
    """Broken where the answer is none."""
    kind = answer.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "application/json":
        raise Broken(f"HTTP {answer.status} as {kind or 'nothing'} instead of application/json")
    try:
        fields = json.loads(answer.content)
    except (ValueError, RecursionError) as e:
        raise Broken(f"HTTP {answer.status} is not JSON: {answer.text}") from e
    if not isinstance(fields, dict):
        raise Broken(f"HTTP {answer.status} is not a JSON object: {answer.text}")
    return fields


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    field_name = ".".join(str(part) for part in problem["loc"]) or "the answer"
    return f"{field_name}: {problem['msg']}"

"""The HTTP client of every engine behind an OpenAI-compatible API: transcription, chat, speech.

One client per engine, its connections kept open, used from several threads. What goes wrong is an StsError of the
engine's stage. Its message has the status and the service's own code word, never the service's sentences: they may
quote what was said. Those are logged at debug.

    with closing(OpenAi("whisper-api", "asr", options)) as api:
        answer = api.post_json("chat/completions", {"model": options.model, "messages": messages})
        text = api.text_at(answer, "choices", 0, "message", "content")
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

import httpx2
from pydantic_core import from_json

from dubrelay import logs
from dubrelay.config import OpenAiEngine
from dubrelay.errors import ConfigError, Stage, StsCode, StsError
from dubrelay.trust import verification

File = tuple[str, bytes, str]
"""Name, content, media type."""

MAX_ANSWER_BYTES = 20_000_000
_CONNECT_S = 2.0
_KEEP_ALIVE_S = 60.0
_SHOWN_CHARACTERS = 300
_KEY = re.compile(r"[!-~]*")
_CODE_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")

_STATUS: dict[int, tuple[StsCode, bool]] = {
    408: ("TIMEOUT", True),
    425: ("OVERLOADED", True),
    429: ("OVERLOADED", True),
    503: ("OVERLOADED", True),
    504: ("TIMEOUT", True),
}
"""What a status means and whether to try again; any other is a MODEL_ERROR, to be tried again from 500 on."""
_MEANING: list[tuple[tuple[type[Exception], ...], StsCode, bool]] = [
    ((httpx2.TimeoutException,), "TIMEOUT", True),
    ((httpx2.DecodingError, httpx2.LocalProtocolError, httpx2.UnsupportedProtocol), "MODEL_ERROR", False),
    ((httpx2.TransportError, OSError), "MODEL_ERROR", True),
]
"""Exception, what it means, whether to try again; the first that fits."""


class OpenAi:
    """`name` is the engine's. ConfigError when key or CAs cannot be used; nothing is connected yet."""

    def __init__(self, name: str, stage: Stage, options: OpenAiEngine) -> None:
        self._name, self._stage, self._timeout_s = name, stage, options.timeout_s
        self._base = options.url.rstrip("/").removesuffix("/v1")
        self._key = options.key.get_secret_value()
        if not _KEY.fullmatch(self._key):
            raise ConfigError(f"sts.engines.{name}.key = ***: must be of visible ASCII characters, without spaces")
        headers = {"accept-encoding": "identity"}
        if self._key:
            headers["authorization"] = f"Bearer {self._key}"
        self._http = httpx2.Client(
            headers=headers,
            verify=verification(options.ca_file, f"sts.engines.{name}.ca_file"),
            timeout=httpx2.Timeout(options.timeout_s, connect=min(_CONNECT_S, options.timeout_s)),
            limits=httpx2.Limits(keepalive_expiry=_KEEP_ALIVE_S),
            trust_env=False,  # only config.load reads the environment
        )

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def post_json(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON that /v1/`path` answers to a JSON body. StsError as `_failure` and `_refusal` say."""
        return self._parsed(self._post(path, json=dict(body)))

    def post_form(self, path: str, fields: Mapping[str, str], file: File) -> Any:
        """The JSON that /v1/`path` answers to a multipart form of `fields` and a `file`."""
        return self._parsed(self._post(path, data=dict(fields), files={"file": file}))

    def post_for_bytes(self, path: str, body: Mapping[str, Any]) -> bytes:
        """What /v1/`path` answers to a JSON body, as it is: sound."""
        return self._post(path, json=dict(body))

    def text_at(self, answer: Any, *way: str | int) -> str:
        """The text that stands in an answer at these keys and indices. StsError MODEL_ERROR when there is none."""
        value = answer
        for step in way:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError) as e:
                raise self._error("MODEL_ERROR", f"the answer has no {'.'.join(map(str, way))}") from e
        if not isinstance(value, str):
            raise self._error("MODEL_ERROR", f"{'.'.join(map(str, way))} in the answer is no text")
        return value

    def _post(self, path: str, **content: Any) -> bytes:
        began = time.monotonic()
        try:
            with self._http.stream("POST", f"{self._base}/v1/{path}", **content) as response:
                body = bytearray()
                for part in response.iter_bytes():
                    body += part
                    if len(body) > MAX_ANSWER_BYTES:
                        raise self._error("MODEL_ERROR", f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
                    if time.monotonic() - began > self._timeout_s:
                        raise self._error("TIMEOUT", f"no whole answer within {self._timeout_s:g} s", retryable=True)
        except StsError:
            raise
        except Exception as e:
            raise self._failure(e) from e
        if response.status_code != httpx2.codes.OK:
            raise self._refusal(response.status_code, bytes(body))
        return bytes(body)

    def _parsed(self, body: bytes) -> Any:
        try:
            return from_json(body)
        except ValueError as e:
            raise self._error("MODEL_ERROR", "the answer is no JSON") from e

    def _refusal(self, status: int, body: bytes) -> StsError:
        code, retryable = _STATUS.get(status, ("MODEL_ERROR", status >= 500))
        said = body.decode(errors="replace")[:_SHOWN_CHARACTERS]
        if self._key:
            said = said.replace(self._key, "***")
        logs.get().debug("service refused", engine=self._name, status=status, said=said)
        hint = {301: "url", 302: "url", 307: "url", 308: "url", 401: "key", 403: "key", 404: "url or model"}.get(status)
        where = f"; see sts.engines.{self._name}: {hint}" if hint else ""
        return self._error(code, f"{f'HTTP {status} {_code_word(body)}'.strip()}{where}", retryable=retryable)

    def _failure(self, error: Exception) -> StsError:
        """What any exception of a request means: the one place where foreign exceptions are translated."""
        for kinds, code, retryable in _MEANING:
            if isinstance(error, kinds):
                within = f" within {self._timeout_s:g} s" if code == "TIMEOUT" else ""
                return self._error(code, f"no answer{within}: {_words_of(error)}", retryable=retryable)
        return self._error("MODEL_ERROR", f"no answer: {type(error).__name__}")

    def _error(self, code: StsCode, message: str, *, retryable: bool = False) -> StsError:
        return StsError(code, f"{self._name}: {message}", stage=self._stage, retryable=retryable)


def _code_word(body: bytes) -> str:
    """Such as model_not_found: error.code or error.type, where it is one word."""
    try:
        error = from_json(body)["error"]
        words = [error.get("code"), error.get("type")]
    except (ValueError, TypeError, KeyError, AttributeError):
        return ""
    return next((word for word in words if isinstance(word, str) and _CODE_WORD.fullmatch(word)), "")


def _words_of(error: Exception) -> str:
    """Of a failed connection; what other exceptions say might hold the key."""
    text = str(error).partition("\n")[0]
    return text if isinstance(error, httpx2.ConnectError) and text else type(error).__name__

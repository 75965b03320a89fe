from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from certificates import certificate
from dubrelay.config import OpenAiEngine
from dubrelay.errors import ConfigError, StsError
from dubrelay.sts.openai import OpenAi
from media import free_port
from openai_server import Answer, OpenAiServer, breaks_off, drips, floods, hangs, refuses, says

pytestmark = pytest.mark.service

KEY = "sk-very-secret"


class _Options(OpenAiEngine):
    kind: str = "test"


def client(url: str, **options: Any) -> OpenAi:
    return OpenAi("api", "mt", _Options.model_validate({"url": url, "model": "m", **options}))


@contextmanager
def talking(*answers: Answer, **options: Any) -> Iterator[tuple[OpenAi, OpenAiServer]]:
    with OpenAiServer(*answers) as server, closing(client(server.url, **options)) as api:
        yield api, server


def error_of(call: Callable[[], object]) -> StsError:
    with pytest.raises(StsError) as caught:
        call()
    assert caught.value.stage == "mt"
    assert "\n" not in caught.value.message
    return caught.value


def test_json_goes_out_with_the_key_and_json_comes_back() -> None:
    with talking(says({"choices": [{"message": {"content": "hola"}}]}), key=KEY) as (api, server):
        answer = api.post_json("chat/completions", {"model": "m", "n": 1})
        assert api.text_at(answer, "choices", 0, "message", "content") == "hola"
    (asked,) = server.asked
    assert (asked.path, asked.body) == ("/v1/chat/completions", {"model": "m", "n": 1})
    assert asked.headers["authorization"] == f"Bearer {KEY}"


def test_without_a_key_none_is_sent() -> None:
    with talking(says({})) as (api, server):
        api.post_json("chat/completions", {})
    assert "authorization" not in server.asked[0].headers


def test_a_form_carries_fields_and_a_file() -> None:
    with talking(says({"text": "hi"})) as (api, server):
        api.post_form("audio/transcriptions", {"model": "m", "prompt": "ñ"}, ("a.wav", b"RIFF\r\n\x00", "audio/wav"))
    (asked,) = server.asked
    assert (asked.fields, asked.files) == ({"model": "m", "prompt": "ñ"}, {"file": b"RIFF\r\n\x00"})


def test_sound_comes_back_as_it_is() -> None:
    with talking(says(b"\x00\xff\r\n")) as (api, _):
        assert api.post_for_bytes("audio/speech", {"input": "hi"}) == b"\x00\xff\r\n"


def test_the_connection_is_kept_open() -> None:
    with talking(says({})) as (api, server):
        for _ in range(3):
            api.post_json("chat/completions", {})
    assert len(server.asked) == 3 and len(server.connections) == 1


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/"])
def test_the_address_may_end_in_v1(end: str) -> None:
    with OpenAiServer(says({})) as server, closing(client(f"{server.url}/openai{end}")) as api:
        api.post_json("chat/completions", {})
    assert server.asked[0].path == "/openai/v1/chat/completions"


@pytest.mark.parametrize(
    ("status", "code", "retryable", "named"),
    [
        (301, "MODEL_ERROR", False, "sts.engines.api: url"),
        (400, "MODEL_ERROR", False, "HTTP 400"),
        (401, "MODEL_ERROR", False, "sts.engines.api: key"),
        (404, "MODEL_ERROR", False, "sts.engines.api: url or model"),
        (413, "MODEL_ERROR", False, "HTTP 413"),
        (408, "TIMEOUT", True, "HTTP 408"),
        (429, "OVERLOADED", True, "HTTP 429"),
        (500, "MODEL_ERROR", True, "HTTP 500"),
        (502, "MODEL_ERROR", True, "HTTP 502"),
        (503, "OVERLOADED", True, "HTTP 503"),
        (504, "TIMEOUT", True, "HTTP 504"),
    ],
)
def test_a_status_says_whether_to_try_again(status: int, code: str, retryable: bool, named: str) -> None:
    with talking(refuses(status, "its_code")) as (api, _):
        error = error_of(lambda: api.post_json("chat/completions", {}))
    assert (error.code, error.retryable) == (code, retryable)
    assert named in error.message and "its_code" in error.message


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error": "text"}', b'{"error": {"code": 7}}', b"\xff"])
def test_a_refusal_without_a_code_word_is_its_status(body: bytes) -> None:
    with talking(says(body, 500)) as (api, _):
        assert error_of(lambda: api.post_json("chat/completions", {})).message == "api: HTTP 500"


def test_what_a_service_says_of_the_phrase_or_the_key_stays_out_of_the_message() -> None:
    with talking(refuses(400, "bad input: hello there", f"cannot translate hello there with {KEY}"), key=KEY) as (
        api,
        _,
    ):
        error = error_of(lambda: api.post_json("chat/completions", {}))
    assert error.message == "api: HTTP 400"


@pytest.mark.parametrize(
    ("answer", "code", "retryable"),
    [
        (hangs, "TIMEOUT", True),
        (drips, "TIMEOUT", True),
        (floods, "MODEL_ERROR", False),
        (breaks_off, "MODEL_ERROR", True),
        (says(b"<html>"), "MODEL_ERROR", False),
        (says(b"[" * 100_000), "MODEL_ERROR", False),
    ],
    ids=["hangs", "drips", "floods", "breaks off", "no JSON", "nests"],
)
def test_an_answer_that_is_none_is_an_error_of_the_stage(answer: Answer, code: str, retryable: bool) -> None:
    with talking(answer, timeout_s=0.5 if answer in (hangs, drips) else 10) as (api, _):
        error = error_of(lambda: api.post_json("chat/completions", {}))
    assert (error.code, error.retryable) == (code, retryable)


def test_a_service_that_is_not_there_may_come_back() -> None:
    with closing(client(f"http://127.0.0.1:{free_port()}")) as api:
        error = error_of(lambda: api.post_json("chat/completions", {}))
    assert (error.code, error.retryable) == ("MODEL_ERROR", True)


@pytest.mark.parametrize(
    "answer", [{}, {"choices": []}, {"choices": [{"message": None}]}, {"choices": 3}, [], "x", None]
)
def test_an_answer_without_the_text_names_where_it_should_be(answer: object) -> None:
    with closing(client("http://127.0.0.1:1")) as api:
        error = error_of(lambda: api.text_at(answer, "choices", 0, "message", "content"))
    assert error.message == "api: the answer has no choices.0.message.content"


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "clé"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigError, match=r"^sts\.engines\.api\.key = \*\*\*: must be") as caught:
        client("http://127.0.0.1:1", key=key)
    assert key not in str(caught.value)


def test_certificates_are_those_of_the_given_ca(tmp_path: Path) -> None:
    made = certificate(tmp_path)
    with OpenAiServer(says({"ok": 1}), certificate=made) as server:
        with closing(client(server.url, ca_file=made.file)) as api:
            assert api.post_json("chat/completions", {}) == {"ok": 1}
        with closing(client(server.url)) as api:
            assert "certificate verify failed" in error_of(lambda: api.post_json("chat/completions", {})).message
    with pytest.raises(ConfigError, match=r"^sts\.engines\.api\.ca_file = '.*gone': cannot be read"):
        client("https://127.0.0.1:1", ca_file=tmp_path / "gone")

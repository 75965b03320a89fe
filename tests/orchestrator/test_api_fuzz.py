"""Requests that nobody should send: each is refused in words, or done, and nothing of it is kept by halves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dubrelay import config
from dubrelay.config import StreamConfig
from dubrelay.wire.streams import STREAMS_PATH
from fake_mediamtx import FakeMediaMtx
from media import free_port
from running_orchestrator import RunningOrchestrator
from waiting import wait_for

pytestmark = [pytest.mark.service, pytest.mark.timeout(180)]

MOST_OF_A_MESSAGE = 11_000
"""A thousand characters, should each be one that is escaped."""
X = f"{STREAMS_PATH}/x"
GOOD_URL = "rtmp://a.example/live/KEY"


@pytest.fixture(scope="module")
def orchestrator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningOrchestrator]:
    """A stream `x` runs, and has phrases."""
    with FakeMediaMtx() as fake:
        fake.publish("x", "a1")
        state = config.Paths(state_dir=tmp_path_factory.mktemp("fuzz"))
        at = config.Orchestrator(port=free_port(), poll_interval_s=0.2)
        given_settings = config.Settings(paths=state, mediamtx=config.MediaMtx(api_port=fake.port), orchestrator=at)
        with RunningOrchestrator(given_settings) as running:
            running.wait_state("x", "running")
            wait_for(lambda: running.get(X)["phrases"], 5, "phrases")
            yield running


def sent(orchestrator: RunningOrchestrator, method: str, path: str, body: object = None) -> httpx2.Response:
    """As JSON, with NaN and Infinity as Python writes them; bytes as they are."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {} if method == "GET" else {"Content-Type": "application/json"}
    return orchestrator.http.request(method, path, content=None if method == "GET" else content, headers=headers)


def is_refused(answer: httpx2.Response, code: str = "") -> str:
    """In the one shape that there is; the words."""
    assert 400 <= answer.status_code < 500, answer.text[:500]
    body = answer.json()
    assert set(body) == {"error"} and set(body["error"]) == {"code", "message"}
    message: str = body["error"]["message"]
    assert code in ("", body["error"]["code"])
    assert 0 < len(message) <= MOST_OF_A_MESSAGE
    assert "Traceback" not in message
    assert message.isprintable(), message
    return message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NO_TEXT = JSON.filter(lambda value: value is not None and not isinstance(value, str))
NO_NUMBER = JSON.filter(lambda value: value is not None and not isinstance(value, int | float | str))
OTHER_TEXT = st.text().filter(lambda text: not text.isascii() or not text.replace("-", "").isalnum()) | st.text(
    "<>&\"'/\\ \0\n;", min_size=1
)
CONTROLS = st.sampled_from(
    ["\0", "\x01", "\t", "\n", "\r", "\x1b", "\x7f", "\x85", "\u2028", "\u2029", "\u202e", "\u2066"]
)
WITH_CONTROLS = st.builds("{}{}{}".format, st.text("ab<>", max_size=5), CONTROLS, st.text("ab<>", max_size=5))
HALF = st.sampled_from(["\ud800", "a\udfff"])
BAD_TERM = st.one_of(
    NO_TEXT,
    st.fixed_dictionaries({"source": WITH_CONTROLS | HALF | NO_TEXT | st.sampled_from(["", " ", "\u00a0", "x" * 101])}),
    st.fixed_dictionaries({"source": st.just("goal"), "target": WITH_CONTROLS | HALF | NO_TEXT | st.just("x" * 101)}),
    st.dictionaries(st.text(max_size=5).filter(lambda key: key != "source"), JSON, max_size=2),
    st.just({"source": "goal", "colour": "red"}),
)
GLOSSARIES = st.one_of(
    st.lists(BAD_TERM, min_size=1, max_size=3),
    NO_TEXT.filter(lambda value: value != []),
    st.just([{"source": f"term {n}"} for n in range(201)]),
)
LISTS = NO_TEXT.filter(lambda value: value != []) | st.lists(OTHER_TEXT, min_size=1, max_size=3)
BAD_GAIN = NO_NUMBER | st.sampled_from([1, 0.001, -100.5, -1e400, 1e400, float("nan"), 10**400, "loud"])
WRONG: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(["mode", "programme", "fallback"], NO_TEXT | OTHER_TEXT | st.text("abc", min_size=1)),
    **dict.fromkeys(["source_language", "target_language"], NO_TEXT | OTHER_TEXT | st.text("abc", min_size=10)),
    "voice": NO_TEXT | OTHER_TEXT.filter(lambda text: "<" in text or not text.isascii()) | st.just("a" * 65),
    **dict.fromkeys(["floor_gain_db", "original_gain_db"], BAD_GAIN),
    "glossary": GLOSSARIES,
    "record": NO_NUMBER.filter(lambda value: not isinstance(value, bool))
    | st.sampled_from([2, -1, 0.5, "maybe", "\0"]),
    **dict.fromkeys(["publisher_lang", "publisher_src", "publisher_voice"], LISTS),
}


def test_each_key_has_its_wrong_values() -> None:
    assert set(WRONG) == set(StreamConfig.model_fields)


@settings(max_examples=150, derandomize=True)
@given(st.sampled_from(sorted(WRONG)).flatmap(lambda name: st.tuples(st.just(name), WRONG[name])))
@example(("glossary", [{"source": "a", "target": "\u202egnp.exe"}]))
@example(("glossary", [{"source": "<b>\0"}]))
@example(("glossary", [{"source": "a", "\ud800": 1}]))
def test_a_wrong_setting_is_refused_and_named(orchestrator: RunningOrchestrator, change: tuple[str, Any]) -> None:
    key, value = change
    message = is_refused(sent(orchestrator, "PUT", f"{X}/config", {"fallback": "ducked", key: value}), "INVALID_INPUT")
    assert message.startswith("config: ")
    assert key in message


@settings(max_examples=75, derandomize=True)
@given(st.binary(max_size=300) | JSON.filter(lambda value: value != {}))
@example({"\ud800": 1})
@example({"<script>": 1, "x" * 5000: 2, "\0\x1b[2J": 3})
@example({f"key {n}": n for n in range(20_000)})
@example({"glossary": [{"source": ""}] * 20_000})
def test_no_other_body_is_settings(orchestrator: RunningOrchestrator, body: object) -> None:
    is_refused(sent(orchestrator, "PUT", f"{X}/config", body), "INVALID_INPUT")


@settings(max_examples=75, derandomize=True)
@given(name=st.text(min_size=1, max_size=40) | st.just("main"), body=st.binary(max_size=300) | JSON)
@example(name="main", body={"url": GOOD_URL, "\ud800": 1})
@example(name="main", body={"url": "\ud800"})
@example(name="main", body={"url": "rtmp://a.example/live/K\0EY"})
@example(name="main", body={"url": "javascript:alert(1)//"})
@example(name="main", body={"url": "rtmp://" + "a" * 5000})
@example(name="main", body=b"[" * 100_000)
@example(name="<img src=x onerror=alert(1)>", body={"url": GOOD_URL})
@example(name="\u202eniam", body={"url": GOOD_URL})
def test_no_other_body_is_a_destination(orchestrator: RunningOrchestrator, name: str, body: object) -> None:
    is_refused(sent(orchestrator, "PUT", f"{X}/destinations/{in_path(name)}", body))


NO_BREAK = st.binary(min_size=1, max_size=100).filter(lambda body: body.strip() not in (b"{}", b"null"))


@settings(max_examples=50, derandomize=True)
@given(NO_BREAK | JSON.filter(lambda value: value is not None and value != {}))
@example({"minutes": float("nan")})
@example({"minutes": 1e400})
@example({"minutes": 5, "\ud800": 1})
@example(b"[" * 100_000)
def test_no_other_body_is_a_break(orchestrator: RunningOrchestrator, body: object) -> None:
    is_refused(sent(orchestrator, "POST", f"{X}/break", body))


def in_path(text: str) -> str:
    """Half characters cannot stand in a URL; their bytes can."""
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


IDS = st.text(min_size=1, max_size=80) | st.just("x") | st.sampled_from(["..", "%2e", "x\0", "<script>", "x" * 5000])
ROUTES = [
    ("GET", ""),
    ("GET", "/history"),
    ("GET", "/captions.vtt"),
    ("GET", "/config"),
    ("GET", "/audit"),
    ("GET", "/trace.zip"),
    ("GET", "/phrases/{}/out.wav"),
    ("GET", "/phrases/0000000000000001-abcd/{}.wav"),
    ("GET", "/phrases/{}/trace.zip"),
    ("GET", "/preview/{}/index.m3u8"),
    ("GET", "/preview/in/{}"),
    ("GET", "/destinations"),
    ("DELETE", "/destinations/{}"),
    ("POST", "/destinations/{}/stop"),
    ("POST", "/restart/{}"),
]
NUMBERS = st.sampled_from(["", "-1", "0", "1e400", "-1e308", "1e308", "nan", "-inf", "inf", "9" * 400, "\0", "x", "٣"])
ASKED = st.dictionaries(
    st.sampled_from(["after", "since", "lang", "limit", "minutes", "_HLS_msn", "session"]),
    NUMBERS | st.text(max_size=9),
)


@settings(max_examples=200, derandomize=True)
@given(
    route=st.sampled_from(ROUTES),
    stream_id=IDS,
    what=st.text(min_size=1, max_size=80),
    asked=ASKED,
)
@example(route=("GET", "/captions.vtt"), stream_id="x", what="x", asked={"since": "-inf", "lang": "en"})
@example(route=("GET", "/captions.vtt"), stream_id="x", what="x", asked={"since": "-1e308", "lang": "en"})
@example(route=("GET", "/captions.vtt"), stream_id="x", what="x", asked={"lang": "\u202e\0"})
@example(route=("GET", "/history"), stream_id="x", what="x", asked={"after": "nan"})
@example(route=("GET", "/preview/in/{}"), stream_id="x", what="\n.m3u8", asked={})
def test_any_question_has_an_answer(
    orchestrator: RunningOrchestrator, route: tuple[str, str], stream_id: str, what: str, asked: dict[str, str]
) -> None:
    method, path = route
    query = "&".join(f"{key}={in_path(value)}" for key, value in asked.items())
    answer = sent(orchestrator, method, f"{STREAMS_PATH}/{in_path(stream_id)}{path.format(in_path(what))}?{query}", {})
    if answer.status_code >= 400:
        if answer.status_code == 503:  # nobody plays MediaMTX's pictures here
            assert answer.json()["error"]["code"] == "MEDIAMTX_UNAVAILABLE"
        else:
            is_refused(answer)


def test_nothing_of_all_that_was_kept(orchestrator: RunningOrchestrator) -> None:
    """The last one."""
    assert orchestrator.get(f"{X}/config")["version"] == 0
    assert orchestrator.get(f"{X}/destinations") == {"destinations": []}
    stream = orchestrator.get(X)
    assert (stream["programme"], stream["restarts"]) == ("dub", 0), "no worker was kept waiting for so long"
    assert orchestrator.get("/healthz")["status"] == "ok"

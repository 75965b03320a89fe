from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from dubrelay.config import Orchestrator, Settings
from dubrelay.orchestrator.mediamtx import ControlApi, MediaMtxError, PathSource, server_environment, stream_of
from fake_mediamtx import FakeMediaMtx, path_item

T = TypeVar("T")
SOURCE = PathSource(type="rtmpConn", id="a1")


def asked(fake: FakeMediaMtx, question: Callable[[ControlApi], Awaitable[T]]) -> T:
    async def scene() -> T:
        api = ControlApi(f"http://127.0.0.1:{fake.port}")
        try:
            return await question(api)
        finally:
            await api.close()

    return asyncio.run(scene())


@pytest.mark.unit
@pytest.mark.parametrize(
    ("path", "stream"),
    [
        ("live/abc/in", ("abc", "in")),
        ("live/A-b_9/out", ("A-b_9", "out")),
        (f"live/{'x' * 64}/in", ("x" * 64, "in")),
        (f"live/{'x' * 65}/in", None),
        ("live/../etc/in", None),
        ("live/a;b/in", None),
        ("live/-a/in", None),
        ("live/a/in\n", None),
        ("live/a/in/", None),
        ("live//in", None),
        ("live/a/b", None),
        ("other/a/in", None),
        ("live/é/in", None),
    ],
)
def test_only_the_paths_of_streams_are_streams(path: str, stream: tuple[str, str] | None) -> None:
    assert stream_of(path) == stream


@pytest.mark.unit
def test_the_server_is_told_its_addresses_and_the_way_to_the_orchestrator() -> None:
    settings = Settings(orchestrator=Orchestrator(port=18080, hook_token="secret"))
    environment = server_environment(settings)
    assert environment["MTX_RTMPADDRESS"] == "127.0.0.1:1935"
    assert environment["MTX_APIADDRESS"] == "127.0.0.1:9997"
    assert environment["MTX_LOGLEVEL"] == "info"
    assert environment["DUBRELAY_HOOK_URL"] == "http://127.0.0.1:18080"
    assert environment["DUBRELAY_HOOK_TOKEN"] == "secret"


@pytest.mark.service
def test_the_list_of_paths_is_read_to_its_last_page() -> None:
    with FakeMediaMtx() as fake:
        fake.paths = [path_item(f"live/s{n:04}/in", str(n)) for n in range(1203)]
        paths = asked(fake, lambda api: api.paths())
        assert [path.name for path in paths] == [path["name"] for path in fake.paths]
        assert len(fake.requests) == 3


@pytest.mark.service
def test_an_empty_server_has_no_paths() -> None:
    with FakeMediaMtx() as fake:
        assert asked(fake, lambda api: api.paths()) == []


@pytest.mark.service
def test_one_path_a_publishers_query_and_kick() -> None:
    with FakeMediaMtx() as fake:
        fake.publish("x", "a1", query="lang=fr")
        (path,) = asked(fake, lambda api: api.paths())
        assert path.codecs == ["H264", "MPEG-4 Audio"]
        assert path.source == SOURCE
        assert asked(fake, lambda api: api.query_of(SOURCE)) == "lang=fr"
        assert asked(fake, lambda api: api.query_of(PathSource(type="rtmpConn", id="gone"))) == ""
        assert asked(fake, lambda api: api.query_of(PathSource(type="redirect"))) == ""
        assert asked(fake, lambda api: api.kick(SOURCE)) is True
        assert asked(fake, lambda api: api.kick(PathSource(type="rtmpConn", id="gone"))) is False
        assert fake.kicked == ["a1"]


@pytest.mark.service
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((500, b"{}"), "answered 500"),
        ((401, b"{}"), "answered 401"),
        ((302, b""), "answered 302"),
        ((200, b"<html>"), "answered with something that is not JSON"),
        ((200, b"\xff\xfe"), "answered with something that is not JSON"),
        ((200, b'{"items": 3}'), "answered with an unknown shape"),
        ((404, b""), "answered with an unknown shape"),
    ],
)
def test_every_wrong_answer_becomes_one_error(answer: tuple[int, bytes], message: str) -> None:
    with FakeMediaMtx() as fake:
        fake.answer = answer
        with pytest.raises(MediaMtxError, match=message) as caught:
            asked(fake, lambda api: api.paths())
        assert caught.value.retryable


@pytest.mark.service
def test_a_server_that_is_not_there_or_never_answers_becomes_the_same_error() -> None:
    with FakeMediaMtx() as fake:
        pass  # closed again: its port is known and nobody listens
    with pytest.raises(MediaMtxError, match="cannot be reached"):
        asked(fake, lambda api: api.paths())
    with socket.create_server(("127.0.0.1", 0)) as silent:

        async def scene() -> None:
            api = ControlApi(f"http://127.0.0.1:{silent.getsockname()[1]}")
            try:
                await api.paths()
            finally:
                await api.close()

        with pytest.raises(MediaMtxError, match="does not answer within 2 s"):
            asyncio.run(scene())

"""Destinations by API, as far as no MediaMTX is needed."""

from __future__ import annotations

import asyncio

import pytest

from dubrelay import config
from dubrelay.orchestrator.egress import asked_for
from dubrelay.orchestrator.own_address import is_own_address
from media import free_mediamtx_settings, free_port
from running_orchestrator import RunningOrchestrator


@pytest.mark.service
def test_the_api_refuses_what_is_none() -> None:
    settings = config.Settings(mediamtx=free_mediamtx_settings(), orchestrator=config.Orchestrator(port=free_port()))
    with RunningOrchestrator(settings) as orchestrator:
        http = orchestrator.http
        good = {"url": "rtmp://h/app/key"}
        for path, status in {
            "/v1/streams/x/destinations/Main": 400,
            "/v1/streams/x.y/destinations/main": 400,
            "/v1/streams/x/destinations/main": 204,
        }.items():
            assert http.put(path, json=good).status_code == status
        (view,) = orchestrator.get("/v1/streams/x/destinations")["destinations"]
        assert (view["url"], view["state"]) == ("rtmp://h/app", None)
        for n in range(15):
            assert http.put(f"/v1/streams/x/destinations/n{n}", json=good).status_code == 204
        assert http.put("/v1/streams/x/destinations/too-many", json=good).status_code == 409
        assert http.put("/v1/streams/x/destinations/n3", json=good).status_code == 204
        assert http.delete("/v1/streams/x/destinations/n3").status_code == 204
        assert http.delete("/v1/streams/x/destinations/n3").status_code == 404
        assert http.get("/v1/streams/x.y/destinations").status_code == 400


@pytest.mark.unit
@pytest.mark.parametrize(
    ("query", "hosts", "names", "refused"),
    [
        ("dest=rtmp://a.example/x/k", ["a.example"], ["publisher-1"], 0),
        ("dest=rtmp://A.example/x/k", ["a.EXAMPLE"], ["publisher-1"], 0),
        ("dest=rtmp://a.b.example/x/k", ["*.example"], ["publisher-1"], 0),
        ("dest=rtmp://a.example/x/k", [], [], 1),
        ("dest=rtmp://example/x/k", ["*.example"], [], 1),
        ("dest=rtmp://a.example.evil/x/k", ["*.example"], [], 1),
        ("dest=rtmp://a.example@evil/x/k", ["a.example"], [], 1),
        ("dest=rtmp://evil/a.example/k&dest=rtmp://a.example/x/k", ["a.example"], ["publisher-2"], 1),
        ("dest=http://a.example/SECRET", ["a.example"], [], 1),
        ("&".join(["dest=rtmp://a.example/x/k"] * 6), ["a.example"], [f"publisher-{n}" for n in range(1, 5)], 2),
        ("lang=es&key=SECRET", ["a.example"], [], 0),
        ("&".join(["a=b"] * 99), ["a.example"], [], 0),
    ],
)
def test_a_publisher_may_name_hosts_that_are_allowed(
    query: str, hosts: list[str], names: list[str], refused: int
) -> None:
    asked, why = asked_for(query, hosts)
    assert [destination.name for destination in asked] == names
    assert len(why) == refused
    assert "SECRET" not in "".join(why)


@pytest.mark.service
@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("rtmp://localhost/live/x/in", True),
        ("rtmp://127.0.0.1:1935/live/x/in", True),
        ("rtmps://127.0.0.1:1936/live/x/in", True),
        ("rtmp://127.1.2.3/live/x/in", True),
        ("rtmp://[::1]/live/x/in", True),
        ("rtmp://[::ffff:127.0.0.1]/live/x/in", True),
        ("rtmp://0.0.0.0/live/x/in", True),
        ("srt://127.0.0.1:8890?streamid=publish:live/x/in", True),
        ("whip://127.0.0.1:9997/v3/config/global/patch", True),
        ("whip://127.0.0.1:8080/v1/streams", True),
        ("rtmp://127.0.0.1:1937/live/x/in", False),
        ("rtmp://192.0.2.1/live/x/in", False),
        ("rtmp://no-such-host.invalid/live/x/in", False),
    ],
)
def test_the_systems_own_ports_are_no_destination(url: str, own: bool) -> None:
    destination = config.Destination(name="a", url=url)
    assert asyncio.run(is_own_address(config.Settings(), destination.target)) is own

from __future__ import annotations

from pathlib import Path

import pytest

from dubrelay import config
from dubrelay.orchestrator.addresses import media_host, reached_at, stream_addresses

pytestmark = pytest.mark.unit

EVERYWHERE = config.Settings(mediamtx=config.MediaMtx(host="0.0.0.0"))


def test_an_address_that_others_know_is_named() -> None:
    assert reached_at("media.example") == "media.example"
    assert reached_at("0.0.0.0") not in {"", "0.0.0.0"}


def test_mediamtx_is_where_who_asks_found_the_orchestrator_if_it_listens_everywhere() -> None:
    assert media_host(EVERYWHERE, "media.example:8080") == "media.example"
    assert media_host(EVERYWHERE, "[2001:db8::7]:8080") == "[2001:db8::7]"
    assert media_host(config.Settings(), "media.example:8080") == "127.0.0.1"


@pytest.mark.parametrize("asked_as", ["", "localhost:8080", "127.0.0.1", "[::1]:8080", 'a"><script>', "a b", "x" * 300])
def test_a_name_that_says_nothing_is_not_taken(asked_as: str) -> None:
    assert media_host(EVERYWHERE, asked_as) == reached_at("0.0.0.0")


def test_a_stream_s_addresses_have_a_place_for_the_key_and_never_a_key() -> None:
    found = stream_addresses(config.Settings(), "news", "key")
    assert found.publish == "rtmp://127.0.0.1:1935/live/news/in?key=KEY"
    assert (found.obs_server, found.obs_stream_key) == ("rtmp://127.0.0.1:1935/live", "news/in?key=KEY")
    assert found.publish_srt == "srt://127.0.0.1:8890?streamid=publish:live/news/in:ANY:KEY"
    assert found.publish_whip == "http://127.0.0.1:8889/live/news/in/whip"
    assert found.watch == "http://127.0.0.1:8888/live/news/out/?key=KEY"
    assert found.watch_hls == "http://127.0.0.1:8888/live/news/out/index.m3u8?key=KEY"
    assert found.watch_rtmp == "rtmp://127.0.0.1:1935/live/news/out?key=KEY"
    assert found.publish_needs_key
    assert found.watch_needs_key


def test_without_keys_the_addresses_have_no_place_for_one() -> None:
    found = stream_addresses(config.Settings(access=config.Access(publishers="open")), "news", "open")
    assert not found.publish_needs_key
    assert not found.watch_needs_key
    assert "KEY" not in found.model_dump_json()
    assert found.player.startswith('<iframe src="http://127.0.0.1:8888/live/news/out/" title="news" ')


def test_with_a_certificate_publishers_and_players_use_rtmps() -> None:
    secure = config.MediaMtx(host="0.0.0.0", tls_cert=Path("/tls.crt"), tls_key=Path("/tls.key"))
    found = stream_addresses(config.Settings(mediamtx=secure), "news", "open", "media.example")
    assert found.publish == "rtmps://media.example:1936/live/news/in?key=KEY"
    assert found.watch_rtmp == "rtmps://media.example:1936/live/news/out"

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dubrelay import config
from dubrelay.destination import SCHEMES, target
from dubrelay.errors import ConfigError

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("pasted", "forward", "shown"),
    [
        ("rtmp://a.rtmp.youtube.com/live2/ab-cd", "rtmp://a.rtmp.youtube.com/live2#ab-cd", "rtmp://a.rtmp.youtube.com/live2"),
        ("RTMPS://h:443/rtmp/FB-1?s=2&a=b/c", "rtmps://h:443/rtmp#FB-1?s=2&a=b/c", "rtmps://h:443/rtmp"),
        ("rtmp://h/live2?backup=1/K", "rtmp://h/live2?backup=1#K", "rtmp://h/live2"),
        ("rtmp://h/app#K", "rtmp://h/app#K", "rtmp://h/app"),
        ("rtmp://h/app#K/L?m=n", "rtmp://h/app#K/L?m=n", "rtmp://h/app"),
        ("rtmp://h/live/news/in", "rtmp://h/live/news#in", "rtmp://h/live"),
        ("rtmp://h/K", "rtmp://h/#K", "rtmp://h"),
        ("rtmp://u:p@h/app/K", "rtmp://u:p@h/app#K", "rtmp://h/app"),
        ("rtmp://h/app/K$MTX_PATH%41", "rtmp://h/app#K%24MTX_PATH%2541", "rtmp://h/app"),
        ("rtmp://[::1]:1936/app/K", "rtmp://[::1]:1936/app#K", "rtmp://[::1]:1936/app"),
        ("srt://h:9000", "srt://h:9000?conntimeo=10000", "srt://h:9000"),
        ("srt://h:9?conntimeo=1", "srt://h:9?conntimeo=1", "srt://h:9"),
        ("srt://h:9?streamid=#!::r=x,m=y", "srt://h:9?streamid=%23!::r=x,m=y&conntimeo=10000", "srt://h:9"),
        ("whips://h/v2/offer#K", "whips://h/v2/offer", "whips://h"),
    ],
)  # fmt: skip
def test_what_people_paste_becomes_what_mediamtx_takes(pasted: str, forward: str, shown: str) -> None:
    found = target(pasted)
    assert (found.forward, found.shown) == (forward, shown)


def test_a_whip_key_is_a_bearer_token_and_a_port_is_known() -> None:
    assert (target("whips://h/x#K").bearer, target("whips://h/x#K").port) == ("K", 443)
    assert [target(f"{scheme}://h:7/a/b").port for scheme in SCHEMES] == [7] * len(SCHEMES)
    assert (target("rtmp://h/a/b").port, target("rtmps://h/a/b").port) == (1935, 443)


@pytest.mark.parametrize(
    ("pasted", "message"),
    [
        ("http://h/a/SECRET", "must be an rtmp"),
        ("file:///etc/SECRET", "must be an rtmp"),
        ("rtsp://h/SECRET", "must be an rtmp"),
        ("SECRET", "must be an rtmp"),
        ("rtmp://h/app/SE CRET", "without spaces"),
        ("rtmp://h/app/SECRET\n", "without spaces"),
        ("rtmp://h/app/é", "ASCII"),
        ("rtmp:///app/SECRET", "name a host"),
        ("rtmp://h:99999/app/SECRET", "port of 1 to 65535"),
        ("rtmp://h:SECRET/app/k", "port of 1 to 65535"),
        ("rtmp://h", "lacks app and key"),
        ("rtmp://h/", "lacks app and key"),
        ("srt://h?streamid=SECRET", "names a port"),
        ("whip://h/x?token=SECRET", "bearer token"),
        ("rtmp://h%00/app/SECRET", "name a host"),
    ],
)
def test_what_cannot_be_forwarded_to_is_refused_without_its_key(pasted: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        target(pasted)
    assert "SECRET" not in str(caught.value)
    with pytest.raises(ConfigError, match=message) as refused:
        config.validated(config.Settings, {"streams": {"x": {"destinations": [{"name": "a", "url": pasted}]}}}, "file")
    assert "SECRET" not in refused.value.message
    with pytest.raises(ValidationError):
        config.Destination(name="a", url=pasted)


KEYS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=6, max_size=40)


@given(
    key=KEYS,
    place=st.sampled_from(["rtmp://h.example/app#{}", "rtmps://h.example:444/app#{}", "whips://h.example/x#{}"]),
)
def test_no_key_is_ever_shown_and_it_arrives_as_it_was_given(key: str, place: str) -> None:
    found = target(place.format(key))
    assert found.bearer == key or unquote(found.forward.partition("#")[2]) == key
    assert "$" not in found.forward
    assert key in found.secrets
    for text in (found.shown, repr(found), str(config.Destination(name="a", url=place.format(key)))):
        assert key not in text


@given(st.text(max_size=60), st.sampled_from(SCHEMES))
def test_any_text_is_a_target_or_a_plain_refusal(text: str, scheme: str) -> None:
    for url in (text, f"{scheme}://{text}", f"{scheme}://host.example/{text}"):
        try:
            found = target(url)
        except ValueError:
            continue
        assert found.forward.startswith(f"{found.scheme}://")
        assert 1 <= found.port <= 65535
        assert not {"@", "?", "#"} & set(found.shown)

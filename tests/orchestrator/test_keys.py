"""The file of keys: what is kept, who may read it, and what happens when it changes or breaks."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay.errors import ConfigError
from dubrelay.orchestrator import keys
from dubrelay.orchestrator.keys import KeyRing, Keys

pytestmark = pytest.mark.unit

NOW = 1_000_000.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "keys.json"


def test_a_key_is_kept_as_its_digest_in_a_file_of_our_own(path: Path) -> None:
    key = keys.new(path, "studio", "publish", stream="main")
    assert len(key) >= 32
    assert key not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir() if file.suffix != ".lock"] == ["keys.json"]
    assert keys.read(path).publisher([key], "main", NOW) == "studio"


def test_each_key_opens_one_thing(path: Path) -> None:
    publish = keys.new(path, "p", "publish", stream="a")
    watch = keys.new(path, "w", "watch", stream="a", side="out")
    token = keys.new(path, "t", "api", role="viewer")
    ring = keys.read(path)
    every = [publish, watch, token]
    assert [ring.publisher([key], "a", NOW) for key in every] == ["p", "", ""]
    assert [ring.watcher([key], "a", "out", NOW) for key in every] == ["", "w", ""]
    assert [ring.watcher([key], "a", "in", NOW) for key in every] == ["", "", ""]
    assert [ring.caller(key, NOW) for key in every] == [None, None, ("t", "viewer")]
    assert ring.publisher([publish], "b", NOW) == ""
    assert ring.publisher(["", "x", publish], "a", NOW) == "p"


def test_the_digest_is_not_the_key(path: Path) -> None:
    keys.new(path, "p", "publish", stream="a")
    ring = keys.read(path)
    assert ring.publisher([ring.keys[0].digest], "a", NOW) == ""


def test_a_key_ends_and_is_then_forgotten(path: Path) -> None:
    key = keys.new(path, "p", "publish", stream="a", lasts_s=10, clock=lambda: NOW)
    ring = keys.read(path)
    assert ring.publisher([key], "a", NOW + 9) == "p"
    assert ring.publisher([key], "a", NOW + 10) == ""
    keys.new(path, "other", "publish", stream="a", clock=lambda: NOW + 11)
    assert [key.name for key in keys.read(path).keys] == ["other"]


def test_what_is_revoked_opens_nothing_more(path: Path) -> None:
    seen = Keys(path)
    kept, gone = (keys.new(path, name, "publish", stream="a") for name in ("kept", "gone"))
    assert seen.ring().publisher([gone], "a", NOW) == "gone"
    keys.revoke(path, ["gone"])
    assert seen.ring().publisher([gone], "a", NOW) == ""
    assert seen.ring().publisher([kept], "a", NOW) == "kept"
    with pytest.raises(ConfigError, match="NAME = gone: there is no such key"):
        keys.revoke(path, ["kept", "gone"])
    assert seen.ring().publisher([kept], "a", NOW) == "kept"


def test_links_are_revoked_all_at_once(path: Path) -> None:
    query = keys.link(path, "a", "out", 100, clock=lambda: NOW)
    expires, signature = (part.partition("=")[2] for part in query.split("&"))
    assert keys.read(path).link_holds("a", "out", expires, signature, NOW)
    keys.revoke_links(path)
    assert not keys.read(path).link_holds("a", "out", expires, signature, NOW)


def test_a_temporary_key_is_gone_afterwards(path: Path) -> None:
    with keys.temporary(path, "demo", "a", 60) as key:
        assert keys.read(path).publisher([key], "a", NOW).startswith("demo-")
    assert keys.read(path).keys == ()


@pytest.mark.parametrize("name", ["", "a b", "../x", "-a", "a" * 65, "a\n", "é"])
def test_a_name_is_checked(path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"^NAME = .*: must be 1 to 64 letters"):
        keys.new(path, name, "api", role="admin")
    assert not path.exists()


@pytest.mark.parametrize("stream", ["", "../etc", "a/b", "a\n", "a" * 65, "-a"])
def test_a_stream_is_checked(path: Path, stream: str) -> None:
    with pytest.raises(ConfigError, match=r"^STREAM = .*: must be 1 to 64 letters"):
        keys.new(path, "a", "publish", stream=stream)
    with pytest.raises(ConfigError, match=r"^STREAM = "):
        keys.link(path, stream, "out", 60)


def test_a_name_is_given_once(path: Path) -> None:
    keys.new(path, "a", "api", role="admin")
    with pytest.raises(ConfigError, match="there is a key of that name"):
        keys.new(path, "a", "publish", stream="x")


def test_many_at_once_lose_none(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: keys.new(path, f"k{n}", "publish", stream="a"), range(30)))
    assert len(keys.read(path).keys) == 30


def test_a_file_that_others_may_read_or_change_is_refused(path: Path) -> None:
    keys.new(path, "a", "api", role="admin")
    for mode in (0o604, 0o602):
        path.chmod(mode)
        with pytest.raises(ConfigError, match=f"other users may read or change it \\(mode {mode:04o}\\)"):
            Keys(path)


@pytest.mark.parametrize(
    "content", ["", "no json", "[]", '{"version": 2}', '{"link_secret": "short"}', '{"keys": [{"name": 1}]}']
)
def test_a_broken_file_is_refused_at_the_start_and_ignored_later(path: Path, content: str) -> None:
    key = keys.new(path, "a", "publish", stream="x")
    running = Keys(path)
    path.write_text(content)
    with pytest.raises(ConfigError, match="is no file of keys"):
        Keys(path)
    assert running.ring().publisher([key], "x", NOW) == "a"
    path.unlink()
    assert running.ring().publisher([key], "x", NOW) == "a"


def test_no_message_of_a_broken_file_has_its_contents(path: Path) -> None:
    keys.new(path, "a", "publish", stream="x")
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"hush-hush": "hush-hush", "link_secret": "hush-hush"}))
    with pytest.raises(ConfigError) as caught:
        keys.read(path)
    assert "hush-hush" not in caught.value.message.replace("link_secret", "")


SIDES = st.sampled_from(["in", "out"])
IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,8}", fullmatch=True)
RING = KeyRing(link_secret="ab" * 32)


@given(IDS, SIDES, st.integers(1, 10**11), st.integers(-5, 5), IDS, SIDES, st.integers(0, 10**11))
def test_a_link_holds_for_its_own_stream_side_and_time_only(
    stream: str, side: keys.Side, expires: int, past: int, other: str, other_side: keys.Side, other_expiry: int
) -> None:
    signature = RING.signature(stream, side, expires)
    now = expires + past
    assert RING.link_holds(stream, side, str(expires), signature, now) == (past < 0)
    mine = (stream, side, expires) == (other, other_side, other_expiry)
    assert RING.link_holds(other, other_side, str(other_expiry), signature, 0) == mine
    assert not KeyRing(link_secret="cd" * 32).link_holds(stream, side, str(expires), signature, 0)


@given(st.text(max_size=30), st.text(max_size=70))
def test_anything_else_is_no_link(expires: str, signature: str) -> None:
    assert not RING.link_holds("a", "out", expires, signature, 0)


@pytest.mark.parametrize(
    "expires", ["0100", " 100", "+100", "1_00", "100.0", "\u0661\u0660\u0660", "1e9", "-1", "9" * 13, ""]
)
def test_an_expiry_has_one_spelling(expires: str) -> None:
    assert RING.link_holds("a", "out", "100", RING.signature("a", "out", 100), 0)
    assert not RING.link_holds("a", "out", expires, RING.signature("a", "out", 100), 0)


@given(st.lists(st.text(max_size=600), max_size=4))
def test_whatever_is_given_is_no_key_unless_it_is_one(given_keys: list[str]) -> None:
    known = keys.Key(name="p", use="publish", stream="a", digest=keys.digest("the key"), created=0)
    ring = RING.model_copy(update={"keys": (known,)})
    assert (ring.publisher(given_keys, "a", 0) == "p") == ("the key" in given_keys)

"""Who may come in, as a table and as properties."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dubrelay.config import INTERNAL_USER, Access, MediaMtx, Readers, Settings
from dubrelay.orchestrator.access import Attempt, Rules, decide, rules_of
from dubrelay.orchestrator.keys import Key, KeyRing, digest

pytestmark = pytest.mark.unit

SECRET = "the-internal-secret-0123"
NOW = 1000.0
RING = KeyRing(
    link_secret="ab" * 32,
    keys=(
        Key(name="studio", use="publish", stream="a", digest=digest("key-a"), created=0),
        Key(name="spare", use="publish", stream="a", digest=digest("key-a2"), created=0),
        Key(name="old", use="publish", stream="a", digest=digest("key-old"), created=0, expires=999),
        Key(name="truck", use="publish", stream="b", digest=digest("key-b"), created=0),
        Key(name="hall", use="watch", stream="a", side="out", digest=digest("watch-a"), created=0),
        Key(name="desk", use="watch", stream="a", side="in", digest=digest("watch-a-in"), created=0),
        Key(name="root", use="api", role="admin", digest=digest("api-token"), created=0),
    ),
)
LINK_OUT = f"exp=2000&sig={RING.signature('a', 'out', 2000)}"
LINK_IN = f"exp=2000&sig={RING.signature('a', 'in', 2000)}"
ENDED = f"exp=1000&sig={RING.signature('a', 'out', 1000)}"
INTERNAL = {"user": INTERNAL_USER, "password": SECRET, "token": SECRET}
HERE, THERE = "127.0.0.1", "203.0.113.9"


def rules(publishers: str = "key", readers: Readers = "key", host: str = "127.0.0.1", *networks: str) -> Rules:
    access = Access.model_validate({"publishers": publishers, "readers": readers, "internal_networks": list(networks)})
    return rules_of(Settings(access=access, mediamtx=MediaMtx(host=host)), SECRET, lambda _: readers)


def asked(action: str, path: str, ip: str = THERE, **given: str) -> Attempt:
    return Attempt(action=action, path=path, ip=ip, **given)


@pytest.mark.parametrize(
    ("attempt", "who"),
    [
        (asked("publish", "live/a/in", query="key=key-a"), "studio"),
        (asked("publish", "live/a/in", query="lang=fr&key=key-a2"), "spare"),
        (asked("publish", "live/a/in", user="anybody", password="key-a"), "studio"),
        (asked("publish", "live/a/in", token="key-a"), "studio"),
        (asked("publish", "live/b/in", token="key-b"), "truck"),
        (asked("publish", "live/a/out", HERE, **INTERNAL), "internal"),
        (asked("publish", "live/a/out", "::1", **INTERNAL), "internal"),
        (asked("publish", "live/a/out", "::ffff:127.0.0.1", **INTERNAL), "internal"),
        (asked("publish", "live/a/languages", HERE, **INTERNAL), "internal"),
        (asked("read", "live/a/languages", HERE, **INTERNAL), "internal"),
        (asked("read", "live/a/languages", query="key=watch-a"), "hall"),
        (asked("read", "live/a/languages", query=LINK_OUT), "link"),
        (asked("read", "live/a/in", HERE, **INTERNAL), "internal"),
        (asked("read", "live/a/out", HERE, **INTERNAL), "internal"),
        (asked("read", "live/a/out", query="key=watch-a"), "hall"),
        (asked("read", "live/a/in", token="watch-a-in"), "desk"),
        (asked("read", "live/a/out", query=LINK_OUT), "link"),
        (asked("read", "live/a/out", query=f"x=1&{LINK_OUT}"), "link"),
        (asked("read", "live/a/in", query=LINK_IN), "link"),
        (asked("api", "", THERE, **INTERNAL), "internal"),
        (asked("metrics", "", HERE, **INTERNAL), "internal"),
    ],
)
def test_these_come_in(attempt: Attempt, who: str) -> None:
    verdict = decide(attempt, rules(), RING, NOW)
    assert (verdict.allowed, verdict.who) == (True, who)


@pytest.mark.parametrize(
    ("attempt", "reason"),
    [
        (asked("publish", "live/a/in"), "no key"),
        (asked("publish", "live/a/in", HERE), "no key"),
        (asked("publish", "live/a/in", query="key=key-b"), "wrong key"),
        (asked("publish", "live/a/in", query="key=Key-a"), "wrong key"),
        (asked("publish", "live/a/in", query="key=key-old"), "wrong key"),
        (asked("publish", "live/a/in", query="key=watch-a"), "wrong key"),
        (asked("publish", "live/a/in", query="key=api-token"), "wrong key"),
        (asked("publish", "live/a/in", query=LINK_IN), "wrong key"),
        (asked("publish", "live/a/in", HERE, **INTERNAL), "wrong key"),
        (asked("publish", "live/a/in", user="key-a"), "no key"),
        (asked("publish", "live/a/in", query="key=key-b&key=key-a"), "no key"),
        (asked("publish", "live/a/in", query="key=key-a&x=" + "x" * 5000), "no key"),
        (asked("publish", "live/a/in", query="&".join(["x=1"] * 60) + "&key=key-a"), "no key"),
        (asked("publish", "live/a/out", HERE), "the output is the worker's"),
        (asked("publish", "live/a/out", HERE, query="key=key-a"), "the output is the worker's"),
        (asked("publish", "live/a/out", HERE, user=INTERNAL_USER, password="wrong"), "the output is the worker's"),
        (asked("publish", "live/a/out", HERE, user="root", password=SECRET), "the output is the worker's"),
        (asked("publish", "live/a/languages", HERE), "the output is the worker's"),
        (asked("publish", "live/a/languages", HERE, query="key=key-a"), "the output is the worker's"),
        (asked("publish", "live/a/languages", THERE, **INTERNAL), "not from this machine"),
        (asked("read", "live/a/languages", THERE, **INTERNAL), "not from this machine"),
        (asked("read", "live/a/languages", HERE), "no key"),
        (asked("read", "live/a/languages", query="key=watch-a-in"), "wrong key"),
        (asked("read", "live/a/languages", query=LINK_IN), "wrong key"),
        (asked("read", "live/b/languages", query=LINK_OUT), "wrong key"),
        (asked("publish", "live/a/out", THERE, **INTERNAL), "not from this machine"),
        (asked("publish", "live/a/out", "", **INTERNAL), "not from this machine"),
        (asked("read", "live/a/out", THERE, **INTERNAL), "not from this machine"),
        (asked("read", "live/a/out", HERE), "no key"),
        (asked("read", "live/a/out", query="key=key-a"), "wrong key"),
        (asked("read", "live/a/out", query="key=watch-a-in"), "wrong key"),
        (asked("read", "live/a/out", query=LINK_IN), "wrong key"),
        (asked("read", "live/a/out", query=ENDED), "wrong key"),
        (asked("read", "live/b/out", query=LINK_OUT), "wrong key"),
        (asked("read", "live/a/in", query=LINK_OUT), "wrong key"),
        (asked("read", "live/a/out", query=f"{LINK_OUT}&exp=9999"), "wrong key"),
        (asked("read", "live/a/out", query=LINK_OUT.replace("2000", "9000")), "wrong key"),
        (asked("read", "live/a/in", HERE), "no key"),
        (asked("publish", "live/a/../b/in", query="key=key-b"), "no such path"),
        (asked("publish", "live/a/in\n", query="key=key-a"), "no such path"),
        (asked("publish", "live/a/in/", query="key=key-a"), "no such path"),
        (asked("publish", "live/" + "a" * 10_000 + "/in", query="key=key-a"), "no such path"),
        (asked("publish", "", HERE, **INTERNAL), "no such path"),
        (asked("read", "other", HERE, **INTERNAL), "no such path"),
        (asked("api", "", HERE), "no key"),
        (asked("api", "", HERE, token="api-token"), "wrong key"),
        (asked("api", "", HERE, user="root", password=SECRET), "wrong key"),
        (asked("metrics", "", HERE), "no key"),
        (asked("pprof", "", HERE), "no key"),
        (asked("playback", "live/a/out", HERE, query=LINK_OUT), "wrong key"),
        (asked("PUBLISH", "live/a/in", query="key=key-a"), "no such action"),
        (asked("", "live/a/in", HERE, **INTERNAL), "no such action"),
    ],
)
def test_these_do_not(attempt: Attempt, reason: str) -> None:
    verdict = decide(attempt, rules(), RING, NOW)
    assert (verdict.allowed, verdict.who, verdict.reason) == (False, "", reason)


def test_who_may_watch_is_a_matter_of_the_stream() -> None:
    of_each = rules_of(Settings(), SECRET, lambda stream_id: "key" if stream_id == "a" else "open")
    assert decide(asked("read", "live/b/out"), of_each, RING, NOW).allowed
    assert decide(asked("read", "live/b/languages"), of_each, RING, NOW).allowed
    assert not decide(asked("read", "live/a/out"), of_each, RING, NOW).allowed
    assert not decide(asked("read", "live/a/languages"), of_each, RING, NOW).allowed
    assert not decide(asked("read", "live/b/in"), of_each, RING, NOW).allowed


def test_open_is_for_the_input_and_for_this_machine() -> None:
    open_here = rules(publishers="open")
    assert decide(asked("publish", "live/a/in", HERE), open_here, RING, NOW).allowed
    assert decide(asked("publish", "live/a/in", HERE, query="key=wrong"), open_here, RING, NOW).allowed
    assert decide(asked("read", "live/a/in", HERE), open_here, RING, NOW).allowed
    assert not decide(asked("publish", "live/a/in", THERE), open_here, RING, NOW).allowed
    assert not decide(asked("publish", "live/a/out", HERE), open_here, RING, NOW).allowed
    assert not decide(asked("api", "", HERE), open_here, RING, NOW).allowed


def test_the_worker_may_come_from_where_we_are_told() -> None:
    attempt = asked("publish", "live/a/out", "10.0.3.7", **INTERNAL)
    assert not decide(attempt, rules(), RING, NOW).allowed
    assert decide(attempt, rules("key", "key", "127.0.0.1", "10.0.3.0/24"), RING, NOW).allowed
    assert decide(attempt, rules("key", "key", "10.0.3.7"), RING, NOW).allowed
    assert not decide(attempt, rules("key", "key", "10.0.3.8"), RING, NOW).allowed
    assert not decide(attempt, rules("key", "key", "0.0.0.0"), RING, NOW).allowed


TEXT = st.text(max_size=40) | st.sampled_from(
    ["", "a", SECRET, "key-a", "watch-a", "api-token", INTERNAL_USER, LINK_OUT, LINK_IN, "key=key-a", "key=watch-a"]
)
ATTEMPTS = st.builds(
    Attempt,
    action=st.sampled_from(["publish", "read", "playback", "api", "metrics", "pprof"]) | TEXT,
    path=st.sampled_from(["live/a/in", "live/a/out", "live/b/in", "live/b/out", "", "x", "live/a/in/../out"]) | TEXT,
    ip=st.sampled_from([HERE, THERE, "::1", "::ffff:127.0.0.1", "10.0.0.1", "", "fe80::1%lo"]) | TEXT,
    user=TEXT,
    password=TEXT,
    token=TEXT,
    query=TEXT,
)


@given(ATTEMPTS, st.sampled_from(["key", "open"]), st.sampled_from(["key", "open"]))
def test_nobody_comes_in_without_a_reason(attempt: Attempt, publishers: str, readers: Readers) -> None:
    verdict = decide(attempt, rules(publishers, readers), RING, NOW)
    assert verdict.allowed == bool(verdict.who) == (not verdict.reason)
    if not verdict.allowed:
        return
    internal = attempt.user == INTERNAL_USER and attempt.password == SECRET
    if attempt.action not in {"publish", "read"}:
        assert internal
    elif attempt.action == "publish" and attempt.path.endswith("/out"):
        assert internal
        assert attempt.ip in {HERE, "::1", "::ffff:127.0.0.1"}
    elif attempt.action == "publish" and publishers == "key":
        assert (attempt.path, verdict.who) == ("live/a/in", "studio")
        assert "key-a" in {attempt.password, attempt.token} or attempt.query == "key=key-a"
    assert attempt.action != "publish" or verdict.who not in {"hall", "desk", "link", "root"}


@given(ATTEMPTS)
def test_without_a_secret_nobody_is_internal(attempt: Attempt) -> None:
    without = replace(rules(), internal_secret="")
    assume(attempt.user == INTERNAL_USER or attempt.action != "read")
    assert decide(replace(attempt, user=INTERNAL_USER, password=""), without, RING, NOW).who != INTERNAL_USER


@given(st.lists(ATTEMPTS, max_size=5))
def test_a_refusal_says_nothing_of_what_was_given(attempts: list[Attempt]) -> None:
    for attempt in attempts:
        assert decide(attempt, rules(), RING, NOW).reason in {
            "", "no such path", "no such action", "no key", "wrong key", "not from this machine",
            "the output is the worker's",
        }  # fmt: skip

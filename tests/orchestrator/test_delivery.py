from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay.orchestrator.delivery import NO_ANSWER_S, RETRY_S, STALLED_S, Delivery, Sighting, reason

pytestmark = pytest.mark.unit

REFUSED = "bad result: &{5 16777216 onStatus 5 [<nil> [{level error} {code NetStream.Publish.Unauthorized}]]}"


class Scene:
    """A look each second."""

    def __init__(self) -> None:
        self.now = 100.0
        self.sent = 0
        self.delivery = Delivery(self.now)

    def at_work(self, seconds: int, grows: bool = True) -> str:
        for _ in range(seconds):
            self.now += 1
            self.sent += 50_000 * grows
            self.delivery.saw(Sighting("1", "forwarding", "", self.sent), self.now)
        return self.delivery.state

    def error(self, error: str, seconds: int = 5) -> str:
        for _ in range(seconds):
            self.now += 1
            self.delivery.saw(Sighting("1", "error", error, self.sent), self.now)
        return self.delivery.state


def test_it_is_forwarding_once_bytes_have_grown_twice() -> None:
    scene = Scene()
    assert scene.at_work(3, grows=False) == "connecting"
    assert scene.at_work(1) == "connecting"
    assert scene.at_work(1) == "forwarding"
    assert scene.delivery.since == scene.now
    scene.at_work(20)
    assert scene.delivery.since == scene.now - 20
    assert scene.delivery.bitrate_kbps == pytest.approx(400)
    assert (scene.delivery.sent, scene.delivery.retries, scene.delivery.error) == (22 * 50_000, 0, "")


def test_one_that_takes_nothing_more_is_stalled_until_it_does() -> None:
    scene = Scene()
    scene.at_work(5)
    assert scene.at_work(int(STALLED_S) - 1, grows=False) == "forwarding"
    assert scene.at_work(1, grows=False) == "stalled"
    assert scene.error("write tcp 127.0.0.1:1->127.0.0.1:2: i/o timeout") == "stalled"
    assert "takes no more data" in scene.delivery.error
    assert scene.at_work(30, grows=False) == "stalled"  # its listener's kernel takes the connection, nobody answers
    assert scene.at_work(2) == "forwarding"
    assert scene.delivery.retries == 1


def test_one_that_does_not_answer_is_unreachable() -> None:
    scene = Scene()
    assert scene.at_work(int(NO_ANSWER_S), grows=False) == "connecting"
    assert scene.at_work(2, grows=False) == "unreachable"
    assert "not answered" in scene.delivery.error


def test_one_that_fails_stays_so_while_it_is_tried_again() -> None:
    scene = Scene()
    scene.at_work(5)
    assert scene.error("write tcp: broken pipe", 4) == "unreachable"
    failed = scene.delivery.since
    for _ in range(5):
        assert scene.at_work(1, grows=False) == "unreachable"
        assert scene.error("dial tcp 127.0.0.1:1: connect: connection refused", 4) == "unreachable"
    assert (scene.delivery.since, scene.delivery.retries) == (failed, 5)


def test_retries_are_counted_that_are_too_short_to_be_seen() -> None:
    scene = Scene()
    scene.error("dial tcp: connection refused", 1 + 6 * int(RETRY_S))
    assert scene.delivery.retries == 6


def test_a_key_that_is_wrong_is_refused_also_by_one_that_reads_it_and_hangs_up() -> None:
    scene = Scene()
    assert scene.error("EOF") == "refused"
    assert scene.at_work(1) == "refused"
    assert scene.error("read tcp: connection reset by peer") == "refused"
    scene.at_work(2)
    assert scene.error("EOF") == "unreachable"


def test_a_new_entry_begins_anew_and_keeps_the_counts() -> None:
    scene = Scene()
    scene.at_work(3)
    scene.error("EOF", 1)
    scene.delivery.absent(scene.now)
    assert scene.delivery.state == "connecting"
    scene.delivery.saw(Sighting("2", "forwarding", "", 10_000), scene.now + 1)
    scene.delivery.saw(Sighting("2", "forwarding", "", 30_000), scene.now + 2)
    assert scene.delivery.state == "forwarding"
    assert scene.delivery.sent == 3 * 50_000 + 30_000


def test_an_entry_without_a_publisher_waits() -> None:
    scene = Scene()
    scene.at_work(3)
    scene.delivery.saw(Sighting("1", "idle", "", scene.sent), scene.now)
    assert (scene.delivery.state, scene.delivery.bitrate_kbps) == ("connecting", None)
    assert scene.at_work(2) == "forwarding"
    assert scene.delivery.sent == 5 * 50_000


def test_one_that_is_held_back_is_refused_since_then() -> None:
    delivery = Delivery(1.0)
    for now in (2.0, 3.0):
        delivery.refused_here("a loop", now)
    assert (delivery.state, delivery.error, delivery.since) == ("refused", "a loop", 2.0)


@pytest.mark.parametrize(
    ("error", "taken", "state", "words"),
    [
        (REFUSED, False, "refused", "is the key right?"),
        ("authentication error", False, "refused", "wrong"),
        ("credentials are required", False, "refused", "asks for a user"),
        ("connection rejected: REJECT (va)", False, "refused", "streamid and passphrase"),
        ("bad status code: 401", False, "refused", "is the key right?"),
        ("bad status code: 503", False, "unreachable", "cannot take"),
        ("WebRTC doesn't support H264 streams with B-frames", True, "refused", "cannot carry"),
        ("dial tcp: lookup no.such.host on 1.1.1.1:53: no such host", False, "unreachable", "no host of that name"),
        ("dial tcp 1.2.3.4:1: connect: connection refused", True, "unreachable", "nothing listens"),
        ("dial tcp 1.2.3.4:1: i/o timeout", False, "unreachable", "does not answer"),
        ("write tcp 1.2.3.4:1->5.6.7.8:9: i/o timeout", True, "stalled", "no more data"),
        ("connection timeout. server didn't respond", False, "unreachable", "does not answer"),
        ("tls: failed to verify certificate: x509: unknown authority", False, "unreachable", "not trusted"),
        ("invalid rtmp version (72)", False, "unreachable", "does not speak RTMP"),
        ("write: broken pipe", True, "unreachable", "connection broke"),
        ("something new", False, "unreachable", "something new"),
        ("", False, "unreachable", "cannot be sent to"),
    ],
)
def test_what_mediamtx_says_in_words(error: str, taken: bool, state: str, words: str) -> None:
    found, text = reason(error, taken, ())
    assert found == state
    assert words in text


def test_no_secret_is_repeated() -> None:
    assert "SECRET" not in reason("bad result: no stream named SECRET", False, ["SECRET"])[1]
    said = reason('Options "http://h/x/SECRET?a=b": dial tcp 1.2.3.4:1: connect: connection refused', False, [])[1]
    assert said == "nothing listens there (Options URL dial tcp 1.2.3.4:1: connect: connection refused)"


LOOKS = st.lists(
    st.tuples(
        st.sampled_from(["idle", "forwarding", "error"]),
        st.sampled_from(["EOF", REFUSED, "i/o timeout", "connection refused"]),
        st.integers(0, 100_000),
        st.floats(0.1, 12),
        st.sampled_from(["1", "2"]),
    ),
    max_size=40,
)


@given(LOOKS)
def test_counts_never_fall_and_nothing_is_forwarding_that_did_not_grow(
    looks: list[tuple[str, str, int, float, str]],
) -> None:
    delivery, now, sent = Delivery(0.0), 0.0, {"1": 0, "2": 0}
    for state, error, more, wait_s, entry in looks:
        now += wait_s
        sent[entry] += more
        before = (delivery.sent, delivery.retries, delivery.state)
        sighting = Sighting(entry, state, error if state == "error" else "", sent[entry])  # type: ignore[arg-type]
        delivery.saw(sighting, now)
        assert delivery.sent >= before[0]
        assert delivery.retries >= before[1]
        assert delivery.since <= now
        if delivery.state == "forwarding" != before[2]:
            assert state == "forwarding"
            assert delivery.sent > before[0]
        if state == "error":
            assert delivery.state in ("refused", "unreachable", "stalled")
            assert delivery.error

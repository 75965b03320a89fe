"""The clauses about requests that the service must refuse."""

from __future__ import annotations

import base64
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from dubrelay.config import is_loopback
from dubrelay.sts_check.probe import Broken, NotTried, Probe, error_of, result_of
from dubrelay.wire.fragment import ENGINES_PATH

Check = Callable[[Probe], str]

BAD_FIELDS: dict[str, dict[str, Any]] = {
    "audio.format": {"audio__format": "mp3"},
    "audio.sample_rate_hz": {"audio__sample_rate_hz": 7999},
    "audio.sample_rate_hz (48001)": {"audio__sample_rate_hz": 48_001},
    "audio.channels": {"audio__channels": 3},
    "audio.duration_ms": {"audio__duration_ms": 5},
    "audio.duration_ms (negative)": {"audio__duration_ms": -1},
    "audio.data_base64": {"audio__data_base64": "%%%%" * 5000},
    "audio.data_base64 (odd bytes)": {"audio__data_base64": base64.b64encode(bytes(32_001)).decode()},
    "audio.data_base64 (number)": {"audio__data_base64": 5},
    "audio (31 s)": {
        "audio__sample_rate_hz": 8000,
        "audio__duration_ms": 31_000,
        "audio__data_base64": base64.b64encode(bytes(31 * 16_000)).decode(),
    },
    "audio (missing)": {"audio": None},
    "config.source_language": {"config__source_language": "English!"},
    "config.target_language": {"config__target_language": ""},
    "config.voice_profile": {"config__voice_profile": "../voice"},
    "config.glossary": {"config__glossary": [{"target": "gol"}]},
    "context.transcript": {"context__transcript": ["Hello"]},
    "fragment_id": {"fragment_id": "../../etc"},
    "stream_id": {"stream_id": "../../etc"},
    "sequence_number": {"sequence_number": -1},
    "max_duration_ms": {"max_duration_ms": 0},
    "timeout_ms": {"timeout_ms": "soon"},
}
"""By the field that the answer has to name, what a good request is changed to."""
BAD_BODIES: dict[str, bytes] = {
    "nothing": b"",
    "half an object": b'{"fragment_id": "f-1", ',
    "an array": b"[1, 2, 3]",
    "not UTF-8": b"\xff\xfe\x00",
    "nested 100000 deep": b"[" * 100_000,
    "NaN": b'{"fragment_id": NaN}',
}
NO_LANGUAGE = "qzz"
NO_VOICE = "no-such-voice"


def field(name: str) -> Check:
    """The clause for one wrong field."""

    def check(probe: Probe) -> str:
        body = probe.body(**BAD_FIELDS[name])
        bare = name.partition(" ")[0]
        known = None if bare == "fragment_id" else body["fragment_id"]
        error = error_of(probe.post(body), 400, "INVALID_INPUT", known)
        leaf = bare.rpartition(".")[2]
        if leaf not in error.message:
            raise Broken(f"the message does not name {leaf}: {error.message}")
        if error.retryable:
            raise Broken("400 that says it is retryable")
        return error.message

    return check


def bodies(probe: Probe) -> str:
    for name, content in BAD_BODIES.items():
        try:
            error_of(probe.post(content), 400, "INVALID_INPUT")
        except Broken as e:
            raise Broken(f"{name}: {e}") from e
    return ", ".join(BAD_BODIES)


def unknown_fields(probe: Probe) -> str:
    """Refused everywhere, or ignored everywhere."""
    where = ("colour", "audio__colour", "config__colour", "context__colour")
    seen: dict[int, list[str]] = {}
    for name in where:
        body = probe.body(probe.silence, **{name: "red"})
        answer = probe.post(body)
        if answer.status == 200:
            result_of(answer, body)
        elif "colour" not in error_of(answer, 400, "INVALID_INPUT", body["fragment_id"]).message:
            raise Broken(f"{name.replace('__', '.')} is refused without being named")
        seen.setdefault(answer.status, []).append(name.replace("__", "."))
    if len(seen) > 1:
        raise Broken(f"ignored: {', '.join(seen[200])}; refused: {', '.join(seen[400])}")
    return "ignored" if 200 in seen else "refused"


def language(probe: Probe) -> str:
    body = probe.body(config__target_language=NO_LANGUAGE)
    answer = probe.post(body)
    if answer.status == 200:
        result_of(answer, body)
        raise NotTried("it dubs into every language")
    error = error_of(answer, 422, "UNSUPPORTED_LANGUAGE", body["fragment_id"])
    for part in (NO_LANGUAGE, probe.target):
        if part not in error.message:
            raise Broken(f"the message does not name {part}: {error.message}")
    if error.retryable:
        raise Broken("422 that says it is retryable")
    return error.message


def voice(probe: Probe) -> str:
    body = probe.body(config__voice_profile=NO_VOICE)
    error = error_of(probe.post(body), 422, "UNSUPPORTED_LANGUAGE", body["fragment_id"])
    if NO_VOICE not in error.message:
        raise Broken(f"the message does not name {NO_VOICE}: {error.message}")
    return error.message


def key(probe: Probe) -> str:
    body = probe.body(probe.silence)
    if probe.post(body, key="").status == 200:
        return _without_key(probe)
    for what, given in (("no key", ""), ("a wrong key", "x" * 24), ("half a key", probe.key[: len(probe.key) // 2])):
        for answer in (probe.post(body, key=given), probe.ask("GET", ENGINES_PATH, key=given)):
            try:
                if error_of(answer, 401, "UNAUTHORIZED").retryable:
                    raise Broken("401 that says it is retryable")
            except Broken as e:
                raise Broken(f"{what}: {e}") from e
    if not probe.key:
        raise Broken("a key is required, and none was given to this check (--key-file)")
    result_of(probe.post(body), body)
    return "401 without it"


def _without_key(probe: Probe) -> str:
    host = probe.client.base_url.host
    if probe.key:
        raise Broken("a key was given to this check, and the service answers without one")
    if not is_loopback(host):
        raise Broken(f"no key is required, and {_kind(host)} is not loopback")
    raise NotTried("on loopback no key is required")


def _kind(host: str) -> str:
    try:
        return str(ip_address(host))
    except ValueError:
        return host

"""The clauses about phrases that the service can dub."""

from __future__ import annotations

import string
import uuid
from concurrent.futures import ThreadPoolExecutor
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from dubrelay.sts_check.probe import Broken, Probe, error_of, overloaded, result_of, success
from dubrelay.sts_check.speech import as_audio
from dubrelay.wire.fragment import MAX_AUDIO_S, RATE_HZ, ProcessResult

TOLERANCE_MS = 20
SLACK_S = 1.0
"""The way there and back, and what looking at a clock costs a busy machine."""
ALIKE = 0.5
CROWD = 24


def shape(probe: Probe) -> str:
    result = probe.dubbed()
    audio = result.dubbed_audio
    assert audio is not None
    longest_ms = as_audio(probe.speech)["duration_ms"] + 1000
    for word in result.metadata.words:
        if not 0 <= word.start_ms <= word.end_ms <= longest_ms:
            raise Broken(f"the word {word.text!r} lasts from {word.start_ms} to {word.end_ms} ms")
    if any(took_ms < 0 for took_ms in result.metadata.stage_ms.values()):
        raise Broken(f"metadata.stage_ms = {result.metadata.stage_ms}")
    return f"{audio.duration_ms} ms at {audio.sample_rate_hz} Hz in {result.processing_time_ms} ms"


def fragment_ids(probe: Probe) -> str:
    some = uuid.uuid4().hex  # another one each time: a service may remember them
    ids = (some[:6], f"A-b_{some[:6]}", some * 2)
    for fragment_id in ids:
        body = probe.body(probe.silence, fragment_id=fragment_id)
        result_of(probe.post(body), body)
    return f"{len(ids)} ids of 6 to 64 characters"


def silence(probe: Probe) -> str:
    for samples in (probe.silence, np.zeros(RATE_HZ * 5, np.float32)):
        body = probe.body(samples)
        result = result_of(probe.post(body), body)
        if (result.status, result.dubbed_audio, result.transcript) != ("no_speech", None, ""):
            raise Broken(f"status {result.status}, transcript {result.transcript!r} for silence")
    return "no_speech"


def nothing(probe: Probe) -> str:
    body = probe.body(np.zeros(0, np.float32))
    answer = probe.post(body)
    if answer.status == 400:
        error_of(answer, 400, "INVALID_INPUT", body["fragment_id"])
        return "400"
    result = result_of(answer, body)
    if result.status != "no_speech":
        raise Broken(f"status {result.status} for no sound at all")
    return "no_speech"


def longest(probe: Probe) -> str:
    """The largest request there is: 30 s of 48 kHz stereo."""
    body = probe.body(audio=as_audio(np.zeros(round(MAX_AUDIO_S * RATE_HZ), np.float32), 48_000, 2))
    result = result_of(probe.post(body), body)
    if result.status != "no_speech":
        raise Broken(f"status {result.status} for silence")
    return f"{len(body['audio']['data_base64']) / 1e6:.1f} MB of base64"


def sound_of(rate_hz: int, channels: int) -> Any:
    """The clause for one format of the sound sent: the same words are heard as at 16 kHz."""

    def check(probe: Probe) -> str:
        probe.heard = probe.heard or _heard(probe.dubbed())
        there = _heard(probe.dubbed(audio=as_audio(probe.speech, rate_hz, channels)))
        alike = SequenceMatcher(None, _words(probe.heard), _words(there)).ratio()
        if alike < ALIKE:
            raise Broken("other words are heard than at 16000 Hz mono")
        return f"{alike:.0%} of the words of 16000 Hz mono"

    return check


def _heard(result: ProcessResult) -> str:
    """Recognisers that hear any language as English have no other text."""
    return result.transcript or result.translated_text


def _words(text: str) -> list[str]:
    return text.lower().translate(str.maketrans("", "", string.punctuation)).split()


def room(probe: Probe) -> str:
    natural_ms = _length_ms(probe.dubbed(max_duration_ms=60_000))
    seen = []
    for share in (1.0, 0.6, 0.1):
        room_ms = max(1, round(share * natural_ms))
        seen.append(_within(probe.dubbed(max_duration_ms=room_ms), room_ms))
    return ", ".join(seen)


def own_room(probe: Probe) -> str:
    """Without max_duration_ms."""
    return _within(probe.dubbed(), as_audio(probe.speech)["duration_ms"])


def _length_ms(result: ProcessResult) -> int:
    assert result.dubbed_audio is not None
    return result.dubbed_audio.duration_ms


def _within(result: ProcessResult, room_ms: int) -> str:
    over_ms, told_ms = _length_ms(result) - room_ms, result.metadata.overflow_ms
    shown = f"{_length_ms(result)} ms in {room_ms} ms"
    if abs(max(0, over_ms) - told_ms) > TOLERANCE_MS:
        raise Broken(f"{shown}, metadata.overflow_ms = {told_ms}")
    return shown


def timeout(probe: Probe) -> str:
    seen = []
    for timeout_ms in (1, 100, 500):
        body = probe.body(timeout_ms=timeout_ms)
        answer = probe.post(body, once=True)
        if answer.took_s > timeout_ms / 1000 + SLACK_S:
            raise Broken(f"timeout_ms = {timeout_ms}, answered with {answer.status} after {answer.took_s:.1f} s")
        if answer.status == 200:
            result_of(answer, body)
        elif answer.status in (429, 503):
            overloaded(answer)
        elif not error_of(answer, 504, "TIMEOUT", body["fragment_id"]).retryable:
            raise Broken("504 that is not retryable")
        seen.append(f"{answer.status} at {timeout_ms} ms")
    return ", ".join(seen)


def context(probe: Probe) -> str:
    probe.dubbed(context={"transcript": "Good evening.", "translated_text": "Buenas noches, señor."})
    probe.dubbed(context={"transcript": "x" * 2000, "translated_text": ""})
    return "up to 2000 characters"


def glossary(probe: Probe) -> str:
    probe.dubbed(config__glossary=[{"source": "programme", "target": "programa"}, {"source": "Ünïcode"}])
    probe.dubbed(config__glossary=[{"source": f"term {n}"} for n in range(200)])
    return "up to 200 terms"


def again(probe: Probe) -> str:
    body = probe.body()
    first, second = (success(probe.post(body), body) for _ in range(2))
    for name in ("dubbed_audio", "transcript", "translated_text"):
        if getattr(first, name) != getattr(second, name):
            raise Broken(f"{name} of the second answer to one fragment_id is another one")
    return "the same answer twice"


def parallel(probe: Probe) -> str:
    """Speech and silence by turns, so that an answer to another one's request is seen."""
    bodies = [probe.body(None if n % 2 else probe.silence) for n in range(6)]
    with ThreadPoolExecutor(len(bodies)) as pool:
        answers = list(pool.map(probe.post, bodies))
    for n, (answer, body) in enumerate(zip(answers, bodies, strict=True)):
        result, wanted = result_of(answer, body), "success" if n % 2 else "no_speech"
        if result.status != wanted:
            raise Broken(f"status {result.status} instead of {wanted} beside others")
    return f"{len(bodies)} at once"


def crowd(probe: Probe) -> str:
    """More at once than a small service can do: each is dubbed in time, or refused as the contract says."""
    bodies = [probe.body(timeout_ms=3000) for _ in range(CROWD)]
    with ThreadPoolExecutor(CROWD) as pool:
        answers = list(pool.map(lambda body: probe.post(body, once=True), bodies))
    done = late = refused = 0
    for answer, body in zip(answers, bodies, strict=True):
        if answer.status == 200:
            done += 1
            result_of(answer, body)
        elif answer.status in (429, 503):
            refused += 1
            overloaded(answer)
        else:
            late += 1
            error_of(answer, 504, "TIMEOUT", body["fragment_id"])
    return f"of {CROWD} at once {done} dubbed, {late} too late, {refused} refused"

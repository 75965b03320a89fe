"""Milestone E: the worker with the embedded chain, while the STS service is stopped, slowed and killed."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from alignment import RATE_HZ, sound_on_published_time
from dubrelay.config import StsClient
from dubrelay.demo.access_units import access_units, match
from dubrelay.demo.programme import Programme, Sentence, make
from media import MediaMtx, publish, recording
from running_sts import RunningSts
from running_worker import RunningWorker
from waiting import wait_for

pytestmark = [pytest.mark.live, pytest.mark.timeout(420)]

PROGRAMME_S = 210


def test_e_picture_and_original_go_on_while_the_service_is_away_and_dubbing_returns(tmp_path: Path) -> None:
    programme = make(tmp_path / "programme.mp4", PROGRAMME_S)
    out = tmp_path / "out.flv"
    with (
        MediaMtx(tmp_path) as media,
        RunningSts(tmp_path) as sts,
        publish(media.rtmp("live/x/in"), file=programme.path),
        RunningWorker(
            media.rtmp("live/x/in"),
            media.rtmp("live/x/out"),
            directory=tmp_path,
            sts=StsClient(urls=[sts.url], breaker_open_s=2),
        ) as worker,
    ):
        media.wait_available("live/x/out", 40)
        with recording(media.rtmp("live/x/out"), out):
            await_phrase(worker, "dubbed", ())

            sts.stop()
            await_phrase(worker, "fallback", ("error", "breaker_open"))

            sts.start(delay_ms=10_000)
            await_phrase(worker, "fallback", ("timeout", "deadline"))

            sts.stop()
            sts.start(delay_ms=3_000)
            slowed = len(worker.phrases())
            wait_for(lambda: len(worker.phrases()) >= slowed + 2, 60, "two phrases to be decided at +3 s")

            sts.stop(signal.SIGKILL)
            await_phrase(worker, "fallback", ("error", "breaker_open"))

            sts.start(delay_ms=0)
            for _ in range(3):  # a phrase is decided as its first sample goes out: the first one has been heard by then
                await_phrase(worker, "dubbed", ())
            phrases = worker.phrases()
            counted = {
                reason: worker.metric(f'worker_fallback_total{{reason="{reason}"}}')
                for reason in ("error", "breaker_open", "timeout", "deadline", "overload", "invalid_output")
            }
            reported = {reason: sum(phrase.reason == reason for phrase in phrases) for reason in counted}
    assert all(abs(counted[reason] - reported[reason]) <= 1 for reason in counted)  # the last may be on its way

    found = match(access_units(programme.path), access_units(out))
    assert found is not None
    assert found.equal == found.recorded

    heard_as_sent = sentences_heard_as_sent(out, programme)
    fallbacks = sum(phrase.status == "fallback" for phrase in phrases)
    assert not heard_as_sent[0]
    assert sum(heard_as_sent) >= fallbacks - 2
    assert not heard_as_sent[-1]


def await_phrase(worker: RunningWorker, status: str, reasons: tuple[str, ...]) -> None:
    """A phrase decided from now on has that status, and one of `reasons` where any is named."""
    known = len(worker.phrases())

    def found() -> bool:
        return any(p.status == status and (not reasons or p.reason in reasons) for p in worker.phrases()[known:])

    wait_for(found, 90, f"a phrase that is {status} {reasons}; phrases: {worker.phrases()[-5:]}")


def sentences_heard_as_sent(out: Path, programme: Programme) -> list[bool]:
    """For each sentence of the programme that is whole in `out`: whether it sounds there as it was published."""
    out_at, sound = sound_on_published_time(out, programme.path)
    _, original = sound_on_published_time(programme.path, programme.path)
    end_s = out_at + len(sound) / RATE_HZ
    whole = [s for s in programme.sentences if s.start_s > out_at + 1 and s.end_s < end_s - 1]
    return [_likeness(_middle(sound, s, out_at), _middle(original, s, 0)) > 0.8 for s in whole]


def _likeness(heard: npt.NDArray[np.float32], sent: npt.NDArray[np.float32]) -> float:
    """Their correlation where they fit best, within the 2 ms by which FLV's milliseconds may be off."""
    reach = RATE_HZ // 500
    inner = heard[reach:-reach]
    lags = range(2 * reach + 1)
    return max(float(np.corrcoef(inner, sent[lag : lag + len(inner)])[0, 1]) for lag in lags)


def _middle(sound: npt.NDArray[np.float32], sentence: Sentence, starts_at_s: float) -> npt.NDArray[np.float32]:
    """The sentence without 0.4 s at each end, where crossfades may be; both channels averaged."""
    first = round((sentence.start_s + 0.4 - starts_at_s) * RATE_HZ)
    count = round((sentence.end_s - sentence.start_s - 0.8) * RATE_HZ)
    return np.asarray(sound[first : first + count].mean(axis=1), np.float32)

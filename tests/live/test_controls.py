"""A worker is steered while it is on air, and what became of its phrases is kept."""

from __future__ import annotations

import re
import subprocess
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from dubrelay.config import Paths, StsClient, Trace
from dubrelay.demo.programme import make
from dubrelay.wire import trace
from dubrelay.wire.status import SoundName
from dubrelay.wire.trace import PhraseTrace
from media import MediaMtx, publish, recording
from running_sts import MOCK, RunningSts
from running_worker import RunningWorker, state_in
from waiting import wait_for

pytestmark = pytest.mark.live

RATE_HZ = 48_000
WINDOW = RATE_HZ // 20
TONE_HZ = 440


def test_what_is_heard_follows_the_operator_and_each_phrase_leaves_its_trace(media: MediaMtx, tmp_path: Path) -> None:
    paths, out = state_in(tmp_path), tmp_path / "out.flv"
    programme = make(tmp_path / "programme.mp4", 100)
    with (
        RunningSts(tmp_path, **MOCK) as sts,
        publish(media.rtmp("live/x/in"), file=programme.path),
        RunningWorker(
            media.rtmp("live/x/in"),
            media.rtmp("live/x/out"),
            directory=tmp_path,
            latency_s=6,
            sts=StsClient(urls=[sts.url]),
            trace=Trace(sounds=True),
            paths=paths,
        ) as worker,
    ):
        media.wait_available("live/x/out", 30)
        with recording(media.rtmp("live/x/out"), out):
            await_phrases(worker, 3)
            for programme_on in ("silence", "bypass", "dub"):
                assert worker.tell(programme=programme_on).accepted
                await_phrases(worker, 2)
                assert worker.statuses()[-1].programme == programme_on
            assert worker.tell(target_language="fr", glossary=[{"source": "minister", "target": "ministre"}]).accepted
            refused = worker.tell(programme="louder")
            records = wait_for(lambda: spoken_in("fr", trace.folder(paths, "x")), 40, "a phrase in French")
    assert not refused.accepted
    assert "programme = 'louder'" in refused.message

    heard = windows(decoded(out))
    assert re.search("d{10}.*s{40,}[^ds]*o{40,}.*d{10}", heard), heard
    between = heard[heard.index("s" * 40) :].lstrip("s")
    assert "d" not in between[:40]  # bypass: not one dub in two seconds

    assert {record.phrase.status for record in records} == {"dubbed"}
    for record in records:
        assert record.phrase.t0_ms <= record.voice_ms < record.known_ms < (record.answered_ms or 0) < record.decided_ms
        assert tone(sound(paths, record, "dub")) > 0.8
        assert tone(sound(paths, record, "original")) < 0.2
    by_programme = {record.programme: record for record in reversed(records)}  # the first of each
    assert tone(sound(paths, by_programme["dub"], "out")) > 0.5
    assert not sound(paths, by_programme["silence"], "out")[RATE_HZ:].any()
    assert by_programme["silence"].phrase.message == "not heard: silence is on"
    assert by_programme["silence"].phrase.dub_t0_ms is None, "so there is no caption of it"


def test_bypass_mode_can_be_silenced_but_not_dubbed(media: MediaMtx, tmp_path: Path) -> None:
    out = tmp_path / "out.flv"
    with (
        publish(media.rtmp("live/x/in")),
        RunningWorker(media.rtmp("live/x/in"), media.rtmp("live/x/out"), mode="bypass", directory=tmp_path) as worker,
    ):
        media.wait_available("live/x/out", 30)
        with recording(media.rtmp("live/x/out"), out):
            worker.logged("output_connecting")
            for programme in ("silence", "bypass"):
                wait_for(lambda: len(decoded(out)) > RATE_HZ, 20, "a second of sound")
                assert worker.tell(programme=programme).accepted
                shown = len(worker.statuses())
                wait_for(lambda shown=shown: len(worker.statuses()) > shown + 3, 20, "some seconds of it")
        refused = worker.tell(programme="dub")
    assert not refused.accepted
    assert "bypass mode" in refused.message
    assert re.search("d{10}.*s{20,}.*d{20}", windows(decoded(out)))  # the publisher's own sound is such a tone


def await_phrases(worker: RunningWorker, count: int) -> None:
    known = len(worker.phrases())
    wait_for(lambda: len(worker.phrases()) >= known + count, 40, f"{count} more phrases")


def spoken_in(language: str, folder: Path) -> list[PhraseTrace]:
    """All records, once there is one in that language."""
    records = list(trace.read(folder))
    return records if any(record.target_language == language for record in records) else []


def decoded(file: Path) -> npt.NDArray[np.float32]:
    """(n,) at 48 kHz, both channels averaged."""
    command = ["ffmpeg", "-nostdin", "-v", "quiet", "-i", str(file), "-map", "0:a:0", "-f", "f32le", "-ac", "1"]
    raw = subprocess.run([*command, "-ar", str(RATE_HZ), "-"], check=False, capture_output=True).stdout
    return np.frombuffer(raw, np.float32)


def windows(samples: npt.NDArray[np.float32]) -> str:
    """What is heard in each twentieth of a second: the (d)ub's tone, the (o)riginal, (s)ilence."""
    parts = samples[: len(samples) // WINDOW * WINDOW].reshape(-1, WINDOW)
    heard = "".join("s" if np.abs(p).max() < 1e-4 else "d" if tone(p) > 0.3 else "o" for p in parts)
    return re.sub("(?<=o)d{1,2}(?=o)", lambda note: "o" * len(note[0]), heard)  # a note of the bed at that pitch


def tone(samples: npt.NDArray[np.float32]) -> float:
    """The share of the power that the mock's tone has, by its loudest part."""
    whole = samples[: max(1, len(samples) // WINDOW) * WINDOW].reshape(-1, min(WINDOW, len(samples)))
    turn = np.exp(-2j * np.pi * TONE_HZ * np.arange(whole.shape[1]) / RATE_HZ)
    shares = 2 * np.abs((whole * turn).mean(axis=1)) ** 2 / (np.mean(whole**2, axis=1) + 1e-9)
    return float(np.quantile(shares, 0.8))


def sound(paths: Paths, record: PhraseTrace, name: SoundName) -> npt.NDArray[np.float32]:
    """(n,) at 48 kHz."""
    with wave.open(str(trace.sound_file(trace.folder(paths, "x"), record.stem, name))) as wav:
        pcm = np.frombuffer(wav.readframes(wav.getnframes()), "<i2").reshape(-1, wav.getnchannels()).mean(axis=1)
        rate_hz = wav.getframerate()
    return np.repeat(pcm, RATE_HZ // rate_hz).astype(np.float32) / 32768

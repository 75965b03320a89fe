"""Piper's voices (VITS, ONNX): every NAME.onnx with its NAME.onnx.json in a folder; phonemes from espeak-ng.

How long a text lasts is known when it was spoken; until then it is guessed from its phonemes and what the voice needed
for those before. What the guess missed is stretched afterwards, as with every voice.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field, ValidationError

from dubrelay.config import Paths, PiperEngine, Sts
from dubrelay.errors import StartupError, StsError
from dubrelay.models.network import loaded
from dubrelay.sts.fit import trim
from dubrelay.sts.tts import espeak_ng
from dubrelay.sts.tts.base import Prepared, Speech
from dubrelay.sts.tts.lengths import Lengths

_PAUSE_S = 0.2
"""Between two sentences of a phrase, at tempo 1: each is spoken by itself, as the voices were trained."""
_FIRST_GUESS_S = 0.07
"""Per phoneme."""
_MOST_PHONEMES = 500
_SENTENCE = re.compile(r"(?<=[.?!…])\s+")
_ASKED_FOR = re.compile(r"[A-Za-z0-9_.-]{1,64}/[A-Za-z0-9_.-]{1,64}")
"""What a request can name."""
_BOS, _EOS, _PAD = "^", "$", "_"

Ids = tuple[int, ...]


class _Audio(BaseModel):
    sample_rate: int = Field(ge=8000, le=48000)


class _EspeakVoice(BaseModel):
    voice: str = Field("", pattern=r"^[A-Za-z0-9_+-]*$")


class _Language(BaseModel):
    code: str = ""
    family: str = ""


class _Inference(BaseModel):
    noise_scale: float = 0.667
    length_scale: float = Field(1.0, gt=0)
    noise_w: float = 0.8


class _Json(BaseModel):
    """What is read of NAME.onnx.json."""

    audio: _Audio
    espeak: _EspeakVoice = _EspeakVoice()
    language: _Language = _Language()
    inference: _Inference = _Inference()
    phoneme_type: str = "espeak"
    phoneme_map: dict[str, list[str]] = {}
    phoneme_id_map: dict[str, list[int]] = Field(min_length=1)
    num_speakers: int = Field(1, ge=1)
    speaker_id_map: dict[str, int] = {}


class _Voice:
    """One file of a voice, with all its speakers."""

    def __init__(self, path: Path, threads: int) -> None:
        self.name = path.name.removesuffix(".onnx")
        self.json = _read_json(path.with_name(path.name + ".json"))
        self.language = _language(self.json)
        self.session = _session(path, threads)
        self.takes_speaker = "sid" in {given.name for given in self.session.get_inputs()}

    def speakers(self) -> list[str]:
        """As they are asked for: NAME, and NAME/SPEAKER of several, which are numbers where they have no names."""
        if self.json.num_speakers == 1:
            return [self.name]
        named = self.json.speaker_id_map or {str(number): number for number in range(self.json.num_speakers)}
        asked = [f"{self.name}/{speaker}" for speaker in sorted(named, key=named.__getitem__)]
        return [self.name, *(name for name in asked if _ASKED_FOR.fullmatch(name))]

    def speaker_id(self, speaker: str) -> int:
        if not speaker:
            return 0
        return self.json.speaker_id_map.get(speaker, int(speaker) if speaker.isdecimal() else 0)

    def ids(self, phonemes: str) -> Ids:
        """^, each phoneme that the voice knows, $, with a pad between any two."""
        known = self.json.phoneme_id_map
        mapped = (other for letter in phonemes for other in self.json.phoneme_map.get(letter, [letter]))
        parts = [known.get(_BOS, []), *(known[letter] for letter in mapped if letter in known), known.get(_EOS, [])]
        pad = known.get(_PAD, [])
        return tuple(number for part in parts if part for number in (*part, *pad))[: -len(pad) or None]


@dataclass(frozen=True)
class _Text:
    voice: _Voice
    speaker: int
    key: str
    """Of the voice with its speaker."""
    sentences: list[Ids]

    @property
    def letters(self) -> int:
        return sum(map(len, self.sentences))


class Piper:
    languages: frozenset[str] = frozenset()
    min_tempo = 0.75
    max_tempo = 1.3
    licence = "MIT; of each voice: see its model card"

    def __init__(self, name: str, options: PiperEngine, settings: Sts, paths: Paths) -> None:
        self.name = name
        self._noise_scale, self._noise_w = options.noise_scale, options.noise_w
        if absent := self.missing(options, paths):
            raise StartupError(absent)
        voices = [_Voice(path, settings.tts_threads) for path in _files(options.voices)]
        if any(voice.json.phoneme_type == "espeak" for voice in voices) and (absent := espeak_ng.missing()):
            raise StartupError(absent)
        self.languages = frozenset(voice.language for voice in voices)
        self._by_speaker = {speaker: voice for voice in voices for speaker in voice.speakers()}
        self._lengths = Lengths(_FIRST_GUESS_S)
        # Two at once would each take twice as long: one after the other serves the first one sooner.
        self._one_at_a_time = threading.Lock()

    @classmethod
    def missing(cls, options: PiperEngine, paths: Paths) -> str:
        folder = options.voices
        if not folder.is_dir():
            return f"voices = {str(folder)!r} is no folder: one with NAME.onnx and NAME.onnx.json of each voice"
        files = _files(folder)
        lacking = [path.name for path in files if not path.with_name(path.name + ".json").is_file()]
        if lacking:
            return f"{folder} has no {lacking[0]}.json"
        return "" if files else f"{folder} has no voice: no file named NAME.onnx"

    def voices(self, language: str) -> tuple[str, ...]:
        return tuple(name for name, voice in self._by_speaker.items() if voice.language == language)

    def prepare(self, text: str, language: str, voice: str = "default") -> Prepared:
        known = self.voices(language)
        if not known:
            raise StsError("UNSUPPORTED_LANGUAGE", f"{self.name} has no voice for {language!r}", stage="tts")
        chosen = voice if voice in known else known[0]
        model = self._by_speaker[chosen]
        speaker = model.speaker_id(chosen.removeprefix(model.name).removeprefix("/"))
        ready = _Text(model, speaker, chosen, list(_sentences(text, model)))
        natural_s = self._lengths.guess_s(chosen, ready.letters)
        return Prepared(language, chosen, natural_s=natural_s, work_s=natural_s, payload=ready)

    def speak(self, prepared: Prepared, tempo: float) -> Speech:
        text: _Text = prepared.payload
        rate_hz = text.voice.json.audio.sample_rate
        pause = np.zeros(round(_PAUSE_S / tempo * rate_hz), np.float32)
        parts = [trim(self._sound(text, ids, tempo), rate_hz) for ids in text.sentences]
        joined = [piece for part in parts if part.size for piece in (pause, part)][1:]
        samples = np.concatenate([np.zeros(0, np.float32), *joined], dtype=np.float32)
        self._lengths.learn(text.key, text.letters, tempo * len(samples) / rate_hz)
        return Speech(samples, rate_hz, tempo)

    def _sound(self, text: _Text, ids: Ids, tempo: float) -> npt.NDArray[np.float32]:
        inference = text.voice.json.inference
        noise_scale = inference.noise_scale if self._noise_scale is None else self._noise_scale
        noise_w = inference.noise_w if self._noise_w is None else self._noise_w
        given: dict[str, Any] = {
            "input": np.array([ids], np.int64),
            "input_lengths": np.array([len(ids)], np.int64),
            "scales": np.array([noise_scale, inference.length_scale / tempo, noise_w], np.float32),
        }
        if text.voice.takes_speaker:
            given["sid"] = np.array([text.speaker], np.int64)
        with self._one_at_a_time:
            sound: npt.NDArray[np.float32] = text.voice.session.run(None, given)[0]
        return sound.reshape(-1)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.onnx"))


def _read_json(path: Path) -> _Json:
    try:
        read = _Json.model_validate_json(path.read_bytes())
    except OSError as e:
        raise StartupError(f"{path}: cannot be read: {e.strerror}") from e
    except ValidationError as e:
        problem = e.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise StartupError(f"{path}: {f'{where}: ' if where else ''}{problem['msg']}") from e
    if read.phoneme_type not in ("espeak", "text"):
        raise StartupError(f"{path}: phoneme_type = {read.phoneme_type!r}: espeak and text can be spoken here")
    if read.phoneme_type == "espeak" and not read.espeak.voice:
        raise StartupError(f"{path}: espeak.voice is missing: it says whose phonemes the voice was trained with")
    if not _language(read):
        raise StartupError(f"{path}: neither language.family nor language.code nor espeak.voice says which language")
    return read


def _language(read: _Json) -> str:
    """Such as es, of es_MX; from the voice of espeak-ng, such as es-419, where the file does not say it."""
    said = read.language.family or read.language.code or read.espeak.voice
    code = re.split(r"[-_]", said.lower())[0]
    return code if re.fullmatch(r"[a-z]{2,3}", code) else ""


def _session(path: Path, threads: int) -> Any:
    session = loaded(path, threads=threads)
    if not {"input", "input_lengths", "scales"} <= {given.name for given in session.get_inputs()}:
        raise StartupError(f"{path} is no voice of Piper: it must take input, input_lengths and scales")
    return session


def _sentences(text: str, voice: _Voice) -> Iterator[Ids]:
    if voice.json.phoneme_type == "text":
        phonemes = unicodedata.normalize("NFD", text.lower())
    else:
        phonemes = unicodedata.normalize("NFD", espeak_ng.phonemes(text, voice.json.espeak.voice))
    for sentence in _SENTENCE.split(phonemes):
        for at in range(0, len(sentence), _MOST_PHONEMES):
            part = sentence[at : at + _MOST_PHONEMES]
            if re.search(r"\w", part):
                yield voice.ids(part)

"""Whisper through CTranslate2: one phrase in, one text out, and no text where nothing was said.

The model was trained on 30 s of sound at a time. 10 s are enough and cost a third; in less it repeats itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from dubrelay import models
from dubrelay.config import Paths, Sts, WhisperEngine
from dubrelay.errors import StartupError, StsError, first_line
from dubrelay.sts import cuda
from dubrelay.sts.asr.base import RATE_HZ, Detection, Transcript
from dubrelay.sts.asr.guards import (
    LEAST_LOGPROB,
    LEAST_LOGPROB_REPEATED,
    LEAST_LOGPROB_TRANSLATED,
    first_words,
    nothing_but,
    refusal,
    words_of_one_saying,
)
from dubrelay.sts.asr.mel import FRAMES_PER_S, HOP, log_mel
from dubrelay.wire.fragment import Word

Mono = npt.NDArray[np.float32]

_BUNDLED = ("whisper-tiny.en", "whisper-base")
_FILES = ("model.bin", "config.json", "tokenizer.json")
_VOCABULARIES = ("vocabulary.json", "vocabulary.txt")
_ALWAYS_NEEDED = ("<|startoftranscript|>", "<|notimestamps|>", "<|endoftext|>")
_ANALYSIS = {"sampling_rate": RATE_HZ, "hop_length": HOP, "n_fft": 400}
"""What every Whisper was trained with (mel.py); a model of another kind says otherwise in preprocessor_config.json."""

_WINDOW_S = 10.0
_TAIL_S = 2.0
"""Silence that is left after the speech, so that its end is seen."""
_LONGEST_S = 30.0
_TOKENS_PER_S = 12
_MOST_TOKENS = 448
_MOST_TERM_TOKENS = 120
_ALIGNED_FRAME_MS = 20


@dataclass(frozen=True)
class _Heard:
    text: str
    tokens: list[int]
    logprob: float
    """Mean per token."""
    no_speech: float
    repeated: bool
    """It was written more than once."""


class Whisper:
    licence = "MIT"
    languages: frozenset[str] = frozenset()
    takes_terms = True

    def __init__(self, name: str, options: WhisperEngine, settings: Sts, paths: Paths) -> None:
        self.name = name
        self.device = options.device
        self._beams = options.beams
        folder = _folder(options.model, paths)
        compute_type = options.compute_type
        if compute_type == "auto":
            compute_type = "float16" if options.device == "cuda" else "int8"
        _refuse_unable(name, options.device, compute_type)
        try:
            self._model = ctranslate2.models.Whisper(
                str(folder),
                device=options.device,
                compute_type=compute_type,
                intra_threads=options.threads or settings.asr_threads,
                inter_threads=options.workers or 1,
            )
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as e:  # both libraries raise bare RuntimeError and Exception for a broken file
            raise StartupError(f"model {name}: {folder} cannot be loaded: {first_line(e)}") from e
        _refuse_other_analysis(name, folder, self._model.n_mels)
        self.detects = self._model.is_multilingual
        needed = (*_ALWAYS_NEEDED, *(("<|transcribe|>", "<|translate|>") if self.detects else ()))
        if absent := [token for token in needed if self._tokenizer.token_to_id(token) is None]:
            raise StartupError(f"model {name}: {folder / 'tokenizer.json'} is not Whisper's: it has no {absent[0]}")
        self.languages = _languages(self._tokenizer.get_vocab()) if self.detects else frozenset({"en"})

    @classmethod
    def missing(cls, options: WhisperEngine, paths: Paths) -> str:
        absent = [] if options.model in _BUNDLED else _absent(Path(options.model))
        if absent:
            return f"{options.model} has no {', '.join(absent)}"
        if options.device == "cuda" and not cuda.devices():
            return "device = 'cuda': there is no CUDA device here; allowed: 'cpu'"
        return models.missing(options.model, paths) if options.model in _BUNDLED else ""

    @classmethod
    def offers(cls, options: WhisperEngine, paths: Paths) -> frozenset[str]:
        """The languages it would know, without loading the model."""
        try:
            words = _vocabulary(options.model, paths)
        except (OSError, ValueError, StartupError):  # `missing` says why
            return frozenset()
        # Only the vocabulary of the multilingual models has an empty word.
        return _languages(words) if "" in words else frozenset({"en"})

    @property
    def to_english(self) -> frozenset[str]:
        return self.languages - {"en"}

    def transcribe(self, samples: Mono, language: str, terms: Sequence[str] = ()) -> Transcript:
        self._refuse_unknown(language)
        return self._hear(self._encoded(samples), samples, language, in_english=False, terms=terms)

    def translate(self, samples: Mono, language: str) -> Transcript:
        """The text in English; no times of words."""
        self._refuse_unknown(language)
        if not self.detects:
            raise StsError("UNSUPPORTED_LANGUAGE", f"{self.name} knows English only", stage="asr")
        return self._hear(self._encoded(samples), samples, language, in_english=True)

    def detect(self, samples: Mono) -> Detection:
        """Costs nothing but the step from it to the language: `hear` goes on with what was encoded."""
        encoded = self._encoded(samples)
        found = {token.strip("<|>"): probability for token, probability in self._model.detect_language(encoded)[0]}
        known = {language: found.get(language, 0.0) for language in self.languages}
        total = sum(known.values()) or 1.0
        probabilities = {language: probability / total for language, probability in known.items()}
        return Detection(probabilities, lambda language, english: self._hear(encoded, samples, language, english))

    def _refuse_unknown(self, language: str) -> None:
        if language not in self.languages:
            raise StsError("UNSUPPORTED_LANGUAGE", f"{self.name} does not understand {language!r}", stage="asr")

    def _encoded(self, samples: Mono) -> Any:
        window_s = min(max(_WINDOW_S, len(samples) / RATE_HZ + _TAIL_S), _LONGEST_S)
        mel = log_mel(samples, window_s, self._model.n_mels)
        return self._model.encode(ctranslate2.StorageView.from_array(np.ascontiguousarray(mel[None])))

    def _hear(
        self, encoded: Any, samples: Mono, language: str, in_english: bool, terms: Sequence[str] = ()
    ) -> Transcript:
        duration_s = len(samples) / RATE_HZ
        prompt = self._prompt(language, in_english)
        heard = self._decode(encoded, [*self._before(terms), *prompt], duration_s)
        if terms and nothing_but(terms, heard.text):
            heard = self._decode(encoded, prompt, duration_s)
        least = LEAST_LOGPROB_TRANSLATED if in_english else LEAST_LOGPROB
        if heard.repeated:
            least = max(least, LEAST_LOGPROB_REPEATED)
        if refused := refusal(heard.text, duration_s, heard.logprob, heard.no_speech, least):
            return Transcript("", refused)
        if not heard.text or in_english:
            return Transcript(heard.text)
        return Transcript(heard.text, words=self._words(encoded, heard, prompt, duration_s))

    def _prompt(self, language: str, in_english: bool) -> list[int]:
        tokens = ["<|startoftranscript|>"]
        if self.detects:
            tokens += [f"<|{language}|>", "<|translate|>" if in_english else "<|transcribe|>"]
        return [self._id(token) for token in [*tokens, "<|notimestamps|>"]]

    def _before(self, terms: Sequence[str]) -> list[int]:
        """Tokens as of a text before the phrase that has the terms: then they are written like there."""
        begin = self._tokenizer.token_to_id("<|startofprev|>")
        if not terms or begin is None:
            return []
        end = self._id("<|endoftext|>")
        ids: list[int] = self._tokenizer.encode(f" {', '.join(terms)}.", add_special_tokens=False).ids
        return [
            begin,
            *[token for token in ids if token < end][:_MOST_TERM_TOKENS],
        ]  # a term may look like <|nospeech|>

    def _id(self, token: str) -> int:
        """Of one that is there: __init__ looked, and `languages` are the tokenizer's."""
        number = self._tokenizer.token_to_id(token)
        assert number is not None
        return number

    def _decode(self, encoded: Any, prompt: list[int], duration_s: float) -> _Heard:
        result = self._model.generate(
            encoded,
            [prompt],
            beam_size=self._beams,
            max_length=min(_MOST_TOKENS, len(prompt) + round(12 + _TOKENS_PER_S * duration_s)),
            return_scores=True,
            return_no_speech_prob=True,
        )[0]
        end = self._id("<|endoftext|>")
        tokens = [token for token in result.sequences_ids[0] if token < end]
        text = self._tokenizer.decode(tokens).strip()
        count = words_of_one_saying(text, duration_s)
        if count:
            tokens = tokens[: first_words(tokens, count, self._tokenizer.decode)]
            text = self._tokenizer.decode(tokens).strip()
        return _Heard(text, tokens, result.scores[0], result.no_speech_prob, repeated=count > 0)

    def _words(self, encoded: Any, heard: _Heard, prompt: list[int], duration_s: float) -> list[Word]:
        """When each word was said. Costs 10-20 ms."""
        frames = min(round(duration_s * FRAMES_PER_S), round(_LONGEST_S * FRAMES_PER_S))
        path = self._model.align(encoded, prompt, [heard.tokens], frames)[0].alignments
        starts: dict[int, int] = {}
        for token, frame in path:
            starts.setdefault(token, frame)
        last_ms = round(duration_s * 1000)
        words: list[Word] = []
        for text, first, beyond in self._word_tokens(heard.tokens):
            start_ms = min(starts.get(first, 0) * _ALIGNED_FRAME_MS, last_ms)
            end_ms = min(starts.get(beyond, last_ms) * _ALIGNED_FRAME_MS, last_ms)
            words.append(Word(text=text, start_ms=start_ms, end_ms=max(start_ms, end_ms)))
        return words

    def _word_tokens(self, tokens: list[int]) -> list[tuple[str, int, int]]:
        """(word, index of its first token, index after its last): a token that begins with a space begins a word."""
        begins = [i for i, token in enumerate(tokens) if i == 0 or self._begins_word(token)]
        spans = zip(begins, [*begins[1:], len(tokens)], strict=True)
        return [(self._tokenizer.decode(tokens[a:b]).strip(), a, b) for a, b in spans]

    def _begins_word(self, token: int) -> bool:
        piece = self._tokenizer.id_to_token(token)
        return piece is not None and piece.startswith("Ġ")


def _folder(model: str, paths: Paths) -> Path:
    return models.whisper(model, paths) if model in _BUNDLED else Path(model)


def _absent(folder: Path) -> list[str]:
    absent = [name for name in _FILES if not (folder / name).is_file()]
    return absent if any((folder / name).is_file() for name in _VOCABULARIES) else [*absent, "vocabulary.json"]


def _refuse_other_analysis(name: str, folder: Path, bands: int) -> None:
    """StartupError for a preprocessor_config.json that asks for another spectrogram than mel.py makes."""
    file = folder / "preprocessor_config.json"
    if not file.is_file():
        return
    try:
        wanted = json.loads(file.read_bytes())
        other = [key for key, value in _ANALYSIS.items() if wanted.get(key, value) != value]
    except (ValueError, AttributeError, RecursionError) as e:
        raise StartupError(f"model {name}: {file} is no table in JSON") from e
    if other:
        raise StartupError(f"model {name}: {file}: {other[0]} = {wanted[other[0]]}: Whisper has {_ANALYSIS[other[0]]}")
    if wanted.get("feature_size", bands) != bands:
        raise StartupError(f"model {name}: {file}: feature_size = {wanted['feature_size']}: model.bin has {bands}")


def _refuse_unable(name: str, device: str, compute_type: str) -> None:
    """StartupError when the device cannot compute so, naming what it can."""
    if device == "cuda" and not cuda.devices():
        raise StartupError(f"model {name}: device = 'cuda': there is no CUDA device here; allowed: 'cpu'")
    able = ctranslate2.get_supported_compute_types(device)
    if compute_type not in able:
        allowed = " ".join(sorted(able & {"int8", "int8_float16", "float16", "float32"}))
        raise StartupError(f"model {name}: compute_type = {compute_type!r}: this {device} cannot; allowed: {allowed}")


def _vocabulary(model: str, paths: Paths) -> list[str]:
    if model in _BUNDLED:
        file = models.whisper_vocabulary(model, paths)
    else:
        files = [Path(model) / name for name in _VOCABULARIES]
        file = files[0] if files[0].is_file() else files[1]
    text = file.read_text("utf-8")
    return [str(word) for word in json.loads(text)] if file.suffix == ".json" else text.split("\n")[:-1]


def _languages(words: Iterable[str]) -> frozenset[str]:
    names = (re.fullmatch(r"<\|([a-z]{2,3})\|>", word) for word in words)
    return frozenset(match[1] for match in names if match)

"""Whisper (int8) through CTranslate2: one phrase in, one text out, and no text where nothing was said.

The model was trained on 30 s of sound at a time. 10 s are enough and cost a third; in less it repeats itself.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from dubrelay import models
from dubrelay.config import Paths, Sts, WhisperEngine
from dubrelay.errors import StartupError, StsError
from dubrelay.sts.asr.base import RATE_HZ, Transcript
from dubrelay.sts.asr.mel import FRAMES_PER_S, log_mel
from dubrelay.wire.fragment import Word

_BUNDLED = ("whisper-tiny.en", "whisper-base")

_WINDOW_S = 10.0
_TAIL_S = 2.0
"""Silence that is left after the speech, so that its end is seen."""
_LONGEST_S = 30.0
_TOKENS_PER_S = 12
_ALIGNED_FRAME_MS = 20

_LEAST_LOGPROB = -1.0
_DOUBTFUL_LOGPROB, _DOUBTFUL_NO_SPEECH = -0.6, 0.6
"""Both together are refused, either alone is not."""
_MOST_REPETITION = 2.0
_MOST_CHARACTERS_PER_S = 30.0
_STOCK_PHRASE = re.compile(
    r"(thank you( (so|very) much)?( for watching)?|thanks for watching|you|bye|subscribe.*|subt[ií]tulos.*"
    r"|[\[(♪].*)[.!]*",
    re.IGNORECASE,
)
"""What Whisper likes to hear in sounds that are no speech."""


@dataclass(frozen=True)
class _Heard:
    text: str
    tokens: list[int]
    logprob: float
    """Mean per token."""
    no_speech: float
    """The model's own probability that nothing was said. Music under true speech raises it: never used alone."""
    duration_s: float

    def refusal(self) -> str:
        """Why the text is not to be spoken; empty when it is. Measured: invented text is at -1.5 and below or repeats
        itself, true speech in noise or music at -0.4 and above."""
        if not re.search(r"\w", self.text):
            return "no words" if self.text else ""
        if self._repeats():
            return "repeats itself"
        if len(self.text) / max(self.duration_s, 0.1) > _MOST_CHARACTERS_PER_S:
            return "more text than can be said in that time"
        doubtful = self.logprob < _DOUBTFUL_LOGPROB and self.no_speech > _DOUBTFUL_NO_SPEECH
        if self.logprob < _LEAST_LOGPROB or doubtful:
            return f"unsure (log probability {self.logprob:.2f}, of no speech {self.no_speech:.2f})"
        if _STOCK_PHRASE.fullmatch(self.text) and (self.no_speech > 0.2 or self.logprob < -0.7):
            return "a stock phrase that is heard in noise"
        return ""

    def _repeats(self) -> bool:
        encoded = self.text.encode()
        words = self.text.lower().split()
        few_words = len(words) >= 4 and 4 * len(set(words)) <= len(words)
        return few_words or len(encoded) / len(zlib.compress(encoded)) > _MOST_REPETITION


def _folder(model: str, paths: Paths) -> Path:
    return models.whisper(model, paths) if model in _BUNDLED else Path(model)


class Whisper:
    licence = "MIT"
    languages: frozenset[str] = frozenset()

    def __init__(self, name: str, options: WhisperEngine, settings: Sts, paths: Paths) -> None:
        self.name = name
        self.device = options.device
        self._beams = options.beams
        folder = _folder(options.model, paths)
        try:
            self._model = ctranslate2.models.Whisper(
                str(folder),
                device=options.device,
                compute_type=options.compute_type,
                intra_threads=settings.asr_threads,
                inter_threads=1,
            )
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as e:  # both libraries raise bare RuntimeError and Exception for a broken file
            raise StartupError(f"model {name}: {folder} cannot be loaded: {str(e).splitlines()[0]}") from e
        self.languages = self._known_languages()

    @classmethod
    def missing(cls, options: WhisperEngine, paths: Paths) -> str:
        if options.model in _BUNDLED:
            return models.missing(options.model, paths)
        absent = [name for name in ("model.bin", "tokenizer.json") if not (Path(options.model) / name).is_file()]
        return f"{options.model} has no {' and no '.join(absent)}" if absent else ""

    def transcribe(self, samples: npt.NDArray[np.float32], language: str) -> Transcript:
        if language not in self.languages:
            raise StsError("UNSUPPORTED_LANGUAGE", f"{self.name} does not understand {language!r}", stage="asr")
        duration_s = len(samples) / RATE_HZ
        window_s = min(max(_WINDOW_S, duration_s + _TAIL_S), _LONGEST_S)
        mel = log_mel(samples, window_s, self._model.n_mels)
        encoded = self._model.encode(ctranslate2.StorageView.from_array(np.ascontiguousarray(mel[None])))
        heard = self._decode(encoded, self._prompt(language), duration_s)
        if refused := heard.refusal():
            return Transcript("", refused)
        if not heard.text:
            return Transcript("")
        return Transcript(heard.text, words=self._words(encoded, heard, language))

    def _known_languages(self) -> frozenset[str]:
        if not self._model.is_multilingual:
            return frozenset({"en"})
        names = (re.fullmatch(r"<\|([a-z]{2,3})\|>", token) for token in self._tokenizer.get_vocab())
        return frozenset(match[1] for match in names if match)

    def _prompt(self, language: str) -> list[int]:
        tokens = ["<|startoftranscript|>"]
        if self._model.is_multilingual:
            tokens += [f"<|{language}|>", "<|transcribe|>"]
        return [self._id(token) for token in [*tokens, "<|notimestamps|>"]]

    def _id(self, token: str) -> int:
        number: int | None = self._tokenizer.token_to_id(token)
        if number is None:
            raise StsError("MODEL_ERROR", f"{self.name}: the tokenizer has no {token}", stage="asr")
        return number

    def _decode(self, encoded: Any, prompt: list[int], duration_s: float) -> _Heard:
        result = self._model.generate(
            encoded,
            [prompt],
            beam_size=self._beams,
            max_length=min(448, len(prompt) + round(12 + _TOKENS_PER_S * duration_s)),
            return_scores=True,
            return_no_speech_prob=True,
        )[0]
        end = self._id("<|endoftext|>")
        tokens = [token for token in result.sequences_ids[0] if token < end]
        text = self._tokenizer.decode(tokens).strip()
        return _Heard(text, tokens, result.scores[0], result.no_speech_prob, duration_s)

    def _words(self, encoded: Any, heard: _Heard, language: str) -> list[Word]:
        """When each word was said. Costs 10-20 ms."""
        frames = min(round(heard.duration_s * FRAMES_PER_S), round(_LONGEST_S * FRAMES_PER_S))
        path = self._model.align(encoded, self._prompt(language), [heard.tokens], frames)[0].alignments
        starts: dict[int, int] = {}
        for token, frame in path:
            starts.setdefault(token, frame)
        last_ms = round(heard.duration_s * 1000)
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

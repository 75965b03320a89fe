"""Translation models in CTranslate2's form with their sentencepiece: OPUS (Marian), NLLB, M2M-100."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ctranslate2
import sentencepiece

from dubrelay.config import CTranslate2Engine, Paths, Sts
from dubrelay.errors import StartupError, StsError, first_line
from dubrelay.sts import cuda
from dubrelay.sts.mt.base import NO_WISH, Wish
from dubrelay.sts.mt.pieces import Family, Tokens, family_of
from dubrelay.sts.mt.plausible import objection
from dubrelay.sts.mt.sentences import sentences

_MODEL = "model.bin"
_PAIR_OF_SPM = ("source.spm", "target.spm")
_LONGEST_FACTOR, _LONGEST_ROOM = 2, 20
"""Tokens of a translation: at most so many times as many, and so many more."""


class CTranslate2:
    """`pairs` are those of the options; else every pair of the languages that the model's vocabulary names."""

    licence = "MIT; the model has its own"
    pairs: frozenset[tuple[str, str]] = frozenset()

    def __init__(self, name: str, options: CTranslate2Engine, settings: Sts, paths: Paths) -> None:
        self.name = name
        self.device = options.device
        self._beams = options.beams
        folder = Path(options.model)
        files = _sentencepiece_files(folder)
        lacks = self.missing(options, paths)
        if lacks or files is None:
            raise StartupError(lacks)
        try:
            self._tokens = _tokens(folder, options)
            self._source, self._target = (sentencepiece.SentencePieceProcessor(model_file=str(file)) for file in files)
            self._model = ctranslate2.Translator(
                str(folder),
                device=options.device,
                compute_type=options.compute_type,
                intra_threads=options.threads,
                inter_threads=1,
            )
        except StartupError:
            raise
        except Exception as e:  # both libraries raise bare RuntimeError, ValueError and OSError for a broken file
            raise StartupError(f"model {name}: {folder} cannot be loaded: {first_line(e)}") from e
        self.pairs = _pairs(self._tokens, options, folder, f"sts.engines.{name}")

    @classmethod
    def missing(cls, options: CTranslate2Engine, paths: Paths) -> str:
        folder = Path(options.model)
        if not (folder / _MODEL).is_file():
            return f"{folder} has no {_MODEL}: convert the model with ct2-transformers-converter"
        if not _vocabularies(folder):
            return f"{folder} has no vocabulary (shared_vocabulary.json or the like)"
        if _sentencepiece_files(folder) is None:
            return f"{folder} has no sentencepiece model: source.spm and target.spm, or one *.model (or *.spm)"
        if options.device == "cuda" and not cuda.devices():
            return "there is no CUDA device: device must be cpu"
        return ""

    @classmethod
    def offers(cls, options: CTranslate2Engine, paths: Paths) -> frozenset[tuple[str, str]]:
        """The pairs, without loading the model; none where it could not be loaded."""
        folder = Path(options.model)
        try:
            return frozenset() if cls.missing(options, paths) else _pairs(_tokens(folder, options), options, folder, "")
        except (StartupError, OSError, ValueError):
            return frozenset()

    def translate(self, text: str, source: str, target: str, wish: Wish = NO_WISH) -> str:
        if (source, target) not in self.pairs:
            message = f"{self.name} does not translate {source!r} to {target!r}"
            raise StsError("UNSUPPORTED_LANGUAGE", message, stage="mt")
        said = sentences(text)
        if not said:
            return ""
        translation = " ".join(self._sentences(said, source, target))
        if doubt := objection(text, source, translation, target):
            raise StsError("MODEL_ERROR", f"{self.name}: no translation: {doubt}", stage="mt")
        return translation

    def close(self) -> None:
        pass

    def _sentences(self, said: list[str], source: str, target: str) -> list[str]:
        batch = [self._tokens.source(self._source.encode(one, out_type=str), source, target) for one in said]
        prefix = self._tokens.prefix(target)
        results = self._model.translate_batch(
            batch,
            target_prefix=[prefix] * len(batch) if prefix else None,
            beam_size=self._beams,
            max_input_length=0,  # no part of what was said is left away in silence
            max_decoding_length=_LONGEST_FACTOR * max(map(len, batch)) + _LONGEST_ROOM,
            disable_unk=True,
        )
        return [self._target.decode(self._tokens.pieces(result.hypotheses[0])).strip() for result in results]


def _pairs(tokens: Tokens, options: CTranslate2Engine, folder: Path, where: str) -> frozenset[tuple[str, str]]:
    if tokens.family == "marian":
        own = options.pairs or _pair_named_in(folder)
        if not own:
            raise StartupError(f'{where}: {folder} does not say its languages: give pairs, as [["en", "es"]]')
        return frozenset(own)
    known = tokens.languages()
    for pair in options.pairs:
        for language in pair:
            if not tokens.knows(language):
                raise StartupError(f"{where}.pairs: the model has no {language!r}; it has {', '.join(sorted(known))}")
    return frozenset(options.pairs) or frozenset((s, t) for s in known for t in known if s != t)


def _tokens(folder: Path, options: CTranslate2Engine) -> Tokens:
    vocabulary = frozenset().union(*(_words_of(file) for file in _vocabularies(folder)))
    files = [file.name for file in folder.iterdir()]
    family: Family | None = family_of(vocabulary, files) if options.family == "auto" else options.family
    if family is None:
        where = f"sts.engines: {folder}"
        raise StartupError(f"{where} is of no family that can be told: give family, one of marian, nllb, m2m100")
    return Tokens(family, vocabulary, bool(_json(folder / "config.json").get("add_source_eos", False)))


def _vocabularies(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*_vocabulary*") if file.suffix in (".json", ".txt"))


def _words_of(file: Path) -> list[str]:
    text = file.read_text("utf-8")
    if file.suffix == ".txt":
        return text.splitlines()
    words: list[str] = json.loads(text)
    return words


def _sentencepiece_files(folder: Path) -> tuple[Path, Path] | None:
    """(of the source, of the target); one file may be both."""
    source, target = (folder / name for name in _PAIR_OF_SPM)
    if source.is_file() and target.is_file():
        return source, target
    shared = sorted(file for pattern in ("*.model", "*.spm") for file in folder.glob(pattern))
    return (shared[0], shared[0]) if len(shared) == 1 else None


def _pair_named_in(folder: Path) -> list[tuple[str, str]]:
    """Marian's tokenizer_config.json names them, where the converter was told to copy it."""
    config = _json(folder / "tokenizer_config.json")
    source, target = config.get("source_lang"), config.get("target_lang")
    return [(source, target)] if isinstance(source, str) and isinstance(target, str) else []


def _json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    content = json.loads(file.read_text("utf-8"))
    return content if isinstance(content, dict) else {}

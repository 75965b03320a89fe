"""Whisper models of a few kilobytes in the layout of faster-whisper, made with CTranslate2's own classes.

A token is followed by the one that the test wants: its embedding is the projection of the next. So such a model says
the same words to every sound, and real loading, encoding, beam search and alignment run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from ctranslate2.specs import WhisperSpec
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

WIDTH, HEADS = 32, 2
LANGUAGES = ("en", "es", "de")
_SURE = 1.0


def whisper(
    folder: Path,
    says: Sequence[str] = ("Hello", "world"),
    *,
    detects: str | None = "es",
    bands: int = 80,
    sure: float = _SURE,
    seed: int = 1,
) -> Path:
    """A model in `folder` that hears `says`; `detects` is the language it finds, None makes it know English only.

    With `sure` near 0 it is as unsure of each word as one can be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    tokenizer = _tokenizer(says, multilingual=detects is not None)
    tokens = _in_order(tokenizer)
    number = {token: n for n, token in enumerate(tokens)}
    embeddings = random.standard_normal((len(tokens), WIDTH)).astype(np.float32)
    embeddings = (embeddings - embeddings.mean(1, keepdims=True)) / embeddings.std(1, keepdims=True)
    projection = np.zeros_like(embeddings)
    for before, after in pairwise(["<|notimestamps|>", *(f"Ġ{word}" for word in says), "<|endoftext|>"]):
        projection[number[after]] += sure * embeddings[number[before]]
    if detects is not None:
        projection[number[f"<|{detects}|>"]] += sure * embeddings[number["<|startoftranscript|>"]]
    spec = WhisperSpec(1, HEADS, 1, HEADS)
    _encoder(spec.encoder, random, bands)
    _decoder(spec.decoder, embeddings, projection)
    spec.register_vocabulary(tokens)
    spec.config.suppress_ids = spec.config.suppress_ids_begin = []
    spec.config.lang_ids = [number[f"<|{language}|>"] for language in LANGUAGES] if detects is not None else []
    spec.config.alignment_heads = [[0, head] for head in range(HEADS)]
    spec.validate()
    spec.optimize()
    spec.save(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"))
    analysis = {"feature_size": bands, "sampling_rate": 16_000, "hop_length": 160, "n_fft": 400}
    (folder / "preprocessor_config.json").write_text(json.dumps(analysis), "utf-8")
    return folder


def _tokenizer(words: Sequence[str], multilingual: bool) -> Tokenizer:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: n for n, token in enumerate(dict.fromkeys([*letters, *(f"Ġ{word}" for word in words)]))}
    if multilingual:
        vocabulary[""] = len(vocabulary)  # by which CTranslate2 knows such a vocabulary
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[]))
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    special = ["endoftext", "startoftranscript", *LANGUAGES, "translate", "transcribe", "startoflm", "startofprev"]
    stamps = [f"{n * 0.02:.2f}" for n in range(1501)]
    names = [*special, "nospeech", "notimestamps", *stamps]
    tokenizer.add_special_tokens([f"<|{name}|>" for name in names])
    return tokenizer


def _in_order(tokenizer: Tokenizer) -> list[str]:
    return [token for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])]


def _encoder(spec: Any, random: np.random.Generator, bands: int) -> None:
    spec.conv1.weight = (0.1 * random.standard_normal((WIDTH, bands, 3))).astype(np.float32)
    spec.conv1.bias = np.zeros(WIDTH, np.float32)
    spec.conv2.weight = (0.1 * random.standard_normal((WIDTH, WIDTH, 3))).astype(np.float32)
    spec.conv2.bias = np.zeros(WIDTH, np.float32)
    spec.position_encodings.encodings = (0.1 * random.standard_normal((1500, WIDTH))).astype(np.float32)
    _norm(spec.layer_norm)
    for layer in spec.layer:
        _attention(layer.self_attention, (3, 1), lambda *shape: 0.1 * random.standard_normal(shape))
        _feed_forward(layer.ffn, lambda *shape: 0.1 * random.standard_normal(shape))


def _decoder(spec: Any, embeddings: Any, projection: Any) -> None:
    """Nothing but the last token counts."""
    spec.embeddings.weight = embeddings
    spec.position_encodings.encodings = np.zeros((448, WIDTH), np.float32)
    spec.projection.weight = projection
    _norm(spec.layer_norm)
    for layer in spec.layer:
        _attention(layer.self_attention, (3, 1), lambda *shape: np.zeros(shape))
        _attention(layer.attention, (1, 2, 1), lambda *shape: np.zeros(shape))
        _feed_forward(layer.ffn, lambda *shape: np.zeros(shape))


def _attention(spec: Any, widths: Sequence[int], weights: Any) -> None:
    _norm(spec.layer_norm)
    for linear, width in zip(spec.linear, widths, strict=True):
        _linear(linear, width * WIDTH, WIDTH, weights)


def _feed_forward(spec: Any, weights: Any) -> None:
    _norm(spec.layer_norm)
    _linear(spec.linear_0, 4 * WIDTH, WIDTH, weights)
    _linear(spec.linear_1, WIDTH, 4 * WIDTH, weights)


def _linear(spec: Any, outputs: int, inputs: int, weights: Any) -> None:
    spec.weight = weights(outputs, inputs).astype(np.float32)
    spec.bias = np.zeros(outputs, np.float32)


def _norm(spec: Any) -> None:
    spec.gamma, spec.beta = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)

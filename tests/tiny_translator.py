"""Tiny translation models in CTranslate2's form, made in milliseconds: real files, real loading, real decoding.

echo: the decoder copies the encoder's tokens, so what a test gets back is exactly what the model was fed.
noise: random weights. stuck: the same piece over and over.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import sentencepiece
from ctranslate2.specs import TransformerSpec

LINES = (
    "hello world, the small dog is here.",
    "the president of the council said that one war is enough.",
    "hola mundo, el perro pequeño está aquí.",
    "el presidente del consejo dijo que una guerra basta.",
    "Hello. Hola. The dog barks? El perro ladra! 0 1 2 3 4 5 6 7 8 9",
)
POSITIONS = 96


def sentencepiece_model(file: Path, vocabulary: int = 90) -> list[str]:
    """A unigram model trained on LINES; its pieces."""
    content = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES * 20),
        model_writer=content,
        vocab_size=vocabulary,
        hard_vocab_limit=False,
        minloglevel=2,
        num_threads=1,
    )
    file.write_bytes(content.getvalue())
    model = sentencepiece.SentencePieceProcessor(model_proto=content.getvalue())
    return [model.id_to_piece(i) for i in range(model.get_piece_size())]


def marian(folder: Path, tokens: Sequence[str] = (), **options: Any) -> Path:
    """As opus-mt is: two sentencepiece models. `tokens` are more of the vocabulary, such as >>spa<<."""
    folder.mkdir()
    pieces = sentencepiece_model(folder / "source.spm")
    (folder / "target.spm").write_bytes((folder / "source.spm").read_bytes())
    _model(folder, [*pieces, *tokens], **options)
    return folder


def multilingual(folder: Path, tokens: Sequence[str], **options: Any) -> Path:
    """As NLLB and M2M-100 are: one sentencepiece model, `tokens` for the languages."""
    folder.mkdir()
    pieces = sentencepiece_model(folder / "sentencepiece.bpe.model")
    _model(folder, [*pieces, *tokens], **options)
    return folder


def _model(
    folder: Path,
    vocabulary: list[str],
    kind: Literal["echo", "noise", "stuck"] = "echo",
    add_source_eos: bool = False,
    first_token_says: dict[str, str] | None = None,
    after_token_says: dict[str, str] | None = None,
) -> None:
    """`first_token_says`: piece that is said first, by the first token of the source (with a prefix at the target).
    `after_token_says`: piece that is said in place of the right one after a token of the target."""
    width = len(vocabulary) + POSITIONS
    spec = TransformerSpec.from_config((1, 1), 1)
    for side in (spec.encoder, spec.decoder):
        _norm(side.layer_norm, width)
        for layer in side.layer:
            _filled(layer.self_attention, [3 * width, width], width)
            _norm(layer.ffn.layer_norm, width)
            _linear(layer.ffn.linear_0, np.zeros((4, width)))
            _linear(layer.ffn.linear_1, np.zeros((width, 4)))
    attention = spec.decoder.layer[0].attention
    _filled(attention, [width, 2 * width, width], width)
    tokens = np.eye(len(vocabulary), width)
    places = np.eye(POSITIONS, width, len(vocabulary))
    spec.encoder.embeddings[0].weight = tokens.astype(np.float32)
    spec.decoder.embeddings.weight = np.zeros((len(vocabulary), width), np.float32)
    for token, piece in (first_token_says or {}).items():
        spec.encoder.embeddings[0].weight[vocabulary.index(token)] = tokens[vocabulary.index(piece)]
    for token, piece in (after_token_says or {}).items():
        spec.decoder.embeddings.weight[vocabulary.index(token)] = 50 * tokens[vocabulary.index(piece)]
    for side in (spec.encoder, spec.decoder):
        side.position_encodings.encodings = (4 * places).astype(np.float32)
    projection = spec.decoder.projection
    _linear(projection, tokens)
    if first_token_says:  # one place later: the place of the prefix is not the decoder's to fill
        spec.decoder.position_encodings.encodings[1:] = spec.decoder.position_encodings.encodings[:-1].copy()
    if kind == "echo":
        place, token = places.T @ places, tokens.T @ tokens
        _linear(attention.linear[0], 10 * place)
        _linear(attention.linear[1], np.concatenate([10 * place, token]))
        _linear(attention.linear[2], 10 * token)
    elif kind == "noise":
        _linear(projection, np.random.default_rng(0).standard_normal(tokens.shape))
    else:
        projection.bias[vocabulary.index(max(vocabulary, key=len))] = 1000
    spec.register_source_vocabulary(vocabulary)
    spec.register_target_vocabulary(vocabulary)
    spec.config.decoder_start_token = "</s>"
    spec.config.add_source_eos = add_source_eos
    spec.validate()
    spec.optimize()
    spec.save(str(folder))


def _norm(norm: Any, width: int) -> None:
    norm.gamma, norm.beta = np.ones(width, np.float32), np.zeros(width, np.float32)


def _linear(linear: Any, weight: np.ndarray[Any, Any]) -> None:
    linear.weight, linear.bias = weight.astype(np.float32), np.zeros(len(weight), np.float32)


def _filled(attention: Any, rows: list[int], width: int) -> None:
    _norm(attention.layer_norm, width)
    for linear, count in zip(attention.linear, rows, strict=True):
        _linear(linear, np.zeros((count, width)))

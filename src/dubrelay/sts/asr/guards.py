"""Whether what a recogniser wrote was said: the rules against invented text, for every engine. Pure.

Measured on Whisper: invented text has a mean log probability of -1.5 and below, or repeats itself; true speech in noise
or music -0.4 and above.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence

from dubrelay.sts.asr.invented import CREDIT_BEGINNINGS, CREDITS, STOCK, STOCK_BEGINNINGS

LEAST_LOGPROB = -1.0
LEAST_LOGPROB_REPEATED = -0.6
"""With each repetition a recogniser is surer of itself, of what it invented, too."""
LEAST_LOGPROB_TRANSLATED = -0.6
"""Translating, Whisper invents whole sentences at -0.7 and below."""
_DOUBTFUL_LOGPROB, _DOUBTFUL_NO_SPEECH = -0.6, 0.6
"""Both together are refused, either alone is not."""
_STOCK_LOGPROB, _STOCK_NO_SPEECH = -0.7, 0.2
_MOST_REPETITION = 2.0
_MOST_CHARACTERS_PER_S = 30.0
_MOST_REPEATED_PER_S = 17.0
"""Characters: a clear speaker has 9 to 16; what Whisper writes twice of one saying came out at 18 to 40."""
_LEAST_REPEATED = 4
"""Words. Less is said twice by people, too, and fast."""

_SENTENCE = re.compile(r"[^.!?\u2026\u3002\uff01\uff1f\n]+")
_NOT_WORD = re.compile(r"[\W_]+")
_BRACKETED = re.compile(r"\s*[\[(♪*].*")


def _plain(text: str) -> str:
    """In lower case, words with single spaces between them."""
    return _NOT_WORD.sub(" ", text.casefold()).strip()


_STOCK = frozenset(_plain(phrase) for phrases in STOCK.values() for phrase in phrases)
_STOCK_BEGINNINGS = tuple(map(_plain, STOCK_BEGINNINGS))
_CREDITS = tuple(map(_plain, CREDITS))
_CREDIT_BEGINNINGS = tuple(map(_plain, CREDIT_BEGINNINGS))


def refusal(
    text: str,
    duration_s: float,
    logprob: float | None = None,
    no_speech: float | None = None,
    least_logprob: float = LEAST_LOGPROB,
) -> str:
    """Why a text is not to be spoken; empty when it is.

    `logprob`: mean per token; `no_speech`: the model's own probability that nothing was said. Music under true speech
    raises it: it is never used alone. None: the engine does not tell; then what is said by people, too, is let through.
    """
    if refused := _of_itself(text, duration_s):
        return refused
    doubtful = _below(logprob, _DOUBTFUL_LOGPROB) and _above(no_speech, _DOUBTFUL_NO_SPEECH)
    if _below(logprob, least_logprob) or doubtful:
        return f"unsure (log probability {_shown(logprob)}, of no speech {_shown(no_speech)})"
    if (_above(no_speech, _STOCK_NO_SPEECH) or _below(logprob, _STOCK_LOGPROB)) and _is_stock(text):
        return "a stock phrase that is heard in noise"
    return ""


def words_of_one_saying(text: str, duration_s: float) -> int:
    """How many words one saying has that `text` is two times or more, the last time perhaps not to its end.

    0: it is no such text. Whisper writes one for short sound, and is sure of it.
    """
    words = _plain(text).split()
    if len(text) / max(duration_s, 0.1) <= _MOST_REPEATED_PER_S:
        return 0
    for count in range(_LEAST_REPEATED, len(words) // 2 + 1):
        again = [words[i % count] for i in range(len(words))]
        if words[:-1] == again[:-1] and again[-1].startswith(words[-1]):
            return count
    return 0


def first_words(tokens: Sequence[int], count: int, decoded: Callable[[Sequence[int]], str]) -> int:
    """How many of the tokens are the first `count` words, with the full stop after them."""
    lengths = [len(_plain(decoded(tokens[:end])).split()) for end in range(len(tokens) + 1)]
    return max(end for end, length in enumerate(lengths) if length <= count)


def nothing_but(terms: Sequence[str], text: str) -> bool:
    """Whether each word of `text` is one of the terms': what a recogniser repeats that was told of them."""
    known = {word for term in terms for word in _plain(term).split()}
    return bool(text) and set(_plain(text).split()) <= known


def _of_itself(text: str, duration_s: float) -> str:
    """What a text shows however sure the recogniser is of it."""
    if not re.search(r"\w", text):
        return "no words" if text else ""
    if _repeats(text):
        return "repeats itself"
    if len(text) / max(duration_s, 0.1) > _MOST_CHARACTERS_PER_S:
        return "more text than can be said in that time"
    return "a credit line of subtitles" if _is_credit(_plain(text)) else ""


def _is_credit(plain: str) -> bool:
    return plain.startswith(_CREDIT_BEGINNINGS) or any(f" {credit} " in f" {plain} " for credit in _CREDITS)


def _is_stock(text: str) -> bool:
    """Every sentence of it is."""
    sentences = [plain for part in _SENTENCE.findall(text) if (plain := _plain(part))]
    return bool(_BRACKETED.fullmatch(text)) or all(
        sentence in _STOCK or sentence.startswith(_STOCK_BEGINNINGS) for sentence in sentences
    )


def _repeats(text: str) -> bool:
    encoded = text.encode()
    words = text.lower().split()
    few_words = len(words) >= 4 and 4 * len(set(words)) <= len(words)
    return few_words or len(encoded) / len(zlib.compress(encoded)) > _MOST_REPETITION


def _below(value: float | None, limit: float) -> bool:
    return value is not None and value < limit


def _above(value: float | None, limit: float) -> bool:
    return value is not None and value > limit


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"

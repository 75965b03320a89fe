# ruff: noqa: RUF001  phonemes are written in IPA
"""Kokoro's letters for what espeak-ng says, by language, and the language that a Kokoro voice's name stands for."""

from __future__ import annotations

import re

ESPEAK_VOICE = {"en": "en-us", "es": "es", "fr": "fr", "it": "it", "pt": "pt-br"}
"""The languages whose phonemes espeak-ng gives as Kokoro learnt them. Hindi and Japanese need more than that."""
_BRITISH = "en-gb"

_LANGUAGE_OF = {"a": "en", "b": "en", "e": "es", "f": "fr", "i": "it", "p": "pt"}
"""First letter of a voice's name, such as ef_dora, a Spanish woman."""

_LETTERS = (("\u0361", ""), ("tʃ", "ʧ"), ("dʒ", "ʤ"), ("ts", "ʦ"), ("dz", "ʣ"), ("g", "\u0261"), ("ɫ", "l"), ("-", ""))
_ENGLISH = (
    ("eɪ", "A"),
    ("aɪ", "I"),
    ("aʊ", "W"),
    ("ɔɪ", "Y"),
    ("ʔn\u0329", "tᵊn"),
    ("n\u0329", "ᵊn"),
    ("l\u0329", "ᵊl"),
    ("\u0303", ""),
    ("ɐ", "ə"),
)
_AMERICAN = (("oʊ", "O"), ("ɚ", "əɹ"), ("ɜː", "ɜɹ"), ("ɜɹɹ", "ɜɹ"), ("ɾ", "T"), ("r", "ɹ"), ("x", "k"), ("ː", ""))
_BRITISH_ENGLISH = (("əʊ", "Q"), ("eə", "ɛː"), ("r", "ɹ"), ("x", "k"))
_SYLLABIC = re.compile(r"[\u0329\u032a]")


def language_of(voice: str) -> str | None:
    """The language a voice was made for, by its name; None for one that is not of ESPEAK_VOICE."""
    return _LANGUAGE_OF.get(voice[:1]) if voice[2:3] == "_" else None


def espeak_voice(language: str, voice: str) -> str:
    """Whose phonemes a voice is to be given; British ones where a British voice speaks English."""
    return _BRITISH if language == "en" and voice.startswith("b") else ESPEAK_VOICE[language]


def respelt(ipa: str, espeak: str) -> str:
    """`ipa` of the espeak-ng voice `espeak` in Kokoro's letters."""
    english = _ENGLISH + (_BRITISH_ENGLISH if espeak == _BRITISH else _AMERICAN) if espeak.startswith("en") else ()
    for theirs, ours in (*_LETTERS, *english):
        ipa = ipa.replace(theirs, ours)
    return _SYLLABIC.sub("", ipa)

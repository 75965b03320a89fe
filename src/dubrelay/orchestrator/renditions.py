"""The names of the sounds in an HLS master playlist, which MediaMTX calls audio2 and audio3. Pure.

Source: RFC 8216, 4.3.4.1 (EXT-X-MEDIA).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dubrelay.config import AUTO

_SOUND = re.compile(r'^(#EXT-X-MEDIA:(?=.*\bTYPE="?AUDIO\b).*?)\bNAME="[^"\r\n]*"', re.MULTILINE)
_ITSELF = {
    "ar": "العربية", "bg": "Български", "bn": "বাংলা", "ca": "Català", "cs": "Čeština", "da": "Dansk", "de": "Deutsch",
    "el": "Ελληνικά", "en": "English", "es": "Español", "et": "Eesti", "eu": "Euskara", "fa": "فارسی", "fi": "Suomi",
    "fr": "Français", "gl": "Galego", "he": "עברית", "hi": "हिन्दी", "hr": "Hrvatski", "hu": "Magyar",
    "id": "Bahasa Indonesia", "it": "Italiano", "ja": "日本語", "ko": "한국어", "lt": "Lietuvių", "lv": "Latviešu",
    "ms": "Bahasa Melayu", "nl": "Nederlands", "no": "Norsk", "pl": "Polski", "pt": "Português", "ro": "Română",
    "ru": "Русский", "sk": "Slovenčina", "sl": "Slovenščina", "sr": "Српски", "sv": "Svenska", "sw": "Kiswahili",
    "ta": "தமிழ்", "th": "ไทย", "tr": "Türkçe", "uk": "Українська", "ur": "اردو", "vi": "Tiếng Việt", "zh": "中文",
}  # fmt: skip


@dataclass(frozen=True)
class Rendition:
    name: str
    language: str
    """Empty: not known."""


def both(target_language: str, source_language: str) -> tuple[Rendition, Rendition]:
    """The dub and the original, in the order of their tracks."""
    name = _ITSELF.get(target_language.partition("-")[0], target_language)
    spoken = "" if source_language == AUTO else source_language
    return Rendition(name, target_language), Rendition("Original", spoken)


def named(playlist: str, renditions: Sequence[Rendition]) -> str:
    """The playlist with its sounds called so, in their order; those that there are more of keep their names."""
    left = iter(renditions)

    def renamed(sound: re.Match[str]) -> str:
        rendition = next(left, None)
        if rendition is None:
            return sound[0]
        language = f',LANGUAGE="{rendition.language}"' if rendition.language else ""
        return f'{sound[1]}NAME="{rendition.name}"{language}'

    return _SOUND.sub(renamed, playlist)

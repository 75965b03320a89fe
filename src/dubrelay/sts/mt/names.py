"""What has to be in a translation as it is in the source: people with their titles, model names, addresses. Pure.

Other names are translated as often as kept (London, NATO), so nothing is said about them: that is the glossary's part.
"""

from __future__ import annotations

import re
import unicodedata

_TITLED = re.compile(
    r"\b(?:Mr|Mrs|Ms|Miss|Dr|Prof|Sir|Sr|Sra|Srta|Don|Doña)\.? "
    r"(?P<name>[^\W\d_a-z][\w'\u2019-]+(?: (?:(?:de|del|la|van|von) )?[A-Z][\w'\u2019-]+)*)"
)
_CODES = re.compile(
    r"(?<![\w@.])(?:"
    r"[A-Z][A-Za-z]*-?\d+[A-Za-z0-9]*"  # G20, COVID-19, B52
    r"|[A-Za-z]*[a-z][A-Z]\w*"  # iPhone, YouTube
    r"|\w[\w.+-]*@\w[\w-]*(?:\.\w+)+"
    r"|(?:https?://|www\.)\S+[\w/]"
    r"|[\w-]+(?:\.[\w-]+)*\.(?:com|org|net|tv|io|es|eu|uk|de|fr|it)(?![\w@])"
    r")(?!\w)",
)


def kept(text: str) -> list[str]:
    """The words of `text` that a translation has to keep, in their order, each once."""
    found = [(m.start("name"), m["name"]) for m in _TITLED.finditer(text)]
    found += [(m.start(), m[0]) for m in _CODES.finditer(text)]
    return list(dict.fromkeys(word.removesuffix("'s").removesuffix("\u2019s") for _, word in sorted(found)))


def lost(text: str, translation: str) -> list[str]:
    """What `kept` finds and `translation` does not have; accents and case do not count."""
    there = _plain(translation)
    return [word for word in kept(text) if not all(part in there for part in _plain(word).split())]


def _plain(text: str) -> str:
    apart = unicodedata.normalize("NFD", text.lower())
    return "".join(c for c in apart if not unicodedata.combining(c))

"""A sentence that was cut: its second half is translated with the first, and only the second half is said. Pure.

    before: "The president of the"  ->  "El presidente del"
    now:    "council resigned."     ->  "consejo dimitió."    and not "El concejo dimitió."

What was said cannot be taken back. So the second half is cut out of the whole only where the whole begins with exactly
the words that were said; else it is translated by itself.
"""

from __future__ import annotations

import re

from dubrelay.sts.mt.sentences import ended, sentences
from dubrelay.wire.fragment import Context

_WORD = re.compile(r"\w+(?:['\u2019-]\w+)*")
_MOST_CHARACTERS = 160
"""Of what was said before: more of it makes translating the whole dear."""
_LEAST_SAID = 2
"""Words that have to be the same; one may be so by chance."""


def tail(transcript: str, phrase: str) -> str:
    """The first half of the sentence that `phrase` goes on with, as it was heard; empty if `phrase` begins one."""
    last = _last(transcript)
    if not last or len(last) > _MOST_CHARACTERS or (last == transcript.strip() and not _begins(last)):
        return ""
    if ended(last) and not phrase[:1].islower():
        return ""
    return re.sub(r"[.…]+$", "", last).rstrip()


def rest(whole: str, context: Context) -> str:
    """What `whole` says after the words that were said last; empty unless it is certain where that begins."""
    words = list(_WORD.finditer(whole))
    said = sentences(context.translated_text)
    for count in range(1, len(said) + 1):
        before = [word.lower() for word in _WORD.findall(" ".join(said[-count:]))]
        if len(before) >= len(words):
            break
        if len(before) >= _LEAST_SAID and before == [match[0].lower() for match in words[: len(before)]]:
            return whole[words[len(before)].start() :]
    return ""


def without_repetition(translation: str, context: Context, phrase: str) -> str:
    """`translation` without what was said before, where it begins with that and the speaker did not say it again."""
    following = rest(translation, context)
    if not following:
        return translation
    heard = [word.lower() for word in _WORD.findall(_last(context.transcript))][:_LEAST_SAID]
    again = [word.lower() for word in _WORD.findall(phrase)][:_LEAST_SAID]
    return translation if heard == again else following


def _last(text: str) -> str:
    parts = sentences(text)
    return parts[-1] if parts else ""


def _begins(text: str) -> bool:
    """Whether a text that may have been cut at its left begins with a whole sentence."""
    return text[:1].isupper() or text[:1] in "¿¡" or not text[:1].isalpha()

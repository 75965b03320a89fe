"""What a running worker is told on stdin, after its settings: one JSON object a line, each answered on stdout.

    {"id": "7", "programme": "bypass"}
    {"target_language": "fr", "glossary": [{"source": "Bayern"}, {"source": "goal", "target": "gol"}]}

What a line does not name stays as it is. What is heard changes at once, crossfaded; languages, voice and glossary count
from the next phrase on.
"""

from __future__ import annotations

import json

from pydantic import BaseModel, ConfigDict, Field

from dubrelay.config import Fallback, GainDb, Glossary, Language, Programme, SourceLanguage, Voice, validated
from dubrelay.errors import ConfigError

MAX_ID = 64
MAX_CHARACTERS = 100_000
"""Of a line: a whole glossary has less than half of that."""


class ControlRefused(ConfigError):
    """A control that is not done; `id` is that of its line, where one could be read."""

    def __init__(self, message: str, id: str = "") -> None:  # noqa: A002 -- its name on the wire
        super().__init__(message)
        self.id = id


class Control(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field("", max_length=MAX_ID)
    """Given back in the answer."""
    programme: Programme | None = None
    source_language: SourceLanguage | None = None
    target_language: Language | None = None
    voice: Voice | None = None
    fallback: Fallback | None = None
    floor_gain_db: GainDb | None = None
    original_gain_db: GainDb | None = None
    glossary: Glossary | None = None

    def named(self, *keys: str) -> dict[str, object]:
        """Those of `keys` that this line names, with their values."""
        return {key: value for key in keys if (value := getattr(self, key)) is not None}


def parse_control(line: str) -> Control:
    """One line of a worker's stdin. ControlRefused says what is wrong with it, and which line it is."""
    if len(line) > MAX_CHARACTERS:
        raise ControlRefused(f"control: the line is longer than {MAX_CHARACTERS} characters")
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as e:
        raise ControlRefused(f"control: the line is not JSON: {e}") from e
    try:
        return validated(Control, values, "control")
    except ConfigError as e:
        given = values.get("id") if isinstance(values, dict) else None
        raise ControlRefused(e.message, given[:MAX_ID] if isinstance(given, str) else "") from e

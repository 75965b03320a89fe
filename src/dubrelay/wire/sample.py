"""What the orchestrator and the process that publishes the sample programme tell each other: a line on its stdin, lines
on its stdout. The end of its stdin ends it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

STREAM_ID = "demo"
LOOP_S = 180.0
"""Length of the sample programme where it is repeated."""


def sample_file(state_dir: Path, seconds: float = LOOP_S) -> Path:
    """Where a programme of that length is kept."""
    return state_dir / "demo" / f"programme-{seconds:g}.mp4"


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SampleOrder(_Line):
    file: str
    """Where the programme is, or is to be made (.mp4)."""
    seconds: float
    """Its length; it is repeated for ever."""
    url: str
    """RTMP, up to the name of the stream."""
    query: str
    """What follows it, with the key."""


class SampleReport(_Line):
    state: Literal["making", "publishing", "failed"]
    percent: Annotated[int, Field(ge=0, le=100)] = 0
    """Of the programme that is made."""
    message: str = ""
    """Why it failed."""

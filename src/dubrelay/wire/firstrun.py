"""What the orchestrator says to who has no stream yet."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

FIRST_STREAM = "main"
"""What the first stream is called where nobody has thought of a name."""


class _View(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)


class FirstAddresses(_View):
    """Where stream FIRST_STREAM is published. KEY stands where a key goes: the API never says one."""

    stream_id: str
    obs_server: str
    obs_stream_key: str
    ffmpeg: str
    """A command line; FILE stands for what is sent."""
    needs_key: bool
    new_key: str
    """The command that makes one."""


class DoctorRow(_View):
    """One thing that is needed. `remedy` says what to do when it is not `ok`."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


class DoctorTable(_View):
    rows: list[DoctorRow]


class SampleView(_View):
    """How the sample programme fares that the orchestrator publishes as live/demo/in."""

    stream_id: str
    state: Literal["off", "making", "publishing", "failed"]
    percent: int = 0
    """Of it that is made, while it is being made: only the first time."""
    message: str = ""
    """Why it failed."""

"""How words and names are to be said: what a stream's operator hands down to the STS service."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Term(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = Field(min_length=1, max_length=100)
    target: str = Field("", max_length=100)
    """Empty: as the source."""


Glossary = Annotated[tuple[Term, ...], Field(max_length=200)]

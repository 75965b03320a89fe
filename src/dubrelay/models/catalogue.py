"""An operator's catalogue: models that `dubrelay engines pull` may fetch, each file pinned by size and SHA-256 (TOML).

    [whisper-large-v3]
    kind = "whisper"
    licence = "MIT"

    [[whisper-large-v3.files]]
    name = "model.bin"
    url = "https://models.example.org/faster-whisper-large-v3/model.bin"
    size = 3087284237
    sha256 = "69f7..."

There is none built in: a checksum that nobody took is worse than none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

from pydantic import BaseModel, ConfigDict, Field, RootModel, field_validator

from dubrelay.config import Engine, EngineName, read_toml, validated
from dubrelay.errors import ConfigError

_KINDS = tuple(sorted(options.model_fields["kind"].default for options in get_args(Engine)))

FileName = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}$", description="the plain name of a file, without a folder"),
]
"""A plain name: it never leaves the model's folder, and is not hidden."""


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelFile(_Shape):
    name: FileName
    url: str = Field(pattern=r"^https?://[^\s/?#@]+/[^\s#]*$", description="an http or https URL without user")
    size: int = Field(ge=1)
    """Bytes."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="64 hexadecimal digits in lower case")


class Model(_Shape):
    kind: str
    """The kind of engine that reads it."""
    licence: str = Field(min_length=1)
    files: list[ModelFile] = Field(min_length=1)

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, kind: str) -> str:
        if kind not in _KINDS:
            raise ValueError(f"there is no such kind of engine; allowed: {', '.join(_KINDS)}")
        return kind

    @field_validator("files")
    @classmethod
    def _each_once(cls, files: list[ModelFile]) -> list[ModelFile]:
        if len({file.name for file in files}) < len(files):
            raise ValueError("each file may be named only once")
        return files

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


class _Catalogue(RootModel[dict[EngineName, Model]]):
    pass


def read(file: Path) -> dict[str, Model]:
    """The models of a catalogue by name. ConfigError names what is wrong with it, one line each."""
    models = validated(_Catalogue, read_toml(file), str(file)).root
    if not models:
        raise ConfigError(f"{file}: names no model")
    return models


def chosen(models: dict[str, Model], name: str, file: Path) -> Model:
    """ConfigError says which there are."""
    if name not in models:
        raise ConfigError(f"{file} has no model {name!r}; it has {', '.join(sorted(models))}")
    return models[name]

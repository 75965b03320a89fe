"""The reference of settings says what the code does: every key, no other, and its default."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, SecretStr

from dubrelay import config
from dubrelay.cli import app
from dubrelay.config import Engine, Settings
from dubrelay.wire.control import Control

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "deploy" / "dubrelay.toml"
TABLE = ROOT / "docs" / "configuration.md"


def _plain(value: Any) -> Any:
    """As TOML has it."""
    return [*value] if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value


def _defaults(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in section:
        if isinstance(value, BaseModel):
            yield from _defaults(value, f"{prefix}{key}.")
        elif isinstance(value, SecretStr):
            yield prefix + key, value.get_secret_value()
        else:
            yield prefix + key, _plain(value)


DEFAULTS = dict(_defaults(Settings()))


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {prefix + key: value}
    return flat


def test_the_sample_is_the_defaults() -> None:
    assert config.load(REFERENCE, {}) == Settings()


def test_the_sample_has_every_key_with_its_default() -> None:
    text = REFERENCE.read_text("utf-8")
    unset = {key for key, value in DEFAULTS.items() if value is None}
    assert _flat(tomllib.loads(text)) == {key: value for key, value in DEFAULTS.items() if key not in unset}
    for key in unset:  # TOML has no null: such a key stands there as a comment
        assert f"# {key.rpartition('.')[2]} = " in text


def _table() -> dict[str, str]:
    rows = re.findall(r"^\| `([a-z0-9_.]+)` \| (.+?) \| .+? \| .+ \|$", TABLE.read_text("utf-8"), re.MULTILINE)
    assert len(rows) == len(dict(rows)), "a key stands there twice"
    return dict(rows)


def test_the_table_has_every_key_with_its_default() -> None:
    shown = {key: "not set" if value is None else f"`{json.dumps(value)}`" for key, value in DEFAULTS.items()}
    assert _table() == shown


def test_every_kind_of_engine_is_described_with_its_options() -> None:
    rows = re.findall(
        r"^\| (`[^|]+`) \| [^|]+ \| ([^|]*)\|$", (ROOT / "docs" / "engines.md").read_text("utf-8"), re.MULTILINE
    )
    described = {
        kind: set(re.findall(r"`([a-z_]+)`:", text)) for kinds, text in rows for kind in re.findall(r"`(\S+)`", kinds)
    }
    kinds = {options.model_fields["kind"].default: set(options.model_fields) for options in get_args(Engine)}
    assert described == {kind: fields - {"kind", "languages", "workers"} for kind, fields in kinds.items()}


def test_every_key_of_a_control_is_in_the_table() -> None:
    named = re.findall(r"`([a-z_]+)`", TABLE.read_text("utf-8").partition("## Steering a worker")[2])
    assert set(Control.model_fields) <= set(named)


def test_keys_named_in_any_document_exist() -> None:
    sections = "|".join(Settings.model_fields)
    for document in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), REFERENCE):
        for key in re.findall(rf"(?<![/\w.-])((?:{sections})\.[a-z_]+(?:\.[a-z_]+)*)\b", document.read_text("utf-8")):
            known = key in DEFAULTS or any(k.startswith(key + ".") for k in DEFAULTS)
            known = known or key.startswith(("sts.engines.", "streams."))
            files = (".py", ".toml", ".yml", ".md", ".json", ".crt", ".wav")
            assert known or key.endswith(files), f"{document.name} names {key}"


def test_commands_and_targets_named_in_any_document_exist() -> None:
    commands = {c.name or getattr(c.callback, "__name__", "") for c in app.registered_commands}
    commands |= {group.name for group in app.registered_groups}
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for document in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")):
        text = document.read_text("utf-8")
        assert set(re.findall(r"`dubrelay ([a-z]+)", text)) <= commands, document
        assert set(re.findall(r"`make ([a-z]+)", text)) <= targets, document

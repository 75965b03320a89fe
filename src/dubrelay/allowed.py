"""What a model's key may hold, in words, for whoever gave it something else. From the model's own JSON schema."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel

_Schema = dict[str, Any]
_NAME = "[key]"
"""At the end of a `loc`: it is the name before it that is wrong."""
_PLAIN = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "a table of keys and values",
}


def allowed(model: type[BaseModel], loc: Sequence[int | str]) -> tuple[str, str]:
    """The dotted key at `loc` of a pydantic error, and what its value may be: "a whole number from 1 to 65535".

    Empty words where that is not known.
    """
    whole = _schema_of(model)
    found = _resolved(whole, whole)
    keys: list[str] = []
    names: _Schema = {}
    for part in loc:
        kinds = found.get("discriminator", {}).get("mapping", {})
        if part in kinds:  # nobody wrote this part: pydantic says which of several it took the table for
            found = _resolved({"$ref": kinds[part]}, whole)
            continue
        if part == _NAME:
            return ".".join(keys), f"named so that it matches {' or '.join(names)}"
        keys.append(str(part))
        names = found.get("patternProperties", {})
        found = _resolved(_inside(found, part), whole)
    return ".".join(keys), _in_words(found, whole)


@cache
def _schema_of(model: type[BaseModel]) -> _Schema:
    return model.model_json_schema()


def _inside(schema: _Schema, part: int | str) -> _Schema:
    if isinstance(part, int):
        return dict(schema.get("items", {}))
    of_any_name = [*schema.get("patternProperties", {}).values(), schema.get("additionalProperties")]
    found = schema.get("properties", {}).get(part) or next(filter(None, of_any_name), None)
    return found if isinstance(found, dict) else {}


def _resolved(schema: _Schema, whole: _Schema) -> _Schema:
    """What stands behind a reference, and beside null."""
    if "anyOf" in schema:
        schema = next((one for one in schema["anyOf"] if one.get("type") != "null"), {})
    if "$ref" in schema:
        schema = whole["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema


def _in_words(schema: _Schema, whole: _Schema) -> str:
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    if "discriminator" in schema:
        told_by = schema["discriminator"]
        return f"a table whose {told_by['propertyName']} is one of {', '.join(told_by['mapping'])}"
    kind = schema.get("type", "")
    if kind == "array":
        items = _resolved(schema["items"], whole)
        example = ' such as ["a", "b"]' if items.get("type") == "string" else ""
        return f"a list{example}{_count(schema)}, each {_in_words(items, whole)}"
    return _text(schema) if kind == "string" else _PLAIN.get(kind, "") + _range(schema)


def _range(schema: _Schema) -> str:
    low, over, high = (schema.get(name) for name in ("minimum", "exclusiveMinimum", "maximum"))
    if over is not None:
        return f" over {over}" + ("" if high is None else f" and at most {high}")
    if low is not None:
        return f" from {low} to {high}" if high is not None else f", at least {low}"
    return "" if high is None else f", at most {high}"


def _count(schema: _Schema) -> str:
    few, most = schema.get("minItems"), schema.get("maxItems")
    return (f", at least {few}" if few else "") + (f", at most {most}" if most else "")


def _text(schema: _Schema) -> str:
    """A pattern says nothing to people: a description beside it does."""
    if description := schema.get("description"):
        return str(description)
    if pattern := schema.get("pattern"):
        return f"text that matches {pattern}"
    most = f" of at most {schema['maxLength']} characters" if "maxLength" in schema else ""
    return ("a path" if schema.get("format") == "path" else "text") + most

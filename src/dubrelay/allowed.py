"""What a model's key may hold, in words, for whoever gave it something else. From the model's own JSON schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

_Schema = dict[str, Any]
_PLAIN = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "a table of keys and values",
}


def allowed(model: type[BaseModel], keys: Sequence[int | str]) -> str:
    """Of the value at `keys` (names, and places in lists): "a whole number from 1 to 65535"; empty where not known."""
    whole = model.model_json_schema()
    found = _resolved(whole, whole)
    for key in keys:
        inner = found.get("items") if isinstance(key, int) else found.get("properties", {}).get(key)
        found = _resolved(inner or {}, whole)
    return _in_words(found, whole)


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

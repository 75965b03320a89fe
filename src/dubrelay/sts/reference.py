"""The page at /docs: the OpenAPI document as plain HTML. It loads nothing from elsewhere, so it is whole offline."""

from __future__ import annotations

from html import escape
from typing import Any

_Schema = dict[str, Any]
_LIMITS = {
    "minimum": "at least {}", "exclusiveMinimum": "over {}", "maximum": "at most {}", "exclusiveMaximum": "under {}",
    "minLength": "at least {} characters", "maxLength": "at most {} characters", "maxItems": "at most {}",
    "pattern": "matches {}", "default": "else {}",
}  # fmt: skip
_STYLE = "body{font:16px sans-serif;max-width:60em;margin:2em auto}td,th{text-align:left;padding:.2em 1em .2em 0;\
vertical-align:top}code{overflow-wrap:anywhere}"


def page(document: dict[str, Any]) -> str:
    """HTML with each operation, then each schema."""
    title = escape(f"{document['info']['title']} {document['info']['version']}")
    operations = [
        _operation(method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = [_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items())]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f'<h1>{title}</h1><p>For programs: <a href="/openapi.json">openapi.json</a></p>'
        f"{''.join(operations)}<h1>Shapes</h1>{''.join(schemas)}</html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    body = operation.get("requestBody", {}).get("content", {})
    answers = [
        _row(f"<code>{escape(status)}</code>", _content(answer.get("content", {})), escape(answer["description"]))
        for status, answer in operation["responses"].items()
    ]
    return (
        f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation.get('description', ''))}</p>"
        f"{f'<p>Body: {_content(body)}</p>' if body else ''}<table>{''.join(answers)}</table>"
    )


def _schema(name: str, schema: _Schema) -> str:
    required = schema.get("required", [])
    rows = [
        _row(f"<code>{escape(key)}</code>", "" if key in required else "optional", _kind(value))
        for key, value in schema.get("properties", {}).items()
    ]
    text = escape(schema.get("description", ""))
    return f'<h2 id="{escape(name)}">{escape(name)}</h2><p>{text}</p><table>{"".join(rows)}</table>'


def _row(*cells: str) -> str:
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _content(content: dict[str, Any]) -> str:
    return ", ".join(_kind(of["schema"]) if "schema" in of else escape(kind) for kind, of in content.items())


def _kind(schema: _Schema) -> str:
    """What a value may be, in words."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return escape(" or ".join(str(value) for value in schema.get("enum", [schema.get("const")])))
    words = [schema.get("type", "anything")]
    words += [
        text.format(schema[limit]) for limit, text in _LIMITS.items() if schema.get(limit) not in (None, "", [], {})
    ]
    told = escape(", ".join(words))
    return f"{told} of {_kind(schema['items'])}" if "items" in schema else told

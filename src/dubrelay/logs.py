"""Logs: JSON lines on stderr, plain text on a terminal.

Every line carries `ts level component event` and, where they are bound, `streamId runId instanceId`. Secrets never
reach a line: URLs go through `redact_url`, a key that looks like a secret's name is starred, and so is what `hide` was
told, wherever it stands.
"""

from __future__ import annotations

import logging
import sys
import uuid
from typing import Any, Literal
from urllib.parse import urlsplit

import structlog
from structlog.typing import EventDict, WrappedLogger

Logger = structlog.stdlib.BoundLogger

INSTANCE_ID = uuid.uuid4().hex[:12]
_STARS = "***"
_hidden: list[str] = []
_MIN_HIDDEN = 12
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))} | {
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}
_SECRET_NAMES = ("key", "token", "secret", "password", "authorization")


def redact_url(url: str) -> str:
    """Scheme, host and first path element: enough to know where, never a credential, query or stream key."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    app = parts.path.strip("/").split("/")[0]
    return f"{parts.scheme}://{host}{port}/{app}"


def hide(*secrets: str) -> None:
    """From now on these never appear in a line of this process, whoever writes it.

    Of those with under 12 characters nothing is hidden: they may be parts of ordinary words.
    """
    _hidden.extend(secret for secret in secrets if len(secret) >= _MIN_HIDDEN and secret not in _hidden)


def scrubbed(text: str) -> str:
    """Without the secrets that `hide` was told."""
    for secret in _hidden:
        text = text.replace(secret, _STARS)
    return text


def _scrub(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = scrubbed(value)
        elif isinstance(value, (list, tuple, dict)) and (text := repr(value)) != scrubbed(text):
            event[name] = scrubbed(text)
    return event


def _on_one_line(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """For people: what a stranger sent must not look like another line, or move the cursor. JSON has its own way."""
    for name, value in event.items():
        if isinstance(value, str) and name not in {"exception", "stack"}:
            event[name] = value.translate(_CONTROLS)
    return event


def _star_secrets(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    for name in event:
        if name.lower().endswith(_SECRET_NAMES):
            event[name] = _STARS
    return event


def setup(component: str, level: str = "info", style: Literal["auto", "json", "text"] = "auto", **bound: Any) -> None:
    """Configures structlog and the standard library's logging of this process; `bound` goes on every line."""
    as_text = style == "text" or (style == "auto" and sys.stderr.isatty())
    process_wide = {"component": component, "instanceId": INSTANCE_ID, **bound}

    def add_process_wide(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        # Not contextvars: threads started by GStreamer or by us would not inherit them.
        return {**process_wide, **event}

    shared: list[structlog.typing.Processor] = [
        add_process_wide,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        _star_secrets,
        structlog.processors.format_exc_info,
        _scrub,
    ]
    if as_text:
        shared.append(_on_one_line)
    render: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(timestamp_key="ts") if as_text else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for noisy in ("httpx2", "httpcore2", "uvicorn.access", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def is_set_up() -> bool:
    return structlog.is_configured()


def get() -> Logger:
    """The logger of this process. What belongs to one flow is bound with `.bind(streamId=..., runId=...)`."""
    logger: Logger = structlog.stdlib.get_logger("dubrelay")
    return logger

"""Logs: JSON lines on stderr, plain text on a terminal.

Every line carries `ts level component event` and, where they are bound, `streamId runId instanceId`. Secrets never
reach a line: URLs go through `redact_url`, and a key that looks like a secret's name is starred.
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
_SECRET_NAMES = ("key", "token", "secret", "password", "authorization")


def redact_url(url: str) -> str:
    """Scheme, host and first path element: enough to know where, never a credential, query or stream key."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    app = parts.path.strip("/").split("/")[0]
    return f"{parts.scheme}://{host}{port}/{app}"


def _star_secrets(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    for name in event:
        if name.lower().endswith(_SECRET_NAMES):
            event[name] = "***"
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
    ]
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

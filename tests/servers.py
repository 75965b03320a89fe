"""An ASGI application of a test's own on a free port of loopback."""

from __future__ import annotations

from typing import Any

import uvicorn

from certificates import Certificate


def server_for(app: Any, certificate: Certificate | None = None) -> uvicorn.Server:
    """Not started yet; with a certificate it speaks https. It ends within a second."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            interface="asgi3",
            host="127.0.0.1",
            port=0,
            log_level="critical",
            lifespan="off",
            timeout_graceful_shutdown=1,
            ssl_certfile=certificate.file if certificate else None,
            ssl_keyfile=certificate.key if certificate else None,
        )
    )

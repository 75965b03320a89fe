"""The service's own certificate."""

from __future__ import annotations

import ssl

from dubrelay.config import Sts
from dubrelay.errors import ConfigError


def server_context(settings: Sts) -> ssl.SSLContext | None:
    """None where TLS is not set. ConfigError when `sts.tls_cert` and `sts.tls_key` cannot be used."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    for name, path in (("sts.tls_cert", settings.tls_cert), ("sts.tls_key", settings.tls_key)):
        try:
            path.read_bytes()
        except OSError as e:
            raise ConfigError(f"{name} = '{path}': cannot be read: {e.strerror}") from e
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # An empty password: OpenSSL would ask the terminal for that of an encrypted key.
        context.load_cert_chain(settings.tls_cert, settings.tls_key, "")
    except OSError as e:
        reason = getattr(e, "reason", "") or "no key in PEM format, or an encrypted one"
        message = (
            f"sts.tls_cert = '{settings.tls_cert}', sts.tls_key = '{settings.tls_key}': of no use together: {reason}"
        )
        raise ConfigError(message) from e
    return context

"""Whose certificates an https service may show. Nothing here or in what uses it reads the environment."""

from __future__ import annotations

import ssl
from pathlib import Path

from dubrelay.errors import ConfigError


def verification(ca_file: Path | None, key: str = "sts_client.ca_file") -> ssl.SSLContext | bool:
    """For the HTTP client's `verify`: the CAs in `ca_file` (PEM) and no others, or the system's.

    ConfigError, naming the setting `key`, when the file cannot be read or holds no certificate.
    """
    if ca_file is None:
        return True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # create_default_context() would read SSLKEYLOGFILE
    try:
        context.load_verify_locations(ca_file)
    except ssl.SSLError as e:  # an OSError, too
        raise ConfigError(f"{key} = '{ca_file}': holds no certificate in PEM format") from e
    except OSError as e:
        raise ConfigError(f"{key} = '{ca_file}': cannot be read: {e.strerror}") from e
    return context

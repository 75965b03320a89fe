"""TLS: whose certificates an https service may show, and a server's own. Nothing here or in what uses it reads the
environment.
"""

from __future__ import annotations

import ssl
from hashlib import sha256
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


def that_certificate(file: Path | None, key: str) -> ssl.SSLContext | bool:
    """For the HTTP client's `verify`: the very certificate that a server of ours has, whatever we call it by."""
    context = verification(file, key)
    if isinstance(context, ssl.SSLContext):
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def fingerprint(file: Path, key: str) -> str:
    """SHA-256 of the first certificate in a PEM file, in hexadecimal. ConfigError, naming the setting `key`."""
    try:
        text = file.read_text("ascii")
        end = text.index(ssl.PEM_FOOTER) + len(ssl.PEM_FOOTER)
        return sha256(ssl.PEM_cert_to_DER_cert(text[text.index(ssl.PEM_HEADER) : end])).hexdigest()
    except OSError as e:
        raise ConfigError(f"{key} = '{file}': cannot be read: {e.strerror}") from e
    except ValueError as e:
        raise ConfigError(f"{key} = '{file}': holds no certificate in PEM format") from e


def server_context(section: str, tls_cert: Path | None, tls_key: Path | None) -> ssl.SSLContext | None:
    """A server's own certificate. None where TLS is not set. ConfigError when the two files cannot be used."""
    if tls_cert is None or tls_key is None:
        return None
    for name, path in ((f"{section}.tls_cert", tls_cert), (f"{section}.tls_key", tls_key)):
        try:
            path.read_bytes()
        except OSError as e:
            raise ConfigError(f"{name} = '{path}': cannot be read: {e.strerror}") from e
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # An empty password: OpenSSL would ask the terminal for that of an encrypted key.
        context.load_cert_chain(tls_cert, tls_key, "")
    except OSError as e:
        reason = getattr(e, "reason", "") or "no key in PEM format, or an encrypted one"
        both = f"{section}.tls_cert = '{tls_cert}', {section}.tls_key = '{tls_key}'"
        raise ConfigError(f"{both}: of no use together: {reason}") from e
    return context

"""A CA of our own and a certificate of it, made as docs/operations.md says, with the openssl program."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Issued:
    """PEM files."""

    ca: Path
    certificate: Path
    key: Path


def issued(directory: Path, name: str) -> Issued:
    """`name` as in a subjectAltName: DNS:gpu.example or IP:10.0.0.2."""
    made = Issued(directory / "ca.pem", directory / "sts.crt", directory / "sts.key")
    ca_key = str(directory / "ca.key")
    openssl(
        "req", "-x509", *_CURVE, "-days", "3650", "-subj", "/CN=dubrelay CA", "-out", str(made.ca), "-keyout", ca_key
    )
    openssl(
        *("req", "-x509", *_CURVE, "-days", "365", "-subj", "/CN=dubrelay STS", "-addext", f"subjectAltName={name}"),
        *("-addext", "basicConstraints=critical,CA:FALSE", "-CA", str(made.ca), "-CAkey", ca_key),
        *("-out", str(made.certificate), "-keyout", str(made.key)),
    )
    return made


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)

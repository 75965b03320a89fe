"""Certificates that a test makes for itself, with the openssl program."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    """PEM files. It signed itself, so `file` is what whoever trusts it needs."""

    file: Path
    key: Path


def certificate(directory: Path, name: str = "IP:127.0.0.1") -> Certificate:
    """For one host, named as in a subjectAltName."""
    made = Certificate(directory / "certificate.pem", directory / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=dubrelay test", "-addext", f"subjectAltName={name}"]
    command += ["-out", str(made.file), "-keyout", str(made.key)]
    subprocess.run(command, check=True, capture_output=True)
    return made

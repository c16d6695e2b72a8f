"""Certificates made for a test."""

from __future__ import annotations

import subprocess
from pathlib import Path


def certificate(folder: Path, name: str = "") -> tuple[Path, Path]:
    """A certificate for the loopback, signed by itself, and its key."""
    cert, key = folder / f"{name}cert.pem", folder / f"{name}key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-keyout", key, "-out", cert, "-days", "1", "-subj", "/CN=yard"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return cert, key

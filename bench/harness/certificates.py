# SPDX-License-Identifier: Apache-2.0
"""Certificates made with the openssl program: one self-signed pair for each use."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

KINDS = {
    "ecdsa": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "rsa": ["rsa:3072"],
    "rsa2048": ["rsa:2048"],
}


@dataclass(frozen=True)
class Pair:
    certificate: Path
    key: Path


def make(directory, name, kind, usage):
    """A self-signed pair; usage: serverAuth or clientAuth."""
    pair = Pair(directory / f"{name}.pem", directory / f"{name}.key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", *KINDS[kind], "-nodes", "-sha256",
         "-keyout", pair.key, "-out", pair.certificate, "-days", "30",
         "-subj", f"/CN=bench {name}",
         "-addext", f"extendedKeyUsage={usage}",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, capture_output=True)
    return pair

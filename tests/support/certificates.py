# SPDX-License-Identifier: Apache-2.0
"""Client certificates as administrators' machines make them."""

import contextlib
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Tuple

KEYS = {
    "ec": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
    "rsa": ("-newkey", "rsa:2048"),
}


@dataclass
class Certificate:
    certificate: Path
    key: Path


def openssl(*arguments) -> None:
    done = subprocess.run(
        ["openssl", *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, done.stdout.decode("utf-8", "replace")


def self_signed(
    folder: Path,
    name: str,
    kind: str = "ec",
    days: int = 30,
    extensions: Tuple[str, ...] = (),
) -> Certificate:
    """A certificate like vCenter's: self-signed, any CN, no Extended Key Usage unless asked."""
    made = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
    added = [part for extension in extensions for part in ("-addext", extension)]
    openssl(
        "req", "-x509", "-nodes", *KEYS[kind], "-subj", f"/CN={name}", "-days", days,
        "-keyout", made.key, "-out", made.certificate, *added,
    )  # fmt: skip
    return made


@contextlib.contextmanager
def let_in(server, certificate: Certificate, adapter: str = "default"):
    """The certificate, known to the server while the block lasts."""
    name = certificate.certificate.stem
    server.ctl("cert", "add", certificate.certificate, "--name", name, "--adapter", adapter)
    yield certificate
    server.ctl("cert", "delete", name, "--adapter", adapter, "--yes")

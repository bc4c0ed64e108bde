# SPDX-License-Identifier: Apache-2.0
"""What stands behind a key manager in tests: a soft HSM, a soft TPM, another kmipd."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Iterator, NamedTuple, Tuple

from tests.support.api import Api, printed_at_first_start
from tests.support.server import Server, free_port

SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")
TOKEN = "kmipd"
PIN = "14725836"


class Configured(NamedTuple):
    """What a kmipd is started with to use a key manager."""

    arguments: Tuple[str, ...]
    environment: dict


def write_config(folder: Path, text: str) -> Tuple[str, ...]:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "kmipd.conf"
    path.write_text(text)
    return ("--config", str(path))


def secret_file(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text + "\n")
    return path


# ---- SoftHSM2 ----


def need_softhsm() -> None:
    import pytest

    if not SOFTHSM.exists() or shutil.which("softhsm2-util") is None:
        pytest.skip("no softhsm2: the PKCS#11 key manager is not tested")


class SoftHsm:
    """A token of its own."""

    def __init__(self, folder: Path):
        self.folder = folder
        tokens = folder / "tokens"
        tokens.mkdir(parents=True)
        self.conf = folder / "softhsm2.conf"
        self.conf.write_text(
            f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
        )
        self.pin_file = secret_file(folder / "pin", PIN)
        subprocess.run(
            ["softhsm2-util", "--init-token", "--free", "--label", TOKEN, "--pin", PIN,
             "--so-pin", "8520"],
            env={**os.environ, "SOFTHSM2_CONF": str(self.conf)},
            check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def configured(self, module: Path = SOFTHSM, default: bool = True) -> Configured:
        text = (
            f"[keys]\nkey-manager = {'pkcs11' if default else 'sealed-file'}\n"
            f"[pkcs11]\nmodule = {module}\ntoken = {TOKEN}\npin-file = {self.pin_file}\n"
        )
        return Configured(
            write_config(self.folder, text), {"SOFTHSM2_CONF": str(self.conf)}
        )


# ---- swtpm ----


def need_swtpm() -> None:
    import pytest

    if shutil.which("swtpm") is None:
        pytest.skip("no swtpm: sealing under a TPM is not tested")


def free_pair() -> int:
    """The first of two free ports, one behind the other."""
    while True:
        port = free_port()
        with socket.socket() as probe:
            with contextlib.suppress(OSError, OverflowError):
                probe.bind(("127.0.0.1", port + 1))
                return port


@contextlib.contextmanager
def soft_tpm(folder: Path) -> Iterator[str]:
    """A TPM that runs while the block lasts; its TCTI string."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_pair()  # the TCTI expects the control channel on the port behind
    control = port + 1
    process = subprocess.Popen(
        ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={folder}",
         "--server", f"type=tcp,port={port},bindaddr=127.0.0.1",
         "--ctrl", f"type=tcp,port={control},bindaddr=127.0.0.1",
         "--flags", "not-need-init,startup-clear"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        end = time.monotonic() + 20
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", control)) == 0:
                    break
            assert process.poll() is None and time.monotonic() < end, "swtpm does not start"
            time.sleep(0.02)
        yield f"swtpm:host=127.0.0.1,port={port}"
    finally:
        process.terminate()
        process.wait(20)


def tpm_configured(folder: Path, tcti: str) -> Configured:
    text = f"[keys]\nsealing = tpm\nsealing-tpm-tcti = {tcti}\n"
    return Configured(write_config(folder, text), {})


# ---- another kmipd ----


def key_protect_section(server: Server, folder: Path, section: str = "key-protect", **keys) -> str:
    """The section by which a kmipd uses another, running one as its key manager."""
    instance, api_key = printed_at_first_start(server)
    key_file = secret_file(folder / f"{section}.api-key", api_key)
    url = f"https://localhost:{server.admin_port}"
    values = {
        "url": url,
        "iam-url": url,
        "instance": instance,
        "api-key-file": key_file,
        "ca-file": server.ca,
        **{name.replace("_", "-"): value for name, value in keys.items()},
    }
    lines = "".join(f"{name} = {value}\n" for name, value in values.items())
    return f"[{section}]\n{lines}"


def kmipd_configured(server: Server, folder: Path, check_interval: str = "1s", **keys) -> Configured:
    folder.mkdir(parents=True, exist_ok=True)
    text = f"[keys]\nkey-manager = key-protect\ncheck-interval = {check_interval}\n"
    text += key_protect_section(server, folder, **keys)
    return Configured(write_config(folder, text), {})


__all__ = [
    "Api", "Configured", "SoftHsm", "key_protect_section", "kmipd_configured", "need_softhsm",
    "need_swtpm", "secret_file", "soft_tpm", "tpm_configured", "write_config",
]  # fmt: skip

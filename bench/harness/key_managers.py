# SPDX-License-Identifier: Apache-2.0
"""What kmipd has behind it: how it is set up for a key manager."""

import os
import subprocess
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from . import certificates
from .processes import Failure, StandIn

SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")
TOKEN = "bench"
PIN = "14725836"


@dataclass(frozen=True)
class KeyManager:
    """What a kmipd is started with."""

    name: str
    section: str = ""
    environment: dict = field(default_factory=dict)

    def options(self, cached, **settings):
        """Options of Kmipd(). cached: whether it holds unwrapped keys ready; settings: more keys of
        the key manager's section. Root keys are checked before and after what is measured."""
        keys = (f"[keys]\nkey-manager = {self.name}\ncheck-interval = 1h\n"
                + ("" if cached else "cache-count = 0\n"))
        more = "".join(f"{name.replace('_', '-')} = {value}\n" for name, value in settings.items())
        return {"more": keys + self.section + more, "environment": self.environment}


SEALED_FILE = KeyManager("sealed-file")


def _secret_file(path, text):
    path.touch(mode=0o600)
    path.write_text(text + "\n")
    return path


def soft_hsm(directory):
    """A token of its own in SoftHSM2."""
    (directory / "tokens").mkdir()
    conf = directory / "softhsm2.conf"
    conf.write_text(f"directories.tokendir = {directory / 'tokens'}\nlog.level = ERROR\n")
    environment = {"SOFTHSM2_CONF": str(conf)}
    pin = _secret_file(directory / "pin", PIN)
    try:
        subprocess.run(["softhsm2-util", "--init-token", "--free", "--label", TOKEN, "--pin", PIN,
                        "--so-pin", "8520"], env={**os.environ, **environment}, check=True,
                       capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Failure(f"SoftHSM2: {error} (apt-get install softhsm2)") from error
    return KeyManager("pkcs11", f"[pkcs11]\nmodule = {SOFTHSM}\ntoken = {TOKEN}\n"
                                f"pin-file = {pin}\n", environment)


def key_protect(context, stack, latency):
    """A stand-in for Key Protect, and how kmipd is set up for it."""
    directory = context.fresh("key-protect")
    pair = certificates.make(directory, "key-protect", "ecdsa", "serverAuth")
    stand_in = stack.enter_context(StandIn(context.programs, pair, latency))
    url = f"https://localhost:{stand_in.port}"
    api_key = _secret_file(directory / "api-key", "bench")
    return stand_in, KeyManager("key-protect", (
        f"[key-protect]\nurl = {url}\niam-url = {url}\ninstance = {uuid.uuid4()}\n"
        f"api-key-file = {api_key}\nca-file = {pair.certificate}\n"))

# SPDX-License-Identifier: Apache-2.0
"""Clients from npm, each in a directory of its own below the build, installed once."""

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path

from tests.support.paths import SOURCE

INSTALL_TIMEOUT = 240.0
CLIENTS = SOURCE / "tests" / "clients"


def need_client(name: str) -> Path:
    """The directory with the client `name` and what it needs. Skips a test, loudly, where npm is
    missing or reaches no registry."""
    import pytest

    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("no node and npm: IBM's clients from npm are not tested")
    place = SOURCE / "build-check" / "npm" / name
    place.mkdir(parents=True, exist_ok=True)
    with open(place / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install(name, place)
    return place


def _install(name: str, place: Path) -> None:
    import pytest

    sources = [CLIENTS / name / file for file in ("package.json", "package-lock.json", "client.js")]
    good = place / "installed"
    wanted = "".join(source.read_text() for source in sources[:2])
    shutil.copy(sources[2], place)
    if good.exists() and good.read_text() == wanted:
        return
    good.unlink(missing_ok=True)
    for source in sources:
        shutil.copy(source, place)
    done = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=INSTALL_TIMEOUT,
    )
    if done.returncode != 0:
        pytest.skip(f"npm cannot install {name}: {done.stdout.decode(errors='replace')[-600:]}")
    good.write_text(wanted)


class NodeClient:
    """A client that runs in node and is told what to do line by line."""

    def __init__(self, place: Path, ca: Path, first: dict):
        self.process = subprocess.Popen(
            ["node", "client.js"],
            cwd=place,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "NODE_EXTRA_CA_CERTS": str(ca)},
            universal_newlines=True,
        )
        self._say(first)

    def __enter__(self) -> "NodeClient":
        return self

    def __exit__(self, *_) -> None:
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()

    def _say(self, message: dict) -> None:
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def ask(self, message: dict) -> dict:
        self._say(message)
        line = self.process.stdout.readline()
        assert line, f"the client ended with {self.process.wait(30)}"
        return json.loads(line)

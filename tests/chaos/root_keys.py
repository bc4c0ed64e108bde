# SPDX-License-Identifier: Apache-2.0
"""What tests of root keys look at: the keyholder process, wrapped keys in a store, many keys."""

import contextlib
import os
import shutil
import signal
import sqlite3
import struct
import subprocess
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional

from tests.chaos.load import eventually, material_of
from tests.support.message import ask, batch_item, create
from tests.support.paths import program
from tests.support.server import Server, group_members

BATCH = 50
SEALED, ENVELOPE = b"KWK\1", b"KWK\2"


# ---- The keyholder ----


def keyholder_of(server: Server) -> Optional[int]:
    """The process that has the root keys; None while there is none."""
    for member in group_members(server.process.pid):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{member}/cmdline").read_bytes().split(b"\0")[1:2] == [b"keyholder"]:
                return member
    return None


def kill_keyholder(server: Server) -> None:
    """As soon as there is one; it may be on its way back from the last time."""
    process = eventually(lambda: keyholder_of(server))
    os.kill(process, signal.SIGKILL)
    eventually(lambda: keyholder_of(server) != process)


# ---- Wrapped keys ----


class Wrapped(NamedTuple):
    """What the header of a wrapped key says in the clear (docs/formats.md)."""

    key_manager: int
    version: int
    root_key: bytes
    blob: bytes


def parse(blob: bytes) -> Wrapped:
    if blob[:4] == SEALED:
        return Wrapped(1, struct.unpack_from(">I", blob, 4)[0], blob[8:24], blob)
    assert blob[:4] == ENVELOPE, blob[:4]
    return Wrapped(blob[4], struct.unpack_from(">I", blob, 8)[0], blob[16:32], blob)


@contextlib.contextmanager
def store_of(state: Path):
    """The store's database; the server may run."""
    with contextlib.closing(sqlite3.connect(state / "store.db", timeout=20)) as store:
        yield store


def wrapped_keys(state: Path) -> Dict[bytes, Wrapped]:
    """By object identifier."""
    with store_of(state) as store:
        rows = store.execute("SELECT id, wrapped FROM object WHERE length(wrapped) > 0").fetchall()
    return {bytes(name): parse(bytes(blob)) for name, blob in rows}


def root_key_of(server: Server, adapter: str = "default") -> str:
    return server.ctl_json("adapter", "show", adapter)["root_key"]


def version_of(server: Server, root_key: str) -> int:
    return server.ctl_json("root-key", "show", root_key)["version"]


def progress_of(server: Server, adapter: str = "default") -> dict:
    return server.ctl_json("adapter", "progress", adapter)


def rewrapped(server: Server, adapter: str = "default") -> bool:
    progress = progress_of(server, adapter)
    return progress["state"] == "done" and progress["failed"] == 0


# ---- Another kmipd as key manager ----


@contextlib.contextmanager
def keeper_of(made_state: Path, folder: Path):
    """A kmipd whose root keys others use, from a copy of a state that has served."""
    folder.mkdir(parents=True)
    shutil.copy(made_state.parent / f"{made_state.name}.log", folder / "state.log")  # its API key
    with Server(shutil.copytree(made_state, folder / "state"), admin=True) as keeper:
        yield keeper


def records_at(api) -> Dict[str, str]:
    """The records that are in service there: key identifiers by object identifier."""
    answer = api.call("GET", "/keys?extractable=true&limit=5000&search=vmware_kmip-")
    assert answer.status == 200, answer.body
    found = answer.body.get("resources", [])
    return {each["name"].split("-", 1)[1]: each["id"] for each in found}


# ---- Many keys ----


def make_keys(server: Server, count: int, context=None) -> Dict[str, bytes]:
    """Materials by identifier."""
    return read_keys(server, create_keys(server, count, context), context)


def create_keys(server: Server, count: int, context=None) -> List[str]:
    made: List[str] = []
    with server.connect(context) as client:
        while len(made) < count:
            items = [create(identifier=b"%d" % number) for number in range(BATCH)]
            made += [result.succeeded().id for result in ask(client, *items).items]
    return made


def read_keys(server: Server, identifiers, context=None) -> Dict[str, bytes]:
    found, left = {}, list(identifiers)
    with server.connect(context) as client:
        while left:
            some, left = left[:BATCH], left[BATCH:]
            items = [
                batch_item("Get", ("UniqueIdentifier", each), identifier=b"%d" % number)
                for number, each in enumerate(some)
            ]
            for each, result in zip(some, ask(client, *items).items):
                found[each] = material_of(result.succeeded())
    return found


def check_all(server: Server, keys: Dict[str, Optional[bytes]], context=None) -> None:
    """Each is there, as it was."""
    now = read_keys(server, keys, context)
    changed = [name for name, material in keys.items() if material not in (None, now[name])]
    assert not changed, f"other keys now: {changed[:3]}"


def start_ctl(server: Server, *arguments: str) -> subprocess.Popen:
    """A command that the test does not wait for, because the server may die under it."""
    return subprocess.Popen(
        [program("kmipctl"), "--state", str(server.state), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )

# SPDX-License-Identifier: Apache-2.0
"""A store that cannot be read, or whose file is damaged under the running server.

vCenter takes Item Not Found for the loss of a key, so that is never the answer where a key exists;
nor is another key than the one that was made.
"""

import os
import secrets

import pytest

from tests.chaos.load import eventually, get, log_lines
from tests.support.message import ask, attribute, batch_item, create, do
from tests.support.server import Server

LINES_MAX = 4  # for one fault, however many requests meet it
BLOB = 60000  # bytes of an object that needs pages of its own
BLOBS = 120
PAGE = 4096


def told(server, *words):
    """A line for the administrator says so, and there are not many."""
    eventually(lambda: [x for x in log_lines(server, " CRITICAL ") if all(w in x for w in words)])
    lines = log_lines(server, " CRITICAL ", " ERROR ")
    assert len(lines) <= LINES_MAX, lines


@pytest.fixture
def forgetful(tmp_path):
    """Arguments for a server that keeps nothing in memory that it could read."""
    config = tmp_path / "kmipd.conf"
    config.write_text("[store]\ncache-size = 0\n[keys]\ncache-count = 0\n")
    return ("--config", str(config))


def test_store_cannot_be_read(faulty, faults, forgetful):
    faulty.arguments = forgetful
    faulty.start()
    with faulty.connect() as client:
        made = ask(client, create()).only().succeeded().id
    faulty.restart()  # nothing of the store is in memory
    reads = [
        batch_item("Get", ("UniqueIdentifier", made)),
        batch_item("GetAttributes", ("UniqueIdentifier", made)),
        batch_item("Locate", attribute("Object Type", "SymmetricKey")),
        batch_item("Activate", ("UniqueIdentifier", made)),
        batch_item("DiscoverVersions"),
    ]
    with faults.failing("store", "read"):
        with faulty.connect() as client:
            for read in reads:  # not even who the client is can be found out
                ask(client, read).only().failed("GeneralFailure")
        told(faulty, "status=STORE_FAILED")
        assert faulty.ctl("object", "list", check=False).returncode == 1
    with faulty.connect() as client:
        for read in reads:
            ask(client, read).only().succeeded()
    assert "whole" in faulty.ctl("audit", "verify").stdout


def register_blob(client):
    data = secrets.token_bytes(BLOB)
    result = do(
        client,
        "Register",
        ("ObjectType", "OpaqueObject"),
        ("TemplateAttribute", []),
        ("OpaqueObject", [("OpaqueDataType", 0x80000001), ("OpaqueDataValue", data)]),
    )
    return result.succeeded().id, data


def overwrite(path, damage):
    """Damages half of the pages of a file."""
    size = path.stat().st_size
    length = size // 2 // PAGE * PAGE
    with open(path, "r+b") as file:
        file.seek(size // 3 // PAGE * PAGE)
        file.write(os.urandom(length) if damage == "noise" else bytes(length))


def check_blob(result, data):
    """Served as it was stored, or refused; True when served."""
    if result.status != "Success":
        result.failed("GeneralFailure", "CryptographicFailure")
        return False
    assert result.get("OpaqueObject", "OpaqueDataValue") == data, "not what was stored"
    return True


@pytest.mark.parametrize("damage", ["noise", "zeros"])
def test_store_is_damaged_while_serving(state, forgetful, damage):
    with Server(state, arguments=forgetful) as server:
        with server.connect() as client:
            blobs = dict(register_blob(client) for _ in range(BLOBS))
        server.restart()  # nothing of the store is in memory, nor in its log
        overwrite(state / "store.db", damage)
        with server.connect() as client:
            served = [check_blob(get(client, name), data) for name, data in blobs.items()]
            assert 0 < sum(served) < BLOBS, "the damage was not where it should be"
            located = do(client, "Locate", attribute("Object Type", "OpaqueObject"))
            assert located.status == "Success" or located.reason == "GeneralFailure"
            ask(client, batch_item("DiscoverVersions")).only().succeeded()
        told(server, "store is damaged", "backup")
        assert server.ctl_json("status")["store"]["health"] != "well"
        assert "whole" in server.ctl("audit", "verify").stdout

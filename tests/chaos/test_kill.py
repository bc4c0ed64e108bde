# SPDX-License-Identifier: Apache-2.0
"""kill -9 at any instant under load.

Clients make keys, tag, activate and destroy them, and remember what was acknowledged. After each
kill the server must come back with all of it, with nothing half-made beside it, with a whole audit
log, and with a record of every acknowledged change. 4 servers die 55 times each.
"""

import json
import random
import threading
import time

import pytest

from tests.support.message import aes_template, ask, attribute, batch_item, do
from tests.support.server import Server

SHARDS = 4
KILLS = 55
CLIENTS = 4
LONGEST = 0.15  # seconds of load before a kill


class Remembered:
    """What one key must look like, as far as it was acknowledged."""

    def __init__(self):
        self.material = None
        self.tagged = False
        self.activated = False
        self.destroyed = False
        # Sent, but never answered: may have happened or not.
        self.maybe = set()


class Worker(threading.Thread):
    """A client that works until its connection dies."""

    def __init__(self, server, number):
        super().__init__(daemon=True)
        self.server = server
        self.number = number
        self.keys = {}
        self.unexpected = None

    def run(self):
        try:
            with self.server.connect() as client:
                while True:
                    self.live(client)
        except OSError:
            pass  # the server's death
        except Exception as mistake:  # noqa: BLE001 - reported by the test that started us
            self.unexpected = mistake

    def live(self, client):
        created = do(client, "Create", ("ObjectType", "SymmetricKey"), aes_template()).succeeded()
        key = self.keys[created.id] = Remembered()
        got = do(client, "Get", ("UniqueIdentifier", created.id)).succeeded()
        key.material = material_of(got)
        self.step(client, key, "tagged", "AddAttribute", created.id, attribute("x-Name", "vm"))
        self.step(client, key, "activated", "Activate", created.id)
        if len(self.keys) % 3 == self.number % 3:
            return
        revoke = ("RevocationReason", [("RevocationReasonCode", "CessationOfOperation")])
        key.maybe.add("destroyed")
        batch = [
            batch_item("Revoke", ("UniqueIdentifier", created.id), revoke, identifier=b"1"),
            batch_item("Destroy", ("UniqueIdentifier", created.id), identifier=b"2"),
        ]
        for result in ask(client, *batch).items:
            result.succeeded()
        key.destroyed = True

    @staticmethod
    def step(client, key, name, operation, identifier, *payload):
        key.maybe.add(name)
        do(client, operation, ("UniqueIdentifier", identifier), *payload).succeeded()
        setattr(key, name, True)


def material_of(result):
    block = result.get("SymmetricKey", "KeyBlock", "KeyValue", "KeyMaterial")
    assert len(block) == 32
    return block


def attributes_of(client, identifier):
    return dict(do(client, "GetAttributes", ("UniqueIdentifier", identifier)).succeeded().attributes)


PRE_ACTIVE, ACTIVE, DEACTIVATED, DESTROYED = 1, 2, 3, 5


def check_key(client, identifier, key):
    found = attributes_of(client, identifier)
    state = found["State"]
    if key.destroyed:
        assert state == DESTROYED
        return
    if state == DESTROYED:
        assert "destroyed" in key.maybe, f"{identifier} was destroyed by nobody"
        return
    if key.activated:
        assert state in ((ACTIVE,) if "destroyed" not in key.maybe else (ACTIVE, DEACTIVATED))
    elif "activated" not in key.maybe:
        assert state == PRE_ACTIVE
    assert not key.tagged or found.get("x-Name") == "vm"
    if key.material is not None:
        again = material_of(do(client, "Get", ("UniqueIdentifier", identifier)).succeeded())
        assert again == key.material, f"{identifier} is another key now"


def check_unanswered(client, known):
    """Keys that nobody was told of: at most one a client, and whole."""
    located = do(client, "Locate", attribute("Object Type", "SymmetricKey")).succeeded()
    strangers = [each for each in located.all("UniqueIdentifier") if each not in known]
    assert len(strangers) <= CLIENTS
    for identifier in strangers:
        found = attributes_of(client, identifier)
        assert found["State"] == PRE_ACTIVE and found["Cryptographic Length"] == 256
        material_of(do(client, "Get", ("UniqueIdentifier", identifier)).succeeded())
    return strangers


def recorded_successes(state):
    """Unique Identifiers of each operation that the audit log calls a success."""
    found = {}
    for path in sorted((state / "audit").glob("audit-*.jsonl")):
        for line in path.read_bytes().rstrip(b"\0").splitlines():
            record = json.loads(line)
            if record.get("result") == "Success":
                found.setdefault(record.get("operation"), set()).add(record.get("object"))
    return found


def check_audit(server, keys):
    verified = server.ctl("audit", "verify")
    assert "whole" in verified.stdout
    records = recorded_successes(server.state)
    wanted = {
        "Create": {each for each in keys},
        "Get": {each for each, key in keys.items() if key.material},
        "Add Attribute": {each for each, key in keys.items() if key.tagged},
        "Activate": {each for each, key in keys.items() if key.activated},
        "Destroy": {each for each, key in keys.items() if key.destroyed},
    }
    for operation, identifiers in wanted.items():
        missing = identifiers - records.get(operation, set())
        assert not missing, f"acknowledged but not recorded: {operation} of {sorted(missing)[:3]}"


def work_and_kill(server, dice):
    workers = [Worker(server, number) for number in range(CLIENTS)]
    for worker in workers:
        worker.start()
    time.sleep(dice.random() * LONGEST)
    server.kill()
    for worker in workers:
        worker.join(30)
        assert not worker.is_alive()
        assert worker.unexpected is None, worker.unexpected
    return {name: key for worker in workers for name, key in worker.keys.items()}


def check_all(server, keys, known):
    with server.connect() as client:
        for identifier, key in keys.items():
            check_key(client, identifier, key)
        known.update(check_unanswered(client, known | set(keys)))
        known.update(keys)


@pytest.mark.parametrize("shard", range(SHARDS))
def test_nothing_acknowledged_is_lost(built, tmp_path, shard):
    dice = random.Random(shard)
    server = Server(tmp_path / "state").start()
    known, everything = set(), {}
    try:
        for _ in range(KILLS):
            keys = work_and_kill(server, dice)
            server.start()
            check_all(server, keys, known)
            everything.update(keys)
        check_audit(server, everything)
        assert len(everything) > KILLS, "the load was too light to mean anything"
    finally:
        server.stop()

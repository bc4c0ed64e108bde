# SPDX-License-Identifier: Apache-2.0
"""What may happen to root keys, with whole servers: the process that holds them dies, everything
dies while keys are brought under another root key, root keys are erased, wrapped keys are copied.

No acknowledged key is lost or becomes another, unless its root key is erased; then it is gone, and
what is on the disk proves it.
"""

import contextlib
import os
import pty
import random
import select
import shutil
import sqlite3
import subprocess
import time
import uuid
from typing import Callable, NamedTuple

import pytest
from cryptography.exceptions import InvalidTag

from tests.chaos.load import Load, check_recorded, eventually, get
from tests.chaos.root_keys import (
    check_all,
    keeper_of,
    kill_keyholder,
    make_keys,
    progress_of,
    rewrapped,
    root_key_of,
    start_ctl,
    version_of,
    wrapped_keys,
)
from tests.chaos.test_secrets import Needles
from tests.support.certificates import self_signed
from tests.support.formats import open_sealed_file, unwrap
from tests.support.key_managers import (
    SoftHsm,
    key_protect_section,
    need_softhsm,
    write_config,
)
from tests.support.message import ask, create
from tests.support.paths import program
from tests.support.server import Server

KEYHOLDER_KILLS = 10  # in a row, of each of two servers
BACK = 12.0  # seconds, until all works again: of which it waits 5 at most before it starts it anew
CLIENTS = 4
MANY = 3000  # keys that are rewrapped
ROTATION_KILLS = 6
MOVE_KILLS = 2
TENANT = "tenant"


@pytest.fixture
def forgetful(tmp_path):
    """Arguments for a server that unwraps each key each time."""
    config = tmp_path / "forgetful.conf"
    config.write_text("[keys]\ncache-count = 0\n")
    return ("--config", str(config))


def add_tenant(server, folder):
    """Another adapter, and a client of it: its context."""
    made = self_signed(folder, TENANT)
    server.ctl("adapter", "create", TENANT)
    server.ctl("cert", "add", made.certificate, "--adapter", TENANT)
    return server.context(made.certificate, made.key)


# ---- The keyholder dies ----


@pytest.mark.parametrize("shard", range(2))
def test_keyholder_killed_under_load(state, forgetful, shard):
    dice = random.Random(shard)
    with Server(state, forgetful) as server:
        with Load(server, CLIENTS) as load:
            load.goes_on("Create", "Get")
            for _ in range(KEYHOLDER_KILLS):
                time.sleep(dice.random() * 0.1)
                begin = time.monotonic()
                kill_keyholder(server)
                load.goes_on("Create", "Get")
                assert time.monotonic() - begin < BACK, "too long without root keys"
        reasons = {reason for _, reason in load.refused}
        assert reasons <= {"GeneralFailure"}, load.refused
        assert len(load.keys) > 10 * KEYHOLDER_KILLS, "the load was too light to mean anything"
        check_all(server, load.keys)
        server.restart()
        check_all(server, load.keys)
        check_recorded(server, load)


# ---- Erasing a root key ----


def sealed_generations(state):
    """Every generation of the sealed file that is on the disk, opened with what lies beside it."""
    sealing_key = bytes.fromhex((state / "keyholder" / "root-keys.key").read_text())
    found = {}
    for path in state.rglob("*"):
        if path.is_file() and path.read_bytes()[:8] == b"kmipdsf\0":
            found[path.name] = open_sealed_file(path, sealing_key)
    return found


def opened_from_disk(state):
    """All keys that somebody can read who has the disk and no kmipd, by object."""
    generations = sealed_generations(state)
    assert "root-keys.sealed" in generations
    found = {}
    for name, key in wrapped_keys(state).items():
        for root_keys in generations.values():
            for identity in root_keys:
                with contextlib.suppress(InvalidTag, KeyError):
                    claimed = {(key.root_key, key.version): root_keys[identity]}
                    found[str(uuid.UUID(bytes=name))] = unwrap(key.blob, claimed)
    return found


def material_on_disk(state, root_keys):
    """Files with the material of root keys in any spelling."""
    needles = Needles({f"{name.hex()}-{number}": key for (name, number), key in root_keys.items()})
    files = [path for path in state.rglob("*") if path.is_file()]
    return {path.name: found for path in files if (found := needles.found_in(path.read_bytes()))}


def type_at_terminal(server, text, *arguments):
    """Runs kmipctl on a terminal of its own, and types a line: its exit code and output."""
    master, slave = pty.openpty()
    command = [program("kmipctl"), "--state", str(server.state), *arguments]
    with subprocess.Popen(
        ["setsid", "--ctty", "--wait", *command], stdin=slave, stdout=slave, stderr=slave
    ) as process:
        os.close(slave)
        os.write(master, text.encode() + b"\n")
        output = b""
        with contextlib.suppress(OSError):  # how the end of a terminal looks
            while select.select([master], [], [], 20)[0]:
                output += os.read(master, 4096)
        os.close(master)
        return process.wait(20), output.decode()


def refuse_deletion(server, root_key):
    """All ways in which a slip must not cost everything."""
    used = server.ctl("root-key", "delete", root_key, "--yes", check=False)
    assert used.returncode == 1 and TENANT in used.stderr and "move" in used.stderr
    for slip in ((), ("--yes",), ("--yes-i-mean", "yes"), ("--yes-i-mean", "default")):
        done = server.ctl("root-key", "delete", root_key, "--force", *slip, check=False)
        assert done.returncode != 0 and "nothing is changed" in done.stderr, done
    for typed in ("yes", TENANT + "x", ""):
        code, output = type_at_terminal(server, typed, "root-key", "delete", root_key, "--force")
        assert code != 0 and "nothing is changed" in output, output


def erase(server, root_key):
    code, output = type_at_terminal(server, TENANT, "root-key", "delete", root_key, "--force")
    assert code == 0 and "erased" in output, output


def test_a_forced_deletion_shreds_every_key(state, tmp_path):
    """Judged by what is on the disk, without the server."""
    with Server(state) as server:
        context = add_tenant(server, tmp_path)
        others = make_keys(server, 50)
        root_key = root_key_of(server, TENANT)
        first = make_keys(server, 50, context)
        server.ctl("root-key", "rotate", root_key, "--wait")
        keys = {**first, **make_keys(server, 50, context)}
        assert opened_from_disk(state) == {**others, **keys}, "the disk alone was enough before"
        refuse_deletion(server, root_key)
        check_all(server, {**others})
        check_all(server, keys, context)

        doomed = uuid.UUID(root_key).bytes
        before = {key: value for each in sealed_generations(state).values()
                  for key, value in each.items() if key[0] == doomed}  # fmt: skip
        assert {number for _, number in before} == {1, 2}
        erase(server, root_key)
        server.kill()  # what is on the disk now is all that there is
        shredded(state, keys, others, before)
        server.start()
        after_erasing(server, root_key, context, keys, others)
    shredded(state, keys, others, before)


def shredded(state, keys, others, root_keys):
    opened = opened_from_disk(state)
    assert not set(opened) & set(keys), "a key opens that was to be shredded"
    assert opened == others, "another adapter's keys must open as before"
    blobs = {str(uuid.UUID(bytes=name)): key.blob for name, key in wrapped_keys(state).items()}
    assert set(keys) <= set(blobs), "shredded are keys that are still there, wrapped"
    for name, material in keys.items():
        assert unwrap(blobs[name], root_keys) == material, "and the erased root key would open"
    assert not material_on_disk(state, root_keys)
    for generation in sealed_generations(state).values():
        assert not set(generation.values()) & set(root_keys.values())


def after_erasing(server, root_key, context, keys, others):
    check_all(server, others)
    with server.connect(context) as client:
        for name in list(keys)[:3]:
            get(client, name).failed("GeneralFailure")
        ask(client, create()).only().failed("GeneralFailure")
    done = server.ctl("root-key", "restore", root_key, check=False)
    assert done.returncode == 1 and "no root key" in done.stderr, done
    shown = server.ctl_json("adapter", "show", TENANT)
    assert shown["root_key"] == root_key and shown["root_key_state"] != "active"


# ---- Rotation while everything dies ----


def rotate(server, root_key):
    server.ctl("root-key", "rotate", root_key)


def newest_everywhere(server, root_key, adapter="default"):
    """Nothing is under any but the newest version; checked in the store itself."""
    newest = version_of(server, root_key)
    wanted = (uuid.UUID(root_key).bytes, newest)
    found = {(key.root_key, key.version) for key in wrapped_keys(server.state).values()}
    assert found == {wanted}, (found, newest)
    return newest


def test_rotation_goes_on_after_kills(state):
    dice = random.Random(3)
    server = Server(state).start()
    try:
        known = make_keys(server, MANY)
        root_key = root_key_of(server)
        interrupted = 0
        for _ in range(ROTATION_KILLS):
            load = Load(server, CLIENTS)
            for worker in load.workers:
                worker.start()
            rotate(server, root_key)
            time.sleep(dice.random() * 0.3)
            server.kill()
            known.update(survivors(load))
            versions = {key.version for key in wrapped_keys(state).values()}
            interrupted += len(versions) > 1
            server.start()
        assert interrupted > 0, "it was never killed in the middle"
        eventually(lambda: rewrapped(server))
        assert newest_everywhere(server, root_key) == 1 + ROTATION_KILLS
        check_all(server, known)
    finally:
        server.stop()


def survivors(load):
    """What clients were told before the server was killed under them."""
    for worker in load.workers:
        worker.join(60)
        assert not worker.is_alive(), "a client hangs"
        assert isinstance(worker.mistake, OSError), worker.mistake
    return load.keys


def test_two_rotations_at_once(state):
    """Each makes a version, or is told of the other; both end under the newest."""
    with Server(state) as server:
        known = make_keys(server, MANY)
        root_key = root_key_of(server)
        with Load(server, 2) as load:
            for _ in range(5):
                before = version_of(server, root_key)
                both = [start_ctl(server, "root-key", "rotate", root_key, "--wait") for _ in "12"]
                said = [process.communicate(timeout=60) for process in both]
                worked = [process.returncode == 0 for process in both]
                assert any(worked), said
                assert all(ok or "at the same time" in text for ok, (_, text) in zip(worked, said))
                assert version_of(server, root_key) == before + sum(worked)
        assert not load.refused, load.refused
        eventually(lambda: rewrapped(server))
        newest_everywhere(server, root_key)
        check_all(server, {**known, **load.keys})


# ---- Moves while everything dies ----


@contextlib.contextmanager
def without(made_state, folder):
    yield (), {}


@contextlib.contextmanager
def with_softhsm(made_state, folder):
    need_softhsm()
    yield SoftHsm(folder / "hsm").configured(default=False)


@contextlib.contextmanager
def with_keeper(made_state, folder):
    with keeper_of(made_state, folder / "keeper") as keeper:
        text = "[keys]\ncheck-interval = 1s\n" + key_protect_section(keeper, folder)
        yield write_config(folder, text), {}


class Move(NamedTuple):
    """A way there and back, and how many keys take it."""

    to: str
    count: int
    surroundings: Callable
    code: int  # as wrapped keys name the key manager


MOVES = [
    Move("sealed-file", MANY, without, 1),
    Move("pkcs11", 600, with_softhsm, 2),
    Move("key-protect", 300, with_keeper, 3),
]


def order_move(server, to):
    """The root key that the adapter is on its way to."""
    made = server.ctl_json("root-key", "create", "--key-manager", to)["id"]
    server.ctl("adapter", "move", "default", "--root-key", made, "--key-manager", to)
    return uuid.UUID(made).bytes


def places(state):
    return {(key.key_manager, key.root_key) for key in wrapped_keys(state).values()}


def move_under_kills(server, to, known, dice):
    """How often it was killed with keys in both places; `known` grows."""
    halfway, target = 0, None
    for _ in range(MOVE_KILLS + 1):
        load = Load(server, 2)
        for worker in load.workers:
            worker.start()
        target = target or order_move(server, to)
        time.sleep(dice.random() * 0.4)
        server.kill()
        known.update(survivors(load))
        halfway += len(places(server.state)) > 1
        server.start()
    eventually(lambda: rewrapped(server), 60)
    return halfway, target


@pytest.mark.parametrize("move", MOVES, ids=lambda move: move.to)
def test_moves_go_on_after_kills(made_state, state, tmp_path, move):
    """There and back; each time all keys arrive, and nothing is left behind."""
    dice = random.Random(move.code)
    with move.surroundings(made_state, tmp_path / "around") as (arguments, environment):
        with Server(state, arguments, environment) as server:
            known, halfway = make_keys(server, move.count), 0
            for to, code in ((move.to, move.code), ("sealed-file", 1)):
                killed, target = move_under_kills(server, to, known, dice)
                assert places(state) == {(code, target)}
                check_all(server, known)
                halfway += killed
            assert halfway > 0, "it was never killed in the middle"
            server.restart()
            check_all(server, known)


# ---- Copied wrapped keys ----


def set_wrapped(state, identifier, blob):
    with contextlib.closing(sqlite3.connect(state / "store.db")) as store, store:
        done = store.execute(
            "UPDATE object SET wrapped = ? WHERE id = ?", (blob, uuid.UUID(identifier).bytes)
        )
        assert done.rowcount == 1


def blob_of(state, identifier):
    return wrapped_keys(state)[uuid.UUID(identifier).bytes].blob


def check_copied(server, copied, keys, context=None):
    """What was copied over is refused, in words; all the others are as they were."""
    with server.connect(context) as client:
        for name in copied:
            get(client, name).failed("CryptographicFailure")
    left = {name: material for name, material in keys.items() if name not in copied}
    check_all(server, left, context)
    make_keys(server, 1, context)


def test_a_copied_wrapped_key_does_not_open(state, tmp_path):
    """Not as another object of its adapter, not in another adapter (be it under the same root
    key), not in another database that has the very same adapter."""
    with Server(state) as server:
        context = add_tenant(server, tmp_path)
        keys, theirs = make_keys(server, 50), make_keys(server, 50, context)
    other = shutil.copytree(state, tmp_path / "other")
    with Server(other) as server:
        elsewhere = make_keys(server, 50)
    mine, foreign, there = list(keys), list(theirs), list(elsewhere)
    set_wrapped(state, mine[0], blob_of(state, mine[1]))  # another object
    set_wrapped(state, mine[2], blob_of(state, foreign[0]))  # another adapter
    set_wrapped(state, mine[3], blob_of(other, there[0]))  # another database
    set_wrapped(state, foreign[1], blob_of(state, mine[4]))
    with Server(state) as server:
        check_copied(server, mine[0:1] + mine[2:4], keys)
        check_copied(server, foreign[1:2], theirs, context)
        server.ctl("root-key", "create", "--name", "another")
        server.ctl("adapter", "move", TENANT, "--root-key", "another")
        check_after_move(server, foreign[1], theirs, context)


def check_after_move(server, copied, theirs, context):
    """Rewrapping does not make valid what was not."""
    eventually(lambda: progress_of(server, TENANT)["failed"] == 1)
    check_copied(server, [copied], theirs, context)

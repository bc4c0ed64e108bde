# SPDX-License-Identifier: Apache-2.0
"""Somebody changes the audit log while the server writes it: it is found, and named; nothing is
answered that is not recorded."""

import json

import pytest

from tests.chaos.load import Load, check_keys, eventually, log_lines
from tests.support.message import ask, create
from tests.support.server import Server, StartFailed

BROKEN = 4  # kmipctl's exit code for an audit log that is not as it was written


@pytest.fixture
def server(state, tmp_path):
    """A server whose log has several files."""
    config = tmp_path / "kmipd.conf"
    config.write_text("[audit]\nrotate-size = 64KiB\n")
    server = Server(state, arguments=("--config", str(config))).start()
    with server.connect() as client:
        while len(files(server)) < 4:
            ask(client, *[create() for _ in range(50)])
    yield server
    server.kill()


def files(server):
    return sorted((server.state / "audit").glob("audit-*.jsonl"))


def verify(server):
    done = server.ctl("audit", "verify", "--json", check=False)
    return done.returncode, json.loads(done.stdout)


def serves(server):
    with server.connect() as client:
        ask(client, create()).only().succeeded()


def change(path, number, old, new):
    """Puts `new` in the place of `old`, as long, in a line of a file; undone by the same."""
    assert len(old) == len(new)
    lines = path.read_bytes().splitlines(keepends=True)
    start = sum(map(len, lines[:number])) + lines[number].index(old)
    with open(path, "r+b") as file:
        file.seek(start)
        file.write(new)
    return json.loads(lines[number])["seq"]


@pytest.mark.parametrize("which", [0, 1, -1], ids=["oldest file", "middle", "file being written"])
def test_changed_record_is_named(server, which):
    path = files(server)[which]
    code, report = verify(server)
    assert code == 0 and report["whole"]
    sequence = change(path, 2, b'"result":"Success"', b'"result":"SuccesS"')
    code, report = verify(server)
    assert code == BROKEN and not report["whole"]
    assert report["broken_record"] == sequence and path.name in report["broken"]
    serves(server)  # what is found is told, and no reason to lock a data centre
    text = server.ctl("audit", "verify", check=False)
    assert text.returncode == BROKEN and path.name in text.stderr and str(sequence) in text.stderr
    change(path, 2, b'"result":"SuccesS"', b'"result":"Success"')
    assert verify(server)[1]["whole"]


def test_removed_file_is_noticed(server):
    path = files(server)[1]
    kept = path.read_bytes()
    path.unlink()
    code, report = verify(server)
    assert code == BROKEN and not report["whole"]
    serves(server)
    path.write_bytes(kept)
    assert verify(server)[1]["whole"]


def test_swapped_records_are_noticed(server):
    path = files(server)[0]
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3], lines[4] = lines[4], lines[3]
    path.write_bytes(b"".join(lines))
    code, report = verify(server)
    assert code == BROKEN and path.name in report["broken"]
    assert report["broken_record"] in (4, 5)


def test_file_being_written_is_cut(server):
    """What is written behind the gap cannot hide it."""
    path = files(server)[-1]
    lines = path.read_bytes().rstrip(b"\0").splitlines(keepends=True)
    with open(path, "r+b") as file:
        file.truncate(sum(map(len, lines[:-1])))
    with server.connect() as client:
        ask(client, create())
    code, report = verify(server)
    assert code == BROKEN and path.name in report["broken"]
    assert report["broken_record"] == json.loads(lines[-1])["seq"]


def test_file_being_written_is_deleted(server):
    """Records without a file are none: nothing succeeds any more, and it is said what to do."""
    with Load(server, count=2, pause=0.005) as load:
        load.goes_on("Create", "Get")
    path = files(server)[-1]
    kept = path.read_bytes()
    path.unlink()
    with Load(server, count=2, pause=0.005) as refused:
        refused.is_refused("Create")
        eventually(lambda: log_lines(server, "deleted"))
        assert len(log_lines(server, " CRITICAL ")) <= 3
        assert "deleted" in server.ctl_json("status")["audit"]["health"]
    assert not refused.succeeded
    server.process.terminate()
    server.process.wait(30)
    server.reap()
    with pytest.raises(StartFailed, match="audit"):
        server.start()
    path.write_bytes(kept)
    path.chmod(0o600)
    server.start()
    check_keys(server, load.keys)
    assert verify(server)[1]["whole"]

# SPDX-License-Identifier: Apache-2.0
"""The administration API as it is reached: HTTPS, the process that speaks it, and its end."""

import os
import signal
import ssl
import time
from pathlib import Path

import pytest

from tests.integration.test_daemon import sign_server
from tests.support.api import Api, new_key
from tests.support.message import ask, create
from tests.support.paths import program
from tests.support.server import Server

PATIENCE = 30.0


@pytest.fixture
def server(tmp_path):
    with Server(tmp_path / "state", admin=True) as running:
        yield running


@pytest.fixture
def api(server):
    with Api(server) as client:
        assert client.login().status == 200
        yield client


def admin_process(server: Server) -> int:
    """The pid of the server's admin process."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for entry in Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, ValueError, IndexError):
                continue
            if parent == server.process.pid and words[:2] == [b"kmipd", b"admin"]:
                return int(entry.name)
        time.sleep(0.05)
    raise AssertionError("there is no admin process")


def status_of(pid: int) -> dict:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def wait_for_end(pid: int) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if not Path(f"/proc/{pid}").exists() or status_of(pid)["State"].startswith("Z"):
            return
        time.sleep(0.05)
    raise AssertionError(f"process {pid} goes on")


def test_one_connection_serves_many_requests(api):
    sockets = set()
    for _ in range(5):
        answer = api.call("GET", "/keys")
        assert answer.status == 200
        assert int(answer.headers["key-total"]) == len(answer.body["resources"])
        sockets.add(api.connection.sock)
    assert len(sockets) == 1


def test_large_answers_and_requests(api):
    payload = "A" * 10000
    for number in range(40):
        body = new_key(f"large-{number}", True, payload=payload, description="d" * 240)
        assert api.call("POST", "/keys", body).status == 201
    keys = api.call("GET", "/keys?limit=5000").body["resources"]
    large = [key for key in keys if key["name"].startswith("large-")]
    assert len(large) == 40
    assert api.call("GET", f"/keys/{large[0]['id']}").resource["payload"] == payload
    assert api.call("POST", "/keys", "x" * 900_000).code == "BAD_BODY_ERR"


def test_the_process_has_nothing_to_give(server, api):
    pid = admin_process(server)
    status = status_of(pid)
    assert int(status["CapEff"], 16) == 0
    assert int(status["CapPrm"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    if os.geteuid() == 0:
        assert set(status["Uid"].split()) == {"65534"}
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert environment == b""
        links = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
        files = [link for link in links if link.startswith("/")]
        assert set(files) <= {"/dev/null", str(server.log_path)}


def test_the_process_of_the_usual_build_filters_its_calls(tmp_path):
    build = os.environ.get("KMIPD_BUILD")
    binary = str(Path(build) / "src/bin/kmipd") if build else program("kmipd")
    with Server(tmp_path / "state", command=(binary,), admin=True) as server:
        with Api(server) as client:
            assert client.login().status == 200
        status = status_of(admin_process(server))
        assert status["Seccomp"] == "2"


def test_a_killed_process_comes_back(server, api):
    pid = admin_process(server)
    os.kill(pid, signal.SIGKILL)
    wait_for_end(pid)
    api.close()
    assert api.call("GET", "/keys").status == 200  # with the token of before
    assert admin_process(server) != pid


def test_the_process_ends_with_its_server(server, api):
    pid = admin_process(server)
    server.kill()
    wait_for_end(pid)


def test_kmip_is_served_while_the_process_is_stopped(server, api):
    pid = admin_process(server)
    os.kill(pid, signal.SIGSTOP)
    try:
        with server.connect() as client:
            ask(client, create()).only().succeeded()
    finally:
        os.kill(pid, signal.SIGCONT)
    assert api.call("GET", "/keys").status == 200


def shown_certificate(server: Server) -> str:
    return ssl.get_server_certificate((server.host, server.admin_port))


def test_a_reload_shows_the_new_certificate(server, api):
    before = shown_certificate(server)
    sign_server(server.state, 300)
    server.process.send_signal(signal.SIGHUP)
    end = time.monotonic() + PATIENCE
    while "reload done" not in server.log() and time.monotonic() < end:
        time.sleep(0.05)
    assert shown_certificate(server) != before
    assert api.call("GET", "/keys").status == 200  # the connection of before goes on


def test_each_call_is_recorded_before_it_is_answered(server, api):
    assert api.call("GET", "/keys/nothing", Correlation_Id="test-of-records").status == 404
    lines = server.ctl("audit", "tail", "--json").stdout.splitlines()
    record = next(line for line in lines if "test-of-records" in line)
    assert '"event":"api"' in record
    assert '"operation":"kms.secrets.read"' in record
    assert '"reason":"KEY_NOT_FOUND_ERR"' in record
    assert '"peer":"127.0.0.1:' in record
    assert "admin (iam-ServiceId-" in record

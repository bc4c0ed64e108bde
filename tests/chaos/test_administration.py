# SPDX-License-Identifier: Apache-2.0
"""Administrators at work while clients are: certificates and adapters that come and go, kmipctl,
reloads, and the end."""

import contextlib
import signal
import time
import uuid

import pytest

from tests.chaos.load import Load, Worker, check_keys, check_recorded, eventually, log_lines
from tests.support.certificates import self_signed
from tests.support.client import Closed
from tests.support.message import ask, attribute, batch_item, create, do
from tests.support.server import Server

RELOADS = 15
ADAPTERS = 8
DRAINS = 5


@pytest.fixture
def server(state):
    with Server(state) as server:
        yield server


def certificate(server, folder):
    """A new certificate and the context of its client; not let in yet."""
    made = self_signed(folder, f"client-{uuid.uuid4().hex[:8]}")
    return made.certificate, server.context(made.certificate, made.key)


class Guest(Worker):
    """A worker that may be shown out: notes when it was served last and refused first."""

    def __init__(self, server, context):
        super().__init__(server, context)
        self.served = self.shown_out = 0.0

    def work(self, client):
        sent = time.monotonic()
        result = ask(client, create()).only()
        if result.status == "Success":
            assert not self.shown_out, "served again after a refusal"
            self.served = max(self.served, sent)
        else:
            result.failed("AuthenticationNotSuccessful")
            self.shown_out = self.shown_out or time.monotonic()


def test_certificates_come_and_go(server, tmp_path):
    """A deleted certificate is out from the next request on, also in the midst of work; nobody
    else notices."""
    with Load(server) as load:
        load.goes_on("Create")
        for _ in range(4):
            path, context = certificate(server, tmp_path)
            server.ctl("cert", "add", path)
            guests = [Guest(server, context) for _ in range(3)]
            for guest in guests:
                guest.start()
            eventually(lambda guests=guests: all(guest.served for guest in guests))
            server.ctl("cert", "delete", path.stem, "--yes")
            deleted = time.monotonic()
            eventually(lambda guests=guests: all(g.shown_out or g.mistake for g in guests))
            for guest in guests:
                guest.told_to_end.set()
                guest.join(20)
                if guest.mistake is not None:
                    raise guest.mistake
                assert guest.served < deleted, "a request sent after the deletion was served"
        load.goes_on("Create", "Get")
    assert not load.refused
    check_recorded(server, load)


class Tenant(Worker):
    """Makes and destroys keys, until its adapter is gone."""

    def __init__(self, server, context):
        super().__init__(server, context)
        self.gone = self.worked = False
        self.live = set()  # acknowledged, and not asked to be destroyed

    def work(self, client):
        result = ask(client, create()).only()
        if result.status != "Success":
            result.failed("AuthenticationNotSuccessful")
            self.gone = True
            self.told_to_end.set()
            return
        self.live.add(result.id)
        time.sleep(0.01)
        self.live.discard(result.id)
        do(client, "Destroy", ("UniqueIdentifier", result.id))
        self.worked = True
        time.sleep(0.01)


def delete_in_use(server, folder, name):
    """Tries until the adapter can be deleted; its clients go on until they are shown out."""
    path, context = certificate(server, folder)
    server.ctl("adapter", "create", name)
    server.ctl("cert", "add", path, "--adapter", name)
    tenants = [Tenant(server, context) for _ in range(3)]
    for tenant in tenants:
        tenant.start()
    eventually(lambda: all(tenant.worked or tenant.mistake for tenant in tenants))
    end = time.monotonic() + 30
    while server.ctl("adapter", "delete", name, "--yes", check=False).returncode:
        assert time.monotonic() < end, "never without a live object"
        assert not any(tenant.gone for tenant in tenants), "shown out, and not deleted"
    for tenant in tenants:
        tenant.join(20)
        if tenant.mistake is not None:
            raise tenant.mistake
        assert tenant.gone and not tenant.live, "deleted with a live object"


def test_adapter_is_deleted_in_use(server, tmp_path):
    """Only when it has no live object; then nothing is acknowledged in it any more."""
    with Load(server, count=2, pause=0.005) as load:
        load.goes_on("Create")
        for number in range(ADAPTERS):
            delete_in_use(server, tmp_path, f"short-lived-{number}")
        load.goes_on("Create", "Get")
    assert not load.refused
    assert "short-lived" not in server.ctl("adapter", "list").stdout
    assert not log_lines(server, " CRITICAL ", " ERROR ")
    check_recorded(server, load)


COMMANDS = [
    ("status",),
    ("adapter", "list"),
    ("adapter", "show", "default"),
    ("cert", "list"),
    ("object", "list", "--limit", "100"),
    ("object", "find", "--vm", "none"),
    ("audit", "tail", "--count", "50"),
    ("audit", "verify"),
    ("object", "create"),
]


def test_kmipctl_under_load(server):
    with Load(server) as load:
        load.goes_on("Create")
        for _ in range(3):
            for command in COMMANDS:
                server.ctl(*command)
        load.goes_on("Create", "Get")
    assert not load.refused
    assert max(worker.slowest for worker in load.workers) < 5
    check_recorded(server, load)


def test_reload_under_load(server):
    """No connection notices, nor those that come meanwhile, also as the certificate changes."""
    with Load(server) as load:
        load.goes_on("Create")
        for number in range(RELOADS):
            if number % 5 == 0:
                (server.state / "server.pem").unlink()
            server.process.send_signal(signal.SIGHUP)
            with server.connect() as newcomer:
                ask(newcomer, batch_item("DiscoverVersions")).only().succeeded()
            eventually(lambda done=number + 1: len(log_lines(server, "reload done")) >= done)
        load.goes_on("Create", "Get")
    assert not load.refused
    assert not log_lines(server, " CRITICAL ", " ERROR ")
    check_recorded(server, load)


class Leaver(Worker):
    """A worker that bears the end of the server, but no answer cut short."""

    def run(self):
        with contextlib.suppress(ConnectionError):
            with self.server.connect(self.context) as client:
                while True:
                    try:
                        self.work(client)
                    except Closed as closed:
                        if closed.rest:
                            self.mistake = AssertionError("an answer was cut short")
                        return
                    except (AssertionError, KeyError) as mistake:
                        self.mistake = mistake
                        return

    def work(self, client):
        self.keys[ask(client, create()).only().succeeded().id] = None


def test_end_under_load(server):
    """Every request that was taken is answered: after a graceful end there is no key that nobody
    was told of."""
    told = {}
    for _ in range(DRAINS):
        workers = [Leaver(server) for _ in range(6)]
        for worker in workers:
            worker.start()
        eventually(lambda workers=workers: all(worker.keys for worker in workers))
        time.sleep(0.05)
        server.restart()
        for worker in workers:
            worker.join(20)
            if worker.mistake is not None:
                raise worker.mistake
            told.update(worker.keys)
        with server.connect() as client:
            found = do(client, "Locate", attribute("State", "PreActive")).succeeded()
            assert set(found.all("UniqueIdentifier")) == set(told)
    check_keys(server, told)
    assert "whole" in server.ctl("audit", "verify").stdout

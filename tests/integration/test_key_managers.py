# SPDX-License-Identifier: Apache-2.0
"""Every key manager behind a whole server: what vSphere does works with each, across restarts, and
a root key that is taken away takes the keys with it."""

import contextlib
import time
from pathlib import Path
from typing import Iterator

import pytest

from tests.integration.test_vsphere_sim import Simulator
from tests.support.api import Api
from tests.support.key_managers import (
    SoftHsm,
    kmipd_configured,
    need_softhsm,
    need_swtpm,
    soft_tpm,
    tpm_configured,
)
from tests.support.message import Result, ask, create, do
from tests.support.server import Server

PATIENCE = 30.0


def eventually(condition, what: str, patience: float = PATIENCE):
    """Waits until `condition` gives something true, and gives it back."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {patience} s: {what}")


def make(client) -> str:
    return ask(client, create()).only().succeeded().id


def fetch(client, identifier: str) -> Result:
    return do(client, "Get", ("UniqueIdentifier", identifier))


def material(client, identifier: str) -> bytes:
    got = fetch(client, identifier).succeeded()
    return got.get("SymmetricKey", "KeyBlock", "KeyValue", "KeyMaterial")


# ---- One server for each key manager ----


@contextlib.contextmanager
def sealed_file(folder: Path) -> Iterator[Server]:
    with Server(folder / "state") as server:
        yield server


@contextlib.contextmanager
def pkcs11(folder: Path) -> Iterator[Server]:
    need_softhsm()
    arguments, environment = SoftHsm(folder / "hsm").configured()
    with Server(folder / "state", arguments, environment) as server:
        yield server


@contextlib.contextmanager
def tpm(folder: Path) -> Iterator[Server]:
    need_swtpm()
    with soft_tpm(folder / "tpm") as tcti:
        arguments, environment = tpm_configured(folder / "etc", tcti)
        with Server(folder / "state", arguments, environment) as server:
            yield server


@contextlib.contextmanager
def key_protect(folder: Path) -> Iterator[Server]:
    with Server(folder / "keeper" / "state", admin=True) as keeper:
        arguments, environment = kmipd_configured(keeper, folder / "etc")
        with Server(folder / "state", arguments, environment) as server:
            yield server


KINDS = {"sealed-file": sealed_file, "pkcs11": pkcs11, "tpm": tpm, "key-protect": key_protect}


@pytest.fixture(scope="module", params=list(KINDS))
def server(request, tmp_path_factory):
    with KINDS[request.param](tmp_path_factory.mktemp(request.param)) as running:
        yield running


def test_vsphere_sim_is_content(server, tmp_path):
    report = Simulator.of(server, tmp_path).report("all")
    assert report["ok"]


def test_keys_are_there_after_a_restart(server):
    with server.connect() as client:
        made = make(client)
        before = material(client, made)
    server.restart()
    with server.connect() as client:
        assert material(client, made) == before


def test_a_disabled_root_key_takes_its_keys_out_of_service_until_it_is_enabled(server):
    root_key = server.ctl_json("adapter", "show", "default")["root_key"]
    with server.connect() as client:
        made = make(client)
        before = material(client, made)
        server.ctl("root-key", "disable", root_key)
        try:
            fetch(client, made).failed("GeneralFailure")
            ask(client, create()).only().failed("GeneralFailure")
        finally:
            server.ctl("root-key", "enable", root_key)
        assert material(client, made) == before
        make(client)


def test_a_rotation_goes_unnoticed_and_rewraps_everything(server):
    root_key = server.ctl_json("adapter", "show", "default")["root_key"]
    with server.connect() as client:
        made = [make(client) for _ in range(20)]
        before = [material(client, one) for one in made]
        server.ctl("root-key", "rotate", root_key, "--wait")
        assert [material(client, one) for one in made] == before
    progress = server.ctl_json("adapter", "progress", "default")
    assert progress["state"] == "done" and progress["failed"] == 0
    server.restart()
    with server.connect() as client:
        assert [material(client, one) for one in made] == before

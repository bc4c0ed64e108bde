# SPDX-License-Identifier: Apache-2.0
"""Fixtures for all Python tests: running servers, and their logs beside every failure."""

import shutil
import uuid

import pytest

from tests.support.certificates import let_in, self_signed
from tests.support.paths import program
from tests.support.server import Server


@pytest.fixture(scope="session")
def built():
    """The server's binary; without one the tests that need it cannot mean anything."""
    binary = program("kmipd")
    if not binary.exists():
        pytest.fail(f"{binary} is not built (KMIPD_BIN names another place)", pytrace=False)
    return binary


def _serve(state):
    server = Server(state).start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def shared_kmipd(built, tmp_path_factory):
    yield from _serve(tmp_path_factory.mktemp("kmipd") / "state")


@pytest.fixture
def kmipd(shared_kmipd):
    """A server that the tests of one process share: leave it as useful as you found it. A test
    under which it ends fails; the others get it back, started again."""
    yield shared_kmipd
    if not shared_kmipd.alive():
        log, code = shared_kmipd.log(), shared_kmipd.reap()
        shared_kmipd.start()
        pytest.fail(f"kmipd ended with {code} under this test\n{log}", pytrace=False)


@pytest.fixture
def adapter(kmipd):
    """The name of a new adapter on the shared server."""
    name = f"adapter-{uuid.uuid4().hex[:12]}"
    kmipd.ctl("adapter", "create", name)
    return name


@pytest.fixture
def tenant(kmipd, adapter, tmp_path):
    """The TLS context of a client of the new adapter: a world of its own on the shared server."""
    with let_in(kmipd, self_signed(tmp_path, adapter), adapter) as certificate:
        yield kmipd.context(certificate.certificate, certificate.key)


@pytest.fixture
def fresh_kmipd(built, tmp_path):
    """A server for one test alone, which may break it."""
    yield from _serve(tmp_path / "state")


@pytest.fixture(scope="session")
def made_state(built, tmp_path_factory):
    """The state of a server that has served and ended: making RSA keys takes seconds. Not to be
    changed: use `state`."""
    server = Server(tmp_path_factory.mktemp("made") / "state").start()
    server.stop()
    return server.state


@pytest.fixture
def state(made_state, tmp_path):
    """A copy of it for one test, which may do with it what it likes."""
    return shutil.copytree(made_state, tmp_path / "state")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Adds the end of every running server's log to the report of a failure."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for server in Server.running:
            report.sections.append((f"kmipd log ({server.log_path})", server.log()))

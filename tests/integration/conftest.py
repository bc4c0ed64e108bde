# SPDX-License-Identifier: Apache-2.0
"""State directories that a first start has made, to be copied: making RSA keys takes seconds."""

import shutil

import pytest

from tests.support.server import Server


@pytest.fixture(scope="session")
def made_state(built, tmp_path_factory):
    """The state of a server that has served and ended. Not to be changed: use `state`."""
    server = Server(tmp_path_factory.mktemp("made") / "state").start()
    server.stop()
    return server.state


@pytest.fixture
def state(made_state, tmp_path):
    """A copy of it for one test, which may do with it what it likes."""
    return shutil.copytree(made_state, tmp_path / "state")

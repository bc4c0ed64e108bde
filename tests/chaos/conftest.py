# SPDX-License-Identifier: Apache-2.0
"""Servers whose system fails as the test wants."""

import pytest

from tests.chaos.faults import Faults, compile_faults
from tests.support.paths import plain_program
from tests.support.server import Server


@pytest.fixture(scope="session")
def faults_library(tmp_path_factory):
    return compile_faults(tmp_path_factory.mktemp("faults"))


@pytest.fixture
def faults(faults_library, tmp_path):
    page = Faults(faults_library, tmp_path / "faults")
    yield page
    page.close()


@pytest.fixture
def faulty(state, faults):
    """A server, not started, under `faults`. Sanitizers do not bear a preloaded library, so it is
    that of a plain build."""
    plain = plain_program("kmipd")
    server = Server(state, environment=faults.environment, command=(str(plain),))
    yield server
    server.kill()


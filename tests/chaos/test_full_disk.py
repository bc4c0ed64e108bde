# SPDX-License-Identifier: Apache-2.0
"""Real disks that are full: of the store and the audit log together, and of each alone."""

import shutil
import time

from tests.chaos.load import Load, check_keys, check_recorded, eventually, log_lines
from tests.support.disk import fill, mounted
from tests.support.server import Server

LINES_MAX = 8  # for one full disk: what fails may fail in several ways as room comes and goes


def log_is_short(server):
    lines = log_lines(server, " CRITICAL ", " ERROR ", " WARNING ")
    assert len(lines) <= LINES_MAX, lines


def after_it_is_over(server, load):
    log_is_short(server)
    assert {reason for _, reason in load.refused} <= {"GeneralFailure"}
    server.restart()
    check_keys(server, load.keys)
    check_recorded(server, load)


def test_store_is_full(made_state, tmp_path):
    """Until the audit log's room is used up too, existing keys are served."""
    with mounted(tmp_path / "disk", "12m") as disk:
        state = shutil.copytree(made_state, disk / "state")
        with Server(state) as server:
            with Load(server, pause=0.01) as load:
                load.goes_on("Create", "Get")
                ballast = fill(disk)
                load.is_refused("Create")
                load.goes_on("Get")
                eventually(lambda: log_lines(server, "full"))
                time.sleep(3)
                load.goes_on("Get")
                ballast.unlink()
                load.goes_on("Create", "Get")
                eventually(lambda: log_lines(server, "well again"))
            after_it_is_over(server, load)


def test_audit_log_is_full(made_state, tmp_path):
    """Nothing succeeds without a record, though the store could."""
    state = shutil.copytree(made_state, tmp_path / "state")
    records = {path.name: path.read_bytes() for path in (state / "audit").iterdir()}
    with mounted(state / "audit", "4m") as disk:
        for name, data in records.items():
            (disk / name).write_bytes(data)
            (disk / name).chmod(0o600)
        with Server(state) as server:
            with Load(server, pause=0.001) as load:
                load.goes_on("Create", "Get")
                ballast = fill(disk)
                load.is_refused("Create", "Get")
                eventually(lambda: log_lines(server, "audit log"))
                time.sleep(3)
                ballast.unlink()
                load.goes_on("Create", "Get")
                eventually(lambda: log_lines(server, "well again"))
            after_it_is_over(server, load)


def test_many_times_full(made_state, tmp_path):
    """Room that comes and goes at any instant, of store and audit log together."""
    with mounted(tmp_path / "disk", "64m") as disk:
        state = shutil.copytree(made_state, disk / "state")
        with Server(state) as server:
            with Load(server, count=4, pause=0.001) as load:
                for _ in range(15):
                    ballast = fill(disk)
                    load.is_refused("Create")
                    ballast.unlink()
                    load.goes_on("Create", "Get")
            assert {reason for _, reason in load.refused} <= {"GeneralFailure"}
            server.kill()
            server.start()
            check_keys(server, load.keys)
            check_recorded(server, load)

# SPDX-License-Identifier: Apache-2.0
"""Disks that fill up, become read-only or fail while the server works on them.

What cannot be written is refused with General Failure, so that vCenter tries its next server; keys
are served as long as that can be recorded; the administrator is told once, in one line; what was
acknowledged is there afterwards.
"""

import errno
import time
from dataclasses import dataclass
from typing import Tuple

import pytest

from tests.chaos.load import Load, check_keys, check_recorded, eventually, log_lines
from tests.support.message import ask, create

LINES_MAX = 3  # for one fault, however many requests meet it


@dataclass
class Fault:
    kind: str
    call: str
    failure: int
    words: Tuple[str, ...]  # what the line for the administrator must say
    recovers: bool = True  # goes on by itself once the disk does


FAULTS = {
    "store-full": Fault("store", "write", errno.ENOSPC, ("store", "full", "room")),
    "store-read-only": Fault("store", "write", errno.EROFS, ("store", "read-only", "writable")),
    "store-write": Fault("store", "write", errno.EIO, ("store", "disk", "restart"), False),
    "store-sync": Fault("store", "sync", errno.EIO, ("store", "disk", "restart"), False),
    "audit-full": Fault("audit", "write", errno.ENOSPC, ("audit", "room")),
    "audit-write": Fault("audit", "write", errno.EIO, ("audit", "disk")),
    "audit-sync": Fault("audit", "sync", errno.EIO, ("audit", "disk")),
}


def critical(server):
    return log_lines(server, " CRITICAL ")


def told_once(server, before, words):
    """Lines that an administrator sees since `before`: few, and one that says what to do."""

    def said():
        lines = critical(server)[before:]
        return any(all(word in line.lower() for word in words) for line in lines)

    eventually(said)
    time.sleep(1.2)  # would there be more?
    lines = critical(server)[before:]
    assert len(lines) <= LINES_MAX, lines


def nothing_but_general_failure(load):
    assert {reason for _, reason in load.refused} <= {"GeneralFailure"}


def health(server, part):
    return server.ctl_json("status")[part]["health"]


@pytest.mark.parametrize("name", FAULTS)
def test_disk_fails_while_serving(faulty, faults, name):
    fault = FAULTS[name]
    faulty.start()
    with Load(faulty, pause=0.01) as load:
        load.goes_on("Create", "Get")
        with faults.failing(fault.kind, fault.call, fault.failure):
            load.is_refused("Create")
            if fault.kind == "store":
                load.goes_on("Get")
            else:
                load.is_refused("Get")
            eventually(lambda: health(faulty, fault.kind) != "well")
            refused = faulty.ctl("adapter", "create", "meanwhile", check=False)
            assert refused.returncode == 1 and refused.stderr.strip()
            told_once(faulty, 0, fault.words)
        if fault.recovers:
            load.goes_on("Create", "Get")
            eventually(lambda: health(faulty, fault.kind) == "well")
            eventually(lambda: log_lines(faulty, "well again"))
            faulty.ctl("adapter", "create", "afterwards")
        else:
            load.is_refused("Create")
            load.goes_on("Get")
    nothing_but_general_failure(load)
    faulty.restart()
    check_keys(faulty, load.keys)
    check_recorded(faulty, load)
    with faulty.connect() as client:
        ask(client, create()).only().succeeded()

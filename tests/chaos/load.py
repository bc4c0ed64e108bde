# SPDX-License-Identifier: Apache-2.0
"""Clients at work, who remember what they were told."""

import contextlib
import json
import threading
import time
from collections import Counter

from tests.support.message import create, do
from tests.support.message import ask as ask_batch


def eventually(check, seconds=20.0):
    """Waits until check() is true, and returns what it gave."""
    end = time.monotonic() + seconds
    while True:
        found = check()
        if found or time.monotonic() > end:
            assert found, "it never came to pass"
            return found
        time.sleep(0.02)


def material_of(result) -> bytes:
    return result.get("SymmetricKey", "KeyBlock", "KeyValue", "KeyMaterial")


def get(client, identifier):
    return do(client, "Get", ("UniqueIdentifier", identifier))


class Worker(threading.Thread):
    """Makes keys and reads them again. Refusals are counted by operation and reason; whatever a
    server must never do ends the thread and fails the test."""

    def __init__(self, server, context=None, pause=0.0):
        super().__init__(daemon=True)
        self.server = server
        self.context = context
        self.pause = pause
        self.told_to_end = threading.Event()
        self.keys = {}  # acknowledged: material by identifier, None where it was not read yet
        self.succeeded = Counter()  # by operation
        self.refused = Counter()  # by operation and reason
        self.slowest = 0.0
        self.mistake = None

    def run(self):
        try:
            with self.server.connect(self.context) as client:
                while not self.told_to_end.wait(self.pause):
                    self.work(client)
        except BaseException as mistake:  # noqa: BLE001 - raised again where it can be seen
            self.mistake = mistake

    def work(self, client):
        created = self.count("Create", self.timed(lambda: ask_batch(client, create()).only()))
        if created:
            self.keys[created.id] = None
        for identifier in list(self.keys)[-2:]:
            self.read(client, identifier)

    def read(self, client, identifier):
        got = self.count("Get", self.timed(lambda: get(client, identifier)))
        if got:
            before, now = self.keys[identifier], material_of(got)
            assert before in (None, now), f"{identifier} is another key now"
            self.keys[identifier] = now

    def timed(self, call):
        begin = time.monotonic()
        result = call()
        self.slowest = max(self.slowest, time.monotonic() - begin)
        return result

    def count(self, operation, result):
        if result.status == "Success":
            self.succeeded[operation] += 1
            return result
        assert result.text.strip(), "no Result Message"
        self.refused[operation, result.reason] += 1
        return None


class Load:
    """Several workers together."""

    def __init__(self, server, count=3, context=None, pause=0.0):
        self.workers = [Worker(server, context, pause) for _ in range(count)]

    def __enter__(self):
        for worker in self.workers:
            worker.start()
        return self

    def __exit__(self, failure, *_):
        for worker in self.workers:
            worker.told_to_end.set()
        for worker in self.workers:
            worker.join(60)
        if failure is None:
            self.check()

    def check(self):
        for worker in self.workers:
            assert not worker.is_alive(), "a client hangs"
            if worker.mistake is not None:
                raise worker.mistake

    def sum(self, name) -> Counter:
        return sum((Counter(getattr(worker, name)) for worker in self.workers), Counter())

    @property
    def succeeded(self) -> Counter:
        return self.sum("succeeded")

    @property
    def refused(self) -> Counter:
        return self.sum("refused")

    @property
    def keys(self) -> dict:
        return {name: key for worker in self.workers for name, key in list(worker.keys.items())}

    def goes_on(self, *operations):
        """Waits until each of the operations has succeeded again."""
        before = self.succeeded
        self._wait(lambda: all(self.succeeded[each] > before[each] for each in operations))

    def is_refused(self, *operations, reason="GeneralFailure"):
        """Waits until each of the operations has been refused again."""
        before = self.refused
        self._wait(
            lambda: all(self.refused[each, reason] > before[each, reason] for each in operations)
        )

    def _wait(self, check):
        with contextlib.suppress(AssertionError):
            eventually(lambda: check() or any(worker.mistake for worker in self.workers))
        for worker in self.workers:
            if worker.mistake is not None:
                raise worker.mistake
        assert check(), f"succeeded {dict(self.succeeded)}, refused {dict(self.refused)}"


def check_keys(server, keys, context=None):
    """All of them are there, with the material that was read before."""
    with server.connect(context) as client:
        for identifier, material in keys.items():
            now = material_of(get(client, identifier).succeeded())
            assert material in (None, now), f"{identifier} is another key now"


def records(state):
    """The records of an audit log, oldest first."""
    for path in sorted((state / "audit").glob("audit-*.jsonl")):
        for line in path.read_bytes().rstrip(b"\0").splitlines():
            yield json.loads(line)


def check_recorded(server, load):
    """Every success that clients were told of is in the audit log, and the log is whole."""
    assert "whole" in server.ctl("audit", "verify").stdout
    successes = [record for record in records(server.state) if record.get("result") == "Success"]
    counts = Counter(record.get("operation") for record in successes)
    created = {record.get("object") for record in successes if record["operation"] == "Create"}
    missing = set(load.keys) - created
    assert not missing, f"acknowledged but not recorded: {sorted(missing)[:3]}"
    for operation, count in load.succeeded.items():
        assert counts[operation] >= count, f"{operation}: {count} told, {counts[operation]} recorded"


def log_lines(server, *words):
    """The lines of the server's log that have one of the words."""
    lines = server.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line for line in lines if any(word in line for word in words)]

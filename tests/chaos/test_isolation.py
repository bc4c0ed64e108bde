# SPDX-License-Identifier: Apache-2.0
"""Two adapters under load: neither sees, counts, guesses or touches what is the other's, and the
time an answer takes does not tell what exists there either."""

import contextlib
import statistics
import threading
import time
import uuid

import pytest

from tests.chaos.load import Worker, get, material_of
from tests.support.certificates import let_in, self_signed
from tests.support.message import ask, attribute, batch_item, create, do, name_value

SECONDS = 3
PAIRS = 150  # of measured requests
FACTOR = 1.25  # medians this near cannot be told apart by a client
ATTEMPTS = 5  # on a machine that does other things too


@pytest.fixture
def two(kmipd, tmp_path):
    """Contexts of clients of two new adapters."""
    with contextlib.ExitStack() as stack:
        contexts = []
        for _ in range(2):
            name = f"adapter-{uuid.uuid4().hex[:12]}"
            kmipd.ctl("adapter", "create", name)
            made = stack.enter_context(let_in(kmipd, self_signed(tmp_path, name), name))
            contexts.append(kmipd.context(made.certificate, made.key))
        yield contexts


class Neighbour(Worker):
    """Works in its own adapter, and tries what it knows of the other."""

    def __init__(self, server, context):
        super().__init__(server, context)
        self.others = []  # workers of the other adapter
        self.denials = set()
        self.tried = 0

    def work(self, client):
        super().work(client)
        name = attribute("Name", name_value(f"both use it {self.tried}"))
        self.count("Create", ask(client, create(name)).only())
        self.tried += 1
        self.trespass(client, str(uuid.uuid4()))
        for other in self.others:
            for identifier in list(other.keys)[-2:]:
                self.trespass(client, identifier)
        located = do(client, "Locate", ("MaximumItems", 2000)).succeeded()
        found = set(located.all("UniqueIdentifier"))
        assert not any(found & set(other.keys) for other in self.others), "seen in Locate"

    def trespass(self, client, identifier):
        items = [
            batch_item("Get", ("UniqueIdentifier", identifier), identifier=b"1"),
            batch_item("Destroy", ("UniqueIdentifier", identifier), identifier=b"2"),
        ]
        fields = [("BatchErrorContinuationOption", "Continue")]
        for result in ask(client, *items, fields=fields).items:
            denial = (result.operation, result.status, result.reason, result.text)
            self.denials.add(denial)
            assert result.reason == "ItemNotFound", denial


def test_nothing_crosses(kmipd, two):
    groups = [[Neighbour(kmipd, context) for _ in range(2)] for context in two]
    for mine, theirs in (groups, groups[::-1]):
        for worker in mine:
            worker.others = theirs
    workers = [worker for group in groups for worker in group]
    for worker in workers:
        worker.start()
    time.sleep(SECONDS)
    for worker in workers:
        worker.told_to_end.set()
    for worker in workers:
        worker.join(60)
        if worker.mistake is not None:
            raise worker.mistake
    assert all(worker.tried > 5 for worker in workers), "the load was too light to mean anything"
    assert all(len(worker.denials) == 2 for worker in workers), "denied in different words"
    for context, group in zip(two, groups):
        with kmipd.connect(context) as client:
            for worker in group:
                for identifier, key in worker.keys.items():
                    now = material_of(get(client, identifier).succeeded())
                    assert key in (None, now)
    # Names are each adapter's own: of two that used the same, each has its own.
    assert workers[0].succeeded["Create"] > len(workers[0].keys)


def timed(client, identifier):
    begin = time.perf_counter()
    get(client, identifier).failed("ItemNotFound")
    return time.perf_counter() - begin


def medians(client, theirs):
    """Of requests for the other's objects and for none, one after the other in turn."""
    existing, missing = [], []
    for number in range(PAIRS):
        pair = [(existing, theirs[number % len(theirs)]), (missing, str(uuid.uuid4()))]
        for times, identifier in pair[:: 1 if number % 2 else -1]:
            times.append(timed(client, identifier))
    return statistics.median(existing), statistics.median(missing)


def test_time_does_not_tell(kmipd, two):
    """Not even while the other's objects are in use, and so in every cache."""
    mine, theirs = two
    with kmipd.connect(theirs) as owner:
        made = [ask(owner, create()).only().succeeded().id for _ in range(8)]
        ended = threading.Event()

        def use():
            while not ended.wait(0.005):
                for identifier in made:
                    get(owner, identifier).succeeded()

        user = threading.Thread(target=use, daemon=True)
        user.start()
        try:
            with kmipd.connect(mine) as client:
                seen = []
                for _ in range(ATTEMPTS):
                    seen.append(medians(client, made))
                    if max(seen[-1]) / min(seen[-1]) < FACTOR:
                        return
        finally:
            ended.set()
            user.join(20)
    pytest.fail(f"theirs and none take different times: {seen}")

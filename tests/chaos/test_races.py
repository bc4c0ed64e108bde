# SPDX-License-Identifier: Apache-2.0
"""Many clients at one object: every acknowledged change is there, none is lost to another, and what
only one may have, one has."""

import threading
from collections import Counter

import pytest

from tests.chaos.load import check_keys, get, material_of
from tests.support.message import ask, attribute, batch_item, create, do, name_value

CLIENTS = 32
ROUNDS = 6
ACTIVE, DEACTIVATED, DESTROYED = 2, 3, 5


def at_once(server, context, work, count=CLIENTS):
    """Runs work(client, number) on so many connections at the same instant; what it returns."""
    start = threading.Barrier(count)
    results, mistakes = [None] * count, []

    def run(number):
        try:
            with server.connect(context) as client:
                start.wait(60)
                results[number] = work(client, number)
        except BaseException as mistake:  # noqa: BLE001 - raised again below
            start.abort()
            mistakes.append(mistake)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    if mistakes:
        raise mistakes[0]
    assert not any(thread.is_alive() for thread in threads), "a client hangs"
    return results


@pytest.fixture
def client(kmipd, tenant):
    with kmipd.connect(tenant) as client:
        yield client


@pytest.fixture
def key(client):
    return ask(client, create()).only().succeeded().id


def one(key):
    return ("UniqueIdentifier", key)


def attributes_of(client, key):
    return do(client, "GetAttributes", one(key)).succeeded().attributes


def outcome(result):
    return "Success" if result.status == "Success" else result.reason


def test_attributes_added_by_all(kmipd, tenant, client, key):
    def work(mine, number):
        for step in range(ROUNDS):
            added = attribute(f"x-{number}-{step}", f"value {number} {step}")
            do(mine, "AddAttribute", one(key), added).succeeded()

    at_once(kmipd, tenant, work)
    found = dict(attributes_of(client, key))
    for number in range(CLIENTS):
        for step in range(ROUNDS):
            assert found[f"x-{number}-{step}"] == f"value {number} {step}"


def test_instances_added_by_all(kmipd, tenant, client, key):
    """Each instance of an attribute gets an index of its own."""

    def work(mine, number):
        values = []
        for step in range(ROUNDS):
            text = f"{number}-{step}"
            do(mine, "AddAttribute", one(key), attribute("x-list", text)).succeeded()
            values.append(text)
        return values

    written = [text for values in at_once(kmipd, tenant, work) for text in values]
    found = [value for name, value in attributes_of(client, key) if name == "x-list"]
    assert sorted(found) == sorted(written)


def test_attribute_modified_by_all(kmipd, tenant, client, key):
    """Each of them is acknowledged; the last one stands, and it is somebody's last."""
    do(client, "AddAttribute", one(key), attribute("x-turn", "none")).succeeded()

    def work(mine, number):
        for step in range(ROUNDS):
            value = attribute("x-turn", f"{number}-{step}")
            do(mine, "ModifyAttribute", one(key), value).succeeded()

    at_once(kmipd, tenant, work)
    found = dict(attributes_of(client, key))["x-turn"]
    assert found in {f"{number}-{ROUNDS - 1}" for number in range(CLIENTS)}


def test_attribute_deleted_by_all(kmipd, tenant, client, key):
    """One of them has deleted it; for the others it was not there."""
    do(client, "AddAttribute", one(key), attribute("x-gone", "soon")).succeeded()
    results = at_once(
        kmipd,
        tenant,
        lambda mine, _: outcome(do(mine, "DeleteAttribute", one(key), ("AttributeName", "x-gone"))),
    )
    assert Counter(results) == {"Success": 1, "ItemNotFound": CLIENTS - 1}


def test_activated_by_all(kmipd, tenant, client):
    for _ in range(ROUNDS):
        key = ask(client, create()).only().succeeded().id
        results = at_once(
            kmipd, tenant, lambda mine, _, key=key: outcome(do(mine, "Activate", one(key)))
        )
        assert Counter(results) == {"Success": 1, "PermissionDenied": CLIENTS - 1}
        assert dict(attributes_of(client, key))["State"] == ACTIVE


def test_destroyed_by_all(kmipd, tenant, client, key):
    results = at_once(kmipd, tenant, lambda mine, _: outcome(do(mine, "Destroy", one(key))))
    assert Counter(results)["Success"] == 1
    assert set(results) <= {"Success", "PermissionDenied", "ItemNotFound", "IllegalOperation"}
    assert dict(attributes_of(client, key))["State"] == DESTROYED


def test_states_raced_for(kmipd, tenant, client):
    """Activate, Revoke, Destroy, Get and new attributes at once: whatever the order was, what was
    acknowledged fits some order, and the end fits what was acknowledged."""
    reason = ("RevocationReason", [("RevocationReasonCode", "CessationOfOperation")])
    calls = [
        lambda mine, key: do(mine, "Activate", one(key)),
        lambda mine, key: do(mine, "Revoke", one(key), reason),
        lambda mine, key: do(mine, "Destroy", one(key)),
        lambda mine, key: get(mine, key),
        lambda mine, key: do(mine, "AddAttribute", one(key), attribute("x-raced", "yes")),
    ]
    for _ in range(ROUNDS):
        key = ask(client, create()).only().succeeded().id
        results = at_once(
            kmipd,
            tenant,
            lambda mine, number, key=key: outcome(calls[number % len(calls)](mine, key)),
        )
        won = Counter(number % len(calls) for number, each in enumerate(results) if each == "Success")
        assert "GeneralFailure" not in results
        activated, revoked, destroyed = won[0], won[1], won[2]
        state = dict(attributes_of(client, key))["State"]
        assert destroyed <= 1
        if destroyed:  # from Pre-Active, or from Deactivated
            assert state == DESTROYED
            assert activated == bool(revoked)
        else:
            assert activated == 1
            assert state == (DEACTIVATED if revoked else ACTIVE)


def test_name_taken_by_one(kmipd, tenant, client):
    for step in range(ROUNDS):
        name = attribute("Name", name_value(f"wanted by all {step}"))
        results = at_once(kmipd, tenant, lambda mine, _, name=name: ask(mine, create(name)).only())
        assert Counter(map(outcome, results)) == {"Success": 1, "InvalidField": CLIENTS - 1}
        winner = next(result.id for result in results if result.status == "Success")
        located = do(client, "Locate", name).succeeded()
        assert located.all("UniqueIdentifier") == [winner]


def test_name_moved_between_objects(kmipd, tenant, client):
    """Many give their own key the same Name: one has it, and Locate finds that one."""
    name = attribute("Name", name_value("moved"))

    def work(mine, _):
        made = ask(mine, create()).only().succeeded().id
        return made, outcome(do(mine, "AddAttribute", one(made), name))

    results = at_once(kmipd, tenant, work)
    winners = [made for made, result in results if result == "Success"]
    assert len(winners) == 1
    assert {result for _, result in results} == {"Success", "IllegalOperation"}
    assert do(client, "Locate", name).succeeded().all("UniqueIdentifier") == winners


def test_batches_are_whole(kmipd, tenant, client, key):
    """Three attributes of one batch (as vCenter adds them) among everybody else's: all are there,
    though each batch may have been executed several times."""

    def work(mine, number):
        for step in range(ROUNDS):
            items = [
                batch_item(
                    "AddAttribute",
                    one(key),
                    attribute(f"x-{number}-{step}-{part}", "there"),
                    identifier=bytes([part]),
                )
                for part in range(3)
            ]
            for result in ask(mine, *items).items:
                result.succeeded()

    at_once(kmipd, tenant, work, count=16)
    assert sum(value == "there" for _, value in attributes_of(client, key)) == 16 * ROUNDS * 3


def test_keys_made_by_all(kmipd, tenant):
    """Identifiers and keys are never the same, and are what they were made as."""

    def work(mine, _):
        keys = {}
        for _ in range(ROUNDS):
            made = ask(mine, create()).only().succeeded().id
            keys[made] = material_of(get(mine, made).succeeded())
        return keys

    results = at_once(kmipd, tenant, work)
    keys = {name: key for keys in results for name, key in keys.items()}
    assert len(keys) == len(set(keys.values())) == CLIENTS * ROUNDS
    check_keys(kmipd, keys, tenant)

# SPDX-License-Identifier: Apache-2.0
"""Locate: every attribute that can be searched, and how much is returned (KMIP 1.4 §4.9)."""

import time

import pytest

from tests.support.message import (
    ask,
    attribute,
    batch_item,
    create,
    do,
    field,
    name_value,
    template,
)
from tests.support.ttlv import Type

DAY = 86400
ON_LINE, ARCHIVED, DESTROYED = 1, 2, 4
COMPROMISE = ("RevocationReason", [("RevocationReasonCode", "KeyCompromise")])


@pytest.fixture
def client(kmipd, tenant):
    """A client of an adapter without objects."""
    with kmipd.connect(tenant) as connection:
        yield connection


def new_key(client, *attributes, **options) -> str:
    return ask(client, create(*attributes, **options)).only().succeeded().id


def locate(client, *payload, version=(1, 4)):
    return do(client, "Locate", *payload, version=version).succeeded().all("UniqueIdentifier")


def now() -> int:
    return int(time.time())


# An attribute of the key that is to be found, and one of a key that is not.
SEARCHABLE = {
    "Name": (name_value("disk 1"), name_value("disk 2")),
    "Contact Information": ("admin", "root"),
    "Object Group": ("group-1", "group-2"),
    "Operation Policy Name": ("default", None),
    "Cryptographic Algorithm": ("AES", "DES3"),
    "Cryptographic Length": (256, 128),
    "Activation Date": (1_600_000_000, 1_600_000_001),
    "Deactivation Date": (now() + DAY, now() + 2 * DAY),
    "Process Start Date": (1_600_000_000, 1_600_000_001),
    "Protect Stop Date": (now() + DAY, now() + 2 * DAY),
    "Link": (
        [("LinkType", "NextLink"), ("LinkedObjectIdentifier", "a")],
        [("LinkType", "PreviousLink"), ("LinkedObjectIdentifier", "a")],
    ),
    "Application Specific Information": (
        [("ApplicationNamespace", "ssl"), ("ApplicationData", "www.example.com")],
        [("ApplicationNamespace", "ssl"), ("ApplicationData", "www.example.org")],
    ),
    "x-text": ("VMware vSphere", "VMware vSAN"),
    "x-number": (7, 8),
    "x-flag": (True, False),
    "x-bytes": (b"\0\1", b"\0\2"),
}

# What goes with a date so that the life cycle makes sense.
COMPANIONS = {
    "Deactivation Date": [attribute("Activation Date", 1_500_000_000)],
    "Process Start Date": [attribute("Activation Date", 1_500_000_000)],
    "Protect Stop Date": [attribute("Activation Date", 1_500_000_000)],
}


def key_with(client, name, value) -> str:
    """A key with one attribute of interest."""
    if name == "Cryptographic Algorithm" and value == "DES3":
        des = template(
            attribute("Cryptographic Algorithm", "DES3"),
            attribute("Cryptographic Usage Mask", 12),
            attribute("Cryptographic Length", 168),
        )
        item = batch_item("Create", ("ObjectType", "SymmetricKey"), des)
        return ask(client, item).only().succeeded().id
    if name == "Cryptographic Length":
        return new_key(client, length=value)
    if value is None or name == "Cryptographic Algorithm":
        return new_key(client)
    return new_key(client, attribute(name, value), *COMPANIONS.get(name, []))


@pytest.mark.parametrize("name", SEARCHABLE)
def test_by_attribute(client, name):
    """The object that has the value, and no other."""
    wanted, other = SEARCHABLE[name]
    found, not_found = key_with(client, name, wanted), key_with(client, name, other)
    assert locate(client, attribute(name, wanted)) == [found]
    if other is not None:
        assert locate(client, attribute(name, other)) == [not_found]


def test_by_what_the_server_sets(client):
    key = new_key(client)
    active = new_key(client, attribute("Activation Date", 1_600_000_000))
    digest = do(client, "GetAttributes", ("UniqueIdentifier", key), ("AttributeName", "Digest"))
    (_, value) = digest.succeeded().attributes[0]
    assert locate(client, attribute("Unique Identifier", key)) == [key]
    assert locate(client, attribute("State", "PreActive")) == [key]
    assert locate(client, attribute("State", "Active")) == [active]
    assert locate(client, attribute("Digest", value)) == [key]
    assert set(locate(client, attribute("Object Type", "SymmetricKey"))) == {key, active}
    assert locate(client, attribute("Object Type", "SecretData")) == []
    assert set(locate(client, attribute("Fresh", True))) == {key, active}
    do(client, "Get", ("UniqueIdentifier", key)).succeeded()
    assert locate(client, attribute("Fresh", False)) == [key]


def test_all_conditions_must_hold(client):
    both = new_key(client, attribute("x-a", "1"), attribute("x-b", "1"))
    new_key(client, attribute("x-a", "1"))
    conditions = [attribute("x-a", "1"), attribute("x-b", "1")]
    assert locate(client, *conditions) == [both]
    assert locate(client, *conditions, attribute("x-c", "1")) == []


def test_one_of_several_instances(client):
    key = new_key(client, attribute("x-a", "1"), attribute("x-a", "2"))
    assert locate(client, attribute("x-a", "2")) == [key]
    assert locate(client, attribute("x-a", "1"), attribute("x-a", "2")) == [key]
    assert locate(client, attribute("x-a", "1"), attribute("x-a", "3")) == []


@pytest.mark.parametrize("text", ["disk", "disk 11", "Disk 1", "disk 1 ", "disk%", "d*", "disk_1"])
def test_names_are_exact(client, text):
    """Neither prefixes nor wild cards nor another case (kmip-clients §0.10)."""
    new_key(client, attribute("Name", name_value("disk 1")))
    assert locate(client, attribute("Name", name_value(text))) == []
    assert locate(client, attribute("x-a", text)) == []


def test_values_of_another_type_do_not_match(client):
    new_key(client, attribute("x-a", "1"))
    assert locate(client, attribute("x-a", 1)) == []
    assert locate(client, attribute("x-a", b"1")) == []


def test_unknown_attribute(client):
    """Nothing, or a refusal (§11.10); never an object that has no such attribute."""
    new_key(client)
    result = do(client, "Locate", attribute("Colour", "red"))
    if result.status == "Success":
        assert result.all("UniqueIdentifier") == []
    else:
        result.failed("InvalidField")


def test_usage_mask_holds_the_bits_asked_for(client):
    """§4.9: all bits of the request, maybe more."""
    key = new_key(client)  # Encrypt, Decrypt
    for mask in ("Encrypt", "Decrypt", "Encrypt Decrypt", 0):
        assert locate(client, attribute("Cryptographic Usage Mask", mask)) == [key]
    for mask in ("Sign", "Encrypt Sign"):
        assert locate(client, attribute("Cryptographic Usage Mask", mask)) == []


def test_date_range(client):
    """§4.9: two instances of a date are the ends of a range, both included."""
    dates = [1_600_000_000 + day * DAY for day in range(5)]
    keys = [new_key(client, attribute("Activation Date", date)) for date in dates]

    def between(first, last):
        ends = [attribute("Activation Date", first), attribute("Activation Date", last)]
        return set(locate(client, *ends))

    assert between(dates[1], dates[3]) == set(keys[1:4])
    assert between(dates[3], dates[1]) == set(keys[1:4])
    assert between(dates[1] + 1, dates[3] - 1) == {keys[2]}
    assert between(dates[4] + 1, dates[4] + DAY) == set()
    assert between(0, now()) == set(keys)


def test_date_range_of_what_the_server_sets(client):
    start = now()
    key = new_key(client)
    for name in ("Initial Date", "Last Change Date", "Original Creation Date"):
        assert locate(client, attribute(name, start - 5), attribute(name, now() + 5)) == [key]
        assert locate(client, attribute(name, 0), attribute(name, start - 5)) == []


def test_part_of_a_structure(client):
    """§4.9: the fields that are there must match."""
    key = new_key(client, attribute("Link", SEARCHABLE["Link"][0]))
    new_key(client, attribute("Link", [("LinkType", "NextLink"), ("LinkedObjectIdentifier", "b")]))
    only_target = attribute("Link", [("LinkedObjectIdentifier", "a")])
    assert locate(client, only_target) == [key]
    assert len(locate(client, attribute("Link", [("LinkType", "NextLink")]))) == 2


def test_maximum_and_offset(client):
    """Pages without gaps or repetitions, whatever the version of the header: libkmip sends
    Offset Items under 1.0 (kmip-clients §7)."""
    keys = {new_key(client, attribute("x-page", "1")) for _ in range(7)}
    mark = attribute("x-page", "1")
    for version in ((1, 0), (1, 2), (1, 3), (1, 4)):
        seen = []
        for offset in range(0, 9, 3):
            page = locate(
                client, ("MaximumItems", 3), ("OffsetItems", offset), mark, version=version
            )
            assert len(page) == max(0, min(3, 7 - offset))
            seen += page
        assert len(seen) == len(set(seen)) and set(seen) == keys
    assert len(locate(client, ("MaximumItems", 5), mark)) == 5
    assert len(locate(client, ("MaximumItems", 100), mark)) == 7
    assert locate(client, ("OffsetItems", 7), mark) == []


@pytest.mark.parametrize("limit", ["MaximumItems", "OffsetItems"])
def test_negative_limits(client, limit):
    do(client, "Locate", (limit, -1)).failed("InvalidField", "InvalidMessage")


def test_no_conditions(client):
    """Everything matches (§4.9)."""
    keys = {new_key(client) for _ in range(3)}
    assert set(locate(client)) == keys


def test_destroyed_objects(client):
    """Not on-line any more (SKFF-M-5 to 8), also for those who ask for archived ones."""
    key, other = new_key(client), new_key(client)
    do(client, "Destroy", ("UniqueIdentifier", key)).succeeded()
    assert locate(client) == [other]
    assert locate(client, ("StorageStatusMask", ON_LINE)) == [other]
    assert locate(client, ("StorageStatusMask", ARCHIVED)) == []
    assert locate(client, ("StorageStatusMask", ON_LINE | ARCHIVED)) == [other]


def test_state_follows_the_life_cycle(client):
    key = new_key(client)
    identifier = ("UniqueIdentifier", key)

    def found(state):
        return locate(client, attribute("State", state)) == [key]

    assert found("PreActive")
    do(client, "Activate", identifier).succeeded()
    assert found("Active") and not found("PreActive")
    do(client, "Revoke", identifier, COMPROMISE).succeeded()
    assert found("Compromised") and not found("Active")


def test_state_that_comes_with_time(client):
    """A date that has come changes the state for a search as for everything else (§3.22)."""
    soon = now() + 2
    key = new_key(client, attribute("Activation Date", soon))
    assert locate(client, attribute("State", "PreActive")) == [key]
    while now() <= soon:
        time.sleep(0.2)
    assert locate(client, attribute("State", "Active")) == [key]
    assert locate(client, attribute("State", "PreActive")) == []


def test_changed_attributes(client):
    """What was modified or deleted is found by what it is now."""
    key = new_key(client, attribute("x-a", "1"))
    identifier = ("UniqueIdentifier", key)
    do(client, "ModifyAttribute", identifier, attribute("x-a", "2")).succeeded()
    assert locate(client, attribute("x-a", "1")) == []
    assert locate(client, attribute("x-a", "2")) == [key]
    do(client, "DeleteAttribute", identifier, ("AttributeName", "x-a")).succeeded()
    assert locate(client, attribute("x-a", "2")) == []


def test_group_members(client):
    """§4.9: Group Member Fresh, while there are objects that nobody was given yet."""
    group = attribute("Object Group", "members")
    keys = {new_key(client, group) for _ in range(2)}
    new_key(client)
    fresh = ("ObjectGroupMember", "GroupMemberFresh")
    first = locate(client, ("MaximumItems", 1), fresh, group)
    do(client, "Get", ("UniqueIdentifier", first[0])).succeeded()
    assert set(locate(client, fresh, group)) == keys - set(first)
    assert set(locate(client, group)) == keys


def test_inside_a_template_attribute(client):
    """FortiGate puts its conditions there (kmip-clients §7)."""
    key = new_key(client, attribute("Name", name_value("fortigate")))
    new_key(client)
    inside = template(attribute("Name", name_value("fortigate")))
    assert locate(client, inside, version=(1, 0)) == [key]


def test_every_kmip_type_of_custom_attribute(client):
    """x- attributes of every type, structures included, come back as they were sent."""
    inner = [field("ApplicationData", "a"), field("BatchCount", 3)]
    values = {
        "x-integer": (-5, Type.INTEGER),
        "x-long": (1 << 40, Type.LONG_INTEGER),
        "x-big": (-(1 << 100), Type.BIG_INTEGER),
        "x-enumeration": (0x80000001, Type.ENUMERATION),
        "x-boolean": (True, Type.BOOLEAN),
        "x-text": ("größer", Type.TEXT_STRING),
        "x-empty": ("", Type.TEXT_STRING),
        "x-bytes": (bytes(range(256)), Type.BYTE_STRING),
        "x-date": (-1, Type.DATE_TIME),
        "x-interval": (0xFFFFFFFF, Type.INTERVAL),
        "x-structure": (inner, Type.STRUCTURE),
    }
    key = new_key(client, *(attribute(n, v, kind) for n, (v, kind) in values.items()))
    names = [("AttributeName", name) for name in values]
    result = do(client, "GetAttributes", ("UniqueIdentifier", key), *names).succeeded()
    assert dict(result.attributes) == {name: value for name, (value, _) in values.items()}
    for name, (value, kind) in values.items():
        assert locate(client, attribute(name, value, kind)) == [key], name

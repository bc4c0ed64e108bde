# SPDX-License-Identifier: Apache-2.0
"""Query and Discover Versions tell the truth, in every version (KMIP 1.4 §4.25, §4.26)."""

import pytest

from tests.support.message import VERSIONS, WORDS, ask, batch_item, create, do, field, tag

FUNCTION = tag("QueryFunction")
OPERATION = tag("Operation")
OBJECT_TYPE = tag("ObjectType")

by_version = pytest.mark.parametrize("version", VERSIONS, ids=lambda v: f"{v[0]}.{v[1]}")

EXPECTED = set(
    "Create Register ReKey Locate Check Get GetAttributes GetAttributeList AddAttribute "
    "ModifyAttribute DeleteAttribute Activate Revoke Destroy Query".split()
)


def number(version) -> int:
    return version[0] << 8 | version[1]


def names_of(tag_number, values):
    return [WORDS.enumeration_name(tag_number, value) for value in values]


def query(client, version, *functions):
    fields = [("QueryFunction", function) for function in functions]
    return do(client, "Query", *fields, version=version).succeeded()


@by_version
def test_operations(kmipd, version):
    """What is listed is there, what is not listed is not; nothing newer than the version."""
    known = WORDS.enumeration_values(OPERATION, number(version))
    with kmipd.connect() as client:
        result = query(client, version, "QueryOperations")
        listed = names_of(OPERATION, result.all("Operation"))
        assert len(listed) == len(set(listed))
        assert EXPECTED <= set(listed) <= set(known.values())
        assert ("DiscoverVersions" in listed) == (version >= (1, 1))
    for name in known.values():
        # The answer to DiscoverVersions under 1.0 helps clients that begin with it.
        if name == "DiscoverVersions":
            continue
        with kmipd.connect() as client:
            result = ask(client, batch_item(name), version=version).only()
            supported = result.reason != "OperationNotSupported"
            assert supported == (name in listed), f"{name}: {result.status} {result.reason}"


@by_version
def test_object_types(kmipd, version):
    """Each type listed can be made; each other is refused as a field that is not valid."""
    known = WORDS.enumeration_values(OBJECT_TYPE, number(version))
    with kmipd.connect() as client:
        result = query(client, version, "QueryObjects")
        listed = set(names_of(OBJECT_TYPE, result.all("ObjectType")))
        assert listed == {"SymmetricKey", "SecretData", "OpaqueObject"}
        assert result.all("Operation") == []
        ask(client, create(), version=version).only().succeeded()
    for name in set(known.values()) - listed:
        with kmipd.connect() as client:
            payload = [("ObjectType", name), ("TemplateAttribute", [])]
            result = ask(client, batch_item("Register", *payload), version=version).only()
            result.failed("InvalidField", "MissingData", "FeatureNotSupported")


@by_version
def test_every_function_of_the_version(kmipd, version):
    """Each is answered, alone and all together; alone with nothing that was not asked for."""
    functions = WORDS.enumeration_values(FUNCTION, number(version))
    fields = {
        "QueryOperations": {"Operation"},
        "QueryObjects": {"ObjectType"},
        "QueryServerInformation": {"VendorIdentification", "ServerInformation"},
    }
    with kmipd.connect() as client:
        for function in functions.values():
            result = query(client, version, function)
            answered = {WORDS.tag_name(item.tag) for item in result.payload}
            if function in fields:
                assert answered and answered <= fields[function]
            else:
                assert not answered & set().union(*fields.values())
        everything = query(client, version, *functions.values())
        assert everything.all("Operation") and everything.all("ObjectType")
        assert everything.get("VendorIdentification").strip()


def test_query_without_function(kmipd):
    """One function at least (§4.25)."""
    with kmipd.connect() as client:
        do(client, "Query").failed("InvalidMessage", "MissingData", "InvalidField")


def versions(client, listed, version=(1, 4)):
    fields = [
        ("ProtocolVersion", [("ProtocolVersionMajor", major), ("ProtocolVersionMinor", minor)])
        for major, minor in listed
    ]
    result = do(client, "DiscoverVersions", *fields, version=version).succeeded()
    return [(major.value, minor.value) for major, minor in result.all("ProtocolVersion")]


@by_version
def test_all_versions(kmipd, version):
    """Highest first, whatever the version of the request."""
    with kmipd.connect() as client:
        assert versions(client, [], version) == list(reversed(VERSIONS))


@pytest.mark.parametrize(
    "listed, common",
    [
        ([(1, 1)], [(1, 1)]),
        ([(1, 0), (1, 4)], [(1, 4), (1, 0)]),
        ([(2, 1), (1, 2), (1, 1)], [(1, 2), (1, 1)]),
        ([(9, 31)], []),
        ([(1, 5)], []),
        ([(1, 3), (1, 3)], [(1, 3)]),
    ],
)
def test_common_versions(kmipd, listed, common):
    """Only what both sides know (§4.26), highest first."""
    with kmipd.connect() as client:
        assert versions(client, listed) == common


def test_unknown_function(kmipd):
    with kmipd.connect() as client:
        unknown = field("QueryFunction", 0x7FFFFFFF)
        do(client, "Query", unknown).failed("InvalidField", "FeatureNotSupported")

# SPDX-License-Identifier: Apache-2.0
"""Debian's PyKMIP client library against the server: every operation it has that the server has.

ProxyKmipClient reaches Add Attribute and the queries only through the KMIPProxy below it.
"""

import ssl
import time

import pytest

kmip = pytest.importorskip("kmip", reason="python3-pykmip is not installed")

from kmip.core import enums  # noqa: E402
from kmip.core.factories.attributes import AttributeFactory  # noqa: E402
from kmip.pie import objects  # noqa: E402
from kmip.pie.client import ProxyKmipClient  # noqa: E402
from kmip.pie.exceptions import KmipOperationFailure  # noqa: E402

VERSIONS = [
    enums.KMIPVersion.KMIP_1_0,
    enums.KMIPVersion.KMIP_1_1,
    enums.KMIPVersion.KMIP_1_2,
    enums.KMIPVersion.KMIP_1_3,
    enums.KMIPVersion.KMIP_1_4,
]
MASK = [enums.CryptographicUsageMask.ENCRYPT, enums.CryptographicUsageMask.DECRYPT]
FACTORY = AttributeFactory()


def connect(server, version=enums.KMIPVersion.KMIP_1_2):
    return ProxyKmipClient(
        hostname=server.host,
        port=server.port,
        cert=str(server.certificate),
        key=str(server.key),
        ca=str(server.ca),
        ssl_version="PROTOCOL_TLSv1_2",
        kmip_version=version,
    )


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
def client(kmipd, request):
    if not hasattr(ssl, "wrap_socket"):
        pytest.skip("this PyKMIP needs ssl.wrap_socket, which this Python no longer has")
    with connect(kmipd, request.param) as opened:
        yield opened


def fails(reason, call, *arguments, **keywords):
    with pytest.raises(KmipOperationFailure) as caught:
        call(*arguments, **keywords)
    assert caught.value.reason == reason
    assert caught.value.message


def values(client, identifier, *names):
    _, found = client.get_attributes(identifier, list(names))
    return {each.attribute_name.value: plain(each.attribute_value) for each in found}


def plain(value):
    return value.name_value.value if hasattr(value, "name_value") else value.value


def unique(text):
    return f"{text}-{time.monotonic_ns()}"


def test_life_of_a_symmetric_key(client):
    name = unique("life")
    identifier = client.create(
        enums.CryptographicAlgorithm.AES, 256, name=name, cryptographic_usage_mask=MASK
    )
    key = client.get(identifier)
    assert isinstance(key, objects.SymmetricKey) and len(key.value) == 32
    assert key.cryptographic_algorithm == enums.CryptographicAlgorithm.AES
    assert client.get(identifier).value == key.value
    assert values(client, identifier, "State")["State"] == enums.State.PRE_ACTIVE
    client.activate(identifier)
    assert values(client, identifier, "State")["State"] == enums.State.ACTIVE
    fails(enums.ResultReason.PERMISSION_DENIED, client.destroy, identifier)
    client.revoke(enums.RevocationReasonCode.CESSATION_OF_OPERATION, identifier, "done")
    assert values(client, identifier, "State")["State"] == enums.State.DEACTIVATED
    client.destroy(identifier)
    fails(enums.ResultReason.ITEM_NOT_FOUND, client.get, identifier)


def test_compromise(client):
    identifier = client.create(enums.CryptographicAlgorithm.AES, 128)
    client.revoke(
        enums.RevocationReasonCode.KEY_COMPROMISE,
        identifier,
        revocation_message="lost",
        compromise_occurrence_date=6,
    )
    found = values(client, identifier, "State", "Compromise Occurrence Date")
    assert found["State"] == enums.State.COMPROMISED
    assert found["Compromise Occurrence Date"] == 6


@pytest.mark.parametrize(
    "made",
    [
        objects.SymmetricKey(enums.CryptographicAlgorithm.AES, 128, b"\x01" * 16, masks=MASK),
        objects.SecretData(b"a password", enums.SecretDataType.PASSWORD),
        objects.OpaqueObject(b"anything at all", enums.OpaqueDataType.NONE),
    ],
    ids=["symmetric key", "secret data", "opaque object"],
)
def test_register_and_get(client, made):
    made.names = [unique("registered")]
    identifier = client.register(made)
    got = client.get(identifier)
    assert type(got) is type(made) and got.value == made.value
    client.destroy(identifier)


def test_attribute_list(client):
    identifier = client.create(enums.CryptographicAlgorithm.AES, 256, name=unique("list"))
    names = client.get_attribute_list(identifier)
    for name in ("Unique Identifier", "Object Type", "State", "Digest", "Initial Date", "Name"):
        assert name in names
    # Not all at once: PyKMIP cannot read Original Creation Date, nor the Digest of KMIP 1.0.
    readable = [name for name in names if name in ("Unique Identifier", "State", "Name")]
    _, found = client.get_attributes(identifier, readable)
    assert sorted(each.attribute_name.value for each in found) == sorted(readable)


def test_locate(client):
    name = unique("locate")
    identifier = client.create(enums.CryptographicAlgorithm.AES, 256, name=name)

    def wanted(text):
        return FACTORY.create_attribute(
            enums.AttributeType.NAME,
            kmip.core.attributes.Name.create(text, enums.NameType.UNINTERPRETED_TEXT_STRING),
        )

    kind = FACTORY.create_attribute(
        enums.AttributeType.OBJECT_TYPE, enums.ObjectType.SYMMETRIC_KEY
    )
    assert client.locate(attributes=[wanted(name), kind]) == [identifier]
    assert client.locate(maximum_items=1, attributes=[wanted(name)]) == [identifier]
    assert client.locate(attributes=[wanted(name + "x")]) == []
    assert client.locate(attributes=[wanted(name[:-1])]) == []
    if client.kmip_version >= enums.KMIPVersion.KMIP_1_3:
        assert client.locate(offset_items=1, attributes=[wanted(name)]) == []


def test_names_are_unique(client):
    name = unique("twice")
    client.create(enums.CryptographicAlgorithm.AES, 256, name=name)
    fails(
        enums.ResultReason.INVALID_FIELD,
        client.create,
        enums.CryptographicAlgorithm.AES,
        256,
        name=name,
    )


def test_check(client):
    identifier = client.create(
        enums.CryptographicAlgorithm.AES, 256, cryptographic_usage_mask=MASK
    )
    assert client.check(identifier, cryptographic_usage_mask=MASK) == identifier
    fails(
        enums.ResultReason.PERMISSION_DENIED,
        client.check,
        identifier,
        cryptographic_usage_mask=[enums.CryptographicUsageMask.SIGN],
    )


def test_rekey(client):
    name = unique("rekey")
    identifier = client.create(enums.CryptographicAlgorithm.AES, 256, name=name)
    replacement = client.rekey(identifier, offset=0)
    assert replacement != identifier
    assert client.get(replacement).value != client.get(identifier).value
    assert values(client, replacement, "State")["State"] == enums.State.ACTIVE
    assert values(client, replacement, "Name") and not values(client, identifier, "Name")


def test_modify_and_delete_attribute(client):
    name = unique("modify")
    identifier = client.create(enums.CryptographicAlgorithm.AES, 256, name=name)
    changed = FACTORY.create_attribute(
        enums.AttributeType.NAME,
        kmip.core.attributes.Name.create(name + "-2", enums.NameType.UNINTERPRETED_TEXT_STRING),
        0,
    )
    assert client.modify_attribute(identifier, attribute=changed)[0] == identifier
    assert values(client, identifier, "Name")["Name"] != name
    assert client.delete_attribute(identifier, attribute_name="Name", attribute_index=0)
    assert not values(client, identifier, "Name")


def test_discover_versions_and_query(client):
    proxy = client.proxy
    discovered = proxy.discover_versions()
    check_versions(discovered)
    check_query(proxy, client.kmip_version)


def check_versions(discovered):
    assert [(each.major, each.minor) for each in discovered.protocol_versions] == [
        (1, 4),
        (1, 3),
        (1, 2),
        (1, 1),
        (1, 0),
    ]


def check_query(proxy, version):
    asked = proxy.query(
        query_functions=[
            enums.QueryFunction.QUERY_OPERATIONS,
            enums.QueryFunction.QUERY_OBJECTS,
            enums.QueryFunction.QUERY_SERVER_INFORMATION,
        ]
    )
    operations = set(asked.operations)
    assert {enums.Operation.CREATE, enums.Operation.GET, enums.Operation.REKEY} <= operations
    assert (enums.Operation.DISCOVER_VERSIONS in operations) == (
        version >= enums.KMIPVersion.KMIP_1_1
    )
    assert enums.ObjectType.SYMMETRIC_KEY in asked.object_types
    assert asked.vendor_identification.startswith("kmipd")


def test_unknown_identifier(client):
    stranger = "00000000-0000-7000-8000-000000000000"
    for call in (client.get, client.activate, client.destroy, client.get_attributes):
        fails(enums.ResultReason.ITEM_NOT_FOUND, call, stranger)


def test_what_is_not_there_is_said_to_be(client):
    fails(
        enums.ResultReason.OPERATION_NOT_SUPPORTED,
        client.create_key_pair,
        enums.CryptographicAlgorithm.RSA,
        2048,
    )


def test_stranger_is_refused(kmipd, tmp_path):
    from tests.support import certificates

    made = certificates.self_signed(tmp_path, "stranger")
    with ProxyKmipClient(
        hostname=kmipd.host,
        port=kmipd.port,
        cert=str(made.certificate),
        key=str(made.key),
        ca=str(kmipd.ca),
        ssl_version="PROTOCOL_TLSv1_2",
    ) as client:
        fails(
            enums.ResultReason.AUTHENTICATION_NOT_SUCCESSFUL,
            client.create,
            enums.CryptographicAlgorithm.AES,
            256,
        )

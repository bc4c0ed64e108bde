# SPDX-License-Identifier: Apache-2.0
"""Why operations fail: the Result Reasons of KMIP 1.4 §11, operation by operation."""

import uuid

import pytest

from tests.support.message import (
    WORDS,
    aes_template,
    ask,
    attribute,
    batch_item,
    create,
    do,
    field,
    name_value,
    tag,
    template,
)
from tests.support.ttlv import Type

UNKNOWN_ID = ("UniqueIdentifier", "00000000-0000-4000-8000-000000000000")
COMPROMISE = ("RevocationReason", [("RevocationReasonCode", "KeyCompromise")])
LINK = tag("LinkType")
CESSATION = ("RevocationReason", [("RevocationReasonCode", "CessationOfOperation")])


@pytest.fixture
def client(kmipd):
    with kmipd.connect() as connection:
        yield connection


def new_key(client, *attributes):
    """The Unique Identifier field of a new key."""
    return ("UniqueIdentifier", ask(client, create(*attributes)).only().succeeded().id)


def state(client, key):
    result = do(client, "GetAttributes", key, ("AttributeName", "State")).succeeded()
    return result.attributes[0][1]


# Unknown identifiers: Item Not Found, whatever the operation

BY_IDENTIFIER = {
    "Get": (),
    "GetAttributes": (),
    "GetAttributeList": (),
    "AddAttribute": (attribute("x-a", "b"),),
    "ModifyAttribute": (attribute("x-a", "b"),),
    "DeleteAttribute": (("AttributeName", "x-a"),),
    "Activate": (),
    "Revoke": (CESSATION,),
    "Destroy": (),
    "Check": (),
    "ReKey": (),
}


@pytest.mark.parametrize("operation", BY_IDENTIFIER)
@pytest.mark.parametrize(
    "identifier",
    [UNKNOWN_ID[1], "1", "", "x" * 2000, "../../etc/passwd", "' or 1=1 --", "größe"],
    ids=["uuid", "number", "empty", "long", "path", "sql", "utf8"],
)
def test_unknown_identifier(client, operation, identifier):
    payload = [("UniqueIdentifier", identifier), *BY_IDENTIFIER[operation]]
    do(client, operation, *payload).failed("ItemNotFound")


# Create and Register (§11.2, §11.4)

WRONG_CREATE = {
    "unknown object type": (
        [field("ObjectType", 0x99), aes_template()],
        ("InvalidField",),
    ),
    "unknown algorithm": (
        [
            ("ObjectType", "SymmetricKey"),
            template(
                attribute("Cryptographic Algorithm", 0x7FFFFFFF),
                attribute("Cryptographic Usage Mask", 12),
                attribute("Cryptographic Length", 256),
            ),
        ],
        ("InvalidField",),
    ),
    "length that AES does not have": (
        [("ObjectType", "SymmetricKey"), aes_template(length=100)],
        ("InvalidField",),
    ),
    "negative length": (
        [("ObjectType", "SymmetricKey"), aes_template(length=-256)],
        ("InvalidField",),
    ),
    "huge length": (
        [("ObjectType", "SymmetricKey"), aes_template(length=0x7FFFFFF8)],
        ("InvalidField",),
    ),
    "no algorithm": (
        [
            ("ObjectType", "SymmetricKey"),
            template(
                attribute("Cryptographic Usage Mask", 12), attribute("Cryptographic Length", 256)
            ),
        ],
        ("InvalidField", "MissingData", "InvalidMessage"),
    ),
    "a template that does not exist": (
        [
            ("ObjectType", "SymmetricKey"),
            (
                "TemplateAttribute",
                [("Name", name_value("no-such-template")), *aes_template().value],
            ),
        ],
        ("ItemNotFound",),
    ),
    "a state": (
        [
            ("ObjectType", "SymmetricKey"),
            aes_template(attribute("State", "Active")),
        ],
        ("InvalidField", "PermissionDenied"),
    ),
    "an identifier": (
        [
            ("ObjectType", "SymmetricKey"),
            aes_template(attribute("Unique Identifier", "mine")),
        ],
        ("InvalidField", "PermissionDenied"),
    ),
    "an attribute of the server": (
        [("ObjectType", "SymmetricKey"), aes_template(attribute("y-mine", "1"))],
        ("InvalidField", "PermissionDenied"),
    ),
    "an attribute that does not exist": (
        [("ObjectType", "SymmetricKey"), aes_template(attribute("Colour", "red"))],
        ("InvalidField",),
    ),
    "a single-instance attribute twice": (
        [
            ("ObjectType", "SymmetricKey"),
            aes_template(
                attribute("Contact Information", "a"), attribute("Contact Information", "b")
            ),
        ],
        ("InvalidField", "InvalidMessage", "IndexOutOfBounds"),
    ),
}


@pytest.mark.parametrize("case", WRONG_CREATE)
def test_create(client, case):
    payload, reasons = WRONG_CREATE[case]
    do(client, "Create", *payload).failed(*reasons)


def test_name_is_unique(client):
    """The same Name: Invalid Field for Create, Illegal Operation for Add and Modify Attribute."""
    name = attribute("Name", name_value(f"reasons-{uuid.uuid4()}"))
    new_key(client, name)
    ask(client, create(name)).only().failed("InvalidField")
    other = new_key(client)
    do(client, "AddAttribute", other, name).failed("IllegalOperation")
    do(client, "AddAttribute", other, attribute("Name", name_value(str(uuid.uuid4())))).succeeded()
    do(client, "ModifyAttribute", other, name).failed("IllegalOperation")


def register(object_type, *parts, attributes=()):
    return batch_item(
        "Register", ("ObjectType", object_type), template(*attributes), *parts
    )


def symmetric_key(material: bytes, key_format="Raw", length=None, algorithm="AES"):
    value = field("KeyValue", [field("KeyMaterial", material, Type.BYTE_STRING)], Type.STRUCTURE)
    return (
        "SymmetricKey",
        [
            (
                "KeyBlock",
                [
                    ("KeyFormatType", key_format),
                    value,
                    ("CryptographicAlgorithm", algorithm),
                    ("CryptographicLength", len(material) * 8 if length is None else length),
                ],
            )
        ],
    )


USAGE = attribute("Cryptographic Usage Mask", 12)

WRONG_REGISTER = {
    "object of another type": register("SecretData", symmetric_key(bytes(32)), attributes=[USAGE]),
    "no object": register("SymmetricKey", attributes=[USAGE]),
    "length that is not the material's": register(
        "SymmetricKey", symmetric_key(bytes(32), length=128), attributes=[USAGE]
    ),
    "algorithm that is not the key block's": register(
        "SymmetricKey",
        symmetric_key(bytes(32)),
        attributes=[USAGE, attribute("Cryptographic Algorithm", "DES3")],
    ),
    "no material": register("SymmetricKey", symmetric_key(b""), attributes=[USAGE]),
}


@pytest.mark.parametrize("case", WRONG_REGISTER)
def test_register(client, case):
    """§11.4; an object that is not there at all may be called a message that cannot be parsed,
    or missing data."""
    reasons = ("InvalidField", "InvalidMessage", "MissingData")
    ask(client, WRONG_REGISTER[case]).only().failed(*reasons)


# Get (§11.12)


@pytest.mark.parametrize("key_format", ["X_509", "PKCS_8", "TransparentRSAPrivateKey"])
def test_get_in_another_format(client, key_format):
    key = new_key(client)
    result = do(client, "Get", key, ("KeyFormatType", key_format))
    assert result.failed("KeyFormatTypeNotSupported").payload is None


def test_get_compressed(client):
    compression = ("KeyCompressionType", "ECPublicKeyTypeUncompressed")
    result = do(client, "Get", new_key(client), compression)
    assert result.failed("KeyCompressionTypeNotSupported").payload is None


def test_get_wrapped(client):
    """Wrapping that is not supported must never turn into a key in the clear."""
    wrapping_key = new_key(client)[1]
    specification = (
        "KeyWrappingSpecification",
        [
            ("WrappingMethod", "Encrypt"),
            ("EncryptionKeyInformation", [("UniqueIdentifier", wrapping_key)]),
        ],
    )
    result = do(client, "Get", new_key(client), specification)
    assert result.failed("FeatureNotSupported").payload is None


def test_get_raw(client):
    do(client, "Get", new_key(client), ("KeyFormatType", "Raw")).succeeded()


# Attributes (§11.13 to §11.17)


def test_get_attributes_names_one_twice(client):
    state_name = ("AttributeName", "State")
    do(client, "GetAttributes", new_key(client), state_name, state_name).failed("InvalidMessage")


@pytest.mark.parametrize("name", ["Colour", "x-none", "Certificate Type", "", "Activation Date"])
def test_get_attributes_that_are_not_there(client, name):
    """§4.11: left out of the answer, which holds the Unique Identifier alone."""
    key = new_key(client)
    result = do(client, "GetAttributes", key, ("AttributeName", name)).succeeded()
    assert [item.value for item in result.payload] == [key[1]]


READ_ONLY = [
    attribute("State", "Active"),
    attribute("Unique Identifier", "mine"),
    attribute("Object Type", "SecretData"),
    attribute("Cryptographic Algorithm", "DES3"),
    attribute("Cryptographic Length", 128),
    attribute("Initial Date", 1),
    attribute("Last Change Date", 1),
    attribute("Destroy Date", 1),
    attribute("Compromise Date", 1),
    attribute("Lease Time", 1),
    attribute("Fresh", True),
]
NAMED = {"ids": lambda item: item.value[0].value}


@pytest.mark.parametrize("wanted", READ_ONLY, **NAMED)
def test_add_read_only_attribute(client, wanted):
    """Permission Denied; one that is there already may be called Illegal Operation (§11.15)."""
    result = do(client, "AddAttribute", new_key(client), wanted)
    result.failed("PermissionDenied", "IllegalOperation")


@pytest.mark.parametrize("wanted", READ_ONLY, **NAMED)
def test_modify_read_only_attribute(client, wanted):
    """Permission Denied; one that is not there may be called Invalid Field (§11.16)."""
    result = do(client, "ModifyAttribute", new_key(client), wanted)
    result.failed("PermissionDenied", "InvalidField")


@pytest.mark.parametrize("wanted", READ_ONLY[:8], **NAMED)
def test_delete_read_only_attribute(client, wanted):
    """Permission Denied; one that is not there may be called Item Not Found (§11.17)."""
    name = ("AttributeName", wanted.value[0].value)
    result = do(client, "DeleteAttribute", new_key(client), name)
    result.failed("PermissionDenied", "ItemNotFound")


def test_add_attribute(client):
    key = new_key(client)
    contact = attribute("Contact Information", "admin")
    do(client, "AddAttribute", key, contact).succeeded()
    do(client, "AddAttribute", key, contact).failed("IllegalOperation")
    do(client, "AddAttribute", key, attribute("x-a", "b", index=1)).failed("InvalidField")
    other = attribute("Certificate Type", "X_509")
    do(client, "AddAttribute", key, other).failed("PermissionDenied", "InvalidField")
    do(client, "AddAttribute", key, attribute("y-a", "b")).failed(
        "PermissionDenied", "InvalidField"
    )


def test_modify_attribute(client):
    key = new_key(client, attribute("x-a", "1"), attribute("x-a", "2"))
    do(client, "ModifyAttribute", key, attribute("x-b", "1")).failed("InvalidField")
    do(client, "ModifyAttribute", key, attribute("x-a", "3", index=7)).failed("ItemNotFound")
    do(client, "ModifyAttribute", key, attribute("x-a", "3", index=1)).succeeded()
    result = do(client, "GetAttributes", key, ("AttributeName", "x-a")).succeeded()
    assert result.attributes == [("x-a", "1"), ("x-a", "3")]


def test_delete_attribute(client):
    key = new_key(client, attribute("x-a", "1"), attribute("x-a", "2"))
    name = ("AttributeName", "x-a")
    do(client, "DeleteAttribute", key, ("AttributeName", "x-b")).failed("ItemNotFound")
    do(client, "DeleteAttribute", key, name, ("AttributeIndex", 7)).failed("ItemNotFound")
    deleted = do(client, "DeleteAttribute", key, name, ("AttributeIndex", 0)).succeeded()
    assert deleted.attributes == [("x-a", "1")]
    again = do(client, "DeleteAttribute", key, name, ("AttributeIndex", 0))
    again.failed("ItemNotFound")
    do(client, "DeleteAttribute", key, name, ("AttributeIndex", 1)).succeeded()
    result = do(client, "GetAttributes", key, name).succeeded()
    assert result.attributes == []


# Life cycle (§3.22, §11.20 to §11.22)


def test_activate_twice(client):
    key = new_key(client)
    do(client, "Activate", key).succeeded()
    do(client, "Activate", key).failed("PermissionDenied")


def test_activate_what_has_no_state(client):
    opaque = (
        "OpaqueObject",
        [
            field("OpaqueDataType", 0x80000001, Type.ENUMERATION),
            ("OpaqueDataValue", b"data"),
        ],
    )
    made = ask(client, register("OpaqueObject", opaque)).only().succeeded().id
    key = ("UniqueIdentifier", made)
    do(client, "Activate", key).failed("IllegalOperation")
    do(client, "Destroy", key).succeeded()


def test_revoke_for_no_known_reason(client):
    key = new_key(client)
    reason = ("RevocationReason", [field("RevocationReasonCode", 0x99)])
    do(client, "Revoke", key, reason).failed("InvalidField")
    assert state(client, key) == 1


def test_revoke_without_reason(client):
    do(client, "Revoke", new_key(client)).failed("InvalidMessage", "MissingData", "InvalidField")


def test_destroy_what_is_active(client):
    key = new_key(client)
    do(client, "Activate", key).succeeded()
    do(client, "Destroy", key).failed("PermissionDenied")
    assert state(client, key) == 2
    do(client, "Get", key).succeeded()


def test_destroy_twice(client):
    key = new_key(client)
    do(client, "Destroy", key).succeeded()
    do(client, "Destroy", key).failed("PermissionDenied", "ItemNotFound")
    assert state(client, key) == 5


def test_destroyed_keys_are_gone(client):
    """No operation brings the material back; TC-314 says Item Not Found, §11.12 of the standard
    Illegal Operation where only attributes are left."""
    key = new_key(client)
    do(client, "Destroy", key).succeeded()
    result = do(client, "Get", key).failed("ItemNotFound", "IllegalOperation", "PermissionDenied")
    assert result.payload is None
    do(client, "Activate", key).failed("PermissionDenied")
    do(client, "ReKey", key).failed("PermissionDenied", "ItemNotFound", "ObjectArchived")


STATES = {"PreActive": 1, "Active": 2, "Deactivated": 3, "Compromised": 4}


def key_in(client, wanted):
    key = new_key(client)
    if wanted in ("Active", "Deactivated"):
        do(client, "Activate", key).succeeded()
    if wanted in ("Deactivated", "Compromised"):
        do(client, "Revoke", key, CESSATION if wanted == "Deactivated" else COMPROMISE).succeeded()
    assert state(client, key) == STATES[wanted]
    return key


@pytest.mark.parametrize("wanted", ["PreActive", "Active", "Deactivated"])
def test_compromise(client, wanted):
    """Transitions 3, 5 and 8 of §3.22, then 9; 10 is the next test's."""
    key = key_in(client, wanted)
    do(client, "Revoke", key, COMPROMISE).succeeded()
    assert state(client, key) == 4
    do(client, "Destroy", key).succeeded()
    assert state(client, key) == 6


def test_compromise_after_destruction(client):
    key = new_key(client)
    do(client, "Destroy", key).succeeded()
    do(client, "Revoke", key, COMPROMISE).succeeded()
    assert state(client, key) == 6


@pytest.mark.parametrize("wanted", STATES)
def test_key_can_be_read_in_every_state(client, wanted):
    """Nothing in §4.11 forbids it, and disks must be readable after a revocation."""
    do(client, "Get", key_in(client, wanted)).succeeded()


# Re-key and Check (§11.5, §11.11)


def test_rekey_with_offset_and_dates(client):
    key = key_in(client, "Active")
    dates = template(attribute("Activation Date", 1))
    do(client, "ReKey", key, ("Offset", 0), dates).failed("InvalidMessage")


def links(client, key):
    """Link type and target of each Link."""
    result = do(client, "GetAttributes", key, ("AttributeName", "Link")).succeeded()
    return [tuple(part.value for part in value) for _, value in result.attributes]


def test_rekey(client):
    """§4.4: linked to each other, the name moves on, the material is new."""
    name = attribute("Name", name_value(f"rekey-{uuid.uuid4()}"))
    old = new_key(client, name)
    new = ("UniqueIdentifier", do(client, "ReKey", old).succeeded().id)
    assert links(client, old) == [(WORDS.enumeration(LINK, "ReplacementObjectLink"), new[1])]
    assert links(client, new) == [(WORDS.enumeration(LINK, "ReplacedObjectLink"), old[1])]
    assert do(client, "Locate", name).succeeded().all("UniqueIdentifier") == [new[1]]
    path = ("SymmetricKey", "KeyBlock", "KeyValue", "KeyMaterial")
    before, after = (do(client, "Get", key).succeeded().get(*path) for key in (old, new))
    assert before != after and len(before) == len(after) == 32


def test_check_usage(client):
    key = key_in(client, "Active")
    do(client, "Check", key, ("CryptographicUsageMask", "Encrypt")).succeeded()
    denied = do(client, "Check", key, ("CryptographicUsageMask", "Sign"))
    denied.failed("PermissionDenied")

# SPDX-License-Identifier: Apache-2.0
"""Batches and the fields of the request header, KMIP 1.4 §4 (ID Placeholder), §6 and §7."""

import time
import uuid

import pytest

from tests.support.message import (
    VERSIONS,
    WORDS,
    ask,
    attribute,
    batch_item,
    create,
    do,
    field,
    name_value,
    tag,
)
from tests.support.ttlv import Item, Type, encode

UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"
NO_PLACEHOLDER = ("ItemNotFound", "InvalidMessage", "InvalidField", "MissingData")
ORDERED = [("BatchOrderOption", True)]
CONTINUE = [("BatchErrorContinuationOption", "Continue"), ("BatchOrderOption", True)]
STOP = [("BatchErrorContinuationOption", "Stop"), ("BatchOrderOption", True)]
UNDO = [("BatchErrorContinuationOption", "Undo"), ("BatchOrderOption", True)]


def numbered(*items: Item):
    """The items with Unique Batch Item IDs, which batches of more than one need (§7.2)."""
    result = []
    for number, item in enumerate(items, 1):
        identifier = field("UniqueBatchItemID", b"item-%d" % number)
        result.append(Item(item.tag, item.type, [item.value[0], identifier, *item.value[1:]]))
    return result


def batch(client, *items: Item, fields=(), **options):
    return ask(client, *numbered(*items), fields=fields, **options)


def unique_name() -> Item:
    return attribute("Name", name_value(f"batch-{uuid.uuid4()}"))


def get(*payload, operation="Get"):
    return batch_item(operation, *payload)


def exists(client, name: Item) -> bool:
    return bool(do(client, "Locate", name).succeeded().all("UniqueIdentifier"))


# ID Placeholder


def test_placeholder_from_create(kmipd):
    """Create, then everything else about the same object without naming it."""
    with kmipd.connect() as client:
        answer = batch(
            client,
            create(),
            get(),
            get(("AttributeName", "State"), operation="GetAttributes"),
            get(operation="Activate"),
            get(("AttributeName", "State"), operation="GetAttributes"),
            get(attribute("x-batch", "1"), operation="AddAttribute"),
            get(attribute("x-batch", "2"), operation="ModifyAttribute"),
            get(("AttributeName", "x-batch"), operation="DeleteAttribute"),
            get(operation="GetAttributeList"),
            get(operation="Check"),
            get(
                ("RevocationReason", [("RevocationReasonCode", "CessationOfOperation")]),
                operation="Revoke",
            ),
            get(operation="Destroy"),
            fields=ORDERED,
        )
        results = [result.succeeded() for result in answer.items]
        assert len(results) == 12
        assert {result.id for result in results} == {results[0].id}
        assert results[2].attributes == [("State", 1)]
        assert results[4].attributes == [("State", 2)]


def register():
    return batch_item(
        "Register",
        ("ObjectType", "SecretData"),
        ("TemplateAttribute", [attribute("Cryptographic Usage Mask", 0)]),
        (
            "SecretData",
            [
                ("SecretDataType", "Password"),
                (
                    "KeyBlock",
                    [
                        ("KeyFormatType", "Opaque"),
                        field("KeyValue", [field("KeyMaterial", b"secret", Type.BYTE_STRING)],
                              Type.STRUCTURE),
                    ],
                ),
            ],
        ),
    )


def test_placeholder_from_register(kmipd):
    with kmipd.connect() as client:
        made, got = batch(client, register(), get(), fields=ORDERED).items
        assert got.succeeded().id == made.succeeded().id


def test_placeholder_from_rekey(kmipd):
    """The replacement takes the place of the object it replaces."""
    with kmipd.connect() as client:
        answer = batch(client, create(), get(operation="ReKey"), get(), fields=ORDERED)
        old, new, got = (result.succeeded() for result in answer.items)
        assert new.id != old.id
        assert got.id == new.id


def test_placeholder_from_locate(kmipd):
    with kmipd.connect() as client:
        name = unique_name()
        identifier = ask(client, create(name)).only().succeeded().id
        located, got = batch(client, batch_item("Locate", name), get(), fields=ORDERED).items
        assert located.succeeded().all("UniqueIdentifier") == [identifier]
        assert got.succeeded().id == identifier


def test_placeholder_emptied_by_locate_of_several(kmipd):
    """§4.9: more than one match and no Maximum Items of 1 empties it, whatever it held."""
    with kmipd.connect() as client:
        group = attribute("Object Group", f"batch-{uuid.uuid4()}")
        made = {ask(client, create(group)).only().succeeded().id for _ in range(2)}
        locate = batch_item("Locate", group)
        answer = batch(client, create(), locate, get(), fields=ORDERED)
        assert set(answer.items[1].succeeded().all("UniqueIdentifier")) == made
        answer.items[2].failed(*NO_PLACEHOLDER)
        one = batch_item("Locate", ("MaximumItems", 1), group)
        located, got = batch(client, one, get(), fields=ORDERED).items
        assert located.succeeded().all("UniqueIdentifier") == [got.succeeded().id]
        assert got.id in made


def test_placeholder_after_locate_of_nothing(kmipd):
    """TC-152: Item Not Found."""
    with kmipd.connect() as client:
        located, got = batch(
            client, batch_item("Locate", unique_name()), get(), fields=ORDERED
        ).items
        assert located.succeeded().payload.value == []
        got.failed("ItemNotFound")


def test_placeholder_ends_with_the_batch(kmipd):
    with kmipd.connect() as client:
        ask(client, create()).only().succeeded()
        do(client, "Get").failed(*NO_PLACEHOLDER)


def test_placeholder_is_not_shared(kmipd):
    """Neither with other connections nor before the first operation of a batch."""
    with kmipd.connect() as first, kmipd.connect() as second:
        ask(first, create()).only().succeeded()
        do(second, "Get").failed(*NO_PLACEHOLDER)
        answer = batch(second, get(), create(), fields=ORDERED)
        answer.items[0].failed(*NO_PLACEHOLDER)


def test_named_object_goes_before_the_placeholder(kmipd):
    with kmipd.connect() as client:
        other = ask(client, create()).only().succeeded().id
        answer = batch(client, create(), get(("UniqueIdentifier", other)), get(), fields=ORDERED)
        made, named, placeholder = (result.succeeded() for result in answer.items)
        assert named.id == other
        assert placeholder.id == made.id, "Get does not set the ID Placeholder (§4)"


# Errors in a batch


def test_stop_is_the_default(kmipd):
    """§6.13: nothing after the failure is processed, what came before stays."""
    with kmipd.connect() as client:
        before, after = unique_name(), unique_name()
        for fields in ([], ORDERED, STOP):
            answer = batch(
                client,
                create(before),
                get(("UniqueIdentifier", UNKNOWN_ID)),
                create(after),
                fields=fields,
            )
            assert [result.identifier for result in answer.items] == [b"item-1", b"item-2"]
            answer.items[0].succeeded()
            answer.items[1].failed("ItemNotFound")
            assert exists(client, before)
            assert not exists(client, after)
            before, after = unique_name(), unique_name()


def test_continue(kmipd):
    with kmipd.connect() as client:
        after = unique_name()
        answer = batch(
            client,
            get(("UniqueIdentifier", UNKNOWN_ID)),
            create(after),
            get(("UniqueIdentifier", UNKNOWN_ID)),
            fields=CONTINUE,
        )
        assert [result.identifier for result in answer.items] == [b"item-1", b"item-2", b"item-3"]
        answer.items[0].failed("ItemNotFound")
        answer.items[1].succeeded()
        answer.items[2].failed("ItemNotFound")
        assert exists(client, after)


def test_undo_is_refused(kmipd):
    """§6.13: a server that cannot undo rejects the entire request; nothing may have happened."""
    with kmipd.connect() as client:
        name = unique_name()
        answer = batch(client, create(name), get(), fields=UNDO)
        assert answer.items
        for result in answer.items:
            result.failed("FeatureNotSupported")
        assert not exists(client, name)


def test_order_is_kept(kmipd):
    """The results stand in the order of the requests, each with its operation and id."""
    operations = ["Locate", "DiscoverVersions", "Locate", "DiscoverVersions"]
    with kmipd.connect() as client:
        answer = batch(client, *(batch_item(name) for name in operations), fields=ORDERED)
        assert [result.operation for result in answer.items] == operations
        assert [result.identifier for result in answer.items] == [
            b"item-1",
            b"item-2",
            b"item-3",
            b"item-4",
        ]


@pytest.mark.parametrize("identifier", [b"", b"\0", b"QLKC\1\0\0\0", bytes(12), bytes(range(64))])
def test_batch_item_id_is_echoed(kmipd, identifier):
    with kmipd.connect() as client:
        item = batch_item("DiscoverVersions", identifier=identifier)
        assert ask(client, item).only().succeeded().identifier == identifier


def test_no_batch_item_id_where_none_was_sent(kmipd):
    with kmipd.connect() as client:
        assert do(client, "DiscoverVersions").succeeded().identifier is None


def test_batch_item_id_of_a_failure(kmipd):
    with kmipd.connect() as client:
        item = batch_item("Get", ("UniqueIdentifier", UNKNOWN_ID), identifier=b"lost")
        assert ask(client, item).only().failed("ItemNotFound").identifier == b"lost"


def test_batch_of_many(kmipd):
    with kmipd.connect() as client:
        answer = batch(client, *(batch_item("DiscoverVersions") for _ in range(64)))
        assert [result.succeeded().operation for result in answer.items] == [
            "DiscoverVersions"
        ] * 64


def test_fortigate_batch(kmipd):
    """Four Locates under a 1.0 header, the name inside a Template-Attribute (kmip-clients §7)."""
    with kmipd.connect() as client:
        text = f"fortigate-{uuid.uuid4()}"
        names = [attribute("Name", name_value(text + suffix)) for suffix in ("", "1", "12", "x")]
        made = [ask(client, create(name)).only().succeeded().id for name in names]
        locates = [
            batch_item("Locate", ("MaximumItems", 1), attribute("Name", name_value(text + suffix)))
            for suffix in ("", "1", "2", "12")
        ]
        fields = [("MaximumResponseSize", 65536), *CONTINUE]
        answer = batch(client, *locates, fields=fields, version=(1, 0))
        found = [result.succeeded().all("UniqueIdentifier") for result in answer.items]
        assert found == [[made[0]], [made[1]], [], [made[2]]]


# Header fields


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: f"{v[0]}.{v[1]}")
def test_answer_has_the_version_of_the_request(kmipd, version):
    with kmipd.connect() as client:
        made = ask(client, create(), version=version).only().succeeded()
        do(client, "Get", ("UniqueIdentifier", made.id), version=version).succeeded()
        do(client, "Get", ("UniqueIdentifier", UNKNOWN_ID), version=version).failed("ItemNotFound")


def test_versions_may_change_on_a_connection(kmipd):
    """libkmip registers under 1.4 and reads under 1.0 (kmip-clients §7)."""
    with kmipd.connect() as client:
        made = ask(client, create(), version=(1, 4)).only().succeeded()
        for version in reversed(VERSIONS):
            got = do(client, "Get", ("UniqueIdentifier", made.id), version=version).succeeded()
            assert got.id == made.id


def test_only_fields_that_the_version_knows(kmipd):
    """Attributes and fields newer than the request's version do not appear in its answer."""
    newer = {
        (1, 0): {"Fresh", "Original Creation Date", "Key Value Present", "Alternative Name"},
        (1, 1): {"Original Creation Date", "Key Value Present", "Alternative Name"},
        (1, 2): {"Random Number Generator", "Comment", "Description", "Sensitive"},
        (1, 3): {"Sensitive", "Always Sensitive", "Extractable", "Never Extractable"},
    }
    with kmipd.connect() as client:
        made = ask(client, create(), version=(1, 4)).only().succeeded()
        for version, names in newer.items():
            for operation in ("GetAttributeList", "GetAttributes"):
                field_id = ("UniqueIdentifier", made.id)
                result = do(client, operation, field_id, version=version).succeeded()
                listed = set(result.all("AttributeName")) | {name for name, _ in result.attributes}
                assert not listed & names, f"{operation} under {version}"
        digest = do(
            client,
            "GetAttributes",
            ("UniqueIdentifier", made.id),
            ("AttributeName", "Digest"),
            version=(1, 0),
        )
        ((_, value),) = digest.attributes
        assert tag("KeyFormatType") not in [item.tag for item in value], "of 1.1 (§3.17)"


def size_of(answer) -> int:
    return len(encode(answer.message))


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: f"{v[0]}.{v[1]}")
def test_maximum_response_size(kmipd, version):
    """Exactly the size is enough, one byte less is not (§6.3, §11.1)."""
    query = batch_item(
        "Query", ("QueryFunction", "QueryOperations"), ("QueryFunction", "QueryObjects")
    )
    with kmipd.connect() as client:
        size = size_of(ask(client, query, version=version))
        fits = ask(client, query, version=version, fields=[("MaximumResponseSize", size)])
        fits.only().succeeded()
        small = ask(client, query, version=version, fields=[("MaximumResponseSize", size - 1)])
        assert small.only().failed("ResponseTooLarge").operation == "Query"
        assert small.only().payload is None


def test_maximum_response_size_of_a_batch(kmipd):
    """The limit is on the whole message; a key that does not fit is not shown."""
    with kmipd.connect() as client:
        made = [ask(client, create()).only().succeeded().id for _ in range(2)]
        items = [batch_item("Get", ("UniqueIdentifier", identifier)) for identifier in made]
        size = size_of(batch(client, *items, fields=ORDERED))
        fields = [("MaximumResponseSize", size - 8), *ORDERED]
        answer = batch(client, *items, fields=fields)
        assert any(result.reason == "ResponseTooLarge" for result in answer.items)
        assert size_of(answer) <= size - 8


@pytest.mark.parametrize("size", [0, 1, 8, -1, -(2**31)])
def test_absurd_maximum_response_size(kmipd, size):
    """No answer fits: still one that says so, and a connection that goes on or ends in order."""
    with kmipd.connect() as client:
        item = batch_item("DiscoverVersions")
        answer = ask(client, item, fields=[("MaximumResponseSize", size)])
        answer.only().failed("ResponseTooLarge", "InvalidField", "InvalidMessage")


def test_time_stamp_is_accepted(kmipd):
    with kmipd.connect() as client:
        fields = [("TimeStamp", int(time.time()))]
        ask(client, batch_item("DiscoverVersions"), fields=fields).only().succeeded()


@pytest.mark.parametrize("indicator", [True, False])
def test_asynchronous_indicator(kmipd, indicator):
    """True only says that the client could wait: the server decides (§6.7, §6.8)."""
    with kmipd.connect() as client:
        fields = [("AsynchronousIndicator", indicator)]
        ask(client, create(), fields=fields).only().succeeded()


def credential(user: str, password: str):
    return (
        "Credential",
        [
            ("CredentialType", "UsernameAndPassword"),
            field("CredentialValue", [("Username", user), ("Password", password)], Type.STRUCTURE),
        ],
    )


DEVICE = (
    "Credential",
    [
        ("CredentialType", "Device"),
        field("CredentialValue", [("DeviceSerialNumber", "serial-1")], Type.STRUCTURE),
    ],
)


@pytest.mark.parametrize(
    "credentials",
    [[credential("admin", "secret")], [DEVICE], [credential("admin", "secret"), DEVICE]],
    ids=["user", "device", "both"],
)
def test_credentials_are_accepted(kmipd, credentials):
    """The adapter asks for none: vCenter sends one on some requests and not on others (§0.8)."""
    with kmipd.connect() as client:
        fields = [("Authentication", credentials)]
        made = ask(client, create(), fields=fields, version=(1, 1)).only().succeeded()
        do(client, "Get", ("UniqueIdentifier", made.id), version=(1, 1)).succeeded()


def test_libkmip_header(kmipd):
    """Maximum Response Size, then Time Stamp, under 1.0 (kmip-clients §7)."""
    with kmipd.connect() as client:
        fields = [("MaximumResponseSize", 8192), ("TimeStamp", int(time.time()))]
        ask(client, create(), fields=fields, version=(1, 0)).only().succeeded()


def test_header_fields_in_their_order(kmipd):
    """§7.2 fixes the order; another one is no message."""
    with kmipd.connect() as client:
        fields = [("BatchOrderOption", True), ("MaximumResponseSize", 8192)]
        ask(client, batch_item("DiscoverVersions"), fields=fields).only().failed("InvalidMessage")


def extension(critical: bool) -> Item:
    inner = Item(0x540001, Type.TEXT_STRING, "na")
    return field(
        "MessageExtension",
        [
            ("VendorIdentification", "Acme"),
            ("CriticalityIndicator", critical),
            field("VendorExtension", [inner], Type.STRUCTURE),
        ],
    )


def test_message_extension(kmipd):
    """One that is not critical is ignored; a critical one rejects the entire message (§6.16)."""
    with kmipd.connect() as client:
        name = unique_name()
        ask(client, create(name, extension=extension(False))).only().succeeded()
        assert exists(client, name)
        name = unique_name()
        answer = batch(client, create(name), create(extension=extension(True)), fields=ORDERED)
        assert answer.items
        for result in answer.items:
            result.failed("FeatureNotSupported")
        assert not exists(client, name)


def test_unknown_operation(kmipd):
    """An operation the server does not have: that and nothing else is said (§11.1)."""
    with kmipd.connect() as client:
        for number in (WORDS.enumeration(tag("Operation"), "Archive"), 0x80000001):
            item = batch_item("Query")
            item.value[0] = Item(tag("Operation"), Type.ENUMERATION, number)
            result = ask(client, item).only().failed("OperationNotSupported")
            assert result.item.get(tag("Operation")) == number

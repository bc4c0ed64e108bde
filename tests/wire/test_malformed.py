# SPDX-License-Identifier: Apache-2.0
"""Messages that break TTLV or KMIP, against the running server.

Every fault: one answer of Invalid Message with a Result Message, in the request's version where
its header can be read (KMIP 1.4 §11.1), nothing done, the connection closed once the bytes cannot
be trusted, and a server that goes on serving others in bounded memory.
"""

import socket
import ssl
import struct

import pytest

from tests.support import ttlv
from tests.support.client import Closed
from tests.support.message import (
    VERSIONS,
    Answer,
    aes_template,
    attribute,
    batch_item,
    do,
    field,
    header,
    name_value,
    request,
    tag,
)
from tests.support.server import Server
from tests.support.ttlv import Item, Type, encode, raw

VERSION = (1, 2)

MESSAGE = tag("RequestMessage")
BATCH_ITEM = tag("BatchItem")
PAYLOAD = tag("RequestPayload")
OPERATION = encode(field("Operation", "Query"))
FUNCTION = encode(field("QueryFunction", "QueryOperations"))
HEADER = encode(header(1, VERSION))
TEXT = tag("VendorIdentification")
BYTES = tag("UniqueBatchItemID")


def message(*parts: bytes, head: bytes = HEADER) -> bytes:
    """A whole message: header and what follows it."""
    return raw(MESSAGE, Type.STRUCTURE, head + b"".join(parts))


def item(*parts: bytes) -> bytes:
    return raw(BATCH_ITEM, Type.STRUCTURE, b"".join(parts))


def payload(*parts: bytes) -> bytes:
    return raw(PAYLOAD, Type.STRUCTURE, b"".join(parts))


def query(*parts: bytes) -> bytes:
    """A Query whose payload is `parts`."""
    return message(item(OPERATION, payload(*parts)))


def nested(depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        data = raw(tag("VendorExtension"), Type.STRUCTURE, data)
    return data


def zero_length(tag_number: int) -> bytes:
    return raw(tag_number, Type.STRUCTURE, b"")


# Bytes inside an honest frame, after a header that can be read, that are not TTLV.
NOT_TTLV = {
    "enumeration of 8 bytes": query(raw(tag("QueryFunction"), Type.ENUMERATION, bytes(8))),
    "enumeration of 3 bytes": query(raw(tag("QueryFunction"), Type.ENUMERATION, bytes(3))),
    "enumeration of 0 bytes": query(raw(tag("QueryFunction"), Type.ENUMERATION, b"")),
    "integer of 8 bytes": query(raw(tag("MaximumItems"), Type.INTEGER, bytes(8))),
    "long integer of 4 bytes": query(raw(tag("UsageLimitsCount"), Type.LONG_INTEGER, bytes(4))),
    "big integer of 4 bytes": query(raw(tag("Modulus"), Type.BIG_INTEGER, bytes(4))),
    "big integer of 0 bytes": query(raw(tag("Modulus"), Type.BIG_INTEGER, b"")),
    "boolean of 4 bytes": query(raw(tag("CriticalityIndicator"), Type.BOOLEAN, bytes(4))),
    "boolean of value 2": query(raw(tag("CriticalityIndicator"), Type.BOOLEAN, bytes(7) + b"\2")),
    "date of 4 bytes": query(raw(tag("TimeStamp"), Type.DATE_TIME, bytes(4))),
    "interval of 8 bytes": query(raw(tag("LeaseTime"), Type.INTERVAL, bytes(8))),
    "structure of 4 bytes": query(raw(tag("Attribute"), Type.STRUCTURE, bytes(4))),
    "text that is not UTF-8": query(raw(TEXT, Type.TEXT_STRING, b"\xc3\x28")),
    "overlong UTF-8": query(raw(TEXT, Type.TEXT_STRING, b"\xc0\xaf")),
    "padding not zero": query(raw(TEXT, Type.TEXT_STRING, b"abc", pad=b"\0\0\0\0\1")),
    "padding of an enumeration": query(
        raw(tag("QueryFunction"), Type.ENUMERATION, b"\0\0\0\1", pad=b"\xff" * 4)
    ),
    "type 0": query(raw(tag("QueryFunction"), 0, b"\0\0\0\1")),
    "type 12": query(raw(tag("QueryFunction"), 12, b"\0\0\0\1")),
    "type 255": query(raw(tag("QueryFunction"), 255, b"\0\0\0\1")),
    "tag 000000": query(raw(0, Type.ENUMERATION, b"\0\0\0\1")),
    "tag 41ffff": query(raw(0x41FFFF, Type.ENUMERATION, b"\0\0\0\1")),
    "tag ffffff": query(raw(0xFFFFFF, Type.ENUMERATION, b"\0\0\0\1")),
    "text longer than its parent": query(raw(TEXT, Type.TEXT_STRING, b"abcdefgh", length=16)),
    "text of ffffffff bytes": query(raw(TEXT, Type.TEXT_STRING, b"abcdefgh", length=0xFFFFFFFF)),
    "bytes of ffffffff bytes": query(raw(BYTES, Type.BYTE_STRING, bytes(8), length=0xFFFFFFFF)),
    "bytes of fffffff8 bytes": query(raw(BYTES, Type.BYTE_STRING, bytes(8), length=0xFFFFFFF8)),
    "bytes of 7fffffff bytes": query(raw(BYTES, Type.BYTE_STRING, bytes(8), length=0x7FFFFFFF)),
    "structure of ffffffff bytes": query(
        raw(tag("Attribute"), Type.STRUCTURE, FUNCTION, length=0xFFFFFFFF)
    ),
    "structure of fffffff8 bytes": query(
        raw(tag("Attribute"), Type.STRUCTURE, FUNCTION, length=0xFFFFFFF8)
    ),
    "payload longer than the batch item": message(
        item(OPERATION, raw(PAYLOAD, Type.STRUCTURE, FUNCTION, length=len(FUNCTION) + 8))
    ),
    "batch item longer than the message": message(
        raw(BATCH_ITEM, Type.STRUCTURE, OPERATION + payload(FUNCTION), length=4096)
    ),
    "batch item of ffffffff bytes": message(
        raw(BATCH_ITEM, Type.STRUCTURE, OPERATION + payload(FUNCTION), length=0xFFFFFFFF)
    ),
    "half a header at the end": query(FUNCTION, b"\x42\0\x5c\5"),
    "zeroes at the end": query(FUNCTION, bytes(8)),
    "zeroes after the batch item": message(item(OPERATION, payload(FUNCTION)), bytes(8)),
    "100 structures deep": query(nested(100)),
    "10000 structures deep": query(nested(10000)),
}

# Well-formed TTLV after a header that can be read, which is no KMIP message.
NOT_KMIP = {
    "zero-length batch item, then its children": message(
        zero_length(BATCH_ITEM), OPERATION, payload(FUNCTION)
    ),
    "zero-length payload, then its children": message(
        item(OPERATION, zero_length(PAYLOAD), FUNCTION)
    ),
    "zero-length batch item": message(zero_length(BATCH_ITEM)),
    "operation as an integer": message(
        item(raw(tag("Operation"), Type.INTEGER, struct.pack(">i", 24)), payload(FUNCTION))
    ),
    "operation as text": message(
        item(raw(tag("Operation"), Type.TEXT_STRING, b"Query"), payload(FUNCTION))
    ),
    "payload as bytes": message(item(OPERATION, raw(PAYLOAD, Type.BYTE_STRING, FUNCTION))),
    "batch item id as text": message(
        item(OPERATION, raw(BYTES, Type.TEXT_STRING, b"1"), payload(FUNCTION))
    ),
    "function as an integer": query(raw(tag("QueryFunction"), Type.INTEGER, b"\0\0\0\1")),
    "payload before operation": message(item(payload(FUNCTION), OPERATION)),
    "batch item id before operation": message(
        item(raw(BYTES, Type.BYTE_STRING, b"1"), OPERATION, payload(FUNCTION))
    ),
    "two operations": message(item(OPERATION, OPERATION, payload(FUNCTION))),
    "two payloads": message(item(OPERATION, payload(FUNCTION), payload(FUNCTION))),
    "two batch item ids": message(
        item(OPERATION, raw(BYTES, Type.BYTE_STRING, b"1") * 2, payload(FUNCTION))
    ),
    "two headers": message(HEADER, item(OPERATION, payload(FUNCTION))),
    "no operation": message(item(payload(FUNCTION))),
    "no payload": message(item(OPERATION)),
    "no batch item": message(),
    "batch count 2, one item": message(
        item(OPERATION, payload(FUNCTION)), head=encode(header(2, VERSION))
    ),
    "batch count 1, two items": message(item(OPERATION, payload(FUNCTION)) * 2),
    "batch count 0, no item": message(head=encode(header(0, VERSION))),
    "batch count -1": message(
        item(OPERATION, payload(FUNCTION)), head=encode(header(-1, VERSION))
    ),
    "batch count 7fffffff": message(
        item(OPERATION, payload(FUNCTION)), head=encode(header(0x7FFFFFFF, VERSION))
    ),
    "a foreign item beside the batch": message(item(OPERATION, payload(FUNCTION)), OPERATION),
}

VERSION_FIELD = encode(header(1, VERSION).value[0])
COUNT_FIELD = encode(field("BatchCount", 1))


def head(*parts: bytes) -> bytes:
    return raw(tag("RequestHeader"), Type.STRUCTURE, b"".join(parts))


def with_header(*parts: bytes) -> bytes:
    return message(item(OPERATION, payload(FUNCTION)), head=head(*parts))


# Headers with a version that can be read but something else that is wrong.
BAD_HEADERS = {
    "no batch count": with_header(VERSION_FIELD),
    "two batch counts": with_header(VERSION_FIELD, COUNT_FIELD, COUNT_FIELD),
    "batch count as long integer": with_header(
        VERSION_FIELD, raw(tag("BatchCount"), Type.LONG_INTEGER, bytes(7) + b"\1")
    ),
    "two versions": with_header(VERSION_FIELD, VERSION_FIELD, COUNT_FIELD),
    "time stamp as integer": with_header(
        VERSION_FIELD, raw(tag("TimeStamp"), Type.INTEGER, bytes(4)), COUNT_FIELD
    ),
    "maximum response size as text": with_header(
        VERSION_FIELD, raw(tag("MaximumResponseSize"), Type.TEXT_STRING, b"8"), COUNT_FIELD
    ),
}

# Frames that end where they say, in which no header can be read: any version of ours will do.
NO_HEADER = {
    "no header": raw(MESSAGE, Type.STRUCTURE, item(OPERATION, payload(FUNCTION))),
    "header after the batch": raw(
        MESSAGE, Type.STRUCTURE, item(OPERATION, payload(FUNCTION)) + HEADER
    ),
    "empty header": message(item(OPERATION, payload(FUNCTION)), head=head()),
    "no version": with_header(COUNT_FIELD),
    "version without minor": with_header(
        raw(
            tag("ProtocolVersion"), Type.STRUCTURE, encode(field("ProtocolVersionMajor", 1))
        ),
        COUNT_FIELD,
    ),
    "version as text": with_header(
        raw(tag("ProtocolVersion"), Type.TEXT_STRING, b"1.2"), COUNT_FIELD
    ),
    "major version as enumeration": with_header(
        raw(
            tag("ProtocolVersion"),
            Type.STRUCTURE,
            raw(tag("ProtocolVersionMajor"), Type.ENUMERATION, b"\0\0\0\1")
            + encode(field("ProtocolVersionMinor", 2)),
        ),
        COUNT_FIELD,
    ),
    "header as bytes": raw(
        MESSAGE,
        Type.STRUCTURE,
        raw(tag("RequestHeader"), Type.BYTE_STRING, bytes(32))
        + item(OPERATION, payload(FUNCTION)),
    ),
    "zero-length header, then its children": raw(
        MESSAGE,
        Type.STRUCTURE,
        zero_length(tag("RequestHeader")) + VERSION_FIELD + COUNT_FIELD + item(OPERATION),
    ),
    "garbage in a frame": raw(MESSAGE, Type.STRUCTURE, bytes(range(256))),
    "zeroes in a frame": raw(MESSAGE, Type.STRUCTURE, bytes(256)),
    "an empty message": raw(MESSAGE, Type.STRUCTURE, b""),
    "version 2.0": encode(request(batch_item("Query"), version=(2, 0))),
    "version 0.9": encode(request(batch_item("Query"), version=(0, 9))),
    "version -1.2": encode(request(batch_item("Query"), version=(-1, 2))),
    "version 99.99": encode(request(batch_item("Query"), version=(99, 99))),
}

# First bytes that are no frame of ours: nothing after them can be trusted.
NO_FRAME = {
    "zero-length message, then its children": raw(MESSAGE, Type.STRUCTURE, b"")
    + HEADER
    + item(OPERATION, payload(FUNCTION)),
    "a response": raw(tag("ResponseMessage"), Type.STRUCTURE, HEADER),
    "a message as bytes": raw(MESSAGE, Type.BYTE_STRING, HEADER),
    "length ffffffff": raw(MESSAGE, Type.STRUCTURE, HEADER, length=0xFFFFFFFF),
    "length fffffff8": raw(MESSAGE, Type.STRUCTURE, HEADER, length=0xFFFFFFF8),
    "length 7ffffff8": raw(MESSAGE, Type.STRUCTURE, HEADER, length=0x7FFFFFF8),
    "length of 1 GiB": raw(MESSAGE, Type.STRUCTURE, HEADER, length=1 << 30),
    "length not a multiple of 8": raw(MESSAGE, Type.STRUCTURE, HEADER, length=len(HEADER) + 1)
    + bytes(8),
    "an HTTP request": b"POST /kmip HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
    "a TLS record": bytes.fromhex("160301002001000000") + bytes(64),
    "zeroes": bytes(64),
    "ones": b"\xff" * 64,
    "text": b"QUIT\r\nHELO\r\n",
}


def refused(answer: Answer, reasons=("InvalidMessage",)) -> None:
    for result in answer.items:
        result.failed(*reasons)
    assert answer.items


def alive(server) -> None:
    """Others are served as if nothing had been."""
    assert server.alive()
    with server.connect() as client:
        do(client, "Query", ("QueryFunction", "QueryServerInformation")).succeeded()


@pytest.mark.parametrize("name", NOT_TTLV)
def test_not_ttlv(kmipd, name):
    with kmipd.connect() as client:
        answer = Answer(ttlv.decode(client.exchange(NOT_TTLV[name])))
        assert answer.version == VERSION
        refused(answer)
        client.expect_closed()
    alive(kmipd)


@pytest.mark.parametrize("name", {**NOT_KMIP, **BAD_HEADERS})
def test_not_kmip(kmipd, name):
    with kmipd.connect() as client:
        answer = Answer(ttlv.decode(client.exchange({**NOT_KMIP, **BAD_HEADERS}[name])))
        assert answer.version == VERSION
        refused(answer)
    alive(kmipd)


@pytest.mark.parametrize("name", NO_HEADER)
def test_no_header(kmipd, name):
    with kmipd.connect() as client:
        answer = Answer(ttlv.decode(client.exchange(NO_HEADER[name])))
        assert answer.version in VERSIONS
        refused(answer)
        assert answer.only().operation == "", "a Batch Item without Operation (§11.1)"
    alive(kmipd)


def refusal_before_close(client) -> None:
    """At most one answer, and that a refusal; then the end of the connection."""
    try:
        data = client.receive()
    except Closed as closed:
        assert not closed.rest
        return
    answer = Answer(ttlv.decode(data))
    assert answer.version in VERSIONS
    refused(answer)
    client.expect_closed()


@pytest.mark.parametrize("name", NO_FRAME)
def test_no_frame(kmipd, name):
    with kmipd.connect() as client:
        client.send(NO_FRAME[name])
        refusal_before_close(client)
    alive(kmipd)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: f"{v[0]}.{v[1]}")
def test_answered_in_the_version_of_the_request(kmipd, version):
    broken = raw(
        MESSAGE,
        Type.STRUCTURE,
        encode(header(1, version)) + item(OPERATION, payload(raw(TEXT, 0, b""))),
    )
    with kmipd.connect() as client:
        answer = Answer(ttlv.decode(client.exchange(broken)))
        assert answer.version == version
        refused(answer)


CREATE = encode(field("Operation", "Create"))
KEY = encode(field("ObjectType", "SymmetricKey"))

# Payloads whose structure is wrong though each item is right: the batch item fails.
BAD_PAYLOADS = {
    "two object types": (CREATE, KEY + KEY + encode(aes_template())),
    "template before object type": (CREATE, encode(aes_template()) + KEY),
    "object type as integer": (
        CREATE,
        raw(tag("ObjectType"), Type.INTEGER, b"\0\0\0\2") + encode(aes_template()),
    ),
    "no object type": (CREATE, encode(aes_template())),
    "attribute without a name": (
        CREATE,
        KEY
        + raw(
            tag("TemplateAttribute"),
            Type.STRUCTURE,
            raw(
                tag("Attribute"),
                Type.STRUCTURE,
                raw(tag("AttributeValue"), Type.ENUMERATION, b"\0\0\0\3"),
            ),
        ),
    ),
    "attribute value before its name": (
        CREATE,
        KEY
        + raw(
            tag("TemplateAttribute"),
            Type.STRUCTURE,
            raw(
                tag("Attribute"),
                Type.STRUCTURE,
                raw(tag("AttributeValue"), Type.ENUMERATION, b"\0\0\0\3")
                + encode(field("AttributeName", "Cryptographic Algorithm")),
            ),
        ),
    ),
    "attribute value of another type": (
        CREATE,
        KEY
        + encode(
            Item(
                tag("TemplateAttribute"),
                Type.STRUCTURE,
                [attribute("Cryptographic Length", "256", Type.TEXT_STRING)],
            )
        ),
    ),
    "identifier as bytes": (
        encode(field("Operation", "Get")),
        raw(tag("UniqueIdentifier"), Type.BYTE_STRING, b"1"),
    ),
    "two identifiers": (
        encode(field("Operation", "Get")),
        encode(field("UniqueIdentifier", "1")) * 2,
    ),
}


@pytest.mark.parametrize("name", BAD_PAYLOADS)
def test_bad_payload(kmipd, name):
    """Invalid Message for what cannot be parsed or is there twice (§11.1); a value of the wrong
    kind may be called Invalid Field, something that is not there Missing Data (§6.10)."""
    operation, body = BAD_PAYLOADS[name]
    with kmipd.connect() as client:
        answer = Answer(ttlv.decode(client.exchange(message(item(operation, payload(body))))))
        assert answer.version == VERSION
        refused(answer, ("InvalidMessage", "InvalidField", "MissingData"))
    alive(kmipd)


def test_nothing_is_done_before_all_is_understood(kmipd):
    """A good Create in front of a batch item that cannot be parsed leaves no key behind."""
    name = "test-malformed-batch"
    good = batch_item(
        "Create",
        ("ObjectType", "SymmetricKey"),
        aes_template(attribute("Name", name_value(name))),
        identifier=b"1",
    )
    bad = item(OPERATION, raw(BYTES, Type.BYTE_STRING, b"2"), payload(raw(TEXT, 0, bytes(8))))
    with kmipd.connect() as client:
        data = message(encode(good), bad, head=encode(header(2, VERSION)))
        refused(Answer(ttlv.decode(client.exchange(data))))
    with kmipd.connect() as client:
        found = do(client, "Locate", attribute("Name", name_value(name)))
        assert found.succeeded().all("UniqueIdentifier") == []


TRUNCATED = encode(request(batch_item("Query", ("QueryFunction", "QueryOperations"))))


@pytest.mark.parametrize("length", [1, 7, 8, 9, 31, len(TRUNCATED) - 8, len(TRUNCATED) - 1])
def test_truncated(kmipd, length):
    """A client that goes away in the middle of a message."""
    with kmipd.connect() as client:
        client.send(TRUNCATED[:length])
    alive(kmipd)


def test_message_after_a_malformed_one_is_not_served(kmipd):
    """What follows on a connection that cannot be trusted is not looked at."""
    create = encode(
        request(
            batch_item(
                "Create",
                ("ObjectType", "SymmetricKey"),
                aes_template(attribute("Name", name_value("test-after-malformed"))),
            )
        )
    )
    with kmipd.connect() as client:
        client.send(NOT_TTLV["padding not zero"] + create)
        refused(Answer(ttlv.decode(client.receive())))
        client.expect_closed()
    with kmipd.connect() as client:
        found = do(client, "Locate", attribute("Name", name_value("test-after-malformed")))
        assert found.succeeded().all("UniqueIdentifier") == []


def flood(server) -> None:
    """Lengths that are only announced, and messages that are refused."""
    huge = [data for name, data in {**NO_FRAME, **NOT_TTLV}.items() if "length" in name]
    huge += [NOT_TTLV["bytes of ffffffff bytes"], NOT_TTLV["10000 structures deep"]]
    context = server.context()
    for _ in range(10):
        for data in huge:
            with server.connect(context) as client:
                client.send(data)
                try:
                    client.receive()
                except Closed:
                    pass


def memory_with_large_frames_pending(server) -> int:
    """While many connections have announced half a megabyte each and sent next to nothing."""
    context = server.context()
    waiting = []
    for _ in range(40):
        client = server.connect(context)
        client.send(raw(MESSAGE, Type.STRUCTURE, HEADER, length=512 << 10))
        waiting.append(client)
    alive(server)
    memory = server.memory()
    for client in waiting:
        client.close()
    return memory


def test_memory_stays_bounded(built, tmp_path):
    """Neither leaks nor allocations of what a message only claims."""
    # An address sanitizer's quarantine would look like a leak.
    quiet = {"ASAN_OPTIONS": "quarantine_size_mb=1"}
    with Server(tmp_path / "state", environment=quiet) as server:
        alive(server)
        before = server.memory()
        flood(server)
        after = server.memory()
        pending = memory_with_large_frames_pending(server)
    assert after - before < 16 << 20, f"grew by {after - before >> 10} KiB"
    assert pending - after < 16 << 20, f"grew by {pending - after >> 10} KiB"


def test_plain_bytes_instead_of_tls(kmipd):
    """What a port scanner or a KMIP client without TLS sends."""
    for data in (TRUNCATED, b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\xff\xff" + bytes(100), b"\0"):
        with socket.create_connection((kmipd.host, kmipd.port), timeout=20) as plain:
            plain.sendall(data)
            plain.shutdown(socket.SHUT_WR)
            try:
                while plain.recv(4096):
                    pass
            except ConnectionResetError:
                pass  # closed before it had read all
    alive(kmipd)


def test_connection_cut_in_the_handshake(kmipd):
    """A ClientHello and nothing more."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = kmipd.context().wrap_bio(incoming, outgoing, server_hostname=kmipd.host)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    hello = outgoing.read()
    for size in (len(hello), len(hello) // 2, 5):
        with socket.create_connection((kmipd.host, kmipd.port), timeout=20) as plain:
            plain.sendall(hello[:size])
    alive(kmipd)

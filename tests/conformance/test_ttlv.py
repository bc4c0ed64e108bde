# SPDX-License-Identifier: Apache-2.0
"""The tests' own codec: it must be stricter than anything it is used to judge."""

import pytest

from tests.support import ttlv
from tests.support.paths import VCENTER, need_vectors
from tests.support.ttlv import Item, Type, raw

TAG = 0x420001

VALUES = [
    (Type.INTEGER, [0, 1, -1, 2**31 - 1, -(2**31)]),
    (Type.LONG_INTEGER, [0, -1, 2**63 - 1, -(2**63)]),
    (Type.BIG_INTEGER, [0, 1, -1, 2**63, -(2**63), 2**64, 10**60, -(10**60)]),
    (Type.ENUMERATION, [0, 1, 0x80000001, 0xFFFFFFFF]),
    (Type.BOOLEAN, [True, False]),
    (Type.TEXT_STRING, ["", "a", "12345678", "größer als 8"]),
    (Type.BYTE_STRING, [b"", b"\0", bytes(range(256))]),
    (Type.DATE_TIME, [0, -1, 1 << 40]),
    (Type.INTERVAL, [0, 3600, 0xFFFFFFFF]),
    (Type.STRUCTURE, [[], [Item(TAG, Type.INTEGER, 1)], [Item(TAG, Type.STRUCTURE, [])] * 3]),
]


@pytest.mark.parametrize(
    "item", [Item(TAG, kind, value) for kind, values in VALUES for value in values], ids=repr
)
def test_round_trip(item):
    data = ttlv.encode(item)
    assert len(data) % 8 == 0
    assert ttlv.decode(data) == item


# Examples of KMIP 1.4 §9.1.2
EXAMPLES = [
    ("42002002000000040000000800000000", Type.INTEGER, 8),
    ("420020030000000801b69b4ba5749200", Type.LONG_INTEGER, 123456789000000000),
    (
        "42002004000000100000000003fd35eb6bc2df4618080000",
        Type.BIG_INTEGER,
        1234567890000000000000000000,
    ),
    ("4200200500000004000000ff00000000", Type.ENUMERATION, 255),
    ("42002006000000080000000000000001", Type.BOOLEAN, True),
    ("420020070000000b48656c6c6f20576f726c640000000000", Type.TEXT_STRING, "Hello World"),
    ("42002008000000030102030000000000", Type.BYTE_STRING, b"\1\2\3"),
    ("42002009000000080000000047da67f8", Type.DATE_TIME, 0x47DA67F8),
    ("4200200a00000004000d2f0000000000", Type.INTERVAL, 864000),
]


@pytest.mark.parametrize("data, kind, value", EXAMPLES, ids=lambda v: str(v)[:24])
def test_examples_of_the_standard(data, kind, value):
    item = Item(0x420020, kind, value)
    assert ttlv.encode(item).hex() == data
    assert ttlv.decode(bytes.fromhex(data)) == item


def nested(depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        data = raw(TAG, Type.STRUCTURE, data)
    return data


MALFORMED = {
    "empty": b"",
    "header cut": raw(TAG, Type.INTEGER, bytes(4))[:7],
    "value cut": raw(TAG, Type.LONG_INTEGER, bytes(8))[:-1],
    "padding cut": raw(TAG, Type.INTEGER, bytes(4))[:-1],
    "padding not zero": raw(TAG, Type.INTEGER, bytes(4), pad=b"\0\0\0\1"),
    "bytes after": raw(TAG, Type.INTEGER, bytes(4)) + b"\0",
    "tag 41": raw(0x410001, Type.INTEGER, bytes(4)),
    "tag 0": raw(0, Type.INTEGER, bytes(4)),
    "type 0": raw(TAG, 0, bytes(4)),
    "type 12": raw(TAG, 12, bytes(4)),
    "integer of 8": raw(TAG, Type.INTEGER, bytes(8)),
    "integer of 0": raw(TAG, Type.INTEGER, b""),
    "long of 4": raw(TAG, Type.LONG_INTEGER, bytes(4)),
    "big integer of 4": raw(TAG, Type.BIG_INTEGER, bytes(4)),
    "big integer of 0": raw(TAG, Type.BIG_INTEGER, b""),
    "enumeration of 8": raw(TAG, Type.ENUMERATION, bytes(8)),
    "boolean of 4": raw(TAG, Type.BOOLEAN, bytes(4)),
    "boolean 2": raw(TAG, Type.BOOLEAN, bytes(7) + b"\2"),
    "boolean in the high bytes": raw(TAG, Type.BOOLEAN, b"\1" + bytes(7)),
    "date of 4": raw(TAG, Type.DATE_TIME, bytes(4)),
    "interval of 8": raw(TAG, Type.INTERVAL, bytes(8)),
    "text not UTF-8": raw(TAG, Type.TEXT_STRING, b"\xff"),
    "structure of 4": raw(TAG, Type.STRUCTURE, bytes(4)),
    "structure with garbage": raw(TAG, Type.STRUCTURE, bytes(8)),
    "length ffffffff": raw(TAG, Type.BYTE_STRING, bytes(8), length=0xFFFFFFFF),
    "child longer than parent": raw(
        TAG, Type.STRUCTURE, raw(TAG, Type.BYTE_STRING, bytes(8), length=16)
    ),
    "zero length, then children": raw(TAG, Type.STRUCTURE, raw(TAG, Type.INTEGER, bytes(4)), 0),
    "too deep": nested(ttlv.DEPTH_LIMIT + 2),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(name):
    with pytest.raises(ttlv.Malformed):
        ttlv.decode(MALFORMED[name])


def test_depth_that_is_allowed():
    assert ttlv.decode(nested(ttlv.DEPTH_LIMIT)).tag == TAG


def test_every_recorded_message():
    need_vectors(VCENTER)
    count = 0
    for line in (VCENTER / "messages.hex").read_text().splitlines():
        if not line.startswith("#"):
            data = bytes.fromhex(line)
            assert ttlv.encode(ttlv.decode(data)) == data
            assert ttlv.frame_size(data[:8]) == len(data)
            count += 1
    assert count > 100

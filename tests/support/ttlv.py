# SPDX-License-Identifier: Apache-2.0
"""TTLV, the binary encoding of KMIP messages (KMIP 1.4 §9.1), to and from a tree of items.

Written from the standard alone and apart from the server's codec, so that the two check each
other. `decode` is strict: whatever the standard does not allow raises `Malformed`. `encode` writes
what it is given; malformed messages for tests are made with `raw`, which believes its caller.
"""

import enum
import struct
from dataclasses import dataclass
from typing import Callable, Iterator, List, Optional, Union

HEADER_SIZE = 8
DEPTH_LIMIT = 32


class Type(enum.IntEnum):
    """Item types, KMIP 1.4 §9.1.1.2."""

    STRUCTURE = 1
    INTEGER = 2
    LONG_INTEGER = 3
    BIG_INTEGER = 4
    ENUMERATION = 5
    BOOLEAN = 6
    TEXT_STRING = 7
    BYTE_STRING = 8
    DATE_TIME = 9
    INTERVAL = 10
    DATE_TIME_EXTENDED = 11  # KMIP 2.0


FIXED_SIZE = {
    Type.INTEGER: 4,
    Type.LONG_INTEGER: 8,
    Type.ENUMERATION: 4,
    Type.BOOLEAN: 8,
    Type.DATE_TIME: 8,
    Type.INTERVAL: 4,
    Type.DATE_TIME_EXTENDED: 8,
}

NUMBER_FORMAT = {
    Type.INTEGER: ">i",
    Type.LONG_INTEGER: ">q",
    Type.ENUMERATION: ">I",
    Type.BOOLEAN: ">Q",
    Type.DATE_TIME: ">q",
    Type.INTERVAL: ">I",
    Type.DATE_TIME_EXTENDED: ">q",
}


class Malformed(ValueError):
    """The bytes are not TTLV; `offset` is where that shows."""

    def __init__(self, offset: int, problem: str):
        super().__init__(f"at byte {offset}: {problem}")
        self.offset = offset
        self.problem = problem


Value = Union[int, bool, str, bytes, List["Item"]]


@dataclass
class Item:
    """One item. `value` is a list of items, an int, a bool, a str or bytes, as `type` says."""

    tag: int
    type: Type
    value: Value

    def __iter__(self) -> Iterator["Item"]:
        return iter(self.value if self.type == Type.STRUCTURE else [])

    def all(self, tag: int) -> List["Item"]:
        """The children that carry `tag`."""
        return [child for child in self if child.tag == tag]

    def find(self, *tags: int) -> Optional["Item"]:
        """Follows `tags` downwards, the first child of each; None where one is missing."""
        item: Optional[Item] = self
        for tag in tags:
            item = next(iter(item.all(tag)), None)
            if item is None:
                return None
        return item

    def get(self, *tags: int) -> Value:
        """The value of what `find` finds; KeyError where it is missing."""
        item = self.find(*tags)
        if item is None:
            raise KeyError(" ".join(f"{tag:06x}" for tag in tags))
        return item.value

    def walk(self) -> Iterator["Item"]:
        """This item and everything below it, in message order."""
        yield self
        for child in self:
            yield from child.walk()

    def replace(self, change: Callable[["Item"], Optional["Item"]]) -> "Item":
        """A copy in which `change` has replaced items (None keeps one and looks below it)."""
        changed = change(self)
        if changed is not None:
            return changed
        if self.type != Type.STRUCTURE:
            return Item(self.tag, self.type, self.value)
        return Item(self.tag, self.type, [child.replace(change) for child in self])


def padding(length: int) -> int:
    """How many zero bytes follow a value of `length` bytes (§9.1.1.3)."""
    return -length % 8


def raw(
    tag: int,
    item_type: int,
    value: bytes,
    length: Optional[int] = None,
    pad: Optional[bytes] = None,
) -> bytes:
    """One item from its parts, unchecked: `length` and `pad` may contradict `value`."""
    length = len(value) if length is None else length
    pad = bytes(padding(len(value))) if pad is None else pad
    return struct.pack(">II", tag << 8 | item_type, length) + value + pad


def big_integer(number: int) -> bytes:
    """Two's complement, sign-extended to a multiple of eight bytes (§9.1.1.4)."""
    size = 8
    while not -(1 << 8 * size - 1) <= number < 1 << 8 * size - 1:
        size += 8
    return number.to_bytes(size, "big", signed=True)


def encode_value(item: Item) -> bytes:
    if item.type == Type.STRUCTURE:
        return b"".join(encode(child) for child in item)
    if item.type == Type.TEXT_STRING:
        return item.value.encode("utf-8")
    if item.type == Type.BYTE_STRING:
        return bytes(item.value)
    if item.type == Type.BIG_INTEGER:
        return big_integer(item.value)
    return struct.pack(NUMBER_FORMAT[item.type], item.value)


def encode(item: Item) -> bytes:
    """The item's bytes, padding included."""
    return raw(item.tag, item.type, encode_value(item))


def _check_tag(tag: int, offset: int) -> None:
    # §9.1.1.1: the first byte is 42 for the standard's tags and 54 for extensions.
    if tag >> 16 not in (0x42, 0x54):
        raise Malformed(offset, f"tag {tag:06x} is in no permitted range")


def _decode_number(item_type: Type, value: bytes, offset: int) -> Union[int, bool]:
    number = struct.unpack(NUMBER_FORMAT[item_type], value)[0]
    if item_type != Type.BOOLEAN:
        return number
    if number > 1:
        raise Malformed(offset, f"Boolean {number:016x} is neither 0 nor 1")
    return bool(number)


def _decode_value(item_type: Type, value: bytes, offset: int, depth: int) -> Value:
    if item_type == Type.STRUCTURE:
        return _decode_children(value, offset, depth)
    if item_type == Type.BYTE_STRING:
        return value
    if item_type == Type.TEXT_STRING:
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Malformed(offset + error.start, "Text String is not UTF-8") from None
    if item_type == Type.BIG_INTEGER:
        if len(value) == 0 or len(value) % 8:
            raise Malformed(offset, f"Big Integer of {len(value)} bytes")
        return int.from_bytes(value, "big", signed=True)
    if len(value) != FIXED_SIZE[item_type]:
        raise Malformed(offset, f"{item_type.name} of {len(value)} bytes")
    return _decode_number(item_type, value, offset)


def _decode_children(data: bytes, offset: int, depth: int) -> List[Item]:
    if depth > DEPTH_LIMIT:
        raise Malformed(offset, f"nested deeper than {DEPTH_LIMIT}")
    children, position = [], 0
    while position < len(data):
        child, used = _decode_item(data[position:], offset + position, depth)
        children.append(child)
        position += used
    return children


def _decode_item(data: bytes, offset: int, depth: int) -> "tuple[Item, int]":
    if len(data) < HEADER_SIZE:
        raise Malformed(offset, f"header cut after {len(data)} bytes")
    head, length = struct.unpack_from(">II", data)
    tag, type_number = head >> 8, head & 0xFF
    _check_tag(tag, offset)
    try:
        item_type = Type(type_number)
    except ValueError:
        raise Malformed(offset + 3, f"tag {tag:06x} has unknown type {type_number:02x}") from None
    end = HEADER_SIZE + length
    if item_type == Type.STRUCTURE and length % 8:
        raise Malformed(offset + 4, f"structure {tag:06x} has length {length}, not a multiple of 8")
    if end + padding(length) > len(data):
        raise Malformed(offset + 4, f"length {length} of tag {tag:06x} passes the end")
    if any(data[end : end + padding(length)]):
        raise Malformed(offset + end, f"padding of tag {tag:06x} is not zero")
    value = _decode_value(item_type, data[HEADER_SIZE:end], offset + HEADER_SIZE, depth + 1)
    return Item(tag, item_type, value), end + padding(length)


def decode(data: bytes) -> Item:
    """The one item that `data` holds, all of it."""
    item, used = _decode_item(data, 0, 0)
    if used != len(data):
        raise Malformed(used, f"{len(data) - used} bytes after the item")
    return item


def frame_size(header: bytes) -> int:
    """The size of a whole message, from its first eight bytes."""
    return HEADER_SIZE + struct.unpack(">I", header[4:8])[0]

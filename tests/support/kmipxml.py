# SPDX-License-Identifier: Apache-2.0
"""OASIS test cases: XML files of request and response messages, with variables and notes.

A file is read into `Node` trees, which still hold variables and names; `to_item` turns one into
the TTLV item to send. Values keep the spelling of the file except for white space: line wrapping
in the documents they were cut from left runs of blanks inside names.
"""

import datetime
import re
import secrets
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional, Set, Tuple

from tests.support.ttlv import Item, Type, Value
from tests.support.vocabulary import Vocabulary

TYPES = {
    "Structure": Type.STRUCTURE,
    "Integer": Type.INTEGER,
    "LongInteger": Type.LONG_INTEGER,
    "BigInteger": Type.BIG_INTEGER,
    "Enumeration": Type.ENUMERATION,
    "Boolean": Type.BOOLEAN,
    "TextString": Type.TEXT_STRING,
    "ByteString": Type.BYTE_STRING,
    "DateTime": Type.DATE_TIME,
    "Interval": Type.INTERVAL,
    "DateTimeExtended": Type.DATE_TIME_EXTENDED,
}

NOW = re.compile(r"\$NOW([+-]\d+)?$")


class CaseError(Exception):
    """The file says something that this reader does not understand."""


class Unbound(Exception):
    """A request needs a variable that no answer has given a value."""


@dataclass
class Node:
    """An element. `context` is the tag that names in the value belong to: for an Attribute Value
    that of the attribute, whose name is in `attribute`; otherwise the element's own."""

    tag: int
    type: Type
    text: str = ""
    children: List["Node"] = field(default_factory=list)
    context: int = 0
    attribute: str = ""

    def all(self, tag: int) -> List["Node"]:
        return [child for child in self.children if child.tag == tag]

    def find(self, *tags: int) -> Optional["Node"]:
        node: Optional[Node] = self
        for tag in tags:
            node = next(iter(node.all(tag)), None)
            if node is None:
                return None
        return node

    def walk(self):
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass
class Exchange:
    """One request and the answer expected to it, with the notes that stand before them."""

    request: Node
    response: Node
    notes: List[str]

    @property
    def client(self) -> str:
        """Which client sends it: "A" where the case does not say."""
        for note in self.notes:
            match = re.match(r"\[Client-(\w)\]", note)
            if match:
                return match.group(1)
        return "A"

    @property
    def repeat(self) -> bool:
        """Sent again and again until the answer is no longer this one."""
        return any(note.startswith("[REPEAT]") for note in self.notes)


@dataclass
class Case:
    name: str
    path: Path
    exchanges: List[Exchange]
    to_server: bool  # False where some message goes from the server to a client


def squeeze(text: str) -> str:
    return " ".join(text.split())


class Reader:
    """Reads case files in the words of a vocabulary."""

    def __init__(self, vocabulary: Vocabulary):
        self.vocabulary = vocabulary

    def read(self, path: Path) -> Case:
        root = ElementTree.parse(path).getroot()
        messages: List[Tuple[str, Node, List[str]]] = []
        notes = self._notes(root.text)
        for element in root:
            messages.append((element.tag, self.node(element), notes))
            notes = self._notes(element.tail)
        every_note = [note for _, _, notes in messages for note in notes]
        to_server = "[Server-to-Client]" not in every_note
        return Case(path.stem, path, self._pair(path, messages), to_server)

    @staticmethod
    def _notes(text: Optional[str]) -> List[str]:
        notes = []
        for line in (text or "").splitlines():
            line = squeeze(line)
            if line and not line.startswith("#"):
                raise CaseError(f"text between messages: {line}")
            if line:
                notes.append(line.lstrip("# "))
        return notes

    @staticmethod
    def _pair(path: Path, messages) -> List[Exchange]:
        if len(messages) % 2:
            raise CaseError(f"{path}: {len(messages)} messages, not in pairs")
        exchanges = []
        for (kind, request, notes), (answer, response, more) in zip(messages[::2], messages[1::2]):
            if (kind, answer) != ("RequestMessage", "ResponseMessage"):
                raise CaseError(f"{path}: {kind} followed by {answer}")
            exchanges.append(Exchange(request, response, notes + more))
        return exchanges

    def node(self, element: ElementTree.Element, attribute: str = "") -> Node:
        """`attribute` is the name of the attribute whose value this element is."""
        tag = self._tag(element)
        text = squeeze(element.get("value", ""))
        kind = TYPES.get(element.get("type", "Structure"))
        if kind is None:
            raise CaseError(f"type {element.get('type')} of {element.tag}")
        node = Node(tag, kind, text, context=tag, attribute=attribute)
        if attribute:
            node.context = self.vocabulary.attribute_tag(attribute) or tag
        name = ""
        for child in element:
            if child.tag == "AttributeName":
                name = squeeze(child.get("value", ""))
            is_value = child.tag == "AttributeValue"
            node.children.append(self.node(child, name if is_value else ""))
        return node

    def _tag(self, element: ElementTree.Element) -> int:
        if element.tag == "TTLV":
            return int(element.get("tag"), 16)
        return self.vocabulary.tag(element.tag)


def parse_date(text: str) -> int:
    """xsd:dateTime to seconds since 1970."""
    moment = datetime.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.timezone.utc)
    return int(moment.timestamp())


def parse_number(text: str) -> int:
    return int(text, 16) if text.lower().startswith("0x") else int(text)


class Bindings:
    """What variables stand for during one run of a case.

    `prefix` goes before names that must not meet those of other runs; `scale` shortens offsets
    into the future ($NOW+n), for cases that wait for one to pass.
    """

    def __init__(self, vocabulary: Vocabulary, prefix: str = "", scale: float = 1.0):
        self.vocabulary = vocabulary
        self.prefix = prefix
        self.scale = scale
        self.variables: Dict[str, Value] = {}
        self.latest: Dict[int, Value] = {}
        self.prefixed_tags: Set[int] = {
            vocabulary.tag(name) for name in ("NameValue", "AlternativeNameValue")
        }
        self.object_group = vocabulary.tag("ObjectGroup")

    def offset(self, text: str) -> int:
        """n of $NOW+n, scaled."""
        shift = int(NOW.match(text).group(1) or 0)
        return round(shift * self.scale) if shift > 0 else shift

    def isolated(self, node: Node) -> str:
        """A text value, prefixed where it identifies something of the test."""
        names = node.context in self.prefixed_tags or node.attribute == "x-ID"
        if names or node.attribute and node.context == self.object_group:
            return self.prefix + node.text
        return node.text

    def literal(self, node: Node) -> Value:
        """The value of a node that holds no variable."""
        text = node.text
        if node.type == Type.TEXT_STRING:
            return self.isolated(node)
        if node.type == Type.BYTE_STRING:
            return bytes.fromhex(text)
        if node.type == Type.ENUMERATION:
            return self.vocabulary.enumeration(node.context, text)
        if node.type == Type.BOOLEAN:
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        if node.type == Type.DATE_TIME:
            return parse_date(text)
        if node.type == Type.BIG_INTEGER:
            return int.from_bytes(bytes.fromhex(text), "big", signed=True)
        if node.type == Type.INTEGER and not re.match(r"-?\d", text):
            return self.vocabulary.mask(node.context, text)
        return parse_number(text)

    def value(self, node: Node) -> Value:
        """The value to send for a primitive node."""
        if not node.text.startswith("$"):
            return self.literal(node)
        if NOW.match(node.text):
            return int(time.time()) + self.offset(node.text)
        if node.text in self.variables:
            return self.variables[node.text]
        if "_RANDOM" in node.text:
            chosen = secrets.token_bytes(16)
            self.variables[node.text] = chosen.hex() if node.type == Type.TEXT_STRING else chosen
            return self.variables[node.text]
        if node.tag in self.latest:
            return self.latest[node.tag]
        raise Unbound(node.text)


def to_item(node: Node, bindings: Bindings) -> Item:
    """The item that a node stands for, variables replaced."""
    if node.type != Type.STRUCTURE:
        return Item(node.tag, node.type, bindings.value(node))
    return Item(node.tag, node.type, [to_item(child, bindings) for child in node.children])

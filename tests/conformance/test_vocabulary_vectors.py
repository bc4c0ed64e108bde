# SPDX-License-Identifier: Apache-2.0
"""Every word of the OASIS cases is in def/*.def: spelt so, of that type, in that version."""

import re
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from typing import NamedTuple

import pytest

from tests.support.kmipxml import TYPES, squeeze
from tests.support.paths import DEFINITIONS, OASIS, need_vectors
from tests.support.ttlv import Type
from tests.support.vocabulary import number, rows

need_vectors(OASIS)


class Span(NamedTuple):
    """The versions that define a word."""

    since: int
    until: int

    def __contains__(self, version):
        return self.since <= version <= self.until


def span(row):
    return Span(number(row[-2]), number(row[-1]))


class Tables:
    """The tables by the exact names of the XML encoding."""

    def __init__(self):
        self.names = {}  # of the constant of a tag
        self.tags = {}
        self.types = {}  # by tag: [(type or None for any, versions)]
        self.values = defaultdict(dict)  # by tag: {value name: versions}
        self.attributes = {}  # by 1.x name: (tag, versions)
        self.read_tags()
        self.read_values()
        for macro, *row in rows(DEFINITIONS / "attributes.def"):
            if macro == "ATTRIBUTE" and row[1]:
                versions = Span(number(row[3]), number(row[4]))
                self.attributes[row[1]] = (self.names[row[2]], versions)

    def read_tags(self):
        for macro, *row in rows(DEFINITIONS / "tags.def"):
            if macro == "TAG":
                self.names[row[0]] = row[3]
                self.tags[row[3]] = span(row)
                self.types[row[3]] = [(Type.__members__.get(row[4]), span(row))]
            elif macro == "TAG_TYPE":
                self.types[self.names[row[0]]].insert(0, (Type[row[1]], span(row)))

    def read_values(self):
        users = {}
        for macro, *row in rows(DEFINITIONS / "enums.def"):
            if macro == "ENUM_BEGIN":
                users[row[0]] = [row[3]]
            elif macro == "ENUM_USED_BY":
                users[row[0]].append(row[1])
        for macro, *row in rows(DEFINITIONS / "enums.def"):
            if macro in ("ENUM_VALUE", "ENUM_ALIAS"):
                for tag in users[row[0]]:
                    self.values[self.names[tag]][row[-3]] = span(row)
        for macro, *row in rows(DEFINITIONS / "masks.def"):
            if macro == "MASK_BIT":
                self.values[self.names[row[0]]][row[-3]] = span(row)
        self.values["AttributeReference"] = self.tags

    def type(self, tag, version):
        return next(kind for kind, versions in self.types[tag] if version in versions)


TABLES = Tables()

def messages():
    """All messages as (file, protocol version of its first message, element)."""
    for path in sorted(OASIS.glob("*/*/*.xml")):
        root = ElementTree.parse(path).getroot()
        major = next(root.iter("ProtocolVersionMajor")).get("value")
        minor = next(root.iter("ProtocolVersionMinor")).get("value")
        for message in root:
            yield path.name, int(major) << 8 | int(minor), message


def items(element, attribute=""):
    """All items as (element, the tag that says what its value means)."""
    context = element.tag
    if element.tag == "AttributeValue" and attribute in TABLES.attributes:
        context = TABLES.attributes[attribute][0]
    yield element, context
    for child in element:
        if child.tag == "AttributeName":
            attribute = squeeze(child.get("value"))
        yield from items(child, attribute)


def names_of(element):
    """The names that a value is made of; none if it is a number or no enumeration or mask."""
    value = element.get("value", "")
    if element.get("type") == "Enumeration" and not re.match(r"0x", value):
        return [value]
    if element.get("type") == "Integer" and not re.match(r"-?\d|0x|\$", value):
        return value.split()
    return []


@pytest.fixture(scope="module")
def used():
    """Every item of every case, once: {(version, tag, type, context, value name): a file}."""
    found = {}
    for name, version, message in messages():
        for element, context in items(message):
            if element.tag == "TTLV":
                continue  # a vendor's, by number
            kind = element.get("type", "Structure")
            for word in names_of(element) or [""]:
                found.setdefault((version, element.tag, kind, context, word), name)
    assert len(found) > 1000
    return found


def test_tags_are_those_of_the_version(used):
    wrong = {
        f"{tag} {version:#06x} {name}"
        for (version, tag, *_), name in used.items()
        if tag not in TABLES.tags or version not in TABLES.tags[tag]
    }
    assert not wrong


def test_types_are_those_of_the_tag(used):
    wrong = set()
    for (version, tag, kind, context, _), name in used.items():
        for expected in (TABLES.type(tag, version), TABLES.type(context, version)):
            if expected not in (None, TYPES[kind]):
                wrong.add(f"{tag} ({context}) {kind} {version:#06x} {name}")
    assert not wrong


def test_values_are_those_of_the_version(used):
    wrong = {
        f"{context} {word} {version:#06x} {name}"
        for (version, _, _, context, word), name in used.items()
        if word and version not in TABLES.values[context].get(word, ())
    }
    assert not wrong


def test_attribute_names_are_those_of_the_version():
    wrong, seen = set(), set()
    for name, version, message in messages():
        for element in message.iter("AttributeName"):
            text = squeeze(element.get("value"))
            if version >= 0x0200 or re.match(r"[xy]-", text):
                continue
            seen.add(text)
            if text not in TABLES.attributes or version not in TABLES.attributes[text][1]:
                wrong.add(f"{text} {version:#06x} {name}")
    assert not wrong
    assert len(seen) > 30

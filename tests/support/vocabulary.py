# SPDX-License-Identifier: Apache-2.0
"""The words of KMIP, read from the project's own tables in def/*.def.

Names are those of the XML encoding ("CryptographicAlgorithm", "SHA_256"); the standard's wording
("Cryptographic Algorithm") is understood as well. Unknown names raise KeyError; unknown numbers
are shown in hex.
"""

import csv
import re
from pathlib import Path
from typing import Dict, Iterator, List, Optional

from tests.support.paths import DEFINITIONS
from tests.support.ttlv import Type

ROW = re.compile(r"^([A-Z_]+)\((.*)\)\s*$")
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
CONTINUED = re.compile(r",\s*\n\s*")
NUMBERS = {"LATEST": 0xFFFF}


def rows(path: Path) -> Iterator[List[str]]:
    """The rows of a table: the macro's name, then its arguments without quotes."""
    text = CONTINUED.sub(", ", COMMENT.sub("", path.read_text(encoding="utf-8")))
    for line in text.splitlines():
        match = ROW.match(line.strip())
        if match:
            arguments = next(csv.reader([match.group(2)], skipinitialspace=True))
            yield [match.group(1), *(argument.strip() for argument in arguments)]


def number(text: str) -> int:
    return NUMBERS[text] if text in NUMBERS else int(text, 0)


def fold(name: str) -> str:
    """Spellings that mean the same: "On-line storage", "OnLineStorage"."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


class Vocabulary:
    """Tags, enumerations, masks and attributes by name and number."""

    def __init__(self, definitions: Path = DEFINITIONS):
        self._tags: Dict[str, int] = {}
        self._tag_names: Dict[int, str] = {}
        self._types: Dict[int, Optional[Type]] = {}
        self._constants: Dict[str, int] = {}
        self._values: Dict[int, Dict[str, int]] = {}  # by tag: enumeration values, mask bits
        self._value_names: Dict[int, Dict[int, str]] = {}
        self._since: Dict[int, Dict[int, int]] = {}
        self._attributes: Dict[str, int] = {}
        self._read_tags(definitions / "tags.def")
        self._read_enumerations(definitions / "enums.def")
        self._read_masks(definitions / "masks.def")
        self._read_attributes(definitions / "attributes.def")

    # Reading the tables

    def _read_tags(self, path: Path) -> None:
        for macro, *row in rows(path):
            if macro == "TAG":
                constant, value, text, name, kind = row[:5]
                tag = number(value)
                self._constants[constant] = tag
                self._tags.setdefault(name, tag)
                self._tags.setdefault(text, tag)
                self._tag_names[tag] = name
                self._types[tag] = Type.__members__.get(kind)
            elif macro == "TAG_TYPE" and number(row[2]) < 0x0200:
                self._types[self._constants[row[0]]] = Type[row[1]]

    def _read_enumerations(self, path: Path) -> None:
        tags: Dict[str, List[int]] = {}  # by enumeration: the tags whose values it lists
        entries: List[List[str]] = []
        for macro, *row in rows(path):
            if macro == "ENUM_BEGIN":
                tags[row[0]] = [self._constants[row[3]]]
            elif macro == "ENUM_EMPTY":
                tags[row[0]] = [self._constants[row[2]]]
            elif macro == "ENUM_USED_BY":
                tags[row[0]].append(self._constants[row[1]])
            elif macro == "ENUM_VALUE":
                entries.append(row)
            elif macro == "ENUM_ALIAS":
                value = next(entry[2] for entry in entries if entry[:2] == row[:2])
                entries.append([*row[:2], value, *row[2:]])
        for enumeration, _, value, text, name, since, _ in entries:
            for tag in tags[enumeration]:
                self._add_value(tag, number(value), text, name, number(since))

    def _read_masks(self, path: Path) -> None:
        for macro, *row in rows(path):
            if macro == "MASK_BIT":
                constant, _, value, text, name, since = row[:6]
                self._add_value(self._constants[constant], number(value), text, name, number(since))

    def _read_attributes(self, path: Path) -> None:
        for macro, *row in rows(path):
            if macro == "ATTRIBUTE" and row[1]:
                self._attributes[row[1]] = self._constants[row[2]]

    def _add_value(self, tag: int, value: int, text: str, name: str, since: int) -> None:
        names = self._values.setdefault(tag, {})
        names.setdefault(fold(name), value)
        names.setdefault(fold(text), value)
        self._value_names.setdefault(tag, {}).setdefault(value, name)
        self._since.setdefault(tag, {}).setdefault(value, since)

    # Asking

    def tag(self, name: str) -> int:
        return self._tags[name]

    def tag_name(self, tag: int) -> str:
        return self._tag_names.get(tag, f"{tag:06x}")

    def tag_type(self, tag: int) -> Optional[Type]:
        """The type that a tag's values have in KMIP 1.x, None where it varies."""
        return self._types[tag]

    def attribute_tag(self, name: str) -> Optional[int]:
        """The tag of an attribute of KMIP 1.x by its name on the wire; None for custom ones."""
        return self._attributes.get(name)

    @property
    def attribute_names(self) -> List[str]:
        return list(self._attributes)

    def enumeration(self, tag: int, name: str) -> int:
        """A value of the enumeration that `tag` carries, by name or as 0x…."""
        if name.lower().startswith("0x"):
            return int(name, 16)
        if tag == self._constants["ATTRIBUTE_REFERENCE"]:  # KMIP 2.x: the attribute's tag
            return self.tag(name)
        return self._values[tag][fold(name)]

    def enumeration_name(self, tag: int, value: int) -> str:
        return self._value_names.get(tag, {}).get(value, f"{value:#x}")

    def enumeration_values(self, tag: int, version: int) -> Dict[int, str]:
        """The values that a protocol version (0x0104) defines."""
        since = self._since[tag]
        return {v: n for v, n in self._value_names[tag].items() if since[v] <= version}

    def mask(self, tag: int, names: str) -> int:
        """A mask from its bits' names, separated by blanks or |."""
        value = 0
        for name in names.replace("|", " ").split():
            value |= self.enumeration(tag, name)
        return value

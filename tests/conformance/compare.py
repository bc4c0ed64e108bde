# SPDX-License-Identifier: Apache-2.0
"""Compares an answer with the one a test case expects.

Strict, but for what KMIP Profiles 1.4 §3 "Permitted Test Case Variations" lets differ. Each
permission is one named rule here:

* identifiers, correlation values and other variables: bound by the first answer that holds them;
* time stamps; dates that no request fixed (a date that one did fix must come back unchanged);
* key material that the server made, and digests of it (but they must agree with each other and
  stay the same);
* attributes beyond those expected, unless the request named the ones it wanted; the order of
  attributes, of names in a list, of located identifiers;
* Attribute Index 0 present or not, Template-Attribute echoes, Message Extensions, Result Message
  texts, vendor identification and server information;
* an Object Group that no request asked for; what random number generator made a key;
* the lists in a Query answer; more protocol versions than expected.
"""

import hashlib
import time
from dataclasses import dataclass, field
from typing import Dict, List, Optional, Set, Tuple

from tests.support.kmipxml import NOW, Bindings, Node
from tests.support.ttlv import Item, Type
from tests.support.vocabulary import Vocabulary

CLOCK_SLACK = 120  # seconds between a date the server chose and the test's own clock

Path = Tuple[str, ...]


@dataclass
class Facts:
    """What a case's earlier exchanges have established, by the server's own identifiers."""

    registered: Set[str] = field(default_factory=set)
    group_asked: bool = False  # a request has set an Object Group
    material: Dict[str, bytes] = field(default_factory=dict)
    # (identifier, tag of the date) to the spellings requests gave it and the values sent
    dates: Dict[Tuple[str, int], Dict[str, int]] = field(default_factory=dict)


@dataclass
class Scope:
    """Which batch item is being compared: its operation, its object, the names it asked for."""

    operation: str = ""
    identifier: str = ""
    names_requested: bool = False
    versions_requested: bool = False


class Comparison:
    """One answer against one expectation. `differences` is empty when they agree."""

    def __init__(self, vocabulary: Vocabulary, bindings: Bindings, facts: Facts):
        self.words = vocabulary
        self.bindings = bindings
        self.facts = facts
        self.differences: List[str] = []
        tag = vocabulary.tag
        self.tags = {
            name: tag(name)
            for name in (
                "Attribute AttributeIndex AttributeName AttributeValue BatchItem DigestValue "
                "HashingAlgorithm KeyFormatType KeyMaterial MessageExtension Operation "
                "ObjectGroup ProtocolVersion RandomNumberGenerator RequestHeader ResponseHeader "
                "ResponsePayload ResultMessage ResultStatus ServerInformation "
                "TemplateAttribute TimeStamp UniqueIdentifier VendorIdentification RequestPayload"
            ).split()
        }
        self.any_text = {self.tags["ResultMessage"], self.tags["VendorIdentification"]}
        self.unordered = {self.tags["AttributeName"], self.tags["UniqueIdentifier"]}

    # Reporting

    def differ(self, path: Path, text: str) -> None:
        self.differences.append(f"{'/'.join(path)}: {text}")

    def name(self, tag: int) -> str:
        return self.words.tag_name(tag)

    # Messages

    def message(self, expected: Node, actual: Item, request: Item) -> None:
        """Compares whole messages; `request` is what was sent."""
        if actual.tag != expected.tag:
            self.differ((), f"expected {self.name(expected.tag)}, got {self.name(actual.tag)}")
            return
        batch = self.tags["BatchItem"]
        wanted, got = expected.all(batch), actual.all(batch)
        sent = request.all(batch)
        self._header(expected, actual, request)
        if len(wanted) != len(got):
            self.differ((), f"expected {len(wanted)} batch items, got {len(got)}")
        for index, (node, item) in enumerate(zip(wanted, got)):
            asked = sent[index] if index < len(sent) else None
            self._batch_item(node, item, asked, (f"BatchItem[{index}]",))

    def _header(self, expected: Node, actual: Item, request: Item) -> None:
        """All but the batch items. The answer has the request's version (§6.1), whatever the
        file says: OMOS-O-1-14 expects 1.3 once."""
        batch, version = self.tags["BatchItem"], self.tags["ProtocolVersion"]
        self._children(
            [node for node in expected.children if node.tag != batch],
            [item for item in actual if item.tag != batch],
            Scope(),
            (),
        )
        sent = request.find(self.tags["RequestHeader"], version)
        got = actual.find(self.tags["ResponseHeader"], version)
        if got != sent:
            shown = self.show(got) if got else "nothing"
            self.differ(("ResponseHeader", "ProtocolVersion"), f"the request's, got {shown}")

    def _batch_item(self, node: Node, item: Item, asked: Optional[Item], path: Path) -> None:
        scope = Scope()
        operation = item.find(self.tags["Operation"])
        if operation is not None:
            scope.operation = self.words.enumeration_name(operation.tag, operation.value)
        identifier = item.find(self.tags["ResponsePayload"], self.tags["UniqueIdentifier"])
        if identifier is not None:
            scope.identifier = identifier.value
        payload = asked and asked.find(self.tags["RequestPayload"])
        if payload:
            scope.names_requested = bool(payload.all(self.tags["AttributeName"]))
            scope.versions_requested = bool(payload.all(self.tags["ProtocolVersion"]))
        self._children(node.children, list(item), scope, path)
        self._failure_is_explained(item, path)

    def _failure_is_explained(self, item: Item, path: Path) -> None:
        status = item.find(self.tags["ResultStatus"])
        message = item.find(self.tags["ResultMessage"])
        failed = status is not None and status.value == 1
        if failed and (message is None or not message.value.strip()):
            self.differ(path, "Operation Failed without a Result Message")

    # Structures

    def _children(self, wanted: List[Node], got: List[Item], scope: Scope, path: Path) -> None:
        wanted = [node for node in wanted if not self._may_be_absent(node.tag, node.text)]
        got = [item for item in got if not self._may_be_absent(item.tag, str(item.value))]
        wanted_tags = list(dict.fromkeys(node.tag for node in wanted))
        got_tags = list(dict.fromkeys(item.tag for item in got))
        for tag in wanted_tags:
            nodes = [node for node in wanted if node.tag == tag]
            items = [item for item in got if item.tag == tag]
            self._group(nodes, items, scope, path + (self.name(tag),))
        for tag in got_tags:
            if tag not in wanted_tags:
                items = [item for item in got if item.tag == tag]
                self._group([], items, scope, path + (self.name(tag),))
        common_wanted = [tag for tag in wanted_tags if tag in got_tags]
        common_got = [tag for tag in got_tags if tag in wanted_tags]
        if common_wanted != common_got:
            self.differ(path, f"fields in the order {[self.name(tag) for tag in common_got]}")

    def _may_be_absent(self, tag: int, text: str) -> bool:
        """Fields that may be there or not, whatever the expectation."""
        if tag == self.tags["AttributeIndex"]:
            return text == "0"
        return tag in (
            self.tags["MessageExtension"],
            self.tags["TemplateAttribute"],
            self.tags["ResultMessage"],
            self.tags["ServerInformation"],
        )

    def _group(self, nodes: List[Node], items: List[Item], scope: Scope, path: Path) -> None:
        """Fields of one tag, side by side."""
        tag = (nodes or items)[0].tag
        if tag == self.tags["Attribute"]:
            self._attributes(nodes, items, scope, path)
        elif scope.operation == "DiscoverVersions" and tag == self.tags["ProtocolVersion"]:
            self._versions(nodes, items, scope, path)
        elif tag in self.unordered:
            self._unordered(nodes, items, scope, path)
        else:
            self._pairwise(nodes, items, scope, path)

    def _pairwise(self, nodes: List[Node], items: List[Item], scope: Scope, path: Path) -> None:
        if len(nodes) != len(items):
            self._count(nodes, items, path)
            return
        for index, (node, item) in enumerate(zip(nodes, items)):
            last = path[-1] + (f"[{index}]" if len(nodes) > 1 else "")
            self._one(node, item, scope, path[:-1] + (last,))

    def _count(self, nodes: List[Node], items: List[Item], path: Path) -> None:
        if not items:
            self.differ(path, f"expected {self._show_nodes(nodes)}, got nothing")
        elif not nodes:
            self.differ(path, f"not expected, got {self._show_items(items)}")
        else:
            self.differ(
                path, f"expected {self._show_nodes(nodes)}, got {self._show_items(items)}"
            )

    def _agrees(self, node: Node, item: Item, scope: Scope, path: Path) -> bool:
        """Compares on trial: keeps what it bound only on agreement."""
        variables = dict(self.bindings.variables)
        before = len(self.differences)
        self._one(node, item, scope, path)
        if len(self.differences) == before:
            return True
        del self.differences[before:]
        self.bindings.variables = variables
        return False

    def _bound_first(self, nodes: List[Node]) -> List[Node]:
        """Variables without a value take what the others leave."""
        known = self.bindings.variables
        return sorted(nodes, key=lambda node: node.text.startswith("$") and node.text not in known)

    def _due(self, nodes: List[Node]) -> List[Node]:
        """Without an Object Group that no request asked for: a server may have such a policy."""
        if self.facts.group_asked:
            return nodes
        return [
            node for node in nodes if "Object Group" not in (node.text, self._attribute_name(node))
        ]

    def _unordered(self, nodes: List[Node], items: List[Item], scope: Scope, path: Path) -> None:
        left = list(items)
        missing = []
        for node in self._bound_first(self._due(nodes)):
            match = next((i for i in left if self._agrees(node, i, scope, path)), None)
            if match is None:
                missing.append(node)
            else:
                left.remove(match)
        more_allowed = scope.operation == "GetAttributeList"
        if missing or left and not more_allowed:
            self._count(missing, left, path)

    # Attributes

    def _attribute_name(self, node) -> str:
        child = node.find(self.tags["AttributeName"])
        if child is None:
            return ""
        return child.text if isinstance(child, Node) else child.value

    def _attributes(self, nodes: List[Node], items: List[Item], scope: Scope, path: Path) -> None:
        left = list(items)
        for node in self._due(nodes):
            name = self._attribute_name(node)
            here = path[:-1] + (f"Attribute {name!r}",)
            named = [item for item in left if self._attribute_name(item) == name]
            match = next((i for i in named if self._agrees(node, i, scope, here)), None)
            if match is not None:
                left.remove(match)
            elif named:
                self._one(node, named[0], scope, here)
                left.remove(named[0])
            else:
                self.differ(here, "missing")
        if scope.names_requested or scope.operation != "GetAttributes":
            for item in left:
                self.differ(path, f"not expected: {self.show(item)}")

    # Discover Versions

    def _versions(self, nodes: List[Node], items: List[Item], scope: Scope, path: Path) -> None:
        """More versions than expected may be listed, but in the order of preference; none that
        a client which listed its own has not listed."""

        def pair(tree) -> Tuple[int, int]:
            children = tree.children if isinstance(tree, Node) else tree.value
            return tuple(int(getattr(c, "text", None) or c.value) for c in children)

        wanted, got = [pair(node) for node in nodes], [pair(item) for item in items]
        if [version for version in got if version in wanted] != wanted:
            self.differ(path, f"expected {wanted}, got {got}")
        if scope.versions_requested and len(got) > len(wanted):
            self.differ(path, f"the client listed {wanted}, got {got}")

    # Single items

    def _one(self, node: Node, item: Item, scope: Scope, path: Path) -> None:
        if node.type != item.type:
            self.differ(path, f"expected {node.type.name} {node.text}, got {self.show(item)}")
        elif node.type == Type.STRUCTURE:
            self._structure(node, item, scope, path)
        else:
            self._leaf(node, item, scope, path)

    def _structure(self, node: Node, item: Item, scope: Scope, path: Path) -> None:
        if scope.operation == "Query" and node.tag == self.tags["ResponsePayload"]:
            return  # nothing but lists and vendor information
        if node.context == self.tags["RandomNumberGenerator"]:
            return  # what it is made with is the server's to tell
        if node.tag == self.tags["ProtocolVersion"] and path[0] == "ResponseHeader":
            return  # compared with the request's
        if node.tag == self.tags["AttributeValue"] and node.attribute == "Digest":
            self._digest_agrees(item, scope, path)
        self._children(node.children, list(item), scope, path)

    def _leaf(self, node: Node, item: Item, scope: Scope, path: Path) -> None:
        if item.tag in self.any_text:
            return
        if item.tag == self.tags["TimeStamp"]:
            self._about_now(0, item, path)
        elif node.type == Type.DATE_TIME:
            self._date(node, item, scope, path)
        elif node.text.startswith("$"):
            self._variable(node, item, path)
        elif item.tag == self.tags["UniqueIdentifier"]:
            if not item.value:
                self.differ(path, "an empty identifier")
        elif item.tag == self.tags["KeyMaterial"]:
            self._material(node, item, scope, path)
        elif item.tag == self.tags["DigestValue"]:
            self._digest(node, item, scope, path)
        else:
            self._equal(self.bindings.literal(node), node, item, path)

    def _equal(self, value, node: Node, item: Item, path: Path) -> None:
        if value != item.value:
            self.differ(path, f"expected {node.text}, got {self.show_value(item, node.context)}")

    def _variable(self, node: Node, item: Item, path: Path) -> None:
        value = self.bindings.variables.setdefault(node.text, item.value)
        if value != item.value:
            shown = self.show_value(item, node.context)
            self.differ(path, f"expected {value!r} ({node.text}), got {shown}")

    def _about_now(self, offset: int, item: Item, path: Path) -> None:
        if abs(item.value - time.time() - offset) > CLOCK_SLACK:
            self.differ(path, f"{self.show_value(item)} is not near the present{offset:+d} s")

    def _date(self, node: Node, item: Item, scope: Scope, path: Path) -> None:
        fixed = self.facts.dates.get((scope.identifier, node.context), {})
        if node.text in fixed:
            if item.value != fixed[node.text]:
                self.differ(path, f"a request set {fixed[node.text]}, got {item.value}")
        elif NOW.match(node.text):
            self._about_now(self.bindings.offset(node.text), item, path)

    def _material(self, node: Node, item: Item, scope: Scope, path: Path) -> None:
        expected = self.bindings.literal(node)
        known = self.facts.material.setdefault(scope.identifier, item.value)
        if scope.identifier in self.facts.registered:
            self._equal(expected, node, item, path)
        elif len(item.value) != len(expected):
            self.differ(path, f"expected {len(expected)} bytes, got {len(item.value)}")
        elif item.value != known:
            self.differ(path, f"was {known.hex()}, is now {item.value.hex()}")

    def _digest(self, node: Node, item: Item, scope: Scope, path: Path) -> None:
        expected = self.bindings.literal(node)
        if scope.identifier in self.facts.registered:
            self._equal(expected, node, item, path)
        elif len(item.value) != len(expected):
            self.differ(path, f"expected {len(expected)} bytes, got {len(item.value)}")

    def _digest_agrees(self, digest: Item, scope: Scope, path: Path) -> None:
        """A SHA-256 digest of raw material that this case has seen must be right."""
        material = self.facts.material.get(scope.identifier)
        algorithm = digest.find(self.tags["HashingAlgorithm"])
        form = digest.find(self.tags["KeyFormatType"])
        if material is None or algorithm is None:
            return
        sha256 = self.words.enumeration(algorithm.tag, "SHA_256")
        raw = self.words.enumeration(self.tags["KeyFormatType"], "Raw")
        if algorithm.value != sha256 or form is not None and form.value != raw:
            return
        value = digest.find(self.tags["DigestValue"])
        right = hashlib.sha256(material).digest()
        if value is None or value.value != right:
            self.differ(path, f"not the SHA-256 of the material, which is {right.hex()}")

    # Showing

    def show_value(self, item: Item, context: int = 0) -> str:
        if item.type == Type.ENUMERATION:
            return self.words.enumeration_name(context or item.tag, item.value)
        if isinstance(item.value, bytes):
            return item.value.hex()
        return str(item.value)

    def show(self, item: Item) -> str:
        if item.type != Type.STRUCTURE:
            return f"{self.name(item.tag)} {self.show_value(item)}"
        return f"{self.name(item.tag)}{{{', '.join(self.show(child) for child in item)}}}"

    def _show_items(self, items: List[Item]) -> str:
        return "; ".join(self.show(item) for item in items)

    def _show_nodes(self, nodes: List[Node]) -> str:
        return "; ".join(f"{self.name(n.tag)} {n.text}".strip() for n in nodes)

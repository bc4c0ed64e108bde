# SPDX-License-Identifier: Apache-2.0
"""Which OASIS cases this server must pass: computed from what a case's requests use."""

from typing import Iterator, List, Set

from tests.support.kmipxml import Case, Node
from tests.support.ttlv import Type
from tests.support.vocabulary import Vocabulary

OPERATIONS = set(
    "DiscoverVersions Query Create Register Get GetAttributes GetAttributeList AddAttribute "
    "ModifyAttribute DeleteAttribute Locate Activate Revoke Destroy Check ReKey".split()
)
OBJECT_TYPES = {"SymmetricKey", "SecretData", "OpaqueObject"}
KEY_FORMATS = {"Raw", "Opaque", "TransparentSymmetricKey"}

# What a request may contain that is outside, by element.
OUTSIDE = {
    "Authentication": "needs users configured",
    "KeyWrappingSpecification": "key wrapping",
    "KeyWrappingData": "key wrapping",
    "Template": "templates",
}

# Attributes that come with features which are outside.
OUTSIDE_ATTRIBUTES = {
    "Usage Limits": "usage allocation",
    "Key Value Location": "keys stored elsewhere",
    "Key Value Present": "keys stored elsewhere",
}

# Cases that no correct server can pass, by the beginning of their names: the standard's own text
# is at fault, which nothing but its name tells.
CONTRADICTORY = {
    "TC_92_10": "its fixed dates lie in the past and its answers contradict its requests",
}


def batch_items(case: Case, vocabulary: Vocabulary) -> Iterator[Node]:
    for exchange in case.exchanges:
        yield from exchange.request.all(vocabulary.tag("BatchItem"))


def _values(case: Case, vocabulary: Vocabulary, name: str) -> Set[str]:
    """The values that elements of this name have anywhere in the requests."""
    tag = vocabulary.tag(name)
    return {
        node.text
        for exchange in case.exchanges
        for node in exchange.request.walk()
        if node.tag == tag and node.type != Type.STRUCTURE
    }


def _object_types(case: Case, vocabulary: Vocabulary) -> Set[str]:
    located = {
        node.text
        for exchange in case.exchanges
        for node in exchange.request.walk()
        if node.attribute == "Object Type"
    }
    return _values(case, vocabulary, "ObjectType") | located


def _templates_named(case: Case, vocabulary: Vocabulary) -> bool:
    """A Name directly below a Template-Attribute names a template."""
    template, name = vocabulary.tag("TemplateAttribute"), vocabulary.tag("Name")
    return any(
        node.tag == template and node.find(name)
        for exchange in case.exchanges
        for node in exchange.request.walk()
    )


def reasons_against(case: Case, vocabulary: Vocabulary) -> List[str]:
    """Why a case is outside of what the server does; nothing when it must pass."""
    tags = {node.tag for exchange in case.exchanges for node in exchange.request.walk()}
    attributes = {
        node.attribute for exchange in case.exchanges for node in exchange.request.walk()
    } | _values(case, vocabulary, "AttributeName")
    reasons = [why for name, why in OUTSIDE.items() if vocabulary.tag(name) in tags]
    reasons += [why for name, why in OUTSIDE_ATTRIBUTES.items() if name in attributes]
    operations = _values(case, vocabulary, "Operation")
    reasons += [f"operation {name}" for name in sorted(operations - OPERATIONS)]
    types = _object_types(case, vocabulary)
    reasons += [f"object type {name}" for name in sorted(types - OBJECT_TYPES)]
    formats = _values(case, vocabulary, "KeyFormatType")
    reasons += [f"key format {name}" for name in sorted(formats - KEY_FORMATS)]
    if _templates_named(case, vocabulary):
        reasons.append("templates")
    if not case.to_server:
        reasons.append("the server as client")
    if "true" in _values(case, vocabulary, "AsynchronousIndicator"):
        reasons.append("asynchronous operations")
    if "Undo" in _values(case, vocabulary, "BatchErrorContinuationOption"):
        reasons.append("undoing a batch")
    if "GroupMemberDefault" in _values(case, vocabulary, "ObjectGroupMember"):
        reasons.append("a policy for the default member of a group")
    reasons += [why for start, why in CONTRADICTORY.items() if case.name.startswith(start)]
    return list(dict.fromkeys(reasons))


def groups_assumed(case: Case, vocabulary: Vocabulary) -> Set[str]:
    """Object groups that must hold an object before a case which makes none itself."""
    if _values(case, vocabulary, "Operation") & {"Create", "Register"}:
        return set()
    return {
        node.text
        for exchange in case.exchanges
        for node in exchange.request.walk()
        if node.attribute == "Object Group"
    }

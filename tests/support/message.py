# SPDX-License-Identifier: Apache-2.0
"""Requests from names, answers by name.

    request(item("Get", ("UniqueIdentifier", id)), item("Destroy"), version=(1, 2))

A field is a pair of an XML tag name and its value: a list of fields for a structure, a name for an
enumeration or mask, or the plain value. Its type is the tag's own.
"""

import time
from typing import Any, Iterable, List, Optional, Tuple

from tests.support.ttlv import Item, Type
from tests.support.vocabulary import Vocabulary

Field = Tuple[str, Any]
Version = Tuple[int, int]

WORDS = Vocabulary()
VERSIONS: List[Version] = [(1, 0), (1, 1), (1, 2), (1, 3), (1, 4)]


def tag(name: str) -> int:
    return WORDS.tag(name)


def field(name: str, value: Any, kind: Optional[Type] = None, context: int = 0) -> Item:
    """One field; `kind` where the tag alone does not tell the type (Attribute Value)."""
    number = tag(name)
    kind = kind or WORDS.tag_type(number)
    context = context or number
    if kind == Type.STRUCTURE:
        return Item(number, kind, structure(value))
    if kind == Type.ENUMERATION and isinstance(value, str):
        value = WORDS.enumeration(context, value)
    if kind == Type.INTEGER and isinstance(value, str):
        value = WORDS.mask(context, value)
    return Item(number, kind, value)


def structure(fields: Iterable) -> List[Item]:
    """Fields may be pairs or items that are made already; None leaves one out."""
    made = [field(*entry) if isinstance(entry, tuple) else entry for entry in fields]
    return [entry for entry in made if entry is not None]


CUSTOM_TYPES = {str: Type.TEXT_STRING, bytes: Type.BYTE_STRING, bool: Type.BOOLEAN}


def attribute(name: str, value: Any, kind: Optional[Type] = None, index: int = -1) -> Item:
    """An Attribute structure of KMIP 1.x. Custom attributes take the type of the Python value,
    an int being an Integer, unless `kind` says otherwise."""
    number = WORDS.attribute_tag(name)
    if kind is None and number:
        kind = WORDS.tag_type(number)
    elif kind is None:
        kind = CUSTOM_TYPES.get(type(value), Type.INTEGER)
    fields: List = [("AttributeName", name)]
    if index >= 0:
        fields.append(("AttributeIndex", index))
    if value is not None:
        fields.append(field("AttributeValue", value, kind, number or 0))
    return Item(tag("Attribute"), Type.STRUCTURE, structure(fields))


def name_value(text: str) -> List[Field]:
    """The value of a Name attribute."""
    return [("NameValue", text), ("NameType", "UninterpretedTextString")]


def template(*attributes: Item) -> Item:
    return Item(tag("TemplateAttribute"), Type.STRUCTURE, list(attributes))


def aes_template(*more: Item, length: int = 256) -> Item:
    """What vCenter asks of a new key (kmip-clients: AES, mask 12, length), and `more`."""
    return template(
        attribute("Cryptographic Algorithm", "AES"),
        attribute("Cryptographic Usage Mask", "Encrypt Decrypt"),
        attribute("Cryptographic Length", length),
        *more,
    )


def batch_item(operation: str, *payload, identifier: Optional[bytes] = None, extension=None):
    """A request's batch item; `payload` is its fields."""
    return Item(
        tag("BatchItem"),
        Type.STRUCTURE,
        structure(
            [
                ("Operation", operation),
                ("UniqueBatchItemID", identifier) if identifier is not None else None,
                Item(tag("RequestPayload"), Type.STRUCTURE, structure(payload)),
                extension,
            ]
        ),
    )


def header(count: int, version: Version = (1, 4), fields: Iterable = ()) -> Item:
    """A request header; `fields` stand between the version and the batch count."""
    return Item(
        tag("RequestHeader"),
        Type.STRUCTURE,
        structure(
            [
                (
                    "ProtocolVersion",
                    [("ProtocolVersionMajor", version[0]), ("ProtocolVersionMinor", version[1])],
                ),
                *fields,
                ("BatchCount", count),
            ]
        ),
    )


def request(*items: Item, version: Version = (1, 4), fields: Iterable = ()) -> Item:
    """A whole request message."""
    return Item(
        tag("RequestMessage"), Type.STRUCTURE, [header(len(items), version, fields), *items]
    )


def create(*attributes: Item, length: int = 256, **options) -> Item:
    """A batch item that creates an AES key."""
    return batch_item(
        "Create",
        ("ObjectType", "SymmetricKey"),
        aes_template(*attributes, length=length),
        **options,
    )


class Answer:
    """A response message, checked for what every answer must have (KMIP 1.4 §7)."""

    def __init__(self, message: Item):
        assert message.tag == tag("ResponseMessage"), f"tag {message.tag:06x}"
        self.message = message
        self.header = message.find(tag("ResponseHeader"))
        assert self.header is not None and message.value[0] is self.header
        self.items = [Result(item) for item in message.all(tag("BatchItem"))]
        assert len(self.items) == len(message.value) - 1, "something beside header and items"
        assert self.header.get(tag("BatchCount")) == len(self.items)
        assert abs(self.header.get(tag("TimeStamp")) - time.time()) < 120

    @property
    def version(self) -> Version:
        version = self.header.find(tag("ProtocolVersion"))
        return (
            version.get(tag("ProtocolVersionMajor")),
            version.get(tag("ProtocolVersionMinor")),
        )

    def only(self) -> "Result":
        assert len(self.items) == 1, f"{len(self.items)} batch items"
        return self.items[0]


class Result:
    """One batch item of an answer."""

    def __init__(self, item: Item):
        self.item = item
        self.payload = item.find(tag("ResponsePayload"))
        status = item.find(tag("ResultStatus"))
        assert status is not None, "a batch item without Result Status (§6.9)"
        self.status = WORDS.enumeration_name(status.tag, status.value)

    def _text(self, name: str) -> str:
        found = self.item.find(tag(name))
        if found is None:
            return ""
        if found.type == Type.ENUMERATION:
            return WORDS.enumeration_name(found.tag, found.value)
        return found.value

    @property
    def operation(self) -> str:
        return self._text("Operation")

    @property
    def reason(self) -> str:
        return self._text("ResultReason")

    @property
    def text(self) -> str:
        return self._text("ResultMessage")

    @property
    def identifier(self) -> Optional[bytes]:
        found = self.item.find(tag("UniqueBatchItemID"))
        return found.value if found else None

    def succeeded(self) -> "Result":
        assert self.status == "Success", f"{self.status}: {self.reason}: {self.text}"
        return self

    def failed(self, *reasons: str) -> "Result":
        """Insists on a failure with one of `reasons`, and a message for people."""
        assert self.status == "OperationFailed", self.status
        assert self.reason in reasons, f"{self.reason} ({self.text}), not {' or '.join(reasons)}"
        assert self.text.strip(), "no Result Message"
        return self

    def get(self, *names: str) -> Any:
        """A value in the payload."""
        return self.payload.get(*map(tag, names))

    def all(self, name: str) -> List[Any]:
        return [item.value for item in self.payload.all(tag(name))]

    @property
    def id(self) -> str:
        return self.get("UniqueIdentifier")

    @property
    def attributes(self) -> List[Tuple[str, Any]]:
        """Names and values (lists of items for structures) in the order of the answer."""
        pairs = []
        for item in self.payload.all(tag("Attribute")):
            value = item.find(tag("AttributeValue"))
            pairs.append((item.get(tag("AttributeName")), value.value if value else None))
        return pairs


def ask(client, *items: Item, version: Version = (1, 4), fields: Iterable = ()) -> Answer:
    """Sends a request over `client` and checks the answer's frame and version."""
    answer = Answer(client.ask(request(*items, version=version, fields=fields)))
    assert answer.version == version, f"answered in {answer.version}"
    return answer


def do(client, operation: str, *payload, version: Version = (1, 4)) -> Result:
    """One operation; its result."""
    result = ask(client, batch_item(operation, *payload), version=version).only()
    assert result.operation == operation, f"answer for {result.operation}"
    return result

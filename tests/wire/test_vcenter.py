# SPDX-License-Identifier: Apache-2.0
"""vCenter 7.0.3's own requests, replayed from recordings, against what vCenter needs for answers.

The recordings' answers are not the measure: another vendor's incomplete server gave them. Every
connection of the recording is opened and closed where it was, bare handshakes included; every
request is sent in its place, with the identifiers that our server made. A model of the few
objects involved says what each answer must be.
"""

import re
import socket
from dataclasses import dataclass, field
from typing import Dict, Iterator, List, Tuple

import pytest

from tests.support import ttlv
from tests.support.message import (
    WORDS,
    Answer,
    Result,
    ask,
    batch_item,
    do,
    request,
    tag,
)
from tests.support.paths import VCENTER, need_vectors
from tests.support.ttlv import Item, Type

need_vectors(VCENTER)

VERSION = (1, 1)  # what vCenter puts into every header
VERSIONS = [(1, 4), (1, 3), (1, 2), (1, 1), (1, 0)]
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"

# "2025-04-03 10:21:59,839 s051 C> Create | ... | ...", or "-- Starting session"
EVENT = re.compile(r"\S+ \S+ (s\d+) (C>|S<|--) (.*)")
NAME = re.compile(r"(?:^|, )([A-Za-z][\w -]*)(?==|$|, )")
TOKEN = re.compile(r"UniqueBatchItemID:(\w+)|UniqueIdentifier:'([^']*)'|QueryFunction:(\d+)")


@dataclass(frozen=True)
class Signature:
    """What identifies a request both in the trace and in the recorded bytes."""

    operations: Tuple[str, ...]
    names: Tuple[str, ...]
    details: Tuple[str, ...]


def values(message: Item, name: str) -> List:
    number = tag(name)
    return [item.value for item in message.walk() if item.tag == number]


def signature_of_message(message: Item) -> Signature:
    operations = [
        WORDS.enumeration_name(tag("Operation"), number) for number in values(message, "Operation")
    ]
    details = [value.hex() for value in values(message, "UniqueBatchItemID")]
    details += values(message, "UniqueIdentifier")
    details += [str(number) for number in values(message, "QueryFunction")]
    return Signature(
        tuple(operations), tuple(values(message, "AttributeName")), tuple(sorted(details))
    )


def signature_of_line(line: str) -> Signature:
    operations, names, details = (part.strip() for part in line.split(" | "))
    tokens = ["".join(match) for match in TOKEN.findall(details)]
    return Signature(tuple(operations.split()), tuple(NAME.findall(names)), tuple(sorted(tokens)))


def recorded_requests() -> Dict[Signature, bytes]:
    requests: Dict[Signature, bytes] = {}
    kind = ""
    for line in (VCENTER / "messages.hex").read_text().splitlines():
        if line.startswith("#"):
            kind = line.split()[1]
        elif kind == "Request":
            data = bytes.fromhex(line)
            signature = signature_of_message(ttlv.decode(data))
            assert requests.get(signature, data) == data, f"two requests look like {signature}"
            requests[signature] = data
    return requests


def trace() -> Iterator[Tuple[str, str, str]]:
    """Session (unique over both recordings), kind and text of each line."""
    recording = 1
    for line in (VCENTER / "session-trace.txt").read_text().splitlines():
        match = EVENT.match(line)
        if match:
            session, kind, text = match.groups()
            yield f"{recording}-{session}", kind, text
        elif line.startswith("#"):
            recording += 1


@dataclass
class Key:
    """What the model knows of one key."""

    id: str
    state: str = "PreActive"
    material: bytes = b""
    attributes: Dict[str, str] = field(default_factory=dict)


class Model:
    """Knows the keys made so far, substitutes their ids, and judges each answer."""

    def __init__(self):
        self.keys: Dict[str, Key] = {}  # by the id in the recording

    def substitute(self, request: Item) -> Item:
        def change(item: Item):
            if item.tag == tag("UniqueIdentifier"):
                return Item(item.tag, item.type, self.keys[item.value].id)
            return None

        return request.replace(change)

    def key(self, identifier: str) -> Key:
        return next(key for key in self.keys.values() if key.id == identifier)

    def judge(self, sent: Item, answer: Answer) -> None:
        """Checks one answer in full."""
        assert answer.version == VERSION
        items = sent.all(tag("BatchItem"))
        assert len(answer.items) == len(items)
        for item, result in zip(items, answer.items):
            result.succeeded()
            operation = WORDS.enumeration_name(tag("Operation"), item.get(tag("Operation")))
            assert result.operation == operation
            identifier = item.find(tag("UniqueBatchItemID"))
            assert result.identifier == (identifier.value if identifier else None)
            getattr(self, f"judge_{operation}")(item.find(tag("RequestPayload")), result)

    @staticmethod
    def judge_DiscoverVersions(_, result: Result) -> None:
        listed = result.all("ProtocolVersion")
        assert [(major.value, minor.value) for major, minor in listed] == VERSIONS
        assert len(result.payload.value) == len(VERSIONS)

    @staticmethod
    def judge_Query(_, result: Result) -> None:
        # Query Server Information alone: no lists of operations or objects (§4.25)
        fields = [item.tag for item in result.payload]
        assert fields[:1] == [tag("VendorIdentification")]
        assert set(fields) <= {tag("VendorIdentification"), tag("ServerInformation")}
        assert result.get("VendorIdentification").strip()

    def judge_Create(self, _, result: Result) -> None:
        assert [item.tag for item in result.payload][:2] == [
            tag("ObjectType"),
            tag("UniqueIdentifier"),
        ]
        assert {item.tag for item in result.payload.value[2:]} <= {tag("TemplateAttribute")}
        assert result.get("ObjectType") == WORDS.enumeration(tag("ObjectType"), "SymmetricKey")
        assert result.id.isascii() and 0 < len(result.id) <= 40  # becomes part of .vmx files
        assert result.id not in [key.id for key in self.keys.values()]
        self.keys[str(len(self.keys) + 1)] = Key(result.id)

    def judge_Get(self, payload: Item, result: Result) -> None:
        key = self.key(payload.get(tag("UniqueIdentifier")))
        material = check_aes256(result, key.id)
        assert key.material in (b"", material)
        key.material = material
        known = [other.material for other in self.keys.values() if other.material]
        assert len(set(known)) == len(known), "two keys share their material"

    def judge_GetAttributes(self, payload: Item, result: Result) -> None:
        key = self.key(payload.get(tag("UniqueIdentifier")))
        assert result.id == key.id
        (name,) = values(payload, "AttributeName")
        if name == "State":
            state = WORDS.enumeration(tag("State"), key.state)
            assert result.attributes == [("State", state)]
        elif name in key.attributes:
            assert result.attributes == [(name, key.attributes[name])]
        else:
            assert len(result.payload.value) == 1, "only the Unique Identifier (§4.11)"

    def judge_Activate(self, payload: Item, result: Result) -> None:
        key = self.key(payload.get(tag("UniqueIdentifier")))
        assert [item.value for item in result.payload] == [key.id]
        key.state = "Active"

    def judge_AddAttribute(self, payload: Item, result: Result) -> None:
        key = self.key(payload.get(tag("UniqueIdentifier")))
        sent = payload.find(tag("Attribute"))
        name, value = sent.get(tag("AttributeName")), sent.get(tag("AttributeValue"))
        assert result.id == key.id
        assert result.attributes == [(name, value)]
        assert name not in key.attributes
        key.attributes[name] = value


def check_aes256(result: Result, identifier: str) -> bytes:
    """The whole payload of Get for vCenter's keys: Raw, 32 bytes, nothing else. Its material."""
    assert [item.tag for item in result.payload] == [
        tag("ObjectType"),
        tag("UniqueIdentifier"),
        tag("SymmetricKey"),
    ]
    assert result.get("ObjectType") == WORDS.enumeration(tag("ObjectType"), "SymmetricKey")
    assert result.id == identifier
    (block,) = result.get("SymmetricKey")
    assert [(item.tag, item.type) for item in block] == [
        (tag("KeyFormatType"), Type.ENUMERATION),
        (tag("KeyValue"), Type.STRUCTURE),
        (tag("CryptographicAlgorithm"), Type.ENUMERATION),
        (tag("CryptographicLength"), Type.INTEGER),
    ]
    assert block.get(tag("KeyFormatType")) == WORDS.enumeration(tag("KeyFormatType"), "Raw")
    assert block.get(tag("CryptographicAlgorithm")) == 3  # AES
    assert block.get(tag("CryptographicLength")) == 256
    # No Attributes beside the material: Veeam and PSMDB choke on them (kmip-clients §8)
    (material,) = block.get(tag("KeyValue"))
    assert (material.tag, material.type) == (tag("KeyMaterial"), Type.BYTE_STRING)
    assert len(material.value) == 32
    return material.value


class Replay:
    """Plays the trace: connections in their order, one request in flight at a time."""

    def __init__(self, server):
        self.server = server
        self.context = server.context()
        self.requests = recorded_requests()
        self.sent = set()
        self.model = Model()
        self.connections = {}

    def run(self) -> None:
        for session, kind, text in trace():
            if kind == "C>":
                self.send(session, text)
            elif text.startswith("Starting"):
                self.connections[session] = self.server.connect(self.context)
            elif text.startswith("Stopping"):
                self.connections.pop(session).close()
        for connection in self.connections.values():
            connection.close()

    def send(self, session: str, line: str) -> None:
        signature = signature_of_line(line)
        self.sent.add(signature)
        sent = self.model.substitute(ttlv.decode(self.requests[signature]))
        answer = Answer(self.connections[session].ask(sent))
        self.model.judge(sent, answer)


def x_attributes(client, key: Key) -> Dict[str, str]:
    result = do(
        client,
        "GetAttributes",
        ("UniqueIdentifier", key.id),
        *(("AttributeName", name) for name in key.attributes),
        version=VERSION,
    )
    return dict(result.succeeded().attributes)


def test_every_recorded_request(fresh_kmipd):
    """Both recordings from beginning to end; afterwards, and after a restart, all is there."""
    replay = Replay(fresh_kmipd)
    replay.run()
    assert replay.sent == set(replay.requests), "requests of messages.hex that were not replayed"
    keys = list(replay.model.keys.values())
    assert [key.state for key in keys] == ["Active", "Active"]
    assert [len(key.attributes) for key in keys] == [6, 6]
    for restart in (False, True):
        if restart:
            fresh_kmipd.restart()
        with fresh_kmipd.connect() as client:
            for key in keys:
                assert x_attributes(client, key) == key.attributes
                got = do(client, "Get", ("UniqueIdentifier", key.id), version=VERSION)
                assert check_aes256(got.succeeded(), key.id) == key.material
                state = do(
                    client,
                    "GetAttributes",
                    ("UniqueIdentifier", key.id),
                    ("AttributeName", "State"),
                    version=VERSION,
                )
                assert state.attributes == [("State", WORDS.enumeration(tag("State"), "Active"))]


def new_key(client) -> str:
    create = next(
        data for s, data in recorded_requests().items() if s.operations == ("Create",)
    )
    return Answer(client.ask(ttlv.decode(create))).only().succeeded().id


NAMING_A_KEY = {
    signature: data
    for signature, data in recorded_requests().items()
    if values(ttlv.decode(data), "UniqueIdentifier")
}


@pytest.mark.parametrize(
    "signature", NAMING_A_KEY, ids=lambda s: f"{s.operations[0]}-{'-'.join(s.names + s.details)}"
)
def test_unknown_id(kmipd, signature):
    """Each recorded request that names a key, for one that does not exist: Item Not Found, which
    alone makes vCenter report the key as missing (kmip-clients §1.4)."""
    recorded = ttlv.decode(NAMING_A_KEY[signature])
    identifier = tag("UniqueIdentifier")
    unknown = recorded.replace(
        lambda item: Item(item.tag, item.type, UNKNOWN_ID) if item.tag == identifier else None
    )
    with kmipd.connect() as client:
        answer = Answer(client.ask(unknown))
        assert answer.version == VERSION
        # A batch without Batch Error Continuation Option stops at the first failure (§6.13).
        result = answer.only().failed("ItemNotFound")
        assert result.operation == signature.operations[0]
        assert result.identifier == values(recorded, "UniqueBatchItemID")[0]
        assert result.payload is None
        do(client, "DiscoverVersions", version=VERSION).succeeded()


def test_get_before_and_after_activate(kmipd):
    """The key is fetched while Pre-Active; State tells vCenter whether to activate (§0.3)."""
    with kmipd.connect() as client:
        identifier = new_key(client)
        field_id = ("UniqueIdentifier", identifier)
        before = check_aes256(do(client, "Get", field_id, version=VERSION).succeeded(), identifier)
        state = ("AttributeName", "State")
        first = do(client, "GetAttributes", field_id, state, version=VERSION).succeeded()
        assert first.attributes == [("State", 1)]
        do(client, "Activate", field_id, version=VERSION).succeeded()
        second = do(client, "GetAttributes", field_id, state, version=VERSION).succeeded()
        assert second.attributes == [("State", 2)]
        after = check_aes256(do(client, "Get", field_id, version=VERSION).succeeded(), identifier)
        assert before == after


def test_created_without_name_or_activation_date(kmipd):
    """What vCenter did not ask for is not there."""
    with kmipd.connect() as client:
        identifier = new_key(client)
        result = do(
            client,
            "GetAttributes",
            ("UniqueIdentifier", identifier),
            ("AttributeName", "Name"),
            ("AttributeName", "Activation Date"),
            ("AttributeName", "Cryptographic Usage Mask"),
            version=VERSION,
        )
        assert result.succeeded().attributes == [("Cryptographic Usage Mask", 12)]


def test_tags_are_added_once(kmipd):
    """A second Add Attribute makes a second instance, it does not overwrite (§4.14)."""
    with kmipd.connect() as client:
        identifier = new_key(client)
        add = [
            batch_item(
                "AddAttribute",
                ("UniqueIdentifier", identifier),
                ("Attribute", [("AttributeName", "x-Name"), value]),
                identifier=b"QLKC" + bytes([number, 0, 0, 0]),
            )
            for number, value in enumerate(
                [
                    Item(tag("AttributeValue"), Type.TEXT_STRING, "test01"),
                    Item(tag("AttributeValue"), Type.TEXT_STRING, "test02"),
                ],
                1,
            )
        ]
        for item in ask(client, *add, version=VERSION).items:
            item.succeeded()
        result = do(
            client,
            "GetAttributes",
            ("UniqueIdentifier", identifier),
            ("AttributeName", "x-Name"),
            version=VERSION,
        )
        assert result.attributes == [("x-Name", "test01"), ("x-Name", "test02")]


def test_answers_come_in_one_record(kmipd):
    """libkmip reads an answer's body with a single call (kmip-clients §7)."""
    with kmipd.connect() as client:
        identifier = new_key(client)
        get = batch_item("Get", ("UniqueIdentifier", identifier))
        client.send(ttlv.encode(request(get, version=VERSION)))
        data = client.tls.recv(1 << 14)
        assert len(data) == ttlv.frame_size(data[:8]) <= 8192


def test_burst_of_bare_handshakes(kmipd):
    """Trusting a server is a burst of connections without a byte of KMIP (kmip-clients §1.3)."""
    context = kmipd.context()
    for _ in range(30):
        kmipd.connect(context).close()
    for _ in range(5):
        socket.create_connection((kmipd.host, kmipd.port)).close()
    with kmipd.connect(context) as client:
        do(client, "DiscoverVersions", version=VERSION).succeeded()

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""make_corpus.py TARGET DIRECTORY: writes the inputs to begin fuzzing with, one a file.

They are made here: conversations in every version; and, where the test vectors lie beside the
checkout, the recorded requests of vCenter and the OASIS cases.
"""

import struct
import sys
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.support import message, ttlv  # noqa: E402
from tests.support.kmipxml import Bindings, CaseError, Reader, Unbound, to_item  # noqa: E402
from tests.support.message import (  # noqa: E402
    WORDS,
    VERSIONS,
    aes_template,
    attribute,
    batch_item,
    create,
    field,
    name_value,
    request,
    tag,
    template,
)
from tests.support.paths import OASIS, VCENTER  # noqa: E402
from tests.support.ttlv import Item, Type, encode  # noqa: E402

Inputs = Iterator[Tuple[str, bytes]]

CASES_MAX = 120  # of OASIS; the rest of them say little that is new


def made(number: int) -> str:
    """What stands for the object that a conversation makes as this one; see fuzz_request.c."""
    return f"00000000-0000-7000-8000-0000000000{number:02x}"


def on(number: int):
    return ("UniqueIdentifier", made(number))


# ---- Conversations: lists of requests, each a list of batch items


def register(kind: str, **material) -> Item:
    """A Register of a symmetric key, a secret or an opaque object."""
    value = field("KeyMaterial", bytes(range(32)), Type.BYTE_STRING)
    block = [("KeyFormatType", "Raw"), Item(tag("KeyValue"), Type.STRUCTURE, [value])]
    if kind == "SymmetricKey":
        block += [("CryptographicAlgorithm", "AES"), ("CryptographicLength", 256)]
        shape = [("KeyBlock", block)]
    elif kind == "SecretData":
        shape = [("SecretDataType", "Password"), ("KeyBlock", block)]
    else:
        shape = [("OpaqueDataType", 0x80000001), ("OpaqueDataValue", b"opaque")]
    attributes = template(
        attribute("Name", name_value(f"fuzz {kind}")),
        attribute("Cryptographic Usage Mask", "Encrypt Decrypt"),
    )
    return batch_item("Register", ("ObjectType", kind), attributes, (kind, shape))


def life_of_a_key() -> List[List[Item]]:
    """A key from Create to Destroy, with every operation that there is on the way."""
    return [
        [create(attribute("Name", name_value("fuzz key")))],
        [batch_item("Get", on(0))],
        [batch_item("Activate", on(0))],
        [batch_item("GetAttributes", on(0), ("AttributeName", "State"))],
        [batch_item("GetAttributes", on(0))],
        [batch_item("GetAttributeList", on(0))],
        [batch_item("AddAttribute", on(0), attribute("x-Product", "VMware"))],
        [batch_item("ModifyAttribute", on(0), attribute("x-Product", "other", index=0))],
        [batch_item("DeleteAttribute", on(0), ("AttributeName", "x-Product"))],
        [batch_item("Check", on(0), ("CryptographicUsageMask", "Encrypt"))],
        [batch_item("ReKey", on(0))],
        [batch_item("Locate", attribute("Name", name_value("fuzz key")))],
        [batch_item("Locate", ("MaximumItems", 2), attribute("State", "Active"))],
        [
            batch_item(
                "Revoke",
                on(0),
                ("RevocationReason", [("RevocationReasonCode", "KeyCompromise")]),
                ("CompromiseOccurrenceDate", 1700000000),
            )
        ],
        [batch_item("Destroy", on(0))],
        [batch_item("Get", on(0))],
    ]


def registered_objects() -> List[List[Item]]:
    requests = [[register(kind)] for kind in ("SymmetricKey", "SecretData", "OpaqueObject")]
    for number in range(3):
        requests.append([batch_item("Get", on(number), ("KeyFormatType", "Raw"))])
        requests.append([batch_item("GetAttributes", on(number))])
    return requests


def batches() -> List[List[Item]]:
    """Batches that hand the identifier on, and vCenter's three attributes at once."""
    tags = [attribute(f"x-{name}", "fuzz") for name in ("Product", "Name", "Component")]
    return [
        [create(identifier=b"\x01"), batch_item("Activate"), batch_item("Get")],
        [batch_item("AddAttribute", on(0), value) for value in tags],
        [batch_item("Locate", tags[0]), batch_item("Get", on(7)), batch_item("Destroy")],
    ]


def attributes_of_every_kind() -> List[List[Item]]:
    structure = field("AttributeValue", [field("NameValue", "inside")], Type.STRUCTURE)
    own = Item(
        tag("Attribute"), Type.STRUCTURE, [field("AttributeName", "y-structure"), structure]
    )
    values = [
        attribute("Activation Date", 1700000001),
        attribute("Deactivation Date", 1900000000),
        attribute("Contact Information", "root"),
        attribute("Object Group", "group"),
        attribute("Operation Policy Name", "default"),
        attribute("x-int", 7),
        attribute("x-bool", True),
        attribute("x-bytes", b"\x00\xff"),
        attribute("x-text", "\u00fc\u20ac\U0001f511"),
        attribute("x-date", 1700000000, Type.DATE_TIME),
        attribute("x-interval", 60, Type.INTERVAL),
        attribute("x-long", 1 << 40, Type.LONG_INTEGER),
        attribute("x-big", -(1 << 70), Type.BIG_INTEGER),
        own,
    ]
    return [[create(*values)], [batch_item("GetAttributes", on(0))]] + [
        [batch_item("Locate", value)] for value in values
    ]


def greetings() -> List[List[Item]]:
    functions = WORDS.enumeration_values(tag("QueryFunction"), 0x0201)
    version = [("ProtocolVersionMajor", 1), ("ProtocolVersionMinor", 2)]
    return [
        [batch_item("DiscoverVersions")],
        [batch_item("DiscoverVersions", ("ProtocolVersion", version))],
        [batch_item("Query", *(("QueryFunction", name) for name in functions))],
        [batch_item("Poll")],
    ]


def rekeys() -> List[List[Item]]:
    """Replacements, with dates that move."""
    dates = [
        attribute("Activation Date", 1700000100),
        attribute("Process Start Date", 1700000200),
        attribute("Protect Stop Date", 1800000000),
        attribute("Deactivation Date", 1900000000),
    ]
    return [
        [create(attribute("Name", name_value("fuzz moves")), *dates)],
        [batch_item("ReKey", on(0), ("Offset", 3600))],
        [batch_item("ReKey", on(1), template(attribute("Activation Date", 1700000500)))],
        [batch_item("ReKey", on(1), ("Offset", 60), template(dates[0]))],
        [create(dates[3]), batch_item("ReKey", ("Offset", 60))],
    ]


def extreme_dates() -> List[List[Item]]:
    """Dates at the ends of their range, which a Re-key cannot move."""
    first, last = -(1 << 63), (1 << 63) - 1
    return [
        [create(attribute("Activation Date", first), attribute("Deactivation Date", last))],
        [batch_item("ReKey", on(0), ("Offset", 3600))],
        [create(attribute("Activation Date", 0), attribute("Deactivation Date", last))],
        [batch_item("ReKey", on(1), ("Offset", 3600))],
        [batch_item("Locate", attribute("Activation Date", first))],
    ]


def searches() -> List[List[Item]]:
    """What Locate compares otherwise than for equality: masks, limits, ranges of dates."""
    limits = [("UsageLimitsTotal", 100), ("UsageLimitsCount", 50), ("UsageLimitsUnit", "Byte")]
    early = attribute("Activation Date", 1600000000)
    late = attribute("Activation Date", 1800000000)
    return [
        [create(attribute("Usage Limits", limits), attribute("Activation Date", 1700000000))],
        [batch_item("Locate", attribute("Cryptographic Usage Mask", "Encrypt"))],
        [batch_item("Locate", attribute("Usage Limits", limits))],
        [batch_item("Locate", early, late)],
        [batch_item("Locate", late, early)],
        [batch_item("Locate", early, late, late)],
        [batch_item("Locate", ("OffsetItems", 1), ("StorageStatusMask", 3))],
        [batch_item("Locate", ("StorageStatusMask", 2))],
        [create(), batch_item("Locate", attribute("Object Type", "SymmetricKey"))],
        [batch_item("Check", on(0), ("UsageLimitsCount", 10), ("LeaseTime", 10))],
    ]


CONVERSATIONS = {
    "life": life_of_a_key,
    "registered": registered_objects,
    "batches": batches,
    "attributes": attributes_of_every_kind,
    "greetings": greetings,
    "rekeys": rekeys,
    "extreme": extreme_dates,
    "searches": searches,
}


def header_options() -> List[Item]:
    """Requests with everything that a header can hold."""
    credential = [
        ("CredentialType", "UsernameAndPassword"),
        field("CredentialValue", [("Username", "u"), ("Password", "p")], Type.STRUCTURE),
    ]
    options = [
        [("MaximumResponseSize", 300)],
        [("ClientCorrelationValue", "client"), ("ServerCorrelationValue", "server")],
        [("AsynchronousIndicator", False), ("TimeStamp", 1700000000)],
        [("Authentication", [("Credential", credential)])],
        [("BatchErrorContinuationOption", "Continue"), ("BatchOrderOption", True)],
        [("BatchErrorContinuationOption", "Undo")],
    ]
    items = [batch_item("Get"), create(), batch_item("Query", ("QueryFunction", 1))]
    return [request(*items, fields=fields) for fields in options]


def conversations() -> Inputs:
    for name, make in CONVERSATIONS.items():
        for version in VERSIONS:
            frames = [encode(request(*items, version=version)) for items in make()]
            yield f"{name}-{version[0]}.{version[1]}", b"".join(frames)
    yield "header", b"".join(encode(message) for message in header_options())


# ---- Recordings


def recorded_lines() -> List[bytes]:
    path = VCENTER / "messages.hex"
    lines = path.read_text().splitlines() if path.is_file() else []
    return [bytes.fromhex(line) for line in lines if line and not line.startswith("#")]


def point_at_made(item: Item) -> Item:
    """Identifiers of a recording become those of the conversation's own objects."""
    numbers: Dict[str, int] = {}

    def change(inner: Item):
        if inner.tag != tag("UniqueIdentifier"):
            return None
        number = numbers.setdefault(inner.value, len(numbers))
        return Item(inner.tag, inner.type, made(number))

    return item.replace(change)


def recorded_conversation() -> Inputs:
    requests = [line for line in recorded_lines() if line[:3] == b"\x42\x00\x78"]
    for number in range(0, len(requests), 8):
        lines = requests[number : number + 8]
        frames = [encode(point_at_made(ttlv.decode(line))) for line in lines]
        first = encode(request(create(), version=(1, 1)))
        yield f"vcenter-{number:03}", first + b"".join(frames)


def oasis_conversations() -> Inputs:
    paths = sorted(OASIS.glob("*/**/*.xml")) if OASIS.is_dir() else []
    step = max(1, len(paths) // CASES_MAX)
    for path in paths[::step]:
        try:
            case = Reader(message.WORDS).read(path)
        except (CaseError, KeyError, ValueError):
            continue  # says something that only a newer reader understands
        yield f"oasis-{path.parent.parent.name}-{path.stem}", oasis_frames(case)


def oasis_frames(case) -> bytes:
    """The case's requests; an identifier that an answer would give stands for the object made."""
    bindings = Bindings(message.WORDS)
    frames = []
    for exchange in case.exchanges:
        for node in exchange.request.walk():
            if node.text.startswith("$UNIQUE_IDENTIFIER"):
                bindings.variables.setdefault(node.text, made(int(node.text[18:].strip("_") or 0)))
        try:
            frames.append(encode(to_item(exchange.request, bindings)))
        except (Unbound, KeyError, ValueError, AttributeError):
            break
    return b"".join(frames)


# ---- Targets


def request_inputs() -> Inputs:
    yield from conversations()
    yield from recorded_conversation()
    yield from oasis_conversations()


def split_frames(data: bytes) -> Iterator[bytes]:
    while len(data) >= 8:
        size = 8 + int.from_bytes(data[4:8], "big")
        yield data[:size]
        data = data[size:]


def message_inputs() -> Inputs:
    """Each message once, requests and answers."""
    seen = set()
    for name, data in request_inputs():
        for number, frame in enumerate(split_frames(data)):
            if frame not in seen:
                seen.add(frame)
                yield f"{name}-{number}", frame
    for number, line in enumerate(recorded_lines()):
        if line[:3] == b"\x42\x00\x7b":
            yield f"answer-{number}", line


# ---- Answers, as a client reads them


def answer_item(operation: str, *payload, identifier: bytes = b"", failed: bool = False) -> Item:
    outcome = [("ResultStatus", "OperationFailed"), ("ResultReason", "ItemNotFound")]
    if not failed:
        fields = Item(tag("ResponsePayload"), Type.STRUCTURE, message.structure(payload))
        outcome = [("ResultStatus", "Success"), fields]
    named = [("Operation", operation)]
    if identifier:
        named.append(("UniqueBatchItemID", identifier))
    return Item(tag("BatchItem"), Type.STRUCTURE, message.structure([*named, *outcome]))


def answer(*items: Item) -> bytes:
    version = [("ProtocolVersionMajor", 1), ("ProtocolVersionMinor", 1)]
    header = [("ProtocolVersion", version), ("TimeStamp", 1700000000), ("BatchCount", len(items))]
    body = [field("ResponseHeader", header), *items]
    return encode(Item(tag("ResponseMessage"), Type.STRUCTURE, body))


def key_block(*material) -> List:
    value = Item(tag("KeyValue"), Type.STRUCTURE, message.structure(material))
    return [("KeyBlock", [("KeyFormatType", "Raw"), value])]


def got(kind: str, *fields) -> bytes:
    return answer(answer_item("Get", ("ObjectType", kind), on(0), field(kind, fields)))


def made_answers() -> Inputs:
    raw = field("KeyMaterial", bytes(32), Type.BYTE_STRING)
    transparent = field("KeyMaterial", [("Key", bytes(16))], Type.STRUCTURE)
    secret = ("SecretDataType", "Password")
    state = attribute("State", "Active")
    ids = [b"QLKC" + bytes([number, 0, 0, 0]) for number in range(1, 5)]
    yield "get-raw", got("SymmetricKey", *key_block(raw))
    yield "get-transparent", got("SymmetricKey", *key_block(transparent))
    yield "get-secret", got("SecretData", secret, *key_block(raw))
    yield "get-opaque", got(
        "OpaqueObject", ("OpaqueDataType", 0x80000001), ("OpaqueDataValue", b"opaque")
    )
    yield "state", answer(answer_item("GetAttributes", on(0), state, identifier=ids[0]))
    yield "locate", answer(answer_item("Locate", on(0), on(1), on(2)))
    yield "identifier", answer(answer_item("Activate", on(0)))
    yield "query", answer(answer_item("Query", ("VendorIdentification", "fuzz")))
    tagged = [("AddAttribute", on(0), attribute("x-Name", "fuzz"))] * 3
    batch = [answer_item(*entry, identifier=ids[at]) for at, entry in enumerate(tagged)]
    yield "batch", answer(*batch)
    yield "batch-failed", answer(batch[0], answer_item("Get", identifier=ids[1], failed=True))
    yield "failed", answer(answer_item("Get", failed=True))


def response_inputs() -> Inputs:
    yield from made_answers()
    for number, line in enumerate(recorded_lines()):
        if line[:3] == b"\x42\x00\x7b":
            yield f"recorded-{number}", line


def ttlv_inputs() -> Inputs:
    values = [
        (Type.INTEGER, -1),
        (Type.LONG_INTEGER, 1 << 40),
        (Type.BIG_INTEGER, -(1 << 70)),
        (Type.ENUMERATION, 3),
        (Type.BOOLEAN, True),
        (Type.TEXT_STRING, "\u00fc\u20ac\U0001f511"),
        (Type.BYTE_STRING, bytes(9)),
        (Type.DATE_TIME, 1700000000),
        (Type.INTERVAL, 60),
        (Type.STRUCTURE, []),
    ]
    items = [Item(0x420001 + number, kind, value) for number, (kind, value) in enumerate(values)]
    yield "empty", b""
    for item in items:
        yield item.type.name.lower(), encode(item)
    nested = Item(0x420078, Type.STRUCTURE, items)
    for _ in range(29):
        nested = Item(0x540001, Type.STRUCTURE, [nested])
    yield "nested", encode(nested)
    yield from message_inputs()


DIGITS = "0123456789abcdef" * 4


def audit_line_inputs() -> Inputs:
    line = (
        '{"seq":%d,"time":"2026-01-02T03:04:05.678Z","event":"kmip","object":"%s"%s,'
        f'"chain":"{DIGITS}"}}'
    )
    yield "plain", (line % (1, "object", "")).encode()
    yield "previous", (line % (18446744073709551615, "x", f',"previous":"{DIGITS}"')).encode()
    yield "imitation", (line % (7, f',\\"previous\\":\\"{DIGITS}', "")).encode()
    yield "text", "quote \" backslash \\ \u00fc\u20ac\U0001f511 \x00\x1b\x7f\x85".encode()
    yield "bytes", bytes(range(256))
    yield "long", b"0123456789abcdef" * 140


def audit_log_inputs() -> Inputs:
    """Records whose chain is right, as the header of the log describes it."""
    import hashlib

    value, lines = bytes(32), []
    for number in range(1, 5):
        body = f'{{"seq":{number},"time":"2026-01-02T03:04:05.678Z","event":"kmip"'
        if number == 1:
            body += f',"previous":"{value.hex()}"'
        value = hashlib.sha256(value + body.encode()).digest()
        lines.append(f'{body},"chain":"{value.hex()}"}}\n'.encode())
    whole = b"".join(lines)
    yield "empty", b""
    yield "one", lines[0]
    yield "whole", whole
    yield "room", whole + bytes(1000)
    yield "cut", whole[:-20]
    yield "hole", whole[:512] + bytes(512) + whole
    yield "swapped", lines[0] + lines[2] + lines[1]


def keyprotect_inputs() -> Inputs:
    """Answers of Key Protect and IAM, and JSON that is hard to read."""
    version = '{"id":"00000000-0000-4000-8000-0000000000ab"}'
    key = (
        '{"type":"application/vnd.ibm.kms.key+json","id":"00000000-0000-4000-8000-0000000000ab",'
        '"name":"vmware_kmip-\\u00e9","description":"said","state":5,"extractable":true,'
        '"imported":true,"creationDate":"2026-01-02T03:04:05Z","deletionDate":'
        '"2026-01-02T03:04:05.678+01:00","restoreAllowed":false,"keyVersion":%s,'
        '"payload":"AAECAwQFBgc="}' % version
    )
    yield "key", f'{{"metadata":{{"collectionTotal":1}},"resources":[{key}]}}'.encode()
    yield "keys", f'{{"metadata":{{"totalCount":2}},"resources":[{key},{key}]}}'.encode()
    yield "none", b'{"metadata":{"collectionTotal":0}}'
    yield "versions", f'{{"metadata":{{"totalCount":7}},"resources":[{version}]}}'.encode()
    yield "action", (
        '{"plaintext":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","ciphertext":"eyJh\\u003d",'
        f'"keyVersion":{version},"rewrappedKeyVersion":{version}}}'
    ).encode()
    yield "token", b'{"access_token":"a.b-c_d","expires_in":3600,"expiration":1700000000}'
    yield "refusal", (
        b'{"metadata":{},"resources":[{"errorMsg":"Bad \\u001b AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'
        b'AAAAAAAAAAA=","reasons":[{"code":"INVALID_FIELD_ERR","status":400}]}]}'
    )
    yield "iam", b'{"errorCode":"BXNIM0415E","errorMessage":"Provided API key could not be found."}'
    yield "values", b'[null,true,-0.5e+10,9223372036854775807,"\\ud83d\\ude00\\b\\/","",{},[]]'
    yield "deep", b"[" * 40 + b"]" * 40
    yield "time", b"2026-01-02T03:04:05.123456789-04:30"


def keyholder_frame(message: int, body: bytes = b"", code: int = 1, flags: int = 0) -> bytes:
    return struct.pack(">IBBBBQq", len(body), message, code, flags, 0, message, 0) + body


def keyholder_inputs() -> Inputs:
    """Requests of each kind, in the order of a root key's life; answers; settings."""
    identifier, now = bytes(range(16)), struct.pack(">q", 1700000000000)
    binding, blob = bytes(32) + identifier, b"KWK\1\0\0\0\1" + bytes(120)
    create = keyholder_frame(6, identifier + now + b"\4name" + b"\xff")
    changes = [
        keyholder_frame(7, identifier + struct.pack(">I", 1) + now + b"\xff"),
        keyholder_frame(8, identifier + struct.pack(">I", 2)),
        keyholder_frame(8, identifier + struct.pack(">I", 1)),
        keyholder_frame(9, identifier + now),
        keyholder_frame(10, identifier),
        keyholder_frame(9, identifier + now),
        keyholder_frame(11, identifier),
    ]
    questions = [
        keyholder_frame(2, code=0),
        keyholder_frame(12, identifier),
        keyholder_frame(13),
        keyholder_frame(14, blob),
        keyholder_frame(15),
    ]
    wraps = [keyholder_frame(3, binding + bytes(32))] + [
        keyholder_frame(message, binding + blob, flags=flags)
        for message in (4, 5)
        for flags in (0, 1)
    ]
    yield "life", create + b"".join(wraps + questions + changes + questions)
    yield "import", keyholder_frame(6, identifier + now + b"\xff\x18" + bytes(24))
    for number, frame in enumerate(wraps + questions + changes):
        yield f"after_create_{number}", create + frame
    yield "other_manager", keyholder_frame(12, identifier, code=2)
    yield "unknown", keyholder_frame(99, b"body")
    info = identifier + struct.pack(">IIIqqq", 1, 2, 1, 1, 2, 0)
    yield "answers", keyholder_frame(13, info * 3, flags=2) + keyholder_frame(13, info)
    yield "unwrapped", keyholder_frame(4, struct.pack(">I", 32) + bytes(32) + blob)
    yield "refused", struct.pack(">IBBBBQq", 4, 4, 0, 0, 0, 7, 5) + b"text"
    numbers = struct.pack(">QQQIIBB", 1 << 20, 20000, 1000000, 1, 8, 1, 0)
    yield "settings", numbers + b"\0/state/keys\0/state/key\0\0\0/lib/hsm.so\0token\0pin\0"


# ---- The administration API

API_KEY = "urn:ibm:params:oauth:grant-type:apikey"


def envelope(kind: str, *resources: dict) -> str:
    import json

    metadata = {
        "collectionType": f"application/vnd.ibm.kms.{kind}+json",
        "collectionTotal": len(resources),
    }
    return json.dumps({"metadata": metadata, "resources": list(resources)})


def said(line: str, body: str = "", **headers: str) -> bytes:
    lines = [line, *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return ("\n".join(lines) + "\n\n" + body).encode() + b"\0"


def make_key(**fields) -> bytes:
    resource = {"type": "application/vnd.ibm.kms.key+json", "name": "fuzz", "extractable": False}
    return said("M POST /api/v2/keys", envelope("key", {**resource, **fields}))


def api_request_inputs() -> Inputs:
    key = "/api/v2/keys/{KEY}"
    actions = f"{key}/actions"
    rotation = {"type": "application/vnd.ibm.kms.policy+json", "rotation": {"interval_month": 3}}
    dual = {"policy_type": "dualAuthDelete", "policy_data": {"enabled": True}}
    access = {"enabled": True, "attributes": {"create_root_key": True, "enforce_token": False}}
    yield "token", said("- POST /identity/token", f"grant_type={API_KEY}&apikey=kmipd_x")
    yield "public", said("- GET /identity/keys") + said("- HEAD /identity/keys/")
    yield "strangers", b"".join(
        said("- GET /api/v2/keys", authorization=value, peer=f"192.0.2.{number}:1")
        for number, value in enumerate(["", "Bearer a.b.c", "Bearer eyJhbGciOiJub25lIn0.e30."])
    )
    yield "wrap", make_key() + b"".join(
        said(f"M POST {actions}/{action}", body)
        for action, body in [
            ("wrap", "{}"),
            ("wrap", '{"plaintext":"AAAAAAAAAAAAAAAAAAAAAA==","aad":["a","b"]}'),
            ("unwrap", '{"ciphertext":"eyJjaXBoZXJ0ZXh0IjoiIn0=","AAD":["a"]}'),
            ("rewrap", '{"ciphertext":"AAAA"}'),
            ("rotate", "null"),
        ]
    )
    yield "life", make_key() + b"".join(
        said(f"M POST {actions}/{action}", "null")
        for action in ["disable", "enable", "setKeyForDeletion", "unsetKeyForDeletion", "sync"]
    ) + said(f"M DELETE {key}?force=true", prefer="return=representation") + said(
        f"M POST {key}/restore"
    ) + said(f"M DELETE {key}/purge") + said(f"L GET {key}/versions?allKeyStates=true&totalCount=true")
    yield "standard", make_key(extractable=True, payload="c2VjcmV0", tags=["a"]) + said(
        f"M GET {key}"
    ) + said(f"R GET {key}") + said(f"R GET {key}/metadata", key_ring="default")
    yield "imported", make_key(payload="AAAAAAAAAAAAAAAAAAAAAA==") + said(
        f"M POST {key}?action=rotate", '{"payload":"AAAAAAAAAAAAAAAAAAAAAQ=="}'
    )
    yield "lists", said("M GET /api/v2/keys?limit=2&offset=1&state=0,1,2&sort=-name") + said(
        "M GET /api/v2/keys?search=not:exact:name:fuzz,&filter=%20creationDate=gte:%222020-01-01T00:00:00Z%22"
    ) + said("M HEAD /api/v2/keys?extractable=false") + said("R GET /api/v2/keys")
    yield "rings", said("M POST /api/v2/key_rings/ring") + said("M GET /api/v2/key_rings") + said(
        "M DELETE /api/v2/key_rings/ring?force=true"
    ) + make_key() + said(f"M PATCH {key}", '{"KeyRingID":"ring"}', key_ring="default")
    yield "aliases", make_key(aliases=["one"]) + said(f"M POST {key}/aliases/two") + said(
        "M GET /api/v2/keys/two"
    ) + said(f"M DELETE {key}/aliases/two")
    yield "policies", make_key() + said(
        f"M PUT {key}/policies?policy=rotation", envelope("policy", rotation)
    ) + said(f"M GET {key}/policies") + said(
        "M PUT /api/v2/instance/policies", envelope("policy", dual)
    ) + said(
        "M PUT /api/v2/instance/policies?policy=keyCreateImportAccess",
        envelope("policy", {"policy_type": "keyCreateImportAccess", "policy_data": access}),
    ) + said("M GET /api/v2/instance/policies")
    # Not one that is made: its RSA key takes as long as a thousand other requests.
    yield "import", said("M POST /api/v2/import_token", '{"expiration":1}') + said(
        "M GET /api/v2/import_token"
    )
    yield "adapters", make_key() + said(
        "M POST /api/v2/kmip_adapters",
        envelope(
            "kmip_adapter",
            {"name": "fuzz", "profile": "native_1.0", "profile_data": {"crk_id": "{KEY}"}},
        ),
    ) + said("M GET /api/v2/kmip_adapters?limit=1&totalCount=true") + said(
        "M GET /api/v2/kmip_adapters/default/kmip_objects?state=1,2"
    ) + said("M GET /api/v2/kmip_adapters/default/certificates")
    ids = "/api/v2/kmipd/service_ids"
    grants = '{"grants":[{"role":"Reader","key_ring":"r"},{"role":"Manager"}]}'
    yield "service-ids", said(f"L POST {ids}", '{"name":"x"}') + said(
        f"M PUT {ids}/x/grants", grants
    ) + said(f"M POST {ids}/x/api_keys", '{"name":"k"}') + said(f"M GET {ids}/x/api_keys") + said(
        f"M DELETE {ids}/x/api_keys/k"
    ) + said(f"M DELETE {ids}/x")


def admin_link_inputs() -> Inputs:
    def number(value: int) -> bytes:
        return value.to_bytes(4, "big")

    def run(value: bytes) -> bytes:
        return number(len(value)) + value

    def frame(kind: int, payload: bytes) -> bytes:
        return number(len(payload)) + number(kind) + bytes(8) + payload

    fields = [b"/api/v2/keys", b"limit=1", b"Bearer x", b"", b"c", b"", b"", b"", b"", b"p:1", b"{}"]
    request = number(1) + b"".join(run(field) for field in fields)
    answer = number(200) + number(0) * 2 + b"\xff" * 8
    answer += b"".join(run(field) for field in [b"application/json", b"c", b"GET", b"{}"])
    setup = b"".join(number(value) for value in [64, 1 << 20, 16384, 60, 6, 0])
    identity = run(b"certificate") + run(b"key")
    yield "setup", frame(1, setup + identity) + frame(2, identity)
    yield "request", frame(5, request) * 2
    yield "answer", frame(6, answer) + frame(3, b"") + frame(4, b"why")
    yield "cut", frame(5, request)[:-3]


# ---- The control socket


def control_message(path: str, body: str = "", method: str = "POST", **headers: str) -> bytes:
    import json

    message = {"method": method, "path": path, "body": body, "headers": headers}
    return json.dumps(message).encode() + b"\0"


def control_inputs() -> Inputs:
    commands = "/api/v2/kmipd"
    resource = {"type": "application/vnd.ibm.kms.key+json", "name": "fuzz", "extractable": False}
    yield "status", control_message(f"{commands}/status") + control_message(
        f"{commands}/status", "{}"
    )
    yield "adapters", control_message(f"{commands}/adapter/show", '{"name":"default"}') + (
        control_message(f"{commands}/adapter/create", '{"name":"one","description":"\\u00e4"}')
    )
    yield "objects", control_message(f"{commands}/object/list", '{"limit":5,"after":1}') + (
        control_message(f"{commands}/object/find", '{"attribute":["x-Product=a"],"limit":1}')
    )
    yield "audit", control_message(f"{commands}/audit/tail", '{"count":20}') + control_message(
        f"{commands}/audit/verify", "{}"
    )
    yield "keys", control_message("/api/v2/keys", envelope("key", resource)) + control_message(
        "/api/v2/keys?limit=1&offset=0", method="GET", accept="application/json"
    )
    yield "head", control_message("/api/v2/keys", method="HEAD", prefer="return=minimal")
    yield "wrong", b'{"path":1}\0[]\0{"method":"GET","method":"GET"}\0' + control_message(
        f"{commands}/adapter/show", '{"name":"a\\u0000"}'
    )


TARGETS = {
    "admin_link": admin_link_inputs,
    "api_request": api_request_inputs,
    "audit_line": audit_line_inputs,
    "audit_log": audit_log_inputs,
    "control": control_inputs,
    "keyprotect": keyprotect_inputs,
    "keyholder": keyholder_inputs,
    "message": message_inputs,
    "request": request_inputs,
    "response": response_inputs,
    "ttlv": ttlv_inputs,
}


def main() -> None:
    target, directory = sys.argv[1], Path(sys.argv[2])
    directory.mkdir(parents=True, exist_ok=True)
    for name, data in TARGETS[target]():
        (directory / name).write_bytes(data)


if __name__ == "__main__":
    main()

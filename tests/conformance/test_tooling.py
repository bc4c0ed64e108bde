# SPDX-License-Identifier: Apache-2.0
"""The runner itself: it must understand every case, accept right answers and refuse wrong ones."""

import dataclasses
import hashlib
import time

import pytest

from tests.conformance.runner import Mismatch, Runner
from tests.conformance.test_oasis import ALL, OF_PROFILES, READER, WITHIN_SCOPE, label
from tests.support import ttlv
from tests.support.kmipxml import Bindings, to_item
from tests.support.message import WORDS, tag
from tests.support.paths import OASIS
from tests.support.ttlv import Item, Type


class Bound(Bindings):
    """Gives every variable a value as soon as it is seen."""

    def value(self, node):
        if node.text.startswith("$") and "$NOW" not in node.text:
            text = "id-" + node.text[1:].lower()
            chosen = text.encode() if node.type == Type.BYTE_STRING else text
            self.variables.setdefault(node.text, chosen)
        return super().value(node)


class PerfectServer:
    """Answers with exactly what the case expects, unless `spoil` changes an answer."""

    def __init__(self, case, prefix="", spoil=None):
        self.case = case
        self.bindings = Bound(WORDS, prefix)
        self.spoil = spoil or (lambda number, answer: answer)
        self.asked = 0
        self.material = b""

    def ask(self, request):
        assert ttlv.decode(ttlv.encode(request)) == request
        answer = to_item(self.case.exchanges[self.asked].response, self.bindings)
        answer = answer.replace(self._present)
        answer.value[0].value[0] = request.value[0].value[0]  # the request's version
        self.asked += 1
        return self.spoil(self.asked, answer)

    def _present(self, item):
        """What the files cannot hold: the present time, the digest of the key shown before."""
        if item.tag == tag("TimeStamp"):
            return Item(item.tag, item.type, int(time.time()))
        if item.tag == tag("KeyMaterial") and item.type == Type.BYTE_STRING:
            self.material = item.value
        if item.tag == tag("DigestValue") and self.material:
            return Item(item.tag, item.type, hashlib.sha256(self.material).digest())
        return None

    def close(self):
        pass


@pytest.fixture
def clock(monkeypatch):
    """Time stands still, so that $NOW means the same in a request and in the answer."""
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)


def play(case, spoil=None, prefix="p-"):
    server = PerfectServer(case, prefix, spoil)
    Runner(WORDS, lambda: server, prefix).run(case)
    assert server.asked == len(case.exchanges)


def test_every_message_is_understood():
    """All messages of all versions, 2.1 included, survive the way to bytes and back."""
    count = 0
    for path in sorted(OASIS.glob("*/*/*.xml")):
        case = READER.read(path)
        bindings = Bound(WORDS)
        for exchange in case.exchanges:
            for node in (exchange.request, exchange.response):
                item = to_item(node, bindings)
                assert ttlv.decode(ttlv.encode(item)) == item
                count += 1
    assert count > 5000


@pytest.mark.parametrize("case", OF_PROFILES + WITHIN_SCOPE, ids=label)
def test_right_answers_pass(clock, case):
    if any(exchange.repeat for exchange in case.exchanges):
        case = dataclasses.replace(case, exchanges=case.exchanges[:2])  # until it would wait
    play(case)


# Ways to spoil an answer; None where one does not apply to it.


def change(answer, name, new):
    """The answer with the first field of that name changed by `new`."""
    number, done = tag(name), []

    def once(item):
        if item.tag == number and not done:
            done.append(item)
            return new(item)
        return None

    changed = answer.replace(once)
    return changed if done else None


def failed(item):
    return Item(item.tag, item.type, 1 - min(item.value, 1))


def without(name):
    number = tag(name)

    def spoil(answer):
        def drop(item):
            if any(child.tag == number for child in item):
                kept = [child.replace(drop) for child in item if child.tag != number]
                return Item(item.tag, item.type, kept)
            return None

        spoiled = answer.replace(drop)
        return None if spoiled == answer else spoiled

    return spoil


def payload_with(*more):
    """The first payload with further fields at its end."""
    return lambda answer: change(
        answer, "ResponsePayload", lambda item: Item(item.tag, item.type, [*item, *more])
    )


def extra_attribute(answer):
    name = Item(tag("AttributeName"), Type.TEXT_STRING, "x-extra")
    value = Item(tag("AttributeValue"), Type.TEXT_STRING, "extra")
    return payload_with(Item(tag("Attribute"), Type.STRUCTURE, [name, value]))(answer)


SPOILERS = {
    "status": lambda answer: change(answer, "ResultStatus", failed),
    "reason": lambda answer: change(
        answer, "ResultReason", lambda item: dataclasses.replace(item, value=item.value + 1)
    ),
    "no message": without("ResultMessage"),
    "operation": lambda answer: change(
        answer, "Operation", lambda item: dataclasses.replace(item, value=item.value + 1)
    ),
    "version": lambda answer: change(
        answer, "ProtocolVersionMinor", lambda item: dataclasses.replace(item, value=7)
    ),
    "no time stamp": without("TimeStamp"),
    "old time stamp": lambda answer: change(
        answer, "TimeStamp", lambda item: dataclasses.replace(item, value=item.value - 9999)
    ),
    "batch count": lambda answer: change(
        answer, "BatchCount", lambda item: dataclasses.replace(item, value=item.value + 1)
    ),
    "no identifier": without("UniqueIdentifier"),
    "another identifier": lambda answer: change(
        answer, "UniqueIdentifier", lambda item: dataclasses.replace(item, value="another")
    ),
    "attribute value": lambda answer: change(
        answer,
        "AttributeValue",
        lambda item: (
            dataclasses.replace(item, value=item.value + 1)
            if item.type in (Type.ENUMERATION, Type.INTEGER)
            else Item(item.tag, Type.BOOLEAN, True)
        ),
    ),
    "no attribute": without("Attribute"),
    "no attribute name": without("AttributeName"),
    "short key": lambda answer: change(
        answer, "KeyMaterial", lambda item: dataclasses.replace(item, value=item.value[:-1])
    ),
    "key format": lambda answer: change(
        answer, "KeyFormatType", lambda item: dataclasses.replace(item, value=item.value + 1)
    ),
    "batch item id": without("UniqueBatchItemID"),
    "unknown field": payload_with(Item(tag("LeaseTime"), Type.INTERVAL, 1)),
}

# The answers that tell most: in which some spoiler applies to each kind of field.
TELLING = ("SKLC-M-3-10", "SKLC-M-2-14", "SKFF-M-9-12", "SKFF-M-5-14", "SKLC-O-1-11")

# A spoiled field that may differ without harm: the first answer that holds a variable binds it,
# and Query's lists are free.
HARMLESS = {"another identifier"}


@pytest.mark.parametrize("spoiler", SPOILERS)
def test_wrong_answers_fail(clock, spoiler):
    """Each spoiler, at each answer to which it applies, is noticed."""
    applied = 0
    for case in (case for case in ALL if case.name in TELLING):
        for number in range(1, len(case.exchanges) + 1):
            spoiled = []

            def spoil(asked, answer):
                if asked != number:
                    return answer
                spoiled.append(SPOILERS[spoiler](answer))
                return spoiled[0] or answer

            try:
                play(case, spoil)
            except Mismatch as mismatch:
                assert spoiled and spoiled[0] is not None
                assert f"exchange {number} " in str(mismatch) or spoiler in HARMLESS
                applied += 1
            else:
                assert spoiled[0] is None, f"{case.name}: answer {number} passed with {spoiler}"
    assert applied > 0


def test_extra_attributes(clock):
    """Allowed where the client asked for all attributes, not where it named the ones it wants."""
    case = next(case for case in ALL if case.name == "SKLC-O-1-14")
    play(case, lambda asked, answer: extra_attribute(answer) if asked == 4 else answer)
    with pytest.raises(Mismatch, match="x-extra"):
        play(case, lambda asked, answer: extra_attribute(answer) if asked == 2 else answer)


def test_differences_are_explained(clock):
    """A mismatch says where, what was expected and what came."""
    case = next(case for case in ALL if case.name == "SKLC-M-2-14")

    def spoil(asked, answer):
        return SPOILERS["attribute value"](answer) if asked == 2 else answer

    with pytest.raises(Mismatch) as caught:
        play(case, spoil)
    text = str(caught.value)
    assert "SKLC-M-2-14, exchange 2 (GetAttributes)" in text
    assert "Attribute 'State'/AttributeValue: expected PreActive, got Active" in text
    assert "received:" in text

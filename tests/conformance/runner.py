# SPDX-License-Identifier: Apache-2.0
"""Replays OASIS test cases against a running server.

    python3 -m tests.conformance.runner --host 127.0.0.1 --port 5696 \\
        --cert state/clients/default.pem --key state/clients/default.key [--ca state/ca.pem] FILE...

Prints one line for each case and every difference below it; exits with 1 if any case failed.
Names in the cases get a prefix of their own for each run, so that a run can be repeated. Files are
run in the order given, in one group: some continue what an earlier file of their directory began.
"""

import argparse
import secrets
import sys
import time
from pathlib import Path
from typing import Callable, Dict, List, Optional

from tests.conformance.compare import Comparison, Facts
from tests.support import ttlv
from tests.support.client import Client, Closed, tls_context
from tests.support.kmipxml import (
    Bindings,
    Case,
    CaseError,
    Exchange,
    Node,
    Reader,
    Unbound,
    to_item,
)
from tests.support.ttlv import Item, Type
from tests.support.vocabulary import Vocabulary

REPEAT_LIMIT = 300.0  # seconds for a [REPEAT] step
REPEAT_PAUSE = 0.2


class Mismatch(Exception):
    """An answer is not the expected one; the text says where and how."""


def unique_prefix() -> str:
    return f"t{secrets.token_hex(4)}-"


class Runner:
    """Runs cases over connections that `connect` makes, one for each client a case has."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        connect: Callable[[], Client],
        prefix: Optional[str] = None,
        scale: float = 1.0,
    ):
        self.words = vocabulary
        self.connect = connect
        self.prefix = unique_prefix() if prefix is None else prefix
        self.scale = scale

    def run(self, case: Case) -> None:
        """Raises Mismatch at the first answer that differs."""
        bindings = Bindings(self.words, self.prefix, self.scale)
        facts = Facts()
        clients: Dict[str, Client] = {}
        try:
            steps = zip(case.exchanges, [*case.exchanges[1:], None])
            for number, (exchange, following) in enumerate(steps, 1):
                if exchange.client not in clients:
                    clients[exchange.client] = self.connect()
                try:
                    client = clients[exchange.client]
                    self._exchange(client, exchange, following, bindings, facts)
                except (Mismatch, Closed, Unbound, ttlv.Malformed) as error:
                    operations = ", ".join(self._operations(exchange.request))
                    text = f"{case.name}, exchange {number} ({operations}):\n{error}"
                    raise Mismatch(text) from None
        finally:
            for client in clients.values():
                client.close()

    def _operations(self, request: Node) -> List[str]:
        operation = self.words.tag("Operation")
        return [node.text for node in request.walk() if node.tag == operation]

    def _exchange(
        self,
        client: Client,
        exchange: Exchange,
        following: Optional[Exchange],
        bindings: Bindings,
        facts: Facts,
    ) -> None:
        """One exchange. A [REPEAT] step stands for a request that is sent until something has
        changed: until its own answer comes; or, where the case then sends the same request once
        more and expects another answer, until its own answer comes no longer."""
        if not exchange.repeat:
            self._once(client, exchange, bindings, facts)
        elif following is not None and following.request == exchange.request:
            self._once(client, exchange, bindings, facts)
            self._repeat(client, exchange, bindings, facts, agree=False)
        else:
            self._repeat(client, exchange, bindings, facts, agree=True)
            self._once(client, exchange, bindings, facts)

    def _once(
        self, client: Client, exchange: Exchange, bindings: Bindings, facts: Facts
    ) -> None:
        request = to_item(exchange.request, bindings)
        answer = client.ask(request)
        comparison = self._compare(exchange, request, answer, bindings, facts)
        if comparison.differences:
            raise Mismatch(self._explain(comparison, request, answer))
        self._learn(exchange, request, answer, bindings, facts)

    def _compare(
        self, exchange: Exchange, request: Item, answer: Item, bindings: Bindings, facts: Facts
    ) -> Comparison:
        comparison = Comparison(self.words, bindings, facts)
        comparison.message(exchange.response, answer, request)
        return comparison

    def _repeat(
        self, client: Client, exchange: Exchange, bindings: Bindings, facts: Facts, agree: bool
    ) -> None:
        """Asks until the answer agrees with the expectation, or until it does not."""
        end = time.monotonic() + REPEAT_LIMIT
        while time.monotonic() < end:
            request = to_item(exchange.request, bindings)
            answer = client.ask(request)
            variables = dict(bindings.variables)
            comparison = self._compare(exchange, request, answer, bindings, facts)
            bindings.variables = variables
            if agree == (not comparison.differences):
                return
            time.sleep(REPEAT_PAUSE)
        raise Mismatch(f"nothing has changed in {REPEAT_LIMIT} s\n{self.dump(answer, 4)}")

    def _explain(self, comparison: Comparison, request: Item, answer: Item) -> str:
        lines = [f"  {difference}" for difference in comparison.differences]
        return "\n".join(
            [*lines, "  sent:", self.dump(request, 4), "  received:", self.dump(answer, 4)]
        )

    def dump(self, item: Item, indent: int = 0, context: int = 0) -> str:
        """A tree as indented lines; `context` as in Node."""
        start = " " * indent + self.words.tag_name(item.tag)
        if item.type == Type.STRUCTURE:
            name = item.find(self.words.tag("AttributeName"))
            context = name and self.words.attribute_tag(name.value) or 0
            return "\n".join([start, *(self.dump(child, indent + 2, context) for child in item)])
        value = item.value
        if item.type == Type.ENUMERATION:
            value = self.words.enumeration_name(context or item.tag, item.value)
        elif item.type == Type.BYTE_STRING:
            value = item.value.hex()
        return f"{start} = {value}"

    def _learn(
        self, exchange: Exchange, request: Item, answer: Item, bindings: Bindings, facts: Facts
    ) -> None:
        """Keeps what later answers must agree with."""
        for item in answer.walk():
            if item.type != Type.STRUCTURE:
                bindings.latest[item.tag] = item.value
        tag = self.words.tag
        batch = tag("BatchItem")
        asked = [node.attribute for node in exchange.request.walk()]
        facts.group_asked = facts.group_asked or "Object Group" in asked
        items = zip(exchange.request.all(batch), request.all(batch), answer.all(batch))
        for node, sent, got in items:
            identifier = got.find(tag("ResponsePayload"), tag("UniqueIdentifier"))
            if identifier is None:
                continue
            if node.find(tag("Operation")).text == "Register":
                facts.registered.add(identifier.value)
            self._learn_dates(node, sent, identifier.value, facts)

    def _learn_dates(self, node: Node, sent: Item, identifier: str, facts: Facts) -> None:
        if node.type == Type.DATE_TIME:
            spellings = facts.dates.setdefault((identifier, node.context), {})
            spellings[node.text] = sent.value
        if node.type == Type.STRUCTURE:
            for child, item in zip(node.children, sent):
                self._learn_dates(child, item, identifier, facts)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="runner", description="Replay OASIS KMIP test cases against a running server."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5696)
    parser.add_argument("--cert", type=Path, required=True, help="client certificate, PEM")
    parser.add_argument("--key", type=Path, required=True, help="its private key, PEM")
    parser.add_argument("--ca", type=Path, help="CA to verify the server with (default: do not)")
    parser.add_argument("--prefix", help="goes before names in the cases (default: random)")
    parser.add_argument(
        "--time-scale",
        type=float,
        default=1.0,
        metavar="X",
        help="multiply times that cases wait for ($NOW+n) by X",
    )
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    return parser.parse_args()


def main() -> int:
    arguments = _arguments()
    vocabulary = Vocabulary()
    context = tls_context(arguments.ca, arguments.cert, arguments.key)
    address = (arguments.host, arguments.port)
    runner = Runner(
        vocabulary, lambda: Client(address, context), arguments.prefix, arguments.time_scale
    )
    failed = 0
    for path in arguments.files:
        try:
            runner.run(Reader(vocabulary).read(path))
        except (Mismatch, CaseError, KeyError, OSError) as error:
            failed += 1
            print(f"FAILED {path.name}\n{error}")
        else:
            print(f"passed {path.name}")
    print(f"{len(arguments.files) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

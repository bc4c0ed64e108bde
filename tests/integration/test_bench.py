# SPDX-License-Identifier: Apache-2.0
"""The benchmark itself: its arithmetic, its picture, and that the load generator never takes a
refusal or a wrong answer for a success."""

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support import ttlv
from tests.support.paths import SOURCE

sys.path.insert(0, str(SOURCE / "bench"))
from harness import certificates, goals, machine, plot, report  # noqa: E402
from harness.measurement import Measurement  # noqa: E402
from harness.processes import Load, Programs, start_echo  # noqa: E402
from harness.statistics import summarize, summarize_ratios  # noqa: E402

BUILD = Path(os.environ.get("KMIPD_BUILD", SOURCE / "build"))
SVG = "{http://www.w3.org/2000/svg}"
RESPONSE, BATCH_ITEM, STATUS, MESSAGE = 0x42007B, 0x42000F, 0x42007F, 0x42007D
FACTS = {"cpu": "a <processor>", "cores": 2, "openssl": "OpenSSL"}


def test_summary_of_odd_and_even_counts():
    odd = summarize([5, 1, 3])
    assert (odd.median, odd.low, odd.high, odd.q1, odd.q3) == (3, 1, 5, 2, 4)
    assert summarize([1, 2, 3, 4]).median == 2.5


def test_ratios_are_formed_inside_rounds():
    # The machine became ten times slower between the rounds; the ratio did not change.
    assert summarize_ratios([90, 9], [100, 10]).low == pytest.approx(0.9)


def test_nothing_measured_is_an_error():
    with pytest.raises(ValueError):
        summarize([])


def _get_row(share):
    row = Measurement("get", "1 key, 16 connections", "kmipd", "echo")
    metrics = ("rate", "server_cpu_us", "p50_us", "p99_us", "server_load", "client_load")
    row.values = {
        metric: {"kmipd": summarize([2.0]), "echo": summarize([1.0])} for metric in metrics
    }
    row.shares = {"rate": summarize([share]), "server_cpu_us": summarize([share])}
    row.notes = {"connections": 16, "wire": {"kmipd": {"answer": 328}, "echo": {"answer": 328}}}
    return row


@pytest.mark.parametrize("share, met", [(0.84, False), (0.85, True)])
def test_goal_is_judged_at_its_limit(share, met):
    assert goals.judge([_get_row(share)])[0].met is met


def test_goals_without_measurements_are_open():
    assert {goal.met for goal in goals.judge([])} == {None}


def _cold_row(subject, connections, metric, value):
    row = Measurement("cold", f"{subject}, {connections}", subject, "warm")
    row.values = {metric: {subject: summarize([value])}}
    row.notes = {"connections": connections}
    return row


@pytest.mark.parametrize("over, rate, met", [(60, 1000, True), (61, 999, False)])
def test_goals_of_key_managers_are_judged_at_their_limits(over, rate, met):
    rows = [
        _cold_row("keyholder", 1, "over_us", over),
        _cold_row("key-protect", 64, "rate", rate),
    ]
    judged = [goal for goal in goals.judge(rows) if goal.met is not None]
    assert [goal.met for goal in judged] == [met, met]


@pytest.mark.parametrize(
    "keys, share, met", [(10_000, 0.81, True), (10_000, 0.79, False), (1_000, 0.79, None)]
)
def test_goal_of_warming_is_judged_by_what_clients_wait(keys, share, met):
    row = Measurement("warming", "keys", "warming", "round trip")
    row.values = {"p99_us": {"warming": summarize([2.0]), "round trip": summarize([1.0])}}
    row.shares = {"p99_us": summarize([share])}
    row.notes = {"keys": keys}
    judged = {goal.text: goal.met for goal in goals.judge([row]) if goal.measured != "not measured"}
    assert list(judged.values()) == [met]


def test_picture_is_well_formed_and_names_every_row():
    root = ElementTree.fromstring(plot.svg([_get_row(0.5)], FACTS))
    texts = [element.text for element in root.iter(SVG + "text")]
    assert "1 key, 16 connections" in texts
    assert any(text.startswith("a <processor>") for text in texts)


def test_table_and_json_show_the_share():
    row = _get_row(0.5)
    assert "50%" in report.table("get", [row])
    data = json.loads(report.as_json(FACTS, [row], []))
    assert data["measurements"][0]["shares"]["rate"]["median"] == 0.5


def test_table_warns_of_an_unfair_comparison():
    row = _get_row(0.5)
    assert "UNLIKE" not in report.table("get", [row])
    row.notes["wire"]["echo"] = {"answer": 400}
    assert "UNLIKE: 1 key, 16 connections" in report.table("get", [row])


def _answer(status, text):
    item = ttlv.Item(
        BATCH_ITEM,
        ttlv.Type.STRUCTURE,
        [
            ttlv.Item(STATUS, ttlv.Type.ENUMERATION, status),
            ttlv.Item(MESSAGE, ttlv.Type.TEXT_STRING, text),
        ],
    )
    return ttlv.encode(ttlv.Item(RESPONSE, ttlv.Type.STRUCTURE, [item]))


def _serve(listener, context, answers):
    """Answers each request on one connection with the next of `answers`, then closes."""
    plain, _ = listener.accept()
    with context.wrap_socket(plain, server_side=True) as tls:
        for answer in answers:
            if not tls.recv(4096):
                return
            tls.sendall(answer)
        tls.recv(4096)


@pytest.fixture
def load_against(tmp_path):
    """Lets the load generator make `count` requests of a server that gives these answers."""
    program = BUILD / "bench" / "load"
    if not program.exists():
        pytest.fail(f"{program} is not built", pytrace=False)
    pair = certificates.make(tmp_path, "both", "ecdsa", "serverAuth")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)

    def run(answers, count):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(30)
            thread = threading.Thread(target=_serve, args=(listener, context, answers), daemon=True)
            thread.start()
            port = listener.getsockname()[1]
            command = [program, "--port", str(port), "--certificate", pair.certificate]
            done = subprocess.run(
                [*command, "--key", pair.key, "--operation", "discover"],
                input=f"count {count}\n",
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
            thread.join(30)
        return json.loads(done.stdout.splitlines()[-1])

    return run


def test_load_counts_successes(load_against):
    result = load_against([_answer(0, "fine")] * 3, 3)
    assert (result["requests"], result["errors"]) == (3, 0)


@pytest.mark.parametrize(
    "answers, words",
    [
        ([_answer(0, "fine"), _answer(1, "no such object")], "no such object"),
        ([_answer(0, "fine"), _answer(0, "another length")], "bytes where"),
        ([_answer(0, "fine")], "reading an answer"),
        ([_answer(0, "fine"), b"HTTP/1.1 400 Bad Request\r\n\r\n"], "larger than"),
    ],
)
def test_load_counts_what_fails(load_against, answers, words):
    result = load_against(answers, 2)
    assert (result["requests"], result["errors"]) == (1, 1)
    assert words in result["first_error"]


def test_kept_new_and_resumed_connections(tmp_path):
    """The whole way of a slice, in small."""
    programs = Programs(BUILD, machine.Cores(None, None))
    pair = certificates.make(tmp_path, "both", "ecdsa", "serverAuth")
    with start_echo(programs, pair, pair, {0: 400}, 1) as echo:
        with Load(programs, echo, "discover", 8, depth=4) as load:
            kept = load.count(500)
        with Load(programs, echo, "discover", 4, connect=True, resume=True, tls="1.3") as load:
            resumed = load.count(40)
        with Load(programs, echo, "discover", 4, bare=True) as load:
            bare = load.count(40)
    assert (kept.report["requests"], kept.report["answer"]) == (500, 400)
    assert kept.metrics()["server_cpu_us"] > 0
    assert (resumed.units, resumed.report["resumed"]) == (40, 36)
    assert (bare.units, bare.report["requests"], bare.report["handshakes"]) == (40, 0, 40)

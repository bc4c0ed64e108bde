# SPDX-License-Identifier: Apache-2.0
"""What is measured. Each scenario is a function from a Context to its Measurements."""

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import certificates, machine
from .measurement import Measurement, compare, take_turns
from .processes import Commit, Failure, Kmipd, Load, Programs, start_echo, start_pykmip
from .statistics import summarize, summarize_ratios

# What goes over the wire when there is no kmipd to ask: frames of KMIP 1.1, identifiers of 36
# characters.
SAMPLE_ID = "00000000-0000-7000-8000-000000000000"
DISCOVER_REQUEST = 120
DISCOVER_ANSWER = 392
GET_ANSWER = 328

PREFILL_CONNECTIONS = 256
HANDSHAKE_SLOTS = 8
SLICES_UNTIL_RESUMED = 50
SOURCES = 16  # local addresses, so that ports in TIME_WAIT do not run out


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int
    slice_ms: int
    many_keys: int
    connections: tuple
    create_connections: tuple
    idle: int
    growth: tuple
    growth_creates: int  # in a slice: few, for they make the store grow
    peer_ms: int
    cold_connections: tuple
    warmed: int  # keys that are fetched after a restart
    rewrapped: int


EFFORTS = {
    "quick": Effort(rounds=3, slice_ms=200, many_keys=2_000, connections=(1, 16),
                    create_connections=(1, 16), idle=1_000, growth=(1_000, 4_000),
                    growth_creates=50, peer_ms=400,
                    cold_connections=(1, 16), warmed=1_000, rewrapped=2_000),
    "default": Effort(rounds=11, slice_ms=250, many_keys=100_000, connections=(1, 16, 256),
                      create_connections=(1, 16, 64), idle=10_000,
                      growth=(1_000, 10_000, 100_000), growth_creates=100, peer_ms=1000,
                      cold_connections=(1, 64), warmed=20_000, rewrapped=50_000),
    "full": Effort(rounds=21, slice_ms=300, many_keys=100_000, connections=(1, 16, 256),
                   create_connections=(1, 16, 64), idle=10_000,
                   growth=(1_000, 10_000, 100_000, 1_000_000), growth_creates=100, peer_ms=2000,
                   cold_connections=(1, 64), warmed=100_000, rewrapped=200_000),
}


@dataclass(frozen=True)
class Context:
    programs: Programs
    kmipd: Path | None  # None: only ceilings and the peer are measured
    effort: Effort
    work: Path  # a directory that goes away afterwards
    before: Path | None = None  # an earlier kmipd, to compare with

    def fresh(self, name):
        return Path(tempfile.mkdtemp(prefix=name + "-", dir=self.work))

    def start_kmipd(self, kind="ecdsa", **options):
        return Kmipd(self.programs, self.kmipd, self.fresh("kmipd") / "state", kind, **options)

    def with_durable_echo(self, pair, stack, tickets=0):
        """The servers of the pair and the echo that syncs; both echos give so many tickets."""
        servers = dict(pair.servers)
        if tickets != 0:
            servers["echo"] = stack.enter_context(pair.start_echo(tickets=tickets))
        servers["durable echo"] = stack.enter_context(
            pair.start_echo(tickets=tickets, journal=self.fresh("journal") / "journal"))
        return servers

    def turns(self, loads, work=None):
        return take_turns(loads, self.effort.rounds,
                          work or (lambda load: load.run(self.effort.slice_ms)))


def _count(number, noun):
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def create_keys(context, server, count):
    """Makes keys and returns the file that names them."""
    path = context.fresh("keys") / "ids"
    connections = min(count, PREFILL_CONNECTIONS)
    with Load(context.programs, server, "create", connections, new_ids=path) as load:
        load.count(count)
    return path


def serve_all_once(context, server, ids):
    """Gets every key once: the first Get of a key writes (its Fresh attribute, KMIP 1.4 §3.34)
    and unwraps, which is not what is measured."""
    with ids.open() as lines:
        count = sum(1 for _ in lines)
    with Load(context.programs, server, "get", min(count, PREFILL_CONNECTIONS), ids=ids,
              in_order=True) as load:
        load.count(count)


def _answer_size(context, server, operation, **options):
    with Load(context.programs, server, operation, **options) as load:
        return load.count(1).report["answer"]


@dataclass(frozen=True)
class Pairing:
    """kmipd and the echo made like it: same certificates, same sizes. Without a kmipd the echo
    stands alone."""

    servers: dict
    ids: Path  # of one key
    start_echo: Callable  # makes another such echo: start_echo(tickets=N, journal=file)

    @property
    def subject(self):
        return "kmipd" if "kmipd" in self.servers else "echo"

    @property
    def ceiling(self):
        return "echo" if "kmipd" in self.servers else None


def _pairing_alone(context, stack, kind):
    directory = context.fresh("echo")
    start = partial(
        start_echo, context.programs, certificates.make(directory, "server", kind, "serverAuth"),
        certificates.make(directory, "client", "ecdsa", "clientAuth"),
        {0: GET_ANSWER, DISCOVER_REQUEST: DISCOVER_ANSWER})
    ids = directory / "ids"
    ids.write_text(SAMPLE_ID + "\n")
    return Pairing({"echo": stack.enter_context(start())}, ids, start)


def pairing(context, stack, kind="ecdsa"):
    if context.kmipd is None:
        return _pairing_alone(context, stack, kind)
    kmipd = stack.enter_context(context.start_kmipd(kind))
    ids = create_keys(context, kmipd, 1)
    answers = {0: _answer_size(context, kmipd, "get", ids=ids),
               DISCOVER_REQUEST: _answer_size(context, kmipd, "discover")}
    start = partial(start_echo, context.programs, kmipd.pair, kmipd.client, answers)
    return Pairing({"kmipd": kmipd, "echo": stack.enter_context(start())}, ids, start)


def _get_rows(context, pair, servers, keys, ids, connections):
    with ExitStack() as loads:
        slices = context.turns({
            name: loads.enter_context(Load(context.programs, server, "get", connections, ids=ids))
            for name, server in servers.items()})
    title = f"{_count(keys, 'key')}, {_count(connections, 'connection')}"
    rows = [compare("get", title, slices, pair.subject, pair.ceiling),
            compare("durable", title, slices, pair.subject, "durable echo")]
    for row in rows:
        row.notes["connections"] = connections
    return rows


def get(context):
    """Get over kept connections."""
    results = []
    with ExitStack() as stack:
        pair = pairing(context, stack)
        servers = context.with_durable_echo(pair, stack)
        files = {1: pair.ids}
        if context.kmipd is not None:
            many = create_keys(context, servers["kmipd"], context.effort.many_keys)
            serve_all_once(context, servers["kmipd"], many)
            files[context.effort.many_keys] = many
        for keys, ids in files.items():
            for connections in context.effort.connections:
                results += _get_rows(context, pair, servers, keys, ids, connections)
    return results


def _until_resumed(load):
    """Works until every connection of a slice resumes: kmipd gives TLS 1.3 tickets sparingly to
    clients that have not used one yet."""
    for _ in range(SLICES_UNTIL_RESUMED):
        report = load.run(200).report
        if report["resumed"] == report["handshakes"]:
            return
    raise Failure(f"{load.name} does not resume sessions: {report['resumed']} of "
                  f"{report['handshakes']} at last")


def _connect(context, servers, operation, **options):
    """Slices of connections that are each made anew."""
    with ExitStack() as stack:
        loads = {name: stack.enter_context(Load(context.programs, server, operation,
                                                HANDSHAKE_SLOTS, sources=SOURCES, **options))
                 for name, server in servers.items()}
        for load in loads.values() if options.get("resume") else ():
            _until_resumed(load)
        return context.turns(loads)


def _note_resumed(row, slices):
    for name in (row.subject, row.ceiling):
        if name is not None:
            reports = [part.report for part in slices[name]]
            row.notes[f"resumed by {name}"] = (sum(report["resumed"] for report in reports)
                                               / sum(report["handshakes"] for report in reports))


def _request_rows(context, pair, servers, title, version, resume):
    slices = _connect(context, servers, "get", ids=pair.ids, connect=True, tls=version,
                      resume=resume)
    rows = [compare("handshakes", title, slices, pair.subject, pair.ceiling),
            compare("durable handshakes", title, slices, pair.subject, "durable echo")]
    for row in rows:
        _note_resumed(row, slices)
    return rows


def _bare_row(context, pair, title, version):
    slices = _connect(context, pair.servers, "discover", bare=True, tls=version)
    return compare("bare handshakes", title, slices, pair.subject, pair.ceiling)


def handshakes(context):
    """Connect and close; connect, Discover Versions, Get, close."""
    results = []
    for kind in ("ecdsa", "rsa"):
        with ExitStack() as stack:
            pair = pairing(context, stack, kind)
            full = context.with_durable_echo(pair, stack)
            resumed = context.with_durable_echo(pair, stack, tickets=1)
            for version in ("1.3", "1.2"):
                title = f"{kind.upper()}, TLS {version}, "
                results.append(_bare_row(context, pair, title + "full", version))
                results += _request_rows(context, pair, full, title + "full", version, False)
                results += _request_rows(context, pair, resumed, title + "resumed", version, True)
    return results


def network(context):
    """The network layer alone (src/net), which answers as the echo does."""
    directory = context.fresh("network")
    ids = directory / "ids"
    ids.write_text(SAMPLE_ID + "\n")
    start = partial(
        start_echo, context.programs,
        certificates.make(directory, "server", "ecdsa", "serverAuth"),
        certificates.make(directory, "client", "ecdsa", "clientAuth"),
        {0: GET_ANSWER, DISCOVER_REQUEST: DISCOVER_ANSWER})
    results = []

    def add(title, slices):
        results.append(compare("network", title, slices, "net_echo", "echo"))

    with ExitStack() as stack:
        net = stack.enter_context(start(program="net_echo"))
        servers = {"net_echo": net, "echo": stack.enter_context(start())}
        kept = [(number, 1) for number in context.effort.connections]
        for connections, depth in [*kept, (16, 16)]:
            with ExitStack() as loads:
                slices = context.turns({
                    name: loads.enter_context(Load(context.programs, server, "get", connections,
                                                   ids=ids, depth=depth))
                    for name, server in servers.items()})
            add(f"{_count(connections, 'connection')}, {depth} at a time", slices)
        with_tickets = {"net_echo": net, "echo": stack.enter_context(start(tickets=1))}
        for version in ("1.3", "1.2"):
            add(f"connect, close, TLS {version}, full",
                _connect(context, servers, "discover", bare=True, tls=version))
            add(f"connect, ask twice, close, TLS {version}, resumed",
                _connect(context, with_tickets, "get", ids=ids, connect=True, tls=version,
                         resume=True))
    return results


@dataclass(frozen=True)
class Row:
    """Sizes of a row of the store: bytes, and how many terms Locate can find it by."""

    attributes: int
    wrapped: int
    terms: int


TYPICAL_ROW = Row(attributes=300, wrapped=100, terms=0)


def _row_of_a_key(context):
    """The row of a key as kmipd has just made it."""
    if context.kmipd is None:
        return TYPICAL_ROW
    with context.start_kmipd() as kmipd:
        create_keys(context, kmipd, 1)
    with closing(sqlite3.connect(kmipd.store)) as store:
        return Row(*store.execute("SELECT length(attributes), length(wrapped), length(terms) / 8 "
                                  "FROM object").fetchone())


def create(context):
    """Durable Create against the store's bare grouped commit of the same rows."""
    results = []
    row = _row_of_a_key(context)
    for connections in context.effort.create_connections:
        with ExitStack() as stack:
            loads = {"commit": stack.enter_context(
                Commit(context.programs, context.fresh("commit"), connections, row))}
            if context.kmipd is not None:
                kmipd = stack.enter_context(context.start_kmipd())
                loads["kmipd"] = stack.enter_context(
                    Load(context.programs, kmipd, "create", connections))
            slices = context.turns(loads)
        subject, ceiling = ("kmipd", "commit") if "kmipd" in slices else ("commit", None)
        results.append(compare("create", _count(connections, "connection"), slices, subject,
                               ceiling))
    return results


def _idle_kib(context, server, connections):
    """Growth of the server's resident memory, in KiB a connection, after one request on each."""
    with Load(context.programs, server, "discover", min(64, connections)) as load:
        load.run(200)  # what the first connections cost once and for all
    before = server.resident_bytes()
    with Load(context.programs, server, "discover", connections, sources=SOURCES) as load:
        load.count(connections)
        time.sleep(1)
        return (server.resident_bytes() - before) / connections / 1024


def idle(context):
    """Memory of an idle connection."""
    connections = context.effort.idle
    limit = machine.raise_file_limit(connections + 1000)
    if limit < connections + 100:
        raise Failure(f"{connections} connections need more open files than {limit}: raise the "
                      f"hard limit (ulimit -Hn) or run as root")
    with ExitStack() as stack:
        pair = pairing(context, stack)
        kib = {name: _idle_kib(context, server, connections)
               for name, server in pair.servers.items()}
    row = Measurement("idle", f"{connections:,} idle connections, TLS 1.3", pair.subject,
                      pair.ceiling)
    row.values["kib"] = {name: summarize([value]) for name, value in kib.items()}
    if pair.ceiling is not None:
        row.shares["kib"] = summarize_ratios([kib["echo"]], [kib["kmipd"]])
    return [row]


def _filled(context, stack, objects):
    """A kmipd that holds so many objects, and the file that names them."""
    kmipd = stack.enter_context(context.start_kmipd())
    ids = create_keys(context, kmipd, objects)
    serve_all_once(context, kmipd, ids)
    return kmipd, ids


def _growth_row(operation, objects, slices, smallest):
    name, base = f"{objects:,}", f"{smallest:,}"
    row = compare("growth", f"{operation}, {objects:,} objects", slices, name,
                  base if objects != smallest else None)
    row.notes["objects"] = objects
    row.notes["operation"] = operation
    return row


def growth(context):
    """Latency with few and with many objects: one server for each size, side by side, so that the
    machine's drift touches all alike."""
    if context.kmipd is None:
        return []
    sizes = context.effort.growth
    results = []
    with ExitStack() as stack:
        filled = {size: _filled(context, stack, size) for size in sizes}
        works = {
            "Get": lambda load: load.run(context.effort.slice_ms),
            "Create": lambda load: load.count(context.effort.growth_creates),
        }
        for operation, work in works.items():
            with ExitStack() as loads:
                slices = context.turns({
                    f"{size:,}": loads.enter_context(
                        Load(context.programs, server, operation.lower(), 1,
                             ids=ids if operation == "Get" else None))
                    for size, (server, ids) in filled.items()}, work)
            results += [_growth_row(operation, size, slices, sizes[0]) for size in sizes]
    return results


def _peer_rows(context, servers, ids):
    results = []
    for operation in ("get", "create"):
        for connections in (1, 16):
            with ExitStack() as stack:
                slices = take_turns(
                    {name: stack.enter_context(
                        Load(context.programs, server, operation, connections, tls="1.2",
                             ids=ids[name] if operation == "get" else None))
                     for name, server in servers.items()},
                    3, lambda load: load.run(context.effort.peer_ms))
            title = f"{operation.title()}, {_count(connections, 'connection')}"
            results.append(compare("peer", title, slices, *servers))
    return results


def peer(context):
    """PyKMIP's server as packaged by Debian."""
    if shutil.which("pykmip-server") is None:
        raise Failure("pykmip-server is not installed: apt-get install python3-pykmip")
    with ExitStack() as stack:
        directory = context.fresh("pykmip")
        pykmip = stack.enter_context(start_pykmip(
            context.programs, directory,
            certificates.make(directory, "server", "rsa2048", "serverAuth"),
            certificates.make(directory, "client", "rsa2048", "clientAuth")))
        servers = {"pykmip": pykmip}
        if context.kmipd is not None:
            kmipd = stack.enter_context(context.start_kmipd())
            servers = {"kmipd": kmipd, "pykmip": pykmip}
        ids = {name: create_keys(context, server, 1) for name, server in servers.items()}
        return _peer_rows(context, servers, ids)


SCENARIOS = {
    "get": get,
    "handshakes": handshakes,
    "network": network,
    "create": create,
    "idle": idle,
    "growth": growth,
    "peer": peer,
}
SCENARIOS = {
    "get": get,
    "handshakes": handshakes,
    "network": network,
    "create": create,
    "idle": idle,
    "growth": growth,
    "peer": peer,
}

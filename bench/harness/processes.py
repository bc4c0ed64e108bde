# SPDX-License-Identifier: Apache-2.0
"""Servers and load generators as child processes."""

import http.client
import json
import os
import select
import signal
import socket
import ssl
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from . import machine
from .certificates import Pair
from .statistics import quantile


STAND_IN = Path(__file__).resolve().parent.parent / "keyprotect-stand-in.mjs"


class Failure(Exception):
    """Something that was to be measured did not work; the text says what."""


def _start(command, cores, **options):
    """Starts a child in a group of its own, on the given cores."""
    def prepare():
        if cores is not None:
            os.sched_setaffinity(0, cores)

    return subprocess.Popen([str(part) for part in command], preexec_fn=prepare,
                            start_new_session=True, **options)


def _stop(process, patience=10):
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A running server: where it listens and what it has used."""

    def __init__(self, name, process, port, client, patience=10):
        self.name = name
        self.patience = patience  # seconds it may take to end
        self.port = port
        self.client = client  # certificate pair with which load generators come
        self._process = process
        self._tree = machine.process_tree(process.pid)

    def cpu_seconds(self):
        return sum(machine.cpu_seconds(pid) for pid in self._tree)

    def resident_bytes(self):
        return sum(machine.resident_bytes(pid) for pid in machine.process_tree(self._process.pid))

    def stop(self):
        _stop(self._process, self.patience)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


@dataclass(frozen=True)
class Programs:
    """What is measured and with what."""

    build: Path  # Meson's build directory
    cores: machine.Cores

    def program(self, name):
        return self.build / "bench" / name


def start_echo(programs, pair, client, answers, tickets=0, journal=None, program="echo"):
    """answers: {request length or 0 for any: answer size}. tickets: of TLS 1.3, for each full
    handshake. journal: the file to which it records each request before it answers. program:
    "echo", or "net_echo", which is one on top of src/net."""
    command = [programs.program(program), "--certificate", pair.certificate, "--key", pair.key,
               "--tickets", tickets]
    for length, size in answers.items():
        command += ["--answer", f"{length}={size}"]
    if journal is not None:
        command += ["--journal", journal]
    process = _start(command, programs.cores.server, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    if not line:
        raise Failure(f"{program} did not start")
    name = program if journal is None else "durable echo"
    return Server(name, process, int(line), client)


def wait_until_listening(process, port, name, log, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    _stop(process)
    tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
    raise Failure(f"{name} does not listen on port {port}\n{tail}")


@dataclass(frozen=True)
class Slice:
    """One slice of one load generator, as it reported it, and what the server used meanwhile."""

    report: dict
    server_cpu: float

    @property
    def units(self):
        """What is counted: connections where each is made anew, else requests."""
        return self.report["connections"] or self.report["requests"]

    def metrics(self):
        seconds = self.report["seconds"]
        latency = self.report["latency_us"]
        return {
            "rate": self.units / seconds,
            "server_cpu_us": self.server_cpu / self.units * 1e6,
            "server_load": self.server_cpu / seconds,
            "client_cpu_us": self.report["cpu_seconds"] / self.units * 1e6,
            "client_load": self.report["cpu_seconds"] / seconds,
            "p50_us": latency["p50"],
            "p99_us": latency["p99"],
            "max_us": latency["max"],
            "mean_us": latency["mean"],
        }


class Worker:
    """A child that works slice by slice when told to, and reports."""

    def __init__(self, name, command, cores):
        self.name = name
        self._process = _start(command, cores, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True)

    def _used(self):
        """CPU seconds of what is measured, so far."""
        raise NotImplementedError

    def _report(self, patience):
        ready, _, _ = select.select([self._process.stdout], [], [], patience)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            raise Failure(f"{self.name}: no report")
        report = json.loads(line)
        if report["errors"]:
            raise Failure(f"{self.name}: {report['errors']} errors, the first: "
                          f"{report['first_error']}")
        return report

    def _work(self, command, patience):
        before = self._used()
        try:
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise Failure(f"{self.name}: the load generator has ended") from error
        report = self._report(patience)
        result = Slice(report, self._used() - before)
        if result.units == 0:
            raise Failure(f"{self.name}: nothing was done in a whole slice")
        return result

    def run(self, milliseconds):
        return self._work(f"run {milliseconds}", milliseconds / 1000 + 60)

    def count(self, units, patience=1200):
        return self._work(f"count {units}", patience)

    def close(self):
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            _stop(self._process)
        self._process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Load(Worker):
    """A load generator: keeps its connections between slices."""

    def __init__(self, programs, server, operation="get", connections=1, **options):
        command = [programs.program("load"), "--port", server.port,
                   "--certificate", server.client.certificate, "--key", server.client.key,
                   "--operation", operation, "--connections", connections]
        for name, value in options.items():
            if value is None or value is False:
                continue
            command.append("--" + name.replace("_", "-"))
            if value is not True:
                command.append(value)
        self.server = server
        super().__init__(server.name, command, programs.cores.client)
        kept = not (options.get("connect") or options.get("bare"))
        self.opening = self._report(300) if kept else None

    def _used(self):
        return self.server.cpu_seconds()


class Commit(Worker):
    """The store alone, with so many waiters that share commits; it counts as the server."""

    def __init__(self, programs, directory, waiters, row):
        super().__init__("commit", [
            programs.program("commit"), "--path", directory / "store.db", "--waiters", waiters,
            "--attributes", row.attributes, "--wrapped", row.wrapped, "--terms", row.terms,
        ], programs.cores.server)

    def _used(self):
        return machine.cpu_seconds(self._process.pid)


PYKMIP_CONFIGURATION = """[server]
hostname=127.0.0.1
port={port}
certificate_path={server.certificate}
key_path={server.key}
ca_path={client.certificate}
auth_suite=TLS1.2
policy_path={directory}/policy
enable_tls_client_auth=True
logging_level=ERROR
database_path={directory}/pykmip.db
"""


def start_pykmip(programs, directory, server_pair, client_pair):
    """Debian's PyKMIP server. The certificates must be RSA, the client's with EKU clientAuth."""
    port = free_port()
    configuration = directory / "server.conf"
    (directory / "policy").mkdir()
    configuration.write_text(PYKMIP_CONFIGURATION.format(
        port=port, server=server_pair, client=client_pair, directory=directory))
    log = directory / "server.log"
    process = _start(["pykmip-server", "-f", configuration, "-l", log], programs.cores.server,
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until_listening(process, port, "PyKMIP's server", log)
    return Server("pykmip", process, port, client_pair, patience=1)


# What is measured is kmipd as an administrator finds it, but for these: as many loops as it has
# cores, and more idle connections of one client than one certificate may otherwise have.
KMIPD_CONFIGURATION = """[server]
certificate-algorithm = {algorithm}
[network]
loops = {loops}
connections-max = 20000
connections-per-certificate = 20000
"""
KMIPD_ALGORITHMS = {"ecdsa": "ecdsa-p256", "rsa": "rsa-3072"}


class Kmipd(Server):
    """kmipd with a state directory, which may be there already. Load generators come with its first
    certificate. more: further sections of the configuration; admin: no for a kmipd that is older
    than the administration API."""

    def __init__(self, programs, binary, state, kind="ecdsa", *, name="kmipd", more="",
                 environment=None, admin=True):
        port = free_port()
        configuration = Path(f"{state}.conf")
        configuration.write_text(KMIPD_CONFIGURATION.format(
            algorithm=KMIPD_ALGORITHMS[kind], loops=len(programs.cores.server or ())) + more)
        log = Path(f"{state}.log")
        with log.open("ab") as output:
            process = _start([binary, "--config", configuration, "--state", state,
                              "--listen", f"127.0.0.1:{port}",
                              *(("--admin", "off") if admin else ())],
                             programs.cores.server, stdout=output, stderr=output,
                             env={**os.environ, **(environment or {})})
        wait_until_listening(process, port, "kmipd", log)
        super().__init__(name, process, port,
                         Pair(state / "clients" / "default.pem", state / "clients" / "default.key"))
        self.pair = Pair(state / "server.pem", state / "server.key")
        self.store = state / "store.db"
        self.state = state


class StandIn(Server):
    """A stand-in for Key Protect, which answers after `latency` milliseconds. It runs beside the
    load generators: the server's core is for what is measured."""

    def __init__(self, programs, pair, latency):
        process = _start(["node", STAND_IN, pair.certificate, pair.key, "--latency", latency],
                         programs.cores.client, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         text=True)
        words = process.stdout.readline().split()
        if words[:1] != ["port"]:
            _stop(process)
            raise Failure("the stand-in for Key Protect did not start (it needs node)")
        super().__init__("key-protect", process, int(words[1]), pair)

    def _ask(self, command):
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], 60)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            raise Failure("the stand-in for Key Protect does not answer")
        return json.loads(line)

    def set_latency(self, milliseconds):
        self._ask(f"latency {milliseconds}")

    def unwraps(self):
        """How many keys it has unwrapped so far."""
        return self._ask("counts")["unwrap"]


class RoundTrips:
    """Clients of the stand-in itself: how long an answer of it takes just now, whoever asks."""

    def __init__(self, stand_in, clients=4):
        self._stand_in = stand_in
        self._end = threading.Event()
        self._seconds = []
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def _ask(self):
        trust = ssl.create_default_context(cafile=self._stand_in.client.certificate)
        connection = http.client.HTTPSConnection("localhost", self._stand_in.port, context=trust,
                                                 timeout=60)
        connection.connect()
        while not self._end.is_set():
            begun = time.monotonic()
            connection.request("GET", "/api/v2/keys")
            connection.getresponse().read()
            self._seconds.append(time.monotonic() - begun)
        connection.close()

    def latency_us(self):
        """In the form of a load generator's report."""
        if not self._seconds:
            raise Failure("the stand-in for Key Protect was never asked")
        return {name: quantile(self._seconds, fraction) * 1e6
                for name, fraction in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))}

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        for thread in self._threads:
            thread.join()

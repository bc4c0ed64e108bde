# SPDX-License-Identifier: Apache-2.0
"""vsphere-sim against the running server: every scenario, across restarts, with two servers, with
certificates that come and go; and that its disks are what it says, by other means."""

import json
import os
import pty
import re
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.support.certificates import let_in, self_signed
from tests.support.message import do
from tests.support.paths import program
from tests.support.server import Server
from tests.support.xaes import open_sealed

GOOD, FAILED, USAGE, SKIPPED = 0, 1, 2, 3
TIMEOUT = 120
SECTOR = 512

SCENARIOS = [
    "trust",
    "health",
    "encrypt",
    "power-on",
    "clone",
    "rekey-shallow",
    "rekey-deep",
    "core-dump",
    "vsan",
    "failover",
    "revoke",
    "restore",
    "destroy",
]


class Simulator:
    """vsphere-sim with a datastore of its own."""

    def __init__(self, folder: Path, *options):
        self.datastore = folder / "datastore"
        self.options = [*map(str, options), "--dir", str(self.datastore), "--hosts", "5"]

    @classmethod
    def of(cls, server: Server, folder: Path) -> "Simulator":
        return cls(folder, "--state", server.state, "--server", f"127.0.0.1:{server.port}")

    def command(self, *words):
        return [str(program("vsphere-sim")), *self.options, *map(str, words)]

    def run(self, *words, environment=None) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.command(*words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            timeout=TIMEOUT,
            env=environment,
        )

    def report(self, *words, code: int = GOOD) -> dict:
        """What it did, as JSON; it must end with `code`."""
        done = self.run(*words, "--json")
        assert done.returncode == code, done.stdout + done.stderr
        assert done.stderr == ""
        report = json.loads(done.stdout)
        check_report(report)
        return report

    def failure(self, *words, code: int = FAILED) -> str:
        """The detail of the one step that fails."""
        steps = [step for step in steps_of(self.report(*words, code=code)) if step["result"] != "ok"]
        assert len(steps) == 1, steps
        return steps[0]["detail"]

    def vm(self, name: str = "test01") -> dict:
        return json.loads((self.datastore / "vms" / f"{name}.json").read_text())

    def image(self, name: str = "test01") -> bytes:
        return (self.datastore / "vms" / f"{name}.img").read_bytes()

    def files(self):
        return [path for path in self.datastore.rglob("*") if path.is_file()]


def steps_of(report: dict) -> list:
    return [step for scenario in report["scenarios"] for step in scenario["steps"]]


def check_report(report: dict) -> None:
    """The JSON is what docs/vsphere-sim.md says."""
    assert list(report) == [
        "program", "version", "ok", "milliseconds", "steps", "failed", "skipped", "servers",
        "scenarios",
    ]  # fmt: skip
    assert report["program"] == "vsphere-sim"
    assert re.fullmatch(r"\d+\.\d+\.\d+", report["version"])
    assert report["servers"] and all(isinstance(server, str) for server in report["servers"])
    outcomes = [step["result"] for step in steps_of(report)]
    assert set(outcomes) <= {"ok", "failed", "skipped"}
    assert report["steps"] == len(outcomes)
    assert report["failed"] == outcomes.count("failed")
    assert report["skipped"] == outcomes.count("skipped")
    assert report["ok"] == (report["failed"] == 0 and report["skipped"] == 0)
    for scenario in report["scenarios"]:
        assert list(scenario) == ["scenario", "text", "steps", "ok", "milliseconds"]
        assert scenario["scenario"] in SCENARIOS
        assert scenario["ok"] == all(step["result"] != "failed" for step in scenario["steps"])
        for step in scenario["steps"]:
            assert list(step) == ["step", "result", "milliseconds", "detail"]
            assert 0 <= step["milliseconds"] <= scenario["milliseconds"] + 1


def fetch(server: Server, identifier: str) -> bytes:
    """The key, by another client."""
    with server.connect() as client:
        got = do(client, "Get", ("UniqueIdentifier", identifier)).succeeded()
    return got.get("SymmetricKey", "KeyBlock", "KeyValue", "KeyMaterial")


def unwrap(disk: dict, key: bytes) -> bytes:
    context = f"vsphere-sim DEK\0{disk['key_id']}\0{disk['uuid']}".encode()
    return open_sealed(key, context, bytes.fromhex(disk["wrapped_key"]))


def decrypt_sector(image: bytes, number: int, key: bytes) -> bytes:
    cipher = Cipher(algorithms.AES(key), modes.XTS(number.to_bytes(16, "little")))
    decryptor = cipher.decryptor()
    data = image[number * SECTOR : (number + 1) * SECTOR]
    return decryptor.update(data) + decryptor.finalize()


@pytest.fixture
def server(state):
    """A server for one test alone."""
    started = Server(state).start()
    yield started
    started.stop()


@pytest.fixture
def simulator(server, tmp_path):
    return Simulator.of(server, tmp_path)


# All of it


def test_all(server, simulator):
    report = simulator.report("all")
    assert [scenario["scenario"] for scenario in report["scenarios"]] == SCENARIOS
    assert all(step["result"] == "ok" for step in steps_of(report))
    # An administrator finds the keys by what vSphere wrote on them.
    found = server.ctl_json("object", "find", "--vm", "test01")["objects"]
    assert simulator.vm()["disk"]["key_id"] in [entry["id"] for entry in found]
    assert server.ctl_json("object", "find", "--host", "esxi01.example.com")["objects"]
    server.ctl("audit", "verify")


def test_all_again_on_the_same_datastore(simulator):
    simulator.report("trust", "encrypt")
    first = simulator.vm()["disk"]
    simulator.report("encrypt", "power-on")
    second = simulator.vm()["disk"]
    assert first["key_id"] != second["key_id"]
    assert first["uuid"] != second["uuid"]


def test_everything_restarts_in_between(server, tmp_path):
    """Only files and the server's store carry what was done from one process to the next."""
    parts = [
        ("trust", "encrypt"),
        ("power-on", "clone"),
        ("rekey-shallow",),
        ("core-dump", "vsan"),
        ("rekey-deep",),
        ("power-on", "revoke"),
        ("restore", "destroy"),
    ]
    for number, part in enumerate(parts):
        Simulator.of(server, tmp_path).report(*part)
        if number % 2 == 0:
            server.restart()
        else:
            server.kill()
            server.start()
    again = Simulator.of(server, tmp_path)
    for name in ("test01", "test01-clone", "test01-disabled"):
        again.report("power-on", "--vm", name)
    locked = again.failure("power-on", "--vm", "test01-destroyed")
    assert "KeyStateMissingInKMS" in locked


# That it really encrypts


def test_disk_by_other_means(server, simulator):
    """The image opens with the server's key alone, and holds what it should in every sector."""
    simulator.report("trust", "encrypt", "--disk-size", 1)
    disk, image = simulator.vm()["disk"], simulator.image()
    key = unwrap(disk, fetch(server, disk["key_id"]))
    assert len(image) == disk["sectors"] * SECTOR == 1 << 20
    for number in range(0, disk["sectors"], 97):
        line = f"{disk['label']} sector {number:012}\n".encode()
        expected = (line * (SECTOR // len(line) + 1))[:SECTOR]
        assert decrypt_sector(image, number, key) == expected
        assert decrypt_sector(image, number, bytes(range(64))) != expected
    with pytest.raises(InvalidTag):
        unwrap(disk, bytes(32))


def test_shallow_and_deep_rekey_by_other_means(server, simulator):
    simulator.report("trust", "encrypt", "--disk-size", 1)
    first, first_image = simulator.vm()["disk"], simulator.image()
    simulator.report("rekey-shallow")
    shallow, shallow_image = simulator.vm()["disk"], simulator.image()
    simulator.report("rekey-deep")
    deep, deep_image = simulator.vm()["disk"], simulator.image()
    assert len({disk["key_id"] for disk in (first, shallow, deep)}) == 3
    assert shallow_image == first_image and deep_image != first_image
    keys = [unwrap(disk, fetch(server, disk["key_id"])) for disk in (first, shallow, deep)]
    assert keys[0] == keys[1] != keys[2]
    for disk in (first, shallow, deep):  # vSphere leaves its old keys alone
        shown = server.ctl_json("object", "show", disk["key_id"])
        assert shown["state"] == "Active"


def test_no_secret_leaves_the_process(server, simulator):
    done = simulator.run("trust", "encrypt", "clone", "core-dump", "vsan", "--disk-size", 1)
    assert done.returncode == GOOD, done.stdout + done.stderr
    secrets = []
    for name in ("test01", "test01-clone"):
        disk = simulator.vm(name)["disk"]
        key = fetch(server, disk["key_id"])
        secrets += [key, unwrap(disk, key)[:32], unwrap(disk, key)[32:]]
    written = [path.read_bytes() for path in simulator.files()]
    for place in [*written, done.stdout.encode(), server.log().encode()]:
        for secret in secrets:
            assert secret not in place
            assert secret.hex().encode() not in place.lower()
    for path in simulator.files():
        assert path.stat().st_mode & 0o077 == 0, path


# What goes wrong


def test_destroyed_by_an_administrator(server, simulator):
    simulator.report("trust", "encrypt", "power-on")
    server.ctl("object", "destroy", simulator.vm()["disk"]["key_id"], "--yes")
    locked = simulator.failure("power-on")
    assert "KeyStateMissingInKMS" in locked and "keys are missing on KMS cluster" in locked


def test_disabled_and_restored_by_hand(server, tmp_path):
    """Without a state directory the simulator says what the administrator has to do."""
    remote = Simulator(
        tmp_path, "--server", f"127.0.0.1:{server.port}", "--ca", server.ca,
        "--cert", server.certificate, "--key", server.key,
    )  # fmt: skip
    remote.report("revoke")
    identifier = remote.vm("test01-disabled")["disk"]["key_id"]
    locked = remote.failure("power-on", "--vm", "test01-disabled")
    assert "KeyStateNotActiveOrEnabled" in locked
    advice = remote.failure("restore", code=SKIPPED)
    assert f"kmipctl object restore {identifier}" in advice
    server.ctl("object", "restore", identifier)
    remote.report("restore")
    remote.report("power-on", "--vm", "test01-disabled")


def test_certificate_removed_and_let_in_again(server, tmp_path):
    """A client that is no longer known is refused at once, and let in again without a restart."""
    certificate = self_signed(tmp_path, "vcenter")
    address = f"127.0.0.1:{server.port}"
    simulator = Simulator(
        tmp_path, "--server", address, "--ca", server.ca,
        "--cert", certificate.certificate, "--key", certificate.key,
    )  # fmt: skip
    for _ in range(2):
        with let_in(server, certificate):
            simulator.report("trust", "encrypt", "power-on")
        refused = simulator.failure("power-on")
        assert "KeyStateClusterUnreachable" in refused
        assert "Authentication Not Successful" in refused and "kmipctl cert add" in refused
    # The server's certificate can be had all the same, as vCenter shows it before it is known.
    report = simulator.report("trust", code=FAILED)
    outcomes = [(step["step"], step["result"]) for step in steps_of(report)]
    assert outcomes[0] == ("fetch the server's certificate", "ok")
    assert outcomes[-1] == ("Discover Versions, twice", "failed")


def test_another_server_in_its_place(server, tmp_path):
    address = f"127.0.0.1:{server.port}"
    simulator = Simulator(
        tmp_path, "--server", address, "--cert", server.certificate, "--key", server.key
    )
    assert "vsphere-sim trust" in simulator.failure("encrypt")
    simulator.report("trust", "encrypt")
    provider = simulator.datastore / "provider.json"
    pins = json.loads(provider.read_text())
    provider.write_text(json.dumps({address: "00" * 32}))
    refused = simulator.failure("power-on")
    assert "shows another certificate" in refused and pins[address] in refused
    trusted = steps_of(simulator.report("trust"))
    assert any("pinned anew" in step["detail"] for step in trusted)
    simulator.report("power-on")


def test_two_servers(server, made_state, tmp_path):
    """One of them dies, and work goes on with the other; the health check tells which."""
    second = Server(shutil.copytree(made_state, tmp_path / "second")).start()
    try:
        certificate = self_signed(tmp_path, "vcenter")
        addresses = [f"127.0.0.1:{each.port}" for each in (server, second)]
        simulator = Simulator(
            tmp_path, "--server", addresses[0], "--server", addresses[1],
            "--cert", certificate.certificate, "--key", certificate.key,
        )  # fmt: skip
        for each in (server, second):
            each.ctl("cert", "add", certificate.certificate)
        simulator.report("trust", "health", "encrypt", "power-on")
        server.kill()
        steps = steps_of(simulator.report("encrypt", "power-on", "failover", "vsan"))
        assert [step["detail"] for step in steps if step["step"] == "read the VM's key"] == [
            f"Active; from {addresses[1]}"
        ]
        steps = steps_of(simulator.report("health", code=FAILED))
        assert [step["result"] for step in steps] == ["failed", "ok", "ok"]
        second.kill()
        locked = simulator.failure("power-on")
        assert "KeyStateClusterUnreachable" in locked
        assert all(f"port {each.rpartition(':')[2]}" in locked for each in addresses)
    finally:
        second.kill()


def test_nobody_there(built, kmipd, tmp_path):
    simulator = Simulator(
        tmp_path, "--server", "127.0.0.1:1", "--cert", kmipd.certificate, "--key", kmipd.key
    )
    report = simulator.report("all", code=FAILED)
    assert [scenario["scenario"] for scenario in report["scenarios"]] == ["trust"]
    assert "is kmipd running?" in steps_of(report)[0]["detail"]


@pytest.mark.parametrize(
    "words, complaint",
    [
        ((), "what is to be done"),
        (("dance",), "no scenario"),
        (("all", "--cert", "/nonexistent", "--key", "/nonexistent"), "/nonexistent"),
        (("all", "--ca", "/nonexistent"), "/nonexistent"),
    ],
)
def test_usage(kmipd, tmp_path, words, complaint):
    done = Simulator.of(kmipd, tmp_path).run(*words)
    if "--ca" in words:  # found when a scenario begins
        assert done.returncode == FAILED and complaint in done.stdout
        return
    assert done.returncode == USAGE and done.stdout == ""
    assert done.stderr.startswith("vsphere-sim: ") and done.stderr.count("\n") == 1
    assert complaint in done.stderr


# Ways to speak


def test_credentials(server, tmp_path):
    password = tmp_path / "password"
    password.write_text("correct horse\n")
    password.chmod(0o600)
    server.ctl(
        "adapter", "set", "default", "--username", "vcenter", "--password-file", password
    )
    simulator = Simulator.of(server, tmp_path)
    simulator.options += ["--user", "vcenter", "--password-file", str(password)]
    simulator.report("trust", "encrypt", "power-on")
    password.write_text("wrong\n")
    assert "Authentication Not Successful" in simulator.failure("power-on")


@pytest.mark.parametrize("option, protocol", [("--tls12", "TLSv1.2"), (None, "TLSv1.3")])
def test_protocol(kmipd, tmp_path, option, protocol):
    words = ["trust", "health"] + ([option] if option else [])
    steps = steps_of(Simulator.of(kmipd, tmp_path).report(*words))
    shown = [step["detail"] for step in steps if step["step"].startswith("TLS handshake")]
    assert shown and all(protocol in detail for detail in shown)


def test_boot_storm(kmipd, tmp_path):
    """A cluster of the largest size that vSphere has, all of it at once."""
    steps = steps_of(Simulator.of(kmipd, tmp_path).report("vsan", "--hosts", 64))
    assert steps[-1]["step"] == "all hosts boot at once"
    assert steps[-1]["detail"].startswith("64 hosts, 192 handshakes")


# What people see


def on_a_terminal(command, environment) -> str:
    """The program's output with a terminal to write to."""
    master, slave = pty.openpty()
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    output, end = b"", time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        if not select.select([master], [], [], 1)[0]:
            continue
        try:
            data = os.read(master, 65536)
        except OSError:  # the other side is gone
            break
        if not data:
            break
        output += data
    os.close(master)
    assert process.wait(TIMEOUT) == GOOD, output.decode()
    return output.decode()


def environment(**more) -> dict:
    kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    return {**kept, "TERM": "xterm", **more}


def test_colours_on_a_terminal_alone(kmipd, tmp_path):
    simulator = Simulator.of(kmipd, tmp_path)
    command = simulator.command("trust", "encrypt", "--disk-size", 64)
    coloured = on_a_terminal(command, environment())
    assert "\x1b[32mok" in coloured and re.search(r"encrypt the disk  \d+ %", coloured)
    plain = on_a_terminal(simulator.command("trust"), environment(NO_COLOR="1"))
    assert "ok" in plain and not re.search(r"\x1b\[\d+m", plain)
    piped = simulator.run("trust", environment=environment())
    assert piped.returncode == GOOD and "\x1b" not in piped.stdout and "\r" not in piped.stdout


def test_table(kmipd, tmp_path):
    lines = Simulator.of(kmipd, tmp_path).run("trust", "encrypt").stdout.splitlines()
    steps = [line for line in lines if re.match(r"  ok +\d+\.\d ms  ", line)]
    assert len(steps) == 19
    assert len({line.index(" ms  ") for line in steps}) == 1, "times stand in one column"
    assert lines[-1].endswith("all as it should be")
    assert max(map(len, lines)) < 132


def test_help_and_version():
    command = str(program("vsphere-sim"))
    said = subprocess.run([command, "--help"], stdout=subprocess.PIPE, check=True).stdout.decode()
    assert re.findall(r"^  ([a-z-]+)  ", said, re.MULTILINE)[: len(SCENARIOS)] == SCENARIOS
    version = subprocess.run([command, "--version"], stdout=subprocess.PIPE, check=True).stdout
    assert re.fullmatch(rb"vsphere-sim \d+\.\d+\.\d+\n", version)

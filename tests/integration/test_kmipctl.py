# SPDX-License-Identifier: Apache-2.0
"""kmipctl: every command, as an administrator and as a script uses it."""

import json
import os
import pty
import re
import select
import shutil
import socket
import struct
import subprocess
import time
import uuid

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from tests.support.certificates import openssl, self_signed
from tests.support.message import ask, attribute, batch_item, create, do
from tests.support.paths import SOURCE, program
from tests.support.server import Server

FAILED, USAGE, UNREACHABLE, BROKEN = 1, 2, 3, 4
UNKNOWN_ID = "00000000-0000-7000-8000-000000000000"


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def kmipctl(*arguments, stdin="", **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [program("kmipctl"), *map(str, arguments)],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=60,
        **options,
    )


def refused(server, *arguments, code=FAILED) -> str:
    """A command that must fail, with one line of text, and nothing on standard output."""
    done = server.ctl(*arguments, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("kmipctl: ")
    if code == FAILED:
        assert done.stderr.count("\n") == 1
    return done.stderr


def commands():
    """Every command in the table, as it is written: ("cert", "add")."""
    rows = re.findall(
        r'^COMMAND\(\w+, \w+, "([a-z -]+)",', (SOURCE / "def" / "control.def").read_text(), re.M
    )
    return [tuple(words.split()) for words in rows]


def connect(server, folder, name):
    return server.connect(server.context(folder / f"{name}.pem", folder / f"{name}.key"))


@pytest.fixture
def adapter(kmipd):
    name = unique("adapter")
    kmipd.ctl("adapter", "create", name, "--description", "of a test")
    return name


@pytest.fixture
def client(kmipd, adapter, tmp_path):
    """A connection of a client of that adapter."""
    kmipd.ctl("cert", "issue", "client", "--adapter", adapter, "--out", tmp_path)
    with connect(kmipd, tmp_path, "client") as connection:
        yield connection


# Help


def test_help_names_every_command(built):
    text = kmipctl("--help").stdout
    for words in commands():
        assert re.search(rf"^  {' '.join(words)} ", text, re.MULTILINE)
    assert "Exit codes" in text


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_help_of_a_command(built, words):
    done = kmipctl(*words, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: kmipctl {' '.join(words)}")
    assert "--json" in done.stdout and "--state" in done.stdout


@pytest.mark.parametrize("group", ["adapter", "cert", "object", "audit"])
def test_help_of_a_group(built, group):
    text = kmipctl(group, "--help").stdout
    assert all(f"{group} {words[1]}" in text for words in commands() if words[0] == group)


def test_manual_has_every_command_and_option():
    manual = (SOURCE / "man" / "kmipctl.8").read_text().replace("\\-", "-")
    plain = re.sub(r"\\f[BIRP]", "", manual)
    table = (SOURCE / "def" / "control.def").read_text()
    for words in commands():
        assert " ".join(words) in plain or words == ("status",)
    for name in re.findall(r"^ARGUMENT\(\w+, \w+, (\w+), \w+, \w*OPTION,", table, re.MULTILINE):
        assert f"--{name.replace('_', '-')}" in plain, name


def test_version(built):
    assert kmipctl("--version").stdout.startswith("kmipctl ")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("bogus",),
        ("cert",),
        ("cert", "bogus"),
        ("cert", "list", "surplus"),
        ("cert", "list", "--bogus"),
        ("cert", "list", "--adapter"),
        ("cert", "list", "--adapter", "a", "--adapter", "b"),
        ("cert", "issue"),
        ("cert", "issue", "x", "--days", "many"),
        ("cert", "delete", "x", "--yes=1"),
        ("cert", "list", "--state"),
    ],
    ids=" ".join,
)
def test_wrong_command_line(built, arguments):
    done = kmipctl(*arguments)
    assert done.returncode == USAGE
    assert done.stderr.startswith("kmipctl: ")
    assert "--help" in done.stderr
    assert done.stdout == ""


# Finding the server


def test_no_server(built, tmp_path):
    done = kmipctl("--state", tmp_path, "status")
    assert done.returncode == UNREACHABLE
    assert str(tmp_path) in done.stderr and "--state" in done.stderr


def test_socket_and_state_may_be_named_anywhere(kmipd):
    for arguments in [
        ("status", "--state", kmipd.state),
        (f"--state={kmipd.state}", "status"),
        ("--socket", kmipd.state / "control.sock", "status"),
    ]:
        assert kmipctl(*arguments).returncode == 0


def test_state_in_the_working_directory(kmipd):
    assert kmipctl("status", cwd=kmipd.state.parent).returncode == 0


def test_path_longer_than_a_socket_address(made_state, tmp_path):
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    server = Server(shutil.copytree(made_state, deep / "state")).start()
    try:
        assert server.ctl_json("status")["state"] == str(server.state)
    finally:
        server.stop()


# Status


def test_status(kmipd):
    status = kmipd.ctl_json("status")
    assert (status["address"], status["port"]) == (kmipd.host, kmipd.port)
    assert status["process"] == kmipd.process.pid
    assert status["store"]["health"] == status["audit"]["health"] == "well"
    assert "Upkeep" not in kmipd.ctl("status").stdout  # nothing is rewrapped
    certificate = x509.load_pem_x509_certificate((kmipd.state / "server.pem").read_bytes())
    assert (
        status["certificate"]["sha256"].replace(":", "").lower()
        == certificate.fingerprint(hashes.SHA256()).hex()
    )
    before = status["connections"]
    with kmipd.connect() as client:
        ask(client, create(), create()).items[1].succeeded()
    with kmipd.connect():
        pass
    deadline = time.monotonic() + 10
    while kmipd.ctl_json("status")["connections"]["without_request"] == before["without_request"]:
        assert time.monotonic() < deadline
    after = kmipd.ctl_json("status")["connections"]
    assert after["requests"] > before["requests"]
    assert after["batch_items"] >= before["batch_items"] + 2
    text = kmipd.ctl("status").stdout
    assert "Health:" in text and "SHA-1:" in text


# Adapters


def test_adapter_life(kmipd):
    name, other = unique("lab"), unique("lab")
    kmipd.ctl("adapter", "create", name, "--description", "Größe ¼")
    row = next(x for x in kmipd.ctl_json("adapter", "list")["adapters"] if x["name"] == name)
    assert row["description"] == "Größe ¼"
    assert (row["certificates"], row["objects"]) == (0, 0)
    shown = kmipd.ctl_json("adapter", "show", row["uuid"])
    assert shown["root_key_state"] == "active" and shown["root_key"] == row["root_key"]
    kmipd.ctl("adapter", "set", name, "--new-name", other, "--description", "")
    assert kmipd.ctl_json("adapter", "show", other)["description"] == ""
    assert "adapter list" in refused(kmipd, "adapter", "show", name)
    kmipd.ctl("adapter", "delete", other, "--yes")
    assert all(x["name"] != other for x in kmipd.ctl_json("adapter", "list")["adapters"])


def test_adapter_names(kmipd, adapter):
    assert "already" in refused(kmipd, "adapter", "create", adapter)
    for name in ("x", "a b", "ä" * 3, "x" * 41, "a/b"):
        refused(kmipd, "adapter", "create", name)
    assert "already" in refused(kmipd, "adapter", "set", adapter, "--new-name", "default")


def test_adapter_with_objects_is_not_deleted(kmipd, adapter, client):
    made = ask(client, create()).only().succeeded().id
    assert "object list" in refused(kmipd, "adapter", "delete", adapter, "--yes")
    kmipd.ctl("object", "destroy", made, "--adapter", adapter, "--yes")
    kmipd.ctl("adapter", "delete", adapter, "--yes")
    ask(client, create()).only().failed("AuthenticationNotSuccessful")


def test_adapter_credential(kmipd, adapter, tmp_path):
    password = tmp_path / "password"
    password.write_text("swordfish\n")
    password.chmod(0o600)
    kmipd.ctl("adapter", "set", adapter, "--username", "vc", "--password-file", password)
    shown = kmipd.ctl("adapter", "show", adapter, "--json").stdout
    assert json.loads(shown)["username"] == "vc"
    assert "swordfish" not in shown and "scrypt" not in shown
    assert b"swordfish" not in (kmipd.state / "store.db").read_bytes()
    kmipd.ctl("adapter", "set", adapter, "--no-credential")
    assert "username" not in kmipd.ctl_json("adapter", "show", adapter)
    refused(kmipd, "adapter", "set", adapter, "--password-file", password)
    password.chmod(0o644)
    text = refused(kmipd, "adapter", "set", adapter, "--username", "vc", "--password-file", password)
    assert str(password) in text


# Certificates


def test_pasted_certificate(kmipd, tmp_path):
    name = unique("vcenter")
    made = self_signed(tmp_path, name)
    paste = f"Certificate:\r\n{made.certificate.read_text()}\n\n"
    done = kmipctl("--state", kmipd.state, "cert", "add", stdin=paste)
    assert done.returncode == 0, done.stderr
    assert name in done.stdout and "default" in done.stdout
    with connect(kmipd, tmp_path, name) as client:
        ask(client, create()).only().succeeded()
    listed = kmipd.ctl_json("cert", "list", "--adapter", "default")["certificates"]
    row = next(x for x in listed if x["name"] == name)
    kmipd.ctl("cert", "delete", row["sha256"], "--yes")
    with connect(kmipd, tmp_path, name) as client:
        ask(client, create()).only().failed("AuthenticationNotSuccessful")


@pytest.mark.parametrize(
    "text", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_pasted_nonsense(kmipd, text):
    done = kmipctl("--state", kmipd.state, "cert", "add", stdin=text)
    assert done.returncode == FAILED
    assert done.stderr.startswith("kmipctl: ")


def test_certificates_of_the_same_name(kmipd, tmp_path):
    """vCenter calls all its certificates alike; a name that nobody asked for is made unique."""
    name = unique("vcenter")
    added = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        made = self_signed(folder, name)
        added.append(kmipd.ctl_json("cert", "add", made.certificate))
    assert added[0]["name"] == name
    assert added[1]["name"] == f"{name}-{added[1]['sha256'][:8]}"
    again = self_signed(tmp_path, name)
    assert "--name" in refused(kmipd, "cert", "add", again.certificate, "--name", name)
    for row in added:
        kmipd.ctl("cert", "delete", row["name"], "--yes")


def test_signed_request(kmipd, tmp_path):
    """As vCenter's New Certificate Signing Request."""
    name = unique("csr")
    request, signed = tmp_path / "vcenter.csr", tmp_path / f"{name}.pem"
    openssl(
        "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / f"{name}.key",
        "-subj", f"/CN={name}/O=VMware", "-out", request,
    )  # fmt: skip
    kmipd.ctl("cert", "sign", request, "--out", signed, "--days", "30")
    with connect(kmipd, tmp_path, name) as client:
        ask(client, create()).only().succeeded()
    certificate = x509.load_pem_x509_certificate(signed.read_bytes())
    authority = x509.load_pem_x509_certificate(kmipd.ca.read_bytes())
    assert certificate.issuer == authority.subject
    assert 29 <= (certificate.not_valid_after - certificate.not_valid_before).days <= 31
    kmipd.ctl("cert", "delete", name, "--yes")
    printed = kmipd.ctl("cert", "sign", request).stdout
    x509.load_pem_x509_certificate(printed.encode())
    kmipd.ctl("cert", "delete", name, "--yes")
    refused(kmipd, "cert", "sign", signed)


def test_issued_key_stays_here(kmipd, tmp_path):
    name = unique("esx")
    kmipd.ctl("cert", "issue", name, "--out", tmp_path, "--days", "10")
    key_path, path = tmp_path / f"{name}.key", tmp_path / f"{name}.pem"
    assert key_path.stat().st_mode & 0o777 == 0o600
    key = serialization.load_pem_private_key(key_path.read_bytes(), None)
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    assert certificate.public_key().public_numbers() == key.public_key().public_numbers()
    assert "overwritten" in refused(kmipd, "cert", "issue", name, "--out", tmp_path)
    kmipd.ctl("cert", "delete", name, "--yes")


def test_failed_issue_leaves_nothing(kmipd, tmp_path):
    refused(kmipd, "cert", "issue", "x", "--out", tmp_path, "--adapter", "nobody")
    refused(kmipd, "cert", "issue", "../x", "--out", tmp_path)
    refused(kmipd, "cert", "issue", "y", "--out", tmp_path, "--days", "0")
    assert list(tmp_path.iterdir()) == []


def test_unknown_certificate(kmipd):
    assert "cert list" in refused(kmipd, "cert", "delete", "nobody", "--yes")


# Objects


def tag_as_vsphere(client, identifier, component, name):
    """What vCenter 7 writes at a key (kmip-clients §1.3)."""
    values = {
        "x-Product_Version": "7.0.3 build-19480866",
        "x-Vendor": "VMware, Inc.",
        "x-Product": "VMware vSphere",
        "x-Identifier": str(uuid.uuid4()),
        "x-Component": component,
        "x-Name": name,
    }
    items = [
        batch_item("AddAttribute", ("UniqueIdentifier", identifier), attribute(key, value))
        for key, value in values.items()
    ]
    for result in ask(client, *items, version=(1, 1)).items:
        result.succeeded()
    return values


def identifiers(listing):
    return [row["id"] for row in listing["objects"]]


def test_finding_what_vsphere_made(kmipd, adapter, client):
    vm, host, plain = (ask(client, create()).only().succeeded().id for _ in range(3))
    written = tag_as_vsphere(client, vm, "Virtual Machine", "db01")
    tag_as_vsphere(client, host, "ESXi Server", "db01")  # the same name, another component
    find = ("object", "find", "--adapter", adapter)
    assert identifiers(kmipd.ctl_json(*find, "--vm", "db01")) == [vm]
    assert identifiers(kmipd.ctl_json(*find, "--host", "db01")) == [host]
    assert identifiers(kmipd.ctl_json(*find, "--product", "VMware vSphere")) == [vm, host]
    by_id = f"x-Identifier={written['x-Identifier']}"
    assert identifiers(kmipd.ctl_json(*find, "--attribute", by_id)) == [vm]
    both = ("--attribute", by_id, "--attribute", "x-Name=db02")
    assert identifiers(kmipd.ctl_json(*find, *both)) == []
    assert identifiers(kmipd.ctl_json(*find, "--vm", "db0")) == []
    assert "--vm" in refused(kmipd, *find)
    assert "NAME=VALUE" in refused(kmipd, *find, "--attribute", "x-Name")
    text = kmipd.ctl(*find, "--vm", "db01").stdout
    assert vm in text and "Virtual Machine" in text and plain not in text
    assert "Nothing" in kmipd.ctl(*find, "--vm", "nobody").stdout


def test_listing(kmipd, adapter, client):
    made = [item.id for item in ask(client, *[create() for _ in range(5)]).items]
    listing = ("object", "list", "--adapter", adapter)
    assert identifiers(kmipd.ctl_json(*listing)) == made
    assert identifiers(kmipd.ctl_json(*listing, "--limit", "2")) == made[:2]
    do(client, "Activate", ("UniqueIdentifier", made[3])).succeeded()
    assert identifiers(kmipd.ctl_json(*listing, "--only", "active")) == [made[3]]
    assert "pre-active" in refused(kmipd, *listing, "--only", "happy")
    lines = kmipd.ctl(*listing).stdout.splitlines()
    assert lines[0].split()[:3] == ["ID", "TYPE", "STATE"]
    assert len({line.index("Symmetric Key") for line in lines[1:]}) == 1  # aligned


def test_long_listing_comes_whole(kmipd, adapter, client):
    made = []
    for _ in range(6):
        made += [item.id for item in ask(client, *[create() for _ in range(100)]).items]
    listing = ("object", "list", "--adapter", adapter)
    assert identifiers(kmipd.ctl_json(*listing)) == made
    assert identifiers(kmipd.ctl_json(*listing, "--limit", "550")) == made[:550]
    assert identifiers(kmipd.ctl_json(*listing, "--limit", "500")) == made[:500]


def test_restoring_a_deactivated_key(kmipd, adapter, client):
    made = ask(client, create()).only().succeeded().id
    one = ("UniqueIdentifier", made)
    do(client, "Activate", one).succeeded()
    show = ("object", "show", made, "--adapter", adapter)
    restore = ("object", "restore", made, "--adapter", adapter)
    assert "deactivated" in refused(kmipd, *restore)
    reason = [("RevocationReasonCode", "CessationOfOperation")]
    do(client, "Revoke", one, ("RevocationReason", reason)).succeeded()
    assert kmipd.ctl_json(*show)["state"] == "Deactivated"
    kmipd.ctl(*restore)
    assert kmipd.ctl_json(*show)["state"] == "Active"
    do(client, "Get", one).succeeded()
    reason = [("RevocationReasonCode", "KeyCompromise")]
    do(client, "Revoke", one, ("RevocationReason", reason)).succeeded()
    refused(kmipd, *restore)


def test_destroying(kmipd, adapter, client):
    made = ask(client, create()).only().succeeded().id
    do(client, "Activate", ("UniqueIdentifier", made)).succeeded()
    destroy = ("object", "destroy", made, "--adapter", adapter)
    assert "--yes" in refused(kmipd, *destroy)  # nobody there to be asked
    do(client, "Get", ("UniqueIdentifier", made)).succeeded()
    kmipd.ctl(*destroy, "--yes")
    do(client, "Get", ("UniqueIdentifier", made)).failed("PermissionDenied", "ItemNotFound")
    assert "before" in refused(kmipd, *destroy, "--yes")
    assert kmipd.ctl_json("object", "list", "--adapter", adapter)["objects"] == []
    destroyed = kmipd.ctl_json("object", "list", "--adapter", adapter, "--only", "destroyed")
    assert identifiers(destroyed) == [made]


def test_created_by_hand(kmipd, adapter, client):
    name = unique("primary")
    done = kmipd.ctl("object", "create", "--adapter", adapter, "--name", name)
    made = done.stdout.strip()
    got = do(client, "Get", ("UniqueIdentifier", made)).succeeded()
    assert len(got.get("SymmetricKey", "KeyBlock", "KeyValue", "KeyMaterial")) == 32
    shown = kmipd.ctl_json("object", "show", made, "--adapter", adapter)
    assert shown["state"] == "Active"
    assert shown["attributes"]["Name"] == name
    assert shown["attributes"]["Cryptographic Usage Mask"] == "Encrypt, Decrypt"
    assert "already" in refused(kmipd, "object", "create", "--adapter", adapter, "--name", name)


def test_no_key_is_ever_shown(kmipd, adapter, client):
    made = ask(client, create()).only().succeeded().id
    got = do(client, "Get", ("UniqueIdentifier", made)).succeeded()
    key = got.get("SymmetricKey", "KeyBlock", "KeyValue", "KeyMaterial")
    shown = kmipd.ctl("object", "show", made, "--adapter", adapter, "--json").stdout
    assert key.hex() not in shown.lower()


def test_adapters_are_apart(kmipd, adapter, client):
    made = ask(client, create()).only().succeeded().id
    for command in ("show", "restore"):
        assert "--adapter" in refused(kmipd, "object", command, made)
    assert "--adapter" in refused(kmipd, "object", "destroy", made, "--yes")
    assert "--adapter" in refused(kmipd, "object", "show", UNKNOWN_ID, "--adapter", adapter)
    assert "Unique Identifier" in refused(kmipd, "object", "show", "7", "--adapter", adapter)


def test_attributes_cannot_steer_the_terminal(kmipd, adapter, client):
    evil = "\033]0;owned\007\u009b31mname"
    made = ask(client, create(attribute("x-Name", evil))).only().succeeded().id
    text = kmipd.ctl("object", "list", "--adapter", adapter).stdout
    text += kmipd.ctl("object", "show", made, "--adapter", adapter).stdout
    assert "\033" not in text and "\007" not in text and "\u009b" not in text
    assert evil in kmipd.ctl_json("object", "show", made, "--adapter", adapter)["attributes"][
        "x-Name"
    ]


# At a terminal


class Terminal:
    """kmipctl with a person."""

    def __init__(self, *arguments):
        self.shown = b""
        self.process, self.master = pty.fork()
        if self.process == 0:
            os.execv(program("kmipctl"), ["kmipctl", *map(str, arguments)])

    def expect(self, text: str) -> None:
        end = time.monotonic() + 30
        while text.encode() not in self.shown:
            assert time.monotonic() < end, self.shown
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.shown += os.read(self.master, 4096)
                except OSError:
                    break
        assert text.encode() in self.shown, self.shown

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def end(self) -> int:
        while True:
            try:
                if not os.read(self.master, 4096):
                    break
            except OSError:
                break
        os.close(self.master)
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


def test_destroying_is_confirmed_by_hand(kmipd, adapter, client):
    made = ask(client, create()).only().succeeded().id
    tag_as_vsphere(client, made, "Virtual Machine", "db01")
    command = ("--state", kmipd.state, "object", "destroy", made, "--adapter", adapter)
    terminal = Terminal(*command)
    terminal.expect("db01")
    terminal.expect("last 8 characters")
    terminal.type("yes\n")
    assert terminal.end() == FAILED
    do(client, "Get", ("UniqueIdentifier", made)).succeeded()
    terminal = Terminal(*command)
    terminal.expect("last 8 characters")
    terminal.type(f"{made[-8:]}\n")
    assert terminal.end() == 0
    assert kmipd.ctl_json("object", "list", "--adapter", adapter)["objects"] == []


def test_password_is_asked_for_and_not_shown(kmipd, adapter):
    command = ("--state", kmipd.state, "adapter", "set", adapter, "--username", "vc")
    terminal = Terminal(*command)
    terminal.expect("Password: ")
    time.sleep(6)  # people are slower than the server waits for a request
    terminal.type("swordfisk\x7fh\n")
    terminal.expect("again: ")
    terminal.type("swordfish\n")
    terminal.expect("vc")
    assert b"swordfis" not in terminal.shown
    assert terminal.end() == 0
    terminal = Terminal(*command)
    terminal.expect("Password: ")
    terminal.type("one\n")
    terminal.expect("again: ")
    terminal.type("other\n")
    terminal.expect("differ")
    assert terminal.end() == FAILED
    terminal = Terminal(*command)
    terminal.expect("Password: ")
    terminal.type("\x03")
    assert terminal.end() == FAILED


# The audit log


def records(server, count=1000):
    text = server.ctl("audit", "tail", "--count", str(count), "--json").stdout
    return [json.loads(line) for line in text.splitlines()]


def test_administrators_are_on_record(kmipd, adapter):
    refused(kmipd, "adapter", "create", adapter)
    made = kmipd.ctl("object", "create", "--adapter", adapter).stdout.strip()
    mine = [row for row in records(kmipd) if row.get("adapter") == adapter]
    assert [(row["operation"], row["result"]) for row in mine[-3:]] == [
        ("adapter create", "Success"),
        ("adapter create", "Operation Failed"),
        ("object create", "Success"),
    ]
    assert mine[-1]["object"] == made
    assert mine[-1]["event"] == "admin"
    assert mine[-1]["certificate"].startswith(f"uid={os.getuid()} user=")


def test_reading_is_not_on_record(kmipd):
    before = records(kmipd, 1)[0]["seq"]
    for command in (("status",), ("adapter", "list"), ("cert", "list"), ("object", "list")):
        kmipd.ctl(*command)
    assert records(kmipd, 1)[0]["seq"] == before


def test_tail_follows(kmipd, adapter):
    process = subprocess.Popen(
        [program("kmipctl"), "--state", kmipd.state, "audit", "tail", "--follow", "--json"],
        stdout=subprocess.PIPE,
        universal_newlines=True,
    )
    try:
        process.stdout.readline()
        made = kmipd.ctl("object", "create", "--adapter", adapter).stdout.strip()
        assert any(made in line for line in iter(process.stdout.readline, ""))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def audited(made_state, tmp_path):
    """A server that has ended, with some records."""
    server = Server(shutil.copytree(made_state, tmp_path / "state")).start()
    for _ in range(5):
        server.ctl("object", "create")
    server.stop()
    return server


def verify(folder):
    done = kmipctl("audit", "verify", "--directory", folder, "--json")
    return done.returncode, json.loads(done.stdout)


def test_verify_without_a_server(audited):
    code, report = verify(audited.state / "audit")
    assert code == 0 and report["whole"] and report["records"] == report["last"] >= 8
    text = kmipctl("--state", audited.state, "audit", "verify").stdout
    assert "whole" in text and "No running server" in text


def test_verify_names_the_broken_record(audited):
    path = next((audited.state / "audit").glob("audit-*.jsonl"))
    lines = path.read_text().splitlines(keepends=True)
    lines[4] = lines[4].replace("Success", "success")
    path.write_text("".join(lines))
    code, report = verify(audited.state / "audit")
    assert code == BROKEN and not report["whole"]
    assert report["broken_record"] == 5
    done = kmipctl("--state", audited.state, "audit", "verify")
    assert done.returncode == BROKEN
    assert path.name in done.stderr and done.stdout == ""


def test_verify_finds_an_end_that_was_cut_off(kmipd, tmp_path):
    """A running server knows how far its log goes."""
    kmipd.ctl("object", "create")
    kmipd.ctl("audit", "verify")
    lines = [line + "\n" for line in kmipd.ctl("audit", "tail", "--json").stdout.splitlines()]
    assert lines
    copy = shutil.copytree(kmipd.state / "audit", tmp_path / "audit")
    path = sorted(copy.glob("audit-*.jsonl"))[-1]
    whole = path.read_bytes().rstrip(b"\0").splitlines(keepends=True)
    path.write_bytes(b"".join(whole[:-1]))
    state = tmp_path / "state"
    state.mkdir()
    shutil.move(str(copy), str(state / "audit"))
    done = kmipctl("--state", state, "--socket", kmipd.state / "control.sock", "audit", "verify")
    assert done.returncode == BROKEN
    assert "cut off" in done.stderr


def test_no_audit_log(built, tmp_path):
    done = kmipctl("audit", "verify", "--directory", tmp_path / "nothing")
    assert done.returncode in (FAILED, BROKEN)
    assert str(tmp_path / "nothing") in done.stderr


# The socket itself


def exchange(server, data: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(server.state / "control.sock"))
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while True:
            try:
                more = connection.recv(65536)
            except ConnectionResetError:
                break
            if not more:
                return answer
            answer += more
    return answer


def framed(text: bytes) -> bytes:
    return struct.pack(">I", len(text)) + text


def request(path, body, method="POST") -> bytes:
    return framed(json.dumps({"method": method, "path": path, "body": body}).encode())


@pytest.mark.parametrize(
    "command, body",
    [
        ("bogus", "{}"),
        ("audit/bogus", "{}"),
        ("status", "[]"),
        ("status", "nonsense"),
        ("status", '{"x":1}'),
        ("status", '{"x":1,"x":2}'),
        ("adapter/show", "{}"),
        ("adapter/show", ""),
        ("adapter/show", '{"name":1}'),
        ("adapter/show", '{"name":"a\\u0001b"}'),
        ("object/list", '{"limit":-1}'),
        ("object/find", '{"attribute":"x=y"}'),
        ("cert/add", '{"file":"/etc/shadow"}'),
        ("cert/add", "{}"),
    ],
)
def test_wrong_requests_are_refused(kmipd, command, body):
    answer = exchange(kmipd, request(f"/api/v2/kmipd/{command}", body))
    (length,) = struct.unpack(">I", answer[:4])
    answer = json.loads(answer[4 : 4 + length])
    assert 400 <= answer["status"] < 500
    assert json.loads(answer["body"])["resources"][0]["errorMsg"]
    kmipd.ctl("status")


def test_the_socket_carries_the_whole_api(kmipd):
    answer = exchange(kmipd, request("/api/v2/keys?limit=1", "", "GET"))
    (length,) = struct.unpack(">I", answer[:4])
    answer = json.loads(answer[4 : 4 + length])
    assert answer["status"] == 200 and answer["headers"]["correlation-id"]
    assert "collectionTotal" in json.loads(answer["body"])["metadata"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0",
        b"\xff\xff\xff\xff",
        framed(b"nonsense"),
        framed(b"[]"),
        framed(b"[" * 100000),
        framed(b'{"a":1,"a":2}'),
        framed(b"{}"),
        framed(b'{"method":"GET"}'),
        framed(b'{"method":"BREW","path":"/api/v2/keys"}'),
        framed(b'{"method":7,"path":7,"headers":7,"body":7}'),
        struct.pack(">I", 100) + b"{",
        framed(b"")[:4],
    ],
)
def test_broken_messages_end_the_connection(kmipd, data):
    assert exchange(kmipd, data) == b""
    kmipd.ctl("status")


def test_a_silent_client_does_not_hold_others_up(kmipd):
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(kmipd.state / "control.sock"))
        silent.sendall(b"\0")
        begin = time.monotonic()
        kmipd.ctl("status")
        assert time.monotonic() - begin < 15

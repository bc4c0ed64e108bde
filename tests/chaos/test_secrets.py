# SPDX-License-Identifier: Apache-2.0
"""Where keys and passphrases must not be: in files, logs, the process's environment, its memory
once they were used, and nowhere that another user or a core dump shows."""

import base64
import contextlib
import os
import re
import secrets
import shutil
import signal
import sqlite3
import ssl
import subprocess

import pytest

from tests.chaos.load import eventually, get, material_of
from tests.support import ttlv
from tests.support.client import Closed
from tests.support.formats import open_sealed_file, unwrap
from tests.support.message import aes_template, ask, attribute, create, do, field, request
from tests.support.paths import plain_program, program
from tests.support.server import Server, StartFailed
from tests.support.ttlv import Type

NOBODY = 65534


def spellings(secret: bytes):
    """What a secret looks like where somebody wrote it down: raw, hexadecimal, base64 at each
    offset (without what its neighbours have a part in)."""
    forms = {secret, secret.hex().encode(), secret.hex().upper().encode(), secret[::-1]}
    for offset in range(3):
        text = base64.b64encode(bytes(offset) + secret).rstrip(b"=")
        forms.add(text[4 if offset else 0 : -2])
        forms.add(text[4 if offset else 0 : -2].translate(bytes.maketrans(b"+/", b"-_")))
    return forms


class Needles:
    """Secrets to look for."""

    def __init__(self, named):
        self.named = {
            form: name for name, secret in named.items() for form in spellings(secret)
        }
        self.pattern = re.compile(b"|".join(map(re.escape, self.named)))

    def found_in(self, data):
        return {self.named[match] for match in self.pattern.findall(data)}


def register(client, kind, structure, *more):
    """Registers an object that holds a secret."""
    return do(
        client, "Register", ("ObjectType", kind), *more, (kind, structure)
    ).succeeded().id  # fmt: skip


def key_block(secret, form="Raw", *more):
    material = field("KeyMaterial", secret, Type.BYTE_STRING)
    value = field("KeyValue", [material], Type.STRUCTURE)
    return ("KeyBlock", [("KeyFormatType", form), value, *more])


def work_with_secrets(server):
    """Makes and reads secrets in every way there is; returns them."""
    known = {name: secrets.token_bytes(32) for name in ("key", "data", "opaque", "refused")}
    with server.connect() as client:
        aes = [("CryptographicAlgorithm", "AES"), ("CryptographicLength", 256)]
        ids = [
            register(client, "SymmetricKey", [key_block(known["key"], "Raw", *aes)],
                     aes_template()),
            register(client, "SecretData", [("SecretDataType", "Password"),
                                            key_block(known["data"], "Opaque")],
                     ("TemplateAttribute", [])),
            register(client, "OpaqueObject", [("OpaqueDataType", 0x80000001),
                                              ("OpaqueDataValue", known["opaque"])],
                     ("TemplateAttribute", [])),
        ]  # fmt: skip
        made = [ask(client, create()).only().succeeded().id for _ in range(3)]
        for identifier in ids + made:
            for _ in range(2):
                result = get(client, identifier).succeeded()
        known["created"] = material_of(result)
        rekeyed = do(client, "ReKey", ("UniqueIdentifier", made[0])).succeeded().id
        known["rekeyed"] = material_of(get(client, rekeyed).succeeded())
        wrong = [key_block(known["refused"], "Raw", *aes), ("Operation", "Get")]
        do(
            client, "Register", ("ObjectType", "SymmetricKey"), aes_template(),
            ("SymmetricKey", wrong),
        ).failed("InvalidMessage")  # fmt: skip
    for cut in (60, 1):  # a key on its way, when the client is gone
        with server.connect() as client, contextlib.suppress(Closed):
            item = create()
            data = ttlv.encode(request(item)) + known["refused"]
            client.send(data[:-cut])
    for identifier in ids + made:
        server.ctl("object", "show", identifier)
    server.ctl("object", "list")
    return known


def check_files(server, needles, *allowed):
    for path in [*server.state.rglob("*"), server.log_path]:
        if path.is_file() and path not in allowed:
            assert not needles.found_in(path.read_bytes()), path


def check_process(server, needles):
    process = f"/proc/{server.process.pid}"
    for name in ("environ", "cmdline", "comm", "maps", "status"):
        with open(f"{process}/{name}", "rb") as file:
            assert not needles.found_in(file.read()), name


@pytest.fixture
def sealed_by_passphrase(tmp_path):
    """A configuration with a passphrase, and the passphrase."""
    passphrase, path = secrets.token_urlsafe(24), tmp_path / "passphrase"
    path.touch(mode=0o600)
    path.write_text(passphrase + "\n")
    config = tmp_path / "kmipd.conf"
    config.write_text(
        f"[keys]\nsealing = passphrase-file\nsealing-file = {path}\n[server]\nlog-level = debug\n"
    )
    return config, passphrase.encode()


def wrapped_in(state):
    with contextlib.closing(sqlite3.connect(state / "store.db")) as store:
        return [bytes(row[0]) for row in store.execute("SELECT wrapped FROM object")]


def test_no_secret_in_files_or_process(built, tmp_path, sealed_by_passphrase):
    config, passphrase = sealed_by_passphrase
    with Server(tmp_path / "state", arguments=("--config", str(config))) as server:
        known = work_with_secrets(server)
        root_keys = open_sealed_file(server.state / "keyholder" / "root-keys.sealed", passphrase)
        known["passphrase"] = passphrase
        known.update({f"root key {name.hex()}": key for (name, _), key in root_keys.items()})
        needles = Needles(known)
        check_files(server, needles)
        check_process(server, needles)
        server.restart()
        server.kill()
        check_files(server, needles)  # also what recovery will read
        server.start()
        server.stop()
        check_files(server, needles)
        # And the search would have found them: they are there, wrapped.
        opened = b"".join(unwrap(blob, root_keys) for blob in wrapped_in(server.state) if blob)
        assert needles.found_in(opened) == {"key", "data", "opaque", "created", "rekeyed"}


def test_sealing_key_is_only_in_its_file(state):
    path = state / "keyholder" / "root-keys.key"
    sealing_key = bytes.fromhex(path.read_text())
    root_keys = open_sealed_file(state / "keyholder" / "root-keys.sealed", sealing_key)
    needles = Needles({"sealing key": sealing_key, "root key": next(iter(root_keys.values()))})
    with Server(state) as server:
        work_with_secrets(server)
        check_files(server, needles, path)
        check_process(server, needles)
    check_files(server, needles, path)


# Memory


def regions(pid):
    """The readable memory of a process."""
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
        for line in maps:
            bounds, mode, *rest = line.split(maxsplit=5)
            if mode.startswith("r") and not line.rstrip().endswith(("[vvar]", "[vsyscall]")):
                start, end = (int(each, 16) for each in bounds.split("-"))
                yield start, end, rest[-1].strip() if len(rest) == 4 else ""


def found_in_memory(pid, needles):
    """Which secrets there are, and in what region."""
    found = set()
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for start, end, name in regions(pid):
            with contextlib.suppress(OSError):  # guard pages
                memory.seek(start)
                data = memory.read(end - start)
                found |= {(secret, name or hex(start)) for secret in needles.found_in(data)}
    return found


@contextlib.contextmanager
def idle_connections(server, known):
    """Connections that have sent and received keys, and stay."""
    with contextlib.ExitStack() as stack:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = server.context()
            context.maximum_version = version
            client = stack.enter_context(server.connect(context))
            secret = known[f"sent by {version.name}"] = secrets.token_bytes(32)
            structure = [("OpaqueDataType", 0x80000001), ("OpaqueDataValue", secret)]
            template = ("TemplateAttribute", [])
            get(client, register(client, "OpaqueObject", structure, template)).succeeded()
        yield


@pytest.fixture
def lookable():
    if os.geteuid() != 0:
        pytest.skip("needs root, to look into another process")


def test_no_secret_stays_in_memory(built, lookable, tmp_path, sealed_by_passphrase):
    """Once used, keys stay only in the cache, and that is encrypted; passphrases not at all."""
    config, passphrase = sealed_by_passphrase
    server = Server(
        tmp_path / "state",
        arguments=("--config", str(config)),
        command=(str(plain_program("kmipd")),),
    )
    with server:
        known = work_with_secrets(server)
        known["marker"] = secrets.token_hex(16).encode()  # no secret: what is read again is kept
        with server.connect() as client:
            marked = attribute("x-marker", known["marker"].decode())
            get(client, ask(client, create(marked)).only().succeeded().id).succeeded()
        known["passphrase"] = passphrase
        with idle_connections(server, known):
            try:
                found = found_in_memory(server.process.pid, Needles(known))
            except PermissionError:
                pytest.skip("no right to look into another process, not even as root")
        assert {secret for secret, _ in found} == {"marker"}, found


def as_nobody(command):
    return ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *command)


@pytest.fixture
def server_of_nobody(state, lookable):
    """A server that runs as an ordinary user."""
    for path in [state, *state.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    for folder in state.parents:  # the test's folders are root's own
        if folder.stat().st_uid == 0 and folder.stat().st_mode & 0o001 == 0:
            folder.chmod(0o711)
    binary = shutil.copy(program("kmipd"), state.parent / "kmipd")
    server = Server(state, command=as_nobody((str(binary),)))
    try:
        server.start()
    except StartFailed as failure:
        assert "LimitMEMLOCK" in str(failure)
        pytest.skip("ordinary users may not lock enough memory here (ulimit -l)")
    yield server
    server.kill()


def test_its_own_user_cannot_look(server_of_nobody):
    """Nor can whoever got into another program of that user."""
    pid = server_of_nobody.process.pid
    script = (
        "import ctypes, sys\n"
        "for name in ('mem', 'environ', 'maps', 'io'):\n"
        "    try:\n"
        "        open(f'/proc/{sys.argv[1]}/{name}', 'rb').read(1)\n"
        "        print('readable:', name)\n"
        "    except OSError:\n"
        "        pass\n"
        "if ctypes.CDLL(None).ptrace(16, int(sys.argv[1]), 0, 0) == 0:\n"  # PTRACE_ATTACH
        "    print('can be traced')\n"
    )
    done = subprocess.run(
        as_nobody(("/usr/bin/python3", "-c", script, str(pid))),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=True,
    )
    assert done.stdout == b""
    # The same look at a process that does not protect itself shows that it would have been seen.
    plain = subprocess.Popen(as_nobody(("sleep", "60")))
    try:
        eventually(lambda: os.stat(f"/proc/{plain.pid}").st_uid == NOBODY)
        done = subprocess.run(
            as_nobody(("/usr/bin/python3", "-c", script, str(plain.pid))), stdout=subprocess.PIPE
        )
        assert b"readable: environ" in done.stdout
    finally:
        plain.kill()
        plain.wait()


def test_no_core_dump(state):
    """Though SIGABRT asks for one."""
    server = Server(state).start()
    with server.connect() as client:
        ask(client, create()).only().succeeded()
    server.process.send_signal(signal.SIGABRT)
    ended = os.waitid(os.P_PID, server.process.pid, os.WEXITED | os.WNOWAIT)
    server.reap()
    assert ended.si_status == signal.SIGABRT
    assert ended.si_code == os.CLD_KILLED, "dumped"

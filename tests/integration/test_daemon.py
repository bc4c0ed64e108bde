# SPDX-License-Identifier: Apache-2.0
"""kmipd as a daemon: its first start, what it says when it cannot start, reload, and its end."""

import contextlib
import datetime
import hashlib
import os
import pwd
import random
import re
import resource
import shutil
import signal
import socket
import sqlite3
import ssl
import stat
import subprocess
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from tests.support.disk import fill, mounted
from tests.support.message import ask, batch_item, create
from tests.support.paths import program
from tests.support.server import Server, StartFailed, free_port, group_members

FAILED, USAGE, CONFIG = 1, 2, 3
TIME_STAMP = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+Z (\w+) (.*)$")


def run(*arguments, **options) -> subprocess.CompletedProcess:
    """Runs kmipd to its end."""
    return subprocess.run(
        [program("kmipd"), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=60,
        **options,
    )


def refuses(state, *words: str, arguments=(), code=FAILED, listen=None) -> str:
    """A start that must fail: with this exit code, and one line for people that says `words`."""
    done = run("--state", state, "--listen", listen or f"127.0.0.1:{free_port()}",
               "--admin", "off", *arguments)
    assert done.returncode == code, done.stderr
    said = [TIME_STAMP.match(line) for line in done.stderr.splitlines()]
    complaints = [match.group(2) for match in said if match and match.group(1) == "CRITICAL"]
    assert len(complaints) == 1, done.stderr
    for word in words:
        assert word.lower() in complaints[0].lower(), complaints[0]
    return complaints[0]


def contents(folder) -> dict:
    """The bytes of all files in a state directory that mean something."""
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith("lock")
    }


@contextlib.contextmanager
def serving(state, *arguments):
    server = Server(state, arguments=tuple(map(str, arguments))).start()
    try:
        yield server
    finally:
        if server.alive():
            server.stop()


def eventually(check, seconds=20.0):
    """Waits until check() is true, and returns what it gave."""
    end = time.monotonic() + seconds
    while True:
        found = check()
        if found or time.monotonic() > end:
            assert found, check
            return found
        time.sleep(0.02)


def served_certificate(server) -> bytes:
    pem = ssl.get_server_certificate((server.host, server.port))
    return ssl.PEM_cert_to_DER_cert(pem)


def works(server) -> None:
    with server.connect() as client:
        ask(client, create()).only().succeeded()


# The first start


def test_first_start_makes_everything(built, tmp_path):
    with serving(tmp_path / "state") as server:
        works(server)
        modes = {
            path.relative_to(server.state): stat.S_IMODE(path.stat().st_mode)
            for path in [server.state, *server.state.rglob("*")]
        }
        public = {"ca.pem", "server.pem", "default.pem"}
        for path, mode in modes.items():
            assert mode & 0o077 == 0 or path.name in public, f"{path} is {mode:o}"
        assert stat.S_ISSOCK((server.state / "control.sock").stat().st_mode)
        certificate = x509.load_pem_x509_certificate((server.state / "server.pem").read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert "localhost" in names.get_values_for_type(x509.DNSName)
        assert socket.gethostname() in names.get_values_for_type(x509.DNSName)
        assert "127.0.0.1" in map(str, names.get_values_for_type(x509.IPAddress))
        lifetime = certificate.not_valid_after - certificate.not_valid_before
        assert lifetime > datetime.timedelta(days=3650)


def test_first_start_says_what_to_do(made_state):
    said = (made_state.parent / "state.log").read_text()
    der = ssl.PEM_cert_to_DER_cert((made_state / "server.pem").read_text())
    digits = re.sub(r"[^0-9A-F]", "", said.upper())
    assert hashlib.sha1(der).hexdigest().upper() in digits
    assert hashlib.sha256(der).hexdigest().upper() in digits
    for word in ("Key Providers", "Trust", "cert add", "cert sign", "WARNING", "--listen"):
        assert word in said
    assert str(made_state / "clients" / "default.pem") in said
    banner = said[said.index("kmipd 0") :]
    paths = (str(made_state), "kmipctl")
    assert all(len(line) <= 90 for line in banner.splitlines() if not any(p in line for p in paths))
    assert "\033" not in said


def test_second_start_is_quick_and_quiet(state):
    times = []
    for _ in range(3):
        begin = time.monotonic()
        with serving(state) as server:
            times.append(time.monotonic() - begin)
            assert "Add it to vCenter" not in server.log()
    assert min(times) < 1.0, times


def test_first_start_may_be_killed_at_any_instant(built, tmp_path):
    """Whatever it had done by then, the next start goes on from there."""
    state, chance = tmp_path / "state", random.Random(5)
    for _ in range(12):
        process = subprocess.Popen(
            [program("kmipd"), "--state", state, "--listen", f"127.0.0.1:{free_port()}", "--admin", "off"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(chance.uniform(0.0, 0.8))
        process.kill()
        process.wait()
    with serving(state) as server:
        works(server)
        adapters = server.ctl_json("adapter", "list")["adapters"]
        assert [adapter["name"] for adapter in adapters] == ["default"]
        assert len(server.ctl_json("cert", "list")["certificates"]) == 1
        server.ctl("audit", "verify")


def test_more_names_and_elliptic_certificate(built, tmp_path):
    config = tmp_path / "kmipd.conf"
    config.write_text(
        "[server]\nnames = kms1.example.com, 192.0.2.77\ncertificate-algorithm = ecdsa-p256\n"
        "certificate-validity = 100d\n"
    )
    with serving(tmp_path / "state", "--config", config) as server:
        certificate = x509.load_der_x509_certificate(served_certificate(server))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert "kms1.example.com" in names.get_values_for_type(x509.DNSName)
        assert "192.0.2.77" in map(str, names.get_values_for_type(x509.IPAddress))
        assert certificate.public_key().curve.name == "secp256r1"
        left = certificate.not_valid_after - datetime.datetime.utcnow()
        assert datetime.timedelta(days=99) < left < datetime.timedelta(days=101)


# Sealing


def test_passphrase_file(built, tmp_path):
    passphrase, config = tmp_path / "passphrase", tmp_path / "kmipd.conf"
    passphrase.write_text("correct horse battery staple\nnot this\n")
    passphrase.chmod(0o600)
    config.write_text(f"[keys]\nsealing = passphrase-file\nsealing-file = {passphrase}\n")
    state = tmp_path / "state"
    with serving(state, "--config", config) as server:
        works(server)
        assert "sealed under a key file" not in server.log()
    assert not (state / "keyholder" / "root-keys.key").exists()
    with serving(state, "--config", config) as server:
        works(server)
    passphrase.write_text("wrong horse\n")
    before = contents(state)
    refuses(state, "root-keys.sealed", "passphrase", arguments=("--config", config))
    assert contents(state) == before
    passphrase.chmod(0o644)
    refuses(state, str(passphrase), arguments=("--config", config))


def test_credential(built, tmp_path, monkeypatch):
    credentials, config = tmp_path / "credentials", tmp_path / "kmipd.conf"
    credentials.mkdir()
    (credentials / "kmipd.sealing").write_bytes(os.urandom(32))
    (credentials / "kmipd.sealing").chmod(0o400)
    config.write_text("[keys]\nsealing = credential\n")
    refuses(tmp_path / "state", "credential", arguments=("--config", config))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    with serving(tmp_path / "state", "--config", config) as server:
        works(server)


def test_sealing_anew(state, tmp_path):
    """From the key file of a first try to a passphrase; the same keys."""
    passphrase, config = tmp_path / "passphrase", tmp_path / "kmipd.conf"
    passphrase.write_text("correct horse battery staple\n")
    passphrase.chmod(0o600)
    config.write_text(f"[keys]\nsealing = passphrase-file\nsealing-file = {passphrase}\n")
    with serving(state) as server:
        with server.connect() as client:
            made = ask(client, create()).only().succeeded().id
        done = run("--state", state, "--reseal", config)
        assert done.returncode == FAILED and "another kmipd" in done.stderr
    done = run("--state", state, "--reseal", config)
    assert done.returncode == 0, done.stderr
    assert "root-keys.key" in done.stdout
    assert not (state / "keyholder" / "root-keys.sealed.previous").exists()
    refuses(state, "root-keys.sealed", "passphrase")
    (state / "keyholder" / "root-keys.key").unlink()
    with serving(state, "--config", config) as server:
        with server.connect() as client:
            item = batch_item("Get", ("UniqueIdentifier", made))
            ask(client, item).only().succeeded()
        assert "reseal" in [row["operation"] for row in audit(server)]
    done = run("--state", tmp_path / "other", "--reseal", config)
    assert done.returncode == FAILED
    config.write_text("[keys]\nsealing = hope\n")
    assert run("--state", state, "--reseal", config).returncode == CONFIG


def test_prompt_needs_a_terminal(built, tmp_path):
    config = tmp_path / "kmipd.conf"
    config.write_text("[keys]\nsealing = prompt\n")
    done = run(
        "--state", tmp_path / "state", "--config", config, start_new_session=True
    )  # fmt: skip
    assert done.returncode == FAILED
    assert "terminal" in done.stderr


# The keyholder's directory


KEYHOLDER_FILES = ("root-keys.sealed", "root-keys.sealed.previous", "root-keys.key")


def as_layout_1(state):
    """The state as it was when the keyholder had no directory of its own."""
    for path in (state / "keyholder").iterdir():
        path.rename(state / path.name)
    (state / "keyholder").rmdir()
    (state / "version").write_text("1\n")


def keyholder_of(server) -> int:
    """The process id of a server's keyholder."""
    children = group_members(server.process.pid)
    (found,) = [
        child for child in children
        if b"keyholder" in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
    ]  # fmt: skip
    return found


@pytest.fixture
def used_state(state):
    """A state whose root key was rotated, and the identifier of a key in it."""
    with serving(state) as server:
        with server.connect() as client:
            made = ask(client, create()).only().succeeded().id
        rotate(server)
    assert {path.name for path in (state / "keyholder").iterdir()} == set(KEYHOLDER_FILES)
    return state, made


def rotate(server):
    (root_key,) = server.ctl_json("root-key", "list")["root_keys"]
    server.ctl("root-key", "rotate", root_key["id"])


def still_has(server, made):
    with server.connect() as client:
        ask(client, batch_item("Get", ("UniqueIdentifier", made))).only().succeeded()


@pytest.mark.parametrize("moved", range(len(KEYHOLDER_FILES) + 1))
def test_former_layout_is_moved(used_state, moved):
    """Also where a start was killed after so many files."""
    state, made = used_state
    before = {name: (state / "keyholder" / name).read_bytes() for name in KEYHOLDER_FILES}
    as_layout_1(state)
    (state / "keyholder").mkdir(mode=0o700)
    for name in KEYHOLDER_FILES[:moved]:
        (state / name).rename(state / "keyholder" / name)
    if moved == 0:
        (state / "keyholder").rmdir()
    with serving(state) as server:
        still_has(server, made)
        assert (state / "version").read_text() == "2\n"
        assert {name: (state / "keyholder" / name).read_bytes() for name in before} == before
        assert not any((state / name).exists() for name in before)
        rotate(server)
    assert stat.S_IMODE((state / "keyholder").stat().st_mode) == 0o700


def test_former_layout_with_two_of_a_file(used_state):
    state, _ = used_state
    as_layout_1(state)
    (state / "keyholder").mkdir(mode=0o700)
    shutil.copy2(state / "root-keys.sealed", state / "keyholder")
    before = contents(state)
    refuses(state, "root-keys.sealed", "both")
    assert contents(state) == before


def test_former_layout_with_a_key_file_that_the_configuration_names(used_state, tmp_path):
    state, made = used_state
    as_layout_1(state)
    config = tmp_path / "kmipd.conf"
    config.write_text(f"[keys]\nsealing-file = {state / 'root-keys.key'}\n")
    with serving(state, "--config", config) as server:
        still_has(server, made)
    assert (state / "root-keys.key").exists()


def test_former_layout_is_resealed(used_state, tmp_path):
    state, made = used_state
    as_layout_1(state)
    passphrase, config = tmp_path / "passphrase", tmp_path / "kmipd.conf"
    passphrase.write_text("correct horse battery staple\n")
    passphrase.chmod(0o600)
    config.write_text(f"[keys]\nsealing = passphrase-file\nsealing-file = {passphrase}\n")
    done = run("--state", state, "--reseal", config)
    assert done.returncode == 0, done.stderr
    with serving(state, "--config", config) as server:
        still_has(server, made)


def test_keyholder_directory_open_to_others(state):
    (state / "keyholder").chmod(0o750)
    refuses(state, str(state / "keyholder"), "chmod 700")


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root starts it as another user")


@needs_root
def test_keyholder_of_another_user(used_state, tmp_path):
    state, made = used_state
    nobody, config = pwd.getpwnam("nobody"), tmp_path / "kmipd.conf"
    config.write_text("[keys]\nkeyholder-user = nobody\n")
    with serving(state, "--config", config) as server:
        status = Path(f"/proc/{keyholder_of(server)}/status").read_text()
        assert f"Uid:\t{nobody.pw_uid}\t{nobody.pw_uid}\t{nobody.pw_uid}" in status
        assert f"Gid:\t{nobody.pw_gid}\t{nobody.pw_gid}\t{nobody.pw_gid}" in status
        assert "CapEff:\t0000000000000000" in status
        still_has(server, made)
        rotate(server)
        os.kill(keyholder_of(server), signal.SIGKILL)  # and it is started again the same way
        eventually(lambda: "keyholder started" in server.log().split("keyholder ended")[-1])
        rotate(server)
        still_has(server, made)
    owners = {path.name: path.stat().st_uid for path in (state / "keyholder").iterdir()}
    assert set(owners.values()) == {nobody.pw_uid}, owners
    assert (state / "keyholder").stat().st_uid == nobody.pw_uid
    assert (state / "store.db").stat().st_uid == 0
    done = run("--config", config, "--state", state, "--reseal", config)
    assert done.returncode == 0, done.stderr
    with serving(state, "--config", config) as server:  # given to it once more
        still_has(server, made)
    with serving(state) as server:  # and taken back
        still_has(server, made)
        rotate(server)
    assert (state / "keyholder").stat().st_uid == 0


@needs_root
def test_first_start_with_a_keyholder_of_another_user(built, tmp_path):
    config = tmp_path / "kmipd.conf"
    config.write_text("[keys]\nkeyholder-user = nobody\n")
    with serving(tmp_path / "state", "--config", config) as server:
        works(server)
        rotate(server)


@needs_root
def test_keyholder_of_nobody_known(state, tmp_path):
    config = tmp_path / "kmipd.conf"
    config.write_text("[keys]\nkeyholder-user = no-such-user\n")
    refuses(state, "no-such-user", "keyholder-user", arguments=("--config", config))


# The clock


def test_clock_behind_the_last_run(state):
    with contextlib.closing(sqlite3.connect(state / "store.db")) as store:
        ((value,),) = store.execute("SELECT value FROM value WHERE name = 'audit-head'")
        later = int((time.time() + 7200) * 1000).to_bytes(8, "big")
        store.execute("UPDATE value SET value = ? WHERE name = 'audit-head'", (value[:-8] + later,))
        store.commit()
    with serving(state) as server:
        warning = [line for line in server.log().splitlines() if "clock stands" in line]
        assert len(warning) == 1 and "NTP" in warning[0] and "WARNING" in warning[0]
        works(server)


# What keeps it from starting


def test_port_taken(state):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        listen = "127.0.0.1:%d" % other.getsockname()[1]
        refuses(state, listen, "in use", listen=listen)


def test_address_of_another_machine(state):
    refuses(state, "192.0.2.1", listen="192.0.2.1:5696")


def test_second_daemon_on_the_same_state(state):
    with serving(state) as server:
        refuses(state, "another kmipd", str(server.process.pid), str(state), "--state")
        works(server)


def test_wrong_root_key(state):
    (state / "keyholder" / "root-keys.key").write_text(os.urandom(32).hex() + "\n")
    before = contents(state)
    refuses(state, "root-keys", "key")
    assert contents(state) == before


@pytest.mark.parametrize("name", ["keyholder/root-keys.key", "keyholder/root-keys.sealed", "store.db"])
def test_missing_file_is_not_made_anew(state, name):
    (state / name).unlink()
    before = contents(state)
    refuses(state, name, "backup" if "key" not in name.split(".")[-1] else name)
    assert not (state / name).exists()
    assert contents(state) == before


def test_sealed_keys_damaged(state):
    path = state / "keyholder" / "root-keys.sealed"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    refuses(state, str(path))


def test_sealing_key_open_to_others(state):
    (state / "keyholder" / "root-keys.key").chmod(0o644)
    refuses(state, "root-keys.key")


@pytest.mark.parametrize("damage", ["header", "middle", "cut"])
def test_store_damaged(state, damage):
    path = state / "store.db"
    data = bytearray(path.read_bytes())
    if damage == "header":
        data[:100] = os.urandom(100)
    elif damage == "middle":
        data[4096:] = os.urandom(len(data) - 4096)
    else:
        del data[len(data) // 2 :]
    path.write_bytes(data)
    refuses(state, "store.db", "backup")


def test_store_of_a_newer_version(state):
    with contextlib.closing(sqlite3.connect(state / "store.db")) as store:
        store.execute("PRAGMA user_version = 999")
        store.commit()
    refuses(state, "store.db", "newer")


def test_state_of_a_newer_version(state):
    (state / "version").write_text("7\n")
    refuses(state, str(state), "newer")


def test_audit_log_tampered_with(state):
    path = sorted((state / "audit").glob("audit-*.jsonl"))[-1]
    path.write_text(path.read_text().replace('"operation":"setup"', '"operation":"nothing"'))
    refuses(state, "audit", path.name)


def test_audit_log_cut_off(state):
    path = sorted((state / "audit").glob("audit-*.jsonl"))[-1]
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:1]))
    refuses(state, "audit")


def test_state_open_to_others(state):
    state.chmod(0o755)
    refuses(state, str(state), "chmod 700")


def test_state_is_a_file(tmp_path, built):
    (tmp_path / "state").write_text("")
    refuses(tmp_path / "state", str(tmp_path / "state"))


def test_state_without_its_parent(tmp_path, built):
    refuses(tmp_path / "a" / "state", str(tmp_path / "a" / "state"), "directory")


def test_too_little_locked_memory(state):
    """As an ordinary user, whose limit holds."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become an ordinary user")
    for path in [state, *state.rglob("*")]:
        os.chown(path, 65534, 65534)

    def in_child():
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
        os.setgid(65534)
        os.setuid(65534)

    for folder in [state, *state.parents]:  # the test's folders are root's own
        if folder.stat().st_uid == 0 and folder.stat().st_mode & 0o001 == 0:
            folder.chmod(0o711)
    shutil.copy(program("kmipd"), state.parent / "kmipd")
    done = subprocess.run(
        [state.parent / "kmipd", "--state", state, "--listen", f"127.0.0.1:{free_port()}", "--admin", "off"],
        preexec_fn=in_child,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=60,
    )
    assert done.returncode == FAILED
    assert "LimitMEMLOCK" in done.stderr


def test_read_only_state(made_state, tmp_path):
    with mounted(tmp_path / "disk", "8m") as disk:
        state = shutil.copytree(made_state, disk / "state")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        refuses(state, "read-only", str(state))


def test_full_disk_at_first_start(built, tmp_path):
    with mounted(tmp_path / "disk", "64k") as disk:
        refuses(disk / "state", "space left")
        assert not (disk / "state" / "version").exists()
        subprocess.run(["mount", "-o", "remount,size=32m", disk], check=True)
        with serving(disk / "state") as server:
            works(server)


def test_full_disk_at_start(made_state, tmp_path):
    with mounted(tmp_path / "disk", "8m") as disk:
        state = shutil.copytree(made_state, disk / "state")
        ballast = fill(disk)
        refuses(state, "space")
        ballast.unlink()
        with serving(state) as server:
            works(server)


# The server certificate


def sign_server(state, days_valid: int):
    """A server certificate for the server's own key that ends in so many days."""
    key = serialization.load_pem_private_key((state / "server.key").read_bytes(), None)
    now = datetime.datetime.utcnow()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=400))
        .not_valid_after(now + datetime.timedelta(days=days_valid))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (state / "server.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


@pytest.mark.parametrize("days, words", [(-1, "has expired"), (20, "expires on")])
def test_certificate_near_its_end_is_served_with_a_warning(state, days, words):
    sign_server(state, days)
    with serving(state) as server:
        warning = eventually(lambda: [x for x in server.log().splitlines() if words in x])
        assert "WARNING" in warning[0] and "server.pem" in warning[0]
        assert words in server.ctl("status").stdout
        served_certificate(server)


def test_certificate_of_another_key(state):
    shutil.copy(state / "clients" / "default.pem", state / "server.pem")
    refuses(state, "server")


def test_removed_certificate_is_made_anew_for_the_same_key(state):
    before = x509.load_pem_x509_certificate((state / "server.pem").read_bytes())
    with serving(state) as server:
        (state / "server.pem").unlink()
        server.process.send_signal(signal.SIGHUP)
        eventually((state / "server.pem").exists)
        eventually(lambda: "reload done" in server.log())
        after = x509.load_der_x509_certificate(served_certificate(server))
        assert after.serial_number != before.serial_number
        assert after.public_key().public_numbers() == before.public_key().public_numbers()
        works(server)


# Command line and configuration


def test_help_and_version(built):
    assert "--listen" in run("--help").stdout
    assert run("--version").stdout.startswith("kmipd ")


@pytest.mark.parametrize("arguments", [("--bogus",), ("argument",), ("--listen",)])
def test_wrong_command_line(built, arguments):
    done = run(*arguments)
    assert done.returncode == USAGE
    assert "--help" in done.stderr


def test_check_config(built, tmp_path):
    config = tmp_path / "kmipd.conf"
    config.write_text("[server]\nlog-level = loud\nstat = x\n")
    done = run("--check-config", "--config", config)
    assert done.returncode == CONFIG
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"{config}:2: ") and "critical, error" in lines[0]
    assert lines[1].startswith(f"{config}:3: ") and "log-level" in lines[1]
    assert run("--config", config, "--state", tmp_path / "state").returncode == CONFIG
    assert not (tmp_path / "state").exists()
    config.write_text(run("--print-config").stdout)
    assert run("--check-config", "--config", config).returncode == 0


def test_listen_must_be_an_address(built):
    done = run("--listen", "kms.example:5696")
    assert done.returncode == CONFIG
    assert "--listen" in done.stderr and "192.0.2.10:5696" in done.stderr


def test_manual_pages_are_well_formed(built, tmp_path):
    generated = tmp_path / "kmipd.conf.5"
    generated.write_text(run("--print-man-config").stdout)
    from tests.support.paths import SOURCE

    for page in [generated, SOURCE / "man" / "kmipd.8", SOURCE / "man" / "kmipctl.8"]:
        done = subprocess.run(
            ["groff", "-man", "-ww", "-Tutf8", page], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert done.returncode == 0 and done.stderr == b"", done.stderr.decode()
        assert len(done.stdout) > 1000


# Reload


def test_reload(state, tmp_path):
    config = tmp_path / "kmipd.conf"
    config.write_text("[server]\nlog-level = notice\n")
    with serving(state, "--config", config) as server:
        config.write_text("[server]\nlog-level = info\n[network]\nidle-timeout = 1h\n")
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: "reload done" in server.log())
        assert 'key="[server] log-level" taken up' in server.log()
        assert 'key="[network] idle-timeout" has changed, but a restart' in server.log()
        config.write_text("[server]\nlog-level = loud\n")
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: "done with mistakes" in server.log())
        assert f"{config}:2: " in server.log()
        works(server)
        assert '"operation":"reload"' in server.ctl("audit", "tail", "--json").stdout


def test_reload_takes_up_a_new_certificate(state):
    with serving(state) as server:
        before = served_certificate(server)
        with server.connect() as client:
            sign_server(state, 300)
            server.process.send_signal(signal.SIGHUP)
            eventually(lambda: "reload done" in server.log())
            assert served_certificate(server) != before
            ask(client, create()).only().succeeded()  # a connection from before goes on


def test_reload_keeps_the_certificate_when_the_new_one_is_wrong(state):
    with serving(state) as server:
        before = served_certificate(server)
        (state / "server.pem").write_text("nonsense")
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: "server certificate kept" in server.log())
        assert served_certificate(server) == before
        works_with = server.context()
        with server.connect(works_with) as client:
            ask(client, create()).only().succeeded()


# Its end


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_ends_as_asked(state, name):
    with serving(state) as server:
        with server.connect() as idle:
            ask(idle, create()).only().succeeded()
            begin = time.monotonic()
            server.process.send_signal(getattr(signal, name))
            assert server.process.wait(20) == 0
            assert time.monotonic() - begin < 8  # an idle connection does not hold it up
            idle.expect_closed()
        log = server.log()
        server.reap()
        assert "stopped" in log
        assert not (state / "control.sock").exists()


def test_request_that_has_begun_is_answered(state):
    from tests.support import ttlv
    from tests.support.message import Answer, request

    with serving(state) as server:
        with server.connect() as client:
            data = ttlv.encode(request(create()))
            client.send(data[: len(data) // 2])
            time.sleep(0.2)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            client.send(data[len(data) // 2 :])
            Answer(ttlv.decode(client.receive())).only().succeeded()
        assert server.process.wait(20) == 0
        server.reap()


def test_what_was_made_is_there_after_a_restart(state):
    with serving(state) as server:
        with server.connect() as client:
            made = [ask(client, create()).only().succeeded().id for _ in range(5)]
        server.restart()
        with server.connect() as client:
            for identifier in made:
                item = batch_item("Get", ("UniqueIdentifier", identifier))
                ask(client, item).only().succeeded()
        server.ctl("audit", "verify")
        events = [x["operation"] for x in audit(server) if x["event"] == "server"]
        assert events[-3:] == ["start", "stop", "start"]


def audit(server):
    import json

    text = server.ctl("audit", "tail", "--count", "100000", "--json").stdout
    return [json.loads(line) for line in text.splitlines()]


# The service manager


class Manager:
    """The other side of sd_notify(3)."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(30)
        self.path = path

    def expect(self, *wanted: str) -> None:
        """Reads messages until one has all of these lines."""
        while True:
            lines = self.socket.recv(4096).decode().splitlines()
            if all(any(line.startswith(word) for line in lines) for word in wanted):
                return


def test_service_manager(state, tmp_path, monkeypatch):
    manager = Manager(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(manager.path))
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    with serving(state) as server:
        manager.expect("READY=1", "STATUS=")
        for _ in range(3):
            manager.expect("WATCHDOG=1")
        server.process.send_signal(signal.SIGHUP)
        manager.expect("RELOADING=1", "MONOTONIC_USEC=")
        manager.expect("READY=1")
        server.process.send_signal(signal.SIGTERM)
        manager.expect("STOPPING=1")
        assert server.process.wait(20) == 0
        server.reap()


def test_failed_start_is_told_to_the_service_manager(state, tmp_path, monkeypatch):
    manager = Manager(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(manager.path))
    (state / "keyholder" / "root-keys.sealed").unlink()
    refuses(state, "root-keys.sealed")
    manager.expect("STATUS=")


# The process


def test_process_is_protected(state):
    with serving(state) as server:
        limits = open(f"/proc/{server.process.pid}/limits").read()
        assert re.search(r"Max core file size\s+0\s+0\s", limits)
        status = open(f"/proc/{server.process.pid}/status").read()
        locked = int(re.search(r"VmLck:\s+(\d+) kB", status).group(1))
        assert locked >= 1024
        if os.geteuid() != 0:  # not dumpable: not even its own user may look
            with pytest.raises(PermissionError):
                open(f"/proc/{server.process.pid}/environ").read()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_control_socket_is_for_its_own_user(state):
    with serving(state) as server:
        path = state / "control.sock"
        for folder in [state, *state.parents]:
            if folder.stat().st_mode & 0o001 == 0:
                folder.chmod(folder.stat().st_mode | 0o011)
        path.chmod(0o666)  # the kernel's answer, who it is, decides; not the mode
        script = (
            "import os, socket, struct, sys\n"
            "os.setgid(65534); os.setuid(65534)\n"
            "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
            "t = b'{\"command\":\"status\",\"arguments\":{}}'\n"
            "try: s.sendall(struct.pack('>I', len(t)) + t)\n"
            "except BrokenPipeError: pass  # refused already\n"
            "data = b''\n"
            "while True:\n"
            "    try: more = s.recv(65536)\n"
            "    except ConnectionResetError: break\n"
            "    if not more: break\n"
            "    data += more\n"
            "print(data[4:].decode())\n"
        )
        done = subprocess.run(
            ["/usr/bin/python3", "-c", script, path],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
        )
        assert "PERMISSION_DENIED" in done.stdout, done.stderr
        assert "version" not in done.stdout
        assert "control connection refused uid=65534" in server.log()
        server.ctl("status")

# SPDX-License-Identifier: Apache-2.0
"""A kmipd of its own for tests: started on a free port with a fresh state, stopped for certain."""

import ctypes
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from tests.support.client import Client, tls_context
from tests.support.paths import program

START_TIMEOUT = 60.0  # the first start makes RSA keys; sanitizer builds on a busy machine are slow
STOP_TIMEOUT = 30.0
COMMAND_TIMEOUT = 60.0
START_ATTEMPTS = 5  # another process may take the free port before the server binds it
LOG_TAIL = 12000

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _in_child() -> None:
    # Should the test run itself be killed, the server goes with it.
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def group_members(group: int) -> List[int]:
    """The live processes of a process group; the dead that nobody has waited for do not count."""
    members = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            state, _, process_group = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:3]
        except (OSError, ValueError):
            continue
        if int(process_group) == group and state not in "ZX":
            members.append(int(entry.name))
    return members


class StartFailed(Exception):
    """The server ended before it served; the text holds its exit code and log."""


class Server:
    """One kmipd. `state` may be fresh or that of an earlier server."""

    running: List["Server"] = []

    def __init__(
        self,
        state: Path,
        arguments: Tuple[str, ...] = (),
        environment: Optional[Dict[str, str]] = None,
        command: Optional[Tuple[str, ...]] = None,
        admin: bool = False,
    ):
        """`command`: another binary than kmipd's usual one, and what runs it. `admin`: serve the
        administration API over HTTPS as well, on `admin_port`: the same after each restart, because
        others have it in their configuration."""
        self.state = state
        self.command = command or (program("kmipd"),)
        self.arguments = arguments
        self.environment = {**os.environ, **(environment or {})}
        self.host = "127.0.0.1"
        self.port = 0
        self.admin = admin
        self.admin_port = 0
        self.has_served = False
        self.process: Optional[subprocess.Popen] = None
        self.log_path = state.parent / f"{state.name}.log"

    # Files that the first start makes

    @property
    def ca(self) -> Path:
        return self.state / "ca.pem"

    @property
    def certificate(self) -> Path:
        return self.state / "clients" / "default.pem"

    @property
    def key(self) -> Path:
        return self.state / "clients" / "default.key"

    # Life

    def __enter__(self) -> "Server":
        return self.start()

    def __exit__(self, failure, *_) -> None:
        if failure is None:
            self.stop()
        else:
            self.kill()

    def start(self) -> "Server":
        """Starts and waits until it serves."""
        for attempt in range(START_ATTEMPTS):
            try:
                self._spawn(free_port())
                self._wait_until_ready()
                self.has_served = True
                return self
            except StartFailed as failure:
                if "in use" not in str(failure) or attempt == START_ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    def _spawn(self, port: int) -> None:
        self.port = port
        self.state.parent.mkdir(parents=True, exist_ok=True)
        if self.admin and not self.has_served:
            self.admin_port = free_port()
        admin = f"{self.host}:{self.admin_port}" if self.admin else "off"
        listen = ("--listen", f"{self.host}:{port}", "--admin", admin)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*self.command, *listen, "--state", self.state, *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,
                preexec_fn=_in_child,
            )
        Server.running.append(self)

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + START_TIMEOUT
        while time.monotonic() < end:
            if self.process.poll() is not None:
                code = self.reap()
                raise StartFailed(f"kmipd ended with {code} while starting\n{self.log()}")
            if self._accepts():
                return
            time.sleep(0.02)
        self.kill()
        raise StartFailed(f"kmipd did not serve within {START_TIMEOUT} s\n{self.log()}")

    def _accepts(self) -> bool:
        try:
            socket.create_connection((self.host, self.port), timeout=1).close()
        except OSError:
            return False
        return self.certificate.exists()

    def reap(self) -> int:
        """Waits for the supervisor's end; nothing of its process group may outlive it."""
        code = self.process.wait()
        Server.running.remove(self)
        group, self.process = self.process.pid, None
        end = time.monotonic() + 2
        while group_members(group) and time.monotonic() < end:
            time.sleep(0.02)
        left = group_members(group)
        if left:
            os.killpg(group, signal.SIGKILL)
            raise AssertionError(f"kmipd ended with {code} but left processes: {left}")
        return code

    def stop(self) -> None:
        """Asks it to end (SIGTERM) and insists on exit code 0."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"kmipd did not stop on SIGTERM\n{self.log()}") from None
        code = self.reap()
        assert code == 0, f"kmipd stopped with exit code {code}\n{self.log()}"

    def kill(self) -> None:
        """Takes all its processes away at once, as a power cut would."""
        if self.process is None:
            return
        os.killpg(self.process.pid, signal.SIGKILL)
        self.reap()

    def restart(self) -> None:
        self.stop()
        self.start()

    # What tests ask of it

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def log(self) -> str:
        """The end of everything the server has printed."""
        if not self.log_path.exists():
            return ""
        return self.log_path.read_bytes()[-LOG_TAIL:].decode("utf-8", "replace")

    def memory(self) -> int:
        """Resident bytes of all its processes together."""
        total = 0
        for member in group_members(self.process.pid):
            try:
                status = Path(f"/proc/{member}/status").read_text()
            except OSError:
                continue
            total += sum(
                int(line.split()[1]) << 10
                for line in status.splitlines()
                if line.startswith("VmRSS:")
            )
        return total

    def context(self, certificate: Optional[Path] = None, key: Optional[Path] = None):
        """A TLS context that checks the server and shows the default client's certificate."""
        return tls_context(self.ca, certificate or self.certificate, key or self.key)

    def connect(self, context=None, **options) -> Client:
        return Client((self.host, self.port), context or self.context(), **options)

    def ctl(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        """Runs kmipctl against this server."""
        done = subprocess.run(
            [program("kmipctl"), "--state", str(self.state), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            timeout=COMMAND_TIMEOUT,
        )
        if check and done.returncode != 0:
            raise AssertionError(
                f"kmipctl {' '.join(map(str, arguments))}: exit code {done.returncode}\n"
                f"{done.stdout}{done.stderr}"
            )
        return done

    def ctl_json(self, *arguments: str):
        """What kmipctl --json prints, parsed."""
        return json.loads(self.ctl(*arguments, "--json").stdout)

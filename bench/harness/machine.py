# SPDX-License-Identifier: Apache-2.0
"""Cores, clocks and limits of the machine, and what a reader must know about it."""

import os
import platform
import resource
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cores:
    """Where servers and load generators run; None: wherever the scheduler likes."""

    server: frozenset | None
    client: frozenset | None

    @property
    def pinned(self):
        return self.server is not None


def choose_cores(pinned):
    """One core each, the highest two: interrupts usually go to core 0."""
    allowed = sorted(os.sched_getaffinity(0))
    if not pinned or len(allowed) < 2:
        return Cores(None, None)
    return Cores(server=frozenset(allowed[-1:]), client=frozenset(allowed[-2:-1]))


def raise_file_limit(wanted):
    """Raises the limit of open files as far as allowed and returns what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted and os.geteuid() == 0:
        hard = wanted
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def process_tree(pid):
    """The process and all its descendants."""
    children = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
        except OSError:
            continue  # gone meanwhile
        parent = int(stat[stat.rindex(")") + 2:].split()[1])
        children.setdefault(parent, []).append(int(entry.name))
    tree = [pid]
    for member in tree:
        tree.extend(children.get(member, []))
    return tree


def cpu_seconds(pid):
    """CPU time of one process with all its threads, to the nanosecond: the kernel's per-process
    clock, which (unlike /proc/PID/stat) does not count in ticks of 10 ms."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError as error:
        raise RuntimeError(f"process {pid} is gone") from error


def resident_bytes(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"process {pid} has no memory: it has ended")


def _cpu_model():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _output(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def filesystem(path):
    """Type of the file system where state is kept: a sync costs nothing on tmpfs."""
    return _output("stat", "--file-system", "--format=%T", str(path))


def describe(cores):
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "kernel": platform.release(),
        "openssl": _output("openssl", "version"),
        "pinned": cores.pinned,
    }

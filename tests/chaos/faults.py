# SPDX-License-Identifier: Apache-2.0
"""The test's side of faults.c: calls of the server that fail when the test says so."""

import errno
import mmap
import struct
import subprocess
from contextlib import contextmanager
from pathlib import Path

SOURCE = Path(__file__).with_name("faults.c")

KINDS = ("store", "audit")
CALLS = ("read", "write", "sync")
SIZE = 8 + 8 * len(KINDS) * len(CALLS)


def compile_faults(folder: Path) -> Path:
    """The library to preload."""
    library = folder / "faults.so"
    done = subprocess.run(
        ["cc", "-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-O2", "-shared",
         "-fPIC", "-o", library, SOURCE],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout.decode()
    return library


class Faults:
    """The page that the library looks at."""

    def __init__(self, library: Path, path: Path):
        path.write_bytes(bytes(SIZE))
        with open(path, "r+b") as file:
            self._page = mmap.mmap(file.fileno(), SIZE)
        self.environment = {"LD_PRELOAD": str(library), "FAULTS": str(path)}

    def close(self) -> None:
        self._page.close()

    @staticmethod
    def _place(kind: str, call: str) -> int:
        return 8 + 8 * (KINDS.index(kind) * len(CALLS) + CALLS.index(call))

    def set(self, kind: str, call: str, failure: int) -> None:
        """`failure` is an errno, 0 for none."""
        struct.pack_into("=i", self._page, self._place(kind, call), failure)

    def count(self, kind: str, call: str) -> int:
        """How many calls have failed so far."""
        return struct.unpack_from("=i", self._page, self._place(kind, call) + 4)[0]

    @contextmanager
    def failing(self, kind: str, call: str, failure: int = errno.EIO):
        """Such calls fail while the block lasts, and at least one did."""
        before = self.count(kind, call)
        self.set(kind, call, failure)
        yield
        self.set(kind, call, 0)
        assert self.count(kind, call) > before, f"no {call} of the {kind} was tried"

    def move_clock(self, seconds: float) -> None:
        """Sets the server's wall clock, so far from the truth."""
        struct.pack_into("=q", self._page, 0, round(seconds * 1000))

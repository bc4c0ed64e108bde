# SPDX-License-Identifier: Apache-2.0
"""Where things are: the source tree, what the build made, the vectors beside the checkout."""

import os
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
DEFINITIONS = SOURCE / "def"
VECTORS = SOURCE.parent / "shared" / "vectors"
OASIS = VECTORS / "oasis"
VCENTER = VECTORS / "vcenter-7.0.3"


def program(name: str) -> Path:
    """A program of the project: NAME_BIN in the environment, or the build's default place."""
    variable = f"{name.upper().replace('-', '_')}_BIN"
    return Path(os.environ.get(variable, SOURCE / "build" / "src" / "bin" / name))


def tool(name: str) -> Path:
    """A program of tests/tools, beside the server's binary: in the same build directory."""
    return program("kmipd").parents[2] / "tests" / "tools" / name


def is_sanitized(binary: Path) -> bool:
    """Whether a program was built with AddressSanitizer."""
    return b"__asan_init" in binary.read_bytes()


def plain_program(name: str) -> Path:
    """A program without sanitizers, for tests that preload a library: NAME_BIN if it is such a
    one, or that of the build directory in KMIPD_BUILD. Skips a test, loudly, without any."""
    import pytest  # the runner works without it

    build = os.environ.get("KMIPD_BUILD")
    candidates = [program(name)]
    if build:
        candidates.append(Path(build) / "src" / "bin" / name)
    for candidate in candidates:
        if candidate.exists() and not is_sanitized(candidate):
            return candidate
    pytest.skip(f"no {name} without sanitizers: KMIPD_BUILD names no build directory with one")


def need_vectors(folder: Path) -> None:
    """Skips a test, loudly, where the vectors are not there."""
    import pytest  # the runner works without it

    if not folder.is_dir():
        pytest.skip(f"no test vectors: {folder} is missing", allow_module_level=True)

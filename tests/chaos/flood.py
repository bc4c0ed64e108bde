# SPDX-License-Identifier: Apache-2.0
"""Clients that mean no good, in a process of their own: python3 -m tests.chaos.flood KIND PORT

Each kind goes on until the process is killed. It prints a line once it is in full flow.
"""

import os
import random
import resource
import socket
import struct
import sys

from tests.support.client import tls_context

HOLD = 2000  # connections that one process keeps open
HANDSHAKING = 40


def plain(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def secured(port: int):
    return CONTEXT.wrap_socket(plain(port), server_hostname="127.0.0.1")


def silence(port: int):
    """Connections without a word."""
    return plain(port)


def half_hello(port: int):
    """The beginning of a TLS handshake."""
    connection = plain(port)
    connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(40))
    return connection


def noise(port: int):
    """Anything but TLS."""
    connection = plain(port)
    connection.sendall(os.urandom(random.randrange(1, 4000)))
    return connection


def handshakes(port: int):
    """Full handshakes, of strangers who leave at once."""
    secured(port).close()
    return None


def garbage(port: int):
    """A handshake, and what is no message behind it."""
    connection = secured(port)
    connection.sendall(os.urandom(random.randrange(8, 4000)))
    connection.close()
    return None


def promises(port: int):
    """Messages of nearly a megabyte, of which next to nothing comes."""
    connection = secured(port)
    connection.sendall(struct.pack(">II", 0x42007801, 1000000) + bytes(500))
    return connection


KINDS = {
    kind.__name__: kind for kind in (silence, half_hello, noise, handshakes, garbage, promises)
}
CONTEXT = tls_context()


def main(kind: str, port: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, HOLD + 100), hard))
    held, count = [], 0
    while True:
        try:
            held.append(KINDS[kind](port))
        except OSError:
            pass  # refused: that is the server's right
        count += 1
        if count == HANDSHAKING:
            print("in full flow", flush=True)
        if len(held) > HOLD:
            for connection in held[: HOLD // 4]:
                if connection is not None:
                    connection.close()
            del held[: HOLD // 4]


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

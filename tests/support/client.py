# SPDX-License-Identifier: Apache-2.0
"""A KMIP client that knows nothing but frames: bytes over TLS, one message at a time."""

import socket
import ssl
from pathlib import Path
from typing import Optional, Tuple

from tests.support import ttlv

TIMEOUT = 20.0
FRAME_LIMIT = 16 << 20  # no answer of a sane server is larger


class Closed(ConnectionError):
    """The server closed the connection; `rest` is what came of a message before that."""

    def __init__(self, rest: bytes = b""):
        super().__init__(f"closed by the server with {len(rest)} bytes of a message received")
        self.rest = rest


def tls_context(
    ca: Optional[Path] = None, certificate: Optional[Path] = None, key: Optional[Path] = None
) -> ssl.SSLContext:
    """A context that verifies the server by `ca` if there is one, and shows `certificate`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(ca)
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


class Client:
    """One connection. Use as a context manager, or close()."""

    def __init__(
        self,
        address: Tuple[str, int],
        context: ssl.SSLContext,
        session: Optional[ssl.SSLSession] = None,
        timeout: float = TIMEOUT,
    ):
        plain = socket.create_connection(address, timeout=timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.tls = context.wrap_socket(plain, server_hostname=address[0], session=session)
        except BaseException:
            plain.close()
            raise

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        self.tls.close()

    def send(self, data: bytes) -> None:
        self.tls.sendall(data)

    def _read(self, size: int, so_far: bytes = b"") -> bytes:
        data = so_far
        while len(data) < size:
            try:
                more = self.tls.recv(size - len(data))
            except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
                more = b""
            if not more:
                raise Closed(data)
            data += more
        return data

    def receive(self) -> bytes:
        """The next message; Closed when the connection ends before it is complete."""
        header = self._read(ttlv.HEADER_SIZE)
        size = ttlv.frame_size(header)
        if size > FRAME_LIMIT:
            raise AssertionError(f"the server announces a message of {size} bytes")
        return self._read(size, header)

    def exchange(self, data: bytes) -> bytes:
        """Sends one message and waits for the answer to it."""
        self.send(data)
        return self.receive()

    def ask(self, message: ttlv.Item) -> ttlv.Item:
        """Like `exchange`, with trees."""
        return ttlv.decode(self.exchange(ttlv.encode(message)))

    def expect_closed(self) -> None:
        """Waits for the server to close, and insists that nothing comes before that."""
        try:
            data = self.receive()
        except Closed as closed:
            assert not closed.rest, f"part of a message before the close: {closed.rest.hex()}"
        else:
            raise AssertionError(f"a message where the connection should end: {data.hex()}")

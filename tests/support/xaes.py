# SPDX-License-Identifier: Apache-2.0
"""XAES-256-GCM (c2sp.org/XAES-256-GCM), written here a second time: what opens with it was made as
the specification says, not only as our own code reads it."""

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_SIZE = 24


def _block(key: bytes, block: bytes) -> bytes:
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return encryptor.update(block) + encryptor.finalize()


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right))


def open_sealed(key: bytes, associated: bytes, sealed: bytes) -> bytes:
    """`sealed` is nonce, ciphertext, tag. InvalidTag if it is not what it should be."""
    nonce, ciphertext = sealed[:NONCE_SIZE], sealed[NONCE_SIZE:]
    subkey = int.from_bytes(_block(key, bytes(16)), "big") << 1
    if subkey >> 128:
        subkey = subkey ^ (1 << 128) ^ 0x87
    mask = subkey.to_bytes(16, "big")
    halves = [b"\x00" + bytes([number]) + b"X\x00" + nonce[:12] for number in (1, 2)]
    derived = b"".join(_block(key, _xor(half, mask)) for half in halves)
    return AESGCM(derived).decrypt(nonce[12:], ciphertext, associated)

# SPDX-License-Identifier: Apache-2.0
"""The formats of keys at rest, read by their description alone (docs/formats.md): what somebody
would write who has a backup and no kmipd."""

import hashlib
import struct
from pathlib import Path
from typing import Dict, Tuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

SEALED_HEADER = struct.Struct(">8sHBBHH32sQ32s")
BY_PASSPHRASE = 3


def xaes_open(key: bytes, nonce: bytes, sealed: bytes, associated: bytes) -> bytes:
    """XAES-256-GCM (c2sp.org/XAES-256-GCM)."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    block = int.from_bytes(encryptor.update(bytes(16)), "big") << 1
    mask = (block & ((1 << 128) - 1)) ^ (0x87 if block >> 128 else 0)
    derived = b""
    for counter in (1, 2):
        message = bytes([0, counter]) + b"X\0" + nonce[:12]
        mixed = int.from_bytes(message, "big") ^ mask
        derived += encryptor.update(mixed.to_bytes(16, "big"))
    return AESGCM(derived).decrypt(nonce[12:], sealed, associated)


def sealing_material(header: tuple, secret: bytes) -> bytes:
    """From a passphrase, or what a key file or credential holds."""
    _, _, method, log_n, r, p, salt, _, _ = header
    if method != BY_PASSPHRASE:
        return secret
    return Scrypt(salt, 32, 1 << log_n, r, p).derive(secret)


def open_sealed_file(path: Path, secret: bytes) -> Dict[Tuple[bytes, int], bytes]:
    """The root keys in a sealed file, by identifier and version."""
    data = path.read_bytes()
    assert hashlib.sha256(data[:-32]).digest() == data[-32:]
    header = SEALED_HEADER.unpack_from(data)
    assert header[:2] == (b"kmipdsf\0", 2)
    keys = HKDF(hashes.SHA256(), 64, header[6], b"kmipd sealed file").derive(
        sealing_material(header, secret)
    )
    assert keys[32:] == header[8], "another key"
    payload = xaes_open(keys[:32], data[88:112], data[112:-32], data[:88])
    found, at = {}, 4
    for _ in range(struct.unpack_from(">I", payload)[0]):
        identifier, *_, versions = struct.unpack_from(">16sIIQQQII", payload, at)
        at += 56
        for _ in range(versions):
            version, _, key = struct.unpack_from(">IQ32s", payload, at)
            found[identifier, version] = key
            at += 44
    assert at == len(payload)
    return found


def unwrap(blob: bytes, root_keys: Dict[Tuple[bytes, int], bytes]) -> bytes:
    """The key in a wrapped blob."""
    assert blob[:4] == b"KWK\1"
    version = struct.unpack_from(">I", blob, 4)[0]
    key = root_keys[blob[8:24], version]
    return xaes_open(key, blob[56:80], blob[80:], b"kmipd wrapped key" + blob[:56])

"""Seal a stream of any length to a key that is kept elsewhere, and open it whole or not at all.

    sentinel sealed 1⏎   4 bytes length of the header   header   pieces

The header is JSON that anybody may read: what the writer tells of the file, and the key of this file, sealed (HPKE, RFC
9180) to a recovery key whose public half is all the writer has. A piece is 1 MiB of a zstd stream under AES-256-GCM,
bound to the header; its nonce is its number and whether it is the last, for a key is used for one file. So a piece
that was changed, exchanged or repeated is noticed, and so is an end that is missing.
"""

import hashlib
import json
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sync.entry import canonical
from sync.errors import VaultError

MAGIC = b"sentinel sealed 1\n"
KEY_BYTES = 32
HEADER_MOST_BYTES = 64 * 1024
_PIECE_BYTES = 1 << 20
_TAG_BYTES = 16
_LEVEL = 1  # what is sealed hardly shrinks, and a small box has other things to do
_LENGTH = struct.Struct(">I")
_NONCE = struct.Struct(">xxxQ?")
_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
_CUT = "is cut short or was changed; take another one"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What stands in front of a sealed file: readable by anybody, proved only by opening it."""

    told: Mapping[str, Any]
    recipient: str  # which recovery key opens it: `key_id` of its public half
    sealed_key: bytes = field(repr=False)
    sha256: bytes = field(repr=False)


def new_recovery_key() -> bytes:
    """Return a new recovery key, which opens what is sealed to its public half."""
    return X25519PrivateKey.generate().private_bytes_raw()


def public_of(recovery_key: bytes) -> bytes:
    """Return the public half of a recovery key.

    Raises: VaultError when it is none.
    """
    try:
        return X25519PrivateKey.from_private_bytes(recovery_key).public_key().public_bytes_raw()
    except ValueError as error:
        raise VaultError(f"a recovery key has {KEY_BYTES} bytes; give the right file") from error


def key_id(public: bytes) -> str:
    """Return the name of a recovery key: 8 hexadecimal digits of the hash of its public half."""
    return hashlib.sha256(public).hexdigest()[:8]


class SealedWriter:
    """Takes a stream and writes it sealed. Only `close` makes it whole: a file without its last piece opens nowhere."""

    def __init__(self, file: IO[bytes], public: bytes, told: Mapping[str, Any]) -> None:
        """Write the header; `key` opens what follows for as long as this process remembers it."""
        from zstandard import ZstdCompressor

        self.key = os.urandom(KEY_BYTES)
        head = {
            "recipient": key_id(public),
            "key": _SUITE.encrypt(self.key, X25519PublicKey.from_public_bytes(public), MAGIC).hex(),
            "told": dict(told),
        }
        header = canonical(head)
        start = MAGIC + _LENGTH.pack(len(header)) + header
        file.write(start)
        self._pieces = _PieceWriter(file, self.key, hashlib.sha256(start).digest())
        self._zstd = ZstdCompressor(level=_LEVEL).stream_writer(cast(IO[bytes], self._pieces), closefd=False)

    def write(self, data: bytes) -> int:
        """Take some bytes.

        Raises: OSError.
        """
        return self._zstd.write(data)

    def close(self) -> None:
        """Write what is left, and the end.

        Raises: OSError.
        """
        self._zstd.close()
        self._pieces.finish()


class _PieceWriter:
    def __init__(self, file: IO[bytes], key: bytes, bound: bytes) -> None:
        self._file, self._cipher, self._bound = file, AESGCM(key), bound
        self._waiting = bytearray()
        self._number = 0

    def write(self, data: bytes) -> int:
        self._waiting += data
        while len(self._waiting) > _PIECE_BYTES:  # a full piece stays here until another follows: it may be the last
            self._put(bytes(self._waiting[:_PIECE_BYTES]), last=False)
            del self._waiting[:_PIECE_BYTES]
        return len(data)

    def finish(self) -> None:
        self._put(bytes(self._waiting), last=True)

    def _put(self, plain: bytes, *, last: bool) -> None:
        self._file.write(self._cipher.encrypt(_NONCE.pack(self._number, last), plain, self._bound))
        self._number += 1


def read_head(file: IO[bytes]) -> Head:
    """Return the header of a sealed file, and leave the file behind it.

    Raises: VaultError when this is no such file. OSError.
    """
    start = file.read(len(MAGIC) + _LENGTH.size)
    if not start.startswith(MAGIC):
        raise VaultError("this is no sealed file of ours; give another one")
    if len(start) < len(MAGIC) + _LENGTH.size:
        raise VaultError(f"the sealed file {_CUT}")
    (length,) = _LENGTH.unpack(start[len(MAGIC) :])
    header = file.read(min(length, HEADER_MOST_BYTES))
    try:
        if len(header) != length:
            raise ValueError("length")
        head = json.loads(header)
        return Head(
            told=dict(head["told"]),
            recipient=str(head["recipient"]),
            sealed_key=bytes.fromhex(head["key"]),
            sha256=hashlib.sha256(start + header).digest(),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise VaultError(f"the sealed file {_CUT}") from error


def key_of(head: Head, recovery_key: bytes) -> bytes:
    """Return the key of a file, which this recovery key opens.

    Raises: VaultError when it is another one.
    """
    ours = key_id(public_of(recovery_key))
    if ours != head.recipient:
        raise VaultError(f"it is sealed to the recovery key {head.recipient} and this one is {ours}; give that one")
    try:
        return _SUITE.decrypt(head.sealed_key, X25519PrivateKey.from_private_bytes(recovery_key), MAGIC)
    except (InvalidTag, ValueError) as error:
        raise VaultError(f"the sealed file {_CUT}") from error


@contextmanager
def opened(file: IO[bytes], head: Head, key: bytes) -> Iterator[IO[bytes]]:
    """Give what was sealed, as a stream. Left in order, the file was whole: what was not read is read and checked.

    Raises: VaultError at the first piece that is not as it was written. OSError.
    """
    from zstandard import ZstdDecompressor, ZstdError

    pieces = _PieceReader(file, key, head.sha256)
    try:
        with ZstdDecompressor().stream_reader(cast(IO[bytes], pieces), closefd=False) as stream:
            yield stream
            while stream.read(_PIECE_BYTES):
                pass
        pieces.finish()
    except ZstdError as error:
        raise VaultError(f"the sealed file {_CUT}") from error


class _PieceReader:
    def __init__(self, file: IO[bytes], key: bytes, bound: bytes) -> None:
        self._file, self._cipher, self._bound = file, AESGCM(key), bound
        self._plain = b""
        self._number = 0
        self._next = self._take()
        self._ended = False

    def read(self, most: int = -1) -> bytes:
        while not self._plain and not self._ended:
            self._open_next()
        most = len(self._plain) if most < 0 else most
        some, self._plain = self._plain[:most], self._plain[most:]
        return some

    def finish(self) -> None:
        while not self._ended:
            self._open_next()

    def _open_next(self) -> None:
        piece, self._next = self._next, self._take()
        self._ended = not self._next
        try:
            self._plain = self._cipher.decrypt(_NONCE.pack(self._number, self._ended), piece, self._bound)
        except (InvalidTag, ValueError) as error:
            raise VaultError(f"the sealed file {_CUT} (piece {self._number})") from error
        self._number += 1

    def _take(self) -> bytes:
        return self._file.read(_PIECE_BYTES + _TAG_BYTES)

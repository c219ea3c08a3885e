"""Encrypt personal parts under keys that can be destroyed: destroying the key is the deletion.

    device.key    32 random bytes, made once: wraps every other key, never leaves the box
    site.key      32 bytes shared by the gates of a site: turns an ID number into the same token at each of them
    vault.db      the wrapped keys, one per kind and day or per person: a file of its own, in rollback-journal mode
                  with secure_delete, so that a destroyed key is overwritten and no log keeps a copy of it

A ciphertext begins with the number of its algorithm (1 = AES-256-GCM), then the nonce, then ciphertext and tag; the
name of its key is bound in, so that one person's part cannot be passed off as another's.
"""

import hashlib
import hmac
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sync import schema
from sync.disk import write_new
from sync.entry import canonical
from sync.errors import VaultError

SPOOL_KEY = "spool"  # derived from the device key, so that a full disk cannot be in its way; see `sync/spool.py`
_AES_256_GCM = b"\x01"
_KEY_BYTES = 32
_NONCE_BYTES = 12  # random: 2**32 messages under one key are safe, and a key lives for one day
_TOKEN_DIGITS = 32  # 128 bits: two of a billion people share one with a chance of 1 in 10**21
_CACHED_KEYS = 64  # ten kinds for some days; the least recently made leaves first
_SCHEMA_VERSION = 1
_TABLE = "CREATE TABLE IF NOT EXISTS keys (name TEXT PRIMARY KEY, wrapped BLOB NOT NULL) WITHOUT ROWID"


class Vault:
    """The keys of one box. Threads and processes may share the folder; each opens its own."""

    def __init__(
        self,
        path: Path,
        device_key: bytes,
        site_key: bytes,
        random_bytes: Callable[[int], bytes],
        connect: Callable[[Path, str], sqlite3.Connection],
    ):
        """Hold the two keys; `open` reads them."""
        self._path = path
        self._device = AESGCM(device_key)
        self._spool_key = hmac.digest(device_key, b"spool", "sha256")
        self._site_key = site_key
        self._random_bytes = random_bytes
        self._connect = connect
        self._lock = threading.Lock()
        self._sealing: dict[str, bytes] = {}

    @classmethod
    def open(
        cls,
        secrets_dir: Path | str,
        *,
        create: bool = False,
        random_bytes: Callable[[int], bytes] = os.urandom,
        connect: Callable[[Path, str], sqlite3.Connection] = schema.connect,
    ) -> Self:
        """Open the vault in this folder; with `create`, make what is missing, once, whoever comes first.

        Raises: VaultError when a key is missing, malformed or readable by everybody.
        """
        folder = Path(secrets_dir)
        keys = []
        for name in ("device.key", "site.key"):
            if create and not (folder / name).exists():
                _make_key_file(folder / name, random_bytes(_KEY_BYTES))
            keys.append(_read_key_file(folder / name))
        vault = cls(folder / "vault.db", keys[0], keys[1], random_bytes, connect)
        vault._check_table(create)
        return vault

    def seal(self, mapping: Mapping[str, Any], class_: str, day: date | str) -> tuple[str, bytes]:
        """Return the name of the key for this class and day, and the mapping encrypted under it.

        Raises: VaultError when that key is not there and cannot be made.
        """
        return self.seal_bytes(canonical(mapping), class_, day)

    def seal_bytes(self, plain: bytes, class_: str, day: date | str) -> tuple[str, bytes]:
        """Return the name of the key `class_/day`, made durably when it is not there, and `plain` encrypted under it.

        A key this vault has used once needs no disk any more.
        Raises: VaultError when that key is not there and cannot be made.
        """
        name = f"{class_}/{day}"
        return name, self._encrypt(self._sealing_key(name), name, plain)

    def unseal(self, key_name: str, ciphertext: bytes) -> dict[str, Any]:
        """Return what was sealed.

        Raises: VaultError when the key was destroyed or does not open this ciphertext.
        """
        return json.loads(self.unseal_bytes(key_name, ciphertext))

    def unseal_bytes(self, key_name: str, ciphertext: bytes) -> bytes:
        """Return the bytes that were sealed. Asks the disk each time: a key destroyed by another process is gone.

        Raises: VaultError when the key was destroyed or does not open this ciphertext.
        """
        key = self._spool_key if key_name == SPOOL_KEY else self._load(key_name)
        return self._unseal_under(AESGCM(key) if key else None, key_name, ciphertext)

    def _unseal_under(self, key: AESGCM | None, key_name: str, ciphertext: bytes) -> bytes:
        if ciphertext[:1] != _AES_256_GCM:
            raise VaultError(f"a part sealed under {key_name} names no known algorithm; use the newer program")
        if key is None:
            raise VaultError(f"there is no key {key_name}: it was destroyed, or it is in another box's vault")
        return _open_sealed(key, ciphertext[1:], key_name)

    def opener(self) -> Callable[[str, bytes], bytes]:
        """Return an `unseal_bytes` that asks the disk once per key: for one reading of many parts, not to be kept."""
        keys: dict[str, AESGCM | None] = {}

        def unseal(key_name: str, ciphertext: bytes) -> bytes:
            if key_name not in keys:
                key = self._load(key_name)
                keys[key_name] = AESGCM(key) if key else None
            return self._unseal_under(keys[key_name], key_name, ciphertext)

        return unseal

    def seal_for_spool(self, mapping: Mapping[str, Any]) -> tuple[str, bytes]:
        """Return a mapping sealed under the key that needs no disk, for a line that waits to be imported."""
        return SPOOL_KEY, self._encrypt(self._spool_key, SPOOL_KEY, canonical(mapping))

    def token(self, id_number: str) -> str:
        """Return who this ID number is, without saying it: 32 hexadecimal digits, the same at each gate of the site."""
        digest = hmac.digest(self._site_key, id_number.strip().upper().encode(), hashlib.sha256)
        return digest.hex()[:_TOKEN_DIGITS]

    def names(self) -> tuple[str, ...]:
        """Return the names of all keys that are there: what is not named here can never be read again."""
        with self._database() as database:
            return tuple(name for (name,) in database.execute("SELECT name FROM keys ORDER BY name"))

    def destroy(self, key_name: str) -> bool:
        """Destroy a key, and with it all that was sealed under it; tell whether it was there.

        A process that has sealed under it today forgets it at its next start: destroy the keys of days gone by.
        Raises: VaultError when the vault cannot be written.
        """
        with self._lock, self._database() as database:
            self._sealing.pop(key_name, None)
            database.execute("BEGIN IMMEDIATE")
            gone = database.execute("DELETE FROM keys WHERE name = ?", (key_name,)).rowcount
            database.execute("COMMIT")
            return bool(gone)

    def _encrypt(self, key: bytes, key_name: str, plain: bytes) -> bytes:
        nonce = self._random_bytes(_NONCE_BYTES)
        return _AES_256_GCM + nonce + AESGCM(key).encrypt(nonce, plain, _bound(key_name))

    def _sealing_key(self, name: str) -> bytes:
        with self._lock:
            key = self._sealing.get(name)
            if key is None:
                key = self._load(name) or self._make(name)
                while len(self._sealing) >= _CACHED_KEYS:
                    del self._sealing[next(iter(self._sealing))]
                self._sealing[name] = key
            return key

    def _load(self, name: str) -> bytes | None:
        with self._database() as database:
            row = database.execute("SELECT wrapped FROM keys WHERE name = ?", (name,)).fetchone()
        return self._unwrap(name, row[0]) if row else None

    def _make(self, name: str) -> bytes:
        """Return a new key, or the one another process made at the same moment: the table decides."""
        nonce = self._random_bytes(_NONCE_BYTES)
        wrapped = nonce + self._device.encrypt(nonce, self._random_bytes(_KEY_BYTES), _bound(name))
        with self._database() as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute("INSERT OR IGNORE INTO keys (name, wrapped) VALUES (?, ?)", (name, wrapped))
            (kept,) = database.execute("SELECT wrapped FROM keys WHERE name = ?", (name,)).fetchone()
            database.execute("COMMIT")
        return self._unwrap(name, kept)

    def _unwrap(self, name: str, wrapped: bytes) -> bytes:
        return _open_sealed(self._device, wrapped, name)

    def _check_table(self, create: bool) -> None:
        if create and not self._path.exists():
            _touch(self._path)
        with self._database() as database:
            version = schema.version_of(database)
            if version == 0 and create:
                database.execute("BEGIN IMMEDIATE")
                database.execute(_TABLE)
                database.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
                database.execute("COMMIT")
            elif version != _SCHEMA_VERSION:
                raise VaultError(f"{self._path} has schema {version}, expected {_SCHEMA_VERSION}; use its own program")

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """Open the file for one short act: nothing stays locked, and every process sees the same keys.

        Also for reading it is opened to be written, where that is allowed: a reader may have to undo what a killed
        writer left half done.
        """
        try:
            database = self._connect(self._path, "rw")
            try:
                database.execute("PRAGMA synchronous = FULL")
                database.execute("PRAGMA secure_delete = ON")
                yield database
            finally:
                database.close()  # rolls back what was not committed
        except sqlite3.Error as error:
            raise VaultError(f"the vault {self._path} failed: {error}; check its disk and permissions") from error


def _touch(path: Path) -> None:
    """Make an empty file for its owner alone; SQLite would make it for everybody."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise VaultError(f"cannot make {path}: {error}; check the folder's permissions") from error


def _bound(key_name: str) -> bytes:
    return _AES_256_GCM + key_name.encode()


def _open_sealed(cipher: AESGCM, sealed: bytes, key_name: str) -> bytes:
    try:
        return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _bound(key_name))
    except (InvalidTag, ValueError) as error:
        raise VaultError(f"key {key_name} does not open what it should; damaged, or sealed in another box") from error


def _make_key_file(path: Path, key: bytes) -> None:
    try:
        write_new(path, key)
    except OSError as error:
        raise VaultError(f"cannot make {path}: {error}; check the folder's permissions") from error


def _read_key_file(path: Path) -> bytes:
    try:
        mode, key = path.stat().st_mode, path.read_bytes()
    except FileNotFoundError:
        raise VaultError(f"{path} is not there; restore it, or install the gate anew to make one") from None
    except OSError as error:
        raise VaultError(f"cannot read {path}: {error}; check its permissions") from error
    if mode & 0o007:
        raise VaultError(f"{path} can be read by everybody (mode {mode & 0o777:04o}); chmod 600 it")
    if len(key) != _KEY_BYTES:
        raise VaultError(f"{path} has {len(key)} bytes, expected {_KEY_BYTES}; restore it")
    return key

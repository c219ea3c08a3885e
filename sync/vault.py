"""Encrypt personal parts under keys that can be destroyed: destroying the key is the deletion.

    device.key    32 random bytes, made once: wraps every other key, never leaves the box; may come from elsewhere
    site.key      32 bytes shared by the gates of a site: turns an ID number into the same token at each of them
    vault.db      the wrapped keys, one per class and day (`passage/2026-11-22`) or per class and person
                  (`template/<token>`): a file of its own, with secure_delete and a rollback journal that stays in its
                  place and is overwritten with zeros when a key is destroyed, so that no block keeps a copy of it

How bytes are sealed, and by which algorithm, is in `ciphers.py`. Whatever algorithm seals now, what an earlier one has
sealed always opens. Wrapped keys of 60 bytes are from before there was a choice: AES-256-GCM, without the first byte.
"""

import hashlib
import hmac
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any, Self

from sync import ciphers, schema
from sync.disk import overwrite, write_new
from sync.entry import canonical
from sync.errors import VaultError

SPOOL_KEY = "spool"  # derived from the device key, so that a full disk cannot be in its way; see `sync/spool.py`
_FORMER_WRAPPED_BYTES = ciphers.NONCE_BYTES + ciphers.KEY_BYTES + 16
_TOKEN_DIGITS = 32  # 128 bits: two of a billion people share one with a chance of 1 in 10**21
_CACHED_KEYS = 64  # ten kinds for some days; the least recently made leaves first
_SCHEMA_VERSION = 1
_FIND = "SELECT wrapped FROM keys WHERE name = ?"
_FIND_CLASS = "SELECT name, wrapped FROM keys WHERE name >= ? AND name < ?"
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
        cipher: str = "auto",
    ):
        """Hold the two keys; `open` reads them."""
        self._path = path
        self._device = device_key
        self._algorithm = ciphers.number_of(cipher)
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
        cipher: str = "auto",
        device_key: bytes | None = None,
        random_bytes: Callable[[int], bytes] = os.urandom,
        connect: Callable[[Path, str], sqlite3.Connection] = schema.connect,
    ) -> Self:
        """Open the vault in this folder; with `create`, make what is missing, once, whoever comes first.

        `cipher` is "auto" or a name of `ciphers.NUMBERS`. A `device_key` from elsewhere takes the place of the file.
        Raises: VaultError when a key is missing, malformed or readable by everybody.
        """
        folder = Path(secrets_dir)
        keys = [] if device_key is None else [device_key]
        for name in ("device.key", "site.key")[len(keys) :]:
            if create and not (folder / name).exists():
                _make_key_file(folder / name, random_bytes(ciphers.KEY_BYTES))
            keys.append(read_key_file(folder / name))
        vault = cls(folder / "vault.db", keys[0], keys[1], random_bytes, connect, cipher)
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
        return _unseal_under(key, key_name, ciphertext)

    def opener(self) -> Callable[[str, bytes], bytes]:
        """Return an `unseal_bytes` that asks the disk once per class: for one reading of many parts, not to be kept."""
        wrapped: dict[str, dict[str, bytes]] = {}
        keys: dict[str, bytes | None] = {}

        def unseal(key_name: str, ciphertext: bytes) -> bytes:
            if key_name not in keys:
                if len(keys) >= _CACHED_KEYS:  # the parts of one person lie together, and everybody has a key
                    keys.clear()
                class_ = key_name.partition("/")[0]
                if class_ not in wrapped:
                    with self._database() as database:
                        # "0" follows "/": one walk along the table's own order
                        rows = database.execute(_FIND_CLASS, (f"{class_}/", f"{class_}0"))
                        wrapped[class_] = dict(rows.fetchall())
                found = wrapped[class_].get(key_name)
                keys[key_name] = self._unwrap(key_name, found) if found else None
            return _unseal_under(keys[key_name], key_name, ciphertext)

        return unseal

    def sealer(self, names: Iterable[str]) -> Callable[[str, bytes], bytes]:
        """Return what seals bytes under any of these keys, all made in one commit: for one publication, not to be kept.

        Raises: VaultError when a key that is missing cannot be made.
        """
        wanted = dict.fromkeys(names)
        with self._database() as database:
            database.execute("BEGIN IMMEDIATE")
            keys = {name: self._made(database, name) for name in wanted}
            database.execute("COMMIT")
        return lambda name, plain: self._encrypt(keys[name], name, plain)

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

    def wrapped(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return these keys as they lie on the disk: for whoever proves later that no trace of them is left."""
        with self._database() as database:
            found = {name: database.execute(_FIND, (name,)).fetchone() for name in names}
        return {name: row[0] for name, row in found.items() if row}

    def destroy(self, *key_names: str) -> int:
        """Destroy keys, and with them all that was sealed under them; return how many were there.

        A process that has sealed under one today forgets it at its next start: destroy the keys of days gone by.
        Raises: VaultError when the vault cannot be written.
        """
        with self._lock, self._database() as database:
            for name in key_names:
                self._sealing.pop(name, None)
            # Kept until the connection closes: nobody else may begin a journal while this one is overwritten.
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
            database.execute("BEGIN EXCLUSIVE")
            there = [(name,) for name in key_names if database.execute(_FIND, (name,)).fetchone()]
            database.executemany("DELETE FROM keys WHERE name = ?", there)
            database.execute("COMMIT")
            self._wipe_journal()
            return len(there)

    def _wipe_journal(self) -> None:
        journal = self._path.with_name(f"{self._path.name}-journal")
        try:
            with suppress(FileNotFoundError):
                overwrite(journal)
        except OSError as error:
            raise VaultError(f"{journal} may hold a trace of destroyed keys: {error}; destroy again") from error

    def _encrypt(self, key: bytes, key_name: str, plain: bytes) -> bytes:
        return ciphers.seal(self._algorithm, key, key_name, plain, self._random_bytes)

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
            row = database.execute(_FIND, (name,)).fetchone()
        return self._unwrap(name, row[0]) if row else None

    def _make(self, name: str) -> bytes:
        with self._database() as database:
            database.execute("BEGIN IMMEDIATE")
            key = self._made(database, name)
            database.execute("COMMIT")
        return key

    def _made(self, database: sqlite3.Connection, name: str) -> bytes:
        """Return a new key, or the one another process made before: the table decides, inside the caller's commit."""
        row = database.execute(_FIND, (name,)).fetchone()
        if row is None:
            wrapped = self._encrypt(self._device, name, self._random_bytes(ciphers.KEY_BYTES))
            if wrapped[0] == ciphers.AES_256_GCM:
                wrapped = wrapped[1:]  # as every program of ours has written it: an older one still opens it
            database.execute("INSERT INTO keys (name, wrapped) VALUES (?, ?)", (name, wrapped))
            row = (wrapped,)
        return self._unwrap(name, row[0])

    def _unwrap(self, name: str, wrapped: bytes) -> bytes:
        former = bytes((ciphers.AES_256_GCM,)) if len(wrapped) == _FORMER_WRAPPED_BYTES else b""
        return ciphers.unseal(self._device, name, former + wrapped)

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
        database = self._opened()
        try:
            yield database
        except sqlite3.Error as error:
            raise self._failed(error) from error
        finally:
            database.close()  # rolls back what was not committed

    def _opened(self) -> sqlite3.Connection:
        try:
            database = self._connect(self._path, "rw")
            database.execute("PRAGMA synchronous = FULL")
            database.execute("PRAGMA secure_delete = ON")
            # A journal that is deleted leaves wrapped keys in free blocks, where no destruction reaches them.
            database.execute("PRAGMA journal_mode = PERSIST")
        except sqlite3.Error as error:
            raise self._failed(error) from error
        return database

    def _failed(self, error: sqlite3.Error) -> VaultError:
        return VaultError(f"the vault {self._path} failed: {error}; check its disk and permissions")


def _unseal_under(key: bytes | None, key_name: str, ciphertext: bytes) -> bytes:
    if key is None:
        raise VaultError(f"there is no key {key_name}: it was destroyed, or it is in another box's vault")
    return ciphers.unseal(key, key_name, ciphertext)


def _touch(path: Path) -> None:
    """Make an empty file for its owner alone; SQLite would make it for everybody."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise VaultError(f"cannot make {path}: {error}; check the folder's permissions") from error


def _make_key_file(path: Path, key: bytes) -> None:
    try:
        write_new(path, key)
    except OSError as error:
        raise VaultError(f"cannot make {path}: {error}; check the folder's permissions") from error


def read_key_file(path: Path) -> bytes:
    """Return the 32 bytes of a key file.

    Raises: VaultError when it is missing, malformed or readable by everybody.
    """
    try:
        mode, key = path.stat().st_mode, path.read_bytes()
    except FileNotFoundError:
        raise VaultError(f"{path} is not there; restore it, or install the gate anew to make one") from None
    except OSError as error:
        raise VaultError(f"cannot read {path}: {error}; check its permissions") from error
    if mode & 0o007:
        raise VaultError(f"{path} can be read by everybody (mode {mode & 0o777:04o}); chmod 600 it")
    if len(key) != ciphers.KEY_BYTES:
        raise VaultError(f"{path} has {len(key)} bytes, expected {ciphers.KEY_BYTES}; restore it")
    return key

"""Put a gate's memory into one sealed file, and show that it can be had back from there.

A tar of these names, sealed as `sync/sealed.py` does: `manifest.json` (what must be found again), `settings.toml`, the
roster, the spool, `ledger.db`, and last `secrets/` with the keys. The order is the order in which they are read: a
spooled entry that comes home meanwhile is in both, and every key that an entry needs is there. The uplink's cursor is
not in it: an old one says nothing that the street does not say again, see docs/reliability.md, "A dead box".
"""

import io
import json
import os
import sqlite3
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from sentinel.core.errors import DataError
from sentinel.keyroom import CREDENTIAL, device_key
from sentinel.keyroom import NAME as DEVICE_KEY
from sentinel.settings import Settings
from sync import schema
from sync.entry import canonical
from sync.ledger import LedgerReader
from sync.sealed import SealedWriter, opened, read_head
from sync.vault import Vault

MANIFEST, SETTINGS, LEDGER, ROSTER, ALIKE = "manifest.json", "settings.toml", "ledger.db", "roster.db", "alike.json"
SPOOL, SECRETS, VAULT, ISSUERS = "spool.jsonl", "secrets", "secrets/vault.db", "secrets/issuers"
_SMALL_BYTES = 64 << 20  # what is kept in memory: a vault of ten years has 4 MB, a full spool 16
_SAMPLES = 500
_COPY_BYTES = 4 << 20
_LEFT_OUT = ("vault.db", DEVICE_KEY, CREDENTIAL)
_JOURNALS = ("-journal", "-wal", "-shm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup holds, so that it can be compared with what comes out of it. No names, no numbers of people."""

    gate: str
    number: int
    made_utc_s: int
    program: str
    entries: int
    head: str
    head_hash: str
    people: int
    keys: int


def write_archive(settings: Settings, file: IO[bytes], public: bytes, told: Mapping[str, Any], work: Path) -> bytes:
    """Write everything into `file`, sealed; return the key that opens this one file.

    `told` is what the readable header says. The ledger is copied to `work` meanwhile; no key ever is.
    Raises: SyncError, DataError, OSError.
    """
    copy = work / LEDGER
    spool = b"".join(_bytes_of(Path(f"{settings.paths.spool}{ending}")) for ending in (".importing", ""))
    roster = _opened_roster(settings.paths.roster)
    try:
        with LedgerReader(settings.paths.ledger) as reader:
            reader.copy_to(copy)
        secrets = dict(_secrets(settings))
        small = {
            MANIFEST: canonical(asdict(_manifest(told, copy, roster, secrets))),
            SETTINGS: _bytes_of(settings.source),
            SPOOL: spool,
            ALIKE: _bytes_of(settings.paths.alike),
        }
        writer = SealedWriter(file, public, told)
        with tarfile.open(fileobj=writer, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
            for name, data in small.items():
                _add(tar, name, data)
            if roster is not None:
                _add_file(tar, ROSTER, roster)
            with copy.open("rb") as ledger:
                _add_file(tar, LEDGER, ledger)
            for name, data in secrets.items():
                _add(tar, name, data)
        writer.close()
        return writer.key
    finally:
        copy.unlink(missing_ok=True)
        if roster is not None:
            roster.close()


def unpack(file: IO[bytes], key: bytes, into: Path) -> dict[str, bytes]:
    """Unpack the ledger and the roster into a folder; return what is small, the keys among it, by name.

    Raises: VaultError, DataError when it is not whole; what lies in the folder then is to be thrown away. OSError.
    """
    small: dict[str, bytes] = {}
    try:
        with (
            opened(file, read_head(file), key) as stream,
            tarfile.open(fileobj=stream, mode="r|", bufsize=_COPY_BYTES) as tar,
        ):
            for member in tar:
                part = tar.extractfile(member)
                if part is None or not _is_ours(member.name):
                    raise DataError(f"the backup holds {member.name!r}, which none of ours does; nothing is taken")
                if member.name in (LEDGER, ROSTER):
                    with (into / member.name).open("xb") as target:
                        _copy(part, target)
                elif member.size > _SMALL_BYTES:
                    raise DataError(f"{member.name} in the backup is larger than any of ours; nothing is taken")
                else:
                    small[member.name] = part.read()
    except tarfile.TarError as error:
        raise DataError(f"the backup holds what none of ours does ({error}); nothing is taken") from error
    return small


def prove(folder: Path, small: Mapping[str, bytes]) -> Manifest:
    """Show that what was unpacked is a whole gate: every entry chained, every count even, its keys open its parts.

    Raises: DataError, SyncError that say what is not.
    """
    try:
        manifest = Manifest(**json.loads(small[MANIFEST]))
        _prove_ledger(folder / LEDGER, manifest)
        vault = vault_in_memory(small)
        if len(vault.names()) != manifest.keys:
            raise DataError(f"the backup holds {len(vault.names())} keys, expected {manifest.keys}; make another one")
        _prove_ledger_opens(folder / LEDGER, vault)
        _prove_roster(folder / ROSTER, vault, manifest)
    except sqlite3.Error as error:
        raise DataError(f"a database of the backup cannot be read ({error}); make another one") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"the backup lacks a part ({type(error).__name__} {error}); use its own program") from error
    return manifest


def vault_in_memory(small: Mapping[str, bytes]) -> Vault:
    """Return the vault of a backup: its keys are never written to a disk, where a deletion would not find them."""

    def connect(_path: Path, _mode: str) -> sqlite3.Connection:
        database = sqlite3.connect(":memory:", isolation_level=None)
        database.deserialize(small[VAULT])
        return database

    device, site = small[f"{SECRETS}/device.key"], small[f"{SECRETS}/site.key"]
    return Vault(Path(VAULT), device, site, os.urandom, connect)


def _prove_ledger(path: Path, manifest: Manifest) -> None:
    with closing(schema.connect(path, "immutable")) as database:
        (said,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if said != "ok":
        raise DataError(f"the ledger in the backup is damaged ({' '.join(said.split())}); make another one")
    with LedgerReader(path) as reader:
        chain = reader.verify()
        tip = reader.newest(1)
    if not chain.ok:
        raise DataError(f"the chain is broken ({chain.breaks[0]}); see: sentinelctl check ledger")
    head, hash_ = (str(tip[0].key), tip[0].hash.hex()) if tip else ("", "")
    if (chain.checked, head, hash_) != (manifest.entries, manifest.head, manifest.head_hash):
        raise DataError(f"the backup holds {chain.checked} entries up to {head}, expected {manifest.entries} up to "
                        f"{manifest.head}; make another one")  # fmt: skip


def _prove_ledger_opens(path: Path, vault: Vault) -> None:
    names = set(vault.names())
    with LedgerReader(path) as reader:
        for entry in reader.newest(_SAMPLES):
            if entry.personal is not None and entry.personal_key in names:
                vault.unseal_bytes(entry.personal_key, entry.personal)
                return


def _prove_roster(path: Path, vault: Vault, manifest: Manifest) -> None:
    if not path.exists():
        if manifest.people:
            raise DataError(f"the backup lacks the roster of {manifest.people} people; make another one")
        return
    with closing(schema.connect(path, "immutable")) as database:
        (said,) = database.execute("PRAGMA quick_check(1)").fetchone()
        (people,) = database.execute("SELECT count(*) FROM people").fetchone()
        sample = database.execute("SELECT personal_key, personal FROM people LIMIT 1").fetchone()
    if said != "ok" or people != manifest.people:
        raise DataError(f"the roster in the backup has {people} people, expected {manifest.people}; make another one")
    if sample:
        vault.unseal_bytes(*sample)


def _manifest(
    told: Mapping[str, Any], ledger: Path, roster: IO[bytes] | None, secrets: Mapping[str, bytes]
) -> Manifest:
    with LedgerReader(ledger) as reader:
        tip, entries = reader.newest(1), reader.count()
    people = 0
    if roster is not None:
        with closing(schema.connect(Path(f"/proc/self/fd/{roster.fileno()}"), "immutable")) as database:
            (people,) = database.execute("SELECT count(*) FROM people").fetchone()
    return Manifest(
        **told, entries=entries, people=people, keys=len(vault_in_memory(secrets).names()),
        head=str(tip[0].key) if tip else "", head_hash=tip[0].hash.hex() if tip else "",
    )  # fmt: skip


def _secrets(settings: Settings) -> Iterator[tuple[str, bytes]]:
    folder = settings.paths.secrets_dir
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name not in _LEFT_OUT and not path.name.endswith((*_JOURNALS, ".tmp")):
            yield f"{SECRETS}/{path.name}", path.read_bytes()
    key = device_key(folder)  # a credential belongs to its machine: another one needs the key itself
    yield f"{SECRETS}/{DEVICE_KEY}", (folder / DEVICE_KEY).read_bytes() if key is None else key
    for path in sorted((settings.passes.issuers_dir or folder / "issuers").glob("*.pub")):
        yield f"{ISSUERS}/{path.name}", path.read_bytes()
    with closing(schema.connect(folder / "vault.db", "rw")) as database:  # as the vault does: it may have to roll back
        database.execute("BEGIN")
        database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        yield VAULT, database.serialize()


def _opened_roster(path: Path) -> IO[bytes] | None:
    try:
        return path.open("rb")  # never edited, replaced by rename: an open file is a snapshot
    except FileNotFoundError:
        return None


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _is_ours(name: str) -> bool:
    if name in (MANIFEST, SETTINGS, LEDGER, ROSTER, ALIKE, SPOOL):
        return True
    path = PurePosixPath(name)
    return str(path.parent) in (SECRETS, ISSUERS) and str(path) == name and not path.name.startswith(".")


def _copy(part: IO[bytes], target: IO[bytes]) -> None:
    """Copy in steps that are synchronised one by one: the gate's next append must not wait for a gigabyte of ours."""
    while some := part.read(_COPY_BYTES):
        target.write(some)
        target.flush()
        os.fdatasync(target.fileno())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def _add_file(tar: tarfile.TarFile, name: str, file: IO[bytes]) -> None:
    file.seek(0)
    info = tarfile.TarInfo(name)
    info.size = os.fstat(file.fileno()).st_size
    tar.addfile(info, file)

"""Keep entries in a plain file while the ledger cannot be written, and bring them home afterwards, each once.

One JSON line per entry, `{"crc32": "…", "entry": {…}}`, appended and synchronised before `spool_append` returns: it
needs room for one line and nothing else. A line that was torn by a power cut fails its CRC and harms no other line.
Names of the file as it comes home:  spool.jsonl → spool.jsonl.importing → spool.jsonl.imported (personal parts out).
"""

import base64
import binascii
import fcntl
import json
import logging
import os
import uuid
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sync.disk import overwrite, sync_folder, write_whole
from sync.entry import Draft, Stamp, canonical
from sync.errors import LedgerUnavailable, VaultError
from sync.ledger import LedgerWriter, Sealer

log = logging.getLogger(__name__)

_IMPORT_WAIT_S = 10.0  # per entry; nobody stands at the barrier while a spool is imported


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolReport:
    """What an import brought home. Each damaged line is named by its number and stays in the imported file."""

    kept: int = 0  # lines whose entries are in the ledger now, whichever import appended them
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    draft: Draft
    stamp: Stamp
    lost: str = ""  # why its personal part could not be read


def spool_append(path: Path | str, draft: Draft, stamp: Stamp, vault: Sealer | None = None) -> str:
    """Append one entry to the spool and return its request, once it is on the disk.

    A draft without a request gets one, so that it is imported once. Without a vault the personal part is left out.
    Raises: LedgerUnavailable when not even this file can be written, ValueError for a body that is not JSON.
    """
    path = Path(path)
    request = draft.request or f"spool:{uuid.uuid4()}"
    entry: dict[str, Any] = {
        "body": draft.body,
        "boot_id": stamp.boot_id,
        "boot_ns": stamp.boot_ns,
        "kind": draft.kind,
        "request": request,
        "trusted": stamp.clock_trusted,
        "version": draft.version,
        "wall_ns": stamp.wall_ns,
    }
    if draft.personal is not None and vault is not None:
        name, ciphertext = vault.seal_for_spool(draft.personal)
        entry |= {"personal": base64.b64encode(ciphertext).decode(), "personal_key": name}
    try:
        _append(path, _line_of(entry))
    except OSError as error:
        raise LedgerUnavailable(f"cannot write the spool {path}: {error}; note the passage on paper") from error
    return request


def import_spool(path: Path | str, writer: LedgerWriter) -> SpoolReport:
    """Append all that is spooled to the ledger, each request once, and put the file aside.

    May be killed at any moment and called again: nothing is lost or doubled. Do this as the ledger's owner.
    Raises: LedgerUnavailable or AppendLate: what is left stays spooled; call again later.
    """
    path = Path(path)
    report = SpoolReport()
    try:
        for importing in _claims(path):
            report = _import_file(importing, path, writer, report)
    except OSError as error:
        raise LedgerUnavailable(f"cannot import the spool {path}: {error}; check its disk and permissions") from error
    if report.kept:
        log.info("%d spooled entries are in the ledger now", report.kept)
    for problem in report.damaged:
        log.error("spool: %s", problem)
    return report


def _line_of(entry: Mapping[str, Any]) -> bytes:
    crc = zlib.crc32(canonical(entry))
    return canonical({"crc32": f"{crc:08x}", "entry": entry})


def _append(path: Path, line: bytes) -> None:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # an importer holds it for one rename, a writer for one line
            if not _is_still(path, descriptor):
                continue  # an importer took the file between our open and our lock
            _write_line(descriptor, line)
        finally:
            os.close(descriptor)
        sync_folder(path.parent)
        return


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _write_line(descriptor: int, line: bytes) -> None:
    line += b"\n"
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        line = b"\n" + line  # a torn line before us must not swallow ours
    written = os.write(descriptor, line)
    if written != len(line):
        os.ftruncate(descriptor, size)
        raise OSError(f"only {written} of {len(line)} bytes fitted")
    os.fsync(descriptor)


def _claims(path: Path) -> Iterator[Path]:
    """Yield the file a killed import left, then the spool itself, moved away from under later appends."""
    importing = Path(f"{path}.importing")
    if importing.exists():
        yield importing
    if not path.exists():
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.rename(path, importing)
        sync_folder(path.parent)
    finally:
        os.close(descriptor)
    yield importing


def _import_file(importing: Path, path: Path, writer: LedgerWriter, before: SpoolReport) -> SpoolReport:
    kept, damaged, remains = before.kept, list(before.damaged), []
    for number, raw in enumerate(importing.read_bytes().rstrip(b"\n").split(b"\n"), start=1):
        if not raw:
            continue  # a file that was made and never written
        line = _read_line(raw, writer.vault)
        if line is None:
            damaged.append(f"line {number} of {importing.name} is torn or damaged ({len(raw)} bytes)")
            remains.append(raw)
            continue
        lost = _bring_home(line, writer)
        if lost:
            damaged.append(f"line {number} of {importing.name} came home without its personal part: {lost}")
        kept += 1
        remains.append(raw if lost else _without_personal(raw))
    _put_aside(importing, path, b"".join(line + b"\n" for line in remains))
    return SpoolReport(kept=kept, damaged=tuple(damaged))


def _bring_home(line: _Line, writer: LedgerWriter) -> str:
    """Append one line and return why its personal part stayed behind: one bad key must not hold up all that follow."""
    try:
        writer.append(line.draft, _IMPORT_WAIT_S, stamp=line.stamp)
    except VaultError as error:
        writer.append(replace(line.draft, personal=None), _IMPORT_WAIT_S, stamp=line.stamp)
        return str(error)
    return line.lost


def _put_aside(importing: Path, path: Path, remains: bytes) -> None:
    """Keep what was imported under a free name; the ledger has the personal parts now, under keys that expire."""
    aside, number = Path(f"{path}.imported"), 1
    while aside.exists():
        number += 1
        aside = Path(f"{path}.imported-{number}")
    write_whole(aside, remains)
    overwrite(importing)  # the spool's key never dies: what it sealed must not stay in free blocks
    importing.unlink()
    sync_folder(path.parent)


def _read_line(raw: bytes, vault: Sealer | None) -> _Line | None:
    """Return what a line says, None when it is torn or damaged."""
    try:
        outer = json.loads(raw)
        entry = outer["entry"]
        if outer["crc32"] != f"{zlib.crc32(canonical(entry)):08x}":
            return None
        personal, lost = _open_personal(entry, vault)
        draft = Draft(
            kind=entry["kind"],
            version=entry["version"],
            body=entry["body"],
            personal=personal,
            request=entry["request"],
        )
        stamp = Stamp(
            wall_ns=entry["wall_ns"],
            boot_ns=entry["boot_ns"],
            boot_id=entry["boot_id"],
            clock_trusted=entry["trusted"],
        )
    except (ValueError, KeyError, TypeError):
        return None
    return _Line(draft=draft, stamp=stamp, lost=lost)


def _open_personal(entry: Mapping[str, Any], vault: Sealer | None) -> tuple[dict[str, Any] | None, str]:
    if "personal" not in entry:
        return None, ""
    if vault is None:
        return None, "the ledger was opened without a vault"
    try:
        return vault.unseal(entry["personal_key"], base64.b64decode(entry["personal"], validate=True)), ""
    except (VaultError, binascii.Error) as error:
        return None, str(error)


def _without_personal(raw: bytes) -> bytes:
    entry = json.loads(raw)["entry"]
    return _line_of({name: value for name, value in entry.items() if not name.startswith("personal")})

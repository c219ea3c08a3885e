"""Set a damaged ledger aside and begin a new file with every entry that can still be proved.

Each entry carries its own hash, so a row is believed whatever page it was found in, and rubbish is not. Names of files:

    ledger.db.salvaging   the new file while it grows; killed here, nothing has happened
    ledger.db.salvaged    the new file, whole and durable: from its rename on, whoever opens the ledger ends the change
    ledger.db.damaged-1   the damaged file with its log, kept for who wants to look; the next one is damaged-2
    ledger.db.damaged-1.report   what was found and lost then, until an entry says so: one for each
"""

import hashlib
import itertools
import json
import logging
import os
import secrets
import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sync import schema
from sync.disk import sync_folder, write_whole
from sync.entry import Entry, Key, canonical, entry_hash, epoch_counter, epoch_text
from sync.errors import LedgerDamaged, LedgerUnavailable
from sync.gapped import DAMAGED, PRUNED, Gap, Gaps, missing_runs
from sync.pages import rows_of
from sync.runs import Run

log = logging.getLogger(__name__)

KIND, VERSION = "salvage", 1
TAIL_ENTRIES = 500  # whose hashes are checked at each start: some 5 ms
CHECK_S = 2.0  # for the quick check of a start: 1 GB here, less on a card; of a larger ledger as much as it sees
_ENTRY_COLUMNS, _GAP_COLUMNS, _EPOCH_COLUMNS = 15, 6, 5
_HOLES_TOLD = 100


@dataclass(slots=True)
class _Found:
    """What the pages of a damaged file still prove; the entries themselves are in the new file already."""

    gaps: dict[Key, Gap] = field(default_factory=dict)
    holes: list[Gap] = field(default_factory=list)
    kept: int = 0
    last: Key | None = None
    refused: int = 0  # rows of an entry's shape whose hash says otherwise


def check(connection: sqlite3.Connection, path: Path, limit_s: float = CHECK_S) -> bool:
    """Check the file quickly and the chain of its tail; return whether the time was enough for the whole file.

    Raises: LedgerDamaged, sqlite3.Error when it cannot be read at all.
    """
    until = time.monotonic() + limit_s
    connection.set_progress_handler(lambda: time.monotonic() > until, 20_000)
    whole = True
    try:
        rows = connection.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.OperationalError as error:
        if schema.primary_name(error) != "SQLITE_INTERRUPT":
            raise
        whole, rows = False, [("ok",)]
    finally:
        connection.set_progress_handler(None, 0)
    if rows[0][0] != "ok":
        raise LedgerDamaged(f"{path} is damaged: {' '.join(str(rows[0][0]).split())}; the gate salvages it")
    _check_tail(connection, path)
    return whole


def _check_tail(connection: sqlite3.Connection, path: Path) -> None:
    tail = f"{schema.SELECT} ORDER BY epoch DESC, seq DESC LIMIT {TAIL_ENTRIES}"
    entries = [schema.entry_of(row) for row in connection.execute(tail)][::-1]
    gaps = Gaps(_gap(row) for row in connection.execute(schema.GAPS))
    for entry in entries:
        if entry_hash(entry) != entry.hash:
            raise LedgerDamaged(f"{path}: the content of {entry.key} does not give its hash; the gate salvages it")
    for before, entry in itertools.pairwise(entries):
        for epoch, run in missing_runs(before.key, entry.key, gaps):
            raise LedgerDamaged(f"{path}: {epoch_text(epoch)}-{run.first}…{run.last} are missing; the gate salvages it")


def salvage(path: Path) -> dict[str, Any]:
    """Put a new file with all that can be proved in the place of a damaged one; return the report.

    May be killed anywhere and called again. Do this as the ledger's owner, with no writer open.
    Raises: LedgerUnavailable when the new file cannot be written: nothing has changed then.
    """
    draft = _named(path, "salvaging")
    try:
        finish(path)
        for name in (draft, Path(f"{draft}-journal"), Path(f"{draft}-wal"), Path(f"{draft}-shm")):
            name.unlink(missing_ok=True)
        report = _report(path, _build(draft, path))
        write_whole(_named(path, f"{report['aside'].removeprefix(f'{path.name}.')}.report"), canonical(report))
        os.rename(draft, _named(path, "salvaged"))
        sync_folder(path.parent)
        finish(path)
    except (OSError, sqlite3.Error) as error:
        raise LedgerUnavailable(f"cannot salvage {path}: {error}; make room on its disk") from error
    log.error("%s was damaged: %d entries saved, %d lost; kept as %s", path, report["kept"], report["lost"],
              report["aside"])  # fmt: skip
    return report


def finish(path: Path) -> None:
    """End a change of files that somebody died over; do nothing when there is none.

    Raises: OSError.
    """
    done = _named(path, "salvaged")
    if not done.exists():
        return
    aside = aside_of(path)
    # The log first: beside the new file it would be taken for its own. Until the last rename everybody comes here.
    for ending in ("-wal", ""):
        with suppress(FileNotFoundError):
            os.rename(f"{path}{ending}", f"{aside}{ending}")
    Path(f"{path}-shm").unlink(missing_ok=True)
    sync_folder(path.parent)
    os.rename(done, path)
    sync_folder(path.parent)


def aside_of(path: Path) -> Path:
    """Return the name that the next damaged file gets."""
    number = 1
    while _named(path, f"damaged-{number}").exists():
        number += 1
    return _named(path, f"damaged-{number}")


def report_of(path: Path) -> dict[str, Any] | None:
    """Return what the oldest salvage that no entry tells yet found and lost, until `told`.

    A gate may die before it has told one, and find the next damage when it starts again.
    """
    oldest = _oldest_report(path)
    return oldest[1] if oldest else None


def told(path: Path) -> None:
    """Forget the report that `report_of` returns: an entry says it now.

    Raises: OSError.
    """
    oldest = _oldest_report(path)
    if oldest is not None:
        oldest[0].unlink()


def _oldest_report(path: Path) -> tuple[Path, dict[str, Any]] | None:
    names = path.parent.glob(f"{path.name}.damaged-*.report")
    numbers = (name.suffixes[-2].removeprefix(".damaged-") for name in names)
    for number in sorted(int(text) for text in numbers if text.isdecimal()):
        report = _named(path, f"damaged-{number}.report")
        try:
            return report, json.loads(report.read_bytes())
        except (OSError, ValueError) as error:
            log.error("the report %s cannot be read: %s", report, error)
    return None


def _named(path: Path, ending: str) -> Path:
    return Path(f"{path}.{ending}")


def _build(draft: Path, path: Path) -> _Found:
    """Make the new file, durable under its draft's name; only the disk's room limits how many entries it takes."""
    found = _Found()
    with closing(schema.connect(draft, "rwc")) as connection:
        connection.execute(f"PRAGMA page_size = {schema.PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode = OFF")  # a draft that fails is thrown away
        connection.execute("PRAGMA synchronous = OFF")  # one fsync at its end
        schema.migrate(connection, draft)
        connection.execute("BEGIN IMMEDIATE")
        for row in rows_of(path, _page_bytes_of(path)):
            _take(connection, found, row)
        _keep_gaps(connection, found)
        _find_holes(connection, found)
        connection.execute("COMMIT")
    descriptor = os.open(draft, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return found


def _page_bytes_of(path: Path) -> int:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(18)[16:18], "big")
    return size if 512 <= size <= 32768 and size & (size - 1) == 0 else schema.PAGE_BYTES


def _take(connection: sqlite3.Connection, found: _Found, row: tuple[Any, ...]) -> None:
    """Keep a row that is an entry, an epoch or a gap, by its shape and, of an entry, by its hash."""
    if len(row) == _ENTRY_COLUMNS:
        entry = _proved(row)
        if entry is None:
            found.refused += 1
            return
        connection.execute(schema.INSERT.replace("INSERT", "INSERT OR IGNORE", 1), schema.row_of(entry))
        if entry.personal is None:  # of two copies of a row the emptied one is the later
            where = "epoch = ? AND seq = ? AND personal IS NOT NULL"
            connection.execute(f"UPDATE entries SET personal = NULL, personal_key = NULL WHERE {where}", _pair(entry))
    elif len(row) == _GAP_COLUMNS and row[5] in (PRUNED, DAMAGED) and all(isinstance(one, int) for one in row[:3]):
        gap = _gap(row)
        before = found.gaps.get(Key(gap.epoch, gap.first))
        if before is None or before.last < gap.last:
            found.gaps[Key(gap.epoch, gap.first)] = gap
    elif len(row) == _EPOCH_COLUMNS and isinstance(row[1], int) and isinstance(row[2], str):
        values = (epoch_counter(row[1]), *row[1:])
        connection.execute("INSERT OR IGNORE INTO epochs VALUES (?, ?, ?, ?, ?)", values)


def _proved(row: tuple[Any, ...]) -> Entry | None:
    """Return the entry of this row when its hash says that it is one."""
    try:
        entry = schema.entry_of([*row[:8], row[8].encode(), *row[9:]])
        if entry_hash(entry) != entry.hash:
            return None
    except (ValueError, TypeError, AttributeError):
        return None
    if entry.personal is None or hashlib.sha256(entry.personal).digest() == entry.personal_sha256:
        return entry
    return replace(entry, personal=None, personal_key=None)


def _pair(entry: Entry) -> tuple[int, int]:
    return entry.key.epoch, entry.key.seq


def _keep_gaps(connection: sqlite3.Connection, found: _Found) -> None:
    """Write the gaps that are in no other; pruned rows that still lay in free pages stay dropped."""
    whole: list[Gap] = []
    for key in sorted(found.gaps):
        gap = found.gaps[key]
        if whole and whole[-1].epoch == gap.epoch and gap.first <= whole[-1].last:
            continue
        whole.append(gap)
        where = "epoch = ? AND seq BETWEEN ? AND ?"
        connection.execute(f"DELETE FROM entries WHERE {where}", (gap.epoch, gap.first, gap.last))
    found.gaps = {Key(gap.epoch, gap.first): gap for gap in whole}
    connection.executemany(schema.INSERT_GAP, map(_row_of, whole))


def _find_holes(connection: sqlite3.Connection, found: _Found) -> None:
    """Note what is missing between the entries, and at the end of an epoch that the next start tells."""
    gaps = Gaps(found.gaps.values())
    before: Entry | None = None
    for row in connection.execute(f"{schema.SELECT} ORDER BY epoch, seq"):
        entry = schema.entry_of(row)
        found.kept += 1
        found.holes += _holes_between(before, entry, gaps) if before else _holes_before(entry, gaps)
        before = entry
    found.last = before.key if before else None
    connection.executemany(schema.INSERT_GAP, map(_row_of, found.holes))


def _holes_before(first: Entry, gaps: Gaps) -> list[Gap]:
    """Return what is missing of the first entry's own epoch: what was pruned is a gap, and so the rest is a hole."""
    return _damaged(missing_runs(Key(first.key.epoch, 0), first.key, gaps))


def _holes_between(before: Entry, entry: Entry, gaps: Gaps) -> list[Gap]:
    runs = list(missing_runs(before.key, entry.key, gaps))
    end = _end_of_epoch_before(entry)
    if end is not None and end.epoch == before.key.epoch:
        runs = list(missing_runs(before.key, Key(end.epoch, end.seq + 1), gaps)) + runs
    return _damaged(runs)


def _damaged(runs: Iterable[tuple[int, Run]]) -> list[Gap]:
    return [Gap(epoch=epoch, first=run.first, last=run.last, prev=None, hash=None, why=DAMAGED) for epoch, run in runs]


def _end_of_epoch_before(entry: Entry) -> Key | None:
    if entry.kind != "start" or entry.key.seq != 1:
        return None
    epoch, last = entry.data.get("previous_epoch"), entry.data.get("previous_last_seq")
    return Key(int(epoch, 16), last) if isinstance(epoch, str) and isinstance(last, int) else None


def _report(path: Path, found: _Found) -> dict[str, Any]:
    holes = [
        {"epoch": epoch_text(gap.epoch), "first": gap.first, "last": gap.last} for gap in found.holes[:_HOLES_TOLD]
    ]
    return {
        "id": secrets.token_hex(8),
        "aside": aside_of(path).name,
        "kept": found.kept,
        "lost": sum(gap.count for gap in found.holes),
        "holes": holes,
        "refused_rows": found.refused,
        "last": str(found.last) if found.last else None,
    }


def _gap(row: Any) -> Gap:
    return Gap(epoch=row[0], first=row[1], last=row[2], prev=row[3], hash=row[4], why=row[5])


def _row_of(gap: Gap) -> tuple[Any, ...]:
    return gap.epoch, gap.first, gap.last, gap.prev, gap.hash, gap.why

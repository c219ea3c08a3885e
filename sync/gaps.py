"""Say what the street holds of each gate and what is missing, by its numbers.

Three witnesses say which numbers exist: what arrived, what the gate's state announces, and each `start` entry, which
names the last number of the epoch before it. A number that nobody holds is a loss; it is never passed over in silence.
"""

import json
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sync.entry import Key
from sync.errors import LedgerUnavailable
from sync.runs import Run, Runs
from sync.wire import MAX_EPOCH, MAX_SEQ

_EPOCH = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochReport:
    """One start of one gate: what arrived and what did not."""

    epoch: int
    entries: int
    last: int  # the highest number that any witness names
    missing: tuple[Run, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateReport:
    """One gate as the street knows it."""

    device: str
    entries: int
    epochs: tuple[EpochReport, ...]
    forks: tuple[Key, ...]
    breaks: tuple[Key, ...]  # entries that do not follow the one before them
    forgotten: tuple[Key, ...]  # entries that we hold and that the gate's own ledger no longer knew at its next start
    refused: int
    seen_ns: int
    online: bool | None

    @property
    def missing(self) -> int:
        """How many entries exist by some witness and are not here."""
        return sum(run.count for epoch in self.epochs for run in epoch.missing)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    epoch: int
    prev: bytes
    before: Key  # the last entry of the epoch before, as the gate remembered it


def read_report(path: Path | str) -> tuple[GateReport, ...]:
    """Return the report of a street's database, read-only, beside a running receiver or without one.

    Raises: LedgerUnavailable.
    """
    path = Path(path)
    if not path.exists():
        raise LedgerUnavailable(f"{path}: no such file; is this the --store of the receiver?")
    try:
        with closing(sqlite3.connect(path.absolute().as_uri() + "?mode=ro", uri=True, timeout=5.0)) as connection:
            return report(connection)
    except sqlite3.Error as error:
        raise LedgerUnavailable(f"{path}: {error}; is this the --store of the receiver?") from error


def report(connection: sqlite3.Connection) -> tuple[GateReport, ...]:
    """Return the report of an open database, one part per gate, by name."""
    gates = connection.execute("SELECT device, seen_ns, online, refused FROM gates ORDER BY device").fetchall()
    return tuple(_gate(connection, *gate) for gate in gates)


def _gate(
    connection: sqlite3.Connection, device: str, seen_ns: int, online: int | None, refused: int
) -> GateReport:
    held: dict[int, Runs] = {}
    rows = connection.execute("SELECT epoch, first, last FROM runs WHERE device = ? ORDER BY epoch, first", (device,))
    for epoch, first, last in rows:
        held.setdefault(epoch, Runs()).add(first, last)
    last_known = {epoch: runs.last for epoch, runs in held.items()}
    for epoch, last in connection.execute("SELECT epoch, last FROM announced WHERE device = ?", (device,)):
        last_known[epoch] = max(last, last_known.get(epoch, 0))
    starts = [start for epoch in held if (start := _start(connection, device, epoch)) is not None]
    for start in starts:
        last_known[start.before.epoch] = max(start.before.seq, last_known.get(start.before.epoch, 0))
    epochs = tuple(
        EpochReport(epoch=epoch, entries=runs.total, last=last, missing=tuple(runs.missing(1, last)))
        for epoch, last in sorted(last_known.items())
        for runs in [held.get(epoch, Runs())]
    )
    return GateReport(
        device=device,
        entries=sum(epoch.entries for epoch in epochs),
        epochs=epochs,
        forks=_keys(connection, "forks", device),
        breaks=tuple(sorted({*_keys(connection, "breaks", device), *_broken_starts(connection, device, starts)})),
        forgotten=tuple(
            Key(start.before.epoch, seq)
            for start in starts
            for run in held.get(start.before.epoch, Runs()).within(start.before.seq + 1, MAX_SEQ)
            for seq in range(run.first, min(run.last, run.first + 99) + 1)
        ),
        refused=refused,
        seen_ns=seen_ns,
        online=None if online is None else bool(online),
    )


def _start(connection: sqlite3.Connection, device: str, epoch: int) -> _Start | None:
    row = connection.execute(
        "SELECT body, prev FROM entries WHERE device = ? AND epoch = ? AND seq = 1 AND kind = 'start'", (device, epoch)
    ).fetchone()
    if row is None:
        return None
    body = json.loads(row[0])
    name, last = body.get("previous_epoch"), body.get("previous_last_seq")
    if not isinstance(name, str) or not _EPOCH.fullmatch(name) or int(name, 16) > MAX_EPOCH:
        return None  # the first start of a ledger, or a body that another program wrote
    if type(last) is not int or not 0 <= last <= MAX_SEQ:
        return None
    return _Start(epoch=epoch, prev=row[1], before=Key(int(name, 16), last))


def _broken_starts(connection: sqlite3.Connection, device: str, starts: list[_Start]) -> list[Key]:
    broken = []
    for start in starts:
        row = connection.execute(
            "SELECT hash FROM entries WHERE device = ? AND epoch = ? AND seq = ?",
            (device, start.before.epoch, start.before.seq),
        ).fetchone()
        if row is not None and row[0] != start.prev:
            broken.append(Key(start.epoch, 1))
    return broken


def _keys(connection: sqlite3.Connection, table: str, device: str) -> tuple[Key, ...]:
    rows = connection.execute(f"SELECT epoch, seq FROM {table} WHERE device = ? ORDER BY epoch, seq", (device,))
    return tuple(Key(epoch, seq) for epoch, seq in rows)

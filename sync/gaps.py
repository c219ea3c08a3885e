"""Say what the street holds of each gate and what is missing, by its numbers.

Three witnesses say which numbers exist: what arrived, what the gate's state announces, and each `start` entry, which
names the last number of the epoch before it. A number that nobody holds is a loss; it is never passed over in silence.
"""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sync.entry import Key
from sync.errors import LedgerUnavailable
from sync.runs import Run, Runs
from sync.wire import MAX_EPOCH, MAX_SEQ

Rows = Callable[[str, Sequence[object]], list[Any]]

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

    @property
    def trouble(self) -> bool:
        """Whether something is missing, forked, broken or forgotten."""
        return bool(self.missing or self.forks or self.breaks or self.forgotten)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    epoch: int
    prev: bytes
    before: Key  # the last entry of the epoch before, as the gate remembered it


def read_report(path: Path | str) -> tuple[GateReport, ...]:
    """Return the report of a street's file, read-only, beside a running receiver or without one.

    Raises: LedgerUnavailable.
    """
    with reading_file(Path(path)) as rows:
        return tuple(report(rows))


@contextmanager
def reading_file(path: Path) -> Iterator[Rows]:
    """Open a street's file read-only.

    Raises: LedgerUnavailable.
    """
    if not path.exists():
        raise LedgerUnavailable(f"{path}: no such file; is this the --store of the receiver?")
    try:
        with closing(sqlite3.connect(path.absolute().as_uri() + "?mode=ro", uri=True, timeout=5.0)) as connection:
            yield lambda sql, values: connection.execute(sql, values).fetchall()
    except sqlite3.Error as error:
        raise LedgerUnavailable(f"{path}: {error}; is this the --store of the receiver?") from error


def report(rows: Rows, name: str | None = None) -> Iterator[GateReport]:
    """Yield the report of an open database, one part per gate, by name; with a name, of the gates that bear it.

    The cost is that of the gates, their epochs and holes, not of their entries: the runs tell what is held.
    """
    gates = rows("SELECT device, seen_ns, online, refused FROM gates ORDER BY device", ())
    return (_gate(rows, *gate) for gate in gates if name is None or f"/{gate[0]}".endswith(f"/{name}"))


def _gate(
    rows: Rows, device: str, seen_ns: int, online: int | None, refused: int
) -> GateReport:
    held: dict[int, Runs] = {}
    runs_of = "SELECT epoch, first, last FROM runs WHERE device = ? ORDER BY epoch, first"
    for epoch, first, last in rows(runs_of, (device,)):
        held.setdefault(epoch, Runs()).add(first, last)
    last_known = {epoch: runs.last for epoch, runs in held.items()}
    for epoch, last in rows("SELECT epoch, last FROM announced WHERE device = ?", (device,)):
        last_known[epoch] = max(last, last_known.get(epoch, 0))
    starts = [start for epoch in held if (start := _start(rows, device, epoch)) is not None]
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
        forks=_keys(rows, "forks", device),
        breaks=tuple(sorted({*_keys(rows, "breaks", device), *_broken_starts(rows, device, starts)})),
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


def _start(rows: Rows, device: str, epoch: int) -> _Start | None:
    found = rows(
        "SELECT body, prev FROM entries WHERE device = ? AND epoch = ? AND seq = 1 AND kind = 'start'", (device, epoch)
    )
    if not found:
        return None
    row = found[0]
    body = json.loads(row[0])
    name, last = body.get("previous_epoch"), body.get("previous_last_seq")
    if not isinstance(name, str) or not _EPOCH.fullmatch(name) or int(name, 16) > MAX_EPOCH:
        return None  # the first start of a ledger, or a body that another program wrote
    if type(last) is not int or not 0 <= last <= MAX_SEQ:
        return None
    return _Start(epoch=epoch, prev=row[1], before=Key(int(name, 16), last))


def _broken_starts(rows: Rows, device: str, starts: list[_Start]) -> list[Key]:
    broken = []
    for start in starts:
        found = rows(
            "SELECT hash FROM entries WHERE device = ? AND epoch = ? AND seq = ?",
            (device, start.before.epoch, start.before.seq),
        )
        if found and found[0][0] != start.prev:
            broken.append(Key(start.epoch, 1))
    return broken


def _keys(rows: Rows, table: str, device: str) -> tuple[Key, ...]:
    found = rows(f"SELECT epoch, seq FROM {table} WHERE device = ? ORDER BY epoch, seq", (device,))
    return tuple(Key(epoch, seq) for epoch, seq in found)

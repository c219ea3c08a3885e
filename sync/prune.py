"""Drop entries that the street has receipted, the oldest first, and leave gaps over which the chain still holds."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sync import schema
from sync.entry import Entry, Key, epoch_text
from sync.errors import LedgerUnavailable
from sync.gapped import PRUNED
from sync.reading import LedgerReader

STEP_ENTRIES = 500  # one transaction: some 10 ms, for which an append may have to wait
KIND, VERSION = "pruned", 1


@dataclass(frozen=True, slots=True, order=True)
class Stretch:
    """Numbers of one epoch, `first` to `last`, to be dropped together."""

    epoch: int
    first: int
    last: int

    @property
    def count(self) -> int:
        """How many numbers."""
        return self.last - self.first + 1


def choose(
    reader: LedgerReader, after: Key | None, may_go: Callable[[Entry, int | None], bool]
) -> tuple[list[Stretch], Key | None]:
    """Return what may be dropped of the next `STEP_ENTRIES` entries, and where they ended; None is the ledger's end.

    `may_go` is asked for each entry, with the latest wall time in ns at which it can have been written: its own under a
    trusted clock, else the start of the next epoch that knew the time, None when nobody can tell. The newest entry
    always stays.
    """
    entries = reader.after(after, STEP_ENTRIES)
    head = reader.head()
    known: dict[int, int | None] = {}
    chosen: list[Stretch] = []
    for entry in entries:
        latest: int | None = entry.stamp.wall_ns
        if not entry.stamp.clock_trusted:
            if entry.key.epoch not in known:
                known[entry.key.epoch] = reader.began_after(entry.key.epoch)
            latest = known[entry.key.epoch]
        if entry.key != head and may_go(entry, latest):
            _extend(chosen, entry.key)
    return chosen, entries[-1].key if entries else None


def body_of(stretches: Sequence[Stretch]) -> dict[str, object]:
    """Return the body of the entry that says what was dropped."""
    runs = [[epoch_text(one.epoch), one.first, one.last] for one in stretches]
    return {"entries": sum(one.count for one in stretches), "runs": runs}


def drop(connection: sqlite3.Connection, stretches: Sequence[Stretch], tip: Key) -> None:
    """Delete the entries and note the gaps, inside the caller's transaction.

    Raises: LedgerUnavailable when one of them is not there or is the newest: then roll back.
    """
    for one in stretches:
        if Key(one.epoch, one.last) >= tip:
            raise LedgerUnavailable(f"{epoch_text(one.epoch)}-{one.last} is the newest entry; it stays")
        where = "FROM entries WHERE epoch = ? AND seq BETWEEN ? AND ?"
        numbers = (one.epoch, one.first, one.last)
        (count,) = connection.execute(f"SELECT count(*) {where}", numbers).fetchone()
        if count != one.count:
            raise LedgerUnavailable(f"only {count} of {epoch_text(one.epoch)}-{one.first}…{one.last} are there to drop")
        ends = connection.execute(f"SELECT prev, hash {where} ORDER BY seq", numbers).fetchall()
        _note(connection, one, ends[0][0], ends[-1][1])
        connection.execute(f"DELETE {where}", numbers)


def _note(connection: sqlite3.Connection, one: Stretch, prev: bytes, hash_: bytes) -> None:
    """Write the gap, joined with pruned ones that touch it: a ledger of years keeps few of them."""
    first, last = one.first, one.last
    where = "FROM gaps WHERE epoch = ? AND why = ?"
    below = connection.execute(f"SELECT first, prev {where} AND last = ?", (one.epoch, PRUNED, first - 1)).fetchone()
    if below is not None:
        first, prev = below
    above = connection.execute(f"SELECT last, hash {where} AND first = ?", (one.epoch, PRUNED, last + 1)).fetchone()
    if above is not None:
        connection.execute("DELETE FROM gaps WHERE epoch = ? AND first = ?", (one.epoch, last + 1))
        last, hash_ = above
    connection.execute(schema.INSERT_GAP, (one.epoch, first, last, prev, hash_, PRUNED))


def _extend(chosen: list[Stretch], key: Key) -> None:
    if chosen and (chosen[-1].epoch, chosen[-1].last + 1) == (key.epoch, key.seq):
        chosen[-1] = Stretch(key.epoch, chosen[-1].first, key.seq)
    else:
        chosen.append(Stretch(key.epoch, key.seq, key.seq))

"""Say at the street when a gate's entries were made, by the anchors that came with them, late ones too.

The rule is the gate's own, `dating.py`; here is where the street's store holds what it needs.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sync.dating import Dated, dating_of
from sync.entry import Entry, Key, Stamp
from sync.gaps import Rows
from sync.store import reading

_SELECT = "SELECT epoch, seq, kind, version, wall_ns, boot_ns, boot_id, trusted, body, prev, hash FROM entries"


class _Held:
    """The entries of one gate in the street's store, as `dating_of` asks for them."""

    def __init__(self, rows: Rows, device: str) -> None:
        self._rows, self._device = rows, device

    def ends(self) -> Sequence[Entry]:
        where = "SELECT epoch, min(first), max(last) FROM runs WHERE device = ? GROUP BY epoch"
        spans = self._rows(where, (self._device,))
        return self.entries(Key(epoch, seq) for epoch, *ends in spans for seq in sorted({*ends}))

    def of_kind(self, kind: str, epochs: Iterable[int]) -> Sequence[Entry]:
        where = f"{_SELECT} WHERE device = ? AND epoch = ? AND kind = ? ORDER BY seq"
        found = (self._rows(where, (self._device, epoch, kind)) for epoch in sorted(epochs))
        return [_entry(row) for rows in found for row in rows]

    def entries(self, keys: Iterable[Key]) -> Sequence[Entry]:
        where = f"{_SELECT} WHERE device = ? AND epoch = ? AND seq = ?"
        found = (self._rows(where, (self._device, key.epoch, key.seq)) for key in keys)
        return [_entry(row) for rows in found for row in rows]


def dates_of(where: Path | str, device: str, keys: Iterable[Key] | None = None) -> dict[Key, Dated]:
    """Return when these entries of a gate were made; without keys, the first and the last that is held of each epoch.

    What is not held is left out. Reads all of an epoch only where its clock was not good.
    Raises: LedgerUnavailable.
    """
    with reading(where) as rows:
        return dates_in(rows, device, keys)


def dates_in(rows: Rows, device: str, keys: Iterable[Key] | None = None) -> dict[Key, Dated]:
    """Return what `dates_of` does, from a store that is open."""
    held = _Held(rows, device)
    entries = held.ends() if keys is None else held.entries(keys)
    dating = dating_of(held, (entry.stamp for entry in entries))
    return {entry.key: dating.when(entry.stamp) for entry in entries}


def _entry(row: Sequence[Any]) -> Entry:
    epoch, seq, kind, version, wall_ns, boot_ns, boot_id, trusted, body, prev, hash_ = row
    boot_id = boot_id.decode() if isinstance(boot_id, bytes) else boot_id  # as PostgreSQL keeps it
    return Entry(
        key=Key(epoch, seq),
        kind=kind,
        version=version,
        stamp=Stamp(wall_ns=wall_ns, boot_ns=boot_ns, boot_id=boot_id, clock_trusted=bool(trusted)),
        body=body,
        prev=prev,
        hash=hash_,
    )

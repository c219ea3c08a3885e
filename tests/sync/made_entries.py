"""Entries and a ledger in memory for the tests of the network half."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from sync.entry import GENESIS, Entry, Key, Stamp, canonical, entry_hash, epoch_text, make_epoch
from sync.runs import Run, Runs
from sync.wire import encode_entry

FIRST = make_epoch(1, 0xC0FFEE01)
SECOND = make_epoch(2, 0xC0FFEE02)
NOON_NS = 1_795_000_000_123_456_789


def made(
    key: Key,
    *,
    prev: bytes = GENESIS,
    kind: str = "passage",
    body: Mapping[str, object] | None = None,
    personal: bytes | None = None,
    trusted: bool = True,
    wall_ns: int = NOON_NS,
) -> Entry:
    entry = Entry(
        key=key,
        kind=kind,
        version=1,
        stamp=Stamp(wall_ns=wall_ns + key.seq, boot_ns=key.seq * 1_000, boot_id="b00t", clock_trusted=trusted),
        body=canonical(body if body is not None else {"outcome": "open", "skin_celsius": 36.4, "n": key.seq}),
        personal=personal,
        personal_key="passage/2026-11-22" if personal else None,
        personal_sha256=hashlib.sha256(personal).digest() if personal else None,
        prev=prev,
    )
    return replace(entry, hash=entry_hash(entry))


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    epoch: int
    first_seq: int
    last_seq: int
    count: int


class LedgerInMemory:
    """What LedgerReader offers, with an owner that appends."""

    def __init__(self) -> None:
        self.entries: dict[Key, Entry] = {}
        self._changed = True

    def start(self, epoch: int) -> Entry:
        last = self.head()
        body = {"previous_epoch": epoch_text(last.epoch), "previous_last_seq": last.seq} if last else {}
        return self._add(made(Key(epoch, 1), prev=self._tip(), kind="start", body=body))

    def append(self, count: int = 1, **more: object) -> list[Entry]:
        head = self.head()
        assert head is not None, "start an epoch first"
        return [
            self._add(made(Key(head.epoch, head.seq + step), prev=self._tip(), **more))  # type: ignore[arg-type]
            for step in range(1, count + 1)
        ]

    def changed(self) -> bool:
        changed, self._changed = self._changed, False
        return changed

    def head(self) -> Key | None:
        return max(self.entries, default=None)

    def epochs(self) -> list[Span]:
        found: dict[int, list[int]] = {}
        for key in self.entries:
            found.setdefault(key.epoch, []).append(key.seq)
        return [
            Span(epoch=epoch, first_seq=min(seqs), last_seq=max(seqs), count=len(seqs))
            for epoch, seqs in sorted(found.items())
        ]

    def range(self, epoch: int, first: int, last: int) -> list[Entry]:
        return [self.entries[key] for seq in range(first, last + 1) if (key := Key(epoch, seq)) in self.entries]

    def held(self, epoch: int) -> list[Run]:
        return list(Runs(Run(key.seq, key.seq) for key in sorted(self.entries) if key.epoch == epoch))

    def events(
        self, epoch: int, first: int, last: int, source: str, *, historical: bool
    ) -> list[tuple[int, bytes]]:
        entries = self.range(epoch, first, last)
        return [(entry.key.seq, encode_entry(entry, source, historical=historical)) for entry in entries]

    def _tip(self) -> bytes:
        head = self.head()
        return self.entries[head].hash if head else GENESIS

    def _add(self, entry: Entry) -> Entry:
        self.entries[entry.key] = entry
        self._changed = True
        return entry

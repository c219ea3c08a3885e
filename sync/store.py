"""Keep the entries of many gates, each once, and say in a receipt what is held.

The key is (device, epoch, seq): a duplicate changes nothing and is receipted again; a different entry under a used key
is a fork, which is kept aside and never receipted. What is missing is named by its numbers. Several processes may
write one store (a file: see `sync.store_sqlite`): an engine's transaction is alone with the devices it names. The SQL
here is what SQLite and PostgreSQL both understand; what differs is in `sync.store_sqlite` and `sync.store_postgresql`.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, Self

from sync.entry import Entry, Key
from sync.gaps import GateReport, Rows, reading_file, report
from sync.pack import ENCODINGS
from sync.runs import Run, Runs
from sync.store_sqlite import SqliteEngine
from sync.wire import MAX_RUNS, Arrival, Batch, EpochReceipt, Gate, Receipt, Refused, State

log = logging.getLogger(__name__)

MAX_BREAKS = 1_000  # per gate; a gate that breaks its chain more often has said enough
POSTGRESQL = ("postgresql://", "postgres://")

_HEARD = (
    "INSERT INTO gates VALUES(?, ?, NULL, ?) ON CONFLICT(device)"
    " DO UPDATE SET seen_ns = excluded.seen_ns, refused = gates.refused + excluded.refused"
)
_STATE = (
    "INSERT INTO gates VALUES(?, ?, ?, 0) ON CONFLICT(device) DO UPDATE SET online = excluded.online,"
    " seen_ns = CASE WHEN excluded.seen_ns > gates.seen_ns THEN excluded.seen_ns ELSE gates.seen_ns END"
)
_ANNOUNCED = (
    "INSERT INTO announced VALUES(?, ?, ?) ON CONFLICT(device, epoch) DO UPDATE SET"
    " last = CASE WHEN excluded.last > announced.last THEN excluded.last ELSE announced.last END"
)


class Engine(Protocol):
    """A database. Placeholders are question marks; its complaints are LedgerUnavailable."""

    def transaction(self, devices: Sequence[str]) -> AbstractContextManager[None]: ...
    def rows(self, sql: str, values: Sequence[object] = ()) -> list[Any]: ...
    def run_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None: ...
    def insert_entries(self, rows: Iterable[Sequence[object]]) -> None: ...
    def close(self) -> None: ...


def open_engine(where: Path | str) -> Engine:
    """Open a file of SQLite, or the database that a URL `postgresql://…` names.

    Raises: LedgerUnavailable, LedgerFromTheFuture.
    """
    if str(where).startswith(POSTGRESQL):
        from sync.store_postgresql import PostgresEngine  # an extra: most streets need no server

        return PostgresEngine(str(where))
    return SqliteEngine(Path(where))


@contextmanager
def reading(where: Path | str) -> Iterator[Rows]:
    """Open a street's store for queries, beside its receivers.

    Raises: LedgerUnavailable.
    """
    if not str(where).startswith(POSTGRESQL):
        with reading_file(Path(where)) as rows:
            yield rows
        return
    engine = open_engine(where)
    try:
        yield engine.rows
    finally:
        engine.close()


class Store:
    """The street's database. `sync.gaps.read_report` reads it beside."""

    def __init__(self, where: Path | str) -> None:
        self._engine = open_engine(where)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._engine.close()

    def accept(self, gate: Gate, batch: Batch, *, now_ns: int) -> Receipt:
        """Store what is new of one batch, as `accept_all` does."""
        (receipt,) = self.accept_all([(gate, batch)], now_ns=now_ns)
        return receipt

    def accept_all(self, batches: Sequence[tuple[Gate, Batch]], *, now_ns: int) -> list[Receipt]:
        """Store what is new of several batches in one commit; return a receipt for each, true from this moment on.

        Raises: LedgerUnavailable when nothing could be stored; then there is no receipt and the gates send again.
        """
        engine = self._engine
        with engine.transaction([str(gate) for gate, _ in batches]):
            kept = [_keep_batch(engine, str(gate), batch, now_ns) for gate, batch in batches]
        return [self._receipt(str(gate), batch, one) for (gate, batch), one in zip(batches, kept, strict=True)]

    def _receipt(self, device: str, batch: Batch, kept: "_Kept") -> Receipt:
        epochs = tuple(self._receipt_of(device, epoch, runs, batch) for epoch, runs in kept.held.items())
        return Receipt(gate=device, epochs=epochs, refused=kept.refused, batch=batch.id, encodings=ENCODINGS)

    def note_state(self, gate: Gate, state: State, *, now_ns: int) -> Receipt:
        """Note one state, as `note_states` does."""
        (receipt,) = self.note_states([(gate, state)], now_ns=now_ns)
        return receipt

    def note_states(self, states: Sequence[tuple[Gate, State]], *, now_ns: int) -> list[Receipt]:
        """Remember in one commit which entries the gates say exist; return what we hold of them."""
        engine = self._engine
        with engine.transaction([str(gate) for gate, _ in states]):
            known = [(str(gate), now_ns, None if s.online is None else int(s.online)) for gate, s in states]
            engine.run_many(_STATE, known)
            engine.run_many(_ANNOUNCED, ((str(gate), one.epoch, one.last) for gate, s in states for one in s.epochs))
            held = [{one.epoch: _runs(engine, str(gate), one.epoch) for one in s.epochs} for gate, s in states]
        return [self._answer(str(gate), s, runs) for (gate, s), runs in zip(states, held, strict=True)]

    def _answer(self, device: str, state: State, held: dict[int, Runs]) -> Receipt:
        epochs = tuple(self._receipt_of(device, epoch, runs) for epoch, runs in held.items() if len(runs))
        return Receipt(gate=device, epochs=epochs, encodings=ENCODINGS, answers=state.ask)

    def report(self) -> tuple[GateReport, ...]:
        """Return what is held and missing, one part per gate."""
        return tuple(report(self._engine.rows))

    def _receipt_of(self, device: str, epoch: int, held: Runs, batch: Batch | None = None) -> EpochReceipt:
        forked = self._engine.rows("SELECT DISTINCT seq FROM forks WHERE device = ? AND epoch = ?", (device, epoch))
        for (seq,) in forked:  # we hold another entry under this key, so ours is no receipt for theirs
            held.discard(seq)
        runs = list(held)
        upto = runs.pop(0).last if runs and runs[0].first == 1 else 0
        if part := len(runs) > MAX_RUNS:  # a sieve of an epoch: then the receipt speaks of this batch only
            keys = [arrival.entry.key for arrival in batch.arrivals] if batch else []
            near = [key.seq for key in keys if key.epoch == epoch and key.seq > upto and key.seq in held]
            runs = list(Runs(Run(seq, seq) for seq in near))[:MAX_RUNS]
        return EpochReceipt(epoch=epoch, upto=upto, also=tuple(runs), part=part)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """What was done with a batch: the numbers now held of each epoch it spoke of, and what was refused."""

    held: dict[int, Runs]
    refused: tuple[Refused, ...]


def _keep_batch(engine: Engine, device: str, batch: Batch, now_ns: int) -> _Kept:
    by_epoch: dict[int, list[Arrival]] = {}
    for arrival in batch.arrivals:
        by_epoch.setdefault(arrival.entry.key.epoch, []).append(arrival)
    refused = list(batch.refused)
    held: dict[int, Runs] = {}
    for epoch, arrivals in by_epoch.items():
        held[epoch], forks = _keep(engine, device, epoch, arrivals, now_ns)
        refused += [Refused(key=key, reason="fork") for key in forks]
    engine.run_many(_HEARD, [(device, now_ns, len(refused))])
    return _Kept(held=held, refused=tuple(refused))


def _keep(
    engine: Engine, device: str, epoch: int, arrivals: Iterable[Arrival], now_ns: int
) -> tuple[Runs, list[Key]]:
    """Insert the new entries of one epoch; return all numbers held of it, and the keys that are forks."""
    held = _runs(engine, device, epoch)
    fresh: dict[int, Arrival] = {}
    forks = []
    for arrival in arrivals:
        entry = arrival.entry
        seq = entry.key.seq
        if seq in held:
            known = _hash_at(engine, device, entry.key)
        elif seq in fresh:
            known = fresh[seq].entry.hash
        else:
            fresh[seq] = arrival
            continue
        if known != entry.hash:
            forks.append(entry.key)
            row = (device, epoch, seq, entry.hash, entry.prev, entry.kind, entry.body, now_ns)
            engine.run_many("INSERT INTO forks VALUES(?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", [row])
    if fresh:
        engine.insert_entries(_row(device, arrival, now_ns) for arrival in fresh.values())
        _check_links(engine, device, epoch, {seq: arrival.entry for seq, arrival in fresh.items()}, now_ns)
        for first, last in _spans(sorted(fresh)):
            held.add(first, last)
        engine.run_many("DELETE FROM runs WHERE device = ? AND epoch = ?", [(device, epoch)])
        rows = ((device, epoch, run.first, run.last) for run in held)
        engine.run_many("INSERT INTO runs VALUES(?, ?, ?, ?)", rows)
    return held, forks


def _spans(rising: Sequence[int]) -> list[tuple[int, int]]:
    """Return the first and last of each unbroken stretch."""
    ends = [at for at in range(1, len(rising)) if rising[at] != rising[at - 1] + 1]
    return [(rising[a], rising[b - 1]) for a, b in pairwise([0, *ends, len(rising)])]


def _check_links(engine: Engine, device: str, epoch: int, fresh: dict[int, Entry], now_ns: int) -> None:
    """Note where an entry does not follow the one before it. Starts of epochs are compared in the report."""
    broken = []
    for seq, entry in fresh.items():
        before = fresh[seq - 1].hash if seq - 1 in fresh else _hash_at(engine, device, Key(epoch, seq - 1))
        if before is not None and entry.prev != before:
            broken.append(seq)
        if seq + 1 not in fresh:
            after = engine.rows(
                "SELECT prev FROM entries WHERE device = ? AND epoch = ? AND seq = ?", (device, epoch, seq + 1)
            )
            if after and after[0][0] != entry.hash:
                broken.append(seq + 1)
    if broken:
        ((count,),) = engine.rows("SELECT count(*) FROM breaks WHERE device = ?", (device,))
        rows = ((device, epoch, seq, now_ns) for seq in broken[: max(0, MAX_BREAKS - count)])
        engine.run_many("INSERT INTO breaks VALUES(?, ?, ?, ?) ON CONFLICT DO NOTHING", rows)
        log.error("%s: the chain of epoch %016x breaks at %s", device, epoch, broken[:5])


def _row(device: str, arrival: Arrival, now_ns: int) -> tuple[object, ...]:
    entry, stamp = arrival.entry, arrival.entry.stamp
    return (
        device, entry.key.epoch, entry.key.seq, entry.kind, entry.version, stamp.wall_ns, stamp.boot_ns, stamp.boot_id,
        int(stamp.clock_trusted), entry.body, entry.personal_sha256, entry.prev, entry.hash, int(arrival.historical),
        now_ns,
    )  # fmt: skip


def _runs(engine: Engine, device: str, epoch: int) -> Runs:
    rows = engine.rows("SELECT first, last FROM runs WHERE device = ? AND epoch = ? ORDER BY first", (device, epoch))
    return Runs(Run(first, last) for first, last in rows)


def _hash_at(engine: Engine, device: str, key: Key) -> bytes | None:
    where = "WHERE device = ? AND epoch = ? AND seq = ?"
    rows = engine.rows(f"SELECT hash FROM entries {where}", (device, key.epoch, key.seq))
    return rows[0][0] if rows else None

"""Keep the entries of many gates, each once, and answer with a receipt after the commit.

The key is (device, epoch, seq): a duplicate changes nothing and is receipted again; a different entry under a used key
is a fork, which is kept aside and never receipted. What is missing is named by its numbers.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Self

from sync.broker import Broker, BrokerLost, Disconnected, Message, SubscriptionRefused
from sync.entry import Entry, Key
from sync.errors import LedgerFromTheFuture, LedgerUnavailable, WireError
from sync.gaps import GateReport, report
from sync.pack import ENCODING, ENCODINGS
from sync.receipts import Signer
from sync.runs import Run, Runs
from sync.wire import (
    JSON_TYPE,
    MAX_RUNS,
    Arrival,
    Batch,
    EpochReceipt,
    Gate,
    Receipt,
    Refused,
    State,
    decode_batch,
    decode_state,
    encode_receipt,
    every_gate,
    parse_topic,
)

log = logging.getLogger(__name__)

VERSION = 1
MAX_BREAKS = 1_000  # per gate; a gate that breaks its chain more often has said enough

GROUP_ENTRIES = 400  # one commit: two full batches, or what many gates send one by one; a gate waits for the receipt
GROUP_MESSAGES = 64

_SCHEMA = """
CREATE TABLE entries(
    device TEXT, epoch INTEGER, seq INTEGER, kind TEXT NOT NULL, version INTEGER NOT NULL,
    wall_ns INTEGER NOT NULL, boot_ns INTEGER NOT NULL, boot_id TEXT NOT NULL, trusted INTEGER NOT NULL,
    body BLOB NOT NULL, personal_sha256 BLOB, prev BLOB NOT NULL, hash BLOB NOT NULL,
    historical INTEGER NOT NULL, received_ns INTEGER NOT NULL,
    PRIMARY KEY(device, epoch, seq)) WITHOUT ROWID;
CREATE TABLE runs(device TEXT, epoch INTEGER, first INTEGER, last INTEGER,
    PRIMARY KEY(device, epoch, first)) WITHOUT ROWID;
CREATE TABLE forks(device TEXT, epoch INTEGER, seq INTEGER, hash BLOB, prev BLOB, kind TEXT, body BLOB,
    received_ns INTEGER, PRIMARY KEY(device, epoch, seq, hash)) WITHOUT ROWID;
CREATE TABLE breaks(device TEXT, epoch INTEGER, seq INTEGER, received_ns INTEGER,
    PRIMARY KEY(device, epoch, seq)) WITHOUT ROWID;
CREATE TABLE announced(device TEXT, epoch INTEGER, last INTEGER, PRIMARY KEY(device, epoch)) WITHOUT ROWID;
CREATE TABLE gates(device TEXT PRIMARY KEY, seen_ns INTEGER NOT NULL, online INTEGER, refused INTEGER NOT NULL)
    WITHOUT ROWID;
PRAGMA user_version = 1;
"""
_INSERT = "INSERT INTO entries VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class Store:
    """The street's database. One process writes it; `sync.gaps.read_report` reads it beside."""

    def __init__(self, path: Path | str) -> None:
        try:
            self._connection = _open(Path(path))
        except sqlite3.Error as error:
            raise LedgerUnavailable(f"{path}: {error}; check the directory, its owner and the free space") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def accept(self, gate: Gate, batch: Batch, *, now_ns: int) -> Receipt:
        """Store what is new of one batch, as `accept_all` does."""
        (receipt,) = self.accept_all([(gate, batch)], now_ns=now_ns)
        return receipt

    def accept_all(self, batches: Sequence[tuple[Gate, Batch]], *, now_ns: int) -> list[Receipt]:
        """Store what is new of several batches in one commit; return a receipt for each, true from this moment on.

        Raises: LedgerUnavailable when nothing could be stored; then there is no receipt and the gates send again.
        """
        with closing(self._connection.cursor()) as cursor:
            try:
                cursor.execute("BEGIN IMMEDIATE")
                kept = [_keep_batch(cursor, str(gate), batch, now_ns) for gate, batch in batches]
                cursor.execute("COMMIT")
            except sqlite3.Error as error:
                _roll_back(cursor)
                raise LedgerUnavailable(f"the street's store cannot be written: {error}; check the disk") from error
        return [self._receipt(str(gate), batch, one) for (gate, batch), one in zip(batches, kept, strict=True)]

    def _receipt(self, device: str, batch: Batch, kept: "_Kept") -> Receipt:
        epochs = tuple(self._receipt_of(device, epoch, runs, batch) for epoch, runs in kept.held.items())
        return Receipt(gate=device, epochs=epochs, refused=kept.refused, batch=batch.id, encodings=ENCODINGS)

    def note_state(self, gate: Gate, state: State, *, now_ns: int) -> Receipt:
        """Remember which entries the gate says exist, and return what we hold of them."""
        device = str(gate)
        with closing(self._connection.cursor()) as cursor:
            try:
                cursor.execute("BEGIN IMMEDIATE")
                cursor.execute(
                    "INSERT INTO gates VALUES(?1, ?2, ?3, 0) ON CONFLICT(device)"
                    " DO UPDATE SET seen_ns = max(seen_ns, ?2), online = ?3",
                    (device, now_ns, state.online),
                )
                cursor.executemany(
                    "INSERT INTO announced VALUES(?, ?, ?) ON CONFLICT DO UPDATE SET last = max(last, excluded.last)",
                    ((device, known.epoch, known.last) for known in state.epochs),
                )
                cursor.execute("COMMIT")
            except sqlite3.Error as error:
                _roll_back(cursor)
                raise LedgerUnavailable(f"the street's store cannot be written: {error}; check the disk") from error
            held = {known.epoch: _runs(cursor, device, known.epoch) for known in state.epochs}
        asked = state.name is not None  # then "nothing" is an answer too
        parts = ((epoch, runs) for epoch, runs in held.items() if asked or len(runs))
        epochs = tuple(self._receipt_of(device, epoch, runs, whole=asked) for epoch, runs in parts)
        return Receipt(gate=device, epochs=epochs, encodings=ENCODINGS, answers=state.name)

    def report(self) -> tuple[GateReport, ...]:
        """Return what is held and missing, one part per gate."""
        return report(self._connection)

    def _receipt_of(
        self, device: str, epoch: int, held: Runs, batch: Batch | None = None, *, whole: bool = False
    ) -> EpochReceipt:
        forked = self._connection.execute(
            "SELECT DISTINCT seq FROM forks WHERE device = ? AND epoch = ?", (device, epoch)
        )
        for (seq,) in forked:  # we hold another entry under this key, so ours is no receipt for theirs
            held.discard(seq)
            whole = False
        runs = list(held)
        upto = runs.pop(0).last if runs and runs[0].first == 1 else 0
        if len(runs) > MAX_RUNS:  # a sieve of an epoch: then the receipt speaks of this batch only
            keys = [arrival.entry.key for arrival in batch.arrivals] if batch else []
            near = [key.seq for key in keys if key.epoch == epoch and key.seq > upto and key.seq in held]
            runs, whole = list(Runs(Run(seq, seq) for seq in near))[:MAX_RUNS], False
        return EpochReceipt(epoch=epoch, upto=upto, also=tuple(runs), whole=whole)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """What was done with a batch: the numbers now held of each epoch it spoke of, and what was refused."""

    held: dict[int, Runs]
    refused: tuple[Refused, ...]


def _keep_batch(cursor: sqlite3.Cursor, device: str, batch: Batch, now_ns: int) -> _Kept:
    by_epoch: dict[int, list[Arrival]] = {}
    for arrival in batch.arrivals:
        by_epoch.setdefault(arrival.entry.key.epoch, []).append(arrival)
    refused = list(batch.refused)
    held: dict[int, Runs] = {}
    for epoch, arrivals in by_epoch.items():
        held[epoch], forks = _keep(cursor, device, epoch, arrivals, now_ns)
        refused += [Refused(key=key, reason="fork") for key in forks]
    cursor.execute(
        "INSERT INTO gates VALUES(?1, ?2, NULL, ?3) ON CONFLICT(device)"
        " DO UPDATE SET seen_ns = ?2, refused = refused + ?3",
        (device, now_ns, len(refused)),
    )
    return _Kept(held=held, refused=tuple(refused))


def _keep(
    cursor: sqlite3.Cursor, device: str, epoch: int, arrivals: Iterable[Arrival], now_ns: int
) -> tuple[Runs, list[Key]]:
    """Insert the new entries of one epoch; return all numbers held of it, and the keys that are forks."""
    held = _runs(cursor, device, epoch)
    fresh: dict[int, Arrival] = {}
    forks = []
    for arrival in arrivals:
        entry = arrival.entry
        seq = entry.key.seq
        if seq in held:
            known = _hash_at(cursor, device, entry.key)
        elif seq in fresh:
            known = fresh[seq].entry.hash
        else:
            fresh[seq] = arrival
            continue
        if known != entry.hash:
            forks.append(entry.key)
            row = (device, epoch, seq, entry.hash, entry.prev, entry.kind, entry.body, now_ns)
            cursor.execute("INSERT OR IGNORE INTO forks VALUES(?, ?, ?, ?, ?, ?, ?, ?)", row)
    if fresh:
        cursor.executemany(_INSERT, (_row(device, arrival, now_ns) for arrival in fresh.values()))
        _check_links(cursor, device, epoch, {seq: arrival.entry for seq, arrival in fresh.items()}, now_ns)
        for first, last in _spans(sorted(fresh)):
            held.add(first, last)
        cursor.execute("DELETE FROM runs WHERE device = ? AND epoch = ?", (device, epoch))
        rows = ((device, epoch, run.first, run.last) for run in held)
        cursor.executemany("INSERT INTO runs VALUES(?, ?, ?, ?)", rows)
    return held, forks


def _spans(rising: Sequence[int]) -> list[tuple[int, int]]:
    """Return the first and last of each unbroken stretch."""
    ends = [at for at in range(1, len(rising)) if rising[at] != rising[at - 1] + 1]
    return [(rising[a], rising[b - 1]) for a, b in pairwise([0, *ends, len(rising)])]


def _check_links(cursor: sqlite3.Cursor, device: str, epoch: int, fresh: dict[int, Entry], now_ns: int) -> None:
    """Note where an entry does not follow the one before it. Starts of epochs are compared in the report."""
    broken = []
    for seq, entry in fresh.items():
        before = fresh[seq - 1].hash if seq - 1 in fresh else _hash_at(cursor, device, Key(epoch, seq - 1))
        if before is not None and entry.prev != before:
            broken.append(seq)
        if seq + 1 not in fresh:
            after = cursor.execute(
                "SELECT prev FROM entries WHERE device = ? AND epoch = ? AND seq = ?", (device, epoch, seq + 1)
            ).fetchone()
            if after is not None and after[0] != entry.hash:
                broken.append(seq + 1)
    if broken:
        (count,) = cursor.execute("SELECT count(*) FROM breaks WHERE device = ?", (device,)).fetchone()
        rows = ((device, epoch, seq, now_ns) for seq in broken[: max(0, MAX_BREAKS - count)])
        cursor.executemany("INSERT OR IGNORE INTO breaks VALUES(?, ?, ?, ?)", rows)
        log.error("%s: the chain of epoch %016x breaks at %s", device, epoch, broken[:5])


def _row(device: str, arrival: Arrival, now_ns: int) -> tuple[object, ...]:
    entry, stamp = arrival.entry, arrival.entry.stamp
    return (
        device, entry.key.epoch, entry.key.seq, entry.kind, entry.version, stamp.wall_ns, stamp.boot_ns, stamp.boot_id,
        stamp.clock_trusted, entry.body, entry.personal_sha256, entry.prev, entry.hash, arrival.historical, now_ns,
    )  # fmt: skip


def _runs(cursor: sqlite3.Cursor, device: str, epoch: int) -> Runs:
    rows = cursor.execute("SELECT first, last FROM runs WHERE device = ? AND epoch = ? ORDER BY first", (device, epoch))
    return Runs(Run(first, last) for first, last in rows)


def _hash_at(cursor: sqlite3.Cursor, device: str, key: Key) -> bytes | None:
    row = cursor.execute(
        "SELECT hash FROM entries WHERE device = ? AND epoch = ? AND seq = ?", (device, key.epoch, key.seq)
    ).fetchone()
    return row[0] if row else None


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=5.0)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise LedgerFromTheFuture(f"{path}: version {version}, this program knows {VERSION}; update it")
        if version == 0:
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
    except (sqlite3.Error, LedgerFromTheFuture):
        connection.close()
        raise
    return connection


def _roll_back(cursor: sqlite3.Cursor) -> None:
    if cursor.connection.in_transaction:
        cursor.execute("ROLLBACK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What one turn of the receiver did."""

    entries: int = 0
    refused: int = 0
    strange: int = 0  # messages that were none of ours


@dataclass(frozen=True, slots=True, kw_only=True)
class _Delivery:
    """A message of entries, read, and not stored yet."""

    gate: Gate
    message: Message
    batch: Batch


class Receiver:
    """The street's end of the line: hear entries and states, store, answer."""

    def __init__(
        self, store: Store, broker: Broker, *, wall_ns: Callable[[], int], signer: Signer | None = None
    ) -> None:
        self._store, self._broker, self._wall_ns, self._signer = store, broker, wall_ns, signer

    def connect(self, timeout_s: float) -> None:
        """Connect and subscribe. The retained states arrive first, so each gate hears at once what we hold.

        Raises: BrokerLost.
        """
        self._broker.connect(timeout_s)
        self._broker.subscribe(every_gate("entries"))
        self._broker.subscribe(every_gate("state"))

    def turn(self, timeout_s: float) -> Heard:
        """Wait up to `timeout_s` for a message and deal with it, and with what came beside it, in one commit.

        Raises: BrokerLost when the connection ended; LedgerUnavailable when the store cannot be written.
        """
        group: list[_Delivery] = []
        states: list[tuple[Gate, Message]] = []
        strange = entries = 0
        message = self._next(timeout_s)
        while message is not None:
            try:
                gate, leaf = parse_topic(message.topic)
                if leaf == "entries":
                    group.append(_Delivery(gate=gate, message=message, batch=_batch_in(message, gate)))
                    entries += len(group[-1].batch.arrivals)
                else:
                    states.append((gate, message))
            except WireError as error:
                strange += self._strange(message, error)
            full = entries >= GROUP_ENTRIES or len(group) + len(states) + strange >= GROUP_MESSAGES
            message = None if full else self._next(0.0)
        refused = self._keep(group)
        for gate, message in states:
            strange += self._on_state(gate, message)
        return Heard(entries=entries, refused=refused, strange=strange)

    def _next(self, timeout_s: float) -> Message | None:
        """Return the next message, if one comes; pass over other news."""
        event = self._broker.poll(timeout_s)
        while event is not None and not isinstance(event, Message):
            if isinstance(event, Disconnected):
                raise BrokerLost(f"connection lost: {event.reason}", layer=event.layer)
            if isinstance(event, SubscriptionRefused):
                raise BrokerLost(f"may not hear {event.topic}; check the broker's access list", layer="credentials")
            event = self._broker.poll(0.0)
        return event

    def _keep(self, group: Sequence[_Delivery]) -> int:
        """Store the batches in one commit, answer each, and return how many entries were refused."""
        if not group:
            return 0
        receipts = self._store.accept_all([(one.gate, one.batch) for one in group], now_ns=self._wall_ns())
        for one, receipt in zip(group, receipts, strict=True):
            for dead in receipt.refused:
                log.error("%s: refused %s: %s", one.gate, dead.key or "an entry without a key", dead.reason)
            self._answer(one.message, receipt)
        return sum(len(receipt.refused) for receipt in receipts)

    def _on_state(self, gate: Gate, message: Message) -> int:
        """Note a state and answer it; return how many strange messages this was, one or none."""
        try:
            state = decode_state(message.payload)
        except WireError as error:
            return self._strange(message, error)
        receipt = self._store.note_state(gate, state, now_ns=self._wall_ns())
        self._answer(message, receipt if state.online else None)
        return 0

    def _answer(self, message: Message, receipt: Receipt | None) -> None:
        if receipt is not None:
            topic = message.topic.rsplit("/", 1)[0] + "/receipt"
            payload = encode_receipt(receipt)
            signed = () if self._signer is None else self._signer.properties(payload)
            self._broker.publish(topic, payload, content_type=JSON_TYPE, properties=signed)
        self._broker.ack(message)  # after commit and receipt: until then the broker keeps it for us

    def _strange(self, message: Message, error: WireError) -> int:
        log.warning("a strange message: %s", error)
        self._broker.ack(message)
        return 1


def _batch_in(message: Message, gate: Gate) -> Batch:
    said = dict(message.properties)
    return decode_batch(message.payload, gate, said.get("batch"), said.get(ENCODING))

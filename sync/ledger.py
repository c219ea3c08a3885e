"""Append entries to `ledger.db` durably, through one writer thread that commits them in groups.

The holder of the barrier lock is the only writer; everybody else reads, see `reading.py`. What a commit does to the
file is in `chain.py`; here is who waits for it, for how long, and what becomes of an entry whose caller has left.
"""

import logging
import secrets
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from sync import schema
from sync.chain import ChainFile, Connect, Link
from sync.entry import Draft, Entry, Key, Stamp, canonical, epoch_text
from sync.errors import AppendLate, LedgerUnavailable, SyncError, VaultError
from sync.prune import Stretch
from sync.reading import ChainReport, EpochSpan, LedgerReader, SealedPart
from sync.room import RESERVE_SHARE, Room, room_of
from sync.stamp import now_stamp

__all__ = ["ChainReport", "EpochSpan", "LateAppend", "LedgerReader", "LedgerWriter", "Pending", "SealedPart",
           "Sealer", "key_day"]  # fmt: skip

log = logging.getLogger(__name__)

GROUP_ENTRIES = 50  # one commit: 8x the rate of single commits and 1/6 of the card wear; 500 would gain 1.2x more
QUEUE_ENTRIES = 10_000  # 10 MB of entries: 20 minutes of 8 lanes at one person a second, on a disk that stands still
RETRY_S = 0.25  # how soon entries whose callers have left are tried again: a sick card is asked 4 times a second


class Sealer(Protocol):
    """What the ledger and its spool need of a vault: `sync.vault.Vault`, which only a process with secrets imports."""

    def seal_bytes(self, plain: bytes, class_: str, day: str) -> tuple[str, bytes]:
        """Return the name of the key for this class and day, made when it is missing, and the ciphertext."""

    def seal_for_spool(self, mapping: Mapping[str, Any]) -> tuple[str, bytes]:
        """Return the name of a key that needs no disk, and the mapping sealed under it."""

    def unseal(self, key_name: str, ciphertext: bytes) -> dict[str, Any]:
        """Return what was sealed."""


class LateAppend(AppendLate):
    """The entry is still queued; `pending` tells later how it ended."""

    def __init__(self, message: str, pending: "Pending"):
        super().__init__(message)
        self.pending = pending


class Pending:
    """An append under way. From the moment its caller is told that it is late, it is tried until it is durable."""

    __slots__ = ("_answer", "_open", "late", "link", "plain")

    def __init__(self, draft: Draft, stamp: Stamp):
        body = canonical(draft.body)
        self.link = Link(kind=draft.kind, version=draft.version, stamp=stamp, body=body, request=draft.request)
        self.plain = None if draft.personal is None else canonical(draft.personal)  # until it is sealed
        self.late = False
        self._answer: Entry | SyncError | None = None
        self._open = threading.Lock()  # held until the answer is there: an Event costs 20 us more per append
        self._open.acquire()

    @property
    def done(self) -> bool:
        """Whether the end of this append is known."""
        return self._answer is not None

    def result(self, wait_s: float) -> Entry:
        """Return the durable entry.

        Raises: LateAppend when it is still queued after `wait_s`, LedgerUnavailable or VaultError when it failed.
        """
        if not self._open.acquire(timeout=max(0.0, wait_s)):
            raise LateAppend(f"the {self.link.kind} is not durable after {wait_s:.3f} s; it stays queued", self)
        self._open.release()
        if isinstance(self._answer, Entry):
            return self._answer
        assert self._answer is not None
        raise self._answer

    def settle(self, answer: Entry | SyncError) -> None:
        """Give the append its end. For the writer only."""
        self._answer = answer
        self._open.release()


def key_day(stamp: Stamp, epoch: int) -> str:
    """Return which day's key a personal part is sealed under: `2026-11-22`, in UTC.

    A day that an untrusted clock names gets the epoch as well (`1970-01-01~0000000300c0ffee`): retention must first
    learn when that epoch was, or a gate that woke up in 1970 would erase today.
    """
    day = datetime.fromtimestamp(stamp.wall_ns // 1_000_000_000, tz=UTC).date().isoformat()
    return day if stamp.clock_trusted else f"{day}~{epoch_text(epoch)}"


def _random32() -> int:
    return secrets.randbits(32)


class LedgerWriter:
    """The one that writes the ledger. Open it only while holding the barrier lock."""

    def __init__(self, file: ChainFile, vault: Sealer | None, stamp: Callable[[], Stamp], queue_entries: int):
        """Take over a file whose epoch has begun; `open` does both."""
        self.quota_bytes = 0
        self.path = file.path
        self.vault = vault
        self._file = file
        self._stamp = stamp
        self._queue_entries = queue_entries
        self._queue: deque[Pending] = deque()
        self._group: list[Pending] = []
        self._changed = threading.Condition()
        self._closing = False
        self._resting = False
        self._failing = False
        self._late = 0
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        vault: Sealer | None,
        owner: str = "gate",
        start_body: Mapping[str, Any] | None = None,
        stamp: Callable[[], Stamp] = now_stamp,
        random32: Callable[[], int] = _random32,
        connect: Connect = schema.connect,
        queue_entries: int = QUEUE_ENTRIES,
        quota_bytes: int = 0,
        check_s: float = 0.0,
    ) -> Self:
        """Open or make the ledger, begin a new epoch durably, and append its `start`.

        A quota bounds the file, with `RESERVE_SHARE` for what must be kept beyond it; `check_s` looks for damage.
        Raises: LedgerUnavailable, LedgerDamaged, LedgerFromTheFuture.
        """
        file = ChainFile(Path(path), connect, int(quota_bytes * RESERVE_SHARE), check_s)
        try:
            file.begin(owner, random32(), stamp(), start_body or {})
        except SyncError:
            file.drop()
            raise
        writer = cls(file, vault, stamp, queue_entries)
        writer.quota_bytes = quota_bytes
        return writer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close("end" if kind is None else kind.__name__)

    @property
    def epoch(self) -> int:
        """The epoch of this writer's entries."""
        return self._file.epoch

    @property
    def late(self) -> int:
        """How many appends missed their bound."""
        return self._late

    @property
    def queued(self) -> int:
        """How many appends wait for their commit."""
        with self._changed:
            return len(self._queue) + len(self._group)

    @property
    def alive(self) -> bool:
        """Whether the writer thread lives and takes entries."""
        return self._thread.is_alive() and not self._closing

    def room(self) -> Room:
        """Return how full the ledger is, as its last commit left it.

        Raises: OSError when the disk cannot be asked.
        """
        return room_of(self.path, self._file.pages, self.quota_bytes)

    def prune(self, stretches: Sequence[Stretch]) -> Entry:
        """Drop these entries, which the caller knows to be receipted, and append the entry that says so.

        Raises: LedgerUnavailable.
        """
        return self._file.prune(stretches, self._stamp())

    def empty(self, keys: Sequence[Key]) -> int:
        """Empty the personal parts of these entries, which somebody has lawfully asked for; return how many.

        Raises: LedgerUnavailable.
        """
        return self._file.empty(keys)

    def checkpoint(self, *, emptied: bool = False) -> bool:
        """Bring the write-ahead log home: room on a full disk. With `emptied`, tell whether it holds nothing now."""
        return self._file.checkpoint(emptied=emptied)

    def append(self, draft: Draft, wait_s: float, *, stamp: Stamp | None = None) -> Entry:
        """Return the entry once it is durable; a repeated request gets the entry that is already there.

        `stamp` is for what happened earlier (the spool). The bound includes making a key of the vault.
        Raises: LateAppend (an AppendLate with `.pending`) when the entry stays queued, LedgerUnavailable when it was
        not kept, VaultError when its personal part cannot be sealed, ValueError for a body that is not JSON.
        """
        pending = self._enqueue(Pending(draft, stamp or self._stamp()))
        try:
            return pending.result(wait_s)
        except LateAppend:
            with self._changed:  # under the lock it is either done or late, never both
                if not pending.done:
                    pending.late = True
                    self._late += 1
                    raise
        return pending.result(0)

    def hand_over(self, draft: Draft, *, stamp: Stamp | None = None) -> Pending:
        """Queue the entry and return at once, whatever the disk does; it is tried until it is durable.

        Raises: LedgerUnavailable when nothing can be queued any more, ValueError for a body that is not JSON.
        """
        pending = Pending(draft, stamp or self._stamp())
        pending.late = True  # nobody waits for it: that it failed once is no answer
        return self._enqueue(pending)

    def _enqueue(self, pending: Pending) -> Pending:
        (pending.link.request or "").encode()  # a lone surrogate must fail here, at its caller, not in the writer
        with self._changed:
            if self._closing:
                raise LedgerUnavailable(f"{self.path} is closed; open it again")
            if len(self._queue) >= self._queue_entries:
                raise LedgerUnavailable(f"{len(self._queue)} entries wait for {self.path}; its disk stands still")
            self._queue.append(pending)
            self._changed.notify()
        return pending

    def close(self, reason: str, wait_s: float = 10.0) -> None:
        """Append a `stop`, write what is queued, and end. Closing twice does nothing.

        What cannot be written any more is logged, and its `pending.result` says so: the caller may spool it.
        """
        if not self._closing:
            try:
                self.append(Draft(kind="stop", version=1, body={"reason": reason}), wait_s)
            except (LedgerUnavailable, AppendLate) as error:
                log.error("the end of the ledger's epoch is not recorded: %s", error)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(wait_s)
        if self._thread.is_alive():
            log.error("the writer of %s hangs in its disk; %d entries are not durable", self.path, self.queued)

    def _run(self) -> None:
        try:
            while group := self._take():
                self._keep(group)
        finally:
            self._refuse_the_rest()
            self._file.drop()

    def _take(self) -> list[Pending]:
        with self._changed:
            self._group = []
            if self._resting:  # only entries without a waiting caller are left: do not spin on a sick disk
                self._changed.wait_for(lambda: self._closing or not self._queue[-1].late, RETRY_S)
            self._changed.wait_for(lambda: self._queue or self._closing)
            self._group = [self._queue.popleft() for _ in range(min(GROUP_ENTRIES, len(self._queue)))]
            return self._group

    def _keep(self, group: Sequence[Pending]) -> None:
        sealed = [pending for pending in group if self._seal(pending)]
        try:
            entries = self._file.commit([pending.link for pending in sealed])
        except SyncError as error:
            self._refuse(sealed, error)
            return
        if self._failing:
            log.info("%s takes entries again", self.path)
        self._resting = self._failing = False
        for pending, entry in zip(sealed, entries, strict=True):
            pending.settle(entry)

    def _seal(self, pending: Pending) -> bool:
        """Encrypt the personal part, outside the transaction; tell whether the entry can go on."""
        if pending.plain is None:
            return True
        link = pending.link
        day = key_day(link.stamp, self.epoch)
        try:
            if self.vault is None:
                raise VaultError("this ledger was opened without a vault; open it with one to keep personal parts")
            link.personal_key, link.personal = self.vault.seal_bytes(pending.plain, link.kind, day)
        except VaultError as error:
            with self._changed:
                if not pending.late:
                    pending.settle(error)
                    return False
            # Its caller has left and acted: an entry without a name is better than no entry.
            log.error("a late %s is kept without its personal part: %s", link.kind, error)
        pending.plain = None
        return True

    def _refuse(self, group: Sequence[Pending], error: SyncError) -> None:
        """Settle a failed group: what reached the disk after all, what is refused, what stays queued."""
        landed = self._file.landed([pending.link for pending in group])
        with self._changed:
            self._closing = self._closing or self._file.lost  # no longer `alive`: the owner opens a new epoch
            for pending, entry in reversed(list(zip(group, landed, strict=True))):
                if entry is not None:
                    pending.settle(entry)
                elif pending.late and not self._closing:
                    self._queue.appendleft(pending)
                else:
                    refused = LedgerUnavailable(str(error))
                    refused.__cause__ = error
                    pending.settle(refused)
            self._resting = bool(self._queue) and self._queue[-1].late
        log.log(logging.DEBUG if self._failing else logging.WARNING, "%d entries failed: %s", len(group), error)
        self._failing = True

    def _refuse_the_rest(self) -> None:
        with self._changed:
            self._closing = True
            rest = [pending for pending in (*self._group, *self._queue) if not pending.done]
            self._queue.clear()
            self._group = []
            for pending in rest:
                pending.settle(LedgerUnavailable(f"{self.path} was closed before this entry; write it to the spool"))
        if rest:
            log.error("%d entries were never durable: %s was closed before them", len(rest), self.path)

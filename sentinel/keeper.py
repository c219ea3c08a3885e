"""Keep entries whatever the disk does: in the ledger, or late in the ledger, or in the spool; and say which."""

import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from sentinel.core.kinds import AnyKind, Deletion, Passage, Registration, body_of
from sentinel.erasure import Erasures
from sentinel.storage import Storage
from sync.entry import Draft, Entry, Stamp
from sync.errors import LedgerDamaged, LedgerUnavailable, SyncError, VaultError
from sync.ledger import QUEUE_ENTRIES, LateAppend, LedgerWriter, Pending, key_day
from sync.spool import import_spool, spool_append
from sync.vault import Vault

log = logging.getLogger(__name__)

STANDING_S = 2.0  # flash cards pause for a quarter of a second; eight times that is a disk that stands still
STANDS_STILL = "the disk stands still and entries wait for it"
SUSPECT_AGAIN_S = 60.0  # a disk that says "damaged" falsely must not get an epoch at each turn
DAMAGE = "SQLITE_CORRUPT"
FULL = "the ledger is full and keeps only who passed; make room on its disk"
CLOSE_S = 4.0  # for the last entries; below TimeoutStopSec= of the units, so that what fails can still be spooled


class How(StrEnum):
    """How safely an entry is kept."""

    DURABLE = "durable"
    LATE = "late"  # queued in the ledger's writer; the disk pauses
    SPOOLED = "spooled"  # in the spool file, imported when the ledger can be written again
    LOST = "lost"  # nothing could be written: only memory and the log know


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What became of an entry. `key` is None unless it is durable in the ledger."""

    how: How
    key: str | None = None
    problem: str = ""
    before: Entry | None = None  # the entry that this request had already made, whoever asked first


def draft_of(entry: AnyKind, personal: Mapping[str, Any] | None = None, request: str | None = None) -> Draft:
    """Return the ledger draft of an entry of ours."""
    return Draft(kind=entry.KIND, version=entry.VERSION, body=body_of(entry), personal=personal, request=request)


def spooled(draft: Draft) -> Draft:
    """Return the draft marked as one that came over from the spool."""
    return replace(draft, body={**draft.body, "spooled": True})


def _is_kept(pending: Pending) -> bool:
    try:
        pending.result(0.0)
    except SyncError as error:
        log.error("an entry that was told as late goes to the spool: %s", error)
        return False
    return True


class Keeper:
    """Append to the ledger within a bound; fall back to the spool; never raise for a sick disk.

    The ledger may be away from the start, or be closed by a fault: `tend` opens it again. Whoever makes a Keeper holds
    the barrier lock, and with it the right to write.
    """

    def __init__(
        self,
        *,
        open_ledger: Callable[[], LedgerWriter],
        spool: Path,
        vault: Vault | None,
        stamp: Callable[[], Stamp],
        bound_s: float,
        clock: Callable[[], float] = time.monotonic,
        storage: Storage | None = None,
        erasures: Erasures | None = None,
    ) -> None:
        self._clock = clock
        self._storage = storage
        self._erasures = erasures
        self._damaged = False  # until it is salvaged: nobody may open the file meanwhile
        self._suspect = False  # an append met damage: the file is looked at anew
        self._suspect_again = float("-inf")
        self._open_ledger = open_ledger
        self._spool = spool
        self._vault = vault
        self._stamp = stamp
        self._bound_s = bound_s
        self._ledger: LedgerWriter | None = None
        self._sealed_day = ""
        self._waiting: list[tuple[Draft, Pending, float]] = []  # told as late, and when
        self._unspooled: deque[tuple[Draft, Stamp]] = deque()  # handed over while the ledger is away
        self._spool_said = ""
        self.problem: str | None = "the ledger is not open yet"  # None while the ledger takes entries
        self.late = 0

    @property
    def queued(self) -> int:
        """How many entries wait for the disk."""
        return len(self._unspooled) + (self._ledger.queued if self._ledger else 0)

    @property
    def epoch(self) -> int | None:
        """The epoch that entries go into now, None while the ledger is away."""
        return self._ledger.epoch if self._ledger else None

    @property
    def fill(self) -> float:
        """The share of the ledger's quota that is used."""
        return self._storage.fill if self._storage else 0.0

    @property
    def unkept(self) -> int:
        """How many entries could not be kept and were not told of yet."""
        return self._storage.unkept if self._storage else 0

    @property
    def due(self) -> int:
        """How many personal parts are there whose days are over."""
        return self._erasures.due if self._erasures else 0

    def erase(self, deletion: Deletion) -> None:
        """Let a kept deletion be carried out by whoever calls `carry_out`."""
        if self._erasures is not None:
            self._erasures.add(deletion)

    def carry_out(self) -> None:
        """Carry out what `erase` was given. May take long: not for who decides.

        Raises: SyncError; called again it goes on.
        """
        if self._erasures is not None and self._ledger is not None and self._ledger.alive:
            self._erasures.tend(self._ledger)

    def tend(self) -> None:
        """Open the ledger when it is away, and look after what was told as late.

        Raises: LedgerFromTheFuture when a newer program wrote the file: waiting will not help.
        """
        self._look_at_suspect()
        if not self._damaged and (self._ledger is None or not self._ledger.alive):
            self._open()
        self._look_after_late()

    def bring_home(self) -> bool:
        """Import the spool and have today's key ready before a person comes; return whether anything came.

        Sees to the ledger's room and salvages a damaged one, too. May take long: not for who decides.
        """
        self._spool_handed_over()
        if self._storage is not None:
            self._storage.sync()
            self._damaged = self._damaged and not self._storage.salvage()
        ledger = self._ledger
        if ledger is None:
            return False
        came = False
        try:
            if self._storage is not None and ledger.alive:
                self._storage.tend(ledger)  # first: what is spooled may wait for the room that this makes
            if self._storage is None or self._storage.has_room:
                came = self._import_spool(ledger)
            self._ready_key(ledger)
            self.carry_out()
            self._spool_said = ""
        except SyncError as error:
            if str(error) != self._spool_said:
                log.warning("the spool or the vault must wait: %s", error)
            self._spool_said = str(error)
        return came

    def keep(self, entry: AnyKind, *, personal: Mapping[str, Any] | None = None, request: str | None = None) -> Kept:
        """Return how this entry is kept; durable unless something is wrong."""
        # A request of its own for every entry: one that lands on a failing disk and is spooled too is still one entry.
        draft = draft_of(entry, personal, request or f"own:{uuid.uuid4()}")
        if self._storage is not None and not self._storage.takes(draft.kind):
            return self._lose(draft, FULL)
        return self._append(draft) or self._spool_it(draft)

    def hand_over(self, entry: AnyKind, *, request: str | None = None) -> Kept:
        """Take an entry that nobody's way depends on, and return at once whatever the disk does.

        It is queued in memory: in the ledger's writer, or, while the ledger is away, for the spool, which `bring_home`
        writes. What must be durable before anything moves is for `keep`.
        """
        draft = draft_of(entry, None, request or f"own:{uuid.uuid4()}")
        if self._storage is not None and not self._storage.takes(draft.kind):
            return self._lose(draft, FULL)
        stamp = self._stamp()
        if self._ledger is not None and self.problem is None:
            try:
                self._waiting.append((draft, self._ledger.hand_over(draft, stamp=stamp), self._clock()))
                return Kept(how=How.LATE)
            except LedgerUnavailable as error:
                self._is_away(str(error))
        if len(self._unspooled) >= QUEUE_ENTRIES:
            return self._lose(draft, STANDS_STILL)
        self._unspooled.append((draft, stamp))
        return Kept(how=How.LATE, problem=self.problem or "")

    def close(self, reason: str) -> None:
        """Write what is queued and end the epoch in order."""
        ledger, self._ledger = self._ledger, None
        self.problem = "the ledger is closed"
        if ledger is not None:
            ledger.close(reason, CLOSE_S)
        for draft, pending, _ in self._waiting:
            if not _is_kept(pending):
                self._spool_it(draft)
        self._waiting.clear()
        self._spool_handed_over()
        while self._unspooled:
            self._lose(self._unspooled.popleft()[0], STANDS_STILL)
        if self._storage is not None:
            self._storage.sync()

    def _look_at_suspect(self) -> None:
        """Close a file that an append found damaged, so that it is checked when it is opened again."""
        ledger = self._ledger
        if not self._suspect or ledger is None or self._storage is None or self._clock() < self._suspect_again:
            return
        self._suspect, self._suspect_again = False, self._clock() + SUSPECT_AGAIN_S
        self._ledger = None
        ledger.close("damaged", CLOSE_S)

    def _look_after_late(self) -> None:
        lost = [draft for draft, pending, _ in self._waiting if pending.done and not _is_kept(pending)]
        self._waiting = [(draft, pending, since) for draft, pending, since in self._waiting if not pending.done]
        for draft in lost:
            self._spool_it(draft)
        if self._waiting and self._clock() - self._waiting[0][2] > STANDING_S:
            self._is_away(STANDS_STILL)
        elif self.problem == STANDS_STILL and not lost:
            self.problem = None

    def _open(self) -> None:
        try:
            self._ledger = self._open_ledger()
        except (LedgerUnavailable, LedgerDamaged, OSError) as error:
            self._damaged = isinstance(error, LedgerDamaged) and self._storage is not None
            self._is_away(str(error))
        else:
            self.problem = None

    def _is_away(self, problem: str) -> None:
        if self.problem != problem:
            log.error("entries go to the spool: %s", problem)
        self.problem = problem

    def _import_spool(self, ledger: LedgerWriter) -> bool:
        report = import_spool(self._spool, ledger)
        if report.kept:
            log.info("%d entries came over from the spool", report.kept)
            self.problem = None  # it took these, so it takes entries again
        if report.damaged:
            log.error("the spool had damaged lines, kept beside it: %s", ", ".join(report.damaged))
        return report.kept > 0

    def _ready_key(self, ledger: LedgerWriter) -> None:
        # Making a day's key costs several writes; the first person after midnight must not wait for them.
        day = key_day(self._stamp(), ledger.epoch)
        if self._vault is None or day == self._sealed_day:
            return
        for kind in (Passage.KIND, Registration.KIND):
            self._vault.seal_bytes(b"", kind, day)
        self._sealed_day = day

    def _append(self, draft: Draft) -> Kept | None:
        if self._ledger is None:
            return None
        stamp = self._stamp()
        try:
            entry = self._ledger.append(draft, self._bound_s, stamp=stamp)
        except LateAppend as error:
            self.late += 1
            self._waiting.append((draft, error.pending, self._clock()))
            log.warning("the disk pauses: an entry of kind %s is late (%s)", draft.kind, error)
            return Kept(how=How.LATE, problem=str(error))
        except LedgerUnavailable as error:
            self._suspect |= isinstance(error.__cause__, LedgerUnavailable) and DAMAGE in str(error)
            self._is_away(str(error))
            return None
        except VaultError as error:
            # What happened outlives who it was: without a key the personal part may not be written, the rest must be.
            log.error("an entry of kind %s is kept without its personal part: %s", draft.kind, error)
            return self._append(replace(draft, personal=None))
        self.problem = None
        return Kept(how=How.DURABLE, key=str(entry.key), before=entry if entry.stamp != stamp else None)

    def _spool_handed_over(self) -> None:
        """Spool what was handed over while the ledger was away; what cannot be written yet waits in memory."""
        while self._unspooled:
            draft, stamp = self._unspooled[0]
            try:
                self._write_spool(draft, stamp)
            except (OSError, SyncError) as error:
                log.debug("%d entries wait for the spool: %s", len(self._unspooled), error)
                return
            self._unspooled.popleft()

    def _spool_it(self, draft: Draft) -> Kept:
        try:
            self._write_spool(draft, self._stamp())
        except (OSError, SyncError) as error:
            return self._lose(draft, str(error))
        return Kept(how=How.SPOOLED, problem=self.problem or "")

    def _write_spool(self, draft: Draft, stamp: Stamp) -> None:
        if self._storage is not None and not self._storage.takes_spooled(draft.kind, self._spool):
            raise LedgerUnavailable(FULL)
        spool_append(self._spool, spooled(draft), stamp, self._vault)

    def _lose(self, draft: Draft, problem: str) -> Kept:
        log.error("an entry of kind %s could not be kept anywhere: %s", draft.kind, problem)
        if self._storage is not None:
            self._storage.count(draft.kind)
        return Kept(how=How.LOST, problem=problem)

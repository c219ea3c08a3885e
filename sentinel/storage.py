"""See to the room of the ledger: prune, refuse what can wait, count what was not kept, salvage a damaged file.

Called by the keeper. What may be dropped, and what is kept when nothing else is, are rules: `sentinel/core/keeping.py`.
"""

import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sentinel.core.keeping import ESSENTIAL, Days, may_go
from sentinel.core.kinds import Salvage, Unkept, body_of
from sentinel.erasure import days_of
from sentinel.settings import Settings
from sync import salvage
from sync.cursor import Cursor
from sync.entry import Draft, Entry, Key, Stamp
from sync.errors import SyncError
from sync.identity import load_believed
from sync.ledger import LedgerReader, LedgerWriter
from sync.prune import choose
from sync.receipts import Proved
from sync.room import FULL_FILL, PRUNE_FILL, PRUNED_FILL, WARN_FILL, Ballast
from sync.stamp import known_time, now_stamp
from sync.tally import Tally

log = logging.getLogger(__name__)

LOOK_S = 1.0  # 8 lanes write some 10 KB in it
STEPS = 20  # of 500 entries, per look: the spool and the roster are looked after between them
REST_S = 600.0  # after a walk that reached the end: what is too young now is hardly older in ten minutes
SALVAGE_AGAIN_S = 60.0
SPOOL_BYTES = 16 * 1024 * 1024  # some 10,000 passages: the quota must not be walked round by the spool
TELL_S = 10.0  # how long the entry about what was not kept may take; nobody waits for it
_CLOCK_ENTRIES = 500


class Storage:
    """The room of one ledger. `tend` and `salvage` are for one thread; the rest may be called from any."""

    def __init__(
        self,
        ledger: Path,
        uplink_db: Path,
        days: Days,
        *,
        proof_of: Callable[[Cursor], Callable[[Key], bool]] | None = None,
        stamp: Callable[[], Stamp] = now_stamp,
        clock: Callable[[], float] = time.monotonic,
        spool_bytes: int = SPOOL_BYTES,
    ) -> None:
        """Take the count of before, and its file's room, now: later there may be none."""
        self._ledger = ledger
        self._uplink_db = uplink_db
        self._days = days
        self._proof_of = proof_of or (lambda cursor: cursor.is_receipted)
        self._stamp = stamp
        self._clock = clock
        self._spool_bytes = spool_bytes
        self._ballast = Ballast(ledger.with_name("ballast"))
        self._at: Key | None = None
        self._pruning = False
        self._rest_until = self._look_at = self._salvage_at = 0.0
        self._said = ""
        self.fill = 0.0
        try:
            self._tally: Tally | None = Tally(ledger.with_name("unkept"))
        except OSError as error:
            log.error("what cannot be kept cannot be counted either: %s", error)
            self._tally = None

    @classmethod
    def of(cls, settings: Settings) -> "Storage":
        """Return the storage of a gate's ledger."""
        here = settings.gate
        proved = proof_of(settings.uplink.street_keys, f"{here.street}/{here.site}/{here.gate}")
        return cls(settings.paths.ledger, settings.paths.uplink_db, days_of(settings), proof_of=proved)

    @property
    def unkept(self) -> int:
        """How many entries were lost and no entry says so yet."""
        return sum(self._tally.counts.values()) if self._tally else 0

    @property
    def has_room(self) -> bool:
        """Whether the ledger is below its quota; the reserve above it is for who passes now."""
        return self.fill < FULL_FILL

    def takes(self, kind: str) -> bool:
        """Tell whether an entry of this kind is kept now: a full ledger keeps only who passed."""
        return self.has_room or kind in ESSENTIAL

    def takes_spooled(self, kind: str, spool: Path) -> bool:
        """Tell whether the spool may take it: it ends somewhere, and what can wait gets its first half only."""
        size = 0
        for path in (spool, Path(f"{spool}.importing")):
            with suppress(OSError):  # no spool yet, or a disk that says more when it is written
                size += path.stat().st_size
        return size < (self._spool_bytes if kind in ESSENTIAL else self._spool_bytes // 2)

    def count(self, kind: str) -> None:
        """Count an entry that was not kept."""
        if self._tally is not None:
            try:
                self._tally.add(kind, self._stamp().wall_ns)
            except OSError as error:
                log.error("the count of what was not kept is in memory only: %s", error)

    def sync(self) -> None:
        """Make the count outlive a power cut; may wait for the disk."""
        if self._tally is not None:
            try:
                self._tally.sync()
            except OSError as error:
                log.error("the count of what was not kept may not outlive a power cut: %s", error)

    def salvage(self) -> bool:
        """Put a new ledger in the place of a damaged one; return whether it may be opened now."""
        if self._clock() < self._salvage_at:
            return False
        try:
            salvage.salvage(self._ledger)
        except SyncError as error:
            log.error("%s", error)
            self._ballast.throw()
            self._salvage_at = self._clock() + SALVAGE_AGAIN_S
            return False
        return True

    def tend(self, writer: LedgerWriter) -> None:
        """Look at the room, prune what may go, and tell what is still untold.

        Raises: SyncError when an entry about it cannot be appended; it is told at a later look.
        """
        now = self._clock()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_S
        try:
            self._measure(writer)
            self._mind_ballast(writer)
        except OSError as error:
            log.debug("the room cannot be measured: %s", error)
            return
        self._prune_when_needed(writer, now)
        if self.has_room:
            self._tell(writer)

    def _measure(self, writer: LedgerWriter) -> None:
        before, self.fill = self.fill, writer.room().fill
        for level, word in ((FULL_FILL, "full: only who passed is kept"), (WARN_FILL, "filling up")):
            if self.fill >= level:
                if before < level:
                    log.warning("%s is %s (%d %%); make room or raise quota_mb", self._ledger, word, self.fill * 100)
                break
        else:
            if before >= WARN_FILL:
                log.info("%s has room again (%d %%)", self._ledger, self.fill * 100)

    def _mind_ballast(self, writer: LedgerWriter) -> None:
        disk = os.statvfs(self._ledger.parent)
        if disk.f_bavail * disk.f_frsize < self._ballast.size // 4:
            if self._ballast.throw():
                writer.checkpoint()
        elif not self._ballast.loaded:
            self._ballast.load()

    def _prune_when_needed(self, writer: LedgerWriter, now: float) -> None:
        self._pruning = self.fill >= (PRUNED_FILL if self._pruning else PRUNE_FILL)
        if not self._pruning or now < self._rest_until:
            return
        try:
            with Cursor(self._uplink_db) as cursor, LedgerReader(self._ledger) as reader:
                self._prune(writer, reader, cursor, now)
            self._said = ""
        except SyncError as error:
            if str(error) != self._said:
                log.warning("nothing can be pruned now: %s", error)
            self._said = str(error)
            self._rest_until = now + REST_S / 20

    def _prune(self, writer: LedgerWriter, reader: LedgerReader, cursor: Cursor, now: float) -> None:
        now_ns, is_held = self._now_ns(reader), self._proof_of(cursor)

        def goes(entry: Entry, latest_ns: int | None) -> bool:
            return is_held(entry.key) and may_go(entry.kind, latest_ns, now_ns, self._days)

        dropped = 0
        for _step in range(STEPS):
            stretches, self._at = choose(reader, self._at, goes)
            if stretches:
                writer.prune(stretches)
                dropped += sum(one.count for one in stretches)
            if self._at is None:
                self._rest_until = now + REST_S
            if self._at is None or writer.room().fill < PRUNED_FILL:
                break
        if dropped:
            log.info("%d entries that the street holds were dropped", dropped)

    def _now_ns(self, reader: LedgerReader) -> int:
        """Return the latest time that has surely passed: retention is not counted by a clock that nobody trusts."""
        stamp = self._stamp()
        if stamp.clock_trusted:
            return stamp.wall_ns
        trusted = (entry.stamp for entry in reader.newest(_CLOCK_ENTRIES))
        return known_time(stamp, trusted, built_ns=0, files=()).ns

    def _tell(self, writer: LedgerWriter) -> None:
        try:
            self._tell_salvage(writer)
            self._tell_unkept(writer)
        except OSError as error:
            log.warning("what was told may be told again: %s", error)

    def _tell_salvage(self, writer: LedgerWriter) -> None:
        report = salvage.report_of(self._ledger)
        if report is None:
            return
        request = f"salvage:{report.pop('id')}"  # told twice, it is still one entry
        entry = Salvage(**{**report, "holes": tuple(report["holes"])})
        writer.append(Draft(kind=entry.KIND, version=entry.VERSION, body=body_of(entry), request=request), TELL_S)
        salvage.told(self._ledger)

    def _tell_unkept(self, writer: LedgerWriter) -> None:
        if self._tally is None or not (counts := self._tally.counts):
            return
        since_utc_s = self._tally.since_ns // 1_000_000_000
        entry = Unkept(total=sum(counts.values()), counts=counts, since_utc_s=since_utc_s)
        draft = Draft(
            kind=entry.KIND, version=entry.VERSION, body=body_of(entry), request=f"unkept:{self._tally.generation}"
        )
        self._tally.told(writer.append(draft, TELL_S).data["counts"])


def proof_of(street_keys: Path | None, gate: str) -> Callable[[Cursor], Callable[[Key], bool]] | None:
    """Return how to tell what the street holds: by its own signature where its keys are known.

    Then the uplink, which has the network and keeps the cursor, is not believed: who takes it over can drop nothing.
    """
    if street_keys is None:
        return None

    def proofs_in(cursor: Cursor) -> Callable[[Key], bool]:
        proved = Proved(cursor.proofs(), gate, load_believed(street_keys))
        if proved.doubted:
            log.error("%d proofs of receipts are not the street's; somebody has changed uplink.db", proved.doubted)
        return lambda key: cursor.is_receipted(key) and proved.holds(key)

    return proofs_in

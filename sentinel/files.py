"""Follow the files that others publish for the gate, the roster and the keys of issuers, and bring the spool home.

Disk work that nobody may wait for, in a thread of its own; the deciding thread gets what was read as an event.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from sentinel import roster, roster_reading, stepup
from sentinel.core.admission import PassBook
from sentinel.core.errors import DataError
from sentinel.events import PassesRead, RosterRead
from sentinel.keeper import Keeper
from sentinel.passes import issuers_mark, load_issuers
from sentinel.settings import Settings
from sync.errors import SyncError, VaultError
from sync.ledger import LedgerReader
from sync.vault import Vault

log = logging.getLogger(__name__)

LOOK_S = 0.2  # a changed roster takes effect within a second, and reading 10,000 people takes most of it
BATCH = 500


class Files:
    """Look five times a second, read what changed, post it. `post` may be called from any thread."""

    def __init__(
        self,
        settings: Settings,
        vault: Vault,
        keeper: Keeper,
        post: Callable[[RosterRead | PassesRead], None],
        today: Callable[[], date],
    ) -> None:
        self._settings = settings
        self._vault = vault
        self._keeper = keeper
        self._post = post
        self._today = today
        self._roster_mark: Any = None
        self._roster_said: str | None = None  # None until the first look
        self._issuers_mark: Any = None
        self._book_is_old = False

    def run(self, stop: threading.Event) -> None:
        """Follow the files until told to stop."""
        while not stop.wait(0.0 if self._roster_said is None else LOOK_S):
            self._book_is_old |= self._keeper.bring_home()  # what was spooled may have used a pass
            self._look_at_roster()
            self._look_at_passes()

    def _look_at_roster(self) -> None:
        path, alike, today = self._settings.paths.roster, self._settings.paths.alike, self._today()
        now: tuple[Any, Any] = (None, None)
        try:
            now = roster.mark_of(path, today), stepup.mark_of(alike)
            if self._roster_said != "" or now != self._roster_mark:
                people = roster_reading.people(path, self._vault, today)
                self._roster_mark = now
                log.info("roster: %d people", len(people))
                self._post(RosterRead(stepup.read(alike).marked(people)))
            self._roster_said = ""
        except (DataError, SyncError) as error:
            if isinstance(error, VaultError) and roster.mark_of(path, today) != now[0]:
                return  # its keys were destroyed under our eyes: somebody left, and the next look sees the new one
            if str(error) != self._roster_said:
                log.error("the roster stays as it was: %s", error)
                self._post(RosterRead(None, str(error)))
            self._roster_said = str(error)

    def _look_at_passes(self) -> None:
        where = self._settings.paths.secrets_dir, self._settings.passes.issuers_dir
        mark = issuers_mark(*where)
        if mark == self._issuers_mark and not self._book_is_old:
            return
        issuers = load_issuers(*where)
        if mark != self._issuers_mark:
            for problem in issuers.problems:
                log.error("an issuer's passes are not taken: %s", problem)
        book = pass_book(self._settings.paths.ledger)
        self._issuers_mark, self._book_is_old = mark, not book.complete
        self._post(PassesRead(issuers, book))


def pass_book(ledger: Path) -> PassBook:
    """Return what the ledger tells of passes; without a ledger a book that lets nothing in."""
    try:
        with LedgerReader(ledger) as reader:
            return PassBook.from_entries(_of_passes(reader))
    except SyncError as error:
        log.debug("passes are held for staff: %s", error)
        return PassBook(complete=False)


def _of_passes(reader: LedgerReader) -> Iterator[tuple[str, Mapping[str, Any], int]]:
    key = None
    while batch := reader.after(key, BATCH):
        yield from ((one.kind, one.data, one.stamp.wall_ns) for one in batch if one.kind in ("passage", "revocation"))
        key = batch[-1].key


def last_calibration(ledger: Path) -> Mapping[str, Any] | None:
    """Return the body of the newest calibration in the ledger, if there is one to be read."""
    try:
        with LedgerReader(ledger) as reader:
            newest = reader.newest(1, "calibration")
    except SyncError as error:
        log.warning("no calibration can be read, the settings' offset holds: %s", error)
        return None
    return newest[0].data if newest else None

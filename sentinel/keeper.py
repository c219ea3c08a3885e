"""Keep entries whatever the disk does: in the ledger, or late in the ledger, or in the spool; and say which."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from sentinel.core.kinds import AnyKind, body_of
from sync.entry import Draft, Stamp
from sync.errors import AppendLate, LedgerUnavailable, SyncError, VaultError
from sync.ledger import LedgerWriter
from sync.spool import import_spool, spool_append
from sync.vault import Vault

log = logging.getLogger(__name__)


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


def draft_of(entry: AnyKind, personal: Mapping[str, Any] | None = None, request: str | None = None) -> Draft:
    """Return the ledger draft of an entry of ours."""
    return Draft(kind=entry.KIND, version=entry.VERSION, body=body_of(entry), personal=personal, request=request)


class Keeper:
    """Append to the ledger within a bound; fall back to the spool; never raise for a sick disk."""

    def __init__(
        self,
        *,
        ledger: LedgerWriter | None,
        spool: Path,
        vault: Vault,
        stamp: Callable[[], Stamp],
        bound_s: float,
        on_kept: Callable[[Kept], None] = lambda _kept: None,
    ) -> None:
        self._ledger = ledger
        self._spool = spool
        self._vault = vault
        self._stamp = stamp
        self._bound_s = bound_s
        self._on_kept = on_kept

    def keep(self, entry: AnyKind, *, personal: Mapping[str, Any] | None = None, request: str | None = None) -> Kept:
        """Return how this entry is kept; durable unless something is wrong."""
        draft = draft_of(entry, personal, request)
        kept = self._append(draft)
        if kept is None:
            kept = self._spool_it(draft)
        self._on_kept(kept)
        return kept

    def import_spool(self) -> int:
        """Take over what was spooled while the ledger could not be written; return how many entries.

        Raises: SyncError when the ledger still cannot be written; nothing is lost then.
        """
        if self._ledger is None:
            return 0
        report = import_spool(self._spool, self._ledger)
        if report.kept:
            log.info("%d entries came over from the spool", report.kept)
        if report.damaged:
            log.error("the spool had damaged lines, kept beside it: %s", ", ".join(report.damaged))
        return report.kept

    def _append(self, draft: Draft) -> Kept | None:
        if self._ledger is None:
            return None
        try:
            entry = self._ledger.append(draft, self._bound_s)
        except AppendLate as error:
            return Kept(how=How.LATE, problem=str(error))
        except LedgerUnavailable as error:
            log.debug("the ledger does not take an entry: %s", error)
            return None
        except VaultError as error:
            # What happened outlives who it was: without a key the personal part may not be written, the rest must be.
            log.error("an entry of kind %s is kept without its personal part: %s", draft.kind, error)
            return self._append(replace(draft, personal=None))
        return Kept(how=How.DURABLE, key=str(entry.key))

    def _spool_it(self, draft: Draft) -> Kept:
        try:
            spool_append(self._spool, draft, self._stamp(), self._vault)
        except (OSError, SyncError) as error:
            log.error("an entry of kind %s could not be kept anywhere: %s", draft.kind, error)
            return Kept(how=How.LOST, problem=str(error))
        return Kept(how=How.SPOOLED, problem="the ledger cannot be written")

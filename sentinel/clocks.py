"""Say by which day the gate judges, and whether its clock may be judged by; keep an entry of what befalls the clock.

The rules are the library's, `sync/stamp.py`; here is what a gate knows: when it was built, and what its ledger was
stamped with under a trusted clock.
"""

import logging
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sentinel import BUILT
from sync.clockwatch import ClockNews, ClockWatch
from sync.entry import Stamp
from sync.errors import SyncError
from sync.reading import LedgerReader
from sync.stamp import KnownTime, clock_is_plausible, judged_ns, known_time, now_stamp

if TYPE_CHECKING:
    from sentinel.core.kinds import Clock

log = logging.getLogger(__name__)

BUILT_NS = int(BUILT.timestamp()) * 1_000_000_000
_LOOK_BACK = 500  # so far back one is looked for that was written under a trusted clock; then the ends of the epochs


class GateClock:
    """The wall clock as the gate may use it. One thread minds it, any may ask."""

    def __init__(
        self,
        told: Iterable[Stamp] = (),
        *,
        now: Callable[[], Stamp] = now_stamp,
        watch: ClockWatch | None = None,
        files: Iterable[Path] | None = None,
    ) -> None:
        """Begin with these stamps, of which the trusted ones tell what has passed."""
        self._now = now
        self._watch = watch
        self._told = tuple(_telling(told, now().boot_id))
        self._files = None if files is None else tuple(files)

    def plausible(self) -> bool:
        """Tell whether dates may be judged now."""
        now = self._now()
        return clock_is_plausible(now, self._known(now))

    def today(self) -> date:
        """Return the day, here, by which dates are judged: not the clock's when nobody can believe it."""
        now = self._now()
        return day_of(judged_ns(now, self._known(now)))

    def doubted(self) -> KnownTime | None:
        """Return the latest time that has surely passed, while the wall clock cannot be believed; None while it can."""
        now = self._now()
        known = self._known(now)
        return None if clock_is_plausible(now, known) else known

    def mind(self, keep: "Callable[[Clock], bool]") -> None:
        """Look at the clock and keep what is new; `keep` tells whether it was kept anywhere."""
        news = self._watch.look() if self._watch is not None else None
        if self._watch is not None and news is not None:
            log.log(
                logging.INFO if news.why == "periodic" else logging.WARNING,
                "the wall clock: %s, set by %.3f s, now %s",
                news.why, news.jumped_ns / 1e9, _utc(news.reading.wall_ns),
            )  # fmt: skip
            if not keep(entry_of(news)):
                self._watch.untold(news)

    def _known(self, now: Stamp) -> KnownTime:
        newest = self._watch.trusted if self._watch is not None else None
        told = (*self._told, newest) if newest is not None else self._told
        if self._files is None:
            return known_time(now, told, built_ns=BUILT_NS)
        return known_time(now, told, built_ns=BUILT_NS, files=self._files)


def entry_of(news: ClockNews) -> "Clock":
    """Return the entry that tells this."""
    from sentinel.core.kinds import Clock  # imported here: the uplink asks the time and writes no entry

    reading = news.reading
    return Clock(
        why=news.why,
        boot_id=reading.boot_id,
        offset_ns=str(reading.offset_ns),
        jumped_ns=str(news.jumped_ns),
        synchronised=reading.kernel.synchronised,
        max_error_us=reading.kernel.max_error_us,
        est_error_us=reading.kernel.est_error_us,
    )


def trusted_stamps(ledger: Path) -> list[Stamp]:
    """Return the newest stamps in the ledger that were written under a trusted clock; none while it cannot be read."""
    try:
        with LedgerReader(ledger) as reader:
            for entries in (reader.newest(_LOOK_BACK), reader.ends()):
                if found := [entry.stamp for entry in entries if entry.stamp.clock_trusted]:
                    return found
    except SyncError as error:
        log.debug("no entry tells the time: %s", error)
    return []


def today() -> date:
    """Return the day to judge by, for who does not read the ledger."""
    return GateClock().today()


def doubted(ledger: Path) -> KnownTime | None:
    """Return what `GateClock.doubted` does, by what the ledger knows at this moment."""
    return None if now_stamp().clock_trusted else GateClock(trusted_stamps(ledger)).doubted()


def latest_ns(ledger: Path) -> int:
    """Return the wall time, or the latest time that has surely passed while the clock cannot be believed."""
    known = doubted(ledger)
    return now_stamp().wall_ns if known is None else known.ns


def day_of(wall_ns: int) -> date:
    """Return the day of a moment, in the box's own time zone."""
    return datetime.fromtimestamp(wall_ns // 1_000_000_000).astimezone().date()


def _telling(stamps: Iterable[Stamp], boot_id: str) -> Iterable[Stamp]:
    """Return the two stamps that tell the most: the latest of all, and the latest of this boot."""
    trusted = [stamp for stamp in stamps if stamp.clock_trusted]
    here = [stamp for stamp in trusted if stamp.boot_id == boot_id]
    if trusted:
        yield max(trusted, key=lambda stamp: stamp.wall_ns)
    if here:
        yield max(here, key=lambda stamp: stamp.boot_ns)


def _utc(wall_ns: int) -> str:
    try:
        return datetime.fromtimestamp(wall_ns // 1_000_000_000, UTC).isoformat()
    except (ValueError, OverflowError):
        return f"{wall_ns} ns"

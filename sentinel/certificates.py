"""Watch the certificates of the road: which of our files ends first, and when a person must hear of it."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sentinel.settings import Uplink
from sync.tls import validities

log = logging.getLogger(__name__)

WARN_DAYS = 30
LOOK_S = 12 * 3600.0
_DAY_NS = 86_400 * 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """A certificate and how long it still holds."""

    file: Path
    subject: str
    days: float  # below zero: it has ended

    @property
    def level(self) -> str:
        """ok, warning, or critical once it has ended."""
        return "critical" if self.days <= 0 else "warning" if self.days < WARN_DAYS else "ok"


def soonest(way: Uplink, now_ns: int) -> Ending | None:
    """Return which certificate of the settings' files ends first; None where the road uses none.

    `ca_file` may hold authorities that nobody uses any more: of them the one that lasts longest counts.
    Raises: BrokerError when a file holds none.
    """
    return min(_endings(way, now_ns), key=lambda one: one.days, default=None)


def _endings(way: Uplink, now_ns: int) -> Iterator[Ending]:
    for file, choose in ((way.cert_file, min), (way.ca_file, max)):
        if file is not None:
            last = choose(validities(file), key=lambda one: one.ends_ns)
            yield Ending(file=file, subject=last.subject, days=(last.ends_ns - now_ns) / _DAY_NS)


class CertificateWatch:
    """Say in the log, twice a day at most, what ends soon: long before the road is closed by it."""

    def __init__(self, way: Uplink, latest_ns: Callable[[], int]) -> None:
        """`latest_ns` is asked for the time to judge by."""
        self._way, self._latest_ns = way, latest_ns
        self._due = 0.0

    def look(self, now: float) -> None:
        """Look when it is due."""
        if now < self._due or not self._way.broker.startswith("mqtts:"):
            return
        self._due = now + LOOK_S
        ending = soonest(self._way, self._latest_ns())
        if ending is None or ending.level == "ok":
            return
        when = f"ends in {ending.days:.0f} days" if ending.days > 0 else "has ended"
        level = logging.ERROR if ending.level == "critical" else logging.WARNING
        log.log(level, "%s: the certificate of %s %s; ask the street for a new one", ending.file, ending.subject, when)

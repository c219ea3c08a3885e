"""Say until when a personal part is kept: by the class of its key, and by a day that a trusted clock has named. Pure.

The key of a day holds what one class of entry told of people on that day; destroying it is the deletion. Who registers
by hand passes too, so that personal part goes as early as a passage's; the entry itself stays as `keeping.py` says.
Keys of persons (`template/<token>`) have no day: they last as long as the person is in the roster.
"""

import re
from dataclasses import dataclass
from datetime import date, timedelta

from sentinel.core.keeping import Days
from sentinel.core.kinds import Passage, Registration

_OF_A_DAY = re.compile(r"([a-z-]{1,32})/([0-9]{4}-[0-9]{2}-[0-9]{2})(?:~([0-9a-f]{16}))?")
_OF_PASSING = frozenset((Passage.KIND, Registration.KIND))


@dataclass(frozen=True, slots=True, kw_only=True)
class DayKey:
    """What the name of a key tells. `day` is None where an untrusted clock named it: then the epoch must be dated."""

    class_: str
    day: date | None
    epoch: int | None = None


def day_key(name: str) -> DayKey | None:
    """Return what this name tells, None for a key that belongs to no day."""
    found = _OF_A_DAY.fullmatch(name)
    if found is None:
        return None
    if found[3]:
        return DayKey(class_=found[1], day=None, epoch=int(found[3], 16))
    try:
        return DayKey(class_=found[1], day=date.fromisoformat(found[2]))
    except ValueError:
        return None


def kept_days(class_: str, days: Days) -> int:
    """Return for how many days personal parts of this class are kept after their own."""
    return days.passage if class_ in _OF_PASSING else days.audit


def last_day(class_: str, day: date, days: Days) -> date:
    """Return the last day on which a personal part of `day` is kept: after it, it is deleted."""
    return day + timedelta(days=kept_days(class_, days))


def is_due(class_: str, day: date | None, days: Days, today: date) -> bool:
    """Tell whether a personal part must go. `day` None: nobody can tell when it was written, so it stays."""
    return day is not None and last_day(class_, day, days) < today

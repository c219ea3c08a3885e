"""Judge the right to pass by day, hour and lane, as the street's roster gives it. Pure.

Without windows a right holds always. An hour is never judged by a clock that is not believed: the gate's own fault must
lock no resident out. The lane needs no clock and is judged all the same.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, time
from typing import Any

MOST_WINDOWS = 32
MOST_LANES = 16
DAY_MIN = 24 * 60
_DIRECTIONS = ("in", "out")
_WEEK = range(1, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Some hours of some days of the week, for some lanes and directions (empty: for all).

    Unit: minutes of the gate's local day, from the first on and before the last; days as in ISO 8601, 1 is Monday.
    """

    days: tuple[int, ...]
    from_min: int
    until_min: int
    lanes: tuple[str, ...] = ()
    directions: tuple[str, ...] = ()

    def is_for(self, lane: str, direction: str) -> bool:
        """Tell whether this window speaks of a lane and a direction."""
        return (not self.lanes or lane in self.lanes) and (not self.directions or direction in self.directions)

    def holds(self, day: date, at: time) -> bool:
        """Tell whether this window is open at a moment of the gate's local time."""
        minute = at.hour * 60 + at.minute
        return day.isoweekday() in self.days and self.from_min <= minute < self.until_min


def of_lane(windows: Iterable[Window], lane: str, direction: str) -> tuple[Window, ...]:
    """Return the windows that speak of a lane and a direction."""
    return tuple(window for window in windows if window.is_for(lane, direction))


def windows_from_json(told: Any) -> tuple[Window, ...]:
    """Return the windows that a street or our own roster told.

    Raises: ValueError naming what is wrong.
    """
    if not isinstance(told, list) or len(told) > MOST_WINDOWS:
        raise ValueError(f"windows: expected a list of at most {MOST_WINDOWS}")
    return tuple(_window(one) for one in told)


def windows_as_json(windows: Iterable[Window]) -> list[dict[str, Any]]:
    """Return windows as they are told, `windows_from_json` reads them."""
    return [
        {
            "days": list(window.days),
            "from": _clock(window.from_min),
            "until": _clock(window.until_min),
            **({"lanes": list(window.lanes)} if window.lanes else {}),
            **({"directions": list(window.directions)} if window.directions else {}),
        }
        for window in windows
    ]


def _window(told: Any) -> Window:
    if not isinstance(told, Mapping) or not set(told) <= {"days", "from", "until", "lanes", "directions"}:
        raise ValueError("a window holds days, from, until, lanes, directions, and nothing else")
    days = told.get("days", list(_WEEK))
    if not isinstance(days, list) or not days or any(type(day) is not int or day not in _WEEK for day in days):
        raise ValueError("days: expected a list of 1 (Monday) to 7")
    from_min, until_min = _minute(told.get("from", "00:00")), _minute(told.get("until", "24:00"))
    if from_min >= until_min:
        raise ValueError("a window ends after it begins; for a night write two windows")
    return Window(
        days=tuple(sorted(set(days))),
        from_min=from_min,
        until_min=until_min,
        lanes=_words(told, "lanes"),
        directions=_words(told, "directions", _DIRECTIONS),
    )


def _words(told: Mapping[str, Any], name: str, known: tuple[str, ...] = ()) -> tuple[str, ...]:
    words = told.get(name, [])
    if not isinstance(words, list) or len(words) > MOST_LANES:
        raise ValueError(f"{name}: expected a list of at most {MOST_LANES}")
    if any(not isinstance(word, str) or not 0 < len(word) <= 64 or (known and word not in known) for word in words):
        raise ValueError(f"{name}: expected {' or '.join(known) or 'names of lanes'}")
    return tuple(words)


def _minute(told: Any) -> int:
    hour, colon, minute = str(told).partition(":")
    if not colon or not (hour + minute).isdecimal() or not (hour + minute).isascii() or len(hour + minute) != 4:
        raise ValueError(f"{str(told)[:20]!r}: expected a time of the day, HH:MM")
    at = int(hour) * 60 + int(minute)
    if int(minute) > 59 or at > DAY_MIN:
        raise ValueError(f"{str(told)[:20]!r}: expected 00:00 to 24:00")
    return at


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"

"""Find the speed of a line: try those that the device may have until something comes that no noise can say."""

import copy
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from drivers.readings import CodeReading, Identity, Impairment, Junk, Reading, Symptom, Trouble

TRY_S = 1.0  # a device that speaks by itself does so four times a second, one that is asked answers in a tenth
_SAID_BY_NOISE = frozenset({
    Symptom.NOISE, Symptom.SILENT, Symptom.IMPLAUSIBLE, Symptom.MISCONFIGURED, Symptom.CODE_UNREADABLE,
})  # fmt: skip


def wants_search(url: str) -> bool:
    """Tell whether the address leaves the speed open."""
    return ("baud", "auto") in parse_qsl(urlsplit(url).query) if "?" in url else False


def try_s_of(dialect: Any) -> float:
    """Return how long a device of this dialect must be heard at one speed: its own `probe_s`, where it has one."""
    return float(getattr(dialect, "probe_s", TRY_S))


def is_proof(reading: Reading) -> bool:
    """Tell whether a reading shows that device, dialect and speed fit: a code is any text, and junk is nothing."""
    if isinstance(reading, Trouble):
        return reading.symptom not in _SAID_BY_NOISE
    return not isinstance(reading, Junk | CodeReading | Impairment)


class SpeedSearch:
    """Say which speed to try next, each for a while and all of them in turn; the one that was found last comes first.

    A dialect is pure, so each speed is tried with a copy of the unused one: no half a frame and no question without an
    answer is carried from one speed to the next.
    """

    def __init__(self, speeds: Sequence[int], *, first: int | None, unused: Any) -> None:
        known = [first] if first is not None and first in speeds else []
        self._speeds = [*known, *(speed for speed in speeds if speed not in known)]
        self._unused = copy.deepcopy(unused)
        self._try_s = try_s_of(unused)
        self._tries = 0
        self._next_at = 0.0
        self.baud: int = self._speeds[0]
        self.goes_on = True

    def next_speed(self, now: float) -> int | None:
        """Return the speed to change to now, None to stay."""
        if self._tries and now < self._next_at:
            return None
        self.baud = self._speeds[self._tries % len(self._speeds)]
        self._tries += 1
        self._next_at = now + self._try_s
        return self.baud

    def fresh_dialect(self) -> Any:
        """Return a dialect that has heard nothing yet."""
        return copy.deepcopy(self._unused)

    def found(self) -> None:
        """Stay at this speed."""
        self.goes_on = False

    def told(self, now: float) -> Identity:
        """Return the speed as a reading."""
        return Identity(at_mono=now, text=f"{self.baud} baud")

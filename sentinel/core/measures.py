"""Remember the temperatures of the last seconds, and say which one counts for the person of a stretch of time.

Near the limit one figure is not enough: it is measured again until several agree, see `thermometry.settled`.
"""

from collections import deque
from dataclasses import replace

from sentinel.core import thermometry
from sentinel.core.model import SkinTemperature

_KEPT = 64  # eight seconds of an 8 Hz module; the oldest is dropped


class Measures:
    """Keep what was measured, and why it was not. A measure counts for `fresh_s`. Times are `at_mono` seconds."""

    def __init__(self, *, fresh_s: float, limit_celsius: float | None = None, margin_celsius: float = 0.0) -> None:
        self._fresh_s = fresh_s
        self._limit_celsius = limit_celsius
        self._margin_celsius = margin_celsius
        self._kept: deque[SkinTemperature] = deque(maxlen=_KEPT)

    def take(self, temperature: SkinTemperature) -> None:
        """Take what was measured, or why it was not."""
        self._kept.append(temperature)

    def settled(self, since_mono: float, until_mono: float, now: float) -> SkinTemperature | None:
        """Return the temperature that may decide about this person, or None while it must be measured again."""
        measured = self._measured(since_mono, until_mono, now)
        if not measured or self._limit_celsius is None:
            return measured[-1] if measured else None
        return thermometry.settled(measured, self._limit_celsius, self._margin_celsius)

    def best(self, since_mono: float, until_mono: float, now: float) -> SkinTemperature | None:
        """Return the settled temperature, else the last one measured, else the last that says why it was not."""
        measured = self._measured(since_mono, until_mono, now)
        if measured:
            return self.settled(since_mono, until_mono, now) or measured[-1]
        own = self._own(since_mono, until_mono)
        if own and own[-1].skin_celsius is not None:
            return replace(own[-1], skin_celsius=None, why_not=thermometry.STALE)
        return own[-1] if own else None

    def _own(self, since_mono: float, until_mono: float) -> list[SkinTemperature]:
        return [one for one in self._kept if since_mono <= one.at_mono < until_mono]

    def _measured(self, since_mono: float, until_mono: float, now: float) -> list[SkinTemperature]:
        oldest = max(since_mono, now - self._fresh_s)
        return [one for one in self._own(oldest, until_mono) if one.skin_celsius is not None]

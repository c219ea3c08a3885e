"""Say whether a thermal sensor can be believed now: it has warmed up, and the air around it is at rest.

Pure: time comes with what is seen. A sensor that was off for a while needs as long to be stable again, at most its
warm-up time; one whose own temperature still climbs is not stable whatever the clock says. Source: makers ask for some
minutes up to half an hour (duties-and-pains, IEC 80601-2-59), device-protocols 2.2 (drift after power-up).
"""

import math
from collections import deque

from sentinel.core.thermometry import DRAUGHT, WARMING_UP

DRIFT_K_PER_MIN = 1.0  # a room changes by less; a module that warms up starts with several
DRIFT_OVER_S = 30.0  # long enough that the sensor's own resolution, 0.1 K, is a fifth of the limit
DRAUGHT_K = 1.5  # the door of a heated hall does this within seconds
MEMORY_S = 60.0
SAMPLE_S = 1.0


class Climate:
    """Watch one sensor's own temperature and its outages."""

    def __init__(self, *, warm_up_s: float, powered_for_s: float = 0.0) -> None:
        """Begin with a sensor that has had power for so long already, which is as long as the box."""
        self._warm_up_s = warm_up_s
        self._owed_s = max(0.0, warm_up_s - powered_for_s)
        self._warm_at: float | None = None  # None until the first reading
        self._lost_at: float | None = None
        self._samples: deque[tuple[float, float]] = deque()  # time, ambient; one a second

    def lost(self, now: float) -> None:
        """Take notice that the sensor is away; it may be without power."""
        if self._lost_at is None:
            self._lost_at = now

    def see(self, ambient_celsius: float, now: float) -> str:
        """Take the sensor's own temperature; return why nothing can be measured now, "" when it can."""
        if self._lost_at is not None:
            self._owed_s = min(self._warm_up_s, self._still_owed_s(self._lost_at) + now - self._lost_at)
            self._lost_at, self._warm_at = None, None
            self._samples.clear()
        if self._warm_at is None:
            self._warm_at = now + self._owed_s
        self._remember(ambient_celsius, now)
        if now < self._warm_at or (self._warm_up_s > 0 and self._drifts()):
            return WARMING_UP
        return DRAUGHT if self._is_draughty(ambient_celsius) else ""

    def _still_owed_s(self, at: float) -> float:
        return self._owed_s if self._warm_at is None else max(0.0, self._warm_at - at)

    def _remember(self, ambient_celsius: float, now: float) -> None:
        if not math.isfinite(ambient_celsius):
            return
        if not self._samples or now - self._samples[-1][0] >= SAMPLE_S:
            self._samples.append((now, ambient_celsius))
        while self._samples and now - self._samples[0][0] > MEMORY_S:
            self._samples.popleft()

    def _drifts(self) -> bool:
        """Tell whether the temperature has climbed steadily for a while: both halves of it in the same direction."""
        newest, latest = self._samples[-1] if self._samples else (0.0, 0.0)
        span = [(at, value) for at, value in self._samples if newest - at <= DRIFT_OVER_S]
        if not span or newest - span[0][0] < DRIFT_OVER_S - 2 * SAMPLE_S:
            return False
        middle = span[len(span) // 2][1]
        rises = (middle - span[0][1], latest - middle)
        return min(rises) > DRIFT_K_PER_MIN * DRIFT_OVER_S / 60 / 2

    def _is_draughty(self, ambient_celsius: float) -> bool:
        values = [value for _, value in self._samples]
        return bool(values) and abs(ambient_celsius - sum(values) / len(values)) > DRAUGHT_K

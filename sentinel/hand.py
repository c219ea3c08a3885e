"""Hold the barrier for the gate: every movement either happens or is told as a fault, and a lost board is taken again.

The lane decides and must never fall over a relay board; so nothing here raises for a barrier that is away.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from drivers.barrier import Barrier, WireFault
from drivers.errors import DriverError, PortSettingsError
from drivers.readings import Leaf, Symptom

_T = TypeVar("_T")

RETRY_S = 1.0  # claiming pins costs milliseconds; once a second finds a replugged board well within five
NO_ANSWER = (Symptom.LOST, Symptom.SILENT, Symptom.NOISE, Symptom.REFUSED)


class Hand:
    """The one hand on the barrier. `on_health` gets None when the barrier is well, else the symptom and what happened.

    A board that is lost is let go and taken again. One that answers and does not obey is kept: it says itself when it
    is well again. What leaf and inputs say (jammed, held open, stuck) is asked at each tick.
    """

    def __init__(
        self,
        open_barrier: Callable[[], Barrier],
        on_health: Callable[[str | None, str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_barrier = open_barrier
        self._on_health = on_health
        self._clock = clock
        self._barrier: Barrier | None = None
        self._next_try = 0.0
        self._symptom: str | None = None  # what was told last

    @property
    def there(self) -> bool:
        """Whether there is a barrier to move, as far as is known: one that did not move last time is tried again."""
        return self._barrier is not None and self._symptom not in NO_ANSWER

    @property
    def fire_active(self) -> bool:
        """Whether the fire input is active; a barrier that is away says nothing about fire, and its wires act alone."""
        return self._try(lambda barrier: barrier.fire_active) or False

    def pulse(self, seconds: float, leaf: Leaf = Leaf.IN) -> bool:
        """Pulse one leaf of the barrier; return whether it moved. A leaf that is not fitted does not."""

        def move(barrier: Barrier) -> bool:
            if leaf is not Leaf.IN and leaf not in barrier.leaves:
                return False
            barrier.pulse(seconds, leaf)
            return True

        return self._try(move) or False

    def show(self, light: str, buzz: int = 0) -> None:
        """Show a pattern of the lamps and beep."""
        self._try(lambda barrier: barrier.show(light, buzz=buzz))

    def tick(self, now: float) -> None:
        """Let the barrier judge its time-outs and tell how it is; take it again when it was away.

        Raises: PortSettingsError when the settings name pins that do not exist: waiting will not help.
        """
        if self._barrier is not None:
            self._try(lambda barrier: self._tick(barrier, now))
        elif now >= self._next_try:
            self._take()
            self._next_try = max(now, self._clock()) + RETRY_S  # a silent board is given up within half a second

    def close(self) -> None:
        """Let the lines go."""
        barrier, self._barrier = self._barrier, None
        if barrier is not None:
            barrier.close()

    def _tick(self, barrier: Barrier, now: float) -> None:
        barrier.tick(now)
        trouble = barrier.trouble
        symptom = None if trouble is None else trouble.symptom
        if symptom == self._symptom:
            return
        self._tell(symptom, "" if trouble is None else trouble.detail)
        barrier.show("off" if symptom is None else "fault")

    def _take(self) -> None:
        try:
            self._barrier = self._open_barrier()
        except PortSettingsError:
            raise
        except DriverError as error:
            self._failed(error)
        else:
            self._tell(None)

    def _try(self, move: Callable[[Barrier], _T]) -> _T | None:
        if self._barrier is None:
            return None
        try:
            return move(self._barrier)
        except DriverError as error:
            self._failed(error)
            if not isinstance(error, WireFault):
                self.close()
            return None

    def _failed(self, error: DriverError) -> None:
        self._tell(error.symptom if isinstance(error, WireFault) else Symptom.LOST, str(error))

    def _tell(self, symptom: str | None, detail: str = "") -> None:
        self._symptom = symptom
        self._on_health(symptom, detail)

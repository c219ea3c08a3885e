"""Hold the barrier for the gate: every movement either happens or is told as a fault, and a lost board is taken again.

The lane decides and must never fall over a relay board; so nothing here raises for a barrier that is away.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from drivers.barrier import Barrier
from drivers.errors import DriverError, PortSettingsError
from drivers.readings import Symptom

_T = TypeVar("_T")

RETRY_S = 1.0  # claiming pins costs milliseconds; once a second finds a replugged board well within five


class Hand:
    """The one hand on the barrier. `on_health` gets None when the barrier moves, else the symptom and what happened."""

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

    @property
    def there(self) -> bool:
        """Whether there is a barrier to move, as far as is known."""
        return self._barrier is not None

    @property
    def fire_active(self) -> bool:
        """Whether the fire input is active; a barrier that is away says nothing about fire, and its wires act alone."""
        return self._try(lambda barrier: barrier.fire_active) or False

    def pulse(self, seconds: float) -> bool:
        """Pulse the barrier; return whether it moved."""

        def move(barrier: Barrier) -> bool:
            barrier.pulse(seconds)
            return True

        return self._try(move) or False

    def show(self, light: str, buzz: int = 0) -> None:
        """Light a lamp and beep."""
        self._try(lambda barrier: barrier.show(light, buzz=buzz))

    def tick(self, now: float) -> None:
        """Let the barrier judge its time-outs; take it again when it was away.

        Raises: PortSettingsError when the settings name pins that do not exist: waiting will not help.
        """
        if self._barrier is not None:
            self._try(lambda barrier: barrier.tick(now))
        elif now >= self._next_try:
            self._next_try = now + RETRY_S
            self._take()

    def close(self) -> None:
        """Let the lines go."""
        barrier, self._barrier = self._barrier, None
        if barrier is not None:
            barrier.close()

    def _take(self) -> None:
        try:
            self._barrier = self._open_barrier()
        except PortSettingsError:
            raise
        except DriverError as error:
            self._on_health(Symptom.LOST, str(error))
        else:
            self._on_health(None, "")

    def _try(self, move: Callable[[Barrier], _T]) -> _T | None:
        if self._barrier is None:
            return None
        try:
            return move(self._barrier)
        except DriverError as error:
            self._on_health(Symptom.LOST, str(error))
            self.close()
            return None

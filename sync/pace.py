"""Hold a stream to a rate, in whole batches."""

BURST_S = 1.0  # what may go at once after a pause


class Pace:
    """So many a second, by whole batches: one may overdraw, and the next waits until that is made good."""

    def __init__(self, per_s: float) -> None:
        """Name the rate; 0 is no limit."""
        self._per_s = per_s
        self._left = per_s * BURST_S
        self._at: float | None = None

    def open(self, now: float) -> bool:
        """Tell whether the next batch may go. Unit: seconds of a clock that never jumps."""
        if self._at is not None:
            self._left = min(self._per_s * BURST_S, self._left + (now - self._at) * self._per_s)
        self._at = now
        return self._per_s == 0 or self._left > 0

    def spend(self, count: int) -> None:
        """Note that so many went."""
        self._left -= count

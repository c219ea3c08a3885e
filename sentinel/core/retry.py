"""Say how long to wait before the next try: a doubling, capped, jittered delay."""

from collections.abc import Callable


class Backoff:
    """Give the waits of one outage.

    `chance` returns a number in [0, 1): a hundred gates that lost the same broker must not come back in one second.
    """

    def __init__(self, first_s: float, cap_s: float, chance: Callable[[], float]) -> None:
        if not 0 < first_s <= cap_s:
            raise ValueError(f"first_s={first_s} cap_s={cap_s}; expected 0 < first_s <= cap_s")
        self._first_s = first_s
        self._cap_s = cap_s
        self._chance = chance
        self._bound_s = first_s

    def next(self) -> float:
        """Return the next wait in seconds, between half and all of the bound, and double the bound."""
        wait_s = self._bound_s * (0.5 + 0.5 * self._chance())
        self._bound_s = min(self._bound_s * 2, self._cap_s)
        return wait_s

    def refused(self) -> float:
        """Return the longest wait, and stay at the cap: refused credentials do not become right by asking often."""
        self._bound_s = self._cap_s
        return self._cap_s

    def reset(self) -> None:
        """Begin again at the first wait: it worked."""
        self._bound_s = self._first_s

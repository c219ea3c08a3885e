"""Begin and end the faults of a simulated device, by name."""

import threading
from typing import ClassVar


class Faulty:
    """A device with `FAULTS`; who answers for it asks `_faults` while holding `_lock`. From any thread."""

    FAULTS: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: frozenset[str] = frozenset()

    def fault(self, name: str) -> None:
        """Begin a fault; it lasts until `heal`. Raises: ValueError for an unknown name."""
        if name not in self.FAULTS:
            raise ValueError(f"unknown fault {name!r}; use one of: {', '.join(self.FAULTS)}")
        with self._lock:
            self._faults |= {name}
            self._began(name)

    def heal(self) -> None:
        """End every fault."""
        with self._lock:
            self._faults = frozenset()
            self._healed()

    def _began(self, name: str) -> None:
        """Do what the beginning of this fault changes at once; the lock is held."""

    def _healed(self) -> None:
        """Do what the end of all faults changes at once; the lock is held."""

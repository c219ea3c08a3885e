"""Make gpiozero pins for boards that gpiozero does not know: by name, reserved once, edges told by the board's thread.

gpiozero's own factories know the header of a Raspberry Pi and refuse every other board. These know no header at all: a
pin is what its board calls it.
"""

import logging
import threading
import time
from collections.abc import Callable
from types import MethodType
from typing import Any
from weakref import WeakMethod, ref

from gpiozero.exc import GPIOPinInUse, PinFixedPull, PinInvalidFunction, PinInvalidPull, PinSetInput
from gpiozero.pins import Factory, Pin, PinInfo

log = logging.getLogger(__name__)


class NamedPin(Pin):
    """One pin of a board, by its name. A board fills in `_claim`, `_read`, `_write` and `_let_go`."""

    def __init__(self, factory: "NamedFactory", name: str) -> None:
        self.factory = factory
        self.name = name
        self._function = ""  # until gpiozero says what it is for, nothing is claimed
        self._pull = "floating"
        self._bounce_s = 0.0
        self._edges = "both"
        self._when_changed: Callable[[], Any] | None = None  # a weak reference, as gpiozero wants it

    def __repr__(self) -> str:
        return self.name

    # -- what a board does --------------------------------------------------------------------------------------------

    def _claim(self, level: int | None) -> None:
        """Take the line as output at this level, or as input (None) as pull, bounce and listener are now."""
        raise NotImplementedError

    def _read(self) -> int:
        raise NotImplementedError

    def _write(self, level: int) -> None:
        raise NotImplementedError

    def _let_go(self) -> None:
        raise NotImplementedError

    # -- what gpiozero asks -------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Give the line back."""
        self._when_changed = None
        self._function = ""
        self._let_go()
        self.factory.forget(self)

    def output_with_state(self, state: bool) -> None:
        """Become an output that has this level from its first moment."""
        self._claim(int(state))
        self._function = "output"

    def _get_info(self) -> PinInfo:
        return self.factory.info(self.name)

    def _get_function(self) -> str:
        return self._function or "input"

    def _set_function(self, value: str) -> None:
        if value not in ("input", "output"):
            raise PinInvalidFunction("function must be input or output")
        if value == "output":
            self.output_with_state(False)
        else:
            self._function = "input"
            self._claim(None)

    def _get_state(self) -> int:
        return self._read()

    def _set_state(self, value: float) -> None:
        if self._function != "output":
            raise PinSetInput(f"cannot set state of pin {self!r}")
        self._write(int(bool(value)))

    def _get_pull(self) -> str:
        return self._pull

    def _set_pull(self, value: str) -> None:
        if value not in ("floating", "up", "down"):
            raise PinInvalidPull("pull must be floating, up, or down")
        if self._function != "input":
            raise PinFixedPull(f"cannot set pull on non-input pin {self!r}")
        self._pull = value
        self._claim(None)

    def _get_bounce(self) -> float | None:
        return self._bounce_s or None

    def _set_bounce(self, value: float | None) -> None:
        self._bounce_s = float(value or 0.0)
        if self._function == "input":
            self._claim(None)

    def _get_edges(self) -> str:
        return self._edges

    def _set_edges(self, value: str) -> None:
        self._edges = value

    def _get_when_changed(self) -> Any:
        return None if self._when_changed is None else self._when_changed()

    def _set_when_changed(self, value: Any) -> None:
        if value is None:
            self._when_changed = None
        else:
            self._when_changed = WeakMethod(value) if isinstance(value, MethodType) else ref(value)

    def tell(self, ticks: float, level: int) -> None:
        """Tell whoever listens of a level, in the board's thread. What goes wrong there must not end that thread."""
        listener = self._get_when_changed()
        if listener is None or self._edges not in ("both", "rising" if level else "falling"):
            return
        try:
            listener(ticks, level)
        except Exception:
            log.exception("pin %s: an edge was not taken", self.name)


class NamedFactory(Factory):
    """Keep one pin object per name. A board fills in `_make`, which raises PinInvalidPin for an unknown name."""

    def __init__(self) -> None:
        super().__init__()
        self.pins: dict[str, NamedPin] = {}
        self._pins_lock = threading.RLock()

    def _make(self, name: str) -> NamedPin:
        raise NotImplementedError

    def full_name(self, spec: str | int) -> str:
        """Return the one name of a pin, however it was called. Raises: PinInvalidPin."""
        return str(spec)

    def info(self, name: str) -> PinInfo:
        """Return what gpiozero wants to know of a pin: there is no header on which it could have a place."""
        return PinInfo(0, name, frozenset({name}), "", 0, 0, frozenset({"gpio"}))

    def pin(self, name: str | int) -> NamedPin:
        """Return the pin. Raises: PinInvalidPin when there is none of this name."""
        full = self.full_name(name)
        with self._pins_lock:
            if full not in self.pins:
                self.pins[full] = self._make(full)
            return self.pins[full]

    def forget(self, pin: NamedPin) -> None:
        """Let a pin that is closed be made anew the next time."""
        with self._pins_lock:
            if self.pins.get(pin.name) is pin:
                del self.pins[pin.name]

    def reserve_pins(self, requester: Any, *names: str | int) -> None:
        """Keep a pin for one device. Raises: GPIOPinInUse when another one has it."""
        with self._res_lock:
            for full in map(self.full_name, names):
                for holder in (known() for known in self._reservations[full]):
                    if holder is not None and holder is not requester:
                        raise GPIOPinInUse(f"pin {full} is already in use by {holder!r}")
                self._reservations[full].append(ref(requester))

    def release_pins(self, reserver: Any, *names: str | int) -> None:
        """Give a device's pins back."""
        with self._res_lock:
            for full in map(self.full_name, names):
                others = [known for known in self._reservations[full] if known() not in (reserver, None)]
                self._reservations[full] = others

    def release_all(self, reserver: Any) -> None:
        """Give all pins of a device back."""
        self.release_pins(reserver, *list(self._reservations))

    @staticmethod
    def ticks() -> float:
        """Return the clock that edges are stamped with."""
        return time.monotonic()

    @staticmethod
    def ticks_diff(later: float, earlier: float) -> float:
        """Return the seconds between two ticks."""
        return later - earlier

    def close(self) -> None:
        """Give every line back."""
        for pin in list(self.pins.values()):
            pin.close()

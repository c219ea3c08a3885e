"""Say where the barrier's wires are, and get at them through gpiozero: by the named factory and never by another.

Left to itself gpiozero tries one factory after the other and ends in a mock that opens nothing. A factory that takes an
argument has it behind a colon: `sentinel-sim:/run/wires.sock`, `sentinel-gpiod:/dev/gpiochip1`,
`sentinel-modbus:serial:///dev/ttyS5?baud=9600&address=1`.
"""

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from gpiozero import DigitalInputDevice, DigitalOutputDevice
from gpiozero.exc import BadPinFactory, GPIOZeroError, PinInvalidPin, PinUnknownPi

from drivers.errors import DriverError, PortLost, PortSettingsError
from drivers.readings import Symptom

log = logging.getLogger(__name__)

BOUNCE_S = 0.02  # a dry contact bounces for some ms, and two people are never 20 ms apart
TAKE_ARGUMENT = ("sentinel-sim", "sentinel-gpiod", "sentinel-modbus")


class WireFault(PortLost):
    """The board is there and does not do its work; `symptom` says how. It comes back by itself, or not at all."""

    def __init__(self, message: str, *, symptom: Symptom) -> None:
        super().__init__(message)
        self.symptom = symptom


class NotMoved(WireFault):
    """The board received the command, and its read-back says that the relay is as it was."""

    def __init__(self, message: str, *, symptom: Symptom = Symptom.NOT_MOVING) -> None:
        super().__init__(message, symptom=symptom)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """Say where the wires are: a pin each, by number (17) or name ("GPIO17", "PC7", "relay0"); None for not fitted.

    An input that is active low is a dry contact to ground (pulled up here); one that is not is a contact to the supply
    (pulled down here). On a relay board an input is active when its contact is closed, either way.
    A door contact is closed, and so active, while the leaf is closed.
    """

    factory: str
    relay: str | int
    relay_out: str | int | None = None
    relay_active_high: bool = True
    pass_sensor: str | int | None = None
    pass_sensor_out: str | int | None = None
    door: str | int | None = None
    door_out: str | int | None = None
    tailgate: str | int | None = None
    key_switch: str | int | None = None
    exit_button: str | int | None = None
    fire: str | int | None = None
    green: str | int | None = None
    amber: str | int | None = None
    red: str | int | None = None
    buzzer: str | int | None = None
    pass_active_low: bool = True
    pass_out_active_low: bool = True
    door_active_low: bool = True
    door_out_active_low: bool = True
    tailgate_active_low: bool = True
    key_switch_active_low: bool = True
    exit_button_active_low: bool = True
    fire_active_low: bool = True


class Output(DigitalOutputDevice):
    """One output. Its blinking thread tells of a wire that does not obey instead of dying of it."""

    def _blink_device(self, on_time: float, off_time: float, n: int | None) -> None:
        try:
            super()._blink_device(on_time, off_time, n)
        except foreign_errors() as error:
            log.error("barrier: output %s did not move by itself (%s)", self.pin, error)
            with contextlib.suppress(*foreign_errors()):  # told; what it would have switched off is tried once more
                self._write(False)


class Lines:
    """All the wires of one barrier, claimed one by one and given back together."""

    def __init__(self, name: str, factory: Any = None) -> None:
        self._owns_factory = factory is None
        self._factory = factory if factory is not None else make_pin_factory(name)
        self._devices: list[Any] = []

    @property
    def leased(self) -> bool:
        """Whether the board itself ends what is switched on, should we die."""
        return bool(getattr(self._factory, "leased", False))

    def output(self, pin: str | int, *, active_high: bool = True, latched: bool = True) -> Output:
        """Return an output that is off. One that is not `latched` falls by itself where the board can do that.

        Raises: PortSettingsError when there is no such pin; PortLost when it cannot be had now.
        """
        device = self._device(Output, pin, active_high=active_high, initial_value=False)
        if hasattr(device.pin, "latched"):
            device.pin.latched = latched
        return device

    def input(self, pin: str | int, *, active_low: bool, on_change: Callable[[bool], None]) -> DigitalInputDevice:
        """Return an input; `on_change(active)` is called from the factory's thread.

        Raises: PortSettingsError when there is no such pin; PortLost when it cannot be had now.
        """
        device = self._device(DigitalInputDevice, pin, pull_up=active_low, bounce_time=BOUNCE_S)
        device.when_activated = lambda: on_change(True)
        device.when_deactivated = lambda: on_change(False)
        return device

    def _device(self, kind: type, pin: str | int, **options: Any) -> Any:
        try:
            device = kind(pin, pin_factory=self._factory, **options)
        except PinInvalidPin as error:
            raise PortSettingsError(
                f"barrier: no pin {pin!r} on this board ({error}); check the [barrier] table"
            ) from error
        except WireFault:
            raise
        except foreign_errors() as error:
            raise PortLost(f"barrier: pin {pin!r} cannot be had ({error}); is another program using it?") from error
        self._devices.append(device)
        return device

    def close(self) -> None:
        """Switch every output off and give the pins back; harmless when done twice."""
        devices, self._devices = self._devices, []
        for device in devices:  # the relays are the first: nothing that fails later can leave one closed
            for act in (device.off, device.close) if isinstance(device, Output) else (device.close,):
                try:
                    act()
                except foreign_errors() as error:
                    log.warning("barrier: %s was not released (%s)", type(device).__name__, error)
        if self._owns_factory:
            self._owns_factory = False
            try:
                self._factory.close()
            except foreign_errors() as error:
                log.warning("barrier: the pins were not released (%s)", error)


@contextlib.contextmanager
def told_as(what: str) -> Iterator[None]:
    """Let whatever a wire raises come out as PortLost that names what could not be done.

    Raises: PortLost; WireFault as it is, when the board itself says what is wrong.
    """
    try:
        yield
    except WireFault as error:
        raise type(error)(f"barrier: {what} ({error})", symptom=error.symptom) from error
    except foreign_errors() as error:
        raise PortLost(f"barrier: {what} ({error}); check its board and wiring") from error


def make_pin_factory(name: str) -> Any:
    """Return a gpiozero pin factory by name, from gpiozero's own table; never another one than the one named.

    Raises: PortSettingsError when there is none of this name, or it does not fit this board; PortLost when it exists
    and does not start now.
    """
    kind, _, argument = name.partition(":")
    table = {entry.name: entry for entry in entry_points(group="gpiozero_pin_factories")}
    if kind not in table:
        known = ", ".join(sorted(table))
        raise PortSettingsError(f"barrier: unknown pin factory {kind!r}; known here are {known}")
    if argument and kind not in TAKE_ARGUMENT:
        raise PortSettingsError(f"barrier: pin factory {kind} takes no argument; write factory = {kind!r}")
    try:
        return table[kind].load()(*([argument] if argument else []))
    except (ImportError, BadPinFactory, PinUnknownPi) as error:
        raise PortSettingsError(
            f"barrier: pin factory {kind} does not work on this board ({error}); name another one in [barrier] factory"
        ) from error
    except DriverError:
        raise
    except foreign_errors() as error:
        raise PortLost(f"barrier: pin factory {kind} does not start ({error}); check the rights on the pins") from error


def foreign_errors() -> tuple[type[Exception], ...]:
    """Return what pins are known to raise: ours and foreign; two libraries hang theirs directly under Exception."""
    native = [getattr(sys.modules.get(name), "error", None) for name in ("lgpio", "pigpio")]
    known = (kind for kind in native if isinstance(kind, type))
    return (DriverError, GPIOZeroError, OSError, RuntimeError, ValueError, *known)

"""Move the barrier: a bounded pulse out; passages, intrusions and fire in; lamps and a buzzer; the ownership lock.

The rules, from device-protocols 3.5: one request gives at most one pulse and one right to pass; a right ends with the
pass signal or with the passage time; nothing is pulsed at start; a pass signal without a right is an intrusion; and
while the fire input is active nobody passing is an intruder. Pins go through gpiozero with the factory named in the
settings, never through gpiozero's own guess, which ends in a mock that opens nothing.
"""

import contextlib
import errno
import fcntl
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from gpiozero import Buzzer, DigitalInputDevice, DigitalOutputDevice
from gpiozero.exc import BadPinFactory, GPIOZeroError, PinInvalidPin, PinUnknownPi

from drivers.errors import BarrierBusy, DriverError, PortLost, PortSettingsError
from drivers.readings import BarrierEvent, BarrierEventKind

log = logging.getLogger(__name__)

MAX_PULSE_S = 3.0  # gates take 0.3 to 0.5 s for one passage; six times that is a jammed program, not a wish
OVERDUE_S = 0.2  # the pulse's own thread may be this late before tick() opens the contact in its place
GAP_S = 0.3  # OVERDUE_S for a late thread, and 0.1 for the relay (10 ms) and the gate's input to see the contact open
BOUNCE_S = 0.02  # a dry contact bounces for some ms, and two people are never 20 ms apart
BEEP_S = 0.1
LOCK_RETRY_S = 0.02  # a dead owner frees the lock at once; one that shuts down needs some tens of ms


class BarrierLock:
    """Own the barrier, or know who does.

    A kernel lock on a file: it is free the moment its holder dies, however it dies. Whoever holds it may move the
    barrier and write the ledger. Never fork while holding it: the child would hold it too.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self._fd = -1

    @property
    def held(self) -> bool:
        """Tell whether this object holds the lock."""
        return self._fd >= 0

    def acquire(self, wait_s: float = 0.0) -> None:
        """Take the lock, waiting at most so long.

        Raises: BarrierBusy naming the holder's process; PortLost when the file cannot be used.
        """
        if self.held:
            return
        fd = self._open()
        deadline_mono = time.monotonic() + max(wait_s, LOCK_RETRY_S)  # who only asks for the holder() is gone by then
        while not _try_lock(fd):
            if time.monotonic() >= deadline_mono:
                holder = _read_pid(fd)
                os.close(fd)
                raise BarrierBusy(
                    f"barrier lock {self.path} is held by process {holder or 'unknown'}; "
                    "ask that process to open, or stop it first"
                )
            time.sleep(LOCK_RETRY_S)
        self._fd = fd
        self._write_pid()

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
        except OSError as error:
            if error.errno in (errno.EROFS, errno.EACCES) and self.path.exists():
                # A flash card that the kernel has made read-only must not keep the barrier shut: a lock needs no write.
                return os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            raise PortLost(f"barrier lock {self.path}: {error}; check the folder and its owner") from error

    def _write_pid(self) -> None:
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:  # a full disk must not keep the barrier shut; the lock is what counts
            log.warning("barrier lock %s: holder not written (%s)", self.path, error)

    def holder(self) -> int | None:
        """Return the process that holds the lock now, or None when it is free or the number is not known."""
        if self.held:
            return os.getpid()
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return None if _try_lock(fd) else _read_pid(fd)
        finally:
            os.close(fd)

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):  # an old number is harmless, a kept lock is not
                os.ftruncate(fd, 0)
            fcntl.flock(fd, fcntl.LOCK_UN)  # closing alone waits for children between vfork and exec, which share it
            os.close(fd)

    def __enter__(self) -> "BarrierLock":
        self.acquire()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_pid(fd: int) -> int | None:
    text = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
    return int(text) if text.isascii() and text.isdigit() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """Say where the wires are: a gpiozero pin each, by number (17) or name ("GPIO17"); None for what is not there.

    `factory` is a gpiozero factory's name: native, lgpio, rpigpio, pigpio, mock, sentinel-sim, or
    `sentinel-sim:/path/wires.sock`. An input that is active low is a dry contact to ground (pulled up here); one that
    is not is a contact to the supply (pulled down here).
    """

    factory: str
    relay: str | int
    pass_sensor: str | int | None = None
    fire: str | int | None = None
    green: str | int | None = None
    amber: str | int | None = None
    red: str | int | None = None
    buzzer: str | int | None = None
    pass_active_low: bool = True
    fire_active_low: bool = True


LIGHTS = ("green", "amber", "red")


class Barrier:
    """Pulse the barrier and report what happens on its wires.

    `on_event` is called from gpiozero's threads and from `tick`, never while a lock is held. Not a pin moves at
    construction. Whoever makes a Barrier holds the BarrierLock.

    Raises: PortSettingsError for an unknown factory or pin; PortLost for pins that cannot be had now.
    """

    def __init__(
        self,
        pins: Pins,
        *,
        passage_s: float,
        on_event: Callable[[BarrierEvent], None],
        clock: Callable[[], float] = time.monotonic,
        pin_factory: Any = None,
    ):
        self._passage_s = passage_s
        self._on_event = on_event
        self._clock = clock
        self._lock = threading.RLock()
        self._rights: deque[float] = deque()  # deadlines, earliest first
        self._closed_since = self._closed_until = -float("inf")  # of the relay's contact
        self._owed_s = 0.0  # a pulse that waits for the gap to be over
        self._fire_told = False
        self._devices: list[Any] = []
        self._owns_factory = pin_factory is None
        self._factory = pin_factory if pin_factory is not None else make_pin_factory(pins.factory)
        try:
            self._claim(pins)
        except DriverError:
            self.close()  # half-claimed pins would be busy for the next try
            raise

    def _claim(self, pins: Pins) -> None:
        self._relay = self._device(DigitalOutputDevice, pins.relay, initial_value=False)
        self._lights = {
            name: self._device(DigitalOutputDevice, getattr(pins, name), initial_value=False)
            for name in LIGHTS
            if getattr(pins, name) is not None
        }
        self._buzzer = None if pins.buzzer is None else self._device(Buzzer, pins.buzzer, initial_value=False)
        self._fire = self._input(pins.fire, pins.fire_active_low, self._look_at_fire, self._look_at_fire)
        self._pass = self._input(pins.pass_sensor, pins.pass_active_low, self._someone_passed, None)

    def _device(self, kind: type, pin: str | int, **options: Any) -> Any:
        try:
            device = kind(pin, pin_factory=self._factory, **options)
        except PinInvalidPin as error:
            raise PortSettingsError(f"barrier: no pin {pin!r} on this board; check the [barrier] table") from error
        except _foreign_errors() as error:
            raise PortLost(f"barrier: pin {pin!r} cannot be had ({error}); is another program using it?") from error
        self._devices.append(device)
        return device

    def _input(
        self, pin: str | int | None, active_low: bool, on_active: Callable[[], None], on_idle: Callable[[], None] | None
    ) -> Any:
        if pin is None:
            return None
        device = self._device(DigitalInputDevice, pin, pull_up=active_low, bounce_time=BOUNCE_S)
        device.when_activated = on_active
        if on_idle is not None:
            device.when_deactivated = on_idle
        return device

    def pulse(self, seconds: float) -> None:
        """Close the contact for so long, at most MAX_PULSE_S, and give one right to pass; return at once.

        A pulse during a pulse extends it without a gap, but a contact never stays closed for more than MAX_PULSE_S:
        then it is open for GAP_S, and a pulse that comes meanwhile has its right at once and its contact from `tick`.
        Raises: ValueError for a length that is not positive; PortLost when the relay did not move (no right is given).
        """
        if not seconds > 0:
            raise ValueError(f"a pulse lasts more than 0 s, not {seconds!r}")
        with self._lock:
            now, wish_s = self._clock(), min(seconds, MAX_PULSE_S)
            resting = self._closed_until <= now < self._closed_until + GAP_S
            if resting and now + wish_s > self._closed_since + MAX_PULSE_S:
                self._owed_s = max(self._owed_s, wish_s)
            else:
                self._close_contact(now, wish_s)
            self._rights.append(now + self._passage_s)

    def _close_contact(self, now: float, wish_s: float) -> None:
        """Close now, in this thread, so that a relay that does not answer is known; open in gpiozero's thread."""
        again = now >= self._closed_until
        if now >= self._closed_until + GAP_S:  # a shorter gap is none to the gate: the contact's time runs on
            self._closed_since = now
        until = max(self._closed_until, now + wish_s)
        self._closed_until = min(until, self._closed_since + MAX_PULSE_S)
        self._owed_s = 0.0
        try:
            if again:
                self._relay.off()  # the last pulse is over; were its thread late, two closures would become one
            self._relay.on()
            self._relay.blink(on_time=self._closed_until - now, off_time=0, n=1)
        except _foreign_errors() as error:
            self._closed_until = -float("inf")
            with contextlib.suppress(*_foreign_errors()):  # told below; what counts is that it was tried
                self._relay.off()
            raise PortLost(f"barrier: the relay did not move ({error}); check its board and wiring") from error

    def show(self, light: str, buzz: int = 0) -> None:
        """Light one lamp, or none for "off", and give so many short beeps.

        Raises: ValueError for a lamp there is no word for; PortLost when a lamp cannot be driven.
        """
        if light not in (*LIGHTS, "off"):
            raise ValueError(f"no lamp {light!r}; there are {', '.join(LIGHTS)} and off")
        try:
            for name, lamp in self._lights.items():
                if name != light:
                    lamp.off()
            if light in self._lights:
                self._lights[light].on()
            if buzz > 0 and self._buzzer is not None:
                self._buzzer.beep(on_time=BEEP_S, off_time=BEEP_S, n=buzz)
        except _foreign_errors() as error:
            raise PortLost(f"barrier: lamp {light} cannot be driven ({error}); check its wiring") from error

    @property
    def fire_active(self) -> bool:
        """Tell whether the fire input is active now; False where none is wired.

        Raises: PortLost when the input cannot be read.
        """
        try:
            return self._fire is not None and bool(self._fire.is_active)
        except _foreign_errors() as error:
            raise PortLost(f"barrier: the fire input cannot be read ({error}); check its wiring") from error

    @property
    def rights(self) -> int:
        """Return how many people may still pass."""
        with self._lock:
            return len(self._rights)

    def tick(self, now: float) -> None:
        """Lapse rights whose time is over, tell of fire, open a contact that should be open, close a delayed one.

        Call it often.
        Raises: PortLost when the pins cannot be felt: the gate is then not controllable, which is not "closed".
        """
        self._look_at_fire()
        for event in self._lapsed(now):
            self._on_event(event)
        try:
            with self._lock:
                if self._relay.is_active and now > self._closed_until + OVERDUE_S:
                    log.error("barrier: the relay was still closed %.1f s too late; opened", now - self._closed_until)
                    self._relay.off()
                    self._closed_until = now
                if self._owed_s and now >= self._closed_until + GAP_S:
                    owed_s, self._owed_s = self._owed_s, 0.0
                    if self._rights:  # nobody waits any more otherwise, and nothing opens late
                        self._close_contact(now, owed_s)
        except _foreign_errors() as error:
            raise PortLost(f"barrier: the relay cannot be felt ({error}); check its board and wiring") from error

    def _lapsed(self, now: float) -> list[BarrierEvent]:
        events = []
        with self._lock:
            while self._rights and self._rights[0] <= now:
                self._rights.popleft()
                events.append(BarrierEvent(at_mono=now, kind=BarrierEventKind.TIMED_OUT))
        return events

    def _look_at_fire(self) -> None:
        with self._lock:
            active = self.fire_active
            changed, self._fire_told = active != self._fire_told, active
        if changed:
            kind = BarrierEventKind.FIRE_ON if active else BarrierEventKind.FIRE_OFF
            self._on_event(BarrierEvent(at_mono=self._clock(), kind=kind))

    def _someone_passed(self) -> None:
        now = self._clock()
        events = self._lapsed(now)
        with self._lock:
            allowed = self._fire_told  # in a fire everybody has the right to leave
            if self._rights:
                self._rights.popleft()
                allowed = True
        kind = BarrierEventKind.PASSED if allowed else BarrierEventKind.INTRUSION
        for event in (*events, BarrierEvent(at_mono=now, kind=kind)):
            self._on_event(event)

    def close(self) -> None:
        """Open the contact, put the lamps out, and give the pins back; harmless when done twice."""
        devices, self._devices = self._devices, []
        for device in devices:  # the relay is the first: nothing that fails later can leave it closed
            try:
                if isinstance(device, DigitalOutputDevice):
                    device.off()
                device.close()
            except _foreign_errors() as error:
                log.warning("barrier: %s was not released (%s)", type(device).__name__, error)
        if self._owns_factory:
            self._owns_factory = False
            try:
                self._factory.close()
            except _foreign_errors() as error:
                log.warning("barrier: the pins were not released (%s)", error)

    def __enter__(self) -> "Barrier":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


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
    if argument and kind != "sentinel-sim":
        raise PortSettingsError(f"barrier: pin factory {kind} takes no argument; write factory = {kind!r}")
    try:
        return table[kind].load()(*([argument] if argument else []))
    except (ImportError, BadPinFactory, PinUnknownPi) as error:
        raise PortSettingsError(
            f"barrier: pin factory {kind} does not work on this board ({error}); name another one in [barrier] factory"
        ) from error
    except _foreign_errors() as error:
        raise PortLost(f"barrier: pin factory {kind} does not start ({error}); check the rights on the pins") from error


def _foreign_errors() -> tuple[type[Exception], ...]:
    """Return what pin factories are known to raise; two of them hang their errors directly under Exception."""
    native = [getattr(sys.modules.get(name), "error", None) for name in ("lgpio", "pigpio")]
    return (GPIOZeroError, OSError, RuntimeError, ValueError, *(kind for kind in native if isinstance(kind, type)))

"""Make gpiozero pins of a Modbus RTU relay board: `relay0`, `relay1` … switch, `input0`, `input1` … feel.

Registered with gpiozero as `sentinel-modbus`. The argument is the port with the board's options among the port's own:

    sentinel-modbus:serial:///dev/ttyS5?baud=9600&address=1&relays=8&inputs=8&pulse=0x0200

A change counts as done when the board has echoed it and its read-back says the same. Where the board has its maker's
pulse command (`pulse=`), what is switched on is leased: the board opens it again by itself after LEASE_S, so a host
that dies leaves nothing open. Lamps are latched; a board without the command is timed by the host alone.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from urllib.parse import parse_qsl

from gpiozero.exc import PinInvalidPin

from drivers import ports
from drivers.codecs import modbus
from drivers.contact import MAX_PULSE_S, RENEW_S
from drivers.errors import DriverError, PortLost, PortSettingsError
from drivers.modbus_line import ANSWER_S, USUAL_BAUD, ModbusLine
from drivers.pins_named import NamedFactory, NamedPin
from drivers.readings import Symptom
from drivers.wiring import NotMoved, WireFault

log = logging.getLogger(__name__)

LEASE_S = MAX_PULSE_S
RENEW_AFTER_S = 0.9 * RENEW_S  # what is asked for every RENEW_S must be sent every time
POLL_S = 0.05  # gates send a pass signal of 0.1 s at the shortest
YIELD_S = 0.005  # on a line that is slower than POLL_S, whoever must switch a relay has his turn between two questions
COILS_S = 0.5  # how often relays are read back that nobody switched
KNOWN_S = 2 * COILS_S
PATIENCE_S = 1.0  # for a board that has answered so far: one late answer, or a host that was busy, is no silent board
SPOILT_MOST = 3  # answers in a row that are no answer: one is a spark, three are a fault
CLOSE_S = 2.0
OPTIONS = {"address": (1, 1, 247), "relays": (8, 1, 64), "inputs": (8, 0, 64)}  # default, least, most
EXAMPLE = "sentinel-modbus:serial:///dev/ttyS5?baud=9600&address=1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How a relay shall be. `latched`: it stays so, also when nobody lives to tell it otherwise."""

    on: bool
    idle: bool  # how it is at rest
    latched: bool

    @property
    def rests(self) -> bool:
        """Whether the relay shall be at rest."""
        return self.on == self.idle


class RelayPin(NamedPin):
    """One relay. At rest it is as it was claimed; `latched` as in Wish."""

    def __init__(self, factory: "ModbusFactory", name: str, index: int) -> None:
        super().__init__(factory, name)
        self._board = factory
        self._index = index
        self._idle = False
        self.latched = False

    def _claim(self, level: int | None) -> None:
        if level is None:
            raise PinInvalidPin(f"{self.name} is an output")
        self._idle = bool(level)
        self._write(level)

    def _read(self) -> int:
        return int(self._board.relay(self._index))

    def _write(self, level: int) -> None:
        self._board.switch(self._index, Wish(on=bool(level), idle=self._idle, latched=self.latched))

    def _let_go(self) -> None:
        """Leave the relay as it is: its device has switched it off."""


class InputPin(NamedPin):
    """One input. Its contact is felt as closed or open; gpiozero wants a level, which depends on the pull."""

    def __init__(self, factory: "ModbusFactory", name: str, index: int) -> None:
        super().__init__(factory, name)
        self._board = factory
        self._index = index
        self._told: bool | None = None

    def _claim(self, level: int | None) -> None:
        if level is not None:
            raise PinInvalidPin(f"{self.name} is an input")
        self._told = self._board.contact(self._index)

    def _level(self, closed: bool) -> int:
        return int(closed != (self._pull == "up"))

    def _read(self) -> int:
        return self._level(self._board.contact(self._index))

    def _let_go(self) -> None:
        """Do nothing: the board reads all its inputs anyway."""

    def look(self, inputs: tuple[bool, ...], ticks: float) -> None:
        """Tell of this contact if it has changed."""
        closed = inputs[self._index]
        if self._told is not None and closed != self._told:
            self._told = closed
            self.tell(ticks, self._level(closed))


class ModbusFactory(NamedFactory):
    """Hold one relay board: its line, what is known of its relays and inputs, and the thread that asks it.

    Raises: PortSettingsError for an argument that cannot be understood; PortLost when the port cannot be had or the
    board does not answer. Later every access raises PortLost while the board is away: "not controllable", not "closed".
    """

    def __init__(
        self,
        argument: str = "",
        *,
        open_port: Callable[[str], ports.Port] = ports.open_port,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        url, options, self._pulse = _parsed(argument)
        self._clock = clock
        self._address, self._relays, self._inputs = options["address"], options["relays"], options["inputs"]
        self._line = ModbusLine(open_port(url), address=self._address, clock=clock)
        self._switching = threading.RLock()
        self._on: tuple[bool, ...] = ()
        self._on_at = -inf
        self._closed: tuple[bool, ...] = ()
        self._leased_at: dict[int, float] = {}
        self._wanted: dict[int, Wish] = {}
        self._unsure: dict[int, None] = {}  # relays whose last command was not confirmed, the next to be repeated first
        self._trouble: PortLost | None = None
        self._spoilt = 0
        self._stop = threading.Event()
        try:
            self._round()
        except DriverError:
            self._line.close()
            raise
        self._thread = threading.Thread(target=self._serve, name="relay-board", daemon=True)
        self._thread.start()

    @property
    def leased(self) -> bool:
        """Whether the board itself ends what is switched on and not latched."""
        return self._pulse is not None

    def _make(self, name: str) -> NamedPin:
        for kind, count, made in (("relay", self._relays, RelayPin), ("input", self._inputs, InputPin)):
            index = name.removeprefix(kind)
            if name.startswith(kind) and index.isascii() and index.isdigit() and index == str(int(index)):
                if int(index) < count:
                    return made(self, name, int(index))
                raise PinInvalidPin(f"the board has {count} {kind}s: {kind}0 to {kind}{count - 1}")
        raise PinInvalidPin(f"{name} is no pin of a relay board, whose pins are relay0 … and input0 …")

    # -- what pins ask ------------------------------------------------------------------------------------------------

    def contact(self, index: int) -> bool:
        """Tell whether the contact at an input is closed. Raises: PortLost."""
        self._check()
        return self._closed[index]

    def relay(self, index: int) -> bool:
        """Tell whether a relay is on, by its read-back. Raises: PortLost."""
        self._check()
        return self._on[index]

    def switch(self, index: int, wish: Wish) -> None:
        """Switch a relay, and return when the board says that it is so.

        What was not confirmed is repeated by the board's thread, but never a relay switched that opens a leaf.
        Raises: NotMoved when it is not so; WireFault when the board refuses or is silent; PortLost.
        """
        with self._switching:
            if not wish.rests:
                self._check()
            self._wanted[index] = wish
            if self._is_known(index, wish):
                return
            try:
                self._write(index, wish)
            except WireFault as error:
                if not wish.latched:
                    self._wanted[index] = wish = replace(wish, on=wish.idle)
                if wish.rests or not isinstance(error, NotMoved):
                    self._unsure[index] = None
                if not isinstance(error, NotMoved):
                    self._trouble = error
                raise

    def _is_known(self, index: int, wish: Wish) -> bool:
        now = self._clock()
        if self._trouble is not None or index in self._unsure or now - self._on_at > KNOWN_S:
            return False
        runs_out = wish.on and self.leased and not wish.latched
        fresh = not runs_out or now - self._leased_at.get(index, -inf) <= RENEW_AFTER_S
        return self._on[index] == wish.on and fresh

    def _write(self, index: int, wish: Wish) -> None:
        request = modbus.write_coil(self._address, index, wish.on)
        if wish.on and not wish.latched and self._pulse is not None:
            request = modbus.pulse_coil(self._address, index, LEASE_S, base=self._pulse)
        if wish.rests and self._line.quiet:
            self._line.say(request)  # nothing can be heard now, but a relay that must open is told so
        now = self._clock()
        try:
            self._line.ask(request)
        except WireFault as error:
            if error.symptom is not Symptom.NOISE or self._trouble is not None:
                raise  # on a line that is known to be bad the read-back would only take its time
            log.debug("the echo was spoilt, the read-back decides: %s", error)
        self._read_back()
        if self._on[index] != wish.on:
            wanted = "on" if wish.on else "off"
            raise NotMoved(f"relay board {self._address}: relay{index} was echoed as {wanted} and reads back as not")
        self._leased_at[index] = now
        self._unsure.pop(index, None)

    def _read_back(self, answer_s: float = ANSWER_S) -> None:
        self._on = self._line.ask_bits(modbus.read_coils(self._address, 0, self._relays), answer_s=answer_s)
        self._on_at = self._clock()

    def _check(self) -> None:
        """Raise what is wrong, as a new error each time: one that is raised again and again would grow."""
        trouble = self._trouble
        if isinstance(trouble, WireFault):
            raise type(trouble)(str(trouble), symptom=trouble.symptom)
        if trouble is not None:
            raise PortLost(str(trouble))

    # -- the thread that asks -----------------------------------------------------------------------------------------

    def _serve(self) -> None:
        spent_s = 0.0
        while not self._stop.wait(max(YIELD_S, POLL_S - spent_s)):
            began = self._clock()
            try:
                self._round(self._patience_s())
            except WireFault as error:
                self._spoilt += 1
                if error.symptom is not Symptom.NOISE or self._spoilt >= SPOILT_MOST:
                    self._trouble = error
            except PortLost as error:
                self._trouble = error  # for good: a port that comes back is opened by a new factory
                return
            else:
                self._spoilt, self._trouble = 0, None
            spent_s = self._clock() - began

    def _patience_s(self) -> float:
        """Return how long to wait for an answer: not long while a relay must soon open, which uses the same line."""
        soon = any(not wish.rests and not wish.latched for wish in list(self._wanted.values()))
        silent = isinstance(self._trouble, WireFault) and self._trouble.symptom is Symptom.SILENT
        return ANSWER_S if silent or soon else PATIENCE_S

    def _round(self, answer_s: float = ANSWER_S) -> None:
        try:
            self._repeat()
        finally:
            self._feel(answer_s)

    def _repeat(self) -> None:
        """Repeat one command that was not confirmed, each in its turn, before anything is felt and whatever else fails.

        Only one: whoever must switch a relay now does not wait for all that a bad line has left undone.
        """
        with self._switching:
            index = next(iter(self._unsure), None)
            if index is None or self._line.quiet:
                return
            self._unsure[index] = self._unsure.pop(index)
            with contextlib.suppress(NotMoved):  # one relay that sticks is no reason to feel nothing any more
                self._write(index, self._wanted[index])

    def _feel(self, answer_s: float) -> None:
        if self._inputs:
            self._closed = self._line.ask_bits(modbus.read_inputs(self._address, 0, self._inputs), answer_s=answer_s)
            for pin in list(self.pins.values()):  # in the order in which they were claimed
                if isinstance(pin, InputPin):
                    pin.look(self._closed, self.ticks())
        with self._switching:
            if self._clock() - self._on_at >= COILS_S:
                self._read_back(answer_s)

    def close(self) -> None:
        """Give the pins back and release the port."""
        super().close()
        self._stop.set()
        self._thread.join(CLOSE_S)
        with contextlib.suppress(PortLost):  # it was lost already
            self._line.close()


def _parsed(argument: str) -> tuple[str, dict[str, int], int | None]:
    """Return the port's own address, the board's options, and its pulse command. Raises: PortSettingsError."""
    base, _, query = argument.partition("?")
    if not base:
        raise PortSettingsError(f"sentinel-modbus: no port named; write {EXAMPLE}")
    try:
        given = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError as error:
        raise PortSettingsError(f"sentinel-modbus: {query!r}: {error}; write {EXAMPLE}") from error
    options = {
        name: _number(name, given.pop(name, str(usual)), least, most) for name, (usual, least, most) in OPTIONS.items()
    }
    pulse = _number("pulse", given.pop("pulse"), 0x0100, 0xFF00) if "pulse" in given else None
    if base.startswith(("serial:", "usb:")):
        given.setdefault("baud", str(USUAL_BAUD))
    rest = "&".join(f"{name}={value}" for name, value in given.items())
    url = f"{base}?{rest}" if rest else base
    ports.check_url(url)
    return url, options, pulse


def _number(name: str, text: str, least: int, most: int) -> int:
    try:
        number = int(text, 0)
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise PortSettingsError(f"sentinel-modbus: {name}={text}: expected {least} to {most}; write {EXAMPLE}")
    return number

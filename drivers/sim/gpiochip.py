"""Simulate the module `gpiod` of libgpiod 2, with GPIO chips whose other ends a test holds.

Only what drivers/pins_gpiod.py uses, under the same names; tests/drivers/test_pins_gpiod_module.py compares them with
the real ones. A request has a real file descriptor, readable while edges wait: what polls it is the driver's own code.
"""

import errno
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from functools import partial
from pathlib import Path
from types import SimpleNamespace


class RequestReleasedError(Exception):
    """A request was used after it was given back."""


class Value(Enum):
    """Logical states of a line."""

    INACTIVE = 0
    ACTIVE = 1


class Direction(Enum):
    """Which way a line works."""

    AS_IS = 1
    INPUT = 2
    OUTPUT = 3


class Bias(Enum):
    """The pull of a line."""

    AS_IS = 1
    UNKNOWN = 2
    DISABLED = 3
    PULL_UP = 4
    PULL_DOWN = 5


class Edge(Enum):
    """Which edges are told."""

    NONE = 1
    RISING = 2
    FALLING = 3
    BOTH = 4


@dataclass(frozen=True)
class EdgeEvent:
    """One edge."""

    class Type(Enum):
        """Which way it went."""

        RISING_EDGE = 1
        FALLING_EDGE = 2

    event_type: Type
    timestamp_ns: int
    line_offset: int


@dataclass
class LineSettings:
    """What a line is asked to be."""

    direction: Direction = Direction.AS_IS
    edge_detection: Edge = Edge.NONE
    bias: Bias = Bias.AS_IS
    debounce_period: timedelta = timedelta()
    output_value: Value = Value.INACTIVE


@dataclass(frozen=True)
class ChipInfo:
    """What a chip says of itself."""

    name: str
    label: str
    num_lines: int


@dataclass(frozen=True)
class LineInfo:
    """What a line says of itself."""

    offset: int
    name: str
    used: bool
    consumer: str


class SimLine:
    """One line: what holds it, what drives it from outside, and all levels it was ever driven to from inside."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.consumer = ""
        self.settings: LineSettings | None = None
        self.request: LineRequest | None = None
        self.outside: int | None = None
        self.driven: list[int] = []

    def give_back(self) -> None:
        """Let nobody hold the line."""
        self.consumer, self.settings, self.request = "", None, None

    def level(self) -> int:
        """Return the level that a meter would show."""
        if self.settings is not None and self.settings.direction is Direction.OUTPUT:
            return self.driven[-1]
        if self.outside is not None:
            return self.outside
        return int(self.settings is not None and self.settings.bias is Bias.PULL_UP)


class SimGpio:
    """Stand in for the module. `chips` says which lines each chip has; their files are made in `folder`."""

    LineSettings = LineSettings
    EdgeEvent = EdgeEvent
    line = SimpleNamespace(Value=Value, Direction=Direction, Bias=Bias, Edge=Edge)

    def __init__(self, folder: Path, chips: Mapping[str, Sequence[str]], *, can_pull: bool = True) -> None:
        self.can_pull = can_pull
        self.lock = threading.RLock()
        self.gone = False
        self.chips = {name: [SimLine(line) for line in lines] for name, lines in chips.items()}
        self.Chip = partial(Chip, self)
        for name in chips:
            (folder / name).touch()

    def find(self, name: str) -> SimLine:
        """Return the first line of this name. Raises: StopIteration."""
        return next(line for lines in self.chips.values() for line in lines if line.name == name)

    def set_level(self, name: str, level: int | None) -> None:
        """Drive a line from outside, or leave it to its pull (None)."""
        with self.lock:
            line = self.find(name)
            before = line.level()
            line.outside = level
            if line.request is not None and line.level() != before:
                line.request.push(line.level())

    def unplug(self) -> None:
        """Take every chip away, as a pulled USB adapter is."""
        with self.lock:
            self.gone = True
            for line in (line for lines in self.chips.values() for line in lines):
                if line.request is not None:
                    line.request.hang_up()
                line.give_back()

    def plug(self) -> None:
        """Bring every chip back; whoever had lines before must ask for them again."""
        with self.lock:
            self.gone = False

    def check(self) -> None:
        """Raise: OSError when the chips are gone."""
        if self.gone:
            raise OSError(errno.ENODEV, "No such device")


class Chip:
    """An open chip."""

    def __init__(self, sim: SimGpio, path: str) -> None:
        sim.check()
        os.stat(path)
        self._sim = sim
        self._name = Path(path).resolve().name
        self._lines = sim.chips[self._name]

    def __enter__(self) -> "Chip":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the chip; requests live on."""

    def get_info(self) -> ChipInfo:
        """Return what the chip is."""
        return ChipInfo(name=self._name, label="simulated", num_lines=len(self._lines))

    def get_line_info(self, line: int | str) -> LineInfo:
        """Return what a line is."""
        found = self._lines[int(line)]
        return LineInfo(offset=int(line), name=found.name, used=bool(found.consumer), consumer=found.consumer)

    def request_lines(
        self,
        config: Mapping[int, LineSettings],
        consumer: str | None = None,
        event_buffer_size: int | None = None,
        output_values: object = None,
    ) -> "LineRequest":
        """Take one line for us alone."""
        ((offset, settings),) = config.items()
        with self._sim.lock:
            line = self._lines[offset]
            if line.consumer:
                raise OSError(errno.EBUSY, "Device or resource busy")
            if settings.bias in (Bias.PULL_UP, Bias.PULL_DOWN) and not self._sim.can_pull:
                raise NotImplementedError(errno.EOPNOTSUPP, "Operation not supported")  # as the real module has it
            line.consumer = consumer or "?"
            line.settings = settings
            if settings.direction is Direction.OUTPUT:
                line.driven.append(settings.output_value.value)
            line.request = LineRequest(self._sim, line, offset)
            return line.request


class LineRequest:
    """One line that is ours."""

    def __init__(self, sim: SimGpio, line: SimLine, offset: int) -> None:
        self._sim = sim
        self._line = line
        self._offset = offset
        self._events: list[EdgeEvent] = []
        self._released = self._gone = False
        self._fd, self._bell = os.pipe()

    @property
    def fd(self) -> int:
        """Return the descriptor that is readable while edges wait."""
        return self._fd

    def push(self, level: int) -> None:
        """Let an edge happen."""
        if self._line.settings is None or self._line.settings.edge_detection is not Edge.BOTH:
            return
        kind = EdgeEvent.Type.RISING_EDGE if level else EdgeEvent.Type.FALLING_EDGE
        self._events.append(EdgeEvent(kind, time.monotonic_ns(), self._offset))
        os.write(self._bell, b".")

    def hang_up(self) -> None:
        """Let the descriptor say that there is nobody at the other end."""
        self._gone = True
        os.close(self._bell)

    def get_value(self, line: int | str) -> Value:
        """Return the level of the line."""
        with self._sim.lock:
            self._check()
            return Value(self._line.level())

    def set_value(self, line: int | str, value: Value) -> None:
        """Drive the line."""
        with self._sim.lock:
            self._check()
            self._line.driven.append(value.value)

    def wait_edge_events(self, timeout: timedelta | float | None = None) -> bool:
        """Tell whether edges wait; the time is not waited for."""
        with self._sim.lock:
            self._check()
            return bool(self._events)

    def read_edge_events(self, max_events: int | None = None) -> list[EdgeEvent]:
        """Return the edges that wait."""
        with self._sim.lock:
            self._check()
            events, self._events = self._events, []
            os.read(self._fd, max(1, len(events)))
            return events

    def release(self) -> None:
        """Give the line back; it floats, or keeps its level, as the chip likes: here it floats."""
        with self._sim.lock:
            if self._released:
                return
            self._released = True
            if self._line.request is self:
                self._line.give_back()
            os.close(self._fd)
            if not self._gone:
                os.close(self._bell)

    def _check(self) -> None:
        if self._released:
            raise RequestReleasedError
        if self._gone:  # also when the chip is back: it is another one
            raise OSError(errno.ENODEV, "No such device")

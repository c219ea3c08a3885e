"""Make gpiozero pins of the kernel's GPIO lines, by libgpiod 2: for boards that are not a Raspberry Pi.

Registered with gpiozero as `sentinel-gpiod`. A pin is a line's name ("PC7", "RELAY1") or its place ("gpiochip0:17");
`sentinel-gpiod:gpiochip1` looks for names on that chip only, and takes plain numbers as places on it.
An output has its level from the moment it is claimed; pull and debouncing are the kernel's.
"""

import errno
import logging
import os
import select
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from gpiozero.exc import GPIOPinInUse, PinInvalidPin

from drivers.pins_named import NamedFactory, NamedPin

log = logging.getLogger(__name__)

CONSUMER = "sentinel-gate"
NO_BIAS = (errno.EINVAL, errno.EOPNOTSUPP, 524)  # 524: the kernel's own ENOTSUPP, which leaks from some drivers
# The module raises EINVAL as ValueError and EOPNOTSUPP as NotImplementedError, with the number as the first argument.
CHIP_ERRORS = (OSError, ValueError, NotImplementedError)
CLOSE_S = 2.0


class GpiodPin(NamedPin):
    """One line. An input is requested once all that belongs to it is known: a pull that comes later is an edge."""

    def __init__(self, factory: "GpiodFactory", name: str, chip: str, offset: int) -> None:
        super().__init__(factory, name)
        self._gpiod = factory.gpiod
        self._watch = factory.watch
        self._chip = chip
        self._offset = offset
        self._lock = threading.RLock()  # a request must not be used by two threads at once
        self._request: Any = None  # whatever the module `gpiod` calls a line that is ours

    def _claim(self, level: int | None) -> None:
        self._let_go()
        if level is not None:
            line = self._gpiod.line
            value = line.Value.ACTIVE if level else line.Value.INACTIVE
            self._take(self._gpiod.LineSettings(direction=line.Direction.OUTPUT, output_value=value))

    def _set_when_changed(self, value: Any) -> None:
        super()._set_when_changed(value)
        with self._lock:
            if value is not None and self._function == "input" and self._request is None:
                self._take_input()

    def _take_input(self) -> None:
        line = self._gpiod.line
        bias = {"up": line.Bias.PULL_UP, "down": line.Bias.PULL_DOWN, "floating": line.Bias.DISABLED}[self._pull]
        settings = self._gpiod.LineSettings(
            direction=line.Direction.INPUT,
            edge_detection=line.Edge.BOTH,
            bias=bias,
            debounce_period=timedelta(seconds=self._bounce_s),
        )
        with self._lock:
            try:
                self._take(settings)
            except CHIP_ERRORS as error:
                if not error.args or error.args[0] not in NO_BIAS:
                    raise
                log.warning("line %s has no pull of its own (%s); it needs a resistor", self.name, error)
                settings.bias = line.Bias.AS_IS
                self._take(settings)
            self._watch.add(self._request.fd, self)

    def _take(self, settings: Any) -> None:
        with self._gpiod.Chip(self._chip) as chip:
            try:
                self._request = chip.request_lines(config={self._offset: settings}, consumer=CONSUMER)
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                user = chip.get_line_info(self._offset).consumer or "the kernel"
                raise GPIOPinInUse(f"line {self.name} is in use by {user!r}") from error

    def _let_go(self) -> None:
        with self._lock:
            request, self._request = self._request, None
            if request is not None:
                self._watch.remove(request.fd)
                request.release()

    def _read(self) -> int:
        with self._lock:
            if self._request is None:
                if self._function != "input":  # closed, or never had: reading must not take it
                    raise OSError(errno.EBADF, "line is not ours", self.name)
                self._take_input()
            return int(self._request.get_value(self._offset) == self._gpiod.line.Value.ACTIVE)

    def _write(self, level: int) -> None:
        value = self._gpiod.line.Value
        with self._lock:
            self._request.set_value(self._offset, value.ACTIVE if level else value.INACTIVE)

    def take_edges(self) -> None:
        """Read the edges that wait, and tell of them. Raises: OSError when the chip is gone."""
        with self._lock:
            request = self._request
            waits = request is not None and request.wait_edge_events(0)  # reading would wait for one otherwise
            events = request.read_edge_events() if waits else []
        for event in events:
            rising = event.event_type == self._gpiod.EdgeEvent.Type.RISING_EDGE
            self.tell(event.timestamp_ns / 1e9, int(rising))


class EdgeWatch:
    """Wait for edges of all inputs in one thread, which runs from the first input on."""

    def __init__(self) -> None:
        self._pins: dict[int, GpiodPin] = {}
        # epoll, not poll: it takes changes while it waits, and keeps no line open that has been given back.
        self._waiting = select.epoll()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._hear, self._wake = os.pipe()
        self._waiting.register(self._hear, select.EPOLLIN)

    def add(self, fd: int, pin: GpiodPin) -> None:
        """Watch a line."""
        with self._lock:
            self._pins[fd] = pin
            self._waiting.register(fd, select.EPOLLIN)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="gpio-edges", daemon=True)
                self._thread.start()

    def remove(self, fd: int) -> None:
        """Watch a line no longer."""
        with self._lock:
            if self._pins.pop(fd, None) is not None:
                self._waiting.unregister(fd)

    def _serve(self) -> None:
        while True:
            for fd, happened in self._waiting.poll():
                if fd == self._hear:
                    return
                pin = self._pins.get(fd)
                if pin is not None:
                    self._take(fd, pin, happened)

    def _take(self, fd: int, pin: GpiodPin, happened: int) -> None:
        try:
            if happened & select.EPOLLIN:
                pin.take_edges()
                return
            log.warning("line %s: its chip is gone", pin.name)  # whoever reads the line is told why
        except OSError as error:
            log.warning("line %s: no edges any more (%s)", pin.name, error)
        self.remove(fd)

    def close(self) -> None:
        """End the thread; harmless when done twice."""
        thread, self._thread = self._thread, None
        if thread is not None:
            os.write(self._wake, b"x")
            thread.join(CLOSE_S)
        if not self._waiting.closed:
            self._waiting.close()
            os.close(self._hear)
            os.close(self._wake)


class GpiodFactory(NamedFactory):
    """Find lines by name on the chips of this machine. `gpiod` and `folder` are other ones in tests.

    Raises: ImportError when libgpiod's module is not installed.
    """

    def __init__(self, chip: str = "", *, gpiod: Any = None, folder: str | os.PathLike[str] = "/dev") -> None:
        super().__init__()
        if gpiod is None:
            import gpiod
        self.gpiod = gpiod
        self._folder = Path(folder)
        self._only = Path(chip).name
        self._found: dict[str | int, str] = {}
        self.watch = EdgeWatch()

    def full_name(self, spec: str | int) -> str:
        """Return the place of a line as chip:offset. Raises: PinInvalidPin; OSError when a chip cannot be asked."""
        if spec not in self._found:
            self._found[spec] = self._place(str(spec))
        return self._found[spec]

    def _place(self, spec: str) -> str:
        chip, colon, offset = spec.rpartition(":")
        if colon and offset.isascii() and offset.isdigit():
            return f"{Path(chip).name}:{int(offset)}"
        if spec.isascii() and spec.isdigit():
            if not self._only:
                raise PinInvalidPin(f"line {spec} of which chip? write gpiochip0:{spec}, or the line's name")
            return f"{self._only}:{int(spec)}"
        places = [place for path in self._chips() for place in self._places_on(path, spec)]
        if len(places) > 1:
            raise PinInvalidPin(f"line {spec} is there more than once, as {' and '.join(places)}; write one of these")
        if not places:
            raise PinInvalidPin(f"no line is called {spec}; gpioinfo lists the names")
        return places[0]

    def _chips(self) -> list[Path]:
        named = [path for path in self._folder.glob("gpiochip*") if self._only in ("", path.name)]
        paths = sorted(path for path in named if self._only or not path.is_symlink())  # a link is a chip's second name
        if not paths:
            raise FileNotFoundError(errno.ENOENT, "no such GPIO chip", str(self._folder / (self._only or "gpiochip*")))
        return paths

    def _places_on(self, path: Path, name: str) -> Iterator[str]:
        with self.gpiod.Chip(str(path)) as chip:
            for offset in range(chip.get_info().num_lines):  # all of them: libgpiod itself stops at the first
                if chip.get_line_info(offset).name == name:
                    yield f"{path.name}:{offset}"

    def _make(self, name: str) -> GpiodPin:
        chip, _, offset = name.rpartition(":")
        path = str(self._folder / chip)
        try:
            with self.gpiod.Chip(path) as opened:
                lines = opened.get_info().num_lines
        except FileNotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, "no such GPIO chip", path) from error
        if int(offset) >= lines:
            raise PinInvalidPin(f"{chip} has {lines} lines, from {chip}:0 to {chip}:{lines - 1}")
        return GpiodPin(self, name, path, int(offset))

    def close(self) -> None:
        """Give every line back and end the thread."""
        super().close()
        self.watch.close()

"""Run the one loop that every serial device has: send what is due, read, feed, emit; raise when the device is lost."""

import threading
import time
from collections import deque
from collections.abc import Callable, MutableMapping
from typing import Protocol

from drivers import ports
from drivers.errors import DeviceSilent, PortSettingsError
from drivers.readings import Impairment, Junk, Reading, Symptom, Trouble
from drivers.speeds import SpeedSearch, is_proof, wants_search

TURN_S = 0.05  # how late a request may be, and how soon `stop` is seen
TELL_EVERY_S = 1.0  # a trouble is repeated at least so often while it lasts

DIRTY_WINDOW_S = 3.0
DIRTY_SHARE = 0.02  # one spoilt picture of a thermal array in fifty; a good line spoils none in a day
DIRTY_EVENTS = 3  # one or two are a plug that was touched
CLEAN_S = 5.0  # longer than the window, so that a line at the edge does not come and go


class Dialect(Protocol):
    """The pure half of a device driver: no port, no clock. May name its line speeds in `SPEEDS`, see speeds.py."""

    @property
    def silence_s(self) -> float:
        """Return how long the device may say nothing valid before it counts as silent; may change with its state."""

    def feed(self, chunk: bytes, now: float) -> list[Reading]:
        """Return what the bytes mean; called each turn, with b"" when nothing came."""

    def due(self, now: float) -> bytes:
        """Return the bytes to send now, b"" for nothing."""


class SilentDevice(DeviceSilent):
    """The device said nothing valid for its silence time; `symptom` tells noise from silence."""

    def __init__(self, message: str, *, symptom: Symptom) -> None:
        super().__init__(message)
        self.symptom = symptom


class SerialReader:
    """Read one serial device until told to stop.

    `speeds` remembers, by address, which speed was found where the address says baud=auto: let it outlive the reader.
    """

    def __init__(
        self,
        url: str,
        dialect: Dialect,
        emit: Callable[[Reading], None],
        *,
        device: str,
        clock: Callable[[], float] = time.monotonic,
        open_port: Callable[[str], ports.Port] = ports.open_port,
        speeds: MutableMapping[str, int] | None = None,
    ) -> None:
        self._url = url
        self._dialect = dialect
        self._emit = emit
        self._device = device
        self._clock = clock
        self._open_port = open_port
        self._speeds: MutableMapping[str, int] = {} if speeds is None else speeds
        self._valid_at = 0.0
        self._bytes_since_valid = 0
        self._tell_at = 0.0

    def run(self, stop: threading.Event) -> None:
        """Open the port and emit readings until stop is set. Nothing is tried again: that is the supervisor's part.

        At baud=auto the speeds are tried one after the other until the device is heard; that is told while it lasts.
        Raises: PortLost, PortSettingsError, SilentDevice.
        """
        search = self._search() if wants_search(self._url) else None
        with self._open_port(self._url) as port:
            watch = DirtyLineWatch()
            self._valid_at = self._clock()
            self._bytes_since_valid = 0
            try:
                while not stop.is_set():
                    if search is not None and search.goes_on:
                        self._search_turn(port, search)
                    else:
                        self._turn(port, watch)
            finally:
                self._tell(watch.end(self._clock()))

    def _turn(self, port: ports.Port, watch: "DirtyLineWatch") -> None:
        now, heard, readings = self._exchange(port)
        for reading in readings:
            if not isinstance(reading, Junk):
                self._valid_at, self._bytes_since_valid = now, 0
            self._emit(reading)
        self._tell(watch.see(heard, readings, now))
        if now - self._valid_at > self._dialect.silence_s:
            raise self._silent(now - self._valid_at)

    def _exchange(self, port: ports.Port) -> tuple[float, int, list[Reading]]:
        """Send what is due and return the time, how many bytes came, and what they mean."""
        request = self._dialect.due(self._clock())
        if request:
            port.write(request)
        chunk = port.read(TURN_S)
        now = self._clock()
        self._bytes_since_valid += len(chunk)
        return now, len(chunk), self._dialect.feed(chunk, now)

    def _tell(self, news: Impairment | None) -> None:
        if news is not None:
            self._emit(news)

    # — the speed —

    def _search(self) -> SpeedSearch:
        if self._dialect.silence_s == float("inf"):
            raise PortSettingsError(
                f"port {self._url!r}: {self._device} says nothing unasked, its speed cannot be found; write baud=9600"
            )
        speeds = getattr(self._dialect, "SPEEDS", ())
        if not speeds:
            raise PortSettingsError(f"port {self._url!r}: {self._device} has no list of speeds; name one, baud=9600")
        return SpeedSearch(speeds, first=self._speeds.get(self._url), unused=self._dialect)

    def _search_turn(self, port: ports.Port, search: SpeedSearch) -> None:
        now = self._clock()
        if (other_baud := search.next_speed(now)) is not None:
            port.set_baud(other_baud)
            self._dialect = search.fresh_dialect()
        now, _, readings = self._exchange(port)
        if any(is_proof(reading) for reading in readings):
            search.found()
            self._speeds[self._url] = search.baud
            self._valid_at, self._bytes_since_valid = now, 0
            self._emit(search.told(now))
        for reading in readings:
            # What is said before the speed is known was never said, except that bytes were dropped.
            if not search.goes_on or isinstance(reading, Junk):
                self._emit(reading)
        silence_s = now - self._valid_at
        if search.goes_on and silence_s > self._dialect.silence_s and now >= self._tell_at:
            self._tell_at = now + TELL_EVERY_S
            silent = self._silent(silence_s)
            self._emit(Trouble(at_mono=now, symptom=silent.symptom, detail=str(silent)))

    def _silent(self, silence_s: float) -> SilentDevice:
        if not self._bytes_since_valid:
            message = f"{self._device}: no answer for {silence_s:.1f} s; check cable, power and speed of {self._url}"
            return SilentDevice(message, symptom=Symptom.SILENT)
        message = (
            f"{self._device}: {self._bytes_since_valid} bytes in {silence_s:.1f} s and no frame among them; "
            f"check speed{self._speeds_it_may_have()}, grounding and kind of device at {self._url}"
        )
        return SilentDevice(message, symptom=Symptom.NOISE)

    def _speeds_it_may_have(self) -> str:
        speeds = getattr(self._dialect, "SPEEDS", ())
        return f" (it may be {', '.join(map(str, speeds))}, or write baud=auto)" if speeds else ""


class DirtyLineWatch:
    """Say when a line that works has become dirty, and when it is clean again."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int, int, bool]] = deque()  # when, bytes, junk bytes, whether a frame was good
        self._lived = False
        self._dirty = False
        self._junk_at = 0.0

    def see(self, heard_bytes: int, readings: list[Reading], now: float) -> Impairment | None:
        """Take what one turn brought; return the news, if it is any."""
        good = any(not isinstance(reading, Junk | Trouble) for reading in readings)
        # The tail of a frame whose head nobody heard comes first on every port that is opened.
        junk_bytes = sum(r.byte_count for r in readings if isinstance(r, Junk)) if self._lived else 0
        self._lived = self._lived or good
        if junk_bytes:
            self._junk_at = now
        if heard_bytes or readings:
            self._seen.append((now, heard_bytes, junk_bytes, good))
        while self._seen and self._seen[0][0] < now - DIRTY_WINDOW_S:
            self._seen.popleft()
        return self._judge(now)

    def end(self, now: float) -> Impairment | None:
        """Take it that the port is closed: what comes next is another line."""
        return self._change(False, now, "port closed") if self._dirty else None

    def _judge(self, now: float) -> Impairment | None:
        if self._dirty:
            return self._change(False, now, "") if now - self._junk_at >= CLEAN_S else None
        heard = sum(count for _, count, _, _ in self._seen)
        junk = [count for _, _, count, _ in self._seen if count]
        works = any(good for _, _, _, good in self._seen)
        if not works or len(junk) < DIRTY_EVENTS or sum(junk) <= DIRTY_SHARE * heard:
            return None
        share = min(1.0, sum(junk) / max(1, heard))
        return self._change(True, now, f"{sum(junk)} of {heard} bytes in {DIRTY_WINDOW_S:.0f} s are junk ({share:.0%})")

    def _change(self, dirty: bool, now: float, detail: str) -> Impairment:
        self._dirty = dirty
        return Impairment(at_mono=now, symptom=Symptom.DIRTY, detail=detail, over=not dirty)

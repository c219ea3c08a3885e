"""A barrier, a relay board, and the pseudo-terminal between them, in a time that can be hurried.

The board's clock and the driver's are one: nobody waits for the seconds of a lease, or for a line to have been quiet.
"""

import threading
import time
from functools import partial

from drivers import ports
from drivers.barrier import Barrier, Pins
from drivers.codecs import modbus
from drivers.codecs.modbus import Request, RequestCodec
from drivers.errors import PortLost
from drivers.modbus_line import QUIET_S
from drivers.pins_modbus import ModbusFactory
from drivers.sim.pty import PtyDevice
from drivers.sim.relay_board import SimRelayBoard

IN, OUT, GREEN, RED, BUZZER = 0, 1, 4, 5, 7
PASS, FIRE = 2, 3
PINS = Pins(
    factory="sentinel-modbus", relay=f"relay{IN}", relay_out=f"relay{OUT}", green=f"relay{GREEN}", red=f"relay{RED}",
    buzzer=f"relay{BUZZER}", pass_sensor=f"input{PASS}", fire=f"input{FIRE}",
)  # fmt: skip
PULSE = "pulse=0x0200"
WAIT_S = 5.0
CRACKLE = b"?"


class Clock:
    """The time of this machine, which may run faster or jump."""

    def __init__(self):
        self._at = self._since = time.monotonic()
        self.rate = 1.0

    def __call__(self):
        return self._at + (time.monotonic() - self._since) * self.rate

    def skip(self, seconds):
        self._at += seconds

    def hurry(self, rate):
        now = time.monotonic()
        self._at, self._since, self.rate = self._at + (now - self._since) * self.rate, now, rate


class HurriedPort:
    """A port whose silences pass as fast as the clock."""

    def __init__(self, url, clock):
        self._port = ports.open_port(url)
        self._clock = clock
        self.baud, self.write, self.close = self._port.baud, self._port.write, self._port.close

    def read(self, timeout_s):
        return self._port.read(timeout_s / self._clock.rate)


class Board(SimRelayBoard):
    """The board, with what it heard and did; commands to it may be lost on the way, and its answers spoilt."""

    def __init__(self, **options):
        super().__init__(on_relay=self._moved, **options)
        self.heard: list[Request] = []
        self.edges: list[tuple[int, bool]] = []
        self.deaf = 0  # so many commands are lost
        self.strays = CRACKLE  # what comes back for each of these
        self.garbled = 0  # so many answers are spoilt
        self.late_s = 0.0  # so much later than it would is everything answered
        self.news = threading.Condition()
        self._requests = RequestCodec()
        self._kept = (0.0, b"")

    def _moved(self, index, on, now):
        with self.news:
            self.edges.append((index, on))
            self.news.notify_all()

    def answer(self, chunk, now=0.0):
        said = b""
        for request in self._requests.feed(chunk):
            with self.news:
                self.heard.append(request)
                self.news.notify_all()
            if request.function == modbus.WRITE_COIL and self.deaf:
                self.deaf -= 1
                said += self.strays
            else:
                said += super().answer(request.frame, now)
        return said

    def due(self, now):
        answers = super().due(now)
        if answers and self.late_s:
            self._kept, answers = (now + self.late_s, answers), b""
        elif self._kept[1] and self._kept[0] <= now:
            self._kept, answers = (0.0, b""), self._kept[1] + answers
        if answers and self.garbled:
            self.garbled -= 1
            return bytes(byte ^ 0x55 for byte in answers)
        return answers

    def until(self, holds):
        """Wait until something holds of this board, looking at every request and every edge."""
        with self.news:
            assert self.news.wait_for(holds, WAIT_S), f"relays {self.relays}, edges {self.edges}"

    def until_asked(self, times):
        """Wait until so many more requests have come."""
        target = len(self.heard) + times
        self.until(lambda: len(self.heard) >= target)

    def closures(self, index):
        return self.edges.count((index, True))

    def writes(self, index):
        asked = [request for request in self.heard if request.function == modbus.WRITE_COIL]
        return [request for request in asked if request.first & 0xFF == index]


class Bus:
    """Several boards on one pair of wires."""

    def __init__(self, *boards):
        self.boards = boards

    def answer(self, chunk, now):
        return b"".join(board.answer(chunk, now) for board in self.boards)

    def due(self, now):
        return b"".join(board.due(now) for board in self.boards)


class Stand:
    """A barrier, its board, and the line between."""

    def __init__(self, folder, device=None):
        self.clock = Clock()
        self.board = Board() if device is None else device
        self.line = PtyDevice(folder / "board", self.board, clock=self.clock)
        self.line.start()
        self.told, self.news = [], threading.Condition()
        self.opened = []

    def url(self, *options):
        return "?".join(filter(None, [f"serial://{self.line.link}", "&".join(options)]))

    def factory(self, *options):
        factory = ModbusFactory(self.url(*options), clock=self.clock, open_port=partial(HurriedPort, clock=self.clock))
        self.opened.append(factory)
        return factory

    def open(self, *options, pins=PINS):
        factory = self.factory(*options)
        barrier = Barrier(pins, passage_s=5.0, on_event=self.take, clock=self.clock, pin_factory=factory)
        self.opened.insert(0, barrier)
        return barrier

    def take(self, event):
        with self.news:
            self.told.append(event.kind)
            self.news.notify_all()

    def reaches(self, kinds):
        with self.news:
            assert self.news.wait_for(lambda: self.told == kinds, WAIT_S), f"told {self.told}, expected {kinds}"

    def heal(self, barrier):
        """End every fault, and let the time pass in which the driver leaves the line alone."""
        self.line.heal()
        self.board.heal()
        self.clock.hurry(1)
        rest = threading.Event()
        for turn in range(round(WAIT_S / 0.05)):
            if turn % 10 == 0:
                self.clock.skip(QUIET_S)
            try:
                return barrier.tick(self.clock())
            except PortLost:
                rest.wait(0.05)
        raise AssertionError("the board is well and the barrier does not see it")

    def close(self):
        self.line.close()  # first: on a bad line every relay that is told to open takes its time
        for opened in self.opened:
            opened.close()

"""Stand between an MQTT client and its broker, and lose, double, delay, swap, cut or freeze what passes, by packet."""

import random
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field

PUBLISH = 3
LONGEST_DELAY_S = 0.3


@dataclass(slots=True)
class Mood:
    """How often what happens to a message, each a share of 0 to 1; and whether bytes move at all."""

    lose: float = 0.0
    double: float = 0.0
    delay: float = 0.0
    swap: float = 0.0
    cut: float = 0.0
    frozen: bool = False


@dataclass(slots=True, eq=False)
class _End:
    sock: socket.socket
    turn: threading.Lock = field(default_factory=threading.Lock)

    def send(self, data: bytes) -> None:
        with self.turn:
            self.sock.sendall(data)


class Proxy:
    """Listen on a free port and pass on to another."""

    def __init__(self, to: tuple[str, int], seed: int) -> None:
        self.mood = Mood()
        self.to = to
        self.passed = 0
        self._chance = random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._ends: set[_End] = set()
        self._deaf: set[_End] = set()  # half-open: they are never served again, and nobody tells them
        self._over = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def abandon(self) -> None:
        """Leave every connection of now half open, for ever; new ones work."""
        self._deaf |= set(self._ends)

    def reset(self) -> None:
        """Break every connection of now."""
        for end in set(self._ends):
            _shut(end)

    def close(self) -> None:
        """End."""
        self._over.set()
        _shut(_End(self._listener))
        self._listener.close()
        self.reset()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self.to, 2.0)
            except OSError:
                near.close()
                continue
            for sock in (near, far):
                sock.settimeout(None)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ends = _End(near), _End(far)
            self._ends |= set(ends)
            for pair in (ends, ends[::-1]):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: _End, target: _End) -> None:
        rest = b""
        try:
            while data := source.sock.recv(65536):
                packets, rest = _split(rest + data)
                held = b""
                for packet in packets:
                    held = self._pass(packet, held, source, target)
                if held:
                    target.send(held)
        except (OSError, _Cut):
            pass  # an end is gone, or a fault cuts the line: both ends learn it below
        finally:
            if not {source, target} & self._deaf:
                _shut(source)
                _shut(target)
            self._ends -= {source, target}

    def _pass(self, packet: bytes, held: bytes, source: _End, target: _End) -> bytes:
        """Pass one packet on; return what is held back, to be sent after the next."""
        while self.mood.frozen and not self._over.is_set():
            self._over.wait(0.02)
        if {source, target} & self._deaf:
            return b""
        self.passed += 1
        if packet[0] >> 4 != PUBLISH:
            target.send(packet + held)
            return b""
        fate = self._chance.random
        mood = self.mood
        if fate() < mood.cut:
            target.send(packet[: len(packet) // 2])
            raise _Cut
        if fate() < mood.lose and (number := _number(packet)):
            source.send(b"\x40\x02" + number)  # the lie of a broker that has taken it and will forget it
            return held
        if fate() < mood.delay:
            self._over.wait(self._chance.uniform(0.0, LONGEST_DELAY_S))
        if fate() < mood.swap and not held:
            return packet
        target.send(packet + (packet if fate() < mood.double else b"") + held)
        return b""


class _Cut(Exception):
    """The connection breaks in the middle of a message."""


def _shut(end: _End) -> None:
    with suppress(OSError):
        end.sock.shutdown(socket.SHUT_RDWR)


def _split(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the whole packets in what has come, and the rest."""
    packets, at = [], 0
    while True:
        length, shift, place = 0, 0, at + 1
        while place < len(data):
            length |= (data[place] & 0x7F) << shift
            shift += 7
            place += 1
            if not data[place - 1] & 0x80:
                break
        else:
            return packets, data[at:]
        if place + length > len(data):
            return packets, data[at:]
        packets.append(data[at : place + length])
        at = place + length


def _number(packet: bytes) -> bytes:
    """Return the packet number of a PUBLISH of quality 1, else nothing."""
    if packet[0] & 0x06 != 0x02:
        return b""
    at = 1
    while packet[at] & 0x80:
        at += 1
    at += 1
    size = int.from_bytes(packet[at : at + 2], "big")
    return packet[at + 2 + size : at + 4 + size]

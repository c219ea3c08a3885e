"""Show a simulated serial device to the rest of the machine as a pseudo-terminal with a stable name."""

import contextlib
import errno
import fcntl
import os
import random
import select
import struct
import threading
import time
import tty
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Protocol, Self

TICK_S = 0.02  # unsolicited output and noise are at most this late; a 4 Hz frame has 0.25 s
NOISE_BYTES_PER_TICK = 48  # 2400 bytes/s: a line at the wrong speed, not a flood
JOINED_WITHIN_S = 0.26  # one period of a picture four times a second; a device that only answers says less
TCGETS2 = 0x802C542A  # on the master it tells what the listener has set, speeds without a name of their own too
_TERMIOS2 = struct.Struct("4I20x2I")
BITS_PER_BYTE = 10  # start, eight, stop


class SimDevice(Protocol):
    """What a simulated device must be: bytes in, bytes out, and output of its own accord.

    `JOINED_WITHIN_S`, where it has one, is how long an adapter keeps its bytes at most when frames are joined.
    """

    def answer(self, chunk: bytes, now: float) -> bytes:
        """Return what the device sends back for the bytes that just arrived, b"" for nothing."""

    def due(self, now: float) -> bytes:
        """Return what the device sends by itself at this moment, b"" for nothing."""


class PtyDevice:
    """Serve a simulated device on a pseudo-terminal and keep `link` pointing to it.

    Every method may be called from any thread. `unplug` is what a pulled cable is: the driver's open port fails at
    once, and the name is gone until `plug`.

    `baud` is the speed that the device really has; a listener at another one hears garbage and says garbage. None: the
    device has whatever speed the listener has.
    """

    FAULTS: ClassVar[tuple[str, ...]] = (
        "unplug", "noise", "silence", "torn", "flip", "half", "prelude", "joined", "wrong-speed",
    )  # fmt: skip

    def __init__(
        self,
        link: Path,
        device: SimDevice,
        *,
        baud: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        seed: int = 20261122,
    ) -> None:
        self.link = Path(link)
        self.device = device
        self.baud = baud
        self._clock = clock
        self._random = random.Random(seed)
        self._lock = threading.RLock()
        self._faults: frozenset[str] = frozenset()
        self._halved = False
        self._waiting = b""
        self._waits_until = 0.0
        self._thread: threading.Thread | None = None
        self._fds: tuple[int, ...] = ()
        self._wake = -1

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Plug the device in; do nothing when it is plugged in already."""
        with self._lock:
            if self._thread is not None:
                return
            master, slave = os.openpty()
            tty.setraw(slave)  # else the line discipline echoes, and turns 0D into 0A
            name = os.ttyname(slave)
            os.close(slave)  # so that POLLHUP on the master says "nobody listens"; the raw mode stays
            os.set_blocking(master, False)
            hear, self._wake = os.pipe()
            self._fds = (master, hear, self._wake)
            self._point_link_to(name)
            self._thread = threading.Thread(
                target=self._serve, args=(master, hear), name=f"sim {self.link.name}", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """Pull the device out and remove its name; do nothing when it is out already."""
        with self._lock:
            if self._thread is None:
                return
            os.write(self._wake, b"x")
            self._thread.join()
            self._thread = None
            with contextlib.suppress(FileNotFoundError):  # somebody removed the directory before us: same end
                self.link.unlink()
            for fd in self._fds:
                os.close(fd)
            self._fds = ()

    def plug(self) -> None:
        """Put the cable back: a new pseudo-terminal under the same name."""
        self.start()

    def unplug(self) -> None:
        """Pull the cable: an open port fails at once, and the name is gone."""
        self.close()

    @property
    def plugged(self) -> bool:
        """Tell whether the device is there."""
        return self._thread is not None

    def silence(self, on: bool = True) -> None:
        """Send nothing at all while on."""
        self._set("silence", on)

    def noise(self, on: bool = True) -> None:
        """Send random bytes instead of answers, and in between, while on: a line at the wrong speed."""
        self._set("noise", on)

    def prelude(self, on: bool = True) -> None:
        """Send a few random bytes before every frame while on."""
        self._set("prelude", on)

    def torn(self, on: bool = True) -> None:
        """Send one byte per write while on."""
        self._set("torn", on)

    def flip(self, on: bool = True) -> None:
        """Flip one bit in every frame while on."""
        self._set("flip", on)

    def half(self, on: bool = True) -> None:
        """Send the first half of one frame and then nothing while on."""
        with self._lock:
            self._halved = False
            self._set("half", on)

    def joined(self, on: bool = True) -> None:
        """Send two frames in one write while on."""
        self._set("joined", on)

    def wrong_speed(self, on: bool = True) -> None:
        """Let the device have another speed while on, as after a command or a dying battery."""
        self._set("wrong-speed", on)

    def fault(self, name: str) -> None:
        """Begin a fault of `FAULTS`; it lasts until `heal`. Raises: ValueError for an unknown name."""
        if name not in self.FAULTS:
            raise ValueError(f"a serial line has no fault {name!r}; it has {', '.join(self.FAULTS)}")
        if name == "unplug":
            self.unplug()
        elif name == "half":
            self.half()
        else:
            self._set(name, True)

    def heal(self) -> None:
        """End every fault and plug the device in."""
        with self._lock:
            self._faults = frozenset()
        self.plug()

    def _set(self, fault: str, on: bool) -> None:
        with self._lock:
            self._faults = self._faults | {fault} if on else self._faults - {fault}

    def _point_link_to(self, name: str) -> None:
        self.link.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.link.with_name(f".{self.link.name}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(name)
        fresh.replace(self.link)  # atomic: nobody ever sees a half-made name

    def _serve(self, master: int, hear: int) -> None:
        line, bell = select.poll(), select.poll()
        line.register(master, select.POLLIN)
        bell.register(hear, select.POLLIN)
        both = select.poll()
        both.register(master, select.POLLIN)
        both.register(hear, select.POLLIN)
        while True:
            listened = not any(event & select.POLLHUP for _, event in line.poll(0))
            ready = (both if listened else bell).poll(TICK_S * 1000)
            if any(fd == hear for fd, _ in ready):
                return
            said_bauds = self._bauds(master)
            chunk = resampled(_heard(master), *reversed(said_bauds))
            sent = resampled(self._distorted(chunk, listened), *said_bauds)
            if listened or chunk:  # a real UART remembers nothing for a listener who comes later
                self._send(master, sent)

    def _bauds(self, master: int) -> tuple[int, int]:
        """Return the speed of the device and the speed of the listener."""
        listener = _listeners_baud(master)
        device = self.baud or listener
        if "wrong-speed" in self._faults:
            device = 9600 if device != 9600 else 115200
        return device, listener

    def _distorted(self, chunk: bytes, listened: bool) -> bytes:
        """Return what goes onto the line now: the device's words with the faults of the day."""
        now = self._clock()
        said = [self.device.answer(chunk, now) if chunk else b"", self.device.due(now)]
        faults = self._faults
        if "silence" in faults or ("half" in faults and self._halved):
            return b""
        sent = b"".join(self._spoilt(frame, faults) for frame in said if frame)
        if "half" in faults:
            self._halved = listened and bool(sent)
        if "joined" in faults or self._waiting:
            sent = self._joined(sent, now)
        if "noise" in faults:
            return self._random.randbytes(max(len(sent), NOISE_BYTES_PER_TICK))
        return sent

    def _joined(self, frame: bytes, now: float) -> bytes:
        """Keep a frame for the next one, though not for long: one that is asked for may be the only one."""
        if frame and not self._waiting and "joined" in self._faults:
            waits_s = getattr(self.device, "JOINED_WITHIN_S", JOINED_WITHIN_S)
            self._waiting, self._waits_until = frame, now + waits_s
            return b""
        if not frame and now < self._waits_until:
            return b""
        sent, self._waiting = self._waiting + frame, b""
        return sent

    def _spoilt(self, frame: bytes, faults: frozenset[str]) -> bytes:
        if "flip" in faults:
            spoilt = bytearray(frame)
            spoilt[self._random.randrange(len(spoilt))] ^= 1 << self._random.randrange(8)
            frame = bytes(spoilt)
        if "half" in faults:
            frame = frame[: len(frame) // 2]
        if "prelude" in faults:
            frame = self._random.randbytes(self._random.randint(1, 9)) + frame
        return frame

    def _send(self, master: int, frame: bytes) -> None:
        step = 1 if "torn" in self._faults else max(1, len(frame))
        for start in range(0, len(frame), step):
            try:
                os.write(master, frame[start : start + step])
            except BlockingIOError:
                return  # the listener sleeps and the line is full: the rest is lost, as on a wire


def _heard(master: int) -> bytes:
    try:
        return os.read(master, 4096)
    except BlockingIOError:
        return b""
    except OSError as error:
        if error.errno != errno.EIO:  # EIO: the last listener has closed the port
            raise
        return b""


def _listeners_baud(master: int) -> int:
    settings = bytearray(_TERMIOS2.size)
    fcntl.ioctl(master, TCGETS2, settings)
    return int(_TERMIOS2.unpack(settings)[-1])


def resampled(data: bytes, said_baud: int, heard_baud: int) -> bytes:
    """Return what a receiver at one speed makes of bytes that were sent at another: it samples the same line."""
    if said_baud == heard_baud or not data or not heard_baud:  # at 0 the listener has hung up
        return data
    line = [level for byte in data for level in (0, *(byte >> bit & 1 for bit in range(8)), 1)]
    step = said_baud / heard_baud  # bits sent in the time of one bit heard
    heard = bytearray()
    at = 0.0
    while (start := _next_start(line, at)) is not None:
        levels = [_level(line, start + step * (bit + 1.5)) for bit in range(9)]
        framed = levels[8] == 1  # without a stop bit a driver delivers a zero
        heard.append(sum(level << bit for bit, level in enumerate(levels[:8])) if framed else 0)
        at = start + step * (BITS_PER_BYTE - 0.5)
    return bytes(heard)


def _next_start(line: list[int], at: float) -> float | None:
    """Return where a receiver that waits from here sees the line go low."""
    index = int(at)
    while index < len(line) and line[index]:
        index += 1
    if index >= len(line):
        return None
    return max(at, float(index))


def _level(line: list[int], at: float) -> int:
    return line[int(at)] if int(at) < len(line) else 1  # an idle line is high

"""Open byte ports by URL: a serial line, a USB adapter, a TCP socket, a scanner that types, a captured file.

The forms of addresses are in addresses.py. Everything foreign that can go wrong on an open port comes out as PortLost;
whether to open it again is the owner's decision.
"""

import errno
import fcntl
import os
import select
import socket
import stat
import termios
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Protocol, Self

import serial

from drivers.addresses import check_url, parse
from drivers.errors import PortLost
from drivers.identity import HERE, Machine, device_of

__all__ = ["Port", "check_url", "open_port"]

CHUNK_BYTES = 4096
REPLAY_CHUNK_BYTES = 512
WRITE_WITHIN_S = 1.0  # our longest request has 12 bytes: 12 ms at 9600 baud
CONNECT_WITHIN_S = 3.0  # a serial server on the gate's own network answers in milliseconds
SEARCH_FROM_BAUD = 9600  # where a line is opened whose speed is yet to be found
EVIOCGRAB = 0x40044590  # from linux/input.h: nobody else gets the keystrokes, no screen shows a pass
INPUT_MAJOR = 13  # of every input device of the kernel


class Port(Protocol):
    """A byte port that is open from the moment you have it."""

    url: str

    @property
    def baud(self) -> int | None:
        """Return the speed of the line; None where the line has none of ours to set."""

    def set_baud(self, baud: int) -> None:
        """Change the speed of the line, where it has one, and forget what came at the old one. Raises: PortLost."""

    def read(self, timeout_s: float) -> bytes:
        """Return the bytes that are there, waiting up to timeout_s for the first; b"" on timeout. Raises: PortLost."""

    def write(self, data: bytes) -> None:
        """Send all the bytes. Raises: PortLost."""

    def close(self) -> None:
        """Release the port; closing twice is fine."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def open_port(url: str, *, machine: Machine = HERE) -> Port:
    """Return the open port at this address; a USB adapter is looked for anew at every call.

    Raises: PortSettingsError when the address is wrong, PortLost when nothing can be opened there now.
    """
    address = parse(url)
    if address.scheme in ("serial", "usb"):
        return SerialPort(url, device_of(url, address, machine), address.baud or SEARCH_FROM_BAUD)
    if address.scheme == "tcp":
        return TcpPort(url, address.host, address.port)
    if address.scheme == "input":
        return InputPort(url, address.path)
    return ReplayPort(url, address.path)


class _OpenPort(ABC):
    """What all ports share: a name, and a `with` block that closes them."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def baud(self) -> int | None:
        """Return the speed of the line; None where the line has none of ours to set."""
        return None

    def set_baud(self, baud: int) -> None:  # noqa: B027 - most ports have no speed to change
        """Change the speed of the line, where it has one, and forget what came at the old one. Raises: PortLost."""

    @abstractmethod
    def close(self) -> None:
        """Release the port; closing twice is fine."""

    def _lost(self, why: object) -> PortLost:
        return PortLost(f"port {self.url}: {why}; check cable and power, it is tried again")

    def _await_bytes(self, fd: int, timeout_s: float) -> bool:
        poll = select.poll()  # select.select() fails for descriptors above 1023
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(max(0.0, timeout_s) * 1000))


class SerialPort(_OpenPort):
    """A serial line or a pseudo-terminal, 8N1, opened for us alone."""

    def __init__(self, url: str, path: str, baud: int) -> None:
        super().__init__(url)
        try:
            self._serial = serial.Serial(path, baud, timeout=0, write_timeout=WRITE_WITHIN_S, exclusive=True)
        except (serial.SerialException, OSError, termios.error, ValueError) as error:
            raise self._lost(error) from error

    @property
    def baud(self) -> int | None:
        """Return the speed of the line."""
        return int(self._serial.baudrate)

    def set_baud(self, baud: int) -> None:
        """Change the speed of the line and forget what came at the old one. Raises: PortLost."""
        try:
            self._serial.baudrate = baud
            self._serial.reset_input_buffer()
        except (serial.SerialException, OSError, termios.error, ValueError) as error:
            raise self._lost(error) from error

    def read(self, timeout_s: float) -> bytes:
        """Return the bytes that are there, waiting up to timeout_s for the first; b"" on timeout. Raises: PortLost."""
        try:
            if not self._await_bytes(self._serial.fileno(), timeout_s):
                return b""
            chunk = os.read(self._serial.fileno(), CHUNK_BYTES)
        except BlockingIOError:
            return b""
        except (serial.SerialException, OSError, termios.error) as error:
            raise self._lost(error) from error
        if not chunk:  # readable and empty: the line has hung up
            raise self._lost("device gone")
        return chunk

    def write(self, data: bytes) -> None:
        """Send all the bytes. Raises: PortLost."""
        try:
            self._serial.write(data)
        except (serial.SerialException, OSError, termios.error) as error:
            raise self._lost(error) from error

    def close(self) -> None:
        """Release the port; closing twice is fine."""
        try:
            self._serial.close()
        except (serial.SerialException, OSError, termios.error) as error:
            raise self._lost(error) from error


class TcpPort(_OpenPort):
    """A serial line behind a network serial server."""

    def __init__(self, url: str, host: str, port: int) -> None:
        super().__init__(url)
        try:
            self._socket = socket.create_connection((host, port), timeout=CONNECT_WITHIN_S)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.settimeout(WRITE_WITHIN_S)
        except OSError as error:
            raise self._lost(error) from error

    def read(self, timeout_s: float) -> bytes:
        """Return the bytes that are there, waiting up to timeout_s for the first; b"" on timeout. Raises: PortLost."""
        try:
            if not self._await_bytes(self._socket.fileno(), timeout_s):
                return b""
            chunk = self._socket.recv(CHUNK_BYTES)
        except OSError as error:
            raise self._lost(error) from error
        if not chunk:
            raise self._lost("closed by the other end")
        return chunk

    def write(self, data: bytes) -> None:
        """Send all the bytes. Raises: PortLost."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise self._lost(error) from error

    def close(self) -> None:
        """Release the port; closing twice is fine."""
        self._socket.close()


class InputPort(_OpenPort):
    """The keystrokes of a scanner that types like a keyboard, kept from everybody else; nothing can be sent.

    What is no input device is taken for a simulated one, if it is a terminal or a pipe that keystrokes are written to.
    """

    def __init__(self, url: str, path: str) -> None:
        super().__init__(url)
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError as error:
            raise self._lost(error) from error
        try:
            self._grab()
        except OSError as error:
            self.close()
            raise self._lost(error) from error

    def _grab(self) -> None:
        try:
            fcntl.ioctl(self._fd, EVIOCGRAB, 1)
        except OSError as error:
            about = os.fstat(self._fd)
            real = stat.S_ISCHR(about.st_mode) and os.major(about.st_rdev) == INPUT_MAJOR
            simulated = stat.S_ISFIFO(about.st_mode) or os.isatty(self._fd)
            if real or not simulated or error.errno not in (errno.ENOTTY, errno.EINVAL):
                raise

    def read(self, timeout_s: float) -> bytes:
        """Return the events that are there, waiting up to timeout_s for the first. Raises: PortLost."""
        try:
            if self._fd < 0:
                raise self._lost("closed")
            if not self._await_bytes(self._fd, timeout_s):
                return b""
            chunk = os.read(self._fd, CHUNK_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise self._lost(error) from error
        if not chunk:
            raise self._lost("device gone")
        return chunk

    def write(self, data: bytes) -> None:
        """Accept the bytes: keystrokes come one way."""

    def close(self) -> None:
        """Release the port; closing twice is fine."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class ReplayPort(_OpenPort):
    """A captured byte file, played as fast as it is read; at its end the port is lost."""

    def __init__(self, url: str, path: str) -> None:
        super().__init__(url)
        try:
            self._rest = Path(path).read_bytes()
        except OSError as error:
            raise self._lost(error) from error

    def read(self, timeout_s: float) -> bytes:
        """Return the next bytes of the capture. Raises: PortLost at its end."""
        if not self._rest:
            raise self._lost("end of the capture")
        chunk, self._rest = self._rest[:REPLAY_CHUNK_BYTES], self._rest[REPLAY_CHUNK_BYTES:]
        return chunk

    def write(self, data: bytes) -> None:
        """Accept the bytes: a capture answers whatever it is asked."""

    def close(self) -> None:
        """End the capture."""
        self._rest = b""

"""Open byte ports by URL: a serial line, a TCP socket, a captured file.

    serial:///dev/ttyS3?baud=115200     tcp://192.168.7.20:4001     replay:///var/tmp/capture.bin

Everything foreign that can go wrong on an open port comes out as PortLost; whether to open it again is the owner's
decision.
"""

import os
import select
import socket
import termios
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self
from urllib.parse import parse_qsl, unquote, urlsplit

import serial

from drivers.errors import PortLost, PortSettingsError

DEFAULT_BAUD = 115200
BAUDS = (1200, 2400, 4800, 9600, 14400, 19200, 38400, 57600, 115200, 230400, 256000, 460800, 921600)
CHUNK_BYTES = 4096
REPLAY_CHUNK_BYTES = 512
WRITE_WITHIN_S = 1.0  # our longest request has 12 bytes: 12 ms at 9600 baud
CONNECT_WITHIN_S = 3.0  # a serial server on the gate's own network answers in milliseconds


class Port(Protocol):
    """A byte port that is open from the moment you have it."""

    url: str

    def read(self, timeout_s: float) -> bytes:
        """Return the bytes that are there, waiting up to timeout_s for the first; b"" on timeout. Raises: PortLost."""

    def write(self, data: bytes) -> None:
        """Send all the bytes. Raises: PortLost."""

    def close(self) -> None:
        """Release the port; closing twice is fine."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def open_port(url: str) -> Port:
    """Return the open port at this address.

    Raises: PortSettingsError when the address is wrong, PortLost when nothing can be opened there now.
    """
    address = _address(url)
    if address.scheme == "serial":
        return SerialPort(url, address.path, address.baud)
    if address.scheme == "tcp":
        return TcpPort(url, address.host, address.port)
    return ReplayPort(url, address.path)


def check_url(url: str) -> None:
    """Accept an address that `open_port` would understand, without opening anything. Raises: PortSettingsError."""
    _address(url)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Address:
    scheme: str
    path: str = ""
    host: str = ""
    port: int = 0
    baud: int = DEFAULT_BAUD


def _address(url: str) -> _Address:
    try:
        parts = urlsplit(url)
        port = parts.port
        query = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError as error:
        raise PortSettingsError(f"port {url!r}: {error}; write serial:///dev/ttyS3?baud=115200") from error
    if parts.scheme == "tcp":
        if not parts.hostname or not port or parts.path or query:
            raise PortSettingsError(f"port {url!r}: expected tcp://host:port; name a host and a port, nothing else")
        return _Address(scheme="tcp", host=parts.hostname, port=port)
    if parts.scheme not in ("serial", "replay"):
        raise PortSettingsError(f"port {url!r}: unknown kind {parts.scheme!r}; use serial://, tcp:// or replay://")
    path = unquote(parts.path)
    if parts.netloc or not path.startswith("/") or path == "/" or "\0" in path:
        raise PortSettingsError(
            f"port {url!r}: expected an absolute path; write {parts.scheme}:///dev/… with 3 slashes"
        )
    unknown = query.keys() - ({"baud"} if parts.scheme == "serial" else set())
    if unknown:
        raise PortSettingsError(f"port {url!r}: unknown option {min(unknown)!r}; serial:// takes baud, replay:// none")
    return _Address(scheme=parts.scheme, path=path, baud=_baud(url, query.get("baud", str(DEFAULT_BAUD))))


def _baud(url: str, text: str) -> int:
    if text not in map(str, BAUDS):
        raise PortSettingsError(f"port {url!r}: baud {text!r}; use one of {', '.join(map(str, BAUDS))}")
    return int(text)


class _OpenPort(ABC):
    """What all ports share: a name, and a `with` block that closes them."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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

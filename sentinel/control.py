"""Speak over local sockets: one JSON line asked, one JSON line answered. Both ends live here.

Requests carry `v` and `verb`; answers carry `ok`, and when not ok an `error` and an `exit_code`. Who asks is known
from the kernel (SO_PEERCRED), never from the message.
"""

import contextlib
import json
import logging
import os
import pwd
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentinel.core.errors import DataError, SentinelError, Unavailable, exit_code_of, is_expected

log = logging.getLogger(__name__)

PROTOCOL = 1
LONGEST_LINE = 256 * 1024  # a status with every device and the last entries is below 32 KiB
_CLIENT_TIMEOUT_S = 5.0
_MOST_CLIENTS = 16  # a page, a screen, a few terminals; more is somebody's mistake


class NobodyListens(Unavailable):
    """There is no socket, or nobody behind it: nothing was asked of anybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The process at the other end of a local socket, as the kernel vouches for it."""

    pid: int
    uid: int
    name: str


def peer_of(sock: socket.socket) -> Peer:
    """Return who is at the other end of this Unix socket."""
    packed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _gid = struct.unpack("3i", packed)
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = f"uid-{uid}"
    return Peer(pid=pid, uid=uid, name=name)


def read_line(sock: socket.socket) -> bytes:
    """Return one line without its end; b"" when the other end closed first.

    Raises: DataError when the line is longer than any request of ours.
    """
    data = bytearray()
    while b"\n" not in data:
        if len(data) > LONGEST_LINE:
            raise DataError(f"a request of more than {LONGEST_LINE} bytes; nothing of ours is that long")
        chunk = sock.recv(65536)
        if not chunk:
            return b""
        data += chunk
    return bytes(data.partition(b"\n")[0])


def parse(line: bytes) -> dict[str, Any]:
    """Return the request in this line.

    Raises: DataError when it is no JSON object of our protocol.
    """
    try:
        message = json.loads(line, parse_constant=_no_number)
        json.dumps(message, ensure_ascii=False).encode()  # half a surrogate pair could be kept nowhere
    except (ValueError, RecursionError) as error:
        raise DataError("the request is no JSON line; see sentinel/control.py for the form") from error
    if not isinstance(message, dict) or message.get("v") != PROTOCOL or not isinstance(message.get("verb"), str):
        raise DataError(f"the request must be an object with v = {PROTOCOL} and a verb")
    return message


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def line_of(message: Mapping[str, Any]) -> bytes:
    """Return the message as one JSON line."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def refusal(error: BaseException) -> dict[str, Any]:
    """Return the answer that tells this error to the other end."""
    return {"ok": False, "error": str(error), "exit_code": exit_code_of(error)}


def ask(path: Path, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
    """Return the answer to one request.

    Raises: Unavailable when nobody listens, nobody answers in time, or the answerer died before its answer.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sock:
        sock.settimeout(timeout_s)
        try:
            sock.connect(str(path))
        except OSError as error:
            raise NobodyListens(f"nobody answers at {path} ({error}); is the process running?") from error
        try:
            return _exchange(sock, request, str(path))
        except OSError as error:
            raise Unavailable(f"nobody answers at {path} ({error}); is the process hung?") from error


def ask_manual(path: Path, config: Path, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
    """Return the answer of the manual one-shot: through systemd's socket where there is one, else started here.

    Either way the one-shot reads one request from its standard input, which is a socket, and answers on it.
    Raises: Unavailable when it does not answer.
    """
    line_of(request)  # what cannot be written down is told before anything is started
    with contextlib.suppress(NobodyListens):  # no systemd here, or no socket of it: start our own
        return ask(path, request, timeout_s)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        command = [sys.executable, "-m", "sentinel.manual", "--config", str(config)]
        process = subprocess.Popen(command, stdin=theirs.fileno(), stdout=sys.stderr.fileno())
        theirs.close()
        ours.settimeout(timeout_s)
        try:
            answer = _exchange(ours, request, "the manual one-shot")
        except OSError as error:
            process.kill()
            process.wait()
            raise Unavailable(f"the manual one-shot did not answer ({error}); use the key switch") from error
        # It has answered and is closing its books; whoever starts the next command waits for the lock, not we.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout_s)
        return answer


def _exchange(sock: socket.socket, request: Mapping[str, Any], where: str) -> dict[str, Any]:
    sock.sendall(line_of(request))
    line = read_line(sock)
    if not line:
        raise Unavailable(f"{where} closed without an answer; look at its log: journalctl -u 'sentinel-*'")
    try:
        answer = json.loads(line)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise Unavailable(f"{where} answered something that is no answer; is it of the same version?")
    return answer


Answerer = Callable[[dict[str, Any], Peer], Mapping[str, Any]]


class ControlServer:
    """Answer requests on a Unix socket, each client in its own short-lived thread.

    `answer` runs in those threads: it must only read what is safe to read, or hand over to the deciding thread.
    """

    def __init__(self, path: Path, answer: Answerer) -> None:
        self._path = path
        self._answer = answer
        self._slots = threading.BoundedSemaphore(_MOST_CLIENTS)

    def run(self, stop: threading.Event) -> None:
        """Serve until stop."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as listener:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Made beside and renamed: whoever sees the socket can already connect to it, with its final rights.
            fresh = self._path.with_suffix(".new")
            fresh.unlink(missing_ok=True)
            listener.bind(str(fresh))
            os.chmod(fresh, 0o660)
            listener.listen(_MOST_CLIENTS)
            os.replace(fresh, self._path)
            listener.settimeout(0.1)
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    self._accept(*listener.accept())

    def _accept(self, client: socket.socket, _address: Any) -> None:
        if not self._slots.acquire(blocking=False):
            client.close()
            log.warning("more than %d clients at %s; one was turned away", _MOST_CLIENTS, self._path)
            return
        threading.Thread(target=self._serve, args=(client,), daemon=True, name="control-client").start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client:
                client.settimeout(_CLIENT_TIMEOUT_S)
                peer = peer_of(client)
                line = read_line(client)
                if line:
                    client.sendall(line_of(self._answered(line, peer)))
        except (OSError, DataError) as error:
            log.debug("a client of %s went away: %s", self._path, error)
        finally:
            self._slots.release()

    def _answered(self, line: bytes, peer: Peer) -> Mapping[str, Any]:
        try:
            return self._answer(parse(line), peer)
        except Exception as error:
            if not is_expected(error):
                log.exception("a request of %s failed", peer.name)
            return refusal(error)


def raise_refused(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the answer when it is ok.

    Raises: SentinelError with the answerer's words and exit code.
    """
    if answer.get("ok"):
        return answer
    error = SentinelError(str(answer.get("error", "refused without a reason")))
    error.exit_code = int(answer.get("exit_code", 70))
    raise error

"""Give a simulated barrier its wires: gpiozero pins on one side, the world on the other, a Unix socket between.

    gate process                              world process
    Barrier ─ gpiozero ─ SimFactory  ══════▶  WiresServer ─ journal of edges
                            ◀══════  levels of the inputs

One JSON line per edge of an output: `{"pin": 17, "value": 1, "at": <boot-time ns of the sender>}`; one per level of an
input: `{"pin": 27, "value": 0}`. After connecting the world sends the levels it has set and then `{"ready": true}`.

The journal is the oracle of every `kill -9` test: it knows what the relay did even when the process that did it does
not live to tell. So an edge is journalled before anything reacts to it, and a gate that dies has its outputs dropped,
as the kernel drops the lines of a dead process, and that edge is journalled as well (`"cause": "lost"`).
"""

import contextlib
import json
import logging
import os
import socket
import socketserver
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from gpiozero.pins.mock import MockFactory, MockPin

from drivers.errors import PortLost, PortSettingsError

log = logging.getLogger(__name__)

WIRES_ENVIRONMENT = "SENTINEL_SIM_WIRES"
CONNECT_S = 2.0  # the world answers in under 1 ms; two seconds cover a machine busy with importing OpenCV
STOP_POLL_S = 0.03  # how long a stop waits for the accepting thread; 33 idle wake-ups a second cost nothing
EDGES_KEPT = 10_000  # in memory, newest; the file keeps all. A day of the demo makes some thousands
PRESS_S = 0.2  # what gates send as PASS: 100 to 500 ms, device-protocols 3.5


# ── the gate's end ───────────────────────────────────────────────────────────────────────────────────────────────────


class SimPin(MockPin):
    """Carry one line: what the gate drives goes to the world, what the world sets is what the gate reads."""

    _state: bool

    def _change_state(self, value):
        if self._function == "output" and value != self._state:
            self.factory.send(self._number, int(value))  # first: a level that did not go out was not reached
        return super()._change_state(value)

    def _get_state(self):
        self.factory.check()
        return super()._get_state()

    def _set_function(self, value):
        driven_high = self._function == "output" and self._state
        super()._set_function(value)
        if driven_high and value == "input":
            self._state = False
            self.factory.send(self._number, 0)

    def _set_pull(self, value):
        super()._set_pull(value)
        level = self.factory.level(self._number)
        if level is not None:
            self.feel(level)

    def feel(self, level: int) -> None:
        """Take the level that the world put on this line."""
        if self._function == "input":
            self.drive_high() if level else self.drive_low()


class SimFactory(MockFactory):
    """Make gpiozero pins whose wires end in a simulated world.

    Registered with gpiozero as `sentinel-sim`; the socket comes from the argument or from SENTINEL_SIM_WIRES.
    Raises: PortSettingsError when no socket is named, PortLost when no world answers there.
    """

    def __init__(self, path: str | None = None):
        super().__init__(revision="a02082", pin_class=SimPin)  # a Pi 3B: any board whose pins have numbers would do
        self._path = path or os.environ.get(WIRES_ENVIRONMENT, "")
        if not self._path:
            raise PortSettingsError(f"sentinel-sim: no socket named; set {WIRES_ENVIRONMENT} or sentinel-sim:/path")
        self._levels: dict[int, int] = {}
        self._send_lock = threading.Lock()
        self._lost: str | None = None
        self._ready = threading.Event()
        self._socket = self._connect()
        threading.Thread(target=self._listen, name="sim-wires", daemon=True).start()
        if not self._ready.wait(CONNECT_S) or self._lost:
            self._socket.close()
            raise PortLost(f"sentinel-sim: no world answered at {self._path}; start python -m drivers.sim --dir DIR")

    def _connect(self) -> socket.socket:
        wire = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        wire.settimeout(CONNECT_S)
        try:
            wire.connect(self._path)
        except OSError as error:
            wire.close()
            raise PortLost(
                f"sentinel-sim: no world at {self._path} ({error}); start python -m drivers.sim --dir DIR"
            ) from error
        wire.settimeout(None)
        return wire

    def _listen(self) -> None:
        reason = "the world closed the wires"
        try:
            with self._socket.makefile("r", encoding="utf-8") as lines:
                for line in lines:
                    self._take(json.loads(line))
        except (OSError, ValueError) as error:
            reason = f"the wires broke ({error})"
        finally:
            self._lost = self._lost or reason
            self._ready.set()

    def _take(self, message: dict) -> None:
        if message.get("ready"):
            self._ready.set()
            return
        number, level = int(message["pin"]), int(message["value"])
        self._levels[number] = level
        for pin in list(self.pins.values()):
            if pin._number == number:
                pin.feel(level)

    def level(self, number: int) -> int | None:
        """Return the level the world last put on an input, or None when it never said."""
        return self._levels.get(number)

    def check(self) -> None:
        """Raise when the wires are cut: a line that cannot be felt must not be read as 'low'.

        Raises: ConnectionError.
        """
        if self._lost:
            raise ConnectionError(f"{self._lost}: {self._path}")

    def send(self, number: int, value: int) -> None:
        """Put one level on one line, or raise.

        Raises: ConnectionError when a line should rise and the wires are cut. A fall is not an error then: the world
        has dropped our outputs already.
        """
        if self._lost and not value:
            log.debug("pin %d fell after the wires were cut", number)
            return
        self.check()
        line = json.dumps({"pin": number, "value": value, "at": boottime_ns()}) + "\n"
        with self._send_lock:
            try:
                self._socket.sendall(line.encode())
            except OSError as error:
                self._lost = f"the wires broke ({error})"
                self.check()

    def close(self) -> None:
        """Let go of all lines; outputs fall first."""
        super().close()
        self._lost = self._lost or "closed"
        with contextlib.suppress(OSError):  # the world may have gone first
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


# ── the world's end ──────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """One change of one output, as the world saw it.

    `cause` is "driven" when the gate did it and "lost" when the gate's end of the wire vanished.
    """

    pin: int
    value: int
    cause: str
    pid: int
    wall_ns: int
    boottime_ns: int
    sent_boottime_ns: int | None = None


def boottime_ns() -> int:
    """Return nanoseconds since boot, sleep included: one clock for all processes of a box."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class UnixServer(socketserver.ThreadingUnixStreamServer):
    """Serve a Unix socket with one thread per client, and be able to hang up on all of them."""

    daemon_threads = True
    request_queue_size = 32

    def __init__(self, path: Path, handler: type[socketserver.BaseRequestHandler], owner: object):
        self.owner = owner
        self._clients: set[socket.socket] = set()
        self._clients_lock = threading.Lock()
        self._stopped = False
        _clear_stale(path)
        try:
            super().__init__(str(path), handler)
        except OSError as error:
            raise PortSettingsError(
                f"cannot listen at {path} ({error}); is a world running there already, or the path too long?"
            ) from error
        threading.Thread(target=self.serve_forever, args=(STOP_POLL_S,), name=f"serve-{path.name}", daemon=True).start()

    def process_request_thread(self, request, client_address):
        """Remember the client while it is served."""
        with self._clients_lock:
            self._clients.add(request)
            if self._stopped:  # accepted at the very moment of the hang-up
                request.shutdown(socket.SHUT_RDWR)
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._clients_lock:
                self._clients.discard(request)

    def hang_up(self) -> None:
        """End every open conversation; their threads see the end of the stream."""
        with self._clients_lock:
            self._stopped = True
            for client in self._clients:
                with contextlib.suppress(OSError):  # it may have hung up itself
                    client.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        """Stop listening, hang up, and take the socket file away."""
        self.shutdown()
        self.server_close()
        self.hang_up()
        Path(str(self.server_address)).unlink(missing_ok=True)


def _clear_stale(path: Path) -> None:
    """Remove a socket file that nobody serves; leave a living one, so that binding fails with its reason."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError:
            return  # nothing there, or not ours to remove: binding says which


class _Wire(socketserver.StreamRequestHandler):
    """Serve one gate process for as long as its end of the wire is open."""

    def handle(self) -> None:
        world: WiresServer = self.server.owner  # type: ignore[attr-defined]
        credentials = self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid = struct.unpack("3i", credentials)[0]
        world.joined(self)
        try:
            for line in self.rfile:
                message = json.loads(line)
                world.driven(self, pid, int(message["pin"]), int(message["value"]), message.get("at"))
        except ConnectionError:
            log.debug("wire of process %d was cut", pid)
        except (ValueError, KeyError, TypeError):
            log.warning("wire of process %d spoke no sense; hung up", pid)
        finally:
            world.left(self, pid)

    def tell(self, pin: int, value: int) -> None:
        """Send the level of an input; a gate that is gone is noticed by its reading thread."""
        with contextlib.suppress(OSError):
            self.connection.sendall(json.dumps({"pin": pin, "value": value}).encode() + b"\n")


class WiresServer:
    """Hold the world's end of the wires: feel the outputs, journal their edges, set the inputs."""

    def __init__(self, path: Path, *, journal: Path | None = None, on_edge: Callable[[Edge], None] | None = None):
        self._path = Path(path)
        self._on_edge = on_edge
        self._changed = threading.Condition()
        self._edges: deque[Edge] = deque(maxlen=EDGES_KEPT)
        self._outputs: dict[int, tuple[int, object]] = {}  # pin → level, the wire that drives it
        self._inputs: dict[int, int] = {}
        self._wires: set[_Wire] = set()
        self._timers: set[threading.Timer] = set()
        self._journal = -1 if journal is None else os.open(
            journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644
        )
        self._server: UnixServer | None = UnixServer(self._path, _Wire, self)

    def joined(self, wire: _Wire) -> None:
        """Greet a gate with the levels of all inputs."""
        with self._changed:
            for pin, value in self._inputs.items():
                wire.tell(pin, value)
            with contextlib.suppress(OSError):
                wire.connection.sendall(b'{"ready": true}\n')
            self._wires.add(wire)

    def driven(self, wire: _Wire, pid: int, pin: int, value: int, at: int | None) -> None:
        """Take one level that a gate put on an output."""
        self._level(wire, pid, pin, value, "driven", at)

    def left(self, wire: _Wire, pid: int) -> None:
        """Drop what a gate was driving: it is gone."""
        with self._changed:
            self._wires.discard(wire)
            mine = [pin for pin, (value, owner) in self._outputs.items() if value and owner is wire]
        for pin in mine:
            self._level(wire, pid, pin, 0, "lost", None)

    def _level(self, wire: _Wire, pid: int, pin: int, value: int, cause: str, at: int | None) -> None:
        with self._changed:
            if self._outputs.get(pin, (0, None))[0] == value:
                self._outputs[pin] = (value, wire)
                return
            edge = Edge(
                pin=pin, value=value, cause=cause, pid=pid,
                wall_ns=time.time_ns(), boottime_ns=boottime_ns(), sent_boottime_ns=at,
            )
            if self._journal >= 0:
                os.write(self._journal, json.dumps(asdict(edge)).encode() + b"\n")
            self._outputs[pin] = (value, wire)
            self._edges.append(edge)
            self._changed.notify_all()
        if self._on_edge is not None:
            self._on_edge(edge)

    def set(self, pin: int, value: int) -> None:
        """Put a level on an input and keep it there, for gates that come later too."""
        with self._changed:
            self._inputs[pin] = value
            for wire in self._wires:
                wire.tell(pin, value)

    def press(self, pin: int, seconds: float = PRESS_S, *, active: int = 0) -> None:
        """Set an input to its active level and back after so many seconds; return at once."""
        self.set(pin, active)
        self.later(seconds, lambda: self.set(pin, 1 - active))

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Do something after so many seconds, unless the world is closed before."""
        def run() -> None:
            self._timers.discard(timer)
            act()

        timer = threading.Timer(seconds, run)
        timer.daemon = True
        self._timers.add(timer)
        timer.start()

    @property
    def pending(self) -> int:
        """Return how many things will still happen by themselves."""
        return len(self._timers)

    def outputs(self) -> dict[int, int]:
        """Return the level of every output that ever moved."""
        with self._changed:
            return {pin: value for pin, (value, _) in self._outputs.items()}

    def edges(self, pin: int | None = None) -> list[Edge]:
        """Return the newest edges, oldest first, of one pin or of all."""
        with self._changed:
            return [edge for edge in self._edges if pin is None or edge.pin == pin]

    def wait_for(self, pin: int, value: int, timeout_s: float) -> bool:
        """Wait until an output has this level; return whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: self._outputs.get(pin, (0, None))[0] == value, timeout_s)

    def unplug(self) -> None:
        """Cut every wire and answer nobody, as a pulled cable does."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def plug(self) -> None:
        """Put the cable back."""
        if self._server is None:
            self._server = UnixServer(self._path, _Wire, self)

    def close(self) -> None:
        """Cut the wires and close the journal."""
        for timer in list(self._timers):
            timer.cancel()
        self.unplug()
        with self._changed:
            journal, self._journal = self._journal, -1
        if journal >= 0:
            os.close(journal)

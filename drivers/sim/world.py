"""Run a simulated street corner: a card reader, a thermal sensor, a camera and a barrier, and the people before them.

Everything lives in one folder:

    card.tty  thermal.tty      pseudo-terminals that speak the real bytes
    camera/                    pictures of who stands there (camera source folder:///DIR/camera?newest=1&fps=10)
    wires.sock  wires.jsonl    the barrier's wires (factory sentinel-sim:DIR/wires.sock), and the journal of their edges
    world.sock                 requests: one JSON object a line, one answer a line; `client(DIR).do(do="state")`

A person who is let through walks through: the pass sensor fires and the place is empty again.
"""

import json
import logging
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from drivers.errors import DriverError, PortLost, PortSettingsError
from drivers.readings import CardKind
from drivers.sim.idcard import CardData, SimIdCardReader, encode_text
from drivers.sim.pty import PtyDevice
from drivers.sim.thermal_array import SimThermalArray
from drivers.sim.wires import PRESS_S, Edge, UnixServer, WiresServer

log = logging.getLogger(__name__)

WALK_S = 0.3  # from the relay's edge to the pass sensor: a leaf that opens at once and a quick walker
REQUEST_BYTES = 1_000_000
ANSWER_S = 10.0  # the slowest request reads a large photograph on a busy machine
SERIAL_FAULTS = ("unplug", "noise", "silence", "torn", "flip", "half", "prelude")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """Say which GPIO numbers the simulated barrier is wired to; all inputs are contacts to ground."""

    relay: int = 17
    pass_sensor: int = 27
    fire: int = 22
    green: int = 23
    amber: int = 24
    red: int = 25
    buzzer: int = 18

    def __post_init__(self):
        pins = asdict(self)
        if len(set(pins.values())) != len(pins):
            raise PortSettingsError(f"the wiring uses a pin twice: {pins}; give each its own")


class RequestError(DriverError):
    """A request to the world cannot be understood or done."""


class World:
    """Host all simulated devices of one gate and move the people about. Every method may be called from any thread.

    Raises: PortSettingsError when another world lives in this folder.
    """

    def __init__(
        self, directory: Path | str, *, wiring: Wiring | None = None, walk: bool = True, camera_fps: float = 5.0
    ):
        from drivers.sim import scene  # OpenCV is for who hosts a world, not for who talks to one

        self.directory = Path(directory).absolute()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.wiring = wiring or Wiring()
        self._turn = threading.RLock()
        self._walk, self._fire = walk, False
        self._visit = 0  # counts arrivals: who walks out late must not take the next person along
        self._present = self._carded = False
        self._skin_celsius: float | None = None
        self._faults: dict[str, set[str]] = {name: set() for name in ("card", "thermal", "camera", "barrier")}
        self.wires = WiresServer(
            self.directory / "wires.sock", journal=self.directory / "wires.jsonl", on_edge=self._edge
        )
        for pin in (self.wiring.pass_sensor, self.wiring.fire):
            self.wires.set(pin, 1)  # a dry contact at rest, pulled up
        self.reader, self.array = SimIdCardReader(), SimThermalArray()
        self.card_line = PtyDevice(self.directory / "card.tty", self.reader)
        self.thermal_line = PtyDevice(self.directory / "thermal.tty", self.array)
        self.card_line.start()
        self.thermal_line.start()
        self._photograph = scene.load_picture
        self.camera = scene.CameraFolder(self.directory / "camera", fps=camera_fps)
        self._verbs: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "arrive": self._do_arrive, "card": self._do_card, "leave": self._do_leave, "fault": self._do_fault,
            "heal": self._do_heal, "fire": self._do_fire, "walk": self._do_walk, "press": self._do_press,
            "edges": self._do_edges, "state": self._do_state,
        }
        self._control = UnixServer(self.directory / "world.sock", _Control, self)

    def do(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Do one request and return its answer; never raises for a request that is wrong."""
        try:
            verb = request.get("do")
            if verb not in self._verbs:
                raise RequestError(f"unknown request {verb!r}; known are {', '.join(self._verbs)}")
            with self._turn:
                return {"ok": True} | self._verbs[verb](request)
        except (DriverError, ValueError, TypeError, OSError) as error:
            return {"ok": False, "error": str(error) or type(error).__name__}

    # — people —

    def _do_arrive(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Let a person step before the gate: first seen, then felt, then the card is laid down."""
        card = None if request.get("card") is None else card_from(request["card"])
        skin = None if request.get("skin_celsius") is None else _number(request, "skin_celsius", 20.0, 45.0)
        share = _number(request, "face_share", 0.1, 8.0) if "face_share" in request else 1.0
        picture = None if request.get("picture") is None else self._photograph(Path(request["picture"]))
        self._empty()  # only now: a request that is wrong changes nothing
        self.camera.show(picture, share)
        self._present = True
        self.array.show(skin)
        self._skin_celsius = skin
        if card is not None:
            self._place(card)
        return {"visit": self._visit}

    def _do_card(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if request.get("card") is None:
            self.reader.remove()
            self._carded = False
        else:
            self._place(card_from(request["card"]))
        return {}

    def _place(self, card: CardData) -> None:
        self.reader.place(card)
        self._carded = True

    def _do_leave(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self._empty()
        self.camera.show(None)
        return {}

    def _empty(self) -> None:
        """Take card and warmth away; the picture is changed by the caller, once."""
        self._visit += 1
        self._present = self._carded = False
        self._skin_celsius = None
        self.reader.remove()
        self.array.show(None)

    # — the barrier —

    def _edge(self, edge: Edge) -> None:
        if edge.pin == self.wiring.relay and edge.value and edge.cause == "driven":
            with self._turn:
                visit = self._visit
                walks = self._walk and "jam" not in self._faults["barrier"]
            if walks:
                self.wires.later(WALK_S, lambda: self._walk_through(visit))

    def _walk_through(self, visit: int) -> None:
        self.wires.press(self.wiring.pass_sensor, PRESS_S)
        with self._turn:
            if self._visit == visit and self._present:
                self._do_leave({})

    def _do_press(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Fire the pass sensor with nobody let through: a tail-gater."""
        self.wires.press(self.wiring.pass_sensor, PRESS_S)
        return {}

    def _do_fire(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.wires.set(self.wiring.fire, 0 if _flag(request, "on") else 1)
        self._fire = request["on"]
        return {}

    def _do_walk(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self._walk = _flag(request, "on")
        return {}

    def _do_edges(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"edges": [asdict(edge) for edge in self.wires.edges(self.wiring.relay)]}

    def _do_state(self, request: Mapping[str, Any]) -> dict[str, Any]:
        levels = self.wires.outputs()
        names = ("relay", "green", "amber", "red", "buzzer")
        return {
            "present": self._present,
            "card": self._carded,
            "skin_celsius": self._skin_celsius,
            "visit": self._visit,
            "walk": self._walk,
            "fire": self._fire,
            "outputs": {name: levels.get(getattr(self.wiring, name), 0) for name in names},
            "faults": {device: sorted(faults) for device, faults in self._faults.items()},
            "pictures": self.camera.written,
        }

    # — faults —

    def _fault_table(self) -> dict[str, dict[str, Callable[[], None]]]:
        def serial(line: PtyDevice) -> dict[str, Callable[[], None]]:
            return {name: getattr(line, name) for name in SERIAL_FAULTS}

        def camera(name: str) -> Callable[[], None]:
            return lambda: self.camera.fault(name)

        return {
            "card": {**serial(self.card_line), "broken": self.reader.break_down},
            "thermal": {**serial(self.thermal_line), "frozen": self.array.freeze},
            "camera": {name: camera(name) for name in ("unplug", "dark", "frozen")},
            "barrier": {"unplug": self.wires.unplug, "jam": lambda: None},  # a jam is the walk that does not happen
        }

    def _do_fault(self, request: Mapping[str, Any]) -> dict[str, Any]:
        table = self._fault_table()
        device, fault = request.get("device"), request.get("fault")
        if device not in table:
            raise RequestError(f"unknown device {device!r}; known are {', '.join(table)}")
        if fault not in table[device]:
            raise RequestError(f"device {device} has no fault {fault!r}; it has {', '.join(table[device])}")
        table[device][fault]()
        self._faults[device].add(fault)
        return {}

    def _do_heal(self, request: Mapping[str, Any]) -> dict[str, Any]:
        heal: dict[str, tuple[Callable[[], None], ...]] = {
            "card": (self.reader.repair, self.card_line.heal),
            "thermal": (self.array.heal, self.thermal_line.heal),
            "camera": (self.camera.heal,),
            "barrier": (self.wires.plug,),
        }
        device = request.get("device")
        if device not in heal:
            raise RequestError(f"unknown device {device!r}; known are {', '.join(heal)}")
        for act in heal[device]:
            act()
        self._faults[device].clear()
        return {}

    def close(self) -> None:
        """End the world: the cables are pulled, the outputs drop."""
        self._control.stop()
        self.wires.close()
        self.camera.close()
        self.card_line.close()
        self.thermal_line.close()


class _Control(socketserver.StreamRequestHandler):
    """Answer one client's requests, each with exactly one line."""

    def handle(self) -> None:
        world: World = self.server.owner  # type: ignore[attr-defined]
        try:
            while line := self.rfile.readline(REQUEST_BYTES):
                self.wfile.write(json.dumps(self._answer(world, line), ensure_ascii=False).encode() + b"\n")
        except ConnectionError:
            log.debug("a client of the world hung up")

    @staticmethod
    def _answer(world: World, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError) as error:
            return {"ok": False, "error": f"not JSON ({error}); send one object a line"}
        if not isinstance(request, dict):
            return {"ok": False, "error": "not an object; send one JSON object a line"}
        return world.do(request)


def card_from(fields: Any) -> CardData:
    """Return the card that a request describes.

    Raises: RequestError naming the field; never the person.
    """
    if not isinstance(fields, dict):
        raise RequestError("card is not an object; give the fields of a card")
    known = CardData.__dataclass_fields__
    for name in fields:
        if name not in known or name in ("photo", "fingerprint"):
            raise RequestError(f"card has no field {name!r}; it has {', '.join(known)}")
        if not isinstance(fields[name], str | list):
            raise RequestError(f"card field {name!r} is not text")
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
    try:
        if "kind" in values:
            values["kind"] = CardKind(values["kind"])
        card = CardData(**values)
        encode_text(card)
        return card
    except (TypeError, ValueError) as error:
        raise RequestError(f"card: {error}; see drivers/sim/idcard.py") from error


def _number(request: Mapping[str, Any], name: str, low: float, high: float) -> float:
    value = request[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise RequestError(f"{name} is not a number from {low} to {high}")
    return float(value)


def _flag(request: Mapping[str, Any], name: str) -> bool:
    value = request.get(name)
    if not isinstance(value, bool):
        raise RequestError(f"{name} is not true or false")
    return value


class WorldClient:
    """Talk to a world from another process, or from the same."""

    def __init__(self, directory: Path | str, timeout_s: float = ANSWER_S):
        self._path = Path(directory).absolute() / "world.sock"
        self._wire = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._wire.settimeout(timeout_s)
        try:
            self._wire.connect(str(self._path))
        except OSError as error:
            self._wire.close()
            raise PortLost(f"no world at {self._path} ({error}); start python -m drivers.sim --dir DIR") from error
        self._answers = self._wire.makefile("r", encoding="utf-8")

    def do(self, **request: Any) -> dict[str, Any]:
        """Send one request and return its answer.

        Raises: RequestError when the world refuses; PortLost when it does not answer.
        """
        try:
            self._wire.sendall(json.dumps(request).encode() + b"\n")
            line = self._answers.readline()
        except OSError as error:
            raise PortLost(f"the world at {self._path} does not answer ({error}); look at its output") from error
        if not line:
            raise PortLost(f"the world at {self._path} hung up; look at its output")
        answer = json.loads(line)
        if not answer.get("ok"):
            raise RequestError(answer.get("error", "refused"))
        return answer

    def close(self) -> None:
        """Hang up."""
        self._answers.close()
        self._wire.close()

    def __enter__(self) -> "WorldClient":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def client(directory: Path | str, timeout_s: float = ANSWER_S) -> WorldClient:
    """Return a client of the world that lives in this folder.

    Raises: PortLost when none does.
    """
    return WorldClient(directory, timeout_s)


"""Run a simulated street corner: a card reader, a thermal sensor, a camera and a barrier, and the people before them.

The devices stand on a `Bench` (drivers/sim/bench.py), which says what lies in the folder. Beside them there is

    world.sock    requests: one JSON object a line, one answer a line; `client(DIR).do(do="state")`

A person who is let through walks through: the pass sensor fires and the place is empty again.
"""

import json
import logging
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from drivers.errors import DriverError, PortLost
from drivers.readings import CardKind, Leaf
from drivers.sim.attacks import Attack, middle_celsius
from drivers.sim.bench import OUTPUTS, Bench, Wiring
from drivers.sim.idcard import CardData, encode_text
from drivers.sim.wires import UnixServer

log = logging.getLogger(__name__)

WALK_S = 0.3  # from the relay's edge to the pass sensor: a leaf that opens at once and a quick walker
PRESS_S = 0.3  # how long a finger stays on a button
ROOM_CELSIUS = 24.0  # as all simulated sensors have it
STANDS_AT_MM = 500  # where people stop before a gate
REQUEST_BYTES = 1_000_000
ANSWER_S = 10.0  # the slowest request reads a large photograph on a busy machine
CODE_BYTES = 4096
NUMBER_PLACES, BORN = 18, slice(6, 14)  # of an ID number


class RequestError(DriverError):
    """A request to the world cannot be understood or done."""


class World:
    """Host all simulated devices of one gate and move the people about. Every method may be called from any thread.

    Raises: PortSettingsError when another world lives in this folder.
    """

    def __init__(
        self,
        directory: Path | str,
        *,
        wiring: Wiring | None = None,
        walk: bool = True,
        camera_fps: float = 5.0,
        kinds: Mapping[str, str] | None = None,
    ):
        from drivers.sim import scene

        self.directory = Path(directory).absolute()
        self.directory.mkdir(parents=True, exist_ok=True)
        self._turn = threading.RLock()
        self._walk, self._fire = walk, False
        self._visit = 0  # counts arrivals: who walks out late must not take the next person along
        self._present = self._carded = False
        self._skin_celsius: float | None = None
        self._photograph = scene.load_picture
        self.bench = Bench(
            self.directory,
            wiring=wiring or Wiring(),
            kinds=kinds or {},
            camera_fps=camera_fps,
            on_relay=self._relay_moved,
        )
        self._verbs: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "arrive": self._do_arrive, "card": self._do_card, "leave": self._do_leave, "scan": self._do_scan,
            "fault": self._do_fault, "heal": self._do_heal, "fire": self._do_fire, "walk": self._do_walk,
            "press": self._do_press, "edges": self._do_edges, "state": self._do_state, "faults": self._do_faults,
        }
        self._control = UnixServer(self.directory / "world.sock", _Control, self)

    @property
    def reader(self) -> Any:
        """The simulated card reader."""
        return self.bench.models["card"]

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
        """Let a person step before the gate: first seen, then felt, then the card is laid down.

        `attack` says what they hold before the camera instead of a face; see drivers/sim/attacks.py.
        """
        card = None if request.get("card") is None else card_from(request["card"])
        skin = None if request.get("skin_celsius") is None else _number(request, "skin_celsius", 20.0, 45.0)
        share = _number(request, "face_share", 0.1, 8.0) if "face_share" in request else 1.0
        attack = None if request.get("attack") is None else Attack(request["attack"])
        picture = None if request.get("picture") is None else self._photograph(Path(request["picture"]))
        self._empty()  # only now: a request that is wrong changes nothing
        self._show_picture(picture, share, attack)
        self._present = True
        self._show_body(skin, STANDS_AT_MM, attack)
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
        self._show_picture(None, 1.0)
        return {}

    def _show_picture(self, picture: Any | None, share: float, attack: Attack | None = None) -> None:
        for name in ("camera", "infrared"):
            if name in self.bench.models:
                self.bench.models[name].show(picture, share, attack=attack)

    def _show_body(self, skin_celsius: float | None, distance_mm: int | None, attack: Attack | None = None) -> None:
        """Let the other senses feel a body, or that the place is empty."""
        self._skin_celsius = skin_celsius
        models = self.bench.models
        if "thermal" in models:
            self._warm(models["thermal"], skin_celsius, attack)
        if "distance" in models:
            models["distance"].show(distance_mm)
        if "presence" in models:
            here = distance_mm is not None
            models["presence"].show(moving=here, still=here, distance_mm=distance_mm)

    @staticmethod
    def _warm(thermal: Any, skin_celsius: float | None, attack: Attack | None) -> None:
        if attack is None:
            thermal.show(skin_celsius)
        elif getattr(thermal, "SEES_SHAPES", False):
            thermal.show(skin_celsius, attack=attack)
        else:
            thermal.show(middle_celsius(skin_celsius, ROOM_CELSIUS, attack))

    def _do_scan(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Hold a code before the scanner."""
        content = request.get("content")
        if not isinstance(content, str) or not 0 < len(content) <= CODE_BYTES:
            raise RequestError("content is not a text; give the code's text")
        self.bench.models["scanner"].scan(content.encode())
        return {}

    def _empty(self) -> None:
        """Take card and warmth away; the picture is changed by the caller, once."""
        self._visit += 1
        self._present = self._carded = False
        self.reader.remove()
        self._show_body(None, None)

    # — the barrier —

    def _relay_moved(self, leaf: Leaf, on: bool) -> None:
        if not on:
            return
        with self._turn:
            visit, walks = self._visit, self._walk
        if walks:
            self.bench.wires.later(WALK_S, lambda: self._walk_through(leaf, visit))

    def _walk_through(self, leaf: Leaf, visit: int) -> None:
        went = self.bench.house.walk(leaf)
        with self._turn:
            if went and leaf is Leaf.IN and self._visit == visit and self._present:
                self._do_leave({})

    def _do_press(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Close a contact for a moment: the pass sensor with nobody let through, the exit button, the key switch."""
        name = request.get("input", "pass_sensor")
        known = ("pass_sensor", "pass_sensor_out", "tailgate", "exit_button", "key_switch")
        if name not in known:
            raise RequestError(f"no input {name!r}; there are {', '.join(known)}")
        self.bench.set_input(name, True)
        self.bench.wires.later(PRESS_S, lambda: self.bench.set_input(name, False))
        return {}

    def _do_fire(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self._fire = _flag(request, "on")
        self.bench.house.fire(self._fire)
        return {}

    def _do_walk(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self._walk = _flag(request, "on")
        return {}

    def _do_edges(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"edges": [asdict(edge) for edge in self._edges(request.get("leaf", "in"))]}

    def _edges(self, leaf: str) -> Any:
        wiring = self.bench.wiring
        return self.bench.wires.edges(wiring.relay if leaf == "in" else wiring.relay_out)

    def _do_state(self, request: Mapping[str, Any]) -> dict[str, Any]:
        levels = self.bench.wires.outputs()
        known = self.bench.known_faults()
        return {
            "present": self._present,
            "card": self._carded,
            "skin_celsius": self._skin_celsius,
            "visit": self._visit,
            "walk": self._walk,
            "fire": self._fire,
            "outputs": {name: levels.get(getattr(self.bench.wiring, name), 0) for name in OUTPUTS},
            "faults": {device: sorted(self.bench.faults.get(device, ())) for device in known},
            "pictures": self.bench.camera.written,
        }

    # — faults —

    def _do_faults(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"faults": self.bench.known_faults(), "attacks": [str(attack) for attack in Attack]}

    def _do_fault(self, request: Mapping[str, Any]) -> dict[str, Any]:
        known = self.bench.known_faults()
        device, fault = request.get("device"), request.get("fault")
        if device not in known:
            raise RequestError(f"unknown device {device!r}; known are {', '.join(known)}")
        if fault not in known[device]:
            raise RequestError(f"device {device} has no fault {fault!r}; it has {', '.join(known[device])}")
        self.bench.fault(str(device), str(fault))
        return {}

    def _do_heal(self, request: Mapping[str, Any]) -> dict[str, Any]:
        known = self.bench.known_faults()
        device = request.get("device")
        if device not in known:
            raise RequestError(f"unknown device {device!r}; known are {', '.join(known)}")
        self.bench.heal(str(device))
        return {}

    def close(self) -> None:
        """End the world: the cables are pulled, the outputs drop."""
        self._control.stop()
        self.bench.close()


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
    number = values.get("number", "")
    if "birth" not in values and len(number) == NUMBER_PLACES:
        values["birth"] = number[BORN]  # a card that contradicts itself must be asked for
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


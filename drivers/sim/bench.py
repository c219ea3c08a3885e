"""Put the simulated devices of one gate on a bench: each behind the wire, bus or folder that the real one has.

The folder holds

    card.tty thermal.tty scanner.tty distance.tty presence.tty relay.tty    pseudo-terminals that speak the real bytes
    i2c.sock                   the bus of an I2C sensor
    camera/ infrared/ thermal/ pictures of who stands there
    wires.sock wires.jsonl     the barrier's wires, and the journal of their edges

`KINDS` says which simulator plays a device's part; all of them have `FAULTS`, `fault(name)` and `heal()`.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

from drivers.errors import PortSettingsError
from drivers.readings import Leaf
from drivers.sim.gatehouse import Gatehouse
from drivers.sim.pty import PtyDevice
from drivers.sim.relay_board import SimRelayBoard
from drivers.sim.wires import Edge, WiresServer

# kind → the simulator, and the line speed that the real device leaves the works with
KINDS: Mapping[str, tuple[str, int | None]] = MappingProxyType(
    {
        "idcard-sdt": ("drivers.sim.idcard:SimIdCardReader", 115200),
        "gy-mcu90640": ("drivers.sim.thermal_array:SimThermalArray", 115200),
        "gy-mcu90614": ("drivers.sim.thermal_point:SimGyMcu90614", 9600),
        "gy-614v": ("drivers.sim.thermal_point:SimGy614V", 9600),
        "cjmcu-90614": ("drivers.sim.thermal_point:SimCjMcu90614", 115200),
        "mlx90614-text": ("drivers.sim.thermal_point:SimText", 9600),
        "gm65": ("drivers.sim.scanner:SimScanner", 9600),
        "tf-luna": ("drivers.sim.distance:SimDistance", 115200),
        "ld2410": ("drivers.sim.radar:SimRadar", 256000),
    }
)
USUAL: Mapping[str, str] = MappingProxyType(
    {
        "card": "idcard-sdt",
        "thermal": "gy-mcu90640",
        "scanner": "gm65",
        "distance": "tf-luna",
        "presence": "ld2410",
    }
)
I2C_KINDS = ("mlx90614-i2c", "amg8833-i2c")
VIDEO_KINDS = ("lepton",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """Say which GPIO numbers the simulated barrier is wired to; all inputs are contacts to ground."""

    relay: int = 17
    relay_out: int = 5
    pass_sensor: int = 27
    pass_sensor_out: int = 6
    door: int = 13
    door_out: int = 19
    tailgate: int = 26
    key_switch: int = 20
    exit_button: int = 21
    fire: int = 22
    green: int = 23
    amber: int = 24
    red: int = 25
    buzzer: int = 18

    def __post_init__(self):
        pins = asdict(self)
        if len(set(pins.values())) != len(pins):
            raise PortSettingsError(f"the wiring uses a pin twice: {pins}; give each its own")


OUTPUTS = ("relay", "relay_out", "green", "amber", "red", "buzzer")
RELAY_BOARD = ("relay", "relay_out", "green", "amber", "red", "buzzer")  # relay0, relay1, … of the Modbus board
RELAY_BOARD_INPUTS = (
    "pass_sensor", "pass_sensor_out", "door", "door_out", "tailgate", "key_switch", "exit_button", "fire",
)  # fmt: skip


class Bench:
    """All simulated devices of one gate. Every method may be called from any thread.

    `on_relay` is told of each edge of a leaf's relay, whichever board drives it.
    Raises: PortSettingsError for a kind that no simulator plays.
    """

    def __init__(
        self,
        directory: Path,
        *,
        wiring: Wiring,
        kinds: Mapping[str, str],
        camera_fps: float,
        on_relay: Callable[[Leaf, bool], None],
    ):
        from drivers.sim import scene  # OpenCV is for who hosts a world, not for who talks to one

        self.wiring = wiring
        self._on_relay = on_relay
        self._lock = threading.Lock()
        self.faults: dict[str, set[str]] = {}
        self.wires = WiresServer(directory / "wires.sock", journal=directory / "wires.jsonl", on_edge=self._edge)
        self.models: dict[str, Any] = {}
        self.lines: dict[str, PtyDevice] = {}
        self.camera = scene.CameraFolder(directory / "camera", fps=camera_fps)
        self.models["camera"] = self.camera
        if kinds.get("infrared") == "camera":
            self.models["infrared"] = scene.CameraFolder(directory / "infrared", fps=camera_fps, infrared=True)
        for name, kind in {**USUAL, **kinds}.items():
            self._place(directory, name, kind, scene)
        self._board = SimRelayBoard(on_relay=self._board_moved)
        self._line("relay", directory, self._board, 9600)
        self.house = Gatehouse(set_input=self.set_input, later=self.wires.later)
        self.models["barrier"] = self.house
        for name in RELAY_BOARD_INPUTS:
            self.set_input(name, False)
        self.house.heal()

    def _place(self, directory: Path, name: str, kind: str, scene: Any) -> None:
        if kind in ("none", "camera"):
            return
        if kind in I2C_KINDS:
            from drivers.sim.i2c import SimI2cBus

            self.models[name] = SimI2cBus(directory / "i2c.sock", kind)
        elif kind in VIDEO_KINDS:
            self.models[name] = scene.ThermalFolder(directory / "thermal")
        elif kind in KINDS:
            where, baud = KINDS[kind]
            module, _, cls = where.partition(":")
            self._line(name, directory, getattr(import_module(module), cls)(), baud)
        else:
            known = ", ".join((*KINDS, *I2C_KINDS, *VIDEO_KINDS))
            raise PortSettingsError(f"no simulator plays {kind!r}; there are {known}")

    def _line(self, name: str, directory: Path, model: Any, baud: int | None) -> None:
        self.models[name] = model
        self.lines[name] = PtyDevice(directory / f"{name}.tty", model, baud=baud)
        self.lines[name].start()

    # — the barrier's wires —

    def set_input(self, name: str, active: bool) -> None:
        """Close or open a contact, as the gate feels it on its pins and on the relay board."""
        self.wires.set(getattr(self.wiring, name), 0 if active else 1)
        self._board.set_input(RELAY_BOARD_INPUTS.index(name), active)

    def _edge(self, edge: Edge) -> None:
        for leaf, name in ((Leaf.IN, "relay"), (Leaf.OUT, "relay_out")):
            if edge.pin == getattr(self.wiring, name):
                self._moved(leaf, bool(edge.value) and edge.cause == "driven")

    def _board_moved(self, index: int, on: bool, _now: float) -> None:
        if index < 2:
            self._moved((Leaf.IN, Leaf.OUT)[index], on)

    def _moved(self, leaf: Leaf, on: bool) -> None:
        self._on_relay(leaf, on)  # first: whoever sees the leaf move may rely on the walker being chosen
        self.house.relay_edge(leaf, on)

    # — faults —

    def known_faults(self) -> dict[str, tuple[str, ...]]:
        """Return every fault that can be commanded, by device."""
        known = {name: tuple(model.FAULTS) for name, model in self.models.items()}
        for name, line in self.lines.items():
            known[name] = (*line.FAULTS, *known[name])
        known["barrier"] = ("unplug", *known["barrier"])
        return known

    def fault(self, device: str, name: str) -> None:
        """Begin a fault. Raises: ValueError for one that the device does not have."""
        if device in self.lines and name in self.lines[device].FAULTS:
            self.lines[device].fault(name)
        elif (device, name) == ("barrier", "unplug"):
            self.wires.unplug()
        else:
            self.models[device].fault(name)
        with self._lock:
            self.faults.setdefault(device, set()).add(name)

    def heal(self, device: str) -> None:
        """End every fault of a device."""
        self.models[device].heal()
        if device in self.lines:
            self.lines[device].heal()
        if device == "barrier":
            self.wires.plug()
        with self._lock:
            self.faults.pop(device, None)

    def close(self) -> None:
        """Pull every cable; the outputs drop."""
        self.wires.close()
        for line in self.lines.values():
            line.close()
        for model in self.models.values():
            if hasattr(model, "close"):
                model.close()

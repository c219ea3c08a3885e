"""List the settings of the devices: what is fitted, where it hangs, and what its figures mean.

Standard library and the drivers' table of kinds, nothing heavy: the manual one-shot reads this on a sick machine.
"""

# ruff: noqa: RUF009 - setting() declares a dataclass field, as field() does

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from drivers import kinds_of
from sentinel.toml_tables import Clash, missing, setting

STREET_SETS_IT = "no law sets it, the street office must state it"

_BAUD = r"(\?baud=(\d+|auto))?"
_SERIAL = (
    rf"serial:///[^?\s]+{_BAUD}|usb://[0-9a-fA-F]{{4}}:[0-9a-fA-F]{{4}}(/[^?@\s]+)?(@[\d.-]+)?{_BAUD}"
    r"|tcp://[^/:\s]+:\d{1,5}|replay:///\S+"
)
_SERIAL_FORM = "serial:///dev/NAME?baud=NUMBER, usb://VID:PID/SERIAL?baud=NUMBER, tcp://HOST:PORT or replay:///FILE"
_PORT = {"pattern": f"|{_SERIAL}", "form": _SERIAL_FORM}
_THERMAL_PORT = {
    "pattern": rf"|{_SERIAL}|(i2c|sim):///[^?\s]+(\?address=0x[0-9a-fA-F]{{2}})?",
    "form": f"{_SERIAL_FORM}, or i2c:///dev/i2c-N",
}
_SCANNER_PORT = {
    "pattern": rf"|{_SERIAL}|input:///[^?\s]+",
    "form": f"{_SERIAL_FORM}, or input:///dev/input/by-id/NAME",
}
# OpenCV's wheels carry an OpenSSL that is out of support: encrypted addresses are refused, not trusted.
_SOURCE = {
    "pattern": r"|v4l2:///dev/\S+|rtsp://\S+|file:///\S+|folder:///\S+",
    "form": 'v4l2:///dev/videoN, rtsp://…, file:///…, folder:///… or "" for no camera',
}
_SHARE = r"-?\d*\.?\d+"
RECTANGLE = rf"{_SHARE}(,{_SHARE}){{3}}"
_PIN_NAME = r"[A-Za-z0-9:_.-]{1,32}"
_PIN = {
    "least": 0,
    "most": 999,
    "pattern": rf"|{_PIN_NAME}",
    "form": 'a pin number, a pin name or "" for not fitted',
}
INPUTS = (
    "pass_sensor", "pass_sensor_out", "door", "door_out", "tailgate", "key_switch", "exit_button", "fire",
)  # fmt: skip
OUTPUTS = ("relay", "relay_out", "green", "amber", "red", "buzzer")
THERMAL_SERIAL = kinds_of("thermal")
THERMAL_I2C = ("mlx90614-i2c", "mlx90640-i2c", "amg8833-i2c")
THERMAL_VIDEO = ("lepton",)
THERMAL_FIELDS = ("gy-mcu90640", "mlx90640-i2c", "lepton")  # fine enough to tell a face's shape; 8 × 8 is not


@dataclass(frozen=True, slots=True, kw_only=True)
class Temperature:
    """When a skin temperature counts as measured, and from where on it counts as high."""

    # None only where gate.temperature is off: see `clashes`.
    limit_celsius: float | None = setting(None, least=35.0, most=42.0, unit="°C", example="37.3", why=STREET_SETS_IT)
    # So near the limit one figure decides nothing: it is measured again. The spread of a good array at half a metre.
    near_limit_celsius: float = setting(0.2, least=0.0, most=1.0, unit="K")
    min_valid_celsius: float = setting(30.0, least=25.0, most=35.0, unit="°C")  # below: a wall, a mask, nobody
    ambient_min_celsius: float = setting(15.0, least=-30.0, most=30.0, unit="°C")  # the module's data sheet: 15..35
    ambient_max_celsius: float = setting(35.0, least=20.0, most=60.0, unit="°C")
    # Added to every reading and kept beside it in the record; found by `sentinelctl calibrate thermal`.
    offset_celsius: float = setting(0.0, least=-3.0, most=3.0, unit="K")
    ambient_coefficient: float = setting(0.0, least=0.0, most=0.2, unit="K/K")  # skin looks cooler in a cool room
    distance_coefficient: float = setting(0.0, least=0.0, most=3.0, unit="K/m")  # and from farther away
    reference_distance_m: float = setting(0.5, least=0.1, most=3.0, unit="m")  # where the offset was found
    compensation_max_celsius: float = setting(2.0, least=0.1, most=3.0, unit="K")  # more is no measurement any more
    warm_up_s: float = setting(300.0, least=0.0, most=3600.0, unit="s")  # makers ask for minutes to half an hour


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """The reader of identity cards."""

    kind: str = setting("idcard-sdt", choices=(*kinds_of("card"), "none"))
    port: str = setting(
        "", **_PORT, example='"serial:///dev/ttyS3?baud=115200"', why='the card reader needs a port, or kind = "none"'
    )
    silence_s: float = setting(3.0, least=1.0, most=60.0, unit="s")  # asked every 0.3 s: nine answers may be lost
    fingerprint: bool = setting(False)  # asks for the longer answer; nothing here uses the templates
    later_addresses: bool = setting(False)  # one question more per card
    # The library that decodes the chip's photograph is licensed; without it the photograph is passed on as it is.
    photo_decoder: Path | None = setting(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thermal:
    """The thermal sensor."""

    kind: str = setting("gy-mcu90640", choices=(*THERMAL_SERIAL, *THERMAL_I2C, *THERMAL_VIDEO, "none"))
    port: str = setting(
        "",
        **_THERMAL_PORT,
        example='"serial:///dev/ttyS4?baud=115200"',
        why='the thermal module needs a port, or kind = "none"',
    )
    source: str = setting("", **_SOURCE, example='"v4l2:///dev/video2"', why='kind = "lepton" is a camera')
    mirror: bool = setting(True)  # the module's first column is the right of the scene
    silence_s: float = setting(3.0, least=1.0, most=60.0, unit="s")  # 4 pictures a second: eleven may be lost
    # The part of the camera's picture that the sensor covers, as shares x,y,width,height; "" looks at the whole field.
    view: str = setting("", pattern=rf"|{RECTANGLE}", form='"x,y,width,height" in shares of the camera\'s picture')


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """The camera that looks at faces."""

    source: str = setting(
        "", **_SOURCE, example='"v4l2:///dev/video0"', why='the [gate] profile asks for faces; only "card" does not'
    )
    width: int = setting(640, least=160, most=3840, unit="px")
    height: int = setting(480, least=120, most=2160, unit="px")
    fps: float = setting(10.0, least=1.0, most=60.0, unit="1/s")
    # The part of the picture the camera may use; what is outside is black before anything looks at it.
    mask: str = setting(
        "", pattern=rf"|{RECTANGLE}(;{RECTANGLE})*", form='"x,y,width,height" in shares of the picture, joined by ;'
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Infrared:
    """A second camera that sees infrared light."""

    source: str = setting("", **_SOURCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanner:
    """The scanner of visitor passes and staff badges."""

    kind: str = setting("none", choices=(*kinds_of("scanner"), "none"))
    port: str = setting(
        "",
        **_SCANNER_PORT,
        example='"serial:///dev/ttyS5?baud=9600"',
        why='the scanner needs a port, or kind = "none"',
    )
    silence_s: float = setting(5.0, least=1.0, most=60.0, unit="s")  # only gm65 answers; asked every 2 s


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """The distance sensor."""

    kind: str = setting("none", choices=(*kinds_of("distance"), "none"))
    port: str = setting(
        "",
        **_PORT,
        example='"serial:///dev/ttyS6?baud=115200"',
        why='the distance sensor needs a port, or kind = "none"',
    )
    silence_s: float = setting(3.0, least=1.0, most=60.0, unit="s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """The presence radar."""

    kind: str = setting("none", choices=(*kinds_of("presence"), "none"))
    port: str = setting(
        "", **_PORT, example='"serial:///dev/ttyS7?baud=256000"', why='the radar needs a port, or kind = "none"'
    )
    silence_s: float = setting(3.0, least=1.0, most=60.0, unit="s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Barrier:
    """The wires of the barrier."""

    factory: str = setting(
        pattern=r"[a-z0-9-]+(:\S+)?",
        form="the name of a gpiozero pin factory: lgpio, native, sentinel-gpiod, sentinel-modbus:PORT, …",
        example='"lgpio"',
        why="only the board's maker knows by which library its pins are driven",
    )
    relay: int | str = setting(
        least=0,
        most=999,
        pattern=_PIN_NAME,
        form="a pin number or a pin name",
        example="17",
        why="without the relay nothing opens",
    )
    relay_out: int | str = setting("", **_PIN)
    relay_active_high: bool = setting(True)
    pass_sensor: int | str = setting("", **_PIN)
    pass_sensor_out: int | str = setting("", **_PIN)
    door: int | str = setting("", **_PIN)
    door_out: int | str = setting("", **_PIN)
    tailgate: int | str = setting("", **_PIN)
    key_switch: int | str = setting("", **_PIN)
    exit_button: int | str = setting("", **_PIN)
    fire: int | str = setting("", **_PIN)
    # Inputs that close to the supply instead of to ground, by name, joined by commas.
    active_high: str = setting(
        "", pattern=rf"|({'|'.join(INPUTS)})(,({'|'.join(INPUTS)}))*", form="names of inputs, joined by commas"
    )
    green: int | str = setting("", **_PIN)
    amber: int | str = setting("", **_PIN)
    red: int | str = setting("", **_PIN)
    buzzer: int | str = setting("", **_PIN)
    pulse_s: float = setting(0.5, least=0.1, most=3.0, unit="s")
    passage_s: float = setting(5.0, least=1.0, most=60.0, unit="s")
    held_s: float = setting(10.0, least=1.0, most=300.0, unit="s")  # so long a leaf may stand open after that
    append_bound_s: float = setting(0.25, least=0.05, most=5.0, unit="s")  # flash cards pause for a quarter second


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """Visitor passes and staff badges."""

    # The public keys (*.pub) whose passes this gate takes, beside its own; None: secrets_dir/issuers.
    issuers_dir: Path | None = setting(None)


TABLES: dict[str, type] = {
    "temperature": Temperature, "card": Card, "thermal": Thermal, "camera": Camera, "infrared": Infrared,
    "scanner": Scanner, "distance": Distance, "presence": Presence, "barrier": Barrier, "passes": Passes,
}  # fmt: skip
SERIAL_TABLES = ("card", "thermal", "scanner", "distance", "presence")


def clashes(tables: Mapping[str, Any]) -> Iterator[Clash]:
    """Yield what is right one by one and wrong together among the devices."""
    yield from _of_profile(tables)
    yield from _of_temperature(tables)
    yield from _of_ports(tables)
    yield from _of_wires(tables["barrier"])


def _of_profile(tables: Mapping[str, Any]) -> Iterator[Clash]:
    gate, card = tables["gate"], tables["card"]
    if gate.profile != "face" and card.kind == "none":
        line = f'[gate] profile = "{gate.profile}" needs a card reader, but [card] kind = "none"; name the reader'
        yield Clash(keys=("gate.profile", "card.kind"), line=line)
    if gate.profile != "card" and not tables["camera"].source:
        yield _must_state("camera", "source", "gate.profile")


def _of_temperature(tables: Mapping[str, Any]) -> Iterator[Clash]:
    gate, thermal, temperature = tables["gate"], tables["thermal"], tables["temperature"]
    if gate.temperature and temperature.limit_celsius is None:
        yield _must_state("temperature", "limit_celsius", "gate.temperature")
    if gate.temperature and thermal.kind == "none":
        line = '[gate] temperature = true, but [thermal] kind = "none"; name the module or set temperature = false'
        yield Clash(keys=("gate.temperature", "thermal.kind"), line=line)
    if temperature.ambient_min_celsius >= temperature.ambient_max_celsius:
        keys = ("temperature.ambient_min_celsius", "temperature.ambient_max_celsius")
        yield Clash(keys=keys, line="[temperature] ambient_min_celsius must be below ambient_max_celsius")
    if temperature.distance_coefficient and tables["distance"].kind == "none":
        line = '[temperature] distance_coefficient needs a distance sensor, but [distance] kind = "none"; set it to 0'
        yield Clash(keys=("temperature.distance_coefficient", "distance.kind"), line=line)
    if thermal.view and not tables["camera"].source:
        line = "[thermal] view maps the camera's picture, but [camera] source is empty; leave view empty"
        yield Clash(keys=("thermal.view", "camera.source"), line=line)


def _of_ports(tables: Mapping[str, Any]) -> Iterator[Clash]:
    used: dict[str, str] = {}
    for name in SERIAL_TABLES:
        chosen = tables[name]
        if chosen.kind == "none":
            continue
        if chosen.kind in THERMAL_VIDEO:
            if not chosen.source:
                yield _must_state(name, "source", f"{name}.kind")
            continue
        if not chosen.port:
            yield _must_state(name, "port", f"{name}.kind")
        elif name == "thermal" and (chosen.kind in THERMAL_I2C) != chosen.port.startswith(("i2c:", "sim:")):
            form = "i2c:///dev/i2c-N" if chosen.kind in THERMAL_I2C else "serial:///dev/NAME"
            line = f'[thermal] port = "{chosen.port}" does not fit kind = "{chosen.kind}"; write {form}'
            yield Clash(keys=("thermal.port", "thermal.kind"), line=line)
        elif (place := _device(chosen.port)) in used:
            other = used[place]
            line = f'[{name}] port = "{chosen.port}" is the port of [{other}] too; each device has a port of its own'
            yield Clash(keys=(f"{name}.port", f"{other}.port", f"{name}.kind", f"{other}.kind"), line=line)
        elif place:
            used[place] = name


def _of_wires(wired: Any) -> Iterator[Clash]:
    seen: dict[int | str, str] = {}
    for name in (*OUTPUTS, *INPUTS):
        pin = getattr(wired, name)
        if pin in seen:
            line = f"[barrier] {name} = {pin!r} is the pin of {seen[pin]} too; each wire has a pin of its own"
            yield Clash(keys=(f"barrier.{name}", f"barrier.{seen[pin]}"), line=line)
        elif pin != "":
            seen[pin] = name
    for name in ("pass_sensor_out", "door_out"):
        if getattr(wired, name) != "" and wired.relay_out == "":
            line = f"[barrier] {name} belongs to the leaf out, but relay_out is not fitted; name it or empty {name}"
            yield Clash(keys=(f"barrier.{name}", "barrier.relay_out"), line=line)


def _must_state(table: str, name: str, *because: str) -> Clash:
    key = next(key for key in fields(TABLES[table]) if key.name == name)
    return Clash(keys=(f"{table}.{name}", *because), line=missing(table, key))


def _device(port: str) -> str:
    """Return what a port's address leads to; nothing for a replayed file or a bus, which many may read."""
    return "" if port.startswith(("replay:", "i2c:", "sim:")) else port.partition("?")[0]

"""List every serial codec with good frames of its device, for scripts/bench/codecs and scripts/fuzz-codecs.

A new device is one function here: its codec, some frames, its dialect, and a simulator with something to see.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from drivers import load
from drivers.codecs import distance, gm65, idcard, keyboard, modbus, point_frames, radar, thermal_array
from drivers.readings import CardReading, CodeReading, DistanceReading, PresenceReading, ThermalReading
from drivers.sim.distance import SimDistance
from drivers.sim.idcard import SimIdCardReader, read_answer
from drivers.sim.keyboard import SimKeyboard, encode_keys
from drivers.sim.radar import SimRadar
from drivers.sim.relay_board import SimRelayBoard
from drivers.sim.scanner import SimScanner
from drivers.sim.specimens import SPECIMENS
from drivers.sim.thermal_array import SimThermalArray, encode_field
from drivers.sim.thermal_point import SimCjMcu90614, SimGy614V, SimGyMcu90614, SimText

READ_INPUTS = modbus.read_inputs(1, 0, 8)
CODE = b"SG1.synthetic-pass-0001"
CARDS = tuple(SPECIMENS.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One codec and what belongs to it. `busy(simulator, second)` lets something new happen once a second."""

    name: str
    codec: Callable[[], Any]
    frames: tuple[bytes, ...]  # good ones, as the device sends them; the first is the commonest
    longest_bytes: int  # the most the codec may hold
    baud: int
    dialect: Callable[[], Any] | None = None
    simulator: Callable[[], Any]
    busy: Callable[[Any, int], object] = lambda simulator, second: None
    reading: type = object  # what its dialect is there for


class AskedModbus:
    """A Modbus codec that is asked for the inputs again as soon as it has an answer."""

    def __init__(self) -> None:
        self._codec = modbus.ModbusCodec()
        self._codec.expect(READ_INPUTS)

    @property
    def held_bytes(self) -> int:
        """Return how many bytes wait for the rest of their frame."""
        return self._codec.held_bytes

    def feed(self, chunk: bytes) -> list:
        """Return what the bytes hold."""
        return self._asked(self._codec.feed(chunk))

    def give_up(self) -> list:
        """Return what was hidden behind a frame that never became whole."""
        events = self._codec.give_up()
        self._codec.expect(READ_INPUTS)
        return events

    def _asked(self, events: list) -> list:
        if any(isinstance(event, modbus.Bits | modbus.Refusal) for event in events):
            self._codec.expect(READ_INPUTS)
        return events


def _idcard() -> Subject:
    answers = [b"\0\0" + read_answer(card) for card in CARDS]
    answers += [b"\0\0" + read_answer(CARDS[0], fingerprint=True), b"\0\0\x80", b"\0\0\x9f" + bytes(4), b"\0\0\x90"]

    def busy(simulator: Any, second: int) -> None:
        simulator.place(CARDS[second // 2 % len(CARDS)]) if second % 2 else simulator.remove()

    return Subject(
        name="idcard", codec=idcard.IdCardCodec, frames=tuple(idcard.frame(answer) for answer in answers),
        longest_bytes=idcard.LONGEST_FRAME_BYTES, baud=115200, dialect=load("idcard-sdt"), simulator=SimIdCardReader,
        busy=busy, reading=CardReading,
    )  # fmt: skip


def _warm(simulator: Any, second: int) -> None:
    simulator.show(36.4 if second % 4 < 2 else None)


def _thermal_array() -> Subject:
    one, other = SimThermalArray(seed=1), encode_field([20 + place / 100 for place in range(768)], 25.5)
    one.show(36.4)
    return Subject(
        name="thermal-array", codec=thermal_array.ThermalArrayCodec, frames=(one.frame(), other),
        longest_bytes=thermal_array.FIELD_BYTES, baud=115200, dialect=load("gy-mcu90640"), simulator=SimThermalArray,
        busy=_warm, reading=ThermalReading,
    )  # fmt: skip


def _thermal_point(name: str, kind: str, codec: Callable[[], Any], sim: type, baud: int, longest: int) -> Subject:
    one = sim(seed=1)
    return Subject(
        name=name, codec=codec, frames=(one.frame(), one.frame()), longest_bytes=longest, baud=baud,
        dialect=load(kind), simulator=sim, busy=_warm, reading=ThermalReading,
    )  # fmt: skip


def _scan(simulator: Any, second: int) -> None:
    simulator.scan(CODE + str(second).encode())


def _scanner() -> Subject:
    return Subject(
        name="scanner", codec=gm65.ScannerCodec, frames=(CODE + b"\r", "访客码".encode() + b"\r\n", b"7" * 200 + b"\r"),
        longest_bytes=gm65.LONGEST_BYTES, baud=9600, dialect=load("gm65"), simulator=SimScanner, busy=_scan,
        reading=CodeReading,
    )  # fmt: skip


def _keyboard() -> Subject:
    # Junk may hold the shift key down; a code with a capital lets it go, as passes have them.
    return Subject(
        name="keyboard", codec=keyboard.KeyboardCodec, frames=(encode_keys(b"Gg"), encode_keys(CODE + b"\r", at=1.7e9)),
        longest_bytes=keyboard.EVENT_BYTES, baud=230_400,  # a USB keyboard reports a thousand times a second at most
        dialect=load("keyboard-scanner"), simulator=SimKeyboard, busy=_scan, reading=CodeReading,
    )  # fmt: skip


def _distance() -> Subject:
    frames = (distance.encode_frame(100, 1000), distance.encode_frame(89, 0x5959), distance.command(1, bytes(3)))
    return Subject(
        name="distance", codec=distance.DistanceCodec, frames=frames, longest_bytes=distance.LONGEST_BYTES, baud=115200,
        dialect=load("tf-luna"), simulator=SimDistance, busy=lambda simulator, second: simulator.show(500 + second),
        reading=DistanceReading,
    )  # fmt: skip


def _radar() -> Subject:
    frames = (
        radar.encode_report(1, moving_cm=70, moving_percent=80, detection_cm=70),
        radar.encode_report(2, still_cm=90, still_percent=60, detection_cm=90, gates=bytes(22)),
        radar.encode_answer(radar.ENTER, value=bytes.fromhex("01 00 40 00")),
        radar.encode_answer(radar.FIRMWARE, value=bytes(8)),
    )
    return Subject(
        name="radar", codec=radar.RadarCodec, frames=frames, longest_bytes=radar.LONGEST_BYTES, baud=256_000,
        dialect=load("ld2410"), simulator=SimRadar, busy=lambda simulator, second: simulator.show(True, False, 700),
        reading=PresenceReading,
    )  # fmt: skip


def _modbus() -> Subject:
    frames = (modbus.frame(bytes([1, 2, 1, 5])), modbus.frame(bytes([1, 0x82, 4])), modbus.write_coil(1, 0, True))
    return Subject(
        name="modbus", codec=AskedModbus, frames=frames, longest_bytes=modbus.LONGEST_BYTES, baud=9600,
        simulator=SimRelayBoard,
    )  # fmt: skip


def subjects() -> list[Subject]:
    """Return every codec."""
    short, registers, line = (
        point_frames.SHORT_BYTES, point_frames.LONGEST_REGISTER_BYTES, point_frames.LONGEST_LINE_BYTES,
    )  # fmt: skip
    return [
        _idcard(),
        _thermal_array(),
        _thermal_point("thermal-gy", "gy-mcu90614", point_frames.GyMcu90614Codec, SimGyMcu90614, 9600, short),
        _thermal_point("thermal-614v", "gy-614v", point_frames.Gy614VCodec, SimGy614V, 9600, registers),
        _thermal_point("thermal-cj", "cjmcu-90614", point_frames.CjMcu90614Codec, SimCjMcu90614, 115200, short),
        _thermal_point("thermal-text", "mlx90614-text", point_frames.TextCodec, SimText, 9600, line),
        _scanner(),
        _keyboard(),
        _distance(),
        _radar(),
        _modbus(),
    ]

"""Check and make the words of an MLX90614 on the SMBus: the check byte that common drivers skip, and the temperatures.

Source: device-protocols 2.1. The check byte (PEC) covers every byte on the bus, both address bytes included.
"""

from dataclasses import dataclass
from math import nan

from drivers.codecs.framing import Dropped

ADDRESS = 0x5A
AMBIENT = 0x06  # commands that read a word
OBJECT = 0x07
IDS = (0x3C, 0x3D, 0x3E, 0x3F)
SLEEP = 0xFF
ANSWER_BYTES = 3  # low byte, high byte, PEC

KELVIN_PER_STEP = 0.02
ZERO_CELSIUS_KELVIN = 273.15
OBJECT_RAW = range(0x27AD, 0x8000)  # -70.01 to 382.19 °C; from 8000 on the sensor says that it has no value
AMBIENT_RAW = range(0x2DE4, 0x4DC5)  # -38.19 to 125.01 °C


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word whose check byte is right."""

    raw: int


def pec(data: bytes) -> int:
    """Return the check byte: CRC-8, polynomial 07, start 00."""
    total = 0
    for byte in data:
        total = _PEC_TABLE[total ^ byte]
    return total


def _pec_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = (byte << 1 ^ (0x07 if byte & 0x80 else 0)) & 0xFF
    return byte


_PEC_TABLE = tuple(_pec_of_byte(byte) for byte in range(256))


def read_word(address: int, command: int, answer: bytes) -> Word | Dropped:
    """Return the word of an answer, or its bytes as junk when the check byte does not fit."""
    if len(answer) != ANSWER_BYTES or answer != word_answer(address, command, int.from_bytes(answer[:2], "little")):
        return Dropped(byte_count=len(answer))
    return Word(raw=int.from_bytes(answer[:2], "little"))


def word_answer(address: int, command: int, raw: int) -> bytes:
    """Return what the sensor answers to `command` when the word is `raw`."""
    data = raw.to_bytes(2, "little")
    return data + bytes([pec(bytes([address << 1, command, address << 1 | 1]) + data)])


def write_word(address: int, command: int, raw: int) -> bytes:
    """Return the bytes that write a word, from the command on. The EEPROM wants 0000 first, and 10 ms after each."""
    body = bytes([command]) + raw.to_bytes(2, "little")
    return body + bytes([pec(bytes([address << 1]) + body)])


def sleep_command(address: int) -> bytes:
    """Return the bytes that put the sensor to sleep."""
    return bytes([SLEEP, pec(bytes([address << 1, SLEEP]))])


def object_celsius(raw: int) -> float:
    """Return the temperature of what the sensor looks at, NaN when it says that it has none."""
    return _celsius(raw) if raw in OBJECT_RAW else nan


def ambient_celsius(raw: int) -> float:
    """Return the sensor's own temperature, NaN outside what the part can be at."""
    return _celsius(raw) if raw in AMBIENT_RAW else nan


def raw_of(celsius: float) -> int:
    """Return the word for a temperature, as the sensor would give it."""
    return round((celsius + ZERO_CELSIUS_KELVIN) / KELVIN_PER_STEP)


def _celsius(raw: int) -> float:
    return round(raw * KELVIN_PER_STEP - ZERO_CELSIUS_KELVIN, 2)

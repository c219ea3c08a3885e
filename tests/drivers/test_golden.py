"""The rules of every capture, whatever device it is of: nobody is in it, and its dialect reads it, torn or whole."""

from pathlib import Path

import pytest

import drivers
from drivers.anonymise import anonymiser_for
from drivers.readings import CardReading, CodeReading, DistanceReading, Junk, PresenceReading, ThermalReading

FILES = sorted((Path(__file__).parents[1] / "golden").glob("*.bin"))
# Written down from the reference, with people invented for it, not heard after our questions: see test_idcard.py.
CONVERSATIONS = [file for file in FILES if not file.name.startswith("idcard-sdt-synthetic-")]
SIZES = (1, 7, 64, 100_000)
QUIET_S = 1.0  # a device that waited so long for a question speaks by itself
TURN_S = 0.05

every_capture = pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
every_conversation = pytest.mark.parametrize("file", CONVERSATIONS, ids=lambda file: file.name)


def kind_of(file: Path) -> str:
    """Return the kind that the name of a capture begins with."""
    kinds = [kind for kind in drivers.TABLE if file.name.startswith(f"{kind}-")]
    assert kinds, f"{file.name}: name it device-firmware-what.bin, the device by its kind in drivers/__init__.py"
    return max(kinds, key=len)


def pieces(content: bytes, size: int) -> list[bytes]:
    return [content[at : at + size] for at in range(0, len(content), size)]


def replayed(kind: str, content: bytes) -> list:
    """Return what the dialect makes of a conversation: the device goes on when it is asked, or when nobody asks."""
    dialect, now, asked_at, readings = drivers.load(kind)(), 0.0, 0.0, []
    rest = iter(pieces(content, 1))
    while True:
        now += TURN_S
        asked = bool(dialect.due(now))
        readings += dialect.feed(b"", now)
        if not asked and now - asked_at < QUIET_S:
            continue
        asked_at = now
        for byte in rest:
            said = dialect.feed(byte, now)
            readings += said
            if said:
                break
            dialect.due(now)  # a question that follows at once has its answer in the next bytes
        else:
            return readings


@every_conversation
@pytest.mark.parametrize("size", SIZES)
def test_recorded_again_it_is_the_same(file, size):
    content, anonymiser = file.read_bytes(), anonymiser_for(kind_of(file))
    assert b"".join(map(anonymiser.feed, pieces(content, size))) + anonymiser.close() == content


@every_capture
def test_torn_anywhere_it_says_the_same(file):
    content, said = file.read_bytes(), []
    for size in SIZES:
        dialect = drivers.load(kind_of(file))()
        readings = [*dialect.feed(b"", 0.0), *(r for piece in pieces(content, size) for r in dialect.feed(piece, 5.0))]
        junk_bytes = sum(reading.byte_count for reading in readings if isinstance(reading, Junk))
        said.append((junk_bytes, [reading for reading in readings if not isinstance(reading, Junk)]))
    assert all(one == said[0] for one in said)


@every_conversation
def test_its_dialect_finds_in_it_what_the_device_is_there_for(file):
    content = file.read_bytes()
    readings = replayed(kind_of(file), content)
    wanted = CardReading | CodeReading | DistanceReading | PresenceReading | ThermalReading
    assert any(isinstance(reading, wanted) for reading in readings), readings
    assert sum(reading.byte_count for reading in readings if isinstance(reading, Junk)) * 2 <= len(content)

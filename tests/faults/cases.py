"""Say for every fault of every device what a gate makes of it: the table that the tests and docs/devices.md share.

Source: device-protocols, section 5. A case is (kind of device, fault, where it shows, as what).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from drivers.sim.pty import PtyDevice

SERIAL = (
    "idcard-sdt", "gy-mcu90640", "gy-mcu90614", "gy-614v", "cjmcu-90614", "mlx90614-text", "gm65", "tf-luna", "ld2410",
)  # fmt: skip
RELAY_BOARD, GATE = "relay-board", "gate"
COMPONENTS = {
    "idcard-sdt": "card", "gm65": "scanner", "tf-luna": "distance", "ld2410": "presence",
    RELAY_BOARD: "barrier", GATE: "barrier",
}  # fmt: skip


class Where(StrEnum):
    """Where a fault shows."""

    HEALTH = "health"  # a fault entry: the device does not do its work; a repair entry when it does again
    ATTENTION = "attention"  # the same two entries, and the device goes on doing its work
    PASSAGE = "passage"  # this card or this code only; the device is well
    BARRIER = "barrier"  # an event on the barrier's wires
    COUNTED = "counted"  # the driver drops bytes and counts them, and everything works
    NOTHING = "nothing"  # nobody notices, and everything works
    UNTOLD = "untold"  # it does not work and cannot be told, or not for minutes; docs/devices.md says so


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One fault of one kind of device. `told` is a symptom, `outcome:reason` of a passage, or an event of the wires.

    Where either of two symptoms may be told, `|` stands between them. `also` are tickets and events of the wires that
    belong to the same fault and may come beside it, and passages that do (or may, with `?`).
    """

    kind: str
    fault: str
    where: Where
    told: str = ""
    also: tuple[str, ...] = ()

    @property
    def component(self) -> str:
        """The part of the gate that this device is."""
        return COMPONENTS.get(self.kind, "thermal")

    @property
    def symptoms(self) -> tuple[str, ...]:
        """The symptoms of which one is told; none where no ticket is opened."""
        return tuple(self.told.split("|")) if self.where in (Where.HEALTH, Where.ATTENTION) else ()

    @property
    def id(self) -> str:
        """The name of this case."""
        return f"{self.kind}-{self.fault}"


def _of(kind: str, where: Where, told: str, *faults: str, also: tuple[str, ...] = ()) -> Iterable[Case]:
    return (Case(kind=kind, fault=fault, where=where, told=told, also=also) for fault in faults)


# What a serial line's faults come to at most devices, and where it is otherwise: why is said in docs/devices.md.
_USUAL = {
    "unplug": (Where.HEALTH, "lost"),
    "silence": (Where.HEALTH, "silent"),
    "noise": (Where.HEALTH, "noise"),
    "flip": (Where.HEALTH, "noise"),
    "half": (Where.HEALTH, "noise"),
    "wrong-speed": (Where.HEALTH, "noise"),
    "prelude": (Where.ATTENTION, "dirty"),
    "torn": (Where.NOTHING, ""),
    "joined": (Where.NOTHING, ""),
}
_OTHERWISE = {
    ("idcard-sdt", "wrong-speed"): (Where.HEALTH, "silent"),
    ("gm65", "wrong-speed"): (Where.HEALTH, "silent"),
    (RELAY_BOARD, "wrong-speed"): (Where.HEALTH, "silent"),
    (RELAY_BOARD, "half"): (Where.HEALTH, "silent"),
    (RELAY_BOARD, "prelude"): (Where.NOTHING, ""),
    ("gy-mcu90640", "prelude"): (Where.COUNTED, ""),
    ("mlx90614-text", "prelude"): (Where.COUNTED, ""),
    ("mlx90614-text", "flip"): (Where.ATTENTION, "dirty"),
    ("tf-luna", "flip"): (Where.ATTENTION, "dirty"),
    ("tf-luna", "half"): (Where.HEALTH, "silent|noise"),
    ("ld2410", "flip"): (Where.ATTENTION, "dirty"),
    ("gm65", "prelude"): (Where.PASSAGE, "hold:pass-unreadable"),
}


def _serial(kind: str) -> Iterable[Case]:
    """What may happen to any serial line. A line that works no more was often dirty first."""
    for fault, usual in _USUAL.items():
        where, told = _OTHERWISE.get((kind, fault), usual)
        may_be_dirty = kind != RELAY_BOARD and fault not in ("unplug", "silence", "torn", "joined")
        also = ("dirty",) if may_be_dirty and told != "dirty" else ()
        if (kind, fault) == ("gm65", "noise"):
            also = (*also, "hold:pass-unreadable?")  # until it is known for noise it may look like a code
        yield Case(kind=kind, fault=fault, where=where, told=told, also=also)


def _card() -> Iterable[Case]:
    kind = "idcard-sdt"
    unreadable = ("code-81", "code-31", "code-32", "code-33", "code-40", "code-41", "code-47", "code-91")
    yield from _of(kind, Where.UNTOLD, "", "code-80")  # an empty reader says the same
    yield from _of(kind, Where.PASSAGE, "hold:card-unreadable", *unreadable, "taken-after-select", "long-length")
    yield from _of(kind, Where.HEALTH, "self-test", "code-60", "code-66", "number-fails")
    yield from _of(kind, Where.HEALTH, "refused", "code-10", "code-11", "code-21", "code-24")
    yield from _of(kind, Where.PASSAGE, "hold:card-kind-unknown", "unknown-letter")
    yield from _of(kind, Where.PASSAGE, "hold:card-number-invalid", "wrong-check-digit")
    yield from _of(kind, Where.PASSAGE, "hold:card-data-contradicts", "wrong-birth")
    yield from _of(kind, Where.PASSAGE, "refuse:card-expired", "expired")
    healed = ("nul-fill", "surrogate-name", "long-term", "stays-found", "stays-hidden", "identifiers", "slow-read")
    yield from _of(kind, Where.NOTHING, "", *healed)


def _thermal() -> Iterable[Case]:
    array = "gy-mcu90640"
    yield from _of(array, Where.ATTENTION, "dead-pixels", "dead-pixel-cold", "dead-pixel-hot", "minus-273")
    yield from _of(array, Where.HEALTH, "frozen", "stale")
    yield from _of(array, Where.HEALTH, "noise", "checksum", also=("dirty",))
    yield from _of(array, Where.ATTENTION, "dirty", "cut-by-next")
    yield from _of(array, Where.HEALTH, "warming-up", "drift")
    yield from _of(array, Where.HEALTH, "implausible", "ambient-60")
    for point in ("gy-mcu90614", "gy-614v", "cjmcu-90614", "mlx90614-text"):
        yield from _of(point, Where.HEALTH, "noise", "checksum", also=("dirty",))
        yield from _of(point, Where.HEALTH, "frozen", "stale")
        yield from _of(point, Where.HEALTH, "implausible", "bit15", "ambient-60")
    for bus in ("mlx90614-i2c", "amg8833-i2c"):
        yield from _of(bus, Where.HEALTH, "noise" if bus == "mlx90614-i2c" else "implausible", "pec")
        yield from _of(bus, Where.HEALTH, "implausible", "bit15", "ambient-60")
        yield from _of(bus, Where.HEALTH, "silent", "ffff", "zero")
        yield from _of(bus, Where.HEALTH, "frozen", "frozen")
        yield from _of(bus, Where.HEALTH, "lost", "unplug", "slow")


def _other_sensors() -> Iterable[Case]:
    scanner, distance, radar = "gm65", "tf-luna", "ld2410"
    yield from _of(scanner, Where.NOTHING, "", "glued-ack", "duplicates")
    yield from _of(scanner, Where.HEALTH, "misconfigured", "no-terminator", also=("hold:pass-unreadable",))
    yield from _of(scanner, Where.PASSAGE, "hold:pass-unreadable", "huge-code", "not-utf8")
    yield from _of(distance, Where.HEALTH, "blocked", "strength-0")
    yield from _of(distance, Where.HEALTH, "overexposed", "saturated")
    yield from _of(distance, Where.HEALTH, "implausible", "error-distance", "all-59")
    yield from _of(radar, Where.UNTOLD, "", "phantom")  # for ten minutes: see test_told_later.py
    yield from _of(radar, Where.HEALTH, "noise", "no-tail", also=("dirty",))
    yield from _of(radar, Where.HEALTH, "misconfigured", "stuck-in-config")
    # Its reports are as good as ever. When they stop, the configuration is still open, and the driver closes it.
    yield from _of(radar, Where.NOTHING, "", "report-in-config", also=("misconfigured",))


def _barrier() -> Iterable[Case]:
    board = RELAY_BOARD
    yield from _serial(board)
    yield from _of(board, Where.HEALTH, "silent", "late", "no-echo")
    yield from _of(board, Where.HEALTH, "refused", "exception-02", "exception-04")
    yield from _of(board, Where.HEALTH, "not-moving", "unchanged")
    yield from _of(GATE, Where.BARRIER, "fire-on", "fire-at-start", also=("fire-off",))
    yield from _of(GATE, Where.HEALTH, "lost", "unplug")
    yield from _of(GATE, Where.BARRIER, "intrusion", "pass-without-open", "double-pass", "sensor-stuck")
    yield from _of(GATE, Where.BARRIER, "timed-out", "no-pass")
    yield from _of(GATE, Where.BARRIER, "tailgate", "tailgate")
    yield from _of(GATE, Where.BARRIER, "forced", "forced", also=("held-open", "closed"))  # one that is left open
    yield from _of(GATE, Where.HEALTH, "jammed", "jam", also=("timed-out",))
    yield from _of(GATE, Where.HEALTH, "held-open", "held-open", also=("held-open", "closed"))


CASES: tuple[Case, ...] = tuple(
    case
    for part in (*(_serial(kind) for kind in SERIAL), _card(), _thermal(), _other_sensors(), _barrier())
    for case in part
)
LINE_FAULTS = PtyDevice.FAULTS

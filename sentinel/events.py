"""Name what reaches the deciding thread: readings, failures, the wires of the barrier, a new roster, a request."""

import queue
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from drivers.readings import BarrierEvent, Reading
from recognition.readings import FaceReading, LifeSigns, NoFace
from sentinel.control import Peer
from sentinel.core.admission import PassBook
from sentinel.core.model import Person
from sentinel.passes import Issuers
from sentinel.street_orders import Order


@dataclass(frozen=True, slots=True)
class FromDevice:
    """A reading of a named device."""

    device: str
    reading: Reading


@dataclass(frozen=True, slots=True)
class DeviceFailed:
    """A worker or child of a named device ended; its supervisor tries again."""

    device: str
    symptom: str
    detail: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A request from a local socket; the answer is put into `reply`."""

    request: Mapping[str, Any]
    peer: Peer
    reply: "queue.SimpleQueue[Mapping[str, Any]]" = field(default_factory=queue.SimpleQueue)


@dataclass(frozen=True, slots=True)
class RosterRead:
    """The roster as it is now, or why it could not be read; then the one before stays in use."""

    people: Mapping[str, Person] | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class PassesRead:
    """Whose passes are taken now, and what the ledger tells of passes."""

    issuers: Issuers
    book: PassBook


@dataclass(frozen=True, slots=True)
class Doze:
    """Tell vision that nobody is near (on) or that somebody is; while on, it looks less often."""

    on: bool


Event = (
    RosterRead | PassesRead | FromDevice | DeviceFailed | FaceReading | LifeSigns | NoFace | BarrierEvent
    | Asked | Order
)

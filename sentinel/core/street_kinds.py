"""List the kinds of entry about what came down from the street; `sentinel.core.kinds` has the rest and the list."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from drivers.readings import Leaf
from sentinel.core.health import Mode

COMMAND_ACTS = ("open", "revoke", "report", "mode")
DOWN_REFUSALS = (  # why what came down from the street was not taken: sync.snapshot.Refusal
    "not-signed", "unknown-signer", "damaged", "other-gate", "old", "expired", "wrong-base", "too-big",
    "not-understood", "other-start", "clock-untrusted", "not-possible",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class FromStreet:
    """What every entry about a document of the street tells."""

    VERSION: ClassVar[int] = 1
    accepted: bool
    newest: int  # the newest serial of this kind that was taken, this one included
    sha256: str  # of its sealed content; of the whole message where its header is not believed
    serial: int | None = None
    signer: str | None = None
    reason: Annotated[str, DOWN_REFUSALS] | None = None  # why it was not taken


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterTaken(FromStreet):
    """The street sent a roster, or a change of it, and it was taken or refused."""

    KIND: ClassVar[str] = "roster"
    base: int | None = None
    people: int | None = None
    added: int | None = None
    changed: int | None = None
    removed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyTaken(FromStreet):
    """The street sent what it sets, and it was taken or refused."""

    KIND: ClassVar[str] = "policy"
    settings: tuple[str, ...] | None = None  # that it names


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandTaken(FromStreet):
    """The street commanded something, and it is done or was refused."""

    KIND: ClassVar[str] = "command"
    act: Annotated[str, COMMAND_ACTS] | None = None
    leaf: Annotated[str, Leaf] | None = None
    pass_id: str | None = None
    person: str | None = None  # keyed token


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How the gate is, as the street has asked."""

    KIND: ClassVar[str] = "report"
    VERSION: ClassVar[int] = 1
    mode: Annotated[str, Mode]
    because: tuple[str, ...]  # open faults that keep it from working by itself, `component:symptom`
    faults: tuple[str, ...]  # everything that is not well
    fill: float  # the share of the ledger's quota that is used
    queued: int
    unkept: int
    version: str
    balance: dict[str, int] | None = None  # of the uplink: appended, receipted, refused, pending

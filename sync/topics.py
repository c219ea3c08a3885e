"""Name the MQTT topics of a gate: `sentinel/v1/{street}/{site}/{gate}/` and one leaf.

The gate's place in the topic is fixed, so one line of a broker's access list binds a client to its own gate.
"""

import re
from dataclasses import dataclass

from sync.errors import WireError

ROOT = "sentinel/v1"
LEAVES = ("state", "health", "entries", "receipt", "roster", "policy", "command")
_SEGMENT = re.compile(r"[^/+#\x00-\x20\x7f\ud800-\udfff]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Where a gate stands. Its text form `street/site/gate` is the device name at the street."""

    street: str
    site: str
    gate: str

    def __post_init__(self) -> None:
        for name in ("street", "site", "gate"):
            if not _SEGMENT.fullmatch(getattr(self, name)):
                raise WireError(f"{name} {getattr(self, name)!r} cannot be part of a topic; use letters and digits")

    def __str__(self) -> str:
        return f"{self.street}/{self.site}/{self.gate}"

    @property
    def source(self) -> str:
        """The CloudEvents source of this gate's entries."""
        return f"/gates/{self}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topics:
    """The topics of one gate."""

    gate: Gate
    state: str
    health: str
    entries: str
    receipt: str
    roster: str  # and below it `2`, `3` …: further parts; `delta`: a change of it
    policy: str
    command: str


def topics(street: str, site: str, gate: str) -> Topics:
    """Return the topics of one gate."""
    here = Gate(street=street, site=site, gate=gate)
    return Topics(gate=here, **{leaf: f"{ROOT}/{here}/{leaf}" for leaf in LEAVES})


def every_gate(leaf: str) -> str:
    """Return the subscription that hears this leaf of every gate."""
    return f"{ROOT}/+/+/+/{leaf}"


def parse_topic(topic: str) -> tuple[Gate, str]:
    """Return the gate and the leaf that a topic names."""
    parts = topic.split("/")
    if len(parts) != 6 or "/".join(parts[:2]) != ROOT or parts[5] not in LEAVES:
        raise WireError(f"topic {topic!r} is none of ours; expected {ROOT}/street/site/gate/leaf")
    return Gate(street=parts[2], site=parts[3], gate=parts[4]), parts[5]

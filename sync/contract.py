"""Describe the messages between gate and street as JSON Schemas: the envelope and its company, not the bodies.

`sync.wire` is what runs; this page says the same for programs, and `tests/test_contract.py` holds both together. One
row of MESSAGES per leaf of `sync.topics`. What may be added later is open: unknown members are allowed everywhere.
The schemas mean the same in draft 07, which AsyncAPI's tools read, and in 2020-12.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sync.pack import ENCODING, ENCODINGS
from sync.snapshot import DOWN_TYPE, MOST_PARTS, MOST_SERIAL
from sync.snapshot import ENCODING as DOWN_ENCODING
from sync.wire import ENTRIES_TYPE, JSON_TYPE, MAX_ENCODINGS, MAX_EPOCHS, MAX_EVENTS, MAX_RUNS, MAX_SEQ, SCHEMA

Schema = dict[str, Any]
WORDS = "x-extensible-enum"  # the words of today; a reader takes one it does not know as text
GATE, STREET = "gate", "street"


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageForm:
    """One leaf of the topics: who sends it, how, and what it looks like. Its payload is the schema of the same name."""

    sender: str
    says: str
    payload: Schema
    retained: bool = False
    content_type: str = JSON_TYPE
    properties: Mapping[str, Schema] = field(default_factory=dict)  # MQTT user properties
    needs: tuple[str, ...] = ()  # those of them that are always there


def ref(name: str) -> Schema:
    """Return a reference to a schema of the contract."""
    return {"$ref": f"#/$defs/{name}"}


def record(needs: tuple[str, ...] = (), **properties: Schema) -> Schema:
    """Return the schema of an object with these members; others may be there too."""
    return {"type": "object", "properties": properties, "required": list(needs)}


def rows(of: Schema, most: int | None = None) -> Schema:
    """Return the schema of an array."""
    return {"type": "array", "items": of} | ({} if most is None else {"maxItems": most})


def text(pattern: str | None = None) -> Schema:
    """Return the schema of a text, of this form."""
    return {"type": "string", "maxLength": 1_000} if pattern is None else {"type": "string", "pattern": f"^{pattern}$"}


def events(kinds: Mapping[str, Schema]) -> dict[str, Schema]:
    """Return the schemas of an entry as CloudEvent and of its bodies, by `{kind}.v{version}`.

    A type that is not listed is valid with any object as its body: a street stores what it does not know.
    """
    known = [
        {
            "if": record(("type",), type={"const": f"cn.sentinel.{name}"}),
            "then": {"properties": {"data": ref(name)}},
        }
        for name in kinds
    ]
    return {"event": _EVENT | {"allOf": known}, **kinds}


_HEX64 = text("[0-9a-f]{64}")
_INT64 = text("-?[0-9]{1,20}")  # numbers above 2**53 are text
_EPOCH = text("[0-7][0-9a-f]{15}")
_KEY = text(r"(\*|[0-7][0-9a-f]{15}-[0-9]{1,19})")
_COUNT: Schema = {"type": "integer", "minimum": 0, "maximum": MAX_SEQ}
_V1: Schema = {"const": 1}
_RUN: Schema = {
    "type": "array",
    "items": {"type": "integer", "minimum": 1, "maximum": MAX_SEQ},
    "minItems": 2,
    "maxItems": 2,
}
_EVENT = record(
    (
        "specversion", "id", "source", "type", "epoch", "sequence", "bootid", "bootns", "wallns", "trusted", "prev",
        "hash", "data",
    ),
    specversion={"const": "1.0"},
    id=text("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"),
    source=text("/gates/[^/+# ]{1,64}/[^/+# ]{1,64}/[^/+# ]{1,64}"),
    type=text(r"cn\.sentinel\.[a-z][a-z0-9-]{0,63}\.v[1-9][0-9]{0,5}"),
    time={"type": "string", "format": "date-time"},
    epoch=_EPOCH,
    sequence=text("[0-9]{10}"),
    bootid=text(),
    bootns=_INT64,
    wallns=_INT64,
    trusted={"type": "boolean"},
    prev=_HEX64,
    hash=_HEX64,
    personalsha256=_HEX64,
    historical={"type": "boolean"},
    data={"type": "object"},
)  # fmt: skip
_SERIAL: Schema = {"type": "integer", "minimum": 1, "maximum": MOST_SERIAL}
_PART: Schema = {"type": "integer", "minimum": 1, "maximum": MOST_PARTS}
_MOMENT: Schema = {"type": "string", "format": "date-time"}


def _down(leaf: str) -> Schema:
    """Return the schema of the header of a document; behind it comes what is sealed, see `sync.snapshot`."""
    return record(
        (
            "v", "type", "gate", "serial", "base", "part", "parts", "made_at", "expires", "sha256", "size",
            "encoding", "signer",
        ),
        v=_V1,
        type={"const": leaf},
        gate=text(),
        serial=_SERIAL,
        base={"type": ["integer", "null"], "minimum": 0, "maximum": MOST_SERIAL},
        part=_PART,
        parts=_PART,
        made_at=_MOMENT,
        expires={"type": ["string", "null"], "format": "date-time"},
        sha256=_HEX64,
        size=_COUNT,
        encoding={"const": DOWN_ENCODING},
        signer=text("[0-9a-f]{16}"),
    )  # fmt: skip


_SIGNED = {"signer": text("[0-9a-f]{16}"), "signature": text("[A-Za-z0-9+/]{86}==")}

MESSAGES: dict[str, MessageForm] = {
    "state": MessageForm(
        sender=GATE,
        says="Whether the gate is connected, and which entries exist; also its last will.",
        retained=True,
        payload=record(
            ("v", "online"),
            v=_V1,
            online={"type": "boolean"},
            since=text(),
            epochs=rows(record(("epoch", "first", "last"), epoch=_EPOCH, first=_COUNT, last=_COUNT), MAX_EPOCHS),
            ask=text(),
        ),
    ),
    "health": MessageForm(
        sender=GATE,
        says="The balance of the uplink: appended = receipted + refused + pending.",
        retained=True,
        payload=record(
            ("v", "at", "appended", "receipted", "refused", "pending", "alarms"),
            v=_V1,
            at=text(),
            appended=_COUNT,
            receipted=_COUNT,
            refused=_COUNT,
            pending=_COUNT,
            alarms=_COUNT,
        ),
    ),
    "entries": MessageForm(
        sender=GATE,
        says="A batch of entries as CloudEvents; closed by the receipt and by nothing else.",
        content_type=ENTRIES_TYPE,
        payload=rows(ref("event"), MAX_EVENTS),
        properties={
            "schema": {"const": SCHEMA},
            "batch": text(),
            ENCODING: {"type": "string", WORDS: list(ENCODINGS)},
        },
        needs=("schema", "batch"),
    ),
    "receipt": MessageForm(
        sender=STREET,
        says="What the street holds for good; sent after its commit.",
        properties=_SIGNED,
        payload=record(
            ("v", "gate"),
            v=_V1,
            gate=text(),
            batch={"type": ["string", "null"], "maxLength": 1_000},
            epochs=rows(
                record(
                    ("epoch", "upto"), epoch=_EPOCH, upto=_COUNT, also=rows(_RUN, MAX_RUNS), part={"type": "boolean"}
                ),
                MAX_EPOCHS,
            ),
            answers=text(),
            refused=rows(record(("key", "reason"), key=_KEY, reason=text()), MAX_EVENTS),
            encodings=rows({"type": "string", WORDS: list(ENCODINGS)}, MAX_ENCODINGS),
        ),
    ),
    "roster": MessageForm(
        sender=STREET,
        says="Who may pass and when, or a change of it: a signed document, of which this is the header.",
        retained=True,
        content_type=DOWN_TYPE,
        payload=_down("roster"),
    ),
    "policy": MessageForm(
        sender=STREET,
        says="What the street sets at the gate: a signed document, of which this is the header.",
        retained=True,
        content_type=DOWN_TYPE,
        payload=_down("policy"),
    ),
    "command": MessageForm(
        sender=STREET,
        says="One act, at most once: a signed document, of which this is the header.",
        content_type=DOWN_TYPE,
        payload=_down("command"),
    ),
}  # fmt: skip

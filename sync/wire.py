"""Translate entries, receipts and states to the messages of docs/messages.md and back.

Pure: no clock, no network. What comes in is judged as if an enemy had sent it: anything that does not follow the
contract is a WireError that names the field, and nothing else is ever raised.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sync.entry import Entry, Key, Stamp, canonical, entry_hash, epoch_text, parse_key, quoted, uuid_text
from sync.errors import WireError
from sync.pack import unpack
from sync.quick import Arrival, read_as_written
from sync.runs import Run
from sync.topics import Gate, Topics, every_gate, parse_topic, topics

__all__ = [  # the topics are part of the contract: whoever reads messages finds both here
    "ANY_KEY", "ENTRIES_TYPE", "JSON_TYPE", "MAX_RUNS", "SCHEMA", "Arrival", "Batch", "EpochReceipt", "Gate",
    "KnownEpoch", "Receipt", "Refused", "State", "Topics", "decode_batch", "decode_receipt", "decode_state",
    "encode_batch", "encode_entry", "encode_health", "encode_receipt", "encode_state", "every_gate", "parse_topic",
    "topics", "utc_text",
]  # fmt: skip

SCHEMA = "sentinel.entries/1"
ENTRIES_TYPE = "application/cloudevents-batch+json"
JSON_TYPE = "application/json"
ANY_KEY = "*"  # in a receipt's `refused`: something of this batch that has no readable key

MAX_EPOCH = (1 << 63) - 1  # what SQLite and a signed 64-bit integer hold
MAX_SEQ = 9_999_999_999  # ten digits, as `sequence` is written
MAX_EVENTS = 5_000
MAX_RUNS = 1_000  # per epoch of a receipt
MAX_ENCODINGS = 16
MAX_EPOCHS = MAX_EVENTS  # a gate that restarted often while offline has few entries per epoch

_TYPE = re.compile(r"cn\.sentinel\.([a-z][a-z0-9-]{0,63})\.v([1-9][0-9]{0,5})")
_HEX64 = re.compile(r"[0-9a-f]{64}")
_EPOCH = re.compile(r"[0-9a-f]{16}")
_NUMBER = re.compile(r"-?[0-9]{1,20}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An entry that the street will not take, and why. `key` is None when the event's key cannot be read."""

    key: Key | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one message of entries held: those that can be kept and those that cannot."""

    id: str | None
    arrivals: tuple[Arrival, ...]
    refused: tuple[Refused, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochReceipt:
    """What the street holds of one epoch: all of 1..upto, and `also` these runs above it."""

    epoch: int
    upto: int
    also: tuple[Run, ...] = ()
    part: bool = False  # there are more runs than it names


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The street's word, given after its commit, that it holds these entries for good."""

    gate: str
    epochs: tuple[EpochReceipt, ...]
    refused: tuple[Refused, ...] = ()
    batch: str | None = None  # None when it answers a state, not a batch
    encodings: tuple[str, ...] = ()  # what the street can read besides plain JSON; an old one says nothing
    answers: str | None = None  # the word of the state that it answers


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownEpoch:
    """The numbers of one epoch that the gate's ledger holds."""

    epoch: int
    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Whether a gate's uplink is connected, and which entries exist, so that the street can count what it lacks."""

    online: bool
    since: str | None = None  # RFC 3339, for people
    epochs: tuple[KnownEpoch, ...] = ()
    ask: str | None = None  # to be repeated in the answer, see `sync/question.py`


# --- entries -----------------------------------------------------------------------------------------------------


def encode_entry(entry: Entry, source: str, *, historical: bool) -> bytes:
    """Return one entry as a CloudEvent. The personal part stays at home: only its SHA-256 travels.

    This is the form; a ledger's reader gives the same bytes sooner (`sync/events.py`). The hash is not computed again:
    whoever receives it does that.
    """
    stamp, hash_hex = entry.stamp, entry.hash.hex()
    time = utc_text(stamp.wall_ns)
    told = f',"time":"{time}"' if time else ""
    waited = ',"historical":true' if historical else ""
    personal = f',"personalsha256":"{entry.personal_sha256.hex()}"' if entry.personal_sha256 else ""
    head = (
        f'{{"specversion":"1.0","id":"{uuid_text(stamp.wall_ns, hash_hex)}","source":{quoted(source)}'
        f',"type":{quoted(f"cn.sentinel.{entry.kind}.v{entry.version}")}'
        f',"epoch":"{epoch_text(entry.key.epoch)}","sequence":"{entry.key.seq:010d}"'
        f',"bootid":{quoted(stamp.boot_id)},"bootns":"{stamp.boot_ns}","wallns":"{stamp.wall_ns}"'
        f',"trusted":{"true" if stamp.clock_trusted else "false"}'
        f',"prev":"{entry.prev.hex()}","hash":"{hash_hex}"'
        f'{told}{personal}{waited},"data":'
    )
    # The body is put in as it lies on the disk: it is canonical JSON already, and the hash is over these bytes.
    return b"%b%b}" % (head.encode(), entry.body)


def encode_batch(events: Sequence[bytes]) -> bytes:
    """Return encoded entries as one CloudEvents JSON batch."""
    return b"[" + b",".join(events) + b"]"


def decode_batch(payload: bytes, gate: Gate, batch: str | None, encoding: str | None = None) -> Batch:
    """Return the entries of one message, each checked against its own hash.

    One bad event is refused alone; a message that is no batch at all is refused as a whole. `encoding` is the message's
    `content-encoding`.
    """
    try:
        payload = payload if encoding is None else unpack(payload, encoding)
        quick = read_as_written(payload, gate.source, MAX_EVENTS)
        if quick is not None:
            return Batch(id=batch, arrivals=tuple(quick))
        events = _load(payload)
        if not isinstance(events, list):
            raise WireError("batch: expected a JSON array of CloudEvents")
        if len(events) > MAX_EVENTS:
            raise WireError(f"batch: {len(events)} events; at most {MAX_EVENTS}")
    except WireError as error:
        return Batch(id=batch, arrivals=(), refused=(Refused(key=None, reason=str(error)),))
    arrivals, refused = [], []
    for event in events:
        try:
            arrivals.append(_decode_event(event, gate.source))
        except WireError as error:
            refused.append(Refused(key=_key_if_readable(event), reason=str(error)))
    return Batch(id=batch, arrivals=tuple(arrivals), refused=tuple(refused))


def _decode_event(event: Any, source: str) -> Arrival:
    if not isinstance(event, dict):
        raise WireError("event: expected a JSON object")
    if event.get("specversion") != "1.0":
        raise WireError('specversion: expected "1.0"')
    if event.get("source") != source:
        raise WireError("source: is not the gate of this topic")
    kind = _TYPE.fullmatch(_text(event, "type"))
    if not kind:
        raise WireError("type: expected cn.sentinel.<kind>.v<version>")
    trusted, historical = event.get("trusted"), event.get("historical", False)
    if not isinstance(trusted, bool) or not isinstance(historical, bool):
        raise WireError("trusted, historical: expected true or false")
    data = event.get("data")
    if not isinstance(data, dict):
        raise WireError("data: expected a JSON object")
    sha256 = bytes.fromhex(_hex(event, "personalsha256", _HEX64)) if "personalsha256" in event else None
    entry = Entry(
        key=_key(event),
        kind=kind[1],
        version=int(kind[2]),
        stamp=Stamp(
            wall_ns=_int64(event, "wallns"),
            boot_ns=_int64(event, "bootns"),
            boot_id=_text(event, "bootid"),
            clock_trusted=trusted,
        ),
        body=_canonical(data),
        personal_sha256=sha256,
        prev=bytes.fromhex(_hex(event, "prev", _HEX64)),
        hash=bytes.fromhex(_hex(event, "hash", _HEX64)),
    )
    if entry_hash(entry) != entry.hash:
        raise WireError("hash: the entry is not what its hash says")
    if event.get("id") != str(entry.uuid):
        raise WireError("id: is not the one that follows from hash and wallns")
    return Arrival(entry=entry, historical=historical)


def _canonical(data: Mapping[str, Any]) -> bytes:
    try:
        return canonical(data)
    except (ValueError, RecursionError) as error:  # NaN, a lone surrogate, too deep
        raise WireError("data: has no canonical form") from error


def _key(event: Mapping[str, Any]) -> Key:
    epoch = int(_hex(event, "epoch", _EPOCH), 16)
    sequence = _text(event, "sequence")
    if len(sequence) != 10 or not _NUMBER.fullmatch(sequence) or sequence[0] == "-":
        raise WireError("sequence: expected ten digits")
    return _checked_key(Key(epoch, int(sequence)))


def _checked_key(key: Key) -> Key:
    if not 0 <= key.epoch <= MAX_EPOCH or not 1 <= key.seq <= MAX_SEQ:
        raise WireError("epoch, sequence: out of range")
    return key


def _key_if_readable(event: Any) -> Key | None:
    try:
        return _key(event) if isinstance(event, dict) else None
    except WireError:
        return None  # the receipt then says "*" and the gate finds the entry by halving


# --- receipts and states -----------------------------------------------------------------------------------------


def encode_receipt(receipt: Receipt) -> bytes:
    """Return a receipt as JSON."""
    body: dict[str, Any] = {
        "v": 1,
        "gate": receipt.gate,
        "epochs": [
            {"epoch": epoch_text(one.epoch), "upto": one.upto, "also": [[run.first, run.last] for run in one.also]}
            | ({"part": True} if one.part else {})
            for one in receipt.epochs
        ],
        "refused": [{"key": str(one.key) if one.key else ANY_KEY, "reason": one.reason} for one in receipt.refused],
    }
    if receipt.encodings:
        body["encodings"] = list(receipt.encodings)
    more = {"batch": receipt.batch, "answers": receipt.answers}
    return canonical(body | {name: value for name, value in more.items() if value is not None})


def decode_receipt(payload: bytes) -> Receipt:
    """Return the receipt in a message."""
    body = _versioned(payload)
    return Receipt(
        gate=_text(body, "gate"),
        epochs=tuple(_epoch_receipt(item) for item in _objects(body, "epochs", MAX_EPOCHS)),
        refused=tuple(_refused(item) for item in _objects(body, "refused", MAX_EVENTS)),
        batch=_text(body, "batch") if body.get("batch") is not None else None,
        encodings=_encodings(body.get("encodings", [])),
        answers=_text(body, "answers") if "answers" in body else None,
    )


def _encodings(names: Any) -> tuple[str, ...]:
    if not isinstance(names, list) or len(names) > MAX_ENCODINGS or not all(isinstance(name, str) for name in names):
        raise WireError(f"encodings: expected at most {MAX_ENCODINGS} names")
    return tuple(names)


def _epoch_receipt(item: Mapping[str, Any]) -> EpochReceipt:
    also = item.get("also", [])
    if not isinstance(also, list) or len(also) > MAX_RUNS:
        raise WireError(f"also: expected at most {MAX_RUNS} pairs")
    return EpochReceipt(
        epoch=_epoch(item), upto=_count(item, "upto"), also=tuple(map(_run, also)), part=item.get("part") is True
    )


def _run(pair: Any) -> Run:
    if not isinstance(pair, list) or len(pair) != 2 or not all(type(number) is int for number in pair):
        raise WireError("also: expected pairs of numbers")
    if not 1 <= pair[0] <= pair[1] <= MAX_SEQ:
        raise WireError("also: expected rising pairs from 1 up")
    return Run(pair[0], pair[1])


def _refused(item: Mapping[str, Any]) -> Refused:
    reason, text = _text(item, "reason")[:200], _text(item, "key")
    if text == ANY_KEY:
        return Refused(key=None, reason=reason)
    try:
        return Refused(key=_checked_key(parse_key(text)), reason=reason)
    except ValueError as error:
        raise WireError("key: expected <epoch>-<number> or *") from error


def encode_state(state: State) -> bytes:
    """Return a gate's state as JSON."""
    body: dict[str, Any] = {"v": 1, "online": state.online}
    if state.since is not None:
        body["since"] = state.since
    if state.epochs:
        body["epochs"] = [{"epoch": epoch_text(e.epoch), "first": e.first, "last": e.last} for e in state.epochs]
    if state.ask is not None:
        body["ask"] = state.ask
    return canonical(body)


def decode_state(payload: bytes) -> State:
    """Return the state in a message."""
    body = _versioned(payload)
    online = body.get("online")
    if not isinstance(online, bool):
        raise WireError("online: expected true or false")
    epochs = tuple(
        KnownEpoch(epoch=_epoch(item), first=_count(item, "first"), last=_count(item, "last"))
        for item in _objects(body, "epochs", MAX_EPOCHS)
    )
    since, ask = (_text(body, name) if name in body else None for name in ("since", "ask"))
    return State(online=online, since=since, epochs=epochs, ask=ask)


def encode_health(*, at: str, **counts: int) -> bytes:
    """Return the balance of an uplink as JSON."""
    return canonical({"v": 1, "at": at, **counts})


# --- fields ------------------------------------------------------------------------------------------------------


def utc_text(wall_ns: int) -> str:
    """Return the wall time in RFC 3339, or nothing when no calendar holds it."""
    second = _second_text(wall_ns // 1_000_000_000)
    return second and f"{second}.{wall_ns % 1_000_000_000 // 1_000:06d}Z"


@lru_cache(maxsize=256)  # neighbours share their second
def _second_text(second: int) -> str:
    try:
        return datetime.fromtimestamp(second, UTC).isoformat()[:19]
    except (ValueError, OverflowError, OSError):
        return ""  # `wallns` still says what the clock said


def _load(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise WireError("message: is not JSON") from error


def _versioned(payload: bytes) -> Mapping[str, Any]:
    body = _load(payload)
    if not isinstance(body, dict) or type(body.get("v")) is not int or body["v"] != 1:
        raise WireError("v: expected a JSON object of version 1")
    return body


def _objects(body: Mapping[str, Any], name: str, limit: int) -> list[Mapping[str, Any]]:
    items = body.get(name, [])
    if not isinstance(items, list) or len(items) > limit or not all(isinstance(item, dict) for item in items):
        raise WireError(f"{name}: expected at most {limit} objects")
    return items


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or len(value) > 1_000:
        raise WireError(f"{name}: expected text")
    if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
        raise WireError(f"{name}: half of a character pair, which neither UTF-8 nor a database holds")
    return value


def _hex(body: Mapping[str, Any], name: str, form: re.Pattern[str]) -> str:
    value = _text(body, name)
    if not form.fullmatch(value):
        raise WireError(f"{name}: expected lower-case hexadecimal digits")
    return value


def _epoch(body: Mapping[str, Any]) -> int:
    return _checked_key(Key(int(_hex(body, "epoch", _EPOCH), 16), 1)).epoch


def _count(body: Mapping[str, Any], name: str) -> int:
    value = body.get(name)
    if type(value) is not int or not 0 <= value <= MAX_SEQ:
        raise WireError(f"{name}: expected a number from 0 up")
    return value


def _int64(body: Mapping[str, Any], name: str) -> int:
    text = _text(body, name)
    if not _NUMBER.fullmatch(text) or not -(1 << 63) <= int(text) < 1 << 63:
        raise WireError(f"{name}: expected a 64-bit number as text")
    return int(text)

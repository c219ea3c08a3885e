"""The contract is one: what programs are told, what the page says, what travelled before, and what really travels."""

import itertools
import json
import re
import types
from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Union, get_args, get_origin, get_type_hints

import pytest
from contract_check import faults, faults_of_entry, faults_of_message, validator
from contract_compat import broken_promises

from sentinel.contract import asyncapi, schemas
from sentinel.core import kinds
from sync.broker import Message, Will
from sync.contract import GATE, MESSAGES, STREET
from sync.cursor import Cursor
from sync.entry import Draft, Entry
from sync.errors import WireError
from sync.forward import Forwarder
from sync.ledger import LedgerReader, LedgerWriter
from sync.memory_broker import MemoryBroker, MemoryHub
from sync.pack import ENCODING, unpack
from sync.receive import Receiver
from sync.snapshot import header_of
from sync.store import Store
from sync.topics import LEAVES, ROOT
from sync.wire import Gate, State, decode_batch, decode_receipt, decode_state, encode_state, topics

TESTS = Path(__file__).resolve().parent
GOLDEN = TESTS / "golden" / "messages"
FROZEN = TESTS / "golden" / "contract" / "v1.json"
PAGE = (TESTS.parent / "docs" / "messages.md").read_text(encoding="utf-8")
EAST = Gate(street="330106", site="cuiyuan3", gate="east-3")
NAMES = topics(EAST.street, EAST.site, EAST.gate)
NOW_NS = 1_795_000_000_000_000_000
WILL = encode_state(State(online=False))


def a_value(hint: Any, turn: int) -> Any:
    """Return some value of a field's type; of certain words another one at each turn."""
    origin, parts = get_origin(hint), [part for part in get_args(hint) if part is not type(None)]
    if origin in (Union, types.UnionType):
        return a_value(parts[0], turn)
    if origin is Annotated:
        words = [str(word) for word in hint.__metadata__[0]]
        return words[turn % len(words)]
    if origin in (tuple, list):
        return origin(a_value(part, turn) for part in parts if part is not ...)
    if origin is dict:
        return {"passage": a_value(parts[1], turn)}
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return list(hint)[turn % len(hint)]
    if hasattr(hint, "__annotations__"):
        made = {name: a_value(part, turn) for name, part in get_type_hints(hint, include_extras=True).items()
                if get_origin(part) is not ClassVar}  # fmt: skip
        return hint(**made)
    return {str: "文 text", int: 7, float: 36.5, bool: True}[hint]


def bodies_of(kind: Any) -> Iterator[dict[str, Any]]:
    """Yield bodies of a kind: with nothing that may be left out, and with everything, so that each word comes once."""
    hints = get_type_hints(kind, include_extras=True)
    optional = {one.name for one in fields(kind) if type(None) in get_args(hints[one.name])}
    words = itertools.chain.from_iterable(_words_in(hint) for hint in hints.values())
    for turn in range(max((len(each) for each in words), default=1)):
        whole = {one.name: a_value(hints[one.name], turn) for one in fields(kind)}
        if turn == 0:
            least = kind(**{name: None if name in optional else value for name, value in whole.items()})
            yield json.loads(json.dumps(kinds.body_of(least)))
        yield json.loads(json.dumps(kinds.body_of(kind(**whole))))


def _words_in(hint: Any) -> Iterator[list[str]]:
    if get_origin(hint) is Annotated:
        yield [str(word) for word in hint.__metadata__[0]]
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        yield list(hint)
    for part in get_args(hint):
        yield from _words_in(part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What was published while a gate with an entry of every form drained to a street, and what its ledger held."""

    messages: tuple[Message, ...]
    entries: tuple[Entry, ...]


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Traffic:
    """A new leaf or a new way of sending is seen here when the real sender is let send it once."""
    ledger, hub = tmp_path_factory.mktemp("contract") / "ledger.db", MemoryHub()
    for epoch_body in ({"version": "0.1.0"}, {"version": "0.1.0", "config_sha256": "ab" * 32}):
        writer = LedgerWriter.open(ledger, vault=None, owner="gate", start_body=epoch_body)
        for kind in kinds.ALL.values():
            for body in bodies_of(kind):
                writer.append(Draft(kind=kind.KIND, version=kind.VERSION, body=body), 5.0)
        writer.close("maintenance")
    gate = MemoryBroker(hub, will=Will(topic=NAMES.state, payload=WILL))
    with LedgerReader(ledger) as reader, Cursor(":memory:", write=True) as cursor, Store(":memory:") as store:
        receiver = Receiver(store, MemoryBroker(hub), wall_ns=lambda: NOW_NS)
        receiver.connect(1.0)
        forwarder = Forwarder(
            reader, cursor, gate, NAMES, clock=lambda: 1.0, wall_ns=lambda: NOW_NS, chance=lambda: 0.5,
            batch_entries=50, window_batches=2,  # so that receipts come while there is something left to compress
        )  # fmt: skip
        forwarder.connect(1.0)
        while forwarder.balance().pending:
            forwarder.turn(0.0)
            receiver.turn(0.0)
        gate.break_off("the line was cut")
        held = tuple(itertools.chain.from_iterable(reader.range(one.epoch, 1, one.last_seq) for one in reader.epochs()))
    return Traffic(messages=tuple(hub.published), entries=held)


# What travels


def test_every_message_that_travels_is_as_the_contract_says(traffic):
    assert [fault for message in traffic.messages for fault in faults_of_message(message)] == []
    assert any(ENCODING in dict(message.properties) for message in traffic.messages), "compressed ones are among them"


def test_every_kind_of_entry_has_travelled_with_every_word_it_may_hold(traffic):
    assert [fault for entry in traffic.entries for fault in faults_of_entry(entry)] == []
    assert {entry.kind for entry in traffic.entries} == set(kinds.ALL)


def test_what_is_told_of_the_way_a_message_travels_is_so(traffic):
    told = asyncapi()
    for message in traffic.messages:
        leaf = message.topic.removeprefix(f"{ROOT}/{EAST}/")
        address = told["channels"][leaf]["address"]
        assert address.format(street=EAST.street, site=EAST.site, gate=EAST.gate) == message.topic
        sending = told["operations"][f"{MESSAGES[leaf].sender}-send-{leaf}"]["bindings"]["mqtt"]
        assert sending["retain"] == message.retained, leaf
        if message.payload != WILL:  # which the broker sends: without a content type
            assert sending["qos"] == message.ack[1], leaf
            assert told["components"]["messages"][leaf]["contentType"] == message.content_type


@pytest.mark.parametrize("golden", sorted(GOLDEN.iterdir()), ids=lambda path: path.name)
def test_what_receivers_already_understand_is_still_in_the_contract(golden):
    leaf = re.match("[a-z]+", golden.name)[0]
    payload = golden.read_bytes()
    if golden.suffix == ".down":
        assert faults(leaf, header_of(payload)) == []
        return
    assert faults(leaf, json.loads(unpack(payload, "zstd") if golden.suffix == ".zst" else payload)) == []


def test_every_topic_is_told_and_what_is_told_is_a_topic(traffic):
    assert set(MESSAGES) == set(LEAVES) == set(asyncapi()["channels"]), "a leaf needs a row of sync.contract.MESSAGES"
    seen = {message.topic.rsplit("/", 1)[1] for message in traffic.messages}
    golden = {re.match("[a-z]+", path.name)[0] for path in GOLDEN.iterdir()}
    assert set(LEAVES) <= seen | golden, "a leaf needs a golden message, or to travel in the traffic of this page"


# What is told


def test_every_kind_has_its_schema_and_nothing_else_has_one():
    told = {name for name in schemas()["$defs"] if re.search(r"\.v\d+$", name)}
    assert told == {f"{kind.KIND}.v{kind.VERSION}" for kind in kinds.ALL.values()}


def test_both_ends_find_their_part_of_every_message_in_the_document():
    for leaf, form in MESSAGES.items():
        for role in (GATE, STREET):
            action = "send" if role == form.sender else "receive"
            assert asyncapi()["operations"][f"{role}-{action}-{leaf}"]["action"] == action


def test_no_reference_in_the_document_leads_nowhere():
    for document in (schemas(), asyncapi()):
        for name in _references(document):
            at: Any = document
            for part in name.removeprefix("#/").split("/"):
                assert part in at, f"{name} leads nowhere"
                at = at[part]


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def test_the_schemas_are_schemas_and_mean_the_same_in_the_dialect_of_asyncapi():
    from jsonschema import Draft7Validator, Draft202012Validator

    for dialect in (Draft202012Validator, Draft7Validator):
        dialect.check_schema({name: value for name, value in schemas().items() if name != "$schema"})


# What the page says


def rows_under(heading: str) -> Iterator[str]:
    """Yield every name in the first column of the table under this heading of docs/messages.md."""
    part = PAGE.split(f"{heading}\n", 1)[1]
    table = re.search(r"((?:^\|.*\n)+)", part, re.MULTILINE)[1]
    for row in table.splitlines()[2:]:
        yield from re.findall(r"`([\w.-]+)`", row.split("|")[1])


@pytest.mark.parametrize(
    ("heading", "name"),
    [("## Entries", "event"), ("### What a passage says of a face", "passage.v1")],
)
def test_what_a_table_of_the_page_names_is_in_the_schema(heading, name):
    named, told = set(rows_under(heading)), set(schemas()["$defs"][name]["properties"])
    assert named
    assert named <= told
    assert name != "event" or named == told, "the page is all that another receiver needs"


def test_the_page_names_every_leaf_with_its_sender_and_whether_it_is_retained():
    leaves = re.findall(r"^\| `(\w+)` \| (\w+) → (\w+) \| (yes|no)", PAGE, re.MULTILINE)
    ends = {GATE: STREET, STREET: GATE}
    assert {(leaf, sender, to, kept == "yes") for leaf, sender, to, kept in leaves} == {
        (leaf, form.sender, ends[form.sender], form.retained) for leaf, form in MESSAGES.items()
    }


def test_the_page_names_every_kind_of_entry():
    assert [kind for kind in kinds.ALL if f"`{kind}`" not in PAGE] == []


def test_the_messages_printed_on_the_page_are_valid():
    printed = re.findall(r'^    (\{"v": 1,.*\n(?:     .*\n)*)', PAGE, re.MULTILINE)
    assert len(printed) >= 3
    for text in printed:
        said = json.loads(text)
        leaf = "receipt" if "gate" in said else "state" if "online" in said else "health"
        assert faults(leaf, said) == []


# What is none


def changed(value: Any) -> Iterator[Any]:
    """Yield copies of a message with one thing in it missing or of another type."""
    others = (None, 7, -1, "x", [], {}, True)
    places = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    for place, inner in places:
        for other in others:
            if type(other) is not type(inner):
                yield _with(value, place, other)
        if isinstance(value, dict):
            yield {name: kept for name, kept in value.items() if name != place}
        if isinstance(inner, dict | list):
            for less in changed(inner):
                yield _with(value, place, less)


def _with(value: Any, place: Any, other: Any) -> Any:
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[place] = other
    return copy


@pytest.mark.parametrize(
    ("golden", "decode"),
    [("receipt", decode_receipt), ("receipt-encodings", decode_receipt), ("state", decode_state)],
)
def test_schema_and_program_refuse_the_same_receipts_and_states(golden, decode):
    leaf = golden.split("-")[0]
    refused = 0
    for message in changed(json.loads((GOLDEN / f"{golden}.json").read_bytes())):
        try:
            decode(json.dumps(message).encode())
            taken = True
        except WireError:
            taken, refused = False, refused + 1
        assert validator(leaf, strict=False).is_valid(message) == taken, f"schema and program differ about {message}"
    assert refused > 20


def test_an_entry_with_anything_missing_or_of_another_type_is_none():
    (opened,) = json.loads((GOLDEN / "entries.json").read_bytes())[1:2]
    may_be_absent = {"time", "personalsha256", "historical"}
    for name in opened:
        less = {other: value for other, value in opened.items() if other != name}
        assert validator("event").is_valid(less) == (name in may_be_absent), name
        assert not validator("event").is_valid(opened | {name: [1]}), name
        assert not validator("event").is_valid(opened | {name: None}), name


@pytest.mark.parametrize("kind", kinds.ALL.values(), ids=lambda kind: kind.KIND)
def test_a_body_without_what_it_must_hold_or_with_another_type_is_none(kind):
    name, (least, *_) = f"{kind.KIND}.v{kind.VERSION}", bodies_of(kind)
    defaulted = {one.name for one in fields(kind) if one.name in least}
    for field in defaulted:
        assert not validator(name).is_valid(least | {field: {"x": None}}), field
        assert not validator(name).is_valid({other: value for other, value in least.items() if other != field}), field
    assert validator(name).is_valid(least | {"a_field_of_tomorrow": 1})


def test_a_word_nobody_named_is_a_fault_of_ours_and_still_valid_for_an_old_street():
    body = next(bodies_of(kinds.Barrier)) | {"event": "flew-away"}
    assert faults("barrier.v1", body) != []
    assert validator("barrier.v1", strict=False).is_valid(body)


# What was promised


def test_nothing_that_a_street_of_version_1_relies_on_is_gone():
    """Additions pass. To break the promise is to make a new version, and to understand the old one for a year."""
    broken = broken_promises(json.loads(FROZEN.read_text(encoding="utf-8"))["$defs"], schemas()["$defs"])
    assert broken == [], (
        "A street that was built on version 1 would break:\n  " + "\n  ".join(broken) + "\n"
        "Give the kind a new VERSION (or the message a new `v` or `schema`), keep the schema of the old one beside it,"
        " say so in docs/messages.md, and let both ends understand the old one for a year."
    )


@pytest.mark.parametrize(
    ("place", "change"),
    [
        (("passage.v1", "properties"), lambda found: found.pop("skin_celsius")),
        (("passage.v1", "properties", "skin_celsius"), lambda found: found.update(type="string")),
        (("passage.v1", "required"), lambda found: found.append("person")),
        (("passage.v1", "required"), lambda found: found.remove("lane")),
        (("passage.v1", "properties", "outcome", "x-extensible-enum"), lambda found: found.remove("hold")),
        (("passage.v1", "properties", "liveness_layers", "items", "properties"), lambda found: found.pop("figure")),
        (("event", "properties", "sequence"), lambda found: found.update(pattern="^[0-9]{12}$")),
        (("event", "allOf"), lambda found: found.pop()),
        (("receipt", "required"), lambda found: found.append("encodings")),
        (("entries-properties", "properties"), lambda found: found.pop("batch")),
        ((), lambda found: found.pop("fault.v1")),
    ],
)
def test_a_change_that_breaks_an_old_street_is_noticed(place, change):
    promised, now = schemas()["$defs"], schemas()["$defs"]
    assert broken_promises(promised, now) == []
    at: Any = now
    for part in place:
        at = at[part]
    change(at)
    assert broken_promises(promised, now) != []


def test_an_addition_breaks_nothing():
    now = schemas()["$defs"]
    now["passage.v1"]["properties"]["weather"] = {"type": "string"}
    now["passage.v1"]["properties"]["outcome"]["x-extensible-enum"].append("escort")
    now["passage.v2"] = {"type": "object"}
    now["event"]["allOf"].append({"if": {}, "then": {}})
    assert broken_promises(schemas()["$defs"], now) == []


# A newer peer


def newer(message: dict[str, Any]) -> dict[str, Any]:
    return message | {"attributeoftomorrow": {"deep": [1, None]}}


def test_a_street_keeps_entries_of_a_newer_gate_whatever_else_they_say(traffic):
    sent = json.loads((GOLDEN / "entries.json").read_bytes())
    assert faults("entries", [newer(event) for event in sent]) == []
    batch = decode_batch(json.dumps([newer(event) for event in sent]).encode(), EAST, "b")
    assert batch == decode_batch(json.dumps(sent).encode(), EAST, "b")
    assert (len(batch.arrivals), batch.refused) == (3, ())


def test_a_street_keeps_and_receipts_a_kind_and_a_version_it_never_heard_of(tmp_path):
    hub = MemoryHub()
    with (
        LedgerWriter.open(tmp_path / "ledger.db", vault=None, start_body={"version": "9"}) as writer,
        LedgerReader(tmp_path / "ledger.db") as reader,
        Cursor(":memory:", write=True) as cursor,
        Store(":memory:") as store,
    ):
        writer.append(Draft(kind="weather", version=1, body={"snow": True}), 5.0)
        writer.append(Draft(kind="passage", version=2, body={"outcome": {"word": "open"}}), 5.0)
        receiver = Receiver(store, MemoryBroker(hub), wall_ns=lambda: NOW_NS)
        receiver.connect(1.0)
        forwarder = Forwarder(
            reader, cursor, MemoryBroker(hub), NAMES, clock=lambda: 1.0, wall_ns=lambda: NOW_NS, chance=lambda: 0.5
        )
        forwarder.connect(1.0)
        for _ in range(3):
            forwarder.turn(0.0)
            receiver.turn(0.0)
        forwarder.turn(0.0)
        assert (forwarder.balance().receipted, forwarder.balance().pending) == (3, 0)
    (batch,) = (message for message in hub.published if message.topic == NAMES.entries)
    assert faults_of_message(batch) == []


@pytest.mark.parametrize(("name", "decode"), [("receipt", decode_receipt), ("state", decode_state)])
def test_both_ends_pass_over_what_a_newer_one_says_beside(name, decode):
    said = json.loads((GOLDEN / f"{name}.json").read_bytes())
    more = newer(said) | {"epochs": [newer(one) for one in said["epochs"]]}
    assert faults(name, more) == []
    assert decode(json.dumps(more).encode()) == decode(json.dumps(said).encode())


def test_a_street_passes_over_user_properties_and_leaves_it_does_not_know():
    hub = MemoryHub()
    street, gate = MemoryBroker(hub), MemoryBroker(hub)
    with Store(":memory:") as store:
        receiver = Receiver(store, street, wall_ns=lambda: NOW_NS)
        receiver.connect(1.0)
        street.subscribe(f"{ROOT}/+/+/+/tomorrow")  # a broker whose session remembers a newer street's subscriptions
        gate.connect(1.0)
        gate.publish(f"{ROOT}/{EAST}/tomorrow", b"\x00 no JSON")
        said = (("schema", "sentinel.entries/1"), ("batch", "b"), ("priority", "high"), ("priority", "low"))
        gate.publish(NAMES.entries, (GOLDEN / "entries.json").read_bytes(), properties=said)
        heard = receiver.turn(0.0)
    assert (heard.entries, heard.refused, heard.strange) == (3, 0, 1)
    assert len(street.acked) == 2, "nothing is left at the broker to come again"

"""Messages: what goes out comes in, what is not the contract is refused by its field, and nothing personal travels."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_entries import FIRST, NOON_NS, SECOND, made

from sync.entry import Key, canonical, entry_hash
from sync.errors import WireError
from sync.pack import pack, unpack
from sync.runs import Run
from sync.wire import (
    EpochReceipt,
    Gate,
    KnownEpoch,
    Receipt,
    Refused,
    State,
    decode_batch,
    decode_receipt,
    decode_state,
    encode_batch,
    encode_entry,
    encode_health,
    encode_receipt,
    encode_state,
    every_gate,
    parse_topic,
    topics,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "messages"
EAST = Gate(street="330106", site="cuiyuan3", gate="east-3")
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
BODIES = st.dictionaries(st.text(max_size=10), JSON_VALUES, max_size=5)


def tampered(change: dict[str, object]) -> bytes:
    event = json.loads(encode_entry(made(Key(FIRST, 7)), EAST.source, historical=False)) | change
    return encode_batch([json.dumps({name: value for name, value in event.items() if value is not ...}).encode()])


@given(body=BODIES, seq=st.integers(1, 9_999_999_999), wall_ns=st.integers(-(2**62), 2**62), trusted=st.booleans())
def test_what_goes_out_comes_in(body, seq, wall_ns, trusted):
    entry = made(Key(FIRST, seq), body=body, wall_ns=wall_ns, trusted=trusted)
    batch = decode_batch(encode_batch([encode_entry(entry, EAST.source, historical=True)]), EAST, "b-1")
    assert batch.refused == ()
    assert [arrival.entry for arrival in batch.arrivals] == [entry]
    assert batch.arrivals[0].historical


@given(number=st.floats(allow_nan=False, allow_infinity=False))
def test_floats_survive_to_the_last_bit(number):
    entry = made(Key(FIRST, 1), body={"skin_celsius": number})
    (arrival,) = decode_batch(encode_batch([encode_entry(entry, EAST.source, historical=False)]), EAST, None).arrivals
    assert arrival.entry.body == entry.body
    assert arrival.entry.data["skin_celsius"] == number


def test_the_personal_part_never_travels():
    secret = b"ciphertext of a name that must stay at home"
    entry = made(Key(FIRST, 1), personal=secret)
    message = encode_batch([encode_entry(entry, EAST.source, historical=False)])
    for form in (secret, secret.hex().encode(), entry.personal_key.encode()):
        assert form not in message
    (arrival,) = decode_batch(message, EAST, None).arrivals
    assert arrival.entry.personal is None
    assert arrival.entry.personal_sha256 == entry.personal_sha256, "the street can still verify the chain"
    assert entry_hash(arrival.entry) == entry.hash


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"specversion": "0.3"}, "specversion"),
        ({"source": "/gates/330106/cuiyuan3/west-1"}, "source"),
        ({"type": "com.example.passage"}, "type"),
        ({"type": "cn.sentinel.passage.v0"}, "type"),
        ({"epoch": "0000000100C0FFEE"}, "epoch"),
        ({"epoch": "ffffffffffffffff"}, "epoch"),
        ({"epoch": ...}, "epoch"),
        ({"sequence": "7"}, "sequence"),
        ({"sequence": "0000000000"}, "sequence"),
        ({"sequence": "-000000001"}, "sequence"),
        ({"sequence": 7}, "sequence"),
        ({"sequence": "0000000008"}, "hash"),
        ({"bootns": "9" * 30}, "bootns"),
        ({"bootns": 5}, "bootns"),
        ({"wallns": "1e9"}, "wallns"),
        ({"wallns": "1"}, "hash"),
        ({"bootid": "\ud800"}, "bootid"),
        ({"bootid": "another"}, "hash"),
        ({"trusted": "yes"}, "trusted"),
        ({"trusted": False}, "hash"),
        ({"historical": 1}, "historical"),
        ({"prev": "00"}, "prev"),
        ({"prev": "11" * 32}, "hash"),
        ({"hash": "11" * 32}, "hash"),
        ({"hash": None}, "hash"),
        ({"personalsha256": "11" * 32}, "hash"),
        ({"personalsha256": ""}, "personalsha256"),
        ({"id": "0191"}, "id"),
        ({"data": []}, "data"),
        ({"data": {"outcome": "open"}}, "hash"),
        ({"data": {"text": "\udfff"}}, "data"),
        ({"data": {"celsius": float("nan")}}, "data"),
        ({"data": {"celsius": float("inf")}}, "data"),
    ],
)
def test_a_changed_event_is_refused_by_the_name_of_its_field(change, field):
    batch = decode_batch(tampered(change), EAST, None)
    assert batch.arrivals == ()
    assert field in batch.refused[0].reason.split(":")[0]


def test_one_bad_event_does_not_hold_up_the_others():
    good = [encode_entry(made(Key(FIRST, seq)), EAST.source, historical=False) for seq in (1, 3)]
    bad = encode_entry(made(Key(FIRST, 2)), EAST.source, historical=False).replace(b"36.4", b"36.5")
    batch = decode_batch(encode_batch([good[0], bad, b"17", good[1]]), EAST, None)
    assert [arrival.entry.key.seq for arrival in batch.arrivals] == [1, 3]
    assert [refused.key for refused in batch.refused] == [Key(FIRST, 2), None]


@pytest.mark.parametrize("payload", [b"", b"\xff\xfe", b"{}", b"[" * 100_000, b"[1e999999", b'"text"', b"[0" * 3])
def test_a_message_that_is_no_batch_is_refused_whole(payload):
    batch = decode_batch(payload, EAST, "b-1")
    assert batch.arrivals == ()
    assert [refused.key for refused in batch.refused] == [None]


@given(payload=st.binary(max_size=200) | JSON_VALUES.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_make_a_reader_of_messages_fall(payload):
    decode_batch(payload, EAST, None)
    for decode in (decode_receipt, decode_state):
        try:
            decode(payload)
        except WireError:
            continue


RECEIPTS = st.builds(
    Receipt,
    gate=st.just(str(EAST)),
    epochs=st.lists(
        st.builds(
            EpochReceipt,
            epoch=st.sampled_from([FIRST, SECOND]),
            upto=st.integers(0, 10**10 - 1),
            also=st.lists(st.integers(1, 10**9).map(lambda n: Run(n, n + 5)), max_size=5).map(tuple),
        )
    ).map(tuple),
    refused=st.lists(
        st.builds(
            Refused, key=st.none() | st.just(Key(FIRST, 3)), reason=st.text(st.characters(codec="utf-8"), max_size=20)
        )
    ).map(tuple),
    batch=st.none() | st.just("c0ffee01-17"),
    encodings=st.sampled_from([(), ("zstd",), ("zstd", "unheard-of")]),
)


@given(receipt=RECEIPTS)
def test_a_receipt_comes_in_as_it_went_out(receipt):
    assert decode_receipt(encode_receipt(receipt)) == receipt


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("[]", "v"),
        ('{"v":2}', "v"),
        ('{"v":true,"gate":"a"}', "v"),
        ('{"v":1}', "gate"),
        ('{"v":1,"gate":"g","epochs":{}}', "epochs"),
        ('{"v":1,"gate":"g","epochs":[{"epoch":"1","upto":1}]}', "epoch"),
        ('{"v":1,"gate":"g","epochs":[{"epoch":"0000000100000001","upto":-1}]}', "upto"),
        ('{"v":1,"gate":"g","epochs":[{"epoch":"0000000100000001","upto":1.5}]}', "upto"),
        ('{"v":1,"gate":"g","epochs":[{"epoch":"0000000100000001","upto":1e300}]}', "upto"),
        ('{"v":1,"gate":"g","epochs":[{"epoch":"0000000100000001","upto":99999999999999}]}', "upto"),
        ('{"v":1,"gate":"g","epochs":[{"epoch":"0000000100000001","upto":1,"also":[[5,3]]}]}', "also"),
        ('{"v":1,"gate":"g","epochs":[{"epoch":"0000000100000001","upto":1,"also":[[0,3]]}]}', "also"),
        ('{"v":1,"gate":"g","epochs":[{"epoch":"0000000100000001","upto":1,"also":[3]}]}', "also"),
        ('{"v":1,"gate":"g","refused":[{"key":"x","reason":"r"}]}', "key"),
        ('{"v":1,"gate":"g","refused":[{"key":"0000000100000001-0","reason":"r"}]}', "epoch"),
        ('{"v":1,"gate":"g","batch":7}', "batch"),
        ('{"v":1,"gate":"g","encodings":"zstd"}', "encodings"),
        ('{"v":1,"gate":"g","encodings":[7]}', "encodings"),
    ],
)
def test_a_receipt_that_is_none_is_refused_by_the_name_of_its_field(text, field):
    with pytest.raises(WireError, match=field):
        decode_receipt(text.encode())


def test_a_state_comes_in_as_it_went_out():
    state = State(online=True, since="2026-11-22T06:31:58.000000Z", epochs=(KnownEpoch(epoch=FIRST, first=1, last=9),))
    assert decode_state(encode_state(state)) == state
    assert decode_state(b'{"v":1,"online":false}') == State(online=False)


def test_topics_name_the_gate_and_nothing_else():
    names = topics("330106", "cuiyuan3", "east-3")
    assert names.entries == "sentinel/v1/330106/cuiyuan3/east-3/entries"
    assert parse_topic(names.receipt) == (EAST, "receipt")
    assert every_gate("entries") == "sentinel/v1/+/+/+/entries"


@pytest.mark.parametrize("name", ["", "a/b", "+", "#", "a b", "x" * 65, "\x00"])
def test_a_name_that_would_reach_other_topics_is_refused(name):
    with pytest.raises(WireError):
        topics("330106", name, "east-3")


@pytest.mark.parametrize("topic", ["", "sentinel/v1/a/b/c", "sentinel/v2/a/b/c/state", "sentinel/v1/a/b/c/x", "/" * 6])
def test_a_topic_of_others_is_refused(topic):
    with pytest.raises(WireError):
        parse_topic(topic)


def golden_entries():
    start = made(Key(FIRST, 1), kind="start", body={"owner": "gate", "version": "0.1.0"})
    opened = made(
        Key(FIRST, 2),
        prev=start.hash,
        body={
            "outcome": "open", "reasons": ["accepted"], "skin_celsius": 36.4, "lane": "东1", "method": "card+face",
            "direction": "in", "mode": "automatic", "temperature": "normal",
        },
        personal=b"sealed",
    )  # fmt: skip
    unsure = made(
        Key(FIRST, 3),
        prev=opened.hash,
        kind="fault",
        body={"device": "card", "symptom": "lost", "detail": "no such file"},
        trusted=False,
        wall_ns=-NOON_NS,
    )
    return [start, opened, unsure]


MESSAGES = {
    "entries.json": lambda: encode_batch(
        [encode_entry(entry, EAST.source, historical=entry.key.seq == 1) for entry in golden_entries()]
    ),
    "receipt.json": lambda: encode_receipt(
        Receipt(
            gate=str(EAST),
            epochs=(EpochReceipt(epoch=FIRST, upto=2, also=(Run(5, 9),)), EpochReceipt(epoch=SECOND, upto=0)),
            refused=(Refused(key=Key(FIRST, 3), reason="fork"), Refused(key=None, reason="event: expected an object")),
            batch="c0ffee01-17",
        )
    ),
    "receipt-encodings.json": lambda: encode_receipt(
        Receipt(
            gate=str(EAST),
            epochs=(EpochReceipt(epoch=FIRST, upto=3),),
            batch="c0ffee01-18",
            encodings=("zstd",),
        )
    ),
    "state.json": lambda: encode_state(
        State(online=True, since="2026-11-22T06:31:58.000000Z", epochs=(KnownEpoch(epoch=FIRST, first=1, last=3),))
    ),
    "state-will.json": lambda: encode_state(State(online=False)),
    "health.json": lambda: encode_health(
        at="2026-11-22T06:32:58.000000Z", appended=120, receipted=118, refused=1, pending=1, alarms=1
    ),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_the_messages_are_those_that_receivers_already_understand(name):
    """A change here is a change of the contract: raise the version and write it in docs/messages.md."""
    assert MESSAGES[name]() == (GOLDEN / name).read_bytes().rstrip(b"\n")


def test_the_compressed_message_that_receivers_already_understand_opens_to_the_plain_one():
    """A library may compress otherwise tomorrow: what is held is that a street opens what gates have sent."""
    sent = (GOLDEN / "entries.json.zst").read_bytes()
    plain = (GOLDEN / "entries.json").read_bytes().rstrip(b"\n")
    assert decode_batch(sent, EAST, "b", "zstd") == decode_batch(plain, EAST, "b")
    assert unpack(pack(plain), "zstd") == unpack(sent, "zstd") == plain


def test_the_golden_chain_verifies_by_the_documented_recipe():
    import hashlib

    prev = "00" * 32
    for event in json.loads((GOLDEN / "entries.json").read_bytes()):
        kind, version = event["type"].removeprefix("cn.sentinel.").rsplit(".v", 1)
        head = {
            "boot": event["bootid"],
            "boot_ns": event["bootns"],
            "body_sha256": hashlib.sha256(canonical(event["data"])).hexdigest(),
            "epoch": event["epoch"],
            "kind": kind,
            "personal_sha256": event.get("personalsha256"),
            "prev": event["prev"],
            "seq": int(event["sequence"]),
            "trusted": event["trusted"],
            "version": int(version),
            "wall_ns": event["wallns"],
        }
        assert event["prev"] == prev
        prev = hashlib.sha256(canonical(head)).hexdigest()
        assert event["hash"] == prev

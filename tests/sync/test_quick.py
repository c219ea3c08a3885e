"""The quick reader: it reads what the general reader reads, and nothing that is not proven canonical."""

import json
import re

from hypothesis import given, settings
from hypothesis import strategies as st
from made_entries import FIRST, made
from test_wire import BODIES, EAST

from sync import wire
from sync.entry import Key, canonical, entry_hash, uuid_text
from sync.quick import read_as_written
from sync.wire import Arrival, encode_batch, encode_entry


def written(*bodies: dict, **more: object) -> tuple[bytes, list]:
    entries = [made(Key(FIRST, seq), body=body, **more) for seq, body in enumerate(bodies, start=1)]
    return encode_batch([encode_entry(entry, EAST.source, historical=False) for entry in entries]), entries


def generally(payload: bytes) -> wire.Batch:
    """Read with a space before the end: that is valid JSON in another form, so the general reader has it."""
    assert read_as_written(payload[:-1] + b" ]", EAST.source, 10) is None
    return wire.decode_batch(payload[:-1] + b" ]", EAST, "b")


@given(bodies=st.lists(BODIES, min_size=1, max_size=4), personal=st.none() | st.just(b"sealed"), trusted=st.booleans())
def test_what_our_gates_write_is_read_quickly_and_as_the_general_reader_reads_it(bodies, personal, trusted):
    payload, entries = written(*bodies, personal=personal, trusted=trusted)
    quick = read_as_written(payload, EAST.source, 10)
    if quick is None:  # left to the general reader: fractions below 0.0001, and whole numbers of more than 64 bits
        assert any(re.search(r"e-\d|\d{19}", canonical(body).decode()) for body in bodies)
        return
    assert tuple(quick) == generally(payload).arrivals
    assert [arrival.entry.body for arrival in quick] == [entry.body for entry in entries]


NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.floats(1e-12, 1e-2) | st.floats(1e14, 1e24)


@given(number=NUMBERS | st.integers(-(2**70), 2**70), digits=st.integers(1, 17))
@settings(max_examples=1000, deadline=None)
def test_a_number_in_any_writing_is_read_only_when_it_is_the_canonical_one(number, digits):
    writings = {json.dumps(number), f"{number:.{digits}g}", f"{number:.{digits}e}", f"{number:.{digits}f}"}
    for writing in (*writings, *(text.replace("e-0", "e-").replace("e+", "e") for text in writings)):
        payload = encode_batch([signed(f'{{"a":{writing}}}'.encode())])
        read = read_as_written(payload, EAST.source, 10)
        assert read is None or canonical(json.loads(f'{{"a":{writing}}}')) == read[0].entry.body


PAYLOAD, ENTRIES = written({"a": [1, {"b": None}], "c": "},{"}, {"a": 1.5, "z": "东"}, {})
ODD = st.sampled_from([b"", b" ", b",", b"}", b"{", b"]", b"[", b'"', b"0", b"1e5", b"\\u0061", b"\xe4", b'"a":1,'])


@given(at=st.integers(0, len(PAYLOAD)), cut=st.integers(0, 3), new=ODD | st.binary(max_size=3))
@settings(max_examples=600, deadline=None)
def test_whatever_is_changed_both_readers_agree(at, cut, new):
    torn = PAYLOAD[:at] + new + PAYLOAD[at + cut :]
    quick = read_as_written(torn, EAST.source, 10)
    if quick is not None:
        assert tuple(quick) == generally(torn).arrivals


def signed(body: bytes) -> bytes:
    """Return an event of a gate that is our enemy: its hash is right, over any bytes it likes as a body."""
    from dataclasses import replace

    entry = replace(made(Key(FIRST, 1)), body=body)
    return encode_entry(replace(entry, hash=entry_hash(entry)), EAST.source, historical=False)


NOT_CANONICAL = [
    b'{"b":1,"a":2}', b'{"a":1,"a":1}', b'{ "a":1}', b'{"a":1.0e0}', b'{"a":1.50}', b'{"a":-0}', b'{"a":NaN}', b"{",
    b'{"a":1e400}', b'{"a":0.00001}', b'{"a":1e-8}', b'{"a":[1e-8]}', b'{"a":1e16}',
    b'{"a":"\\u0041"}', b'{"a":"\\/"}', b'{"a":"\\ud800"}', b'{"a":1},{"b":2}', b'{"a":tru}', b"[1]",
    b'{"a":' + b"[" * 5_000 + b"]" * 5_000 + b"}", b'{"a":"\n"}', b'{"a":1}}', b'{"a":' + b"9" * 5_000 + b"}",
]  # fmt: skip


def test_a_body_that_is_not_canonical_is_never_read_even_when_its_hash_is_right():
    for body in NOT_CANONICAL:
        payload = encode_batch([signed(body)])
        assert read_as_written(payload, EAST.source, 10) is None, body
        entries = [arrival.entry for arrival in wire.decode_batch(payload, EAST, None).arrivals]
        assert all(canonical(entry.data) == entry.body for entry in entries)


def test_two_bodies_that_are_one_only_together_are_not_read():
    payload = encode_batch([signed(b'{"a":[1'), signed(b"2]}")])
    assert read_as_written(payload, EAST.source, 10) is None
    assert wire.decode_batch(payload, EAST, None).arrivals == ()


def test_what_may_not_be_read_is_left_to_the_general_reader():
    assert read_as_written(PAYLOAD, "/gates/330106/cuiyuan3/west-1", 10) is None
    assert read_as_written(PAYLOAD, EAST.source, 2) is None
    older = PAYLOAD.replace(b'"1.0"', b'"0.3"')
    for strange in (b"", b"[]", b"[", b"]", b"\xff", PAYLOAD + b" ", PAYLOAD[:-1], PAYLOAD[1:], older):
        assert read_as_written(strange, EAST.source, 10) is None


@given(kind=st.text(max_size=10), boot=st.text(max_size=10), seq=st.integers(1, 10**12), wall_ns=st.integers())
def test_the_hash_follows_the_documented_recipe(kind, boot, seq, wall_ns):
    from dataclasses import replace
    from hashlib import sha256

    entry = made(Key(FIRST, seq), wall_ns=wall_ns)
    try:
        kind.encode(), boot.encode()
    except UnicodeEncodeError:
        return
    entry = replace(entry, kind=kind, stamp=replace(entry.stamp, boot_id=boot))
    head = {
        "boot": boot, "boot_ns": str(entry.stamp.boot_ns), "body_sha256": sha256(entry.body).hexdigest(),
        "epoch": f"{FIRST:016x}", "kind": kind, "personal_sha256": None, "prev": entry.prev.hex(), "seq": seq,
        "trusted": True, "version": 1, "wall_ns": str(entry.stamp.wall_ns),
    }  # fmt: skip
    text = json.dumps(head, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert entry_hash(entry) == sha256(text.encode()).digest()


@given(wall_ns=st.integers(-(2**63), 2**63 - 1), digest=st.binary(min_size=32, max_size=32))
def test_the_name_for_people_is_a_uuid_of_version_7(wall_ns, digest):
    text = uuid_text(wall_ns, digest.hex())
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", text)
    assert Arrival(entry=made(Key(FIRST, 1))).entry.uuid.version == 7

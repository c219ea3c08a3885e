"""An entry: its key, its canonical bytes, its hash, its UUID."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.entry import (
    GENESIS,
    Entry,
    Key,
    Stamp,
    canonical,
    entry_hash,
    epoch_counter,
    epoch_text,
    make_epoch,
    parse_key,
)

STAMP = Stamp(wall_ns=1_795_320_000_123_456_789, boot_ns=5_000_000_001, boot_id="a-boot", clock_trusted=True)
ENTRY = Entry(key=Key(make_epoch(3, 0xC0FFEE), 7), kind="passage", version=1, stamp=STAMP, body=b'{"outcome":"open"}')

epochs = st.builds(make_epoch, st.integers(1, 2**31 - 1), st.integers(0, 2**32 - 1))
keys = st.builds(Key, epochs, st.integers(1, 2**62))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(key=keys)
def test_a_key_survives_being_written_down(key):
    assert parse_key(str(key)) == key


@pytest.mark.parametrize(
    "text", ["", "7", "0000000300c0ffee", "0000000300c0ffee-", "300c0ffee-7", "zzzzzzzzzzzzzzzz-7"]
)
def test_what_is_no_key_is_refused(text):
    with pytest.raises(ValueError):
        parse_key(text)


@given(first=epochs, second=epochs, seqs=st.tuples(st.integers(1, 2**40), st.integers(1, 2**40)))
def test_keys_are_ordered_by_start_then_number(first, second, seqs):
    if epoch_counter(first) < epoch_counter(second):
        assert Key(first, seqs[0]) < Key(second, seqs[1])
    assert (Key(first, seqs[0]) < Key(first, seqs[1])) == (seqs[0] < seqs[1])


def test_an_epoch_shows_its_counter_and_its_chance():
    epoch = make_epoch(3, 0xC0FFEE)
    assert epoch_counter(epoch) == 3
    assert epoch_text(epoch) == "0000000300c0ffee"


@given(value=st.dictionaries(st.text(), json_values, max_size=4))
def test_canonical_bytes_do_not_depend_on_the_order_of_keys(value):
    assert canonical(dict(reversed(value.items()))) == canonical(value)


def test_canonical_bytes_refuse_what_json_cannot_say():
    with pytest.raises(ValueError):
        canonical({"skin_celsius": float("nan")})


def test_the_hash_is_the_one_of_the_recipe():
    """A verifier in another language follows docs/messages.md; this vector must never change."""
    assert entry_hash(ENTRY).hex() == "e7f001f9af3c8d86618745c06acf583fd6c9e77931c754b1e2ff4c445874c46a"


@pytest.mark.parametrize(
    "change",
    [
        {"key": Key(ENTRY.key.epoch, 8)},
        {"key": Key(make_epoch(4, 0xC0FFEE), 7)},
        {"kind": "opening"},
        {"version": 2},
        {"stamp": replace(STAMP, wall_ns=1)},
        {"stamp": replace(STAMP, boot_ns=1)},
        {"stamp": replace(STAMP, boot_id="another-boot")},
        {"stamp": replace(STAMP, clock_trusted=False)},
        {"body": b'{"outcome":"hold"}'},
        {"personal_sha256": bytes(32)},
        {"prev": b"\x01" + GENESIS[1:]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_hash_covers_every_field(change):
    assert entry_hash(replace(ENTRY, **change)) != entry_hash(ENTRY)


def test_the_hash_does_not_need_the_personal_part():
    assert entry_hash(replace(ENTRY, personal=b"cipher", personal_key="passage/2026-11-22")) == entry_hash(ENTRY)


@given(wall_ns=st.integers(0, 2**62), hash_=st.binary(min_size=32, max_size=32))
def test_the_uuid_is_a_version_7_of_the_entrys_own_time(wall_ns, hash_):
    uuid = replace(ENTRY, stamp=replace(STAMP, wall_ns=wall_ns), hash=hash_).uuid
    assert uuid.version == 7
    assert uuid.int >> 80 == wall_ns // 1_000_000
    assert uuid == replace(ENTRY, stamp=replace(STAMP, wall_ns=wall_ns), hash=hash_).uuid

"""What SQLite writes for the road is letter for letter what the contract's own encoder writes."""

import sqlite3
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as some
from made_entries import FIRST, made

from sync import schema
from sync.entry import Entry, Key, Stamp, canonical, entry_hash
from sync.events import read_events
from sync.wire import encode_entry

INT64 = some.integers(-(1 << 63), (1 << 63) - 1)
TEXTS = some.text(some.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
NUMBERS = some.integers(-(1 << 53), 1 << 53) | some.floats(allow_nan=False, allow_infinity=False)
JSON = some.recursive(
    some.none() | some.booleans() | NUMBERS | TEXTS,
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


@some.composite
def entries(draw: some.DrawFn) -> Entry:
    body = canonical(draw(some.dictionaries(TEXTS, JSON, max_size=4)))
    boot = draw(some.from_regex(r"[a-zA-Z0-9 ._-]{0,40}", fullmatch=True))
    stamp = Stamp(
        wall_ns=draw(INT64 | some.integers(0, 2 * 10**18)), boot_ns=draw(INT64), boot_id=boot,
        clock_trusted=draw(some.booleans()),
    )  # fmt: skip
    key = Key(draw(some.sampled_from([FIRST, 1, (1 << 63) - 1])), draw(some.integers(1, 9_999_999_999)))
    entry = replace(made(key, personal=draw(some.none() | some.binary(min_size=1))), body=body, stamp=stamp)
    entry = replace(entry, prev=draw(some.binary(min_size=32, max_size=32)), version=draw(some.integers(1, 99_999)))
    return replace(entry, hash=entry_hash(entry))


def ledger_of(*kept: Entry) -> sqlite3.Connection:
    ledger = sqlite3.connect(":memory:")
    for step in schema.STEPS:
        for statement in step.statements:
            ledger.execute(statement)
    ledger.executemany(schema.INSERT, map(schema.row_of, kept))
    return ledger


@given(entry=entries(), historical=some.booleans())
def test_an_event_is_the_same_by_sql_and_by_the_contract(entry: Entry, historical: bool) -> None:
    source = '/gates/33"0/x\\y/東'
    found = read_events(ledger_of(entry), entry.key.epoch, 1, 9_999_999_999, source, historical=historical)
    assert found == [(entry.key.seq, encode_entry(entry, source, historical=historical))]


@pytest.mark.parametrize("damage", ["ff00fe", "0a", "227d0a7b", ""])
@pytest.mark.parametrize("gone", [3, 5])
def test_a_damaged_row_spoils_no_other(damage: str, gone: int) -> None:
    there = [seq for seq in (1, 2, 3, 4) if seq != gone]
    ledger = ledger_of(*(made(Key(FIRST, seq)) for seq in (*there, 6)))
    ledger.execute("DROP TRIGGER entries_are_final")
    ledger.execute(f"UPDATE entries SET body = CAST(x'{damage}' AS TEXT), boot_id = '\"', kind = 'a\"b' WHERE seq = 2")
    found = read_events(ledger, FIRST, 1, 4, "/gates/a/b/c", historical=False)
    assert [seq for seq, _ in found] == there
    sound = [(seq, encode_entry(made(Key(FIRST, seq)), "/gates/a/b/c", historical=False)) for seq in there]
    assert [one for one in found if one[0] != 2] == [one for one in sound if one[0] != 2]

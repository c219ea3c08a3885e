"""What the street sends down: checked before it is signed, numbered once, kept nowhere too long."""

import json
from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sentinel import street_publish
from sentinel.core.errors import DataError, Unavailable, UsageError
from sentinel.street_publish import Used, letters_of, newest_epoch, next_serial, run
from sync.identity import make_identity
from sync.memory_broker import MemoryBroker, MemoryHub
from sync.snapshot import Heading, Type
from sync.topics import topics
from sync.wire import KnownEpoch, State, encode_state

GATE = "330106/cuiyuan3/east-3"
NAMES = topics(*GATE.split("/"))
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def heading(type_: Type, base: int | None = None) -> Heading:
    return Heading(type=type_, gate=GATE, serial=9, made_at=NOW, base=base)


def asked(folder: Path, **more) -> Namespace:
    make_identity(folder / "street.key")
    (folder / "gate.pub").write_text(make_identity(folder / "gate.key").known.text())
    told = {
        "gate": GATE, "gate_key": folder / "gate.pub", "key": folder / "street.key", "dry_run": True, "what": "roster",
        "file": folder / "people.jsonl", "delta": False, "yes": False, "broker": None,
    }  # fmt: skip
    return Namespace(**{**told, **more})


def test_a_dry_run_checks_the_file_and_uses_up_no_serial(tmp_path, capsys):
    args = asked(tmp_path)
    args.file.write_text('{"exclusive": false}\n{"number": "11010519491231002X", "name": "样本"}')
    assert run(args) == 0
    assert "nothing was sent" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.serials.json"))


def test_a_file_that_no_gate_would_take_is_not_signed(tmp_path):
    args = asked(tmp_path, dry_run=False, yes=True)
    args.file.write_text('{"exclusive": false}\n{"number": "110105194912310021", "name": "样本"}')
    with pytest.raises(DataError, match="line 2"):
        run(args)


def test_a_whole_roster_is_not_sent_without_a_yes(tmp_path):
    args = asked(tmp_path, dry_run=False)
    args.file.write_text('{"exclusive": false}')
    with pytest.raises(UsageError, match="nothing was sent"):
        run(args)


def test_serials_are_noted_before_they_are_used_and_for_each_gate_apart(tmp_path):
    key = tmp_path / "street.key"
    with next_serial(key, GATE, "roster") as (before, take):
        assert before == Used()
        take(Used(serial=41, parts=3))
    with next_serial(key, GATE, "roster") as (before, take):
        assert before == Used(serial=41, parts=3)
    with next_serial(key, "330106/cuiyuan3/west-1", "roster") as (before, take):
        assert before == Used()


def test_a_damaged_note_of_serials_stops_and_says_what_to_do(tmp_path):
    (tmp_path / "street.key.serials.json").write_text("{")
    with pytest.raises(DataError, match="whole roster"), next_serial(tmp_path / "street.key", GATE, "roster"):
        pass


def test_a_command_is_never_kept_by_the_broker():
    assert [one.retain for one in letters_of(NAMES, heading(Type.COMMAND), [b"x"], Used())] == [False]


def test_a_shorter_roster_makes_the_broker_forget_the_rest_of_the_longer_one():
    letters = letters_of(NAMES, heading(Type.ROSTER), [b"1", b"2"], Used(serial=8, parts=4))
    told = {one.topic.removeprefix(NAMES.roster): one.payload for one in letters}
    assert told == {"": b"1", "/2": b"2", "/3": b"", "/4": b"", "/delta": b""}
    assert all(one.retain for one in letters)


def test_a_change_has_a_place_of_its_own_beside_the_whole():
    [letter] = letters_of(NAMES, heading(Type.ROSTER, base=8), [b"1"], Used(serial=8))
    assert letter.topic == f"{NAMES.roster}/delta"
    with pytest.raises(UsageError, match="whole"):
        letters_of(NAMES, heading(Type.ROSTER, base=8), [b"1", b"2"], Used(serial=8))


def test_an_opening_is_bound_to_the_start_that_the_gate_tells_of():
    hub = MemoryHub()
    gate, street = MemoryBroker(hub), MemoryBroker(hub)
    gate.connect(1.0)
    street.connect(1.0)
    known = tuple(KnownEpoch(epoch=epoch, first=1, last=2) for epoch in (5, 7))
    gate.publish(NAMES.state, encode_state(State(online=True, epochs=known)), retain=True)
    assert newest_epoch(street, NAMES) == 7
    gate.publish(NAMES.state, encode_state(State(online=False)), retain=True)
    street.connect(1.0)
    with pytest.raises(Unavailable, match="not connected"):
        newest_epoch(street, NAMES)


def test_the_broker_s_refusal_is_told():
    hub = MemoryHub()
    hub.faults.refuse = lambda _topic: 0x87
    street = MemoryBroker(hub)
    street.connect(1.0)
    with pytest.raises(Unavailable, match="refuses"):
        street_publish.send(street, letters_of(NAMES, heading(Type.COMMAND), [b"x"], Used()))


def test_a_revocation_names_one_thing(tmp_path):
    for more in ({"pass_id": None, "number": None}, {"pass_id": "0123456789abcdef", "number": "E1"}):
        with pytest.raises(UsageError, match="revoke"):
            run(asked(tmp_path, what="command", act="revoke", **more))
    args = asked(tmp_path, what="command", act="revoke", pass_id="0123456789abcdef", number=None)
    assert json.loads(street_publish._plain(args)) == {"act": "revoke", "pass_id": "0123456789abcdef"}

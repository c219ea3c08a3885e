"""The road where the network is a person: nothing is lost, doubled, read or forged on the way."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some
from made_entries import FIRST, NOON_NS, SECOND, LedgerInMemory

from sentinel.core.errors import DataError
from sentinel.street_import import import_stick
from sync import stick
from sync.cursor import Cursor
from sync.entry import Key
from sync.errors import IdentityError, WireError
from sync.identity import Believed, Identity, make_identity
from sync.outbox import Limits, Outbox
from sync.store import Store
from sync.wire import Gate

GATE = Gate(street="330106", site="cuiyuan3", gate="east-3")
LIMITS = Limits(entries=7, batch_bytes=64_000, packet_bytes=64_000)


class Office:
    """A gate with its ledger and a street with its store, both in one folder, and no wire between them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.street = make_identity(folder / "street.key")
        self.gate = make_identity(folder / "gate.key")
        self.ledger = LedgerInMemory()
        self.cursor = Cursor(folder / "uplink.db", write=True)
        self.store = Store(folder / "street.db")
        self._sticks = 0

    def export(self, street: Believed | None = None) -> Path:
        self._sticks += 1
        path = self.folder / f"{self._sticks}.stick"
        batches = stick.backlog_of(Outbox(self.ledger, self.cursor, GATE.source), LIMITS, [])
        stick.write_stick(path, GATE, batches, street or Believed([self.street.known]), self.gate, at="today")
        return path

    def take(self, path: Path, gates: Believed | None = None) -> Path:
        return import_stick(path, self.store, self.street, gates or Believed([self.gate.known]), now_ns=NOON_NS)

    def count(self, path: Path) -> int:
        receipts = stick.read_receipts(path, GATE, Believed([self.street.known]))
        return stick.close_by(receipts, self.cursor, self.ledger, NOON_NS)

    def pending(self) -> int:
        balance = self.cursor.pending(self.ledger)
        assert balance.holds
        return balance.pending


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path)
    made.ledger.start(FIRST)
    made.ledger.append(30)
    made.ledger.start(SECOND)
    made.ledger.append(12)
    yield made
    made.cursor.close()
    made.store.close()


def test_the_whole_backlog_goes_there_and_its_receipts_come_back(office: Office) -> None:
    assert office.count(office.take(office.export())) == 44
    assert office.pending() == 0
    (gate,) = office.store.report()
    assert (gate.entries, gate.missing, gate.forks, gate.breaks) == (44, 0, (), ())


def test_a_stick_that_went_twice_and_one_that_never_came_back_lose_and_double_nothing(office: Office) -> None:
    first, second = office.export(), office.export()
    office.take(first)  # its receipts are lost on the way home
    office.ledger.append(5)
    third = office.export()
    for path in (second, third, first):
        office.count(office.take(path))
    assert office.pending() == 0
    (gate,) = office.store.report()
    assert (gate.entries, gate.missing, gate.forks) == (49, 0, ())


def test_the_next_stick_holds_only_what_is_open(office: Office) -> None:
    office.count(office.take(office.export()))
    office.ledger.append(3)
    found = stick.open_stick(office.export(), office.street, Believed([office.gate.known]))
    assert sum(len(batch.arrivals) for batch in found.batches()) == 3


def test_nothing_of_an_entry_can_be_read_from_a_stick(office: Office) -> None:
    office.ledger.append(20, body={"person": "canary-token", "n": 1})
    raw = office.export().read_bytes()
    for word in (b"canary-token", b"passage", b"outcome", b"specversion"):
        assert word not in raw


def test_a_stick_is_opened_by_each_of_the_streets_keys_and_nobody_else(office: Office, tmp_path: Path) -> None:
    old, stranger = make_identity(tmp_path / "old.key"), make_identity(tmp_path / "stranger.key")
    path = office.export(Believed([office.street.known, old.known]))
    ours = Believed([office.gate.known])
    for reader in (office.street, old):
        assert sum(len(batch.arrivals) for batch in stick.open_stick(path, reader, ours).batches()) == 44
    with pytest.raises(IdentityError, match="public keys"):
        stick.open_stick(path, stranger, ours)


def test_a_stick_of_an_unknown_gate_stores_nothing(office: Office, tmp_path: Path) -> None:
    stranger = make_identity(tmp_path / "stranger.key")
    with pytest.raises(IdentityError, match="do not know"):
        office.take(office.export(), Believed([stranger.known]))
    assert office.store.report() == ()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Identity, Believed]:
    made = Office(tmp_path_factory.mktemp("office"))
    made.ledger.start(FIRST)
    made.ledger.append(20)
    return made.export(), made.street, Believed([made.gate.known])


@given(data=some.data())
def test_a_stick_that_was_cut_or_changed_anywhere_is_refused_whole(
    whole: tuple[Path, Identity, Believed], data: some.DataObject
) -> None:
    path, street, gates = whole
    raw = bytearray(path.read_bytes())
    if data.draw(some.booleans()):
        del raw[data.draw(some.integers(0, len(raw) - 1)) :]
    else:
        raw[data.draw(some.integers(0, len(raw) - 1))] ^= 1 << data.draw(some.integers(0, 7))
    damaged = path.with_name("damaged.stick")
    damaged.write_bytes(raw)
    with pytest.raises((WireError, IdentityError)):
        stick.open_stick(damaged, street, gates)


def test_receipts_count_only_when_this_street_signed_them_for_this_gate(office: Office, tmp_path: Path) -> None:
    back = office.take(office.export())
    stranger = Believed([make_identity(tmp_path / "stranger.key").known])
    with pytest.raises(IdentityError, match="do not know"):
        stick.read_receipts(back, GATE, stranger)
    neighbour = Gate(street="330106", site="cuiyuan3", gate="west-1")
    with pytest.raises(WireError, match="take it there"):
        stick.read_receipts(back, neighbour, Believed([office.street.known]))
    text = back.read_text()
    back.write_text(text.replace(r"\"also\":[[1,31]]", r"\"also\":[[1,99]]"))
    assert back.read_text() != text
    with pytest.raises(IdentityError, match="does not fit"):
        office.count(back)
    assert office.pending() == 44


def test_a_receipt_for_entries_that_do_not_exist_closes_only_those_that_do(office: Office) -> None:
    back = office.take(office.export())
    forgetful = LedgerInMemory()
    forgetful.start(FIRST)
    forgetful.append(3)
    receipts = stick.read_receipts(back, GATE, Believed([office.street.known]))
    assert stick.close_by(receipts, office.cursor, forgetful, NOON_NS) == 4
    assert not office.cursor.is_receipted(Key(FIRST, 5))


def test_what_the_street_refuses_is_set_aside_with_its_reason(office: Office) -> None:
    other = LedgerInMemory()  # two ledgers under one name: the street holds another entry under this key
    other.start(FIRST)
    other.append(3, body={"n": "another"})
    aside = Cursor(office.folder / "aside.db", write=True)
    path = office.folder / "other.stick"
    batches = stick.backlog_of(Outbox(other, aside, GATE.source), LIMITS, [])
    stick.write_stick(path, GATE, batches, Believed([office.street.known]), office.gate, at="today")
    office.take(path)
    office.count(office.take(office.export()))
    assert {(letter.key.seq, letter.reason) for letter in office.cursor.dead_letters()} == {
        (2, "fork"), (3, "fork"), (4, "fork"),
    }  # fmt: skip
    assert office.pending() == 0


def test_a_medium_that_cannot_take_it_leaves_no_file(office: Office) -> None:
    with pytest.raises(FileNotFoundError):
        stick.write_stick(
            office.folder / "gone" / "a.stick", GATE, [], Believed([office.street.known]), office.gate, at="today"
        )
    with pytest.raises(DataError, match=r"none\.stick"):
        office.take(office.folder / "none.stick")
    assert not list(office.folder.glob("*.part"))

"""The short form of scripts/campaign: every family of faults once, kills, power cuts; and the oracle itself."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sync.cursor import Cursor
from sync.entry import Draft
from sync.ledger import LedgerReader, LedgerWriter
from sync.receive import Store
from sync.runs import Run
from sync.topics import topics
from sync.wire import Batch, decode_batch, encode_entry

from .card import forget_library, library
from .kills import campaign
from .oracle import Account, judge_gate, judge_street
from .runs import SCENES, play_all, possible, table
from .stage import is_root

GATE = topics("s", "t", "g").gate
KILLS, CUTS, FAULTS, BESIDE = 30, 8, 2, 10


@pytest.fixture(scope="module", autouse=True)
def _library() -> Iterator[None]:
    yield
    forget_library()


@pytest.mark.broker
@pytest.mark.timeout(300)
def test_every_family_of_faults_that_can_be_played_here_is_survived():
    runs = play_all(list(SCENES), range(1, 2), FAULTS, BESIDE)
    assert [run.line() for run in runs if run.account.wrong] == []
    assert len(table(runs)) == len(runs) + 2
    assert {run.scene for run in runs} == set(possible(SCENES, root=is_root(), compiler=library() is not None)[0])


@pytest.mark.broker
@pytest.mark.timeout(180)
def test_kill_9_of_writer_uplink_and_street_loses_doubles_and_confuses_nothing():
    toll = campaign(KILLS, 7, cuts=False, say=False)
    assert toll.account.wrong == []
    assert sum(toll.deaths.values()) == KILLS


@pytest.mark.broker
@pytest.mark.timeout(180)
def test_a_power_cut_of_either_disk_loses_doubles_and_confuses_nothing():
    toll = campaign(CUTS, 7, cuts=True, say=False)  # where nobody may mount, the cuts are kills
    assert toll.account.wrong == []
    assert toll.account.counts["at street"] >= CUTS


def test_what_needs_rights_or_tools_that_are_not_here_is_named_and_left_out():
    everything, left_out = possible(SCENES, root=True, compiler=True)
    assert (set(everything), left_out) == (set(SCENES), {})
    here, left_out = possible(SCENES, root=False, compiler=False)
    assert {"kill-9", "messages", "certificates", "acl", "lying-street", "dead-page", "twins"} <= set(here)
    assert "root" in left_out["power-cut"]
    assert "compiler" in left_out["slow-card"]


# — the oracle: it must see each wrong thing —


class Books:
    """A gate with three entries, their receipts and their street, all as it should be."""

    def __init__(self, folder: Path) -> None:
        self.state, self.store, self.words = folder, folder / "street.db", folder / "w.1.jsonl"
        said = []
        with LedgerWriter.open(folder / "ledger.db", vault=None) as writer:
            for number in (1, 2, 3):
                body = {"event": "passed", "after": f"w.1:{number}", "leaf": "in"}
                entry = writer.append(Draft(kind="barrier", version=1, body=body, request=f"w.1:{number}"), 10.0)
                said.append(self.word(number, str(entry.key)))
        self.words.write_text("".join(said))
        with LedgerReader(folder / "ledger.db") as reader:
            entries = reader.after(None, 100)
        with Store(self.store) as store:
            store.accept(GATE, self.batch(entries), now_ns=1)
        with Cursor(folder / "uplink.db", write=True) as cursor:
            cursor.settle({entries[0].key.epoch: [Run(1, len(entries))]})

    @staticmethod
    def word(number: int, key: str, how: str = "durable") -> str:
        word = {"t": f"w.1:{number}", "how": how, "key": key, "waits": True, "huge": False, "wall_us": 1, "cpu_us": 1}
        return json.dumps(word) + "\n"

    @staticmethod
    def batch(entries) -> Batch:
        events = b"[" + b",".join(encode_entry(entry, GATE.source, historical=False) for entry in entries) + b"]"
        return decode_batch(events, GATE, "b", None)

    def change(self, file: Path, *statements: str) -> None:
        with closing(sqlite3.connect(file)) as db:
            for statement in statements:
                db.execute(statement)
            db.commit()

    def judged(self) -> str:
        account = Account()
        entries = judge_gate(account, self.state, [self.words])
        judge_street(account, self.store, str(GATE), entries, set(), lives=[self.words.stem])
        return " | ".join(account.wrong)


@pytest.fixture
def books(tmp_path: Path) -> Books:
    return Books(tmp_path)


def test_the_oracle_finds_nothing_wrong_with_right_books(books):
    assert books.judged() == ""


def test_the_oracle_sees_what_is_lost_at_the_gate(books):
    with books.words.open("a") as words:
        words.write(books.word(4, "0000000100000000-9"))
    assert "lost: w.1:4 was durable" in books.judged()


def test_the_oracle_sees_what_is_lost_on_the_road(books):
    books.change(books.store, "DELETE FROM entries WHERE seq = 3")
    assert "lost on the road: 1" in books.judged()


def test_the_oracle_sees_what_was_invented(books):
    books.words.write_text("")
    books.words.rename(books.words.with_name("somebody-else.jsonl"))
    books.words = books.words.with_name("somebody-else.jsonl")
    assert "invented" in books.judged()


def test_the_oracle_sees_what_is_altered_on_the_road(books):
    books.change(books.store, "UPDATE entries SET body = CAST('{}' AS BLOB) WHERE seq = 2")
    assert "altered on the road" in books.judged()


def test_the_oracle_sees_what_is_altered_at_the_gate(books):
    drop = "DROP TRIGGER entries_are_final"
    books.change(books.state / "ledger.db", drop, "UPDATE entries SET body = '{\"after\": \"w.1:3\"}' WHERE seq = 3")
    assert "the chain breaks" in books.judged()


def test_the_oracle_sees_what_is_stuck(books):
    books.change(books.state / "uplink.db", "UPDATE receipted SET last = 2")
    assert "stuck" in books.judged()


def test_the_oracle_sees_a_fork(books):
    books.change(books.store, "INSERT INTO forks SELECT device, epoch, seq, x'00', prev, kind, body, 1 FROM entries")
    assert "forks at the street" in books.judged()


def test_the_oracle_sees_one_key_for_two(books):
    first = json.loads(books.words.read_text().splitlines()[0])
    with books.words.open("a") as words:
        words.write(books.word(5, first["key"], "durable"))
    assert "one key was given twice" in books.judged()

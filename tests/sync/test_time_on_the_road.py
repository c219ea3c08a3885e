"""A gate whose clock stood in 1970, up to the street: all is dated when the anchor comes, nothing is lost."""

import ast
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from made_clocks import IN_1970, IN_2099, SECOND, TRUE_NS, Box
from test_forward import NAMES, Line

from sentinel import clocks, roster, roster_reading, street
from sentinel.cli.records import document, matching
from sentinel.clocks import BUILT_NS, GateClock, trusted_stamps
from sentinel.core.keeping import Days, kept_for_ns, may_go
from sentinel.core.kinds import ALL, Clock, Passage
from sentinel.keeper import Keeper
from sentinel.phrases import time_mark
from sentinel.status import Sources, balance_of, line_of
from sentinel.storage import Storage
from sync.cursor import Cursor
from sync.dating import Dating, Quality, dating_of
from sync.ledger import LedgerReader, LedgerWriter
from sync.prune import choose
from sync.stamp import KnownTime
from sync.store import Store
from sync.street_times import dates_of
from sync.vault import Vault

NEAR_NS = 50_000_000
PASSAGE = Passage(outcome="open", method="card", reasons=("accepted",), lane="1", direction="in", mode="automatic")
DAYS = Days(passage=30, fault=30, audit=180)


class Road(Line):
    """The line of `test_forward`, with a real ledger, a gate's keeper and clock, and a street's file."""

    def __init__(self, base: Path) -> None:
        self.path, self.street_db, self.box = base / "ledger.db", base / "street.db", Box()
        self.box.boot()
        super().__init__()
        self.store.close()
        self.store, self.ledger = Store(self.street_db), LedgerReader(self.path)
        self.keeper = Keeper(
            open_ledger=lambda: LedgerWriter.open(self.path, vault=None, stamp=lambda: self.box.stamp),
            spool=base / "spool.jsonl", vault=None, stamp=lambda: self.box.stamp, bound_s=30.0,
        )  # fmt: skip
        self.keeper.tend()
        self.gate_starts()
        self.new_uplink()
        self.new_street()
        self.connect()

    def gate_starts(self) -> None:
        told = trusted_stamps(self.path)
        self.clock_of_gate = GateClock(told, now=lambda: self.box.stamp, watch=self.box.watch, files=())

    def turn(self) -> None:
        self.clock_of_gate.mind(lambda entry: self.keeper.keep(entry).key is not None)

    def keep(self) -> str:
        kept = self.keeper.keep(PASSAGE)
        assert kept.key is not None
        return kept.key

    def close(self) -> None:
        self.keeper.close("done")
        self.store.close()
        self.ledger.close()

    def set_without_a_turn(self, wall_ns: int, *, good: bool) -> None:
        self.box.offset_ns, self.box.good = wall_ns - self.box.boot_ns, good


@pytest.fixture
def road(tmp_path: Path) -> Iterator[Road]:
    made = Road(tmp_path)
    yield made
    made.close()


def test_an_entry_sent_in_1970_is_dated_right_at_the_street_after_the_anchor_arrives(road, capsys):
    key, truth = road.keep(), road.box.true_ns
    road.steps(3)
    (sent,) = [known for known in dates_of(road.street_db, device()) if str(known) == key]
    before = dates_of(road.street_db, device(), [sent])[sent]
    assert before.quality is Quality.UNKNOWN
    assert before.wall_ns < 100 * SECOND, "the street holds it, and knows no better yet"
    road.box.true_ns += 600 * SECOND
    road.box.boot_ns += 600 * SECOND
    road.set_without_a_turn(road.box.true_ns, good=True)
    road.turn()
    road.steps(3)
    after = dates_of(road.street_db, device(), [sent])[sent]
    assert after.quality is Quality.CORRECTED
    assert abs(after.wall_ns - truth) <= NEAR_NS
    (report,) = told_by_the_report(road.street_db, capsys)
    first, last = report["epochs"][-1]["times"]
    assert (first["quality"], last["quality"]) == ("corrected", "stamped")
    assert first["at"].startswith("2027-")
    stored = road.store._engine._connection.execute("SELECT wall_ns FROM entries WHERE kind = 'passage'").fetchone()
    assert stored[0] < 100 * SECOND, "the entry itself is never edited"


def device() -> str:
    return NAMES.entries.removeprefix("sentinel/v1/").removesuffix("/entries")


def told_by_the_report(path: Path, capsys) -> list[dict]:
    args = street._parser().parse_args(["report", "--store", str(path), "--json"])
    assert street.report(args) == 0
    return json.loads(capsys.readouterr().out)["gates"]


def test_people_see_the_corrected_time_marked_as_such(road):
    key, truth = road.keep(), road.box.true_ns
    with LedgerReader(road.path) as reader:
        entry = reader.newest(1)[0]
        assert str(entry.key) == key
        assert time_mark(line_of(entry, dating_of(reader, [entry.stamp]).when(entry.stamp))) == "?"
        road.set_without_a_turn(road.box.true_ns, good=True)
        road.turn()
        dating = dating_of(reader, [entry.stamp])
        line = line_of(entry, dating.when(entry.stamp))
        assert time_mark(line) == "~"
        assert abs(line.wall_ns - truth) <= NEAR_NS
        (record,) = document([entry], dating)["records"]
        assert record["at"].startswith("1970-")
        assert record["time"]["quality"] == "corrected"
        found = matching(
            lambda limit: reader.newest(limit, "passage"), lambda _entry: True, truth - SECOND, 5,
            lambda found: dating_of(reader, (one.stamp for one in found)),
        )  # fmt: skip
        assert [str(one.key) for one in found] == [key], "--since goes by the corrected time"


@pytest.mark.parametrize("wall_ns", [IN_1970, IN_2099, TRUE_NS + 10**9 * SECOND])
@pytest.mark.parametrize("good", [False, True])
def test_no_clock_that_cannot_be_makes_a_day_or_prunes_an_entry(road, wall_ns, good):
    """`good`: the kernel says it is in step. No program is believed to run in 1970 or 2099 all the same."""
    road.set_without_a_turn(road.box.true_ns, good=True)
    road.turn()
    road.keep()
    today = road.clock_of_gate.today()
    storage = Storage(road.path, road.path.with_name("uplink.db"), DAYS, stamp=lambda: road.box.stamp)
    for boots in (0, 1):  # in the boot that knew the time, and in one that never did
        road.box.boots += boots
        road.gate_starts()
        road.set_without_a_turn(wall_ns, good=good)
        assert not road.box.stamp.clock_trusted
        assert not road.clock_of_gate.plausible()
        assert abs(road.clock_of_gate.today() - today) <= timedelta(days=1)
        assert isinstance(road.clock_of_gate.doubted(), KnownTime)
        road.keep()
        with LedgerReader(road.path) as reader:
            now_ns = storage._now_ns(reader)
            stretches, _ = choose(reader, None, lambda e, latest, now=now_ns: may_go(e.kind, latest, now, DAYS))
        assert stretches == []
        assert now_ns <= road.box.true_ns


def test_an_anchor_is_kept_as_long_as_anything_that_is_dated_by_it():
    for days in (Days(passage=900, fault=30, audit=180), Days(passage=30, fault=900, audit=180), DAYS):
        longest = max(kept_for_ns(kind, days) or 0 for kind in (*ALL, "unknown") if kept_for_ns(kind, days))
        assert kept_for_ns(Clock.KIND, days) == longest


def test_an_entry_of_1970_does_not_wait_since_then(road):
    road.keep()
    sources = Sources(open_cursor=lambda _path: road.cursor)
    with LedgerReader(road.path) as reader:
        assert balance_of(reader, road.path, sources, road.box.true_ns).oldest_pending_s is None
        road.set_without_a_turn(road.box.true_ns, good=True)
        road.turn()
        road.cursor = Cursor(":memory:", write=True)
        waits_s = balance_of(reader, road.path, sources, road.box.true_ns + 60 * SECOND).oldest_pending_s
        assert waits_s is not None
        assert 59 < waits_s < 61


def test_a_gate_that_starts_in_1970_knows_from_its_ledger_what_has_passed(road):
    road.set_without_a_turn(road.box.true_ns, good=True)
    road.turn()
    last_ns = road.box.stamp.wall_ns
    road.box.boots, road.box.watch.trusted = 2, None
    road.set_without_a_turn(IN_1970, good=False)
    road.gate_starts()
    doubted = road.clock_of_gate.doubted()
    assert doubted == KnownTime(ns=last_ns)
    assert road.clock_of_gate.today() == clocks.day_of(last_ns)
    assert GateClock(now=lambda: road.box.stamp, files=()).doubted() == KnownTime(ns=BUILT_NS)


def test_news_of_the_clock_that_no_disk_takes_are_told_again(road):
    kept: list[Clock] = []

    def lose(entry: Clock) -> bool:
        kept.append(entry)
        return len(kept) > 1

    road.set_without_a_turn(road.box.true_ns, good=True)
    for _ in range(5):
        road.clock_of_gate.mind(lose)
        road.box.boot_ns += 6 * SECOND
        road.box.true_ns += 6 * SECOND
    assert [entry.why for entry in kept] == ["trusted", "trusted"]


def test_an_expired_template_stays_expired_in_1970_and_a_valid_one_stays_valid_in_2099(tmp_path):
    """By the day that the gate judges by; consent lasts no longer because a clock stopped."""
    vault, path = Vault.open(tmp_path / "secrets", create=True), tmp_path / "roster.db"
    today = datetime.fromtimestamp(TRUE_NS // SECOND, UTC).date()
    people = {name: member(name, day) for name, day in (("a", today - timedelta(9)), ("b", today + timedelta(9)))}
    roster.publish(path, people, vault)
    told = Box()
    told.boot()
    told.synchronise()
    for wall_ns in (IN_1970, IN_2099, told.true_ns):
        box = Box()
        box.boot(wall_ns=wall_ns)
        box.boots = 5
        day = GateClock([told.stamp], now=lambda box=box: box.stamp, files=()).today()
        found = roster_reading.people(path, vault, day)
        assert {token: person.has_face for token, person in found.items()} == {"a": False, "b": True}


def member(name: str, expires: date) -> roster.Member:
    template = roster.Template(
        model="m", vector=bytes(512), consent="paper 1", made_at="2026-11-22T00:00:00+00:00", expires=expires
    )
    return roster.Member(token=name, name=name, number="11010519491231002X", templates=(template,))


def test_nobody_asks_the_wall_clock_for_a_day_but_the_one_who_knows_whether_to_believe_it(root):
    asked = [
        f"{path.relative_to(root)}:{node.lineno}"
        for package in ("sentinel", "sync", "drivers", "recognition")
        for path in (root / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and (node.attr == "today" or node.attr == "utcnow")
        and isinstance(node.value, ast.Name) and node.value.id in ("date", "datetime")
    ]  # fmt: skip
    assert asked == []


def test_dating_of_nothing_leaves_a_stamp_as_it_is():
    box = Box()
    box.boot()
    assert Dating(()).when(box.stamp).wall_ns == box.stamp.wall_ns

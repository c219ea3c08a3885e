"""What is handed over is never waited for, and never lost while the gate lives: in the ledger, or for the spool."""

from itertools import count

import pytest

from sentinel.core.kinds import Barrier
from sentinel.keeper import How, Keeper
from sync.entry import Stamp
from sync.errors import LedgerUnavailable
from sync.ledger import LedgerReader, LedgerWriter

PASSED = Barrier(event="passed", after="the right", leaf="in")


class Stand:
    """A keeper whose ledger may be away, and whose clock ticks at each look."""

    def __init__(self, folder) -> None:
        self.away = False
        self.folder = folder
        self._ticks = count(1)
        self.keeper = Keeper(
            open_ledger=self._open, spool=folder / "spool.jsonl", vault=None, stamp=self._stamp, bound_s=5.0
        )
        self.keeper.tend()

    def _stamp(self) -> Stamp:
        return Stamp(wall_ns=next(self._ticks), boot_ns=1, boot_id="a-boot", clock_trusted=True)

    def _open(self) -> LedgerWriter:
        if self.away:
            raise LedgerUnavailable("no card; put one in")
        return LedgerWriter.open(self.folder / "ledger.db", vault=None, stamp=self._stamp)

    def kept(self) -> list:
        with LedgerReader(self.folder / "ledger.db") as reader:
            return [entry for entry in reader.after(None, 100) if entry.kind == "barrier"]


@pytest.fixture
def stand(tmp_path):
    return Stand(tmp_path)


@pytest.fixture
def away(tmp_path):
    built = Stand(tmp_path)
    built.keeper.close("its card is taken out")
    built.away = True
    built.keeper.tend()
    return built


def test_what_is_handed_over_is_in_the_ledger_in_its_order(stand):
    for number in range(5):
        assert stand.keeper.hand_over(Barrier(event="passed", after=str(number), leaf="in")).how is How.LATE
    assert stand.keeper.keep(PASSED).how is How.DURABLE
    assert [entry.data["after"] for entry in stand.kept()] == [*"01234", "the right"]
    stand.keeper.close("end of test")


def test_without_a_ledger_it_waits_in_memory_and_is_spooled_by_who_may_wait(away):
    kept = away.keeper.hand_over(PASSED)
    assert (kept.how, kept.problem) == (How.LATE, "no card; put one in")
    assert away.keeper.queued == 1
    assert not (away.folder / "spool.jsonl").exists(), "the one who hands over may not wait for a file"
    away.keeper.bring_home()
    assert away.keeper.queued == 0
    assert (away.folder / "spool.jsonl").stat().st_size > 0


def test_it_comes_home_once_with_the_time_at_which_it_was_handed_over(away):
    away.keeper.hand_over(PASSED)
    before = away.keeper.hand_over(Barrier(event="timed-out", after="another", leaf="in"))
    assert before.how is How.LATE
    away.keeper.bring_home()
    away.away = False
    for _ in range(3):
        away.keeper.tend()
        away.keeper.bring_home()
    away.keeper.close("end of test")
    first, second = away.kept()
    assert (first.data["event"], second.data["event"]) == ("passed", "timed-out")
    assert first.stamp.wall_ns < second.stamp.wall_ns


def test_a_spool_that_cannot_be_written_loses_nothing_either(away):
    blocked = away.folder / "spool.jsonl"
    blocked.mkdir()
    away.keeper.hand_over(PASSED)
    away.keeper.bring_home()
    assert away.keeper.queued == 1
    blocked.rmdir()
    away.keeper.bring_home()
    assert away.keeper.queued == 0
    away.away = False
    away.keeper.tend()
    away.keeper.bring_home()
    away.keeper.close("end of test")
    assert len(away.kept()) == 1


def test_the_end_of_the_gate_spools_what_was_handed_over(away):
    away.keeper.hand_over(PASSED)
    away.keeper.close("end of test")
    assert away.keeper.queued == 0
    assert (away.folder / "spool.jsonl").stat().st_size > 0

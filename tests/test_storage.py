"""A disk may run full and a file may break: the gate goes on, drops only what it may, and counts what it lost."""

import os
import sqlite3
import subprocess
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from sentinel.cli.check import ledger_lines
from sentinel.condition import LEDGER_FILLING, Balance, Ledger, Process, Uplink, judge
from sentinel.core.keeping import DAY_NS, Days, kept_for_ns, may_go
from sentinel.core.kinds import ALL, Barrier, Calibration, Fault, Passage, Revocation
from sentinel.i18n import has_text
from sentinel.keeper import How, Keeper
from sentinel.storage import Storage, proof_of
from sync import schema
from sync.broker import Message
from sync.cursor import Cursor
from sync.entry import Stamp
from sync.gapped import Gap
from sync.identity import Believed, make_identity
from sync.ledger import ChainReport, LedgerReader, LedgerWriter
from sync.receipts import believe, signed_properties
from sync.room import WARN_FILL
from sync.runs import Run
from sync.topics import Gate
from sync.wire import EpochReceipt, Receipt, encode_receipt

NOON_NS = 1_795_000_000_000_000_000
HOUR_NS = 3_600_000_000_000
DAYS = Days(passage=30, fault=60, audit=180)
DISK_MB = 40
SPOOL_BYTES = 200_000
PASSAGE = Passage(outcome="open", method="face", reasons=(), lane="lane-1", direction="in", mode="automatic")
FAULT = Fault(device="card", symptom="silent", detail="x" * 700)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Give a disk of `DISK_MB`: a real ext4 where root may mount one, else a tmpfs, else the plain folder."""
    place, image = folder / "disk", folder / "image"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(DISK_MB << 20)
    commands = (
        [["mkfs.ext4", "-q", "-m", "0", str(image)], ["mount", "-o", "loop", str(image), str(place)]],
        [["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "none", str(place)]],
    )
    mounted = os.geteuid() == 0 and any(
        all(subprocess.run(line, capture_output=True, check=False).returncode == 0 for line in way) for way in commands
    )
    try:
        yield place
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(place)], check=False)


class Sick:
    """A connection that finds damage at each append, when it is told to."""

    def __init__(self, stand: "Stand", connection: sqlite3.Connection) -> None:
        self.stand, self.connection = stand, connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def execute(self, sql: str, values: Any = ()) -> sqlite3.Cursor:
        if self.stand.sick and sql.startswith("INSERT INTO entries"):
            error = sqlite3.DatabaseError("database disk image is malformed")
            error.sqlite_errorname = "SQLITE_CORRUPT"
            raise error
        return self.connection.execute(sql, values)


class Stand:
    """A keeper and its storage on a disk, with a clock that goes an hour per entry, and a street that may receipt."""

    def __init__(self, disk: Path, quota_mb: int = 3, proof_of: Any = None) -> None:
        self.disk = disk
        self.proof_of = proof_of
        self.path = disk / "ledger.db"
        self.uplink_db = disk.parent / "uplink.db"  # the street's receipts are not what this is about
        self.sick = False
        self.wall_ns = NOON_NS
        self.mono = 0.0
        self.asked: Counter[str] = Counter()
        self.how: Counter[How] = Counter()
        self.quota = quota_mb << 20
        self.start()

    def start(self) -> None:
        self.storage = Storage(
            self.path, self.uplink_db, DAYS, stamp=self.stamp, clock=self.clock, spool_bytes=SPOOL_BYTES,
            proof_of=self.proof_of,
        )  # fmt: skip
        self.keeper = Keeper(
            open_ledger=self.open_ledger, spool=self.disk / "spool.jsonl", vault=None, stamp=self.stamp,
            bound_s=30.0, clock=self.clock, storage=self.storage,
        )  # fmt: skip
        self.keeper.tend()

    def open_ledger(self) -> LedgerWriter:
        return LedgerWriter.open(
            self.path, vault=None, stamp=self.stamp, quota_bytes=self.quota, check_s=30.0, start_body={"version": "1"},
            connect=lambda path, mode: Sick(self, schema.connect(path, mode)),  # type: ignore[arg-type, return-value]
        )  # fmt: skip

    def stamp(self) -> Stamp:
        return Stamp(wall_ns=self.wall_ns, boot_ns=1, boot_id="b", clock_trusted=True)

    def clock(self) -> float:
        self.mono += 1000.0  # every look is due
        return self.mono

    def keep(self, entry: Passage | Fault | Calibration | Revocation | Barrier, count: int = 1) -> list[How]:
        ways = []
        for _ in range(count):
            self.wall_ns += HOUR_NS
            kept = self.keeper.keep(entry)
            self.asked[entry.KIND] += 1
            self.how[kept.how] += 1
            ways.append(kept.how)
        return ways

    def look(self) -> None:
        self.keeper.tend()
        self.keeper.bring_home()

    def receipt_all(self) -> None:
        with LedgerReader(self.path) as reader, Cursor(self.uplink_db, write=True) as cursor:
            cursor.settle({span.epoch: [Run(1, span.last_seq)] for span in reader.epochs()})

    def assert_sound(self) -> None:
        with LedgerReader(self.path) as reader, Cursor(self.uplink_db) as cursor:
            report = reader.verify()
            assert report.ok, report.breaks
            assert cursor.balance(reader.epochs()).holds

    def held(self, kind: str) -> int:
        with LedgerReader(self.path) as reader:
            return sum(entry.kind == kind for entry in reader.after(None, 1_000_000))


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    with small_disk(tmp_path) as disk:
        ready = Stand(disk)
        yield ready
        ready.keeper.close("done")


def test_a_gate_of_years_goes_on_for_ever(stand):
    """Receipted and old enough, the oldest go; nothing that comes is ever refused, and the file stays in its quota."""
    assert stand.keep(Revocation(request="r", operator="o", reason="lost", pass_id="p")) == [How.DURABLE]
    for _ in range(30):
        stand.keep(FAULT, 300)
        stand.receipt_all()
        stand.look()
    assert set(stand.how) == {How.DURABLE}
    assert stand.path.stat().st_size <= stand.quota * 1.05
    assert stand.held("pruned") > 0
    assert stand.held("revocation") == 1, "a revoked pass stays revoked, however old that is"
    stand.assert_sound()


def test_young_and_unreceipted_entries_are_never_dropped(stand):
    stand.keep(PASSAGE, 10)
    stand.receipt_all()
    stand.wall_ns += 29 * DAY_NS
    young = stand.keep(PASSAGE, 10)
    stand.receipt_all()
    stand.wall_ns -= 10 * HOUR_NS
    while stand.storage.fill < 1.0:
        stand.keep(FAULT, 300)
        stand.wall_ns -= 300 * HOUR_NS
        stand.look()
    assert young == [How.DURABLE] * 10
    assert stand.held("passage") == 20
    stand.wall_ns += 2 * DAY_NS
    stand.look()
    assert stand.held("passage") == 10, "the first ten have had their thirty days"
    stand.assert_sound()


def test_where_the_streets_keys_are_known_a_forged_cursor_drops_nothing(tmp_path):
    street = make_identity(tmp_path / "street.key")
    (tmp_path / "street.pub").write_text(street.known.text())
    gate = Gate(street="330106", site="cuiyuan3", gate="east-3")
    with small_disk(tmp_path) as disk:
        stand = Stand(disk, proof_of=proof_of(tmp_path / "street.pub", str(gate)))
        while stand.storage.fill < 0.96:
            stand.keep(FAULT, 40)
            stand.look()
        stand.wall_ns += 400 * DAY_NS
        stand.receipt_all()  # as whoever has taken the uplink over would write it
        stand.look()
        assert stand.held("pruned") == 0
        with LedgerReader(stand.path) as reader, Cursor(stand.uplink_db, write=True) as cursor:
            said = tuple(EpochReceipt(epoch=span.epoch, upto=span.last_seq) for span in reader.epochs())
            payload = encode_receipt(Receipt(gate=str(gate), epochs=said))
            message = Message(topic="", payload=payload, properties=signed_properties(payload, street))
            cursor.settle({}, proofs=believe(message, gate, Believed([street.known]))[1])
        stand.look()
        assert stand.held("pruned") == 1
        stand.assert_sound()
        stand.keeper.close("done")


def test_a_full_ledger_keeps_only_who_passed_and_counts_the_rest(stand):
    while stand.storage.fill < 1.0:
        stand.keep(FAULT, 40)
        stand.look()
    assert stand.keep(FAULT) == [How.LOST]
    assert stand.keep(PASSAGE, 100) == [How.DURABLE] * 100, "out of the reserve"
    assert stand.keeper.unkept == stand.how[How.LOST]
    stand.assert_sound()
    lost = stand.how[How.LOST]
    stand.receipt_all()
    stand.wall_ns += 400 * DAY_NS
    for _ in range(3):
        stand.look()
    assert stand.keep(FAULT) == [How.DURABLE], "never a one-way street"
    stand.look()
    with LedgerReader(stand.path) as reader:
        (told,) = reader.newest(2, "unkept")
    assert told.data["counts"] == {"fault": lost}
    assert stand.keeper.unkept == 0
    stand.assert_sound()


def test_with_every_byte_taken_each_entry_is_kept_or_counted(stand):
    """The reserve ends too, then the spool; what is asked of the gate is all accounted for, across a restart."""
    while stand.how[How.LOST] < 50:
        stand.keep(PASSAGE, 400)
        stand.look()
    stand.keeper.close("restart")
    stand.start()
    stand.look()
    lines = b"".join(file.read_bytes() for file in stand.disk.glob("spool.jsonl*")).splitlines()
    spooled = {line.split(b'"request":"')[1].split(b'"')[0] for line in lines}
    with LedgerReader(stand.path) as reader:
        spooled -= {str(entry.request).encode() for entry in reader.after(None, 1_000_000)}
    total = stand.held("passage") + len(spooled) + stand.storage.unkept
    assert total == stand.asked["passage"]
    stand.assert_sound()


def test_a_stranger_who_fills_the_disk_does_not_stop_the_ledger(stand):
    """Ballast off, pruned, goes on: with not one free byte on the disk."""
    stand.keep(FAULT, 2000)
    stand.receipt_all()
    stand.wall_ns += 400 * DAY_NS
    stand.look()
    with (stand.disk / "filler").open("wb", buffering=0) as filler:
        try:
            for _ in range(2 * DISK_MB):
                filler.write(b"\0" * (1 << 19))
        except OSError:
            pass  # full: what we wanted
        for _ in range(3):
            stand.look()
            stand.keep(FAULT, 100)
    stand.look()
    assert (stand.disk / "ballast").exists() != os.path.ismount(stand.disk), "thrown off where the disk is really full"
    assert stand.keep(PASSAGE, 50) == [How.DURABLE] * 50
    stand.assert_sound()


def test_a_damaged_ledger_is_salvaged_beside_a_gate_that_goes_on(stand):
    stand.keep(PASSAGE, 100)
    stand.keeper.close("before the damage")
    with LedgerReader(stand.path) as reader:
        last = reader.newest(1)[0].key.epoch
    with stand.path.open("r+b") as file:
        file.write(b"\xa5" * 2048)
    stand.start()
    assert stand.keep(PASSAGE) == [How.SPOOLED], "nobody waits for the salvage"
    stand.look()
    stand.look()
    assert stand.keep(PASSAGE) == [How.DURABLE]
    stand.look()
    with LedgerReader(stand.path) as reader:
        (told,) = reader.newest(2, "salvage")
        assert told.key.epoch > last
        assert (told.data["lost"], told.data["aside"]) == (0, "ledger.db.damaged-1")
    assert stand.held("passage") == 102
    stand.assert_sound()


def test_damage_that_shows_in_the_middle_of_a_day_is_salvaged_too(stand):
    stand.keep(PASSAGE, 100)
    destroyed = stand.path.stat().st_size // 2048 // 2
    stand.keeper._ledger._file.checkpoint()
    with stand.path.open("r+b") as file:
        file.seek(destroyed * 2048)
        file.write(b"\xa5" * 2048)
    stand.sick = True
    assert stand.keep(PASSAGE) == [How.SPOOLED]
    stand.sick = False
    for _ in range(3):
        stand.look()
    assert stand.keep(PASSAGE) == [How.DURABLE]
    assert stand.path.with_name("ledger.db.damaged-1").exists()
    with LedgerReader(stand.path) as reader:
        lost = sum(gap.count for gap in reader.gaps().damaged())
        assert reader.newest(3, "salvage")[0].data["lost"] == lost
        assert stand.held("passage") >= 102 - lost
    stand.assert_sound()


def test_a_disk_that_says_damaged_falsely_keeps_its_ledger(stand):
    stand.keep(PASSAGE, 5)
    stand.sick = True
    assert stand.keep(PASSAGE) == [How.SPOOLED]
    stand.sick = False
    for _ in range(3):
        stand.look()
    assert stand.held("passage") == 6
    assert not list(stand.disk.glob("*.damaged-*"))
    stand.assert_sound()


@pytest.mark.parametrize(
    ("fill", "found"), [(0.5, None), (0.79, None), (0.8, "warning"), (0.99, "warning"), (1.0, "critical")]
)
def test_staff_learn_in_time_that_the_room_ends(fill, found):
    process = Process(alive=True, mode="automatic", ledger_fill=fill)
    findings = judge(process, Uplink(state="connected"), Balance(known=True), Ledger(readable=True, chain="ok"))
    assert [one.severity for one in findings] == ([found] if found else [])
    assert all(has_text(f"status.finding.{one.id}") for one in findings)
    assert pytest.approx(WARN_FILL) == LEDGER_FILLING


def test_the_first_crossing_is_logged_once_and_so_is_its_end(stand, caplog):
    caplog.set_level("INFO", logger="sentinel.storage")
    while stand.storage.fill < 0.9:
        stand.keep(FAULT, 40)
        stand.look()
    assert sum("filling up" in record.message for record in caplog.records) == 1


def test_losses_are_said_by_check_and_status(stand, capsys):
    process = Process(alive=True, mode="automatic", unkept=3)
    ledger = Ledger(readable=True, chain="ok", holes=2)
    found = {one.id: one.subject for one in judge(process, Uplink(state="connected"), Balance(known=True), ledger)}
    assert found == {"ledger-unkept": "3", "ledger-holes": "2"}
    hole = Gap(epoch=1, first=5, last=6, prev=None, hash=None, why="damaged")
    chain = ChainReport(ok=True, checked=9, breaks=(), pruned=4, holes=(hole,))
    lines = ledger_lines(chain, Balance(known=True), Namespace(plain=True, lang="en", json=False))
    assert any("4 entries" in line for line in lines)
    assert any("0000000000000001-5" in line for line in lines)


@pytest.mark.parametrize("kind", ALL)
def test_no_kind_is_dropped_before_its_days(kind):
    kept_ns = kept_for_ns(kind, DAYS)
    if kept_ns is None:
        assert not may_go(kind, 0, 1 << 63, DAYS)
        return
    assert kept_ns >= DAYS.passage * DAY_NS
    assert not may_go(kind, NOON_NS, NOON_NS + kept_ns, DAYS)
    assert may_go(kind, NOON_NS, NOON_NS + kept_ns + 1, DAYS)
    assert not may_go(kind, None, 1 << 63, DAYS), "nobody can tell how old it is"


def test_a_pass_is_remembered_however_short_the_days_are():
    short = Days(passage=1, fault=1, audit=180)
    assert kept_for_ns("passage", short) >= 7 * DAY_NS


def test_the_room_for_the_count_is_taken_before_it_is_needed(stand):
    assert (stand.disk / "unkept").stat().st_size == 4096
    assert (stand.disk / "unkept").stat().st_blocks * 512 >= 4096
    with closing(open(stand.disk / "unkept", "rb")) as file:
        assert len(file.read()) == 4096

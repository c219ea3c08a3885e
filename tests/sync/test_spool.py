"""The spool: a line is safe when it is written, comes home once, and harms no other line when it is torn."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from graveyard import Graveyard, scratch
from hypothesis import given, settings
from hypothesis import strategies as st
from sickdisk import SickDisk

from sync.entry import Draft, Stamp
from sync.errors import LedgerUnavailable, VaultError
from sync.ledger import LedgerReader, LedgerWriter
from sync.spool import SpoolReport, import_spool, spool_append
from sync.vault import Vault

STAMP = Stamp(wall_ns=1_795_320_000_000_000_000, boot_ns=1, boot_id="a-boot", clock_trusted=True)
MOST_STEPS = 100


def opening(request: str | None = None, **personal: str) -> Draft:
    return Draft(kind="opening", version=1, body={"reason": "by hand"}, personal=personal or None, request=request)


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool.jsonl"


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Vault:
    return Vault.open(tmp_path_factory.mktemp("vault"), create=True)


@pytest.fixture
def writer(tmp_path: Path, vault: Vault) -> Iterator[LedgerWriter]:
    with LedgerWriter.open(tmp_path / "ledger.db", vault=vault) as ready:
        yield ready


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[LedgerReader]:
    with LedgerReader(tmp_path / "ledger.db") as ready:
        yield ready


def names(spool: Path) -> list[str]:
    return sorted(file.name for file in spool.parent.glob("spool*"))


def test_a_spooled_entry_comes_home_whole(spool, writer, reader, vault):
    spool_append(spool, opening("r", name="王小明"), STAMP, vault)
    assert import_spool(spool, writer) == SpoolReport(kept=1)
    entry = reader.by_request("r")
    assert (entry.kind, entry.version, entry.stamp, entry.data) == ("opening", 1, STAMP, {"reason": "by hand"})
    assert entry.personal_key == "opening/2026-11-22"
    assert vault.unseal(entry.personal_key, entry.personal) == {"name": "王小明"}
    assert names(spool) == ["spool.jsonl.imported"]


def test_nothing_spooled_is_nothing_to_do(spool, writer):
    assert import_spool(spool, writer) == SpoolReport()
    assert names(spool) == []


def test_lines_come_home_in_order(spool, writer, reader):
    for number in range(5):
        spool_append(spool, opening(f"r{number}"), STAMP)
    assert import_spool(spool, writer).kept == 5
    assert [entry.request for entry in reader.newest(5, kind="opening")] == ["r4", "r3", "r2", "r1", "r0"]


def test_a_personal_part_is_never_readable_in_the_file_and_leaves_it_with_the_import(spool, writer, vault):
    spool_append(spool, opening("r", name="Ms Secret"), STAMP, vault)
    assert b"Secret" not in spool.read_bytes() and b'"personal"' in spool.read_bytes()
    import_spool(spool, writer)
    assert b'"personal"' not in Path(f"{spool}.imported").read_bytes()


def test_a_spool_without_a_vault_keeps_the_entry_without_the_person(spool, writer, reader):
    spool_append(spool, opening("r", name="Ms Secret"), STAMP)
    assert b"Secret" not in spool.read_bytes()
    import_spool(spool, writer)
    assert reader.by_request("r").personal is None


def test_a_person_sealed_by_another_box_is_named_and_the_entry_kept(spool, writer, reader, tmp_path):
    spool_append(spool, opening("r", name="Ms Secret"), STAMP, Vault.open(tmp_path / "other", create=True))
    report = import_spool(spool, writer)
    assert report.kept == 1 and "without its personal part" in report.damaged[0]
    assert reader.by_request("r").personal is None
    assert b'"personal"' in Path(f"{spool}.imported").read_bytes(), "what nobody could open is not thrown away"


class OneBadKey:
    """A vault in which the key of one class of entries is damaged."""

    def __init__(self, vault: Vault):
        self.unseal, self._vault = vault.unseal, vault

    def seal_bytes(self, plain: bytes, class_: str, day: str) -> tuple[str, bytes]:
        if class_ == "passage":
            raise VaultError(f"key {class_}/{day} does not open")
        return self._vault.seal_bytes(plain, class_, day)


def test_a_person_that_cannot_be_sealed_holds_up_nobody_behind(spool, vault, tmp_path, reader):
    spool_append(spool, replace(opening("bad", name="Ms Secret"), kind="passage"), STAMP, vault)
    spool_append(spool, opening("good", name="王小明"), STAMP, vault)
    first = spool.read_bytes().splitlines()[0]
    with LedgerWriter.open(tmp_path / "ledger.db", vault=OneBadKey(vault)) as writer:
        report = import_spool(spool, writer)
        assert report.kept == 2
        (damaged,) = report.damaged
        assert "line 1" in damaged and "does not open" in damaged
        assert reader.by_request("bad").personal is None
        assert vault.unseal("opening/2026-11-22", reader.by_request("good").personal) == {"name": "王小明"}
    aside = Path(f"{spool}.imported").read_bytes().splitlines()
    assert aside[0] == first, "what could not be sealed is not thrown away"
    assert b'"personal"' not in aside[1]


def test_a_request_that_the_ledger_has_is_not_doubled(spool, writer, reader):
    first = writer.append(opening("r"), 10)
    spool_append(spool, opening("r"), STAMP)
    assert import_spool(spool, writer).kept == 1
    assert reader.newest(9, kind="opening") == [first]


def test_an_entry_without_a_request_gets_one_and_comes_home_once(spool, writer, reader):
    request = spool_append(spool, opening(), STAMP)
    line = spool.read_bytes()
    import_spool(spool, writer)
    spool.write_bytes(line)
    import_spool(spool, writer)
    assert [entry.request for entry in reader.newest(9, kind="opening")] == [request]
    assert names(spool) == ["spool.jsonl.imported", "spool.jsonl.imported-2"]


@settings(max_examples=40)
@given(cut=st.integers(min_value=1))
def test_a_torn_end_harms_no_other_line(home, cut):
    """Cut the file anywhere within its last line, as a power cut does, and go on writing after it."""
    folder, writer, reader, number = home
    spool = folder / "spool.jsonl"
    requests = [f"{number()}-{word}" for word in ("whole", "torn", "later")]
    spool_append(spool, opening(requests[0]), STAMP)
    whole = len(spool.read_bytes())
    spool_append(spool, opening(requests[1]), STAMP)
    both = spool.read_bytes()
    left = whole + 1 + cut % (len(both) - whole - 2)  # something of the second line stays, and something is gone
    spool.write_bytes(both[:left])
    spool_append(spool, opening(requests[2]), STAMP)
    report = import_spool(spool, writer)
    assert [reader.by_request(request) is not None for request in requests] == [True, False, True]
    assert report.kept == 2 and "line 2 of spool.jsonl.importing is torn or damaged" in report.damaged[0]


@pytest.fixture(scope="module")
def home():
    count = iter(range(1 << 30))
    with (
        scratch() as folder,
        LedgerWriter.open(folder / "ledger.db", vault=None) as writer,
        LedgerReader(folder / "ledger.db") as reader,
    ):
        yield folder, writer, reader, lambda: next(count)


@pytest.mark.parametrize("damage", [b'"opening"', b'"by hand"', b"1795320000000000000"])
def test_a_changed_line_is_not_believed(spool, writer, reader, damage):
    spool_append(spool, opening("r"), STAMP)
    line = spool.read_bytes()
    assert damage in line
    spool.write_bytes(line.replace(damage, damage.replace(b"1", b"2").replace(b"b", b"c").replace(b"p", b"q")))
    report = import_spool(spool, writer)
    assert report.kept == 0 and len(report.damaged) == 1
    assert reader.by_request("r") is None


@settings(max_examples=50)
@given(line=st.binary(max_size=200))
def test_any_bytes_are_survived(home, line):
    folder, writer, _, _ = home
    spool = folder / "any.jsonl"
    spool.write_bytes(line)
    assert import_spool(spool, writer).kept == 0


def test_a_spool_stays_where_it_is_while_the_ledger_is_sick(spool, tmp_path, vault, reader):
    disk = SickDisk()
    with LedgerWriter.open(tmp_path / "ledger.db", vault=vault, connect=disk.connect) as writer:
        spool_append(spool, opening("r0"), STAMP)
        spool_append(spool, opening("r1", name="somebody"), STAMP, vault)
        disk.fail("COMMIT")
        with pytest.raises(LedgerUnavailable):
            import_spool(spool, writer)
        spool_append(spool, opening("r2"), STAMP)
        disk.heal()
        assert import_spool(spool, writer).kept == 3
        assert names(spool) == ["spool.jsonl.imported", "spool.jsonl.imported-2"]
    assert [reader.by_request(f"r{number}").stamp for number in range(3)] == [STAMP] * 3


def test_a_spool_that_cannot_be_written_says_so(tmp_path):
    with pytest.raises(LedgerUnavailable, match="paper"):
        spool_append(tmp_path / "nowhere" / "spool.jsonl", opening(), STAMP)


def test_lines_written_during_an_import_are_not_lost(spool, writer, reader):
    written: list[str] = []

    def keep_writing(lane: int) -> None:
        for number in range(25):
            written.append(spool_append(spool, opening(f"{lane}-{number}"), replace(STAMP, boot_ns=number)))

    threads = [threading.Thread(target=keep_writing, args=(lane,)) for lane in range(3)]
    for thread in threads:
        thread.start()
    reports = [import_spool(spool, writer) for _ in range(5)]
    for thread in threads:
        thread.join(30)
    reports.append(import_spool(spool, writer))
    assert sum(report.kept for report in reports) == len(written) == 75
    assert all(reader.by_request(request) for request in written)
    assert not any(report.damaged for report in reports)


@pytest.fixture(scope="module")
def graveyard() -> Iterator[Graveyard]:
    with Graveyard() as ready:
        yield ready


def test_killed_while_spooling_loses_no_line_it_reported(graveyard):
    reported = []
    with scratch() as folder:
        for step in range(1, MOST_STEPS):
            lived, words = graveyard.run("spool", folder, die_at=step, request=f"r{step}")
            reported += [word["kept"] for word in words]
            if lived:
                break
        assert step >= 3 and reported
        lines = [json.loads(line) for line in (folder / "spool.jsonl").read_bytes().splitlines()]
        assert {line["entry"]["request"] for line in lines} >= set(reported)


def test_killed_anywhere_in_an_import_loses_and_doubles_nothing(graveyard):
    with scratch() as folder:
        vault = Vault.open(folder / "secrets", create=True)
        for step in range(1, MOST_STEPS):
            requests = [f"r{step}-{number}" for number in range(2)]
            for request in requests:
                spool_append(folder / "spool.jsonl", opening(request, name="Somebody"), STAMP, vault)
            lived, _ = graveyard.run("bring_home", folder, die_at=step)
            graveyard.run("bring_home", folder)
            with LedgerReader(folder / "ledger.db") as reader:
                for request in requests:
                    entry = reader.by_request(request)
                    assert entry is not None, f"{request} was lost by a death at step {step}"
                    assert vault.unseal(entry.personal_key, entry.personal) == {"name": "Somebody"}
                assert reader.counts_since("opening", 0) == {"opening": 2 * step}
            if lived:
                break
        assert step > 10, "the scene should contain renames, reads and two appends"
        with LedgerReader(folder / "ledger.db") as reader:
            assert reader.verify().ok
        assert not [name for name in names(folder / "spool.jsonl") if "imported" not in name]

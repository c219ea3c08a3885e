"""Every fault of every device is told within 5 s and healed within 10 s; nothing is lost, nobody wrongly let in."""

from collections import Counter
from pathlib import Path

import pytest

from sentinel.i18n import has_text, remedy
from sync.ledger import LedgerReader

from .campaign import PLANS, Played
from .cases import CASES, Where
from .rig import Gate
from .table import rows

# The first test waits for the campaign of all.
pytestmark = [pytest.mark.realtime, pytest.mark.timeout(240)]
DEVICES_PAGE = Path(__file__).resolve().parents[2] / "docs" / "devices.md"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_fault_is_told_and_healed(findings, case):
    found = findings[case.id]
    assert found.wrong == []


def test_every_fault_that_a_bench_offers_is_a_case_and_none_is_played_twice(tmp_path):
    offered = set()
    for number, kinds in enumerate({frozenset(plan.kinds.items()) for plan in PLANS}):
        folder = tmp_path / str(number)
        folder.mkdir()
        gate = Gate(folder, dict(kinds))
        for name, faults in gate.bench.known_faults().items():
            # The camera's are told by the vision process: tests/drivers/test_pictures.py, tests/end_to_end.
            kind = {"relay": "relay-board", "barrier": "gate"}.get(name) or gate.kinds.get(name)
            offered |= {(kind, fault) for fault in faults if kind not in (None, "none")}
        gate.close()
    assert {(case.kind, case.fault) for case in CASES} == offered
    played = Counter(case for plan in PLANS for name in plan.broken for case in plan.cases(name))
    assert played == Counter(CASES)


@pytest.mark.parametrize("lang", ["zh_CN", "en"])
def test_every_ticket_has_a_remedy_that_names_more_than_the_fault(lang):
    told = {(case.component, symptom) for case in CASES for symptom in case.symptoms}
    assert told
    for component, symptom in told:
        assert has_text(f"symptom.{symptom}")
        assert remedy(component, symptom, lang) != remedy("no such part", "no such symptom", lang), (component, symptom)


def test_every_gate_was_ready_before_the_first_fault(played):
    assert [one.not_ready for one in played] == [[] for _ in played]


def test_no_gate_and_no_worker_was_started_again(played):
    for one in played:
        assert one.gate.surprise is None
        assert Counter(entry.kind for entry in _ledger(one)).get("start") == 1


def test_every_entry_that_was_seen_is_kept_and_the_chain_is_whole(played):
    for one in played:
        kept = _ledger(one)
        seen = one.gate.entries()
        assert kept[: len(seen)] == seen
        assert [entry.key.seq for entry in kept] == list(range(kept[0].key.seq, kept[0].key.seq + len(kept)))
        assert LedgerReader(one.gate.folder / "ledger.db").verify().ok


def test_no_fault_disturbs_another_device(played):
    for one in played:
        claimed = {entry.key for found in one.findings for entry in found.claimed}
        told = [entry for entry in one.gate.entries() if entry.kind in ("fault", "repair")]
        assert [f"{entry.kind} {entry.data}" for entry in told if entry.key not in claimed] == []


def test_every_fault_is_repaired_once(played):
    for one in played:
        told = Counter()
        for entry in _ledger(one):
            if entry.kind in ("fault", "repair"):
                told[entry.data["device"], entry.data["symptom"]] += 1 if entry.kind == "fault" else -1
        assert {ticket: count for ticket, count in told.items() if count} == {}


def test_no_leaf_opens_without_an_entry_before_it(played):
    """Each closing of a relay has an entry of its own: a fire opens both leaves by one, and holds them."""
    opened = 0
    for one in played:
        entries = one.gate.entries()
        rights = [entry.stamp.boot_ns for entry in entries if _lets_in(entry)]
        fires = _fire_spans(entries)
        closures = [at for at in one.gate.closures if not any(begin <= at <= end for begin, end in fires)]
        opened += len(closures)
        for number, closed_ns in enumerate(sorted(closures), start=1):
            assert sum(at <= closed_ns for at in rights) >= number
    assert opened


def test_the_page_of_devices_says_the_same():
    page = DEVICES_PAGE.read_text(encoding="utf-8").splitlines()
    assert [line for line in rows() if line not in page] == []
    untold = [case for case in CASES if case.where is Where.UNTOLD]
    exceptions = "\n".join(page).partition("## Exceptions")[2]
    assert [case.fault for case in untold if f"`{case.fault}`" not in exceptions] == []


def _ledger(one: Played):
    return LedgerReader(one.gate.folder / "ledger.db").after(None, 10_000)


def _lets_in(entry) -> bool:
    return entry.kind == "opening" or (entry.kind == "passage" and entry.data["outcome"] == "open")


def _fire_spans(entries) -> list[tuple[int, int]]:
    """From shortly before each fire was told to its end: the relay closes first and is told after."""
    begun = [entry.stamp.boot_ns for entry in entries if entry.data.get("event") == "fire-on"]
    ended = [entry.stamp.boot_ns for entry in entries if entry.data.get("event") == "fire-off"]
    return [(begin - 1_000_000_000, end) for begin, end in zip(begun, ended, strict=True)]

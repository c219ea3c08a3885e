"""What a street's report says, to people, to programs and by its exit code, and that it does not read the entries."""

import json
import sqlite3
from pathlib import Path

import pytest
from made_entries import FIRST, SECOND, LedgerInMemory, made

from sentinel import street
from sync.entry import Key
from sync.store import Store
from sync.street_times import dates_in
from sync.wire import Arrival, Batch, Gate

WHOLE, HOLED, FORKED = (Gate(street="330106", site="cuiyuan3", gate=name) for name in ("east-1", "east-2", "west-1"))


def batch(entries):
    return Batch(id="b-1", arrivals=tuple(Arrival(entry=entry) for entry in entries))


def fill(store: Store) -> None:
    ledger = LedgerInMemory()
    ledger.start(FIRST)
    ledger.append(9)
    ledger.start(SECOND)
    entries = ledger.range(FIRST, 1, 10) + ledger.range(SECOND, 1, 1)
    store.accept(WHOLE, batch(entries), now_ns=1)
    store.accept(HOLED, batch(entries[:3] + entries[5:]), now_ns=1)
    store.accept(FORKED, batch([*entries, made(Key(FIRST, 2), body={"other": 1})]), now_ns=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request, tmp_path: Path) -> str:
    made_here = str(tmp_path / "s.db") if request.param == "sqlite" else request.getfixturevalue("postgresql")()
    with Store(made_here if request.param == "postgresql" else Path(made_here)) as store:
        fill(store)
    return made_here


def report(where: str, *options: str) -> int:
    return street.report(street._parser().parse_args(["report", "--store", where, *options]))


def test_everybody_is_named_and_summed_and_trouble_is_the_exit_code(where, capsys):
    assert report(where, "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert [gate["device"].split("/")[-1] for gate in told["gates"]] == ["east-1", "east-2", "west-1"]
    assert told["total"] == {
        "gates": 3, "in_trouble": 2, "entries": 31, "missing": 2, "forks": 1, "breaks": 0, "forgotten": 0, "refused": 1,
    }  # fmt: skip
    times = [time for epoch in told["gates"][0]["epochs"] for time in epoch["times"]]
    assert [time["sequence"] for time in times] == [1, 10, 1]


def test_only_trouble_leaves_out_who_is_whole_but_not_from_the_sum(where, capsys):
    assert report(where, "--only-trouble") == 1
    said = capsys.readouterr().out
    assert "east-1" not in said
    assert "GAP    " in said
    assert "FORK   " in said
    assert said.splitlines()[-1].startswith("total  3 gates, 2 in trouble, 31 entries, 2 missing, 1 forks")


@pytest.mark.parametrize(
    ("name", "code", "gates"),
    [("east-1", 0, 1), ("330106/cuiyuan3/east-1", 0, 1), ("cuiyuan3/east-2", 1, 1), ("ast-1", 0, 0), ("nobody", 0, 0)],
)
def test_one_gate_answers_for_itself(where, name, code, gates, capsys):
    assert report(where, "--gate", name, "--json") == code
    assert json.loads(capsys.readouterr().out)["total"]["gates"] == gates


def test_no_query_of_a_report_walks_through_the_entries(tmp_path: Path):
    path = tmp_path / "street.db"
    with Store(path) as store:
        fill(store)
        connection = sqlite3.connect(path)
        plans = []

        def rows(sql, values):
            plans.extend((sql, step[3]) for step in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values))
            return connection.execute(sql, values).fetchall()

        from sync.gaps import report as read

        for gate in read(rows):
            dates_in(rows, gate.device)
        connection.close()
    of_entries = [step for sql, step in plans if "entries" in sql]
    assert of_entries
    assert [step for step in of_entries if "device=? AND epoch=? AND seq=?" not in step] == []

"""Hold words, ledgers, cursors and the street against each other: nothing lost, doubled, altered, invented or stuck."""

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sync.cursor import Cursor
from sync.entry import Entry, Key, parse_key
from sync.gaps import read_report
from sync.ledger import LedgerReader

OWN_KINDS = frozenset(("start", "stop", "salvage", "unkept", "pruned"))
_TOKEN = re.compile(r"[^:]+:\d+")


@dataclass(slots=True, kw_only=True)
class Account:
    """What was found; `wrong` is empty when everything holds."""

    wrong: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    wall_us: list[int] = field(default_factory=list)  # of hand-overs that do not wait
    cpu_us: list[int] = field(default_factory=list)
    waited_us: list[int] = field(default_factory=list)  # of entries that wait for their commit

    def must(self, holds: object, what: str) -> None:
        """Note what does not hold."""
        if not holds:
            self.wrong.append(what)


def words_in(path: Path) -> list[dict[str, Any]]:
    """Return what a writer said; a word that its death cut short is none."""
    said = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            said.append(json.loads(line))
        except ValueError:
            continue
    return said


def entries_of(ledger: Path) -> list[Entry]:
    """Return all entries of a ledger, oldest first."""
    entries: list[Entry] = []
    with LedgerReader(ledger) as reader:
        while page := reader.after(entries[-1].key if entries else None, 5_000):
            entries += page
    return entries


def judge_gate(
    account: Account, state: Path, words: Iterable[Path], *, others: Iterable[Path] = (), refused: bool = False
) -> list[Entry]:
    """Judge one gate by what it said and what its files hold; return its entries.

    `others` are the words of a gate that this one's image may have been taken from.
    """
    lives: dict[str, list[dict[str, Any]]] = {path.stem: words_in(path) for path in words}
    with LedgerReader(state / "ledger.db") as reader:
        report = reader.verify()
    account.must(report.ok, f"the chain breaks: {report.breaks[:3]}")
    entries = entries_of(state / "ledger.db")
    holes = [hole for entry in entries if entry.kind == "salvage" for hole in entry.data["holes"]]
    found = Counter(entry.request for entry in entries if entry.request)
    doubled = [request for request, count in found.items() if count > 1]
    account.must(not doubled, f"doubled: {doubled[:5]}")
    by_request = {entry.request: entry for entry in entries if entry.request}
    for life, said in lives.items():
        _judge_life(account, life, said, by_request, holes)
    known = {*lives, *(path.stem for path in others)}
    for entry in entries:
        _judge_entry(account, entry, known)
    lost = sum(entry.data["lost"] for entry in entries if entry.kind == "salvage")
    account.must(account.counts["missing"] <= lost, f"lost: {account.counts['missing']}, and {lost} were told")
    account.counts["told as lost"] += lost
    _judge_balance(account, state, refused=refused)
    account.counts["entries"] += len(entries)
    return entries


def _judge_life(
    account: Account, life: str, said: list[dict[str, Any]], found: dict[str | None, Entry], holes: list[dict[str, Any]]
) -> None:
    ended = any("ended" in word for word in said)
    for word in said:
        if "t" not in word:
            continue
        account.counts[word["how"]] += 1
        (account.waited_us if word["waits"] else account.wall_us).append(word["wall_us"])
        if not word["waits"]:
            account.cpu_us.append(word["cpu_us"])
        entry = found.get(word["t"])
        promised = word["how"] in ("durable", "spooled") or (ended and word["how"] == "late")
        if entry is None and promised and not _in_holes(word["key"], holes):
            # What a damaged page took has perhaps no key to be found in the holes by: their sum is judged then.
            account.counts["missing"] += bool(holes)
            if not holes:
                account.wrong.append(f"lost: {word['t']} was {word['how']} {word['key'] or ''}")
        if entry is not None and word["key"] and not holes:
            account.must(str(entry.key) == word["key"], f"moved: {word['t']} was {word['key']}, is {entry.key}")
    keys = [word["key"] for word in said if word.get("key")]
    account.must(len(set(keys)) == len(keys), f"one key was given twice in {life}")


def _in_holes(key: str | None, holes: list[dict[str, Any]]) -> bool:
    if key is None:
        return False
    at = parse_key(key)
    return any(int(hole["epoch"], 16) == at.epoch and hole["first"] <= at.seq <= hole["last"] for hole in holes)


def _judge_entry(account: Account, entry: Entry, lives: set[str]) -> None:
    if entry.kind in OWN_KINDS:
        return
    token = entry.request or ""
    account.must(token.rpartition(":")[0] in lives and _TOKEN.fullmatch(token), f"invented: {entry.key} {token!r}")
    account.must(
        entry.kind == "barrier" and str(entry.data["after"]).rstrip("x") == token, f"altered: {entry.key} {token!r}"
    )


def _judge_balance(account: Account, state: Path, *, refused: bool) -> None:
    with Cursor(state / "uplink.db") as cursor, LedgerReader(state / "ledger.db") as reader:
        sums = cursor.pending(reader)
        dead = cursor.dead_letters()
    account.must(sums.holds or _has_gaps(state), f"the balance does not close: {sums}")
    account.must(sums.pending == 0 or _has_gaps(state), f"stuck: {sums}")
    account.counts["refused"] += sums.refused
    account.must(refused or not dead, f"refused without a reason: {[(str(one.key), one.reason) for one in dead[:3]]}")


def _has_gaps(state: Path) -> bool:
    with closing(sqlite3.connect(f"file:{state}/ledger.db?mode=ro", uri=True)) as db:
        return bool(db.execute("SELECT count(*) FROM gaps").fetchone()[0])


def judge_street(account: Account, store: Path, device: str, entries: Sequence[Entry], dead: set[Key]) -> None:
    """Hold one device's rows at the street against what its ledgers hold."""
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT epoch, seq, hash, body FROM entries WHERE device = ?", (device,)).fetchall()
        forks = db.execute("SELECT epoch, seq FROM forks WHERE device = ?", (device,)).fetchall()
    theirs = {(epoch, seq): (digest, bytes(body)) for epoch, seq, digest, body in rows}
    ours = {(entry.key.epoch, entry.key.seq): (entry.hash, entry.body) for entry in entries}
    account.must(len(theirs) == len(rows), "the street holds a key twice")
    account.must(not forks, f"forks at the street: {forks[:3]}")
    lacking = [key for key in ours if key not in theirs and Key(*key) not in dead]
    account.must(not lacking, f"lost on the road: {len(lacking)}, first {lacking[:2]}")
    strange = [key for key in theirs if key not in ours]
    holes = [hole for entry in entries if entry.kind == "salvage" for hole in entry.data["holes"]]
    strange = [key for key in strange if not _in_holes(str(Key(*key)), holes)]
    account.must(not strange, f"the street holds what no ledger knows: {[str(Key(*key)) for key in strange[:3]]}")
    other = [key for key in ours if key in theirs and ours[key] != theirs[key]]
    account.must(not other, f"altered on the road: {other[:3]}")
    account.counts["at street"] += len(rows)


def judge_report(account: Account, store: Path, *, twins: bool = False) -> None:
    """Judge by the street's own report, as its staff would."""
    for gate in read_report(store):
        account.must(not gate.forks, f"{gate.device}: forks {gate.forks[:3]}")
        account.must(twins or not gate.breaks, f"{gate.device}: breaks {gate.breaks[:3]}")
        account.counts["breaks"] += len(gate.breaks)


def percentile(values: Sequence[int], share: float) -> float:
    """Return the value that `share` of all do not exceed, 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

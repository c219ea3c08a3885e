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
from sync.tally import Tally

FIRST_WORDS = 3  # a fresh child of a fork pays for each page of memory that it touches first
OWN_KINDS = frozenset(("start", "stop", "salvage", "unkept", "pruned"))
_TOKEN = re.compile(r"[^:]+:\d+")

Run = tuple[int, int, int]  # epoch, first, last


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
    account: Account, state: Path, words: Iterable[Path], *, others: Iterable[Path] = (), refused: bool = False,
    forgets: bool = False, holes: Sequence[Run] = (),
) -> list[Entry]:  # fmt: skip
    """Judge one gate by what it said and what its files hold; return its entries.

    `others` are the words of a gate that this one's image may have been taken from; `forgets` is a power cut's;
    `holes` are what a damage may have taken: see `holes_of`.
    """
    lives: dict[str, list[dict[str, Any]]] = {path.stem: words_in(path) for path in words}
    with LedgerReader(state / "ledger.db") as reader:
        report = reader.verify()
    account.must(report.ok, f"the chain breaks: {report.breaks[:3]}")
    entries = entries_of(state / "ledger.db")
    found = Counter(entry.request for entry in entries if entry.request)
    doubled = [request for request, count in found.items() if count > 1]
    account.must(not doubled, f"doubled: {doubled[:5]}")
    by_request = {entry.request: entry for entry in entries if entry.request}
    for life, said in lives.items():
        _judge_life(account, life, said, by_request, holes)
    known = {*lives, *(path.stem for path in others)}
    for entry in entries:
        _judge_entry(account, entry, known)
    _judge_losses(account, state, entries, forgets=forgets or bool(holes))
    _judge_balance(account, state, refused=refused)
    account.counts["entries"] += len(entries)
    return entries


def holes_of(state: Path, store: Path, device: str) -> list[Run]:
    """Return what a damaged page may have taken here without a loss, or with one that was told.

    That is what the street holds, and what is told as lost: by the ledger's gaps and by the entries
    about salvages, here and at the street. What a damage took from the very end has no successor to name it
    (docs/reliability.md): the entry of the salvage says which was the last that was found.
    """
    holes: list[Run] = []
    told = [entry.data for entry in entries_of(state / "ledger.db") if entry.kind == "salvage"]
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as db:
        told += [json.loads(body) for (body,) in db.execute("SELECT body FROM entries WHERE kind = 'salvage'")]
        keys = db.execute("SELECT epoch, seq FROM entries WHERE device = ?", (device,)).fetchall()
    for salvage in told:
        holes += [(int(hole["epoch"], 16), hole["first"], hole["last"]) for hole in salvage["holes"]]
        if salvage.get("last"):
            last = parse_key(salvage["last"])
            holes.append((last.epoch, last.seq + 1, 1 << 40))
    with LedgerReader(state / "ledger.db") as reader:
        holes += [(gap.epoch, gap.first, gap.last) for gap in reader.gaps().damaged()]
    return holes + [(epoch, seq, seq) for epoch, seq in keys]


def _judge_losses(account: Account, state: Path, entries: Sequence[Entry], *, forgets: bool) -> None:
    """What is not there must be told as lost, by the entries that exist for it; a power cut forgets the count."""
    unkept = sum(entry.data["total"] for entry in entries if entry.kind == "unkept") + _still_untold(state)
    gone = account.counts["missing"] + account.counts["lost"]
    account.must(forgets or gone <= unkept, f"lost: {gone}, and {unkept} are told as lost")
    account.must(forgets or unkept <= gone, f"invented: {unkept} entries are told as lost, and {gone} are")
    account.counts["told as lost"] += unkept


def _still_untold(state: Path) -> int:
    """Return what the next start would tell."""
    if not (state / "unkept").exists():
        return 0
    tally = Tally(state / "unkept")
    try:
        return sum(tally.counts.values())
    finally:
        tally.close()


def _judge_life(
    account: Account, life: str, said: list[dict[str, Any]], found: dict[str | None, Entry], holes: Sequence[Run]
) -> None:
    ended = any("ended" in word for word in said)
    for number, word in enumerate(said):
        if "t" not in word:
            continue
        account.counts[word["how"]] += 1
        if number >= FIRST_WORDS:
            _note_speed(account, word)
        entry = found.get(word["t"])
        if entry is None and word["how"] in ("durable", "spooled"):
            # What a page took of the spooled has no number to be found by: it is counted and not judged.
            told = _in_holes(word["key"], holes) or (holes and word["key"] is None)
            account.must(told, f"lost: {word['t']} was {word['how']} {word['key'] or ''}")
            account.counts["damaged"] += 1
        if entry is None and ended and word["how"] == "late":
            account.counts["missing"] += 1  # it must be told: see `judge_gate`
        if entry is not None and word["key"] and not holes:
            account.must(str(entry.key) == word["key"], f"moved: {word['t']} was {word['key']}, is {entry.key}")
    keys = [word["key"] for word in said if word.get("key")]
    account.must(len(set(keys)) == len(keys), f"one key was given twice in {life}")


def _note_speed(account: Account, word: dict[str, Any]) -> None:
    if word["waits"]:
        account.waited_us.append(word["wall_us"])
    elif not word["huge"]:  # 400 KB of JSON have their price, and no entry of ours is like that
        account.wall_us.append(word["wall_us"])
        account.cpu_us.append(word["cpu_us"])


def _in_holes(key: str | None, holes: Sequence[Run]) -> bool:
    at = parse_key(key) if key else Key(0, 0)
    return any(epoch == at.epoch and first <= at.seq <= last for epoch, first, last in holes)


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


def judge_street(
    account: Account, store: Path, device: str, entries: Sequence[Entry], dead: set[Key], *,
    lives: Iterable[str], holes: Sequence[Run] = (),
) -> None:  # fmt: skip
    """Hold one device's rows at the street against what its ledgers hold, and what its lives have said."""
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT epoch, seq, hash, body FROM entries WHERE device = ?", (device,)).fetchall()
        forks = db.execute("SELECT epoch, seq FROM forks WHERE device = ?", (device,)).fetchall()
    known = set(lives)
    spoken = [json.loads(bytes(body)).get("after", "") for *_, body in rows]
    invented = [token for token in spoken if token and token.rpartition(":")[0] not in known]
    account.must(not invented, f"invented: the street holds {invented[:3]}")
    theirs = {(epoch, seq): (digest, bytes(body)) for epoch, seq, digest, body in rows}
    ours = {(entry.key.epoch, entry.key.seq): (entry.hash, entry.body) for entry in entries}
    account.must(len(theirs) == len(rows), "the street holds a key twice")
    account.must(not forks, f"forks at the street: {forks[:3]}")
    lacking = [key for key in ours if key not in theirs and Key(*key) not in dead]
    account.must(not lacking, f"lost on the road: {len(lacking)}, first {lacking[:2]}")
    strange = [key for key in theirs if key not in ours]
    strange = [key for key in strange if not _in_holes(str(Key(*key)), holes)]
    account.must(not strange, f"the street holds what no ledger knows: {[str(Key(*key)) for key in strange[:3]]}")
    other = [key for key in ours if key in theirs and ours[key] != theirs[key]]
    account.must(not other, f"altered on the road: {other[:3]}")
    account.counts["at street"] += len(rows)


def judge_report(account: Account, store: Path, *, breaks: bool = False) -> None:
    """Judge by the street's own report, as its staff would."""
    for gate in read_report(store):
        account.must(not gate.forks, f"{gate.device}: forks {gate.forks[:3]}")
        account.must(breaks or not gate.breaks, f"{gate.device}: breaks {gate.breaks[:3]}")
        account.counts["breaks"] += len(gate.breaks)


def percentile(values: Sequence[int], share: float) -> float:
    """Return the value that `share` of all do not exceed, 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

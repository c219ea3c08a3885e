"""Gather what a maintainer asks first: is the gate alive, what is broken, is anything lost.

The living part comes from the gate's control socket, the lasting part from the files, read-only. With the gate dead
the files still answer, and the status says which of the two it is.
"""

import itertools
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from sentinel import control
from sentinel.condition import (
    Balance,
    Component,
    GateName,
    Ledger,
    Line,
    Process,
    Screen,
    Status,
    Today,
    Uplink,
    Waiting,
    judge,
    verdict_of,
)
from sentinel.core.errors import Unavailable
from sentinel.settings import Settings
from sync.cursor import Cursor
from sync.dating import Dated, Dating, Quality, dating_of
from sync.entry import Entry, Key, entry_hash
from sync.errors import SyncError
from sync.gapped import Gaps, chain_breaks
from sync.ledger import LedgerReader

ASK_TIMEOUT_S = 1.0  # the gate answers from memory; a second of silence is a hung gate
UPLINK_STALE_S = 15.0  # the uplink writes each second, but a connect try takes 5 s and a name look-up longer
HOLD_WAITS_S = 600.0  # who was held and has not been registered after ten minutes has gone away
_TAIL = 200  # entries whose chain is checked at every look: some 2 ms; `check ledger` verifies all of them
_LAST = 10
_SECOND_NS = 1_000_000_000


class LedgerView(Protocol):
    """The part of `sync.ledger.LedgerReader` that a status needs."""

    def head(self) -> Any: ...
    def epochs(self) -> Sequence[Any]: ...
    def newest(self, limit: int, kind: str | None = None) -> Sequence[Entry]: ...
    def gaps(self) -> Gaps: ...
    def ends(self) -> Sequence[Entry]: ...
    def began_after(self, epoch: int) -> int | None: ...
    def of_kind(self, kind: str, epochs: Iterable[int]) -> Sequence[Entry]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where a status comes from. Tests put their own gate, files and clock here."""

    ask: Callable[[Path, Mapping[str, Any], float], Mapping[str, Any]] = control.ask
    open_ledger: Callable[[Path], Any] = LedgerReader
    open_cursor: Callable[[Path], Any] = Cursor
    wall_ns: Callable[[], int] = time.time_ns
    # Until when an entry's personal part is kept: `erasure.until_of`, which takes longer to load than a status.
    until: Callable[[Entry, Callable[[int], int | None]], str | None] = lambda _entry, _began_after: None


def gather(settings: Settings, sources: Sources | None = None) -> Status:
    """Return the gate's status now, from the living gate where it answers and from the files in any case."""
    sources = sources or Sources()
    now_ns = sources.wall_ns()
    paths = settings.paths
    process = ask_gate(paths.control_socket, sources)
    uplink = read_uplink(paths.uplink_health, now_ns)
    ledger, balance, today = Ledger(readable=False), Balance(known=False), Today()
    waiting: tuple[Waiting, ...] = ()
    last: tuple[Line, ...] = ()
    try:
        with sources.open_ledger(paths.ledger) as reader:
            newest = sorted(reader.newest(_TAIL), key=lambda entry: entry.key, reverse=True)
            ledger = ledger_facts(reader, newest)
            dating = dating_of(reader, (entry.stamp for entry in newest))
            last = tuple(
                line_of(entry, dating.when(entry.stamp), sources.until(entry, reader.began_after))
                for entry in newest[:_LAST]
            )
            waiting = waiting_holds(newest, now_ns, dating)
            today = today_of(reader, midnight_ns(now_ns))
            balance = balance_of(reader, paths.uplink_db, sources, now_ns)
    except SyncError as error:
        ledger = Ledger(readable=False, problem=str(error))
    findings = judge(process, uplink, balance, ledger)
    return Status(
        wall_ns=now_ns, verdict=verdict_of(findings), gate=_name(settings), process=process, uplink=uplink,
        balance=balance, today=today, ledger=ledger, waiting=waiting, last=last, findings=findings,
    )  # fmt: skip


def ask_gate(socket_path: Path, sources: Sources) -> Process:
    """Return what the gate process says of itself, or why it says nothing."""
    try:
        answer = sources.ask(socket_path, {"v": 1, "verb": "status"}, ASK_TIMEOUT_S)
    except Unavailable as error:
        return Process(alive=False, silence=_silence(error))
    if not answer.get("ok"):
        return Process(alive=False, silence="refused")
    ledger = answer.get("ledger") or {}
    return Process(
        alive=True,
        version=answer.get("version"),
        pid=answer.get("pid"),
        up_s=answer.get("up_s"),
        mode=str(answer.get("mode", "unknown")),
        because=tuple(str(cause) for cause in answer.get("because", ())),
        fire=bool(answer.get("fire")),
        components=tuple(_picked(Component, item) for item in answer.get("components", ())),
        screen=_picked(Screen, answer.get("screen") or {}),
        late=int(ledger.get("late", 0)),
        queued=int(ledger.get("queued", 0)),
        ledger_fill=float(ledger.get("fill", 0.0)),
        unkept=int(ledger.get("unkept", 0)),
        due=int(ledger.get("due", 0)),
    )


def read_uplink(path: Path, now_ns: int) -> Uplink:
    """Return the state the uplink process last wrote. An old file means that the process is dead."""
    try:
        with path.open("rb") as file:
            age_s = abs(now_ns - os.fstat(file.fileno()).st_mtime_ns) / _SECOND_NS
            said = json.load(file)
        since = said.get("since")
        since_s = None if since is None else max(0.0, now_ns / _SECOND_NS - float(since))
    except FileNotFoundError:
        return Uplink(state="never")
    except (OSError, ValueError, AttributeError) as error:  # no permission, half a file: the rest is shown all the same
        return Uplink(state="unreadable", last_error=str(error))
    state = "dead" if age_s > UPLINK_STALE_S else "connected" if said.get("connected") else "offline"
    return Uplink(state=state, since_s=since_s, last_error=said.get("last_error"), layer=said.get("layer"), age_s=age_s)


def ledger_facts(reader: LedgerView, newest: Sequence[Entry]) -> Ledger:
    """Return where the ledger ends and whether its newest entries chain. Shape: `newest` is newest first."""
    epochs = reader.epochs()
    gaps = reader.gaps()
    problem = chain_problem(newest, gaps)
    return Ledger(
        readable=True,
        problem=problem,
        head=str(newest[0].key) if newest else None,
        entries=sum(epoch.count - epoch.gone for epoch in epochs),
        epochs=len(epochs),
        chain="broken" if problem else "ok",
        chain_checked=len(newest),
        holes=sum(gap.count for gap in gaps.damaged()),
    )


def chain_problem(newest: Sequence[Entry], gaps: Gaps | None = None) -> str | None:
    """Return the first break among these entries, newest first, or None when each follows from the one before."""
    for entry in newest:
        if entry_hash(entry) != entry.hash:
            return f"entry {entry.key} is not what was written; see: sentinelctl check ledger"
    for entry, before in itertools.pairwise(newest):
        if next(chain_breaks(before, entry, gaps or Gaps()), None):
            return f"entry {entry.key} does not follow {before.key}; see: sentinelctl check ledger"
    return None


def line_of(entry: Entry, dated: Dated | None = None, until: str | None = None) -> Line:
    """Return an entry in one line of codes, the same for the command line and the page."""
    data = entry.data
    what, codes = _SUMMARIES.get(entry.kind, _summary_of_unknown)(data)
    dated = dated or Dating(()).when(entry.stamp)
    return Line(
        key=str(entry.key), kind=entry.kind, wall_ns=dated.wall_ns, clock_trusted=entry.stamp.clock_trusted,
        what=str(what or ""), codes=tuple(str(code) for code in codes if code), person=data.get("person"),
        time=dated.quality, until=until,
    )  # fmt: skip


def waiting_holds(newest: Iterable[Entry], now_ns: int, dating: Dating | None = None) -> tuple[Waiting, ...]:
    """Return who was held lately and not yet registered, the longest waiting first."""
    newest, dating = list(newest), dating or Dating(())
    answered = {entry.data.get("after") for entry in newest if entry.kind == "registration"}
    waiting = []
    for entry in newest:
        wall_ns = dating.when(entry.stamp).wall_ns
        age_s = max(0.0, (now_ns - wall_ns) / _SECOND_NS)
        held = entry.kind == "passage" and entry.data.get("outcome") == "hold"
        if held and age_s <= HOLD_WAITS_S and str(entry.key) not in answered:
            waiting.append(
                Waiting(
                    key=str(entry.key),
                    wall_ns=wall_ns,
                    age_s=age_s,
                    reasons=tuple(entry.data.get("reasons", ())),
                    person=entry.data.get("person"),
                )
            )
    return tuple(reversed(waiting))


def midnight_ns(now_ns: int) -> int:
    """Return when today began here, in the box's own time zone."""
    today = datetime.fromtimestamp(now_ns / _SECOND_NS).astimezone()
    return int(today.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()) * _SECOND_NS


def today_of(reader: Any, since_ns: int) -> Today:
    """Return today's passages by outcome and the registrations by hand."""
    passages = reader.counts_since("passage", since_ns, by="outcome")
    return Today(
        open=passages.get("open", 0),
        hold=passages.get("hold", 0),
        refuse=passages.get("refuse", 0),
        manual=sum(reader.counts_since("registration", since_ns).values()),
    )


def balance_of(reader: Any, path: Path, sources: Sources, now_ns: int) -> Balance:
    """Return whether every entry is receipted, refused or pending, by the uplink's cursor."""
    try:
        with sources.open_cursor(path) as cursor:
            spans = reader.epochs()
            sums = cursor.balance(spans)
            oldest = _oldest_open(cursor, spans)
            entry = reader.get(oldest) if oldest else None
            at = dating_of(reader, [entry.stamp]).when(entry.stamp) if entry else None
    except SyncError as error:
        return Balance(known=False, problem=str(error))
    dated = at is not None and at.quality is not Quality.UNKNOWN  # it does not wait since 1970
    return Balance(
        known=True, appended=sums.appended, receipted=sums.receipted, refused=sums.refused, pending=sums.pending,
        oldest_pending_s=max(0.0, (now_ns - at.wall_ns) / _SECOND_NS) if at and dated else None, holds=sums.holds,
    )  # fmt: skip


def _oldest_open(cursor: Any, spans: Iterable[Any]) -> Key | None:
    """Return the first key the street has not answered for."""
    for span in spans:
        for run in cursor.open_runs(span.epoch, span.first_seq, span.last_seq):
            return Key(span.epoch, run.first)
    return None


def _silence(error: Unavailable) -> str:
    if isinstance(error.__cause__, PermissionError):
        return "not-permitted"
    return "hung" if isinstance(error.__cause__, TimeoutError) else "not-running"


def _name(settings: Settings) -> GateName:
    gate = settings.gate
    return GateName(
        street=gate.street,
        site=gate.site,
        gate=gate.gate,
        lane=gate.lane,
        direction=gate.direction,
        profile=gate.profile,
    )


def _picked(cls: Any, said: Mapping[str, Any]) -> Any:
    """Return a dataclass of the fields it knows; a newer gate may say more than we show."""
    return cls(**{field.name: said[field.name] for field in fields(cls) if field.name in said})


# kind → what happened and the codes that say more. A body that lacks a field is shown with a gap, never a crash.
_SUMMARIES: dict[str, Callable[[Mapping[str, Any]], tuple[Any, tuple[Any, ...]]]] = {
    "passage": lambda data: (data.get("outcome"), (data.get("method"), *data.get("reasons", ()))),
    "registration": lambda data: ("opened" if data.get("opened") else "registered", (data.get("reason"),)),
    "opening": lambda data: ("opened", (data.get("reason"),)),
    "barrier": lambda data: (data.get("event"), ()),
    "fault": lambda data: (data.get("device"), (data.get("symptom"),)),
    "repair": lambda data: (data.get("device"), (data.get("symptom"),)),
    "mode": lambda data: (data.get("mode"), tuple(data.get("because", ()))),
    "consent": lambda data: (data.get("act"), ()),
    "template": lambda data: (data.get("act"), (data.get("reason"),)),
    "gallery": lambda data: (data.get("act"), ()),
    "grant": lambda data: (data.get("pass_kind"), (data.get("reason"),)),
    "calibration": lambda data: (data.get("device"), (data.get("method"),)),
    "revocation": lambda data: ("revoked", (data.get("reason"),)),
    "roster": lambda data: ("taken" if data.get("accepted") else "not-taken", (data.get("reason"),)),
    "policy": lambda data: ("taken" if data.get("accepted") else "not-taken", (data.get("reason"),)),
    "command": lambda data: (data.get("act"), ("done" if data.get("accepted") else "not-taken", data.get("reason"))),
    "report": lambda data: (data.get("mode"), tuple(data.get("because", ()))),
    "start": lambda data: (data.get("owner"), (data.get("version"),)),
    "stop": lambda data: (data.get("reason"), ()),
    "pruned": lambda data: (data.get("entries"), ()),
    "salvage": lambda data: (data.get("lost"), (data.get("aside"),)),
    "unkept": lambda data: (data.get("total"), ()),
    "deletion": lambda data: (data.get("total"), (data.get("reason"),)),
    "clock": lambda data: (f"clock-{data.get('why')}", ()),
}


def _summary_of_unknown(_data: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    return "", ()  # a kind of a newer program: its name is shown, its body is for `show record`

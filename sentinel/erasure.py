"""Delete personal parts for good: say what is due, carry a signed deletion out, tell the erased from the missing.

The entry comes first, then the keys are destroyed, then the parts are emptied: whoever dies in between leaves keys that
are still due, and the next run names them again. The owner of the ledger carries it out, in the thread that may wait.
"""

import base64
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from sentinel.byhand import signed, signed_part
from sentinel.core.keeping import DAY_NS, Days
from sentinel.core.kinds import Deletion, body_of
from sentinel.core.retention import day_key, is_due, last_day
from sentinel.keyroom import signer
from sentinel.settings import Settings
from sync.entry import Draft, Entry, Key, Stamp, epoch_text
from sync.errors import SyncError
from sync.ledger import LedgerReader, LedgerWriter, key_day
from sync.prune import STEP_ENTRIES
from sync.runs import Run
from sync.stamp import now_stamp
from sync.vault import Vault

log = logging.getLogger(__name__)

Sign = Callable[[bytes], tuple[str, str]]  # the signer's id and the signature, base64, of purpose "deletion"

LOOK_S = 3600.0  # days end once a day; an hour is soon enough and a walk through a full ledger takes seconds
MOST_KEYS, MOST_RUNS = 400, 1000  # of one entry: some 10 and 30 kB, far below what a message may hold
TELL_S = 10.0
_CLOCK_ENTRIES = 500  # so far back is looked for one that was written under a trusted clock
AUTOMATIC = "retention"  # the operator of a deletion that the settings asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """One key of a day: what lies under it, and until when. `day` is None while nobody can tell the day."""

    name: str
    class_: str
    day: date | None
    parts: int
    until: date | None
    due: bool


def days_of(settings: Settings) -> Days:
    """Return for how many days a gate keeps what."""
    kept = settings.retention
    return Days(passage=kept.passage_days, fault=kept.fault_days, audit=kept.audit_days)


def today_of(stamp: Stamp, reader: LedgerReader) -> date | None:
    """Return the day by which retention may be judged, None under a clock that nobody trusts.

    It is never later than the day after the newest entry under a trusted clock: a clock that has just leapt by years
    finds nothing due, and a gate that was off for weeks writes a `start` first.
    """
    walls = [entry.stamp.wall_ns for entry in reader.newest(_CLOCK_ENTRIES) if entry.stamp.clock_trusted]
    if not stamp.clock_trusted or not walls:
        return None
    return _day_of(min(stamp.wall_ns, max(walls) + DAY_NS))


def survey(
    reader: LedgerReader, names: Iterable[str], days: Days, today: date | None, parts: Mapping[str, int]
) -> list[KeyRow]:
    """Return every key of a day, of the vault and of the parts counted, the oldest first."""
    began: dict[int, int | None] = {}
    rows = []
    for name in {*names, *parts}:
        of = day_key(name)
        if of is None:
            continue
        day = of.day
        if of.epoch is not None:  # it ended, at the latest, when the next epoch that knew the time began
            if of.epoch not in began:
                began[of.epoch] = reader.began_after(of.epoch)
            day = _day_of(began[of.epoch])
        rows.append(
            KeyRow(
                name=name, class_=of.class_, day=day, parts=parts.get(name, 0),
                until=None if day is None else last_day(of.class_, day, days),
                due=today is not None and is_due(of.class_, day, days, today),
            )
        )  # fmt: skip
    return sorted(rows, key=lambda row: (row.day or date.max, row.name))


def until_of(entry: Entry, began_after: Callable[[int], int | None], days: Days) -> str | None:
    """Return the last day on which an entry's personal part is kept, "unknown", or None when it holds none.

    `began_after` is `LedgerReader.began_after`: it dates what was written under a clock that nobody trusted.
    """
    if entry.personal is None:
        return None
    of = day_key(entry.personal_key or "")
    if of is None:
        return "unknown"
    day = of.day if of.epoch is None else _day_of(began_after(of.epoch))
    return last_day(of.class_, day, days).isoformat() if day else "unknown"


def _day_of(wall_ns: int | None) -> date | None:
    return None if wall_ns is None else datetime.fromtimestamp(wall_ns // 1_000_000_000, UTC).date()


def counted(reader: LedgerReader) -> Counter[str]:
    """Return how many personal parts lie under each key."""
    return Counter(part.personal_key for part in reader.sealed_parts())


def deletions_due(rows: Sequence[KeyRow]) -> Iterator[dict[str, Any]]:
    """Yield what each deletion of these keys says: one entry holds so many names and no more."""
    for at in range(0, len(rows), MOST_KEYS):
        some = rows[at : at + MOST_KEYS]
        parts: Counter[str] = Counter()
        for row in some:
            parts[row.class_] += row.parts
        yield {"reason": "retention", "keys": [row.name for row in some], "parts": dict(parts)}


def carry_out(writer: LedgerWriter, vault: Vault, deletion: Deletion) -> int:
    """Destroy the keys of days and empty the parts that a kept deletion names; return how many parts were emptied.

    Raises: SyncError; carried out again, it goes on where it ended.
    """
    keys = {name for name in deletion.keys if day_key(name) is not None}
    vault.destroy(*keys)
    emptied = 0
    waiting: list[Key] = [Key(int(epoch, 16), seq) for epoch, first, last in deletion.runs
                          for seq in range(first, last + 1)]  # fmt: skip
    with LedgerReader(writer.path) as reader:
        for part in reader.sealed_parts() if keys else ():
            if part.personal_key in keys:
                waiting.append(part.key)
    for at in range(0, len(waiting), STEP_ENTRIES):
        emptied += writer.empty(waiting[at : at + STEP_ENTRIES])
    return emptied


class Erasures:
    """The deletions of one ledger's owner. `add` may be called from any thread, `tend` from one."""

    def __init__(
        self,
        vault: Vault,
        days: Days,
        *,
        automatic: bool = False,
        sign: Sign | None = None,
        stamp: Callable[[], Stamp] = now_stamp,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._vault = vault
        self._days = days
        self._sign = sign if automatic else None
        self._stamp = stamp
        self._clock = clock
        self._queue: deque[Deletion] = deque()
        self._log_is_full = False  # of copies of what was emptied
        self._look_at = 0.0
        self.due = 0  # personal parts whose days are over

    @classmethod
    def of(cls, settings: Settings, vault: Vault) -> "Erasures":
        """Return the erasures of a gate's ledger."""
        return cls(vault, days_of(settings), automatic=settings.retention.automatic, sign=signer(settings))

    def add(self, deletion: Deletion) -> None:
        """Let a deletion that is kept be carried out."""
        self._queue.append(deletion)

    def tend(self, writer: LedgerWriter) -> None:
        """Carry out what was kept, and look now and then what is due.

        Raises: SyncError; called again it goes on.
        """
        while self._queue:
            emptied = carry_out(writer, self._vault, self._queue[0])
            done = self._queue.popleft()
            self._log_is_full, self._look_at = True, 0.0
            log.info("%d keys were destroyed and %d personal parts emptied", len(done.keys), emptied)
        if self._log_is_full:
            self._log_is_full = not writer.checkpoint(emptied=True)
        if self._clock() >= self._look_at:
            self._look_at = self._clock() + LOOK_S
            self._look(writer)

    def _look(self, writer: LedgerWriter) -> None:
        self._vault.destroy()  # nothing; but what a power cut left of destroyed keys in the journal goes
        with LedgerReader(writer.path) as reader:
            today = today_of(self._stamp(), reader)
            if today is None:
                return
            rows = [row for row in survey(reader, self._vault.names(), self._days, today, {}) if row.due]
            if rows or self.due:
                rows = [row for row in survey(reader, self._vault.names(), self._days, today, counted(reader))
                        if row.due]  # fmt: skip
        self.due = sum(row.parts for row in rows)
        if self._sign is not None:
            for said in deletions_due(rows):
                self._delete(writer, said, today, self._sign)

    def _delete(self, writer: LedgerWriter, said: Mapping[str, Any], today: date, sign: Sign) -> None:
        request = f"retention-{today.isoformat()}-{said['keys'][0].replace('/', '-')}"
        deletion = Deletion(
            request=request, operator=AUTOMATIC, reason="retention", keys=tuple(said["keys"]), parts=said["parts"],
            total=sum(said["parts"].values()), signer="", signature="",
        )  # fmt: skip
        deletion = signed(deletion, sign)
        writer.append(Draft(kind=deletion.KIND, version=deletion.VERSION, body=body_of(deletion)), TELL_S)
        self.add(deletion)


def owed(deletions: Iterable[Entry], names: Iterable[str]) -> set[str]:
    """Return the keys of days that are in a vault though a deletion names them: of a backup from before it.

    Whoever restores a backup destroys these again. Keys of persons are not among them: the next publication of the
    roster destroys what nobody in it needs.
    """
    named = {str(name) for entry in deletions for name in entry.data.get("keys", ())}
    return {name for name in names if name in named and day_key(name) is not None}


@dataclass(slots=True)
class Parts:
    """What became of the personal parts of a ledger: there, erased by a signed deletion, or missing."""

    present: int = 0
    erased: int = 0
    missing: list[str] = field(default_factory=list)  # the keys of entries, or why a deletion is not believed
    undone: int = 0  # still there, though a deletion names them

    @property
    def ok(self) -> bool:
        """Whether everything is where it should be."""
        return not self.missing and not self.undone


class PartsCheck:
    """Shown each entry of a ledger, tell which personal parts are where they should be."""

    def __init__(self, deletions: Iterable[Entry], verify: Callable[[str, bytes, str, bytes], Any] | None) -> None:
        """Take the deletions; `verify` is a `Believed.verify`, None leaves the signatures unchecked."""
        self.parts = Parts()
        self._keys: set[str] = set()
        self._runs: dict[str, list[Run]] = {}
        for entry in deletions:
            body = entry.data
            try:
                if verify is not None:
                    signature = base64.b64decode(body["signature"], validate=True)
                    verify("deletion", signed_part(body), body["signer"], signature)
                self._keys.update(body["keys"])
                for epoch, first, last in body.get("runs", ()):
                    self._runs.setdefault(epoch, []).append(Run(first, last))
            except (SyncError, KeyError, ValueError, TypeError) as error:
                self.parts.missing.append(f"{entry.key}: the deletion is not believed ({error})")

    def look(self, entry: Entry) -> None:
        """Take one entry in."""
        if entry.personal_sha256 is None:
            return
        lawful = self._names(entry)
        if entry.personal is not None:
            self.parts.present += 1
            self.parts.undone += lawful
        elif lawful:
            self.parts.erased += 1
        else:
            self.parts.missing.append(f"{entry.key}: its personal part is missing and no deletion names it")

    def _names(self, entry: Entry) -> bool:
        name = entry.personal_key or f"{entry.kind}/{key_day(entry.stamp, entry.key.epoch)}"
        runs = self._runs.get(epoch_text(entry.key.epoch), ())
        return name in self._keys or any(run.first <= entry.key.seq <= run.last for run in runs)


def traces(folder: Path, wanted: Iterable[bytes], names: Sequence[str] = ("*",)) -> list[str]:
    """Return the names of files in a folder, of all or of these, that hold any of these bytes."""
    sought = tuple(wanted)
    files = sorted({path for name in names for path in folder.rglob(name) if path.is_file()}) if sought else []
    return [path.name for path in files if _holds(path, sought)]


def _holds(path: Path, sought: Sequence[bytes]) -> bool:
    try:
        content = path.read_bytes()
    except FileNotFoundError:  # a log that its owner has just put away
        return False
    return any(one in content for one in sought)


def runs_of(keys: Iterable[Key]) -> list[list[Any]]:
    """Return keys as runs of epoch, first and last number."""
    runs: list[list[Any]] = []
    for key in sorted(keys):
        if runs and runs[-1][0] == epoch_text(key.epoch) and runs[-1][2] == key.seq - 1:
            runs[-1][2] = key.seq
        else:
            runs.append([epoch_text(key.epoch), key.seq, key.seq])
    return runs

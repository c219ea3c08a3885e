"""Follow the folder into which the uplink lays what the street sends: check it again, apply it, write it down.

In a thread of its own. The deciding thread keeps the entries and moves the barrier; nothing here is a call from the
network. What is taken is applied before its entry is kept and its file goes last, so that a gate that dies between
applies the same document again; an opening is the other way round: first the entry, and then at most once.
"""

import hashlib
import logging
import os
import queue
import stat
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sentinel.core.errors import SentinelError, Unavailable
from sentinel.core.kinds import CommandTaken, PolicyTaken, RosterTaken
from sentinel.downroad_acts import Acts, Applied
from sentinel.keeper import How, Kept
from sentinel.settings import Settings
from sentinel.street_orders import Order, Told
from sync.errors import IdentityError, SyncError
from sync.identity import Identity, load_believed, make_identity
from sync.ledger import LedgerReader
from sync.snapshot import (
    KEPT,
    MOST_DOCUMENT_BYTES,
    MOST_PARTS,
    SUFFIX,
    Document,
    DocumentRefused,
    Refusal,
    Type,
    gathered,
    open_content,
    read_document,
)

log = logging.getLogger(__name__)

LOOK_S = 0.2
RETRY_S = 5.0  # after trouble of our own: a full disk, a ledger that is away
SAME_REFUSAL_S = 3_600.0
REPLY_S = 10.0
MOST_FILES = 4 * MOST_PARTS  # of one look; who lays down more is not our uplink
_ENTRY = {Type.ROSTER: RosterTaken, Type.POLICY: PolicyTaken, Type.COMMAND: CommandTaken}
_FIRST = (Type.COMMAND, Type.POLICY, Type.ROSTER)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lying:
    """A document, or a part of one, and where it lies."""

    document: Document
    path: Path


class DownRoad:
    """Everything that lies in `settings.paths.down_in`, taken in the order of its serials."""

    def __init__(
        self,
        settings: Settings,
        acts: Acts,
        post: Callable[[Order], None],
        *,
        ready: Callable[[], bool],
        clock_trusted: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
        utc_now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        here = settings.gate
        self._settings, self._acts, self._post = settings, acts, post
        self._gate = f"{here.street}/{here.site}/{here.gate}"
        self._ready, self._clock, self._utc_now = ready, clock, utc_now
        self._clock_trusted = clock_trusted
        self._ours: Identity | None = None
        self._newest: dict[Type, int] | None = None  # None until the ledger could be read
        self._seen: object = None
        self._retry_at = 0.0
        self._trouble = ""
        self._said: dict[str, float] = {}

    def run(self, stop: threading.Event) -> None:
        """Follow the folder until told to stop."""
        while not stop.wait(LOOK_S):
            self.look()

    def look(self) -> None:
        """Take what is new in the folder; trouble of our own leaves it there, and it is tried again."""
        if self._clock() < self._retry_at or not self._ready():
            return  # without a ledger that takes entries nothing is taken: nobody could tell what was taken before
        folder = self._settings.paths.down_in
        try:
            lying = _files(folder)
            if not lying or _marks(lying) == self._seen:
                return
            self._take(lying)
            self._seen = _marks(_files(folder))
            self._trouble = ""
        except (SentinelError, SyncError, OSError) as error:
            self._retry_at = self._clock() + RETRY_S
            log.log(logging.DEBUG if str(error) == self._trouble else logging.ERROR, "from the street: %s", error)
            self._trouble = str(error)

    def _take(self, lying: Sequence[Path]) -> None:
        newest = self._known()
        keys = self._settings.uplink.street_keys
        if keys is None:
            raise IdentityError("no street_keys in [uplink]: nothing from the street is believed")
        believed = load_believed(keys)
        waiting: dict[tuple[Type, int], list[_Lying]] = {}
        for path in lying:
            data = _read(path)
            now = self._utc_now() if self._clock_trusted() else None
            try:
                document = read_document(data, believed, self._gate, newest, now)
            except DocumentRefused as error:
                if error.reason is not Refusal.OLD or not path.name.startswith(KEPT):
                    self._refuse(error, data)
                _take_away(path)
            else:
                waiting.setdefault((document.type, document.serial), []).append(_Lying(document=document, path=path))
        for type_, serial in sorted(waiting, key=lambda key: (_FIRST.index(key[0]), key[1])):
            self._take_one(waiting[type_, serial])

    def _take_one(self, lying: Sequence[_Lying]) -> None:
        parts = gathered(one.document for one in lying)
        if parts is None:
            return  # the others are on their way
        first = parts[0]
        try:
            applied = self._acts.apply(first, open_content(parts, self._identity()), self._known(), self._ask)
        except DocumentRefused as error:
            used = first.type is Type.COMMAND  # a command is judged once, whatever came of it
            self._refuse(error, first.content, used=used)
        else:
            self._keep(first, applied)
        for one in lying:
            _take_away(one.path)

    def _keep(self, document: Document, applied: Applied) -> None:
        """Keep the entry of what was taken; its serial counts from now on."""
        entry = _ENTRY[document.type](
            accepted=True,
            newest=document.serial,
            sha256=document.sha256,
            serial=document.serial,
            signer=document.signer,
            **applied.facts,
        )
        kept = self._ask(entry, f"street-{document.type}-{document.serial}", applied)
        self._known()[document.type] = document.serial
        log.info("from the street: %s %d is taken, entry %s", document.type, document.serial, kept.key)

    def _ask(self, entry: Told, request: str | None, applied: "Applied | None" = None) -> Kept:
        """Have an entry kept by the deciding thread.

        Raises: Unavailable when it is nowhere kept.
        """
        opens = applied.opens if applied else None
        order = Order(entry=entry, request=request, opens=opens, until_mono=self._clock() + REPLY_S)
        self._post(order)
        try:
            kept = order.reply.get(timeout=REPLY_S)
        except queue.Empty:
            raise Unavailable("the deciding thread does not answer; the street's word waits") from None
        if kept.how == How.LOST:
            raise Unavailable(f"{entry.KIND} from the street cannot be written down: {kept.problem}")
        return kept

    def _refuse(self, error: DocumentRefused, data: bytes, *, used: bool = False) -> None:
        """Write down that something was not taken, and why, the same reason once an hour."""
        document, newest = error.document, self._known()
        type_ = document.type if document else Type.COMMAND
        before = newest.get(type_, 0)
        if document is not None and error.reason is Refusal.OLD and document.serial == before:
            return  # what we have: the broker keeps it for us, or we died before its file was gone
        if used and document is not None:
            newest[type_] = before = document.serial
        now, why = self._clock(), f"{type_}:{error.reason}"
        if not used and now < self._said.get(why, now):
            return
        self._said[why] = now + SAME_REFUSAL_S
        log.error("from the street, refused: %s", error)
        entry = _ENTRY[type_](
            accepted=False,
            newest=before,
            sha256=document.sha256 if document else hashlib.sha256(data).hexdigest(),
            serial=document.serial if document else None,
            signer=document.signer if document else None,
            reason=error.reason,
        )
        self._ask(entry, f"street-{type_}-{before}" if used else None)

    def _known(self) -> dict[Type, int]:
        """Return the newest serials: from the ledger, once it can be read.

        Raises: SyncError while it cannot.
        """
        if self._newest is None:
            with LedgerReader(self._settings.paths.ledger) as reader:
                found = {type_: reader.newest(1, type_) for type_ in Type}
            self._newest = {type_: int(one[0].data["newest"]) if one else 0 for type_, one in found.items()}
        return self._newest

    def _identity(self) -> Identity:
        if self._ours is None:
            self._ours = make_identity(self._settings.paths.secrets_dir / "gate.key")
        return self._ours


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{SUFFIX}"))[:MOST_FILES]


def _marks(paths: Sequence[Path]) -> object:
    return [(path.name, os.lstat(path).st_ino, os.lstat(path).st_mtime_ns) for path in paths]


def _read(path: Path) -> bytes:
    """Return what lies there; nothing of what is no plain file, for whoever wrote it may be an enemy."""
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return b""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:  # and if it was changed meanwhile: no other path is followed, none waits
        return file.read(MOST_DOCUMENT_BYTES + 1)


def _take_away(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:  # a folder of such a name: it is looked at once and lies there
        log.error("%s cannot be taken away: %s", path, error)

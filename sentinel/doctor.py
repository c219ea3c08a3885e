"""Look at everything that must hold, one line each, whichever half of the box is dead.

A look is one row of `LOOKS`: a function of what is known here to one finding. Its words stand in the catalogues under
`doctor.NAME.CODE`, and what to try next under `doctor.next.NAME.CODE`; an ok needs no next thing. A look that fails by
itself is a finding too: no look takes another one with it.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sentinel import backup, certificates, clocks, status
from sentinel.condition import Status
from sentinel.core.errors import is_expected
from sentinel.settings import Settings
from sync.room import FULL_FILL, WARN_FILL, room_of
from sync.stamp import now_stamp

_DISK_SPARE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a look found. `level` is ok, warning, critical or unknown; words go by the look's name and `code`."""

    level: str
    code: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A finding with the name of its look."""

    name: str
    found: Found


class Here:
    """What the looks share; each part is looked up when the first of them asks."""

    def __init__(self, settings: Settings, gather: Callable[[Settings], Status] = status.gather) -> None:
        self.settings = settings
        self._gather = gather
        self.stamp = now_stamp()

    @cached_property
    def status(self) -> Status:
        """The status as `show status` has it."""
        return self._gather(self.settings)


def gate(here: Here) -> Found:
    """Tell whether the gate process answers, and in which mode it is."""
    process = here.status.process
    if not process.alive:
        return Found(level="unknown", code=str(process.silence))
    level = {"automatic": "ok", "assisted": "warning"}.get(process.mode, "critical")
    return Found(level=level, code=process.mode if level != "ok" else "ok")


def ledger(here: Here) -> Found:
    """Tell whether the ledger can be read, its newest entries chain, and nothing is missing."""
    known, balance = here.status.ledger, here.status.balance
    if not known.readable:
        return Found(level="critical", code="unreadable", values={"problem": known.problem})
    if known.chain == "broken":
        return Found(level="critical", code="broken", values={"problem": known.problem})
    if balance.known and not balance.holds:
        return Found(level="critical", code="uneven")
    if known.holes:
        return Found(level="warning", code="holes", values={"count": known.holes})
    return Found(level="ok", code="ok", values={"entries": known.entries})


def room(here: Here) -> Found:
    """Tell how full the ledger's quota is, and its disk."""
    path = here.settings.paths.ledger
    pages = (path.stat().st_size // 4096, 0, 4096)
    fill = here.status.process.ledger_fill or room_of(path, pages, here.settings.storage.quota_mb << 20).fill
    disk = os.statvfs(path.parent)
    free_mb = disk.f_bavail * disk.f_frsize >> 20
    values = {"percent": round(fill * 100), "free": free_mb}
    if here.status.process.unkept or fill >= FULL_FILL:
        return Found(level="critical", code="full", values=values)
    short = fill >= WARN_FILL or free_mb << 20 < _DISK_SPARE_BYTES
    return Found(level="warning" if short else "ok", code="filling" if short else "ok", values=values)


def backups(here: Here) -> Found:
    """Tell when the newest backup was proved by a test restore, and what stands in the way of the next."""
    wanted, state = here.settings.backup, backup.read_state(here.settings)
    age_s = max(0.0, here.stamp.wall_ns / 1e9 - state.proven_utc_s)
    values = {"backup": state.name, "age_s": age_s, "proven_utc_s": state.proven_utc_s, "problem": state.problem}
    if state.must_forget:
        return Found(level="critical", code="forget", values={**values, "upto": state.forget_upto})
    if wanted.folder is None:
        return Found(level="warning", code="none")
    if not state.number:
        return Found(level="critical", code="failed" if state.problem else "never", values=values)
    if age_s > backup.STALE_AFTER * wanted.interval_hours * 3600:
        return Found(level="critical", code="stale", values=values)
    return Found(level="warning" if state.problem else "ok", code="problem" if state.problem else "ok", values=values)


def clock(here: Here) -> Found:
    """Tell whether the clock is synchronised."""
    trusted = here.stamp.clock_trusted
    return Found(level="ok" if trusted else "warning", code="ok" if trusted else "untrusted")


def certificate(here: Here) -> Found:
    """Tell how long the certificates of the road hold: ours, and the authority that vouches for the broker."""
    ending = certificates.soonest(here.settings.uplink, clocks.latest_ns(here.settings.paths.ledger))
    if ending is None:
        return Found(level="ok", code="none")
    code = {"critical": "over", "warning": "soon", "ok": "ok"}[ending.level]
    return Found(level=ending.level, code=code, values={"days": max(0, int(ending.days)), "file": ending.file.name})


def uplink(here: Here) -> Found:
    """Tell whether the street is reached, and how much waits for it."""
    known, balance = here.status.uplink, here.status.balance
    values = {"pending": balance.pending, "error": known.last_error or ""}
    if known.state != "connected":
        return Found(level="warning", code=known.state, values=values)
    if balance.refused:
        return Found(level="warning", code="refused", values={**values, "refused": balance.refused})
    return Found(level="ok", code="ok", values=values)


def leftovers(here: Here) -> Found:
    """Tell of what was set aside and holds keys or entries of before: nobody removes it but a person."""
    state = here.settings.paths.state_dir
    found = sorted(path.name for pattern in ("before-restore-*", "ledger.db.damaged-*") for path in state.glob(pattern))
    names = [name for name in found if not name.endswith(("-wal", "-shm"))]
    if not names:
        return Found(level="ok", code="ok")
    return Found(level="warning", code="aside", values={"names": ", ".join(names[:3]), "count": len(names)})


LOOKS: dict[str, Callable[[Here], Found]] = {
    "gate": gate,
    "ledger": ledger,
    "room": room,
    "backup": backups,
    "clock": clock,
    "certificate": certificate,
    "uplink": uplink,
    "leftovers": leftovers,
}


def examine(here: Here) -> tuple[Line, ...]:
    """Return one line for each look, in the order of the table."""
    return tuple(Line(name=name, found=_look(look, here)) for name, look in LOOKS.items())


def _look(look: Callable[[Here], Found], here: Here) -> Found:
    try:
        return look(here)
    except Exception as error:  # noqa: BLE001 - a surprise may hold a name or a number: only its type is told
        problem = str(error) if is_expected(error) or isinstance(error, OSError) else type(error).__name__
        return Found(level="unknown", code="failed-look", values={"problem": problem})

"""Work out when an entry was made, also one that a clock of 1970 stamped, from the anchors of its boot. Pure.

An anchor is a trusted moment of a boot: an entry of kind `clock`, or any entry under a trusted clock where a boot has
no such. Entries are never edited: what is worked out is a second time beside the stamped one, with its quality named.
A street in another language does the same by docs/messages.md, "Time".
"""

import re
from bisect import bisect_right
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from sync.clockwatch import KIND
from sync.entry import Entry, Key, Stamp
from sync.stamp import UNKNOWN_BOOT

AGREES_NS = 50_000_000  # a stamp that is no further from its anchors than this is as good as they are
QUARTZ_PPM = 50  # how far a clock that nobody disciplines may stray from its anchor
_NUMBER = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_MOST_ERROR_US = 16_000_000  # the kernel counts no further
SLEWED_PPM = 500  # the most by which drift can set two anchors of a boot apart; beyond it the earlier one was wrong


class Quality(StrEnum):
    """What a time of an entry stands on."""

    STAMPED = "stamped"  # the clock was good when it was stamped
    CORRECTED = "corrected"  # it was not, and an anchor of the same boot tells
    BOUNDS = "bounds"  # its boot never knew the time: it lies between its neighbours
    UNKNOWN = "unknown"  # nothing tells; the stamp is all there is


@dataclass(frozen=True, slots=True, kw_only=True)
class Dated:
    """When an entry was made: at `wall_ns`, not before `earliest_ns` and not after `latest_ns` (None: nobody knows)."""

    wall_ns: int
    quality: Quality
    earliest_ns: int | None = None
    latest_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """At `boot_ns` of its boot the wall clock was the boot-time clock plus `offset_ns`, give or take `error_ns`."""

    boot_ns: int
    offset_ns: int
    error_ns: int = 0


@dataclass(slots=True)
class _Boot:
    """What the entries tell of one boot."""

    first_ns: int
    last_ns: int
    anchors: list[Anchor] = field(default_factory=list)
    stamps: list[Anchor] = field(default_factory=list)  # of trusted entries, for a boot without anchors
    began: tuple[int | None, int | None] = (None, None)  # the boot's own start, not before and not after


class Dating:
    """The boots of one gate, in their order, as some of its entries tell of them."""

    def __init__(self, entries: Iterable[Entry], whole: Container[str] | None = None) -> None:
        """Read these entries: the more of them, the narrower the bounds; `clock` and `start` entries tell the most.

        `whole` are the boots of which every `clock` entry is among them (None: all boots); a stamp of another boot that
        was trusted is left as it is.
        """
        self._boots: dict[str, _Boot] = {}
        order: list[str] = []
        by_epoch: dict[int, list[Entry]] = {}
        for entry in sorted(entries, key=_key):
            if entry.stamp.boot_id == UNKNOWN_BOOT:  # of many boots, perhaps: nothing follows from it
                continue
            self._note(entry)
            by_epoch.setdefault(entry.key.epoch, []).append(entry)
        for held in by_epoch.values():
            _place(order, held)
        self._told = {name for name in self._boots if whole is None or name in whole}
        for boot in self._boots.values():
            boot.anchors = _agreeing(boot.anchors or boot.stamps)
        self._bound([self._boots[name] for name in order])

    def when(self, stamp: Stamp) -> Dated:
        """Return when this stamp was made."""
        boot = self._boots.get(stamp.boot_id)
        if stamp.clock_trusted and (stamp.boot_id not in self._told or boot is None or not boot.anchors):
            return Dated(wall_ns=stamp.wall_ns, quality=Quality.STAMPED)
        if boot is not None and boot.anchors:
            return _by_anchors(stamp, boot.anchors)
        began = boot.began if boot is not None else (None, None)
        earliest, latest = (None if ns is None else ns + stamp.boot_ns for ns in began)
        known = earliest if earliest is not None else latest
        if known is None:
            return Dated(wall_ns=stamp.wall_ns, quality=Quality.UNKNOWN)
        return Dated(wall_ns=known, quality=Quality.BOUNDS, earliest_ns=earliest, latest_ns=latest)

    def _note(self, entry: Entry) -> None:
        stamp = entry.stamp
        boot = self._boots.setdefault(stamp.boot_id, _Boot(stamp.boot_ns, stamp.boot_ns))
        boot.first_ns, boot.last_ns = min(boot.first_ns, stamp.boot_ns), max(boot.last_ns, stamp.boot_ns)
        if stamp.clock_trusted:
            boot.stamps.append(Anchor(boot_ns=stamp.boot_ns, offset_ns=stamp.wall_ns - stamp.boot_ns))
            if entry.kind == KIND and (anchor := anchor_in(entry)) is not None:
                boot.anchors.append(anchor)

    def _bound(self, boots: Sequence[_Boot]) -> None:
        """Give every boot that never knew the time the end of the one before, and the start of the one after."""
        ended: int | None = None
        for boot in boots:
            if boot.anchors:
                ended = _offset_ns(boot.anchors, boot.last_ns) + boot.last_ns
            elif ended is not None:  # it began after the boot before had ended
                boot.began, ended = (ended, None), ended + boot.last_ns
        begins: int | None = None
        for boot in reversed(boots):
            if boot.anchors:
                begins = _offset_ns(boot.anchors, 0)
            elif begins is not None:  # its last entry was made before the next boot began
                begins -= boot.last_ns
                boot.began = (boot.began[0], begins)


def anchor_in(entry: Entry) -> Anchor | None:
    """Return the anchor in an entry of kind `clock`.

    None when its clock was not trusted, or when what its body says is not what its own stamp says: then it is no better
    than any other entry.
    """
    said, stamp = entry.data, entry.stamp
    offset, error_us = said.get("offset_ns"), said.get("est_error_us", 0)
    if not stamp.clock_trusted or said.get("boot_id") != stamp.boot_id:
        return None
    if not isinstance(offset, str) or not _NUMBER.fullmatch(offset) or type(error_us) is not int:
        return None
    if abs(int(offset) - (stamp.wall_ns - stamp.boot_ns)) > AGREES_NS:
        return None
    return Anchor(boot_ns=stamp.boot_ns, offset_ns=int(offset), error_ns=min(max(error_us, 0), _MOST_ERROR_US) * 1_000)


def _by_anchors(stamp: Stamp, anchors: Sequence[Anchor]) -> Dated:
    wall_ns = stamp.boot_ns + _offset_ns(anchors, stamp.boot_ns)
    nearest = min(anchors, key=lambda anchor: abs(anchor.boot_ns - stamp.boot_ns))
    error_ns = nearest.error_ns + abs(nearest.boot_ns - stamp.boot_ns) * QUARTZ_PPM // 1_000_000
    good = stamp.clock_trusted and abs(stamp.wall_ns - wall_ns) <= AGREES_NS
    return Dated(
        wall_ns=wall_ns,
        quality=Quality.STAMPED if good else Quality.CORRECTED,
        earliest_ns=wall_ns - error_ns,
        latest_ns=wall_ns + error_ns,
    )


def _offset_ns(anchors: Sequence[Anchor], boot_ns: int) -> int:
    """Return the offset at a moment of the boot: of the nearest anchor outside, in between on a straight line."""
    at = bisect_right(anchors, boot_ns, key=lambda anchor: anchor.boot_ns)
    if at in (0, len(anchors)):
        return anchors[max(0, at - 1)].offset_ns
    before, after = anchors[at - 1], anchors[at]
    share = (boot_ns - before.boot_ns) * (after.offset_ns - before.offset_ns)
    return before.offset_ns + share // (after.boot_ns - before.boot_ns)


def _agreeing(anchors: Iterable[Anchor]) -> list[Anchor]:
    """Return the newest anchor and the earlier ones that drift can explain, in order.

    A clock that was set by more than it can have drifted was wrong before: what it said then is no anchor. So the times
    of a boot never run backwards.
    """
    kept: list[Anchor] = []
    for anchor in sorted(anchors, key=lambda one: one.boot_ns, reverse=True):
        if not kept or _drifted(anchor, kept[-1]):
            kept.append(anchor)
    return kept[::-1]


def _drifted(before: Anchor, after: Anchor) -> bool:
    apart_ns = after.boot_ns - before.boot_ns
    return apart_ns > 0 and abs(after.offset_ns - before.offset_ns) * 1_000_000 <= apart_ns * SLEWED_PPM


def _place(order: list[str], held: Sequence[Entry]) -> None:
    """Put the boots of one epoch behind those that are known.

    An epoch belongs to the boot that began it. Another boot in it is an earlier one, whose entries waited in a spool.
    """
    own = held[0] if held[0].kind == "start" else held[-1]
    if own.stamp.boot_id not in order:
        order.append(own.stamp.boot_id)
    for entry in held:
        if entry.stamp.boot_id not in order:
            order.insert(order.index(own.stamp.boot_id), entry.stamp.boot_id)


def _key(entry: Entry) -> Key:
    return entry.key


class Source(Protocol):
    """Where entries are looked up: `sync.reading.LedgerReader` at the gate, `sync.street_times` at the street."""

    def ends(self) -> Sequence[Entry]:
        """Return the first and the last entry of every epoch."""

    def of_kind(self, kind: str, epochs: Iterable[int]) -> Sequence[Entry]:
        """Return the entries of a kind in these epochs."""


def dating_of(source: Source, stamps: Iterable[Stamp], *, always: bool = False) -> Dating:
    """Return what dates these stamps. While all were stamped in good time it reads nothing, unless told to.

    Raises: LedgerUnavailable, LedgerDamaged.
    """
    stamps = list(stamps)
    if not always and all(stamp.clock_trusted for stamp in stamps):
        return Dating(())
    wanted = {stamp.boot_id for stamp in stamps if always or not stamp.clock_trusted}
    ends = source.ends()
    theirs = {entry.key.epoch for entry in ends if entry.stamp.boot_id in wanted}
    return Dating([*ends, *source.of_kind(KIND, theirs)], wanted)

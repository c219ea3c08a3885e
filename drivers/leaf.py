"""Follow one leaf of the barrier: who has the right to pass, who passed, and whether its door says the same.

Pure: no pin and no clock. The rules are those of device-protocols 3.5: a right ends with one pass signal or with its
time; a pass signal without a right is an intrusion, unless a fire or the key switch excuses it.
"""

from collections import deque
from math import inf

from drivers.readings import BarrierEvent, BarrierEventKind, Leaf, Symptom, Trouble

JAM_S = 2.0  # leaves begin to move within 0.5 s of the contact; four times that is no slow one
LEAVE_S = 2.0  # who passed may still move the leaf: tripods count before they lock, wings swing back


class LeafWatch:
    """Turn what happens at one leaf into events. `excused`: in a fire, or by the key switch, everybody may pass."""

    def __init__(self, leaf: Leaf, *, passage_s: float, held_s: float) -> None:
        self._leaf = leaf
        self._passage_s = passage_s
        self._held_s = held_s
        self._rights: deque[float] = deque()  # deadlines, earliest first
        self._closed: bool | None = None  # the door, where one is felt
        self._looked_at = -inf
        self._open_since = inf
        self._entitled_at = -inf  # when somebody last had the right to move this leaf
        self._doubted_at: float | None = None
        self._moves_by = inf
        self._jammed_at: float | None = None
        self._forced = False
        self._held_at: float | None = None

    @property
    def rights(self) -> int:
        """Return how many people may still pass."""
        return len(self._rights)

    @property
    def trouble(self) -> Trouble | None:
        """Return what is wrong with the leaf now."""
        if self._jammed_at is not None:
            detail = f"leaf {self._leaf}: the contact closed and the leaf did not leave its place in {JAM_S:.0f} s"
            return Trouble(at_mono=self._jammed_at, symptom=Symptom.JAMMED, detail=detail)
        if self._held_at is not None:
            detail = f"leaf {self._leaf}: open longer than a passage and {self._held_s:.0f} s, and nobody may pass"
            return Trouble(at_mono=self._held_at, symptom=Symptom.HELD_OPEN, detail=detail)
        return None

    def give(self, now: float) -> None:
        """Give one person the right to pass."""
        self._rights.append(now + self._passage_s)
        self._entitled_at = now

    def doubt(self, now: float) -> None:
        """Take in that nobody knows whether the contact closed: should the leaf open, nobody has forced it.

        The wires may not be felt for a while after that: only a look at the door after that while ends the doubt.
        """
        self._doubted_at = now

    def moved(self, now: float) -> None:
        """Take in that the contact closed: a leaf in its place must leave it now."""
        if self._closed:
            self._moves_by = min(self._moves_by, now + JAM_S)  # pulse after pulse must not put it off

    def lapse(self, now: float) -> list[BarrierEvent]:
        """Return the rights whose time is over."""
        events = []
        while self._rights and self._rights[0] <= now:
            self._rights.popleft()
            self._entitled_at = now
            events.append(self._event(now, BarrierEventKind.TIMED_OUT))
        return events

    def passed(self, now: float, *, excused: bool) -> list[BarrierEvent]:
        """Take in one pass signal."""
        events = self.lapse(now)
        allowed = excused or bool(self._rights)
        if self._rights:
            self._rights.popleft()
            self._entitled_at = now
            self._moves_by, self._jammed_at = inf, None  # whoever went through has moved it
        kind = BarrierEventKind.PASSED if allowed else BarrierEventKind.INTRUSION
        return [*events, self._event(now, kind)]

    def door(self, now: float, *, closed: bool, excused: bool) -> list[BarrierEvent]:
        """Take in how the door is now; called at each change, and again and again."""
        events = self.lapse(now)
        before, self._closed = self._closed, closed
        unfelt_s, self._looked_at = now - self._looked_at, now
        if excused or self._rights or self._doubted_at is not None:
            self._entitled_at = now
        if self._doubted_at is not None and now > self._doubted_at + LEAVE_S:
            self._doubted_at = None
        if not closed:
            return events + self._opened(now, left_closed=before is True)
        if now >= self._moves_by:
            self._moves_by = inf
            if unfelt_s <= JAM_S:  # it may have opened and closed while nobody could feel it
                self._jammed_at = now
        if self._forced or self._held_at is not None:
            events.append(self._event(now, BarrierEventKind.CLOSED))
        self._forced, self._held_at, self._open_since = False, None, inf
        return events

    def _opened(self, now: float, *, left_closed: bool) -> list[BarrierEvent]:
        events = []
        self._open_since = min(self._open_since, now)
        self._moves_by, self._jammed_at = inf, None
        if left_closed and now > self._entitled_at + LEAVE_S:
            self._forced = True
            events.append(self._event(now, BarrierEventKind.FORCED))
        if self._rights:  # the next person may pass: whoever held it open, it is wanted open now
            return events
        longest_s = self._passage_s + self._held_s
        if self._held_at is None and now > max(self._entitled_at, self._open_since) + longest_s:
            self._held_at = now
            events.append(self._event(now, BarrierEventKind.HELD_OPEN))
        return events

    def _event(self, now: float, kind: BarrierEventKind) -> BarrierEvent:
        return BarrierEvent(at_mono=now, kind=kind, leaf=self._leaf)

"""Decide, in one thread: take what devices, wires and staff say, one at a time, and do what follows.

Everything arrives through `turn(event)`; nothing here waits for a device or a network. What follows is always the same
three steps: an entry is kept, then the barrier is pulsed, then the lights say so.
"""

import logging
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from drivers.readings import (
    BarrierEvent,
    BarrierEventKind,
    CardReading,
    DistanceReading,
    Identity,
    Impairment,
    Junk,
    PresenceReading,
    Reading,
    Symptom,
    ThermalReading,
    Trouble,
)
from recognition.readings import Claim, FaceReading, NoFace
from sentinel.byhand import VERBS, HandAct, hand_act, number_in, opens_again
from sentinel.control import refusal
from sentinel.core.errors import NotPermitted, SentinelError, Unavailable, UsageError
from sentinel.core.fusion import Fuser
from sentinel.core.health import STARTING, Change, Component, Health, Mode, Standing
from sentinel.core.kinds import Barrier as BarrierEntry
from sentinel.core.kinds import Fault, ModeChange, Opening, Registration, Repair
from sentinel.core.model import Attempt, Decision, Outcome, Person, Policy, Reason
from sentinel.core.policy import decide
from sentinel.events import Asked, DeviceFailed, Doze, Event, FromDevice, RosterRead
from sentinel.hand import Hand
from sentinel.keeper import How, Keeper, Kept
from sentinel.record import Place, passage_of, personal_of
from sentinel.senses import Senses
from sync.entry import Stamp

log = logging.getLogger(__name__)

VISION, BARRIER = Component.VISION, Component.BARRIER
_REMEMBERED_RIGHTS = 64  # each lasts some seconds; the barrier has none older
_REMEMBERED_REQUESTS = 256  # a request is repeated within seconds or never


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the screen says to the person in front of it."""

    at_mono: float
    outcome: str
    reason: str
    method: str = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The settings that decisions follow."""

    policy: Policy
    place: Place
    pulse_s: float
    trusted_uids: frozenset[int]  # whose word about the operator's name is taken: our own user and root


class Lane:
    """One lane of a gate: its fuser, its health, its policy, and the only hand on the barrier."""

    def __init__(
        self,
        *,
        rules: Rules,
        senses: Senses,
        fuser: Fuser,
        health: Health,
        keeper: Keeper,
        hand: Hand,
        people: Mapping[str, Person],
        token_of: Callable[[str], str],
        tell_vision: Callable[[Claim | Doze], None],
        today: Callable[[], date],
        clock_trusted: Callable[[], bool],
        stamp: Callable[[], Stamp],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stamp = stamp
        self._rules = rules
        self._senses = senses
        self._fuser = fuser
        self._health = health
        self._keeper = keeper
        self._hand = hand
        self.people = people
        self._token_of = token_of
        self._tell_vision, self._dozing = tell_vision, False
        self._today = today
        self._clock_trusted = clock_trusted
        self._clock = clock
        self._mode: Mode | None = None
        self._settled = False
        self._rights: deque[str | None] = deque(maxlen=_REMEMBERED_RIGHTS)  # as the barrier counts them, oldest first
        self._claimed: str | None = None
        self._answers: OrderedDict[str, tuple[Any, Mapping[str, Any]]] = OrderedDict()
        self.told = Told(at_mono=clock(), outcome="none", reason="")
        self.fire = False
        self.last_good: dict[str, float] = {}
        self.identities: dict[str, str] = {}  # what each device says it is
        self.junk_bytes: dict[str, int] = {}

    @property
    def mode(self) -> Mode:
        """How the gate works now."""
        return self._mode or Mode.MANUAL

    @property
    def because(self) -> tuple[str, ...]:
        """What keeps the gate from working by itself, each as `component:symptom`."""
        return self._standing().because

    def settle(self) -> None:
        """Stop waiting for devices that never spoke since the start: the mode is judged without them from now on."""
        if not self._settled:
            self._settled = True
            self._follow_mode()

    @property
    def health(self) -> Health:
        """The state of every component."""
        return self._health

    def turn(self, event: Event | None) -> None:
        """Take one event, or none, and do everything that is due."""
        now = self._clock()
        if event is not None:
            self._take(event, now)
        self._hand.tick(now)
        self.fire = self._hand.fire_active
        attempt = self._fuser.due(now)
        if attempt is not None:
            self._judge(attempt, now)
        self._claim_holder(now)
        self._look_around(now)

    def wait_s(self, longest_s: float) -> float:
        """Return how long nothing can become due."""
        deadline = self._fuser.deadline(self._clock())
        return longest_s if deadline is None else min(max(deadline - self._clock(), 0.0), longest_s)

    def report(self, component: str, symptom: str | None, detail: str = "") -> None:
        """Take in that a component is well (None) or not, and keep what changed by it."""
        now = self._clock()
        if symptom is None:
            self.last_good[component] = now
        elif component == BARRIER:
            self._rights.clear()  # a board that comes back knows of no rights
        change = self._health.report(Component(component), symptom, detail, now)
        if change is not None:
            self._keep_change(change)
        self._follow_mode()

    def impair(self, component: str, symptom: str, detail: str, *, over: bool = False) -> None:
        """Take in that a component works and is not quite well, or is again."""
        change = self._health.impair(Component(component), symptom, detail, self._clock(), over=over)
        if change is not None:
            self._keep_change(change)

    # -- what arrives -------------------------------------------------------------------------------------------------

    def _take(self, event: Event, now: float) -> None:
        match event:
            case FromDevice(device=device, reading=reading):
                self._take_reading(device, reading, now)
            case DeviceFailed():
                if event.device == VISION:
                    self._nobody(now)  # what the camera last saw is not what stands there now
                    self._claimed, self._dozing = None, False  # a vision that starts again must be asked again
                self.report(event.device, event.symptom, event.detail)
            case FaceReading():
                self.report(VISION, None)
                identified = event.identified
                person = self.people.get(identified.person) if identified else None
                self._senses.see_face(event)
                self._fuser.see_face(event, person, now)
            case NoFace():
                self.report(VISION, None)
                self._nobody(event.at_mono)
            case BarrierEvent():
                self._take_barrier(event)
            case RosterRead():
                if event.people is not None:
                    self.people = event.people
                self.report(Component.ROSTER, Symptom.LOST if event.problem else None, event.problem)
            case Asked():
                event.reply.put(self._answer(event))

    def _nobody(self, at_mono: float) -> None:
        self._senses.see_nobody(at_mono)
        self._fuser.see_nobody(at_mono)

    def _take_reading(self, device: str, reading: Reading, now: float) -> None:
        match reading:
            case Junk():
                self.junk_bytes[device] = self.junk_bytes.get(device, 0) + reading.byte_count
            case Identity():
                self.identities[device] = reading.text
            case Impairment():
                self.impair(device, reading.symptom, reading.detail, over=reading.over)
            case Trouble(symptom=Symptom.CARD_UNREADABLE):
                self.report(device, None)  # the reader is well; the card is not
                self._fuser.see_card_trouble(now)
            case Trouble():
                self.report(device, reading.symptom, reading.detail)
            case _:
                self.report(device, None)
                self._take_measured(reading, now)

    def _take_measured(self, reading: Reading, now: float) -> None:
        match reading:
            case CardReading():
                self._fuser.see_card(reading, self.people.get(self._token_of(reading.number)), now)
            case ThermalReading():
                self._fuser.see_temperature(self._senses.measure(reading, now), now)
            case DistanceReading():
                self._senses.see_distance(reading)
            case PresenceReading():
                self._senses.see_presence(reading)

    def _take_barrier(self, event: BarrierEvent) -> None:
        uses_right = event.kind in (BarrierEventKind.PASSED, BarrierEventKind.TIMED_OUT)
        after = self._rights.popleft() if uses_right and self._rights else None
        self._keeper.keep(BarrierEntry(event=event.kind, after=after))
        if event.kind == BarrierEventKind.INTRUSION:
            self._hand.show("red", buzz=3)
        if event.kind == BarrierEventKind.FIRE_ON:
            log.error("the fire input is active: the barrier is open for everybody until it is released")

    def _look_around(self, now: float) -> None:
        """Let vision rest while a radar that works feels nobody, and tell of one that feels who is never seen."""
        states = self._health
        works = states.has(Component.PRESENCE) and states.state(Component.PRESENCE).well
        doze = self._senses.nobody_near(now, presence_works=works)
        if doze != self._dozing:
            self._dozing = doze
            self._tell_vision(Doze(on=doze))
        if states.has(Component.PRESENCE):
            detail = "somebody is reported for ten minutes and no face was seen"
            self.impair(Component.PRESENCE, Symptom.PHANTOM, detail, over=not self._senses.phantom(now))

    def _claim_holder(self, now: float) -> None:
        token = self._fuser.claim(now)
        if token != self._claimed and token is not None:
            self._tell_vision(Claim(person=token, at_mono=now))
        self._claimed = token

    # -- decisions ----------------------------------------------------------------------------------------------------

    def _judge(self, attempt: Attempt, now: float) -> None:
        policy = replace(self._rules.policy, fire_active=self.fire)
        decision = decide(attempt, policy, today=self._today(), clock_trusted=self._clock_trusted())
        if decision.outcome == Outcome.OPEN and not self._hand.there:
            decision = replace(decision, outcome=Outcome.HOLD, reasons=(Reason.BARRIER_AWAY, *decision.reasons))
        entry = passage_of(attempt, decision, self._rules.place, self.mode, now)
        kept = self._keeper.keep(entry, personal=personal_of(attempt, decision))
        log.info(
            "passage %s: %s by %s because %s, %d ms",
            kept.key, decision.outcome, decision.method, ",".join(decision.reasons), entry.decision_ms or 0,
        )
        self._act(decision, kept, now)

    def _act(self, decision: Decision, kept: Kept, now: float) -> None:
        outcome, reason = decision.outcome, decision.reasons[0]
        if outcome == Outcome.OPEN and kept.how == How.LOST and decision.reasons != (Reason.FIRE,):
            outcome = Outcome.HOLD  # no unrecorded opening by the machine: staff open, and write a slip
            log.error("a passage could not be recorded anywhere; held for staff, who open by hand and write a slip")
        if outcome == Outcome.OPEN and not self._open(kept.key):
            outcome = Outcome.HOLD  # the fault is told by the hand; the person is told to see staff, who have the key
        lamp = {Outcome.OPEN: "green", Outcome.HOLD: "amber", Outcome.REFUSE: "red"}[outcome]
        self._hand.show(lamp, buzz=1 if outcome == Outcome.OPEN else 2)
        self.told = Told(at_mono=now, outcome=outcome, reason=reason, method=decision.method)

    def _open(self, right: str | None) -> bool:
        moved = self._hand.pulse(self._rules.pulse_s)
        if moved:
            self._rights.append(right)
        else:  # what was decided stays as it was written; what the barrier then did is an entry of its own
            self._keeper.keep(BarrierEntry(event="not-moved", after=right))
        return moved

    # -- staff --------------------------------------------------------------------------------------------------------

    def _answer(self, asked: Asked) -> Mapping[str, Any]:
        try:
            return self._by_hand(asked)
        except SentinelError as error:
            return refusal(error)
        except Exception as error:
            log.exception("a request of %s failed", asked.peer.name)
            return refusal(error)

    def _by_hand(self, asked: Asked) -> Mapping[str, Any]:
        request = asked.request
        if request["verb"] not in VERBS:
            raise UsageError(f"the gate does not know {request['verb']!r}; it knows status, {', '.join(VERBS)}")
        if asked.peer.uid not in self._rules.trusted_uids:
            raise NotPermitted("only the manual one-shot may act at the gate; use sentinelctl, which asks it")
        if self._clock() > number_in(request, "until_mono", math.inf):
            raise Unavailable("the request came too late: whoever it was for has been told to use the key switch")
        act = hand_act(
            request,
            operator=str(request.get("operator") or asked.peer.name),
            written_by="gate",
            lane=self._rules.place.lane,
            direction=self._rules.place.direction,
            token_of=self._token_of,
        )
        known = self._answers.get(act.request)
        if known is not None and known[0] == act.entry:  # our answer was lost: the same answer, no second pulse
            return known[1]
        answer = self._do_by_hand(act)
        self._answers[act.request] = (act.entry, answer)
        while len(self._answers) > _REMEMBERED_REQUESTS:
            self._answers.popitem(last=False)
        return answer

    def _do_by_hand(self, act: HandAct) -> Mapping[str, Any]:
        moves = self._hand.there
        entry = act.entry
        if act.opens and not moves:
            if isinstance(entry, Opening):
                raise Unavailable("the barrier cannot be moved and nothing was recorded; use the key switch")
            entry = replace(entry, opened=False) if isinstance(entry, Registration) else entry
        kept = self._keeper.keep(entry, personal=act.personal, request=act.request)
        opens = opens_again(act, kept.before, self._stamp())
        if opens and not (moves and self._open(kept.key)):
            raise Unavailable("the entry is kept, but the barrier did not move; use the key switch")
        if opens:  # a person was judged by a person: no disk holds them up
            self._hand.show("green", buzz=1)
            self.told = Told(at_mono=self._clock(), outcome="open", reason="accepted", method="manual")
        elif kept.how == How.LOST:
            raise Unavailable("nothing could be written to disk; free some space: sentinelctl show status")
        return {"ok": True, "key": kept.key, "kept": kept.how, "opened": opens, "by": "gate"}

    # -- health -------------------------------------------------------------------------------------------------------

    def _standing(self) -> Standing:
        return self._health.mode(self._rules.policy.profile, self._rules.policy.temperature_limit_celsius is not None)

    def _keep_change(self, change: Change) -> None:
        if change.opened:
            log.warning("%s: %s (%s)", change.component, change.symptom, change.detail)
            self._keeper.keep(Fault(device=change.component, symptom=change.symptom, detail=change.detail))
        else:
            log.info("%s works again after %.1f s", change.component, change.lasted_s or 0.0)
            lasted_s = round(change.lasted_s or 0.0, 1)
            self._keeper.keep(Repair(device=change.component, symptom=change.symptom, lasted_s=lasted_s))

    def _follow_mode(self) -> None:
        mode, because = self._standing()
        if not self._settled and any(why.endswith(f":{STARTING}") for why in because):
            return  # right after the start nothing is known yet, and "manual" would be news about nothing
        self._settled = True
        before, self._mode = self._mode, mode
        if before == mode:
            return
        log.warning("mode %s%s", mode, f" because of {', '.join(because)}" if because else "")
        self._keeper.keep(ModeChange(mode=mode, before=before or "starting", because=because))

"""Decide, in one thread: take what devices, wires and staff say, one at a time, and do what follows.

Everything arrives through `turn(event)`; nothing here waits for a device or a network. What follows is always the same
three steps: an entry is kept, then the barrier is pulsed, then the lights say so.
"""

import logging
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date

from drivers.readings import (
    BarrierEvent,
    BarrierEventKind,
    CardReading,
    CodeReading,
    DistanceReading,
    Identity,
    Impairment,
    Junk,
    Leaf,
    PresenceReading,
    Reading,
    Symptom,
    ThermalReading,
    Trouble,
)
from recognition.readings import Claim, FaceReading, LifeSigns, NoFace
from sentinel.core.fusion import Fuser
from sentinel.core.health import STARTING, Change, Component, Health, Mode, Standing
from sentinel.core.kinds import Barrier as BarrierEntry
from sentinel.core.kinds import Calibration, CommandTaken, Fault, ModeChange, Opening, Repair, Revocation
from sentinel.core.liveness import camera_findings
from sentinel.core.model import Attempt, Decision, Outcome, PassProblem, Person, Reason, ShownPass
from sentinel.core.policy import decide
from sentinel.core.thermometry import WARMING_UP
from sentinel.counter import Counter, Done
from sentinel.events import Asked, DeviceFailed, Doze, Event, FromDevice, PassesRead, RosterRead
from sentinel.hand import Hand
from sentinel.keeper import How, Keeper, Kept
from sentinel.passes import PassDesk
from sentinel.record import passage_of, personal_of
from sentinel.rules import Rules, Times
from sentinel.senses import Senses
from sentinel.street_orders import Order
from sentinel.thermometer import Thermometer

log = logging.getLogger(__name__)

VISION, BARRIER = Component.VISION, Component.BARRIER
_ALARMS = (BarrierEventKind.INTRUSION, BarrierEventKind.TAILGATE, BarrierEventKind.FORCED)
_REMEMBERED_RIGHTS = 64  # each lasts some seconds; the barrier has none older


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the screen says to the person in front of it."""

    at_mono: float
    outcome: str
    reason: str
    method: str = "none"


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
        passes: PassDesk,
        token_of: Callable[[str], str],
        tell_vision: Callable[[Claim | Doze], None],
        times: Times,
    ) -> None:
        self._rules = rules
        self._senses = senses
        self._fuser = fuser
        self._health = health
        self._keeper = keeper
        self._hand = hand
        self.people = people
        self.passes = passes
        self._token_of = token_of
        self._counter = Counter(
            keeper=keeper, hand=hand, place=rules.place, trusted_uids=rules.trusted_uids, token_of=token_of,
            stamp=times.stamp, clock=times.mono, open_barrier=self._open,
            seal_number=rules.seal_number, sign=rules.sign,
        )  # fmt: skip
        self._tell_vision, self._dozing, self._times, self._clock = tell_vision, False, times, times.mono
        self._mode: Mode | None = None
        self._settled = False
        # As the barrier counts them, oldest first: the keys of the entries that gave them.
        self._rights: dict[Leaf, deque[str | None]] = {leaf: deque(maxlen=_REMEMBERED_RIGHTS) for leaf in Leaf}
        self._claimed: str | None = None
        self.told = Told(at_mono=times.mono(), outcome="none", reason="")
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
    def thermometer(self) -> Thermometer:
        """The thermal sensor as it measures."""
        return self._senses.thermometer

    def face_problem(self, now: float) -> str:
        """What keeps the face in view from being compared, for the screen; "" when nothing does."""
        return self._senses.face_problem(now)

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
        if self._senses.vision_silent(now):  # whom it saw last may have left: nobody is let in by that face
            self._nobody(now)
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
        elif component == Component.THERMAL and symptom in (Symptom.LOST, Symptom.SILENT):
            self._senses.thermometer.lost(now)
        elif component == BARRIER and symptom == Symptom.LOST:
            for rights in self._rights.values():  # a board that comes back knows of none
                rights.clear()
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
            case LifeSigns():
                self._fuser.see_life(camera_findings(event))
            case NoFace():
                self.report(VISION, None)
                self._nobody(event.at_mono)
            case BarrierEvent():
                self._take_barrier(event)
            case RosterRead():
                if event.people is not None:
                    self.people = event.people
                self.report(Component.ROSTER, Symptom.LOST if event.problem else None, event.problem)
            case PassesRead():
                event.book.absorb(self.passes.book)  # what was used since the file was read
                self.passes.issuers, self.passes.book = event.issuers, event.book
            case Asked():
                event.reply.put(self._counter.answer(event))
                self._heed(self._counter.take_done())
            case Order():
                event.reply.put(self._counter.obey(event))
                self._heed(self._counter.take_done())

    def _heed(self, done: Done | None) -> None:
        """Let what staff have just done take effect in the lane."""
        if done is None:
            return
        if done.opened:  # a person was judged by a person: no disk holds them up
            self._hand.show("green", buzz=1)
            self.told = Told(at_mono=self._clock(), outcome="open", reason="accepted", method="manual")
        if isinstance(done.entry, Calibration):
            self._senses.thermometer.calibrate(done.entry.offset_celsius, date.fromisoformat(done.entry.due))
        if isinstance(done.entry, Revocation):
            self.passes.book.revoke(done.entry.pass_id)  # also when it could not be written: until the next start
        if isinstance(done.entry, CommandTaken) and done.entry.accepted and done.entry.person is not None:
            blocked = self.people.get(done.entry.person)
            if blocked is not None:  # at once; the roster's file follows
                self.people = {**self.people, blocked.token: replace(blocked, allowed=False)}

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
            case Trouble(symptom=Symptom.CODE_UNREADABLE):
                self.report(device, None)
                unread = ShownPass(at_mono=reading.at_mono, mark="unreadable", read=PassProblem.NOT_A_PASS)
                self._fuser.see_pass(unread, now)
            case Trouble():
                self.report(device, reading.symptom, reading.detail)
            case ThermalReading():
                self._take_temperature(device, reading, now)
            case _:
                self.report(device, None)
                self._take_measured(reading, now)

    def _take_temperature(self, device: str, reading: ThermalReading, now: float) -> None:
        measured = self._senses.measure(reading, now)
        warming = measured.why_not == WARMING_UP
        self.report(device, Symptom.WARMING_UP if warming else None, "its readings do not count yet" if warming else "")
        self._fuser.see_temperature(measured, now)
        self._fuser.see_life(self._senses.heat(reading, now))

    def _take_measured(self, reading: Reading, now: float) -> None:
        match reading:
            case CardReading():
                self._fuser.see_card(reading, self.people.get(self._token_of(reading.number)), now)
            case CodeReading():
                self._fuser.see_pass(self.passes.read(reading), now)
            case DistanceReading():
                self._senses.see_distance(reading)
            case PresenceReading():
                self._senses.see_presence(reading)

    def _take_barrier(self, event: BarrierEvent) -> None:
        uses_right = event.kind in (BarrierEventKind.PASSED, BarrierEventKind.TIMED_OUT)
        rights = self._rights[event.leaf]
        after = rights.popleft() if uses_right and rights else None
        self._keeper.hand_over(BarrierEntry(event=event.kind, after=after, leaf=event.leaf))
        if event.kind in _ALARMS:
            self._hand.show("red", buzz=3)
        if event.kind == BarrierEventKind.EXIT_BUTTON:
            self._let_out()
        if event.kind == BarrierEventKind.FIRE_ON:
            log.error("the fire input is active: the barrier is open for everybody until it is released")

    def _let_out(self) -> None:
        """Open for who asks from inside: nobody is asked who they are to leave."""
        leaf = self._rules.exit_leaf
        exit_by_button = Opening(
            request=f"exit-{uuid.uuid4()}", operator="exit-button", reason="exit-button",
            lane=self._rules.place.lane, written_by="gate", leaf=leaf,
        )  # fmt: skip
        kept = self._keeper.keep(exit_by_button, request=exit_by_button.request)
        self._open(kept.key, leaf)  # whatever the disk says: leaving needs no record

    def _look_around(self, now: float) -> None:
        """Let vision rest while a radar that works feels nobody, and tell of one that feels who is never seen."""
        states = self._health
        works = states.has(Component.PRESENCE) and states.state(Component.PRESENCE).well
        doze = self._senses.nobody_near(now, presence_works=works)
        if doze != self._dozing:
            self._dozing = doze
            self._tell_vision(Doze(on=doze))
        overdue = self._senses.thermometer.overdue(self._times.today(), clock_trusted=self._times.clock_trusted())
        self.impair(Component.THERMAL, Symptom.CALIBRATION_DUE, "run: sentinelctl calibrate thermal", over=not overdue)
        if states.has(Component.PRESENCE):
            detail = "somebody is reported for ten minutes; no face was seen and nobody came"
            phantom = self._senses.phantom(now, presence_works=works)
            self.impair(Component.PRESENCE, Symptom.PHANTOM, detail, over=not phantom)

    def _claim_holder(self, now: float) -> None:
        token = self._fuser.claim(now)
        if token != self._claimed and token is not None:
            self._tell_vision(Claim(person=token, at_mono=now, photo=self._fuser.claimed_photo()))
        self._claimed = token

    # -- decisions ----------------------------------------------------------------------------------------------------

    def _judge(self, attempt: Attempt, now: float) -> None:
        policy = replace(self._rules.policy, fire_active=self.fire)
        self._senses.see_passage()
        decision = decide(
            attempt,
            policy,
            today=self._times.today(),
            at=self._times.at(),
            clock_trusted=self._times.clock_trusted(),
            pass_objections=self.passes.objections(attempt),
        )
        if decision.outcome == Outcome.OPEN and not self._hand.there:
            decision = replace(decision, outcome=Outcome.HOLD, reasons=(Reason.BARRIER_AWAY, *decision.reasons))
        entry = passage_of(attempt, decision, self._rules.place, self.mode, now, self._rules.seal_number)
        kept = self._keeper.keep(entry, personal=personal_of(attempt, decision))
        log.info(
            "passage %s: %s by %s because %s, %d ms",
            kept.key, decision.outcome, decision.method, ",".join(decision.reasons), entry.decision_ms or 0,
        )
        if kept.how != How.LOST:  # what was not written down does not open either
            self.passes.note_kept(attempt, decision)
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

    def _open(self, right: str | None, leaf: Leaf = Leaf.IN) -> bool:
        moved = self._hand.pulse(self._rules.pulse_s, leaf)
        if moved:
            self._rights[leaf].append(right)
        else:  # what was decided stays as it was written; what the barrier then did is an entry of its own
            self._keeper.hand_over(BarrierEntry(event="not-moved", after=right))
        return moved

    # -- health -------------------------------------------------------------------------------------------------------

    def _standing(self) -> Standing:
        return self._health.mode(self._rules.policy.profile, self._rules.policy.temperature_limit_celsius is not None)

    def _keep_change(self, change: Change) -> None:
        if change.opened:
            log.warning("%s: %s (%s)", change.component, change.symptom, change.detail)
            self._keeper.hand_over(Fault(device=change.component, symptom=change.symptom, detail=change.detail))
        else:
            log.info("%s works again after %.1f s", change.component, change.lasted_s or 0.0)
            lasted_s = round(change.lasted_s or 0.0, 1)
            self._keeper.hand_over(Repair(device=change.component, symptom=change.symptom, lasted_s=lasted_s))

    def _follow_mode(self) -> None:
        mode, because = self._standing()
        if not self._settled and any(why.endswith(f":{STARTING}") for why in because):
            return  # right after the start nothing is known yet, and "manual" would be news about nothing
        self._settled = True
        before, self._mode = self._mode, mode
        if before == mode:
            return
        log.warning("mode %s%s", mode, f" because of {', '.join(because)}" if because else "")
        self._keeper.hand_over(ModeChange(mode=mode, before=before or "starting", because=because))

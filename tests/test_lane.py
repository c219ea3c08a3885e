"""The deciding thread: an entry before every opening, staff never held up, faults that do not stop the gate."""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from contract_check import faults_of_entry
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drivers.errors import PortLost
from drivers.readings import (
    BarrierEvent,
    BarrierEventKind,
    CardKind,
    CardReading,
    CodeReading,
    Leaf,
    Sign,
    Symptom,
    ThermalReading,
    Trouble,
)
from recognition.readings import Candidate, FaceReading, LifeSigns, Motion, NoFace
from sentinel.byhand import HandAct, opens_again
from sentinel.control import Peer
from sentinel.core.admission import PassBook, Scope
from sentinel.core.climate import Climate
from sentinel.core.fusion import Fuser
from sentinel.core.health import Component, Health, Mode
from sentinel.core.kinds import Opening
from sentinel.core.liveness import UNASKED, Layer, Rule
from sentinel.core.liveness import Mode as LifeMode
from sentinel.core.model import Attempt, Decision, Method, Outcome, PassKind, Person, Policy, Profile
from sentinel.core.thermometry import Compensation, Limits
from sentinel.events import Asked, DeviceFailed, FromDevice, RosterRead
from sentinel.hand import Hand
from sentinel.keeper import Keeper
from sentinel.lane import Lane
from sentinel.passes import Issuers, PassDesk, key_id, write_pass
from sentinel.record import Place, passage_of
from sentinel.rules import Rules, Times
from sentinel.senses import SILENT_S, Senses
from sentinel.thermometer import Thermometer
from sync.errors import LedgerUnavailable
from sync.ledger import LedgerReader, LedgerWriter
from sync.stamp import now_stamp
from sync.vault import Vault

NUMBER = "11010519491231002X"
NOW_UTC_S = 1_790_000_000.0
SCOPE = Scope.of("330106", "cuiyuan3", "east-3")
STRANGER = Peer(pid=1, uid=4242, name="sentinel-uplink")  # may connect, for it may ask for the status
SELF = Peer(pid=2, uid=0, name="root")


ACT = HandAct(
    entry=Opening(request="request-1", operator="root", reason="delivery", lane="lane-1", written_by="gate"),
    request="request-1",
    opens=True,
)


class Clock:
    """Time that stands still until told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class SpyBarrier:
    """A barrier that writes down what it did, and what the ledger held at that moment."""

    trouble = None
    leaves = (Leaf.IN, Leaf.OUT)

    def __init__(self, count: Callable[[], int]) -> None:
        self.pulses: list[int] = []
        self.opened: list[Leaf] = []
        self.lights: list[str] = []
        self.fire_active = False
        self.broken = False
        self._count = count

    def pulse(self, _seconds: float, leaf: Leaf = Leaf.IN) -> None:
        if self.broken:
            raise PortLost("relay board is gone; check its cable")
        self.pulses.append(self._count())
        self.opened.append(leaf)

    def show(self, light: str, buzz: int = 0) -> None:
        self.lights.append(light)

    def tick(self, _now: float) -> None:
        if self.broken:
            raise PortLost("relay board is gone; check its cable")

    def close(self) -> None:
        self.lights.append("closed")


def thermometer() -> Thermometer:
    return Thermometer(
        limits=Limits(ambient_min_celsius=15.0, ambient_max_celsius=35.0),
        compensation=Compensation(),
        climate=Climate(warm_up_s=0.0),
    )


class Stand:
    """A lane with a real ledger, a real vault and a barrier that writes down."""

    def __init__(self, folder: Path, profile: Profile = Profile.FACE, *, liveness: Rule = UNASKED) -> None:
        self.clock = Clock()
        self.vault = Vault.open(folder / "secrets", create=True)
        self.keeper = Keeper(
            open_ledger=lambda: LedgerWriter.open(
                folder / "ledger.db", vault=self.vault, owner="gate", start_body={"version": "0.1.0"}
            ),
            spool=folder / "spool.jsonl",
            vault=self.vault,
            stamp=now_stamp,
            bound_s=5.0,
        )
        self.keeper.tend()
        self.reader = LedgerReader(folder / "ledger.db")
        self.barrier = SpyBarrier(self.openings_on_disk)
        self.token = self.vault.token(NUMBER)
        self.person = Person(token=self.token, name="样本甲", number_masked="110105********002X", has_face=True)
        self.claims: list[str] = []
        self.issuer = Ed25519PrivateKey.generate()
        self.passes = PassDesk(
            scope=SCOPE,
            issuers=Issuers(keys={key_id(self.issuer.public_key()): self.issuer.public_key()}),
            book=PassBook(),
            now_utc_s=lambda: NOW_UTC_S,
            clock_trusted=lambda: True,
        )
        hand = Hand(lambda: self.barrier, self._on_barrier, clock=self.clock)
        self.lane = Lane(
            rules=Rules(
                policy=Policy(profile=profile, temperature_limit_celsius=37.3),
                place=Place(lane="lane-1", direction="in", temperature_limit_celsius=37.3),
                pulse_s=0.5,
                exit_leaf=Leaf.OUT,
                trusted_uids=frozenset((0,)),
            ),
            senses=Senses(thermometer=thermometer()),
            fuser=Fuser(profile=profile, temperature=True, window_s=4.0, repeat_s=5.0, liveness=liveness),
            health=Health((Component.SCANNER,)),
            keeper=self.keeper,
            hand=hand,
            people={self.token: self.person},
            passes=self.passes,
            token_of=self.vault.token,
            tell_vision=lambda message: self.claims.append(message.person),
            times=Times(
                today=lambda: date(2026, 11, 22), clock_trusted=lambda: True, stamp=now_stamp, mono=self.clock
            ),
        )
        self.lane.turn(None)

    def _on_barrier(self, symptom: str | None, detail: str) -> None:
        self.lane.report(Component.BARRIER, symptom, detail)

    def entries(self, kind: str) -> list[dict]:
        """Return what is kept of this kind, once what was handed over has reached the disk."""
        deadline, never = time.monotonic() + 10.0, threading.Event()
        while self.keeper.queued and time.monotonic() < deadline:
            never.wait(0.001)
        return self.on_disk(kind)

    def on_disk(self, kind: str) -> list[dict]:
        return [entry.data for entry in reversed(self.reader.newest(100, kind))]

    def openings(self) -> list[dict]:
        passages = [data for data in self.on_disk("passage") if data["outcome"] == "open"]
        return passages + [data for data in self.on_disk("registration") if data["opened"]] + self.on_disk("opening")

    def openings_on_disk(self) -> int:
        """How many openings the ledger holds, as another process would see it; -1 while it has none to ask."""
        try:
            return len(self.openings())
        except LedgerUnavailable:
            return -1

    def warm(self, celsius: float) -> None:
        field = ThermalReading(
            at_mono=self.clock.now, width=1, height=1, celsius=(celsius,), ambient_celsius=25.0
        )
        self.lane.turn(FromDevice("thermal", field))

    def face(
        self,
        person: str | None,
        *,
        track: int = 1,
        claimed: Candidate | None = None,
        at_mono: float | None = None,
        template: str = "",
    ) -> None:
        reached = {"similarity": 0.7, "required": 0.5, "reached": True, "template": template}
        known = Candidate(person=person, **reached) if person else None
        self.lane.turn(
            FaceReading(
                at_mono=self.clock.now if at_mono is None else at_mono,
                track=track, box=(10, 10, 120, 150), frame_width=640, frame_height=480,
                confidence=0.9, identified=known, nearest_similarity=0.7 if person else 0.2, required_similarity=0.5,
                claimed=claimed, model="m",
            )
        )

    def card(self, until: date = date(2040, 1, 1)) -> None:
        self.lane.turn(
            FromDevice(
                "card",
                CardReading(
                    at_mono=self.clock.now, kind=CardKind.RESIDENT, number=NUMBER, number_ok=True, name="样本甲",
                    valid_from=date(2020, 1, 1), valid_until=until,
                ),
            )
        )

    def ask(self, peer: Peer = SELF, **request: object) -> dict:
        asked = Asked({"v": 1, **request}, peer)
        self.lane.turn(asked)
        try:
            return dict(asked.reply.get_nowait())
        except queue.Empty:
            raise AssertionError("the lane gave no answer in its turn") from None


@pytest.fixture
def stand(tmp_path):
    built = Stand(tmp_path)
    yield built
    built.keeper.close("end of test")
    written = built.reader.newest(1_000) if (tmp_path / "ledger.db").exists() else []
    assert [fault for entry in written for fault in faults_of_entry(entry)] == [], "the street was promised otherwise"


def test_a_known_face_of_normal_temperature_opens_and_the_entry_is_there_before_the_pulse(stand):
    stand.warm(36.4)
    stand.face(stand.token)
    stand.warm(36.5)
    assert stand.barrier.pulses == [1], "at the moment of the pulse the ledger must already hold the opening"
    [passage] = stand.entries("passage")
    assert (passage["outcome"], passage["method"], passage["person"]) == ("open", "face", stand.token)
    assert passage["similarity"] == 0.7
    assert stand.barrier.lights == ["green"]


def test_the_ledgers_body_names_nobody_and_the_personal_part_opens_only_with_the_vault(stand):
    stand.face(stand.token)
    stand.warm(36.5)
    [entry] = stand.reader.newest(1, "passage")
    assert "样本甲" not in entry.body.decode()
    assert NUMBER not in entry.body.decode()
    assert stand.vault.unseal(entry.personal_key, entry.personal)["name"] == "样本甲"


def test_a_stranger_is_held_after_the_window_and_nothing_moves(stand):
    stand.face(None)
    stand.warm(36.5)
    stand.clock.now += 4.1
    stand.face(None)
    [passage] = stand.entries("passage")
    assert (passage["outcome"], passage["reasons"][0]) == ("hold", "face-unknown")
    assert "person" not in passage
    assert stand.barrier.pulses == []
    assert stand.lane.told.outcome == "hold"


def test_a_hot_person_is_held(stand):
    stand.face(stand.token)
    stand.warm(38.1)
    assert stand.entries("passage")[0]["reasons"][0] == "temperature-high"
    assert stand.barrier.pulses == []


def test_an_expired_card_is_refused(stand):
    stand.warm(36.4)
    stand.card(until=date(2020, 1, 1))
    stand.clock.now += 4.1
    stand.lane.turn(None)
    [passage] = stand.entries("passage")
    assert (passage["outcome"], passage["reasons"][0]) == ("refuse", "card-expired")
    assert stand.barrier.pulses == []


def test_a_card_makes_vision_look_for_its_holder_once(stand):
    stand.card()
    stand.face(None, claimed=None)
    assert stand.claims == [stand.token]


def test_a_registration_by_hand_opens_and_names_the_operator(stand):
    answer = stand.ask(
        verb="register", request="request-1", reason="visitor", document="id-card", number=NUMBER, name="样本己",
        skin_celsius=36.5, operator="guard-2",
    )
    assert answer["ok"] and answer["opened"]
    [data] = stand.entries("registration")
    assert data["operator"] == "guard-2"
    assert stand.barrier.pulses == [1]


def test_only_the_one_shot_may_act_at_the_gate(stand):
    answer = stand.ask(STRANGER, verb="open", request="request-1", reason="delivery", operator="root")
    assert (answer["ok"], answer["exit_code"]) == (False, 77)
    assert stand.entries("opening") == []
    assert stand.barrier.pulses == []


def test_a_repeated_request_is_one_entry_and_one_pulse(stand):
    first = stand.ask(verb="open", request="request-1", reason="delivery")
    again = stand.ask(verb="open", request="request-1", reason="delivery")
    assert first == again
    assert len(stand.entries("opening")) == 1
    assert len(stand.barrier.pulses) == 1


def test_a_request_that_comes_too_late_opens_for_nobody(stand):
    answer = stand.ask(SELF, verb="open", request="request-1", reason="delivery", until_mono=stand.clock.now - 0.1)
    assert not answer["ok"]
    assert stand.entries("opening") == []
    assert stand.barrier.pulses == []


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        ({"verb": "dance", "request": "request-1"}, "dance"),
        ({"verb": "open", "request": "request-1", "reason": "because"}, "reason"),
        ({"verb": "open", "reason": "delivery"}, "request id"),
        ({"verb": "register", "request": "request-1", "reason": "visitor", "document": "id-card", "name": "样本",
          "number": "110105194912310021"}, "check digit"),
        ({"verb": "register", "request": "request-1", "reason": "visitor", "document": "none", "name": "样本",
          "skin_celsius": 73.0}, "temperature"),
    ],
)
def test_a_wrong_request_is_refused_in_words_and_nothing_moves(stand, request_, told):
    answer = stand.ask(**request_)
    assert not answer["ok"]
    assert answer["exit_code"] == 64
    assert told in answer["error"]
    assert stand.barrier.pulses == []


WORDS = st.sampled_from(
    ["register", "open", "consent", "template", "gallery", "request-1", "visitor", "held", "id-card",
     "none", "enrolled", NUMBER, "样本"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("request", "reason", "document", "number", "name", "skin_celsius", "after", "open", "until_mono", "operator",
          "person", "act", "consent", "templates", "model", "left", "people", "pictures", "sha256", "signer", "other",
          "given_on", "by", "purpose", "keep_picture")


@given(request_=st.fixed_dictionaries({"verb": WORDS}, optional={field: JSON | WORDS for field in FIELDS}))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_request_whatever_it_holds_stops_the_deciding_thread_or_opens_without_an_entry(stand, request_):
    before = len(stand.barrier.pulses), len(stand.openings())
    answer = stand.ask(SELF, **request_)
    pulses, openings = len(stand.barrier.pulses) - before[0], len(stand.openings()) - before[1]
    assert answer["ok"] or answer["error"]
    assert pulses <= openings <= 1


def test_a_request_id_that_was_used_for_another_act_is_refused(stand):
    stand.ask(verb="open", request="request-1", reason="delivery")
    answer = stand.ask(
        verb="register", request="request-1", reason="visitor", document="id-card", number=NUMBER, name="样本己"
    )
    assert (answer["ok"], answer["exit_code"]) == (False, 64)
    assert "request-1" in answer["error"]
    assert len(stand.barrier.pulses) == 1


def test_a_request_that_an_earlier_gate_had_answered_opens_only_while_its_person_may_still_stand_there(tmp_path):
    first = Stand(tmp_path)
    key = first.ask(verb="open", request="request-1", reason="delivery")["key"]
    first.keeper.close("killed in effect")
    second = Stand(tmp_path)
    again = second.ask(verb="open", request="request-1", reason="delivery")
    assert (again["key"], again["opened"]) == (key, True), "perhaps the gate died between its entry and its pulse"
    late = replace(now_stamp(), boot_ns=now_stamp().boot_ns + 60 * 10**9)
    assert not opens_again(ACT, second.reader.by_request("request-1"), late)
    assert len(second.entries("opening")) == 1
    second.keeper.close("end of test")


def test_when_the_barrier_is_away_nobody_is_said_to_have_been_let_in(stand):
    stand.barrier.broken = True
    stand.lane.turn(None)
    stand.face(stand.token)
    stand.warm(36.5)
    [passage] = stand.entries("passage")
    assert (passage["outcome"], passage["reasons"][0]) == ("hold", "barrier-away")
    answer = stand.ask(
        verb="register", request="request-1", reason="visitor", document="id-card", number=NUMBER, name="样本己"
    )
    assert not answer["ok"] and "key switch" in answer["error"]
    assert stand.entries("registration")[0]["opened"] is False


def test_a_roster_that_cannot_be_read_leaves_the_one_before_and_is_a_fault(stand):
    stand.lane.turn(RosterRead(None, "the disk does not say"))
    assert [data["device"] for data in stand.entries("fault")] == ["roster"]
    stand.face(stand.token)
    stand.warm(36.5)
    assert len(stand.barrier.pulses) == 1


def test_a_face_seen_before_the_camera_was_lost_opens_for_nobody_afterwards(stand):
    stand.face(stand.token)
    before = stand.clock.now
    stand.clock.now += 0.2
    stand.lane.turn(DeviceFailed("vision", Symptom.DARK, "covered"))
    stand.clock.now += 1.0
    stand.card()
    stand.warm(36.5)
    reached = Candidate(person=stand.token, similarity=0.7, required=0.4, reached=True)
    stand.face(stand.token, claimed=reached, at_mono=before)
    stand.clock.now += 4.1
    stand.warm(36.5)
    assert [data["method"] for data in stand.entries("passage")] == ["card"], "the card alone, as the profile allows"


def test_two_rights_are_used_in_the_order_in_which_they_were_given(stand):
    first = stand.ask(verb="open", request="request-1", reason="delivery")["key"]
    second = stand.ask(verb="open", request="request-2", reason="delivery")["key"]
    for _ in range(2):
        stand.lane.turn(BarrierEvent(at_mono=stand.clock.now, kind=BarrierEventKind.PASSED))
    assert [data["after"] for data in stand.entries("barrier")] == [first, second]


def test_when_nothing_can_be_recorded_the_machine_holds_and_staff_still_open(tmp_path):
    stand = Stand(tmp_path)
    stand.keeper.close("the disk is gone")
    (tmp_path / "spool.jsonl").mkdir()  # nothing can be appended to a folder
    stand.face(stand.token)
    stand.warm(36.5)
    assert stand.barrier.pulses == [], "no unrecorded opening by the machine"
    answer = stand.ask(verb="open", request="request-1", reason="device-fault")
    assert answer["ok"] and answer["kept"] == "lost"
    assert len(stand.barrier.pulses) == 1, "no disk holds a person that staff let through"


def test_a_ledger_that_cannot_be_written_spools_and_the_machine_goes_on(tmp_path):
    stand = Stand(tmp_path)
    stand.keeper.close("the disk is gone")
    stand.face(stand.token)
    stand.warm(36.5)
    assert len(stand.barrier.pulses) == 1
    assert (tmp_path / "spool.jsonl").stat().st_size > 0
    assert NUMBER not in (tmp_path / "spool.jsonl").read_text()


def test_what_was_spooled_comes_home_marked_when_the_ledger_is_back(tmp_path):
    stand = Stand(tmp_path)
    stand.keeper.close("the disk is gone")
    assert stand.ask(verb="open", request="request-1", reason="device-fault")["kept"] == "spooled"
    assert stand.keeper.problem
    stand.keeper.tend()
    stand.keeper.bring_home()
    assert stand.keeper.problem is None
    [opening] = stand.entries("opening")
    assert opening["spooled"] is True
    assert stand.reader.verify().ok
    stand.keeper.close("end of test")


class FullDisk:
    """A ledger writer whose disk can be full."""

    def __init__(self, writer: LedgerWriter) -> None:
        self._writer = writer
        self.full = False

    def append(self, *args, **options):
        if self.full:
            raise LedgerUnavailable("database or disk is full; free some space")
        return self._writer.append(*args, **options)

    def __getattr__(self, name):
        return getattr(self._writer, name)


def test_a_full_disk_stays_a_problem_until_the_ledger_takes_entries_again(tmp_path):
    vault = Vault.open(tmp_path / "secrets", create=True)
    disk = FullDisk(LedgerWriter.open(tmp_path / "ledger.db", vault=vault))
    keeper = Keeper(
        open_ledger=lambda: disk, spool=tmp_path / "spool.jsonl", vault=vault, stamp=now_stamp, bound_s=5.0
    )
    keeper.tend()
    assert keeper.problem is None
    disk.full = True
    assert keeper.keep(ACT.entry, request=ACT.request).how == "spooled"
    for _ in range(3):
        keeper.tend()
        keeper.bring_home()
        assert "full" in keeper.problem, "tending a full disk must not make it look well"
    disk.full = False
    keeper.tend()
    keeper.bring_home()
    assert keeper.problem is None
    keeper.close("end of test")
    assert [entry.kind for entry in LedgerReader(tmp_path / "ledger.db").newest(10)].count("opening") == 1


def test_a_ledger_that_cannot_be_opened_at_the_start_stops_nobody(tmp_path):
    (tmp_path / "ledger.db").mkdir()
    stand = Stand(tmp_path)
    stand.face(stand.token)
    stand.warm(36.5)
    assert len(stand.barrier.lights) == 1
    assert (tmp_path / "spool.jsonl").stat().st_size > 0
    (tmp_path / "ledger.db").rmdir()
    stand.keeper.tend()
    stand.keeper.bring_home()
    [passage] = stand.entries("passage")
    assert (passage["outcome"], passage["spooled"]) == ("open", True)
    stand.keeper.close("end of test")


def test_faults_and_repairs_are_entries_and_the_mode_follows(stand):
    for device in ("card", "thermal"):
        stand.lane.turn(FromDevice(device, Sign(at_mono=stand.clock.now)))
    stand.lane.turn(NoFace(at_mono=stand.clock.now))
    stand.lane.report(Component.LEDGER, None)
    stand.lane.turn(RosterRead({}))
    assert stand.lane.mode == Mode.AUTOMATIC
    stand.lane.turn(DeviceFailed("card", Symptom.LOST, "unplugged"))
    assert stand.lane.mode == Mode.ASSISTED
    stand.clock.now += 3.0
    stand.lane.turn(FromDevice("card", Sign(at_mono=stand.clock.now)))
    assert stand.lane.mode == Mode.AUTOMATIC
    assert [data["symptom"] for data in stand.entries("fault")] == ["lost"]
    assert stand.entries("repair")[0]["lasted_s"] == 3.0
    assert [data["mode"] for data in stand.entries("mode")] == ["automatic", "assisted", "automatic"]


def test_an_unreadable_card_is_the_cards_fault_and_not_the_readers(stand):
    trouble = Trouble(at_mono=stand.clock.now, symptom=Symptom.CARD_UNREADABLE, detail="status 41")
    stand.lane.turn(FromDevice("card", trouble))
    assert stand.entries("fault") == []
    stand.clock.now += 4.1
    stand.lane.turn(None)
    assert stand.entries("passage")[0]["outcome"] == "hold"


def test_a_relay_board_that_is_gone_is_a_fault_and_is_taken_again(stand):
    stand.barrier.broken = True
    stand.lane.turn(None)
    assert [data["device"] for data in stand.entries("fault")] == ["barrier"]
    answer = stand.ask(verb="open", request="request-1", reason="delivery")
    assert not answer["ok"] and "key switch" in answer["error"]
    stand.barrier.broken = False
    stand.clock.now += 1.1
    stand.lane.turn(None)
    assert len(stand.entries("repair")) == 1


def test_what_the_wires_say_is_recorded_with_the_right_it_used(stand):
    stand.ask(verb="open", request="request-1", reason="delivery")
    stand.lane.turn(BarrierEvent(at_mono=stand.clock.now, kind=BarrierEventKind.PASSED))
    stand.lane.turn(BarrierEvent(at_mono=stand.clock.now, kind=BarrierEventKind.INTRUSION))
    passed, intrusion = stand.entries("barrier")
    assert passed["after"] == str(stand.reader.newest(1, "opening")[0].key)
    assert "after" not in intrusion


def test_in_a_fire_everybody_is_let_through(stand):
    stand.barrier.fire_active = True
    stand.face(None)
    stand.clock.now += 4.1
    stand.face(None)
    assert stand.entries("passage")[0]["method"] == "fire"
    assert len(stand.barrier.pulses) == 1


def test_a_vision_that_falls_silent_lets_nobody_in_by_the_face_it_saw_last(stand):
    stand.face(stand.token)
    stand.clock.now += SILENT_S + 0.1
    stand.lane.turn(None)
    stand.warm(36.5)
    stand.clock.now += 1.0
    stand.warm(36.5)
    assert stand.barrier.pulses == []


def test_the_entry_says_on_how_many_frames_and_by_what_margin_a_face_was_known(stand):
    known = Candidate(person=stand.token, similarity=0.7, required=0.5, reached=True)
    stand.lane.turn(
        FaceReading(
            at_mono=stand.clock.now, track=1, box=(10, 10, 120, 150), frame_width=640, frame_height=480,
            confidence=0.9, identified=known, nearest_similarity=0.7, required_similarity=0.5,
            margin=0.31, required_margin=0.08, frames=3, model="m",
        )
    )
    stand.warm(36.5)
    [passage] = stand.entries("passage")
    told = {key: value for key, value in passage.items() if key.startswith(("similarity", "face"))}
    assert told == {
        "similarity": 0.7, "similarity_required": 0.5, "similarity_margin": 0.31, "similarity_margin_required": 0.08,
        "face_frames": 3, "face_against": "everybody", "face_model": "m",
    }


def test_the_entry_names_the_template_that_matched(stand):
    stand.face(stand.token, template="8c1e5f20aa01")
    stand.warm(36.5)
    [passage] = stand.entries("passage")
    assert (passage["person"], passage["face_template"]) == (stand.token, "8c1e5f20aa01")


def test_an_entry_names_a_template_of_its_own_person_only_and_only_one_that_matched():
    anna = Person(token="anna", name="样本甲", number_masked="1", has_face=True)
    matched = Candidate(person="anna", similarity=0.7, required=0.5, reached=True, template="8c1e5f20aa01")
    place = Place(lane="1", direction="in", temperature_limit_celsius=None)

    def named(person: Person | None, claimed: Candidate) -> str | None:
        face = FaceReading(
            at_mono=0.0, track=1, box=(10, 10, 120, 150), frame_width=640, frame_height=480, confidence=0.9,
            claimed=claimed,
        )  # fmt: skip
        decision = Decision(outcome=Outcome.OPEN, method=Method.CARD_AND_FACE, reasons=(), person=person)
        attempt = Attempt(started_mono=0.0, closed_mono=1.0, face=face)
        return passage_of(attempt, decision, place, "automatic", 1.0).face_template

    assert named(anna, matched) == "8c1e5f20aa01"
    assert named(anna, replace(matched, reached=False)) is None
    assert named(anna, replace(matched, template="")) is None
    assert named(replace(anna, token="bert"), matched) is None
    assert named(None, matched) is None


def test_a_dead_camera_takes_its_last_face_with_it(stand):
    stand.face(stand.token)
    stand.lane.turn(DeviceFailed("vision", Symptom.LOST, "killed"))
    stand.warm(36.5)
    stand.clock.now += 4.1
    stand.warm(36.5)
    assert stand.barrier.pulses == []


def test_a_signed_calibration_holds_at_once_and_says_when_it_is_due(stand):
    calibrate = {
        "v": 1, "verb": "calibrate", "request": "calibrate-1", "method": "black-body", "samples": 40,
        "offset_celsius": 0.7, "spread_celsius": 0.05, "residual_celsius": 0.02, "due": "2026-11-21",
        "signed_by": "LI MING",
    }  # fmt: skip
    assert stand.lane.thermometer.compensation.offset_celsius == 0.0
    asked = Asked(calibrate, SELF)
    stand.lane.turn(asked)
    assert asked.reply.get_nowait()["ok"]
    assert stand.lane.thermometer.compensation.offset_celsius == 0.7
    [entry] = stand.entries("calibration")
    assert (entry["signed_by"], entry["due"]) == ("LI MING", "2026-11-21")
    stand.lane.turn(None)
    assert [fault["symptom"] for fault in stand.entries("fault")] == ["calibration-due"]
    assert stand.barrier.pulses == []


def test_the_exit_button_opens_the_leaf_that_leads_out_and_asks_nobody(stand):
    stand.lane.turn(BarrierEvent(at_mono=stand.clock.now, kind=BarrierEventKind.EXIT_BUTTON, leaf=Leaf.OUT))
    assert stand.barrier.opened == [Leaf.OUT]
    [opening] = stand.entries("opening")
    assert (opening["reason"], opening["leaf"]) == ("exit-button", "out")
    stand.lane.turn(BarrierEvent(at_mono=stand.clock.now, kind=BarrierEventKind.PASSED, leaf=Leaf.OUT))
    assert stand.entries("barrier")[-1]["after"] is not None, "whoever left used the right of that opening"


def code_of(stand, **changed):
    terms = {
        "kind": PassKind.VISITOR, "scope": SCOPE.gate,
        "valid_from_utc_s": int(NOW_UTC_S) - 60, "valid_until_utc_s": int(NOW_UTC_S) + 3600, "uses": 1,
        "random_bytes": lambda count: bytes(range(count)),
    } | changed  # fmt: skip
    return CodeReading(at_mono=stand.clock.now, content=write_pass(stand.issuer, **terms).encode())


def test_a_visitors_pass_opens_once_and_its_second_showing_does_not(stand):
    stand.warm(36.5)
    stand.lane.turn(FromDevice("scanner", code_of(stand)))
    stand.warm(36.5)
    assert stand.entries("passage")[0]["method"] == "pass"
    assert len(stand.barrier.pulses) == 1
    stand.clock.now += 20.0
    stand.lane.turn(FromDevice("scanner", code_of(stand)))
    stand.warm(36.5)
    assert stand.entries("passage")[-1]["reasons"] == ["pass-used"]
    assert len(stand.barrier.pulses) == 1


def test_a_cold_face_is_held_its_layers_are_written_and_no_temperature_is_logged(tmp_path, caplog):
    stand = Stand(tmp_path, liveness=Rule(mode=LifeMode.REQUIRE, layers=(Layer.HEAT,)))
    motion = Motion(looks=9, watched_s=2.0, travel=0.05, turning=0.01, depth=0.5, repeats=0.0)
    with caplog.at_level("DEBUG"):
        for _ in range(9):
            stand.clock.now += 0.5
            stand.face(stand.token)
            stand.lane.turn(LifeSigns(at_mono=stand.clock.now, track=1, motion=motion))
            stand.warm(25.6)
    [passage] = stand.entries("passage")
    assert (passage["outcome"], passage["reasons"][0]) == ("hold", "face-not-live")
    assert (passage["liveness"], passage["liveness_layer"], passage["liveness_why"]) == ("not-live", "heat", "cold")
    assert {said["layer"]: said["verdict"] for said in passage["liveness_layers"]} == {
        "heat": "not-live",
        "motion": "not-live",
    }
    assert "25.6" not in caplog.text
    assert stand.barrier.pulses == []


def test_a_warm_face_opens_and_the_entry_names_the_layer(tmp_path):
    stand = Stand(tmp_path, liveness=Rule(mode=LifeMode.REQUIRE, layers=(Layer.HEAT,)))
    stand.warm(36.2)
    stand.face(stand.token)
    assert stand.entries("passage") == [], "what was warm before the face was known says nothing of it"
    stand.clock.now += 0.2
    stand.warm(36.3)
    [passage] = stand.entries("passage")
    assert (passage["outcome"], passage["liveness"], passage["liveness_why"]) == ("open", "live", "point")

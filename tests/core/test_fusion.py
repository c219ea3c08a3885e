"""Readings of one person become one attempt; readings of two people never do."""

import math
from dataclasses import dataclass, replace
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.readings import CardKind, CardReading
from recognition.readings import Candidate, FaceProblem, FaceReading
from sentinel.core.fusion import BLINK_S, Fuser
from sentinel.core.model import (
    Attempt,
    Outcome,
    Pass,
    PassKind,
    PassProblem,
    Person,
    Policy,
    Profile,
    ShownPass,
    SkinTemperature,
)
from sentinel.core.policy import decide, is_face_of

LI = Person(token="li", name="李小明", has_face=True)
WANG = Person(token="wang", name="王芳", has_face=True)
OLD_LIU = Person(token="liu", name="刘大爷", has_face=False)
WINDOW_S, REPEAT_S = 4.0, 5.0


def card_of(person: Person, at: float) -> CardReading:
    return CardReading(
        at_mono=at,
        kind=CardKind.RESIDENT,
        number=f"number of {person.token}",
        number_ok=True,
        name=person.name,
        valid_from=date(2020, 1, 1),
        long_term=True,
    )


def face_of(
    person: Person | None,
    at: float,
    track: int = 1,
    *,
    claim: Person | None = None,
    similarity: float = 0.7,
    problem: FaceProblem | None = None,
) -> FaceReading:
    """A frame of a person (None: a stranger). With a claim it answers only the claim, as a far-away frame does."""
    found = answer = None
    if problem is None and claim is None and person is not None and person.has_face:
        found = Candidate(person=person.token, similarity=similarity, required=0.5, reached=True)
    if problem is None and claim is not None:
        reached = similarity >= 0.4
        answer = Candidate(person=claim.token, similarity=similarity, required=0.4, reached=reached)
    return FaceReading(
        at_mono=at,
        track=track,
        box=(0, 0, 90, 90),
        frame_width=640,
        frame_height=480,
        confidence=0.9,
        problem=problem,
        identified=found,
        claimed=answer,
    )


def warmth(at: float, skin: float | None = 36.4, why_not: str = "") -> SkinTemperature:
    return SkinTemperature(at_mono=at, skin_celsius=skin, raw_celsius=skin, ambient_celsius=22.0, why_not=why_not)


def code_of(name: str, at: float, problem: PassProblem | None = None) -> ShownPass:
    found = Pass(
        kind=PassKind.VISITOR, pass_id=name, issuer="", scope="", valid_from_utc_s=0, valid_until_utc_s=1, uses=1
    )
    return ShownPass(at_mono=at, mark=f"mark of {name}", read=problem or found)


class Gate:
    """A fuser that is told things by name and remembers every attempt it gave."""

    def __init__(self, profile: Profile, temperature: bool = False, **limits: float) -> None:
        self.fuser = Fuser(profile, temperature, WINDOW_S, REPEAT_S, **limits)

    def card(self, at: float, person: Person, *, known: bool = True) -> Attempt | None:
        self.fuser.see_card(card_of(person, at), person if known else None, at)
        return self.fuser.due(at)

    def face(self, at: float, person: Person | None, track: int = 1, **how) -> Attempt | None:
        reading = face_of(person, at, track, **how)
        self.fuser.see_face(reading, person if reading.identified else None, at)
        return self.fuser.due(at)

    def nobody(self, at: float) -> Attempt | None:
        self.fuser.see_nobody(at)
        return self.fuser.due(at)

    def warm(self, at: float, skin: float | None = 36.4, why_not: str = "") -> Attempt | None:
        self.fuser.see_temperature(warmth(at, skin, why_not), at)
        return self.fuser.due(at)

    def trouble(self, at: float) -> Attempt | None:
        self.fuser.see_card_trouble(at)
        return self.fuser.due(at)

    def code(self, at: float, name: str = "A", problem: PassProblem | None = None) -> Attempt | None:
        self.fuser.see_pass(code_of(name, at, problem), at)
        return self.fuser.due(at)


def pass_in(attempt: Attempt | None) -> str | None:
    """Return the name of the pass in an attempt."""
    assert attempt is not None
    return attempt.shown.read.pass_id if attempt.shown and isinstance(attempt.shown.read, Pass) else None


# What opens an attempt, and when it is due


@pytest.mark.parametrize("profile", Profile)
def test_a_stranger_to_the_roster_with_a_card_is_due_at_once(profile):
    attempt = Gate(profile, temperature=True).card(10.0, LI, known=False)
    assert attempt is not None
    assert (attempt.holder, attempt.closed_mono) == (None, 10.0)


def test_card_profile_asks_no_camera():
    gate = Gate(Profile.CARD)
    assert gate.face(9.0, LI) is None
    attempt = gate.card(10.0, LI)
    assert attempt is not None
    assert attempt.face is None
    assert gate.face(11.0, WANG, track=2) is None
    assert gate.fuser.due(60.0) is None


def test_a_known_face_is_due_at_once_in_profile_face():
    attempt = Gate(Profile.FACE).face(10.0, LI)
    assert attempt is not None
    assert attempt.face_person == LI


def test_an_unknown_face_waits_for_a_card():
    gate = Gate(Profile.FACE)
    assert gate.face(10.0, None) is None
    assert gate.fuser.deadline(10.0) == 14.0
    assert gate.fuser.due(13.9) is None
    attempt = gate.fuser.due(14.0)
    assert attempt is not None
    assert attempt.face_person is None
    assert gate.fuser.deadline(14.0) is None


def test_who_is_doubtful_to_the_end_is_handed_to_staff_at_once():
    gate = Gate(Profile.FACE)
    doubtful = replace(face_of(None, 10.0), doubtful=True)
    gate.fuser.see_face(doubtful, None, 10.0)
    assert gate.fuser.due(10.0) is None, "more frames are asked for"
    gate.fuser.see_face(replace(doubtful, at_mono=12.0, settled=True), None, 12.0)
    attempt = gate.fuser.due(12.0)
    assert attempt is not None
    assert (attempt.face_person, attempt.face.doubtful) == (None, True)


def test_a_holder_who_is_doubtful_to_the_end_is_handed_to_staff_at_once():
    gate = Gate(Profile.CARD_AND_FACE)
    assert gate.card(10.0, LI) is None
    near = Candidate(person=LI.token, similarity=0.38, required=0.4, reached=False, doubtful=True)
    assert gate.fuser.see_face(replace(face_of(None, 10.5), claimed=near), None, 10.5) is None
    assert gate.fuser.due(10.5) is None
    gate.fuser.see_face(replace(face_of(None, 12.0), claimed=near, settled=True), None, 12.0)
    assert gate.fuser.due(12.0) is not None


@pytest.mark.parametrize("profile", Profile)
def test_the_photograph_of_a_card_is_asked_for_only_where_nothing_else_proves_the_holder(profile):
    without = replace(LI, has_face=False)
    fuser = Fuser(profile, False, WINDOW_S, REPEAT_S, card_photo=True)
    fuser.see_card(replace(card_of(without, 10.0), photo=b"wlt"), without, 10.0)
    needed = profile is Profile.CARD_AND_FACE
    assert (fuser.claim(10.0), fuser.claimed_photo()) == ((LI.token, b"wlt") if needed else (None, b""))
    fuser = Fuser(profile, False, WINDOW_S, REPEAT_S, card_photo=True)
    fuser.see_card(replace(card_of(LI, 10.0), photo=b"wlt"), LI, 10.0)
    assert fuser.claimed_photo() == b"", "who is enrolled is compared with what is enrolled"


def test_an_unknown_face_that_becomes_known_is_due():
    gate = Gate(Profile.FACE)
    gate.face(10.0, None)
    attempt = gate.face(11.0, LI)
    assert attempt is not None
    assert (attempt.face_person, attempt.started_mono) == (LI, 10.0)


def test_a_face_alone_in_card_and_face_is_due_when_it_stayed():
    gate = Gate(Profile.CARD_AND_FACE)
    assert gate.face(10.0, LI) is None
    attempt = gate.fuser.due(14.0)
    assert attempt is not None
    assert (attempt.card, attempt.face_person) == (None, LI)


def test_who_walks_by_is_no_attempt():
    gate = Gate(Profile.CARD_AND_FACE)
    gate.face(10.0, LI)
    gate.nobody(11.0)
    assert gate.fuser.deadline(11.0) is None
    assert gate.fuser.due(20.0) is None


def test_a_face_that_cannot_be_used_opens_nothing():
    gate = Gate(Profile.FACE)
    assert gate.face(10.0, None, problem=FaceProblem.BLURRED) is None
    assert gate.fuser.due(30.0) is None


def test_a_blink_costs_no_waiting_time():
    gate = Gate(Profile.CARD_AND_FACE)
    gate.face(10.0, LI)
    gate.nobody(12.0)
    gate.face(12.2, LI)
    assert gate.fuser.deadline(12.2) == 14.0


def test_an_unreadable_card_is_told_when_nothing_better_comes():
    gate = Gate(Profile.CARD)
    gate.trouble(10.0)
    attempt = gate.fuser.due(14.0)
    assert attempt is not None
    assert attempt.card_trouble


def test_a_card_read_at_the_second_try_is_no_trouble():
    gate = Gate(Profile.CARD)
    gate.trouble(10.0)
    attempt = gate.card(12.0, LI)
    assert attempt is not None
    assert not attempt.card_trouble
    assert gate.fuser.due(30.0) is None


# The card and its holder's face


def test_the_vision_is_asked_for_the_holder_while_the_face_is_awaited():
    gate = Gate(Profile.CARD_AND_FACE)
    assert gate.fuser.claim(9.0) is None
    gate.card(10.0, LI)
    assert gate.fuser.claim(10.0) == "li"
    gate.face(10.5, LI, claim=LI)
    assert gate.fuser.claim(10.5) is None


@pytest.mark.parametrize("profile", [Profile.CARD, Profile.CARD_AND_FACE, Profile.FACE])
def test_a_holder_without_a_template_waits_for_no_face(profile):
    gate = Gate(profile)
    assert gate.card(10.0, OLD_LIU) is not None
    assert gate.fuser.claim(10.0) is None


def test_a_face_seen_before_the_card_belongs_to_it():
    gate = Gate(Profile.CARD_AND_FACE)
    gate.face(9.0, LI)
    attempt = gate.card(10.0, LI)
    assert attempt is not None
    assert is_face_of(attempt.face, LI)


def test_a_face_gone_before_the_card_does_not():
    gate = Gate(Profile.CARD_AND_FACE)
    gate.face(9.0, LI)
    gate.nobody(9.5)
    assert gate.card(10.0, LI) is None
    attempt = gate.fuser.due(14.0)
    assert attempt is not None
    assert attempt.face is None


def test_a_face_older_than_the_window_does_not():
    gate = Gate(Profile.CARD_AND_FACE)
    gate.face(9.0, LI)
    gate.face(12.0, None, problem=FaceProblem.TURNED_AWAY)
    gate.fuser.due(13.5)
    assert gate.card(13.5, LI) is None


def test_the_best_frame_of_the_holder_counts():
    gate = Gate(Profile.CARD_AND_FACE)
    gate.card(10.0, LI)
    for at, similarity in ((10.2, 0.2), (10.4, 0.35), (10.6, 0.1)):
        assert gate.face(at, LI, claim=LI, similarity=similarity) is None
    gate.face(10.8, LI, problem=FaceProblem.BLURRED)
    attempt = gate.fuser.due(14.0)
    assert attempt is not None
    assert attempt.face is not None
    assert attempt.face.claimed is not None
    assert attempt.face.claimed.similarity == 0.35


def test_a_face_that_could_not_be_used_is_shown_when_there_is_no_better():
    gate = Gate(Profile.CARD_AND_FACE)
    gate.card(10.0, LI)
    gate.face(10.5, LI, problem=FaceProblem.DARK)
    attempt = gate.fuser.due(14.0)
    assert attempt is not None
    assert attempt.face is not None
    assert attempt.face.problem is FaceProblem.DARK


# Changes of person


def test_another_card_closes_the_attempt_and_begins_the_next():
    gate = Gate(Profile.CARD_AND_FACE)
    gate.face(9.9, None)
    gate.card(10.0, LI)
    first = gate.card(11.0, WANG)
    assert first is not None
    assert first.holder == LI
    second = gate.face(11.5, WANG, claim=WANG)
    assert second is not None
    assert (second.holder, second.started_mono) == (WANG, 11.0)


def test_the_same_card_again_changes_nothing():
    gate = Gate(Profile.CARD_AND_FACE)
    gate.card(10.0, LI)
    gate.card(12.0, LI)
    assert gate.fuser.deadline(12.0) == 14.0


def test_a_newcomers_face_is_not_held_against_the_card_before():
    gate = Gate(Profile.CARD_AND_FACE)
    gate.face(9.5, None, track=1)
    gate.card(10.0, LI)
    gate.face(10.2, LI, track=1, claim=LI, similarity=0.3)
    gate.face(11.0, WANG, track=2)
    attempt = gate.fuser.due(14.0)
    assert attempt is not None
    assert attempt.face is not None
    assert (attempt.face.track, attempt.face_person) == (1, None)


def test_a_holder_whose_track_broke_is_proven_by_the_face():
    gate = Gate(Profile.CARD_AND_FACE)
    gate.face(9.5, None, track=1)
    gate.card(10.0, LI)
    gate.nobody(10.5)
    attempt = gate.face(12.0, LI, track=2, claim=LI)
    assert attempt is not None
    assert is_face_of(attempt.face, LI)


def test_a_temperature_never_crosses_a_broken_track():
    gate = Gate(Profile.CARD_AND_FACE, temperature=True)
    gate.face(9.5, None, track=1)
    gate.card(10.0, LI)
    gate.warm(10.2, 36.2)
    assert gate.face(11.0, LI, track=2, claim=LI) is None
    attempt = gate.warm(11.3, 36.6)
    assert attempt is not None
    assert attempt.temperature is not None
    assert attempt.temperature.skin_celsius == 36.6


def test_the_blinking_face_keeps_the_card_and_loses_the_temperature():
    gate = Gate(Profile.FACE, temperature=True)
    gate.face(9.5, OLD_LIU)
    gate.warm(9.6, 36.2)
    gate.nobody(9.7)
    gate.face(9.9, OLD_LIU)
    assert gate.card(10.0, OLD_LIU) is None
    gate.nobody(10.1)
    gate.face(10.1 + BLINK_S, OLD_LIU)
    attempt = gate.warm(11.0, 36.5)
    assert attempt is not None
    assert attempt.temperature is not None
    assert attempt.temperature.skin_celsius == 36.5


def test_two_known_people_on_one_track_are_two_people():
    gate = Gate(Profile.FACE, temperature=True)
    gate.face(10.0, LI, track=1)
    gate.warm(10.1, None)
    gate.face(10.2, WANG, track=1)
    attempt = gate.warm(10.3)
    assert attempt is not None
    assert (attempt.face_person, attempt.started_mono) == (WANG, 10.2)


def test_a_card_shown_to_an_empty_camera_waits_for_the_first_face():
    gate = Gate(Profile.CARD_AND_FACE)
    gate.nobody(9.0)
    gate.card(10.0, LI)
    gate.nobody(10.2)
    assert gate.face(11.0, LI, claim=LI) is not None


# Temperature


def test_a_temperature_is_awaited():
    gate = Gate(Profile.CARD, temperature=True)
    assert gate.card(10.0, LI) is None
    assert gate.warm(10.1, None, "nobody") is None
    attempt = gate.warm(10.4, 36.4)
    assert attempt is not None
    assert attempt.temperature is not None
    assert attempt.temperature.skin_celsius == 36.4


def test_a_temperature_that_never_came_is_told_as_not_measured():
    gate = Gate(Profile.CARD, temperature=True)
    gate.card(10.0, LI)
    gate.warm(11.0, None, "ambient-out-of-range")
    attempt = gate.fuser.due(14.0)
    assert attempt is not None
    assert attempt.temperature is not None
    assert (attempt.temperature.skin_celsius, attempt.temperature.why_not) == (None, "ambient-out-of-range")


def test_a_temperature_before_the_card_counts_for_the_face_in_view():
    gate = Gate(Profile.CARD, temperature=True)
    gate.face(8.0, LI)
    gate.warm(9.0, 36.5)
    assert gate.card(10.0, LI) is not None


def test_with_nobody_in_view_a_temperature_before_the_card_counts_for_nobody():
    gate = Gate(Profile.CARD, temperature=True)
    gate.warm(9.9, 36.5)
    assert gate.card(10.0, LI) is None


def test_an_old_temperature_is_stale_and_keeps_its_raw_value():
    gate = Gate(Profile.CARD_AND_FACE, temperature=True)
    gate.face(7.0, None)
    gate.warm(7.5, 36.5)
    gate.card(10.0, LI)
    attempt = gate.fuser.due(14.0)
    assert attempt is not None
    assert attempt.temperature is not None
    assert (attempt.temperature.skin_celsius, attempt.temperature.raw_celsius) == (None, 36.5)
    assert attempt.temperature.why_not == "stale"


def test_a_site_without_temperature_records_none():
    gate = Gate(Profile.FACE, temperature=False)
    gate.warm(9.9, 39.0)
    attempt = gate.face(10.0, LI)
    assert attempt is not None
    assert attempt.temperature is None


# Not twice


def test_who_still_stands_there_is_not_decided_again():
    gate = Gate(Profile.FACE)
    assert gate.face(10.0, LI) is not None
    for step in range(1, 100):
        assert gate.face(10.0 + step * 0.2, LI) is None


def test_who_left_and_came_back_is_decided_again_after_a_while():
    gate = Gate(Profile.FACE)
    gate.face(10.0, LI, track=1)
    gate.nobody(11.0)
    assert gate.face(12.0, LI, track=2) is None, "walking past the camera must not open twice"
    gate.nobody(13.0)
    assert gate.face(10.0 + REPEAT_S, LI, track=3) is not None


def test_a_card_is_always_a_new_attempt():
    gate = Gate(Profile.FACE)
    gate.face(10.0, LI)
    gate.card(11.0, LI)
    attempt = gate.face(11.2, LI)
    assert attempt is not None
    assert attempt.card is not None


def test_the_temperature_of_who_was_let_in_is_not_lent_to_the_next_card():
    gate = Gate(Profile.FACE, temperature=True)
    gate.face(10.0, LI)
    assert gate.warm(10.1) is not None
    gate.warm(10.9)
    assert gate.card(11.0, OLD_LIU) is None


# Passes


@pytest.mark.parametrize("profile", Profile)
def test_a_pass_needs_no_face_in_any_profile(profile):
    gate = Gate(profile)
    attempt = gate.code(10.0)
    assert pass_in(attempt) == "A"
    assert gate.fuser.claim(10.0) is None


@pytest.mark.parametrize("profile", Profile)
def test_a_pass_waits_for_a_temperature(profile):
    gate = Gate(profile, temperature=True)
    assert gate.code(10.0) is None
    attempt = gate.warm(10.4, 36.4)
    assert pass_in(attempt) == "A"
    assert attempt.temperature.skin_celsius == 36.4


def test_a_pass_whose_temperature_never_came_is_due_at_the_end_of_the_window():
    gate = Gate(Profile.CARD, temperature=True)
    gate.code(10.0)
    assert gate.fuser.due(10.0 + WINDOW_S - 0.1) is None
    assert pass_in(gate.fuser.due(10.0 + WINDOW_S)) == "A"


def test_the_face_in_view_and_its_temperature_belong_to_the_pass():
    gate = Gate(Profile.CARD_AND_FACE, temperature=True)
    gate.face(9.0, None)
    gate.warm(9.5, 36.6)
    attempt = gate.code(10.0)
    assert pass_in(attempt) == "A"
    assert (attempt.face.track, attempt.temperature.skin_celsius) == (1, 36.6)


def test_a_newcomers_temperature_is_not_lent_to_the_pass():
    gate = Gate(Profile.CARD_AND_FACE, temperature=True)
    gate.face(9.9, None, track=1)
    gate.code(10.0)
    gate.face(10.5, None, track=2)
    assert gate.warm(10.6) is None
    attempt = gate.fuser.due(14.0)
    assert pass_in(attempt) == "A"
    assert attempt.temperature is None


def test_another_code_closes_the_former_and_begins_the_next():
    gate = Gate(Profile.CARD, temperature=True)
    gate.face(9.0, None)
    gate.code(10.0, "A")
    gate.warm(9.9, None, "nobody")
    assert pass_in(gate.code(11.0, "B")) == "A"
    assert pass_in(gate.warm(11.5)) == "B"


def test_two_passes_in_a_row_do_not_share_a_temperature():
    gate = Gate(Profile.CARD_AND_FACE, temperature=True)
    gate.face(9.0, None)
    gate.warm(9.5)
    assert pass_in(gate.code(10.0, "A")) == "A"
    assert gate.code(11.0, "B") is None


def test_a_code_that_lies_before_the_scanner_is_one_attempt():
    gate = Gate(Profile.CARD)
    assert gate.code(10.0) is not None
    at = 10.0
    for _ in range(30):
        at += REPEAT_S - 0.1
        assert gate.code(at) is None
    assert gate.code(at + REPEAT_S) is not None, "it was taken away and shown again"


def test_a_code_seen_again_while_its_attempt_is_open_changes_nothing():
    gate = Gate(Profile.CARD, temperature=True)
    gate.code(10.0)
    gate.code(12.0)
    assert gate.fuser.deadline(12.0) == 10.0 + WINDOW_S


def test_a_code_read_once_more_right_after_the_decision_is_no_attempt():
    gate = Gate(Profile.CARD, temperature=True)
    gate.code(10.0)
    assert gate.fuser.due(14.0) is not None
    gate.code(14.0 + REPEAT_S - 0.1)
    assert gate.fuser.deadline(60.0) is None


@pytest.mark.parametrize("problem", [PassProblem.UNKNOWN_ISSUER, PassProblem.BAD_SIGNATURE])
def test_a_forged_pass_is_due_at_once(problem):
    attempt = Gate(Profile.CARD, temperature=True).code(10.0, "A", problem)
    assert attempt is not None
    assert attempt.shown.read == problem


@pytest.mark.parametrize("problem", [PassProblem.NOT_A_PASS, PassProblem.DAMAGED])
def test_an_unreadable_code_is_told_when_nothing_better_comes(problem):
    gate = Gate(Profile.CARD)
    assert gate.code(10.0, "A", problem) is None
    attempt = gate.fuser.due(14.0)
    assert attempt is not None
    assert attempt.shown.read == problem


def test_a_pass_read_at_the_second_try_is_a_pass():
    gate = Gate(Profile.CARD)
    gate.code(10.0, "half", PassProblem.DAMAGED)
    attempt = gate.code(11.0, "A")
    assert pass_in(attempt) == "A"
    assert attempt.started_mono == 10.0
    assert gate.fuser.due(60.0) is None


def test_a_shops_code_does_not_stop_a_known_face():
    gate = Gate(Profile.FACE)
    gate.code(9.9, "shop", PassProblem.NOT_A_PASS)
    attempt = gate.face(10.0, LI)
    assert attempt is not None
    assert attempt.face_person == LI
    policy = Policy(profile=Profile.FACE, temperature_limit_celsius=None)
    assert decide(attempt, policy, today=date(2026, 11, 22), clock_trusted=True).outcome is Outcome.OPEN


@pytest.mark.parametrize("first", ["card", "code"])
def test_a_card_and_a_pass_of_one_person_are_one_attempt(first):
    gate = Gate(Profile.CARD, temperature=True)
    gate.face(9.0, LI)
    for what in (first, {"card": "code", "code": "card"}[first]):
        assert (gate.card(10.0, LI) if what == "card" else gate.code(10.5)) is None
    attempt = gate.warm(11.0)
    assert pass_in(attempt) == "A"
    assert attempt.holder == LI
    assert gate.fuser.due(60.0) is None


@pytest.mark.parametrize("first", ["card", "code"])
def test_a_card_and_a_pass_of_two_people_are_two_attempts(first):
    gate = Gate(Profile.CARD_AND_FACE, temperature=True)
    gate.face(9.9, None, track=1)
    assert (gate.card(10.0, LI) if first == "card" else gate.code(10.0)) is None
    gate.face(10.5, None, track=2)
    closed = gate.code(11.0) if first == "card" else gate.card(11.0, LI)
    assert closed is not None
    assert (closed.card is None) == (first == "code")
    last = gate.fuser.due(11.0 + WINDOW_S)
    assert last is not None
    assert (last.card is None) == (first == "card")


def test_who_was_decided_on_by_face_may_still_show_a_pass():
    gate = Gate(Profile.FACE)
    gate.face(10.0, LI)
    assert pass_in(gate.code(11.0)) == "A"


def test_the_temperature_of_who_was_let_in_is_not_lent_to_the_next_pass():
    gate = Gate(Profile.FACE, temperature=True)
    gate.face(10.0, LI)
    assert gate.warm(10.1) is not None
    gate.warm(10.9)
    assert gate.code(11.0) is None


def test_another_code_beside_a_card_is_another_person():
    gate = Gate(Profile.CARD_AND_FACE)
    gate.card(10.0, LI)
    gate.code(10.2, "A")
    closed = gate.code(10.4, "B")
    assert closed is not None
    assert closed.holder == LI
    assert pass_in(gate.fuser.due(10.4)) == "B"


def test_another_code_after_a_blink_is_another_person_too():
    gate = Gate(Profile.CARD_AND_FACE)
    gate.face(9.0, None)
    gate.card(10.0, LI)
    gate.code(10.1, "A")
    gate.nobody(10.2)
    gate.face(10.4, None)
    closed = gate.code(10.6, "B")
    assert closed is not None
    assert closed.holder == LI


def test_who_appears_after_a_pass_may_be_the_one_who_showed_it():
    gate = Gate(Profile.CARD_AND_FACE)
    assert pass_in(gate.code(10.0, "A")) == "A"
    gate.face(11.0, None)
    assert gate.card(12.0, LI) is None
    closed = gate.code(12.5, "B")
    assert closed is not None
    assert closed.holder == LI


def test_two_codes_by_turns_share_no_temperature():
    gate = Gate(Profile.CARD, temperature=True)
    gate.face(9.9, None)
    gate.code(10.0, "A")
    assert pass_in(gate.code(10.2, "B")) == "A"
    gate.code(10.4, "A")
    assert gate.warm(10.6) is None
    attempt = gate.fuser.due(15.0)
    assert pass_in(attempt) == "B"
    assert attempt.temperature is None


# Near the limit

NEAR = {"limit_celsius": 37.3, "margin_celsius": 0.3}


def test_far_from_the_limit_one_temperature_is_enough():
    gate = Gate(Profile.CARD, temperature=True, **NEAR)
    gate.card(10.0, LI)
    assert gate.warm(10.2, 36.4) is not None


def test_near_the_limit_it_is_measured_again_before_deciding():
    gate = Gate(Profile.CARD, temperature=True, **NEAR)
    gate.card(10.0, LI)
    assert gate.warm(10.2, 37.2) is None
    assert gate.fuser.deadline(10.2) == 10.0 + WINDOW_S
    assert gate.warm(10.4, 37.3) is None
    attempt = gate.warm(10.6, 37.4)
    assert attempt is not None
    assert attempt.temperature.skin_celsius == 37.3, "the middle one of three"


@pytest.mark.parametrize("skin", [37.2, 37.4])
def test_at_the_end_of_the_window_the_last_measured_one_is_taken_as_it_is(skin):
    gate = Gate(Profile.CARD, temperature=True, **NEAR)
    gate.card(10.0, LI)
    gate.warm(10.2, 37.3)
    gate.warm(12.0, skin)
    gate.warm(12.5, None, "nobody")
    attempt = gate.fuser.due(14.0)
    assert attempt is not None
    assert (attempt.temperature.skin_celsius, attempt.temperature.why_not) == (skin, "")


def test_the_measures_before_a_change_of_person_do_not_settle_the_next():
    gate = Gate(Profile.CARD, temperature=True, **NEAR)
    gate.face(9.0, None, track=1)
    gate.warm(9.2, 37.2)
    gate.warm(9.4, 37.2)
    gate.face(9.6, None, track=2)
    gate.card(10.0, LI)
    assert gate.warm(10.2, 37.2) is None


# The property


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happens: what, by whom, on which track, how long after the one before."""

    what: str
    who: int
    track: int
    pause_s: float


PEOPLE = (LI, WANG, OLD_LIU)
events = st.builds(
    Event,
    what=st.sampled_from(
        ["card", "face", "face", "claimed", "bad-face", "nobody", "warm", "warm", "trouble", "code", "code", "bad-code"]
    ),
    who=st.integers(0, 2),
    track=st.integers(1, 3),
    pause_s=st.sampled_from([0.05, 0.2, 0.6, 1.0, 3.0]),
)


class Reference:
    """Count the changes of person, told as plainly as possible and without the fuser's code.

    `person_at` numbers the people who stood here, `side_at` the stretches within which readings may be joined.
    """

    def __init__(self) -> None:
        self.person = self.side = 0
        self.track: int | None = None
        self.left_mono: float = 0.0
        self.left: tuple[int, int] | None = None
        self.card: str | None = None
        self.code: str | None = None
        self.known: str | None = None
        self.same: dict[int, int] = {}  # a blink, or the holder's own face, proves that two numbers are one person
        self.card_of: dict[str, int] = {}
        self.person_at: dict[float, int] = {}
        self.side_at: dict[float, int] = {}

    def change(self, *, track: int | None) -> None:
        self.person += 1
        self.side += 1
        self.track, self.card, self.code, self.known = track, None, None, None

    def change_beside_a_face(self) -> None:
        """Another card or code: whose face was known last is known still, and the next other face is another change."""
        known = self.known
        self.change(track=self.track)
        self.known = known

    def face(self, reading: FaceReading) -> None:
        found = reading.identified.person if reading.identified else None
        if self.track is None:
            if self.left and self.left[0] == reading.track and reading.at_mono - self.left_mono <= BLINK_S:
                self.join(self.person, self.left[1])
                self.side += 1
            self.track, self.left = reading.track, None
        elif reading.track != self.track or (self.known and found and found != self.known):
            self.change(track=reading.track)
        self.known = found or self.known
        self.note(reading.at_mono)

    def nobody(self, at: float) -> None:
        if self.track is not None:
            gone = self.track
            person = self.person
            self.change(track=None)
            self.left, self.left_mono = (gone, person), at

    def shown(self, card: CardReading) -> None:
        if self.card not in (None, card.number):
            self.change_beside_a_face()
        self.card = card.number
        self.note(card.at_mono)
        self.card_of[card.number] = self.person

    def shown_code(self, code: ShownPass) -> None:
        if self.code not in (None, code.mark):
            self.change_beside_a_face()
        self.code = code.mark
        self.note(code.at_mono)

    def proven(self, holder: Person) -> None:
        self.join(self.person, self.card_of[f"number of {holder.token}"])

    def note(self, at: float) -> None:
        self.person_at[at], self.side_at[at] = self.person, self.side

    def join(self, one: int, other: int) -> None:
        if self.root(one) != self.root(other):
            self.same[self.root(one)] = self.root(other)

    def root(self, number: int) -> int:
        while number in self.same:
            number = self.same[number]
        return number

    def who(self, at: float) -> int:
        return self.root(self.person_at[at])


def play(fuser: Fuser, story: list[Event], reference: Reference) -> list[Attempt]:
    now, given_out = 100.0, []
    for event in story:
        now += event.pause_s
        person = PEOPLE[event.who]
        if event.what == "card":
            card = card_of(person, now)
            reference.shown(card)
            fuser.see_card(card, person, now)
        elif event.what == "warm":
            reference.note(now)
            fuser.see_temperature(warmth(now), now)
        elif event.what == "nobody":
            reference.nobody(now)
            fuser.see_nobody(now)
        elif event.what == "trouble":
            fuser.see_card_trouble(now)
        elif event.what == "code":
            code = code_of(person.token, now)
            reference.shown_code(code)
            fuser.see_pass(code, now)
        elif event.what == "bad-code":
            fuser.see_pass(code_of(f"half of {person.token}", now, PassProblem.DAMAGED), now)
        else:
            claim = next((p for p in PEOPLE if p.token == fuser.claim(now)), None)
            honest = 0.7 if claim == person else 0.1
            reading = face_of(
                person,
                now,
                event.track,
                claim=claim if event.what == "claimed" else None,
                similarity=honest if event.what == "claimed" and claim else 0.7,
                problem=FaceProblem.BLURRED if event.what == "bad-face" else None,
            )
            reference.face(reading)
            if claim is not None and is_face_of(reading, claim):
                reference.proven(claim)
            fuser.see_face(reading, person if reading.identified else None, now)
        while (attempt := fuser.due(now)) is not None:
            given_out.append(attempt)
    return given_out


@settings(max_examples=200)
@given(st.lists(events, max_size=30), st.sampled_from(Profile), st.booleans())
def test_no_attempt_ever_mixes_readings_taken_on_two_sides_of_a_change_of_person(story, profile, temperature):
    reference = Reference()
    for attempt in play(Fuser(profile, temperature, WINDOW_S, REPEAT_S), story, reference):
        card, face, warm = attempt.card, attempt.face, attempt.temperature
        if face is not None and warm is not None:
            assert reference.side_at[face.at_mono] == reference.side_at[warm.at_mono]
        proven = face is not None and attempt.holder is not None and is_face_of(face, attempt.holder)
        if proven or (card is None and pass_in(attempt) is None):
            continue  # the face itself proves that its person is the card's
        shown = card if card is not None else attempt.shown
        for reading in (face, warm):
            if reading is not None:
                assert reference.who(shown.at_mono) == reference.who(reading.at_mono)


@settings(max_examples=200)
@given(st.lists(events, max_size=30), st.sampled_from([Profile.CARD_AND_FACE, Profile.FACE]))
def test_whoever_is_let_in_by_a_face_was_measured_on_the_same_side(story, profile):
    reference = Reference()
    policy = Policy(profile=profile, temperature_limit_celsius=37.3)
    for attempt in play(Fuser(profile, True, WINDOW_S, REPEAT_S), story, reference):
        decision = decide(attempt, policy, today=date(2026, 11, 22), clock_trusted=True)
        if decision.outcome is Outcome.OPEN and attempt.face is not None:
            assert attempt.temperature is not None
            assert attempt.closed_mono - attempt.temperature.at_mono <= WINDOW_S
            assert reference.side_at[attempt.face.at_mono] == reference.side_at[attempt.temperature.at_mono]


@given(st.lists(events, max_size=30), st.sampled_from(Profile), st.booleans())
def test_no_reading_is_used_twice_and_every_card_is_answered(story, profile, temperature):
    fuser = Fuser(profile, temperature, WINDOW_S, REPEAT_S)
    given_out = play(fuser, story, Reference())
    last = fuser.due(10_000.0)
    cards = [a.card.at_mono for a in [*given_out, *([last] if last else [])] if a.card]
    assert len(set(cards)) == len(cards)
    readings = [r.at_mono for a in given_out for r in (a.face, a.temperature) if r is not None]
    assert len(set(readings)) == len(readings)
    assert fuser.due(10_000.0) is None
    assert fuser.deadline(10_000.0) is None


@settings(max_examples=200)
@given(st.lists(events, max_size=30), st.sampled_from(Profile), st.booleans())
def test_every_pass_is_answered_once(story, profile, temperature):
    story = [event for event in story if event.what != "card"]  # beside one it is the card that is answered
    fuser = Fuser(profile, temperature, WINDOW_S, REPEAT_S)
    given_out = play(fuser, story, Reference())
    last = fuser.due(10_000.0)
    assert fuser.due(10_000.0) is None
    attempts = [a for a in [*given_out, *([last] if last else [])] if a.shown and a.shown.readable]
    answered = [attempt.shown.at_mono for attempt in attempts]
    assert len(set(answered)) == len(answered)
    now, seen = 100.0, {}
    for event in story:
        now += event.pause_s
        if event.what == "code":
            mark = code_of(PEOPLE[event.who].token, now).mark
            before = [a for a in attempts if a.shown.mark == mark and a.shown.at_mono < now]
            away_since = max([seen.get(mark, -math.inf), *(attempt.closed_mono for attempt in before)])
            if now - away_since > REPEAT_S + 0.001:
                assert now in answered
            seen[mark] = now


@given(st.lists(events, max_size=30), st.sampled_from(Profile), st.booleans())
def test_at_the_deadline_an_attempt_is_due_and_not_before(story, profile, temperature):
    fuser = Fuser(profile, temperature, WINDOW_S, REPEAT_S)
    play(fuser, story, Reference())
    now = 100.0 + sum(event.pause_s for event in story)
    when = fuser.deadline(now)
    if when is not None:
        assert now - 0.001 < when <= now + WINDOW_S + 0.001
        assert fuser.due(when - 0.001) is None
        assert fuser.due(when) is not None
        assert fuser.deadline(when) is None

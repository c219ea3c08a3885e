"""One layer against is enough, none measured is no pass, and a card or staff always remain."""

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.readings import CardKind, CardReading
from recognition.readings import Candidate, Classified, FaceReading, InfraredFace, LifeSigns, Motion
from sentinel.core.fusion import Fuser
from sentinel.core.kinds import body_of
from sentinel.core.liveness import (
    SURE_S,
    Finding,
    Layer,
    Mode,
    Rule,
    Signs,
    Verdict,
    Why,
    camera_findings,
    weigh,
)
from sentinel.core.model import Attempt, Method, Outcome, Person, Policy, Profile, Reason
from sentinel.core.policy import decide
from sentinel.record import Place, passage_of

HEAT = Rule(mode=Mode.REQUIRE, layers=(Layer.HEAT,))
ALL = Rule(mode=Mode.REQUIRE, layers=tuple(Layer))
RECORD = Rule(mode=Mode.RECORD)
LI = Person(token="li", name="样本甲", has_face=True)
FACE = FaceReading(
    at_mono=10.0, track=1, box=(0, 0, 100, 100), frame_width=640, frame_height=480, confidence=0.9, model="m",
    identified=Candidate(person="li", similarity=0.7, required=0.5, reached=True),
)  # fmt: skip
CARD = CardReading(
    at_mono=10.0, kind=CardKind.RESIDENT, number="11010519491231002X", number_ok=True, name="样本甲",
    valid_from=date(2016, 1, 1), valid_until=date(2036, 1, 1),
)  # fmt: skip


def finding(layer: Layer = Layer.HEAT, verdict: Verdict = Verdict.LIVE, at_mono: float = 10.1) -> Finding:
    return Finding(at_mono=at_mono, layer=layer, verdict=verdict, why=Why.SHAPED, figure=9.5)


findings = st.lists(
    st.builds(finding, st.sampled_from(Layer), st.sampled_from(Verdict)), unique_by=lambda one: one.layer, max_size=4
)


@given(findings)
def test_what_is_required_opens_only_when_every_layer_says_live(found):
    said = {one.layer: one.verdict for one in found}
    life = weigh(found, ALL)
    assert life.opens == all(said.get(layer) is Verdict.LIVE for layer in Layer)
    assert (life.verdict is Verdict.NOT_LIVE) == (Verdict.NOT_LIVE in said.values())
    assert life.layer is not None


@given(findings)
def test_what_is_only_recorded_never_holds_anybody(found):
    life = weigh(found, RECORD)
    assert life.opens
    assert set(life.findings) == set(found)


def test_a_layer_that_is_not_required_is_recorded_and_does_not_decide():
    life = weigh([finding(), finding(Layer.MOTION, Verdict.NOT_LIVE)], HEAT)
    assert (life.verdict, life.layer) == (Verdict.LIVE, Layer.HEAT)
    assert len(life.findings) == 2


def test_a_required_layer_without_a_sensor_is_unsure_and_not_a_pass():
    life = weigh([], HEAT)
    assert (life.verdict, life.layer, life.opens) == (Verdict.UNSURE, Layer.HEAT, False)


def test_one_turned_head_is_not_the_end_and_several_in_a_row_are():
    signs = Signs(HEAT)
    signs.take([finding(verdict=Verdict.NOT_LIVE)])
    assert not signs.settled(0.0, 99.0)
    signs.take([finding()])
    assert signs.settled(0.0, 99.0)
    signs.take([finding(verdict=Verdict.NOT_LIVE, at_mono=10.2)])
    assert not signs.settled(0.0, 99.0)
    signs.take([finding(verdict=Verdict.NOT_LIVE, at_mono=10.2 + SURE_S)])
    assert signs.settled(0.0, 99.0)
    life = signs.weighed(0.0, 99.0)
    assert life is not None
    assert life.verdict is Verdict.NOT_LIVE


def life(verdict: Verdict):
    return weigh([finding(verdict=verdict)], HEAT)


def judged(profile: Profile, **parts):
    attempt = Attempt(started_mono=10.0, closed_mono=10.5, **parts)
    policy = Policy(profile=profile, temperature_limit_celsius=None)
    return decide(attempt, policy, today=date(2026, 11, 22), clock_trusted=True)


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        (Verdict.NOT_LIVE, Reason.FACE_NOT_LIVE),
        (Verdict.UNSURE, Reason.FACE_LIVENESS_UNSURE),
        (Verdict.NOT_MEASURED, Reason.FACE_LIVENESS_UNSURE),
    ],
)
def test_a_face_that_is_not_shown_to_live_is_held_and_a_card_lets_the_person_through(verdict, reason):
    alone = judged(Profile.FACE, face=FACE, face_person=LI, liveness=life(verdict))
    assert (alone.outcome, alone.reasons) == (Outcome.HOLD, (reason,))
    stepped_up = judged(Profile.FACE, card=CARD, holder=LI, face=FACE, face_person=LI, liveness=life(verdict))
    assert (stepped_up.outcome, stepped_up.method) == (Outcome.OPEN, Method.CARD)
    both = judged(Profile.CARD_AND_FACE, card=CARD, holder=LI, face=FACE, face_person=LI, liveness=life(verdict))
    assert (both.outcome, both.reasons) == (Outcome.HOLD, (reason,)), "the face is required: staff look"
    card = judged(Profile.CARD, card=CARD, holder=LI, face=FACE, liveness=life(verdict))
    assert card.outcome is Outcome.OPEN


def test_a_living_face_opens_and_the_entry_says_which_layer_decided():
    decision = judged(Profile.FACE, face=FACE, face_person=LI, liveness=life(Verdict.LIVE))
    assert (decision.outcome, decision.method) == (Outcome.OPEN, Method.FACE)
    attempt = Attempt(started_mono=1.0, closed_mono=2.0, face=FACE, face_person=LI, liveness=life(Verdict.LIVE))
    place = Place(lane="lane-1", direction="in", temperature_limit_celsius=None)
    body = body_of(passage_of(attempt, decision, place, "automatic", 2.0))
    assert (body["liveness"], body["liveness_layer"], body["liveness_required"]) == ("live", "heat", True)
    assert body["liveness_layers"] == [{"layer": "heat", "verdict": "live", "why": "shaped", "figure": 9.5}]


# -- in the fuser -----------------------------------------------------------------------------------------------------


def fuser(rule: Rule = HEAT, profile: Profile = Profile.FACE) -> Fuser:
    return Fuser(profile, False, window_s=4.0, repeat_s=5.0, liveness=rule)


def test_a_face_waits_for_the_layers_that_are_required_and_no_longer_than_the_window():
    waiting = fuser()
    waiting.see_face(FACE, LI, 10.0)
    assert waiting.due(10.0) is None
    waiting.see_life([finding(at_mono=10.3)])
    attempt = waiting.due(10.3)
    assert attempt is not None
    assert attempt.liveness is not None
    assert attempt.liveness.verdict is Verdict.LIVE
    alone = fuser()
    alone.see_face(FACE, LI, 10.0)
    held = alone.due(14.0)
    assert held is not None
    assert held.liveness is not None
    assert not held.liveness.opens


def test_ones_own_warm_face_lends_no_life_to_the_picture_that_is_lifted_next():
    lent = fuser()
    lent.see_face(replace(FACE, identified=None), None, 10.0)
    lent.see_life([finding(at_mono=10.1)])
    lent.see_face(replace(FACE, at_mono=10.2), LI, 10.2)
    assert lent.due(10.2) is None, "what was warm before the picture came says nothing of it"
    lent.see_life([finding(at_mono=10.4, verdict=Verdict.NOT_LIVE)])
    attempt = lent.due(14.1)
    assert attempt is not None
    assert attempt.liveness is not None
    assert attempt.liveness.verdict is Verdict.NOT_LIVE


def test_a_card_that_opens_by_itself_waits_for_no_layer():
    quick = fuser()
    quick.see_face(replace(FACE, claimed=replace(FACE.identified, required=0.4)), LI, 10.0)
    quick.see_card(CARD, LI, 10.1)
    assert quick.due(10.1) is not None


def test_nothing_is_waited_for_or_written_where_liveness_is_off():
    off = fuser(Rule(mode=Mode.OFF))
    off.see_face(FACE, LI, 10.0)
    attempt = off.due(10.0)
    assert attempt is not None
    assert attempt.liveness is None


# -- what the camera's figures mean -----------------------------------------------------------------------------------

MOVES = Motion(looks=12, watched_s=2.0, travel=0.01, turning=0.01, depth=4.0, repeats=0.0)
PAIR = InfraredFace(overlap=0.8, level=90.0, contrast=40.0, lit_level=80.0)
JUDGED = Classified(liveness=0.95, live_from=0.9, attack_below=0.3)


@pytest.mark.parametrize(
    ("signs", "expected"),
    [
        ({"motion": MOVES}, (Layer.MOTION, Verdict.LIVE, Why.TURNS)),
        ({"motion": replace(MOVES, watched_s=0.5)}, (Layer.MOTION, Verdict.UNSURE, Why.TOO_LITTLE)),
        ({"motion": replace(MOVES, travel=0.0001)}, (Layer.MOTION, Verdict.NOT_LIVE, Why.MOTIONLESS)),
        ({"motion": replace(MOVES, repeats=1.0)}, (Layer.MOTION, Verdict.NOT_LIVE, Why.REPEATS)),
        ({"motion": replace(MOVES, depth=0.7, turning=0.02)}, (Layer.MOTION, Verdict.NOT_LIVE, Why.PLANE)),
        ({"motion": replace(MOVES, depth=0.7, turning=0.001)}, (Layer.MOTION, Verdict.UNSURE, Why.TOO_LITTLE)),
        ({"infrared": PAIR}, (Layer.INFRARED, Verdict.LIVE, Why.SEEN)),
        ({"infrared": replace(PAIR, overlap=0.0)}, (Layer.INFRARED, Verdict.NOT_LIVE, Why.NOT_SEEN)),
        ({"infrared": replace(PAIR, contrast=2.0, level=6.0)}, (Layer.INFRARED, Verdict.NOT_LIVE, Why.NOT_SEEN)),
        ({"infrared": replace(PAIR, contrast=5.0)}, (Layer.INFRARED, Verdict.NOT_LIVE, Why.PALE)),
        ({"infrared": replace(PAIR, lit_level=3.0)}, (Layer.INFRARED, Verdict.NOT_MEASURED, Why.UNLIT)),
        ({"classified": JUDGED}, (Layer.CLASSIFIER, Verdict.LIVE, Why.ABOVE)),
        ({"classified": replace(JUDGED, liveness=0.5)}, (Layer.CLASSIFIER, Verdict.UNSURE, Why.BETWEEN)),
        ({"classified": replace(JUDGED, liveness=0.1)}, (Layer.CLASSIFIER, Verdict.NOT_LIVE, Why.BELOW)),
    ],
)
def test_each_layer_of_the_camera_has_its_verdict(signs, expected):
    [found] = camera_findings(LifeSigns(at_mono=1.0, track=1, **signs))
    assert (found.layer, found.verdict, found.why) == expected


def test_a_layer_that_did_not_look_says_nothing():
    assert camera_findings(LifeSigns(at_mono=1.0, track=1)) == []

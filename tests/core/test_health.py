"""Reports become faults, repairs and the rung of the ladder the gate stands on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.readings import Symptom
from sentinel.core.health import Component, Health, Mode, needed
from sentinel.core.model import Profile

profiles = st.sampled_from(Profile)
reports = st.lists(
    st.tuples(st.sampled_from(Component), st.sampled_from([None, *Symptom]), st.floats(0, 100)), max_size=40
)


def well(*, but: tuple[Component, ...] = ()) -> Health:
    health = Health(fitted=Component)
    for component in Component:
        health.report(component, Symptom.SILENT if component in but else None, "", 0.0)
    return health


def test_a_new_gate_is_manual_and_accuses_nobody():
    health = Health()
    standing = health.mode(Profile.CARD, temperature=False)
    assert standing.mode is Mode.MANUAL
    assert standing.because == ("card:starting", "barrier:starting", "ledger:starting", "roster:starting")


def test_first_good_report_is_no_repair():
    health = Health()
    assert health.report(Component.CARD, None, "", 1.0) is None


def test_fault_opens_once_and_closes_with_its_length():
    health = well()
    opened = health.report(Component.CARD, Symptom.LOST, "unplugged", 10.0)
    assert opened is not None
    assert opened.opened
    assert (opened.component, opened.symptom) == (Component.CARD, "lost")
    assert health.report(Component.CARD, Symptom.NOISE, "came back odd", 12.0) is None
    closed = health.report(Component.CARD, None, "", 17.5)
    assert closed is not None
    assert not closed.opened
    assert (closed.symptom, closed.lasted_s) == ("lost", 7.5)
    assert health.report(Component.CARD, None, "", 18.0) is None


def test_the_current_symptom_is_shown_though_the_ticket_keeps_its_first():
    health = well()
    health.report(Component.CARD, Symptom.LOST, "", 10.0)
    health.report(Component.CARD, Symptom.NOISE, "junk", 12.0)
    state = health.state(Component.CARD)
    assert (state.symptom, state.detail, state.since_mono) == ("noise", "junk", 12.0)
    assert health.mode(Profile.CARD, False).because == ("card:noise",)


@pytest.mark.parametrize(
    ("profile", "temperature", "broken", "mode"),
    [
        ("card+face", True, (), Mode.AUTOMATIC),
        ("card+face", True, (Component.VISION,), Mode.ASSISTED),
        ("card+face", True, (Component.THERMAL,), Mode.ASSISTED),
        ("card+face", True, (Component.CARD,), Mode.MANUAL),
        ("card+face", False, (Component.THERMAL,), Mode.AUTOMATIC),
        ("face", False, (Component.CARD,), Mode.ASSISTED),
        ("face", False, (Component.VISION,), Mode.ASSISTED),
        ("face", False, (Component.VISION, Component.CARD), Mode.MANUAL),
        ("card", False, (Component.VISION,), Mode.AUTOMATIC),
        ("card", False, (Component.CARD,), Mode.MANUAL),
        ("face", True, (Component.BARRIER,), Mode.MANUAL),
        ("face", True, (Component.LEDGER,), Mode.MANUAL),
    ],
)
def test_the_ladder(profile, temperature, broken, mode):
    assert well(but=broken).mode(Profile(profile), temperature).mode is mode


@given(reports, profiles, st.booleans())
def test_the_mode_always_has_its_cause(history, profile, temperature):
    health = Health(fitted=Component)
    for component, symptom, now in history:
        health.report(component, symptom, "", now)
    standing = health.mode(profile, temperature)
    ill = {part for part in needed(profile, temperature) if not health.state(part).well}
    assert (standing.mode is Mode.AUTOMATIC) == (not ill)
    assert {cause.split(":")[0] for cause in standing.because} == ill


@given(reports)
def test_every_repair_follows_its_fault(history):
    health = Health(fitted=Component)
    open_faults: set[Component] = set()
    for component, symptom, now in history:
        change = health.report(component, symptom, "", now)
        if change is None:
            continue
        assert (component in open_faults) != change.opened
        open_faults ^= {component}
    assert open_faults == {state.component for state in health.states() if state.symptom not in (None, "starting")}


def test_an_impaired_device_keeps_its_place_on_the_ladder_and_has_a_ticket_of_its_own():
    health = well()
    opened = health.impair(Component.CARD, Symptom.DIRTY, "40 bytes of junk", 5.0, over=False)
    assert (opened.opened, opened.symptom) == (True, "dirty")
    assert health.impair(Component.CARD, Symptom.DIRTY, "60 bytes of junk", 6.0, over=False) is None
    assert health.mode(Profile.CARD, False) == (Mode.AUTOMATIC, ())
    state = health.state(Component.CARD)
    assert (state.well, state.impaired) == (True, (("dirty", "60 bytes of junk"),))
    lost = health.report(Component.CARD, Symptom.LOST, "unplugged", 7.0)
    assert lost is not None and lost.symptom == "lost", "a worse fault is news of its own"
    assert not health.report(Component.CARD, None, "", 8.0).opened
    closed = health.impair(Component.CARD, Symptom.DIRTY, "", 9.0, over=True)
    assert (closed.opened, closed.lasted_s) == (False, 4.0)
    assert health.impair(Component.CARD, Symptom.DIRTY, "", 9.5, over=True) is None


def test_a_device_that_is_not_fitted_is_not_shown():
    shown = {state.component for state in Health(fitted=(Component.SCANNER,)).states()}
    assert Component.SCANNER in shown
    assert not shown & {Component.DISTANCE, Component.PRESENCE, Component.INFRARED}

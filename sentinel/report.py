"""Say how the gate is, as its socket answers: codes only, no names, no ID numbers, no temperatures."""

import json
import os
from pathlib import Path
from typing import Any

from sentinel import __version__
from sentinel.core.errors import NotPermitted, Unavailable
from sentinel.core.health import STARTING, ComponentState
from sentinel.core.kinds import Report
from sentinel.keeper import Keeper
from sentinel.lane import Lane
from sentinel.thermometer import Thermometer

_SUMS = ("appended", "receipted", "refused", "pending")
_LONGEST_STATE = 64 * 1024


def status_answer(lane: Lane, keeper: Keeper, *, started_mono: float, dropped: int, now: float) -> dict[str, Any]:
    """Return the answer to the verb `status`."""
    told = lane.told
    return {
        "ok": True,
        "version": __version__,
        "pid": os.getpid(),
        "up_s": round(now - started_mono, 1),
        "mode": lane.mode,
        "because": list(lane.because),
        "fire": lane.fire,
        "components": [_component(lane, state, now) for state in lane.health.states()],
        "screen": {
            "outcome": told.outcome,
            "reason": told.reason,
            "method": told.method,
            "at_s_ago": round(now - told.at_mono, 1),
            "face": lane.face_problem(now),
        },
        "ledger": {
            "late": keeper.late,
            "queued": keeper.queued,
            "fill": round(keeper.fill, 3),
            "unkept": keeper.unkept,
            "due": keeper.due,
        },
        "dropped_readings": dropped,
        "junk_bytes": dict(lane.junk_bytes),
    }


def report_of(lane: Lane, keeper: Keeper, uplink_health: Path) -> Report:
    """Return how the gate is, for the street's ledger."""
    faults = [(state.component, *_how(state)) for state in lane.health.states()]
    return Report(
        mode=lane.mode,
        because=lane.because,
        faults=tuple(f"{name}:{symptom}" for name, _word, symptom, _detail in faults if symptom is not None),
        fill=round(keeper.fill, 3),
        queued=keeper.queued,
        unkept=keeper.unkept,
        version=__version__,
        balance=_balance(uplink_health),
    )


def _balance(uplink_health: Path) -> dict[str, int] | None:
    """Return the sums that the uplink has written beside; None when it wrote none that can be read."""
    try:
        with uplink_health.open("rb") as file:
            told = json.loads(file.read(_LONGEST_STATE))["balance"]
        return {name: told[name] for name in _SUMS if type(told[name]) is int}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def thermal_answer(thermometer: Thermometer, *, peer_is_ours: bool, now: float) -> dict[str, Any]:
    """Return the answer to the verb `thermal`: the newest raw figure, for who calibrates the sensor.

    Raises: NotPermitted to anybody but our own user and root, for a figure may be a person's; Unavailable without one.
    """
    if not peer_is_ours:
        raise NotPermitted("raw figures are for the maintainer; run it as root or as the gate's own user")
    newest = thermometer.newest
    if newest is None or newest.raw_celsius is None:
        raise Unavailable("the thermal sensor sees nothing warm; put the black body before it, or look at show status")
    return {
        "ok": True,
        "raw_celsius": newest.raw_celsius,
        "ambient_celsius": newest.ambient_celsius,
        "why_not": newest.why_not,
        "at_mono": newest.at_mono,
        "at_s_ago": round(now - newest.at_mono, 2),
    }


def _component(lane: Lane, state: ComponentState, now: float) -> dict[str, Any]:
    last_good = lane.last_good.get(state.component)
    word, symptom, detail = _how(state)
    return {
        "name": state.component,
        "state": word,
        "symptom": symptom,
        "detail": detail,
        "identity": lane.identities.get(state.component, ""),
        "last_good_s_ago": None if last_good is None else round(now - last_good, 1),
        "since_s": None if state.since_mono is None else round(now - state.since_mono, 1),
    }


def _how(state: ComponentState) -> tuple[str, str | None, str]:
    if state.symptom == STARTING:
        return "starting", None, state.detail
    if state.symptom is not None:
        return "fault", state.symptom, state.detail
    if state.impaired:
        symptom, detail = state.impaired[0]
        return "impaired", symptom, detail
    return "ok", None, state.detail

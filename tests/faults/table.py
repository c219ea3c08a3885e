"""Write the fault table of docs/devices.md from the cases, in the words that people see."""

from sentinel import phrases
from sentinel.i18n import remedy, text

from .cases import CASES, Case, Where

HEAD = ("| device | fault | what people see | what they are told to do |", "|---|---|---|---|")


def rows() -> list[str]:
    """Return the lines of the table: one for each thing that people see at each part of the gate."""
    outcomes: dict[tuple[str, ...], list[Case]] = {}
    for case in sorted(CASES, key=lambda case: _order().index(case.component)):
        outcomes.setdefault((case.component, case.where, case.told), []).append(case)
    return [*HEAD, *map(_row, outcomes.values())]


def _order() -> list[str]:
    return list(dict.fromkeys(case.component for case in CASES))


def _row(cases: list[Case]) -> str:
    part = phrases.because([cases[0].component], "en")
    seen, advice = _seen(cases[0])
    return f"| {part} | {_faults(cases)} | {seen} | {advice} |"


def _faults(cases: list[Case]) -> str:
    """Return the faults, each with the kinds that have this outcome where other kinds have another."""
    told: dict[str, list[str]] = {}
    for case in cases:
        told.setdefault(case.fault, []).append(case.kind)
    groups: dict[str, list[str]] = {}
    for fault, kinds in told.items():
        everywhere = {case.kind for case in CASES if (case.component, case.fault) == (cases[0].component, fault)}
        groups.setdefault("" if everywhere == set(kinds) else f" ({', '.join(kinds)})", []).append(f"`{fault}`")
    return "; ".join(", ".join(faults) + kinds for kinds, faults in groups.items())


def _seen(case: Case) -> tuple[str, str]:
    match case.where:
        case Where.HEALTH | Where.ATTENTION:
            said = " or ".join(phrases.because([f"{case.component}:{one}"], "en") for one in case.symptoms)
            works = ", and it goes on working" if case.where is Where.ATTENTION else ""
            return f"{said}{works} (`{case.told.replace('|', '`, `')}`)", _advice(case)
        case Where.PASSAGE:
            reason = case.told.partition(":")[2]
            return f"this passage only: {text(f'reason.{reason}', 'en')} (`{case.told}`)", text(f"staff.{reason}", "en")
        case Where.BARRIER:
            return f"on the barrier's record: {text(f'barrier.{case.told}', 'en')} (`{case.told}`)", ""
        case Where.COUNTED:
            return "nothing; the dropped bytes are counted in the status", ""
        case Where.NOTHING:
            return "nothing; it goes on working", ""
        case Where.UNTOLD:
            return "nothing, see the exceptions below", ""


def _advice(case: Case) -> str:
    return " ".join(dict.fromkeys(remedy(case.component, one, "en") for one in case.symptoms))

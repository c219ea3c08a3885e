"""Compare the contract with the one that streets were built on: what they rely on must still be there."""

from typing import Any

from sync.contract import WORDS

_FOR_PEOPLE = ("title", "description")


def broken_promises(promised: dict[str, Any], now: dict[str, Any], at: str = "") -> list[str]:
    """Return what a street of the promised version could not cope with, in words; additions are none.

    Gone schemas and fields, other types, forms and bounds, other needs, and words taken away.
    """
    broken = []
    for name, old in promised.items():
        here = f"{at}/{name}" if at else name
        new = now.get(name)
        if name in _FOR_PEOPLE:
            continue
        if name not in now:
            broken.append(f"{here}: is gone")
        elif name in (WORDS, "allOf"):
            broken += [f"{here}: {gone!r} is gone" for gone in old if gone not in new]
        elif name == "required" and isinstance(old, list):
            broken += _needs(here, set(old), set(new))
        elif isinstance(old, dict) and isinstance(new, dict):
            broken += broken_promises(old, new, here)
        elif old != new:
            broken.append(f"{here}: was {old!r} and is {new!r}")
    return broken


def _needs(at: str, old: set[str], new: set[str]) -> list[str]:
    """Return the members that must be there only now, or may be missing only now: one end or the other breaks."""
    return [f"{at}: {name!r} may be missing now" for name in sorted(old - new)] + [
        f"{at}: {name!r} must be there now" for name in sorted(new - old)
    ]

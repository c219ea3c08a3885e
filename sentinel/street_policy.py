"""Overlay what the street sets at a gate: a few settings, within their limits, in force from the next start.

They lie in `state_dir/policy.json` and go before the settings file: for the gate, for whoever does its work while it is
dead, and for whoever deletes or says until when something is kept. What does not fit any more, as after a change of the
settings, is passed over and told: a policy must not keep a gate from starting.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sentinel.settings import TABLES, Settings, clashes_of
from sentinel.toml_tables import fit
from sync.disk import write_whole

log = logging.getLogger(__name__)

STREET = "street"  # the origin of such a setting
SETTABLE: Mapping[str, tuple[str, str]] = {
    "temperature_limit_celsius": ("temperature", "limit_celsius"),
    "passage_days": ("retention", "passage_days"),
    "fault_days": ("retention", "fault_days"),
    "audit_days": ("retention", "audit_days"),
    "id_number": ("uplink", "id_number"),
}
_LONGEST_FILE = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The policy as it lies in its file."""

    serial: int
    settings: Mapping[str, Any]


def parse(content: bytes, settings: Settings) -> dict[str, Any]:
    """Return what the street sets, when all of it is within the limits and goes with the other settings.

    Raises: ValueError naming what is wrong.
    """
    try:
        told = json.loads(content)
    except RecursionError as error:
        raise ValueError("expected a JSON object") from error
    if not isinstance(told, dict) or not told:
        raise ValueError(f"expected a JSON object with some of {', '.join(SETTABLE)}")
    fitted = {name: _fitted(name, value) for name, value in told.items()}
    lines = list(clashes_of(_with(settings, fitted)))
    if lines:
        raise ValueError(lines[0])
    return fitted


def _fitted(name: str, value: Any) -> Any:
    if name not in SETTABLE:
        raise ValueError(f"{name[:40]!r} is none of {', '.join(SETTABLE)}")
    table, key = SETTABLE[name]
    (field,) = (one for one in fields(TABLES[table]) if one.name == key)
    try:
        return fit(value, field)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def keep(path: Path, policy: Kept) -> None:
    """Write the policy whole.

    Raises: OSError.
    """
    write_whole(path, json.dumps({"v": 1, "serial": policy.serial, "settings": dict(policy.settings)}).encode(), 0o640)


def read(path: Path) -> Kept | None:
    """Return the policy in this file; None when there is none, or none that can be read."""
    try:
        with path.open("rb") as file:
            told = json.loads(file.read(_LONGEST_FILE))
        return Kept(serial=int(told["serial"]), settings=dict(told["settings"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        log.error("%s is no policy (%s); the settings file holds until the street publishes anew", path, error)
        return None


def overlaid(settings: Settings) -> Settings:
    """Return the settings with what the street has set; it counts only where a street is believed at all."""
    policy = read(settings.paths.policy) if settings.uplink.street_keys is not None else None
    if policy is None:
        return settings
    try:
        return _with(settings, parse(json.dumps(dict(policy.settings)).encode(), settings))
    except ValueError as error:
        log.error("policy %d does not fit any more (%s); the settings file holds", policy.serial, error)
        return settings


def _with(settings: Settings, fitted: Mapping[str, Any]) -> Settings:
    changed: dict[str, Any] = {}
    for name, value in fitted.items():
        table, key = SETTABLE[name]
        changed[table] = replace(changed.get(table, getattr(settings, table)), **{key: value})
    origins = {".".join(SETTABLE[name]): STREET for name in fitted}
    return replace(settings, **changed, origins=MappingProxyType({**settings.origins, **origins}))

"""Keep the list of people whom a face alone does not tell apart: twins, siblings, one person enrolled twice.

`sentinelctl faces check --step-up` publishes it beside the roster, the gate follows it, and the policy asks those on it
for their card as well. It holds keyed tokens and nobody's name. No list means that nobody has looked yet. A list that
cannot be read means everybody: then no face opens alone, while cards still do.
"""

import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from sentinel.core.errors import DataError, NotPermitted
from sentinel.core.model import Person

log = logging.getLogger(__name__)

_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StepUp:
    """Who shows the card as well as the face. `everybody` when the list is there and cannot be read."""

    tokens: frozenset[str] = frozenset()
    everybody: bool = False

    @classmethod
    def of_pairs(cls, pairs: Iterable[tuple[str, str]]) -> Self:
        """Return the list that these pairs of people too much alike make."""
        return cls(tokens=frozenset(token for pair in pairs for token in pair))

    def asks(self, token: str) -> bool:
        """Tell whether this person's face alone is not enough."""
        return self.everybody or token in self.tokens

    def marked(self, people: Mapping[str, Person]) -> dict[str, Person]:
        """Return the people, those on the list marked."""
        return {
            token: replace(person, step_up=True) if self.asks(token) else person for token, person in people.items()
        }


def mark_of(path: Path) -> tuple[int, int] | None:
    """Return which publication of the list this is; None while there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns


def read(path: Path) -> StepUp:
    """Return the published list."""
    try:
        told: Any = json.loads(path.read_text(encoding="utf-8"))
        tokens = told["tokens"]
        if told["v"] == _VERSION and isinstance(tokens, list) and all(isinstance(token, str) for token in tokens):
            return StepUp(tokens=frozenset(tokens))
    except FileNotFoundError:
        return StepUp()
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.debug("%s: %s", path, type(error).__name__)
    log.error("%s is damaged, so no face opens alone; run: sentinelctl faces check --step-up", path)
    return StepUp(everybody=True)


def publish(path: Path, people: StepUp, *, model: str, similarity: float) -> None:
    """Replace the list: written beside, synced, renamed. `model` and `similarity` say what it was made by.

    Raises: NotPermitted, DataError when it cannot be written.
    """
    fresh = path.with_suffix(".new")
    told = {"v": _VERSION, "model": model, "similarity": round(similarity, 4), "tokens": sorted(people.tokens)}
    try:
        with open(fresh, "w", encoding="utf-8") as file:
            json.dump(told, file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(fresh, 0o640)
        os.replace(fresh, path)
    except PermissionError as error:
        raise NotPermitted(f"{path} may not be written; run this as the gate's user: sudo -u sentinel") from error
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error}); check the disk") from error

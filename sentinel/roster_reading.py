"""Read of `roster.db` what a running gate needs, no more: people without their templates, or templates without names.

Both in one pass and with a key opened once, so that a change among ten thousand people takes effect within a second on
a slow box too. Who changes the roster reads it whole, in `sentinel/roster.py`; what is in the file is told there.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from sentinel import clocks
from sentinel.core.citizen import mask_number
from sentinel.core.errors import DataError
from sentinel.core.model import Person
from sentinel.roster import CARD_PHOTO, rights_of, template_id
from sync.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """The templates of one model: how many they are, and token, id and vector of each, a person's together.

    `opened` gives them in the order of tokens, once: the id as it stands in the roster, the vector as float32
    little-endian bytes.
    """

    count: int
    opened: Iterator[tuple[str, str, bytes]] = field(repr=False)


def people(path: Path, vault: Vault, day: date | None = None) -> dict[str, Person]:
    """Return everybody by token, with a face when a template is used on a day (None: today); nobody before the first.

    Raises: DataError when the file cannot be read. VaultError when its keys are gone.
    """
    if not path.exists():
        return {}
    unseal = vault.opener()
    with _opened(path) as db:
        used, which = _used(db, day)
        by_card = "max(source = :card)" if "source" in _columns(db) else "0"
        query = f"SELECT token, {by_card} FROM templates WHERE {used} GROUP BY token"
        faces = dict(db.execute(query, {"card": CARD_PHOTO, **which}))
        sealed = db.execute("SELECT token, personal_key, personal, allowed, valid_until FROM people")
        return {
            token: _person(token, json.loads(unseal(key, personal)), bool(allowed), until, faces.get(token))
            for token, key, personal, allowed, until in sealed
        }


def _person(token: str, known: dict[str, Any], allowed: bool, until: str | None, by_card: int | None) -> Person:
    """Return a person; `by_card` tells whether a template is of a card's photograph, None that there is none at all."""
    told = rights_of(known)
    return Person(
        token=token,
        name=known["name"],
        number=known["number"],
        number_masked=mask_number(known["number"]),
        allowed=allowed,
        has_face=by_card is not None,
        valid_until=date.fromisoformat(until) if until else None,
        valid_from=told["valid_from"],
        windows=told["windows"],
        step_up=bool(by_card),
    )


@contextmanager
def vectors(path: Path, vault: Vault, model: str, day: date | None = None) -> Iterator[Vectors]:
    """Give the templates of a model that are used on a day (None: today); none before the first publication.

    Raises: DataError when the file cannot be read. VaultError when its keys are gone.
    """
    if not path.exists():
        yield Vectors(count=0, opened=iter(()))
        return
    unseal = vault.opener()
    with _opened(path) as db:
        used, which = _used(db, day)
        of_model = f"FROM templates WHERE model = :model AND {used}"
        (count,) = db.execute(f"SELECT count(*) {of_model}", {"model": model, **which}).fetchone()
        query = f"SELECT token, {_id(db)}, vector_key, vector {of_model} ORDER BY token"
        sealed = db.execute(query, {"model": model, **which})
        opened = ((token, template_id(id_, vector), unseal(key, vector)) for token, id_, key, vector in sealed)
        yield Vectors(count=count, opened=opened)


def _used(db: sqlite3.Connection, day: date | None) -> tuple[str, dict[str, str]]:
    """Return which templates are used on a day, in SQL; rosters of schema 1 know no expiry."""
    lasting = "(expires IS NULL OR expires >= :day)" if "expires" in _columns(db) else "true"
    return lasting, {"day": (day or clocks.today()).isoformat()}


def _id(db: sqlite3.Connection) -> str:
    return "id" if "id" in _columns(db) else "NULL"


def _columns(db: sqlite3.Connection) -> set[str]:
    return {row[1] for row in db.execute("PRAGMA table_info(templates)")}


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        # immutable: the file is never written after its rename, so no lock and no journal is ever needed.
        with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as db:
            yield db
    except sqlite3.DatabaseError as error:
        raise DataError(f"{path} is no roster ({error}); restore it: sentinelctl people add --from FILE") from error

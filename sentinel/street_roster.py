"""Read the roster that the street sends, and make `roster.db` of it and of what only this gate keeps.

The content is JSON lines. The first is `{"exclusive": false}`; every other one a person, or `{"remove": NUMBER}` in a
change. Templates, pictures and consents are the gate's own: of people who stay they are copied as they are sealed. The
new file is built beside the old one and takes its name when it is whole.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

from sentinel import roster
from sentinel.core.citizen import tidy_number, valid_number
from sentinel.core.consent import consent_from_json
from sentinel.core.errors import DataError
from sentinel.core.rights import windows_from_json
from sentinel.roster import Member
from sentinel.roster_file import PERSON, SCHEMA_VERSION, begun, keys_used, take_the_name
from sync.vault import Vault

MOST_PEOPLE = 100_000
_LONGEST_NAME, _LONGEST_NUMBER, _ID_CARD_PLACES = 200, 32, 18
_KNOWN = frozenset(("number", "name", "allowed", "valid_from", "valid_until", "windows"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the street says of people, by their token: who they are, or None for who leaves."""

    people: Mapping[str, Member | None] = field(repr=False)
    whole: bool = True  # everybody of the street is in it; else it is a change
    exclusive: bool = False  # whom the street does not name, staff may not have added either
    block: str = ""  # the token of somebody whose right is withdrawn, whatever else is known of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaver:
    """Somebody who is in the roster no more, and what was kept of their face."""

    token: str
    templates: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of the roster."""

    people: int
    added: int
    changed: int
    removed: int


def parse(content: bytes, token_of: Callable[[str], str], *, whole: bool) -> Said:
    """Return what these lines say.

    Raises: ValueError naming the line, and nobody.
    """
    lines = content.splitlines()
    head = _object(lines[0] if lines else b"", 1)
    if not set(head) <= {"exclusive"} or not isinstance(head.get("exclusive", False), bool):
        raise ValueError('line 1: expected {"exclusive": true} or false')
    if len(lines) - 1 > MOST_PEOPLE:
        raise ValueError(f"{len(lines) - 1} people are more than {MOST_PEOPLE}")
    people: dict[str, Member | None] = {}
    for number, line in enumerate(lines[1:], 2):
        token, person = _line(_object(line, number), number, token_of, whole=whole)
        if token in people:
            raise ValueError(f"line {number}: this person was named before")
        people[token] = person
    return Said(people=people, whole=whole, exclusive=whole and bool(head.get("exclusive", False)))


def _object(line: bytes, number: int) -> dict[str, Any]:
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise ValueError(f"line {number}: expected a JSON object")
    return told


def _line(
    told: dict[str, Any], line: int, token_of: Callable[[str], str], *, whole: bool
) -> tuple[str, Member | None]:
    try:
        if not whole and set(told) == {"remove"}:
            return token_of(_number(told["remove"])), None
        if not set(told) <= _KNOWN:
            raise ValueError(f"unknown: {', '.join(sorted(set(told) - _KNOWN))[:100]}")
        number, name = _number(told.get("number")), told.get("name")
        if not isinstance(name, str) or not 0 < len(name.strip()) <= _LONGEST_NAME:
            raise ValueError("a name is missing or too long")
        if not isinstance(told.get("allowed", True), bool):
            raise ValueError("allowed is true or false")
        member = Member(
            token=token_of(number),
            name=name.strip(),
            number=number,
            allowed=told.get("allowed", True),
            valid_from=_day(told.get("valid_from")),
            valid_until=_day(told.get("valid_until")),
            windows=windows_from_json(told.get("windows", [])),
            of_street=True,
        )
    except (ValueError, UnicodeError) as error:
        raise ValueError(f"line {line}: {error}") from error
    return member.token, member


def _number(told: Any) -> str:
    number = tidy_number(told) if isinstance(told, str) else ""
    if not 0 < len(number) <= _LONGEST_NUMBER or (len(number) == _ID_CARD_PLACES and not valid_number(number)):
        raise ValueError("a number is missing or fails its check digit")
    number.encode()  # half a surrogate pair is no text
    return number


def _day(told: Any) -> date | None:
    return None if told is None else date.fromisoformat(str(told))


# Making the new file


def merge(path: Path, said: Said, vault: Vault, record: Callable[[Leaver], None]) -> Counts:
    """Publish the roster that follows from what is there and what the street says.

    `record` keeps an entry for everybody whose templates go, before they do; when it raises, the old roster stays.
    Raises: DataError when the old file cannot be read or a new one made, VaultError when its keys are gone, OSError.
    """
    with roster.editing(path):
        _renew(path, vault)
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        try:
            with closing(begun(fresh)) as db, db:
                db.execute("ATTACH ? AS old", (f"file:{path}?immutable=1",))
                counts = _merged(_Merge(db, said, vault), record)
                used = keys_used(db)
        except sqlite3.Error as error:
            raise DataError(f"{fresh} cannot be made ({error}); the old roster stays, make room on its disk") from error
        take_the_name(fresh, path, vault, used)
    return counts


def _merged(work: "_Merge", record: Callable[[Leaver], None]) -> Counts:
    work.people()
    for leaver in work.leavers:
        record(leaver)
    work.faces()
    return work.counts


def _renew(path: Path, vault: Vault) -> None:
    """Bring a roster of an older program to today's form first, and begin with an empty one where there is none."""
    if not path.exists():
        roster.publish(path, {}, vault)
    if roster.schema_of(path) != SCHEMA_VERSION:
        roster.publish(path, roster.load_all(path, vault), vault)


class _Merge:
    """One pass through the old roster, `old`, into the new one."""

    def __init__(self, db: sqlite3.Connection, said: Said, vault: Vault) -> None:
        self._db, self._said, self._vault = db, said, vault
        self._unseal = vault.opener()
        self._news = dict(said.people)
        self._added = self._changed = self._total = 0
        self._gone: list[str] = []
        self.leavers: list[Leaver] = []

    @property
    def counts(self) -> Counts:
        """What has been done."""
        return Counts(people=self._total, added=self._added, changed=self._changed, removed=len(self._gone))

    def people(self) -> None:
        """Write everybody who stays or comes, and find out who leaves."""
        rows = [*self._rows(), *self._new_rows()]
        seal = self._vault.sealer(f"{PERSON}/{one.token}" for one in rows if isinstance(one, Member))
        sealed = (roster.sealed_row(one, seal) if isinstance(one, Member) else one for one in rows)
        self._db.executemany("INSERT INTO people VALUES (?, ?, ?, ?, ?)", sealed)
        (self._total,) = self._db.execute("SELECT count(*) FROM main.people").fetchone()
        for token in self._gone:
            (count,) = self._db.execute(
                "SELECT (SELECT count(*) FROM old.templates WHERE token = :token)"
                " + (SELECT count(*) FROM old.quarantine WHERE token = :token)",
                {"token": token},
            ).fetchone()
            if count:
                self.leavers.append(Leaver(token=token, templates=count))

    def faces(self) -> None:
        """Copy the templates and pictures of who stays, as they are sealed."""
        for table in ("templates", "quarantine"):
            self._db.execute(
                f"INSERT INTO main.{table} SELECT * FROM old.{table}"
                " WHERE token IN (SELECT token FROM main.people) ORDER BY rowid"
            )
        self._db.execute(
            "INSERT INTO main.pictures SELECT * FROM old.pictures WHERE id IN"
            " (SELECT id FROM main.templates UNION SELECT id FROM main.quarantine)"
        )

    def _rows(self) -> Iterator[tuple[Any, ...] | Member]:
        for row in self._db.execute("SELECT token, personal, personal_key, allowed, valid_until FROM old.people"):
            token = row[0]
            if token == self._said.block and row[3]:
                self._changed += 1
                yield (*row[:3], 0, row[4])
                continue
            named = token in self._news
            if not named and (not self._said.whole or not self._leaves(row)):
                yield row
                continue
            new = self._news.pop(token, None)
            if new is None:
                self._gone.append(token)
                continue
            before = self._known(row)
            after = replace(new, consent=before.consent)
            self._changed += before != after
            yield row if before == after else after

    def _new_rows(self) -> Iterator[Member]:
        for member in self._news.values():
            if member is not None:
                self._added += 1
                yield member

    def _leaves(self, row: tuple[Any, ...]) -> bool:
        return self._said.exclusive or self._known(row).of_street

    def _known(self, row: tuple[Any, ...]) -> Member:
        token, personal, key, allowed, until = row
        known = json.loads(self._unseal(key, personal))
        return Member(
            token=token,
            name=known["name"],
            number=known["number"],
            allowed=bool(allowed),
            valid_until=date.fromisoformat(until) if until else None,
            consent=consent_from_json(known["consent"]) if known.get("consent") else None,
            **roster.rights_of(known),
        )


def block(path: Path, token: str, vault: Vault) -> Counts:
    """Publish the roster with this person's right withdrawn; nothing changes when they are not in it."""
    return merge(path, Said(people={}, whole=False, block=token), vault, _nobody_leaves)


def _nobody_leaves(leaver: Leaver) -> None:
    raise AssertionError(f"{leaver.token} was only to be blocked")

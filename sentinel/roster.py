"""Keep `roster.db`: who may pass, and the face templates of those who agreed to one.

The file is a snapshot: it is never edited, but built beside and published by rename, so that a reader sees the old
roster or the new one, whole. Names, numbers and templates are sealed by the vault; what is readable without a key is
a keyed token and yes or no. Vectors leave this module as bytes, for only the vision process can use them.
"""

import fcntl
import json
import os
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from sentinel.core.citizen import mask_number
from sentinel.core.errors import DataError
from sentinel.core.model import Person
from sync.vault import Vault

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE people (
    token TEXT PRIMARY KEY, personal BLOB NOT NULL, personal_key TEXT NOT NULL,
    allowed INTEGER NOT NULL, valid_until TEXT
);
CREATE TABLE templates (
    token TEXT NOT NULL REFERENCES people(token), model TEXT NOT NULL,
    vector BLOB NOT NULL, vector_key TEXT NOT NULL, consent TEXT NOT NULL, made_at TEXT NOT NULL
);
CREATE INDEX templates_of ON templates(token);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One enrolled face of a person. `vector` is float32 little-endian bytes, of unit length, made by `model`."""

    model: str
    vector: bytes = field(repr=False)
    consent: str
    made_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A person as the roster keeps them, with everything that is sealed at rest."""

    token: str
    name: str = field(repr=False)
    number: str = field(repr=False)
    allowed: bool = True
    valid_until: date | None = None
    templates: tuple[Template, ...] = ()

    @property
    def person(self) -> Person:
        """What the rules of the gate see of this member."""
        return Person(
            token=self.token,
            name=self.name,
            number_masked=mask_number(self.number),
            allowed=self.allowed,
            has_face=bool(self.templates),
            valid_until=self.valid_until,
        )


@dataclass(frozen=True, slots=True)
class Mark:
    """Which publication of the file this is; equal marks mean nothing changed."""

    inode: int
    modified_ns: int


def mark_of(path: Path) -> Mark | None:
    """Return the mark of the published roster, or None while there is none.

    Raises: DataError when the disk does not say.
    """
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{path} cannot be looked at ({error}); check the disk and its permissions") from error
    return Mark(stat.st_ino, stat.st_mtime_ns)


def load(path: Path, vault: Vault, *, templates: bool = True) -> dict[str, Member]:
    """Return all members by token; an empty roster while none was published.

    Without `templates` no vector is opened: every template is there, to be counted, and its vector is empty.

    Raises: DataError when the file cannot be read. VaultError when its keys are gone.
    """
    if not path.exists():
        return {}
    try:
        # immutable: the file is never written after its rename, so no lock and no journal is ever needed.
        with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as db:
            return dict(_members(db, vault.opener(), templates))
    except sqlite3.DatabaseError as error:
        raise DataError(f"{path} is no roster ({error}); restore it: sentinelctl people add --from FILE") from error


def _members(
    db: sqlite3.Connection, unseal: Callable[[str, bytes], bytes], with_vectors: bool
) -> Iterator[tuple[str, Member]]:
    templates: dict[str, list[Template]] = {}
    for token, model, vector, key, consent, made_at in db.execute(
        "SELECT token, model, vector, vector_key, consent, made_at FROM templates ORDER BY rowid"
    ):
        opened = unseal(key, vector) if with_vectors else b""
        template = Template(model=model, vector=opened, consent=consent, made_at=made_at)
        templates.setdefault(token, []).append(template)
    for token, personal, key, allowed, until in db.execute(
        "SELECT token, personal, personal_key, allowed, valid_until FROM people"
    ):
        known = json.loads(unseal(key, personal))
        yield token, Member(
            token=token,
            name=known["name"],
            number=known["number"],
            allowed=bool(allowed),
            valid_until=date.fromisoformat(until) if until else None,
            templates=tuple(templates.get(token, ())),
        )


@contextmanager
def editing(path: Path) -> Iterator[None]:
    """Let one editor at a time read, change and publish the roster."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_suffix(".lock"), "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def publish(path: Path, members: Mapping[str, Member], vault: Vault) -> None:
    """Replace the roster by these members: built beside, synced, then renamed over the old one."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    day = datetime.now(UTC).date().isoformat()
    with closing(sqlite3.connect(fresh)) as db, db:
        db.executescript(_SCHEMA)
        db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        for member in members.values():
            _insert(db, member, vault, day)
    with open(fresh, "rb") as file:
        os.fsync(file.fileno())
    os.chmod(fresh, 0o640)
    os.replace(fresh, path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _insert(db: sqlite3.Connection, member: Member, vault: Vault, day: str) -> None:
    key, personal = vault.seal({"name": member.name, "number": member.number}, "roster", day)
    until = member.valid_until.isoformat() if member.valid_until else None
    db.execute(
        "INSERT INTO people VALUES (?, ?, ?, ?, ?)", (member.token, personal, key, int(member.allowed), until)
    )
    for template in member.templates:
        key, vector = vault.seal_bytes(template.vector, "template", day)
        db.execute(
            "INSERT INTO templates VALUES (?, ?, ?, ?, ?, ?)",
            (member.token, template.model, vector, key, template.consent, template.made_at),
        )


def consent_request(member: Member, *, act: str, consent: str, model: str) -> dict[str, Any]:
    """Return the request that records a consent, or a removal, before the roster changes."""
    return {
        "v": 1,
        "verb": "consent",
        "request": str(uuid.uuid4()),
        "person": member.token,
        "act": act,
        "consent": consent,
        "templates": len(member.templates),
        "model": model,
    }

"""Keep `roster.db`: who may pass, and the face templates of those who agreed to one.

The file is a snapshot: it is never edited, but built beside and published by rename, so that a reader sees the old
roster or the new one, whole. Names, numbers and templates are sealed by the vault, each person's under keys of their
own, which are destroyed when the person leaves; what is readable without a key is
a keyed token, yes or no, and when which template was made. Vectors leave this module as bytes, for only the vision
process can use them.

`load` gives what the gate may use today: templates that have expired or stand in quarantine are not in it.
`load_all` gives everything, for whoever changes the roster. Schema 1, without quarantine and expiry, is read as well.
"""

import fcntl
import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from sentinel import clocks
from sentinel.core.citizen import mask_number
from sentinel.core.consent import ConsentGiven, consent_as_json, consent_from_json
from sentinel.core.errors import DataError
from sentinel.core.model import Person
from sentinel.core.rights import Window, windows_as_json, windows_from_json
from sentinel.roster_file import PERSON, PICTURE, SCHEMA_VERSION, TEMPLATE, begun, keys_used, take_the_name
from sync.entry import canonical
from sync.vault import Vault

Seal = Callable[[str, bytes], bytes]  # under the key of this name

CARD_PHOTO = "card-photo"  # the source of a template from the photograph on a card, which names nobody alone
_COLUMNS = {
    1: "token, model, vector, vector_key, consent, made_at, NULL, '', NULL, NULL, 0",
    2: "token, model, vector, vector_key, consent, made_at, id, source, quality, expires, picture",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured on the face that a template was made of; see recognition/quality.py for the units."""

    face_px: float
    turn: float
    sharpness: float
    brightness: float
    burnt: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One enrolled face of a person. `vector` is float32 little-endian bytes, of unit length, made by `model`."""

    model: str
    vector: bytes = field(repr=False)
    consent: str
    made_at: str
    id: str = ""  # 12 hexadecimal digits
    source: str = ""  # "picture", "camera", "archive", "kept-picture", CARD_PHOTO
    quality: Figures | None = None
    expires: date | None = None  # the last day on which it is used
    has_picture: bool = False
    why: str = ""  # it stands in quarantine: a reason of sentinel/byhand.py
    other: str = ""  # the token of the person it is closer to

    def holds_on(self, day: date) -> bool:
        """Tell whether the template is used on a day."""
        return not self.why and (self.expires is None or day <= self.expires)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A person as the roster keeps them, with everything that is sealed at rest."""

    token: str
    name: str = field(repr=False)
    number: str = field(repr=False)
    allowed: bool = True
    valid_until: date | None = None
    templates: tuple[Template, ...] = ()
    quarantined: tuple[Template, ...] = ()
    consent: ConsentGiven | None = None  # None: without templates, or from before consents were told whole
    valid_from: date | None = None
    windows: tuple[Window, ...] = ()
    of_street: bool = False  # the street's roster names them, and may leave them out one day

    @property
    def person(self) -> Person:
        """What the rules of the gate see of this member."""
        return Person(
            token=self.token,
            name=self.name,
            number=self.number,
            number_masked=mask_number(self.number),
            allowed=self.allowed,
            has_face=bool(self.templates),
            valid_until=self.valid_until,
            valid_from=self.valid_from,
            windows=self.windows,
            step_up=any(template.source == CARD_PHOTO for template in self.templates),
        )


@dataclass(frozen=True, slots=True)
class Mark:
    """Which publication of the file this is, and on which day; equal marks mean nothing changed or expired."""

    inode: int
    modified_ns: int
    day: date


def mark_of(path: Path, day: date | None = None) -> Mark | None:
    """Return the mark of the published roster on a day (None: today), or None while there is none.

    Raises: DataError when the disk does not say.
    """
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{path} cannot be looked at ({error}); check the disk and its permissions") from error
    return Mark(stat.st_ino, stat.st_mtime_ns, day or clocks.today())


def load(path: Path, vault: Vault, *, templates: bool = True, day: date | None = None) -> dict[str, Member]:
    """Return all members by token, each with the templates in use on a day (None: today); empty before the first.

    Without `templates` no vector is opened: every template is there, to be counted, and its vector is empty.

    Raises: DataError when the file cannot be read. VaultError when its keys are gone.
    """
    return _load(path, vault, with_vectors=templates, day=day or clocks.today())


def load_all(path: Path, vault: Vault, *, vectors: bool = True) -> dict[str, Member]:
    """Return all members with everything that is kept of them: for whoever lists or changes the roster.

    Raises: DataError when the file cannot be read. VaultError when its keys are gone.
    """
    return _load(path, vault, with_vectors=vectors, day=None)


def _load(path: Path, vault: Vault, *, with_vectors: bool, day: date | None) -> dict[str, Member]:
    if not path.exists():
        return {}
    try:
        with closing(_open(path)) as db:
            return dict(_members(db, vault.opener(), with_vectors, day))
    except sqlite3.DatabaseError as error:
        raise DataError(f"{path} is no roster ({error}); restore it: sentinelctl people add --from FILE") from error


def _open(path: Path) -> sqlite3.Connection:
    # immutable: the file is never written after its rename, so no lock and no journal is ever needed.
    return sqlite3.connect(f"file:{path}?immutable=1", uri=True)


def _version(db: sqlite3.Connection) -> int:
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version not in _COLUMNS:
        raise DataError(f"the roster has schema {version}, we know {SCHEMA_VERSION}; use the program that wrote it")
    return version


def _members(
    db: sqlite3.Connection, unseal: Callable[[str, bytes], bytes], with_vectors: bool, day: date | None
) -> Iterator[tuple[str, Member]]:
    version = _version(db)
    columns, opened = _COLUMNS[version], unseal if with_vectors else None
    templates: dict[str, list[Template]] = {}
    for token, *row in db.execute(f"SELECT {columns} FROM templates ORDER BY rowid"):
        template = _template(row, opened if day is None or _expiry(row[8]) >= day else None)
        if day is None or template.holds_on(day):
            templates.setdefault(token, []).append(template)
    aside: dict[str, list[Template]] = {}
    if version > 1 and day is None:
        for token, *row in db.execute(f"SELECT {columns}, why, other FROM quarantine ORDER BY rowid"):
            aside.setdefault(token, []).append(_template(row, opened))
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
            quarantined=tuple(aside.get(token, ())),
            consent=consent_from_json(known["consent"]) if known.get("consent") else None,
            **rights_of(known),
        )


RIGHTS = ("valid_from", "windows", "of_street")


def rights_of(known: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the sealed part says of a person's rights."""
    since = known.get("valid_from")
    return {
        "valid_from": date.fromisoformat(since) if since else None,
        "windows": windows_from_json(known.get("windows", [])),
        "of_street": bool(known.get("of_street")),
    }


def personal_of(member: Member) -> dict[str, Any]:
    """Return what is sealed of a member, beside their templates."""
    told: dict[str, Any] = {"name": member.name, "number": member.number}
    if member.consent:
        told["consent"] = consent_as_json(member.consent)
    if member.valid_from:
        told["valid_from"] = member.valid_from.isoformat()
    if member.windows:
        told["windows"] = windows_as_json(member.windows)
    return {**told, "of_street": True} if member.of_street else told


def _template(row: list[Any], unseal: Callable[[str, bytes], bytes] | None) -> Template:
    """Return the template of a row of `_COLUMNS`, without its token; a row of the quarantine has two columns more."""
    model, vector, key, consent, made_at, id_, source, quality, expires, picture, *aside = row
    why, other = aside or ("", "")
    return Template(
        model=model,
        vector=unseal(key, vector) if unseal else b"",
        consent=consent,
        made_at=made_at,
        id=template_id(id_, vector),
        source=source,
        quality=Figures(**json.loads(quality)) if quality else None,
        expires=date.fromisoformat(expires) if expires else None,
        has_picture=bool(picture),
        why=why,
        other=other or "",
    )


def template_id(id_: str | None, sealed: bytes) -> str:
    """Return a template's id; one from before there were ids (None) gets one of its sealed vector, and keeps it."""
    return hashlib.sha256(sealed).hexdigest()[:12] if id_ is None else id_


def _expiry(expires: str | None) -> date:
    return date.fromisoformat(expires) if expires else date.max


def pictures(path: Path, vault: Vault, ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Return the kept pictures of these templates, one at a time; what was never kept is left out.

    Raises: DataError when the file cannot be read. VaultError when its keys are gone.
    """
    if not path.exists():
        return
    unseal = vault.opener()
    for id_, sealed, key in _sealed_pictures(path, ids):
        yield id_, unseal(key, sealed)


def _sealed_pictures(path: Path, ids: Iterable[str]) -> Iterator[tuple[str, bytes, str]]:
    wanted = list(ids)
    if not wanted:  # so a damaged file without kept pictures can be replaced
        return
    try:
        with closing(_open(path)) as db:
            if _version(db) < 2:
                return
            for id_ in wanted:
                yield from db.execute("SELECT id, picture, picture_key FROM pictures WHERE id = ?", (id_,))
    except sqlite3.DatabaseError as error:
        raise DataError(f"{path} is no roster ({error}); restore it: sentinelctl people add --from FILE") from error


@contextmanager
def editing(path: Path) -> Iterator[None]:
    """Let one editor at a time read, change and publish the roster."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_suffix(".lock"), "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def publish(
    path: Path, members: Mapping[str, Member], vault: Vault, new_pictures: Mapping[str, bytes] | None = None
) -> None:
    """Replace the roster by these members: built beside, synced, then renamed over the old one.

    Pictures of templates that stay are carried over as they are sealed; those of templates that are gone go too. Then
    the keys that nothing published needs any more are destroyed: for whoever is gone, that is the deletion.
    """
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    seal = vault.sealer(_key_names(members.values(), new_pictures or {}))
    with closing(begun(fresh)) as db, db:
        for member in members.values():
            _insert(db, member, seal)
        _insert_pictures(db, path, members, seal, new_pictures or {})
        used = keys_used(db)
    take_the_name(fresh, path, vault, used)


def schema_of(path: Path) -> int:
    """Return the schema of a roster file.

    Raises: DataError when it cannot be read or is of a newer program.
    """
    try:
        with closing(_open(path)) as db:
            return _version(db)
    except sqlite3.DatabaseError as error:
        raise DataError(f"{path} is no roster ({error}); restore it: sentinelctl people add --from FILE") from error


def _key_names(members: Iterable[Member], pictures: Mapping[str, bytes]) -> Iterator[str]:
    for member in members:
        yield f"{PERSON}/{member.token}"
        templates = (*member.templates, *member.quarantined)
        if templates:
            yield f"{TEMPLATE}/{member.token}"
        if any(template.id in pictures for template in templates):
            yield f"{PICTURE}/{member.token}"


def sealed_row(member: Member, seal: Seal) -> tuple[str, bytes, str, int, str | None]:
    """Return the row of `people` for a member."""
    key = f"{PERSON}/{member.token}"
    until = member.valid_until.isoformat() if member.valid_until else None
    return member.token, seal(key, canonical(personal_of(member))), key, int(member.allowed), until


def _insert(db: sqlite3.Connection, member: Member, seal: Seal) -> None:
    db.execute("INSERT INTO people VALUES (?, ?, ?, ?, ?)", sealed_row(member, seal))
    for template in (*member.templates, *member.quarantined):
        key = f"{TEMPLATE}/{member.token}"
        vector = seal(key, template.vector)
        row = (
            member.token, template.model, vector, key, template.consent, template.made_at, template.id, template.source,
            json.dumps(asdict(template.quality)) if template.quality else None,
            template.expires.isoformat() if template.expires else None, int(template.has_picture),
        )  # fmt: skip
        table, more = ("quarantine", (template.why, template.other or None)) if template.why else ("templates", ())
        places = ", ".join("?" * (len(row) + len(more)))
        db.execute(f"INSERT INTO {table} VALUES ({places})", (*row, *more))


def _insert_pictures(
    db: sqlite3.Connection, old: Path, members: Mapping[str, Member], seal: Seal, new: Mapping[str, bytes]
) -> None:
    ids = {
        template.id: f"{PICTURE}/{member.token}"
        for member in members.values()
        for template in (*member.templates, *member.quarantined)
        if template.has_picture
    }
    if old.exists():
        carried = _sealed_pictures(old, (id_ for id_ in ids if id_ not in new))
        db.executemany("INSERT INTO pictures VALUES (?, ?, ?)", carried)
    for id_, key in ids.items():
        if id_ in new:
            db.execute("INSERT INTO pictures VALUES (?, ?, ?)", (id_, seal(key, new[id_]), key))

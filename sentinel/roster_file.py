"""Begin a new roster file, and give a finished one the roster's name; what is in it: `sentinel/roster.py`."""

import os
import sqlite3
from pathlib import Path

from sync.disk import sync_folder
from sync.vault import Vault

# The classes of keys that last as long as what they seal is published: `roster/<token>`, `template/<token>`, …
PERSON, TEMPLATE, PICTURE = CLASSES = ("roster", "template", "picture")
SCHEMA_VERSION = 2
_TEMPLATE = """token TEXT NOT NULL REFERENCES people(token), model TEXT NOT NULL,
    vector BLOB NOT NULL, vector_key TEXT NOT NULL, consent TEXT NOT NULL, made_at TEXT NOT NULL,
    id TEXT NOT NULL, source TEXT NOT NULL, quality TEXT, expires TEXT, picture INTEGER NOT NULL"""
# The quarantine is a table of its own: whoever reads only `templates`, a program of yesterday too, never uses it.
_SCHEMA = f"""
CREATE TABLE people (
    token TEXT PRIMARY KEY, personal BLOB NOT NULL, personal_key TEXT NOT NULL,
    allowed INTEGER NOT NULL, valid_until TEXT
);
CREATE TABLE templates ({_TEMPLATE});
CREATE TABLE quarantine ({_TEMPLATE}, why TEXT NOT NULL, other TEXT);
CREATE TABLE pictures (id TEXT PRIMARY KEY, picture BLOB NOT NULL, picture_key TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX templates_of ON templates(token);
"""
_KEYS_USED = """SELECT personal_key FROM people UNION SELECT vector_key FROM templates
    UNION SELECT vector_key FROM quarantine UNION SELECT picture_key FROM pictures"""


def begun(fresh: Path) -> sqlite3.Connection:
    """Return a new, empty roster file; it can read others beside it."""
    db = sqlite3.connect(f"file:{fresh}", uri=True)
    db.executescript(_SCHEMA)
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    return db


def keys_used(db: sqlite3.Connection) -> set[str]:
    """Return the names of the keys that something in a roster needs."""
    return {name for (name,) in db.execute(_KEYS_USED)}


def take_the_name(fresh: Path, path: Path, vault: Vault, used: set[str]) -> None:
    """Make a finished file durable and give it the roster's name; then destroy the keys that nothing needs any more."""
    with open(fresh, "rb") as file:
        os.fsync(file.fileno())
    os.chmod(fresh, 0o640)
    os.replace(fresh, path)
    sync_folder(path.parent)
    vault.destroy(*(name for name in vault.names() if name.split("/")[0] in CLASSES and name not in used))

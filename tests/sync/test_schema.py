"""The tables: made once, brought forward step by step, final for entries, refused when they come from the future."""

import sqlite3
import sys
from pathlib import Path

import pytest

from sync import schema
from sync.entry import Draft
from sync.errors import LedgerDamaged, LedgerFromTheFuture, LedgerUnavailable
from sync.ledger import LedgerReader, LedgerWriter
from sync.schema import STEPS, Step

GOLDEN = Path(__file__).parents[1] / "golden"
EXTRA = Step(name="9999-extra", statements=("CREATE TABLE extra (a)", "INSERT INTO extra VALUES (1)"))
BROKEN = Step(name="9999-broken", statements=("CREATE TABLE extra (a)", "INSERT INTO nowhere VALUES (1)"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def from_golden(name: str, path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.executescript((GOLDEN / name).read_text(encoding="utf-8"))
    connection.close()


def tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_a_new_file_gets_today_s_tables_and_durable_settings(path):
    connection = schema.connect(path, "rwc")
    schema.prepare(connection, path)
    assert schema.version_of(connection) == schema.SCHEMA_VERSION
    settings = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")}
    assert settings == {"journal_mode": "wal", "synchronous": 2}
    assert connection.execute("PRAGMA page_size").fetchone()[0] == schema.PAGE_BYTES
    connection.close()


@pytest.mark.parametrize("golden", sorted(file.name for file in GOLDEN.glob("ledger-v*.sql")))
def test_every_old_ledger_opens_whole_and_goes_on(golden, path):
    from_golden(golden, path)
    with LedgerWriter.open(path, vault=None) as writer, LedgerReader(path) as reader:
        entry = writer.append(Draft(kind="passage", version=1, body={"outcome": "open"}), 10)
        report = reader.verify()
        assert report.ok, report.breaks
        assert report.checked == 9
        old = reader.after(None, 7)
        assert [item.kind for item in old] == ["start", "passage", "registration", "stop", "start", "fault", "stop"]
        assert old[1].data["person"] == "00112233445566778899aabbccddeeff"
        assert reader.by_request("golden-request").key == old[2].key
        assert entry.key.epoch > old[-1].key.epoch


def test_a_current_file_is_opened_without_the_migration_library(path):
    LedgerWriter.open(path, vault=None).close("made")
    library = sys.modules.pop("sqlite_utils")
    LedgerWriter.open(path, vault=None).close("opened")
    asked_for = "sqlite_utils" in sys.modules
    sys.modules["sqlite_utils"] = library
    assert not asked_for, "it costs a quarter of a second, which the one-shot has not"


def test_a_ledger_from_the_future_is_refused_and_left_alone(path):
    LedgerWriter.open(path, vault=None).close("made")
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(LedgerFromTheFuture, match="schema 99"):
        LedgerWriter.open(path, vault=None)
    with LedgerReader(path) as reader, pytest.raises(LedgerFromTheFuture, match="schema 99"):
        reader.head()


def test_another_programs_database_is_refused_and_left_alone(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bookmarks (url)")
    connection.close()
    with pytest.raises(LedgerDamaged, match="another program"):
        LedgerWriter.open(path, vault=None)
    connection = sqlite3.connect(path)
    assert tables(connection) == {"bookmarks"}
    connection.close()


def test_what_is_no_database_is_damaged(path):
    path.write_bytes(b"nothing of the kind" * 500)
    with pytest.raises(LedgerDamaged, match="not a database"):
        LedgerWriter.open(path, vault=None)
    with LedgerReader(path) as reader, pytest.raises(LedgerDamaged, match="not a database"):
        reader.head()


def test_a_folder_that_is_not_there_is_unavailable(tmp_path):
    with pytest.raises(LedgerUnavailable, match="folder"):
        LedgerWriter.open(tmp_path / "nowhere" / "ledger.db", vault=None)


def test_steps_run_in_order_and_once(path):
    connection = schema.connect(path, "rwc")
    schema.migrate(connection, path)
    schema.migrate(connection, path, [*STEPS, EXTRA])
    schema.migrate(connection, path, [*STEPS, EXTRA])
    assert schema.version_of(connection) == len(STEPS) + 1
    assert connection.execute("SELECT count(*) FROM extra").fetchone() == (1,)
    notes = [name for (name,) in connection.execute("SELECT name FROM _sqlite_migrations ORDER BY id")]
    assert notes == [step.name for step in (*STEPS, EXTRA)]
    connection.close()


def test_a_step_that_fails_leaves_the_step_before_it(path):
    connection = schema.connect(path, "rwc")
    with pytest.raises(sqlite3.OperationalError):
        schema.migrate(connection, path, [*STEPS, BROKEN])
    assert schema.version_of(connection) == len(STEPS)
    assert "extra" not in tables(connection)
    schema.migrate(connection, path, [*STEPS, EXTRA])
    assert "extra" in tables(connection)
    connection.close()


def test_a_file_whose_notes_and_version_disagree_is_damaged(path):
    connection = schema.connect(path, "rwc")
    schema.migrate(connection, path)
    connection.execute("PRAGMA user_version = 0")
    connection.execute("DROP TABLE entries")
    connection.execute("DROP TABLE epochs")
    connection.execute("DROP TABLE gaps")
    with pytest.raises(LedgerDamaged, match="says schema 0"):
        schema.migrate(connection, path)
    connection.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE entries SET body = '{}'",
        "UPDATE entries SET hash = x'00'",
        "UPDATE entries SET seq = seq + 100",
        "UPDATE entries SET trusted = 1 - trusted",
        "UPDATE entries SET personal = x'00', personal_key = 'other/key'",
    ],
)
def test_an_entry_is_final(path, change):
    LedgerWriter.open(path, vault=None).close("made")
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match=r"final|emptied"):
        connection.execute(change)
    connection.close()


def test_a_personal_part_may_be_emptied_and_the_chain_holds(path):
    from_golden("ledger-v1.sql", path)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM entries WHERE personal IS NOT NULL").fetchone() == (1,)
    connection.execute("UPDATE entries SET personal = NULL")
    connection.commit()
    schema.migrate(connection, path)
    connection.close()
    with LedgerReader(path) as reader:
        assert reader.verify().ok
        assert reader.by_request("golden-request").personal is None

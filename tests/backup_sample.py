"""A gate's files in a temporary folder, with one of everything that a backup holds, and a second place beside."""

import resource
import signal
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from sentinel import backup, roster
from sentinel.core.errors import Unavailable
from sentinel.settings import load
from sync.entry import Draft
from sync.ledger import LedgerReader, LedgerWriter
from sync.sealed import key_of, public_of, read_head
from sync.spool import spool_append
from sync.stamp import now_stamp
from sync.vault import Vault

NAME, NUMBER = "样本金丝雀", "990106194912310026"  # of a region that does not exist
VECTOR = b"\x00\x00\x80?" + bytes(508)  # a unit vector of 128 numbers
CANARIES = (NAME.encode(), NUMBER.encode(), VECTOR)

CONFIG = """
[gate]
street = "330106"
site = "cuiyuan3"
gate = "east-3"
[paths]
state_dir = "{state}"
run_dir = "{state}/run"
secrets_dir = "{state}/secrets"
models_dir = "{state}/models"
[temperature]
limit_celsius = 37.3
[faults]
response_hours = 2
recovery_hours = 24
[retention]
passage_days = 30
fault_days = 365
audit_days = 365
[backup]
folder = "{place}"
generations = 3
[card]
port = "serial:///dev/ttyS3?baud=115200"
[thermal]
port = "serial:///dev/ttyS4?baud=115200"
[camera]
source = "v4l2:///dev/video0"
[barrier]
factory = "mock"
relay = 17
[uplink]
broker = "mqtt://127.0.0.1:1883"
"""


@contextmanager
def in_memory() -> Iterator[Path]:
    """Give a folder in memory: the kernel keeps what a killed process wrote, no disk is waited for."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        yield Path(name)


def here(_folder: Path, _state: Path) -> bool:
    """Say that any folder is a second place: a test has one disk."""
    return True


class Box:
    """A gate's files. `fresh` ones are those of a new box, beside the second place of another."""

    def __init__(self, base: Path, place: Path | None = None, fresh: bool = False) -> None:
        state = base / "state"
        self.place = place or base / "stick"
        (state / "run").mkdir(parents=True)
        self.place.mkdir(exist_ok=True)
        self.config = base / "gate.toml"
        self.config.write_text(CONFIG.format(state=state, place=self.place), encoding="utf-8")
        self.settings = load(self.config)
        if not fresh:
            self._fill()

    def _fill(self) -> None:
        paths = self.settings.paths
        self.vault = Vault.open(paths.secrets_dir, create=True)
        (paths.secrets_dir / "issuers").mkdir()
        (paths.secrets_dir / "issuers" / "east.pub").write_bytes(b"a public key")
        self.recovery = backup.make_key(self.settings)
        self.append(12)
        template = roster.Template(
            model="m", vector=VECTOR, consent="c1", made_at=datetime(2026, 11, 1, tzinfo=UTC).isoformat(), id="0" * 12
        )
        member = roster.Member(token="ab" * 16, name=NAME, number=NUMBER, allowed=True, templates=(template,))
        roster.publish(paths.roster, {member.token: member}, self.vault)
        self.spool("spooled-1")

    @property
    def public(self) -> bytes:
        return public_of(self.recovery)

    @property
    def day_key(self) -> str:
        with LedgerReader(self.settings.paths.ledger) as reader:
            return next(one.personal_key for one in reader.newest(100) if one.personal_key)

    def append(self, count: int, prefix: str = "r") -> list[str]:
        """Append passages with personal parts in an epoch of their own; return their keys."""
        with LedgerWriter.open(self.settings.paths.ledger, vault=self.vault) as writer:
            drafts = (
                Draft(kind="passage", version=1, body={"outcome": "open", "n": n},
                      request=f"{prefix}-{writer.epoch}-{n}", personal={"name": NAME, "number": NUMBER})
                for n in range(count)
            )  # fmt: skip
            return [str(writer.append(draft, 10.0).key) for draft in drafts]

    def spool(self, request: str) -> None:
        draft = Draft(kind="passage", version=1, body={"outcome": "open"}, request=request, personal={"name": NAME})
        spool_append(self.settings.paths.spool, draft, now_stamp(), self.vault)

    def entries(self) -> int:
        with LedgerReader(self.settings.paths.ledger) as reader:
            return reader.count()

    def keys(self) -> dict[str, bytes]:
        """Return every entry's hash by its key."""
        with LedgerReader(self.settings.paths.ledger) as reader:
            assert reader.verify().ok
            return {str(entry.key): entry.hash for entry in reader.after(None, 10**6)}

    def archive(self, number: int) -> Path:
        return self.place / f"330106-cuiyuan3-east-3-{number:06}.sentinel"

    def opened(self, number: int):
        """Open and prove an archive with the recovery key."""
        path = self.archive(number)
        with path.open("rb") as file:
            key = key_of(read_head(file), self.recovery)
        with backup.work_folder(self.settings) as work:
            return backup.open_archive(path, key, work)

    def use_place_under_state(self) -> None:
        """Let the second place be a folder on the disk of the box, as that of an unplugged stick is."""
        folder = self.settings.paths.state_dir / "media"
        folder.mkdir()
        self.settings = replace(self.settings, backup=replace(self.settings.backup, folder=folder))

    def forge_an_entry(self) -> None:
        with closing(sqlite3.connect(self.settings.paths.ledger, isolation_level=None)) as database:
            database.execute("DROP TRIGGER entries_are_final")
            database.execute("UPDATE entries SET body = '{}' WHERE seq = 4")

    def run_with_file_limit(self, most_bytes: int) -> str:
        """Make a backup in a place where no file may grow beyond so much; return what was wrong."""
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, before[1]))
        try:
            backup.make(self.settings, elsewhere=here)
        except Unavailable as error:
            return str(error)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)
        return ""


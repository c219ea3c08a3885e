"""List every setting of a gate, with its limits, unit and reason beside it, and load them from one TOML file.

Standard library and the drivers' table of kinds, nothing heavy: the manual one-shot reads this on a sick machine.
"""

# ruff: noqa: RUF009 - setting() declares a dataclass field, as field() does

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sentinel import device_settings
from sentinel.device_settings import (
    RECTANGLE,
    STREET_SETS_IT,
    Barrier,
    Camera,
    Card,
    Distance,
    Infrared,
    Passes,
    Presence,
    Scanner,
    Temperature,
    Thermal,
)
from sentinel.toml_tables import Clash, read, setting

DEFAULT_CONFIG = Path("/etc/sentinel/gate.toml")

COUNTED_PASS_DAYS = 7  # the longest life of a pass with a number of uses: sentinel.core.admission.COUNTED_S
_LAYER = "(heat|infrared|classifier|motion)"

# An id becomes a level of MQTT topics, where / + # have meanings of their own.
_ID = {"pattern": r"[a-z0-9-]{1,32}", "form": "1 to 32 of the characters a-z 0-9 -"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Which gate this is and what opens it."""

    street: str = setting(**_ID, example='"330106"', why="it names the street office this gate reports to")
    site: str = setting(**_ID, example='"cuiyuan3"', why="it names the site in every message")
    gate: str = setting(**_ID, example='"east-3"', why="it names this gate in every message")
    lane: str = setting("lane-1", **_ID)
    direction: str = setting("in", choices=("in", "out"))
    profile: str = setting("card+face", choices=("card+face", "face", "card"))
    temperature: bool = setting(True)


class _Under:
    """A path below one of the directories of `Paths`."""

    def __init__(self, directory: str, name: str) -> None:
        self._directory, self._name = directory, name

    def __get__(self, paths: Any, owner: type | None = None) -> Path:
        return getattr(paths, self._directory) / self._name


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Where files live. Absolute, for a service has no directory of its own to start from."""

    state_dir: Path = setting(Path("/var/lib/sentinel"))
    run_dir: Path = setting(Path("/run/sentinel"))
    secrets_dir: Path = setting(Path("/var/lib/sentinel/secrets"))
    models_dir: Path = setting(Path("/var/lib/sentinel/models"))

    # Under the units of systemd/ the uplink is another user, who may write here and not beside the ledger.
    uplink_dir: Path | None = setting(None)  # None: state_dir

    ledger = _Under("state_dir", "ledger.db")
    roster = _Under("state_dir", "roster.db")
    policy = _Under("state_dir", "policy.json")
    alike = _Under("state_dir", "alike.json")
    spool = _Under("state_dir", "spool.jsonl")
    barrier_lock = _Under("state_dir", "barrier.lock")
    restoring = _Under("state_dir", "restore.ready")
    control_socket = _Under("run_dir", "control.sock")
    manual_socket = _Under("run_dir", "manual.sock")
    uplink_health = _Under("run_dir", "uplink.json")

    @property
    def uplink_db(self) -> Path:
        """What the street has receipted."""
        return (self.uplink_dir or self.state_dir) / "uplink.db"

    @property
    def down_in(self) -> Path:
        """Where documents of the street wait for the gate."""
        return (self.uplink_dir or self.state_dir) / "down"

    @property
    def receipts_in(self) -> Path:
        """Where receipts that came on a stick wait for the uplink."""
        return (self.uplink_dir or self.state_dir) / "receipts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Within how many hours a fault is answered and repaired, as the street office has agreed."""

    response_hours: float = setting(least=0.5, most=720, unit="h", example="2", why=STREET_SETS_IT)
    recovery_hours: float = setting(least=0.5, most=720, unit="h", example="24", why=STREET_SETS_IT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """For how many days entries are kept."""

    passage_days: int = setting(least=1, most=3650, unit="days", example="30", why=STREET_SETS_IT)
    fault_days: int = setting(least=1, most=3650, unit="days", example="365", why=STREET_SETS_IT)
    # The lower limit: the Cybersecurity Law, article 21 (3), keeps logs for six months at least.
    audit_days: int = setting(least=180, most=3650, unit="days", example="365", why=STREET_SETS_IT)
    # False: what is due is told in the status, and a person looks at it first: sentinelctl retention run.
    automatic: bool = setting(False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vault:
    """How personal data is sealed."""

    # auto: AES where the processor has instructions for it; sm4-gcm: sites under GB/T 39786. The old always opens.
    cipher: str = setting("auto", choices=("auto", "aes-256-gcm", "chacha20-poly1305", "sm4-gcm"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """How much of the disk the ledger may take."""

    # 1024 MB hold about half a million passages, a year of a busy gate; 5 % more are a reserve for who passed.
    quota_mb: int = setting(1024, least=16, most=65_536, unit="MB")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """Where backups go, how often, and how many stay."""

    folder: Path | None = setting(None)  # on another medium than state_dir; None: no backups
    interval_hours: int = setting(24, least=1, most=168, unit="h")
    generations: int = setting(7, least=2, most=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """How faces are found and compared. Unit: similarity is a cosine; higher is closer."""

    pack: str = setting(
        "opencv-zoo", pattern=r"[\w.+-]{1,64}|/\S+", form="a pack of config/models.toml or an absolute folder"
    )
    similarity_one_to_one: float = setting(0.40, least=0.30, most=0.90)
    similarity_card_photo: float = setting(0.36, least=0.30, most=0.90)  # a live face against the card's own picture
    similarity_one_to_many: float = setting(0.0, least=0.43, most=0.90, zero="by gallery size")
    false_match_rate: float = setting(0.001, least=0.0001, most=0.05)  # of a stranger, against everybody enrolled
    margin: float = setting(0.08, least=0.0, most=0.30)
    frames: int = setting(3, least=1, most=10, unit="frames")
    deadline_s: float = setting(2.0, least=0.5, most=10.0, unit="s")
    min_face_px: int = setting(80, least=40, most=1000, unit="px")
    detector_width: int = setting(320, least=160, most=1280, unit="px")
    template_days: int = setting(1095, least=30, most=3650, unit="days")
    threads: int = setting(1, least=1, most=8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Liveness:
    """How it is told whether a face lives, and what follows."""

    # auto: require heat where a thermal sensor gives a whole field, else record.
    mode: str = setting("auto", choices=("auto", "off", "record", "require"))
    # Which layers must say "live" before a face opens; the others are recorded.
    layers: str = setting(
        "heat", pattern=rf"{_LAYER}(,{_LAYER})*", form="heat, infrared, classifier, motion, joined by ,"
    )
    # Where the infrared camera's picture lies in the camera's, as shares x,y,width,height; "" is the same picture.
    infrared_view: str = setting(
        "", pattern=rf"|{RECTANGLE}", form='"x,y,width,height" in shares of the camera\'s picture'
    )
    classifier: str = setting(
        "", pattern=r"|[\w.+-]{1,64}|/\S+", form="a classifier of config/models.toml or an absolute path of a manifest"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fusion:
    """What belongs to one person, and when the same person is a new attempt."""

    window_s: float = setting(6.0, least=1.0, most=30.0, unit="s")
    repeat_s: float = setting(5.0, least=1.0, most=60.0, unit="s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Uplink:
    """The way to the street's broker."""

    broker: str = setting(
        pattern=r"mqtts?://[^/:@\s]+(:\d{1,5})?",
        form="mqtt://HOST:PORT or mqtts://HOST:PORT",
        example='"mqtts://10.20.0.5:8883"',
        why="only the street office knows where its broker is",
    )
    username: str = setting("")
    password_file: Path | None = setting(None)
    ca_file: Path | None = setting(None)
    cert_file: Path | None = setting(None)
    key_file: Path | None = setting(None)
    street_keys: Path | None = setting(None)  # whose receipts, rosters, policies and commands are believed
    # sealed: beside the keyed token the number itself goes along, which only the street's private key opens.
    id_number: str = setting("token", choices=("token", "sealed"))
    keepalive_s: int = setting(30, least=5, most=300, unit="s")
    batch_entries: int = setting(200, least=1, most=1000, unit="entries")
    batch_bytes: int = setting(64_000, least=4_000, most=128_000, unit="bytes")  # every broker takes 128 kB
    resend_s: float = setting(10.0, least=1.0, most=600.0, unit="s")
    backlog_per_s: int = setting(2_000, least=0, most=1_000_000, unit="entries")  # a city's gates come back together


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """The staff's pages."""

    listen: str = setting("127.0.0.1:8080", pattern=r"[^\s:]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}", form="HOST:PORT")
    language: str = setting("zh-CN", choices=("zh-CN", "en"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """What goes to the journal."""

    level: str = setting("info", choices=("debug", "info", "warning", "error"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of one gate, where they were read, and which of them the file states."""

    gate: Gate
    paths: Paths
    temperature: Temperature
    faults: Faults
    retention: Retention
    vault: Vault
    storage: Storage
    backup: Backup
    card: Card
    thermal: Thermal
    camera: Camera
    infrared: Infrared
    scanner: Scanner
    distance: Distance
    presence: Presence
    barrier: Barrier
    passes: Passes
    face: Face
    liveness: Liveness
    fusion: Fusion
    uplink: Uplink
    console: Console
    log: Log
    source: Path
    origins: Mapping[str, str]  # "table.key" → "file" or "default"


TABLES: dict[str, Any] = {table.name: table.type for table in fields(Settings) if is_dataclass(table.type)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One effective setting and where it comes from: "file" or "default"."""

    table: str
    key: str
    value: Any
    origin: str
    unit: str


def find_config(explicit: str | None = None) -> Path:
    """Return the settings file to use: the one named on the command line, SENTINEL_CONFIG, or the system's."""
    return Path(explicit or os.environ.get("SENTINEL_CONFIG") or DEFAULT_CONFIG)


def load(path: Path | str) -> Settings:
    """Return the settings of this file.

    Raises: ConfigError whose message holds one line for each mistake in the file.
    """
    source = Path(path)
    document = read(source, TABLES, _clashes)
    return Settings(**document.tables, source=source, origins=MappingProxyType(dict(document.origins)))


def explain(settings: Settings) -> list[Row]:
    """Return every effective setting, in the order of the tables."""
    return [
        Row(
            table=table,
            key=key.name,
            value=getattr(getattr(settings, table), key.name),
            origin=settings.origins[f"{table}.{key.name}"],
            unit=key.metadata["rule"].unit,
        )
        for table, cls in TABLES.items()
        for key in fields(cls)
    ]


def clashes_of(settings: Settings) -> list[str]:
    """Return what is wrong with settings that are right one by one."""
    return [clash.line for clash in _clashes({table: getattr(settings, table) for table in TABLES})]


def _clashes(tables: Mapping[str, Any]) -> Iterator[Clash]:
    yield from device_settings.clashes(tables)
    if tables["scanner"].kind != "none" and tables["retention"].passage_days < COUNTED_PASS_DAYS:
        yield Clash(
            keys=("retention.passage_days", "scanner.kind"),
            line=f"[retention] passage_days: with a scanner at least {COUNTED_PASS_DAYS}, for which a pass that opens "
            "once is remembered by its passage",
        )
    uplink = tables["uplink"]
    if (uplink.cert_file is None) != (uplink.key_file is None):
        yield Clash(
            keys=("uplink.cert_file", "uplink.key_file"),
            line="[uplink] cert_file and key_file belong together; give both or neither",
        )
    if uplink.password_file is not None and not uplink.username:
        yield Clash(
            keys=("uplink.username", "uplink.password_file"),
            line="[uplink] password_file is given without a username; add username",
        )
    if uplink.id_number == "sealed" and uplink.street_keys is None:
        yield Clash(
            keys=("uplink.id_number", "uplink.street_keys"),
            line='[uplink] id_number = "sealed": for whom is not said; add street_keys, or write "token"',
        )
    if (uplink.ca_file or uplink.cert_file) and str(uplink.broker).startswith("mqtt://"):
        yield Clash(
            keys=("uplink.broker", "uplink.ca_file", "uplink.cert_file"),
            line="[uplink] certificates are given, but broker is mqtt://, which is not encrypted; write mqtts://",
        )

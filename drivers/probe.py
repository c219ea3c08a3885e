"""Find out which device of which kind and speed hangs on a port: try them, and believe only what noise cannot say."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import drivers
from drivers import addresses, identity, ports
from drivers.errors import PortLost, PortSettingsError
from drivers.identity import HERE, Holder, Machine
from drivers.readings import (
    CardReading,
    CodeReading,
    DistanceReading,
    Identity,
    Junk,
    PresenceReading,
    Reading,
    Symptom,
    ThermalReading,
    Trouble,
)
from drivers.speeds import TRY_S, try_s_of

# The table of the settings that names a device of each kind.
SETTINGS_TABLES: Mapping[str, str] = MappingProxyType({name: kind.table for name, kind in drivers.TABLE.items()})
TEXT_KINDS = ("mlx90614-text", "line-scanner")  # any text is one of these: they are believed last
ANY_TEXT = "line-scanner"  # whatever prints lines looks like one: all others are heard out first
CODE_KINDS = ("line-scanner", "keyboard-scanner")
TYPING_KINDS = ("keyboard-scanner",)  # on an input device, and nothing else is
CONCLUSIVE_READINGS = 2
CODE_LEAST_BYTES = 4
TURN_S = 0.05
ASKS_WITHIN_S = 0.3  # a dialect that has asked nothing by then listens only, and all listen at the same time
SHOW_A_CODE_S = 10.0  # somebody has to hold a code before a scanner that types


class Why(StrEnum):
    """Why nothing was found on a port."""

    IN_USE = "in-use"
    CLOSED = "closed"  # it cannot be opened
    SILENT = "silent"
    NOISE = "noise"  # bytes came, and no known device says such bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was heard of one kind at one speed."""

    readings: int
    checked: bool  # the device answered a question, and the answer's check held
    heard_bytes: int
    junk_bytes: int

    @property
    def conclusive(self) -> bool:
        """Whether noise cannot have said it."""
        clean = self.junk_bytes * 2 <= self.heard_bytes
        return clean and (self.checked or self.readings >= CONCLUSIVE_READINGS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A device that was found. `url` has the speed in it, and the port's lasting name where there is one."""

    url: str
    kind: str
    baud: int | None
    identity: str
    evidence: Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Blank:
    """A port on which nothing was found."""

    url: str
    why: Why
    detail: str = ""
    holders: tuple[Holder, ...] = ()


class _Attempt:
    """One kind at one speed: its dialect, and what it makes of the bytes."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.dialect: Any = drivers.load(kind)()
        self.identity = ""
        self._readings = self._heard = self._junk = 0
        self._checked = False

    def feed(self, chunk: bytes, now: float) -> None:
        self._heard += len(chunk)
        for reading in self.dialect.feed(chunk, now):
            self._count(reading)

    def _count(self, reading: Reading) -> None:
        match reading:
            case Junk():
                self._junk += reading.byte_count
            case Identity():
                self.identity, self._checked = reading.text, True
            case Trouble(symptom=Symptom.SELF_TEST | Symptom.REFUSED):
                self._checked = True
            case CodeReading():
                self._readings += self.kind in CODE_KINDS and _is_a_code(reading.content)
            case CardReading() | ThermalReading() | DistanceReading() | PresenceReading():
                self._readings += 1

    @property
    def evidence(self) -> Evidence:
        return Evidence(readings=self._readings, checked=self._checked, heard_bytes=self._heard, junk_bytes=self._junk)

    @property
    def rank(self) -> tuple[bool, bool, bool, int, int]:
        """Return how good the match is: checked answers before many readings before little junk; text comes last."""
        text, any_text = self.kind in TEXT_KINDS, self.kind == ANY_TEXT
        return not text, not any_text, self._checked, self._readings, -self._junk


def _is_a_code(content: bytes) -> bool:
    return len(content) >= CODE_LEAST_BYTES and all(0x20 <= byte < 0x7F for byte in content)


class Prober:
    """Try the known kinds on a port. Nothing is sent but what a dialect asks for: the questions of its daily work.

    `tell` hears of every speed that is tried.
    """

    def __init__(
        self,
        *,
        kinds: Sequence[str] = tuple(drivers.TABLE),
        machine: Machine = HERE,
        clock: Callable[[], float] = time.monotonic,
        open_port: Callable[[str], ports.Port] = ports.open_port,
        tell: Callable[[str, int | None], None] = lambda _url, _baud: None,
    ) -> None:
        self._kinds = kinds
        self._machine = machine
        self._clock = clock
        self._open_port = open_port
        self._tell = tell

    def probe(self, url: str) -> Finding | Blank:
        """Return what hangs on this port. Raises: PortSettingsError when the address cannot be understood."""
        address = addresses.parse(url)
        try:
            path = identity.device_of(url, address, self._machine)
            holders = identity.holders_of(path, self._machine) if path else ()
            if holders:
                return Blank(url=url, why=Why.IN_USE, holders=holders)
            with self._open_port(url) as port:
                return self._on(port, self._lasting(url, address, path))
        except PortLost as error:
            return Blank(url=url, why=Why.CLOSED, detail=str(error))

    def _lasting(self, url: str, address: addresses.Address, path: str) -> str:
        if address.scheme != "serial":
            return url
        name = identity.stable_name(path, self._machine)
        return f"{name}?{url.partition('?')[2]}".rstrip("?") if name else url

    def _on(self, port: ports.Port, url: str) -> Finding | Blank:
        heard_bytes = 0
        for baud in self._speeds(url):
            self._tell(url, baud)
            if baud is not None:
                port.set_baud(baud)
            attempts = [_Attempt(kind) for kind in self._kinds_at(url, baud)]
            heard_bytes += self._round(port, attempts)
            found = [attempt for attempt in attempts if attempt.evidence.conclusive]
            if found:
                best = max(found, key=lambda attempt: attempt.rank)
                where = addresses.at_baud(url, baud) if baud is not None else url
                return Finding(url=where, kind=best.kind, baud=baud, identity=best.identity, evidence=best.evidence)
        if heard_bytes:
            return Blank(url=url, why=Why.NOISE, detail=str(heard_bytes))
        return Blank(url=url, why=Why.SILENT)

    def _speeds(self, url: str) -> Sequence[int | None]:
        """Return the speeds to try: the one that the address names, or all that a device may have, usual ones first."""
        address = addresses.parse(url)
        if address.scheme not in ("serial", "usb"):
            return [None]
        if "baud=" in url and address.baud is not None:
            return [address.baud]
        places: dict[int, list[int]] = {}  # of each speed in the lists of the kinds that have it
        for kind in self._line_kinds():
            for place, baud in enumerate(_speeds_of(kind)):
                places.setdefault(baud, []).append(place)
        return sorted(places, key=lambda baud: (min(places[baud]), -len(places[baud])))

    def _line_kinds(self) -> list[str]:
        return [kind for kind in self._kinds if kind not in TYPING_KINDS]

    def _kinds_at(self, url: str, baud: int | None) -> list[str]:
        if url.startswith("input:"):
            return [kind for kind in self._kinds if kind in TYPING_KINDS]
        return [kind for kind in self._line_kinds() if baud is None or baud in _speeds_of(kind)]

    def _round(self, port: ports.Port, attempts: list[_Attempt]) -> int:
        """Let one kind after the other ask, and all of them listen; return how many bytes came."""
        began = self._clock()
        heard_bytes = 0
        for asking in sorted(attempts, key=lambda attempt: attempt.kind in TEXT_KINDS):
            heard_bytes += self._window(port, asking, attempts)
            if any(attempt.evidence.conclusive and attempt.kind not in TEXT_KINDS for attempt in attempts):
                return heard_bytes
        typing = any(attempt.kind in TYPING_KINDS for attempt in attempts)
        listen_s = SHOW_A_CODE_S if typing else max((try_s_of(attempt.dialect) for attempt in attempts), default=TRY_S)
        while self._clock() - began < listen_s and not any(
            attempt.evidence.conclusive and attempt.kind != ANY_TEXT for attempt in attempts
        ):
            heard_bytes += self._turn(port, attempts)
        return heard_bytes

    def _window(self, port: ports.Port, asking: _Attempt, attempts: list[_Attempt]) -> int:
        began = self._clock()
        ends = began + ASKS_WITHIN_S
        heard_bytes = 0
        while self._clock() < ends and not asking.evidence.conclusive:
            if request := asking.dialect.due(self._clock()):
                ends = began + try_s_of(asking.dialect)
                port.write(request)
            heard_bytes += self._turn(port, attempts)
        return heard_bytes

    def _turn(self, port: ports.Port, attempts: list[_Attempt]) -> int:
        chunk = port.read(TURN_S)
        now = self._clock()
        for attempt in attempts:
            attempt.feed(chunk, now)
        return len(chunk)


def _speeds_of(kind: str) -> tuple[int, ...]:
    return tuple(getattr(drivers.load(kind), "SPEEDS", (addresses.DEFAULT_BAUD,)))


def watch(
    findings: Iterable[Finding],
    seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    open_port: Callable[[str], ports.Port] = ports.open_port,
) -> Iterator[tuple[Finding, Reading]]:
    """Yield what the found devices say for so long; one that is pulled out meanwhile falls silent."""
    lines = []
    try:
        for finding in findings:
            try:
                lines.append((finding, open_port(finding.url), drivers.load(finding.kind)()))
            except (PortLost, PortSettingsError) as error:
                yield finding, Trouble(at_mono=clock(), symptom=Symptom.LOST, detail=str(error))
        ends = clock() + seconds
        while lines and clock() < ends:
            for line in tuple(lines):
                finding, port, dialect = line
                try:
                    readings = _listened(port, dialect, clock)
                except PortLost as error:
                    lines.remove(line)
                    port.close()
                    readings = [Trouble(at_mono=clock(), symptom=Symptom.LOST, detail=str(error))]
                yield from ((finding, reading) for reading in readings)
    finally:
        for _, port, _ in lines:
            port.close()


def _listened(port: ports.Port, dialect: Any, clock: Callable[[], float]) -> list[Reading]:
    if request := dialect.due(clock()):
        port.write(request)
    chunk = port.read(TURN_S)
    return list(dialect.feed(chunk, clock()))


def config_lines(finding: Finding) -> str:
    """Return the lines of the settings file that name this device."""
    return f'[{SETTINGS_TABLES[finding.kind]}]\nkind = "{finding.kind}"\nport = "{finding.url}"\n'

"""Read a TOML file into frozen dataclasses whose fields carry their own rules, or into one clear line per mistake.

Knows no gate: `sentinel/settings.py` says which tables there are. Standard library only.
"""

import difflib
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from sentinel.core.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a setting may be, in which unit, and why a missing one is an error."""

    least: float | None = None  # every number has both limits
    most: float | None = None
    unit: str = ""
    choices: tuple[str, ...] = ()
    pattern: str = ""  # a regular expression that the whole text matches
    form: str = ""  # what the pattern asks for, in words
    zero: str = ""  # when not empty, 0 is allowed below `least` and means this
    example: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clash:
    """Settings that are right one by one and wrong together. `keys` are the ones it judges by, as "table.key"."""

    keys: tuple[str, ...]
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What was read: the table objects by name, and for each "table.key" whether the file states it."""

    tables: Mapping[str, Any]
    origins: Mapping[str, str]


class _Unfit(ValueError):
    """A value does not fit its setting; the message says what was expected."""


def setting(default: Any = MISSING, **rule: Any) -> Any:
    """Declare a setting with its rule; one without a default must stand in the file."""
    return field(default=default, metadata={"rule": Rule(**rule)})


def missing(table: str, key: Field[Any]) -> str:
    """Return the line for a setting that must be stated and is not."""
    rule = key.metadata["rule"]
    why = f": {rule.why}" if rule.why else ""
    return f"[{table}] {key.name} is missing{why}; add e.g. {key.name} = {rule.example}"


def read(source: Path, schema: Mapping[str, Any], clashes: Callable[[Mapping[str, Any]], Iterable[Clash]]) -> Document:
    """Return the tables of this file; `schema` names each table's dataclass, `clashes` judges them together.

    Raises: ConfigError whose message holds one line for each mistake in the file.
    """
    reading = _Reading(schema)
    tables = reading.tables(_parse(source))
    clear = (clash for clash in clashes(tables) if not reading.doubtful.intersection(clash.keys))
    mistakes = reading.mistakes + [clash.line for clash in clear]
    if mistakes:
        raise ConfigError("\n".join(f"{source}: {mistake}" for mistake in mistakes))
    return Document(tables=tables, origins=reading.origins)


def _parse(source: Path) -> dict[str, Any]:
    raw = b""
    try:
        raw = source.read_bytes()
        return tomllib.loads(raw.decode())
    except FileNotFoundError as error:
        advice = "name one with --config or SENTINEL_CONFIG; config/gate.toml is an annotated example"
        raise ConfigError(f"{source}: there is no such file; {advice}") from error
    except OSError as error:
        raise ConfigError(f"{source}: cannot be read: {error.strerror}; check its owner and mode") from error
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{source}: line {line}: not UTF-8 text; save the file as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        what, _, where = str(error).removesuffix(")").rpartition(" (at ")
        advice = '; text stands in "quotation marks"' if what == "Invalid value" else ""
        raise ConfigError(f"{source}: {where}: this is not TOML: {what}{advice}") from error


class _Reading:
    """Read one document and collect every mistake in it."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema
        self.mistakes: list[str] = []
        self.origins: dict[str, str] = {}
        self.doubtful: set[str] = set()  # settings that already have their line: nothing else is judged by them

    def tables(self, document: dict[str, Any]) -> dict[str, Any]:
        for name in document:
            if name not in self._schema:
                self._unknown_table(name, document[name])
        return {name: self._table(name, cls, document.get(name, {})) for name, cls in self._schema.items()}

    def _unknown_table(self, name: str, value: Any) -> None:
        if not isinstance(value, dict):
            self.mistakes.append(f"key {_quoted(name)} stands above the first [table]; move it into its table")
            return
        self.mistakes.append(f"unknown table [{_plain(name)}]{_advice(name, list(self._schema), 'tables')}")
        for near in difflib.get_close_matches(name, self._schema, 1):
            self._doubt(near, self._schema[near])

    def _doubt(self, table: str, cls: Any) -> None:
        self.doubtful |= {f"{table}.{key.name}" for key in fields(cls)}

    def _table(self, table: str, cls: Any, given: Any) -> Any:
        if not isinstance(given, dict):
            self.mistakes.append(f"{table} = {_shown(given)}: expected a table; write [{table}]")
            self._doubt(table, cls)
            given = {}
        names = [key.name for key in fields(cls)]
        for key in given:
            if key not in names:
                self.mistakes.append(f"[{table}] unknown key {_quoted(key)}{self._where_to(key, names)}")
                self.doubtful |= {f"{table}.{near}" for near in difflib.get_close_matches(key, names, 1)}
        return cls(**{key.name: self._value(table, key, given) for key in fields(cls)})

    def _where_to(self, key: str, names: list[str]) -> str:
        homes = [table for table, cls in self._schema.items() if key in {one.name for one in fields(cls)}]
        if homes and not difflib.get_close_matches(key, names, 1):
            return f"; it belongs to [{homes[0]}]"
        return _advice(key, names, "keys")

    def _value(self, table: str, key: Field[Any], given: dict[str, Any]) -> Any:
        path = f"{table}.{key.name}"
        self.origins[path] = "file" if key.name in given else "default"
        if key.name in given:
            try:
                return fit(given[key.name], key)
            except _Unfit as unfit:
                self.mistakes.append(f"[{table}] {key.name} = {_shown(given[key.name])}: {unfit}")
        elif key.default is not MISSING:
            return key.default
        elif path not in self.doubtful:
            self.mistakes.append(missing(table, key))
        self.doubtful.add(path)
        return None if key.default is MISSING else key.default


def fit(value: Any, key: Field[Any]) -> Any:
    """Return the value as the setting takes it.

    Raises: ValueError saying what was expected.
    """
    kinds, rule = set(get_args(key.type) or (key.type,)), key.metadata["rule"]
    if isinstance(value, bool):  # before the numbers: to Python, true is 1
        if bool in kinds:
            return value
    elif isinstance(value, float) and float in kinds:
        if _within(value, rule):
            return value
    elif isinstance(value, int) and kinds & {int, float}:
        if _within(value, rule):
            return float(value) if float in kinds else value
    elif isinstance(value, str) and kinds & {str, Path} and _well_formed(value, kinds, rule):
        return value if str in kinds else (Path(value) if value else None)
    quoted_number = isinstance(value, str) and not kinds & {str, Path}
    raise _Unfit(_expected(kinds, rule) + (", without quotation marks" if quoted_number else ""))


def _within(value: float, rule: Rule) -> bool:
    assert rule.least is not None
    assert rule.most is not None
    return rule.least <= value <= rule.most or bool(rule.zero and value == 0)  # not-a-number is never within


def _well_formed(value: str, kinds: set[Any], rule: Rule) -> bool:
    if not value.isprintable():
        return False  # a line break or a NUL has no business in a name or an address
    if Path in kinds:
        return value.startswith("/") or (value == "" and NoneType in kinds)
    if rule.choices:
        return value in rule.choices
    return not rule.pattern or re.fullmatch(rule.pattern, value) is not None


def _expected(kinds: set[Any], rule: Rule) -> str:
    if bool in kinds:
        return "expected true or false"
    if Path in kinds:
        return "expected an absolute path" + (' or ""' if NoneType in kinds else "")
    if rule.choices:
        return "expected " + " or ".join(f'"{choice}"' for choice in rule.choices)
    if str in kinds:
        return f"expected {rule.form or 'text'}"
    zero = f"0 ({rule.zero}) or " if rule.zero else ""
    whole = "" if float in kinds else "a whole number, "
    return f"expected {zero}{whole}{rule.least} to {rule.most} {rule.unit}".rstrip()


def _advice(name: str, known: list[str], what: str) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean '{near[0]}'?" if near else f"; the {what} here are: {', '.join(known)}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)  # close to TOML, and always one line
    return text if len(text) <= 60 else f"{text[:57]}…"


def _plain(name: str) -> str:
    return name if name.isprintable() else json.dumps(name)


def _quoted(name: str) -> str:
    return f"'{_plain(name)}'"

"""Read who is to be enrolled: lines of JSON, or a CSV file with a folder of pictures. A wrong line says which key."""

import csv
import difflib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from sentinel.core.citizen import tidy_number, valid_number
from sentinel.core.consent import ConsentGiven, check_consent, consent_from_json, day_of
from sentinel.core.errors import DataError

_ID_CARD_PLACES = 18  # numbers of other lengths are of passports and older cards, whose rules are not published
_KEYS = ("name", "number", "pictures", "consent", "valid_until", "allowed", "expires")
_JSON_WORDS = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
_CONSENT_COLUMNS = {  # column → key of the consent
    "consent_ref": "ref",
    "consent_by": "by",
    "consent_on": "on",
    "purpose": "purpose",
    "guardian": "guardian",
    "keep_picture": "keep_picture",
}
COLUMNS = ("name", "number", "pictures", *_CONSENT_COLUMNS, "valid_until", "allowed", "expires")
_YES_NO = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
_PICTURE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterLine:
    """What one line says of a person; None where it says nothing and a known member stays as they are."""

    name: str = field(repr=False)
    number: str = field(repr=False)
    pictures: tuple[str, ...] | None = None
    consent: ConsentGiven | None = None
    valid_until: date | None = None
    allowed: bool | None = None
    expires: date | None = None  # of the templates; by the settings and the age when nothing is said


def read_line(line: bytes, today: date, *, pictures: Sequence[str] = ()) -> RosterLine:
    """Return what this line of JSON says; `pictures` are those that will be taken here, and the line names none then.

    Raises: DataError naming the key that is unknown, missing or of the wrong form; never the value, it is personal.
    """
    told = _object(line)
    if pictures and "pictures" in told:
        raise DataError("pictures: they are taken here; leave this key out, or enrol without --camera and --card")
    return line_of({**told, "pictures": list(pictures)} if pictures else told, today)


def line_of(told: Mapping[str, Any], today: date) -> RosterLine:
    """Return what these keys say of a person.

    Raises: DataError naming the key that is unknown, missing or of the wrong form; never the value, it is personal.
    """
    for key in told:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, 1)
            advice = f"did you mean '{near[0]}'?" if near else f"the keys are: {', '.join(_KEYS)}"
            raise DataError(f"unknown key {key[:32]!r}; {advice}")
    wanted = RosterLine(
        name=_text(told, "name").strip(),
        number=tidy_number(_text(told, "number")),
        pictures=_pictures(told),
        consent=_consent(told),
        valid_until=_date(told, "valid_until"),
        allowed=_flag(told, "allowed"),
        expires=_date(told, "expires"),
    )
    for key, value in (("name", wanted.name), ("number", wanted.number)):
        if not value:
            raise DataError(f"{key} is missing; name and number are needed")
    if len(wanted.number) == _ID_CARD_PLACES and not valid_number(wanted.number):
        raise DataError("number: the ID number fails its check digit or birth date; compare it with the card")
    if wanted.pictures:
        if wanted.consent is None:
            raise DataError("pictures need a consent: say ref, by, on and purpose, see docs/people.md")
        check_consent(wanted.consent, wanted.number, today)
        if wanted.expires is not None and wanted.expires < today:
            raise DataError("expires lies in the past; such a template would never be used")
    return wanted


def _consent(told: Mapping[str, Any]) -> ConsentGiven | None:
    if "consent" not in told or told["consent"] == "":
        return None
    if not isinstance(told["consent"], dict):
        raise _wrong("consent", 'an object, as in {"ref": …, "by": "self", "on": …, "purpose": …}', told["consent"])
    for key, value in told["consent"].items():
        if isinstance(value, str):
            _plain_text(f"consent.{key}"[:64], value)
    return consent_from_json(told["consent"])


def _object(line: bytes) -> dict[str, Any]:
    try:
        told = json.loads(line.decode(), object_pairs_hook=_each_once)
    except UnicodeDecodeError as error:
        raise DataError("the line is not UTF-8; save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"the line is no JSON ({error}); see: sentinelctl people add --help") from error
    if not isinstance(told, dict):
        raise DataError("a line must be one JSON object; see: sentinelctl people add --help")
    return told


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for key, value in pairs:
        if key in told:
            raise DataError(f"key {key[:32]!r} stands twice; keep one")
        told[key] = value
    return told


def _text(told: Mapping[str, Any], key: str) -> str:
    return _plain_text(key, told[key]) if key in told else ""


def _plain_text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(key, "text in quotes", value)
    if any("\ud800" <= char <= "\udfff" or char == "\0" for char in value):
        raise DataError(f"{key} holds half a character or a zero byte, which can be kept nowhere; write it again")
    return value


def _pictures(told: Mapping[str, Any]) -> tuple[str, ...] | None:
    if "pictures" not in told:
        return None
    if not isinstance(told["pictures"], list):
        raise _wrong("pictures", 'a list of files, as in ["/a.jpg"]', told["pictures"])
    return tuple(_plain_text("pictures", path) for path in told["pictures"])


def _date(told: Mapping[str, Any], key: str) -> date | None:
    if key not in told:
        return None
    return day_of(key, _plain_text(key, told[key]))


def _flag(told: Mapping[str, Any], key: str) -> bool | None:
    if key not in told:
        return None
    if not isinstance(told[key], bool):
        raise _wrong(key, "true or false, without quotes", told[key])
    return told[key] is True


def _wrong(key: str, expected: str, value: Any) -> DataError:
    return DataError(f"{key}: expected {expected}; not {_JSON_WORDS.get(type(value), 'a number')}")


def read_rows(data: bytes, encoding: str) -> list[tuple[int, Mapping[str, str]]]:
    """Return the rows of a CSV file with the numbers of their lines; empty cells are left out.

    Raises: DataError when it is not in this encoding, or its first line names columns that nobody knows.
    """
    try:
        text = data.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise DataError(f"the CSV file is not {encoding}; save it as UTF-8, or try --encoding gb18030") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        heads = [head.strip() for head in next(reader, [])]
        _check_heads(heads)
        return [(reader.line_num, _cells(heads, row)) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DataError(f"line {reader.line_num} of the CSV file cannot be read ({error}); mend its quotes") from error


def _check_heads(heads: list[str]) -> None:
    for head in heads:
        if head not in COLUMNS:
            near = difflib.get_close_matches(head, COLUMNS, 1)
            advice = f"did you mean '{near[0]}'?" if near else f"the columns are: {', '.join(COLUMNS)}"
            raise DataError(f"unknown column {head[:32]!r}; {advice}")
        if heads.count(head) > 1:
            raise DataError(f"column {head!r} stands twice; keep one")
    for head in ("name", "number"):
        if head not in heads:
            raise DataError(f"there is no column {head!r}; the first line names the columns: {', '.join(COLUMNS)}")


def _cells(heads: list[str], row: list[str]) -> Mapping[str, str]:
    # A longer row is a broken one; its last cells must not silently vanish.
    named = dict(zip(heads, row, strict=False)) | ({"": "more"} if len(row) > len(heads) else {})
    return {head: cell.strip() for head, cell in named.items() if cell.strip()}


def row_line(row: Mapping[str, str], folder: Path, today: date) -> RosterLine:
    """Return what a CSV row says; its pictures are files of the folder, or folders in it, parted by semicolons.

    Raises: DataError naming the column that is missing or of the wrong form.
    """
    if "" in row:
        raise DataError("the row has more cells than the first line has columns; put quotes around commas")
    told: dict[str, Any] = {key: row[key] for key in ("name", "number", "valid_until", "expires") if key in row}
    if "allowed" in row:
        told["allowed"] = _yes_no("allowed", row["allowed"])
    consent: dict[str, Any] = {key: row[column] for column, key in _CONSENT_COLUMNS.items() if column in row}
    if "keep_picture" in consent:
        consent["keep_picture"] = _yes_no("keep_picture", consent["keep_picture"])
    if consent:
        told["consent"] = consent
    if "pictures" in row:
        told["pictures"] = list(_in_folder(row["pictures"].split(";"), folder))
    return line_of(told, today)


def _yes_no(column: str, cell: str) -> bool:
    if cell.lower() not in _YES_NO:
        raise DataError(f"{column}: expected yes or no; write one of them")
    return _YES_NO[cell.lower()]


def _in_folder(names: Iterable[str], folder: Path) -> Iterator[str]:
    home = folder.resolve()
    for name in (name.strip() for name in names):
        if not name:
            continue
        path = (home / name).resolve()
        if not path.is_relative_to(home):
            raise DataError("pictures: a file lies outside the folder; put all pictures into it")
        if path.is_dir():
            found = sorted(str(file) for file in path.iterdir() if file.suffix.lower() in _PICTURE_ENDINGS)
            if not found:
                raise DataError("pictures: a folder holds no picture (jpg, png, bmp, webp); put some into it")
            yield from found
        else:
            yield str(path)

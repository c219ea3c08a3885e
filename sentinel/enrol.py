"""One-shot: enrol people from JSON lines on standard input. Loads the face models once, keeps no picture.

A template is made only with a recorded consent; the consent is in the ledger before the template is in the roster, and
so is the removal of templates.
"""

import argparse
import difflib
import json
import re
import sys
from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from recognition.errors import FaceUnusable
from recognition.pipeline import Limits, Pipeline
from sentinel import roster
from sentinel.control import ask_manual, raise_refused
from sentinel.core.citizen import tidy_number, valid_number
from sentinel.core.errors import DataError, SentinelError
from sentinel.settings import Settings, find_config, load
from sentinel.supervise import end_process
from sync.vault import Vault

_ID_CARD_PLACES = 18  # numbers of other lengths are of passports and older cards, whose rules are not published
_KEYS = ("name", "number", "pictures", "consent", "valid_until", "allowed")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")  # date.fromisoformat alone would take 20271231 and 2027-W01-1 too
_JSON_WORDS = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}


def main(argv: list[str] | None = None) -> None:
    """Enrol everybody on standard input; exit 65 when some lines were refused."""
    parser = argparse.ArgumentParser(prog="sentinel-enrol", description="For people: sentinelctl people add")
    parser.add_argument("--config")
    args = parser.parse_args(argv)
    # Bytes: the lines are UTF-8 whatever the terminal is set to.
    end_process(partial(_run, find_config(args.config), sys.stdin.buffer))


def _run(config: Path, lines: Iterable[bytes]) -> int:
    settings = load(config)
    vault = Vault.open(settings.paths.secrets_dir, create=True)
    enroller = Enroller(settings, vault)
    added = refused = 0
    with roster.editing(settings.paths.roster):
        members = roster.load(settings.paths.roster, vault)
        try:
            for number, line in _numbered(lines):
                if _added(enroller, members, number, line):
                    added += 1
                else:
                    refused += 1
        finally:
            # Missing models end the run, but whoever was accepted before has a consent in the ledger by now.
            if added:
                roster.publish(settings.paths.roster, members, vault)
            print(f"{added} people added, {refused} refused; the roster has {len(members)} people", file=sys.stderr)
    return DataError.exit_code if refused else 0


def _numbered(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    return ((number, line) for number, line in enumerate(lines, 1) if line.strip())


def _added(enroller: "Enroller", members: MutableMapping[str, roster.Member], number: int, line: bytes) -> bool:
    """Take one line into the members, or tell why it is refused; what is no fault of the line is raised."""
    try:
        member = enroller.member(read_line(line), members)
    except (SentinelError, FaceUnusable) as error:
        print(f"line {number}: refused: {error}", file=sys.stderr)
        return False
    members[member.token] = member
    print(f"line {number}: {member.token[:8]} with {len(member.templates)} templates", file=sys.stderr)
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterLine:
    """What one line says of a person; None where it says nothing and a known member stays as they are."""

    name: str = field(repr=False)
    number: str = field(repr=False)
    pictures: tuple[str, ...] | None = None
    consent: str = ""
    valid_until: date | None = None
    allowed: bool | None = None


def read_line(line: bytes) -> RosterLine:
    """Return what this line says.

    Raises: DataError naming the key that is unknown, missing or of the wrong form; never the value, it is personal.
    """
    told = _object(line)
    for key in told:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, 1)
            advice = f"did you mean '{near[0]}'?" if near else f"the keys are: {', '.join(_KEYS)}"
            raise DataError(f"unknown key {key[:32]!r}; {advice}")
    wanted = RosterLine(
        name=_text(told, "name").strip(),
        number=tidy_number(_text(told, "number")),
        pictures=_pictures(told),
        consent=_text(told, "consent").strip(),
        valid_until=_date(told, "valid_until"),
        allowed=_flag(told, "allowed"),
    )
    for key, value in (("name", wanted.name), ("number", wanted.number)):
        if not value:
            raise DataError(f"{key} is missing; name and number are needed")
    if len(wanted.number) == _ID_CARD_PLACES and not valid_number(wanted.number):
        raise DataError("number: the ID number fails its check digit or birth date; compare it with the card")
    if wanted.pictures and not wanted.consent:
        raise DataError('pictures need a consent: say how it was given, for example "paper 2026/17"')
    return wanted


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


def _text(told: dict[str, Any], key: str) -> str:
    return _plain_text(key, told[key]) if key in told else ""


def _plain_text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(key, "text in quotes", value)
    if any("\ud800" <= char <= "\udfff" or char == "\0" for char in value):
        raise DataError(f"{key} holds half a character or a zero byte, which can be kept nowhere; write it again")
    return value


def _pictures(told: dict[str, Any]) -> tuple[str, ...] | None:
    if "pictures" not in told:
        return None
    if not isinstance(told["pictures"], list):
        raise _wrong("pictures", 'a list of files, as in ["/a.jpg"]', told["pictures"])
    return tuple(_plain_text("pictures", path) for path in told["pictures"])


def _date(told: dict[str, Any], key: str) -> date | None:
    if key not in told:
        return None
    value = _plain_text(key, told[key])
    try:
        if _DATE.fullmatch(value):
            return date.fromisoformat(value)
    except ValueError as error:
        raise DataError(f"{key}: there is no such day; look at a calendar") from error
    raise DataError(f'{key}: expected a day as in "2027-12-31"; write it as YYYY-MM-DD')


def _flag(told: dict[str, Any], key: str) -> bool | None:
    if key not in told:
        return None
    if not isinstance(told[key], bool):
        raise _wrong(key, "true or false, without quotes", told[key])
    return told[key] is True


def _wrong(key: str, expected: str, value: Any) -> DataError:
    return DataError(f"{key}: expected {expected}; not {_JSON_WORDS.get(type(value), 'a number')}")


class Enroller:
    """Make members of the roster from what a line says."""

    def __init__(self, settings: Settings, vault: Vault) -> None:
        self._settings = settings
        self._vault = vault
        self._pipeline: Pipeline | None = None

    def member(self, line: RosterLine, members: MutableMapping[str, roster.Member]) -> roster.Member:
        """Return the member this line describes; what it leaves out stays as the members have it.

        Raises: DataError naming a picture. FaceUnusable when a picture cannot serve. SentinelError when a consent or
        a removal cannot be recorded. RecognitionError when the face models cannot serve.
        """
        token = self._vault.token(line.number)
        known = members.get(token, roster.Member(token=token, name=line.name, number=line.number))
        member = replace(
            known,
            name=line.name,
            number=line.number,
            allowed=known.allowed if line.allowed is None else line.allowed,
            valid_until=line.valid_until or known.valid_until,
        )
        if line.pictures is None:
            return member
        member = replace(member, templates=tuple(self._templates(line.pictures, line.consent)))
        if member.templates:
            self._record(member, "enrolled", line.consent, member.templates[0].model)
        elif known.templates:
            self._record(member, "removed", line.consent or "pictures: []", "")
        return member

    def _templates(self, pictures: Iterable[str], consent: str) -> Iterator[roster.Template]:
        for path in pictures:
            template = self._ready().template(_picture(path))
            yield roster.Template(
                model=template.model,
                vector=np.asarray(template.vector, "<f4").tobytes(),
                consent=consent,
                made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            )

    def _ready(self) -> Pipeline:
        if self._pipeline is None:
            face = self._settings.face
            self._pipeline = Pipeline.open(
                self._settings.paths.models_dir,
                pack=face.pack,
                threads=face.threads,
                detector_width=face.detector_width,
                limits=Limits(one_to_many=face.similarity_one_to_many),
            )
        return self._pipeline

    def _record(self, member: roster.Member, act: str, consent: str, model: str) -> None:
        request = roster.consent_request(member, act=act, consent=consent, model=model)
        raise_refused(ask_manual(self._settings.paths.manual_socket, self._settings.source, request, 12.0))


def _picture(path: str) -> Any:
    try:
        pixels = cv2.imread(path, cv2.IMREAD_COLOR)
    except cv2.error as error:  # a picture of more than 2³⁰ pixels
        raise DataError(f"{path} is no picture that can be read ({error.err}); use a smaller one") from error
    if pixels is None:
        raise DataError(f"{path} is no picture that can be read")
    return pixels


if __name__ == "__main__":
    main()

"""One-shot: enrol people from JSON lines on standard input. Loads the face models once, keeps no picture.

A template is made only with a recorded consent; the consent is in the ledger before the template is in the roster.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from recognition.errors import RecognitionError
from recognition.pipeline import Pipeline
from sentinel import roster
from sentinel.control import ask_manual, raise_refused
from sentinel.core.citizen import tidy_number, valid_number
from sentinel.core.errors import DataError, SentinelError
from sentinel.settings import Settings, find_config, load
from sentinel.supervise import end_process
from sync.vault import Vault

_ID_CARD_PLACES = 18  # numbers of other lengths are of passports and older cards, whose rules are not published


def main(argv: list[str] | None = None) -> None:
    """Enrol everybody on standard input; exit 65 when some lines were refused."""
    parser = argparse.ArgumentParser(prog="sentinel-enrol", description="For people: sentinelctl people add")
    parser.add_argument("--config")
    args = parser.parse_args(argv)
    end_process(partial(_run, find_config(args.config), sys.stdin))


def _run(config: Path, lines: Iterable[str]) -> int:
    settings = load(config)
    vault = Vault.open(settings.paths.secrets_dir, create=True)
    enroller = Enroller(settings, vault)
    added = refused = 0
    with roster.editing(settings.paths.roster):
        members = roster.load(settings.paths.roster, vault)
        for number, line in _numbered(lines):
            try:
                member = enroller.member(json.loads(line))
            except (SentinelError, RecognitionError, ValueError) as error:
                refused += 1
                print(f"line {number}: refused: {error}", file=sys.stderr)
                continue
            members[member.token] = member
            added += 1
            print(f"line {number}: {member.token[:8]} with {len(member.templates)} templates", file=sys.stderr)
        if added:
            roster.publish(settings.paths.roster, members, vault)
    print(f"{added} people added, {refused} refused; the roster has {len(members)} people", file=sys.stderr)
    return DataError.exit_code if refused else 0


def _numbered(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line in enumerate(lines, 1) if line.strip())


class Enroller:
    """Make members of the roster from what a line says."""

    def __init__(self, settings: Settings, vault: Vault) -> None:
        self._settings = settings
        self._vault = vault
        self._pipeline: Pipeline | None = None

    def member(self, line: Any) -> roster.Member:
        """Return the member this line describes.

        Raises: DataError naming the field. RecognitionError when a picture cannot serve. SentinelError when the
        consent cannot be recorded.
        """
        if not isinstance(line, dict):
            raise DataError("a line must be one JSON object")
        name, number = str(line.get("name", "")).strip(), tidy_number(str(line.get("number", "")))
        if not name or not number:
            raise DataError("name and number are needed")
        if len(number) == _ID_CARD_PLACES and not valid_number(number):
            raise DataError("the ID number fails its check digit or birth date; compare it with the card")
        until = line.get("valid_until")
        member = roster.Member(
            token=self._vault.token(number),
            name=name,
            number=number,
            allowed=bool(line.get("allowed", True)),
            valid_until=date.fromisoformat(until) if until else None,
            templates=tuple(self._templates(line)),
        )
        if member.templates:
            self._record_consent(member, str(line["consent"]))
        return member

    def _templates(self, line: dict[str, Any]) -> Iterator[roster.Template]:
        pictures = line.get("pictures", [])
        consent = str(line.get("consent", "")).strip()
        if pictures and not consent:
            raise DataError("pictures need a consent: say how it was given, for example \"paper 2026/17\"")
        for path in pictures:
            template = self._ready().template(_picture(Path(path)))
            yield roster.Template(
                model=template.model,
                vector=np.asarray(template.vector, "<f4").tobytes(),
                consent=consent,
                made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            )

    def _ready(self) -> Pipeline:
        if self._pipeline is None:
            face = self._settings.face
            self._pipeline = Pipeline.open(self._settings.paths.models_dir, pack=face.pack, threads=face.threads)
        return self._pipeline

    def _record_consent(self, member: roster.Member, consent: str) -> None:
        model = member.templates[0].model
        request = roster.consent_request(member, act="enrolled", consent=consent, model=model)
        raise_refused(ask_manual(self._settings.paths.manual_socket, self._settings.source, request, 12.0))


def _picture(path: Path) -> Any:
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise DataError(f"{path} is no picture that can be read")
    return pixels


if __name__ == "__main__":
    main()

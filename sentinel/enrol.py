"""One-shot: enrol people from JSON lines, or from a CSV file with a folder. Loads the face models once.

A template is made only with a recorded consent; the consent is in the ledger before the template is in the roster, and
so are the removal of templates and their quarantine. A picture is kept, sealed, only where the consent says so.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from recognition.errors import FaceUnusable
from sentinel import clocks, roster, site_evidence
from sentinel.core.errors import DataError, SentinelError
from sentinel.enrol_camera import WANTED, take_shots
from sentinel.enrol_card import check_no_better, decoder_of, take_photo
from sentinel.enrol_lines import RosterLine, read_line, read_rows, row_line
from sentinel.enrol_report import Report
from sentinel.enroller import Enroller, NoPictureServes
from sentinel.keyroom import open_vault
from sentinel.re_embed import renew_all, tell_renewed
from sentinel.roster import CARD_PHOTO
from sentinel.settings import Settings, find_config, load
from sentinel.supervise import end_process
from sync.vault import Vault

Lines = Iterator[tuple[int, Callable[[], RosterLine]]]
ReadHere = Callable[["Desk", Enroller, bytes], RosterLine]
_PUBLISH_EVERY = 200  # people: so many consents may be in the ledger whose templates a power cut takes back


def main(argv: list[str] | None = None) -> None:
    """Enrol everybody who is told; exit 65 when some lines were refused."""
    parser = argparse.ArgumentParser(prog="sentinel-enrol", description="For people: sentinelctl people add")
    parser.add_argument("--config")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--camera", action="store_true")
    parser.add_argument("--card", action="store_true")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--encoding", default="utf-8")
    parser.add_argument("--report", type=Path)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--re-embed", action="store_true")
    args = parser.parse_args(argv)
    end_process(partial(_run, find_config(args.config), args))


@dataclass(slots=True, kw_only=True)
class Desk:
    """Where people are enrolled: the roster as it is being changed, and what is to be published with it."""

    settings: Settings
    vault: Vault
    members: MutableMapping[str, roster.Member]
    pictures: dict[str, bytes] = field(default_factory=dict)

    def publish(self) -> None:
        """Publish the roster as it is now."""
        roster.publish(self.settings.paths.roster, self.members, self.vault, self.pictures)
        self.pictures.clear()
        site_evidence.follow_roster(self.members.values(), self.settings)


def _run(config: Path, args: argparse.Namespace) -> int:
    settings = load(config)
    vault = open_vault(settings, create=True)
    with roster.editing(settings.paths.roster):
        members = roster.load_all(settings.paths.roster, vault)
        enroller = Enroller(settings, vault, members, dry_run=args.dry_run)
        desk = Desk(settings=settings, vault=vault, members=members)
        if args.re_embed:
            pictures_of = partial(roster.pictures, settings.paths.roster, vault)
            found = renew_all(enroller, members, desk.publish, pictures_of, dry_run=args.dry_run)
            return tell_renewed(found, dry_run=args.dry_run, as_json=args.json)
        return _enrol(desk, enroller, args)


def _enrol(desk: Desk, enroller: Enroller, args: argparse.Namespace) -> int:
    # Bytes: the lines are UTF-8 whatever the terminal is set to.
    rows = _csv_lines(args) if args.csv else []
    report = Report(total=len(rows), each_line=not args.csv)
    try:
        for number, read in rows if args.csv else _given_lines(desk, enroller, args):
            taken = _take(desk, enroller, report, number, read)
            if taken and report.added % _PUBLISH_EVERY == 0 and not args.dry_run:
                desk.publish()
    finally:
        # Missing models end the run, but whoever was accepted before has a consent in the ledger by now.
        if report.added and not args.dry_run:
            desk.publish()
        _tell(report, len(desk.members), args)
    return DataError.exit_code if report.refused else 0


def _given_lines(desk: Desk, enroller: Enroller, args: argparse.Namespace) -> Lines:
    if args.card or args.camera:
        return _one_line(desk, enroller, line_with_card if args.card else _line_with_shots)
    return _stdin_lines()


def _stdin_lines() -> Lines:
    today = clocks.today()
    lines = enumerate(sys.stdin.buffer, 1)
    return ((number, partial(read_line, line, today)) for number, line in lines if line.strip())


def _one_line(desk: Desk, enroller: Enroller, read: ReadHere) -> Lines:
    """Return the one line, to be read while its person stands here.

    Raises: DataError when there are more lines: nobody could tell who stands here.
    """
    lines = [line for line in sys.stdin.buffer if line.strip()]
    if len(lines) != 1:
        raise DataError(f"with camera or card one line is taken, not {len(lines)}; enrol one person after the other")
    yield 1, partial(read, desk, enroller, lines[0])


def _line_with_shots(desk: Desk, enroller: Enroller, line: bytes) -> RosterLine:
    names = [f"shot {number + 1}" for number in range(WANTED)]
    wanted = read_line(line, clocks.today(), pictures=names)  # what is wrong with it is told before anybody poses
    say = partial(print, file=sys.stderr, flush=True)
    enroller.shots = take_shots(desk.settings.camera, enroller.ready(), say)
    return dataclasses.replace(wanted, pictures=tuple(enroller.shots))


def line_with_card(desk: Desk, enroller: Enroller, line: bytes) -> RosterLine:
    """Return what a line says, with the photograph of its person's card, which is asked for only when it can be used.

    Raises: DataError, Unavailable, DriverError, as `take_photo` does. PortSettingsError, PhotoDecoderUnavailable.
    """
    name = "card photograph"
    wanted = read_line(line, clocks.today(), pictures=[name])
    check_no_better(desk.members.get(desk.vault.token(wanted.number)), enroller.ready().model)
    decoder, say = decoder_of(desk.settings.card), partial(print, file=sys.stderr, flush=True)
    enroller.shots = {name: take_photo(desk.settings.card, wanted.number, decoder, say)}
    enroller.shots_source = CARD_PHOTO
    return wanted


def _csv_lines(args: argparse.Namespace) -> list[tuple[int, Callable[[], RosterLine]]]:
    today, folder = clocks.today(), args.folder or args.csv.parent
    try:
        rows = read_rows(args.csv.read_bytes(), args.encoding)
    except OSError as error:
        raise DataError(f"{args.csv} cannot be read ({error.strerror}); check the name and its permissions") from error
    return [(number, partial(row_line, row, folder, today)) for number, row in rows]


def _take(desk: Desk, enroller: Enroller, report: Report, number: int, read: Callable[[], RosterLine]) -> bool:
    """Take one line into the members, or tell why it is refused; what is no fault of the line is raised."""
    try:
        enrolled = enroller.member(read(), desk.members)
    except NoPictureServes as error:
        for note in error.notes:
            report.note(dataclasses.replace(note, line=number))
        report.turned_down(number, "no-picture-serves", str(error))
        return False
    except (SentinelError, FaceUnusable) as error:
        report.turned_down(number, "line", str(error))
        return False
    member = enrolled.member
    desk.members[member.token] = member
    desk.pictures |= enrolled.pictures
    enroller.crowd_takes(member)
    for note in enrolled.notes:
        report.note(dataclasses.replace(note, line=number))
    report.accepted(number, f"{member.token[:8]} with {len(member.templates)} templates")
    return True


def _tell(report: Report, people: int, args: argparse.Namespace) -> None:
    if args.report:
        report.write(args.report)
    would = "would be " if args.dry_run else ""
    aside = f", {report.quarantined} templates set aside: sentinelctl people quarantine" if report.quarantined else ""
    print(
        f"{report.added} people {would}added, {report.refused} refused{aside}; the roster has {people} people",
        file=sys.stderr,
    )
    if args.json:
        notes = [dataclasses.asdict(note) for note in report.notes]
        counts = {"added": report.added, "refused": report.refused, "quarantined": report.quarantined}
        document = {"schema": "sentinel.enrolment/1", "dry_run": args.dry_run, **counts, "notes": notes}
        print(json.dumps(document, ensure_ascii=False))


if __name__ == "__main__":
    main()

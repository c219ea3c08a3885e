"""Find out which device hangs on which port, show what it says, and write the lines of the settings for it."""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentinel.cli import add_verb, render
from sentinel.cli.settings_file import with_device
from sentinel.core.errors import ConfigError, Unavailable, UsageError
from sentinel.i18n import text
from sentinel.phrases import listing, word

if TYPE_CHECKING:
    from drivers.probe import Blank, Finding
    from drivers.readings import Reading

SHOWN_EVERY_S = 1.0  # a distance comes a hundred times a second; nobody reads that


def add(subparsers: Any) -> None:
    """Add `probe`."""
    probe = add_verb(
        subparsers,
        "probe",
        run_probe,
        summary="Find which device of which kind and speed hangs on which port, and show what it says.",
        about="Stop the gate first: a port has one owner. Sensors may be asked, nothing is set on any device.\n"
        "A scanner that types like a keyboard is looked for only where --port names it; show it two codes.",
        example="sentinelctl probe --port serial:///dev/ttyUSB0",
        exits="0 something was found, 64 called wrongly, 69 nothing was found, 78 wrong settings",
    )
    probe.add_argument(
        "--port", action="append", metavar="URL", help="try this address only; again for more (default: every line)"
    )
    probe.add_argument("--seconds", type=float, default=10.0, help="how long to show readings (default %(default)s)")
    probe.add_argument("--write", action="store_true", help="write the found devices into the settings file")


def run_probe(args: argparse.Namespace) -> int:
    """Print what was found on each port, what it says, and the settings that name it."""
    from drivers import identity
    from drivers.probe import Finding, Prober, config_lines

    if not 0 <= args.seconds <= 3600:
        raise UsageError("--seconds is 0 to 3600")
    story = _Story(args)
    prober = Prober(tell=story.trying)
    results = [prober.probe(url) for url in args.port or identity.candidates()]
    found = [result for result in results if isinstance(result, Finding)]
    config = "\n".join(config_lines(finding) for finding in found)
    if not args.json:
        story.table(results)
    said = story.live(found, args.seconds)
    if args.json:
        print(json.dumps(_document(results, said, config), ensure_ascii=False))
    elif not args.quiet and config:
        print(f"\n{config}", end="")
    if args.write and found:
        write_settings(args.config, found)
        story.say("probe.written", path=args.config)
    return 0 if found else Unavailable.exit_code


class _Story:
    """Tell what happens: the table and the readings to standard output, the rest to standard error."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._lang = args.lang
        self._quiet = args.quiet
        self._json = args.json
        self._plain = args.plain

    def say(self, key: str, **values: object) -> None:
        if not self._quiet:
            print(text(key, self._lang, **values), file=sys.stderr)

    def trying(self, url: str, baud: int | None) -> None:
        if baud is None:
            self.say("probe.trying", url=url)
        else:
            self.say("probe.trying_baud", url=url, baud=baud)

    def table(self, results: Sequence["Finding | Blank"]) -> None:
        if self._quiet:
            return
        if not results:
            self.say("probe.no_ports")
        head = [tuple(text(f"probe.title.{name}", self._lang) for name in ("port", "kind", "speed", "what"))]
        for line in render.table([*head, *(result_cells(result, self._lang) for result in results)], most=None):
            print(render.ascii_only(line) if self._plain else line)

    def live(self, found: Sequence["Finding"], seconds: float) -> list[dict[str, str]]:
        """Show readings as they come, of one sort at most one a second; return the last of each sort."""
        from drivers.probe import watch

        newest: dict[tuple[str, str], dict[str, str]] = {}
        shown_at: dict[tuple[str, str], float] = {}
        if found and seconds:
            self.say("probe.live", seconds=f"{seconds:g}")
        for finding, reading in watch(found, seconds):
            sort = (finding.url, type(reading).__name__)
            said = reading_words(reading, self._lang)
            newest[sort] = {"port": finding.url, "kind": finding.kind, "sort": sort[1], "said": said}
            if reading.at_mono - shown_at.get(sort, -SHOWN_EVERY_S) >= SHOWN_EVERY_S:
                shown_at[sort] = reading.at_mono
                if not (self._quiet or self._json):
                    print(f"{finding.kind}  {render.printable(said)}", flush=True)
        return list(newest.values())


def result_cells(result: "Finding | Blank", lang: str) -> tuple[str, str, str, str]:
    """Return port, kind, speed and what is known of it, for the table."""
    from drivers.probe import Finding

    if isinstance(result, Finding):
        evidence = text("probe.evidence", lang, readings=result.evidence.readings)
        return result.url, result.kind, str(result.baud or "-"), result.identity or evidence
    holders = listing((f"{holder.pid} ({holder.name})" for holder in result.holders), lang)
    return result.url, "-", "-", text(f"probe.why.{result.why}", lang, detail=result.detail, holders=holders)


def reading_words(reading: "Reading", lang: str) -> str:
    """Return a reading in words that name nobody: of a card its kind and the last four places, of a code its size."""
    from drivers import readings

    match reading:
        case readings.CardReading():
            return text("probe.card", lang, kind=word("card-kind", reading.kind, lang), last=reading.number[-4:])
        case readings.ThermalReading():
            hottest = max((value for value in reading.celsius if not isnan(value)), default=float("nan"))
            return text("probe.thermal", lang, hottest=_celsius(hottest), ambient=_celsius(reading.ambient_celsius))
        case readings.CodeReading():
            return text("probe.code", lang, size=len(reading.content))
        case readings.DistanceReading(distance_mm=None):
            return text("probe.far", lang)
        case readings.DistanceReading():
            return text("probe.distance", lang, distance_mm=reading.distance_mm)
        case readings.PresenceReading():
            return text("probe.somebody" if reading.somebody else "probe.nobody", lang)
        case readings.Trouble() | readings.Impairment():
            return f"{word('symptom', reading.symptom, lang)}: {reading.detail}"
        case readings.Junk():
            return text("probe.junk", lang, size=reading.byte_count)
        case readings.Identity():
            return reading.text
        case readings.Sign():
            return reading.detail
    return type(reading).__name__


def _celsius(value: float) -> str:
    return "-" if isnan(value) else f"{value:.1f}"


def _document(results: Iterable["Finding | Blank"], said: list[dict[str, str]], config: str) -> dict[str, Any]:
    return {
        "schema": "sentinel.probe/1",
        "ports": [_port_document(result) for result in results],
        "readings": said,
        "config": config,
    }


def _port_document(result: "Finding | Blank") -> dict[str, Any]:
    from drivers.probe import Finding

    if isinstance(result, Finding):
        return {
            "port": result.url, "found": True, "kind": result.kind, "baud": result.baud, "identity": result.identity,
            "checked": result.evidence.checked, "readings": result.evidence.readings,
        }  # fmt: skip
    holders = [{"pid": holder.pid, "name": holder.name} for holder in result.holders]
    return {"port": result.url, "found": False, "why": result.why, "detail": result.detail, "holders": holders}


def write_settings(path: Path, found: Sequence["Finding"]) -> None:
    """Put the found devices into the settings file; what stood there before is kept beside it, once more each time.

    Raises: UsageError when two devices want one table or there is no file, ConfigError when it is not ours to change.
    """
    from drivers.probe import SETTINGS_TABLES

    tables = [SETTINGS_TABLES[finding.kind] for finding in found]
    twice = sorted({table for table in tables if tables.count(table) > 1})
    if twice:
        raise UsageError(f"two devices for [{twice[0]}], nothing written; choose one with --port")
    try:
        changed = path.read_text(encoding="utf-8")
        for table, finding in zip(tables, found, strict=True):
            changed = with_device(changed, table, kind=finding.kind, port=finding.url)
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        shutil.copy2(path, fresh)  # so that it keeps its mode
        os.chown(fresh, path.stat().st_uid, path.stat().st_gid)
        fresh.write_text(changed, encoding="utf-8")
        shutil.copy2(path, path.with_name(f"{path.name}.before-probe"))
        fresh.replace(path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; name the settings file with --config") from error
    except ValueError as error:
        raise ConfigError(f"{path}: {error}; write the lines above by hand") from error

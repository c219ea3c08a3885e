"""Bring face models to this machine and check them; every licence is shown."""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from sentinel.cli import add_nouns, add_verb, render
from sentinel.settings import load


def add(subparsers: Any) -> None:
    """Add `models fetch`, `models add`, `models list`, `models verify`."""
    nouns = add_nouns(subparsers, "models", summary="Fetch, add, list and verify face models.")
    for name, run, summary, example in (
        ("fetch", run_fetch, "Fetch the models of a pack and prepare them.", "sentinelctl models fetch"),
        ("add", run_add, "Take model files from a folder or medium.", "sentinelctl models add /media/usb"),
        ("list", run_list, "List the packs, their licences and whether they are here.", "sentinelctl models list"),
        ("verify", run_verify, "Check every file's SHA-256 and known vectors.", "sentinelctl models verify"),
    ):
        exits = "0 done, 70 a source failed, 78 a model is missing or damaged"
        verb = add_verb(nouns, name, run, summary=summary, example=example, exits=exits)
        verb.add_argument("--models-dir", type=Path, metavar="DIR", help="instead of paths.models_dir of the settings")
        verb.add_argument("--pack", default="opencv-zoo", help="a pack of config/models.toml (default opencv-zoo)")
        if name == "add":
            verb.add_argument("folder", type=Path, help="a folder, wheel or zip that holds the files")


def _models_dir(args: argparse.Namespace) -> Path:
    return args.models_dir or load(args.config).paths.models_dir


def _say(args: argparse.Namespace, line: str) -> None:
    if not args.quiet:
        print(line, file=sys.stderr, flush=True)


def run_fetch(args: argparse.Namespace) -> int:
    """Fetch what is missing, show the licences, prepare."""
    from recognition import models

    pack = models.load_manifest().pack(args.pack)
    for model in pack.files:
        _say(args, f"{model.file}: {model.name}, licence {model.licence}")
    models_dir = _models_dir(args)
    models.fetch(pack, models_dir, progress=lambda line: _say(args, line))
    return _prepare(args, models_dir)


def run_add(args: argparse.Namespace) -> int:
    """Take files that somebody carried here."""
    from recognition import models

    models_dir = _models_dir(args)
    for model in models.add(args.folder, models.load_manifest(), models_dir):
        _say(args, f"{model.file}: taken, licence {model.licence}")
    return _prepare(args, models_dir)


def run_list(args: argparse.Namespace) -> int:
    """Print every model of every pack."""
    rows = _rows(_models_dir(args))
    if args.json:
        print(json.dumps({"schema": "sentinel.models/1", "models": rows}, ensure_ascii=False))
    elif not args.quiet:
        columns = ("pack", "role", "file", "licence", "state")
        print("\n".join(render.table([columns, *([row[name] for name in columns] for row in rows)], most=None)))
    return 0


def run_verify(args: argparse.Namespace) -> int:
    """Check the files' SHA-256 and, in a process of its own, the known vectors."""
    from recognition import models

    models_dir = _models_dir(args)
    for model in models.load_manifest().pack(args.pack).files:
        _say(args, f"{models.check_file(model, models_dir)}: SHA-256 as in the manifest")
    return _prepare(args, models_dir)


def _rows(models_dir: Path) -> list[dict[str, str]]:
    from recognition import models

    manifest = models.load_manifest()
    reports = [(pack.name, report) for pack in manifest.packs.values() for report in models.verify(pack, models_dir)]
    reports += [(name, models.report_of(model, models_dir)) for name, model in manifest.classifiers.items()]
    return [
        {
            "pack": name,
            "role": report.model.role,
            "file": report.model.file,
            "sha256": report.model.sha256,
            "licence": report.model.licence,
            "state": report.state,
        }
        for name, report in reports
    ]


def _prepare(args: argparse.Namespace, models_dir: Path) -> int:
    """Prepare and self-test in a process of its own: this one must never load what reads pictures."""
    command = [sys.executable, "-m", "sentinel.prepare", "--models-dir", str(models_dir), "--pack", args.pack]
    return subprocess.run([*command, *(["--quiet"] if args.quiet else [])], check=False).returncode

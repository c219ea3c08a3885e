"""Break a simulated device on command, for training and drills; a real gate has no such socket."""

import argparse
import contextlib
import json
import os
from pathlib import Path
from typing import Any

from sentinel.cli import add_verb
from sentinel.core.errors import UsageError

SERIAL = ("unplug", "noise", "silence", "torn", "flip", "half", "prelude")
FAULTS = {
    "card": (*SERIAL, "broken"),
    "thermal": (*SERIAL, "frozen"),
    "camera": ("unplug", "dark", "frozen"),
    "barrier": ("unplug", "jam"),
}


def add(subparsers: Any) -> None:
    """Add `drill`."""
    drill = add_verb(
        subparsers,
        "drill",
        run_drill,
        summary="Break or heal a simulated device of the demo, or raise the fire alarm.",
        example="sentinelctl drill card unplug      (and then: sentinelctl drill card heal)",
        exits="0 done, 64 no such device or fault, 69 no simulated world runs",
    )
    drill.add_argument("device", choices=(*FAULTS, "fire"))
    known = "; ".join(f"{name}: {', '.join(each)}" for name, each in FAULTS.items())
    drill.add_argument("fault", help=f"heal, or {known}; fire: on, off")
    drill.add_argument("--world", type=Path, help="the world's folder (default: $SENTINEL_SIM_DIR)")


def run_drill(args: argparse.Namespace) -> int:
    """Send the drill to the simulated world and print its answer."""
    from drivers.sim.world import client

    directory = args.world or os.environ.get("SENTINEL_SIM_DIR")
    if not directory:
        raise UsageError("no simulated world named; use --world DIR or set SENTINEL_SIM_DIR, as scripts/demo prints it")
    request = _request(args.device, args.fault)
    with contextlib.closing(client(Path(directory))) as world:
        answer = world.do(**request)
    if not args.quiet:
        print(json.dumps(answer, ensure_ascii=False))
    return 0


def _request(device: str, fault: str) -> dict[str, Any]:
    if device == "fire":
        if fault not in ("on", "off"):
            raise UsageError("fire is on or off")
        return {"do": "fire", "on": fault == "on"}
    if fault == "heal":
        return {"do": "heal", "device": device}
    if fault not in FAULTS[device]:
        raise UsageError(f"{device} has no fault {fault!r}; it has {', '.join(FAULTS[device])}")
    return {"do": "fault", "device": device, "fault": fault}

"""Break a simulated device or attack a simulated gate, for training and drills; a real gate has no such socket."""

import argparse
import contextlib
import json
import os
from pathlib import Path
from typing import Any

from sentinel.cli import add_verb
from sentinel.core.errors import UsageError

ATTACKER_CELSIUS = 36.4


def add(subparsers: Any) -> None:
    """Add `drill`."""
    drill = add_verb(
        subparsers,
        "drill",
        run_drill,
        summary="Break or heal a simulated device of the demo, raise the fire alarm, or attack its camera.",
        example="sentinelctl drill card unplug      (then: sentinelctl drill card heal; all there are: drill list)",
        exits="0 done, 64 no such device or fault, 69 no simulated world runs",
    )
    drill.add_argument("device", help='a device, "fire", "attack", or "list" for every device and its faults')
    drill.add_argument("fault", nargs="?", default="", help="a fault of the device, or heal; on, off; a kind of attack")
    drill.add_argument("--picture", type=Path, help="attack: the photograph that is held before the camera")
    drill.add_argument("--world", type=Path, help="the world's folder (default: $SENTINEL_SIM_DIR)")


def run_drill(args: argparse.Namespace) -> int:
    """Send the drill to the simulated world and print its answer."""
    from drivers.sim.world import client

    directory = args.world or os.environ.get("SENTINEL_SIM_DIR")
    if not directory:
        raise UsageError("no simulated world named; use --world DIR or set SENTINEL_SIM_DIR, as scripts/demo prints it")
    with contextlib.closing(client(Path(directory))) as world:
        told = world.do(do="faults")
        known: dict[str, list[str]] = told["faults"]
        if args.device == "list":
            return _list(known | {"attack": [*told["attacks"], "off"]}, args)
        if args.device == "attack":
            answer = world.do(**_attack(args.fault, args.picture, told["attacks"]))
        else:
            answer = world.do(**_request(args.device, args.fault, known))
    if not args.quiet:
        print(json.dumps(answer, ensure_ascii=False))
    return 0


def _list(known: dict[str, list[str]], args: argparse.Namespace) -> int:
    if args.json:
        print(json.dumps({"schema": "sentinel.drill/1", "faults": known}))
    else:
        for device, faults in known.items():
            print(f"{device}: {', '.join(faults)}")
    return 0


def _attack(kind: str, picture: Path | None, kinds: list[str]) -> dict[str, Any]:
    if kind == "off":
        return {"do": "leave"}
    if kind not in kinds:
        raise UsageError(f"no attack {kind!r}; there are {', '.join(kinds)}, off")
    if picture is None:
        raise UsageError("an attack holds a picture of somebody before the camera; name it with --picture FILE")
    return {"do": "arrive", "picture": str(picture.absolute()), "skin_celsius": ATTACKER_CELSIUS, "attack": kind}


def _request(device: str, fault: str, known: dict[str, list[str]]) -> dict[str, Any]:
    if device == "fire":
        if fault not in ("on", "off"):
            raise UsageError("fire is on or off")
        return {"do": "fire", "on": fault == "on"}
    if device not in known:
        raise UsageError(f"no device {device!r} here; there are {', '.join(known)}, fire, attack")
    if fault == "heal":
        return {"do": "heal", "device": device}
    if fault not in known[device]:
        raise UsageError(f"{device} has no fault {fault!r}; it has {', '.join(known[device])}, heal")
    return {"do": "fault", "device": device, "fault": fault}

"""Host a simulated world: `python -m drivers.sim --dir DIR`. Prints one line when ready; ends on SIGTERM or Ctrl-C."""

import argparse
import logging
import signal
import sys
import threading
from dataclasses import fields
from pathlib import Path

from drivers.errors import DriverError, PortSettingsError
from drivers.sim.bench import USUAL, Wiring
from drivers.sim.world import World

EX_UNAVAILABLE, EX_CONFIG = 69, 78


def main(arguments: list[str] | None = None) -> int:
    """Host a world until told to stop; return the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        wiring = Wiring(**{pin.name: getattr(options, pin.name) for pin in fields(Wiring)})
        kinds = dict(pair.partition("=")[::2] for pair in options.device)
        world = World(options.dir, wiring=wiring, walk=options.walk, camera_fps=options.camera_fps, kinds=kinds)
    except DriverError as error:
        print(f"drivers.sim: {error}", file=sys.stderr)
        return EX_CONFIG if isinstance(error, PortSettingsError) else EX_UNAVAILABLE
    print(f"world ready in {world.directory}", flush=True)
    stop.wait()
    world.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m drivers.sim", description="Host a simulated gate's devices.")
    parser.add_argument("--dir", type=Path, required=True, help="the folder of sockets, terminals and pictures")
    parser.add_argument("--no-walk", dest="walk", action="store_false", help="nobody walks through by themselves")
    parser.add_argument("--camera-fps", type=float, default=5.0, help="pictures a second (default %(default)s)")
    usual = ", ".join(f"{name}={kind}" for name, kind in USUAL.items())
    parser.add_argument(
        "--device", action="append", default=[], metavar="NAME=KIND", help=f"play another kind (default {usual})"
    )
    for pin in fields(Wiring):
        flag = "--" + pin.name.replace("_", "-")
        parser.add_argument(flag, type=int, default=pin.default, metavar="GPIO", help="default GPIO %(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main())

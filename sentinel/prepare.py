"""One-shot: prepare a pack of face models for this machine and hold them to their known vectors."""

import argparse
import sys
import time
from functools import partial
from pathlib import Path

from recognition.pipeline import Limits, Pipeline
from sentinel.supervise import end_process


def main(argv: list[str] | None = None) -> None:
    """Prepare and self-test; exit 78 when a model is missing or damaged."""
    parser = argparse.ArgumentParser(prog="sentinel-prepare", description="For people: sentinelctl models verify")
    parser.add_argument("--models-dir", type=Path, required=True)
    parser.add_argument("--pack", default="opencv-zoo", help="a pack of the manifest, or an InsightFace pack's folder")
    parser.add_argument(
        "--one-to-many", type=float, default=0.0, metavar="SIMILARITY", help="an InsightFace pack needs it to open"
    )
    parser.add_argument("--quiet", action="store_true")
    args = parser.parse_args(argv)
    end_process(partial(_run, args))


def _run(args: argparse.Namespace) -> int:
    began = time.monotonic()
    pipeline = Pipeline.open(args.models_dir, pack=args.pack, limits=Limits(one_to_many=args.one_to_many))
    if not args.quiet:
        took_s = time.monotonic() - began
        print(f"models are ready and reproduce their known vectors ({pipeline.model}, {took_s:.1f} s)", file=sys.stderr)
    return 0


if __name__ == "__main__":
    main()

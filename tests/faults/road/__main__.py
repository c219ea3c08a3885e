"""Play the road campaign: every fault between a gate's card and the street's store, by chance, from a seed.

Example: scripts/campaign --scenario all --seeds 20 --faults 12
         scripts/campaign --kills 10000 --first-seed 1
         scripts/campaign --power-cuts 500
"""

import argparse
import signal
import sys

from .card import forget_library
from .kills import Toll, campaign
from .runs import SCENES, play_all
from .runs import report as report_runs
from .stage import is_root


def main() -> int:
    """Play what was asked for; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="scripts/campaign", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Exit codes: 0 everything held, 1 something did not (each run says how to repeat it).",
    )  # fmt: skip
    parser.add_argument("--scenario", choices=("all", *SCENES), default="all", help="one family of faults, or all")
    parser.add_argument("--seeds", type=int, default=20, help="runs of each (default: %(default)s)")
    parser.add_argument("--faults", type=int, default=12, help="faults in each run (default: %(default)s)")
    parser.add_argument("--beside", type=int, default=6, help="runs beside each other (default: %(default)s)")
    parser.add_argument("--kills", type=int, default=0, help="so many kill -9 of writer, uplink and street")
    parser.add_argument("--power-cuts", type=int, default=0, help="so many power cuts of the two disks; as root")
    parser.add_argument("--first-seed", type=int, default=1, help="of all chance (default: %(default)s)")
    args = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # ended from outside, it clears up all the same
        signal.signal(number, signal.default_int_handler)
    try:
        if args.kills:
            return report(campaign(args.kills, args.first_seed, cuts=False), "kill -9", args.first_seed)
        if args.power_cuts:
            if not is_root():
                parser.error("--power-cuts mounts disks of its own; run it as root")
            return report(campaign(args.power_cuts, args.first_seed, cuts=True), "power cuts", args.first_seed)
        names = list(SCENES) if args.scenario == "all" else [args.scenario]
        seeds = range(args.first_seed, args.first_seed + args.seeds)
        return report_runs(play_all(names, seeds, args.faults, args.beside))
    finally:
        forget_library()


def report(toll: Toll, what: str, seed: int) -> int:
    """Print what a campaign of deaths came to."""
    account = toll.account
    deaths = dict(sorted(toll.deaths.items()))
    print(f"\n{sum(deaths.values())} {what}, seed {seed}, {toll.rounds} rounds: {deaths}")
    print(f"{dict(sorted(account.counts.items()))}")
    for word in ("lost", "doubled", "moved", "one key", "invented", "altered", "stuck", "forks"):
        print(f"  {word:10} {sum(line.startswith(word) for line in account.wrong)}")
    for line in account.wrong[:50]:
        print(f"  ✘ {line}")
    return 1 if account.wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)

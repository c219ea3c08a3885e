"""Play runs of scenes, several beside each other, and put their figures into a table."""

import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from zlib import crc32

from .lives import Zygote
from .oracle import Account, percentile
from .scenes import FINALLY, ON_DISKS, Scene, fault
from .scenes_net import ON_THE_ROAD
from .stage import OVER, Stage, is_root

SCENES: dict[str, Scene] = ON_DISKS | ON_THE_ROAD


@dataclass(slots=True, kw_only=True)
class Run:
    """What came of one (scene, seed)."""

    scene: str
    seed: int
    faults: int
    account: Account = field(default_factory=Account)
    done: Counter[str] = field(default_factory=Counter)
    revived: Counter[str] = field(default_factory=Counter)
    settled_s: float = 0.0
    took_s: float = 0.0
    kept_in: str = ""

    def line(self) -> str:
        """Return it as one line, with how to repeat it when it failed."""
        account, counts = self.account, self.account.counts
        kept = " ".join(f"{how} {counts[how]}" for how in ("durable", "late", "spooled", "lost") if counts[how])
        text = (
            f"{self.scene:15} seed {self.seed:<6} {'ok ' if not account.wrong else 'BAD'} {self.faults} faults"
            f" {self.took_s:5.1f} s, settled in {self.settled_s:5.1f} s; {counts['entries']} entries ({kept}),"
            f" at street {counts['at street']}, refused {counts['refused']};"
            f" hand-over p50 {percentile(account.wall_us, 0.5)} max {max(account.wall_us, default=0)} us"
            f" (cpu max {max(account.cpu_us, default=0)});"
            f" {dict(self.done)}{f' revived {dict(self.revived)}' if self.revived else ''}"
        )
        if account.wrong:
            again = f"scripts/campaign --scenario {self.scene} --first-seed {self.seed} --seeds 1"
            text += "".join(f"\n    ✘ {line}" for line in account.wrong[:8])
            text += f"\n    again: {again} --faults {self.faults}\n    kept in {self.kept_in}"
        return text


def possible(names: Iterable[str], *, root: bool, compiler: bool) -> tuple[list[str], dict[str, str]]:
    """Return which scenes can be played here, and why the others cannot."""
    here, not_here = [], {}
    for name in names:
        scene = SCENES[name]
        if scene.needs_root and not root:
            not_here[name] = "needs root, for mounts and network namespaces"
        elif scene.needs_card and not compiler:
            not_here[name] = "needs a C compiler, for the sick card and the wrong clock"
        else:
            here.append(name)
    return here, not_here


def play(name: str, seed: int, faults: int, zygote: Zygote) -> Run:
    """Play one run."""
    run, scene = Run(scene=name, seed=seed, faults=faults), SCENES[name]
    began = time.monotonic()
    stage = Stage(zygote, crc32(f"{name} {seed}".encode()), disks=scene.disks, persistent=scene.persistent)
    try:
        scene.prepare(stage)
        stage.start()
        for _ in range(faults):
            stage.wait(stage.chance.uniform(0.02, 0.3))
            with fault(scene, stage):
                stage.wait(stage.chance.uniform(0.05, scene.longest_s))
        if name in FINALLY:
            FINALLY[name](stage)
        run.settled_s = stage.settle(run.account)
        stage.judge(run.account)
    except Exception as error:  # noqa: BLE001 - a run that breaks by itself is a failed run, and the others go on
        run.account.wrong.append(f"the run itself failed: {error!r}")
        run.account.wrong += _where(error)
    finally:
        run.done, run.revived = stage.done, stage.revived
        stage.close(keep=bool(run.account.wrong) and not OVER.is_set())
        run.kept_in = f"{stage.base} and {stage.disk_folder}"
        run.took_s = time.monotonic() - began
    return run


def _where(error: BaseException) -> list[str]:
    import traceback

    return [line.strip().replace("\n", " ") for line in traceback.format_tb(error.__traceback__)[-2:]]


def play_all(names: Sequence[str], seeds: range, faults: int, beside: int) -> list[Run]:
    """Play every scene with every seed, so many beside each other; print a line for each as it ends."""
    with Zygote() as zygote, ThreadPoolExecutor(beside) as pool:
        here, not_here = possible(names, root=is_root(), compiler=zygote.sick)
        for name, why in not_here.items():
            print(f"{name:15} not part of this run: {why}", flush=True)
        going = [pool.submit(play, name, seed, faults, zygote) for seed in seeds for name in here]
        runs = []
        try:
            for one in as_completed(going):
                runs.append(one.result())
                print(runs[-1].line(), flush=True)
        except KeyboardInterrupt:
            OVER.set()
            pool.shutdown(cancel_futures=True)
            raise
    return runs


def table(runs: Sequence[Run]) -> list[str]:
    """Return a row for each scene, over all its seeds, in Markdown."""
    lines = [
        "| scene | runs held | faults | entries | at the street | refused | spooled | settled, longest"
        " | hand-over p50 / p99 / p99.9, wall | the same, processor | waits for the commit, p99.9 |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(run.scene for run in runs):
        mine = [run for run in runs if run.scene == name]
        sums = sum((run.account.counts for run in mine), Counter())
        wall, cpu, waits = (
            [value for run in mine for value in getattr(run.account, what)]
            for what in ("wall_us", "cpu_us", "waited_us")
        )
        held = sum(not run.account.wrong for run in mine)
        lines.append(
            f"| `{name}` | {held} of {len(mine)} | {sum(run.faults for run in mine)} | {sums['entries']}"
            f" | {sums['at street']} | {sums['refused']} | {sums['spooled']} | {max(r.settled_s for r in mine):.0f} s"
            f" | {_three(wall)} ms | {_three(cpu)} ms | {percentile(waits, 0.999) / 1000:.0f} ms |"
        )
    return lines


def _three(values: Sequence[int]) -> str:
    return " / ".join(f"{percentile(values, share) / 1000:.2f}" for share in (0.5, 0.99, 0.999))


def report(runs: Sequence[Run]) -> int:
    """Print the table; return the exit code."""
    print("\n" + "\n".join(table(runs)))
    bad = [run for run in runs if run.account.wrong]
    print(f"\n{len(runs) - len(bad)} of {len(runs)} runs held", file=sys.stderr if bad else sys.stdout)
    return 1 if bad or not runs else 0


"""Choose among equivalent forms of a model by trying them on this very device, and remember the choice.

Which form is fastest depends on the processor and on the runtime's version: a rewrite that more than halves the time on
x86 gains 6 % on ARM, and one that helps a new core costs an old one a third (face-pipeline A). So nobody guesses.
"""

import json
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import onnxruntime

from recognition import ncnn_form
from recognition.forms import Form
from recognition.models import publish

BUDGET_S = 0.8  # with the last turn that is still running when it ends: within a second, also on a slow core
MAX_TURNS = 30  # more find no better one; a small network is done in milliseconds
MIN_TURNS = 2  # the first turn of a form fills caches and is not counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What a choice was made for. On anything else it has to be made again."""

    runtime: str
    machine: str
    cpu: str


def this_device(cpuinfo: Path = Path("/proc/cpuinfo")) -> Device:
    """Return what the running machine is."""
    runtime = f"onnxruntime {onnxruntime.__version__}"
    if (second := ncnn_form.version()) is not None:
        runtime += f", ncnn {second}"
    return Device(runtime=runtime, machine=platform.machine(), cpu=cpu_name(cpuinfo))


def cpu_name(cpuinfo: Path) -> str:
    """Return the processor's name, or on ARM the numbers of its maker and part; "unknown" when nothing says it."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "unknown"
    told: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        told.setdefault(key.strip(), value.strip())
    wanted = ("model name", "CPU implementer", "CPU part", "cpu family", "model")
    return " ".join(told[key] for key in wanted if key in told) or "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which form was fastest, and what each took and how exactly it gave the plain numbers. Unit: milliseconds."""

    device: Device
    form: Form
    best_ms: Mapping[str, float]
    cosine: Mapping[str, float]


def fastest(
    runs: Mapping[Form, Callable[[], object]],
    *,
    budget_s: float = BUDGET_S,
    clock: Callable[[], float] = time.perf_counter,
    stopwatch: Callable[[], float] | None = None,
) -> dict[Form, float]:
    """Return the best time of each form, the fastest first. Unit: milliseconds.

    The forms take turns, so that a busy moment of the machine falls on all of them; and the best turn counts, for only
    that one had the processor to itself: by the median a busy machine chose another form each time. `clock` ends the
    trial; `stopwatch` times the runs, by the same clock when it is not given.
    """
    stopwatch = stopwatch or clock
    best = dict.fromkeys(runs, float("inf"))
    began = clock()
    turn = 0
    while turn <= MIN_TURNS or (turn <= MAX_TURNS and clock() - began < budget_s):
        for form, run in runs.items():
            start = stopwatch()
            run()
            if turn:
                best[form] = min(best[form], (stopwatch() - start) * 1000)
        turn += 1
    return dict(sorted(best.items(), key=lambda entry: entry[1]))


def read_choice(path: Path) -> Choice | None:
    """Return the choice that a file holds; None when it is not there or not whole: then it is made again."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        return Choice(
            device=Device(**held["device"]),
            form=Form(held["form"]),
            best_ms=held["best_ms"],
            cosine=held["cosine"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep_choice(choice: Choice, path: Path) -> None:
    """Write a choice where `read_choice` finds it. Raises: RecognitionError."""
    publish((json.dumps(asdict(choice), indent=1) + "\n").encode(), path)

"""Judge a soak by what was measured at its marks, and write it down as Markdown. Pure.

A process is judged for memory over its longest life: one that was killed on purpose begins anew. The first marks of a
life are its warm-up, in which pools, caches and models fill.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from statistics import median

from soak_processes import Look

JUDGED = ("gate", "vision", "uplink", "console", "street")
OURS = (*JUDGED, "resource tracker")  # whose threads, files and children must come back
RESTARTED_ON_PURPOSE = ("vision", "broker")
EXPECTED = (*OURS, "world", "broker")  # the simulated world and the broker are looked at and not judged


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """All processes at rest after so many simulated hours."""

    hour: int
    looks: Mapping[str, Look]


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """How one process's own memory went over its longest life, warm-up left out. Unit: KB."""

    role: str
    marks: int  # that were judged
    first_kb: int  # at the first mark of all of this life
    begins_kb: float  # median of the first quarter of the judged marks
    ends_kb: float  # median of the last quarter
    most_kb: int
    slope_kb: float  # an hour, after Theil and Sen: the median of the slopes between all pairs of marks
    hours: int  # of the whole run: what a part of it shows is carried over to all of it

    @property
    def grown_kb(self) -> float:
        """How much it has grown, by whichever of the two measures says more."""
        return max(self.ends_kb - self.begins_kb, self.slope_kb * self.hours)


def memory_of(marks: Sequence[Mark], role: str, warm_up: int) -> Memory | None:
    """Return how a process's memory went, None when no life of it has two marks after the warm-up."""
    life = longest_life(marks, role)
    judged = life[warm_up:]
    if len(judged) < 2:
        return None
    quarter = max(1, len(judged) // 4)
    kb = [own_kb for _, own_kb in judged]
    slopes = [(later - sooner) / (then - once) for (once, sooner), (then, later) in combinations(judged, 2)]
    return Memory(
        role=role,
        marks=len(judged),
        first_kb=life[0][1],
        begins_kb=median(kb[:quarter]),
        ends_kb=median(kb[-quarter:]),
        most_kb=max(kb),
        slope_kb=median(slopes),
        hours=marks[-1].hour - marks[0].hour,
    )


def longest_life(marks: Sequence[Mark], role: str) -> list[tuple[int, int]]:
    """Return the hours and the memory of the process that lived longest in this role."""
    seen = [(mark.hour, mark.looks[role]) for mark in marks if role in mark.looks]
    lives = [[(hour, look.own_kb) for hour, look in life] for _, life in groupby(seen, lambda one: one[1].pid)]
    return max(lives, key=len, default=[])


def grown(marks: Sequence[Mark], limit_kb: float, warm_up: int) -> Iterator[str]:
    """Return a line for each process whose memory is not flat, or could not be judged."""
    for role in JUDGED:
        memory = memory_of(marks, role, warm_up)
        if memory is None:
            yield f"{role}: never at rest for two marks after {warm_up} hours of warm-up, so nothing is known"
        elif memory.grown_kb > limit_kb:
            yield f"{role}: grew by {memory.grown_kb / 1024:.1f} MB, at most {limit_kb / 1024:.1f} MB"


def left_behind(marks: Sequence[Mark]) -> Iterator[str]:
    """Return a line for each kind of thread, open file and child that is not as often there at the last mark."""
    first, last = marks[0], marks[-1]
    for role in OURS:
        if role not in first.looks or role not in last.looks:
            yield f"{role}: not there at {'the first' if role not in first.looks else 'the last'} mark"
            continue
        before, after = first.looks[role].counts, last.looks[role].counts
        for kind in sorted(set(before) | set(after)):
            if before.get(kind, 0) != after.get(kind, 0):
                yield f"{role}: {kind} {before.get(kind, 0)} at the first mark, {after.get(kind, 0)} at the last"


def strangers(marks: Sequence[Mark]) -> Iterator[str]:
    """Return a line for each process that should not be there at a mark, or was started again without being asked."""
    for mark in marks:
        for role in sorted(set(mark.looks) - set(EXPECTED)):
            yield f"hour {mark.hour}: a process too many: {role}"
    for role in set(OURS) - set(RESTARTED_ON_PURPOSE):
        pids = {mark.looks[role].pid for mark in marks if role in mark.looks}
        if len(pids) > 1:
            yield f"{role}: restarted {len(pids) - 1} times; nobody asked for it"


def memory_table(marks: Sequence[Mark], warm_up: int) -> list[str]:
    """Return the table of memory, a row for each process that is judged."""
    lines = [
        "| process | marks judged | start MB | first quarter MB | last quarter MB | most MB | grew MB | KB an hour |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for role in JUDGED:
        memory = memory_of(marks, role, warm_up)
        if memory is None:
            lines.append(f"| {role} | – | – | – | – | – | – | – |")
            continue
        figures = (memory.first_kb, memory.begins_kb, memory.ends_kb, memory.most_kb)
        shown = " | ".join(f"{kb / 1024:.1f}" for kb in figures)
        lines.append(f"| {role} | {memory.marks} | {shown} | {memory.grown_kb / 1024:+.2f} | {memory.slope_kb:+.0f} |")
    return lines


def counts_table(marks: Sequence[Mark]) -> list[str]:
    """Return the table of threads, files and children: at the first mark, at the last, and the most at any."""
    lines = ["| process | threads | open files | children |", "|---|--:|--:|--:|"]
    for role in (*OURS, "world", "broker"):
        looks = [mark.looks[role] for mark in marks if role in mark.looks]
        if looks:
            threads = [look.threads for look in looks]
            files = [sum(look.files.values()) for look in looks]
            children = [sum(look.children.values()) for look in looks]
            cells = [f"{each[0]} → {each[-1]} (≤ {max(each)})" for each in (threads, files, children)]
            lines.append(f"| {role} | {' | '.join(cells)} |")
    return lines


def hours_table(marks: Sequence[Mark], o_clock: Mapping[int, int]) -> list[str]:
    """Return the memory of each judged process at every mark. A process that was started again since has a star."""
    lines = [f"| hour | o'clock | {' | '.join(JUDGED)} |", "|--:|--:|" + "--:|" * len(JUDGED)]
    before: dict[str, int] = {}
    for mark in marks:
        cells = []
        for role in JUDGED:
            look = mark.looks.get(role)
            star = "" if look is None or before.get(role, look.pid) == look.pid else " *"
            cells.append("–" if look is None else f"{look.own_kb / 1024:.1f}{star}")
            before |= {} if look is None else {role: look.pid}
        lines.append(f"| {mark.hour} | {o_clock.get(mark.hour, 0):02d} | {' | '.join(cells)} |")
    return lines

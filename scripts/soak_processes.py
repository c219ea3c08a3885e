"""Look at every process of a rehearsal as the kernel sees it: its own memory, threads, open files and children.

A rehearsal's processes carry its folder in their environment, so that one which lost its parent is still found.
Linux only: everything is read from /proc.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROLES = {  # a part of the command line → what this process is; the first that fits
    "multiprocessing.spawn": "vision",
    "multiprocessing.resource_tracker": "resource tracker",  # Python's own, one beside who spawns
    "sentinel.gate": "gate",
    "sentinel.uplink": "uplink",
    "sentinel.console": "console",
    "sentinel.street": "street",
    "drivers.sim": "world",
    "mosquitto": "broker",
    "iotcore": "broker",
}
LOOKS, BETWEEN_S = 6, 0.3  # the least of six looks: what is only passing is not there in all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One process at one moment.

    Unit: `own_kb` is the memory that only this process holds and no file could give back: private dirty pages, and
    those that were swapped out. Clean pages come and go with whoever else has the same library open; they are no leak.
    """

    pid: int
    own_kb: int
    threads: int
    files: Mapping[str, int] = field(default_factory=dict)  # open files by kind
    children: Mapping[str, int] = field(default_factory=dict)  # by role

    @property
    def counts(self) -> dict[str, int]:
        """Everything that must come back: threads, open files by kind, children by role."""
        files = {f"files: {kind}": count for kind, count in self.files.items()}
        children = {f"children: {role}": count for role, count in self.children.items()}
        return {"threads": self.threads, **files, **children}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Process:
    pid: int
    parent: int
    role: str


def at_rest(folder: Path, pause: Callable[[float], object]) -> dict[str, Look]:
    """Return every process of the rehearsal by role, each figure the least of several looks.

    A role that two processes have is told apart by a number: `vision 2`. A zombie has the role `zombie`.
    """
    looks: dict[str, list[Look]] = {}
    for turn in range(LOOKS):
        if turn:
            pause(BETWEEN_S)
        for role, look in looked(folder).items():
            looks.setdefault(role, []).append(look)
    return {role: least(seen) for role, seen in looks.items() if len(seen) == LOOKS}


def least(looks: Sequence[Look]) -> Look:
    """Return the least of each figure; what is not in every look counts as none."""
    return Look(
        pid=looks[-1].pid,
        own_kb=min(look.own_kb for look in looks),
        threads=min(look.threads for look in looks),
        files=_least([look.files for look in looks]),
        children=_least([look.children for look in looks]),
    )


def _least(counted: Sequence[Mapping[str, int]]) -> dict[str, int]:
    kinds = sorted({kind for counts in counted for kind in counts})
    found = {kind: min(counts.get(kind, 0) for counts in counted) for kind in kinds}
    return {kind: count for kind, count in found.items() if count}


def looked(folder: Path) -> dict[str, Look]:
    """Return every process of the rehearsal in this folder by role, as it is now."""
    family = {process.pid: process for process in processes_of(folder)}
    found: dict[str, Look] = {}
    for process in sorted(family.values(), key=lambda one: one.pid):
        children = Counter(one.role for one in family.values() if one.parent == process.pid)
        try:
            look = Look(
                pid=process.pid,
                own_kb=_own_kb(process.pid),
                threads=len(os.listdir(f"/proc/{process.pid}/task")),
                files=_files(process.pid, folder),
                children=dict(children),
            )
        except OSError:
            continue  # it ended while we looked
        found[_free(process.role, found)] = look
    return found


def _free(role: str, taken: Mapping[str, Look]) -> str:
    names = (role, *(f"{role} {number}" for number in range(2, len(taken) + 2)))
    return next(name for name in names if name not in taken)


def processes_of(folder: Path) -> list[_Process]:
    """Return the processes that carry this folder in their environment, and the zombies that these have left."""
    mark = f"SENTINEL_SIM_DIR={folder.resolve()}".encode()
    found: list[_Process] = []
    zombies: list[_Process] = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            state, parent = _state(int(name))
            if state == "Z":
                zombies.append(_Process(pid=int(name), parent=parent, role="zombie"))
            elif mark in Path(f"/proc/{name}/environ").read_bytes().split(b"\0"):
                found.append(_Process(pid=int(name), parent=parent, role=_role(int(name))))
        except OSError:
            continue  # it ended, or it is another user's and so none of ours
    ours = {process.pid for process in found}
    return [*found, *(zombie for zombie in zombies if zombie.parent in ours)]


def _state(pid: int) -> tuple[str, int]:
    """Return the state's letter and the parent. Source: proc(5), /proc/PID/stat; the name may hold anything."""
    rest = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return rest[0], int(rest[1])


def _role(pid: int) -> str:
    command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return next((role for part, role in ROLES.items() if part in command), f"other ({command[:80].strip()})")


def _own_kb(pid: int) -> int:
    """Return the memory of its own; a zombie has none. Source: proc(5), /proc/PID/smaps_rollup."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Dirty:", "Swap:")))


def _files(pid: int, folder: Path) -> dict[str, int]:
    counted: Counter[str] = Counter()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            counted[_kind(os.readlink(f"/proc/{pid}/fd/{name}"), str(folder.resolve()))] += 1
        except FileNotFoundError:
            continue  # closed while we looked
    return dict(counted)


def _kind(target: str, folder: str) -> str:
    """Return what an open file is: a socket, a pipe, a terminal, or the name of a file of the rehearsal."""
    if target.startswith(("socket:", "pipe:", "anon_inode:")):
        return target.partition("[")[0].rstrip(":") if not target.startswith("anon") else target[len("anon_inode:") :]
    if target.startswith("/dev/pts/"):
        return "serial line"
    return target.removeprefix(folder).lstrip("/") if target.startswith(folder) else target

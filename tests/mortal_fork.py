"""Fork a child that dies by SIGKILL at its n-th step of files: an open, lock, rename, removal, folder or database.

A fork, not a spawn: a campaign of hundreds of deaths is to end within seconds. Call it with no thread of ours alive.
"""

import os
import signal
import sys
from collections.abc import Callable

STEPS = frozenset({"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "fcntl.flock", "sqlite3.connect"})


def dies(act: Callable[[], object], die_at: int | str) -> bool:
    """Run `act` in a child; return whether it died at that step, or at its first renaming to a path with that end.

    A child that fails by itself fails the test.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _arm(die_at)
            act()
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), f"the child failed by itself at step {die_at}: {code}"
    return code != 0


def steps_of(act: Callable[[], object]) -> int:
    """Return how many steps `act` takes, by running it in a child."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        count = 0

        def hook(event: str, _args: object) -> None:
            nonlocal count
            count += event in STEPS

        sys.addaudithook(hook)
        act()
        os.write(writing, str(count).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return int(said)


def _arm(die_at: int | str) -> None:
    steps = 0

    def hook(event: str, args: tuple[object, ...]) -> None:
        nonlocal steps
        if event in STEPS:
            steps += 1
            named = isinstance(die_at, str) and event == "os.rename" and str(args[1]).endswith(die_at)
            if named or steps == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)

"""Fork the processes of the road from one that has imported them all: a start costs milliseconds, a death nothing.

A program of its own. Orders are JSON lines on stdin, each answered by the pid of the child. A child runs the same
`main` as in life, or the gate's writing half (`writer.py`). It may be told to die at its n-th *step*: an SQL statement,
or a file being opened, renamed, linked, locked or removed.
"""

import ctypes
import faulthandler
import json
import os
import signal
import sqlite3
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[up]) for up in (2, 3)]

import paho.mqtt.client  # noqa: E402  imported once here, not once per child
import paho.mqtt.properties  # noqa: E402, F401
import sqlite_utils.migrations  # noqa: E402, F401

from faults.road import writer  # noqa: E402
from sentinel import street, uplink  # noqa: E402

FILE_STEPS = frozenset(("open", "os.rename", "os.remove", "os.link", "fcntl.flock"))
DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG
NEW_NETWORK = 0x40000000  # CLONE_NEWNET
ROLES = {"writer": writer.main, "uplink": uplink.main, "street": street.main}


def doomed(steps: int) -> None:
    """Let this process kill itself at so many steps from now."""
    state = SimpleNamespace(left=steps)

    def step(_what: object = None) -> None:
        state.left -= 1
        if state.left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(event: str, _args: object) -> None:
        if event in FILE_STEPS:
            step()

    plain = sqlite3.connect

    def connect(*args: Any, **more: Any) -> sqlite3.Connection:
        connection = plain(*args, **more)
        connection.set_trace_callback(step)
        return connection

    sqlite3.connect = connect  # this child lives for one scene
    sys.addaudithook(audit)


def live(order: dict[str, Any]) -> None:
    """Become what was ordered; never return."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(DIES_WITH_PARENT, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number, to in ((0, nothing), (1, log), (2, log)):
        os.dup2(to, number)
    faulthandler.register(signal.SIGUSR1)  # where it hangs, it says into its log
    if order.get("netns"):
        there = os.open(order["netns"], os.O_RDONLY)
        if libc.setns(there, NEW_NETWORK) != 0:
            raise OSError(ctypes.get_errno(), "cannot enter the network namespace")
    if order.get("card"):
        libc.road_sick(order["card"].encode())
    if order.get("die_at"):
        doomed(order["die_at"])
    sys.argv[0] = order["role"]
    ROLES[order["role"]](order["argv"])


def main() -> None:
    """Serve orders until stdin ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # whoever ordered a child holds its pidfd
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            code = 70
            try:
                live(order)
                code = 0
            except SystemExit as error:
                code = error.code if isinstance(error.code, int) else 1
            finally:
                os._exit(code)
        os.write(1, f"{child}\n".encode())


if __name__ == "__main__":
    main()

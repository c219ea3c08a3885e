"""Run a PostgreSQL server of one's own for as long as a bench or a test takes. Needs Debian's package `postgresql`."""

import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BIN = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/usr/bin"))
UNSAFE = "-c fsync=off -c full_page_writes=off"  # for tests: they kill processes, not machines


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server: its database by URL, its files, and the number of its first process."""

    url: str
    data: Path
    pid: int


@contextmanager
def postgresql_server(parent: Path, *, settings: str = "") -> Iterator[Server]:
    """Start a server on a free port, as a user who may run one, with its files below `parent`; end it afterwards."""
    folder = Path("/var/tmp" if os.geteuid() == 0 else parent) / f"pg-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o700)
    as_user: dict[str, object] = {"check": True, "capture_output": True, "cwd": "/"}
    if os.geteuid() == 0:  # the server refuses to run as root
        shutil.chown(folder, "nobody", "nogroup")
        as_user |= {"user": "nobody", "group": "nogroup", "extra_groups": []}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    data = folder / "data"
    options = ["-U", "street", "-A", "trust", "--no-sync", "-E", "UTF8", "--no-locale"]
    subprocess.run([BIN / "initdb", "-D", data, *options], **as_user)
    listen = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= {settings}"
    control = [BIN / "pg_ctl", "-D", data, "-w", "-l", folder / "log"]
    subprocess.run([*control, "-o", listen, "start"], **as_user)
    try:
        pid = int((data / "postmaster.pid").read_text().split()[0])
        yield Server(url=f"postgresql://street@127.0.0.1:{port}/postgres", data=data, pid=pid)
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], **as_user)
        shutil.rmtree(folder)

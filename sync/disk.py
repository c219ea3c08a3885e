"""Make files appear whole and their names last: what a power cut may otherwise undo."""

import os
import threading
from pathlib import Path


def write_whole(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a file that is durable and complete before it has its name; one of that name is replaced.

    Raises: OSError.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.rename(draft, path)
    sync_folder(path.parent)


def write_new(path: Path, data: bytes) -> bool:
    """Write a file, for its owner's eyes, that appears whole or not at all and never twice; tell whether it is ours.

    Of two makers the first wins. Folders above it are made, for their owner alone.
    Raises: OSError.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_native_id()}")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(draft, data)
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    sync_folder(path.parent)
    return True


def overwrite(path: Path) -> None:
    """Put zeros in the place of all that a file holds, durably: what is only deleted stays in the disk's blocks.

    Raises: OSError.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        left = os.fstat(descriptor).st_size
        while left:
            left -= os.write(descriptor, bytes(min(left, 1 << 20)))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable.

    Raises: OSError.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

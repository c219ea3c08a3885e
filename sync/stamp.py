"""Stamp an entry with every clock of the box, and say whether the wall clock can be trusted.

A gate without a battery-backed clock wakes up in 1970. Its entries are kept all the same: order comes from the key,
and the boot-time clock lets the street work out the wall time later, from any entry of the same boot that was trusted.
"""

import ctypes
import functools
import logging
import time
from collections.abc import Callable
from pathlib import Path

from sync.entry import Stamp

log = logging.getLogger(__name__)

BUILT_NS = 1_767_225_600_000_000_000  # 2026-01-01T00:00Z: this program did not exist before, so no clock may say so
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_BYTES = 512  # struct timex has 208 bytes on 64-bit Linux; room for any other


@functools.cache
def boot_id() -> str:
    """Return the kernel's name for this boot, "unknown" where /proc is not there: an entry is kept without it too."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError as error:
        log.warning("no boot id: %s; entries of this boot cannot be dated later", error)
        return "unknown"


@functools.cache
def _adjtimex() -> Callable[[ctypes.Array[ctypes.c_char]], int]:
    return ctypes.CDLL(None).adjtimex


def kernel_is_synchronised() -> bool:
    """Tell whether the kernel's clock follows a time source now. Asks only: mode 0 changes nothing."""
    state = _adjtimex()(ctypes.create_string_buffer(_TIMEX_BYTES))
    return 0 <= state < _TIME_ERROR


def clock_is_trusted(
    wall_ns: int, *, floor_ns: int = BUILT_NS, synchronised: Callable[[], bool] = kernel_is_synchronised
) -> bool:
    """Tell whether this wall time is believable: not before the program was built, and the kernel in step."""
    return wall_ns >= floor_ns and synchronised()


def now_stamp(*, floor_ns: int = BUILT_NS, synchronised: Callable[[], bool] = kernel_is_synchronised) -> Stamp:
    """Return this moment by every clock of the box.

    A site whose clock is set by hand passes its own `synchronised`; a caller that knows a later moment that has
    surely passed (the last trusted entry) passes it as `floor_ns`.
    """
    wall_ns = time.time_ns()
    return Stamp(
        wall_ns=wall_ns,
        boot_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        boot_id=boot_id(),
        clock_trusted=clock_is_trusted(wall_ns, floor_ns=floor_ns, synchronised=synchronised),
    )

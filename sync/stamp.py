"""Stamp an entry with every clock of the box, and say whether the wall clock can be trusted.

A gate without a battery-backed clock wakes up in 1970. Its entries are kept all the same: order comes from the key,
and the boot-time clock lets the street work out the wall time later, from any entry of the same boot that was trusted.
"""

import ctypes
import functools
import logging
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from sync.entry import Stamp

log = logging.getLogger(__name__)

BUILT_NS = 1_767_225_600_000_000_000  # 2026-01-01T00:00Z: this program did not exist before, so no clock may say so
LATEST_NS = BUILT_NS + 20 * 366 * 86_400 * 1_000_000_000  # nor does any program run for longer: 2099 is a broken clock
FLOOR_FILES = (Path("/var/lib/systemd/timesync/clock"), Path("/usr/lib/clock-epoch"))  # systemd-timesyncd(8): by mtime
STRAY_NS = 300 * 1_000_000_000  # the clocks of a street differ by minutes; whoever goes by them must bear that
UNKNOWN_BOOT = "unknown"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_BYTES = 512  # struct timex has 208 bytes on 64-bit Linux; room for any other
_TIMEX_ERRORS = struct.Struct("@Llllli")  # modes (padded to a long), offset, freq, maxerror, esterror, status


@functools.cache
def boot_id() -> str:
    """Return the kernel's name for this boot, "unknown" where /proc is not there: an entry is kept without it too."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError as error:
        log.warning("no boot id: %s; entries of this boot cannot be dated later", error)
        return UNKNOWN_BOOT


@functools.cache
def _adjtimex() -> Callable[[ctypes.Array[ctypes.c_char]], int]:
    return ctypes.CDLL(None).adjtimex


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelClock:
    """What the kernel says of its wall clock. Unit: errors in us, as the time source's program reported them."""

    synchronised: bool
    max_error_us: int = 0
    est_error_us: int = 0


def kernel_clock() -> KernelClock:
    """Return the state of the kernel's clock. Asks only: mode 0 changes nothing."""
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)
    state = _adjtimex()(timex)
    _, _, _, max_error_us, est_error_us, _ = _TIMEX_ERRORS.unpack_from(timex.raw)
    return KernelClock(synchronised=0 <= state < _TIME_ERROR, max_error_us=max_error_us, est_error_us=est_error_us)


def kernel_is_synchronised() -> bool:
    """Tell whether the kernel's clock follows a time source now."""
    return 0 <= _adjtimex()(ctypes.create_string_buffer(_TIMEX_BYTES)) < _TIME_ERROR


def clock_is_trusted(
    wall_ns: int, *, floor_ns: int = BUILT_NS, synchronised: Callable[[], bool] = kernel_is_synchronised
) -> bool:
    """Tell whether this wall time is believable: in the years of this program, and the kernel in step."""
    return floor_ns <= wall_ns < LATEST_NS and synchronised()


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


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownTime:
    """The latest time that has surely passed. `exact`: it is now, carried on from a trusted moment of this boot."""

    ns: int
    exact: bool = False


def known_time(
    now: Stamp,
    trusted: Iterable[Stamp] = (),
    *,
    built_ns: int = BUILT_NS,
    files: Iterable[Path] = FLOOR_FILES,
) -> KnownTime:
    """Return the latest time that has surely passed, whatever the wall clock says now.

    It is the latest of: when the program was built, what systemd kept over the last power cut (the mtime of `files`),
    and the newest of the stamps that were `trusted`, carried on by the boot-time clock when it is of this boot. What is
    later than any program can run is no knowledge: else a clock of 2099 that was kept once would hold for ever.
    """
    passed = [built_ns, *(_mtime_ns(path) for path in files)]
    carried = None
    for stamp in trusted:
        if not stamp.clock_trusted:
            continue
        if stamp.boot_id == now.boot_id and (carried is None or stamp.boot_ns >= carried.boot_ns):
            carried = stamp
        passed.append(stamp.wall_ns)
    if carried is not None:  # the newest trusted word of this boot: it goes before what older ones and files say
        return KnownTime(ns=carried.wall_ns + now.boot_ns - carried.boot_ns, exact=True)
    return KnownTime(ns=max((ns for ns in passed if ns < LATEST_NS), default=0))


def _mtime_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def clock_is_plausible(now: Stamp, known: KnownTime) -> bool:
    """Tell whether dates may be judged by the wall clock of this stamp. The one rule for whoever lets in or locks out.

    It may be when the clock is trusted. A clock that nobody keeps in step, as on a site without a network, may be when
    it agrees with what this boot knows; where this boot never knew, when it is not behind what has surely passed and
    in the years of this program.
    """
    if now.clock_trusted:
        return True
    if known.exact:
        return abs(now.wall_ns - known.ns) <= STRAY_NS
    return known.ns <= now.wall_ns < LATEST_NS


def judged_ns(now: Stamp, known: KnownTime) -> int:
    """Return the time by which dates are judged: the wall clock's when it is plausible, else the latest known.

    What has expired by the latest known time has expired; by a clock that is not believed nothing has.
    """
    return now.wall_ns if clock_is_plausible(now, known) else known.ns

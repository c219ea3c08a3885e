"""Watch the wall clock against the clock that never jumps: say when it becomes good, is set, or is good no longer.

The kernel slews both clocks alike, so within a boot their difference changes only when somebody sets the wall clock.
What the watch says is kept as an entry of kind `clock`, by which the times of other entries are worked out later: see
`dating.py`.
"""

import ctypes
import errno
import functools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sync.entry import Stamp
from sync.stamp import KernelClock, boot_id, clock_is_trusted, kernel_clock

KIND, VERSION = "clock", 1
TRUSTED, JUMP, PERIODIC, LOST = "trusted", "jump", "periodic", "lost"
_MS = 1_000_000
JUMP_NS = 20 * _MS  # below the 50 ms that a corrected time may be wrong; reading both clocks takes 2 us
PERIOD_NS = 3600 * 1000 * _MS  # 24 entries a day: an hour of a bad quartz (50 ppm) is 180 ms, half of it either way
APART_NS = 10_000 * _MS  # a program that sets the clock all day long must not fill the ledger
_CLOSE_NS = _MS  # reading three clocks takes 1 us; a reading that was interrupted for longer is taken again
_TRIES = 5
_CANCEL_ON_SET, _ABSTIME = 2, 1  # timerfd_create(2): TFD_TIMER_CANCEL_ON_SET, TFD_TIMER_ABSTIME
_FAR_S = 2**40  # a moment that never comes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """All clocks at one moment. `blur_ns`: how far apart wall and boot-time clock may have been read."""

    wall_ns: int
    boot_ns: int
    boot_id: str
    kernel: KernelClock
    blur_ns: int = 0

    @property
    def offset_ns(self) -> int:
        """What to add to the boot-time clock for the wall clock."""
        return self.wall_ns - self.boot_ns

    @property
    def stamp(self) -> Stamp:
        """The moment as an entry has it."""
        trusted = clock_is_trusted(self.wall_ns, synchronised=lambda: self.kernel.synchronised)
        return Stamp(wall_ns=self.wall_ns, boot_ns=self.boot_ns, boot_id=self.boot_id, clock_trusted=trusted)


def read_clocks() -> Reading:
    """Return all clocks of the box, read as close together as the scheduler lets us."""
    wall = boot = blur = 0
    for _ in range(_TRIES):
        before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        wall = time.time_ns()
        blur = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - before
        boot = before + blur // 2
        if blur <= _CLOSE_NS:
            break
    return Reading(wall_ns=wall, boot_ns=boot, boot_id=boot_id(), kernel=kernel_clock(), blur_ns=blur)


class SetAlarm:
    """Ring at once when somebody sets the wall clock: a timerfd(2) that the kernel cancels. Silent where there is none.

    Python 3.11 has no `os.timerfd_create`, so the C library is asked.
    """

    def __init__(self, *, read: Callable[[int, int], bytes] = os.read) -> None:
        self._read = read
        self._fd = _timerfd()
        self._arm()

    def rang(self) -> bool:
        """Tell whether the clock was set since the last call."""
        if self._fd < 0:
            return False
        try:
            self._read(self._fd, 8)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.ECANCELED:
                self.close()
                return False
        self._arm()
        return True

    def close(self) -> None:
        """Ring no more."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _arm(self) -> None:
        at = (ctypes.c_long * 4)(0, 0, _FAR_S if ctypes.sizeof(ctypes.c_long) == 8 else 2**31 - 1, 0)
        if self._fd >= 0 and _libc().timerfd_settime(self._fd, _ABSTIME | _CANCEL_ON_SET, at, None) != 0:
            self.close()


@functools.cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _timerfd() -> int:
    try:
        return int(_libc().timerfd_create(time.CLOCK_REALTIME, os.O_NONBLOCK | os.O_CLOEXEC))
    except AttributeError:  # a C library without it
        return -1


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockNews:
    """What happened to the wall clock: `why` is trusted, jump, periodic or lost."""

    why: str
    reading: Reading
    jumped_ns: int = 0  # how far it was set since the last news, forward positive


class ClockWatch:
    """Look often; whatever is news is told once, and no more often than every ten seconds.

    `trusted` is the newest trusted moment that is known, from the ledger at first. One thread looks, any may ask.
    """

    def __init__(
        self,
        *,
        read: Callable[[], Reading] = read_clocks,
        rang: Callable[[], bool] | None = None,
        trusted: Stamp | None = None,
    ) -> None:
        self._read = read
        self._rang = rang or SetAlarm().rang
        self._rung = False
        self._last: Reading | None = None  # the reading of the last news, at first of the first look
        self._good = False  # whether the clock was trusted then
        self._before: tuple[Reading | None, bool] = (None, False)
        self._quiet_until_ns = 0
        self.trusted = trusted

    def look(self) -> ClockNews | None:
        """Return what is new, or None."""
        self._rung |= self._rang()  # before the clocks are read: what is set in between rings at the next look
        now = self._read()
        stamp = now.stamp
        if stamp.clock_trusted:
            self.trusted = stamp
        last = self._last
        if last is None and not stamp.clock_trusted:
            self._last = last = now  # no news: the stamps of the entries say it
        if now.boot_ns < self._quiet_until_ns:
            return None
        jumped_ns = now.offset_ns - last.offset_ns if last else 0
        if last and not self._rung and abs(jumped_ns) <= JUMP_NS + now.blur_ns + last.blur_ns:
            jumped_ns = 0
        if stamp.clock_trusted != self._good:
            return self._tell(TRUSTED if stamp.clock_trusted else LOST, now, jumped_ns)
        if self._rung or jumped_ns:
            return self._tell(JUMP, now, jumped_ns)
        if last and self._good and now.boot_ns - last.boot_ns >= PERIOD_NS:
            return self._tell(PERIODIC, now, 0)
        return None

    def untold(self, news: ClockNews) -> None:
        """Take back news that could not be kept: it is told again in ten seconds."""
        self._last, self._good = self._before
        self._rung |= news.why == JUMP

    def _tell(self, why: str, now: Reading, jumped_ns: int) -> ClockNews:
        self._before = self._last, self._good
        self._last, self._rung = now, False
        self._good = why in (TRUSTED, PERIODIC) or (why == JUMP and self._good)
        self._quiet_until_ns = now.boot_ns + APART_NS
        return ClockNews(why=why, reading=now, jumped_ns=jumped_ns)

"""The stamp: every clock of the box, and whether the wall clock is believed."""

import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.entry import Stamp
from sync.stamp import (
    BUILT_NS,
    LATEST_NS,
    KnownTime,
    boot_id,
    clock_is_plausible,
    clock_is_trusted,
    judged_ns,
    kernel_clock,
    kernel_is_synchronised,
    known_time,
    now_stamp,
)


def test_a_stamp_has_every_clock_of_now():
    before = time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    stamp = now_stamp()
    after = time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert before[0] <= stamp.wall_ns <= after[0]
    assert before[1] <= stamp.boot_ns <= after[1]
    assert stamp.boot_id == boot_id() != ""


def test_the_boot_time_never_runs_back():
    stamps = [now_stamp().boot_ns for _ in range(100)]
    assert stamps == sorted(stamps)


def test_a_clock_before_the_program_was_built_is_not_trusted():
    assert not clock_is_trusted(0, synchronised=lambda: True)
    assert not clock_is_trusted(BUILT_NS - 1, synchronised=lambda: True)
    assert clock_is_trusted(BUILT_NS, synchronised=lambda: True)


def test_a_clock_that_the_kernel_does_not_keep_in_step_is_not_trusted():
    assert not clock_is_trusted(BUILT_NS, synchronised=lambda: False)


def test_a_clock_behind_a_moment_that_has_passed_is_not_trusted():
    moment_ns = BUILT_NS + 10
    assert not now_stamp(floor_ns=time.time_ns() + 3600 * 10**9, synchronised=lambda: True).clock_trusted
    assert clock_is_trusted(moment_ns, floor_ns=moment_ns, synchronised=lambda: True)


def test_the_kernel_can_be_asked_without_changing_its_clock():
    assert kernel_is_synchronised() in (True, False)
    assert now_stamp().clock_trusted in (True, False)


NOW_NS = BUILT_NS + 10**17  # three years after the program was built
IN_1970, IN_2099 = 40 * 10**9, 4_070_908_800 * 10**9


def stamp(wall_ns: int, *, boot_ns: int = 100 * 10**9, boot: str = "here", trusted: bool = False) -> Stamp:
    return Stamp(wall_ns=wall_ns, boot_ns=boot_ns, boot_id=boot, clock_trusted=trusted)


def known(now: Stamp, *trusted: Stamp, files=()) -> KnownTime:
    return known_time(now, trusted, files=files)


def test_a_clock_of_years_in_which_no_program_still_runs_is_not_trusted():
    assert clock_is_trusted(LATEST_NS - 1, synchronised=lambda: True)
    assert not clock_is_trusted(IN_2099, synchronised=lambda: True)


def test_the_kernel_says_how_far_its_clock_may_be_wrong():
    said = kernel_clock()
    assert said.synchronised == kernel_is_synchronised()
    assert said.est_error_us >= 0 and 0 <= said.max_error_us <= 16_000_000, "the kernel counts no further than 16 s"


def test_the_latest_known_time_is_the_latest_that_anything_honest_names(tmp_path):
    now = stamp(IN_1970)
    assert known(now) == KnownTime(ns=BUILT_NS)
    kept = tmp_path / "clock"
    kept.touch()
    os.utime(kept, ns=(0, NOW_NS))
    assert known(now, files=(tmp_path / "absent", kept)) == KnownTime(ns=NOW_NS)
    os.utime(kept, ns=(0, IN_2099))
    assert known(now, files=(kept,)) == KnownTime(ns=BUILT_NS), "a broken clock once kept does not hold for ever"
    before = stamp(NOW_NS + 5, boot="before", trusted=True)
    assert known(now, stamp(NOW_NS, boot="before", trusted=True), before, stamp(IN_2099)) == KnownTime(ns=NOW_NS + 5)


def test_within_a_boot_that_knew_the_time_it_is_known_exactly():
    trusted = stamp(NOW_NS, boot_ns=10 * 10**9, trusted=True)
    later_boot_clock = stamp(IN_1970, boot_ns=70 * 10**9)
    assert known(later_boot_clock, trusted) == KnownTime(ns=NOW_NS + 60 * 10**9, exact=True)


@pytest.mark.parametrize(
    ("wall_ns", "trusted", "expected"),
    [
        (IN_1970, (), False),
        (IN_2099, (), False),
        (NOW_NS, (), True),  # a site without a network: nobody keeps its clock in step, and it is right
        (NOW_NS, (stamp(NOW_NS - 1, boot="before", trusted=True),), True),
        (NOW_NS, (stamp(NOW_NS + 1, boot="before", trusted=True),), False),  # behind what has passed
        (NOW_NS, (stamp(NOW_NS - 9, trusted=True),), True),
        (NOW_NS + 3600 * 10**9, (stamp(NOW_NS, trusted=True),), False),  # somebody set it on by an hour
        (NOW_NS - 3600 * 10**9, (stamp(NOW_NS, trusted=True),), False),
    ],
)
def test_an_untrusted_clock_is_judged_by_only_where_nothing_speaks_against_it(wall_ns, trusted, expected):
    now = stamp(wall_ns)
    assert clock_is_plausible(now, known(now, *trusted)) is expected
    assert judged_ns(now, known(now, *trusted)) == (wall_ns if expected else known(now, *trusted).ns)


@given(wall_ns=st.integers(0, 2**62), then=st.integers(BUILT_NS, NOW_NS))
def test_what_was_valid_when_the_time_was_last_known_is_never_expired_by_a_clock_behind_it(wall_ns, then):
    """And what had expired then never comes back."""
    now, trusted = stamp(wall_ns, boot="now"), stamp(then, boot="before", trusted=True)
    judged = judged_ns(now, known(now, trusted))
    assert judged >= then
    assert judged == then or then < wall_ns < LATEST_NS

"""The stamp: every clock of the box, and whether the wall clock is believed."""

import time

from sync.stamp import BUILT_NS, boot_id, clock_is_trusted, kernel_is_synchronised, now_stamp


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

"""What befalls the wall clock is told at once, once, and no more often than the ledger can bear."""

import errno
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_clocks import IN_1970, IN_2099, SECOND, Box

from sync.clockwatch import JUMP, LOST, PERIODIC, TRUSTED, SetAlarm, read_clocks


@pytest.fixture
def box() -> Box:
    box = Box()
    box.boot()
    return box


def told(box: Box) -> list[str]:
    return [news.why for news in box.news]


def test_a_clock_that_becomes_good_is_an_anchor_and_says_how_far_it_was_off(box):
    box.wait(60)
    assert told(box) == [], "a bad clock is in the stamps"
    box.synchronise()
    assert told(box) == [TRUSTED]
    assert box.news[0].jumped_ns == box.true_ns - (IN_1970 + 60 * SECOND)
    assert box.news[0].reading.offset_ns + box.boot_ns == box.true_ns


def test_a_good_clock_at_the_start_is_an_anchor():
    box = Box()
    box.boot()
    box.news.clear()
    box.good, box.offset_ns = True, box.true_ns - box.boot_ns
    box.turn()
    assert told(box) == [TRUSTED]


@pytest.mark.parametrize("alarms", [True, False])
@pytest.mark.parametrize("seconds", [-3600, -0.5, 0.5, 3600])
def test_a_jump_of_a_good_clock_is_told_in_the_same_turn(box, alarms, seconds):
    box.alarms = alarms
    box.synchronise()
    box.wait(60)
    box.set(box.true_ns + int(seconds * SECOND), good=True)
    assert told(box) == [TRUSTED, JUMP]
    assert box.news[-1].jumped_ns == int(seconds * SECOND)


def test_a_clock_set_there_and_back_within_a_turn_is_told_by_the_kernel(box):
    box.synchronise()
    box.wait(60)
    box.was_set = True
    box.turn()
    assert told(box) == [TRUSTED, JUMP]
    assert box.news[-1].jumped_ns == 0


def test_a_clock_that_falls_out_of_step_or_is_set_by_hand_is_lost(box):
    box.synchronise()
    box.wait(60)
    box.lose_step()
    box.wait(60)
    box.synchronise()
    box.wait(60)
    box.set(IN_2099)
    assert told(box) == [TRUSTED, LOST, TRUSTED, LOST]
    assert box.news[-1].jumped_ns > 10**9 * SECOND
    assert not box.news[-1].reading.stamp.clock_trusted


def test_a_good_clock_is_told_again_every_hour(box):
    box.synchronise()
    for _ in range(240):
        box.wait(60)
    assert told(box) == [TRUSTED, *[PERIODIC] * 4]


def test_a_program_that_sets_the_clock_all_day_long_does_not_fill_the_ledger(box):
    box.synchronise()
    for _ in range(600):
        box.wait(1)
        box.set(box.true_ns + (box.boot_ns // SECOND % 7 - 3) * SECOND, good=bool(box.boot_ns // SECOND % 3))
    assert 10 < len(box.news) <= 61


def test_what_was_quiet_is_told_later(box):
    box.synchronise()
    box.wait(1)
    box.set(box.true_ns + SECOND, good=True)
    assert told(box) == [TRUSTED]
    box.wait(10)
    assert told(box) == [TRUSTED, JUMP]


@given(why=st.sampled_from([TRUSTED, JUMP, PERIODIC, LOST]))
def test_news_that_could_not_be_kept_are_told_again(why):
    box = Box()
    box.boot()
    box.synchronise()
    if why != TRUSTED:
        box.wait(60)
        {
            JUMP: lambda: box.set(box.true_ns + SECOND, good=True),
            LOST: box.lose_step,
            PERIODIC: lambda: box.wait(3600),
        }[why]()
    news = box.news[-1]
    assert news.why == why
    box.watch.untold(news)
    box.wait(11)
    assert box.news[-1].why == why
    assert box.news[-1] is not news
    assert abs(box.news[-1].jumped_ns) == abs(news.jumped_ns)


def test_the_kernel_takes_the_alarm_and_it_is_silent_while_nobody_sets_the_clock():
    """That it rings when the clock is set is the kernel's word, timerfd_create(2): a test may not set this one's."""
    before = len(os.listdir("/proc/self/fd"))
    alarm = SetAlarm()
    assert len(os.listdir("/proc/self/fd")) == before + 1, "the kernel gave no timer"
    assert [alarm.rang() for _ in range(3)] == [False, False, False]
    alarm.close()
    assert not alarm.rang()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_timer_that_the_kernel_cancelled_rings_once_and_is_armed_again():
    """By the words of timerfd_create(2): read fails with ECANCELED after a discontinuous change of the clock."""
    faults = [OSError(errno.ECANCELED, "set"), BlockingIOError(), OSError(errno.EIO, "?"), OSError(errno.EIO, "?")]
    said = iter(faults)

    def read(_fd: int, _size: int) -> bytes:
        raise next(said)

    alarm = SetAlarm(read=read)
    assert [alarm.rang() for _ in range(4)] == [True, False, False, False], "a timer that is broken is silent"
    assert isinstance(next(said), OSError), "and is asked no more"


def test_the_clocks_are_read_close_together():
    readings = [read_clocks() for _ in range(50)]
    assert min(reading.blur_ns for reading in readings) < 100_000
    spread = [reading.offset_ns for reading in readings if reading.blur_ns < 100_000]
    assert max(spread) - min(spread) < 1_000_000
    assert abs(readings[-1].wall_ns - time.time_ns()) < 60 * SECOND

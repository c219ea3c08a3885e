"""What could not be kept is counted, whatever the disk says and whenever the power goes."""

import resource
from pathlib import Path

import pytest

from sync.tally import Tally


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "unkept"


def test_a_count_is_there_after_a_restart_and_takes_no_more_room(path):
    tally = Tally(path)
    size = path.stat().st_size
    for number in range(300):
        tally.add("fault" if number % 3 else "mode", 1_000 + number)
    again = Tally(path)
    assert again.counts == {"mode": 100, "fault": 200}
    assert again.since_ns == 1_000
    assert path.stat().st_size == size


@pytest.mark.parametrize("bytes_torn", range(0, 200, 7))
def test_a_torn_write_leaves_the_count_before_it(path, bytes_torn):
    tally = Tally(path)
    tally.add("fault", 1)
    before = path.read_bytes()
    tally.add("fault", 2)
    after = path.read_bytes()
    start = next(at for at in range(len(before)) if before[at] != after[at])
    path.write_bytes(after[: start + bytes_torn] + before[start + bytes_torn :])
    assert Tally(path).counts["fault"] in (1, 2)


def test_what_was_told_is_taken_off_and_what_came_since_is_not(path):
    tally = Tally(path)
    tally.add("fault", 1)
    told, generation = tally.counts, tally.generation
    tally.add("fault", 2)
    tally.told(told)
    assert Tally(path).counts == {"fault": 1}
    assert tally.generation != generation


def test_what_was_counted_while_the_card_took_nothing_is_written_when_it_does(path):
    tally = Tally(path)
    tally.add("fault", 1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            tally.add("fault", 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert Tally(path).counts == {"fault": 1}
    tally.sync()
    assert Tally(path).counts == {"fault": 2}


def test_many_kinds_do_not_burst_the_slot(path):
    tally = Tally(path)
    for number in range(100):
        tally.add(f"kind-{number:03}", 1)
    assert sum(Tally(path).counts.values()) == 100
    assert path.stat().st_size == 4096


def test_rubbish_is_an_empty_count(path):
    path.write_bytes(b"\xff" * 4096)
    tally = Tally(path)
    assert tally.counts == {}
    tally.add("fault", 1)
    assert Tally(path).counts == {"fault": 1}

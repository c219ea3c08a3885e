"""When an entry was made is worked out later, whatever its clock said: exact within a boot, bounded without."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from made_clocks import IN_1970, IN_2099, SECOND, TRUE_NS, Box

from sync.dating import Dating, Quality, dating_of
from sync.entry import Draft, Stamp
from sync.ledger import LedgerReader, LedgerWriter
from sync.stamp import UNKNOWN_BOOT

NEAR_NS = 50_000_000  # what is promised within a boot
OFF_NS = 10_000_000  # by which a good time server may be wrong here
WALLS = st.sampled_from([0, IN_1970, TRUE_NS, TRUE_NS + 3600 * SECOND, IN_2099])


def acts(*, lying: bool):
    """What may befall a box in one boot; a time server that lies says anything."""
    wrong = st.integers(-OFF_NS, OFF_NS)
    every = [
        st.tuples(st.just("wait"), st.floats(0.05, 4000)),
        st.tuples(st.just("keep"), st.none()),
        st.tuples(st.just("set"), WALLS),
        st.tuples(st.just("synchronise"), wrong),
        st.tuples(st.just("lose"), st.none()),
        st.tuples(st.just("restart"), st.none()),
    ]
    if lying:
        every.append(st.tuples(st.just("synchronise"), st.integers(-(10**15), 10**15)))
    return st.lists(st.one_of(every), max_size=12)


def boots(*, lying: bool = False):
    return st.lists(st.tuples(st.floats(0, 10**6), WALLS, acts(lying=lying)), min_size=1, max_size=4)


def lived(story, *, alarms: bool = True) -> Box:
    box = Box(alarms=alarms)
    for off_s, wall_ns, deeds in story:
        box.boot(off_s=off_s, wall_ns=wall_ns)
        for deed, value in deeds:
            match deed:
                case "wait":
                    box.wait(value)
                case "keep":
                    box.keep()
                case "set":
                    box.set(value)
                case "synchronise":
                    box.synchronise(value)
                case "lose":
                    box.lose_step()
                case "restart":
                    box.begin()
    return box


@given(story=boots(), alarms=st.booleans(), left=st.sets(st.integers(0, 60)))
def test_a_time_is_right_within_its_boot_and_bounded_without_whatever_was_pruned(story, alarms, left):
    """`left` are entries that the witness does not have any more: pruned, or lost by a card."""
    box = lived(story, alarms=alarms)
    dating = Dating(entry for at, entry in enumerate(box.entries) if at not in left)
    for entry in box.entries:
        truth, dated = box.truth[entry.key], dating.when(entry.stamp)
        if dated.quality in (Quality.STAMPED, Quality.CORRECTED):
            assert abs(dated.wall_ns - truth) <= NEAR_NS
        if dated.quality is Quality.BOUNDS:
            assert dated.earliest_ns is None or dated.earliest_ns <= truth + OFF_NS
            assert dated.latest_ns is None or dated.latest_ns >= truth - OFF_NS
        if entry.stamp.clock_trusted:
            assert dated.quality is Quality.STAMPED


@given(story=boots())
def test_a_boot_that_knew_the_time_once_leaves_no_entry_undated(story):
    box = lived(story)
    dating = Dating(box.entries)
    knew = {entry.stamp.boot_id for entry in box.entries if entry.stamp.clock_trusted}
    for entry in box.entries:
        dated = dating.when(entry.stamp)
        known = dated.quality in (Quality.STAMPED, Quality.CORRECTED)
        assert known == (entry.stamp.boot_id in knew)
        assert known or (dated.quality is Quality.BOUNDS) == bool(knew)


# Set back by less than is worth an entry.
SET_BACK_UNTOLD = [
    (0.0, 0, [("wait", 1.0), ("set", 0), ("synchronise", 0), ("keep", None), ("synchronise", -1), ("keep", None)])
]


@given(story=boots(lying=True), alarms=st.booleans())
@example(story=SET_BACK_UNTOLD, alarms=True)
def test_times_never_contradict_the_order_of_the_keys_within_a_boot(story, alarms):
    """Also when the time server lied, there and back."""
    box = lived(story, alarms=alarms)
    dating = Dating(box.entries)
    for boot in {entry.stamp.boot_id for entry in box.entries}:
        times = [dating.when(entry.stamp) for entry in box.entries if entry.stamp.boot_id == boot]
        if times[0].quality in (Quality.STAMPED, Quality.CORRECTED):
            walls = [dated.wall_ns for dated in times]
            assert walls == sorted(walls)


def test_an_entry_of_1970_is_dated_when_the_anchor_comes():
    box = Box()
    box.boot()
    old = box.keep()
    assert old.stamp.wall_ns < 100 * SECOND
    assert Dating(box.entries).when(old.stamp).quality is Quality.UNKNOWN
    box.wait(300)
    box.synchronise(OFF_NS)
    dated = Dating(box.entries).when(old.stamp)
    assert dated.quality is Quality.CORRECTED
    assert abs(dated.wall_ns - box.truth[old.key]) <= NEAR_NS
    assert dated.earliest_ns <= box.truth[old.key] + OFF_NS <= dated.latest_ns + 2 * OFF_NS


def test_the_bounds_are_as_narrow_as_the_known_uptimes_allow():
    """Before a boot that never knew the time one ended, and another began after it; in between it ran an hour."""
    box = Box()
    box.boot()
    box.synchronise()
    ended_ns = box.true_ns
    box.boot(off_s=500)
    undated = box.keep()
    box.wait(3600)
    box.keep()
    box.boot(off_s=200)
    box.synchronise()
    dated = Dating(box.entries).when(undated.stamp)
    assert dated.quality is Quality.BOUNDS
    assert dated.earliest_ns == dated.wall_ns == ended_ns + undated.stamp.boot_ns
    assert dated.latest_ns - dated.earliest_ns == 700 * SECOND, "the two times without power, and nothing else"


def test_of_boots_in_a_row_that_never_knew_each_begins_after_the_time_the_ones_before_it_ran():
    box = Box()
    box.boot()
    box.synchronise()
    ended_ns = box.true_ns
    for _ in range(3):
        box.boot(off_s=0)
        box.wait(3600)
        last = box.keep()
    dated = Dating(box.entries).when(last.stamp)
    assert dated.latest_ns is None
    assert dated.earliest_ns == ended_ns + 3 * 3605 * SECOND == box.truth[last.key], "no time without power was between"


def test_what_waited_in_the_spool_over_a_boot_is_of_the_boot_before():
    """Its boot never wrote an entry of its own: it shows up under a key of the next one."""
    box = Box()
    box.boot()
    box.synchronise()
    ended_ns = box.true_ns
    box.boot(off_s=100)
    spooled = box.keep()
    box.entries = [entry for entry in box.entries if entry.stamp.boot_id != box.boot_id]
    box.boot(off_s=100)
    box.keep_spooled(spooled)
    box.synchronise()
    dated = Dating(box.entries).when(spooled.stamp)
    assert dated.quality is Quality.BOUNDS
    assert ended_ns <= dated.earliest_ns <= box.truth[spooled.key] <= dated.latest_ns <= box.true_ns


def test_a_clock_that_drifted_is_corrected_along_its_drift():
    """Out of step for a day the box lost 4 s; what was stamped at noon lost two."""
    box = Box()
    box.boot()
    box.synchronise()
    box.lose_step()
    box.wait(12 * 3600)
    box.true_ns += 2 * SECOND
    noon = box.keep()
    box.wait(12 * 3600)
    box.true_ns += 2 * SECOND
    box.synchronise()
    assert abs(Dating(box.entries).when(noon.stamp).wall_ns - box.truth[noon.key]) <= NEAR_NS


def test_what_a_lying_time_server_said_is_corrected_when_an_honest_one_is_found():
    box = Box()
    box.boot()
    box.set(TRUE_NS + 10**9 * SECOND // 10, good=True)
    lied = box.keep()
    assert lied.stamp.clock_trusted
    box.wait(60)
    box.synchronise()
    dated = Dating(box.entries).when(lied.stamp)
    assert dated.quality is Quality.CORRECTED
    assert abs(dated.wall_ns - box.truth[lied.key]) <= NEAR_NS


def test_boots_without_a_name_are_not_taken_for_one():
    stamps = [Stamp(wall_ns=wall, boot_ns=9, boot_id=UNKNOWN_BOOT, clock_trusted=wall > 99) for wall in (5, TRUE_NS)]
    box = Box()
    box.boot()
    entries = [box._add("passage", stamp, 0, {}) for stamp in stamps]
    assert Dating(entries).when(stamps[0]).quality is Quality.UNKNOWN


@pytest.mark.parametrize("body", [
    {}, {"offset_ns": 5}, {"offset_ns": "x"}, {"offset_ns": "9" * 5000}, {"offset_ns": "5"},
    {"offset_ns": str(TRUE_NS), "boot_id": "another"},
])  # fmt: skip
def test_a_strange_anchor_is_none(body):
    box = Box()
    box.boot()
    old = box.keep()
    box.offset_ns, box.good = box.true_ns - box.boot_ns, True
    box.keep("clock", **{"boot_id": box.boot_id, **body})
    assert abs(Dating(box.entries).when(old.stamp).wall_ns - box.truth[old.key]) <= NEAR_NS, "its stamp is one"


def test_a_ledger_dates_its_entries_reading_only_what_that_takes(tmp_path):
    box = Box()
    box.boot()
    with LedgerWriter.open(tmp_path / "ledger.db", vault=None, stamp=lambda: box.stamp) as writer:
        old = writer.append(Draft(kind="passage", version=1, body={}), 5.0)
        truth = box.true_ns
        box.wait(600)
        box.synchronise()
        clock = box.entries[-1]
        writer.append(Draft(kind=clock.kind, version=1, body=clock.data), 5.0)
        new = writer.append(Draft(kind="passage", version=1, body={}), 5.0)
    with LedgerReader(tmp_path / "ledger.db") as reader:
        dating = dating_of(reader, [old.stamp, new.stamp])
        assert abs(dating.when(old.stamp).wall_ns - truth) <= NEAR_NS
        assert dating.when(new.stamp).quality is Quality.STAMPED
    assert dating_of(reader, [new.stamp]).when(new.stamp).wall_ns == new.stamp.wall_ns

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recognition.choice import Choice, cpu_name, fastest, keep_choice, read_choice, this_device
from recognition.forms import Form

ARM = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n\nprocessor\t: 1\nCPU part\t: 0xd0c\n"
X86 = "processor : 0\ncpu family : 26\nmodel : 2\nmodel name : AMD EPYC\n"


class StagedClock:
    """A clock that only runs when a form does."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def costing(self, *each_s):
        turns = iter(each_s)

        def run():
            nonlocal turns
            self.now += next(turns, each_s[-1])

        return run


@given(costs=st.dictionaries(st.sampled_from(list(Form)), st.floats(0.001, 0.3), min_size=1))
def test_the_form_that_takes_least_comes_first(costs):
    clock = StagedClock()
    times = fastest({form: clock.costing(cost) for form, cost in costs.items()}, clock=clock)
    assert list(times.values()) == sorted(times.values())
    assert costs[next(iter(times))] == pytest.approx(min(costs.values()), rel=1e-6)


def test_the_first_turn_that_fills_the_caches_is_not_counted():
    clock = StagedClock()
    times = fastest({Form.SUM: clock.costing(9.0, 0.1), Form.PRELU: clock.costing(0.2)}, clock=clock)
    assert next(iter(times)) is Form.SUM


def test_the_trial_ends_in_time_also_when_every_form_is_slow():
    clock = StagedClock()
    fastest({form: clock.costing(0.09) for form in Form}, clock=clock)
    assert clock.now < 3 * 0.09 * len(Form) + 0.01
    clock = StagedClock()
    fastest({form: clock.costing(0.01) for form in Form}, clock=clock)
    assert clock.now < 1.0


@pytest.mark.parametrize(("text", "name"), [(ARM, "0x41 0xd0b"), (X86, "AMD EPYC 26 2"), ("", "unknown")])
def test_a_processor_is_known_by_its_name_or_its_part(text, name, tmp_path):
    (tmp_path / "cpuinfo").write_text(text)
    assert cpu_name(tmp_path / "cpuinfo") == name
    assert cpu_name(tmp_path / "absent") == "unknown"


def test_a_choice_is_remembered(tmp_path):
    choice = Choice(device=this_device(), form=Form.PAIR, best_ms={"pair": 1.5}, cosine={"pair": 1.0})
    keep_choice(choice, tmp_path / "note.json")
    assert read_choice(tmp_path / "note.json") == choice


@pytest.mark.parametrize("spoil", [lambda held: "{", lambda held: "[]", lambda held: json.dumps({**held, "form": "x"})])
def test_a_note_that_is_not_whole_is_no_choice(spoil, tmp_path):
    choice = Choice(device=this_device(), form=Form.SUM, best_ms={}, cosine={})
    keep_choice(choice, tmp_path / "note.json")
    (tmp_path / "note.json").write_text(spoil(json.loads((tmp_path / "note.json").read_text())))
    assert read_choice(tmp_path / "note.json") is None
    assert read_choice(tmp_path / "absent.json") is None


def test_a_moment_when_the_machine_is_busy_does_not_decide():
    clock = StagedClock()
    times = fastest({Form.SUM: clock.costing(0.01, 0.01, 0.9, 0.9), Form.PRELU: clock.costing(0.02)}, clock=clock)
    assert next(iter(times)) is Form.SUM


def test_waiting_for_a_busy_machine_is_not_counted_where_the_processor_tells_its_own_time():
    wall, own = StagedClock(), StagedClock()

    def costing(own_s, wait_s):
        def run():
            own.now += own_s
            wall.now += own_s + wait_s

        return run

    runs = {Form.SUM: costing(0.01, 0.2), Form.PRELU: costing(0.02, 0.0)}
    assert next(iter(fastest(runs, clock=wall, stopwatch=own))) is Form.SUM
    assert next(iter(fastest(runs, clock=wall))) is Form.PRELU
    assert own.now < wall.now

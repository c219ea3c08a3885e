"""What the street sends becomes a file, then a roster or an act, then an entry: once, and only what it has signed."""

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_lane import Stand

from drivers.readings import Leaf
from sentinel import roster, street_policy
from sentinel.core.kinds import Report
from sentinel.core.model import Person
from sentinel.core.street_kinds import COMMAND_ACTS, DOWN_REFUSALS, CommandTaken
from sentinel.downroad import SAME_REFUSAL_S, DownRoad
from sentinel.downroad_acts import Acts
from sentinel.settings import load
from sentinel.street_orders import Order
from sync.entry import epoch_text
from sync.identity import make_identity
from sync.snapshot import Heading, Refusal, Type, write_documents

GATE = "330106/cuiyuan3/east-3"
A, B = "11010519491231002X", "810000199001010027"
SITE = load(Path(__file__).parents[1] / "config" / "gate.toml")  # with a scanner: a week of passages at least
NOW = datetime(2026, 11, 22, 6, 30, tzinfo=UTC)


class Gate(Stand):
    """A lane, the worker that follows the folder, and the street that lays something into it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder, self.down = folder, folder / "down"
        self.down.mkdir(exist_ok=True)
        self.street = make_identity(folder / "street.key")
        (folder / "street.pub").write_text(self.street.known.text())
        self.roster = folder / "roster.db"
        self.trusted, self.ready, self.at, self.serial = True, True, NOW, 0
        self.posted: list[Order] = []
        self.road = self.worker()

    def worker(self) -> DownRoad:
        """Return a worker as it is after a start of the gate."""
        told = replace(
            SITE,
            gate=replace(SITE.gate, street="330106", site="cuiyuan3", gate="east-3"),
            paths=replace(SITE.paths, state_dir=self.folder, secrets_dir=self.folder / "ours", uplink_dir=None),
            uplink=replace(SITE.uplink, street_keys=self.folder / "street.pub"),
        )
        acts = Acts(
            settings=told,
            vault=self.vault,
            epoch=lambda: self.keeper.epoch,
            clock_trusted=lambda: self.trusted,
            report=lambda: Report(mode="automatic", because=(), faults=(), fill=0.1, queued=0, unkept=0, version="1"),
            utc_now=lambda: self.at,
        )
        self.settings = told
        return DownRoad(
            told, acts, self.post, ready=lambda: self.ready, clock_trusted=lambda: self.trusted, clock=self.clock,
            utc_now=lambda: self.at,
        )  # fmt: skip

    def post(self, order: Order) -> None:
        self.posted.append(order)
        self.lane.turn(order)

    @property
    def known(self):
        return make_identity(self.folder / "ours" / "gate.key").known

    def written(self, type_: Type, plain: bytes, signer=None, **heading) -> list[bytes]:
        self.serial += 1
        told = {"gate": GATE, "serial": self.serial, "made_at": self.at, **heading}
        return write_documents(Heading(type=type_, **told), plain, signer or self.street, self.known)

    def lay(self, *documents: bytes) -> None:
        for number, data in enumerate(documents):
            (self.down / f"{self.serial:05}-{number:02}.down").write_bytes(data)
        self.road.look()

    def send_roster(self, *people: dict, **heading) -> None:
        lines = [{"exclusive": False}, *people]
        self.lay(*self.written(Type.ROSTER, "\n".join(map(json.dumps, lines)).encode(), **heading))

    def command(self, *, signer=None, life_s: int = 30, **told) -> bytes:
        heading = {"expires": self.at + timedelta(seconds=life_s)}
        return self.written(Type.COMMAND, json.dumps(told).encode(), signer, **heading)[0]

    def opening(self, **more) -> bytes:
        return self.command(**{"act": "open", "leaf": "in", "epoch": epoch_text(self.keeper.epoch or 0), **more})

    def said(self, kind: str) -> list[tuple]:
        return [(entry["accepted"], entry.get("reason")) for entry in self.entries(kind)]

    def lies(self) -> list[str]:
        return sorted(path.name for path in self.down.iterdir())


@pytest.fixture
def gate(tmp_path):
    return Gate(tmp_path)


def test_our_words_for_a_refusal_are_those_of_the_library():
    assert list(DOWN_REFUSALS) == list(Refusal)


def test_a_roster_is_applied_and_one_entry_says_what_became_of_it(gate):
    gate.send_roster({"number": A, "name": "样本甲"}, {"number": B, "name": "样本乙"})
    [entry] = gate.entries("roster")
    assert (entry["accepted"], entry["serial"], entry["newest"], entry["people"], entry["added"]) == (True, 1, 1, 2, 2)
    assert entry["signer"] == gate.street.known.id
    assert set(roster.load(gate.roster, gate.vault)) == {gate.vault.token(A), gate.vault.token(B)}
    assert gate.lies() == []
    assert "样本" not in json.dumps(gate.entries("roster"), ensure_ascii=False)


def test_a_change_follows_its_base_and_no_other(gate):
    gate.send_roster({"number": A, "name": "样本甲"})
    gate.send_roster({"remove": A}, {"number": B, "name": "样本乙"}, base=1)
    gate.send_roster({"number": A, "name": "样本甲"}, base=1)
    assert gate.said("roster") == [(True, None), (True, None), (False, "wrong-base")]
    assert set(roster.load(gate.roster, gate.vault)) == {gate.vault.token(B)}


def test_a_replayed_roster_changes_nothing_and_an_old_one_is_told(gate):
    first = gate.written(Type.ROSTER, b'{"exclusive":false}\n{"number":"E12345678","name":"x"}')
    gate.lay(*first)
    gate.lay(*first)
    assert gate.said("roster") == [(True, None)]
    gate.send_roster({"number": A, "name": "样本甲"})
    gate.lay(*first)
    assert gate.said("roster") == [(True, None), (True, None), (False, "old")]
    assert set(roster.load(gate.roster, gate.vault)) == {gate.vault.token(A)}


def test_an_older_one_that_the_broker_had_kept_is_nobody_s_fault(gate):
    (first,) = gate.written(Type.ROSTER, b'{"exclusive":false}')
    gate.lay(first)
    gate.send_roster({"remove": A}, base=1)
    (gate.down / "kept-roster-1.down").write_bytes(first)
    gate.road.look()
    assert gate.said("roster") == [(True, None), (True, None)]
    assert gate.lies() == []


def test_serials_outlive_the_process(gate):
    first = gate.written(Type.ROSTER, b'{"exclusive":false}')
    gate.lay(*first)
    gate.send_roster({"number": A, "name": "样本甲"})
    gate.road = gate.worker()
    gate.lay(*first)
    assert gate.said("roster")[-1] == (False, "old")
    assert set(roster.load(gate.roster, gate.vault)) == {gate.vault.token(A)}


def test_nothing_is_taken_while_one_part_is_missing(gate):
    people = [{"number": f"E{number:08}", "name": "样本"} for number in range(200)]
    lines = "\n".join(json.dumps(one) for one in ({"exclusive": False}, *people)).encode()
    heading = Heading(type=Type.ROSTER, gate=GATE, serial=1, made_at=NOW)
    one, *others = write_documents(heading, lines, gate.street, gate.known, part_bytes=100)
    assert len(others) > 2
    gate.lay(*others)
    assert gate.entries("roster") == []
    assert len(gate.lies()) == len(others)
    (gate.down / "late.down").write_bytes(one)
    gate.road.look()
    assert [entry["people"] for entry in gate.entries("roster")] == [200]
    assert gate.lies() == []


@pytest.mark.parametrize(
    ("reason", "made"),
    [
        ("not-signed", lambda gate: b'{"act": "open"}'),
        ("unknown-signer", lambda gate: gate.opening(signer=make_identity(gate.folder / "stranger.key"))),
        ("damaged", lambda gate: (whole := gate.opening())[:-1] + bytes([whole[-1] ^ 1])),
        ("other-gate", lambda gate: gate.written(Type.COMMAND, b"{}", gate="330106/cuiyuan3/west-1")[0]),
        ("expired", lambda gate: gate.written(Type.COMMAND, b"{}", expires=gate.at)[0]),
        ("too-big", lambda gate: gate.opening() + bytes(1 << 20)),
        ("not-understood", lambda gate: gate.command(act="dance")),
        ("not-understood", lambda gate: gate.written(Type.COMMAND, b"[]")[0]),
        ("not-understood", lambda gate: gate.opening(leaf="roof")),
        ("not-understood", lambda gate: gate.opening(life_s=61)),
        ("not-understood", lambda gate: gate.command(act="revoke")),
        ("not-understood", lambda gate: gate.command(act="revoke", pass_id="1234")),
        ("other-start", lambda gate: gate.opening(epoch="00000001c0ffee01")),
        ("not-possible", lambda gate: gate.command(act="mode", mode="automatic")),
    ],
)  # fmt: skip
def test_what_is_refused_opens_nothing_and_its_entry_says_why(gate, reason, made):
    gate.lay(made(gate))
    assert gate.said("command") == [(False, reason)]
    assert gate.barrier.opened == []
    assert gate.lies() == []


def test_a_policy_within_the_limits_is_kept_and_overlays_the_settings(gate):
    gate.lay(*gate.written(Type.POLICY, b'{"temperature_limit_celsius": 37.5, "passage_days": 60}'))
    [entry] = gate.entries("policy")
    assert (entry["accepted"], entry["settings"]) == (True, ["passage_days", "temperature_limit_celsius"])
    now = street_policy.overlaid(gate.settings)
    assert (now.temperature.limit_celsius, now.retention.passage_days) == (37.5, 60)
    assert now.origins["temperature.limit_celsius"] == "street"
    assert now.origins["retention.fault_days"] == gate.settings.origins["retention.fault_days"]
    unbelieved = replace(gate.settings, uplink=replace(gate.settings.uplink, street_keys=None))
    assert street_policy.overlaid(unbelieved) == unbelieved


def test_a_policy_that_contradicts_other_settings_sets_nothing(gate):
    scanned = replace(gate.settings, scanner=replace(gate.settings.scanner, kind="gm65", port="serial:///dev/ttyS5?baud=9600"))
    with pytest.raises(ValueError, match="at least 7"):
        street_policy.parse(b'{"passage_days": 2}', scanned)


@pytest.mark.parametrize(
    "content",
    [b"{}", b"[]", b"\xff", b'{"temperature_limit_celsius": 50}', b'{"passage_days": 0}', b'{"passage_days": "60"}',
     b'{"passage_days": true}', b'{"audit_days": 90}', b'{"barrier": 1}', b'{"fault_days": NaN}'],
)  # fmt: skip
def test_a_policy_beyond_the_limits_sets_nothing(gate, content):
    gate.lay(*gate.written(Type.POLICY, b'{"fault_days": 99}'))
    gate.lay(*gate.written(Type.POLICY, content))
    assert gate.said("policy") == [(True, None), (False, "not-understood")]
    assert street_policy.overlaid(gate.settings).retention.fault_days == 99


@pytest.mark.parametrize("left", [b"", b"{", b"[1]", b'{"serial": 1, "settings": {"fault_days": 0}}', b"\xff\x00"])
def test_a_policy_that_cannot_be_read_keeps_no_gate_from_starting(gate, left):
    gate.settings.paths.policy.write_bytes(left)
    assert street_policy.overlaid(gate.settings) == gate.settings


def test_the_same_refusal_is_written_down_once_an_hour(gate):
    for number in range(40):
        (gate.down / "x.down").write_bytes(b"nonsense %d" % number)
        gate.road.look()
    assert gate.said("command") == [(False, "not-signed")]
    gate.clock.now += SAME_REFUSAL_S + 1
    (gate.down / "x.down").write_bytes(b"nonsense")
    gate.road.look()
    assert gate.said("command") == [(False, "not-signed")] * 2


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_an_opening_with_any_byte_changed_opens_nothing(gate, place, change):
    torn = bytearray(gate.opening())
    torn[int(place * len(torn))] ^= change
    gate.lay(bytes(torn))
    assert gate.barrier.opened == []
    assert gate.lies() == []


# Opening


def test_a_command_opens_once_and_its_entry_was_there_before(gate):
    data = gate.opening()
    gate.lay(data)
    assert gate.barrier.opened == [Leaf.IN]
    [entry] = gate.entries("command")
    assert (entry["accepted"], entry["act"], entry["leaf"]) == (True, "open", "in")
    for road in (gate.road, gate.worker()):
        gate.road = road
        gate.lay(data)
    assert gate.barrier.opened == [Leaf.IN]
    assert len(gate.entries("command")) == 1


def test_a_gate_that_dies_between_entry_and_pulse_does_not_open_later(gate):
    """The entry is there, the file still lies there, and nobody remembers anything: as after kill -9."""
    data = gate.opening()
    there = gate.barrier.pulse
    gate.barrier.pulse = lambda *_args: None  # the process died here
    gate.lay(data)
    gate.barrier.pulse = there
    gate.road = gate.worker()
    gate.lay(data)
    assert gate.barrier.opened == []
    assert gate.said("command") == [(True, None)]


def test_an_order_that_was_kept_before_moves_nothing(gate):
    """The serial was forgotten, as by a ledger that lost its reader: the request itself is known."""
    gate.lay(gate.opening())
    again = replace(gate.posted[-1])
    gate.lane.turn(again)
    assert gate.barrier.opened == [Leaf.IN]


def test_an_opening_comes_in_its_minute_or_not_at_all(gate):
    data = gate.opening()
    gate.at += timedelta(seconds=31)
    gate.lay(data)
    gate.at -= timedelta(seconds=31)
    gate.trusted = False
    gate.lay(gate.opening())
    assert gate.barrier.opened == []
    assert gate.said("command") == [(False, "expired"), (False, "clock-untrusted")]


def test_an_order_that_waited_too_long_for_the_deciding_thread_opens_nothing(gate):
    late = CommandTaken(accepted=True, newest=1, sha256="0" * 64, serial=1, act="open", leaf="in")
    order = Order(entry=late, request="street-command-1", opens=Leaf.IN, until_mono=gate.clock.now + 10.0)
    gate.clock.now += 11.0
    gate.post(order)
    assert gate.barrier.opened == []
    assert gate.said("command") == [(False, "expired")]


def test_a_barrier_that_is_away_is_told_and_nothing_opens_when_it_is_back(gate):
    data = gate.opening()
    gate.barrier.broken = True
    gate.lane.turn(None)
    gate.lay(data)
    gate.barrier.broken = False
    gate.lay(data)
    assert gate.barrier.opened == []
    assert gate.said("command")[0] == (False, "not-possible")


def test_nothing_is_taken_while_the_ledger_takes_nothing(gate):
    gate.ready = False
    gate.lay(gate.opening())
    assert gate.barrier.opened == []
    assert len(gate.lies()) == 1
    gate.ready = True
    gate.road.look()
    assert gate.barrier.opened == [Leaf.IN]


# The other commands


def test_a_person_is_revoked_at_once_and_in_the_roster(gate):
    token = gate.vault.token(A)
    gate.send_roster({"number": A, "name": "样本甲"})
    gate.lane.people = {token: Person(token=token, name="样本甲", has_face=True)}
    gate.lay(gate.command(act="revoke", number=A.lower()))
    assert not gate.lane.people[token].allowed
    assert not roster.load(gate.roster, gate.vault)[token].allowed
    [entry] = gate.entries("command")
    assert (entry["act"], entry["person"]) == ("revoke", token)
    assert A not in json.dumps(gate.entries("command"))


def test_a_pass_is_revoked_by_an_entry_that_outlives_the_process(gate):
    gate.lay(gate.command(act="revoke", pass_id="0123456789abcdef"))
    assert [entry["pass_id"] for entry in gate.entries("revocation")] == ["0123456789abcdef"]
    assert gate.said("command") == [(True, None)]
    assert len(gate.passes.book) == 1


def test_a_report_is_an_entry_of_its_own(gate):
    gate.lay(gate.command(act="report"))
    assert [entry["mode"] for entry in gate.entries("report")] == ["automatic"]
    assert [entry["act"] for entry in gate.entries("command")] == ["report"]
    assert set(COMMAND_ACTS) == {"open", "revoke", "report", "mode"}


# A folder that somebody else writes into


def test_what_is_no_plain_file_is_never_read(gate, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(gate.opening())
    (gate.down / "link.down").symlink_to(secret)
    os.mkfifo(gate.down / "pipe.down")
    (gate.down / "folder.down").mkdir()
    gate.road.look()
    assert gate.barrier.opened == []
    assert gate.lies() == ["folder.down"]
    gate.lay(gate.opening())
    assert gate.barrier.opened == [Leaf.IN], "and it stops nothing else"


def test_people_who_leave_lose_their_templates_and_each_has_an_entry(gate):
    gate.send_roster({"number": A, "name": "样本甲"}, {"number": B, "name": "样本乙"})
    known = roster.load_all(gate.roster, gate.vault)
    template = roster.Template(model="m", vector=bytes(8), consent="paper", made_at="2026-11-22T00:00:00+00:00", id="1")
    token = gate.vault.token(A)
    roster.publish(gate.roster, {**known, token: replace(known[token], templates=(template,))}, gate.vault)
    gate.send_roster({"number": B, "name": "样本乙"})
    [entry] = gate.entries("consent")
    assert (entry["person"], entry["act"], entry["templates"], entry["operator"]) == (token, "removed", 1, "street")
    assert [one["removed"] for one in gate.entries("roster")] == [0, 1]

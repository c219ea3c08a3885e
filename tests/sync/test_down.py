"""What the uplink lays down for the gate: checked, whole, bounded; and the forwarder hears nothing of it."""

from pathlib import Path

import pytest
from test_snapshot import BELIEVED, GATE, LONG, STRANGER, written

from sync.broker import Acknowledged, Message
from sync.down import MOST_FILES, DownBroker, Inbox
from sync.errors import IdentityError
from sync.memory_broker import MemoryBroker, MemoryHub
from sync.snapshot import Type
from sync.topics import topics

NAMES = topics(*GATE.split("/"))


class Road:
    """An uplink's inbox behind a broker, and a street that publishes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now = folder, 0.0
        self.hub = MemoryHub()
        self.street = MemoryBroker(self.hub)
        self.street.connect(1.0)
        self.believed = BELIEVED
        self.inbox = Inbox(folder, GATE, believed=lambda: self.believed, clock=lambda: self.now)
        self.broker = DownBroker(MemoryBroker(self.hub), NAMES, self.inbox)
        self.broker.connect(1.0)

    def publish(self, data: bytes, topic: str = NAMES.roster, *, retain: bool = False) -> None:
        self.street.publish(topic, data, retain=retain)
        while self.broker.poll(0.0) is not None or self.broker._broker.events:
            pass

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("*")) if self.folder.exists() else []


@pytest.fixture
def road(tmp_path):
    return Road(tmp_path / "down")


def test_a_document_for_us_is_laid_down_whole_and_once(road):
    (data,) = written()
    road.publish(data)
    assert road.names() == ["roster-0000000000007-01.down"]
    assert (road.folder / road.names()[0]).read_bytes() == data
    (road.folder / road.names()[0]).unlink()  # the gate has read it
    road.publish(data)
    assert road.names() == []


def test_every_part_of_a_long_roster_arrives_on_its_own_topic(road):
    for number, data in enumerate(LONG, 1):
        road.publish(data, NAMES.roster if number == 1 else f"{NAMES.roster}/{number}")
    assert [name[-7:] for name in road.names()] == ["01.down", "02.down", "03.down"]


def test_a_flood_of_what_is_refused_is_one_file_for_each_reason_and_hour(road):
    for number in range(50):
        road.publish(b"nonsense %d" % number)
        road.publish(written(signer=STRANGER, serial=number + 1)[0])
        road.publish(written(gate="330106/cuiyuan3/west-1", serial=number + 1)[0])
    names = ["refused-not-signed.down", "refused-other-gate.down", "refused-unknown-signer.down"]
    assert road.names() == names
    for name in names:
        (road.folder / name).unlink()
    road.publish(b"nonsense")
    assert road.names() == []
    road.now += 3_601.0
    road.publish(b"nonsense")
    assert road.names() == ["refused-not-signed.down"]


def test_a_gate_that_takes_nothing_away_ends_the_flood_and_not_the_disk(road):
    for serial in range(1, MOST_FILES + 20):
        road.publish(written(serial=serial)[0])
    assert len(road.names()) == MOST_FILES


def test_what_the_broker_has_kept_is_laid_down_once_and_its_name_says_so(road):
    road.street.publish(NAMES.roster, written()[0], retain=True)
    for _ in range(3):
        road.broker.connect(1.0)
        while road.broker._broker.events:
            road.broker.poll(0.0)
    assert road.names() == ["kept-roster-0000000000007-01.down"]
    (road.folder / road.names()[0]).unlink()  # the gate has read it
    road.broker.connect(1.0)
    road.broker.poll(0.0)
    assert road.names() == []


def test_a_command_that_the_broker_has_kept_is_none(road):
    (data,) = written(type=Type.COMMAND)
    road.street.publish(NAMES.command, data, retain=True)
    other = DownBroker(MemoryBroker(road.hub), NAMES, road.inbox)
    other.connect(1.0)
    assert other.poll(0.0) is None
    assert road.names() == []


def test_without_the_keys_of_a_street_nothing_is_taken(road):
    def lost():
        raise IdentityError("street.pub is gone; restore it")

    road.inbox._believed = lost
    road.publish(written()[0])
    assert road.names() == []


def test_everything_else_passes_through(road):
    road.street.publish(NAMES.receipt, b"{}")
    road.broker.subscribe(NAMES.receipt)
    road.street.publish(NAMES.receipt, b"{}")
    event = road.broker.poll(0.0)
    assert isinstance(event, Message)
    assert event.topic == NAMES.receipt
    road.broker.publish(NAMES.state, b"{}")
    assert isinstance(road.broker.poll(0.0), Acknowledged)


def test_a_broker_that_lets_us_hear_no_commands_is_no_alarm_about_receipts(road):
    road.hub.faults.deaf = lambda topic: 0x87 if topic == NAMES.command else 0
    road.broker.connect(1.0)
    assert road.broker.poll(0.0) is None
    road.publish(written()[0])
    assert road.names() == ["roster-0000000000007-01.down"]

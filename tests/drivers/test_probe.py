"""The rules of probing: what hangs on a port is found by kind and speed, and noise is never a device."""

import random
import tomllib
from pathlib import Path

import pytest

import drivers
from drivers import addresses
from drivers.errors import PortLost, PortSettingsError
from drivers.identity import Machine
from drivers.probe import SETTINGS_TABLES, Blank, Finding, Prober, Why, config_lines, watch
from drivers.readings import Sign, Symptom, ThermalReading, Trouble
from drivers.sim.bench import KINDS as SIMULATORS
from drivers.sim.idcard import CardData, SimIdCardReader
from drivers.sim.pty import resampled
from drivers.sim.thermal_array import SimThermalArray

CARD = CardData(number="11010519491231002X", name="样本甲")


def simulator(kind):
    module, _, name = SIMULATORS[kind][0].partition(":")
    return getattr(__import__(module, fromlist=[name]), name)()


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


class Wire:
    """A port with a simulated device of a certain speed behind it; at another one both sides hear garbage."""

    def __init__(self, clock, device=None, *, baud=115200, noise=None) -> None:
        self.url, self.clock, self.device, self.true_baud = "wire://", clock, device, baud
        self.baud, self.noise, self.waiting, self.said = 9600, noise, b"", []
        self.pulled = False
        self.closed = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.closed = True

    def set_baud(self, baud):
        self.baud, self.waiting = baud, b""

    def write(self, data):
        self.said.append(data)
        if self.device is not None:
            heard = resampled(data, self.baud, self.true_baud)
            self.waiting += self.device.answer(heard, self.clock.now) if heard else b""

    def read(self, timeout_s):
        self.clock.now += timeout_s
        if self.pulled:
            raise PortLost("port wire://: gone; check cable")
        said, self.waiting = self.waiting, b""
        if self.device is not None:
            said += self.device.due(self.clock.now)
        if self.noise is not None:
            return self.noise(self.baud)
        return resampled(said, self.true_baud, self.baud)


def probe(url="serial:///dev/ttyX9", *, machine=None, tried=None, **wire):
    clock = Clock()
    port = Wire(clock, **wire)
    told = [] if tried is None else tried
    prober = Prober(
        clock=clock, open_port=lambda _: port, machine=machine or Machine(), tell=lambda *each: told.append(each)
    )
    return prober.probe(url), port


@pytest.mark.parametrize("kind", sorted(set(SIMULATORS) - {"mlx90614-text"}))
def test_each_simulated_device_is_found_by_its_kind_and_speed(kind):
    baud = SIMULATORS[kind][1]
    found, port = probe(device=simulator(kind), baud=baud)
    assert isinstance(found, Finding), found
    assert (found.kind, found.baud) == (kind, baud)
    assert found.url == f"serial:///dev/ttyX9?baud={baud}"
    assert port.closed


@pytest.mark.parametrize("baud", [9600, 38400])
def test_card_reader_is_found_at_any_of_its_speeds_with_its_number(baud):
    found, _ = probe(device=SimIdCardReader(), baud=baud)
    assert (found.kind, found.baud) == ("idcard-sdt", baud)
    assert found.evidence.checked and "05.03-20200101" in found.identity


def test_broken_card_reader_is_found_all_the_same():
    device = SimIdCardReader()
    device.break_down()
    found, _ = probe(device=device)
    assert found.kind == "idcard-sdt"


def test_text_thermometer_is_found_though_its_lines_are_text():
    kind = "mlx90614-text"
    found, _ = probe(device=simulator(kind), baud=SIMULATORS[kind][1])
    assert (found.kind, found.baud) == (kind, SIMULATORS[kind][1])


@pytest.mark.parametrize("seed", range(3))
def test_noise_is_never_a_device(seed):
    chance = random.Random(seed)
    found, _ = probe(noise=lambda baud: chance.randbytes(min(2000, baud // 200)))
    assert isinstance(found, Blank) and found.why is Why.NOISE
    assert int(found.detail) > 100


@pytest.mark.parametrize("byte", [0x00, 0x0D, 0x55, 0x5A, 0x59, 0xAA, 0xF0, 0xFF])
def test_line_that_repeats_one_byte_is_never_a_device(byte):
    found, _ = probe(noise=lambda baud: bytes([byte]) * (baud // 400))
    assert isinstance(found, Blank) and found.why is Why.NOISE


def test_silent_port_is_told_as_such_and_hears_only_questions():
    found, port = probe()
    assert found == Blank(url="serial:///dev/ttyX9", why=Why.SILENT)
    questions = set()
    for kind in drivers.TABLE:
        dialect = drivers.load(kind)()
        for turn in range(100):
            questions.add(dialect.due(turn * 0.05))
            dialect.feed(b"", turn * 0.05)
    assert port.said and set(port.said) <= questions


def test_named_speed_is_the_only_one_tried():
    tried = []
    found, _ = probe("serial:///dev/ttyX9?baud=9600", tried=tried, device=SimIdCardReader(), baud=115200)
    assert isinstance(found, Blank)
    assert {baud for _, baud in tried} == {9600}


def test_port_in_use_is_told_with_its_process(tmp_path: Path):
    machine = Machine(sys=tmp_path / "sys", dev=tmp_path / "dev", proc=tmp_path / "proc")
    (machine.proc / "41/fd").mkdir(parents=True)
    (machine.proc / "41/fd/5").symlink_to(tmp_path / "ttyS0")
    (machine.proc / "41/comm").write_text("sentinel-gate\n")
    found, _ = probe(f"serial://{tmp_path}/ttyS0", machine=machine)
    assert found.why is Why.IN_USE
    assert [(holder.pid, holder.name) for holder in found.holders] == [(41, "sentinel-gate")]


def test_port_that_cannot_be_opened_is_told_with_its_reason(tmp_path):
    found = Prober().probe(f"serial://{tmp_path}/ttyS0")
    assert found.why is Why.CLOSED and "check cable" in found.detail
    with pytest.raises(PortSettingsError):
        Prober().probe("ttyS0")


def test_device_that_is_pulled_out_meanwhile_is_told():
    clock = Clock()
    port = Wire(clock)
    port.pulled = True
    assert Prober(clock=clock, open_port=lambda _: port).probe("serial:///dev/ttyX9").why is Why.CLOSED


def test_found_devices_are_watched_side_by_side_until_the_time_is_over():
    clock = Clock()
    card, _ = probe(device=SimIdCardReader())
    thermal, _ = probe(device=SimThermalArray())
    wires = {card.kind: Wire(clock, SimIdCardReader()), thermal.kind: Wire(clock, SimThermalArray())}
    for wire in wires.values():
        wire.set_baud(115200)
    opened = iter(wires.values())
    heard = list(watch([card, thermal], 5.0, clock=clock, open_port=lambda _: next(opened)))
    assert any(finding is card and isinstance(reading, Sign) for finding, reading in heard)
    assert any(finding is thermal and isinstance(reading, ThermalReading) for finding, reading in heard)
    assert 5.0 <= clock.now - 50.0 < 5.5
    assert all(wire.closed for wire in wires.values())


def test_watched_device_that_is_pulled_out_is_told_once_and_the_rest_goes_on():
    clock = Clock()
    finding, _ = probe(device=SimIdCardReader())
    gone, here = Wire(clock), Wire(clock, SimThermalArray())
    gone.pulled = True
    here.set_baud(115200)
    thermal, _ = probe(device=SimThermalArray())
    opened = iter([gone, here])
    heard = list(watch([finding, thermal], 3.0, clock=clock, open_port=lambda _: next(opened)))
    lost = [reading for _, reading in heard if isinstance(reading, Trouble) and reading.symptom is Symptom.LOST]
    assert len(lost) == 1 and gone.closed
    assert any(isinstance(reading, ThermalReading) for _, reading in heard)


@pytest.mark.parametrize("kind", sorted(drivers.TABLE))
def test_settings_lines_name_the_device_in_its_table(kind):
    finding = Finding(url="usb://1a86:7523/A?baud=9600", kind=kind, baud=9600, identity="", evidence=None)
    assert tomllib.loads(config_lines(finding)) == {SETTINGS_TABLES[kind]: {"kind": kind, "port": finding.url}}


def test_speed_is_written_into_the_address_once():
    assert addresses.at_baud("serial:///dev/ttyS1?baud=auto", 9600) == "serial:///dev/ttyS1?baud=9600"
    assert addresses.at_baud("usb://1a86:7523", 9600) == "usb://1a86:7523?baud=9600"
    assert addresses.at_baud("tcp://host:1", 9600) == "tcp://host:1"

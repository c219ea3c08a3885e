"""The rules of the I2C sensors: words are checked, a dead bus is no temperature, and a stuck sensor hangs nobody."""

import importlib
import sys
import threading
from math import isnan, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import UnknownDevice, i2c
from drivers.codecs import smbus
from drivers.codecs.framing import Dropped
from drivers.errors import PortLost, PortSettingsError
from drivers.i2c import I2C_TABLE, I2cReader, SimBus, open_bus
from drivers.i2c_array import EEPROM, HEIGHT, STATUS, WIDTH, BusioBus, Mlx90640, names_lent
from drivers.i2c_sensors import Amg8833, Mlx90614, amg_own, amg_pixels
from drivers.readings import Identity, Impairment, Junk, Sign, Symptom, ThermalReading, Trouble
from drivers.sim.i2c import SimI2cBus

WITHIN_S, BACK_WITHIN_S = 5.0, 10.0
WAIT_S = 10.0
URL = "i2c:///dev/i2c-1"


def of(kind, readings):
    return [reading for reading in readings if isinstance(reading, kind)]


# --- words of the MLX90614 --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "answer", "raw"),
    [(0x07, "D2 3A 30", 0x3AD2), (0x07, "35 3C 0A", 0x3C35), (0x06, "F7 39 C0", 0x39F7), (0x07, "00 80 8F", 0x8000)],
)
def test_published_words_are_read_and_made(command, answer, raw):
    assert smbus.read_word(0x5A, command, bytes.fromhex(answer)) == smbus.Word(raw=raw)
    assert smbus.word_answer(0x5A, command, raw) == bytes.fromhex(answer)


def test_published_commands():
    assert smbus.write_word(0x5A, 0x22, 0xC807) == bytes.fromhex("22 07 C8 48")
    assert smbus.sleep_command(0x5A) == bytes.fromhex("FF E8")


@pytest.mark.parametrize(("raw", "celsius"), [(0x3AD2, 28.01), (0x3C35, 35.11), (0x27AD, -70.01), (0x7FFF, 382.19)])
def test_published_object_temperatures(raw, celsius):
    assert smbus.object_celsius(raw) == celsius
    assert smbus.raw_of(celsius) == raw


@pytest.mark.parametrize(("raw", "celsius"), [(0x39F7, 23.63), (0x2DE4, -38.19), (0x4DC4, 125.01)])
def test_published_ambient_temperatures(raw, celsius):
    assert smbus.ambient_celsius(raw) == celsius


@pytest.mark.parametrize("raw", [0x8000, 0xFFFF, 0x0000, 0x27AC])
def test_object_word_that_is_no_temperature(raw):
    assert isnan(smbus.object_celsius(raw))


@pytest.mark.parametrize("raw", [0x8000, 0xFFFF, 0x0000, 0x2DE3, 0x4DC5])
def test_ambient_word_that_is_no_temperature(raw):
    assert isnan(smbus.ambient_celsius(raw))


@given(raw=st.integers(0, 0xFFFF), bit=st.integers(0, 23))
def test_one_flipped_bit_is_no_word(raw, bit):
    answer = bytearray(smbus.word_answer(0x5A, 0x07, raw))
    answer[bit // 8] ^= 1 << bit % 8
    assert smbus.read_word(0x5A, 0x07, bytes(answer)) == Dropped(byte_count=3)


@given(answer=st.binary(max_size=8))
def test_any_bytes_never_raise(answer):
    found = smbus.read_word(0x5A, 0x07, answer)
    assert isinstance(found, smbus.Word | Dropped)
    assert isinstance(found, Dropped) or len(answer) == 3


def test_word_of_another_command_or_address_is_no_answer_to_this_one():
    answer = smbus.word_answer(0x5A, 0x07, 0x3AD2)
    assert smbus.read_word(0x5A, 0x06, answer) == Dropped(byte_count=3)
    assert smbus.read_word(0x5B, 0x07, answer) == Dropped(byte_count=3)


# --- pixels of the AMG8833 --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("raw", "celsius"), [("90 00", 36.0), ("00 00", 0.0), ("40 01", 80.0), ("90 F0", 36.0)])
def test_published_pixels(raw, celsius):
    assert amg_pixels(bytes.fromhex(raw) * 64) == (celsius,) * 64


@pytest.mark.parametrize("raw", ["FF 0F", "41 01", "FF 07"])
def test_pixels_outside_the_part_are_not_numbers(raw):
    assert all(map(isnan, amg_pixels(bytes.fromhex(raw) * 64)))


@pytest.mark.parametrize(("raw", "celsius"), [("A0 01", 26.0), ("04 08", -0.25), ("00 00", 0.0)])
def test_published_thermistor_values(raw, celsius):
    assert amg_own(bytes.fromhex(raw)) == celsius


# --- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "i2c://dev/i2c-1",
        "i2c:///",
        "i2c:///dev/i2c-1?address=5g",
        "i2c:///dev/i2c-1?address=0x03",
        "i2c:///dev/i2c-1?address=0x80",
        "i2c:///dev/i2c-1?speed=400000",
        "i2c:///dev/i2c-1?address",
        "serial:///dev/ttyS3",
        "i2c:///dev/i2c%00",
        "i2c://[",
        "",
    ],
)
def test_wrong_address_of_a_bus_is_refused_with_a_remedy(url):
    with pytest.raises(PortSettingsError, match=r"; (write|there is)|expected"):
        open_bus(url)


def test_address_of_the_sensor_is_the_one_in_the_url_else_the_usual_one():
    i2c.check_url("i2c:///dev/i2c-1?address=0x5b")
    assert i2c.address_of("i2c:///dev/i2c-1?address=0x5b", 0x5A) == 0x5B
    assert i2c.address_of("sim:///tmp/i2c.sock", 0x5A) == 0x5A


@pytest.mark.parametrize("scheme", ["sim", "i2c"])
def test_bus_that_is_not_there_is_a_lost_port(tmp_path, scheme):
    with pytest.raises(PortLost, match="; check wiring"):
        open_bus(f"{scheme}://{tmp_path}/none")


def test_every_kind_of_the_table_is_there():
    for where in I2C_TABLE.values():
        module, _, name = where.partition(":")
        assert callable(getattr(importlib.import_module(module), name))
    assert i2c.load("mlx90614-i2c") is Mlx90614
    with pytest.raises(UnknownDevice, match="mlx90640-i2c"):
        i2c.load("mlx90615-i2c")


# --- sensors and their faults -----------------------------------------------------------------------------------------


class Polled:
    """A simulated sensor on its bus, polled by a clock that steps by the sensor's own period."""

    def __init__(self, kind: str) -> None:
        self.bus, self.now = SimI2cBus(None, kind), 1000.0
        self.bus.show(36.4)
        self.sensor = i2c.load(kind)(self.bus, URL)

    def run(self, for_s: float) -> list:
        readings = []
        for _ in range(round(for_s / self.sensor.period_s)):
            self.now += self.sensor.period_s
            readings += self.sensor.poll(self.now)
        return readings


KINDS = ("mlx90614-i2c", "amg8833-i2c")


def healed(polled: Polled) -> None:
    """End the faults; from the tenth second on there must be measurements and nothing wrong."""
    polled.bus.heal()
    polled.run(BACK_WITHIN_S)
    steady = polled.run(3.0)
    assert len(of(ThermalReading, steady)) >= 12
    assert not of((Trouble, Impairment, Junk), steady)


def test_a_person_before_a_healthy_point_is_measured_and_the_sensor_names_itself_once():
    polled = Polled("mlx90614-i2c")
    readings = polled.run(20.0)
    assert [reading.text for reading in of(Identity, readings)] == ["MLX90614 0000-5E17-81A6-0042"]
    measured = of(ThermalReading, readings)
    assert len(measured) >= 80 and not of(Trouble, readings)
    assert all(reading.is_point and abs(reading.celsius[0] - 36.4) < 0.1 for reading in measured)
    polled.bus.show(None)
    assert polled.run(0.2)[-1].celsius[0] == pytest.approx(24.0, abs=0.1)


def test_a_person_before_a_healthy_array_is_seen():
    readings = Polled("amg8833-i2c").run(20.0)
    assert len(of(Identity, readings)) == 1 and not of((Trouble, Impairment), readings)
    measured = of(ThermalReading, readings)
    assert len(measured) >= 190
    for reading in measured:
        assert (reading.width, reading.height) == (8, 8)
        assert [index for index, value in enumerate(reading.celsius) if value > 30] == [
            row * 8 + column for row in range(2, 6) for column in range(2, 6)
        ]


@pytest.mark.parametrize(
    ("kind", "fault", "symptom"),
    [
        ("mlx90614-i2c", "pec", Symptom.NOISE),
        ("amg8833-i2c", "pec", Symptom.IMPLAUSIBLE),  # it has no check byte: what arrives is no room and no person
        *((kind, "bit15", Symptom.IMPLAUSIBLE) for kind in KINDS),
        *((kind, "ffff", Symptom.SILENT) for kind in KINDS),
        *((kind, "zero", Symptom.SILENT) for kind in KINDS),
        *((kind, "frozen", Symptom.FROZEN) for kind in KINDS),
        *((kind, "ambient-60", Symptom.IMPLAUSIBLE) for kind in KINDS),
    ],
)
def test_fault_is_a_trouble_within_five_seconds_and_nothing_is_believed_while_it_lasts(kind, fault, symptom):
    polled = Polled(kind)
    polled.run(3.0)
    polled.bus.fault(fault)
    polled.run(WITHIN_S)
    lasting = polled.run(3.0)
    assert not of(ThermalReading, lasting)
    troubles = of(Trouble, lasting)
    assert len(troubles) >= 15
    assert symptom in {trouble.symptom for trouble in troubles}
    healed(polled)


@pytest.mark.parametrize("answers_before", range(6))
def test_a_bus_that_dies_between_two_answers_is_dead_and_nothing_else(answers_before):
    """All ones read as a temperature would be an overflow, and as a picture a fire."""
    polled = Polled("amg8833-i2c")
    polled.run(1.0)
    transfer, left = polled.bus.transfer, [answers_before]

    class Dying:
        def transfer(self, address, write, read):
            left[0] -= 1
            return transfer(address, write, read) if left[0] >= 0 else b"\xff" * read

    sensor = Amg8833(Dying(), URL)
    troubles = [one for turn in range(5) for one in sensor.poll(10.0 + turn * 0.1) if isinstance(one, Trouble)]
    assert {trouble.symptom for trouble in troubles} == {Symptom.SILENT}


@pytest.mark.parametrize("kind", KINDS)
def test_sensor_that_does_not_acknowledge_is_a_lost_port_and_comes_back(kind):
    polled = Polled(kind)
    polled.run(1.0)
    polled.bus.fault("unplug")
    with pytest.raises(PortLost, match="acknowledges"):
        polled.run(1.0)
    healed(polled)


def test_one_wrong_check_byte_is_counted_and_no_trouble():
    polled = Polled("mlx90614-i2c")
    polled.run(1.0)
    polled.bus.fault("pec")
    assert [type(reading) for reading in polled.run(0.2)] == [Junk]
    polled.bus.heal()
    assert [type(reading) for reading in polled.run(0.2)] == [ThermalReading]


def test_sensor_at_another_address_does_not_answer():
    with pytest.raises(PortLost, match="0x5b"):
        Mlx90614(SimI2cBus(None, "mlx90614-i2c"), f"{URL}?address=0x5b").poll(1.0)


def test_every_fault_of_the_bus_has_a_test_here():
    tested = {"pec", "bit15", "ffff", "zero", "frozen", "ambient-60", "unplug", "slow"}
    assert set(SimI2cBus.FAULTS) == tested
    with pytest.raises(ValueError, match="unknown fault 'on-fire'"):
        SimI2cBus(None, "mlx90614-i2c").fault("on-fire")
    with pytest.raises(UnknownDevice, match="amg8833-i2c"):
        SimI2cBus(None, "mlx90640-i2c")


# --- the bus on a socket, and the reader ------------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path):
    bus = SimI2cBus(tmp_path / "i2c.sock", "mlx90614-i2c")
    yield bus, f"sim://{tmp_path}/i2c.sock?address=0x5a", tmp_path / "i2c.sock"
    bus.close()


class Running:
    """A reader at work in its own thread."""

    def __init__(self, url: str, kind: str = "mlx90614-i2c") -> None:
        self.stop, self.seen, self.error = threading.Event(), [], None
        self.news = threading.Condition()
        self.reader = I2cReader(url, kind, self.emit, device="thermal")
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def emit(self, reading) -> None:
        with self.news:
            self.seen.append(reading)
            self.news.notify_all()

    def work(self) -> None:
        try:
            self.reader.run(self.stop)
        except PortLost as error:
            self.error = error

    def wait_for(self, kind) -> None:
        with self.news:
            assert self.news.wait_for(lambda: of(kind, self.seen), WAIT_S), f"no {kind.__name__} came"

    def ended(self) -> None:
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()


def test_reader_emits_until_it_is_stopped(served):
    bus, url, _ = served
    bus.show(36.4)
    running = Running(url)
    running.wait_for(Identity)
    running.wait_for(ThermalReading)
    running.stop.set()
    running.ended()
    assert running.error is None


def test_reader_ends_when_the_sensor_is_unplugged_and_a_new_one_works_after_it(served):
    bus, url, _ = served
    running = Running(url)
    running.wait_for(ThermalReading)
    bus.fault("unplug")
    running.ended()
    assert "thermal" in str(running.error) and "; check wiring" in str(running.error)
    bus.heal()
    again = Running(url)
    again.wait_for(ThermalReading)
    again.stop.set()
    again.ended()


def test_reader_ends_when_the_bus_itself_goes(served):
    bus, url, _ = served
    running = Running(url)
    running.wait_for(ThermalReading)
    bus.close()
    running.ended()
    assert isinstance(running.error, PortLost)


def test_slow_bus_is_a_lost_port(served):
    bus, _, path = served
    client = SimBus(str(path), within_s=0.1)
    assert len(client.transfer(0x5A, b"\x07", 3)) == 3
    bus.fault("slow")
    with pytest.raises(PortLost, match="timed out"):
        client.transfer(0x5A, b"\x07", 3)
    client.close()
    client.close()
    bus.heal()
    fresh = SimBus(str(path))
    assert len(fresh.transfer(0x5A, b"\x07", 3)) == 3
    fresh.close()


# --- MLX90640 ---------------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 10.0

    def __call__(self) -> float:
        return self.now

    def rest(self, for_s: float) -> None:
        self.now += for_s


class Registers:
    """A bus whose answers are given by the first two bytes written."""

    def __init__(self, **answers: bytes) -> None:
        self.answers = {bytes.fromhex(key[1:]): value for key, value in answers.items()}
        self.asked: list[tuple[int, bytes, int]] = []

    def transfer(self, address: int, write: bytes, read: int) -> bytes:
        self.asked.append((address, write, read))
        return (self.answers.get(write[:2], b"\x12\x34") * read)[:read]

    def close(self) -> None:
        self.answers = {}


class Library:
    """What the Adafruit library is to us: pictures, or an error."""

    def __init__(self) -> None:
        self.refresh_rate = 1
        self.serial_number = [0x1234, 0x00AB, 0xFFFF]
        self.own_celsius = 26.0
        self.celsius = [24 + index % WIDTH / 100 for index in range(WIDTH * HEIGHT)]
        self.error: Exception | None = None
        self.pictures = 0

    def getFrame(self, framebuf: list[float]) -> None:
        if self.error is not None:
            raise self.error
        self.pictures += 1
        framebuf[:] = [value + self.pictures / 1000 for value in self.celsius]


def array(library: Library, bus=None, **options) -> Mlx90640:
    sensor = Mlx90640(bus or Registers(), "i2c:///dev/i2c-1", library=lambda _bus, _address: library, **options)
    (identity,) = sensor.poll(1.0)
    assert identity.text == "MLX90640 1234-00AB-FFFF"
    return sensor


def test_picture_of_the_library_is_mirrored_to_how_the_camera_sees_it():
    library = Library()
    (picture,) = array(library).poll(2.0)
    assert (picture.width, picture.height, picture.ambient_celsius) == (32, 24, 26.0)
    assert picture.celsius[0] == pytest.approx(24.311)
    (plain,) = array(Library(), mirror=False).poll(2.0)
    assert plain.celsius[0] == pytest.approx(24.001)
    assert library.refresh_rate == 3


def test_broken_pixel_of_the_library_is_not_a_number():
    library = Library()
    library.celsius[0], library.celsius[1] = -273.15, nan
    (picture,) = array(library, mirror=False).poll(2.0)
    assert [index for index, value in enumerate(picture.celsius) if isnan(value)] == [0, 1]


@pytest.mark.parametrize(
    ("error", "symptom"),
    [
        (RuntimeError("Too many retries"), Symptom.MISCONFIGURED),
        (ValueError("math domain error"), Symptom.IMPLAUSIBLE),
        (ZeroDivisionError("division by zero"), Symptom.IMPLAUSIBLE),
    ],
)
def test_error_of_the_library_is_a_trouble_and_the_next_picture_is_read(error, symptom):
    library = Library()
    sensor = array(library)
    library.error = error
    (trouble,) = sensor.poll(2.0)
    assert (trouble.symptom, str(error) in trouble.detail) == (symptom, True)
    library.error = None
    assert [type(reading) for reading in sensor.poll(2.5)] == [ThermalReading]


@pytest.mark.parametrize("blank", [b"\0", b"\xff"])
def test_blank_calibration_never_reaches_the_library(blank):
    made = []
    sensor = Mlx90640(Registers(x2400=blank), URL, library=lambda *_: made.append(1))
    assert [reading.symptom for reading in sensor.poll(1.0)] == [Symptom.SILENT]
    assert made == []


def test_look_for_a_picture_that_never_comes_ends_at_its_deadline_and_rests_in_between():
    clock, registers = Clock(), Registers(x8000=b"\0\0")
    bus = BusioBus(registers, clock=clock, pause=clock.rest)
    bus.allow(1.0)
    with pytest.raises(RuntimeError, match="no new picture in time"):
        while True:
            bus.writeto_then_readfrom(0x33, STATUS, bytearray(2))
    assert 11.0 < clock.now < 11.1
    assert 90 <= len(registers.asked) <= 110


def test_stuck_sensor_is_a_frozen_one_and_hangs_nobody():
    clock = Clock()
    library = Library()
    given_bus = []

    def make(bus, _address):
        given_bus.append(bus)
        return library

    sensor = Mlx90640(Registers(x8000=b"\0\0"), URL, library=make, clock=clock)
    sensor.poll(clock.now)

    def wait(_framebuf) -> None:
        while True:
            clock.rest(0.1)
            given_bus[0].writeto_then_readfrom(0x33, b"\x04\x00", bytearray(2))

    library.getFrame = wait
    assert [reading.symptom for reading in sensor.poll(clock.now)] == [Symptom.FROZEN]
    assert clock.now < 12.0


def test_bus_in_the_shape_of_busio():
    registers = Registers(x8000=b"\x00\x09")
    bus = BusioBus(registers, clock=Clock())
    bus.allow(1.0)
    assert bus.try_lock()
    bus.writeto(0x33, b"\x80\x0d\x01\x02", start=0, end=4)
    bus.writeto(0x33, b"")
    into = bytearray(6)
    bus.readfrom_into(0x33, into, start=1, end=3)
    bus.writeto_then_readfrom(0x33, b"..\x80\x00", into, out_start=2, in_start=4)
    bus.unlock()
    assert into == b"\x00\x12\x34\x00\x00\x09"
    assert registers.asked == [
        (0x33, b"\x80\x0d\x01\x02", 0),
        (0x33, b"", 1),
        (0x33, b"", 2),
        (0x33, STATUS, 2),
    ]


def test_calibration_is_read_in_one_go():
    registers = Registers()
    array(Library(), bus=registers)
    assert registers.asked == [(0x33, EEPROM, 1664)]


def test_names_of_blinka_are_lent_for_the_import_only():
    before = {name: sys.modules.get(name) for name in ("busio", "circuitpython_typing")}
    with names_lent():
        from busio import I2C
        from circuitpython_typing import ReadableBuffer, WriteableBuffer

        assert I2C and ReadableBuffer and WriteableBuffer
    assert {name: sys.modules.get(name) for name in before} == before


def test_the_first_poll_of_an_array_only_starts_it():
    first = Polled("amg8833-i2c").run(0.1)
    assert [type(reading) for reading in first] == [Identity, Sign]
    assert Amg8833.period_s == 0.1

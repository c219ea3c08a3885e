"""The rules of the serial loop: it emits what comes, and raises when the device is lost, silent or noisy."""

import threading
from collections import deque

import pytest

from drivers.codecs import thermal_array
from drivers.codecs.idcard_dialogue import IdCardDialect
from drivers.codecs.thermal_array import GyMcu90640Dialect
from drivers.errors import DeviceSilent, PortLost
from drivers.reader import SerialReader, SilentDevice
from drivers.readings import CardReading, Junk, Symptom, ThermalReading
from drivers.sim.idcard import CardData, SimIdCardReader
from drivers.sim.thermal_array import SimThermalArray

CARD = CardData(number="11010519491231002X", name="样本甲")


class Clock:
    """A clock that moves only while somebody waits for bytes."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


class ScriptedPort:
    """A port whose reads are given; what is over is silence."""

    def __init__(self, clock: Clock, chunks=(), device=None) -> None:
        self.url = "scripted://"
        self.clock, self.chunks, self.device = clock, deque(chunks), device
        self.written: list[bytes] = []
        self.closed = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def read(self, timeout_s: float) -> bytes:
        self.clock.now += timeout_s
        chunk = self.chunks.popleft() if self.chunks else b""
        if isinstance(chunk, Exception):
            raise chunk
        return chunk + (self.device.due(self.clock.now) if self.device else b"")

    def write(self, data: bytes) -> None:
        self.written.append(data)
        if self.device and (answer := self.device.answer(data, self.clock.now)):
            self.chunks.append(answer)

    def close(self) -> None:
        self.closed = True


def read_until_error(dialect, port, clock, emitted):
    reader = SerialReader(
        "scripted://", dialect, emitted.append, device="thermal", clock=clock, open_port=lambda _: port
    )
    with pytest.raises((PortLost, DeviceSilent)) as caught:
        reader.run(threading.Event())
    return caught.value


def test_readings_are_emitted_and_a_lost_port_is_passed_on():
    clock, emitted = Clock(), []
    frame = SimThermalArray().frame()
    port = ScriptedPort(clock, [frame[:700], frame[700:], PortLost("gone")])
    error = read_until_error(GyMcu90640Dialect(), port, clock, emitted)
    assert isinstance(error, PortLost)
    assert [type(reading) for reading in emitted] == [ThermalReading]
    assert port.written == [thermal_array.automatic_command()]
    assert port.closed


def test_port_that_cannot_be_opened_is_not_tried_again():
    tries = []

    def refuse(url):
        tries.append(url)
        raise PortLost("no such port")

    with pytest.raises(PortLost):
        SerialReader("x://", GyMcu90640Dialect(), print, device="thermal", open_port=refuse).run(threading.Event())
    assert tries == ["x://"]


def test_silence_is_told_after_the_silence_time_and_not_before():
    clock, emitted = Clock(), []
    error = read_until_error(GyMcu90640Dialect(silence_s=3.0), ScriptedPort(clock), clock, emitted)
    assert isinstance(error, SilentDevice)
    assert error.symptom is Symptom.SILENT
    assert 3.0 < clock.now - 50.0 < 3.2
    assert "thermal" in str(error) and "; check" in str(error)


def test_noise_is_not_mistaken_for_life():
    clock, emitted = Clock(), []
    error = read_until_error(GyMcu90640Dialect(), ScriptedPort(clock, [b"\x81\x17" * 30] * 1000), clock, emitted)
    assert error.symptom is Symptom.NOISE
    assert {type(reading) for reading in emitted} == {Junk}


def test_half_a_frame_and_then_silence_counts_as_noise():
    clock, emitted = Clock(), []
    port = ScriptedPort(clock, [SimThermalArray().frame()[:700]])
    assert read_until_error(GyMcu90640Dialect(), port, clock, emitted).symptom is Symptom.NOISE
    assert emitted == []


def test_stop_ends_the_loop_and_closes_the_port():
    clock, stop, emitted = Clock(), threading.Event(), []

    def emit(reading):
        emitted.append(reading)
        stop.set()

    port = ScriptedPort(clock, device=SimThermalArray())
    SerialReader("x://", GyMcu90640Dialect(), emit, device="thermal", clock=clock, open_port=lambda _: port).run(stop)
    assert len(emitted) == 1
    assert port.closed


def test_card_reader_with_a_slow_card_is_not_called_silent():
    clock, stop, emitted = Clock(), threading.Event(), []
    device = SimIdCardReader()
    device.slow_read(4.8)
    device.place(CARD)

    def emit(reading):
        emitted.append(reading)
        if isinstance(reading, CardReading):
            stop.set()

    port = ScriptedPort(clock, device=device)
    dialect = IdCardDialect(silence_s=2.0)
    SerialReader("x://", dialect, emit, device="card", clock=clock, open_port=lambda _: port).run(stop)
    assert emitted[-1].number == CARD.number


def test_broken_card_module_is_not_called_silent():
    clock, stop, emitted = Clock(), threading.Event(), []
    device = SimIdCardReader()
    device.break_down()

    def emit(reading):
        emitted.append(reading)
        if len(emitted) == 10:
            stop.set()

    port = ScriptedPort(clock, device=device)
    SerialReader("x://", IdCardDialect(), emit, device="card", clock=clock, open_port=lambda _: port).run(stop)
    assert {reading.symptom for reading in emitted} == {Symptom.SELF_TEST}

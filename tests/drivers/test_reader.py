"""The rules of the serial loop: it emits what comes, and raises when the device is lost, silent or noisy."""

import threading
from collections import deque
from itertools import pairwise

import pytest

from drivers.codecs import thermal_array
from drivers.codecs.idcard_dialogue import IdCardDialect
from drivers.codecs.thermal_array import GyMcu90640Dialect
from drivers.errors import DeviceSilent, PortLost, PortSettingsError
from drivers.reader import CLEAN_S, SerialReader, SilentDevice
from drivers.readings import (
    CardReading,
    CodeReading,
    Identity,
    Impairment,
    Junk,
    Sign,
    Symptom,
    ThermalReading,
    Trouble,
)
from drivers.sim.idcard import CardData, SimIdCardReader
from drivers.sim.thermal_array import SimThermalArray
from drivers.speeds import is_proof

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
        self.baud: int | None = None
        self.true_baud: int | None = None  # of the device; at another speed only garbage comes and goes

    def set_baud(self, baud: int) -> None:
        self.baud = baud
        self.chunks.clear()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def read(self, timeout_s: float) -> bytes:
        self.clock.now += timeout_s
        chunk = self.chunks.popleft() if self.chunks else b""
        if isinstance(chunk, Exception):
            raise chunk
        said = self.device.due(self.clock.now) if self.device else b""
        return chunk + (said if self.baud == self.true_baud else bytes(byte ^ 0xA6 for byte in said))

    def write(self, data: bytes) -> None:
        self.written.append(data)
        if self.device and self.baud == self.true_baud and (answer := self.device.answer(data, self.clock.now)):
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


# --- a line whose speed is open -------------------------------------------------------------------------------------

AUTO = "serial:///dev/ttyUSB0?baud=auto"


class Listening:
    """A reader at baud=auto, run until the clock has moved so far or the device is called silent."""

    def __init__(self, device, *, true_baud: int, dialect=IdCardDialect) -> None:
        self.clock, self.emitted, self.speeds = Clock(), [], {}
        self.port = ScriptedPort(self.clock, device=device)
        self.port.true_baud = true_baud
        self.dialect = dialect

    def run(self, seconds: float, *, until=lambda reading: False):
        """Return how long it took until a reading of this sort came."""
        stop, began = threading.Event(), self.clock.now

        def emit(reading):
            self.emitted.append(reading)
            if until(reading):
                stop.set()

        def read(timeout_s, read=self.port.read):
            if self.clock.now - began > seconds:
                stop.set()
            return read(timeout_s)

        self.port.read = read
        reader = SerialReader(
            AUTO, self.dialect(), emit, device="card", clock=self.clock, open_port=lambda _: self.port,
            speeds=self.speeds,
        )  # fmt: skip
        try:
            reader.run(stop)
        finally:
            del self.port.read
        return self.clock.now - began


@pytest.mark.parametrize("true_baud", IdCardDialect.SPEEDS)
def test_speed_is_found_told_and_remembered(true_baud):
    line = Listening(SimIdCardReader(), true_baud=true_baud)
    assert line.run(10.0, until=lambda reading: isinstance(reading, Sign)) <= len(IdCardDialect.SPEEDS) + 0.5
    assert Identity(at_mono=line.clock.now, text=f"{true_baud} baud") in line.emitted
    assert line.speeds == {AUTO: true_baud}
    again = line.run(10.0, until=lambda reading: isinstance(reading, Sign))
    assert again < 0.5, "the speed that was found last is tried first"


def test_device_that_changes_its_speed_is_told_and_found_again():
    line = Listening(SimIdCardReader(), true_baud=115200)

    def change(reading):
        line.port.true_baud = 9600 if isinstance(reading, Sign) else line.port.true_baud
        return False

    with pytest.raises(SilentDevice):
        line.run(5.0, until=change)
    assert line.speeds == {AUTO: 115200}
    assert line.run(10.0, until=lambda reading: isinstance(reading, Sign)) < 10.0
    assert line.speeds == {AUTO: 9600}


@pytest.mark.parametrize(("device", "symptom"), [(None, Symptom.SILENT), (SimThermalArray(), Symptom.NOISE)])
def test_search_without_end_is_told_within_five_seconds_and_every_second(device, symptom):
    line = Listening(device, true_baud=0)
    line.run(12.0)
    troubles = [reading for reading in line.emitted if isinstance(reading, Trouble)]
    assert {trouble.symptom for trouble in troubles} == {symptom}
    assert troubles[0].at_mono - 50.0 < 5.0
    steps = [later.at_mono - trouble.at_mono for trouble, later in pairwise(troubles)]
    assert len(steps) >= 7 and max(steps) < 1.2
    assert {type(reading) for reading in line.emitted} <= {Trouble, Junk}


def test_broken_module_is_found_by_what_it_says():
    device = SimIdCardReader()
    device.break_down()
    line = Listening(device, true_baud=38400)
    line.run(5.0, until=lambda reading: isinstance(reading, Trouble) and reading.symptom is Symptom.SELF_TEST)
    assert line.speeds == {AUTO: 38400}


def test_what_noise_can_say_proves_no_speed():
    assert not is_proof(Junk(at_mono=0.0, byte_count=1))
    assert not is_proof(CodeReading(at_mono=0.0, content=b"x"))
    assert not is_proof(Trouble(at_mono=0.0, symptom=Symptom.CODE_UNREADABLE, detail=""))
    assert is_proof(Trouble(at_mono=0.0, symptom=Symptom.SELF_TEST, detail=""))


class Mute(IdCardDialect):
    """A dialect of a device that says nothing unasked: its silence means nothing."""

    silence_s = float("inf")


class Nameless:
    """A dialect that does not say which speeds its device may have."""

    silence_s = 3.0


@pytest.mark.parametrize(("dialect", "story"), [(Mute, "says nothing unasked"), (Nameless, "no list of speeds")])
def test_speed_that_cannot_be_found_must_be_named(dialect, story):
    with pytest.raises(PortSettingsError, match=story):
        Listening(None, true_baud=0, dialect=dialect).run(1.0)


def test_endless_silence_time_never_ends():
    clock = Clock()
    port = ScriptedPort(clock, [b""] * 3000 + [PortLost("gone")])
    assert isinstance(read_until_error(Mute(), port, clock, []), PortLost)
    assert clock.now > 150.0


def test_noise_at_a_named_speed_says_which_speeds_there_are():
    clock = Clock()
    error = read_until_error(IdCardDialect(), ScriptedPort(clock, [b"\x81\x17" * 30] * 1000), clock, [])
    assert "115200, 57600, 38400, 19200, 9600" in str(error) and "baud=auto" in str(error)


# --- a dirty line ---------------------------------------------------------------------------------------------------


def run_thermal(chunks):
    clock, emitted = Clock(), []
    port = ScriptedPort(clock, [*chunks, PortLost("gone")])
    read_until_error(GyMcu90640Dialect(), port, clock, emitted)
    return [reading for reading in emitted if isinstance(reading, Impairment)], emitted


FRAME = SimThermalArray().frame()


def frames(seconds: float, junk: bytes = b""):
    """Return the turns of so many seconds with four frames in each, junk before every one."""
    return [junk + FRAME, b"", b"", b"", b""] * round(seconds * 4)


def test_junk_between_good_frames_is_told_once_and_its_end_once():
    news, _ = run_thermal([*frames(1.0), *frames(4.0, b"\x55" * 80), *frames(CLEAN_S + 1.0)])
    assert [(item.symptom, item.over) for item in news] == [(Symptom.DIRTY, False), (Symptom.DIRTY, True)]
    assert "bytes in 3 s are junk" in news[0].detail
    assert news[0].at_mono < 50.0 + 1.0 + 5.0
    assert news[1].at_mono < 50.0 + 5.0 + 10.0


def test_little_junk_is_counted_and_not_told():
    news, emitted = run_thermal(frames(6.0, b"\x55" * 5))
    assert news == []
    assert sum(reading.byte_count for reading in emitted if isinstance(reading, Junk)) == 24 * 5


def test_one_burst_is_no_dirty_line():
    news, _ = run_thermal([*frames(2.0), *frames(0.5, b"\x55" * 500), *frames(2.0)])
    assert news == []


def test_what_comes_before_the_first_frame_does_not_count():
    news, emitted = run_thermal([b"\x55" * 400, b"\x55" * 400, b"\x55" * 400, *frames(2.0)])
    assert news == [] and any(isinstance(reading, Junk) for reading in emitted)


def test_dirty_line_that_is_lost_is_no_longer_dirty():
    news, _ = run_thermal([*frames(1.0), *frames(3.0, b"\x55" * 80)])
    assert [item.over for item in news] == [False, True]


def test_surprise_in_a_dialect_is_not_swallowed():
    class Broken(GyMcu90640Dialect):
        def feed(self, chunk, now):
            raise ZeroDivisionError

    port = ScriptedPort(Clock(), [FRAME])
    with pytest.raises(ZeroDivisionError):
        SerialReader("x://", Broken(), print, device="thermal", clock=port.clock, open_port=lambda _: port).run(
            threading.Event()
        )
    assert port.closed

"""The rules of the simulated serial devices, live on pseudo-terminals, read by the real ports and the real loop."""

import queue
import threading
from pathlib import Path

import pytest

from drivers.codecs import idcard
from drivers.codecs.idcard import IdCardCodec, frame
from drivers.codecs.idcard_dialogue import IdCardDialect
from drivers.codecs.thermal_array import GyMcu90640Dialect
from drivers.errors import PortLost
from drivers.ports import open_port
from drivers.reader import SerialReader, SilentDevice
from drivers.readings import CardKind, CardReading, Junk, Sign, Symptom, ThermalReading
from drivers.sim.idcard import CardData, SimIdCardReader, encode_text
from drivers.sim.pty import PtyDevice, resampled
from drivers.sim.thermal_array import SimThermalArray

WAIT_S = 10.0  # never reached on a healthy machine
CARD = CardData(number="11010519491231002X", name="样本甲")


class Live:
    """A reader running in a thread: what it emitted, and how it ended."""

    def __init__(self, link: Path, dialect, *, baud=115200, speeds=None) -> None:
        self.readings: queue.Queue = queue.Queue()
        self.stop = threading.Event()
        self.error: Exception | None = None
        url = f"serial://{link}?baud={baud}"
        self._reader = SerialReader(url, dialect, self.readings.put, device="simulated", speeds=speeds)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._reader.run(self.stop)
        except (PortLost, SilentDevice) as error:
            self.error = error

    def next(self, kind):
        while True:
            reading = self.readings.get(timeout=WAIT_S)
            if isinstance(reading, kind):
                return reading

    def end(self) -> Exception | None:
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
        return self.error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop.set()
        self._thread.join(WAIT_S)


def ask(port, request: bytes):
    codec = IdCardCodec()
    port.write(request)
    while True:
        if found := codec.feed(port.read(WAIT_S)):
            return found[0]


# --- pseudo-terminal ------------------------------------------------------------------------------------------------


def test_card_placed_on_the_pseudo_terminal_is_read(tmp_path):
    device = SimIdCardReader()
    with PtyDevice(tmp_path / "card.tty", device), Live(tmp_path / "card.tty", IdCardDialect()) as live:
        live.next(Sign)
        device.place(CARD)
        assert live.next(CardReading).number == CARD.number


def test_thermal_frames_come_by_themselves(tmp_path):
    device = SimThermalArray(rate_hz=50.0)
    device.show(36.4)
    with PtyDevice(tmp_path / "t.tty", device), Live(tmp_path / "t.tty", GyMcu90640Dialect()) as live:
        assert max(live.next(ThermalReading).celsius) == pytest.approx(36.4, abs=0.06)


def test_pulled_cable_ends_the_reader_at_once_and_the_name_returns_with_the_cable(tmp_path):
    link = tmp_path / "card.tty"
    device = SimIdCardReader()
    with PtyDevice(link, device) as pty:
        with Live(link, IdCardDialect()) as live:
            live.next(Sign)
            pty.unplug()
            assert not link.is_symlink() and not pty.plugged
            assert isinstance(live.end(), PortLost)
        with pytest.raises(PortLost):
            open_port(f"serial://{link}")
        pty.plug()
        device.place(CARD)
        with Live(link, IdCardDialect()) as live:
            assert live.next(CardReading).number == CARD.number
    assert not link.is_symlink()


def test_plugging_and_unplugging_twice_is_fine(tmp_path):
    pty = PtyDevice(tmp_path / "x.tty", SimIdCardReader())
    pty.unplug()
    pty.plug()
    pty.plug()
    pty.close()
    pty.close()
    assert not pty.plugged


def test_noise_is_told_from_silence(tmp_path):
    link = tmp_path / "card.tty"
    with PtyDevice(link, SimIdCardReader()) as pty:
        pty.noise()
        with Live(link, IdCardDialect(silence_s=0.3)) as live:
            assert live.end().symptom is Symptom.NOISE
        pty.noise(False)
        pty.silence()
        with Live(link, IdCardDialect(silence_s=0.3)) as live:
            assert live.end().symptom is Symptom.SILENT
        pty.heal()
        with Live(link, IdCardDialect()) as live:
            live.next(Sign)


def test_torn_delivery_is_read(tmp_path):
    device = SimIdCardReader()
    device.place(CARD)
    with PtyDevice(tmp_path / "card.tty", device) as pty:
        pty.torn()
        with Live(tmp_path / "card.tty", IdCardDialect()) as live:
            assert live.next(CardReading).number == CARD.number


@pytest.mark.parametrize("fault", ["flip", "half"])
def test_spoilt_frames_are_never_believed(tmp_path, fault):
    with PtyDevice(tmp_path / "t.tty", SimThermalArray(rate_hz=50.0)) as pty:
        getattr(pty, fault)()
        with Live(tmp_path / "t.tty", GyMcu90640Dialect(silence_s=0.4)) as live:
            assert live.end().symptom is Symptom.NOISE
            assert {type(reading) for reading in live.readings.queue} <= {Junk}


def test_bytes_before_a_frame_are_skipped(tmp_path):
    with PtyDevice(tmp_path / "t.tty", SimThermalArray(rate_hz=50.0)) as pty:
        pty.prelude()
        with Live(tmp_path / "t.tty", GyMcu90640Dialect()) as live:
            live.next(ThermalReading)
            live.next(ThermalReading)


def test_nothing_said_before_somebody_listens_is_heard_later(tmp_path):
    class Parrot:
        """Says once, at the start, what nobody hears."""

        def __init__(self):
            self.spoken = threading.Event()

        def answer(self, chunk, now):
            return chunk

        def due(self, now):
            said = b"" if self.spoken.is_set() else b"early"
            self.spoken.set()
            return said

    parrot = Parrot()
    with PtyDevice(tmp_path / "p.tty", parrot):
        assert parrot.spoken.wait(WAIT_S)
        with open_port(f"serial://{tmp_path}/p.tty") as port:
            port.write(b"\r\n\x03\x11now")
            assert port.read(WAIT_S) == b"\r\n\x03\x11now"


def test_half_a_frame_is_followed_by_nothing_until_it_is_healed(tmp_path):
    with (
        PtyDevice(tmp_path / "t.tty", SimThermalArray(rate_hz=50.0)) as pty,
        open_port(f"serial://{tmp_path}/t.tty") as port,
    ):
        pty.fault("half")
        heard = b""
        while len(heard) < len(SimThermalArray().frame()) // 2:
            heard += port.read(WAIT_S)
        while chunk := port.read(0.2):
            heard += chunk
        whole, rest = divmod(len(heard), len(SimThermalArray().frame()))
        assert rest == len(SimThermalArray().frame()) // 2, f"{whole} frames before the fault, then one half"
        pty.heal()
        assert port.read(WAIT_S)


def test_joined_frames_come_two_at_a_time_and_a_lonely_one_comes_late(tmp_path):
    with PtyDevice(tmp_path / "t.tty", SimThermalArray(rate_hz=50.0)) as pty:
        pty.fault("joined")
        with Live(tmp_path / "t.tty", GyMcu90640Dialect()) as live:
            first, second = live.next(ThermalReading), live.next(ThermalReading)
            assert first.at_mono == second.at_mono or second.at_mono == live.next(ThermalReading).at_mono
    device = SimIdCardReader()
    device.place(CARD)
    with PtyDevice(tmp_path / "card.tty", device) as pty:
        pty.fault("joined")
        with Live(tmp_path / "card.tty", IdCardDialect()) as live:
            assert live.next(CardReading).number == CARD.number


@pytest.mark.parametrize("baud", [115200, 38400, 256000])
def test_listener_at_the_right_speed_understands(tmp_path, baud):
    with (
        PtyDevice(tmp_path / "card.tty", SimIdCardReader(), baud=baud),
        open_port(f"serial://{tmp_path}/card.tty?baud={baud}") as port,
    ):
        assert ask(port, idcard.find_request()).status == 0x80


@pytest.mark.parametrize("baud", [9600, 57600, 256000])
def test_listener_at_another_speed_hears_garbage(tmp_path, baud):
    with (
        PtyDevice(tmp_path / "t.tty", SimThermalArray(rate_hz=50.0), baud=115200),
        Live(tmp_path / "t.tty", GyMcu90640Dialect(silence_s=0.5), baud=baud) as live,
    ):
        assert live.end().symptom is Symptom.NOISE
        assert {type(reading) for reading in live.readings.queue} <= {Junk}


class Hasty(IdCardDialect):
    """Tries each speed for a moment only: the simulated module answers at once."""

    probe_s = 0.2


def test_device_that_changes_its_speed_is_found_again(tmp_path):
    speeds = {}
    with PtyDevice(tmp_path / "card.tty", SimIdCardReader(), baud=115200) as pty:
        with Live(tmp_path / "card.tty", Hasty(silence_s=0.5), baud="auto", speeds=speeds) as live:
            live.next(Sign)
            pty.fault("wrong-speed")
            assert isinstance(live.end(), SilentDevice)
        with Live(tmp_path / "card.tty", Hasty(silence_s=0.5), baud="auto", speeds=speeds) as live:
            live.next(Sign)
            assert set(speeds.values()) == {9600}


@pytest.mark.parametrize(("said", "heard"), [(9600, 115200), (115200, 9600), (115200, 57600), (19200, 38400)])
def test_bytes_at_another_speed_are_other_bytes(said, heard):
    told = bytes(range(256))
    garbage = resampled(told, said, heard)
    assert garbage and garbage != told
    assert resampled(told, said, said) == told


def test_small_error_of_speed_does_no_harm():
    told = bytes(range(256))
    assert resampled(told, 115200, 113600) == told  # what a cheap oscillator is off


def test_every_fault_of_a_line_can_be_commanded_and_healed(tmp_path):
    device = SimIdCardReader()
    with PtyDevice(tmp_path / "card.tty", device, baud=115200) as pty:
        for fault in pty.FAULTS:
            pty.fault(fault)
            pty.heal()
            with Live(tmp_path / "card.tty", IdCardDialect()) as live:
                live.next(Sign)
        with pytest.raises(ValueError, match="unplug, noise"):
            pty.fault("earthquake")


# --- the module itself ----------------------------------------------------------------------------------------------

PLAIN = bytes.fromhex("AAAAAA9669000400009094")


@pytest.mark.parametrize(
    ("request_hex", "answer_hex"),
    [
        ("AA AA AA 96 69 00 03 10 FF EC", "AAAAAA9669000400009094"),
        ("AA AA AA 96 69 00 03 11 FF ED", "AAAAAA9669000400009094"),
        ("AA AA AA 96 69 00 04 61 FF 50 CA", "AAAAAA9669000400009094"),
        ("AA AA AA 96 69 00 04 61 FF 58 C2", "AAAAAA9669000400009094"),
        ("AA AA AA 96 69 00 03 60 02 61", "AAAAAA9669000400009094"),
        ("AA AA AA 96 69 00 03 20 01 22", "AAAAAA9669000400008084"),
        ("AA AA AA 96 69 00 03 20 02 21", "AAAAAA9669000400008185"),
        ("AA AA AA 96 69 00 03 30 01 32", "AAAAAA9669000400004145"),
        ("AA AA AA 96 69 00 03 12 FF EE", "AAAAAA96690014000090 05000300A53A340187D61200B17F3905 99"),
        ("AA AA AA 96 69 00 03 11 FF EE", "AAAAAA9669000400001014"),  # checksum of the request wrong
        ("AA AA AA 96 69 00 03 77 77 03", "AAAAAA9669000400002125"),  # unknown command
        ("AA AA AA 96 69 00 04 11 FF 00 EA", "AAAAAA9669000400001115"),  # length of the request wrong
        ("AA AA AA 96 69 00 03 60 09 6A", "AAAAAA9669000400002125"),  # no such speed
    ],
)
def test_module_gives_the_published_answers(request_hex, answer_hex):
    assert SimIdCardReader().answer(bytes.fromhex(request_hex)) == bytes.fromhex(answer_hex)


def test_module_answers_a_request_that_comes_torn():
    device = SimIdCardReader()
    assert b"".join(device.answer(bytes([byte])) for byte in b"\xaa" + idcard.status_request()) == PLAIN


def test_found_and_selected_card_answers_with_zeros_unless_told_otherwise():
    device = SimIdCardReader()
    device.place(CARD)
    assert device.answer(idcard.find_request()) == bytes.fromhex("AAAAAA9669000800009F0000000097")
    assert device.answer(idcard.select_request()) == bytes.fromhex("AAAAAA9669000C00009000000000000000009C")
    device.show_identifiers()
    assert device.answer(idcard.find_request()) != bytes.fromhex("AAAAAA9669000800009F0000000097")


def test_commands_out_of_order_are_refused():
    device = SimIdCardReader()
    device.place(CARD)
    assert device.answer(idcard.select_request())[9] == 0x81
    assert device.answer(idcard.read_request())[9] == 0x21


@pytest.mark.parametrize(("finds_again", "status"), [(True, 0x9F), (False, 0x80)])
def test_find_after_a_read_has_both_behaviours(finds_again, status):
    device = SimIdCardReader(finds_again=finds_again)
    device.place(CARD)
    for request in (idcard.find_request(), idcard.select_request(), idcard.read_request()):
        device.answer(request)
    assert device.answer(idcard.find_request())[9] == status
    device.place(CARD)
    assert device.answer(idcard.find_request())[9] == 0x9F


@pytest.mark.parametrize(("fingerprint", "size"), [(b"", 1297), (bytes(512), 1809), (bytes(1024), 2321)])
def test_fingerprints_later_addresses_and_chip_data(fingerprint, size):
    device = SimIdCardReader()
    device.place(
        CardData(number="1", name="x", fingerprint=fingerprint, later_addresses=("某市新路1号", "某市旧路2号"))
    )
    device.answer(idcard.find_request() + idcard.select_request())
    assert len(device.answer(frame(b"\x30\x10"))) == size
    assert len(device.answer(frame(b"\x30\x03"))) == 11 + 140
    assert len(device.answer(frame(b"\x30\x05"))) == 39
    device.place(CARD)
    device.answer(idcard.find_request() + idcard.select_request())
    assert device.answer(frame(b"\x30\x03"))[9] == 0x91


def test_field_that_does_not_fit_is_refused_when_the_card_is_placed():
    with pytest.raises(ValueError, match="name"):
        SimIdCardReader().place(CardData(number="1", name="x" * 16))


def test_kind_may_be_given_as_plain_text():
    assert encode_text(CardData(kind="hmt-permit", number="1", name="x"))[248:250] == b"J\0"
    assert encode_text(CardData(kind=CardKind.UNKNOWN, number="1", name="x"))[248:250] == b"?\0"


def test_cards_may_come_and_go_from_many_threads(tmp_path):
    device = SimIdCardReader()

    def hands():
        for _ in range(200):
            device.place(CARD)
            device.remove()

    with PtyDevice(tmp_path / "card.tty", device), open_port(f"serial://{tmp_path}/card.tty") as port:
        threads = [threading.Thread(target=hands) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            assert ask(port, idcard.find_request()).status in (0x80, 0x9F)
        for thread in threads:
            thread.join(WAIT_S)
        device.place(CARD)
        assert ask(port, idcard.find_request()).status == 0x9F

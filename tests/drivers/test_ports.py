"""The rules of the byte ports: addresses are checked early, and everything that fails is PortLost."""

import os
import socket
import tty
from pathlib import Path

import pytest

import drivers
from drivers.errors import DriverError, PortLost, PortSettingsError
from drivers.ports import check_url, open_port
from drivers.readings import Sign


@pytest.mark.parametrize(
    "url",
    [
        "serial:///dev/ttyS3",
        "serial:///dev/ttyS3?baud=9600",
        "serial:///dev/serial/by-path/pci%20one",
        "serial:///dev/ttyS3?baud=auto",
        "usb://1A86:7523",
        "usb://1a86:7523/A%2F1?baud=9600",
        "usb://1a86:7523/A1@1-1.2?baud=auto",
        "usb://0403:6011@1-1.2:1.3",
        "input:///dev/input/by-id/usb-scanner-event-kbd",
        "tcp://192.168.7.20:4001",
        "tcp://[fe80::1]:4001",
        "replay:///var/tmp/capture.bin",
    ],
)
def test_good_addresses_are_accepted_without_opening_anything(url):
    check_url(url)


@pytest.mark.parametrize(
    ("url", "story"),
    [
        ("", "use serial://"),
        ("/dev/ttyS3", "use serial://"),
        ("usb:///dev/ttyS3", "write usb://1a86:7523"),
        ("usb://1a86", "write usb://1a86:7523"),
        ("usb://1a86:7523?baud=fast", "or auto"),
        ("usb://1a86:7523?baud", "bad query field"),
        ("usb://1a86:7523?speed=9600", "unknown option 'speed'"),
        ("input:///dev/input/event3?baud=9600", "unknown option 'baud'"),
        ("input://event3", "3 slashes"),
        ("serial://dev/ttyS3", "3 slashes"),
        ("serial:///", "3 slashes"),
        ("serial:///dev/tty%00", "3 slashes"),
        ("serial:///dev/ttyS3?baud=fast", "use one of"),
        ("serial:///dev/ttyS3?baud=115201", "use one of"),
        ("serial:///dev/ttyS3?speed=9600", "unknown option 'speed'"),
        ("serial:///dev/ttyS3?baud", "bad query field"),
        ("replay:///x.bin?baud=9600", "unknown option 'baud'"),
        ("tcp://host", "name a host and a port"),
        ("tcp://:4001", "name a host and a port"),
        ("tcp://host:4001/x", "nothing else"),
        ("tcp://host:99999", "range"),
    ],
)
def test_wrong_addresses_are_named_with_a_remedy(url, story):
    with pytest.raises(PortSettingsError, match=story):
        check_url(url)
    with pytest.raises(PortSettingsError, match=story):
        open_port(url)


@pytest.mark.parametrize(
    "url", ["serial:///nowhere/ttyS3", "input:///nowhere/event0", "replay:///nowhere/x.bin", "tcp://127.0.0.1:1"]
)
def test_nothing_there_is_a_lost_port(url):
    with pytest.raises(PortLost, match="check cable"):
        open_port(url)


def test_file_that_is_no_terminal_is_a_lost_port(tmp_path: Path):
    (tmp_path / "tty").write_bytes(b"")
    with pytest.raises(PortLost):
        open_port(f"serial://{tmp_path}/tty")


def test_replay_plays_the_file_and_then_the_port_is_lost(tmp_path: Path):
    capture = bytes(range(256)) * 5
    (tmp_path / "capture.bin").write_bytes(capture)
    with open_port(f"replay://{tmp_path}/capture.bin") as port:
        port.write(b"ignored")
        heard = b""
        while len(heard) < len(capture):
            heard += port.read(0.0)
        assert heard == capture
        with pytest.raises(PortLost, match="end of the capture"):
            port.read(0.0)


@pytest.fixture
def line():
    """Return both ends of a raw pseudo-terminal: the master's descriptor and the slave's address."""
    master, slave = os.openpty()
    tty.setraw(slave)
    ends = {"master": master, "url": f"serial://{os.ttyname(slave)}"}
    os.close(slave)
    yield ends
    if ends["master"] >= 0:
        os.close(ends["master"])


def test_serial_port_carries_every_byte_both_ways(line):
    everything = bytes(range(256))
    with open_port(line["url"]) as port:
        assert port.url == line["url"]
        port.write(everything)
        assert os.read(line["master"], 4096) == everything
        os.write(line["master"], everything)
        assert port.read(5.0) == everything
        assert port.read(0.0) == b""


def test_serial_port_belongs_to_one_owner(line):
    with open_port(line["url"]), pytest.raises(PortLost):
        open_port(line["url"])
    open_port(line["url"]).close()  # and is free again


def test_pulled_cable_is_a_lost_port(line):
    with open_port(line["url"]) as port:
        os.close(line["master"])
        line["master"] = -1
        with pytest.raises(PortLost, match="check cable"):
            port.read(5.0)


def test_closing_a_serial_port_twice_is_fine_and_using_it_is_not(line):
    port = open_port(line["url"])
    port.close()
    port.close()
    with pytest.raises(PortLost):
        port.read(0.0)
    with pytest.raises(PortLost):
        port.write(b"x")


def test_speed_of_a_serial_port_can_be_changed_and_old_bytes_are_forgotten(line):
    with open_port(f"{line['url']}?baud=9600") as port:
        assert port.baud == 9600
        os.write(line["master"], b"said at the old speed")
        port.set_baud(256000)
        assert port.baud == 256000
        assert port.read(0.0) == b""
        os.write(line["master"], b"now")
        assert port.read(5.0) == b"now"


def test_ports_without_a_speed_take_none(tmp_path: Path):
    (tmp_path / "capture.bin").write_bytes(b"x")
    with open_port(f"replay://{tmp_path}/capture.bin") as port:
        port.set_baud(9600)
        assert port.baud is None


def test_line_whose_speed_is_open_is_opened_at_some_speed(line):
    with open_port(f"{line['url']}?baud=auto") as port:
        port.set_baud(57600)
        assert port.baud == 57600


def test_keystrokes_are_read_from_a_simulated_scanner_and_its_end_is_noticed(tmp_path: Path):
    os.mkfifo(tmp_path / "keys")
    with open_port(f"input://{tmp_path}/keys") as port:
        assert port.read(0.0) == b""
        keys = os.open(tmp_path / "keys", os.O_WRONLY)
        os.write(keys, bytes(24))
        assert port.read(5.0) == bytes(24)
        port.write(b"ignored")
        os.close(keys)
        with pytest.raises(PortLost, match="device gone"):
            port.read(5.0)
    with pytest.raises(PortLost, match="closed"):
        port.read(0.0)


def test_keystrokes_are_not_read_from_what_is_no_keyboard(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"x")
    for path in (tmp_path / "file", Path("/dev/null")):
        with pytest.raises(PortLost):
            open_port(f"input://{path}")


def test_tcp_port_reads_writes_and_notices_the_end():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        open_port(f"tcp://127.0.0.1:{server.getsockname()[1]}") as port,
    ):
        other, _ = server.accept()
        with other:
            port.write(b"ask")
            assert other.recv(16) == b"ask"
            assert port.read(0.0) == b""
            other.sendall(b"answer")
            assert port.read(5.0) == b"answer"
        with pytest.raises(PortLost, match="other end"):
            port.read(5.0)


@pytest.mark.parametrize("kind", sorted(drivers.TABLE))
def test_every_kind_in_the_table_is_a_dialect(kind):
    dialect = drivers.load(kind)(silence_s=4.0)
    assert dialect.silence_s == 4.0
    assert isinstance(dialect.due(0.0), bytes)
    # Before anything came the most that can be said is that the port is open.
    assert all(isinstance(reading, Sign) for reading in dialect.feed(b"", 0.0))


def test_unknown_kind_names_the_known_ones():
    with pytest.raises(DriverError, match="gy-mcu90640, idcard-sdt"):
        drivers.load("idcard")

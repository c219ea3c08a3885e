"""The rules of a port's identity: a device is found by what it is, whatever the kernel calls it today."""

import os
import tty
from pathlib import Path

import pytest

from drivers import addresses
from drivers.errors import PortLost, PortSettingsError
from drivers.identity import Machine, candidates, device_of, holders_of, same_device, stable_name, usb_lines
from drivers.ports import open_port


class FakeMachine:
    """The trees in which a kernel shows its devices, with adapters plugged in and out."""

    def __init__(self, base: Path) -> None:
        self.machine = Machine(sys=base / "sys", dev=base / "dev", proc=base / "proc")
        for folder in (self.machine.sys / "class/tty", self.machine.dev, self.machine.proc):
            folder.mkdir(parents=True)

    def plug(self, name, *, location, ids="1a86:7523", serial="", interface=0, leads_to="/dev/null"):
        adapter = self.machine.sys / "devices/pci/usb1" / location
        line = adapter / f"{location}:1.{interface}" / name
        line.mkdir(parents=True)
        (line.parent / "bInterfaceNumber").write_text(f"{interface:02}\n")
        for file, text in zip(("idVendor", "idProduct"), ids.split(":"), strict=True):
            (adapter / file).write_text(f"{text}\n")
        if serial:
            (adapter / "serial").write_text(f"{serial}\n")
        self.builtin(name, leads_to=leads_to)
        (self.machine.sys / "class/tty" / name / "device").symlink_to(line)

    def builtin(self, name, *, type_="4", leads_to="/dev/null"):
        entry = self.machine.sys / "class/tty" / name
        entry.mkdir()
        (entry / "type").write_text(f"{type_}\n")
        if leads_to == "/dev/null":
            (self.machine.dev / name).touch()
        else:
            (self.machine.dev / name).symlink_to(leads_to)

    def unplug(self, name):
        (self.machine.sys / "class/tty" / name / "device").unlink()
        (self.machine.sys / "class/tty" / name / "type").unlink()
        (self.machine.sys / "class/tty" / name).rmdir()
        (self.machine.dev / name).unlink()

    def link(self, folder, name, device):
        place = self.machine.dev / "serial" / folder
        place.mkdir(parents=True, exist_ok=True)
        (place / name).symlink_to(self.machine.dev / device)

    def find(self, url):
        return device_of(url, addresses.parse(url), self.machine)


@pytest.fixture
def fake(tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path)


def test_adapter_is_found_by_make_serial_number_or_place(fake):
    fake.builtin("ttyS0")
    fake.plug("ttyUSB0", location="1-1.2", serial="A1")
    fake.plug("ttyUSB1", location="1-1.3", ids="0403:6001")
    one = str(fake.machine.dev / "ttyUSB0")
    assert fake.find("usb://1A86:7523") == one
    assert fake.find("usb://1a86:7523/A1") == one
    assert fake.find("usb://1a86:7523@1-1.2?baud=9600") == one
    assert fake.find("usb://0403:6001") == str(fake.machine.dev / "ttyUSB1")
    assert [line.path for line in usb_lines(fake.machine)] == [one, str(fake.machine.dev / "ttyUSB1")]


@pytest.mark.parametrize("url", ["usb://1a86:7523/B2", "usb://1a86:7523@1-1.4", "usb://10c4:ea60"])
def test_adapter_that_is_not_there_is_a_lost_port(fake, url):
    fake.plug("ttyUSB0", location="1-1.2", serial="A1")
    with pytest.raises(PortLost, match="no such USB adapter"):
        fake.find(url)


def test_adapter_that_comes_back_under_another_name_is_opened_again(fake):
    ends = []
    for name in ("ttyUSB0", "ttyUSB1"):
        master, slave = os.openpty()
        tty.setraw(slave)
        fake.plug(name, location=f"1-1.{len(ends)}", serial="A1", leads_to=os.ttyname(slave))
        ends.append(master)
        with open_port("usb://1a86:7523/A1", machine=fake.machine) as port:
            os.write(master, name.encode())
            assert port.read(5.0) == name.encode()
        os.close(slave)
        fake.unplug(name)
    for master in ends:
        os.close(master)
    with pytest.raises(PortLost, match="plugged in"):
        open_port("usb://1a86:7523/A1", machine=fake.machine)


@pytest.mark.parametrize(
    ("second", "hints"),
    [
        ({"location": "1-1.3", "serial": "B2"}, ("/A1", "/B2")),
        ({"location": "1-1.3", "serial": "A1"}, ("@1-1.2", "@1-1.3")),  # a maker who gives all the same number
        ({"location": "1-1.2", "serial": "A1", "interface": 1}, ("@1-1.2:1.0", "@1-1.2:1.1")),
    ],
)
def test_two_that_match_are_both_named_with_what_tells_them_apart(fake, second, hints):
    fake.plug("ttyUSB0", location="1-1.2", serial="A1")
    fake.plug("ttyUSB1", **second)
    with pytest.raises(PortSettingsError) as caught:
        fake.find("usb://1a86:7523")
    for number, hint in enumerate(hints):
        assert f"ttyUSB{number} ({hint})" in str(caught.value)
        assert fake.find(f"usb://1a86:7523{hint}") == str(fake.machine.dev / f"ttyUSB{number}")


def test_lasting_name_is_by_identity_then_by_place(fake):
    fake.builtin("ttyS0")
    fake.plug("ttyUSB0", location="1-1.2", serial="A 1")
    fake.plug("ttyUSB1", location="1-1.3")
    fake.plug("ttyUSB2", location="1-1.4", ids="0403:6001", serial="F/7")
    for name, device in (("usb-x_A1-if00", "ttyUSB0"), ("usb-x-if00", "ttyUSB1")):
        fake.link("by-id", name, device)
    fake.link("by-path", "pci-0:0:1-port0", "ttyUSB1")
    dev = fake.machine.dev
    assert stable_name(str(dev / "ttyUSB0"), fake.machine) == f"serial://{dev}/serial/by-id/usb-x_A1-if00"
    # Without a serial number two alike would fight for one by-id name.
    assert stable_name(str(dev / "ttyUSB1"), fake.machine) == f"serial://{dev}/serial/by-path/pci-0:0:1-port0"
    assert stable_name(str(dev / "ttyUSB2"), fake.machine) == "usb://0403:6001/F%2F7"
    assert stable_name(str(dev / "ttyS0"), fake.machine) is None


@pytest.mark.parametrize("name", ["ttyUSB0", "ttyUSB1", "ttyUSB2", "ttyUSB3"])
def test_lasting_name_leads_back_to_the_device(fake, name):
    fake.plug("ttyUSB0", location="1-1.2", serial="A1")
    fake.plug("ttyUSB1", location="1-1.3", serial="A1")
    fake.plug("ttyUSB2", location="1-1.4", ids="0403:6011")
    fake.plug("ttyUSB3", location="1-1.4", ids="0403:6011", interface=1)
    path = str(fake.machine.dev / name)
    assert fake.find(stable_name(path, fake.machine)) == path


def test_two_names_of_one_device_are_one_device(fake):
    fake.plug("ttyUSB0", location="1-1.2", serial="A1")
    fake.plug("ttyUSB1", location="1-1.3", serial="B2")
    fake.link("by-id", "usb-x_A1-if00", "ttyUSB0")
    dev = fake.machine.dev
    names = [
        f"serial://{dev}/ttyUSB0?baud=9600", f"serial://{dev}/serial/by-id/usb-x_A1-if00", "usb://1a86:7523/A1",
        "usb://1A86:7523@1-1.2?baud=auto",
    ]  # fmt: skip
    for name in names:
        assert all(same_device(name, other, fake.machine) for other in names)
        assert not same_device(name, "usb://1a86:7523/B2", fake.machine)
    assert same_device("usb://dead:beef?baud=9600", "usb://DEAD:BEEF", fake.machine)  # neither is plugged in
    assert not same_device("usb://dead:beef", "usb://dead:beef/1", fake.machine)


def test_network_ports_are_one_by_host_and_port_and_captures_never():
    assert same_device("tcp://Server:4001", "tcp://server:4001")
    assert not same_device("tcp://server:4001", "tcp://server:4002")
    assert not same_device("replay:///x.bin", "replay:///x.bin")


def test_candidates_are_all_lines_that_are_fitted_by_their_lasting_names(fake):
    fake.builtin("ttyS0")
    fake.builtin("ttyS1", type_="0")  # a name without a chip
    fake.builtin("tty7")
    fake.plug("ttyUSB0", location="1-1.2", serial="A1")
    assert candidates(fake.machine) == [f"serial://{fake.machine.dev}/ttyS0", "usb://1a86:7523/A1"]


def test_who_has_a_device_open_is_named(fake):
    fake.builtin("ttyS0")
    for pid, target in ((41, fake.machine.dev / "ttyS0"), (42, "/dev/null"), (os.getpid(), fake.machine.dev / "ttyS0")):
        (fake.machine.proc / str(pid) / "fd").mkdir(parents=True)
        (fake.machine.proc / str(pid) / "fd" / "7").symlink_to(target)
        (fake.machine.proc / str(pid) / "comm").write_text("minicom\n")
    (fake.machine.proc / "43").mkdir()  # it ended while we looked
    (fake.machine.proc / "self").mkdir()
    holders = holders_of(str(fake.machine.dev / "ttyS0"), fake.machine)
    assert [(holder.pid, holder.name) for holder in holders] == [(41, "minicom")]

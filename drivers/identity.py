"""Say which device a port's address leads to today, what its lasting name is, and who has it open.

The kernel gives ttyUSB0 to whoever is plugged in first; what an adapter is, and where it is plugged in, stays.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from drivers import addresses
from drivers.addresses import Address
from drivers.errors import PortLost, PortSettingsError

_NOT_FITTED = "0"  # the type of a serial port that the kernel keeps a name for and no chip answers
_LINES = ("ttyUSB*", "ttyACM*", "ttyS*", "ttyAMA*", "ttyTHS*", "ttymxc*", "ttySTM*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where the kernel shows its devices; a test shows its own."""

    sys: Path = Path("/sys")
    dev: Path = Path("/dev")
    proc: Path = Path("/proc")


HERE = Machine()


@dataclass(frozen=True, slots=True, kw_only=True)
class UsbLine:
    """One line of a USB adapter that is plugged in now."""

    path: str
    vendor: str
    product: str
    serial: str
    location: str  # of the adapter
    interface: str  # of this line on it: adapters with several lines have several

    def fits(self, address: Address) -> bool:
        """Tell whether the address may mean this line; it does not have to say everything."""
        return (
            (self.vendor, self.product) == (address.vendor, address.product)
            and address.serial in ("", self.serial)
            and address.location in ("", self.location, self.interface)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A process that has a device open."""

    pid: int
    name: str


def usb_lines(machine: Machine = HERE) -> list[UsbLine]:
    """Return the lines of all USB adapters, by name."""
    found = (_usb_line(machine, entry) for entry in sorted((machine.sys / "class" / "tty").glob("tty*")))
    return [line for line in found if line is not None]


def _usb_line(machine: Machine, entry: Path) -> UsbLine | None:
    place = Path(os.path.realpath(entry / "device"))
    interface = ""
    for folder in (place, *place.parents):
        if (folder / "bInterfaceNumber").exists():
            interface = folder.name
        if (folder / "idVendor").exists():
            return UsbLine(
                path=str(machine.dev / entry.name),
                vendor=_word(folder / "idVendor").lower(),
                product=_word(folder / "idProduct").lower(),
                serial=_word(folder / "serial"),
                location=folder.name,
                interface=interface,
            )
    return None


def _word(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:  # no serial number, or unplugged while we look
        return ""


def device_of(url: str, address: Address, machine: Machine = HERE) -> str:
    """Return the path of the device that the address means now.

    Raises: PortLost when no such adapter is plugged in, PortSettingsError when two are.
    """
    if address.scheme != "usb":
        return address.path
    lines = [line for line in usb_lines(machine) if line.fits(address)]
    if not lines:
        raise PortLost(f"port {url}: no such USB adapter is plugged in; check cable and power, it is tried again")
    if len(lines) > 1:
        them = " and ".join(f"{line.path} ({_distinct(line, lines)})" for line in lines)
        raise PortSettingsError(f"port {url!r} is both {them}; add what tells them apart")
    return lines[0].path


def _distinct(line: UsbLine, among: list[UsbLine]) -> str:
    """Return what to add to an address so that it means this line alone."""
    others = [other for other in among if other is not line]
    if line.serial and all(other.serial != line.serial for other in others):
        return f"/{quote(line.serial, safe='')}"
    if all(other.location != line.location for other in others):
        return f"@{line.location}"
    return f"@{line.interface}"


def stable_name(path: str, machine: Machine = HERE) -> str | None:
    """Return an address, without speed, that stays with the device when it is plugged in again; None where none is.

    A name by identity is kept for adapters with a serial number: two alike without one would fight for it.
    """
    device = os.path.realpath(path)
    lines = [line for line in usb_lines(machine) if os.path.realpath(line.path) == device]
    if not lines:
        return None
    for folder in ("by-id", "by-path") if lines[0].serial else ("by-path",):
        for link in sorted((machine.dev / "serial" / folder).glob("*")):
            if os.path.realpath(link) == device:
                return f"serial://{quote(str(link), safe='/:')}"
    line = lines[0]
    alike = [other for other in usb_lines(machine) if (other.vendor, other.product) == (line.vendor, line.product)]
    tail = _distinct(line, alike) if len(alike) > 1 else _own(line)
    return f"usb://{line.vendor}:{line.product}{tail}"


def _own(line: UsbLine) -> str:
    """Return what the next adapter of the same make will not have."""
    return f"/{quote(line.serial, safe='')}" if line.serial else f"@{line.location}"


def same_device(url_a: str, url_b: str, machine: Machine = HERE) -> bool:
    """Tell whether two addresses lead to one device: two drivers on one port take each other's bytes.

    Raises: PortSettingsError when one of them cannot be understood.
    """
    ends = [_end(url, addresses.parse(url), machine) for url in (url_a, url_b)]
    return bool(ends[0]) and ends[0] == ends[1]


def _end(url: str, address: Address, machine: Machine) -> str:
    """Return what the address leads to; nothing for a replayed file, which many may read."""
    if address.scheme == "replay":
        return ""
    if address.scheme == "tcp":
        return f"{address.host.lower()}:{address.port}"
    try:
        return os.path.realpath(device_of(url, address, machine))
    except (PortLost, PortSettingsError):  # not plugged in, or not told apart: then only equal addresses are the same
        return f"{address.vendor}:{address.product}/{address.serial}@{address.location}"


def candidates(machine: Machine = HERE) -> list[str]:
    """Return the addresses, without speed, of every serial line of this machine by its lasting name."""
    paths = sorted({str(path) for pattern in _LINES for path in machine.dev.glob(pattern)})
    return [stable_name(path, machine) or f"serial://{quote(path)}" for path in paths if _is_fitted(machine, path)]


def _is_fitted(machine: Machine, path: str) -> bool:
    return _word(machine.sys / "class" / "tty" / Path(path).name / "type") != _NOT_FITTED


def holders_of(path: str, machine: Machine = HERE) -> tuple[Holder, ...]:
    """Return the other processes that have this device open, as far as we may see them."""
    device = os.path.realpath(path)
    found = (_holder(process, device) for process in _processes(machine) if int(process.name) != os.getpid())
    return tuple(holder for holder in found if holder is not None)


def _processes(machine: Machine) -> Iterator[Path]:
    return (entry for entry in machine.proc.iterdir() if entry.name.isdigit())


def _holder(process: Path, device: str) -> Holder | None:
    try:
        for fd in (process / "fd").iterdir():
            if os.readlink(fd) == device:
                return Holder(pid=int(process.name), name=_word(process / "comm"))
    except OSError:  # it ended while we looked, or it is another user's
        return None
    return None

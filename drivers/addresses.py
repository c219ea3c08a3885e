"""Read the addresses of ports.

    serial:///dev/serial/by-id/…?baud=115200     a line by its name; baud=auto tries the speeds the device may have
    usb://1A86:7523/SERIAL@1-1.2?baud=9600       the line of a USB adapter by what it is, found again at every open
    input:///dev/input/by-id/…                   a scanner that types like a keyboard
    tcp://192.168.7.20:4001                      a line behind a network serial server
    replay:///var/tmp/capture.bin                a captured file

Reading one opens nothing; drivers/ports.py does.
"""

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from drivers.errors import PortSettingsError

DEFAULT_BAUD = 115200
BAUDS = (1200, 2400, 4800, 9600, 14400, 19200, 38400, 57600, 115200, 230400, 256000, 460800, 921600)
SCHEMES = ("serial", "usb", "tcp", "input", "replay")
_WITH_BAUD = ("serial", "usb")
_USB = re.compile(r"usb://([0-9a-fA-F]{4}):([0-9a-fA-F]{4})(?:/([^?@/\s]+))?(?:@([\d.:-]+))?(?:\?(.*))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An address taken apart. Of a USB adapter `serial` and `location` are empty where the address leaves them open."""

    scheme: str
    path: str = ""
    host: str = ""
    port: int = 0
    vendor: str = ""  # four hexadecimal digits, small
    product: str = ""
    serial: str = ""
    location: str = ""  # of the adapter, 1-1.2, or of one of its interfaces, 1-1.2:1.0
    baud: int | None = DEFAULT_BAUD  # None: to be found out


def parse(url: str) -> Address:
    """Return the parts of an address. Raises: PortSettingsError when it cannot be understood."""
    if url.startswith("usb:"):
        return _usb(url)
    try:
        parts = urlsplit(url)
        port = parts.port
        query = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError as error:
        raise PortSettingsError(f"port {url!r}: {error}; write serial:///dev/ttyS3?baud=115200") from error
    if parts.scheme == "tcp":
        if not parts.hostname or not port or parts.path or query:
            raise PortSettingsError(f"port {url!r}: expected tcp://host:port; name a host and a port, nothing else")
        return Address(scheme="tcp", host=parts.hostname, port=port)
    if parts.scheme not in SCHEMES:
        known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise PortSettingsError(f"port {url!r}: unknown kind {parts.scheme!r}; use {known}")
    path = unquote(parts.path)
    if parts.netloc or not path.startswith("/") or path == "/" or "\0" in path:
        raise PortSettingsError(
            f"port {url!r}: expected an absolute path; write {parts.scheme}:///dev/… with 3 slashes"
        )
    return Address(scheme=parts.scheme, path=path, baud=_baud(url, parts.scheme, query))


def check_url(url: str) -> None:
    """Accept an address that `open_port` would understand, without opening anything. Raises: PortSettingsError."""
    parse(url)


def at_baud(url: str, baud: int) -> str:
    """Return the address with this speed; addresses that have none stay as they are."""
    return f"{url.partition('?')[0]}?baud={baud}" if parse(url).scheme in _WITH_BAUD else url


def _usb(url: str) -> Address:
    match = _USB.fullmatch(url)
    if match is None:
        raise PortSettingsError(
            f"port {url!r}: expected a USB identity; write usb://1a86:7523, with /SERIAL or @1-1.2 where two are alike"
        )
    vendor, product, serial, location, options = match.groups(default="")
    try:
        query = dict(parse_qsl(options, keep_blank_values=True, strict_parsing=bool(options)))
    except ValueError as error:
        raise PortSettingsError(f"port {url!r}: {error}; write usb://1a86:7523?baud=9600") from error
    return Address(
        scheme="usb",
        vendor=vendor.lower(),
        product=product.lower(),
        serial=unquote(serial),
        location=location,
        baud=_baud(url, "usb", query),
    )


def _baud(url: str, scheme: str, query: dict[str, str]) -> int | None:
    unknown = query.keys() - ({"baud"} if scheme in _WITH_BAUD else set())
    if unknown:
        raise PortSettingsError(
            f"port {url!r}: unknown option {min(unknown)!r}; serial:// and usb:// take baud, the others none"
        )
    text = query.get("baud", str(DEFAULT_BAUD))
    if text == "auto":
        return None
    if text not in map(str, BAUDS):
        raise PortSettingsError(f"port {url!r}: baud {text!r}; use one of {', '.join(map(str, BAUDS))} or auto")
    return int(text)

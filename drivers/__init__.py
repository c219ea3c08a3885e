"""Devices of a gate: bytes and frames in, readings out; one pulse out. Imports nothing of ours.

`TABLE` names the dialect of each kind of serial device. A new device is one codec and one line here.
"""

from importlib import import_module
from types import MappingProxyType

from drivers.errors import DriverError

TABLE = MappingProxyType(
    {
        "idcard-sdt": "drivers.codecs.idcard_dialogue:IdCardDialect",
        "gy-mcu90640": "drivers.codecs.thermal_array:GyMcu90640Dialect",
        "gy-mcu90614": "drivers.codecs.thermal_point:GyMcu90614Dialect",
        "gy-614v": "drivers.codecs.thermal_point:Gy614VDialect",
        "cjmcu-90614": "drivers.codecs.thermal_point:CjMcu90614Dialect",
        "mlx90614-text": "drivers.codecs.thermal_point:TextDialect",
        "gm65": "drivers.codecs.scanner:Gm65Dialect",
        "line-scanner": "drivers.codecs.scanner:LineScannerDialect",
        "keyboard-scanner": "drivers.codecs.keyboard:KeyboardScannerDialect",
        "tf-luna": "drivers.codecs.distance:TfLunaDialect",
        "ld2410": "drivers.codecs.radar:Ld2410Dialect",
    }
)


class UnknownDevice(DriverError):
    """No dialect of that kind exists."""


def load(kind: str) -> type:
    """Return the dialect class of a kind of serial device.

    Raises: UnknownDevice, naming the kinds there are.
    """
    try:
        module, _, name = TABLE[kind].partition(":")
    except KeyError:
        raise UnknownDevice(f"unknown device kind {kind!r}; use one of: {', '.join(sorted(TABLE))}") from None
    return getattr(import_module(module), name)

"""Devices of a gate: bytes and frames in, readings out; one pulse out. Imports nothing of ours.

`TABLE` names each kind of serial device, once: reader, settings, probing and recording all look here. A new device is
one codec and one line here, see docs/adding-a-device.md. Plain words only: settings are read with it on sick machines.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Literal

from drivers.errors import DriverError


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What there is to know of one kind of serial device before it is opened."""

    table: Literal["card", "thermal", "scanner", "distance", "presence"]  # of the settings, that names such a device
    dialect: str  # module:class in drivers/codecs
    holds: Literal["cards", "codes", "keys", "nobody"]  # who is in its bytes, and taken out: see anonymise.py


TABLE: Mapping[str, Kind] = MappingProxyType(
    {
        "idcard-sdt": Kind(table="card", dialect="idcard_dialogue:IdCardDialect", holds="cards"),
        "gy-mcu90640": Kind(table="thermal", dialect="thermal_array:GyMcu90640Dialect", holds="nobody"),
        "gy-mcu90614": Kind(table="thermal", dialect="thermal_point:GyMcu90614Dialect", holds="nobody"),
        "gy-614v": Kind(table="thermal", dialect="thermal_point:Gy614VDialect", holds="nobody"),
        "cjmcu-90614": Kind(table="thermal", dialect="thermal_point:CjMcu90614Dialect", holds="nobody"),
        "mlx90614-text": Kind(table="thermal", dialect="thermal_point:TextDialect", holds="nobody"),
        "gm65": Kind(table="scanner", dialect="scanner:Gm65Dialect", holds="codes"),
        "line-scanner": Kind(table="scanner", dialect="scanner:LineScannerDialect", holds="codes"),
        "keyboard-scanner": Kind(table="scanner", dialect="keyboard:KeyboardScannerDialect", holds="keys"),
        "tf-luna": Kind(table="distance", dialect="distance:TfLunaDialect", holds="nobody"),
        "ld2410": Kind(table="presence", dialect="radar:Ld2410Dialect", holds="nobody"),
    }
)


class UnknownDevice(DriverError):
    """No dialect of that kind exists."""


def load(kind: str) -> type:
    """Return the dialect class of a kind of serial device.

    Raises: UnknownDevice, naming the kinds there are.
    """
    try:
        module, _, name = TABLE[kind].dialect.partition(":")
    except KeyError:
        raise UnknownDevice(f"unknown device kind {kind!r}; use one of: {', '.join(sorted(TABLE))}") from None
    return getattr(import_module(f"drivers.codecs.{module}"), name)


def kinds_of(table: str) -> tuple[str, ...]:
    """Return the kinds of serial device that this table of the settings may name."""
    return tuple(name for name, kind in TABLE.items() if kind.table == table)

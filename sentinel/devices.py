"""Start a reader for every device that the settings name, and say who failed: shared by nothing but the gate.

A device of the camera's kind is not here: whatever reads pictures lives in the vision child.
"""

import threading
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from drivers import load as load_dialect
from drivers.errors import DeviceSilent, DriverError
from drivers.i2c import I2cReader
from drivers.reader import SerialReader
from drivers.readings import Reading, Symptom
from sentinel.core.health import Component
from sentinel.device_settings import SERIAL_TABLES, THERMAL_I2C, THERMAL_VIDEO
from sentinel.events import DeviceFailed, FromDevice
from sentinel.settings import Settings

Work = tuple[str, Callable[[threading.Event], None], Callable[[BaseException], None]]  # name, work, told of failures
Post = Callable[[FromDevice | DeviceFailed], None]

# What a dialect is told of its table's settings; all others take their silence time only.
_OPTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "idcard-sdt": ("silence_s", "fingerprint", "later_addresses"),
        "gy-mcu90640": ("silence_s", "mirror"),
        "line-scanner": (),  # these two never speak unasked: their silence says nothing
        "keyboard-scanner": (),
    }
)


def fitted(settings: Settings) -> tuple[Component, ...]:
    """Return the optional devices that this gate has."""
    named = {"scanner": settings.scanner.kind, "distance": settings.distance.kind, "presence": settings.presence.kind}
    found = [Component(name) for name, kind in named.items() if kind != "none"]
    return (*found, Component.INFRARED) if settings.infrared.source else tuple(found)


def readers(settings: Settings, post: Post) -> list[Work]:
    """Return the work of each device that hangs on a line or a bus. `post` may be called from any thread."""
    work: list[Work] = []
    for name in SERIAL_TABLES:
        chosen = getattr(settings, name)
        if chosen.kind == "none" or chosen.kind in THERMAL_VIDEO:
            continue
        speeds: dict[str, int] = {}  # what was found at baud=auto outlives the reader that found it
        work.append((name, partial(_read, name, chosen, post, speeds), partial(_failed, name, post)))
    return work


def _read(name: str, chosen: Any, post: Post, speeds: dict[str, int], stop: threading.Event) -> None:
    def emit(reading: Reading) -> None:
        post(FromDevice(name, reading))

    reader: SerialReader | I2cReader
    if chosen.kind in THERMAL_I2C:
        reader = I2cReader(chosen.port, chosen.kind, emit, device=name)
    else:
        dialect = load_dialect(chosen.kind)(**dialect_options(chosen))
        reader = SerialReader(chosen.port, dialect, emit, device=name, speeds=speeds)
    reader.run(stop)


def dialect_options(chosen: Any) -> dict[str, Any]:
    """Return what the device's settings say to its dialect."""
    return {key: getattr(chosen, key) for key in _OPTIONS.get(chosen.kind, ("silence_s",))}


def _failed(name: str, post: Post, error: BaseException) -> None:
    symptom = getattr(error, "symptom", Symptom.SILENT if isinstance(error, DeviceSilent) else Symptom.LOST)
    detail = str(error) if isinstance(error, DriverError) else f"a surprise: {type(error).__name__}"
    post(DeviceFailed(name, symptom, detail))

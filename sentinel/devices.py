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
from drivers.reader import SerialReader
from drivers.readings import Reading, Symptom
from sentinel.events import DeviceFailed, FromDevice
from sentinel.settings import Settings

Work = tuple[str, Callable[[threading.Event], None], Callable[[BaseException], None]]  # name, work, told of failures
Post = Callable[[FromDevice | DeviceFailed], None]

SERIAL_DEVICES = ("card", "thermal")

# What a dialect is told of its table's settings; all others take their silence time only.
_OPTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "gy-mcu90640": ("silence_s", "mirror"),
    }
)


def readers(settings: Settings, post: Post) -> list[Work]:
    """Return the work of each device that hangs on a line. `post` may be called from any thread."""
    work: list[Work] = []
    for name in SERIAL_DEVICES:
        chosen = getattr(settings, name)
        if chosen.kind != "none":
            work.append((name, partial(_read, name, chosen, post), partial(_failed, name, post)))
    return work


def _read(name: str, chosen: Any, post: Post, stop: threading.Event) -> None:
    def emit(reading: Reading) -> None:
        post(FromDevice(name, reading))

    dialect = load_dialect(chosen.kind)(**dialect_options(chosen))
    SerialReader(chosen.port, dialect, emit, device=name).run(stop)


def dialect_options(chosen: Any) -> dict[str, Any]:
    """Return what the device's settings say to its dialect."""
    return {key: getattr(chosen, key) for key in _OPTIONS.get(chosen.kind, ("silence_s",))}


def _failed(name: str, post: Post, error: BaseException) -> None:
    symptom = getattr(error, "symptom", Symptom.SILENT if isinstance(error, DeviceSilent) else Symptom.LOST)
    detail = str(error) if isinstance(error, DriverError) else f"a surprise: {type(error).__name__}"
    post(DeviceFailed(name, symptom, detail))

"""The errors of the device library.

    DriverError
    ├── PortLost           the port or device is gone, or cannot be opened now; try again later
    ├── PortSettingsError  the port's address is wrong and will not become right by waiting
    ├── DeviceSilent       the port is open and the device says nothing valid
    ├── CameraLost         no more pictures from this source
    └── BarrierBusy        another process owns the barrier
"""


class DriverError(Exception):
    """A device failed. The message names the device or port and, after a semicolon, what to try next."""


class PortLost(DriverError):
    """The port is gone or cannot be opened now."""


class PortSettingsError(DriverError):
    """The port's address cannot be understood."""


class DeviceSilent(DriverError):
    """The port is open and nothing valid came for the device's silence time."""


class CameraLost(DriverError):
    """The camera delivers no more pictures."""


class BarrierBusy(DriverError):
    """Another process holds the barrier lock."""

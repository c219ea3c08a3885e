"""The gate: the application that alone imports the three libraries `drivers`, `recognition` and `sync`."""

from datetime import UTC, datetime

__version__ = "0.1.0"
BUILT = datetime(2026, 11, 22, tzinfo=UTC)  # no honest clock is before this; raised with each release

"""The gate: the application that alone imports the three libraries `drivers`, `recognition` and `sync`."""

__version__ = "0.1.0"

"""Place every error of the house in one family, each with the exit code a process ends with.

    SentinelError                    70  a bug or a surprise (EX_SOFTWARE): systemd restarts us
    ├── ConfigError                  78  the settings are wrong (EX_CONFIG): restarting will not help
    ├── UsageError                   64  the command was called wrongly (EX_USAGE)
    ├── NotPermitted                 77  this user may not do that (EX_NOPERM)
    ├── Unavailable                  69  what was asked is not there now: gate dead, device away (EX_UNAVAILABLE)
    └── DataError                    65  a file or a record is damaged (EX_DATAERR)

The libraries raise small families of their own, which know no gates; `exit_code_of` places them here by name.
"""


class SentinelError(Exception):
    """Something of ours failed. The message says what; after a semicolon it says what to try next."""

    exit_code = 70


class ConfigError(SentinelError):
    """A setting is missing, unknown or out of range."""

    exit_code = 78  # EX_CONFIG: systemd must not restart us, see RestartPreventExitStatus= in the units


class UsageError(SentinelError):
    """A command line asks for something that cannot be."""

    exit_code = 64


class NotPermitted(SentinelError):
    """The user may not do this."""

    exit_code = 77


class Unavailable(SentinelError):
    """What was asked for is not there now."""

    exit_code = 69


class DataError(SentinelError):
    """A file or a record is damaged."""

    exit_code = 65


# The roots of the libraries' families, by qualified name: the core may not import them.
_LIBRARY_EXIT_CODES = {
    "drivers.errors.DriverError": 69,
    "drivers.errors.PortSettingsError": 78,
    "drivers.errors.BarrierBusy": 69,
    "recognition.errors.RecognitionError": 70,
    "recognition.errors.ModelMissing": 78,
    "recognition.errors.ModelDamaged": 78,
    "sync.errors.SyncError": 70,
    "sync.errors.LedgerDamaged": 65,
    "sync.errors.LedgerFromTheFuture": 78,
    "sync.errors.VaultError": 65,
    "sync.errors.IdentityError": 65,
    "sync.snapshot.DocumentRefused": 65,
    "sync.errors.BrokerError": 69,
}


def exit_code_of(error: BaseException) -> int:
    """Return the exit code of a process that ends with this error; 70 for what nobody foresaw."""
    if isinstance(error, SentinelError):
        return error.exit_code
    for cls in type(error).__mro__:
        code = _LIBRARY_EXIT_CODES.get(f"{cls.__module__}.{cls.__qualname__}")
        if code is not None:
            return code
    return 70


def is_expected(error: BaseException) -> bool:
    """Tell whether this error is one of our families: its message is for people and needs no traceback."""
    if isinstance(error, SentinelError):
        return True
    return any(f"{cls.__module__}.{cls.__qualname__}" in _LIBRARY_EXIT_CODES for cls in type(error).__mro__)

"""The errors of the ledger library.

    SyncError
    ├── LedgerUnavailable     the ledger cannot be opened or written now (no file, full disk, no permission)
    ├── LedgerDamaged         the file or its hash chain is broken; the message names the place
    ├── LedgerFromTheFuture   a newer program wrote this file
    ├── AppendLate            the entry is queued and not yet durable within the bound asked for
    ├── VaultError            a key is missing or does not open what it should
    ├── IdentityError         a signature or a sealed part is not what it should be, or a key is missing
    ├── DocumentRefused       what came down from the street is not taken (`sync/snapshot.py`)
    ├── WireError             a message does not follow the contract
    └── BrokerError           the broker cannot be reached or refused us
"""


class SyncError(Exception):
    """The ledger library failed. The message says what and, after a semicolon, what to try next."""


class LedgerUnavailable(SyncError):
    """The ledger cannot be opened or written now."""


class LedgerDamaged(SyncError):
    """The ledger or its hash chain is broken."""


class LedgerFromTheFuture(SyncError):
    """A newer program wrote this ledger."""


class AppendLate(SyncError):
    """The entry is queued but was not durable within the bound."""


class VaultError(SyncError):
    """A key is missing or does not open what it should."""


class IdentityError(SyncError):
    """A signature or a sealed part is not what it should be, or a key is missing."""


class WireError(SyncError):
    """A message does not follow the contract."""


class BrokerError(SyncError):
    """The broker cannot be reached or refused us."""

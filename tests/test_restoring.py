"""A restore brings back a gate whole, sets aside what was there, and never gives a key of an entry twice."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from backup_sample import NAME, NUMBER, Box, here

from drivers.errors import BarrierBusy
from sentinel import backup, restoring, roster
from sentinel.core.errors import DataError, Unavailable
from sync.broker import Message  # noqa: F401
from sync.cursor import Cursor
from sync.entry import Key, epoch_counter, parse_key
from sync.errors import SyncError, VaultError
from sync.ledger import LedgerReader, LedgerWriter
from sync.receive import Store
from sync.runs import Run
from sync.sealed import new_recovery_key
from sync.spool import import_spool
from sync.vault import Vault
from sync.wire import Arrival, Batch, Gate

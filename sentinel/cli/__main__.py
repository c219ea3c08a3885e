"""Run `python -m sentinel.cli` as `sentinelctl`."""

import sys

from sentinel.cli import main

sys.exit(main())

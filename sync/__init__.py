"""A library that keeps entries and carries them: appended durably, chained, encrypted, delivered until receipted.

Knows kinds only as names and no gates. Read `entry.py` first, then `ledger.py` (append), `reading.py` (look) and
`forward.py` (carry).
"""

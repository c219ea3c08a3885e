"""Let SQLite write the events of entries, letter for letter as `sync.wire.encode_entry` does, in a third of its time.

To send a backlog, an entry needs no more than its text: made in Python it cost more than everything else on the road.
All entries of a read come as one text, in one step of SQLite: it keeps no other thread from its work meanwhile.
Their hashes are not computed again here. Whoever receives them does that, and refuses by its key what does not fit.
"""

import sqlite3

from sync.entry import quoted

Event = tuple[int, bytes]  # the entry's number, and its CloudEvent

_SUB = "(wall_ns % 1000000000 + 1000000000) % 1000000000"
_SECOND = "wall_ns / 1000000000 - (wall_ns % 1000000000 < 0)"
_MS = "max(wall_ns, 0) / 1000000"


def _digit(place: int) -> str:
    """Return the value of one hexadecimal digit of the hash: SQLite reads none by itself."""
    return f"instr('123456789abcdef', substr(digits, {place}, 1))"


# The UUIDv7 of `sync.entry.uuid_number`: the time, and behind two bits of the fifth digit the digits that follow.
_ID = f"""{_MS} / 65536, {_MS} % 65536,
    ({_digit(2)} % 4) * 1024 + {_digit(3)} * 64 + {_digit(4)} * 4 + {_digit(5)} / 4,
    8 + {_digit(5)} % 4, substr(digits, 6, 3), substr(digits, 9, 12)"""
# `json_quote` also where a sound row needs none: a damaged one must not spoil its neighbours.
_EVENT = f"""printf(
    '{{"specversion":"1.0","id":"%08x-%04x-7%03x-%x%s-%s"'
    || ',"source":%s,"type":%s,"epoch":"%016x","sequence":"%010d","bootid":%s,"bootns":"%d","wallns":"%d"'
    || ',"trusted":%s,"prev":"%s","hash":"%s"%s.%06dZ"%s%s,"data":',
    {_ID},
    ?1, json_quote('cn.sentinel.' || kind || '.v' || version), epoch, seq, json_quote(boot_id), boot_ns, wall_ns,
    iif(trusted, 'true', 'false'), lower(hex(prev)), digits,
    strftime(',"time":"%Y-%m-%dT%H:%M:%S', {_SECOND}, 'unixepoch'), {_SUB} / 1000,
    iif(personal_sha256 IS NULL, '', ',"personalsha256":"' || lower(hex(personal_sha256)) || '"'), ?2
) || body || '}}'"""
_ROWS = """SELECT *, lower(hex(hash)) AS digits FROM entries WHERE epoch = ?3 AND seq BETWEEN ?4 AND ?5
    ORDER BY seq LIMIT -1"""  # the limit keeps SQLite from computing the digits anew wherever they are named
_EACH = f"SELECT seq, CAST({_EVENT} AS BLOB) FROM ({_ROWS})"
_TOGETHER = f"""SELECT count(*), min(seq), max(seq), CAST(group_concat(event, char(10)) AS BLOB)
    FROM (SELECT seq, {_EVENT} AS event FROM ({_ROWS}))"""


def read_events(
    ledger: sqlite3.Connection, epoch: int, first: int, last: int, source: str, *, historical: bool
) -> list[Event]:
    """Return the events of an epoch from `first` to `last`; numbers that are not there are left out."""
    values = (quoted(source), ',"historical":true' if historical else "", epoch, first, last)
    count, lowest, highest, text = ledger.execute(_TOGETHER, values).fetchone()
    if not count:
        return []
    events = text.split(b"\n")
    if len(events) == count == highest - lowest + 1:
        return list(zip(range(lowest, highest + 1), events, strict=True))
    return list(ledger.execute(_EACH, values))  # numbers are missing, or a damaged row holds a line break

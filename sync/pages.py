"""Find rows in the pages of a SQLite file that SQLite itself refuses to read.

Every page is looked at by itself, those of the write-ahead log too: a leaf of a table names its rows, whatever became
of the pages above it. What is found is only a claim; who asks must be able to tell a true row from rubbish.
Source: sqlite.org/fileformat2.html, sections 1.6 (pages), 2.1 (records) and 4.1 (write-ahead log).
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_LEAF = 0x0D  # a leaf page of a table
_WAL_HEAD, _FRAME_HEAD = 32, 24
_SIZES = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0)  # of a value, by its serial type below 12
_MOST_VALUES = 64  # a record that names more is rubbish


def rows_of(path: Path, page_bytes: int) -> Iterator[tuple[Any, ...]]:
    """Yield the values of every row that a leaf of the file or of its write-ahead log holds, the newest pages first.

    Raises: OSError for anything but an unreadable sector, which is passed over.
    """
    log = Path(f"{path}-wal")
    images = _frames(log, page_bytes) if log.exists() else {}
    with path.open("rb") as file:
        count = -(-os.fstat(file.fileno()).st_size // page_bytes)
        book = _Book(file.fileno(), page_bytes, images)
        for number in sorted(images):
            yield from book.rows(number, images[number])
        for number in range(1, count + 1):
            if number not in images:
                yield from book.rows(number, book.page(number))


class _Book:
    """The pages of a file as its last commit left them."""

    def __init__(self, descriptor: int, page_bytes: int, images: dict[int, bytes]):
        self._descriptor = descriptor
        self._bytes = page_bytes
        self._images = images

    def page(self, number: int) -> bytes:
        if number in self._images:
            return self._images[number]
        try:
            return os.pread(self._descriptor, self._bytes, (number - 1) * self._bytes)
        except OSError:
            return b""

    def rows(self, number: int, page: bytes) -> Iterator[tuple[Any, ...]]:
        start = 100 if number == 1 else 0
        if len(page) < self._bytes or page[start] != _LEAF:
            return
        (cells,) = struct.unpack_from(">H", page, start + 3)
        for at in range(start + 8, min(start + 8 + 2 * cells, self._bytes - 1), 2):
            try:
                yield self._record(page, struct.unpack_from(">H", page, at)[0])
            except (ValueError, IndexError, struct.error):
                continue  # a damaged cell harms no other

    def _record(self, page: bytes, at: int) -> tuple[Any, ...]:
        size, at = _varint(page, at)
        _rowid, at = _varint(page, at)
        most = self._bytes - 35
        if size <= most:
            return _values(page[at : at + size])
        least = (self._bytes - 12) * 32 // 255 - 23
        local = least + (size - least) % (self._bytes - 4)
        local = local if local <= most else least
        payload = bytearray(page[at : at + local])
        (following,) = struct.unpack_from(">I", page, at + local)
        while following and len(payload) < size:
            overflow = self.page(following)
            (following,) = struct.unpack_from(">I", overflow, 0)
            payload += overflow[4:]
        return _values(bytes(payload[:size]))


def _frames(log: Path, page_bytes: int) -> dict[int, bytes]:
    """Return the last image of each page in the log, up to its last commit; frames of an older log are not ours."""
    images: dict[int, bytes] = {}
    open_ones: dict[int, bytes] = {}
    with log.open("rb") as file:
        salts = file.read(_WAL_HEAD)[16:24]
        while len(head := file.read(_FRAME_HEAD)) == _FRAME_HEAD:
            number, committed = struct.unpack_from(">II", head)
            page = file.read(page_bytes)
            if head[8:16] != salts or len(page) < page_bytes:
                break
            open_ones[number] = page
            if committed:
                images |= open_ones
                open_ones = {}
    return images


def _values(record: bytes) -> tuple[Any, ...]:
    head, at = _varint(record, 0)
    types = []
    while at < head:
        kind, at = _varint(record, at)
        types.append(kind)
        if len(types) > _MOST_VALUES:
            raise ValueError("no record of ours")
    values = []
    for kind in types:
        size = (kind - 12) // 2 if kind >= 12 else _SIZES[kind]
        raw = record[at : at + size]
        if len(raw) < size or kind in (10, 11):
            raise ValueError("a torn record")
        values.append(_value(kind, raw))
        at += size
    return tuple(values)


def _value(kind: int, raw: bytes) -> Any:
    if kind == 0:
        return None
    if kind in (8, 9):
        return kind - 8
    if kind == 7:
        return struct.unpack(">d", raw)[0]
    if kind < 7:
        return int.from_bytes(raw, "big", signed=True)
    return raw if kind % 2 == 0 else raw.decode()


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for step in range(8):
        byte = data[at + step]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + step + 1
    return value << 8 | data[at + 8], at + 9

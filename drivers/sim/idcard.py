"""Simulate the SDT card reader: a pure model of the module, and cards with any text a test may want."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import ClassVar

from drivers.codecs.framing import NO_FRAME, WAIT, Dropped, FrameFinder
from drivers.codecs.idcard import HEAD_BYTES, PHOTO_BYTES, PREAMBLE, SPEED_CODES, frame
from drivers.codecs.idcard_text import ADDRESS_BYTES, LAYOUTS, LETTER, LETTERS, LONG_TERM, TEXT_BYTES
from drivers.readings import CardKind
from drivers.sim.faulty import Faulty

MODULE_NUMBER = bytes.fromhex("05 00 03 00 A5 3A 34 01 87 D6 12 00 B1 7F 39 05")
LONGEST_REQUEST_LENGTH = 16
CHIP_DATA_BYTES = 28
SLOW_READ_S = 3.0
MISSING_BYTES = 16  # what a too large length field promises and nothing follows
LONE_SURROGATE = "\ud842"
FOUND = bytes([0x9F]) + bytes(4)
SELECTED = bytes([0x90]) + bytes(8)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardData:
    """A card to be placed on the reader. All fields are the text on the chip, so wrong ones can be told too.

    Unit: dates are YYYYMMDD; valid_until may be 长期. `letter` overrides the letter of the kind; `fill` is what unused
    places hold, a space or U+0000.
    """

    number: str = field(repr=False)
    name: str = field(repr=False)
    kind: CardKind = CardKind.RESIDENT
    name_latin: str = field(default="", repr=False)
    sex_code: str = "1"
    ethnic_code: str = "01"
    birth: str = field(default="19900101", repr=False)
    address: str = field(default="", repr=False)
    authority: str = "样本公安局"
    nationality: str = ""
    valid_from: str = "20200101"
    valid_until: str = "20400101"
    permit_number: str = ""
    issue_count: str = ""
    version: str = ""
    earlier_link: str = ""
    letter: str = ""
    fill: str = " "
    later_addresses: tuple[str, ...] = ()
    photo: bytes = field(default=bytes(PHOTO_BYTES), repr=False)
    fingerprint: bytes = field(default=b"", repr=False)  # 0, 512 or 1024 bytes


def encode_text(card: CardData) -> bytes:
    """Return the text block of a card. Shape: 256 bytes. Raises: ValueError when a field does not fit its place."""
    block = bytearray(card.fill.encode("utf-16-le") * (TEXT_BYTES // 2))
    for name, places in LAYOUTS[card.kind].items():
        text = getattr(card, name).encode("utf-16-le", errors="surrogatepass")
        if len(text) > sum(place.stop - place.start for place in places):
            raise ValueError(f"card field {name} has {len(text)} bytes and does not fit; shorten it")
        for place in places:
            part, text = text[: place.stop - place.start], text[place.stop - place.start :]
            block[place.start : place.start + len(part)] = part
    letter = card.letter or LETTERS.get(card.kind, "?" if card.kind is CardKind.UNKNOWN else card.fill)
    block[LETTER] = letter.encode("utf-16-le")
    return bytes(block)


def read_answer(card: CardData, *, fingerprint: bool = False) -> bytes:
    """Return the body of the answer to a read request, without frame."""
    sizes = [TEXT_BYTES, len(card.photo)] + [len(card.fingerprint)] * fingerprint
    head = b"".join(size.to_bytes(2, "big") for size in sizes)
    return bytes([0x90]) + head + encode_text(card) + card.photo + (card.fingerprint if fingerprint else b"")


def _answer(body: bytes, words: int = 0) -> bytes:
    return frame(words.to_bytes(2, "big") + body)


def _other_check_digit(card: CardData) -> CardData:
    return replace(card, number=card.number[:-1] + ("1" if card.number.endswith("0") else "0"))


def _other_birth(card: CardData) -> CardData:
    return replace(card, birth="19000101" if card.birth != "19000101" else "19000102")


_REFUSING = ("code-10", "code-11", "code-21", "code-24", "code-60", "code-66")  # whatever is asked
_READ_FAILS = ("code-31", "code-32", "code-33", "code-40", "code-41", "code-47", "code-91")
_CARD_CHANGES: Mapping[str, Callable[[CardData], CardData]] = MappingProxyType(
    {
        "unknown-letter": lambda card: replace(card, letter="Q"),
        "nul-fill": lambda card: replace(card, fill="\0"),
        "surrogate-name": lambda card: replace(card, name=card.name[:1] + LONE_SURROGATE + card.name[2:]),
        "wrong-check-digit": _other_check_digit,
        "wrong-birth": _other_birth,
        "expired": lambda card: replace(card, valid_from="20100101", valid_until="20200101"),
        "long-term": lambda card: replace(card, valid_until=LONG_TERM),
    }
)


class SimIdCardReader(Faulty):
    """Behave like a reader with its module. Cards are placed and removed from any thread.

    `finds_again`: after a good read, find keeps answering 9F while the card lies there; False for the makers' other
    behaviour, 80 until the card has been away. Both exist. `lacks` names the commands that an old reader does not know.
    """

    FAULTS: ClassVar[tuple[str, ...]] = (
        "code-80", "code-81", *_READ_FAILS, *_REFUSING, "number-fails", *_CARD_CHANGES, "long-length", "stays-found",
        "stays-hidden", "taken-after-select", "identifiers", "slow-read",
    )  # fmt: skip

    def __init__(self, *, finds_again: bool = True, lacks: tuple[bytes, ...] = ()) -> None:
        self.finds_again = finds_again
        self._lacks = lacks
        super().__init__()
        self._finder = FrameFinder(head=PREAMBLE, longest_bytes=HEAD_BYTES + LONGEST_REQUEST_LENGTH, judge=_judge)
        self._scripts: dict[str, deque[int]] = {"status": deque(), "find": deque(), "select": deque(), "read": deque()}
        self._card: CardData | None = None
        self._later: list[tuple[float, bytes]] = []
        self._slow_s = 0.0
        self._take_once = False
        self._lift()

    def place(self, card: CardData) -> None:
        """Lay a card on the reader; one that lies there is taken away first."""
        encode_text(card)  # a card that cannot be encoded is the caller's error, not the serving thread's
        with self._lock:
            self._lift()
            self._card = card

    def remove(self) -> None:
        """Take the card away."""
        with self._lock:
            self._lift()

    def fail(self, step: str, *statuses: int) -> None:
        """Answer the next requests of a step ("status", "find", "select", "read") with these SW3 words."""
        with self._lock:
            self._scripts[step].extend(statuses)

    def _healed(self) -> None:
        """End scripted words and slow reading too; a card that lies there stays."""
        self._slow_s, self._take_once = 0.0, False
        for script in self._scripts.values():
            script.clear()

    def break_down(self, status: int = 0x60) -> None:
        """Answer every request with 60 (self-test failed) or 66 (not authorised) until `repair`."""
        self.fault(f"code-{status:02x}")

    def repair(self) -> None:
        """End break-down and every other fault."""
        self.heal()

    def slow_read(self, seconds: float) -> None:
        """Let every read take this long."""
        with self._lock:
            self._slow_s = seconds

    def show_identifiers(self) -> None:
        """Answer find and select with identifiers, as the specification has it, instead of zeros."""
        self.fault("identifiers")

    def take_after_select(self) -> None:
        """Let the card be gone once it has been selected, one time."""
        with self._lock:
            self._take_once = True

    def answer(self, chunk: bytes, now: float = 0.0) -> bytes:
        """Return the module's answers to the requests in these bytes, torn or whole."""
        with self._lock:
            found = self._finder.feed(chunk)
            return b"".join(self._reply(request, now) for request in found if not isinstance(request, Dropped))

    def due(self, now: float) -> bytes:
        """Return the answers that took their time."""
        with self._lock:
            ready = b"".join(answer for at, answer in self._later if at <= now)
            self._later = [(at, answer) for at, answer in self._later if at > now]
            return ready

    def _lift(self) -> None:
        self._card = None
        self._found = self._selected = self._served = False

    def _reply(self, request: bytes, now: float) -> bytes:
        if _xor(request[5:]) != 0:
            return _answer(b"\x10")
        if word := self._word_of(_REFUSING):
            return _answer(word)
        body = request[HEAD_BYTES:-1]
        command = body[:2]
        if command[:1] == b"\x60":
            return _answer(b"\x90" if len(body) == 2 and body[1] in SPEED_CODES.values() else b"\x21")
        if command == b"\x61\xff":
            return _answer(b"\x90" if len(body) == 3 else b"\x11")
        do = _COMMANDS.get(command)
        if do is None or command in self._lacks:
            return _answer(b"\x21")
        if len(body) != 2:
            return _answer(b"\x11")
        answer = do(self)
        if command[:1] != b"\x30":
            return answer
        if "long-length" in self._faults:
            answer = frame(answer[HEAD_BYTES:-1] + bytes(MISSING_BYTES))[:-MISSING_BYTES]
        slow_s = max(self._slow_s, SLOW_READ_S if "slow-read" in self._faults else 0.0)
        if slow_s:
            self._later.append((now + slow_s, answer))
            return b""
        return answer

    def _word_of(self, codes: tuple[str, ...]) -> bytes:
        """Return the SW3 word of the first fault among these that is on, b"" for none."""
        return next((bytes.fromhex(code.removeprefix("code-")) for code in codes if code in self._faults), b"")

    def _scripted(self, step: str) -> bytes | None:
        script = self._scripts[step]
        return _answer(bytes([script.popleft()])) if script else None

    def _reset(self) -> bytes:
        self._found = self._selected = False
        return _answer(b"\x90")

    def _status(self) -> bytes:
        return self._scripted("status") or _answer(b"\x90")

    def _module_number(self) -> bytes:
        return _answer(b"\x24" if "number-fails" in self._faults else b"\x90" + MODULE_NUMBER)

    def _find(self) -> bytes:
        if scripted := self._scripted("find"):
            return scripted
        self._selected = False
        lies_there = self._card is not None and (self._stays_found() or not self._served)
        self._found = lies_there and "code-80" not in self._faults
        if not self._found:
            return _answer(b"\x80")
        return _answer(b"\x9f\x01\x02\x03\x04" if "identifiers" in self._faults else FOUND)

    def _stays_found(self) -> bool:
        if "stays-found" in self._faults:
            return True
        return self.finds_again and "stays-hidden" not in self._faults

    def _select(self) -> bytes:
        if scripted := self._scripted("select"):
            return scripted
        if not self._found or "code-81" in self._faults:
            return _answer(b"\x81")
        self._selected = True
        if self._take_once or "taken-after-select" in self._faults:
            self._take_once = False
            self._lift()
        return _answer(b"\x90\x11\x22\x33\x44\x55\x66\x77\x88" if "identifiers" in self._faults else SELECTED)

    def _read(self) -> bytes:
        return self._card_answer(read_answer)

    def _read_fingerprint(self) -> bytes:
        return self._card_answer(lambda card: read_answer(card, fingerprint=True))

    def _read_later_addresses(self) -> bytes:
        return self._card_answer(_later_addresses)

    def _read_chip(self) -> bytes:
        return self._card_answer(lambda card: b"\x90" + bytes(CHIP_DATA_BYTES))

    def _card_answer(self, body: Callable[[CardData], bytes]) -> bytes:
        if scripted := self._scripted("read"):
            return scripted
        if self._card is None:
            return _answer(b"\x41")
        if not self._selected:
            return _answer(b"\x21")
        if word := self._word_of(_READ_FAILS):
            return _answer(word)
        self._served = True
        card = self._card
        for fault, change in _CARD_CHANGES.items():
            card = change(card) if fault in self._faults else card
        return _answer(body(card))


_COMMANDS: Mapping[bytes, Callable[[SimIdCardReader], bytes]] = MappingProxyType(
    {
        b"\x10\xff": SimIdCardReader._reset,
        b"\x11\xff": SimIdCardReader._status,
        b"\x12\xff": SimIdCardReader._module_number,
        b"\x20\x01": SimIdCardReader._find,
        b"\x20\x02": SimIdCardReader._select,
        b"\x30\x01": SimIdCardReader._read,
        b"\x30\x10": SimIdCardReader._read_fingerprint,
        b"\x30\x03": SimIdCardReader._read_later_addresses,
        b"\x30\x05": SimIdCardReader._read_chip,
    }
)


def _later_addresses(card: CardData) -> bytes:
    if not card.later_addresses:
        return b"\x91"
    addresses = (address.encode("utf-16-le") for address in card.later_addresses)
    return b"\x90" + b"".join(
        address + (card.fill.encode("utf-16-le") * ADDRESS_BYTES)[: ADDRESS_BYTES - len(address)]
        for address in addresses
    )


def _judge(held: bytearray) -> int | None:
    """Cut out a request whatever its checksum: a wrong one has an answer of its own."""
    if len(held) < HEAD_BYTES:
        return WAIT
    length = int.from_bytes(held[5:HEAD_BYTES], "big")
    if not 3 <= length <= LONGEST_REQUEST_LENGTH:
        return NO_FRAME
    return HEAD_BYTES + length if len(held) >= HEAD_BYTES + length else WAIT


def _xor(counted: bytes) -> int:
    total = 0
    for byte in counted:
        total ^= byte
    return total

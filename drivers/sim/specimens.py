"""Name people who do not exist: the cards of nobody, for captures and demonstrations.

The numbers are the published specimen and others whose region or form no office gives out.
"""

from collections.abc import Mapping
from types import MappingProxyType

from drivers.codecs.idcard_text import ADDRESS_BYTES, LETTER, LONG_TERM, card_kind
from drivers.readings import CardKind
from drivers.sim.idcard import CardData, encode_text

_NOBODY = CardData(
    number="11010519491231002X", name="样本甲", birth="19491231", address="某省某市样本路1号", valid_until=LONG_TERM
)
SPECIMENS: Mapping[CardKind, CardData] = MappingProxyType(
    {
        CardKind.RESIDENT: _NOBODY,
        CardKind.HMT_PERMIT: CardData(
            kind=CardKind.HMT_PERMIT, number="810000199001010027", name="样本乙", sex_code="2", birth="19900101",
            address="某市样本大道2号", permit_number="H00000000", issue_count="01",
        ),
        CardKind.FOREIGNER_2017: CardData(
            kind=CardKind.FOREIGNER_2017, number="SAU110090010101", name="样本丙", name_latin="SAMPLE, ALICE",
            sex_code="2", birth="19900101", nationality="SAU", version="01", authority="1500",
        ),
        CardKind.FOREIGNER_2023: CardData(
            kind=CardKind.FOREIGNER_2023, number="932682198501010017", name="样本丁", name_latin="SAMPLE, BOB",
            birth="19850101", nationality="SAU", issue_count="01",
        ),
        CardKind.UNKNOWN: _NOBODY,
    }
)  # fmt: skip


def specimen_text(block: bytes) -> bytes:
    """Return the text block of a specimen of the same kind and letter. Shape: 256 bytes in and out."""
    specimen = bytearray(encode_text(SPECIMENS[card_kind(block)]))
    specimen[LETTER] = block[LETTER]
    return bytes(specimen)


def specimen_address() -> bytes:
    """Return an address as it is written to a chip later. Shape: 70 bytes."""
    return _NOBODY.address.ljust(ADDRESS_BYTES // 2).encode("utf-16-le")

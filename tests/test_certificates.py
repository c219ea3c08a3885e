"""A certificate that ends is told long before it closes the road."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from sentinel.certificates import LOOK_S, CertificateWatch, soonest
from sentinel.settings import Uplink
from sync.errors import BrokerError

NOW = datetime(2026, 11, 26, tzinfo=UTC)
NOW_NS = int(NOW.timestamp()) * 1_000_000_000


def certificate(subject: str, days: float) -> bytes:
    key = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(7).not_valid_before(NOW - timedelta(days=900)).not_valid_after(NOW + timedelta(days=days))
    return made.sign(key, SHA256()).public_bytes(Encoding.PEM)


def way(folder: Path, ours: float, *authorities: float, broker: str = "mqtts://10.0.0.1:8883") -> Uplink:
    (folder / "gate.crt").write_bytes(certificate("east-3", ours))
    (folder / "ca.crt").write_bytes(b"".join(certificate(f"CA {days}", days) for days in authorities))
    return Uplink(
        broker=broker, cert_file=folder / "gate.crt", key_file=folder / "gate.key", ca_file=folder / "ca.crt"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("ours", "authorities", "file", "level"),
    [
        (400, (900,), "gate.crt", "ok"),
        (29, (900,), "gate.crt", "warning"),
        (-1, (900,), "gate.crt", "critical"),
        (400, (10,), "ca.crt", "warning"),
        (400, (-5, 900), "gate.crt", "ok"),  # an authority of before stays in the file beside the new one
        (400, (-5, -1), "ca.crt", "critical"),
    ],
)
def test_what_ends_first_is_found(
    tmp_path: Path, ours: float, authorities: tuple[float, ...], file: str, level: str
) -> None:
    ending = soonest(way(tmp_path, ours, *authorities), NOW_NS)
    assert ending is not None
    assert (ending.file.name, ending.level) == (file, level)


def test_a_road_without_certificates_has_nothing_that_ends() -> None:
    assert soonest(Uplink(broker="mqtt://10.0.0.1"), NOW_NS) is None


def test_a_file_that_holds_none_is_named(tmp_path: Path) -> None:
    here = way(tmp_path, 400, 900)
    (tmp_path / "ca.crt").write_text("nothing")
    with pytest.raises(BrokerError, match=r"ca\.crt"):
        soonest(here, NOW_NS)


def test_the_log_says_it_twice_a_day_and_with_nobodys_clock_of_1970(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watch = CertificateWatch(way(tmp_path, 12, 900), lambda: NOW_NS)
    with caplog.at_level(logging.INFO):
        for now in (0.0, 1.0, LOOK_S - 1, LOOK_S + 1):
            watch.look(now)
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "gate.crt: the certificate of CN=east-3 ends in 12 days" in caplog.text


def test_a_plain_road_is_not_watched(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    CertificateWatch(way(tmp_path, -1, 900, broker="mqtt://10.0.0.1"), lambda: NOW_NS).look(0.0)
    assert not caplog.records

"""Certificates for a broker, a gate and a street, right ones and each kind of wrong one."""

from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@cache
def _key(whose: str) -> ec.EllipticCurvePrivateKey:
    del whose  # one each, made once
    return ec.generate_private_key(ec.SECP256R1())


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _certificate(whose: str, maker: str, *, starts: timedelta, ends: timedelta, host: str = "127.0.0.1") -> bytes:
    now = datetime.now(UTC)
    is_maker = whose == maker
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(whose)).issuer_name(_name(maker)).public_key(_key(whose).public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now + starts).not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(ca=is_maker, path_length=None), critical=True)
    )  # fmt: skip
    if not is_maker:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))]), critical=False)
    return _pem(builder.sign(_key(maker), hashes.SHA256()))


class Papers:
    """A folder of certificates and keys, all right until one is spoilt."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        for whose in ("broker", "gate", "street"):
            key = _key(whose).private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            self.file(f"{whose}.key").write_bytes(key)
        self.right()

    def file(self, name: str) -> Path:
        """Return the path of one of them."""
        return self._folder / name

    def right(self) -> None:
        """Let all be right."""
        self.file("ca.pem").write_bytes(_certificate("maker", "maker", starts=-DAY, ends=90 * DAY))
        for whose in ("broker", "gate", "street"):
            self.file(f"{whose}.pem").write_bytes(_certificate(whose, "maker", starts=-DAY, ends=30 * DAY))

    def spoil(self, whose: str, fault: str) -> None:
        """Let this one's certificate be wrong in one way."""
        wrong = {
            "expired": lambda: _certificate(whose, "maker", starts=-9 * DAY, ends=-DAY),
            "early": lambda: _certificate(whose, "maker", starts=DAY, ends=9 * DAY),
            "foreign": lambda: _certificate(whose, "stranger", starts=-DAY, ends=9 * DAY),
            "other-name": lambda: _certificate(whose, "maker", starts=-DAY, ends=9 * DAY, host="10.9.8.7"),
        }[fault]
        self.file(f"{whose}.pem").write_bytes(wrong())

    def foreign_ca(self) -> None:
        """Let the gate trust somebody else; the broker has read the right one already."""
        self.file("ca.pem").write_bytes(_certificate("stranger", "stranger", starts=-DAY, ends=90 * DAY))

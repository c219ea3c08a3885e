"""Make the TLS context of a connection from its files, and judge certificates when the wall clock cannot be believed.

Under a believable clock OpenSSL judges everything. A box that woke up in 1970 finds every certificate "not yet valid";
then OpenSSL judges everything but the dates, and the dates of the whole verified chain are judged here, within the
handshake, before a byte of ours is sent: against the latest time that has surely passed.
"""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sync.errors import BrokerError
from sync.stamp import STRAY_NS, KnownTime

if TYPE_CHECKING:
    from cryptography import x509

_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of <openssl/x509_vfy.h>, since OpenSSL 1.1.0
_NOT_YET_VALID, _EXPIRED = 9, 10  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """How we prove who we are, and how the broker does. Files are read at each connect: they may be renewed."""

    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """The dates of one certificate, both included."""

    subject: str
    begins_ns: int
    ends_ns: int


def context_of(proof: Credentials, doubted: KnownTime | None = None) -> ssl.SSLContext:
    """Return a client's context; `doubted` is what is known of the time when the wall clock cannot be believed.

    Raises: ssl.SSLError, OSError for files that cannot be used.
    """
    context = ssl.create_default_context(cafile=str(proof.ca_file) if proof.ca_file else None)
    if proof.cert_file:
        context.load_cert_chain(proof.cert_file, proof.key_file)
    if doubted is not None:
        context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
        context.sslsocket_class = _socket_that_judges(doubted)
    return context


def judge_dates(chain: Sequence[Validity], known: KnownTime) -> None:
    """Let a chain pass that is valid at a time which can be now.

    Where the time is known exactly that is now, give or take the minutes by which clocks differ. Else it is any moment
    from the latest known one on: what has expired by then is expired, while "not yet valid" can be said by nobody who
    only knows that it is later than that. All certificates of the chain must be valid at one and the same moment.
    Raises: ssl.SSLCertVerificationError, with OpenSSL's own codes.
    """
    if not chain:
        raise _refused("the broker's chain of certificates cannot be read, so its dates cannot be judged", _EXPIRED)
    last = min(chain, key=lambda one: one.ends_ns)
    first = max(chain, key=lambda one: one.begins_ns)
    slack_ns = STRAY_NS if known.exact else 0
    if last.ends_ns < known.ns - slack_ns:
        raise _refused(f"{last.subject} expired on {_day(last.ends_ns)}; it is {_day(known.ns)} or later", _EXPIRED)
    if known.exact and first.begins_ns > known.ns + slack_ns:
        raise _refused(f"{first.subject} is valid from {_day(first.begins_ns)} on", _NOT_YET_VALID)
    if first.begins_ns > last.ends_ns:
        raise _refused(f"{last.subject} had expired before {first.subject} was valid", _EXPIRED)


def validities(file: Path) -> list[Validity]:
    """Return the dates of every certificate in a PEM file, as for a watch over what expires.

    Raises: BrokerError when there is none to be read.
    """
    from cryptography import x509

    try:
        return [_validity(one) for one in x509.load_pem_x509_certificates(file.read_bytes())]
    except (OSError, ValueError) as error:
        raise BrokerError(f"{file}: {error}; expected certificates in PEM form") from error


def _socket_that_judges(known: KnownTime) -> type[ssl.SSLSocket]:
    class Judging(ssl.SSLSocket):
        def do_handshake(self, block: bool = False) -> None:
            super().do_handshake(block)
            judge_dates(_chain_of(self), known)

    return Judging


def _chain_of(sock: ssl.SSLSocket) -> list[Validity]:
    """Return the chain that OpenSSL has verified, the authority's own certificate included.

    Python has `get_verified_chain` since 3.13; before, the object under the socket has it, as the package `truststore`
    relies on. Where neither is there, nothing is returned, and nothing passes.
    """
    from cryptography import x509

    below = getattr(sock, "_sslobj", None)
    ask = getattr(sock, "get_verified_chain", None) or getattr(below, "get_verified_chain", None)
    found = (ask() if ask is not None else None) or ()
    ders = (one if isinstance(one, bytes) else ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in found)
    return [_validity(x509.load_der_x509_certificate(der)) for der in ders]


def _validity(certificate: "x509.Certificate") -> Validity:
    return Validity(
        subject=certificate.subject.rfc4514_string(),
        begins_ns=int(certificate.not_valid_before_utc.timestamp()) * _SECOND_NS,
        ends_ns=int(certificate.not_valid_after_utc.timestamp()) * _SECOND_NS,
    )


def _refused(why: str, code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, f"certificate verify failed: {why}")
    error.verify_code, error.verify_message = code, why
    return error


def _day(ns: int) -> str:
    return datetime.fromtimestamp(ns // _SECOND_NS, UTC).date().isoformat()

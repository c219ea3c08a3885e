"""Certificates while the wall clock cannot be believed: judged by the latest known time, and as strictly otherwise."""

import ipaddress
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from sync.broker import BrokerLost, Credentials, MqttBroker
from sync.errors import BrokerError
from sync.stamp import KnownTime
from sync.tls import Validity, judge_dates, validities

NOW = datetime.now(UTC).replace(microsecond=0)  # of this machine: by it OpenSSL judges in these tests
DAY = timedelta(days=1)
PAST, FUTURE = (NOW - 400 * DAY, NOW - 300 * DAY), (NOW + 300 * DAY, NOW + 400 * DAY)
ALWAYS = (NOW - 4000 * DAY, NOW + 4000 * DAY)


def at(moment: datetime, *, exact: bool = False) -> KnownTime:
    return KnownTime(ns=int(moment.timestamp()) * 10**9, exact=exact)


class Authority:
    """A root, an intermediate, and a broker's certificate for 127.0.0.1, each with dates of its own."""

    def __init__(self, place: Path, root=ALWAYS, between=ALWAYS, leaf=ALWAYS, host: str = "127.0.0.1") -> None:
        self.ca, self.chain, self.key = place / "ca.pem", place / "chain.pem", place / "key.pem"
        root_key, between_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
        top = _certificate("root", "root", root_key, root_key, root, ca=True)
        middle = _certificate("between", "root", between_key, root_key, between, ca=True)
        end = _certificate("broker", "between", leaf_key, between_key, leaf, host=host)
        self.ca.write_bytes(top)
        self.chain.write_bytes(end + middle)
        self.key.write_bytes(leaf_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        for file in (self.ca, self.chain, self.key):
            file.chmod(0o644)
        place.chmod(0o755)


def _certificate(name, issuer, key, signer, dates, *, ca=False, host="127.0.0.1") -> bytes:
    called = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (name, issuer)]
    built = (
        x509.CertificateBuilder(called[1], called[0], key.public_key(), x509.random_serial_number(), *dates)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), critical=False)
    )
    return built.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.fixture
def connect(new_mosquitto, tmp_path: Path) -> Callable[..., None]:
    """Connect to a broker that shows this chain, with what is known of the time; None: the wall clock is believed."""

    def try_it(shown: Authority, doubted: KnownTime | None, ca: Path | None = None) -> None:
        broker = new_mosquitto()
        broker.configure(
            f"listener {broker.port} 127.0.0.1\nallow_anonymous true\nuser root\n"
            f"certfile {shown.chain}\nkeyfile {shown.key}\n"
        )
        broker.start()
        client = MqttBroker(
            f"mqtts://127.0.0.1:{broker.port}", "gate",
            credentials=Credentials(ca_file=ca or shown.ca), doubted=lambda: doubted,
        )  # fmt: skip
        try:
            client.connect(5.0)
        finally:
            client.close()

    return try_it


def refused(connect, *args: object) -> ssl.SSLCertVerificationError:
    with pytest.raises(BrokerLost) as lost:
        connect(*args)
    assert lost.value.layer == "tls"
    assert isinstance(lost.value.__cause__, ssl.SSLCertVerificationError), lost.value
    return lost.value.__cause__


@pytest.mark.broker
@pytest.mark.parametrize("dates", [PAST, FUTURE])
@pytest.mark.parametrize("which", ["root", "between", "leaf"])
def test_a_chain_that_the_wrong_clock_condemns_passes_at_the_known_time(connect, tmp_path, dates, which):
    """FUTURE: to the machine it is "not yet valid", as everything is in 1970. PAST: "expired", as in 2099."""
    shown = Authority(tmp_path, **{which: dates})
    connect(shown, at(dates[0] + 50 * DAY))
    assert refused(connect, shown, None).verify_code in (9, 10), "with a trusted clock nothing changes"


@pytest.mark.broker
@pytest.mark.parametrize("which", ["root", "between", "leaf"])
def test_what_had_expired_by_the_known_time_is_refused_wherever_in_the_chain(connect, tmp_path, which):
    shown = Authority(tmp_path, **{which: (NOW - 400 * DAY, NOW + 10 * DAY)})
    connect(shown, None)
    assert refused(connect, shown, at(NOW + 11 * DAY)).verify_code == 10


@pytest.mark.broker
def test_doubt_about_the_time_excuses_nothing_else(connect, tmp_path):
    places = [tmp_path / name for name in ("a", "b", "c")]
    for place in places:
        place.mkdir()
    tmp_path.chmod(0o755)
    ours, theirs = Authority(places[0]), Authority(places[1], leaf=FUTURE)
    elsewhere = Authority(places[2], host="127.0.0.2", leaf=FUTURE)
    known = at(FUTURE[0] + DAY)
    assert refused(connect, theirs, known, ours.ca).verify_code not in (0, 9, 10), "of another authority"
    assert refused(connect, elsewhere, known).verify_code not in (0, 9, 10), "of another host"


DATES = st.tuples(st.integers(0, 200), st.integers(1, 100)).map(lambda pair: (pair[0], pair[0] + pair[1]))
STEP_NS = 10**12  # farther apart than the minutes that an exactly known time allows
VALID = DATES.map(lambda dates: Validity(subject="x", begins_ns=dates[0] * STEP_NS, ends_ns=dates[1] * STEP_NS))
CHAINS = st.lists(VALID, min_size=1)


@given(chain=CHAINS, known=st.integers(0, 320))
def test_a_chain_passes_when_it_can_be_valid_now_and_only_then(chain, known):
    """By an oracle that tries every moment."""
    moments = [ns * STEP_NS for ns in range(known, 321)]
    can = any(all(one.begins_ns <= now <= one.ends_ns for one in chain) for now in moments)
    assert can == passes(chain, KnownTime(ns=known * STEP_NS))
    valid_now = all(one.begins_ns <= known * STEP_NS <= one.ends_ns for one in chain)
    assert valid_now == passes(chain, KnownTime(ns=known * STEP_NS, exact=True))


def passes(chain: list[Validity], known: KnownTime) -> bool:
    try:
        judge_dates(chain, known)
    except ssl.SSLCertVerificationError:
        return False
    return True


def test_a_chain_that_cannot_be_read_does_not_pass():
    assert not passes([], at(NOW))


def test_the_dates_in_a_file_can_be_asked_for(tmp_path):
    shown = Authority(tmp_path, leaf=PAST)
    found = validities(shown.chain)
    assert [one.subject for one in found] == ["CN=broker", "CN=between"]
    assert found[0].ends_ns == int(PAST[1].timestamp()) * 10**9
    for broken in (tmp_path / "absent.pem", shown.key):
        with pytest.raises(BrokerError):
            validities(broken)

"""The adapter against a real MQTT 5 broker: what mosquitto really answers, and what a cable that breaks looks like."""

import shutil
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest
from made_entries import FIRST, LedgerInMemory

from sentinel.rehearsal import held_port
from sync.broker import (
    MAX_PACKET_BYTES,
    NO_SUBSCRIBER,
    Acknowledged,
    BrokerLost,
    Connected,
    Credentials,
    Disconnected,
    Message,
    MqttBroker,
    Will,
    parse_url,
)
from sync.cursor import Cursor
from sync.errors import BrokerError
from sync.forward import Forwarder
from sync.receive import Receiver
from sync.store import Store
from sync.wire import topics

NAMES = topics("330106", "cuiyuan3", "east-3")
PATIENCE_S = 10.0


def heard(broker, kind, timeout_s=PATIENCE_S):
    """Poll until an event of this kind comes."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        event = broker.poll(0.1)
        if isinstance(event, kind):
            return event
    return pytest.fail(f"no {kind.__name__} within {timeout_s} s")


def listener(url, topic, **more):
    broker = MqttBroker(url, "listener", **more)
    broker.connect(5.0)
    broker.subscribe(topic)
    return broker


@pytest.mark.parametrize(
    ("url", "expected"),
    [("mqtt://a", ("a", 1883, False)), ("mqtts://b:1", ("b", 1, True)), ("mqtt://[::1]:7", ("::1", 7, False))],
)
def test_an_address_is_read(url, expected):
    address = parse_url(url)
    assert (address.host, address.port, address.tls) == expected


@pytest.mark.parametrize("url", ["", "http://a", "mqtt://", "mqtt://a:x", "mqtt://a/topic", "a:1883"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(BrokerError, match="expected mqtt"):
        parse_url(url)


@pytest.mark.parametrize("url", ["mqtt://user:secret@a", "mqtts://:secret@a:1", "user:secret@a", "mqtt://u:secret@a:x"])
def test_a_password_in_the_address_is_refused_and_not_repeated(url):
    with pytest.raises(BrokerError, match="use username and password_file") as refused:
        parse_url(url)
    assert "secret" not in str(refused.value)


def test_a_torn_ipv6_address_is_refused():
    with pytest.raises(BrokerError, match="expected mqtt"):
        parse_url("mqtt://[::1")


class Peer(threading.Thread):
    """A peer that accepts one client with a good CONNACK, says some bytes, and waits until the client leaves."""

    def __init__(self, said: bytes):
        super().__init__(daemon=True)
        self.said, self.heard = said, b""
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"mqtt://127.0.0.1:{self.listening.getsockname()[1]}"

    def run(self):
        with self.listening, self.listening.accept()[0] as client:
            client.settimeout(PATIENCE_S)
            self.heard = client.recv(4096)
            client.sendall(b"\x20\x03\x00\x00\x00" + self.said)
            while client.recv(4096):
                pass


def test_a_topic_that_is_not_utf8_ends_the_connection_and_nothing_else():
    peer = Peer(b"\x30\x06\x00\x02\xff\xfe\x00x")
    peer.start()
    gate = MqttBroker(peer.url, "gate")
    gate.connect(PATIENCE_S)
    gone = heard(gate, Disconnected)
    assert (gone.layer, "not UTF-8" in gone.reason) == ("mqtt", True)
    gate.close()
    peer.join(PATIENCE_S)
    assert b"\x27" + MAX_PACKET_BYTES.to_bytes(4, "big") in peer.heard, "CONNECT names what we take at most"


def test_a_held_port_serves_who_was_told_it_and_nobody_else():
    with held_port() as held, socket.socket() as other:
        with pytest.raises(OSError, match="in use"):
            other.bind(held.getsockname())
        for _ in range(2):  # a server may be killed and started again
            with socket.create_server(held.getsockname()) as server, socket.create_connection(held.getsockname()):
                server.accept()[0].close()


def test_a_dead_port_is_named():
    with held_port() as nobody, pytest.raises(BrokerLost) as lost:
        MqttBroker(f"mqtt://127.0.0.1:{nobody.getsockname()[1]}", "gate").connect(2.0)
    assert lost.value.layer == "tcp"


def test_a_broker_that_accepts_and_says_nothing_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(BrokerLost, match="said nothing"):
        MqttBroker(f"mqtt://127.0.0.1:{mute.getsockname()[1]}", "gate").connect(0.3)


def test_nothing_is_published_while_not_connected():
    with pytest.raises(BrokerLost, match="not connected"):
        MqttBroker("mqtt://127.0.0.1:1", "gate").publish("a", b"b")


def test_a_password_file_that_cannot_be_read_is_named(tmp_path: Path):
    broker = MqttBroker("mqtt://127.0.0.1:1", "g", credentials=Credentials(username="u", password_file=tmp_path / "no"))
    with pytest.raises(BrokerLost, match="password file") as lost:
        broker.connect(1.0)
    assert lost.value.layer == "credentials"


@pytest.mark.broker
def test_a_message_goes_through_with_its_properties(mosquitto):
    street = listener(mosquitto.url, "t/+")
    gate = MqttBroker(mosquitto.url, "gate")
    assert isinstance(gate.connect(5.0), Connected)
    assert heard_after_subscribe(street, gate, "t/1")
    mid = gate.publish("t/1", b"x" * 100_000, content_type="text/plain", properties=(("batch", "b-1"), ("schema", "s")))
    assert heard(gate, Acknowledged) == Acknowledged(mid=mid, reason_code=0)
    message = heard(street, Message)
    assert (message.payload, message.content_type) == (b"x" * 100_000, "text/plain")
    assert dict(message.properties) == {"batch": "b-1", "schema": "s"}


def heard_after_subscribe(street, gate, topic):
    """Publish until the subscription works: a SUBACK is no event of ours."""
    for _ in range(50):
        gate.publish(topic, b"?")
        if heard(gate, Acknowledged).reason_code == 0:
            return heard(street, Message).payload == b"?"
        street.poll(0.05)
    return False


@pytest.mark.broker
def test_the_broker_says_when_nobody_listens(mosquitto):
    gate = MqttBroker(mosquitto.url, "gate")
    gate.connect(5.0)
    gate.publish("nobody/here", b"x")
    assert heard(gate, Acknowledged).reason_code == NO_SUBSCRIBER


@pytest.mark.broker
def test_the_brokers_limits_are_told(new_mosquitto):
    broker = new_mosquitto()
    broker.configure(
        f"listener {broker.port} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 3\nmax_packet_size 9000\n"
    )
    broker.start()
    said = MqttBroker(broker.url, "gate").connect(5.0)
    assert (said.receive_maximum, said.max_packet_bytes) == (3, 9000)


@pytest.mark.broker
def test_a_killed_broker_is_an_event_and_its_return_is_a_new_connection(mosquitto):
    gate = MqttBroker(mosquitto.url, "gate")
    gate.connect(5.0)
    mosquitto.kill()
    assert heard(gate, Disconnected).layer == "tcp"
    with pytest.raises(BrokerLost):
        gate.publish("a", b"b")
    with pytest.raises(BrokerLost):
        gate.connect(2.0)
    mosquitto.start()
    assert isinstance(gate.connect(5.0), Connected)


@pytest.mark.broker
def test_the_will_is_published_when_we_vanish_and_not_when_we_leave(mosquitto):
    watcher = listener(mosquitto.url, "gate/state")
    gate = MqttBroker(mosquitto.url, "gate", will=Will(topic="gate/state", payload=b"gone"))
    gate.connect(5.0)
    assert heard_after_subscribe(watcher, gate, "gate/state")
    gate.close()
    gate.connect(5.0)
    gate._client.socket().close()  # no port of ours breaks a cable
    assert heard(watcher, Message).payload == b"gone"


@pytest.mark.broker
def test_a_client_of_the_same_name_ends_the_connection(mosquitto):
    """mosquitto 2.0.11 closes without a word; brokers that send 0x8E make it the layer `takeover`."""
    first, second = MqttBroker(mosquitto.url, "twin"), MqttBroker(mosquitto.url, "twin")
    first.connect(5.0)
    second.connect(5.0)
    assert heard(first, Disconnected).layer in ("tcp", "takeover")


@pytest.mark.broker
def test_a_message_that_was_not_acked_comes_again(mosquitto):
    keep = {"clean_start": False, "session_expiry_s": 600, "manual_ack": True}
    street = listener(mosquitto.url, "t/1", **keep)
    gate = MqttBroker(mosquitto.url, "gate")
    gate.connect(5.0)
    assert heard_after_subscribe(street, gate, "t/1")
    gate.publish("t/1", b"keep me")
    assert heard(street, Message).payload == b"keep me"
    street._client.socket().close()
    again = MqttBroker(mosquitto.url, "listener", **keep)
    assert again.connect(5.0).session_present
    payloads = {heard(again, Message).payload for _ in range(2)}
    assert payloads == {b"?", b"keep me"}, "neither was acked"


@pytest.mark.broker
def test_wrong_credentials_and_a_forbidden_topic_are_told(new_mosquitto, tmp_path: Path):
    program = shutil.which("mosquitto_passwd")
    if program is None:
        pytest.fail("mosquitto_passwd is missing; it comes with Debian's mosquitto")
    passwords, access = tmp_path / "passwords", tmp_path / "access"
    subprocess.run([program, "-b", "-c", str(passwords), "east-3", "right"], check=True, capture_output=True)
    access.write_text(f"user east-3\ntopic write {NAMES.state}\n")
    for file in (passwords, access):
        file.chmod(0o644)
    tmp_path.chmod(0o755)
    broker = new_mosquitto()
    broker.configure(
        f"listener {broker.port} 127.0.0.1\nallow_anonymous false\nuser root\n"
        f"password_file {passwords}\nacl_file {access}\n"
    )
    broker.start()
    secret = tmp_path / "password"
    secret.write_text("wrong\n")
    gate = MqttBroker(broker.url, "gate", credentials=Credentials(username="east-3", password_file=secret))
    with pytest.raises(BrokerLost) as lost:
        gate.connect(5.0)
    assert lost.value.layer == "credentials"
    secret.write_text("right\n")
    gate.connect(5.0)
    gate.publish(NAMES.entries, b"[]")
    assert heard(gate, Acknowledged).reason_code == 0x87


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """An authority, a server certificate for 127.0.0.1, and its key, by the openssl that every Debian has."""
    run = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    run += ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem"), "-subj", "/CN=127.0.0.1"]
    run += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(run, check=True, capture_output=True)
    (tmp_path / "key.pem").chmod(0o644)
    tmp_path.chmod(0o755)
    return tmp_path


@pytest.mark.broker
def test_tls_is_verified(new_mosquitto, certificates: Path):
    broker = new_mosquitto()
    cert, key = certificates / "cert.pem", certificates / "key.pem"
    broker.configure(
        f"listener {broker.port} 127.0.0.1\nallow_anonymous true\ncertfile {cert}\nkeyfile {key}\nuser root\n"
    )
    broker.start()
    url = broker.url.replace("mqtt:", "mqtts:")
    with pytest.raises(BrokerLost, match="clock") as lost:
        MqttBroker(url, "gate").connect(5.0)
    assert lost.value.layer == "tls"
    assert isinstance(lost.value.__cause__, ssl.SSLError)
    trusting = MqttBroker(url, "gate", credentials=Credentials(ca_file=cert))
    trusting.connect(5.0)
    trusting.publish("a", b"x" * 200_000)
    assert heard(trusting, Acknowledged).reason_code == NO_SUBSCRIBER


class Serving(threading.Thread):
    """A street in a thread of its own, as it is a process of its own."""

    def __init__(self, url: str, store_path: Path) -> None:
        super().__init__(daemon=True)
        self.stop = threading.Event()
        self._url, self._path = url, store_path
        self.ready = threading.Event()

    def run(self) -> None:
        broker = MqttBroker(self._url, "street", clean_start=False, session_expiry_s=600, manual_ack=True)
        with Store(self._path) as store:
            receiver = Receiver(store, broker, wall_ns=time.time_ns)
            while not self.stop.is_set():
                try:
                    receiver.connect(2.0)
                    self.ready.set()
                    while not self.stop.is_set():
                        receiver.turn(0.05)
                except BrokerLost:
                    self.stop.wait(0.1)
        broker.close()


def drained(forwarder, cursor, ledger, timeout_s=PATIENCE_S) -> bool:
    deadline = time.monotonic() + timeout_s
    connected = False
    while time.monotonic() < deadline and cursor.pending(ledger).pending:
        try:
            if not connected:
                forwarder.connect(2.0)
                connected = True
            forwarder.turn(0.05)
        except BrokerLost:
            connected = False
    return not cursor.pending(ledger).pending


@pytest.mark.broker
def test_everything_arrives_once_over_a_broker_that_is_killed_in_between(mosquitto, tmp_path: Path):
    ledger = LedgerInMemory()
    ledger.start(FIRST)
    ledger.append(3_000)
    street = Serving(mosquitto.url, tmp_path / "street.db")
    street.start()
    assert street.ready.wait(PATIENCE_S)
    gate = MqttBroker(mosquitto.url, "gate", will=Will(topic=NAMES.state, payload=b'{"v":1,"online":false}'))
    with Cursor(tmp_path / "uplink.db", write=True) as cursor:
        forwarder = Forwarder(
            ledger, cursor, gate, NAMES, clock=time.monotonic, wall_ns=time.time_ns, chance=lambda: 0.5, resend_s=0.5
        )
        forwarder.connect(5.0)
        while cursor.pending(ledger).receipted < 400:
            forwarder.turn(0.05)
        mosquitto.kill()
        ledger.append(200)
        mosquitto.start()
        assert drained(forwarder, cursor, ledger)
        forwarder.close()
    street.stop.set()
    street.join(PATIENCE_S)
    with Store(tmp_path / "street.db") as store:
        (at_street,) = store.report()
    assert (at_street.entries, at_street.missing, at_street.forks, at_street.breaks) == (3_201, 0, (), ())

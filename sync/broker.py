"""Offer an MQTT 5 broker by a few verbs: connect, publish, subscribe, poll, ack, close.

No thread: paho's loop runs inside `poll`, in the caller's thread. So its callbacks need no lock, an exception in one
surfaces here instead of killing a network thread in silence, and whoever polls is the one who is alive.
"""

import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from socket import IPPROTO_TCP, TCP_NODELAY, gaierror
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from sync.errors import BrokerError
from sync.stamp import KnownTime
from sync.tls import Credentials, context_of

if TYPE_CHECKING:
    from paho.mqtt.client import Client

DEFAULT_RECEIVE_MAXIMUM = 65_535  # MQTT 5, 3.2.2.3.3: what a broker means when it says nothing
INFLIGHT = 20  # publishes without PUBACK, all that mosquitto takes by default; the forwarder's window is 12
MAX_PACKET_BYTES = 8 * 1024 * 1024  # what we take at most: a hundred of our batches; MQTT would allow 256 MB
LEAST_PACKET_BYTES = 16 * 1024  # a passage has about 1 KB, the longest kinds a few; below, entries could not travel
NO_SUBSCRIBER = 0x10
SESSION_TAKEN_OVER = 0x8E
_CREDENTIALS = (0x86, 0x87, 0x8A, 0x8C)  # bad password, not authorised, banned, bad method


class BrokerLost(BrokerError):
    """The connection failed or ended. `layer` is where: dns, tcp, tls, credentials, mqtt, takeover."""

    def __init__(self, message: str, *, layer: str) -> None:
        super().__init__(message)
        self.layer = layer


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """The broker accepted us, within these limits."""

    session_present: bool = False
    receive_maximum: int = DEFAULT_RECEIVE_MAXIMUM
    max_packet_bytes: int | None = None


def longest_packet(allowed: Connected) -> int:
    """Return how many bytes both ends take in one packet.

    Raises: BrokerLost for too few: that is the broker's fault, and no entry may be set aside for it.
    """
    size = min(allowed.max_packet_bytes or MAX_PACKET_BYTES, MAX_PACKET_BYTES)
    if size < LEAST_PACKET_BYTES:
        remedy = f"set its max_packet_size to {LEAST_PACKET_BYTES} or more"
        raise BrokerLost(f"the broker takes packets of {size} bytes at most; {remedy}", layer="mqtt")
    return size


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message arrived. `ack` is what `Broker.ack` wants once the message is dealt with for good."""

    topic: str
    payload: bytes
    properties: tuple[tuple[str, str], ...] = ()
    content_type: str | None = None
    retained: bool = False
    ack: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """The broker answered a publish. Information only: it says nothing about the street."""

    mid: int
    reason_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionRefused:
    """The broker will not let us hear this topic."""

    topic: str
    reason_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnected:
    """The connection is gone."""

    reason: str
    layer: str


Event = Connected | Message | Acknowledged | SubscriptionRefused | Disconnected


@dataclass(frozen=True, slots=True, kw_only=True)
class Will:
    """What the broker publishes for us when we vanish."""

    topic: str
    payload: bytes


class Broker(Protocol):
    """What a forwarder and a receiver need of a broker; `MemoryBroker` is the twin for tests."""

    def connect(self, timeout_s: float) -> Connected: ...
    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        content_type: str | None = None,
        properties: Sequence[tuple[str, str]] = (),
    ) -> int: ...
    def subscribe(self, topic: str) -> None: ...
    def poll(self, timeout_s: float) -> Event | None: ...
    def ack(self, message: Message) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a broker listens."""

    host: str
    port: int
    tls: bool


def parse_url(url: str) -> Address:
    """Return the address in `mqtt://host:port` or `mqtts://host:port`.

    Raises: BrokerError when it is neither, or holds a password; then without repeating it, for errors are logged.
    """
    if "@" in url:
        raise BrokerError("a broker's address holds no user and no password; use username and password_file")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BrokerError(f"{url}: {error}; expected mqtt://host:port") from error
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.path.strip("/"):
        raise BrokerError(f"{url} is no broker address; expected mqtt://host:port or mqtts://host:port")
    tls = parts.scheme == "mqtts"
    return Address(host=parts.hostname, port=port or (8883 if tls else 1883), tls=tls)


class MqttBroker:
    """One client of one MQTT 5 broker. Each `connect` starts a fresh paho client: nothing old is sent twice."""

    def __init__(
        self,
        url: str,
        client_id: str,
        *,
        will: Will | None = None,
        credentials: Credentials | None = None,
        keepalive_s: int = 30,
        clean_start: bool = True,
        session_expiry_s: int = 0,
        manual_ack: bool = False,
        doubted: Callable[[], KnownTime | None] = lambda: None,
    ) -> None:
        """`doubted` is asked at each connect by TLS: what is known of the time while the wall clock is not believed."""
        self.url = url
        self._address = parse_url(url)
        self._client_id = client_id
        self._will = will
        self._credentials = credentials or Credentials()
        self._keepalive_s = keepalive_s
        self._clean_start = clean_start
        self._session_expiry_s = session_expiry_s
        self._manual_ack = manual_ack
        self._doubted = doubted
        self._client: Client | None = None
        self._inflight = INFLIGHT
        self._events: deque[Event] = deque()
        self._subscribing: dict[int, str] = {}

    def connect(self, timeout_s: float) -> Connected:
        """Connect and return what the broker allows.

        Raises: BrokerLost naming the layer that failed.
        """
        self._drop()
        self._client = client = self._new_client(timeout_s)
        self._begin(client)
        deadline = monotonic() + timeout_s
        while (left_s := deadline - monotonic()) > 0:
            event = self.poll(min(left_s, 0.2))
            if isinstance(event, Connected) and event.receive_maximum >= self._inflight:
                return event
            if isinstance(event, Connected):
                # paho does not look at what the broker can take, and lets itself be told only before it connects.
                self._inflight = event.receive_maximum
                return self.connect(timeout_s)
            if isinstance(event, Disconnected):
                self._drop()
                raise BrokerLost(f"{self.url} refused us: {event.reason}", layer=event.layer)
        self._drop()
        raise BrokerLost(f"{self.url} took the connection and said nothing for {timeout_s:.0f} s", layer="mqtt")

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        content_type: str | None = None,
        properties: Sequence[tuple[str, str]] = (),
    ) -> int:
        """Hand a message to the connection and return its number, which `Acknowledged` will name."""
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        client = self._connected_client()
        extra = Properties(PacketTypes.PUBLISH)
        if content_type:
            extra.ContentType = content_type
        if properties:
            extra.UserProperty = list(properties)
        info = client.publish(topic, payload, qos=qos, retain=retain, properties=extra)
        if info.rc != 0:  # also "queued": what paho would send later, we send again ourselves, and that makes two
            self._drop()
            raise BrokerLost(f"{self.url}: a message could not be sent (code {int(info.rc)})", layer="mqtt")
        return info.mid

    def subscribe(self, topic: str) -> None:
        """Ask for the messages of a topic at QoS 1; a refusal arrives as SubscriptionRefused."""
        code, mid = self._connected_client().subscribe(topic, qos=1)
        if code != 0 or mid is None:
            raise BrokerLost(f"{self.url}: could not subscribe to {topic} (code {int(code)})", layer="mqtt")
        self._subscribing[mid] = topic

    def poll(self, timeout_s: float) -> Event | None:
        """Serve the connection for at most `timeout_s` and return what happened, if anything did."""
        if not self._events and self._client is not None:
            code = self._client.loop(max(0.0, timeout_s))
            if code != 0 and not any(isinstance(event, Disconnected) for event in self._events):
                self._events.append(Disconnected(reason=f"connection lost (code {int(code)})", layer="tcp"))
        if not self._events:
            return None
        event = self._events.popleft()
        if isinstance(event, Disconnected):
            self._drop()
        return event

    def ack(self, message: Message) -> None:
        """Tell the broker that this message need not be delivered again. Only with `manual_ack`."""
        if self._manual_ack and self._client is not None and message.ack[1] > 0:
            self._client.ack(*message.ack)

    def close(self) -> None:
        """Disconnect in order; then the broker publishes no will."""
        if self._client is not None and self._client.is_connected():
            self._client.disconnect()
        self._drop()

    def _connected_client(self) -> "Client":
        if self._client is None or not self._client.is_connected():
            raise BrokerLost(f"{self.url}: not connected", layer="mqtt")
        return self._client

    def _drop(self) -> None:
        client, self._client = self._client, None
        self._events.clear()
        self._subscribing.clear()
        if client is not None:
            client.on_disconnect = None
            sock = client.socket()
            if sock is not None:
                sock.close()

    def _new_client(self, timeout_s: float) -> "Client":
        # Imported here: status and command line read `Cursor` beside us and need no MQTT, which costs them 50 ms.
        from paho.mqtt.client import Client, MQTTv5
        from paho.mqtt.enums import CallbackAPIVersion

        client = Client(CallbackAPIVersion.VERSION2, self._client_id, protocol=MQTTv5, manual_ack=self._manual_ack)
        client.connect_timeout = timeout_s
        client.max_queued_messages_set(0)
        client.max_inflight_messages_set(self._inflight)
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        if self._will is not None:
            client.will_set(self._will.topic, self._will.payload, qos=1, retain=True)
        if self._credentials.username:
            client.username_pw_set(self._credentials.username, self._password())
        if self._address.tls:
            client.tls_set_context(self._tls())
        return client

    def _password(self) -> str | None:
        file = self._credentials.password_file
        try:
            return file.read_text().rstrip("\r\n") if file else None
        except (OSError, UnicodeDecodeError) as error:
            raise BrokerLost(f"password file: {error}; check its owner and mode", layer="credentials") from error

    def _tls(self) -> ssl.SSLContext:
        try:
            return context_of(self._credentials, self._doubted())
        except (ssl.SSLError, OSError) as error:
            raise BrokerLost(f"certificates: {error}; check ca_file, cert_file and key_file", layer="tls") from error

    def _begin(self, client: "Client") -> None:
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = self._session_expiry_s
        session.MaximumPacketSize = MAX_PACKET_BYTES
        here, url = self._address, self.url
        try:
            client.connect(
                here.host, here.port, keepalive=self._keepalive_s, clean_start=self._clean_start, properties=session
            )
            sock: Any = client.socket()
            if sock is not None:  # a receipt and a PUBACK are two small writes: Nagle would hold the second for 40 ms
                sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        except gaierror as error:
            self._drop()
            raise BrokerLost(f"{here.host} has no address: {error}; check name and DNS", layer="dns") from error
        except ssl.SSLError as error:
            self._drop()
            remedy = "check ca_file and this box's clock: a wrong one makes every certificate invalid"
            raise BrokerLost(f"{url}: {error}; {remedy}", layer="tls") from error
        except (OSError, ValueError) as error:
            self._drop()
            raise BrokerLost(f"{url}: {error}; check cable, network and broker", layer="tcp") from error

    # Callbacks only note what happened. They run inside `loop`, some of them while paho holds its locks.

    def _on_connect(self, _client: Any, _data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            layer = "credentials" if reason.value in _CREDENTIALS else "mqtt"
            self._events.append(Disconnected(reason=str(reason), layer=layer))
            return
        maximum = getattr(properties, "ReceiveMaximum", DEFAULT_RECEIVE_MAXIMUM)
        limit = getattr(properties, "MaximumPacketSize", None)
        self._events.append(
            Connected(session_present=flags.session_present, receive_maximum=maximum, max_packet_bytes=limit)
        )

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        said = message.properties
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self._events.append(Disconnected(reason="it sent a topic that is not UTF-8; given up", layer="mqtt"))
            return
        self._events.append(
            Message(
                topic=topic,
                payload=bytes(message.payload),
                properties=tuple(getattr(said, "UserProperty", ())),
                content_type=getattr(said, "ContentType", None),
                retained=message.retain,
                ack=(message.mid, message.qos),
            )
        )

    def _on_publish(self, _client: Any, _data: Any, mid: int, reason: Any, _properties: Any) -> None:
        self._events.append(Acknowledged(mid=mid, reason_code=reason.value))

    def _on_subscribe(self, _client: Any, _data: Any, mid: int, reasons: Any, _properties: Any) -> None:
        topic = self._subscribing.pop(mid, "?")
        for reason in reasons:
            if reason.is_failure:
                self._events.append(SubscriptionRefused(topic=topic, reason_code=reason.value))

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        layer = "credentials" if reason.value in _CREDENTIALS else "tcp"
        if reason.value == SESSION_TAKEN_OVER:  # another box calls itself by our name
            layer = "takeover"
        if not any(isinstance(event, Disconnected) for event in self._events):
            self._events.append(Disconnected(reason=str(reason), layer=layer))

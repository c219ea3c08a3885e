"""Send something down to a gate: a roster, a policy, a command; signed with the street's key, sealed for that gate.

Its serial is the time, and always greater than the one before: what was used stands durably beside the key before
anything is sent, so no serial is used twice, and a file that is lost costs nothing.
"""

import argparse
import fcntl
import hashlib
import json
import random
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sentinel import street_roster
from sentinel.core.errors import DataError, Unavailable, UsageError
from sync.broker import Acknowledged, Broker, BrokerLost, Credentials, Disconnected, Message, MqttBroker
from sync.disk import write_whole
from sync.entry import epoch_text
from sync.identity import Known, load_believed, load_identity
from sync.snapshot import DOWN_TYPE, Heading, Type, write_documents
from sync.topics import Gate, Topics, topics
from sync.wire import decode_state

CONNECT_S, STATE_S, PATIENCE_S = 5.0, 3.0, 15.0
LIFE_S = 60
_ACTS = ("open", "revoke", "report")


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """The serial that was used last for a type of document at a gate, and in how many parts."""

    serial: int = 0
    parts: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One message on its way down."""

    topic: str
    payload: bytes
    retain: bool


def add(verbs: Any) -> None:
    """Add `publish roster`, `publish policy` and `publish command` to the street's verbs."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--gate", required=True, metavar="STREET/SITE/GATE", help="the gate that it is for")
    common.add_argument(
        "--gate-key", type=Path, required=True, metavar="FILE", help="its public keys, from: sentinelctl show identity"
    )
    common.add_argument("--key", type=Path, required=True, metavar="FILE", help="the street's own identity")
    common.add_argument("--dry-run", action="store_true", help="check everything, send and use up nothing")
    publish = verbs.add_parser(
        "publish",
        help="send a roster, a policy or a command down to a gate",
        epilog="Exit codes: 0 sent, 64 called wrongly, 65 the file or a key is damaged, 69 no broker or no gate.",
    )
    nouns = publish.add_subparsers(dest="what", required=True, metavar="roster|policy|command")
    examples = {"roster": "roster residents.jsonl", "policy": "policy policy.json", "command": "command open"}
    for what, example in examples.items():
        noun = nouns.add_parser(
            what,
            parents=[common],
            help=f"a {what}; see docs/messages.md, Down the road",
            epilog=f"Example: sentinel-street --broker mqtt://127.0.0.1 publish {example} "
            "--gate 330106/cuiyuan3/east-3 --gate-key east-3.pub --key street.key",
        )
        if what == "command":
            noun.add_argument("act", choices=_ACTS)
            noun.add_argument("--leaf", choices=("in", "out"), default="in", help="of: open (default: in)")
            noun.add_argument("--pass-id", metavar="ID", help="of: revoke; or --number")
            noun.add_argument("--number", metavar="NUMBER", help="of: revoke; a person's; - reads it from stdin")
        else:
            noun.add_argument("file", type=Path, metavar="FILE", help="- is standard input")
        if what == "roster":
            noun.add_argument("--delta", action="store_true", help="the file is a change of what was sent last")
            noun.add_argument("--yes", action="store_true", help="do not ask, though who is left out loses their face")


def run(args: argparse.Namespace) -> int:
    """Publish what the command line asks for."""
    gate = _gate(args.gate)
    names = topics(gate.street, gate.site, gate.gate)
    street, sealer = load_identity(args.key), _one_of(args.gate_key)
    plain = _plain(args)
    if args.dry_run:
        print(f"{args.what} for {gate}: {len(plain)} bytes are right; nothing was sent", file=sys.stderr)
        return 0
    if args.what == "roster" and not args.delta and not args.yes and not _confirmed():
        raise UsageError("nothing was sent; answer yes, or use --yes")
    broker = _broker(args)
    try:
        broker.connect(CONNECT_S)
        if args.what == "command":  # no broker keeps one: it goes to a gate that is there, or not at all
            epoch = newest_epoch(broker, names)
            plain = _bound_to_start(plain, epoch) if args.act == "open" else plain
        with next_serial(args.key, args.gate, args.what) as (before, take):
            heading = _heading(args, before)
            documents = write_documents(heading, plain, street, sealer)
            letters = letters_of(names, heading, documents, before)
            take(Used(serial=heading.serial, parts=max(before.parts, len(documents))))
            send(broker, letters)
    finally:
        broker.close()
    print(f"{args.what} {heading.serial} for {gate}: sent; the gate answers by an entry", file=sys.stderr)
    return 0


# What is sent


def _plain(args: argparse.Namespace) -> bytes:
    if args.what == "command":
        return json.dumps(_command(args), ensure_ascii=False).encode()
    try:
        content = sys.stdin.buffer.read() if str(args.file) == "-" else args.file.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {args.file}: {error.strerror}; check the path") from error
    if args.what == "roster":
        try:
            street_roster.parse(content, _unnamed, whole=not args.delta)
        except ValueError as error:
            raise DataError(f"{args.file}: {error}; see docs/messages.md, Down the road") from error
    return content


def _command(args: argparse.Namespace) -> dict[str, Any]:
    if args.act == "open":
        return {"act": "open", "leaf": args.leaf}
    if args.act == "report":
        return {"act": "report"}
    if (args.pass_id is None) == (args.number is None):
        raise UsageError("revoke wants a --pass-id or a --number; give one of them")
    if args.pass_id is not None:
        return {"act": "revoke", "pass_id": args.pass_id}
    number = sys.stdin.readline().strip() if args.number == "-" else args.number
    return {"act": "revoke", "number": number}


def _unnamed(number: str) -> str:
    return hashlib.sha256(number.encode()).hexdigest()


def _bound_to_start(plain: bytes, epoch: int) -> bytes:
    return json.dumps({**json.loads(plain), "epoch": epoch_text(epoch)}).encode()


def _heading(args: argparse.Namespace, before: Used) -> Heading:
    now = datetime.now(UTC).replace(microsecond=0)
    heading = Heading(
        type=Type(args.what), gate=args.gate, serial=max(before.serial + 1, int(now.timestamp())), made_at=now
    )
    if args.what == "command":
        return replace(heading, expires=now + timedelta(seconds=LIFE_S) if args.act == "open" else None)
    if args.what == "roster" and args.delta:
        if not before.serial:
            raise UsageError(f"no roster was sent to {args.gate} from here; send a whole one first")
        return replace(heading, base=before.serial)
    return heading


def letters_of(names: Topics, heading: Heading, documents: list[bytes], before: Used) -> list[Letter]:
    """Return the messages of a document: on which topic each, and what the broker is to forget."""
    if heading.type is Type.COMMAND:
        return [Letter(topic=names.command, payload=one, retain=False) for one in documents]
    if heading.type is Type.POLICY:
        return [Letter(topic=names.policy, payload=one, retain=True) for one in documents]
    if heading.base is not None:
        if len(documents) > 1:
            raise UsageError("this change is longer than one message; send the whole roster")
        return [Letter(topic=f"{names.roster}/delta", payload=documents[0], retain=True)]
    places = [names.roster, *(f"{names.roster}/{number}" for number in range(2, len(documents) + 1))]
    stale = [f"{names.roster}/{number}" for number in range(len(documents) + 1, before.parts + 1)]
    forget = [Letter(topic=topic, payload=b"", retain=True) for topic in (*stale, f"{names.roster}/delta")]
    sent = [Letter(topic=topic, payload=one, retain=True) for topic, one in zip(places, documents, strict=True)]
    return [*forget, *sent]


# Over the broker


def newest_epoch(broker: Broker, names: Topics) -> int:
    """Return the epoch that the gate writes now, as its retained state says.

    Raises: Unavailable when it says nothing, or that it is away.
    """
    broker.subscribe(names.state)
    until = time.monotonic() + STATE_S
    while time.monotonic() < until:
        event = broker.poll(0.1)
        if isinstance(event, Message) and event.topic == names.state:
            state = decode_state(event.payload)
            if state.online and state.epochs:
                return max(known.epoch for known in state.epochs)
            break
    raise Unavailable(f"{names.gate} is not connected; nothing was sent, for it could open long afterwards")


def send(broker: Broker, letters: list[Letter]) -> None:
    """Publish and wait until the broker has taken every message.

    Raises: Unavailable, BrokerLost.
    """
    open_mids = {
        broker.publish(
            one.topic, one.payload, retain=one.retain, content_type=DOWN_TYPE if one.payload else None
        ): one.topic
        for one in letters
    }
    until = time.monotonic() + PATIENCE_S
    while open_mids:
        if time.monotonic() > until:
            raise Unavailable(f"the broker has not taken {next(iter(open_mids.values()))}; publish it again")
        event = broker.poll(0.1)
        if isinstance(event, Disconnected):
            raise BrokerLost(f"connection lost: {event.reason}; publish it again", layer=event.layer)
        if isinstance(event, Acknowledged):
            topic = open_mids.pop(event.mid, None)
            if topic is not None and event.reason_code >= 0x80:
                raise Unavailable(f"the broker refuses {topic} (0x{event.reason_code:02x}); let the street write it")


def _broker(args: argparse.Namespace) -> MqttBroker:
    if not args.broker:
        raise UsageError("no broker; name it with --broker mqtt://HOST:PORT or in SENTINEL_BROKER")
    return MqttBroker(
        args.broker,
        f"sentinel-publish-{random.randrange(2**32):08x}",
        credentials=Credentials(
            username=args.username,
            password_file=args.password_file and Path(args.password_file),
            ca_file=args.ca_file and Path(args.ca_file),
            cert_file=args.cert_file and Path(args.cert_file),
            key_file=args.key_file and Path(args.key_file),
        ),
    )


# Keys and serials


def _gate(name: str) -> Gate:
    parts = name.split("/")
    if len(parts) != 3:
        raise UsageError(f"--gate {name!r}: expected STREET/SITE/GATE")
    return Gate(street=parts[0], site=parts[1], gate=parts[2])


def _one_of(path: Path) -> Known:
    known = list(load_believed(path))
    if len(known) != 1:
        raise UsageError(f"{path} holds {len(known)} identities; give the file of this one gate")
    return known[0]


@contextmanager
def next_serial(key: Path, gate: str, what: str) -> Iterator[tuple[Used, Any]]:
    """Give what was used last for this gate, and a function that notes durably what is used now; one at a time.

    Raises: DataError when the note beside the key cannot be read or written.
    """
    path = key.with_name(f"{key.name}.serials.json")
    try:
        with open(path.with_suffix(".lock"), "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            noted = _noted(path)
            before = noted.get(gate, {}).get(what, {})

            def take(used: Used) -> None:
                said = {**noted.get(gate, {}), what: {"serial": used.serial, "parts": used.parts}}
                write_whole(path, json.dumps({**noted, gate: said}, indent=1).encode())

            yield Used(serial=int(before.get("serial", 0)), parts=int(before.get("parts", 1))), take
    except OSError as error:
        raise DataError(f"{path}: {error}; nothing is sent whose serial is not noted") from error


def _noted(path: Path) -> Mapping[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise DataError(f"{path} is damaged; move it away, then send a whole roster") from error


def _confirmed() -> bool:
    if not sys.stdin.isatty():
        return False
    print("Whom this roster leaves out loses their face template at the gate. Send it? [y/N]", end=" ", file=sys.stderr)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


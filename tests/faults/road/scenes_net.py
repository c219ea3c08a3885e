"""The families of faults on the way: the link, its messages, rights and certificates, and who lies on it."""

import base64
import json
import random
import secrets
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress

from sync.broker import BrokerLost, MqttBroker
from sync.entry import Key, make_epoch
from sync.identity import make_identity
from sync.ledger import LedgerReader
from sync.runs import Run
from sync.topics import ROOT, topics
from sync.wire import EpochReceipt, Receipt, Refused, encode_receipt

from .papers import Papers
from .proxy import Mood
from .scenes import Scene
from .stage import Stage
from .town import SITE, STREET, pause

OURS = f"{ROOT}/{STREET}/{SITE}/+"


# — messages —


def _mixed(stage: Stage) -> None:
    stage.extra["proxies"] = stage.proxied()


def messages(stage: Stage) -> Iterator[None]:
    """Lost, doubled, late, swapped, or cut in their middle."""
    chosen = stage.chance.choice(("lose", "double", "delay", "swap", "cut", "all"))
    stage.done[chosen] += 1
    share = stage.chance.choice((0.1, 0.3, 0.6))
    for proxy in stage.chance.choice((stage.extra["proxies"], stage.extra["proxies"][:1], stage.extra["proxies"][1:])):
        names = ("lose", "double", "delay", "swap") if chosen == "all" else (chosen,)
        proxy.mood = Mood(**dict.fromkeys(names, share / len(names)))
    yield
    for proxy in stage.extra["proxies"]:
        proxy.mood = Mood()


# — half-open —


def frozen_link(stage: Stage) -> Iterator[None]:
    proxy = stage.chance.choice(stage.extra["proxies"])
    proxy.mood = Mood(frozen=True)
    yield
    proxy.mood = Mood()


def half_open(stage: Stage) -> Iterator[None]:
    """The gate's connections live on in one end only; the street's are left alone: its keepalive is 30 s."""
    stage.extra["proxies"][0].abandon()
    yield


def reset_link(stage: Stage) -> Iterator[None]:
    stage.chance.choice(stage.extra["proxies"]).reset()
    yield


def frozen_broker(stage: Stage) -> Iterator[None]:
    stage.broker.send(signal.SIGSTOP)
    yield
    stage.broker.send(signal.SIGCONT)


# — partition —


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def _two_networks(stage: Stage) -> None:
    """Put the uplink into a network of its own, with one link to the broker's."""
    tag = secrets.token_hex(3)
    name, near, far = f"road{tag}", f"ra{tag}", f"rb{tag}"
    net = f"10.{stage.chance.randrange(64, 128)}.{stage.chance.randrange(256)}"
    _ip("netns", "add", name)
    stage.clearing.callback(subprocess.run, ["ip", "netns", "del", name], capture_output=True)
    _ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
    stage.clearing.callback(subprocess.run, ["ip", "link", "del", near], capture_output=True)
    _ip("addr", "add", f"{net}.1/30", "dev", near)
    _ip("link", "set", near, "up")
    for words in (("addr", "add", f"{net}.2/30", "dev", far), ("link", "set", far, "up"), ("link", "set", "lo", "up")):
        _ip("-n", name, *words)
    stage.extra["link"] = (name, near, far, net)
    stage.broker.end()
    stage.broker.lines.append(f"listener {stage.broker.port} {net}.1")
    stage.broker.start()
    stage.gates[0].url = f"mqtt://{net}.1:{stage.broker.port}"
    stage.gates[0].netns = f"/run/netns/{name}"


def link_down(stage: Stage) -> Iterator[None]:
    name, near, far, net = stage.extra["link"]
    side = stage.chance.choice(("near", "far", "address"))
    if side == "near":
        _ip("link", "set", near, "down")
    elif side == "far":
        _ip("-n", name, "link", "set", far, "down")
    else:
        _ip("-n", name, "addr", "del", f"{net}.2/30", "dev", far)
    yield
    if side == "near":
        _ip("link", "set", near, "up")
    elif side == "far":
        _ip("-n", name, "link", "set", far, "up")
    else:
        _ip("-n", name, "addr", "add", f"{net}.2/30", "dev", far)


def one_way(stage: Stage) -> Iterator[None]:
    """What the gate sends arrives, and no answer comes back: a neighbour that nobody is."""
    _, near, _, net = stage.extra["link"]
    _ip("neigh", "replace", f"{net}.2", "lladdr", "02:00:00:00:00:01", "dev", near, "nud", "permanent")
    yield
    _ip("neigh", "del", f"{net}.2", "dev", near)


def flapping(stage: Stage) -> Iterator[None]:
    _, near, _, _ = stage.extra["link"]
    for _ in range(4):
        _ip("link", "set", near, "down")
        _ip("link", "set", near, "up")
    yield


# — rights —


def _with_rights(stage: Stage) -> None:
    stage.broker.acl.write_text(f"topic readwrite {ROOT}/#\n")
    stage.broker.end()
    stage.broker.lines.append(f"acl_file {stage.broker.acl}")
    stage.broker.start()


def denied(stage: Stage) -> Iterator[None]:
    """The broker's administrator takes a right away, and gives it back."""
    leaf = stage.chance.choice(("entries", "receipt", "state", "#"))
    stage.broker.acl.write_text(f"topic deny {OURS}/{leaf}\ntopic readwrite {ROOT}/#\n")
    stage.broker.send(signal.SIGHUP)
    if stage.chance.random() < 0.5:
        stage.kill("uplink")
        stage.start_again("uplink")
    yield
    stage.broker.acl.write_text(f"topic readwrite {ROOT}/#\n")
    stage.broker.send(signal.SIGHUP)


# — lies —


def _lies(chance: random.Random, gate: str) -> list[bytes]:
    epoch = make_epoch(chance.randrange(1, 5), chance.getrandbits(32))
    true = encode_receipt(Receipt(gate=gate, epochs=()))
    elsewhere = [EpochReceipt(epoch=epoch, upto=chance.randrange(1, 1 << 40), also=(Run(1 << 41, 1 << 42),))]
    unsent = [Refused(key=Key(epoch, number), reason="a lie") for number in range(1, 50)]
    return [
        encode_receipt(Receipt(gate=gate, epochs=tuple(elsewhere))),
        encode_receipt(Receipt(gate=gate, epochs=(), refused=tuple(unsent), batch="not-yours-1")),
        encode_receipt(Receipt(gate="330106/other/gate", epochs=tuple(elsewhere))),
        encode_receipt(Receipt(gate=gate, epochs=(), encodings=("zstd", "xyz"))),
        b"", b"\xff\xfe", b"[]", b"null", b'{"v":1}', b'{"v":2,"gate":"x"}', b'{"v":1e999}',
        true[: len(true) // 2], true + b"}", b"[" * 100_000, chance.randbytes(200_000),
        json.dumps({"v": 1, "gate": gate, "epochs": [{"epoch": "0" * 16, "upto": -1}]}).encode(),
        json.dumps({"v": 1, "gate": gate, "epochs": [{"epoch": "f" * 17, "upto": 10**400}]}).encode(),
        json.dumps({"v": 1, "gate": gate, "epochs": [{"epoch": "0" * 15 + "1", "upto": 0, "also": [[9, 1]]}]}).encode(),
        json.dumps({"v": 1, "gate": gate, "epochs": [], "refused": [{"key": "*", "reason": "x" * 9999}]}).encode(),
        json.dumps({"v": 1, "gate": gate, "epochs": [], "batch": "\ud800", "encodings": [1]}).encode(),
    ]  # fmt: skip


def lying_street(stage: Stage) -> Iterator[None]:
    """Somebody answers in the street's place: for what nobody holds, for others, misshapen, or without end."""
    names = topics(STREET, SITE, "road")
    liar = MqttBroker(stage.url, f"liar-{stage.chance.getrandbits(32)}")
    with suppress(BrokerLost):
        liar.connect(3.0)
        lies = _lies(stage.chance, str(names.gate))
        for lie in stage.chance.sample(lies, stage.chance.randint(1, len(lies))):
            liar.publish(names.receipt, lie)
            liar.poll(0.01)
    yield
    liar.close()


def _signing(stage: Stage) -> None:
    """Let the street sign its receipts, and the gate believe no others."""
    known = make_identity(stage.street.store.with_name("street.key")).known
    keys = stage.base / "street.pub"
    keys.write_text(known.text())
    stage.gates[0].more = f'street_keys = "{keys}"'
    stage.extra["signer"] = known.id


def false_receipt(stage: Stage) -> Iterator[None]:
    """While the street stands still, somebody receipts all that the gate has: unsigned, or with a false signature."""
    street_life = stage.street.life
    if street_life is not None:
        street_life.send(signal.SIGSTOP)
    pause(0.3)  # now there is something that nobody holds
    names = topics(STREET, SITE, "road")
    with LedgerReader(stage.gates[0].home.state / "ledger.db") as reader:
        held = tuple(EpochReceipt(epoch=span.epoch, upto=span.last_seq) for span in reader.epochs())
    lie = encode_receipt(Receipt(gate=str(names.gate), epochs=held))
    forged = base64.b64encode(stage.chance.randbytes(64)).decode()
    liar = MqttBroker(stage.url, f"liar-{stage.chance.getrandbits(32)}")
    with suppress(BrokerLost):
        liar.connect(3.0)
        liar.publish(names.receipt, lie)
        liar.publish(names.receipt, lie, properties=(("signer", stage.extra["signer"]), ("signature", forged)))
        liar.poll(0.05)
    yield
    liar.close()
    if street_life is not None:
        street_life.send(signal.SIGCONT)


def forged_entries(stage: Stage) -> Iterator[None]:
    """Somebody sends rubbish in the gate's name: the street refuses it and the gate is not led astray."""
    names = topics(STREET, SITE, "road")
    liar = MqttBroker(stage.url, f"forger-{stage.chance.getrandbits(32)}")
    with suppress(BrokerLost):
        liar.connect(3.0)
        rubbish = stage.chance.randbytes(9_999)
        for lie in (b"", b"[]", b"[{}]", b"{", b"[" * 50_000, b'[{"specversion":"1.0"}]', rubbish):
            liar.publish(names.entries, lie, properties=(("batch", f"forged-{stage.chance.getrandbits(16)}"),))
            liar.publish(names.state, lie)
            liar.poll(0.01)
    yield
    liar.close()


def _poisonous(stage: Stage) -> None:
    stage.gates[0].huge = 0.04
    stage.refused = True


# — certificates —


def _with_papers(stage: Stage) -> None:
    papers = stage.extra["papers"] = Papers(stage.base / "papers")
    stage.broker.end()
    stage.broker.lines += [
        f"cafile {papers.file('ca.pem')}", f"certfile {papers.file('broker.pem')}",
        f"keyfile {papers.file('broker.key')}", "require_certificate true",
    ]  # fmt: skip
    stage.broker.start()
    url = f"mqtts://127.0.0.1:{stage.broker.port}"
    gate = stage.gates[0]
    gate.url = stage.street.url = url
    gate.more = "\n".join(
        f'{name}_file = "{papers.file(file)}"'
        for name, file in (("ca", "ca.pem"), ("cert", "gate.pem"), ("key", "gate.key"))
    )
    files = (("--ca-file", "ca.pem"), ("--cert-file", "street.pem"), ("--key-file", "street.key"))
    stage.street.more = [word for option, file in files for word in (option, str(papers.file(file)))]


def wrong_paper(stage: Stage) -> Iterator[None]:
    """A certificate that has ended, has not begun, is of another maker or for another name; or no file at all."""
    papers = stage.extra["papers"]
    whose = stage.chance.choice(("broker", "broker", "gate", "street", "ca"))
    fault = stage.chance.choice(("expired", "early", "foreign", "other-name"))
    if whose == "ca":
        papers.foreign_ca()
    else:
        papers.spoil(whose, fault)
    stage.done[f"{whose} {fault}"] += 1
    victim = {"broker": "broker", "gate": "uplink", "street": "street", "ca": "uplink"}[whose]
    stage.kill(victim)
    stage.start_again(victim)
    yield
    papers.right()
    if whose == "broker":
        stage.kill("broker")
        stage.start_again("broker")


ON_THE_ROAD: dict[str, Scene] = {
    "messages": Scene(faults=(messages,), prepare=_mixed, longest_s=1.0),
    "half-open": Scene(
        faults=(frozen_link, half_open, reset_link, frozen_broker), prepare=_mixed, longest_s=2.0, persistent=True
    ),
    "partition": Scene(faults=(link_down, one_way, flapping), prepare=_two_networks, needs_root=True, longest_s=2.0),
    "acl": Scene(faults=(denied,), prepare=_with_rights, longest_s=1.0),
    "lying-street": Scene(faults=(lying_street, false_receipt, forged_entries), prepare=_signing),
    "poison": Scene(faults=(forged_entries, lying_street), prepare=_poisonous),
    "certificates": Scene(faults=(wrong_paper,), prepare=_with_papers, longest_s=0.8),
}

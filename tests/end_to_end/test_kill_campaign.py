"""kill -9 of gate, uplink, street and broker at random: nothing lost, nothing doubled, no opening unrecorded."""

import json
import os
import random
import sqlite3
import subprocess
import sys
import threading

import pytest

from sentinel.rehearsal import Rehearsal
from sync.entry import Entry

from .conftest import CARD_PERSON, until_mode

pytestmark = [pytest.mark.models, pytest.mark.broker, pytest.mark.campaign, pytest.mark.timeout(900)]

KILLS = 56
SEED = int(os.environ.get("SENTINEL_SEED", "20261122"))
VICTIMS = ("gate", "gate", "gate", "uplink", "street", "broker")  # the gate half of the time: it moves the barrier
LONGEST_PAUSE_S = 2.5  # covers a start of the gate (about 1 s), a passage (about 1 s), and the calm after it
RIGHT_S = 10.0  # an opening follows its entry at once; a laden machine may deliver the edge to the world later


def test_fifty_six_kills_lose_nothing_double_nothing_and_open_nothing_unrecorded(stage, faces_dir):
    chance = random.Random(SEED)
    pause = threading.Event()  # never set: a random moment is the very thing this test needs
    killed = dict.fromkeys(VICTIMS, 0)
    for _ in range(KILLS):
        by_face = chance.random() < 0.3
        stage.world(
            "arrive",
            picture=str(faces_dir / chance.choice(("obama2.jpg", "impostor_2.jpg"))) if by_face else None,
            card=None if by_face else CARD_PERSON,
            skin_celsius=chance.choice((36.4, 36.6, 38.4)),
        )
        pause.wait(chance.uniform(0.0, LONGEST_PAUSE_S))
        victim = chance.choice(VICTIMS)
        stage.kill(victim)
        killed[victim] += 1
        stage.spawn(victim)
        stage.world("leave")
    until_mode(stage, "automatic", 60.0)
    print(f"seed {SEED}: killed {killed}")
    settle(stage)
    judge(stage)


def settle(stage: Rehearsal) -> None:
    """Stop the gate in order and wait until the street has receipted its last entry."""
    stage.stop("gate")
    stage.wait(lambda: True if stage.ctl_json("show", "status")["balance"]["pending"] == 0 else None, 90.0)


def judge(stage: Rehearsal) -> None:
    """Hold ledger, street and barrier against each other."""
    with stage.reader() as reader:
        report = reader.verify()
        ours: list[Entry] = []
        while batch := reader.after(ours[-1].key if ours else None, 1000):
            ours.extend(batch)
    assert report.ok, report.breaks
    keys = [entry.key for entry in ours]
    assert len(set(keys)) == len(keys)
    passages = [entry for entry in ours if entry.kind == "passage"]
    assert len(passages) >= 10, "the campaign must have seen real passages, or it proves nothing"
    assert at_street(stage) == {(entry.key.epoch, entry.key.seq, entry.hash) for entry in ours}
    every_opening_has_its_entry(stage, ours)


def at_street(stage: Rehearsal) -> set[tuple[int, int, bytes]]:
    """Return what the street has stored, by key and hash; its primary key already forbids doubles."""
    done = subprocess.run(
        [sys.executable, "-m", "sentinel.street", "report", "--store", str(stage.store), "--json"],
        capture_output=True, text=True, check=True, env=stage.environment(),
    )
    [gate] = json.loads(done.stdout)["gates"]
    assert (gate["missing"], gate["refused"]) == (0, 0)
    assert gate["forks"] == gate["breaks"] == gate["forgotten"] == []
    with sqlite3.connect(f"file:{stage.store}?mode=ro", uri=True) as db:
        return set(db.execute("SELECT epoch, seq, hash FROM entries"))


def every_opening_has_its_entry(stage: Rehearsal, ours: list[Entry]) -> None:
    """Pair each closing of the relay's contact with an entry of its own that was written just before it."""
    rights = sorted(
        entry.stamp.boot_ns for entry in ours if entry.kind == "passage" and entry.data["outcome"] == "open"
    )
    rises = sorted(edge["sent_boottime_ns"] for edge in stage.world("edges")["edges"] if edge["value"] == 1)
    assert rises, "the campaign must have seen the barrier open"
    for rise in rises:
        own = [right for right in rights if rise - RIGHT_S * 1e9 <= right <= rise]
        assert own, "the barrier opened without an entry"
        rights.remove(own[-1])

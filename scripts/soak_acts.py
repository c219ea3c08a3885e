"""Do what a soak has planned: let people come, break devices and processes, let staff and viewers act, heal it all.

What takes effect is the gate's matter; nothing here waits for an outcome. What must be undone later is remembered and
done when it is due, or at the latest when the hour is over.
"""

import contextlib
import heapq
import http.client
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from demo import EXPIRED, NEARER, A, D, number_of
from soak_day import Happening
from soak_processes import looked

from drivers.errors import DriverError
from sentinel.core.errors import SentinelError
from sentinel.rehearsal import Rehearsal, synthetic_person

PAGES = ("/", "/part", "/screen", "/api/v1/status", "/healthz", "/static/style.css")
VIEWS_S = 3.0  # a page that is left open; its stream says something each second
DOWN_S = 2.5  # a broker or a process that is away: longer than a resend, shorter than the busy part of an hour
PUSHED_ON_S = 0.4
HTTP_S = 5.0
ROSTER_SERIAL = 21

FACES = ("obama2.jpg", "person_a_1.jpg")
BY_WHO: Mapping[str, Mapping[str, Any]] = {  # who → how they come, where it is more than a face
    "resident from afar": {"picture": "obama3.jpg"},
    "resident by card": {"card": D.card()},
    "resident by card and face": {"picture": "obama2.jpg", "card": A.card()},
    "stranger": {"picture": "impostor_2.jpg"},
    "stranger with a borrowed card": {"picture": "impostor_2.jpg", "card": A.card()},
    "hot resident": {"picture": "person_b_2.jpg", "skin_celsius": 38.4},
    "expired card": {"card": EXPIRED.card(valid_from="20000101", valid_until="20200101")},
}


class Acts:
    """Everything that can happen, by the name it has in the plan. `done` counts what was."""

    def __init__(self, stage: Rehearsal, faces: Path, seed: int) -> None:
        self._stage, self._faces = stage, faces
        self._chance = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.devices = tuple(stage.world("faults")["faults"])
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._used_pass = ""
        self._rosters = 0
        self._acts: dict[str, Callable[..., None]] = {
            "person": self._person,
            "leave": lambda: self._world("leave"),
            "fault": lambda device, fault: self._world("fault", device=device, fault=fault),
            "heal": lambda device: self._world("heal", device=device),
            "staff register": self._register,
            "staff open": lambda: self._ctl("open", "--reason", "delivery"),
            "exit button": lambda: self._world("press", input="exit_button"),
            "key switch": lambda: self._world("press", input="key_switch"),
            "pages are looked at": self.look_at_pages,
            "a page is left open": self._leave_page_open,
            "roster changes": self._change_roster,
            "maintainer looks": self._maintain,
            "broker killed": self._kill_broker,
            "link flaps": self._flap,
            "street frozen": lambda: self._freeze("street"),
            "uplink frozen": lambda: self._freeze("uplink"),
            "vision killed": lambda: self._strike_vision(signal.SIGKILL),
            "vision frozen": lambda: self._strike_vision(signal.SIGSTOP),
        }

    # -- when ---------------------------------------------------------------------------------------------------------

    def act(self, happening: Happening) -> None:
        """Do one thing of the plan, and count it."""
        self._acts[happening.do](**happening.what)
        self.done[happening.what.get("who", happening.do)] += 1

    def next_due(self) -> float | None:
        """Return when the next thing must be undone, by the monotonic clock; None when there is nothing."""
        return self._later[0][0] if self._later else None

    def do_due(self, now: float) -> None:
        """Undo what is due by now."""
        while self._later and self._later[0][0] <= now:
            heapq.heappop(self._later)[2]()

    def heal_all(self) -> None:
        """Undo everything, mend every device, and let whoever stands there go."""
        self.do_due(float("inf"))
        for device in self.devices:
            self._world("heal", device=device)
        self._stage.leave()

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._later, (time.monotonic() + seconds, self._chance.getrandbits(32), act))

    # -- people -------------------------------------------------------------------------------------------------------

    def come(self, **person: Any) -> None:
        """Let a person step before the gate."""
        picture = person.pop("picture", None)
        nearer = {"face_share": NEARER[picture]} if picture in NEARER else {}
        path = str(self._faces / picture) if picture else None
        self._world("arrive", **{"card": None, "skin_celsius": 36.4, **person}, picture=path, **nearer)

    def _person(self, who: str, skin_celsius: float) -> None:
        if who == "visitor with a pass":
            self._show_pass(self._issued())
        elif who == "visitor with a used pass":
            self._show_pass(self._used_pass or self._issued())
        elif who == "two at once":
            self.come(picture=self._chance.choice(FACES))
            self._after(PUSHED_ON_S, lambda: self.come(card=D.card()))
        elif who in BY_WHO:
            self.come(**{"skin_celsius": skin_celsius, **BY_WHO[who]})
        else:
            self.come(picture=self._chance.choice(FACES), skin_celsius=skin_celsius)

    def _issued(self) -> str:
        with contextlib.suppress(SentinelError, KeyError):  # the gate may not be able to record it now
            self._used_pass = str(self._stage.ctl_json("issue", "pass", "--kind", "visitor", "--uses", "1")["code"])
        return self._used_pass or "no pass"

    def _show_pass(self, code: str) -> None:
        self.come()
        self._world("scan", content=code)

    # -- staff and viewers --------------------------------------------------------------------------------------------

    def _register(self) -> None:
        self._ctl("register", "--reason", "visitor", "--celsius", "36.5", stdin=f"{number_of(11)}\nvisitor\n")

    def _change_roster(self) -> None:
        """Change a resident's name: the gate and vision both read the roster again."""
        self._rosters += 1
        self._stage.enrol([synthetic_person(f"sample {self._rosters}", number_of(ROSTER_SERIAL))])

    def _maintain(self) -> None:
        for command in (("show", "status"), ("list", "records"), ("check", "config"), ("people", "list")):
            self._ctl(*command)

    def look_at_pages(self) -> None:
        """Fetch every page, one after the other."""
        for page in PAGES:
            with contextlib.closing(self._asked(page)) as viewer:
                viewer.getresponse().read()

    def _leave_page_open(self) -> None:
        """Open both streams, and walk away from them without a word after a while."""
        for page in ("/events", "/screen/events"):
            viewer = self._asked(page)
            viewer.getresponse().read(1)
            self._after(VIEWS_S, viewer.close)

    def _asked(self, page: str) -> http.client.HTTPConnection:
        viewer = http.client.HTTPConnection("127.0.0.1", self._stage.console_port, timeout=HTTP_S)
        viewer.request("GET", page)
        return viewer

    # -- processes ----------------------------------------------------------------------------------------------------

    def _kill_broker(self) -> None:
        self._stage.kill("broker")
        self._after(DOWN_S, lambda: self._stage.start("broker"))

    def _flap(self) -> None:
        for _ in range(2):
            self._stage.kill("broker")
            self._stage.start("broker")

    def _freeze(self, name: str) -> None:
        self._stage.freeze(name)
        self._after(DOWN_S, lambda: self._stage.thaw(name))

    def _strike_vision(self, number: int) -> None:
        """Kill the child, or stop it so that the gate must; nothing when it is just being started again."""
        child = looked(self._stage.directory).get("vision")
        if child is None:
            self.done["vision was away already"] += 1
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, number)

    # -- the stage ----------------------------------------------------------------------------------------------------

    def _world(self, do: str, **request: Any) -> None:
        try:
            self._stage.world(do, **request)
        except DriverError as error:
            raise SentinelError(f"the simulated world refuses {do} {request.get('device', '')}: {error}") from error

    def _ctl(self, *command: str, stdin: str = "") -> None:
        """Run a command; how it ends depends on what is broken, and is in the ledger where it matters."""
        done = self._stage.ctl(*command, stdin=stdin)
        if done.returncode:
            self.done[f"{command[0]} ended with {done.returncode}"] += 1

"""A box whose clocks a test turns by hand, through boots, power cuts and time servers good and bad."""

from dataclasses import dataclass, field

from sync.clockwatch import KIND, ClockNews, ClockWatch, Reading
from sync.entry import Entry, Key, Stamp, canonical, make_epoch
from sync.stamp import KernelClock

SECOND = 1_000_000_000
TRUE_NS = 1_800_000_000 * SECOND  # January 2027: when the box was first switched on, in truth
IN_1970 = 40 * SECOND
IN_2099 = 4_070_908_800 * SECOND


@dataclass
class Box:
    """The truth, what the clocks of a box say of it, and the entries that it keeps."""

    true_ns: int = TRUE_NS
    boot_ns: int = 0
    boots: int = 0
    offset_ns: int = 0  # of the wall clock, over the clock since the boot
    good: bool = False
    was_set: bool = False
    alarms: bool = True  # whether the kernel can ring when the clock is set
    entries: list[Entry] = field(default_factory=list)
    truth: dict[Key, int] = field(default_factory=dict)
    news: list[ClockNews] = field(default_factory=list)
    watch: ClockWatch = field(init=False)

    def boot(self, *, off_s: float = 60, wall_ns: int = IN_1970) -> None:
        """Cut the power for a while and start; the wall clock wakes up as it likes."""
        self.true_ns += int(off_s * SECOND)
        self.boots, self.boot_ns, self.good = self.boots + 1, 5 * SECOND, False
        self.true_ns += self.boot_ns
        self.offset_ns = wall_ns - self.boot_ns
        self.watch = ClockWatch(read=self.read, rang=self._rang)
        self.begin()

    def begin(self) -> None:
        """Begin an epoch, as the gate does when it starts."""
        self._epoch = make_epoch(len({entry.key.epoch for entry in self.entries}) + 1, 7)
        self._seq = 0
        self.keep("start")

    def wait(self, seconds: float) -> None:
        """Let time pass, in turns of the gate."""
        self.true_ns += int(seconds * SECOND)
        self.boot_ns += int(seconds * SECOND)
        self.turn()

    def set(self, wall_ns: int, *, good: bool = False) -> None:
        """Set the clock: by hand, which the kernel takes as out of step, or as a time server's program does."""
        self.offset_ns, self.good, self.was_set = wall_ns - self.boot_ns, good, True
        self.turn()

    def synchronise(self, error_ns: int = 0) -> None:
        self.set(self.true_ns + error_ns, good=True)

    def lose_step(self) -> None:
        self.good = False
        self.turn()

    def turn(self) -> ClockNews | None:
        news = self.watch.look()
        if news is not None:
            self.news.append(news)
            body = {"why": news.why, "boot_id": self.boot_id, "offset_ns": str(news.reading.offset_ns)}
            self.keep(KIND, **body)
        return news

    def keep(self, kind: str = "passage", **body: object) -> Entry:
        return self._add(kind, self.stamp, self.true_ns, body)

    def keep_spooled(self, entry: Entry) -> Entry:
        """Keep an entry of an earlier moment, of an earlier boot perhaps, under a key of now."""
        return self._add(entry.kind, entry.stamp, self.truth[entry.key], {"spooled": True})

    def _add(self, kind: str, stamp: Stamp, true_ns: int, body: dict[str, object]) -> Entry:
        self._seq += 1
        entry = Entry(key=Key(self._epoch, self._seq), kind=kind, version=1, stamp=stamp, body=canonical(body))
        self.entries.append(entry)
        self.truth[entry.key] = true_ns
        return entry

    @property
    def boot_id(self) -> str:
        return f"boot-{self.boots}"

    @property
    def stamp(self) -> Stamp:
        return self.read().stamp

    def read(self) -> Reading:
        return Reading(
            wall_ns=self.boot_ns + self.offset_ns, boot_ns=self.boot_ns, boot_id=self.boot_id,
            kernel=KernelClock(synchronised=self.good),
        )  # fmt: skip

    def _rang(self) -> bool:
        rang, self.was_set = self.was_set and self.alarms, False
        return rang



"""Show people at the gate what is meant: one lamp, steady or blinking, and short beeps."""

from collections.abc import Mapping
from types import MappingProxyType

from drivers.wiring import Lines, Pins, told_as

BEEP_S = 0.1
LAMPS = ("green", "amber", "red")

# word → the lamp, and for how long it is on and off in turn (0: steady)
PATTERNS: Mapping[str, tuple[str, float]] = MappingProxyType(
    {
        "green": ("green", 0.0),
        "amber": ("amber", 0.0),
        "red": ("red", 0.0),
        "off": ("", 0.0),
        "fire": ("green", 0.5),  # the way is free, for everybody
        "fault": ("amber", 0.5),
    }
)


class Lamps:
    """Drive the lamps and the buzzer that are fitted; the others are dark in silence."""

    def __init__(self, lines: Lines, pins: Pins) -> None:
        fitted = {name: getattr(pins, name) for name in (*LAMPS, "buzzer")}
        outputs = {
            name: lines.output(pin, latched=name != "buzzer")  # who dies while it beeps must not leave it beeping
            for name, pin in fitted.items()
            if pin is not None
        }
        self._buzzer = outputs.pop("buzzer", None)
        self._lamps = outputs
        self._fire = False

    def show(self, pattern: str, buzz: int = 0) -> None:
        """Show a pattern and give so many beeps. In a fire the lamps show fire, whatever is asked.

        Raises: ValueError for a pattern there is no word for; PortLost when a lamp cannot be driven.
        """
        if pattern not in PATTERNS:
            raise ValueError(f"no lamp {pattern!r}; there are {', '.join(PATTERNS)}")
        with told_as(f"lamp {pattern} cannot be driven"):
            if not self._fire:
                self._light(pattern)
            if buzz > 0 and self._buzzer is not None:
                self._buzzer.blink(on_time=BEEP_S, off_time=BEEP_S, n=buzz)

    def fire(self, active: bool) -> None:
        """Show that there is a fire, or no longer. Raises: PortLost when a lamp cannot be driven."""
        self._fire = active
        with told_as("the lamps cannot be driven"):
            self._light("fire" if active else "off")

    def _light(self, pattern: str) -> None:
        chosen, blink_s = PATTERNS[pattern]
        for name, lamp in self._lamps.items():
            if name != chosen:
                lamp.off()
        if chosen not in self._lamps:
            return
        if blink_s:
            self._lamps[chosen].blink(on_time=blink_s, off_time=blink_s)
        else:
            self._lamps[chosen].on()

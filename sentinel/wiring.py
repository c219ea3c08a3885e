"""Translate the settings of a site into the pins of its barrier: shared by the gate and the one-shot."""

from drivers.barrier import Pins
from sentinel.settings import Settings


def pins_of(settings: Settings) -> Pins:
    """Return the barrier's pins as this site is wired; an empty setting means not fitted."""
    wired = settings.barrier
    fitted = {
        name: pin
        for name in ("pass_sensor", "fire", "green", "amber", "red", "buzzer")
        if (pin := getattr(wired, name)) != ""
    }
    return Pins(factory=wired.factory, relay=wired.relay, **fitted)

"""Translate the settings of a site into the pins of its barrier: shared by the gate and the one-shot."""

from drivers.barrier import INPUTS, Pins
from drivers.lamps import LAMPS
from sentinel.settings import Settings

FITTED_OR_NOT = ("relay_out", *INPUTS, *LAMPS, "buzzer")


def pins_of(settings: Settings) -> Pins:
    """Return the barrier's pins as this site is wired; an empty setting means not fitted."""
    wired = settings.barrier
    fitted = {name: pin for name in FITTED_OR_NOT if (pin := getattr(wired, name)) != ""}
    to_supply = {INPUTS[name]: False for name in wired.active_high.split(",") if name}
    return Pins(
        factory=wired.factory, relay=wired.relay, relay_active_high=wired.relay_active_high, **fitted, **to_supply
    )

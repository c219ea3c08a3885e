"""Say what this site asks of liveness, from its settings."""

from sentinel.core.liveness import Layer, Mode, Rule
from sentinel.device_settings import THERMAL_FIELDS
from sentinel.settings import Settings


def liveness_rule(settings: Settings) -> Rule:
    """Return the site's rule: as it is stated, or heat required where a thermal sensor gives a whole field."""
    chosen = settings.liveness
    layers = tuple(Layer(name) for name in chosen.layers.split(","))
    if chosen.mode != "auto":
        return Rule(mode=Mode(chosen.mode), layers=layers)
    field = settings.thermal.kind in THERMAL_FIELDS
    return Rule(mode=Mode.REQUIRE, layers=(Layer.HEAT,)) if field else Rule(mode=Mode.RECORD)

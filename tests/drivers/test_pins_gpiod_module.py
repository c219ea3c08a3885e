"""The real module `gpiod` offers all that its simulated twin does, and all that the driver uses of it.

No machine that tests has a GPIO chip: whatever is only in the twin would fail at the first gate.
"""

import ast
import inspect
from pathlib import Path

import gpiod
import pytest

from drivers import pins_gpiod
from drivers.sim import gpiochip
from drivers.sim.gpiochip import SimGpio

TWINS = [
    (gpiochip.Chip, gpiod.Chip),
    (gpiochip.ChipInfo, gpiod.ChipInfo),
    (gpiochip.LineInfo, gpiod.LineInfo),
    (gpiochip.LineRequest, gpiod.LineRequest),
    (gpiochip.LineSettings, gpiod.LineSettings),
    (gpiochip.EdgeEvent, gpiod.EdgeEvent),
    (gpiochip.RequestReleasedError, gpiod.RequestReleasedError),
    (gpiochip.EdgeEvent.Type, gpiod.EdgeEvent.Type),
    *((getattr(gpiochip, name), getattr(gpiod.line, name)) for name in vars(SimGpio.line)),
]
HANDLES = {"push", "hang_up"}  # with which a test moves the other end of a simulated line


def names(kind):
    """Return what a class offers: methods, properties, members, and fields without a value of their own."""
    return {name for name in {*dir(kind), *inspect.get_annotations(kind)} if not name.startswith("_")}


def parameters(function):
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize(("simulated", "real"), TWINS, ids=lambda kind: kind.__qualname__)
def test_the_real_module_offers_whatever_the_simulated_one_does(simulated, real):
    offered = names(simulated) - HANDLES
    assert offered <= names(real)
    for name in offered:
        twin = inspect.getattr_static(real, name, None)
        if inspect.isfunction(inspect.getattr_static(simulated, name, None)):
            assert parameters(twin) == parameters(getattr(simulated, name)), name


@pytest.mark.parametrize("name", ["Value", "Edge", "Bias", "Direction"])
def test_members_have_the_same_values(name):
    mine, real = getattr(gpiochip, name), getattr(gpiod.line, name)
    assert {one.name: one.value for one in mine} == {one.name: one.value for one in real}


def test_what_a_line_is_asked_to_be_has_the_same_words_and_defaults():
    real = inspect.signature(gpiod.LineSettings).parameters
    for word, mine in inspect.signature(gpiochip.LineSettings).parameters.items():
        assert str(real[word].default) == str(mine.default), word


ROOTS = {"self.gpiod": "", "self._gpiod": "", "line": "line", "value": "line.Value", "settings": "LineSettings"}
OBJECTS = {"chip": "Chip", "opened": "Chip", "request": "LineRequest", "self._request": "LineRequest"}
ANSWERS = {"get_info": "ChipInfo", "get_line_info": "LineInfo"}


def meant(node):
    """Return what of the module an expression of the driver means, as a dotted name; None for anything else."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return ANSWERS.get(node.func.attr)
    text = ast.unparse(node)
    known = ROOTS | OBJECTS | {"event": "EdgeEvent"}
    if text in known:
        return known[text]
    if isinstance(node, ast.Attribute) and (holder := meant(node.value)) is not None:
        return f"{holder}.{node.attr}".strip(".")
    return None


def used():
    """Return every dotted name of the module that the driver uses."""
    tree = ast.parse(inspect.getsource(pins_gpiod))
    found = {meant(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return sorted(name for name in found if name)


def test_the_drivers_own_words_are_found():
    assert {"Chip", "line.Bias.PULL_UP", "LineRequest.read_edge_events", "LineInfo.consumer"} <= set(used())


def offers(holder, word):
    return word in names(holder) if inspect.isclass(holder) else hasattr(holder, word)


@pytest.mark.parametrize("name", used())
def test_what_the_driver_uses_is_real_and_simulated(name):
    real, simulated = gpiod, SimGpio(Path(), {})
    for word in name.split("."):
        simulated = gpiochip if word in ("ChipInfo", "LineInfo", "LineRequest", "Chip") else simulated
        assert offers(real, word) and offers(simulated, word)
        real, simulated = getattr(real, word, None), getattr(simulated, word, None)

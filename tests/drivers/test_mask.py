"""What the privacy mask leaves out is black before anything looks at it, and a mask that is none is told."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import PortSettingsError
from drivers.mask import Mask

WHITE = np.full((48, 64, 3), 255, np.uint8)
shares = st.floats(0.0, 0.7)
lengths = st.floats(0.3, 1.0)


@given(x=shares, y=shares, width=lengths, height=lengths)
def test_nothing_outside_the_mask_survives_and_nothing_inside_is_lost(x, y, width, height):
    mask = Mask.parse(f"{x:.4f},{y:.4f},{min(width, 1 - x):.4f},{min(height, 1 - y):.4f}")
    masked = mask.apply(WHITE)
    assert mask.leaks(masked) == 0
    assert (masked[mask.used(48, 64)] == 255).all()
    assert WHITE.min() == 255, "the camera's own picture is not painted on"


def test_a_leak_is_counted():
    mask = Mask.parse("0.0,0.0,0.5,1.0")
    assert mask.leaks(WHITE) == 48 * 32


def test_two_rectangles_are_joined_and_what_they_share_counts_once():
    assert Mask.parse("0.0,0.0,0.6,1.0;0.4,0.0,0.6,1.0").share == pytest.approx(1.0)
    assert "80 %" in str(Mask.parse("0.10,0.00,0.80,1.00")).replace("80%", "80 %")


@pytest.mark.parametrize(
    "text", ["0.5,0.5,0.6,0.2", "-0.1,0,1,1", "0,0,0,1", "0,0,0.1,0.1", "1,2,3", "a,b,c,d", "nan,0,1,1"]
)
def test_a_mask_that_is_none_is_refused_with_its_text(text):
    with pytest.raises(PortSettingsError, match="mask"):
        Mask.parse(text)


def test_no_mask_is_the_whole_picture():
    assert Mask.parse("").apply(WHITE) is WHITE

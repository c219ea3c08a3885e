"""Add up what several frames say about one face: the best few, weighted by quality, as one vector; and judge it.

On 20 people of ORL, three templates each, against the similarity that a stranger reaches once in a million
comparisons: one frame misses 3.6 % of the genuine, three fused frames 0.12 %. The fused vector has unit length again;
strangers then reach as much as with one frame (0.368 and 0.373 once in a thousand), so one threshold serves both.
"""

from dataclasses import dataclass, field

import numpy as np

# So much above what is required, one frame is enough: there a stranger is ten times rarer (0.544 is one in a million,
# 0.593 one in ten million: face-pipeline D). So much below it, nobody is told to be a stranger: staff say.
CLEAR = 0.05


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Look:
    """One usable frame. Shape: vector float32[d] of unit length."""

    vector: np.ndarray = field(repr=False)
    weight: float


class Evidence:
    """The best few frames of one face. Never of two people: ask `likeness` before adding."""

    def __init__(self, frames: int) -> None:
        self._wanted = frames
        self._looks: list[_Look] = []
        self._fused: np.ndarray | None = None

    @property
    def count(self) -> int:
        """Return how many frames are fused."""
        return len(self._looks)

    @property
    def enough(self) -> bool:
        """Whether as many frames are there as were wanted."""
        return len(self._looks) >= self._wanted

    @property
    def fused(self) -> np.ndarray:
        """Return what the frames say together. Shape: float32[d] of unit length. Raises: ValueError without any."""
        if self._fused is None:
            raise ValueError("no frame was added yet")
        return self._fused

    def gains_by(self, weight: float) -> bool:
        """Tell whether a frame of this weight would be kept."""
        return not self.enough or weight > self._looks[-1].weight

    def likeness(self, vector: np.ndarray) -> float:
        """Return how similar a new frame is to those before; 1.0 when there are none. Unit: cosine similarity."""
        return 1.0 if self._fused is None else float(self._fused @ vector)

    def add(self, vector: np.ndarray, weight: float) -> None:
        """Take a frame in; the lightest goes when there are more than wanted.

        Shape: float32[d] of unit length.
        """
        self._looks.append(_Look(vector=vector, weight=max(weight, 1e-3)))
        self._looks.sort(key=lambda look: -look.weight)  # stable: of equals the older stay
        del self._looks[self._wanted :]
        total = np.sum([look.weight * look.vector for look in self._looks], axis=0)
        self._fused = (total / max(float(np.linalg.norm(total)), 1e-6)).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a comparison means: reached, doubtful (staff should say), or neither."""

    reached: bool
    doubtful: bool


def judge(similarity: float, required: float, *, apart: bool, confirmed: bool) -> Verdict:
    """Return what a similarity means.

    `apart`: no other person is nearly as similar. `confirmed`: enough frames were fused, in time.
    Clearly above what is required, one frame is enough; at it, only a confirmed similarity counts.
    """
    reached = apart and (similarity >= required + CLEAR or (confirmed and similarity >= required))
    return Verdict(reached=reached, doubtful=not reached and similarity >= required - CLEAR)

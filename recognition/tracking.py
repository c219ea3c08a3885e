"""Give the same face in successive frames the same number, by how much its boxes overlap."""

from recognition.detect import Face, overlap

MIN_OVERLAP = 0.3  # at 10 frames a second a walking face moves a tenth of its width between two frames
MAX_GAP_S = 1.0  # a face unseen for longer may be another person who stepped into the same place


class Tracker:
    """Number the face in view."""

    def __init__(self) -> None:
        self._number = 0
        self._last: Face | None = None
        self._at_mono = 0.0

    def follow(self, face: Face, at_mono: float) -> int:
        """Return the number of a face: the same as before while it overlaps the last one seen, else a new one."""
        same = (
            self._last is not None
            and at_mono - self._at_mono <= MAX_GAP_S
            and overlap(self._last.box, face.box) >= MIN_OVERLAP
        )
        if not same:
            self._number += 1
        self._last, self._at_mono = face, at_mono
        return self._number

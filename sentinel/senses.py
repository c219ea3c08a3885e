"""Remember what surrounds the person at the gate: the face in view, how far away somebody is, whether anybody is near.

A temperature is measured with all of it. What is too old is forgotten: a distance of a minute ago is nobody's.
"""

from drivers.readings import DistanceReading, PresenceReading, ThermalReading
from recognition.readings import FaceReading
from sentinel.core.liveness import Finding
from sentinel.core.model import SkinTemperature
from sentinel.core.thermometry import Box
from sentinel.thermometer import Thermometer

FACE_FRESH_S = 0.5  # five pictures: a head moves less than its own width in that time
SILENT_S = 1.5  # longer than one picture of the slowest camera; fifteen of the usual one
FACE_SHOWN_S = 1.0  # a hint that flickers cannot be read
DISTANCE_FRESH_S = 0.5  # a sensor speaks ten times a second
NEAR_S = 3.0  # so long after the last sign of somebody everything stays awake
PHANTOM_S = 600.0  # nobody waits ten minutes before a camera that does not see them


class Senses:
    """Keep the newest of each sense for as long as it is true. Time comes with the readings."""

    def __init__(self, *, thermometer: Thermometer, has_presence: bool = False) -> None:
        self.thermometer = thermometer
        self._has_presence = has_presence
        self._face: FaceReading | None = None
        self._seen_mono: float | None = None  # of the newest frame with a face, while one is in view
        self._distance: DistanceReading | None = None
        self._near_mono: float | None = None  # when somebody was last felt or seen
        self._alone_since: float | None = None  # presence without a face since then

    def see_face(self, face: FaceReading) -> None:
        """Take the face in view."""
        self._face = face
        self._seen_mono = face.at_mono
        self._near_mono = face.at_mono
        self._alone_since = None

    def see_nobody(self, _at_mono: float) -> None:
        """Take notice that no face is in view."""
        self._face = self._seen_mono = None

    def vision_silent(self, now: float) -> bool:
        """Whether a face is in view by what vision said last, and it has said nothing for longer than it ever may."""
        return self._seen_mono is not None and now - self._seen_mono > SILENT_S

    def face_problem(self, now: float) -> str:
        """Return what keeps the face in view from being compared, "" when nothing does."""
        face = self._face
        fresh = face is not None and now - face.at_mono <= FACE_SHOWN_S
        return str(face.problem) if face is not None and fresh and face.problem is not None else ""

    def see_distance(self, reading: DistanceReading) -> None:
        """Take how far away the nearest thing is."""
        self._distance = reading

    def see_presence(self, reading: PresenceReading) -> None:
        """Take whether the radar feels somebody."""
        if not reading.somebody:
            self._alone_since = None
            return
        self._near_mono = reading.at_mono
        if self._alone_since is None:
            self._alone_since = reading.at_mono

    def measure(self, reading: ThermalReading, now: float) -> SkinTemperature:
        """Return the skin temperature in this reading, with what is around the person."""
        return self.thermometer.measure(reading, now, box=self._box(now), distance_mm=self._distance_mm(now))

    def heat(self, reading: ThermalReading, now: float) -> list[Finding]:
        """Return what the heat says of the face in view, nothing while there is none."""
        box = self._box(now)
        return [] if box is None else [self.thermometer.heat(reading, box=box, distance_mm=self._distance_mm(now))]

    def _box(self, now: float) -> Box | None:
        face = self._face
        return _share(face) if face is not None and now - face.at_mono <= FACE_FRESH_S else None

    def _distance_mm(self, now: float) -> int | None:
        distance = self._distance
        fresh = distance is not None and now - distance.at_mono <= DISTANCE_FRESH_S
        return distance.distance_mm if distance is not None and fresh else None

    def see_passage(self) -> None:
        """Take notice that somebody was judged: whoever is felt is no phantom."""
        self._alone_since = None

    def nobody_near(self, now: float, *, presence_works: bool) -> bool:
        """Whether the camera may look less often: only a radar that works and feels nobody can say so."""
        if not (self._has_presence and presence_works):
            return False
        return self._near_mono is None or now - self._near_mono > NEAR_S

    def phantom(self, now: float, *, presence_works: bool) -> bool:
        """Whether the radar has felt somebody for long whom no camera saw and who showed nothing."""
        if not presence_works:
            self._alone_since = None  # what it felt before it broke says nothing of now
        return self._alone_since is not None and now - self._alone_since > PHANTOM_S


def _share(face: FaceReading) -> Box:
    x, y, width, height = face.box
    return x / face.frame_width, y / face.frame_height, width / face.frame_width, height / face.frame_height

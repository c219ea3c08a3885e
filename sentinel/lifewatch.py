"""Gather in the vision child what its cameras say about whether the face in view lives; figures only, no verdict.

The verdict is the gate's: `sentinel/core/liveness.py`.
"""

import logging
import math
from collections.abc import Callable

import cv2
import numpy as np

from drivers.readings import Frame
from recognition.classifier import Classifier, open_classifier
from recognition.detect import Detector, overlap
from recognition.errors import RecognitionError
from recognition.motion import MotionWatch
from recognition.readings import Classified, FaceReading, InfraredFace, LifeSigns
from sentinel.core.liveness import Mode
from sentinel.core.thermometry import Box, View
from sentinel.eyes import Eyes
from sentinel.settings import Settings

log = logging.getLogger(__name__)

TELL_S = 0.25  # as often as a thermal module speaks
PAIR_S = 1.0  # so old may the infrared picture be; it comes twice a second
LIT_PERCENT = 95  # a screen may fill most of the picture: something beside it is lit, or the lamp is off
SAME_VIEW = View(x=0.0, y=0.0, width=1.0, height=1.0)


class LifeWatch:
    """Watch the face in view, by every layer that is there.

    `infrared` gives the infrared camera's last picture, and `view` says where that lies in the main camera's.
    """

    def __init__(
        self,
        detector: Detector,
        *,
        infrared: Callable[[], Frame | None] = lambda: None,
        view: View = SAME_VIEW,
        classifier: Classifier | None = None,
        on: bool = True,
    ) -> None:
        self._on = on
        self._infrared = infrared
        self._detector = detector
        self._view = view
        self._motion = MotionWatch()
        self._classifier = classifier
        self._told_mono = -math.inf

    def see(self, frame: Frame, face: FaceReading | None) -> LifeSigns | None:
        """Return the signs of life of the face in view, None while there is none or nothing new to say."""
        if face is None or not self._on:
            self._motion.forget()
            return None
        motion = self._motion.see(frame.pixels, face)
        if frame.at_mono - self._told_mono < TELL_S:
            return None
        self._told_mono = frame.at_mono
        infrared = self._infrared()
        fresh = infrared is not None and abs(frame.at_mono - infrared.at_mono) <= PAIR_S
        return LifeSigns(
            at_mono=frame.at_mono,
            track=face.track,
            motion=motion,
            infrared=self._paired(infrared.pixels, face) if infrared is not None and fresh else None,
            classified=self._classified(frame, face),
        )

    def _paired(self, pixels: np.ndarray, face: FaceReading) -> InfraredFace | None:
        picture = _eight_bit(pixels)
        height, width = picture.shape[:2]
        x, y, wide, high = self._view.mapped(_share(face))
        box = (x * width, y * height, wide * width, high * height)
        grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        inside = _cut(grey, box)
        if inside.size == 0:
            return None
        faces = self._detector.detect(picture)
        return InfraredFace(
            overlap=max((overlap(found.box, box) for found in faces), default=0.0),
            level=float(inside.mean()),
            contrast=float(inside.std()),
            lit_level=float(np.percentile(grey, LIT_PERCENT)),
        )

    def _classified(self, frame: Frame, face: FaceReading) -> Classified | None:
        if self._classifier is None:
            return None
        return self._classifier.judge(frame.pixels, face.box)


def life_watch_of(settings: Settings, eyes: Eyes, detector: Detector) -> LifeWatch:
    """Return the watch of this site's settings and cameras."""
    on = settings.liveness.mode != Mode.OFF
    return LifeWatch(
        detector,
        infrared=lambda: eyes.infrared,
        view=View.parse(settings.liveness.infrared_view) or SAME_VIEW,
        classifier=_classifier_of(settings) if on else None,
        on=on,
    )


def _classifier_of(settings: Settings) -> Classifier | None:
    """Return the classifier of the settings; one that cannot be used is told and is no layer, so it is no pass."""
    name = settings.liveness.classifier
    if not name:
        return None
    try:
        classifier = open_classifier(name, settings.paths.models_dir)
    except RecognitionError as error:
        log.error("the liveness classifier is not used: %s", error)
        return None
    log.info("liveness classifier %s, licence %s", classifier.model.name, classifier.model.licence)
    return classifier


def _share(face: FaceReading) -> Box:
    x, y, width, height = face.box
    return x / face.frame_width, y / face.frame_height, width / face.frame_width, height / face.frame_height


def _eight_bit(pixels: np.ndarray) -> np.ndarray:
    """Return a picture of any depth as uint8[h, w, 3]."""
    if pixels.dtype == np.uint16:
        pixels = (pixels // 257).astype(np.uint8)
    return pixels if pixels.ndim == 3 else cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)


def _cut(grey: np.ndarray, box: Box) -> np.ndarray:
    x, y, width, height = box
    return grey[max(0, round(y)) : max(0, round(y + height)), max(0, round(x)) : max(0, round(x + width))]

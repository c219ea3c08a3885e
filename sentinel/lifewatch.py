"""Gather in the vision child what its cameras say about whether the face in view lives; figures only, no verdict.

The verdict is the gate's: `sentinel/core/liveness.py`.
"""

import logging

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
AROUND = 2.0  # the surroundings are so many faces wide


class LifeWatch:
    """Watch the face in view, by every layer that the vision child has."""

    def __init__(self, settings: Settings, eyes: Eyes, detector: Detector) -> None:
        self._on = settings.liveness.mode != Mode.OFF
        self._eyes = eyes
        self._detector = detector
        self._view = View.parse(settings.liveness.infrared_view or "0,0,1,1")
        self._motion = MotionWatch()
        self._classifier = _classifier_of(settings) if self._on else None
        self._told_mono = 0.0

    def see(self, frame: Frame, face: FaceReading | None) -> LifeSigns | None:
        """Return the signs of life of the face in view, None while there is none or nothing new to say."""
        if face is None or not self._on:
            self._motion.forget()
            return None
        motion = self._motion.see(frame.pixels, face)
        if frame.at_mono - self._told_mono < TELL_S:
            return None
        self._told_mono = frame.at_mono
        infrared = self._eyes.infrared
        fresh = infrared is not None and abs(frame.at_mono - infrared.at_mono) <= PAIR_S
        return LifeSigns(
            at_mono=frame.at_mono,
            track=face.track,
            motion=motion,
            infrared=self._paired(infrared.pixels, face) if infrared is not None and fresh else None,
            classified=self._classified(frame, face),
        )

    def _paired(self, pixels: np.ndarray, face: FaceReading) -> InfraredFace | None:
        assert self._view is not None
        picture = _eight_bit(pixels)
        height, width = picture.shape[:2]
        x, y, wide, high = self._view.mapped(_share(face))
        box = (x * width, y * height, wide * width, high * height)
        grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        inside, around = _cut(grey, box, 1.0), _cut(grey, box, AROUND)
        if inside.size == 0:
            return None
        faces = self._detector.detect(picture)
        return InfraredFace(
            overlap=max((overlap(found.box, box) for found in faces), default=0.0),
            level=float(inside.mean()),
            contrast=float(inside.std()),
            surround_level=max(float(around.mean()), float(np.median(grey))),
        )

    def _classified(self, frame: Frame, face: FaceReading) -> Classified | None:
        if self._classifier is None:
            return None
        return self._classifier.judge(frame.pixels, face.box)


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


def _cut(grey: np.ndarray, box: Box, times: float) -> np.ndarray:
    x, y, width, height = box
    left, top = x + width / 2 - times * width / 2, y + height / 2 - times * height / 2
    rows = slice(max(0, round(top)), max(0, round(top + times * height)))
    return grey[rows, max(0, round(left)) : max(0, round(left + times * width))]

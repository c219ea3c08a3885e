"""Take pictures for an enrolment from the gate's camera: usable ones only, some time apart, behind the privacy mask."""

import time
from collections.abc import Callable

import numpy as np

from drivers.camera import check_source, open_camera
from drivers.errors import PortSettingsError
from drivers.mask import Mask
from recognition.errors import FaceUnusable
from recognition.pipeline import Pipeline
from recognition.readings import FaceProblem
from sentinel.core.errors import Unavailable
from sentinel.settings import Camera

WANTED = 12  # of which the five most different are kept
APART_S = 0.4  # a head moves in that; two frames of the same moment are one picture
PATIENCE_S = 30.0
_READ_S = 0.5


def take_shots(camera: Camera, pipeline: Pipeline, say: Callable[[str], None]) -> dict[str, np.ndarray]:
    """Return usable pictures of whoever stands before the camera, by name; `say` hears what is wrong with a face.

    Shape: uint8[h, w, 3], BGR.
    Raises: DriverError when the camera is lost or another process has it. PortSettingsError when there is none that
    sees faces. Unavailable when no usable face came in time.
    """
    if not camera.source or check_source(camera.source).deep:
        raise PortSettingsError("camera: this gate has no camera that sees faces; use pictures instead")
    mask = Mask.parse(camera.mask)
    shots: dict[str, np.ndarray] = {}
    told, last, until = "", -APART_S, time.monotonic() + PATIENCE_S
    source = open_camera(camera.source, width=camera.width, height=camera.height)
    try:
        while len(shots) < WANTED and time.monotonic() < until:
            frame = source.read(_READ_S)
            if frame is None or frame.at_mono - last < APART_S:
                continue
            last = frame.at_mono
            pixels = mask.apply(frame.pixels)
            problem = _problem(pipeline, pixels)
            if problem is None:
                shots[f"shot {len(shots) + 1}"] = pixels
            elif problem != told:
                say(problem)
            told = problem or ""
    finally:
        source.close()
    if not shots:
        raise Unavailable(
            f"no usable face within {PATIENCE_S:.0f} s; {told or 'stand before the camera and look at it'}"
        )
    return shots


def _problem(pipeline: Pipeline, pixels: np.ndarray) -> str | None:
    """Return what is wrong with the face in a frame; a gate's frame needs more pixels of it than a portrait."""
    try:
        found = pipeline.template(pixels)
    except FaceUnusable as error:
        return str(error)
    small = found.quality.face_px < pipeline.limits.min_face_px
    return f"the face cannot be enrolled: {FaceProblem.TOO_SMALL}; come closer" if small else None

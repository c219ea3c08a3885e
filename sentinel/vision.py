"""Child of the gate: camera to pipeline to pipe. Small results cross the pipe, never frames, never vectors.

It is a process because camera reads and native inference take no timeout and may crash the interpreter: the gate kills
it when it goes quiet and goes on with cards and staff. It holds no barrier, no ports, no ledger.
"""

import logging
import signal
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import numpy as np

from drivers.camera import Camera, PictureWatch, open_camera
from drivers.errors import DriverError
from drivers.readings import Symptom, Trouble
from recognition.errors import RecognitionError
from recognition.gallery import Gallery
from recognition.pipeline import Pipeline
from recognition.readings import Claim, NoFace
from sentinel import roster
from sentinel.core.errors import DataError
from sentinel.settings import Settings, load
from sentinel.supervise import Busy, die_with_parent, start_logging
from sync.errors import SyncError
from sync.vault import Vault

log = logging.getLogger(__name__)

_ROSTER_LOOK_S = 0.5  # an added or deleted person takes effect within a second
_RETRY_S = (0.25, 2.0)  # the camera is tried again after the first wait, doubling to the second
_READ_S = 0.5
_OPEN_S = 8.0  # OpenCV may take 5 s to find that a network camera is away
_LOAD_S = 30.0  # 50,000 people on a slow box


def run(pipe: Connection, config: str) -> None:
    """Look through the camera until the gate closes the pipe."""
    die_with_parent(signal.SIGKILL)
    cv2.setNumThreads(1)  # a pool of its own would fight the inference's threads for two small cores
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the gate, which then closes our pipe
    settings = load(Path(config))
    start_logging(settings.log.level)
    try:
        ready(pipe, settings).look_until_closed()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        log.debug("the gate closed the pipe; vision ends")


def ready(pipe: Connection, settings: Settings) -> "Vision":
    """Return vision with its models loaded, telling once a second why it has none until somebody brings them."""
    while True:
        try:
            return Vision(pipe, settings)
        except (RecognitionError, SyncError) as error:
            pipe.send(Trouble(at_mono=time.monotonic(), symptom=Symptom.SELF_TEST, detail=str(error)))
            while pipe.poll(_RETRY_S[1] / 2):
                pipe.recv()


class Vision:
    """The camera, the pipeline and the gallery of one lane."""

    def __init__(self, pipe: Connection, settings: Settings) -> None:
        self._pipe = pipe
        self._settings = settings
        self._vault = Vault.open(settings.paths.secrets_dir, create=False)
        face = settings.face
        self._pipeline = Pipeline.open(
            settings.paths.models_dir,
            pack=face.pack,
            threads=face.threads,
            detector_width=face.detector_width,
            min_face_px=face.min_face_px,
            one_to_one=face.similarity_one_to_one,
            one_to_many=face.similarity_one_to_many,
        )
        self._mark: roster.Mark | None = None
        self._looked = 0.0
        self._claim: Claim | None = None
        self._seeing = False  # whether pictures came since the camera was opened

    def look_until_closed(self) -> None:
        """Read, judge, send; a lost camera is told and opened again, the models stay loaded."""
        wait_s = _RETRY_S[0]
        while True:
            try:
                with self._open() as camera:
                    watch = PictureWatch()
                    while True:
                        self._turn(camera, watch)
                        wait_s = _RETRY_S[0]
            except DriverError as error:
                self._tell(Symptom.LOST, str(error))
            self._take_claims(wait_s)
            wait_s = min(wait_s * 2, _RETRY_S[1])

    def _tell(self, symptom: Symptom, detail: str) -> None:
        """Say that nobody can be seen, and forget who was: the next face may be another person's."""
        self._seeing = False
        self._claim = None
        self._pipeline.forget()
        self._pipe.send(Trouble(at_mono=time.monotonic(), symptom=symptom, detail=detail))

    def _open(self) -> Camera:
        self._pipe.send(Busy(for_s=_OPEN_S))
        camera = self._settings.camera
        return open_camera(camera.source, width=camera.width, height=camera.height)

    def _turn(self, camera: Camera, watch: PictureWatch) -> None:
        self._refresh_gallery()
        self._take_claims(0.0)
        began = time.monotonic()
        frame = camera.read(_READ_S)
        if frame is None:  # a slow start or a gap; the camera itself says when it is lost
            self._pipe.send(NoFace(at_mono=time.monotonic()) if self._seeing else Busy(for_s=_READ_S))
            self._pipeline.forget()
            return
        self._seeing = True
        symptom = watch.see(frame)
        if symptom is not None:
            self._tell(symptom, f"{camera.name}: pictures come and show nothing new or nothing at all; is it covered?")
        else:
            claim = self._claim.person if self._claim else None
            self._pipe.send(self._pipeline.look(frame.pixels, frame.at_mono, claim=claim))
        # Between two looks the processor belongs to the rest of the box; a claim cuts the pause short.
        self._take_claims(max(0.0, 1.0 / self._settings.camera.fps - (time.monotonic() - began)))

    def _take_claims(self, wait_s: float) -> None:
        while self._pipe.poll(wait_s):
            message = self._pipe.recv()
            if isinstance(message, Claim):
                self._claim = message
                self._answer_at_once(message)
            wait_s = 0.0
        if self._claim and time.monotonic() - self._claim.at_mono > self._settings.fusion.window_s:
            self._claim = None

    def _answer_at_once(self, claim: Claim) -> None:
        reading = self._pipeline.recheck(claim.person, time.monotonic())
        if reading is not None:
            self._pipe.send(reading)

    def _refresh_gallery(self) -> None:
        now = time.monotonic()
        if now - self._looked < _ROSTER_LOOK_S:
            return
        self._looked = now
        mark = roster.mark_of(self._settings.paths.roster)
        if mark == self._mark:
            return
        self._pipe.send(Busy(for_s=_LOAD_S))
        try:
            members = roster.load(self._settings.paths.roster, self._vault)
            self._pipeline.gallery = gallery_of(members, self._pipeline.model)
            self._mark = mark
        except (DataError, SyncError, RecognitionError) as error:
            log.error("the gallery stays as it was: %s", error)


def gallery_of(members: Mapping[str, roster.Member], model: str) -> Gallery:
    """Return the gallery of everybody who may pass and has a template of this model."""
    people = {}
    for member in members.values():
        vectors = [np.frombuffer(template.vector, "<f4") for template in member.templates if template.model == model]
        if vectors:
            people[member.token] = np.stack(vectors)
    return Gallery(model, people)

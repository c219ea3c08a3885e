"""Child of the gate: camera to pipeline to pipe. Small results cross the pipe, never frames, never vectors.

It is a process because camera reads and native inference take no timeout and may crash the interpreter: the gate kills
it when it goes quiet and goes on with cards and staff. It holds no barrier, no ports, no ledger.

What the main camera sees is sent as it is, its troubles as `Trouble`; the other cameras' words come as events of their
own devices. A gate without a main camera may still have those: then nothing else happens here.
"""

import logging
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from drivers.camera import Camera, Source, check_source, open_camera
from drivers.errors import DriverError, PortSettingsError
from drivers.mask import Mask
from drivers.photo import HEIGHT as PHOTO_HEIGHT
from drivers.photo import WIDTH as PHOTO_WIDTH
from drivers.photo import PhotoDecoder, PhotoDecoderUnavailable
from drivers.pictures import PictureWatch
from drivers.readings import Frame, Identity, Symptom, Trouble
from recognition.errors import RecognitionError
from recognition.pipeline import Limits, Pipeline
from recognition.readings import Claim, FaceReading, NoFace
from sentinel.core.health import Component
from sentinel.events import Doze, FromDevice
from sentinel.eyes import REMEDIES, SICK_EXIT, Eyes, Ladder, Step, symptom_of
from sentinel.gallery_watch import GalleryWatch
from sentinel.keyroom import open_vault
from sentinel.lifewatch import life_watch_of
from sentinel.settings import Settings, load
from sentinel.supervise import Busy, Wire, die_with_parent, start_logging
from sync.errors import SyncError

log = logging.getLogger(__name__)

_MODELS_S = 1.0  # missing models are told so often
_READ_S = 0.5
_OPEN_S = 1.5  # so much longer than between two pictures a camera may take to open
_FORWARD_S = 0.1  # so late may a side camera's word be while the main camera waits
_DOZE_S = 0.5  # between two looks while nobody is near
_LOAD_S = 30.0  # 50,000 people on a slow box
_BLIND = frozenset({Symptom.DARK, Symptom.OVEREXPOSED, Symptom.FROZEN})  # nobody can be found in such a picture


class Sick(Exception):
    """Native code of the camera is not to be trusted any more; only a new process heals it."""


def run(pipe: Wire, config: str) -> None:
    """Look through the cameras until the gate closes the pipe."""
    die_with_parent(signal.SIGKILL)
    cv2.setNumThreads(1)  # a pool of its own would fight the inference's threads for two small cores
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the gate, which then closes our pipe
    settings = load(Path(config))
    start_logging(settings.log.level)
    eyes = Eyes(settings).start()
    try:
        if settings.camera.source:
            ready(pipe, settings, eyes).look_until_closed()
        else:
            _only_eyes(pipe, eyes)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        log.debug("the gate closed the pipe; vision ends")
    except Sick as error:
        log.error("vision ends so that a new one begins: %s", error)
        sys.stderr.flush()
        os._exit(SICK_EXIT)  # an orderly end would wait for, or crash in, the call that hangs


def _photo_decoder(settings: Settings) -> PhotoDecoder | None:
    """Return the configured library for the cards' photographs, and say whether it can be used; it is native code."""
    path = settings.card.photo_decoder
    if path is None:
        return None
    try:
        decoder = PhotoDecoder(path)
    except PhotoDecoderUnavailable as error:
        log.error("%s", error)
        return None
    log.info("photographs of cards are decoded by %s", path)
    return decoder


def limits_of(settings: Settings) -> Limits:
    """Return what a face has to reach at this gate."""
    face = settings.face
    return Limits(
        one_to_one=face.similarity_one_to_one,
        one_to_many=face.similarity_one_to_many,
        false_match_rate=face.false_match_rate,
        card_photo=face.similarity_card_photo,
        frames=face.frames,
        margin=face.margin,
        deadline_s=face.deadline_s,
        min_face_px=face.min_face_px,
    )


def ready(pipe: Wire, settings: Settings, eyes: Eyes) -> "Vision":
    """Return vision with its models loaded, telling once a second why there is none until somebody mends it."""
    while True:
        try:
            return Vision(pipe, settings, eyes)
        except (RecognitionError, SyncError, PortSettingsError) as error:
            symptom = Symptom.MISCONFIGURED if isinstance(error, PortSettingsError) else Symptom.SELF_TEST
            pipe.send(Trouble(at_mono=time.monotonic(), symptom=symptom, detail=str(error)))
            _forward_for(pipe, eyes, _MODELS_S)


def _only_eyes(pipe: Wire, eyes: Eyes) -> None:
    while True:
        pipe.send(Busy(for_s=_READ_S))
        _forward_for(pipe, eyes, _READ_S)


def _forward_for(pipe: Wire, eyes: Eyes, for_s: float) -> None:
    """Send what the other cameras say for a while; what the gate says needs a main camera, and is not heard."""
    until = time.monotonic() + for_s
    while (left_s := until - time.monotonic()) > 0:
        for told in eyes.take():
            pipe.send(told)
        if pipe.poll(min(left_s, _FORWARD_S)):
            pipe.recv()


class Vision:
    """The camera, the pipeline and the gallery of one lane."""

    def __init__(self, pipe: Wire, settings: Settings, eyes: Eyes) -> None:
        self._pipe = pipe
        self._eyes = eyes
        self._settings = settings
        self._mask = Mask.parse(settings.camera.mask)
        self._watch = PictureWatch(mask=self._mask)
        self._ladder = Ladder(native=_checked(settings.camera.source).native)
        self._vault = open_vault(settings)
        face = settings.face
        self._pipeline = Pipeline.open(
            settings.paths.models_dir,
            pack=face.pack,
            threads=face.threads,
            detector_width=face.detector_width,
            limits=limits_of(settings),
        )
        self._decoder = _photo_decoder(settings)
        self._pipe.send(Busy(for_s=_LOAD_S))
        self._galleries = GalleryWatch(settings.paths.roster, self._vault, self._pipeline.model).start()
        self._life = life_watch_of(settings, eyes, self._pipeline.detector)
        self._claim: Claim | None = None
        self._dozing = False
        self._seeing = False  # whether good pictures came since the last trouble
        self._introduced = ""

    def look_until_closed(self) -> None:
        """Read, judge, send; a lost camera is told and opened again, the models stay loaded.

        Raises: Sick when only a new process can heal the camera.
        """
        while True:
            step = self._look_until_lost()
            self._pipe.send(Busy(for_s=step.wait_s))
            self._listen(step.wait_s)

    def _look_until_lost(self) -> Step:
        camera = None
        try:
            camera = self._open()
            self._watch.resume()
            while True:
                self._turn(camera)
        except DriverError as error:
            self._tell(symptom_of(error), str(error))
            lost = error
        finally:
            if camera is not None:
                camera.close()
        step = self._ladder.failed(lost, hangs=camera is not None and camera.hangs)
        if step.renew:
            raise Sick(str(lost))
        return step

    def _tell(self, symptom: Symptom, detail: str) -> None:
        """Say that nobody can be seen, and forget who was: the next face may be another person's."""
        self._seeing = self._eyes.somebody = False
        self._drop_claim()
        self._pipeline.forget()
        self._pipe.send(Trouble(at_mono=time.monotonic(), symptom=symptom, detail=detail))

    def _open(self) -> Camera:
        self._pipe.send(Busy(for_s=_OPEN_S))
        camera = self._settings.camera
        return open_camera(camera.source, width=camera.width, height=camera.height)

    def _turn(self, camera: Camera) -> None:
        self._refresh_gallery()
        self._listen(0.0)
        began = time.monotonic()
        frame = camera.read(_READ_S)
        if frame is None:  # a slow start or a gap; the camera itself says when it is lost
            self._eyes.somebody = False
            self._pipe.send(NoFace(at_mono=time.monotonic()) if self._seeing else Busy(for_s=_READ_S))
            self._pipeline.forget()
            return
        self._ladder.worked()
        self._judge(camera.name, Frame(at_mono=frame.at_mono, pixels=self._mask.apply(frame.pixels)))
        # Between two looks the processor belongs to the rest of the box; word from the gate cuts the pause short.
        asleep = self._dozing and not self._eyes.somebody and self._claim is None
        period_s = max(_DOZE_S if asleep else 0.0, 1.0 / self._settings.camera.fps)
        pause_s = max(0.0, period_s - (time.monotonic() - began))
        if pause_s > _READ_S:
            self._pipe.send(Busy(for_s=pause_s))
        self._listen(pause_s)

    def _judge(self, name: str, frame: Frame) -> None:
        if not self._seeing and not self._introduce(name, frame):
            return
        found: FaceReading | NoFace | None = None
        if self._watch.symptom not in _BLIND:
            claim = self._claim.person if self._claim else None
            found = self._pipeline.look(frame.pixels, frame.at_mono, claim=claim)
        face = found if isinstance(found, FaceReading) else None
        symptom = self._watch.see(
            frame, somebody=face is not None, recognisable=face is not None and face.problem is None
        )
        for news in self._watch.news():
            self._pipe.send(FromDevice(str(Component.VISION), news))
        if symptom is not None:
            self._tell(symptom, f"{name}: {self._watch.detail}; {REMEDIES[symptom]}")
            return
        self._seeing, self._eyes.somebody = True, face is not None
        self._pipe.send(found or Busy(for_s=_READ_S))  # nothing was looked for in the picture that ended a blindness
        signs = self._life.see(frame, face)
        if signs is not None:
            self._pipe.send(signs)

    def _introduce(self, name: str, frame: Frame) -> bool:
        """Say which camera this is and how much of it is used; return whether the mask holds."""
        height, width = frame.pixels.shape[:2]
        leaks = self._mask.leaks(frame.pixels)
        if leaks:
            self._tell(Symptom.SELF_TEST, f"{name}: {leaks} pixels outside the privacy mask are visible; report this")
            return False
        text = f"{name}, {width}×{height}, {self._mask}"
        if text != self._introduced:
            self._introduced = text
            self._pipe.send(FromDevice(str(Component.VISION), Identity(at_mono=frame.at_mono, text=text)))
        return True

    def _listen(self, wait_s: float) -> None:
        """Hear the gate for so long, or until it says something; send what the other cameras say meanwhile."""
        until = time.monotonic() + wait_s
        while True:
            for told in self._eyes.take():
                self._pipe.send(told)
            if self._pipe.poll(min(max(0.0, until - time.monotonic()), _FORWARD_S)):
                self._hear(self._pipe.recv())
                until = 0.0
            elif time.monotonic() >= until:
                break
        if self._claim and time.monotonic() - self._claim.at_mono > self._settings.fusion.window_s:
            self._drop_claim()

    def _drop_claim(self) -> None:
        """Ask for nobody any more, and forget the photograph of the card."""
        self._claim = None
        self._pipeline.forget_photo()

    def _hear(self, message: object) -> None:
        match message:
            case Claim():
                self._drop_claim()
                self._claim = replace(message, photo=b"")
                self._show_photo(message)
                self._answer_at_once(message)
            case Doze(on=on):
                self._dozing = on

    def _show_photo(self, claim: Claim) -> None:
        """Let the pipeline compare with the card's own photograph, where it can be decoded."""
        picture = self._decoder.decode(claim.photo) if self._decoder is not None and claim.photo else b""
        if picture:
            pixels = np.frombuffer(picture, np.uint8).reshape(PHOTO_HEIGHT, PHOTO_WIDTH, 3)
            if not self._pipeline.show_photo(claim.person, pixels):
                log.info("no face was found in the photograph of a card")

    def _answer_at_once(self, claim: Claim) -> None:
        reading = self._pipeline.recheck(claim.person, time.monotonic())
        if reading is not None:
            self._pipe.send(reading)

    def _refresh_gallery(self) -> None:
        gallery = self._galleries.take()
        if gallery is not None:
            self._pipeline.gallery = gallery


def _checked(source: str) -> Source:
    where = check_source(source)
    if where.deep:
        raise PortSettingsError(f"camera: {where.shown} is to see faces, not temperatures; leave out format=y16")
    return where

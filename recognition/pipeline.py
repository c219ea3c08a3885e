"""Read faces: a picture in, who stands there out. The library's front door.

    picture → detect → nearest face → place → refine → crop → quality → embed → 1:1 against a claim, 1:N against all

A face with a problem is told as such and never compared. Unknown is unknown: no reading names somebody who did not
reach what was required.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from recognition import quality as judge
from recognition.align import CROP_SIZE, crop_face
from recognition.detect import Detector, Face, YuNet
from recognition.embed import Embedder, SFace
from recognition.errors import FaceUnusable, GalleryMismatch, RecognitionError
from recognition.gallery import Gallery, threshold_one_to_many
from recognition.models import DEFAULT_PACK, Manifest, load_manifest
from recognition.prepare import ensure_prepared
from recognition.quality import Quality
from recognition.readings import Candidate, FaceProblem, FaceReading, NoFace
from recognition.tracking import Follower, Tracker

CLEARLY_NEAREST = 2.5  # times the area of the next face: 1.6 times nearer to the camera, one step ahead in a queue
RECHECK_S = 2.0  # a card laid down within this time is compared with the face just seen, without a new frame
ONE_TO_ONE = 0.40  # verification of SFace: false accepts 0.1 % at 0.37, 0.01 % at 0.43 (face-pipeline D)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Template:
    """What is enrolled of a face. Shape: vector float32[d] of unit length. It must not leave the device."""

    vector: np.ndarray = field(repr=False)
    model: str
    quality: Quality


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a face has to reach."""

    one_to_one: float = ONE_TO_ONE
    one_to_many: float = 0.0  # 0: by the size of the gallery
    min_face_px: int = 80  # in a frame of the gate
    # In a picture for enrolment: the portraits of ORL have faces of 60 to 75 px and an equal error rate of 0.5 %, and
    # a card's photograph of 102×126 is not larger; a frame of the gate has noise and movement on top.
    min_template_px: int = 60

    def required(self, gallery: Gallery) -> float:
        """Return the similarity to be identified among everybody enrolled."""
        return self.one_to_many or threshold_one_to_many(gallery.template_count)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Seen:
    """The last usable look at the face in view."""

    reading: FaceReading
    vector: np.ndarray = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Judged:
    """A face after judgement: with a vector, or with the problem that forbids one."""

    problem: FaceProblem | None = None
    vector: np.ndarray | None = field(default=None, repr=False)
    quality: Quality | None = None


class Pipeline:
    """Look at pictures for one camera. Not for several threads at once."""

    def __init__(self, detector: Detector, embedder: Embedder, limits: Limits) -> None:
        self.detector = detector
        self.embedder = embedder
        self.limits = limits
        self._gallery = Gallery(embedder.model)
        self._tracker = Tracker()
        self._follower = Follower(detector)
        self._seen: _Seen | None = None

    @classmethod
    def open(
        cls,
        models_dir: Path,
        pack: str = DEFAULT_PACK,
        *,
        manifest: Manifest | None = None,
        threads: int = 1,
        detector_width: int = 320,
        min_face_px: int = 80,
        one_to_one: float = ONE_TO_ONE,
        one_to_many: float = 0.0,
    ) -> "Pipeline":
        """Return a pipeline with the models of a pack, prepared when they are not yet, checked by known vectors.

        `pack` is a name of the manifest, or the absolute folder of an InsightFace pack.
        Raises: ModelMissing, ModelDamaged, RecognitionError.
        """
        limits = Limits(one_to_one=one_to_one, one_to_many=one_to_many, min_face_px=min_face_px)
        if Path(pack).is_absolute():
            from recognition.packs import open_insightface

            if not one_to_many:
                raise RecognitionError(
                    "similarities by gallery size are known for the pack opencv-zoo only; "
                    "set [face] similarity_one_to_many for an InsightFace pack"
                )
            detector, embedder = open_insightface(Path(pack), detector_width=detector_width, threads=threads)
            return cls(detector, embedder, limits)
        files = (manifest or load_manifest()).pack(pack)
        yunet = YuNet(ensure_prepared(files.detector, models_dir), files.detector.known, width=detector_width)
        sface = SFace(files.embedder, ensure_prepared(files.embedder, models_dir, threads=threads), threads=threads)
        return cls(yunet, sface, limits)

    @property
    def model(self) -> str:
        """Return the fingerprint of the embedder; templates must carry the same."""
        return self.embedder.model

    @property
    def gallery(self) -> Gallery:
        """Return the gallery that faces are compared with."""
        return self._gallery

    @gallery.setter
    def gallery(self, gallery: Gallery) -> None:
        """Compare with another gallery from the next look on. Raises: GalleryMismatch when another model made it."""
        if gallery.model != self.model:
            raise GalleryMismatch(
                f"the gallery was made by {gallery.model}, the pipeline runs {self.model}; enrol again with this model"
            )
        self._gallery = gallery
        self._follower.drop()  # whoever was decided may have been removed

    def look(self, pixels: np.ndarray, at_mono: float, claim: str | None = None) -> FaceReading | NoFace:
        """Return what is known about the nearest face of a frame.

        Everybody enrolled is always searched; `claim` also answers whether this person stands there. `claimed` stays
        None for a person without a template.
        Shape: pixels uint8[h, w, 3], BGR.
        """
        faces = sorted(self.detector.detect(pixels), key=lambda face: -face.area)
        if not faces:
            self._seen = None
            return NoFace(at_mono=at_mono)
        face = faces[0]
        height, width = pixels.shape[:2]
        reading = FaceReading(
            at_mono=at_mono,
            track=self._tracker.follow(face, at_mono),
            box=face.box,
            frame_width=width,
            frame_height=height,
            confidence=face.confidence,
            model=self.model,
        )
        if self._seen is not None and self._seen.reading.track != reading.track:
            self._seen = None
        if len(faces) > 1 and face.area < CLEARLY_NEAREST * faces[1].area:
            # Which of them was compared last cannot be told apart any more: forget it.
            self._seen = None
            return replace(reading, problem=FaceProblem.SEVERAL)
        judged = self._judge(pixels, face, self.limits.min_face_px)
        if judged.vector is None:
            return replace(reading, problem=judged.problem)
        self._seen = _Seen(reading=self._searched(reading, judged.vector), vector=judged.vector)
        if self._seen.reading.identified is not None:
            self._follower.hold(face, pixels, at_mono)
        return replace(self._seen.reading, claimed=self._claimed(claim, judged.vector))

    def follow(self, pixels: np.ndarray, at_mono: float, claim: str | None = None) -> FaceReading | None:
        """Return the reading of the identified face that `look` decided, still in view, at a twentieth of its cost.

        None when nobody was identified or it is not certain that nothing changed; then `look` has to be asked. Also
        when a claimed person is not the one decided: another look may tell.
        Shape: pixels uint8[h, w, 3], BGR.
        """
        face = self._follower.follow(pixels, at_mono)
        if face is None or self._seen is None or self._seen.reading.track != self._tracker.follow(face, at_mono):
            return None
        reading = replace(self._seen.reading, at_mono=at_mono, box=face.box, confidence=face.confidence)
        self._seen = replace(self._seen, reading=reading)
        claimed = self._claimed(claim, self._seen.vector)
        return None if claimed is not None and not claimed.reached else replace(reading, claimed=claimed)

    def recheck(self, claim: str, at_mono: float) -> FaceReading | None:
        """Return the last usable look at the face in view, now compared with a claimed person; no new frame is needed.

        The reading keeps the time of its frame. None when no usable face was seen within `RECHECK_S`, or when it left.
        """
        if self._seen is None or at_mono - self._seen.reading.at_mono > RECHECK_S:
            return None
        return replace(self._seen.reading, claimed=self._claimed(claim, self._seen.vector))

    def forget(self) -> None:
        """Forget who was seen last: the camera was lost, and whoever stands there now may be somebody else."""
        self._seen = None
        self._follower.drop()

    def template(self, pixels: np.ndarray) -> Template:
        """Return what to enrol of the one face of a picture.

        Raises: FaceUnusable with the problem, or with None when there is no face.
        """
        faces = sorted(self.detector.detect(pixels), key=lambda face: -face.area)
        if not faces:
            raise FaceUnusable("no face was found in the picture; use an upright picture of one person", None)
        if len(faces) > 1 and faces[0].area < CLEARLY_NEAREST * faces[1].area:
            raise FaceUnusable("several faces are in the picture; use a picture of one person", FaceProblem.SEVERAL)
        judged = self._judge(pixels, faces[0], min(self.limits.min_template_px, self.limits.min_face_px))
        if judged.vector is None or judged.quality is None:
            raise FaceUnusable(f"the face cannot be enrolled: {judged.problem}; take another picture", judged.problem)
        return Template(vector=judged.vector, model=self.model, quality=judged.quality)

    def _judge(self, pixels: np.ndarray, face: Face, min_face_px: int) -> _Judged:
        height, width = pixels.shape[:2]
        if problem := judge.place_problem(face, width, height, min_face_px):
            return _Judged(problem=problem)
        face = self.detector.refine(pixels, face)
        crop = crop_face(pixels, face.landmarks)
        quality = judge.measure(face, crop)
        if problem := judge.problem(quality):
            return _Judged(problem=problem, quality=quality)
        if self.embedder.crop_size != CROP_SIZE:
            crop = crop_face(pixels, face.landmarks, self.embedder.crop_size)
        return _Judged(vector=self.embedder.embed(crop), quality=quality)

    def _searched(self, reading: FaceReading, vector: np.ndarray) -> FaceReading:
        nearest = self._gallery.closest(vector, k=1)
        required = self.limits.required(self._gallery)
        if not nearest:
            return replace(reading, required_similarity=required)
        person, similarity = nearest[0]
        known = Candidate(person=person, similarity=similarity, required=required, reached=True)
        return replace(
            reading,
            identified=known if similarity >= required else None,
            nearest_similarity=similarity,
            required_similarity=required,
        )

    def _claimed(self, claim: str | None, vector: np.ndarray) -> Candidate | None:
        similarity = None if claim is None else self._gallery.similarity_to(claim, vector)
        if claim is None or similarity is None:
            return None
        required = self.limits.one_to_one
        return Candidate(person=claim, similarity=similarity, required=required, reached=similarity >= required)

"""Read faces: a picture in, who stands there out. The library's front door.

    picture → detect → nearest face → place → refine → crop → quality → embed → fuse frames → 1:1 a claim, 1:N all

A face with a problem is told as such and never compared. Unknown is unknown: no reading names somebody who did not
reach what was required. One clear frame decides; else the best few are fused until a deadline, and what is still near
the limit then is doubtful. Who was decided on is followed by the box alone, and embedded again only now and then, or
when somebody is claimed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from recognition import quality as judge_quality
from recognition.align import CROP_SIZE, crop_face
from recognition.cardphoto import photo_vector
from recognition.detect import Detector, Face, YuNet, overlap
from recognition.embed import Embedder, SFace
from recognition.errors import FaceUnusable, GalleryMismatch, RecognitionError
from recognition.fusion import Evidence, judge
from recognition.gallery import Gallery
from recognition.models import DEFAULT_PACK, Manifest, load_manifest
from recognition.prepare import ensure_prepared
from recognition.quality import Quality
from recognition.readings import Candidate, FaceProblem, FaceReading, NoFace
from recognition.thresholds import CARD_PHOTO, FALSE_MATCH_RATE, ONE_TO_ONE, one_to_many
from recognition.tracking import Glance, Track, Tracker, find_near

CLEARLY_NEAREST = 2.5  # times the area of the next face: 1.6 times nearer to the camera, one step ahead in a queue
SURELY_SAME_OVERLAP = 0.5  # one who stands 1.6 times farther away overlaps a face in the same place by 0.4 at most
RECHECK_S = 2.0  # a card laid down within this time is compared with the face just seen, without a new frame
FRAMES = 3  # what three do over one is most of what any number does (see `fusion`)
# 20 people of ORL, three frames: the genuine are 0.18 and more ahead of the next person, 95 of 100 strangers less than
# 0.11. Brothers are nearer to each other than that, and get asked for their card.
MARGIN = 0.08
DEADLINE_S = 2.0  # twenty frames; who is not known then will not be known by waiting
RENEW_S = 5.0  # so often a decided face is embedded again, in case another took its place between two frames
AGAIN_S = 1.0  # so often one that is not known is, when it can be seen better than before
FULL_EVERY = 8  # of a decided face that is followed, so many frames make one that is searched whole for others
SAME_PERSON = 0.40  # below it a face in the same place is another person's; frames of one have 0.7 and more


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Template:
    """What is enrolled of a face. Shape: vector float32[d] of unit length. It must not leave the device."""

    vector: np.ndarray = field(repr=False)
    model: str
    quality: Quality


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a face has to reach: one figure for each question, see `recognition/thresholds.py`."""

    one_to_one: float = ONE_TO_ONE
    card_photo: float = CARD_PHOTO
    one_to_many: float = 0.0  # 0: by the size of the gallery and the next figure
    false_match_rate: float = FALSE_MATCH_RATE
    frames: int = FRAMES
    margin: float = MARGIN
    deadline_s: float = DEADLINE_S
    min_face_px: int = 80  # in a frame of the gate
    # In a picture for enrolment: the portraits of ORL have faces of 60 to 75 px and an equal error rate of 0.5 %, and
    # a card's photograph of 102×126 is not larger; a frame of the gate has noise and movement on top.
    min_template_px: int = 60

    def required(self, gallery: Gallery) -> float:
        """Return the similarity to be identified among everybody enrolled."""
        return self.one_to_many or one_to_many(gallery.template_count, self.false_match_rate)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Photo:
    """The photograph of the card that lies on the reader, as a vector."""

    person: str
    vector: np.ndarray = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Judged:
    """A face after judgement: with a vector, or with the problem that forbids one."""

    problem: FaceProblem | None = None
    vector: np.ndarray | None = field(default=None, repr=False)
    quality: Quality | None = None


_Gains = Callable[[Quality], bool]


class Pipeline:
    """Look at pictures for one camera. Not for several threads at once."""

    def __init__(self, detector: Detector, embedder: Embedder, limits: Limits) -> None:
        self.detector = detector
        self.embedder = embedder
        self.limits = limits
        self._gallery = Gallery(embedder.model)
        self._tracker = Tracker()
        self._track: Track | None = None
        self._photo: _Photo | None = None

    @classmethod
    def open(
        cls,
        models_dir: Path,
        pack: str = DEFAULT_PACK,
        *,
        manifest: Manifest | None = None,
        threads: int = 1,
        detector_width: int = 320,
        limits: Limits | None = None,
    ) -> "Pipeline":
        """Return a pipeline with the models of a pack, prepared when they are not yet, checked by known vectors.

        `pack` is a name of the manifest, or the absolute folder of an InsightFace pack. Without `limits`
        those of the house hold.
        Raises: ModelMissing, ModelDamaged, RecognitionError.
        """
        limits = limits or Limits()
        if Path(pack).is_absolute():
            from recognition.packs import open_insightface

            if not limits.one_to_many:
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
        """Compare with another gallery from the next look on, and forget who was found in the one before.

        Raises: GalleryMismatch when another model made it.
        """
        if gallery.model != self.model:
            raise GalleryMismatch(
                f"the gallery was made by {gallery.model}, the pipeline runs {self.model}; enrol again with this model"
            )
        self._gallery = gallery
        if self._track is not None:  # who was decided on may have been added or deleted: ask again
            self._track.reading, self._track.settled = None, False

    def look(self, pixels: np.ndarray, at_mono: float, claim: str | None = None) -> FaceReading | NoFace:
        """Return what is known about the nearest face of a frame.

        Everybody enrolled is always searched; `claim` also answers whether this person stands there. `claimed` stays
        None for a person without a template.
        Shape: pixels uint8[h, w, 3], BGR.
        """
        faces = self._faces(pixels)
        if not faces:
            self._track = None
            return NoFace(at_mono=at_mono)
        face = faces[0]
        number = self._tracker.follow(face, at_mono)
        reading = self._plain_reading(pixels, face, number, at_mono)
        if len(faces) > 1 and face.area < CLEARLY_NEAREST * faces[1].area:
            # Which of them was compared last cannot be told apart any more: forget it.
            self._track = None
            return replace(reading, problem=FaceProblem.SEVERAL)
        track = self._followed(face, number)
        asked = self._must_embed(track, claim, at_mono)
        still = not track.known or (track.glance is not None and track.glance.still_there(pixels, at_mono))
        if still and not asked:
            track.glance = Glance.of(pixels, face, at_mono) if track.known else None
            return self._renewed(track, reading, claim)
        judged = self._judge(pixels, face, self.limits.min_face_px, embed=self._gains(track) if still else None)
        if judged.problem is not None or judged.quality is None:
            return replace(reading, problem=judged.problem)
        taken = self._taken(track, reading, judged, claim)
        if self._track is not None and self._track.known:
            self._track.glance = Glance.of(pixels, face, at_mono)
        return taken

    def recheck(self, claim: str, at_mono: float) -> FaceReading | None:
        """Return the last usable look at the face in view, now compared with a claimed person; no new frame is needed.

        The reading keeps the time of its frame. None when no usable face was seen within `RECHECK_S`, or when it left.
        """
        track = self._track
        if track is None or track.reading is None or at_mono - track.embedded_mono > RECHECK_S:
            return None
        self._open_claim(track, claim, at_mono)
        return self._renewed(track, track.reading, claim)

    def show_photo(self, person: str, pixels: np.ndarray) -> bool:
        """Compare with the photograph of this person's card from now on; return whether a face is in it.

        It serves a claim of this person when nothing of them is enrolled, until `forget_photo`; only a vector is kept.
        Shape: pixels uint8[126, 102, 3], BGR.
        """
        self._photo = None
        vector = photo_vector(pixels, self.detector, self.embedder)
        if vector is not None:
            self._photo = _Photo(person=person, vector=vector)
        return vector is not None

    def forget_photo(self) -> None:
        """Forget the photograph of the card."""
        self._photo = None

    def forget(self) -> None:
        """Forget who was seen last: the camera was lost, and whoever stands there now may be somebody else."""
        self._track = None

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

    # -- one frame ----------------------------------------------------------------------------------------------------

    def _faces(self, pixels: np.ndarray) -> list[Face]:
        """Return the faces in view, the largest first; of one that was decided on, mostly itself alone."""
        track = self._track
        if track is not None and track.known and track.near_looks < FULL_EVERY - 1:
            near = find_near(self.detector, pixels, track.face)
            if near is not None:
                track.near_looks += 1
                return [near]
        if track is not None:
            track.near_looks = 0
        return sorted(self.detector.detect(pixels), key=lambda face: -face.area)

    def _plain_reading(self, pixels: np.ndarray, face: Face, number: int, at_mono: float) -> FaceReading:
        height, width = pixels.shape[:2]
        return FaceReading(
            at_mono=at_mono,
            track=number,
            box=face.box,
            frame_width=width,
            frame_height=height,
            confidence=face.confidence,
            model=self.model,
        )

    def _judge(self, pixels: np.ndarray, face: Face, min_face_px: int, *, embed: _Gains | None = None) -> _Judged:
        """Judge a face and embed it; where `embed` is given, only when it says that this quality is worth it."""
        height, width = pixels.shape[:2]
        if problem := judge_quality.place_problem(face, width, height, min_face_px):
            return _Judged(problem=problem)
        face = self.detector.refine(pixels, face)
        crop = crop_face(pixels, face.landmarks)
        quality = judge_quality.measure(face, crop)
        if problem := judge_quality.problem(quality):
            return _Judged(problem=problem, quality=quality)
        if embed is not None and not embed(quality):
            return _Judged(quality=quality)
        if self.embedder.crop_size != CROP_SIZE:
            crop = crop_face(pixels, face.landmarks, self.embedder.crop_size)
        return _Judged(vector=self.embedder.embed(crop), quality=quality)

    # -- one face over frames -----------------------------------------------------------------------------------------

    def _followed(self, face: Face, number: int) -> Track:
        """Return what is known of this face; nothing when it moved too far to be surely the one before."""
        track = self._track
        if track is None or track.number != number or overlap(track.face.box, face.box) < SURELY_SAME_OVERLAP:
            track = self._track = Track(number=number, face=face, evidence=Evidence(self.limits.frames))
        track.face = face
        return track

    def _open_claim(self, track: Track, claim: str, at_mono: float) -> None:
        if claim != track.claim:
            track.claim, track.settled = claim, False
            track.until_mono = at_mono + self.limits.deadline_s

    def _must_embed(self, track: Track, claim: str | None, at_mono: float) -> bool:
        """Whether this frame has to be compared, or what is known already is enough."""
        if claim is None:
            track.claim = None
        elif claim != track.claim:
            self._open_claim(track, claim, at_mono)
            return True
        if track.reading is None or not (track.known or track.settled):
            return True
        return at_mono - track.tried_mono > (RENEW_S if track.known else AGAIN_S)

    def _gains(self, track: Track) -> _Gains | None:
        """Return the test whether a frame of some quality is worth embedding; None when every one is."""
        if not track.settled or track.known:
            return None
        return lambda quality: track.evidence.gains_by(judge_quality.weight(quality))

    def _taken(self, track: Track, reading: FaceReading, judged: _Judged, claim: str | None) -> FaceReading:
        """Take a usable frame in and return what is known with it."""
        now = track.tried_mono = reading.at_mono
        if judged.vector is None or judged.quality is None:
            return self._renewed(track, reading, claim)
        if track.evidence.likeness(judged.vector) < SAME_PERSON:
            reading = replace(reading, track=self._tracker.part())
            track = self._track = Track(number=reading.track, face=track.face, evidence=Evidence(self.limits.frames))
            track.tried_mono, track.claim = now, claim
        track.evidence.add(judged.vector, judge_quality.weight(judged.quality))
        track.embedded_mono = now
        if track.until_mono is None:
            track.until_mono = now + self.limits.deadline_s
        searched = self._searched(reading, track)
        track.settled = track.settled or (track.evidence.enough and now >= track.until_mono)
        track.reading = replace(searched, settled=track.settled, claimed=self._claimed(track, claim))
        return track.reading

    def _renewed(self, track: Track, reading: FaceReading, claim: str | None) -> FaceReading:
        """Return what is known of a face, seen in a new frame that needs no comparison."""
        known = track.reading
        if known is None:
            return reading
        track.reading = replace(
            known,
            at_mono=reading.at_mono, box=reading.box, confidence=reading.confidence,
            frame_width=reading.frame_width, frame_height=reading.frame_height,
            settled=track.settled, claimed=self._claimed(track, claim),
        )  # fmt: skip
        return track.reading

    # -- comparing ----------------------------------------------------------------------------------------------------

    def _searched(self, reading: FaceReading, track: Track) -> FaceReading:
        nearest = self._gallery.closest(track.evidence.fused, k=2)
        required = self.limits.required(self._gallery)
        reading = replace(
            reading,
            required_similarity=required, required_margin=self.limits.margin, frames=track.evidence.count,
        )  # fmt: skip
        if not nearest:
            return reading
        person, similarity = nearest[0]
        margin = similarity - nearest[1].similarity if len(nearest) > 1 else None
        verdict = judge(
            similarity,
            required,
            apart=margin is None or margin >= self.limits.margin,
            confirmed=track.evidence.enough and not track.settled,
        )
        template = self._gallery.template_like(person, track.evidence.fused) if verdict.reached else ""
        known = Candidate(person=person, similarity=similarity, required=required, reached=True, template=template)
        return replace(
            reading,
            identified=known if verdict.reached else None,
            nearest_similarity=similarity,
            margin=margin,
            doubtful=verdict.doubtful,
        )

    def _claimed(self, track: Track, claim: str | None) -> Candidate | None:
        if claim is None:
            return None
        required, by_photo = self.limits.one_to_one, False
        similarity = self._gallery.similarity_to(claim, track.evidence.fused)
        if similarity is None and self._photo is not None and self._photo.person == claim:
            required, by_photo = self.limits.card_photo, True
            similarity = float(self._photo.vector @ track.evidence.fused)
        if similarity is None:
            return None
        verdict = judge(similarity, required, apart=True, confirmed=track.evidence.enough)
        named = verdict.reached and not by_photo
        return Candidate(
            person=claim, similarity=similarity, required=required,
            reached=verdict.reached, doubtful=verdict.doubtful, by_photo=by_photo,
            template=self._gallery.template_like(claim, track.evidence.fused) if named else "",
        )  # fmt: skip

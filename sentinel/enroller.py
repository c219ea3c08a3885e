"""Make members of the roster from what a line says: pictures to templates, with a consent that is recorded first."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from recognition.errors import FaceUnusable
from recognition.pipeline import Limits, Pipeline
from sentinel import clocks, gallery_papers, roster
from sentinel.core.consent import ConsentGiven, expiry_of
from sentinel.core.errors import DataError
from sentinel.enrol_card import photo_template
from sentinel.enrol_check import Crowd, Picked, PictureProblem, is_unlike, pick
from sentinel.enrol_lines import RosterLine
from sentinel.enrol_report import Note
from sentinel.roster import CARD_PHOTO
from sentinel.settings import Settings
from sync.vault import Vault

MOST_PICTURE_BYTES = 64 * 2**20  # a photograph of 100 megapixels; more is no photograph
KEPT_MARGIN = 0.6  # of the face's size on each side: what detection and alignment of another model need, not the room
KEPT_MOST_PX = 640
_JPEG_QUALITY = 95


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """What became of a line: the member, what happened to single pictures, and the pictures that may be kept."""

    member: roster.Member
    notes: tuple[Note, ...] = ()
    pictures: Mapping[str, bytes] = field(default_factory=dict, repr=False)  # by id of their template


class NoPictureServes(DataError):
    """None of a line's pictures can become a template; `notes` say why of each."""

    def __init__(self, notes: Iterable[Note]) -> None:
        self.notes = tuple(notes)
        super().__init__(f"none of the {len(self.notes)} pictures can be used; the first: {self.notes[0].told}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Candidate:
    """A picture that holds one usable face."""

    file: str
    template: roster.Template
    vector: np.ndarray = field(repr=False)
    pixels: np.ndarray = field(repr=False)


class Enroller:
    """Enrol one person after the other. `dry_run`: everything is judged and nothing recorded."""

    def __init__(
        self, settings: Settings, vault: Vault, members: Mapping[str, roster.Member], *, dry_run: bool = False
    ) -> None:
        """Remember whom to compare with; the models are loaded when the first picture comes."""
        self.shots: Mapping[str, np.ndarray] = {}  # pictures that were taken here, by the names that a line gives them
        self.shots_source = "camera"  # or CARD_PHOTO
        self._settings = settings
        self._vault = vault
        self._members = members
        self._dry_run = dry_run
        self._pipeline: Pipeline | None = None
        self._crowd: Crowd | None = None

    def member(self, line: RosterLine, members: Mapping[str, roster.Member]) -> Enrolled:
        """Return the member this line describes; what it leaves out stays as the members have it.

        Raises: DataError naming a picture. SentinelError when a consent or a removal cannot be recorded.
        RecognitionError when the face models cannot serve.
        """
        token = self._vault.token(line.number)
        known = members.get(token, roster.Member(token=token, name=line.name, number=line.number))
        member = replace(
            known,
            name=line.name,
            number=line.number,
            allowed=known.allowed if line.allowed is None else line.allowed,
            valid_until=line.valid_until or known.valid_until,
        )
        if line.pictures is None:
            return Enrolled(member=member)
        if not line.pictures or line.consent is None:
            return Enrolled(member=self._without_face(member, line.consent))
        return self._with_face(member, known, line, line.consent)

    def crowd_takes(self, member: roster.Member) -> None:
        """Compare whoever comes next with this member too."""
        if self._crowd is not None:
            self._crowd.put(member)

    def _without_face(self, known: roster.Member, consent: ConsentGiven | None) -> roster.Member:
        bare = replace(known, templates=(), quarantined=(), consent=None)
        if known.templates or known.quarantined:
            said = consent.ref if consent else "pictures: []"
            self.record(gallery_papers.consent_request(bare, act="removed", consent=said, model=""))
        return bare

    def _with_face(
        self, member: roster.Member, known: roster.Member, line: RosterLine, consent: ConsentGiven
    ) -> Enrolled:
        candidates, notes = self._candidates(line, consent)
        picked = self._pick(candidates, known) if candidates else Picked(kept=(), refused={})
        refused = picked.refused.items()
        notes += [_refused(candidates[number].file, problem, _WORDS[problem]) for number, problem in refused]
        if not picked.kept:
            raise NoPictureServes(notes)
        chosen = [candidates[number] for number in picked.kept]
        suspects = self._suspects(known, chosen)
        kept = [one.template for number, one in enumerate(chosen) if number not in suspects]
        aside = [replace(chosen[number].template, why=why, other=other) for number, (why, other) in suspects.items()]
        pictures = self._pictures(chosen) if consent.keep_picture else {}
        kept, aside = ([replace(one, has_picture=one.id in pictures) for one in some] for some in (kept, aside))
        fresh = replace(member, templates=tuple(kept), quarantined=(*known.quarantined, *aside), consent=consent)
        self._record_face(fresh, known, aside, consent)
        notes += [_set_aside(chosen[number].file, why, other) for number, (why, other) in suspects.items()]
        return Enrolled(member=fresh, notes=tuple(notes), pictures=pictures)

    def _candidates(self, line: RosterLine, consent: ConsentGiven) -> tuple[list[_Candidate], list[Note]]:
        found: list[_Candidate] = []
        notes: list[Note] = []
        expires = line.expires or expiry_of(line.number, clocks.today(), self._settings.face.template_days)
        for path in line.pictures or ():
            try:
                shot = self.shots.get(path)
                pixels = read_picture(path) if shot is None else shot
                source = "picture" if shot is None else self.shots_source
                template, vector = self.template(pixels, consent=consent.ref, source=source, expires=expires)
            except _Unreadable as error:
                notes.append(_refused(path, error.problem, str(error)))
            except FaceUnusable as error:
                notes.append(_refused(path, error.problem or PictureProblem.NO_FACE, str(error)))
            else:
                found.append(_Candidate(file=path, template=template, vector=vector, pixels=pixels))
        return found, notes

    def template(
        self, pixels: Any, *, consent: str, source: str, expires: date | None
    ) -> tuple[roster.Template, np.ndarray]:
        """Return the template of the one face of a picture, and its vector.

        Raises: FaceUnusable. RecognitionError when the models cannot serve.
        """
        made = photo_template(pixels, self.ready()) if source == CARD_PHOTO else self.ready().template(pixels)
        quality = made.quality
        template = roster.Template(
            model=made.model,
            vector=np.asarray(made.vector, "<f4").tobytes(),
            consent=consent,
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            id=uuid.uuid4().hex[:12],
            source=source,
            expires=expires,
            quality=roster.Figures(
                face_px=round(quality.face_px, 1),
                turn=round(quality.turn, 3),
                sharpness=round(quality.sharpness, 2),
                brightness=round(quality.brightness, 1),
                burnt=round(quality.burnt, 3),
            ),
        )
        return template, np.asarray(made.vector, np.float32)

    def _pick(self, candidates: list[_Candidate], known: roster.Member) -> Picked:
        bad = [
            np.frombuffer(template.vector, "<f4")
            for template in known.quarantined
            if template.why == "not-me" and template.model == self.ready().model
        ]
        vectors = np.stack([one.vector for one in candidates])
        return pick(vectors, self._settings.face.similarity_one_to_one, bad)

    def _suspects(self, known: roster.Member, chosen: list[_Candidate]) -> dict[int, tuple[str, str]]:
        model = self.ready().model
        if self._crowd is None:
            one_to_many = self._settings.face.similarity_one_to_many
            self._crowd = Crowd(model, self._members.values(), one_to_many)
        vectors = np.stack([one.vector for one in chosen])
        before = [np.frombuffer(one.vector, "<f4") for one in known.templates if one.model == model]
        unlike = is_unlike(vectors, before, self._settings.face.similarity_one_to_one)
        changed = dict.fromkeys(range(len(chosen)), ("unlike-before", "")) if unlike else {}
        return changed | self._crowd.suspects(known.token, vectors)

    def _pictures(self, chosen: list[_Candidate]) -> dict[str, bytes]:
        """Return the part of each picture that another model will need, where it serves as well as the whole.

        The photograph of a card is never kept.
        """
        found = {}
        for one in chosen:
            data = None if one.template.source == CARD_PHOTO else self._face_only(one)
            if data is not None:
                found[one.template.id] = data
        return found

    def _face_only(self, one: _Candidate) -> bytes | None:
        face = max(self.ready().detector.detect(one.pixels), key=lambda face: face.area)
        margin = KEPT_MARGIN * max(face.width, face.height)
        top, left = max(0, int(face.y - margin)), max(0, int(face.x - margin))
        bottom, right = int(face.y + face.height + margin), int(face.x + face.width + margin)
        part = one.pixels[top:bottom, left:right]
        shrink = KEPT_MOST_PX / max(part.shape[:2])
        if shrink < 1:
            part = cv2.resize(part, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        written, data = cv2.imencode(".jpg", part, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        try:
            pixels = cv2.imdecode(data, cv2.IMREAD_COLOR) if written else None
            again = None if pixels is None else self.ready().template(pixels)
        except FaceUnusable:
            return None
        serves = again is not None and float(again.vector @ one.vector) >= self._settings.face.similarity_one_to_one
        return data.tobytes() if serves else None

    def _record_face(
        self, fresh: roster.Member, known: roster.Member, aside: list[roster.Template], consent: ConsentGiven
    ) -> None:
        act = "re-enrolled" if known.templates or known.quarantined else "enrolled"
        model = (*fresh.templates, *aside)[0].model
        self.record(gallery_papers.consent_request(fresh, act=act, consent=consent.ref, model=model))
        for why in sorted({template.why for template in aside}):
            some = [template for template in aside if template.why == why]
            self.record(gallery_papers.template_request(fresh, some, act="quarantined", reason=why))

    def record(self, request: Mapping[str, Any]) -> None:
        """Keep an entry before the roster changes.

        Raises: SentinelError when it could not be kept.
        """
        if not self._dry_run:
            gallery_papers.keep(self._settings.paths.manual_socket, self._settings.source, request)

    def ready(self) -> Pipeline:
        """Return the pipeline, with its models loaded once.

        Raises: RecognitionError when they cannot serve.
        """
        if self._pipeline is None:
            face = self._settings.face
            self._pipeline = Pipeline.open(
                self._settings.paths.models_dir,
                pack=face.pack,
                threads=face.threads,
                detector_width=face.detector_width,
                limits=Limits(one_to_many=face.similarity_one_to_many),
            )
        return self._pipeline


class _Unreadable(DataError):
    """A file is no picture that can be used."""

    def __init__(self, problem: PictureProblem, told: str) -> None:
        super().__init__(told)
        self.problem = problem


def read_picture(path: str) -> np.ndarray:
    """Return the pixels of a file.

    Shape: uint8[h, w, 3], BGR.
    Raises: DataError with a `problem`.
    """
    file = Path(path)
    if not file.is_file():
        raise _Unreadable(PictureProblem.MISSING, f"{path} is no picture: there is no such file")
    if file.stat().st_size > MOST_PICTURE_BYTES:
        raise _Unreadable(PictureProblem.TOO_BIG, f"{path} is no picture of a person; use one below 64 MB")
    try:
        pixels = cv2.imread(path, cv2.IMREAD_COLOR)
    except cv2.error as error:  # a picture of more than 2³⁰ pixels
        raise _Unreadable(PictureProblem.TOO_BIG, f"{path} is no picture that can be read ({error.err})") from error
    if pixels is None:
        raise _Unreadable(PictureProblem.UNREADABLE, f"{path} is no picture that can be read")
    return pixels


_WORDS = {
    PictureProblem.DUPLICATE: "the same picture was given before; give different ones",
    PictureProblem.OTHER_PERSON: "it shows somebody else than the other pictures; compare them",
    PictureProblem.DISAGREE: "the pictures do not show one person; compare them",
    PictureProblem.WAS_NOT_ME: "with this picture a stranger was taken for this person; take a new one",
    PictureProblem.SPARE: "enough pictures more different than this one are kept",
}


def _refused(file: str, reason: str, told: str) -> Note:
    return Note(line=0, outcome="picture-refused", file=file, reason=str(reason), told=told)


def _set_aside(file: str, why: str, other: str) -> Note:
    like = f"closer to {other[:8]} than it may be" if other else "unlike this person's face before"
    told = f"the face is {like}; look at both: sentinelctl people quarantine"
    return Note(line=0, outcome="quarantined", file=file, reason=why, told=told)

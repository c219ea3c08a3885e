"""Make templates anew after a change of model: from pictures kept by consent; of the others say whom to re-enrol."""

import json
import sys
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass, replace

import cv2
import numpy as np

from recognition.errors import FaceUnusable
from sentinel import gallery_papers, roster
from sentinel.core.citizen import mask_name
from sentinel.enroller import Enroller

_PUBLISH_EVERY = 200
KEPT = "kept-picture"

Pictures = Callable[[Iterable[str]], Iterable[tuple[str, bytes]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    """Whose templates the present model has made anew, and who has none of this model and no picture that serves."""

    model: str
    renewed: tuple[roster.Member, ...]
    again: tuple[roster.Member, ...]


def renew_all(
    enroller: Enroller,
    members: MutableMapping[str, roster.Member],
    publish: Callable[[], None],
    pictures_of: Pictures,
    *,
    dry_run: bool,
) -> Renewed:
    """Put a template of the present model in the place of each older one whose picture was kept.

    Each is in the ledger before the roster changes. Templates without a picture stay: they are not used, and serve
    again when the model before comes back. Raises: SentinelError when an entry cannot be kept, RecognitionError.
    """
    model = enroller.ready().model
    renewed: list[roster.Member] = []
    again: list[roster.Member] = []
    try:
        for member in tuple(members.values()):
            if all(one.model == model for one in member.templates):
                continue
            fresh, made = _renewed(enroller, member, model, pictures_of)
            if made:
                enroller.record(gallery_papers.template_request(fresh, made, act="re-embedded", reason="model-changed"))
                members[member.token] = fresh
                renewed.append(fresh)
                if len(renewed) % _PUBLISH_EVERY == 0 and not dry_run:
                    publish()
            if not any(one.model == model for one in fresh.templates):
                again.append(fresh)
    finally:
        if renewed and not dry_run:
            publish()
    return Renewed(model=model, renewed=tuple(renewed), again=tuple(again))


def _renewed(
    enroller: Enroller, member: roster.Member, model: str, pictures_of: Pictures
) -> tuple[roster.Member, list[roster.Template]]:
    wanted = [one.id for one in member.templates if one.model != model and one.has_picture]
    made: dict[str, roster.Template] = {}
    for id_, data in pictures_of(wanted):
        old = next(one for one in member.templates if one.id == id_)
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if pixels is None:
            continue
        try:
            new, _ = enroller.template(pixels, consent=old.consent, source=KEPT, expires=old.expires)
        except FaceUnusable:
            continue
        made[id_] = replace(new, id=id_, has_picture=True)  # the picture stays under the id of its template
    templates = tuple(made.get(one.id, one) for one in member.templates)
    return replace(member, templates=templates), list(made.values())


def tell_renewed(found: Renewed, *, dry_run: bool, as_json: bool) -> int:
    """Print what was done and who has to come again; 0, for it is nobody's fault."""
    would = "would be " if dry_run else ""
    print(
        f"{len(found.renewed)} people {would}made anew for {found.model}, {len(found.again)} to be enrolled again",
        file=sys.stderr,
    )
    people = [{"token": member.token, "name": mask_name(member.name)} for member in found.again]
    if as_json:
        document = {
            "schema": "sentinel.re-embedding/1",
            "dry_run": dry_run,
            "model": found.model,
            "renewed": [member.token for member in found.renewed],
            "enrol_again": people,
        }
        print(json.dumps(document, ensure_ascii=False))
    else:
        for person in people:
            print(f"{person['token'][:8]}  {person['name']}")
    return 0

"""Plan what an archive changes in a roster: who is new, who is known, which templates look like somebody else here."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from sentinel.core.errors import DataError
from sentinel.enrol_check import Crowd
from sentinel.gallery_archive import Archive
from sentinel.roster import Member, Template


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A person whom the archive brings, as they will be, and the templates that are set aside on the way in."""

    member: Member
    new: bool
    aside: tuple[Template, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would change. `known` are people of the archive who are here already and stay as they are."""

    taken: tuple[Taken, ...]
    known: tuple[str, ...]  # tokens


def plan_import(
    archive: Archive,
    members: Mapping[str, Member],
    token_of: Callable[[str], str],
    *,
    replace_known: bool,
    one_to_many: float = 0.0,
) -> Plan:
    """Return the plan; nothing is changed by it.

    Raises: DataError when a template of the archive has the id, or a model's vectors the length, of others here.
    """
    brought = [replace(member, token=token_of(member.number)) for member in archive.members]
    known = tuple(member.token for member in brought if member.token in members and not replace_known)
    wanted = [member for member in brought if member.token not in known]
    staying = {token: member for token, member in members.items() if token not in {one.token for one in wanted}}
    _check_against(wanted, staying)
    crowds = {
        model: Crowd(model, staying.values(), one_to_many)
        for model in {one.model for member in wanted for one in member.templates}
    }
    taken = tuple(_taken(member, crowds, new=member.token not in members) for member in wanted)
    return Plan(taken=taken, known=known)


def _check_against(wanted: list[Member], staying: Mapping[str, Member]) -> None:
    here = {one.id for member in staying.values() for one in _all(member)}
    lengths = {one.model: len(one.vector) for member in staying.values() for one in _all(member)}
    for one in (one for member in wanted for one in _all(member)):
        if one.id in here:
            raise DataError(f"template {one.id} belongs to somebody else here; nothing is taken")
        if lengths.get(one.model, len(one.vector)) != len(one.vector):
            raise DataError(f"vectors of {one.model} have another length here; nothing is taken")


def _all(member: Member) -> Iterator[Template]:
    yield from member.templates
    yield from member.quarantined


def _taken(member: Member, crowds: Mapping[str, Crowd], *, new: bool) -> Taken:
    aside: dict[str, Template] = {}
    for model, crowd in crowds.items():
        mine = [one for one in member.templates if one.model == model]
        if not mine:
            continue
        vectors = np.stack([np.frombuffer(one.vector, "<f4") for one in mine])
        for number, (why, other) in crowd.suspects(member.token, vectors).items():
            aside[mine[number].id] = replace(mine[number], why=why, other=other)
    kept = tuple(one for one in member.templates if one.id not in aside)
    whole = replace(member, templates=kept, quarantined=(*member.quarantined, *aside.values()))
    for crowd in crowds.values():
        crowd.put(whole)
    return Taken(member=whole, new=new, aside=tuple(aside.values()))

"""At the shipped thresholds a stranger has no name, whoever of the people at hand is the stranger."""

from itertools import combinations

import pytest

from recognition.pipeline import Limits

PEOPLE = {
    "a": ("person_a_1", "person_a_2"),
    "b": ("person_b_1", "person_b_2"),
    "c": ("obama", "obama2", "impostor_1"),
    "d": ("impostor_2",),
}
HALVES = list(combinations(PEOPLE, 2))


@pytest.fixture(scope="module")
def vectors(scene, opened):
    """Every picture's vector, made once."""
    return {name: opened.template(scene(name)).vector for names in PEOPLE.values() for name in names}


@pytest.mark.models
@pytest.mark.parametrize("known", HALVES, ids="".join)
def test_half_of_the_people_are_unknown_and_none_of_them_is_named(known, scene, pipeline, vectors):
    pipeline.limits = Limits()
    pipeline.gallery = type(pipeline.gallery)(pipeline.model, {person: vectors[PEOPLE[person][0]] for person in known})
    for person, pictures in PEOPLE.items():
        for picture in pictures:
            pipeline.forget()  # each picture is another person's visit
            reading = pipeline.look(scene(picture, seed=2), 0.0)
            named = reading.identified.person if reading.identified else None
            assert named == (person if person in known else None), f"{picture} was taken for {named}"

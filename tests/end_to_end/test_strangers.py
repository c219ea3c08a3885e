"""Nobody who is not enrolled opens the gate by face, in whatever order, for however long, or in whose place."""

import random

import pytest

from sentinel.rehearsal import Rehearsal, synthetic_person

from .conftest import number_of, until_mode

pytestmark = [pytest.mark.models, pytest.mark.timeout(240)]

RESIDENT = ("obama.jpg", "obama2.jpg", "obama3.jpg")  # as enrolled; impostor_1 is another photograph of the same man
FAR_AWAY = "biden.jpg"  # too small a face to be compared
STRANGERS = ("impostor_2.jpg", "person_a_1.jpg", "person_a_2.jpg", "person_b_1.jpg", "person_b_2.jpg")
LONGEST_STAY_S = 2.5  # longer than the deadline of a decision over frames
STAYS = 9


@pytest.fixture
def place(tmp_path_factory, models_dir, faces_dir):
    """A gate that opens by face alone, without temperature: nothing but the face keeps a stranger out."""
    settings = {"temperature = true": "temperature = false"}
    with Rehearsal(tmp_path_factory.mktemp("s"), models_dir=models_dir, settings=settings) as built:
        built.start("world", "gate")
        built.enrol([synthetic_person("样本甲", number_of(1), [faces_dir / name for name in RESIDENT])])
        until_mode(built, "automatic", 60.0)
        yield built


def passages(stage: Rehearsal) -> list[dict]:
    with stage.reader() as reader:
        return [entry.data for entry in reversed(reader.newest(1000, "passage"))]


def arrive(stage: Rehearsal, picture: str) -> None:
    stage.world("arrive", picture=picture, card=None, skin_celsius=36.4)


def test_zero_strangers_open_the_gate_and_the_resident_does(place, faces_dir):
    chance = random.Random(20261126)
    for number, name in enumerate(STRANGERS):
        arrive(place, str(faces_dir / name))
        place.wait(lambda seen=number: len(passages(place)) > seen or None, 20.0)
        place.leave()
    for _ in range(STAYS):
        who = chance.choice((*STRANGERS, FAR_AWAY))
        arrive(place, str(faces_dir / who))  # half of them in the place of the one before
        stay_s = chance.uniform(0.3, LONGEST_STAY_S)
        place.wait(seen_for(stay_s), 60.0)
        if chance.random() < 0.5:
            place.leave()
    place.leave()
    strangers = passages(place)
    assert {passage["outcome"] for passage in strangers} == {"hold"}
    assert all("person" not in passage for passage in strangers)
    assert sum(edge["value"] for edge in place.world("edges")["edges"]) == 0

    arrive(place, str(faces_dir / "impostor_1.jpg"))
    known = place.wait(lambda: passages(place)[len(strangers) :] or None, 20.0)[0]
    assert (known["outcome"], known["method"]) == ("open", "face")
    assert known["similarity"] >= known["similarity_required"]
    assert known["face_frames"] >= 1
    assert known["face_against"] == "everybody"


def seen_for(stay_s: float):
    """Return a look that finds something when so many looks of the rehearsal have gone by."""
    from sentinel.rehearsal import LOOK_S

    left = [round(stay_s / LOOK_S)]

    def look() -> bool | None:
        left[0] -= 1
        return True if left[0] <= 0 else None

    return look

"""Which pictures become templates: one person's, the most different, and nobody's who looks like somebody else."""

import numpy as np
from gallery_sample import axis, face, member, template

from sentinel.enrol_check import MOST_TEMPLATES, Crowd, PictureProblem, Suspect, is_unlike, pick, suspects_of_all

SAME = 0.40


def looks(*pairs):
    return np.stack([face(person, look) for person, look in pairs])


def test_the_odd_picture_among_a_persons_is_refused():
    picked = pick(looks((1, 0), (1, 1), (2, 2), (1, 3)), SAME)
    assert picked.refused == {2: PictureProblem.OTHER_PERSON}
    assert sorted(picked.kept) == [0, 1, 3]


def test_without_a_majority_none_is_taken():
    for pairs in (((1, 0), (2, 1)), ((1, 0), (1, 1), (2, 2), (2, 3)), ((1, 0), (2, 1), (3, 2))):
        picked = pick(looks(*pairs), SAME)
        assert picked.kept == ()
        assert set(picked.refused.values()) == {PictureProblem.DISAGREE}


def test_a_picture_given_twice_has_no_second_vote():
    picked = pick(looks((1, 0), (1, 0), (2, 1)), SAME)
    assert picked.kept == ()
    assert picked.refused == {0: "pictures-disagree", 1: "duplicate", 2: "pictures-disagree"}


def test_of_many_the_most_different_are_kept():
    near = [face(1, 0, like) for like in (0.5, 0.75, 0.95)]  # three of nearly the same look
    apart = [face(1, look) for look in range(1, 5)]
    picked = pick(np.stack([*near, *apart]), SAME)
    assert len(picked.kept) == MOST_TEMPLATES
    assert {3, 4, 5, 6} <= set(picked.kept), "the looks that are like no other"
    assert set(picked.refused.values()) == {PictureProblem.SPARE}


def test_one_picture_is_enough():
    assert pick(looks((1, 0)), SAME).kept == (0,)


def test_the_picture_that_let_a_stranger_in_never_comes_back():
    picked = pick(looks((1, 0), (1, 1)), SAME, [face(1, 0)])
    assert picked.kept == (1,)
    assert picked.refused == {0: PictureProblem.WAS_NOT_ME}


def test_every_picture_is_kept_or_has_its_reason():
    rng = np.random.default_rng(4)
    for count in range(1, 12):
        vectors = np.stack([face(int(rng.integers(1, 3)), int(rng.integers(0, 6))) for _ in range(count)])
        picked = pick(vectors, SAME)
        assert set(picked.kept) | set(picked.refused) == set(range(count))
        assert not set(picked.kept) & set(picked.refused)


def crowd(*members):
    return Crowd("m1", members)


def test_a_template_closer_to_somebody_else_is_set_aside():
    known = member(2, template(face(2, 0), "2a"), template(face(2, 1), "2b"))
    blend = (0.5 * face(1, 5) + face(2, 6)).astype(np.float32)
    blend /= np.linalg.norm(blend)
    vectors = np.stack([face(1, 0), face(1, 1), blend])
    assert crowd(known).suspects(member(1).token, vectors) == {2: ("closer-to-other", known.token)}


def test_the_wrong_persons_pictures_are_set_aside_all_of_them():
    known = member(2, template(face(2, 0), "2a"), template(face(2, 1), "2b"))
    vectors = looks((2, 3), (2, 4), (2, 5))
    found = crowd(known).suspects(member(1).token, vectors)
    assert set(found) == {0, 1, 2}
    assert {why for why, _ in found.values()} <= {"closer-to-other", "alike-other"}


def test_a_single_template_is_held_to_what_identifies_among_many():
    known = member(2, template(axis(2), "2a"))
    below, above = (
        np.stack([np.sqrt(1 - like**2) * axis(1) + like * axis(2)]).astype(np.float32) for like in (0.53, 0.56)
    )
    assert crowd(known).suspects(member(1).token, below) == {}
    assert crowd(known).suspects(member(1).token, above) == {0: ("closer-to-other", known.token)}


def test_nobody_is_compared_with_themselves_or_with_what_was_replaced():
    me = member(1, template(face(1, 0), "1a"))
    everybody = crowd(me)
    assert everybody.suspects(me.token, looks((1, 1))) == {}
    assert everybody.nearest_others(me.token, looks((1, 1))) == [None]
    everybody.put(member(1, template(face(3, 0), "3a")))
    assert everybody.suspects(member(2).token, looks((1, 1))) == {}
    assert set(everybody.suspects(member(2).token, looks((3, 1)))) == {0}


def test_templates_of_another_model_are_never_compared():
    other = member(2, template(np.ones(3, np.float32), "2a", model="m2"))
    assert crowd(other).suspects(member(1).token, looks((2, 1))) == {}


def test_a_crowd_finds_whom_a_plain_search_finds():
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(300, 128)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    everybody = crowd(*(member(serial, template(rows[serial], f"{serial:x}")) for serial in range(300)))
    for serial in (0, 7, 299):
        others = rows @ rows[serial]
        others[serial] = -2
        (match,) = everybody.nearest_others(member(serial).token, rows[serial : serial + 1])
        assert match.person == member(int(others.argmax())).token


def test_a_face_that_is_unlike_all_of_before_is_noticed_and_one_like_any_is_not():
    before = [face(1, 0), face(1, 1)]
    assert is_unlike(looks((2, 2), (2, 3)), before, SAME)
    assert not is_unlike(looks((2, 2), (1, 3)), before, SAME)
    assert not is_unlike(looks((2, 2)), [], SAME), "who comes first is unlike nobody"


def test_a_look_at_all_finds_both_sides_of_a_pair_and_nobody_else():
    first, second = member(1, template(face(1, 0), "1a")), member(2, template(face(1, 1), "2a"))
    other = member(3, template(face(3, 0), "3a"), template(face(3, 1), "3b"))
    assert suspects_of_all([first, other]) == []
    assert suspects_of_all([first, second, other, member(4)]) == [
        Suspect(token=one.token, template=one.templates[0].id, why="closer-to-other", other=two.token)
        for one, two in ((first, second), (second, first))
    ]

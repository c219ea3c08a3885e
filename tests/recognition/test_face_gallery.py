import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recognition.errors import GalleryMismatch
from recognition.gallery import Gallery


def units(seed: int, *shape: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@given(seed=st.integers(0, 999), sizes=st.lists(st.integers(0, 4), max_size=9), k=st.integers(0, 12))
def test_the_closest_people_are_those_a_slow_search_finds(seed, sizes, k):
    people = {f"p{number}": units(seed + number, size, 8) for number, size in enumerate(sizes)}
    probe = units(seed + 100, 8)
    slow = sorted(
        ((person, float((rows @ probe).max())) for person, rows in people.items() if len(rows)),
        key=lambda pair: -pair[1],
    )
    found = Gallery("m", people).closest(probe, k)
    assert [match.person for match in found] == [person for person, _ in slow[:k]]
    assert [match.similarity for match in found] == pytest.approx([similarity for _, similarity in slow[:k]], abs=1e-6)


@given(seed=st.integers(0, 999), sizes=st.lists(st.integers(1, 4), min_size=1, max_size=6))
def test_one_person_is_compared_by_the_best_of_the_own_templates(seed, sizes):
    people = {f"p{number}": units(seed + number, size, 8) for number, size in enumerate(sizes)}
    probe = units(seed + 100, 8)
    gallery = Gallery("m", people)
    for person, rows in people.items():
        assert gallery.similarity_to(person, probe) == pytest.approx(float((rows @ probe).max()), abs=1e-6)


def test_nobody_is_closest_in_an_empty_gallery():
    gallery = Gallery("m")
    assert gallery.closest(units(1, 8)) == []
    assert gallery.similarity_to("p", units(1, 8)) is None
    assert (gallery.people_count, gallery.template_count) == (0, 0)


def test_a_person_without_templates_is_not_enrolled():
    gallery = Gallery("m", {"a": np.empty((0, 8), np.float32), "b": units(2, 8)})
    assert gallery.similarity_to("a", units(1, 8)) is None
    assert (gallery.people_count, gallery.template_count) == (1, 1)


@pytest.mark.parametrize(
    "people",
    [
        {"a": units(1, 8), "b": units(2, 9)},
        {"a": units(1, 2, 8) * 2},
        {"a": np.full(8, np.nan, np.float32)},
        {"a": units(1, 2, 2, 8)},
    ],
)
def test_vectors_that_cannot_be_compared_are_refused(people):
    with pytest.raises(GalleryMismatch, match="enrol again"):
        Gallery("m", people)


def test_a_probe_of_another_length_is_refused():
    with pytest.raises(GalleryMismatch):
        Gallery("m", {"a": units(1, 8)}).closest(units(1, 9))

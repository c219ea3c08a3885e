import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recognition.errors import GalleryMismatch
from recognition.gallery import FEW, Enrolled, Gallery


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


@given(seed=st.integers(0, 999), count=st.integers(17, 40))
def test_a_long_list_begins_with_the_short_one(seed, count):
    gallery = Gallery("m", {f"p{number}": units(seed + number, 2, 8) for number in range(count)})
    probe = units(seed + 100, 8)
    everybody = gallery.closest(probe, count + 1)
    assert len({match.person for match in everybody}) == count
    assert everybody[:FEW] == gallery.closest(probe, FEW)


def test_the_second_is_another_person_and_not_another_template_of_the_first():
    anna, berta = units(1, 3, 8), units(2, 8)
    first, second = Gallery("m", {"anna": anna, "berta": berta}).closest(anna[1], 2)
    assert (first.person, second.person) == ("anna", "berta")
    assert second.similarity == pytest.approx(float(berta @ anna[1]), abs=1e-6)


def test_one_search_leaves_nothing_behind_for_the_next():
    gallery = Gallery("m", {f"p{number}": units(number, 2, 8) for number in range(9)})
    probe = units(100, 8)
    first = gallery.closest(probe)
    gallery.closest(-probe)
    assert gallery.closest(probe) == first


@pytest.mark.parametrize("templates", [1, 3])
@pytest.mark.parametrize("length", [128, 512])
def test_a_gallery_is_hardly_larger_than_its_vectors(templates, length):
    people = {f"{number:032x}": units(number, templates, length) for number in range(2000)}
    assert Gallery("m", people).held_bytes <= 1.1 * sum(rows.nbytes for rows in people.values())


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
        {"a": units(1, 8), "b": units(2, 8), "c": units(3, 8) * 1.01},
        {"a\0": units(1, 8)},
        {"": units(1, 8)},
    ],
)
def test_vectors_that_cannot_be_compared_are_refused(people):
    with pytest.raises(GalleryMismatch, match=r"enrol again|sorted"):
        Gallery("m", people)


def test_people_who_come_one_at_a_time_make_the_same_gallery():
    people = {f"p{number:04}": units(number, 1 + number % 3, 8) for number in range(1500)}
    streamed, probe = Gallery.from_sorted("m", (Enrolled(*one) for one in people.items()), 4000), units(1, 8)
    assert streamed.template_count == 3000
    assert streamed.closest(probe, 9) == Gallery("m", people).closest(probe, 9)


@pytest.mark.parametrize("names", ["ba", "aa", ["a", ""], ["", "a"]])
def test_people_who_come_in_no_order_are_refused(names):
    with pytest.raises(GalleryMismatch, match="sorted"):
        Gallery.from_sorted("m", (Enrolled(name, units(1, 1, 8)) for name in names), 2)


def test_more_templates_than_announced_are_refused():
    with pytest.raises(GalleryMismatch, match="announced"):
        Gallery.from_sorted("m", [Enrolled("a", units(1, 2, 8))], 1)


def ids_of(start: int, count: int) -> bytes:
    return b"".join((start + number).to_bytes(6, "big") for number in range(count))


@given(seed=st.integers(0, 999), sizes=st.lists(st.integers(1, 4), min_size=1, max_size=6))
def test_the_template_that_matched_is_the_one_a_slow_search_finds(seed, sizes):
    people = [
        Enrolled(f"p{number}", units(seed + number, size, 8), ids_of(16 * number + 1, size))
        for number, size in enumerate(sizes)
    ]
    gallery, probe = Gallery.from_sorted("m", people, sum(sizes)), units(seed + 100, 8)
    for number, one in enumerate(people):
        most_alike = int((one.vectors @ probe).argmax())
        assert gallery.template_like(one.person, probe) == f"{16 * number + 1 + most_alike:012x}"


def test_a_template_without_an_id_is_never_named():
    nobody, some = Enrolled("a", units(1, 1, 8)), Enrolled("b", units(2, 2, 8), bytes(6) + ids_of(255, 1))
    gallery = Gallery.from_sorted("m", [nobody, some], 3)
    assert gallery.template_like("a", nobody.vectors[0]) == ""
    assert [gallery.template_like("b", vector) for vector in some.vectors] == ["", "0000000000ff"]
    assert gallery.template_like("c", some.vectors[0]) == ""
    with pytest.raises(GalleryMismatch):
        gallery.template_like("b", units(1, 9))


@pytest.mark.parametrize("ids", [bytes(6), bytes(11), bytes(18)])
def test_ids_that_are_not_one_for_each_template_are_refused(ids):
    with pytest.raises(GalleryMismatch, match="give six of each"):
        Gallery.from_sorted("m", [Enrolled("a", units(1, 2, 8), ids)], 2)


def test_a_probe_of_double_precision_is_compared_as_well():
    gallery, probe = Gallery("m", {"a": units(1, 8), "b": units(2, 8)}), units(3, 8)
    assert gallery.closest(probe.astype(np.float64)) == gallery.closest(probe)


def test_a_probe_of_another_length_is_refused():
    with pytest.raises(GalleryMismatch):
        Gallery("m", {"a": units(1, 8)}).closest(units(1, 9))
    with pytest.raises(GalleryMismatch):
        Gallery("m", {"a": units(1, 8)}).closest(units(1, 1, 8))
    with pytest.raises(GalleryMismatch):
        Gallery("m", {"a": units(1, 8)}).similarity_to("a", units(1, 9))

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recognition.align import CROP_SIZE, TEMPLATE, crop_face, similarity_transform


@given(
    angle=st.floats(-3.1, 3.1),
    scale=st.floats(0.1, 20),
    shift=st.tuples(st.floats(-2000, 2000), st.floats(-2000, 2000)),
)
def test_landmarks_anywhere_are_laid_on_the_template(angle, scale, shift):
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    landmarks = TEMPLATE @ turn.T + np.array(shift)
    back = similarity_transform(landmarks)
    assert np.allclose(landmarks @ back[:, :2].T + back[:, 2], TEMPLATE, atol=1e-6)


def test_a_mirrored_face_is_never_mirrored_back():
    mirrored = (TEMPLATE - 56) * [-1, 1] + 56
    assert np.linalg.det(similarity_transform(mirrored)[:, :2]) >= 0


def test_five_equal_points_give_a_crop_and_no_crash():
    crop = crop_face(np.full((50, 50, 3), 9, np.uint8), np.full((5, 2), 7, np.float32))
    assert crop.shape == (CROP_SIZE, CROP_SIZE, 3)


def test_outside_the_picture_is_black():
    landmarks = TEMPLATE - [90, 0]  # most of the crop lies left of the picture
    crop = crop_face(np.full((112, 112, 3), 200, np.uint8), landmarks)
    assert crop[:, :80].max() == 0
    assert crop[56, 105].tolist() == [200, 200, 200]

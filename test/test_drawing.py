"""Pictures: drawn where the people are, on a copy, whatever is unknown."""

import numpy as np
import pytest

from lifting_ros.camera import Camera
from lifting_ros.drawing import draw_people, draw_view, id_colour
from lifting_ros.person import Person


def a_person(rng, **changes):
    camera = Camera.from_fov(320, 240)
    joints = rng.uniform(-0.5, 0.5, (17, 3)) + [0, 0, 3]
    values = dict(id='abcde', confidence=0.9, box=np.array([100.0, 60, 220, 180]), joints=joints,
                  covariance=np.tile(0.001 * np.eye(3), (17, 1, 1)),
                  keypoints=camera.project(joints), keypoint_confidence=np.ones(17))
    return Person(**{**values, **changes})


def test_the_skeleton_is_drawn_on_a_copy_at_the_keypoints(rng):
    image, person = np.zeros((240, 320, 3), np.uint8), a_person(rng)
    out = draw_people(image, [person], labels=False)
    assert not image.any() and out.shape == image.shape
    for x, y in person.keypoints:
        assert out[round(y), round(x)].any()
    far = np.linalg.norm(np.stack(np.meshgrid(np.arange(320), np.arange(240)), -1)
                         - person.keypoints.mean(axis=0), axis=-1) > 100
    assert not out[far].any()


def test_what_was_not_seen_is_not_drawn(rng):
    image = np.zeros((240, 320, 3), np.uint8)
    unseen = a_person(rng, keypoint_confidence=np.zeros(17))
    assert not draw_people(image, [unseen], labels=False).any()


@pytest.mark.parametrize('changes', [
    dict(keypoints=np.full((17, 2), np.nan)), dict(keypoints=np.full((17, 2), 1e9)),
    dict(joints=np.full((17, 3), np.nan)), dict(covariance=np.full((17, 3, 3), np.nan)),
    dict(box=np.array([-500.0, -500, 5000, 5000])), dict(matched=False)])
def test_the_unknown_and_the_absurd_do_not_break_a_picture(rng, changes):
    image, person = np.zeros((240, 320, 3), np.uint8), a_person(rng, **changes)
    assert draw_people(image, [person]).shape == image.shape
    assert draw_view([person], (200, 160)).shape == (160, 200, 3)


def test_the_view_shows_people_and_turns(rng):
    person = a_person(rng)
    empty, one = draw_view([], (200, 200)), draw_view([person], (200, 200))
    assert (empty != one).any()
    assert (one != draw_view([person], (200, 200), turn=1.6)).any()


def test_colours_of_ids_are_stable():
    assert id_colour('abcde') == id_colour('abcde') != id_colour('abcdf')

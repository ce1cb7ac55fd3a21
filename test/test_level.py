"""Which way is up, told by how people stand."""

from types import SimpleNamespace

import numpy as np
import pytest
from test_pipeline import CAMERA, IMAGE, FakeLifter, make

from lifting_ros.lifting.level import Level, angles, axes, up_of
from lifting_ros.person import Source
from lifting_ros.skeleton import INDEX, NUM_JOINTS


def _turn(axis, angle):
    """Rotation matrix by Rodrigues' formula."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _people(up, rng, n=1, lean=8.0, lying=0):
    """Lifted people who stand but for a lean (sigma, degrees); the first ones lie."""
    height = np.zeros(NUM_JOINTS)
    for name, h in (('hip', 0.9), ('knee', 0.5), ('ankle', 0.1), ('shoulder', 1.4),
                    ('elbow', 1.1), ('wrist', 0.9)):
        height[[INDEX[f'{s}_{name}'] for s in ('left', 'right')]] = h
    joints = []
    for i in range(n):
        side = np.cross(up, rng.standard_normal(3))
        off = np.pi / 2 if i < lying else np.radians(abs(rng.normal(0, lean)))
        own = _turn(side, off) @ up
        joints.append((0, 0, 4) + height[:, None] * own + rng.normal(0, 0.02, (NUM_JOINTS, 3)))
    return SimpleNamespace(joints=np.array(joints).reshape(-1, NUM_JOINTS, 3),
                           source=np.full((n, NUM_JOINTS), Source.OBSERVED))


def _error(level, up):
    return np.degrees(np.arccos(np.clip(level.up @ up, -1, 1)))


@pytest.mark.parametrize('down', [-10, 0, 20, 45, 65])
@pytest.mark.parametrize('roll', [-8, 0, 5])
def test_people_on_their_feet_tell_pitch_and_roll(down, roll):
    rng, up, level = np.random.default_rng(down + roll + 99), up_of(down, roll), Level()
    np.testing.assert_allclose(np.linalg.norm(up), 1)
    for i in range(24):
        level.see(_people(up, rng), 0.5 * i)
    assert _error(level, up) < 6


def test_directions_are_those_of_the_optical_frame():
    np.testing.assert_allclose(up_of(0, 0), (0, -1, 0), atol=1e-12)
    assert up_of(30, 0)[2] < 0          # who looks down has up behind
    assert up_of(0, 10)[0] < 0          # turned clockwise: up is to the left
    np.testing.assert_allclose(angles(up_of(33, -7)), (33, -7))
    np.testing.assert_allclose(angles(up_of(-20, 12)), (-20, 12))


def test_one_person_once_says_nothing_yet_several_do():
    rng, up = np.random.default_rng(0), up_of(25, 0)
    level = Level()
    level.see(_people(up, rng), 0.0)
    assert level.up is None
    level = Level()
    level.see(_people(up, rng, 6), 0.0)
    assert _error(level, up) < 8


def test_who_lies_misleads_nobody():
    rng, up = np.random.default_rng(1), up_of(20, 0)
    level = Level()
    for i in range(30):
        level.see(_people(up, rng, 1, lying=1), 0.5 * i)
    # somebody who only lies may be taken for one who stands before a camera on its side: never
    assert level.up is None or abs(np.degrees(np.arcsin(level.up[0]))) < 15
    level = Level()
    for i in range(30):
        level.see(_people(up, rng, 3, lying=1), 0.5 * i)
    assert _error(level, up) < 5


def test_a_camera_that_was_moved_is_noticed():
    rng, level = np.random.default_rng(2), Level()
    for i in range(40):
        level.see(_people(up_of(5, 0), rng), 0.5 * i)
    for i in range(40, 56):
        level.see(_people(up_of(50, 0), rng), 0.5 * i)
    assert _error(level, up_of(50, 0)) < 8


def test_who_is_not_seen_does_not_count():
    rng, up = np.random.default_rng(3), up_of(10, 0)
    people = _people(up, rng, 3)
    people.source[0] = Source.LIFTED
    people.joints[1] = np.nan
    assert len(axes(people)) == 1
    people.source[2, [INDEX['left_ankle'], INDEX['right_ankle']]] = Source.LIFTED
    assert len(axes(people)) == 1           # the trunk of who is seen to the hips
    level = Level()
    level.see(_people(up, rng, 0), 0.0)
    assert level.up is None


class _Standing(FakeLifter):
    """Everybody stands before a camera that looks down; writes down what was asked."""

    def __init__(self):
        self.asked, self.rng = [], np.random.default_rng(5)

    def lift(self, keypoints, confidence, camera, up=None, camera_height=None, **more):
        self.asked.append((up, camera_height))
        lifted = super().lift(keypoints, confidence, camera, up)
        lifted.joints = _people(up_of(35, 0), self.rng, len(keypoints)).joints
        return lifted


def _pipeline(**options):
    pipeline, _ = make(**options)
    pipeline.lifter = _Standing()
    return pipeline


def test_the_pipeline_tells_the_lifter_what_people_say():
    pipeline = _pipeline()
    for i in range(120):
        pipeline(IMAGE, CAMERA, stamp=i / 30, camera_height=1.5)
    np.testing.assert_allclose(pipeline.up, up_of(35, 0), atol=0.12)
    asked = pipeline.lifter.asked
    # looks without gravity every half a second, else one lift an image
    free = [up is None for up, _ in asked]
    assert 8 <= sum(free) < 40 and len(asked) < 140 and not free[-1]
    # the ground is told to nobody who does not know gravity
    assert all(height is None for _, height in asked)


def test_given_gravity_is_taken_as_it_is():
    pipeline, up = _pipeline(), np.array([0.0, -1, 0])
    for i in range(60):
        pipeline(IMAGE, CAMERA, stamp=i / 30, up=up, camera_height=1.5)
    assert all(u is up and height == 1.5 for u, height in pipeline.lifter.asked)
    assert pipeline.up is up


def test_the_estimate_can_be_turned_off_and_is_forgotten():
    pipeline = _pipeline(estimate_up=False)
    for i in range(60):
        pipeline(IMAGE, CAMERA, stamp=i / 30)
    assert pipeline.up is None and len(pipeline.lifter.asked) == 60
    pipeline = _pipeline()
    for i in range(120):
        pipeline(IMAGE, CAMERA, stamp=i / 30)
    assert pipeline.up is not None
    pipeline.reset()
    assert pipeline.up is None
    pipeline(IMAGE, CAMERA)                 # a photo by itself carries nothing on
    assert pipeline._level.up is None

"""The network's mistakes, put onto other bodies: geometry, headings and mirror images."""

from types import SimpleNamespace

import numpy as np
import pytest

from lifting_ros.camera import Camera
from lifting_ros.lifting.density import INPUTS
from lifting_ros.lifting.frames import upright
from lifting_ros.network.estimator import Keypoints
from lifting_ros.prior import PosePrior
from lifting_ros.prior.fit import facing, turn
from lifting_ros.skeleton import MIRROR as _ORDER
from lifting_ros.training.mistakes import collect, mistakes, put_on
from lifting_ros.training.mocap import Poses
from lifting_ros.training.rays import train, views

MIRROR = np.array(_ORDER)
_CAMERA = Camera([[600, 0, 320], [0, 600, 240], [0, 0, 1]], 640, 480)


class _Wrong:
    """A network that misses by ``offset`` px, and the confidences it has."""

    def __init__(self, offset, confidence):
        self.offset, self.confidence = offset, confidence

    def keypoints(self, image, boxes):
        return Keypoints((image + self.offset)[None], self.confidence[None],
                         np.tile(9.0 * np.eye(2), (1, 17, 1, 1)))


def _shot(heading, rng, pitch=0.3):
    """Somebody 4 m away who faces ``heading``, 0 away from a camera that looks down."""
    poses, _ = PosePrior.load().sample(1, rng)
    z_up = turn(1.7 * poses, np.array([heading - facing(poses)[0]]))[0]
    c, s = np.cos(pitch), np.sin(pitch)
    rotation = np.array([[0, -1.0, 0], [-s, 0, -c], [c, 0, -s]])     # rows right, down, ahead
    joints = z_up @ rotation.T + [0.2, -0.1, 4.0]
    pixels = _CAMERA.project(joints)
    return SimpleNamespace(
        image=pixels, camera=_CAMERA, keypoints=pixels, joints=joints, stature=1.7,
        up=rotation[:, 2], box=np.concatenate((pixels.min(0), pixels.max(0))))


def test_errors_are_found_and_put_back_where_they_were():
    rng = np.random.default_rng(0)
    offset = rng.normal(0, 12, (17, 2))
    confidence = np.full(17, 0.5)
    confidence[3] = 0.01
    for heading in (-2.0, 0.3, 1.4):
        shot = _shot(heading, rng)
        found = collect(_Wrong(offset, confidence), [shot], rng)
        row = int(np.argmin(np.abs(found.heading - heading)))
        # seen from a little to the side, the heading is another by as much
        assert found.heading[row] == pytest.approx(heading, abs=0.08)
        assert found.confidence[row, 3] == 0 and found.confidence[row, 4] == 0.5
        assert found.sigma[row] == pytest.approx(3 / (600 * 1.7 / np.linalg.norm(
            shot.joints[0])))
        ray = shot.joints[:1] / np.linalg.norm(shot.joints[0])
        level = upright(shot.up[None], ray)[0]
        wrong = put_on((_CAMERA.rays(shot.keypoints) @ level.T)[None], (ray @ level.T),
                       np.array([np.linalg.norm(shot.joints[0]) / 1.7]), found.offset[row][None])
        truth = _CAMERA.rays(shot.keypoints + offset) @ level.T
        moved = np.linalg.norm(truth - _CAMERA.rays(shot.keypoints) @ level.T, axis=1)
        # by the distance of the pelvis, where each joint has its own: an eighth at most
        assert (np.linalg.norm(wrong[0] - truth, axis=1) < 0.25 * moved + 1e-4).all()


def test_mirror_images_are_there_too():
    rng = np.random.default_rng(1)
    bank = mistakes(np.array([0.7]), rng.normal(0, 1, (1, 17, 2)), rng.random((1, 17)),
                    rng.random((1, 17)))
    assert len(bank) == 2 and np.allclose(bank.heading, [-0.7, 0.7])
    assert np.allclose(bank.offset[0], bank.offset[1][MIRROR] * [-1, 1])
    assert np.allclose(bank.confidence[0], bank.confidence[1][MIRROR])


def test_cases_are_of_people_who_face_the_same_way():
    rng = np.random.default_rng(2)
    heading = rng.uniform(-np.pi, np.pi, 500)
    marked = np.tile(heading[:, None, None], (1, 17, 2))
    bank = mistakes(heading, marked, np.ones((500, 17)), np.ones((500, 17)))
    asked = rng.uniform(-9, 9, 400)
    offset, _, _ = bank.draw(asked, rng)
    off = np.abs(np.abs(offset[:, 0, 1]) - np.abs((asked + np.pi) % (2 * np.pi) - np.pi))
    assert np.quantile(off, 0.99) < 0.5 and off.mean() > 0.05


def test_views_take_them_for_a_share_of_the_people():
    rng = np.random.default_rng(3)
    unit, _ = PosePrior.load().sample(400, rng)
    bank = mistakes(np.linspace(-3, 3, 50), np.full((50, 17, 2), 0.05), np.full((50, 17), 0.3125),
                    np.full((50, 17), 0.05))
    inputs, target = views(unit, np.random.default_rng(4), bank)
    assert inputs.shape == (400, INPUTS) and np.isfinite(inputs).all()
    told = np.isclose(inputs[:, 2:51:3], 0.3125).all(1)
    assert 0.3 < told.mean() < 0.5
    plain, same = views(unit, np.random.default_rng(4))
    assert not np.isclose(plain[:, 2:51:3], 0.3125).all(1).any()
    assert target.shape == same.shape == (400, 17, 3)


def test_a_density_is_trained_with_them_and_says_how_far_it_is():
    rng = np.random.default_rng(6)
    joints = 1.7 * PosePrior.load().sample(300, rng)[0]
    names = np.full(300, 'a')
    bank = mistakes(np.linspace(-3, 3, 20), rng.normal(0, 0.03, (20, 17, 2)),
                    rng.uniform(0.2, 0.7, (20, 17)), np.full((20, 17), 0.03))
    saved = []
    weights, report = train(Poses(joints, names, names, names, names), 0.05, width=32, blocks=1,
                            batch=32, seen=bank, save=lambda *a: saved.append(a))
    assert int(report['steps']) > 3 and 0 < float(report['error']) < 0.5
    assert all(np.isfinite(v).all() for v in weights.values())

"""The body's axes and their covariance."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from lifting_ros.body_frame import body_rotation, body_state, quaternion
from lifting_ros.skeleton import INDEX


def standing():
    """(17, 3) m: upright, facing +x, left at +y, z up."""
    p = np.zeros((17, 3))
    for name, at in {'right_hip': (0, -.13, 0), 'left_hip': (0, .13, 0), 'neck': (0, 0, .5),
                     'left_shoulder': (0, .19, .47), 'right_shoulder': (0, -.19, .47)}.items():
        p[INDEX[name]] = at
    return p


def test_standing_person_has_the_axes_of_the_room():
    assert np.allclose(body_rotation(standing()), np.eye(3))


def test_axes_turn_with_the_person(rng):
    for r in Rotation.random(20, random_state=3):
        found = body_rotation(standing() @ r.as_matrix().T + rng.normal(size=3))
        assert np.allclose(found, r.as_matrix())
        q = quaternion(found)
        assert np.allclose(Rotation.from_quat(q).as_matrix(), r.as_matrix())


def test_mirrored_person_has_mirrored_axes():
    mirrored = standing() @ Rotation.from_rotvec([0.3, 0.2, 0.5]).as_matrix().T * [1, -1, 1]
    swapped = mirrored.copy()
    for part in ('hip', 'shoulder'):
        a, b = INDEX[f'left_{part}'], INDEX[f'right_{part}']
        swapped[[a, b]] = mirrored[[b, a]]
    plain = body_rotation(standing() @ Rotation.from_rotvec([0.3, 0.2, 0.5]).as_matrix().T)
    flip = np.diag([1.0, -1, 1])
    assert np.allclose(body_rotation(swapped), flip @ plain @ flip)


def test_covariance_is_that_of_samples(rng):
    r = Rotation.from_rotvec([0.4, -0.7, 0.2]).as_matrix()
    joints = standing() @ r.T + [0.3, 0.1, 4.0]
    root = rng.normal(size=(17, 3, 3)) * 0.006
    covariance = root @ root.swapaxes(1, 2) + 1e-6 * np.eye(3)
    _, pose, _, _ = body_state(joints, covariance, np.zeros((17, 3)), covariance)
    noise = np.einsum('jab,njb->nja', np.linalg.cholesky(covariance),
                      rng.normal(size=(6000, 17, 3)))
    moved = body_rotation(joints + noise)
    turn = Rotation.from_matrix(moved @ r.T).as_rotvec()
    sampled = np.cov(np.concatenate((noise[:, 0], turn), axis=1).T)
    scale = np.sqrt(np.outer(np.diag(sampled), np.diag(sampled)))
    assert np.abs((pose - sampled) / scale).max() < 0.08


def test_twist_of_a_turning_and_moving_body():
    joints = standing()
    spin, shift = np.array([0.2, -0.5, 0.9]), np.array([1.0, 0.2, -0.1])
    velocity = np.cross(spin, joints) + shift
    _, _, twist, spread = body_state(joints, np.tile(np.eye(3), (17, 1, 1)), velocity,
                                     np.tile(np.eye(3), (17, 1, 1)))
    assert np.allclose(twist, [*shift, *spin], atol=1e-6)
    assert np.all(np.linalg.eigvalsh(spread) > 0)


def test_unknown_joints_give_unknown_axes():
    joints = standing()
    joints[INDEX['neck']] = np.nan
    rotation, pose, twist, _ = body_state(joints, np.tile(np.eye(3), (17, 1, 1)),
                                          np.zeros((17, 3)), np.tile(np.eye(3), (17, 1, 1)))
    assert np.isnan(rotation).all() and np.isnan(pose).any() and np.isnan(twist[3:]).all()
    assert np.isnan(quaternion(rotation)).all()


@pytest.mark.parametrize('angle', [0.0, 1.0, np.pi - 1e-6, np.pi])
def test_quaternion_is_exact_at_every_angle(angle):
    for axis in np.eye(3):
        r = Rotation.from_rotvec(angle * axis).as_matrix()
        assert np.allclose(Rotation.from_quat(quaternion(r)).as_matrix(), r)

"""Capsules and distances against brute force and hand-made cases; prediction."""

import numpy as np
import pytest

from lifting_ros.person import Person
from lifting_ros.prediction import carried, moved_on
from lifting_ros.separation import LIMBS, RADIUS, capsules, nearest
from lifting_ros.skeleton import INDEX, PELVIS


def crowd(rng, n=2):
    joints = 0.3 * rng.normal(size=(n, 17, 3)) + [0, 0, 3]
    root = rng.normal(scale=0.05, size=(n, 17, 3, 3))
    return joints, root @ root.swapaxes(-1, -2) + 1e-4 * np.eye(3), rng.normal(size=(n, 17, 3))


def brute(points, radii, c, k, steps=2001):
    """Least clearance by walking along every limb."""
    out = []
    for p, r in zip(points, radii):
        best = np.inf
        for n in range(len(c.first)):
            for limb in range(c.first.shape[1]):
                for s in np.linspace(0, 1, steps if k == 0 else 401):
                    x = (1 - s) * c.first[n, limb] + s * c.second[n, limb]
                    u = (p - x) / np.linalg.norm(p - x)
                    sd = [np.sqrt(u @ c.spread[n, limb, e] @ u) for e in (0, 1)]
                    z = k * ((1 - s) * sd[0] + s * sd[1])
                    best = min(best, np.linalg.norm(p - x) - c.radius[n, limb] - r - z)
        out.append(max(best, 0))
    return np.array(out)


@pytest.mark.parametrize('k', [0.0, 2.5])
def test_distance_against_brute_force(rng, k):
    joints, cov, vel = crowd(rng, 1)
    c = capsules(joints, cov, vel, cov)
    points, radii = rng.normal(size=(3, 3)) * 1.5 + [0, 0, 3], np.array([0.0, 0.1, 0.2])
    found = nearest(points, radii, c, k)
    want = brute(points, radii, c, k)
    # few pieces: never farther than the truth by more than the change of sigma between them
    np.testing.assert_allclose(found.distance, want, atol=1e-3 if k == 0 else 0.01)
    apart = found.distance > 0
    gap = np.linalg.norm(found.robot - found.human, axis=1)
    np.testing.assert_allclose(gap[apart], found.distance[apart], atol=1e-9)


def test_more_doubt_is_nearer_and_z_d_is_the_difference(rng):
    joints, cov, vel = crowd(rng)
    points, radii = rng.normal(size=(40, 3)) * 3 + [0, 0, 3], np.zeros(40)
    c = capsules(joints, cov, vel, cov)
    steps = [nearest(points, radii, c, k).distance for k in (0, 1, 2, 3)]
    assert all((b <= a + 1e-12).all() for a, b in zip(steps, steps[1:]))
    one = nearest(np.array([[0.0, 0, 9]]), np.zeros(1), c, 2.0)
    assert one.z_d[0] > 0
    bigger = nearest(points, radii, capsules(joints, 4 * cov, vel, cov), 2.0)
    assert (bigger.distance <= nearest(points, radii, c, 2.0).distance + 1e-12).all()


def test_a_wrist_straight_ahead():
    joints = np.zeros((1, 17, 3))
    joints[0, :, 2] = 5.0   # everything far away but one forearm that points at the robot
    joints[0, INDEX['left_elbow']], joints[0, INDEX['left_wrist']] = [0, 0, 2.25], [0, 0, 2.0]
    cov = np.tile(1e-4 * np.eye(3), (1, 17, 1, 1))
    velocity = np.zeros((1, 17, 3))
    velocity[0, INDEX['left_wrist']] = velocity[0, INDEX['left_elbow']] = [0, 0, -0.5]
    found = nearest(np.zeros((1, 3)), np.array([0.1]), capsules(joints, cov, velocity, cov), 0.0)
    hand = 0.20
    assert found.distance[0] == pytest.approx(2.0 - hand - 0.1 - RADIUS[LIMBS.index('left_wrist')])
    assert LIMBS[found.limb[0]] == 'left_wrist' and found.speed[0] == pytest.approx(0.5)
    np.testing.assert_allclose(found.robot[0], [0, 0, 0.1], atol=1e-9)
    away = nearest(np.zeros((1, 3)), np.array([0.1]), capsules(joints, cov, -velocity, cov), 2.0)
    assert away.speed[0] < 0 and away.z_d[0] > 0.02


def test_frames_do_not_matter_and_nobody_is_infinitely_far(rng):
    joints, cov, vel = crowd(rng)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    points, radii = rng.normal(size=(5, 3)), np.full(5, 0.1)
    a = nearest(points, radii, capsules(joints, cov, vel, cov), 2.0)
    b = nearest(points @ turn.T + 1, radii, capsules(joints @ turn.T + 1, turn @ cov @ turn.T,
                vel @ turn.T, turn @ cov @ turn.T), 2.0)
    np.testing.assert_allclose(a.distance, b.distance, atol=1e-9)
    np.testing.assert_allclose(a.speed, b.speed, atol=1e-9)
    none = nearest(points, radii, capsules(*(np.zeros((0, 17, *s)) for s in (
        (3,), (3, 3), (3,), (3, 3)))), 2.0)
    assert np.isinf(none.distance).all() and (none.person == -1).all()


def test_prediction_moves_and_is_less_and_less_sure(rng):
    joints, cov, vel = crowd(rng)
    same = carried(joints, cov, vel, cov, 0.0)
    np.testing.assert_allclose(same[0], joints)
    np.testing.assert_allclose(same[1], cov)
    last = cov
    for t in (0.05, 0.2, 0.5, 1.0, 3.0):
        grown = carried(joints, cov, vel, cov, t)[1]
        assert (np.linalg.eigvalsh(grown - last) > -1e-12).all()
        last = grown
    soon = carried(joints, cov, vel, cov, 0.02)[0]
    np.testing.assert_allclose(soon, joints + 0.02 * vel, atol=5e-3)
    back = carried(joints, cov, vel, cov, -0.02)[0]
    np.testing.assert_allclose(soon + back, 2 * joints, atol=1e-12)
    late = carried(joints, cov, vel, cov, 5.0)[0] - joints   # limbs go where the pelvis goes
    np.testing.assert_allclose(late, np.broadcast_to(late[:, PELVIS, None], late.shape), atol=1e-6)


def test_unknown_velocities_stand_still_and_grow(rng):
    joints, cov, _ = crowd(rng, 1)
    person = Person(id='abcde', confidence=1.0, box=np.zeros(4), joints=joints[0],
                    covariance=cov[0])
    nobody = Person(id='fghij', confidence=1.0, box=np.zeros(4))
    later, none = moved_on([person, nobody], 0.3)
    np.testing.assert_allclose(later.joints, person.joints)
    grown = np.sqrt(np.linalg.eigvalsh(later.covariance - person.covariance))
    assert (grown > 0.1).all() and none is nobody and later.age == pytest.approx(0.3)

"""Rotations against scipy's; people moved against sampled ones."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation, Slerp

from lifting_ros import rigid
from lifting_ros.person import Person


def test_matrix_is_scipy_s(rng):
    for q in rng.normal(size=(20, 4)):
        assert np.allclose(rigid.matrix(q), Rotation.from_quat(q).as_matrix())


@pytest.mark.parametrize('bad', [np.zeros(4), np.full(4, np.nan), [0, 0, 0, np.inf]])
def test_what_is_no_rotation_is_refused(bad):
    with pytest.raises(ValueError, match='no rotation'):
        rigid.matrix(bad)


def test_slerp_is_scipy_s(rng):
    for _ in range(20):
        two = Rotation.random(2, random_state=rng)
        share = rng.uniform()
        want = Slerp([0, 1], two)(share).as_matrix()
        first, second = two.as_quat()
        for sign in (1, -1):
            got = rigid.slerp(first, sign * second, share)
            assert np.isclose(np.linalg.norm(got), 1) and np.allclose(rigid.matrix(got), want)
    q = two.as_quat()[0]
    assert np.allclose(rigid.slerp(q, q, 0.3), q)


def test_there_and_back_is_nowhere(rng):
    one = Rotation.random(random_state=rng).as_matrix(), rng.normal(size=3)
    r, t = rigid.chained(one, rigid.inverse(one))
    assert np.allclose(r, np.eye(3)) and np.allclose(t, 0)
    two = Rotation.random(random_state=rng).as_matrix(), rng.normal(size=3)
    x = rng.normal(size=3)
    r, t = rigid.chained(one, two)
    assert np.allclose(r @ x + t, two[0] @ (one[0] @ x + one[1]) + two[1])


def test_a_person_s_covariance_is_that_of_moved_samples(rng):
    root = rng.normal(size=(17, 3, 3))
    p = Person('abcde', 0.9, np.arange(4.0), joints=rng.normal(size=(17, 3)),
               covariance=root @ root.swapaxes(1, 2), velocity=rng.normal(size=(17, 3)),
               velocity_covariance=np.tile(np.diag([1.0, 2, 3]), (17, 1, 1)))
    r, t = Rotation.random(random_state=rng).as_matrix(), np.array([1.0, -2, 3])
    out = rigid.moved(p, r, t)
    j = 5
    samples = rng.multivariate_normal(p.joints[j], p.covariance[j], 40000)
    there = np.array([r @ s + t for s in samples])
    assert np.allclose(out.joints[j], there.mean(0), atol=0.05)
    assert np.allclose(out.covariance[j], np.cov(there.T), rtol=0.05, atol=0.05)
    assert np.allclose(out.velocity[j], r @ p.velocity[j])
    assert np.allclose(np.trace(out.velocity_covariance[j]), 6)
    assert out.id == p.id and out.box is p.box and p.joints is not out.joints
    p.joints[3] = np.nan
    assert np.isnan(rigid.moved(p, r, t).joints[3]).all()


def test_all_people_are_moved_as_each_is(rng):
    people = [Person(id=f'p{n}', confidence=0.5, box=np.zeros(4), age=float(n),
                     joints=rng.normal(size=(17, 3)), covariance=rng.normal(size=(17, 3, 3)),
                     velocity=rng.normal(size=(17, 3)),
                     velocity_covariance=rng.normal(size=(17, 3, 3))) for n in range(3)]
    people[1].joints = np.full((17, 3), np.nan)
    motion = Rotation.random(random_state=2).as_matrix(), rng.normal(size=3)
    for a, b in zip(rigid.moved_all(people, *motion), [rigid.moved(p, *motion) for p in people],
                    strict=True):
        assert a.id == b.id and a.age == b.age
        for name in ('joints', 'covariance', 'velocity', 'velocity_covariance'):
            assert np.allclose(getattr(a, name), getattr(b, name), equal_nan=True), name
    assert rigid.moved_all([], *motion) == []

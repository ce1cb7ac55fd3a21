"""A camera that moves: who stands stays where he is; a tracker's state is carried whole."""

import numpy as np
from scipy.spatial.transform import Rotation

from lifting_ros import rigid
from lifting_ros.evaluation import bench_tf
from lifting_ros.tracking.filters import FilterBank


def filled(rng, motion):
    """A bank that has seen two people walk, all of it in another frame."""
    r, t = motion
    bank = FilterBank()
    start, speed = rng.normal(size=(2, 17, 3)) + [0, 0, 4], rng.normal(size=(2, 17, 3))
    spread = rng.normal(size=(2, 17, 3, 3))
    cov = spread @ spread.swapaxes(-1, -2) + np.eye(3)
    for k in range(6):
        here = start + 0.033 * k * speed + rng.normal(0, 0.01, start.shape)
        if k == 0:
            bank.add(here, cov)
        else:
            bank.predict(np.arange(2), 0.033)
            bank.update(np.arange(2), here, cov, np.full(2, 0.033))
    bank.turn(r, t)
    return bank


def test_all_that_the_filters_hold_is_carried(rng):
    motion = Rotation.random(random_state=rng).as_matrix(), rng.normal(size=3)
    here = filled(np.random.default_rng(1), (np.eye(3), np.zeros(3)))
    there = filled(np.random.default_rng(1), motion)
    r, t = motion
    assert np.allclose(there.position, here.position @ r.T + t)
    assert np.allclose(there.velocity, here.velocity @ r.T)
    for name in ('own', 'bias', 'velocity_own'):
        assert np.allclose(getattr(there, name), r @ getattr(here, name) @ r.T), name
    assert np.allclose(there.moving, here.moving)
    # and goes on as it would have
    for bank in (here, there):
        bank.predict(np.arange(2), 0.1)
    assert np.allclose(there.position, here.position @ r.T + t)
    assert np.allclose(there.own, r @ here.own @ r.T)
    # there and back is nowhere
    there.turn(*rigid.inverse(motion))
    assert np.allclose(there.position, here.position)
    FilterBank().turn(r, t)


def test_a_standing_person_stays_where_he_is_though_the_camera_turns():
    def spread(*args):
        found, _ = bench_tf.roots(*args, seconds=2.5)
        return np.sqrt(((found - found.mean(0)) ** 2).sum(1).mean())

    rest, turning = spread(False, 'stamp'), spread(True, 'stamp')
    assert turning < 1.5 * rest          # 1.2 over a longer run: docs/reliability.md
    assert spread(True, 'latest') > 5 * rest

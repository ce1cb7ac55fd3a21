"""Names stay with people, velocities are right, covariances are honest."""

import numpy as np
import pytest

from lifting_ros.person import ScaleSource, Source
from lifting_ros.skeleton import NUM_JOINTS, PELVIS
from lifting_ros.tracking import Observation, Tracker
from lifting_ros.tracking.association import box_iou, match, root_mahalanobis
from lifting_ros.tracking.ids import IdSource
from lifting_ros.tracking.kalman import PointFilters

SHAPE = np.random.default_rng(0).uniform(-1, 1, (NUM_JOINTS, 3)) * [0.3, 0.9, 0.2]
FOCAL = 500.0


def observe(roots, sigma=0.03, depth_sigma=0.1):
    """Observation of people whose pelvis is at ``roots`` (N, 3), as a camera would see them."""
    joints = np.asarray(roots, float).reshape(-1, 1, 3) + SHAPE - SHAPE[PELVIS]
    xy = FOCAL * joints[..., :2] / joints[..., 2:] + [320, 240]
    n = len(joints)
    low, high = (xy.min(axis=1), xy.max(axis=1)) if n else (np.zeros((0, 2)),) * 2
    return Observation(
        confidence=np.full(n, 0.8), box=np.concatenate((low, high), axis=1), keypoints=xy,
        keypoint_confidence=np.full((n, NUM_JOINTS), 0.8),
        keypoint_covariance=np.tile(4 * np.eye(2), (n, NUM_JOINTS, 1, 1)), joints=joints,
        covariance=np.tile(np.diag([sigma, sigma, depth_sigma]) ** 2, (n, NUM_JOINTS, 1, 1)),
        source=np.full((n, NUM_JOINTS), Source.OBSERVED),
        scale_source=np.full(n, ScaleSource.PRIOR), log_likelihood=np.zeros(n))


def test_ids_are_valid_names_and_never_given_twice():
    source = IdSource()
    names = [source.new() for _ in range(2000)]
    assert len(set(names)) == 2000
    assert all(len(n) == 5 and n[0].isalpha() and n.isalnum() and n == n.lower() for n in names)


def test_people_who_pass_each_other_keep_their_names():
    tracker, names = Tracker(), []
    for k in range(60):
        t = k / 20
        people = tracker.update(observe([[-1.5 + t, 0, 3.0], [1.5 - t, 0, 4.2]]), t)
        by_depth = sorted(people, key=lambda p: p.joints[PELVIS, 2])
        names.append(tuple(p.id for p in by_depth))
    assert len(set(names)) == 1


def test_the_order_of_the_observations_does_not_matter():
    tracker = Tracker()
    first = tracker.update(observe([[-1, 0, 3], [1, 0, 3]]), 0.0)
    second = tracker.update(observe([[1.02, 0, 3], [-0.98, 0, 3]]), 0.05)
    assert {p.id: p.joints[0, 0] > 0 for p in first} == {p.id: p.joints[0, 0] > 0 for p in second}


def test_velocity_of_a_walk_is_found():
    tracker = Tracker()
    for k in range(40):
        people = tracker.update(observe([[-1 + 1.2 * k / 30, 0, 4]]), k / 30)
    np.testing.assert_allclose(people[0].velocity[PELVIS], [1.2, 0, 0], atol=0.1)
    assert people[0].age == pytest.approx(39 / 30)


def test_through_a_gap_the_person_is_predicted_then_hidden_and_keeps_the_name():
    tracker = Tracker()
    for k in range(20):
        people = tracker.update(observe([[-1 + k / 30, 0, 4]]), k / 30)
    name, sure = people[0].id, np.trace(people[0].covariance[PELVIS])
    last = people[0].joints[PELVIS].copy()
    gap = tracker.update(observe([]), 20 / 30 + 0.1)
    assert [p.id for p in gap] == [name] and not gap[0].matched
    assert (gap[0].source == Source.PREDICTED).all()
    assert np.trace(gap[0].covariance[PELVIS]) > sure
    assert gap[0].joints[PELVIS, 0] > last[0]
    assert np.isnan(gap[0].keypoints).all() and (gap[0].keypoint_confidence == 0).all()
    assert tracker.update(observe([]), 20 / 30 + 0.9) == []
    back = tracker.update(observe([[0.4, 0, 4]]), 20 / 30 + 1.2)
    assert [p.id for p in back] == [name] and back[0].matched


def test_a_person_gone_for_long_gets_a_new_name():
    tracker = Tracker()
    name = tracker.update(observe([[0, 0, 4]]), 0.0)[0].id
    for k in range(1, 30):
        tracker.update(observe([]), 0.1 * k)
    assert tracker.update(observe([[0, 0, 4]]), 3.0)[0].id != name


@pytest.mark.parametrize('later', [-5.0, 0.0, 1000.0])
def test_time_that_jumps_starts_afresh(later):
    tracker = Tracker()
    name = tracker.update(observe([[0, 0, 4]]), 10.0)[0].id
    people = tracker.update(observe([[0, 0, 4]]), 10.0 + later)
    assert len(people) == 1 and people[0].id != name
    assert np.isfinite(people[0].joints).all()


def test_without_a_camera_people_are_followed_in_the_image():
    tracker, names = Tracker(), set()
    for k in range(10):
        o = observe([[-1 + 0.05 * k, 0, 3]])
        o.joints[:], o.covariance[:] = np.nan, np.nan
        person, = tracker.update(o, k / 20)
        names.add(person.id)
        assert np.isnan(person.joints).all() and np.isnan(person.velocity).all()
    assert len(names) == 1


def test_filters_agree_with_a_plain_kalman_filter(rng):
    """One joint at a time, written out, against all joints at once."""
    n, dt, a, white = 5, 0.04, 6.0, 0.1
    x0, r = rng.normal(size=(n, 3)), np.einsum('nij,nkj->nik', *[rng.normal(size=(n, 3, 3))] * 2)
    batch = PointFilters(x0, r, white=white, acceleration=a)
    states = [(np.append(x0[j], np.zeros(3)),
               np.block([[white * r[j], np.zeros((3, 3))], [np.zeros((3, 3)), np.eye(3)]]))
              for j in range(n)]
    f = np.block([[np.eye(3), dt * np.eye(3)], [np.zeros((3, 3)), np.eye(3)]])
    g = np.vstack((dt ** 2 / 2 * np.eye(3), dt * np.eye(3)))
    h = np.hstack((np.eye(3), np.zeros((3, 3))))
    for _ in range(6):
        z = rng.normal(size=(n, 3))
        batch.predict(dt)
        batch.update(z, r)
        for j, (x, p) in enumerate(states):
            x, p = f @ x, f @ p @ f.T + a ** 2 * g @ g.T
            gain = p @ h.T @ np.linalg.inv(h @ p @ h.T + white * r[j] + 1e-9 * np.eye(3))
            states[j] = (x + gain @ (z[j] - h @ x), (np.eye(6) - gain @ h) @ p)
    for j, (x, p) in enumerate(states):
        np.testing.assert_allclose(batch.x[j], x, atol=1e-9)
        np.testing.assert_allclose(batch.p[j], p, atol=1e-9)


def test_averaging_never_claims_more_than_one_picture_can_know():
    r = np.tile(np.diag([0.02, 0.02, 0.2]) ** 2, (3, 1, 1))
    filters = PointFilters(np.zeros((3, 3)), r)
    for _ in range(500):
        filters.predict(1 / 30)
        filters.update(np.zeros((3, 3)), r)
    assert (np.linalg.eigvalsh(filters.covariance - 0.9 * r) > 0).all()


def test_unknown_joints_are_carried_on():
    filters = PointFilters(np.zeros((2, 3)), np.tile(np.eye(3), (2, 1, 1)))
    filters.predict(0.1)
    filters.update(np.array([[np.nan] * 3, [1.0, 0, 0]]), np.tile(np.eye(3), (2, 1, 1)))
    assert (filters.position[0] == 0).all() and filters.position[1, 0] > 0


def test_matching_is_the_cheapest_and_leaves_the_impossible_apart():
    cost = np.array([[0.1, 0.2], [0.15, 9.0]])
    assert sorted(match(cost, 1.0)) == [(0, 1), (1, 0)]   # greedy would take (0, 0)
    assert match(np.array([[np.nan, 2.0]]), 1.0) == []
    assert match(np.zeros((0, 3)), 1.0) == []


def test_distances_known_values():
    assert box_iou(np.array([[0, 0, 2, 2.0]]), np.array([[1, 0, 3, 2.0]]))[0, 0] == pytest.approx(
        1 / 3)
    d = root_mahalanobis(np.zeros((1, 3)), np.eye(3)[None], np.array([[2.0, 0, 0]]),
                         np.zeros((1, 3, 3)))
    assert d[0, 0] == pytest.approx(4, rel=1e-4)

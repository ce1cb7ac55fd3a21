"""Names stay with people, velocities are right, covariances are honest."""

import numpy as np
import pytest

from lifting_ros.person import ScaleSource, Source
from lifting_ros.skeleton import INDEX, NUM_JOINTS, PELVIS
from lifting_ros.tracking import Observation, Tracker, association, motion
from lifting_ros.tracking.appearance import describe
from lifting_ros.tracking.association import box_iou, mahalanobis, match
from lifting_ros.tracking.filters import FilterBank, FilterOptions
from lifting_ros.tracking.ids import IdSource, name_of
from lifting_ros.tracking.small import pack, split, to_rows, unpack
from lifting_ros.tracking.track import image_steps

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
    for k in range(1, 50):
        tracker.update(observe([]), 0.1 * k)
    assert tracker.update(observe([[0, 0, 4]]), 5.0)[0].id != name


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


def plain_imm(z, r, white, dt, o, q):
    """Interacting multiple model of one joint, written out with whole 6x6 matrices."""
    h = np.hstack((np.eye(3), np.zeros((3, 3))))
    slow = np.diag([0, 0, 0, *[o.rest ** 2] * 3])
    x = [np.append(z[0], np.zeros(3)) for _ in range(2)]
    p = [slow.copy(), np.diag([0, 0, 0, *[o.speed ** 2] * 3])]
    for m in p:
        m[:3, :3] = white[0]
    mu, w = np.array([0.5, 0.5]), white[0]
    f = np.block([[np.eye(3), dt * np.eye(3)], [np.zeros((3, 3)), np.eye(3)]])
    g = np.array([[dt ** 3 / 3, dt ** 2 / 2], [dt ** 2 / 2, dt]])
    begin, end = 1 - np.exp(-dt / o.start), 1 - np.exp(-dt / o.stop)
    change = np.array([[1 - begin, begin], [end, 1 - end]])
    for k in range(1, len(z)):
        c = change.T @ mu
        share = change * mu[:, None] / c
        x0 = [sum(share[i, j] * x[i] for i in range(2)) for j in range(2)]
        p0 = [sum(share[i, j] * (p[i] + np.outer(x[i] - x0[j], x[i] - x0[j])) for i in range(2))
              for j in range(2)]
        # the still model has no velocity of its own
        x0[0][3:], p0[0][:, 3:], p0[0][3:] = 0, 0, 0
        p0[0] += slow
        p0[0][:3, :3] += 30 * dt * o.settle * w
        x0[1], p0[1] = f @ x0[1], f @ p0[1] @ f.T + q * np.kron(g, np.eye(3))
        w, like = white[k], np.zeros(2)
        for m in range(2):
            s = h @ p0[m] @ h.T + w
            gain = p0[m] @ h.T @ np.linalg.inv(s)
            off = z[k] - h @ x0[m]
            x[m], p[m] = x0[m] + gain @ off, (np.eye(6) - gain @ h) @ p0[m]
            like[m] = np.exp(-0.5 * off @ np.linalg.solve(s, off)) / np.sqrt(np.linalg.det(s))
        mu = c * like / (c * like).sum()
    mean = mu @ np.array(x)
    spread = sum(mu[m] * (p[m] + np.outer(x[m] - mean, x[m] - mean)) for m in range(2))
    return mean[:3], spread[:3, :3], mu[1]


def test_filters_agree_with_a_plain_interacting_multiple_model(rng):
    """One joint at a time, written out, against all joints of two people at once."""
    o, dt, steps = FilterOptions(memory=10 ** 9), 0.2, 7   # too slow to learn the noise
    root = rng.normal(size=(2, NUM_JOINTS, 3, 3))
    r = 1e-2 * (root @ np.swapaxes(root, -1, -2) + 0.1 * np.eye(3))
    z = rng.normal(size=(2, NUM_JOINTS, 3)) + [0, 0, 4] + np.cumsum(
        0.05 * rng.normal(size=(steps, 2, NUM_JOINTS, 3)), axis=0)
    bank, white = FilterBank(o), []
    bank.add(z[0], r)
    white.append(bank.white)
    for k in range(1, steps):
        bank.predict(np.arange(2), dt)
        bank.update(np.arange(2), z[k], r, np.full(2, dt))
        white.append(bank.white)
    for i in range(2):
        for j in (0, 3, 8, 16):
            x, p, moving = plain_imm(z[:, i, j], r, [w[i, j] for w in white], dt, o, bank._q[j])
            np.testing.assert_allclose(bank.position[i, j], x, atol=1e-8)
            np.testing.assert_allclose(bank.own[i, j], p, atol=1e-8)
            assert bank.moving[i, j] == pytest.approx(moving, abs=1e-3)


def test_averaging_never_claims_more_than_one_picture_can_know():
    person = SHAPE[None] + [0.0, 0, 4]
    ray = person / np.linalg.norm(person, axis=-1, keepdims=True)
    r = 0.03 ** 2 * np.eye(3) + (0.2 ** 2 - 0.03 ** 2) * ray[..., :, None] * ray[..., None, :]
    bank = FilterBank()
    bank.add(person, r)
    for _ in range(300):
        bank.predict(np.array([0]), 1 / 30)
        bank.update(np.array([0]), person, r, np.array([1 / 30]))
    assert (np.linalg.eigvalsh(bank.bias + bank.own - 0.9 * r) > 0).all()


def test_the_split_of_a_covariance_keeps_to_the_ray(rng):
    ray = rng.normal(size=(50, 3))
    ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
    line = ray[:, :, None] * ray[:, None]
    s = 4.0 * line + 0.25 * (np.eye(3) - line)
    share = np.array([[0.1, 0.9], [0.4, 0.6]])[..., None, None]       # along and across, of two
    parts = [unpack(part)[0] for part in split(to_rows(ray[None]), pack(s[None]), share)]
    np.testing.assert_allclose(parts[0], 0.4 * line + 0.1 * (np.eye(3) - line), atol=1e-12)
    np.testing.assert_allclose(sum(parts), s, atol=1e-12)


def test_matching_is_the_cheapest_and_leaves_the_impossible_apart():
    cost = np.array([[0.1, 0.2], [0.15, 9.0]])
    assert sorted(match(cost, 1.0)) == [(0, 1), (1, 0)]   # greedy would take (0, 0)
    assert match(np.array([[np.nan, 2.0]]), 1.0) == []
    assert match(np.zeros((0, 3)), 1.0) == []


def test_distances_known_values():
    assert box_iou(np.array([[0, 0, 2, 2.0]]), np.array([[1, 0, 3, 2.0]]))[0, 0] == pytest.approx(
        1 / 3)
    d = mahalanobis(np.array([[2.0, 0, 0], [np.nan, 0, 0]]), np.tile(np.eye(3), (2, 1, 1)))
    assert d[0] == pytest.approx(4) and np.isnan(d[1])
    assert motion.limb_variance(0.0, 0.2, 0.4) == 0
    assert motion.limb_variance(9.0, 0.2, 0.4) == pytest.approx(0.04)
    # of a velocity that is never forgotten: constant velocity, and noise density q t^3 / 3
    assert motion.pelvis_gain(0.5, 1e6) == pytest.approx(0.5, rel=1e-4)
    assert motion.pelvis_variance(0.5, 0.6, 500.0) == pytest.approx(0.6 * 0.125 / 3, rel=1e-2)


def test_ids_of_a_file_never_come_twice_over_restarts_and_nodes(tmp_path):
    path = tmp_path / 'ros' / 'ids'
    names = []
    for _ in range(3):                      # two nodes at a time, started three times
        a, b = IdSource(path), IdSource(path)
        names += [s.new() for _ in range(100) for s in (a, b)]
    assert len(set(names)) == 600
    assert all(len(n) == 5 and n[0].isalpha() and n.isalnum() for n in names)
    assert len({name_of(k) for k in range(50_000)}) == 50_000
    assert name_of(0) == name_of(26 * 36 ** 4) and name_of(1) != name_of(2)


def test_a_file_that_cannot_be_written_is_no_end_of_names(tmp_path, caplog):
    (tmp_path / 'file').write_text('not a number')
    source = IdSource(tmp_path / 'file')
    assert source.new() != source.new()
    assert 'at random' in caplog.text


def test_a_person_hidden_for_two_seconds_is_known_again_by_place():
    tracker, before = Tracker(), {}
    for k in range(30):
        people = tracker.update(observe([[-1 + k / 30, 0, 4], [1.0, 0, 6]]), k / 30)
    before = {round(p.joints[PELVIS, 2]): p.id for p in people}
    for k in range(30, 90):                 # the far one goes on being seen
        tracker.update(observe([[1.0, 0, 6]]), k / 30)
    people = tracker.update(observe([[1.2, 0, 4], [1.0, 0, 6]]), 3.0)
    assert {round(p.joints[PELVIS, 2]): p.id for p in people} == before


def test_clothes_tell_apart_who_comes_back_at_the_same_place():
    for swap in (False, True):
        tracker = Tracker()
        looks = np.array([[60, 20, 10, 30, 0, 0], [30, -10, 0, 20, 0, -20.0]])
        for k in range(20):
            o = observe([[-0.15, 0, 4], [0.15, 0, 4]])
            o.appearance = looks
            people = tracker.update(o, k / 20)
        names = [p.id for p in sorted(people, key=lambda p: p.joints[PELVIS, 0])]
        o = observe([[-0.15, 0, 4], [0.15, 0, 4]])
        o.appearance = looks[::-1] if swap else looks
        people = tracker.update(o, 2.5)
        after = [p.id for p in sorted(people, key=lambda p: p.joints[PELVIS, 0])]
        assert after == (names[::-1] if swap else names)


def test_colours_of_trunk_and_thighs():
    image = np.zeros((200, 100, 3), np.uint8)
    image[:100], image[100:] = (0, 0, 255), (255, 0, 0)     # BGR: red above, blue below
    xy = np.full((2, NUM_JOINTS, 2), 50.0)
    for name, at in {'left_shoulder': (70, 20), 'right_shoulder': (30, 20),
                     'left_hip': (65, 95), 'right_hip': (35, 95), 'left_knee': (65, 180),
                     'right_knee': (35, 180)}.items():
        xy[:, INDEX[name]] = at
    confidence = np.ones((2, NUM_JOINTS))
    confidence[1, INDEX['left_knee']] = 0
    looks = describe(image, xy, confidence)
    np.testing.assert_allclose(looks[0], [53.2, 80.1, 67.2, 32.3, 79.2, -107.9], atol=1.0)
    assert np.isnan(looks[1, 3:]).all() and np.isfinite(looks[1, :3]).all()


def run_scene(order=None, rotation=None, shift=0.0):
    """Two people who cross, with noise; positions and velocities by name of first sight."""
    tracker, rng, out = Tracker(), np.random.default_rng(3), []
    for k in range(25):
        o = observe([[-1 + k / 15, 0, 3.0], [1 - k / 15, 0, 4.5]])
        o.joints += 0.01 * rng.normal(size=o.joints.shape)
        if rotation is not None:
            o.joints = o.joints @ rotation.T
            o.covariance = rotation @ o.covariance @ rotation.T
        if order is not None:
            for name in ('box', 'keypoints', 'joints', 'covariance'):
                setattr(o, name, getattr(o, name)[order])
        people = tracker.update(o, shift + k / 15)
        out.append(sorted(((p.age, p.joints, p.velocity, p.covariance) for p in people),
                          key=lambda p: p[1][PELVIS] @ (np.eye(3) if rotation is None
                                                        else rotation)[:, 2]))
    assert len({p.id for p in people}) == 2
    return out


def test_the_answer_does_not_depend_on_order_frame_or_epoch(rng):
    plain = run_scene()
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    for other, r in ((run_scene(order=[1, 0]), np.eye(3)), (run_scene(rotation=turn), turn),
                     (run_scene(shift=1.7e9), np.eye(3))):
        for a, b in zip(plain, other, strict=True):
            for (age, x, v, c), (age_b, x_b, v_b, c_b) in zip(a, b, strict=True):
                assert age == pytest.approx(age_b, abs=1e-5)
                np.testing.assert_allclose(x @ r.T, x_b, atol=1e-5)
                np.testing.assert_allclose(v @ r.T, v_b, atol=1e-4)
                np.testing.assert_allclose(r @ c @ r.T, c_b, atol=1e-5)


def test_the_unsure_are_given_out_when_seen_again():
    tracker = Tracker()
    o = observe([[0, 0, 4]])
    o.confidence[:] = 0.2
    assert tracker.update(o, 0.0) == []
    person, = tracker.update(o, 0.05)
    assert person.matched and person.age == pytest.approx(0.05)


def test_who_stands_apart_is_matched_by_the_image_alone():
    near, far, between = 0.02, 4.0, 0.5
    image = np.full((3, 3), far)
    image[[0, 1, 2], [2, 0, 1]] = near
    assert sorted(association.plain(image)) == [(0, 2), (1, 0), (2, 1)]
    missed = image[:, :2]                       # one is not found in this image
    assert sorted(association.plain(missed)) == [(1, 0), (2, 1)]
    for row, column in ((0, 0), (0, 2)):        # a neighbour, or far from where he was expected
        doubt = image.copy()
        doubt[row, column] = between
        assert association.plain(doubt) is None
    doubt = image.copy()
    doubt[0, 0] = near                          # two claim one
    assert association.plain(doubt) is None and association.plain(doubt.T) is None
    assert association.plain(image[:0]) == []


def test_steps_in_the_image_are_medians_of_shared_keypoints():
    rng = np.random.default_rng(5)
    before = rng.uniform(0, 300, (40, 17, 2))
    now = before + rng.normal(0, 9, before.shape)
    seen = rng.random((40, 17)) < rng.uniform(0.1, 1, (40, 1))
    before[rng.random((40, 17)) < 0.1] = np.nan
    steps = image_steps(before, now, seen)
    told = 0
    for b, n, s, step in zip(before, now, seen, steps, strict=True):
        both = s & np.isfinite(b).all(1)
        if both.sum() < 4:
            assert np.isnan(step).all()
        else:
            told += 1
            assert np.allclose(step, np.median(n[both] - b[both], axis=0))
    assert 10 < told < 40

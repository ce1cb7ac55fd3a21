"""Fusion of views whose truth is known: by drawn errors, without a lifter."""

import numpy as np
import pytest

from lifting_ros.fusion import Agreement, Fuser, View, information
from lifting_ros.fusion.information import alike, distances, fuse, take_apart
from lifting_ros.matrices import inverse, inverted, positive
from lifting_ros.person import Person, Source

SCALE = 0.05                     # of the distances
ORIGINS = np.array([[4.0, 0, 1.6], [-2.0, 3.5, 2.0], [-2.0, -3.5, 1.2]])


def body(rng, at=(0.0, 0.0)):
    joints = rng.normal(scale=(0.15, 0.15, 0.4), size=(17, 3)) + [0, 0, 1]
    joints[:, :2] += at
    return joints


def seen(rng, joints, origin, scale=None, own=(0.02, 0.08)):
    """Joints and covariance as a camera at origin says: own errors across and along its rays."""
    ray = joints - origin
    u = ray / np.linalg.norm(ray, axis=-1, keepdims=True)
    flat = u[..., :, None] * u[..., None, :]
    cov = own[0] ** 2 * (np.eye(3) - flat) + own[1] ** 2 * flat
    error = (np.linalg.cholesky(cov) @ rng.normal(size=joints.shape)[..., None])[..., 0]
    s = SCALE * rng.normal() if scale is None else scale
    return (1 + s) * ray + origin + error, cov + SCALE ** 2 * ray[..., :, None] * ray[..., None, :]


def person(name, joints, covariance, velocity=0.0):
    p = Person(id=name, confidence=0.9, box=np.zeros(4), joints=joints, covariance=covariance)
    p.velocity = np.zeros((17, 3)) + velocity
    p.velocity_covariance = np.tile(0.01 * np.eye(3), (17, 1, 1))
    p.source = np.full(17, Source.OBSERVED, np.uint8)
    p.keypoint_confidence = np.full(17, 0.9)
    return p


def views(rng, bodies, stamp=0.0, cameras=(0, 1, 2), shift=None, names='abcdef', scales=None):
    out = []
    for c in cameras:
        off = np.zeros(3) if shift is None or c != cameras[-1] else np.asarray(shift)
        people = []
        for n, joints in enumerate(bodies):
            s = None if scales is None else scales[c][n]
            x, cov = seen(rng, joints, ORIGINS[c], s)
            people.append(person(f'{c}{names[n]}', x + off, cov))
        out.append(View(f'camera{c}', stamp, people, ORIGINS[c] + off))
    return out


def test_inverse_of_small_matrices(rng):
    a = rng.normal(size=(5, 7, 3, 3))
    a = a @ a.swapaxes(-1, -2) + 0.1 * np.eye(3)
    np.testing.assert_allclose(inverse(a), np.linalg.inv(a), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(inverted(a)[1], np.linalg.det(a), rtol=1e-7)
    turned = np.linalg.qr(rng.normal(size=(8, 3, 3)))[0]
    signs = np.array(np.meshgrid(*[[-1.0, 2.0]] * 3)).reshape(3, 8).T
    b = turned @ (signs[..., None] * turned.swapaxes(-1, -2))
    assert (positive(b) == (signs > 0).all(-1)).all() and positive(a).all()
    for nothing in (0.0, np.nan, np.inf):
        assert not positive(np.full((1, 3, 3), nothing)).any()


def test_the_scale_is_found_in_the_covariance(rng):
    joints = np.stack([body(rng) for _ in range(3)])
    cov = np.stack([seen(rng, j, ORIGINS[0])[1] for j in joints])
    parts = take_apart(joints, cov, ORIGINS[0])
    # at most 1 / (1 / s2 less what own errors leave): between s2 and that
    assert (parts.scale > 0.94 * SCALE ** 2).all() and (parts.scale < 1.3 * SCALE ** 2).all()
    assert (np.linalg.eigvalsh(parts.own) > 0).all()
    unknown = take_apart(joints, cov, None)
    assert not unknown.scale.any() and (unknown.own == cov).all()


def test_one_camera_comes_back_as_it_was(rng):
    x, cov = seen(rng, body(rng), ORIGINS[0])
    (p,) = Fuser().update([View('a', 0.0, [person('a', x, cov)], ORIGINS[0])], 0.0)
    np.testing.assert_allclose(p.joints, x, atol=1e-9)
    np.testing.assert_allclose(p.covariance, cov, atol=1e-9)


@pytest.mark.parametrize('cameras', [(0, 1), (0, 1, 2)])
@pytest.mark.parametrize('same', [True, False])   # errors of the distances: one stature, or any
def test_errors_and_consistency(rng, cameras, same):
    single, both, square = [], [], []
    for _ in range(60):
        joints, s = body(rng), SCALE * rng.normal()
        vs = views(rng, [joints], cameras=cameras, scales=[[s]] * 3 if same else None)
        (p,) = Fuser().update(vs, 0.0)
        single.append(min(np.linalg.norm(v.people[0].joints - joints, axis=1).mean()
                          for v in vs))
        both.append(np.linalg.norm(p.joints - joints, axis=1).mean())
        e = p.joints - joints
        square.append((e * np.linalg.solve(p.covariance, e[..., None])[..., 0]).sum(-1))
    assert np.mean(both) < 0.5 * np.mean(single)
    # own errors are independent here, and counted as partly alike: on the safe side, not far
    assert 0.4 < np.mean(square) / 3 < 1.1
    assert np.mean(np.array(square) < 7.815) > 0.95


def test_two_cameras_at_one_place_are_worth_one(rng):
    joints = body(rng)[None]
    x, cov = seen(rng, joints[0], ORIGINS[0])
    parts = [take_apart(x[None], cov[None], ORIGINS[0])] * 2
    _, twice, _ = fuse(np.stack((x, x))[:, None], parts, np.ones((2, 1), bool))
    np.testing.assert_allclose(np.linalg.eigvalsh(twice[0]), np.linalg.eigvalsh(cov), rtol=0.05)
    assert alike(np.array([1.0, 0, 0]), np.array([0, 1.0, 0])) == pytest.approx(0.25)
    # where a camera is is not known: its errors may be anybody's
    none = [take_apart(x[None], cov[None], None)] * 2
    _, bound, _ = fuse(np.stack((x, x))[:, None], none, np.ones((2, 1), bool))
    np.testing.assert_allclose(bound[0], cov, rtol=1e-6)


def test_distances_know_who_is_who(rng):
    bodies = [body(rng, at) for at in ((0, 0), (0.7, 0.5), (-0.6, 0.4))]
    a, b = views(rng, bodies, cameras=(0, 1))
    stack = [(np.array([p.joints for p in v.people]), np.array([p.covariance for p in v.people]),
              v.origin) for v in (a, b)]
    d = distances(stack[0][0], take_apart(*stack[0]), stack[1][0], take_apart(*stack[1]), 0.03)
    assert (np.diag(d) < 2).all() and (d[~np.eye(3, dtype=bool)] > 5).all()


def test_ids_stay_through_motion_gaps_and_changed_ids_of_cameras(rng):
    fuser, start = Fuser(), [body(rng, at) for at in ((-1.2, 0), (1.2, 0.2))]
    names = {}
    for f in range(60):
        t = f / 10
        bodies = [start[0] + [0.4 * t, 0, 0], start[1] - [0.4 * t, 0, 0]]   # they cross
        cameras = (0, 1, 2) if f < 20 else (0, 2) if f < 40 else (1, 2)     # cameras come and go
        vs = views(rng, bodies, t, cameras, names='abcdef' if f < 30 else 'ghijkl')
        for v in vs:
            rng.shuffle(v.people)
            for p in v.people:
                p.velocity = p.velocity + np.array([0.4 if p.id[1] in 'ag' else -0.4, 0, 0])
        people = fuser.update(vs, t)
        assert len(people) == 2
        for p in people:
            gap = [np.linalg.norm(p.joints - b, axis=1).mean() for b in bodies]
            names.setdefault(p.id, set()).add(int(np.argmin(gap)))
            assert min(gap) < 0.15
    assert len(names) == 2 and all(len(who) == 1 for who in names.values())


def test_a_crowd_that_comes_at_once_is_compared_at_once(rng, monkeypatch):
    calls, plain = [], information._apart
    monkeypatch.setattr(information, '_apart', lambda *a: calls.append(1) or plain(*a))
    bodies = [body(rng, (1.5 * (n % 4) - 2, 1.5 * (n // 4) - 2)) for n in range(16)]
    names = [f'{n:04d}' for n in range(16)]
    people = Fuser().update(views(rng, bodies, names=names), 0.0)
    gap = np.linalg.norm(np.array([p.joints for p in people])[:, None] - bodies, axis=-1).mean(-1)
    assert sorted(gap.argmin(1)) == list(range(16)) and gap.min(1).max() < 0.2
    # 40 people before four cameras took 44 s when each pair of groups was a call
    assert len(calls) < 5


def test_late_and_missing_cameras(rng):
    joints, speed = body(rng), np.array([1.0, 0, 0])
    vs = views(rng, [joints], 1.0)
    # the third camera's image is a tenth of a second older, when the person was elsewhere
    late = views(rng, [joints - 0.1 * speed], 0.9)[2]
    for v in (*vs, late):
        v.people[0].velocity = np.tile(speed, (17, 1))
    (p,) = Fuser().update([*vs[:2], late], 1.0)
    (without,) = Fuser().update(vs[:2], 1.0)
    (whole,) = Fuser().update(vs, 1.0)
    trace = [np.trace(q.covariance.mean(0)) for q in (whole, p, without)]
    assert trace[0] < trace[1] < trace[2]        # costs its share, no more
    assert np.linalg.norm(p.joints - joints, axis=1).mean() < 0.06
    nan = person('x', np.full((17, 3), np.nan), np.full((17, 3, 3), np.nan))
    vs[0].people.append(nan)                     # a camera without calibration: left out
    assert len(Fuser().update(vs, 1.0)) == 1


@pytest.mark.parametrize('name, value', [
    ('covariance', np.zeros((3, 3))), ('covariance', np.ones((3, 3))),
    ('covariance', 1e200 * np.eye(3)), ('joints', 1e200),
    ('velocity_covariance', 1e200 * np.eye(3))])
def test_one_joint_that_makes_no_sense_spoils_nobody(rng, name, value):
    fuser, bodies = Fuser(), [body(rng), body(rng, (2.0, 0))]
    for stamp in (0.0, 0.1, 0.2):
        vs = views(rng, bodies, stamp)
        getattr(vs[0].people[0], name)[4] = value
        people = fuser.update(vs, stamp)
        assert len(people) == 2     # by the other cameras, or without the velocity
        for p in people:
            assert all(np.isfinite(getattr(p, n)).all() for n in (
                'joints', 'covariance', 'velocity', 'velocity_covariance'))
            assert np.linalg.eigvalsh(p.covariance).min() > 0
            assert min(np.linalg.norm(p.joints - b, axis=-1).mean() for b in bodies) < 0.1


def test_time_that_jumps_back_starts_afresh_with_other_ids(rng):
    fuser, joints = Fuser(), body(rng)
    first = fuser.update(views(rng, [joints], 5.0), 5.0)[0].id
    assert fuser.update(views(rng, [joints], 5.1), 5.1)[0].id == first
    assert fuser.update(views(rng, [joints], 0.0), 0.0)[0].id != first
    assert fuser.update([], 0.1) == []


@pytest.mark.parametrize('common', [True, False])
def test_cameras_that_see_other_joints_of_a_person_are_not_at_odds(rng, common):
    # the middle of what is seen is elsewhere then, by far more than any error
    fuser, agreement, joints = Fuser(), Agreement(), body(rng)
    scales = [[0.0]] * 2
    for f in range(60):
        both = views(rng, [joints], f / 10, (0, 1), scales=scales)
        if common:
            both[1].people[0].source[9:] = Source.LIFTED
        else:                       # nothing in common: nothing can be said
            for view, part in zip(both, (slice(0, 9), slice(9, 17))):
                view.people[0].source[part] = Source.LIFTED
        fuser.update(both, f / 10)
        agreement.update(fuser.groups, f / 10)
    verdicts = agreement.verdicts()
    assert all(v.agree and v.surprise < 8 for v in verdicts)
    assert len(verdicts) == (2 if common else 0)


@pytest.mark.parametrize('cameras, shift, told', [
    ((0, 1), (0, 0, 0), False), ((0, 1, 2), (0, 0, 0), False),
    ((0, 1), (0, 0, 0.05), True), ((0, 1, 2), (0, 0, 0.05), True),
    ((0, 1, 2), (0.043, -0.025, 0), True)])     # across the third one's view
def test_wrong_extrinsics_are_reported_within_ten_seconds(rng, cameras, shift, told):
    fuser, agreement, joints = Fuser(), Agreement(), body(rng)
    s = SCALE * rng.normal()
    scales = [[s + 0.01 * rng.normal()] for _ in range(3)]   # stays, as stature does
    for f in range(100):
        fuser.update(views(rng, [joints], f / 10, cameras, shift, scales=scales), f / 10)
        agreement.update(fuser.groups, f / 10)
    worst = agreement.verdicts()[0]
    assert worst.agree != told
    if told:
        assert len(cameras) == 2 or worst.camera == 'camera2'
        assert np.linalg.norm(worst.offset) == pytest.approx(0.05, abs=0.025)
        assert worst.camera in worst.text and 'extrinsic' in worst.text


def told_of(rng, disturb, seconds=10.0):
    """The verdict after some time of three cameras, of which the last's people are disturbed."""
    fuser, agreement, joints = Fuser(), Agreement(), body(rng)
    scales = [[0.0]] * 3
    for f in range(int(10 * seconds)):
        all_views = views(rng, [joints], f / 10, (0, 1, 2), scales=scales)
        last = all_views[2].people[0]
        last.joints = last.joints + disturb(f / 10)
        fuser.update(all_views, f / 10)
        agreement.update(fuser.groups, f / 10)
    return agreement.verdicts()[0]


def test_an_arm_on_the_wrong_side_is_no_wrong_extrinsic(rng):
    arm = np.zeros((17, 3))
    arm[[11, 12, 13, 14, 15], 2] = 0.15     # a mean over all joints would be 4 cm off
    assert told_of(rng, lambda t: arm).agree
    # nor does it hide one
    verdict = told_of(rng, lambda t: arm + [0, 0, 0.05])
    assert not verdict.agree and verdict.camera == 'camera2'
    assert verdict.offset[2] == pytest.approx(0.05, abs=0.015)


def test_a_camera_that_is_off_now_and_then_has_no_wrong_extrinsic(rng):
    # in the mean as much as one that is, but its covariances are too small
    assert told_of(rng, lambda t: [0, 0, 0.12 * (t % 2.5 < 1)]).agree
    assert not told_of(rng, lambda t: [0, 0, 0.05]).agree

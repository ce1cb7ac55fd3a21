"""The lifter: against a plain reference, under symmetries, and with bad input."""

import numpy as np
import pytest

from lifting_ros.camera import Camera
from lifting_ros.lifting import Lifter
from lifting_ros.lifting.closed_form import ClosedForm
from lifting_ros.lifting.frames import across, upright
from lifting_ros.person import ScaleSource, Source
from lifting_ros.prior import PosePrior
from lifting_ros.prior.fit import turn
from lifting_ros.skeleton import INDEX, LSP_JOINTS, MIRROR


@pytest.fixture(scope='module')
def prior():
    return PosePrior.load()


@pytest.fixture(scope='module')
def lifter():
    return Lifter.from_pretrained()


@pytest.fixture(scope='module')
def scene(prior):
    """People of the prior before a level camera: keypoints, confidence, camera, truth."""
    return make_scene(prior, 24, np.random.default_rng(0))


def make_scene(prior, n, rng, noise=1.0):
    few = PosePrior(prior.mean, prior.basis, 0 * prior.psi, prior.weight, prior.stature)
    poses, _ = few.sample(n, rng)
    poses = turn(poses, rng.uniform(-np.pi, np.pi, n)) * 1.7
    camera = Camera([[600, 0, 319.5], [0, 610, 239.5], [0, 0, 1]], 640, 480)
    # z up to the optical frame of a level camera: x right, y down, z ahead (x of the world)
    turned = np.stack((-poses[..., 1], -poses[..., 2], poses[..., 0]), -1)
    truth = turned + np.stack((rng.normal(0, 0.4, n), rng.normal(0, 0.1, n),
                               rng.uniform(2.5, 5, n)), -1)[:, None]
    keypoints = camera.project(truth) + rng.normal(0, noise, (n, 17, 2))
    confidence = np.zeros((n, 17))
    confidence[:, LSP_JOINTS] = 1
    return keypoints, confidence, camera, truth


UP = (0.0, -1.0, 0.0)


def plain_solve(prior, rays, confidence, angle_sigma, distance, k, heading):
    """One mode and heading by dense least squares in the unturned frame: score, a, T."""
    c, s = np.cos(heading), np.sin(heading)
    rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
    m = prior.dimensions
    rows, right, log = [], [], 0.0
    for j in np.flatnonzero(confidence > 0):
        noise = (prior.psi[k] + prior.skeleton_noise ** 2
                 + (angle_sigma[j] * distance) ** 2)
        w = confidence[j] / noise
        q = np.eye(3) - np.outer(rays[j], rays[j])
        rows.append(np.sqrt(w) * q @ np.hstack((rotation @ prior.basis[k, :, j].T, np.eye(3))))
        right.append(-np.sqrt(w) * q @ rotation @ prior.mean[k, j])
        log += -2 * confidence[j] * np.log(w)
    a = np.vstack([*rows, np.eye(m, m + 3)])
    b = np.concatenate([*right, np.zeros(m)])
    x = np.linalg.lstsq(a, b, rcond=None)[0]
    middle = rays.mean(0)
    value = (((a @ x - b) ** 2).sum() + np.linalg.slogdet(a.T @ a)[1] + log
             - 2 * np.log(prior.weight[k])
             - 4 * confidence.sum() * np.log(max(middle @ x[m:], 0.15)))
    return value, x[:m], x[m:]


def in_world(scene):
    keypoints, confidence, camera, _ = scene
    rays = camera.rays(keypoints)
    n = len(rays)
    middle = (rays * confidence[..., None]).sum(1)
    return rays @ np.swapaxes(upright(np.tile(UP, (n, 1)), middle), 1, 2)


def test_solve_equals_the_plain_solver(prior, scene):
    rays, confidence = in_world(scene), scene[1].copy()
    confidence[1, 3] = 0
    confidence[2] *= 0.4
    n = 6
    sigma = np.full((n, 17), 0.004)
    rng = np.random.default_rng(3)
    mode = rng.integers(prior.modes, size=(n, 5))
    heading = rng.uniform(-3, 3, (n, 5))
    distance, compared = rng.uniform(1, 4, n), 0
    found = ClosedForm(prior).solve(rays[:n], confidence[:n], sigma, mode, heading, distance)
    for i in range(n):
        want = [plain_solve(prior, rays[i], confidence[i], sigma[i], distance[i], k, h)
                for k, h in zip(mode[i], heading[i])]
        order = np.argsort([w[0] for w in want])
        finite = np.isfinite(found.score[i])
        compared += finite.sum()
        for q in np.flatnonzero(finite):
            match = [o for o in order if abs(heading[i, o] - found.heading[i, q]) < 1e-12][0]
            score, a, t = want[match]
            assert found.mode[i, q] == mode[i, match]
            np.testing.assert_allclose(found.score[i, q], score, rtol=1e-6, atol=1e-5)
            np.testing.assert_allclose(found.coefficients[i, q], a, atol=1e-6)
            np.testing.assert_allclose(found.translation[i, q], t, atol=1e-6)
        assert (np.diff(found.score[i][finite]) >= 0).all()
    assert compared > n


def test_coarse_table_equals_direct_sums(prior, scene):
    """With all directions in the first pass, search and solve must agree on every score."""
    rays, confidence = in_world(scene)[:3], scene[1][:3]
    sigma = np.full((3, 17), 0.004)
    small = PosePrior(prior.mean[:2], prior.basis[:2, :6], prior.psi[:2], prior.weight[:2],
                      prior.stature, prior.skeleton_noise)
    form = ClosedForm(small, headings=4, coarse=None, keep=8)
    distance = np.full(3, 2.0)
    mode, heading = np.divmod(np.tile(np.arange(8), (3, 1)), 4)
    direct = form.solve(rays, confidence, sigma, mode, form.angles[heading], distance)
    weight = confidence / (form.noise[:, None] + (sigma * 2.0) ** 2)
    from lifting_ros.lifting.closed_form import projectors, turned
    rows = weight[:, :, None, :, None] * projectors(turned(rays, form.angles))
    packed = rows.reshape(2, 12, -1) @ form.tables
    square = packed.reshape(2, 3, 4, -1)[..., form._unpack] + form._ridge
    score = form._evaluate(square, turned(rays, form.angles).mean(2)[None], 6, 14)[0]
    score = (score + form._constant(weight, confidence)[:, :, None]).transpose(1, 0, 2)
    for i in range(3):
        for q in np.flatnonzero(np.isfinite(direct.score[i])):
            h = np.abs(form.angles - direct.heading[i, q]).argmin()
            assert score[i, direct.mode[i, q], h] == pytest.approx(direct.score[i, q], rel=1e-6)


def test_coarse_to_fine_finds_what_the_full_search_finds(prior):
    keypoints, confidence, camera, _ = make_scene(prior, 100, np.random.default_rng(5))
    rays = in_world((keypoints, confidence, camera, None))
    sigma = np.full((100, 17), 0.004)
    lifter = Lifter(prior)
    fast = lifter.closed_form.search(rays, confidence, sigma)
    form = ClosedForm(prior, headings=len(lifter.closed_form.angles), coarse=None, keep=1)
    full = form.search(rays, confidence, sigma)
    same = ((fast.mode[:, 0] == full.mode[:, 0])
            & (np.abs(fast.heading[:, 0] - full.heading[:, 0]) < 1e-9))
    # another candidate that is as good, to the noise of the score, is no loss
    close = np.abs(fast.score[:, 0] - full.score[:, 0]) < 1.0
    assert (same | close).mean() >= 0.98 and same.mean() >= 0.93


def test_refinement_gradient_and_minimum(prior, lifter, scene):
    """The analytic gradient is that of the cost, and no nearby state is better."""
    from lifting_ros.lifting.problem import Problem, start
    from lifting_ros.lifting.refine import linearise, refine
    rays = in_world(scene)[:4]
    n = 4
    problem = Problem(
        rays, across(rays), scene[1][:4], np.tile(0.004 ** 2 * np.eye(2), (n, 17, 1, 1)),
        prior.mean[:n], prior.basis[:n], prior.psi[:n] + 1e-4, np.full(n, 0.03),
        np.tile(prior.stature, (n, 1)), length_mean=prior.length_mean,
        length_root=lifter.length_root)
    rng = np.random.default_rng(7)
    state = start(problem, 0.1 * rng.normal(size=(n, prior.dimensions)), np.full(n, 1.0),
                  np.tile([2.0, 0, 0], (n, 1)))
    state, linear = refine(problem, state, rounds=60, tolerance=1e-9)
    low = linear.cost
    for _ in range(40):
        step = rng.normal(size=(n, prior.dimensions + 7)) * 1e-3
        # spreads follow depth in the cost but not in its gradient, so allow for their slope
        assert (linearise(problem, state.moved(step)).cost > low - 0.3).all()
    away = state.moved(rng.normal(size=(n, prior.dimensions + 7)) * 0.05)
    at = linearise(problem, away)
    for p in [*range(3), prior.dimensions, prior.dimensions + 1, prior.dimensions + 2]:
        # directions that do not change depth much: coefficients and turns
        step = np.zeros((n, prior.dimensions + 7))
        step[:, p] = 1e-5
        slope = (linearise(problem, away.moved(step)).cost
                 - linearise(problem, away.moved(-step)).cost) / 2e-5
        scale = np.abs(at.gradient).max(1) + 10
        assert (np.abs(slope / 2 - at.gradient[:, p]) < 0.2 * scale).all()


def test_recovers_people_of_the_prior(lifter, scene):
    keypoints, confidence, camera, truth = scene
    lifted = lifter.lift(keypoints, confidence, camera, UP, stature=1.7)
    error = np.linalg.norm((lifted.joints - lifted.joints[:, :1])
                           - (truth - truth[:, :1]), axis=-1)
    assert error.mean() < 0.09
    root = np.linalg.norm(lifted.joints[:, 0] - truth[:, 0], axis=1)
    assert np.median(root / truth[:, 0, 2]) < 0.08  # a sample's proportions are nobody's
    seen = confidence > 0
    pixels = np.linalg.norm(camera.project(lifted.joints) - keypoints, axis=-1)
    assert np.median(pixels[seen]) < 6
    # a pose drawn from the mixture may be none that the density believes: a joint or two
    assert (lifted.source[seen] == Source.OBSERVED).mean() > 0.97
    assert (lifted.source[~seen] == Source.LIFTED).all()
    assert (lifted.scale_source == ScaleSource.STATURE).all()
    assert (np.linalg.eigvalsh(lifted.covariance) > 0).all()


def test_covariance_is_widest_along_the_ray(lifter, scene):
    lifted = lifter.lift(*scene[:3], UP)
    ray = lifted.joints / np.linalg.norm(lifted.joints, axis=-1, keepdims=True)
    along = np.einsum('nji,njik,njk->nj', ray, lifted.covariance, ray)
    across_ray = (np.trace(lifted.covariance, axis1=-2, axis2=-1) - along) / 2
    assert np.median(along / across_ray) > 5


def test_permuting_people_permutes_the_result(lifter, scene):
    keypoints, confidence, camera, _ = scene
    order = np.random.default_rng(1).permutation(len(keypoints))
    a = lifter.lift(keypoints, confidence, camera, UP)
    b = lifter.lift(keypoints[order], confidence[order], camera, UP)
    np.testing.assert_allclose(a.joints[order], b.joints, atol=1e-6)


def test_one_persons_missing_joints_change_nobody_else(lifter, scene):
    keypoints, confidence, camera, _ = scene
    a = lifter.lift(keypoints, confidence, camera, UP)
    k, c = keypoints.copy(), confidence.copy()
    k[0], c[1, 5:] = np.nan, 0
    c[2] = 0
    b = lifter.lift(k, c, camera, UP)
    assert np.isnan(b.joints[[0, 2]]).all()
    np.testing.assert_allclose(a.joints[3:], b.joints[3:], atol=1e-6)
    np.testing.assert_allclose(a.covariance[3:], b.covariance[3:], atol=1e-6)
    alone = lifter.lift(keypoints[5:6], confidence[5:6], camera, UP)
    np.testing.assert_allclose(a.joints[5], alone.joints[0], atol=1e-6)


def test_resolution_does_not_matter(lifter, scene):
    keypoints, confidence, camera, _ = scene
    covariance = np.tile(4 * np.eye(2), (len(keypoints), 17, 1, 1))
    big = camera.scaled(1280, 960)
    a = lifter.lift(keypoints, confidence, camera, UP, covariance)
    b = lifter.lift(keypoints * 2 + 0.5, confidence, big, UP, 4 * covariance
                    + 0.75 * np.eye(2))  # the floor of half a pixel does not scale
    np.testing.assert_allclose(a.joints, b.joints, atol=2e-3)


def test_turning_scene_and_up_turns_the_result(lifter, scene):
    """Rolling the camera about its axis, gravity with it."""
    keypoints, confidence, _, _ = scene
    camera = Camera([[600, 0, 319.5], [0, 600, 239.5], [0, 0, 1]], 640, 480)
    c, s = np.cos(0.5), np.sin(0.5)
    roll = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    centre = np.array([319.5, 239.5])
    rolled = (keypoints - centre) @ roll[:2, :2].T + centre
    covariance = np.tile(4 * np.eye(2), (len(keypoints), 17, 1, 1))
    a = lifter.lift(keypoints, confidence, camera, UP, covariance)
    b = lifter.lift(rolled, confidence, camera, roll @ UP, covariance)
    np.testing.assert_allclose(a.joints @ roll.T, b.joints, atol=2e-3)


def test_mirror_image(lifter, scene):
    keypoints, confidence, _, _ = scene
    camera = Camera([[600, 0, 319.5], [0, 600, 239.5], [0, 0, 1]], 640, 480)
    mirrored = keypoints[:, MIRROR].copy()
    mirrored[..., 0] = 639 - mirrored[..., 0]
    a = lifter.lift(keypoints, confidence, camera, UP)
    b = lifter.lift(mirrored, confidence[:, MIRROR], camera, UP)
    back = b.joints[:, MIRROR] * [-1, 1, 1]
    off = np.linalg.norm(a.joints - back, axis=-1) / np.sqrt(
        np.trace(a.covariance, axis1=-2, axis2=-1))
    # the mixture is mirrored only as far as its fit is; the result must agree within its sigma
    assert np.median(off) < 0.7


def test_gravity_unknown_is_estimated(lifter, scene):
    keypoints, confidence, camera, truth = scene
    lifted = lifter.lift(keypoints, confidence, camera)
    error = np.linalg.norm((lifted.joints - lifted.joints[:, :1])
                           - (truth - truth[:, :1]), axis=-1)
    assert np.isfinite(lifted.joints).all() and error.mean() < 0.13


@pytest.mark.parametrize('spoil', ['nan', 'zero', 'three', 'inf', 'same', 'huge', 'negative'])
def test_nonsense_gives_a_clear_answer(lifter, scene, spoil):
    keypoints, confidence, camera, _ = (x[:3].copy() if isinstance(x, np.ndarray) else x
                                        for x in scene)
    covariance = None
    if spoil == 'nan':
        keypoints[1] = np.nan
    elif spoil == 'zero':
        confidence[1] = 0
    elif spoil == 'three':
        confidence[1, list(LSP_JOINTS[3:])] = 0
    elif spoil == 'inf':
        keypoints[1] = np.inf
    elif spoil == 'same':
        keypoints[1] = 100.0
    elif spoil == 'huge':
        keypoints[1] = np.random.default_rng(0).uniform(-1e9, 1e9, (17, 2))
    elif spoil == 'negative':
        confidence[1] = -1
        covariance = np.full((3, 17, 2, 2), -1.0)
    lifted = lifter.lift(keypoints, confidence, camera, UP, covariance)
    assert np.isfinite(lifted.joints[[0, 2]]).all()
    if np.isfinite(lifted.joints[1]).all():
        assert spoil == 'same' and np.abs(lifted.joints[1]).max() < 90
    else:
        assert np.isnan(lifted.joints[1]).all() and np.isnan(lifted.covariance[1]).all()
        assert (lifted.source[1] == Source.UNKNOWN).all()
        assert lifted.scale_source[1] == ScaleSource.NONE


def test_a_gross_error_is_left_out(lifter):
    """A wrist far off is LIFTED, and the others are where they were."""
    from pathlib import Path
    data = Path(__file__).resolve().parents[2] / 'shared' / 'data' / 'mocap'
    if not data.is_dir():
        pytest.skip(f'no motion capture at {data}')
    from lifting_ros.evaluation.scenes import scenes
    from lifting_ros.training.mocap import HELD_OUT_SUBJECTS, draw_balanced, read
    poses = read(data)
    poses = poses[np.isin(poses.subject, HELD_OUT_SUBJECTS)]
    rng = np.random.default_rng(0)
    s = scenes(poses[draw_balanced(poses, 60, rng)].joints, rng)
    wrist = INDEX['left_wrist']
    spoilt = s.keypoints.copy()
    spoilt[:, wrist] += 120 * np.where(rng.random((60, 2)) < 0.5, -1, 1)
    good = lifter.lift(s.keypoints, s.confidence, s.camera, s.up)
    bad = lifter.lift(spoilt, s.confidence, s.camera, s.up)
    others = [j for j in range(17) if j not in (wrist, INDEX['left_elbow'])]

    def error(lifted):
        off = (lifted.joints - lifted.joints[:, :1]) - (s.joints - s.joints[:, :1])
        return np.nanmean(np.linalg.norm(off, axis=-1)[:, others])

    assert error(good) < 0.07
    assert error(bad) < 1.25 * error(good)
    assert (bad.source[:, wrist] == Source.LIFTED).mean() > 0.8


def test_noise_is_mostly_no_pose(lifter):
    rng = np.random.default_rng(0)
    camera = Camera([[600, 0, 319.5], [0, 600, 239.5], [0, 0, 1]], 640, 480)
    lifted = lifter.lift(rng.uniform([220, 60], [420, 420], (60, 17, 2)), np.ones((60, 17)),
                         camera, UP)
    assert np.isnan(lifted.joints).all((1, 2)).mean() > 0.5
    ok = np.isfinite(lifted.joints)
    assert (np.abs(lifted.joints[ok]) < 80).all()


def test_hardly_seen_is_not_seen(lifter, scene):
    """A network says 0.02 of what it does not see; that must not count as seen."""
    keypoints, confidence, camera, _ = scene
    hardly, spoilt = confidence.copy(), keypoints.copy()
    absent = confidence.copy()
    ankles = [INDEX['left_ankle'], INDEX['right_ankle']]
    hardly[:, ankles], absent[:, ankles] = 0.02, 0
    spoilt[:, ankles] = 50.0
    a = lifter.lift(spoilt, hardly, camera, UP)
    covariance = np.full((len(keypoints), 17, 2, 2), np.nan)
    b = lifter.lift(keypoints, absent, camera, UP, covariance)
    np.testing.assert_allclose(a.joints, b.joints, atol=1e-9)
    assert (a.source[:, ankles] == Source.LIFTED).all()


def test_four_joints_are_lifted(lifter, scene):
    keypoints, confidence, camera, truth = scene
    few = np.zeros_like(confidence)
    few[:, [INDEX[j] for j in ('left_shoulder', 'right_shoulder', 'left_elbow', 'neck')]] = 1
    lifted = lifter.lift(keypoints, few, camera, UP)
    ok = np.isfinite(lifted.joints).all((1, 2))
    assert ok.mean() > 0.9
    full = lifter.lift(keypoints, confidence, camera, UP)
    ankle = INDEX['left_ankle']
    wide = np.trace(lifted.covariance[ok, ankle], axis1=-2, axis2=-1)
    sure = np.trace(full.covariance[ok, ankle], axis1=-2, axis2=-1)
    assert (wide > sure).mean() > 0.9


def test_empty_and_wrong_shapes(lifter, scene):
    camera = scene[2]
    assert len(lifter.lift(np.zeros((0, 17, 2)), np.zeros((0, 17)), camera)) == 0
    with pytest.raises(ValueError, match='keypoints'):
        lifter.lift(np.zeros((1, 16, 2)), np.zeros((1, 16)), camera)
    with pytest.raises(ValueError, match='confidence'):
        lifter.lift(np.zeros((1, 17, 2)), np.zeros((2, 17)), camera)
    with pytest.raises(ValueError, match='up'):
        lifter.lift(np.zeros((2, 17, 2)), np.zeros((2, 17)), camera, up=np.zeros((3, 3)))


def test_looking_straight_down(lifter, scene):
    """Up along the optical axis: no heading of the view, and no exception."""
    lifted = lifter.lift(*scene[:3], (0.0, 0.0, -1.0))
    assert lifted.joints.shape == (24, 17, 3)
    assert not np.isnan(lifted.joints).all()

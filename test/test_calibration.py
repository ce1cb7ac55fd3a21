"""The calibration of the lifter: what it does to covariances, and that a fit finds what is off."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from lifting_ros.camera import Camera
from lifting_ros.lifting import Lifter, calibration, linear
from lifting_ros.lifting.calibration import JOINT, KIND, KINDS, PERSON, PREFIX, SCALED, Calibration
from lifting_ros.prior import WeightsError
from lifting_ros.prior.file import WEIGHTS, load_tensors
from lifting_ros.skeleton import JOINTS, MIRROR


def tensors(rng, width=6):
    return {'person': rng.normal(size=(PERSON, width)), 'joint': rng.normal(size=(JOINT, width)),
            'kind': rng.normal(size=(len(KINDS), width)), 'out': rng.normal(size=(width, 2)),
            'bias': rng.normal(size=2), 'stature': np.array([-0.3]),
            'total': rng.normal(size=(2, 2, len(KINDS))),
            'person_range': np.array([[-2.0] * PERSON, [2.0] * PERSON]),
            'joint_range': np.array([[-2.0] * JOINT, [2.0] * JOINT])}


def posterior(rng, n=4):
    root = rng.normal(size=(n, 51, 51)) * 0.05
    mean = rng.normal(size=(n, 17, 3)) * 0.3 + [3, 0, 0]
    one = np.zeros(n)
    return linear.Posterior(mean, root @ root.swapaxes(1, 2), rng.chisquare(2, (n, 17)),
                            np.ones((n, 17)), one, one + 0.5, one + 0.4, np.zeros((n, 17)))


def test_kinds_are_of_the_joints():
    for name, kind in zip(JOINTS, KIND, strict=True):
        assert name.endswith(KINDS[kind])
    assert len(KINDS) == 11
    np.testing.assert_array_equal(KIND, KIND[list(MIRROR)])


def test_variances_grow_along_the_ray_and_across_it():
    rng = np.random.default_rng(0)
    found = posterior(rng)
    own = calibration.blocks(found.covariance)
    rays = found.mean / np.linalg.norm(found.mean, axis=-1, keepdims=True)
    factor = np.exp(rng.normal(size=(4, 17, 2)))
    got = calibration.grown(own, rays, factor)
    for i in range(4):
        for j in range(17):
            np.testing.assert_array_equal(
                own[i, j], found.covariance[i, 3 * j:3 * j + 3, 3 * j:3 * j + 3])
            ray = rays[i, j]
            side = np.cross(ray, [0.0, 0, 1])
            side /= np.linalg.norm(side)
            for axis, by in ((side, factor[i, j, 0]), (ray, factor[i, j, 1])):
                assert axis @ got[i, j] @ axis == pytest.approx(by * (axis @ own[i, j] @ axis))
    whole = calibration.grown_whole(found, rays, factor)
    np.testing.assert_allclose(calibration.blocks(whole.covariance), got, atol=1e-12)
    assert np.linalg.eigvalsh(whole.covariance).min() > -1e-9
    np.testing.assert_allclose(whole.covariance, whole.covariance.swapaxes(1, 2), atol=1e-12)


def test_metres_are_those_of_the_whole_posterior():
    rng = np.random.default_rng(1)
    found = posterior(rng)
    sizes = np.stack((rng.normal(0.5, 0.1, 4), rng.uniform(0.02, 0.1, 4)), -1)
    mean, covariance = calibration.metric(
        found.mean, calibration.blocks(found.covariance), sizes)
    # drawn: poses times statures, both Gaussian
    poses = np.stack([rng.multivariate_normal(m.ravel(), c, 20000) for m, c in
                      zip(found.mean, found.covariance, strict=True)])
    size = np.exp(sizes[:, :1]) * (1 + sizes[:, 1:] * rng.standard_normal((4, 20000)))
    drawn = (size[..., None] * poses).reshape(4, 20000, 17, 3)
    np.testing.assert_allclose(mean, drawn.mean(1), atol=0.03 * np.abs(mean).max())
    for i in range(4):
        for j in range(17):
            want = np.cov(drawn[i, :, j].T)
            assert np.abs(covariance[i, j] - want).max() < 0.06 * np.abs(want).max()


def test_mirrored_people_have_mirrored_factors():
    rng = np.random.default_rng(2)
    model = Calibration(tensors(rng))
    person, joint = rng.normal(size=(5, PERSON)), rng.normal(size=(5, 17, JOINT))
    own, stature, total = model(person, joint)
    turned = model(person, joint[:, MIRROR])
    np.testing.assert_allclose(turned[0], own[:, MIRROR])
    np.testing.assert_allclose(turned[2], total[:, MIRROR])
    np.testing.assert_allclose(turned[1], stature)
    # one person's numbers are no other's
    np.testing.assert_allclose(model(person[2:3], joint[2:3])[0], own[2:3])


def test_the_absurd_is_kept_within_what_was_fitted_on():
    rng = np.random.default_rng(3)
    model = Calibration(tensors(rng))
    person, joint = 1e6 * rng.normal(size=(5, PERSON)), 1e6 * rng.normal(size=(5, 17, JOINT))
    own, stature, total = model(person, joint)
    for value in (own, stature, total):
        assert (value > np.exp(-3.01)).all() and (value < np.exp(3.01)).all()
    known = person[:, SCALED] > 0.5
    np.testing.assert_allclose(stature, np.where(known, 1, np.exp(-0.3)))


@pytest.mark.parametrize('name', sorted(tensors(np.random.default_rng(0))))
def test_damaged_calibrations_are_refused(name):
    good = tensors(np.random.default_rng(0))
    Calibration(good)
    for bad in (None, np.zeros((1, 2, 3, 4)), np.full(np.shape(good[name]), np.nan)):
        with pytest.raises(WeightsError, match='calibration'):
            Calibration({k: v for k, v in {**good, name: bad}.items() if v is not None})


def test_a_file_with_a_damaged_calibration_is_refused(tmp_path):
    own, metadata = load_tensors(WEIGHTS / 'lifter.safetensors')
    assert Calibration.of(own) is not None
    own[PREFIX + 'out'] = own[PREFIX + 'out'][:, :1]
    save_file({k: np.ascontiguousarray(v) for k, v in own.items()}, tmp_path / 'bad.safetensors',
              metadata=metadata)
    with pytest.raises(WeightsError, match='calibration'):
        Lifter.from_pretrained(density=tmp_path / 'bad.safetensors')


def test_factors_of_groups_are_still_taken():
    lifter = Lifter.from_pretrained()
    prior, density = lifter.prior, lifter.density
    rng = np.random.default_rng(4)
    pose = prior.sample(1, rng)[0][0]
    points = 1.7 * (pose - pose[0]) @ np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]) + [0, 0, 4]
    camera = Camera([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]], 640, 480)
    told = {'keypoints': camera.project(points)[None], 'confidence': np.ones((1, 17)),
            'camera': camera, 'up': np.array([0.0, -1, 0])}
    one = Lifter(prior, density=density).lift(**told)
    four = Lifter(prior, density=density, calibration={'wrists': 4.0}).lift(**told)
    grew = np.linalg.det(four.covariance) / np.linalg.det(one.covariance)
    wrists = [JOINTS.index('left_wrist'), JOINTS.index('right_wrist')]
    assert (grew[0, wrists] > 15).all()
    np.testing.assert_allclose(np.delete(grew[0], wrists), 1)


def test_a_fit_finds_how_wrong_covariances_are():
    """Errors three times as wide along the ray as said, half as wide across; unseen joints
    wider yet.
    """
    import torch

    from lifting_ros.evaluation import measures
    from lifting_ros.training.calibrate import fit
    from lifting_ros.training.cases import Cases, squares
    rng = np.random.default_rng(5)
    n = 1200
    mean = rng.normal(size=(n, 17, 3)) * 0.3 + [3.0, 0, 0]
    rays = mean / np.linalg.norm(mean, axis=-1, keepdims=True)
    root = rng.normal(size=(n, 17, 3, 3)) * 0.03
    own = root @ root.swapaxes(-1, -2) + 1e-5 * np.eye(3)
    joint, person = rng.normal(size=(n, 17, JOINT)), rng.normal(size=(n, PERSON))
    joint[..., 0] = rng.random((n, 17)) < 0.7
    person[:, SCALED] = 1
    want = np.array([0.25, 9.0]) * np.where(joint[..., :1] > 0, 1, 2)
    true = calibration.grown(own, rays, want)
    off = 1.6 * (np.linalg.cholesky(true) @ rng.standard_normal((n, 17, 3, 1)))[..., 0]
    size = np.tile([1.6, 1e-6], (n, 1))
    cases = Cases(person, joint, rays, own, size, mean, off, np.ones(n))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    found = Calibration(fit(cases, rng, width=4, steps=250, batch=64, freedom=50.0, rate=3e-2))
    torch.set_num_threads(before)
    factor, _, total = found(person, joint)
    ratio = factor * total[..., None] / want
    assert abs(np.log(ratio).mean(axis=(0, 1))).max() < 0.15
    square = squares(found, cases)
    for which in (joint[..., 0] > 0, joint[..., 0] == 0):
        assert measures.calibration_error(square[which]) < 0.03


def test_shares_count():
    from lifting_ros.training.calibrate import factors
    rng = np.random.default_rng(6)
    square = rng.chisquare(3, 20000)
    two = np.concatenate((square, 5 * square))
    assert factors(two, np.repeat([1.0, 1e-9], 20000)) == pytest.approx(factors(square), rel=0.01)
    assert factors(two, np.repeat([1e-9, 1.0], 20000)) == pytest.approx(5, rel=0.05)


def test_cases_are_of_the_people_given():
    """What is lifted and how far it is off give the true bodies again, moved and turned only."""
    from lifting_ros.training.cases import collect
    lifter = Lifter.from_pretrained()
    rng = np.random.default_rng(7)
    joints = 1.7 * lifter.prior.sample(40, rng)[0]
    cases = collect(lifter, joints, np.random.default_rng(8), share=0.5, batch=20)
    assert len(cases) == 40 and (cases.share == 0.5).all()
    truth = cases.off + cases.size[:, :1, None] * cases.mean
    between = [np.linalg.norm(x[:, :, None] - x[:, None], axis=-1) for x in (joints, truth)]
    np.testing.assert_allclose(*between, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(cases.rays, axis=-1), 1)
    assert (np.linalg.norm(cases.off, axis=-1) < 2).all()
    seen = cases.joint[..., 0] > 0
    assert seen.sum(1).min() >= 4 and 0 < cases.person[:, SCALED].mean() < 1
    # who is told a stature is told his own, within a few percent
    told = cases.person[:, SCALED] > 0.5
    from lifting_ros.training.mocap import stature
    np.testing.assert_allclose(cases.size[told, 0], stature(joints)[told], rtol=0.08)

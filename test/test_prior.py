"""The prior: its density, its fit, its file."""

import numpy as np
import pytest

from lifting_ros.prior import PosePrior, WeightsError, load_tensors
from lifting_ros.prior.file import digest, record_digest
from lifting_ros.prior.fit import align, facing, fit, turn
from lifting_ros.prior.model import lengths, mirror
from lifting_ros.skeleton import INDEX


@pytest.fixture(scope='module')
def prior():
    return PosePrior.load()


def test_density_is_that_of_the_dense_gaussian(prior):
    from scipy.stats import multivariate_normal
    poses, _ = prior.sample(5, np.random.default_rng(0))
    for noise in (0.0, 0.02):
        got = prior.log_density(poses, noise)
        for k in (0, prior.modes - 1):
            e = prior.basis[k].reshape(prior.dimensions, -1)
            cov = e.T @ e + (prior.psi[k] + noise ** 2) * np.eye(51)
            dense = multivariate_normal(prior.mean[k].ravel(), cov)
            want = dense.logpdf(poses.reshape(5, -1)) + np.log(prior.weight[k])
            np.testing.assert_allclose(got[:, k], want, rtol=1e-7)


def test_shipped_prior_is_a_person(prior):
    assert prior.weight.sum() == pytest.approx(1, abs=1e-3)
    assert 1.5 < np.exp(prior.stature[0]) < 1.85 and prior.stature[1] == pytest.approx(0.06)
    np.testing.assert_allclose(facing(prior.mean), 0, atol=1e-5)
    assert np.abs(prior.mean[:, 0]).max() < 1e-3 and np.abs(prior.basis[:, :, 0]).max() < 1e-3
    # left is +y, the nose is ahead of the neck in most modes
    left = prior.mean[:, INDEX['left_hip'], 1] - prior.mean[:, INDEX['right_hip'], 1]
    assert (left > 0).all()
    upright = prior.mean[:, INDEX['neck'], 2] > 0.2
    ahead = prior.mean[:, INDEX['nose'], 0] - prior.mean[:, INDEX['neck'], 0]
    assert (ahead[upright] > 0).mean() > 0.8
    # a sample's bones are as long as a person's
    poses, _ = prior.sample(2000, np.random.default_rng(0))
    off = lengths(poses).mean(0) / prior.length_mean
    assert (np.abs(off - 1) < 0.25).all()


def test_shipped_prior_knows_no_left_from_right(prior):
    """Fitted on mirrored data: a pose and its mirror image are about as likely."""
    poses, _ = prior.sample(4000, np.random.default_rng(0))
    a = np.logaddexp.reduce(prior.log_density(poses, 0.03), 1)
    b = np.logaddexp.reduce(prior.log_density(mirror(poses), 0.03), 1)
    spread = a.std()
    assert abs((a - b).mean()) < 0.15 * spread


def test_fit_finds_the_mixture_it_is_given(prior):
    """Poses of a known mixture, turned at random: EM finds its means and noise again."""
    rng = np.random.default_rng(1)
    far = PosePrior(prior.mean[[0, 3]] * [[[1]], [[1]]], 0.3 * prior.basis[[0, 3], :2],
                    np.full(2, 1e-4), np.array([0.7, 0.3]), prior.stature)
    poses, k = far.sample(3000, rng)
    poses -= poses[:, :1]
    turned = turn(poses, rng.uniform(-np.pi, np.pi, len(poses)))
    found, curve = fit(turned, 2, 2, rng, prior.stature, rounds=20)
    assert curve[-1] > curve[0]
    np.testing.assert_allclose(found.weight, [(k == 0).mean(), (k == 1).mean()], atol=0.03)
    # the pelvis is taken off, so the others carry its noise too
    assert np.abs(found.mean - far.mean).max() < 0.05
    assert 0.5e-4 < found.psi.mean() < 2.5e-4


def test_align_is_the_best_heading():
    rng = np.random.default_rng(2)
    target = rng.normal(size=(4, 17, 3))
    poses = turn(target, np.array([0.3, -2.0, 3.0, 0.0])) + 0.1 * rng.normal(size=target.shape)
    best = align(poses, target)
    grid = np.linspace(-np.pi, np.pi, 20001)
    for i in range(4):
        c, s = np.cos(grid)[:, None], np.sin(grid)[:, None]
        x = c * poses[i, :, 0] - s * poses[i, :, 1] - target[i, :, 0]
        y = s * poses[i, :, 0] + c * poses[i, :, 1] - target[i, :, 1]
        want = grid[(x ** 2 + y ** 2).sum(1).argmin()]
        assert abs(np.angle(np.exp(1j * (best[i] - want)))) < 1e-3


def test_file_round_trip_and_refusals(tmp_path, prior):
    path = tmp_path / 'prior.safetensors'
    prior.save(path)
    again = PosePrior.load(path)
    np.testing.assert_allclose(again.basis, prior.basis, atol=1e-6)
    assert again.skeleton_noise == pytest.approx(prior.skeleton_noise)
    with pytest.raises(WeightsError, match='missing') as error:
        load_tensors(tmp_path / 'none.safetensors', 'ab' * 32)
    assert 'none.safetensors' in str(error.value) and 'ab' * 32 in str(error.value)
    with pytest.raises(WeightsError, match='expected sha256 ' + 'cd' * 32) as error:
        load_tensors(path, 'cd' * 32)
    assert digest(path) in str(error.value)
    (tmp_path / 'SHA256SUMS').write_text('')
    record_digest(path)
    load_tensors(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(WeightsError, match='damaged'):
        load_tensors(path)
    (tmp_path / 'SHA256SUMS').unlink()
    with pytest.raises(WeightsError, match='cannot be read'):
        load_tensors(path)


def test_shipped_file_is_listed_and_small():
    from lifting_ros.prior.file import WEIGHTS, expected_digest
    path = WEIGHTS / 'prior.safetensors'
    assert expected_digest(path) == digest(path)
    assert path.stat().st_size < 1e6

"""The learned density: numpy against torch, frames, and what it does to a lift."""

import numpy as np
import pytest
import torch

from lifting_ros.lifting.density import RayDensity, features, view_frame
from lifting_ros.lifting.proposal import Proposal, translation
from lifting_ros.prior import PosePrior, WeightsError
from lifting_ros.prior.fit import turn
from lifting_ros.skeleton import MIRROR


@pytest.fixture(scope='module')
def world():
    rng = np.random.default_rng(0)
    prior = PosePrior.load()
    poses, _ = prior.sample(7, rng)
    poses = turn(poses - poses[:, :1], rng.uniform(-3, 3, 7))
    place = np.stack((rng.uniform(2, 4, 7), rng.normal(0, 0.5, 7), rng.normal(-1, 0.5, 7)), -1)
    points = poses + place[:, None]
    rays = points / np.linalg.norm(points, axis=-1, keepdims=True)
    confidence = (rng.random((7, 17)) < 0.8).astype(float)
    return prior, poses, place, rays, confidence, np.full((7, 17), 0.004)


def network(rank=3):
    from lifting_ros.training.rays import RayNet
    torch.manual_seed(0)
    return RayNet(width=32, blocks=2, rank=rank)


def test_numpy_equals_torch(world):
    _, _, _, rays, confidence, sigma = world
    net = network()
    density = RayDensity({k: v.numpy() for k, v in net.state_dict().items()})
    known = np.array([True, False] * 3 + [True])
    mean, covariance = density(rays, confidence, sigma, known)
    inputs, frame = features(rays, confidence, sigma, known)
    other, _ = features((rays * [1, -1, 1])[:, MIRROR], confidence[:, MIRROR], sigma, known)
    out, back = (net(torch.from_numpy(x)).detach().double().numpy() for x in (inputs, other))
    flip = np.array([1, -1, 1])
    means = [x[:, :51].reshape(7, 17, 3) for x in (out, back)]
    want = ((means[0] + means[1][:, MIRROR] * flip) / 2) @ frame
    np.testing.assert_allclose(mean, want, atol=1e-5)
    for i in range(7):
        turn_all = np.kron(np.eye(17), frame[i])
        sd = [np.clip(x[i, 51:102], -7, 1).reshape(17, 3) for x in (out, back)]
        low = [0.1 * x[i, 102:].reshape(17, 3, 3) for x in (out, back)]
        low[1] = low[1][list(MIRROR)] * flip[None, :, None]
        low = [x.reshape(51, 3) for x in low]
        local = np.diag(np.exp(sd[0] + sd[1][list(MIRROR)]).ravel())
        local = local + (low[0] @ low[0].T + low[1] @ low[1].T) / 2
        np.testing.assert_allclose(covariance[i], turn_all.T @ local @ turn_all, atol=1e-5)


def test_mirrored_scene_has_a_mirrored_answer(world):
    _, _, _, rays, confidence, sigma = world
    density = RayDensity({k: v.numpy() for k, v in network().state_dict().items()})
    known = np.ones(7, dtype=bool)
    mean, covariance = density(rays, confidence, sigma, known)
    other, spread = density((rays * [1, -1, 1])[:, MIRROR], confidence[:, MIRROR], sigma, known)
    np.testing.assert_allclose(mean, other[:, MIRROR] * [1, -1, 1], atol=1e-5)
    np.testing.assert_allclose(np.linalg.eigvalsh(covariance), np.linalg.eigvalsh(spread),
                               atol=1e-6)


def test_turning_the_scene_about_the_vertical_turns_the_answer(world):
    _, _, _, rays, confidence, sigma = world
    density = RayDensity({k: v.numpy() for k, v in network().state_dict().items()})
    known = np.ones(7, dtype=bool)
    mean, _ = density(rays, confidence, sigma, known)
    turned, _ = density(turn(rays, np.full(7, 0.7)), confidence, sigma, known)
    np.testing.assert_allclose(turn(mean, np.full(7, 0.7)), turned, atol=1e-5)


def test_features_do_not_see_what_is_not_seen(world):
    _, _, _, rays, confidence, sigma = world
    other = rays.copy()
    other[confidence == 0] = [0.0, 0.0, 1.0]
    known = np.ones(7, dtype=bool)
    np.testing.assert_array_equal(features(rays, confidence, sigma, known)[0],
                                  features(other, confidence, sigma, known)[0])
    frame = view_frame(rays, confidence)
    np.testing.assert_allclose(frame @ np.swapaxes(frame, 1, 2), np.tile(np.eye(3), (7, 1, 1)),
                               atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(frame), 1)


def test_mirrored_scene_has_mirrored_features(world):
    _, _, _, rays, confidence, sigma = world
    known = np.ones(7, dtype=bool)
    a = features(rays, confidence, sigma, known)[0][:, :51].reshape(7, 17, 3)
    b = features((rays * [1, -1, 1])[:, MIRROR], confidence[:, MIRROR], sigma, known)[0]
    b = b[:, :51].reshape(7, 17, 3)[:, MIRROR] * [-1, 1, 1]
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_training_loss_is_the_gaussian(world):
    from scipy.stats import multivariate_normal

    from lifting_ros.training.rays import loss_of
    rng = np.random.default_rng(1)
    out = torch.from_numpy(rng.normal(size=(2, 51 * 5)) * 0.3).float()
    target = torch.from_numpy(rng.normal(size=(2, 17, 3)) * 0.3).float()
    loss, distance = loss_of(out, target, 3)
    value = 0.0
    for i in range(2):
        low = 0.1 * out[i, 102:].reshape(51, 3).double().numpy()
        cov = np.diag(np.exp(2 * out[i, 51:102].double().numpy()) + 9e-6) + low @ low.T
        off = (target[i].reshape(-1) - out[i, :51]).double().numpy()
        value -= multivariate_normal(np.zeros(51), cov).logpdf(off) - 51 / 2 * np.log(2 * np.pi)
        # the constant is left out of the loss
        value -= 51 * np.log(2 * np.pi)
    square = float((target.reshape(2, 51) - out[:, :51]).square().mean())
    want = 20 * float(distance) + 100 * square + 0.02 * value / 2
    assert float(loss) == pytest.approx(want, rel=1e-4)


def test_proposal_finds_a_pose_of_the_prior(world):
    prior, poses, place, rays, _, _ = world
    seen = np.ones((7, 17))
    np.testing.assert_allclose(translation(poses, rays, seen), place, atol=1e-4)
    guess = Proposal(prior)(poses, rays, seen)
    mode = guess.mode[:, 0]
    again = prior.mean[mode] + np.einsum('nm,nmjc->njc', guess.coefficients[:, 0],
                                         prior.basis[mode])
    again = turn(again, guess.heading[:, 0])
    assert np.linalg.norm(again - poses, axis=-1).mean() < 0.03


def test_wrong_tensors_are_refused():
    tensors = {k: v.numpy() for k, v in network().state_dict().items()}
    with pytest.raises(WeightsError, match='no learned density'):
        RayDensity({k: v for k, v in tensors.items() if k != 'first.weight'})
    with pytest.raises(WeightsError, match='numbers'):
        RayDensity({**tensors, 'first.weight': tensors['first.weight'][:, :10]})


def test_views_are_of_the_poses(world):
    """Training inputs are features of people in front of the camera, targets about the pelvis."""
    from lifting_ros.training.rays import views
    prior, poses, *_ = world
    inputs, target = views(np.repeat(poses, 40, 0), np.random.default_rng(0))
    assert np.isfinite(inputs).all() and np.abs(target[:, 0]).max() < 1e-6
    size = np.linalg.norm(target, axis=-1)
    np.testing.assert_allclose(size, np.repeat(np.linalg.norm(poses, axis=-1), 40, 0), atol=1e-5)
    # across the line of sight, what is seen is where the pose has it, up to noise
    joints = inputs[:, :51].reshape(-1, 17, 3)
    seen = (joints[..., 2] > 0.9).all(1)
    a, b = joints[seen, :, 0], target[seen, :, 1]
    corr = [np.corrcoef(x, y)[0, 1] for x, y in zip(a, b, strict=True)]
    assert np.median(corr) > 0.9


def test_a_share_of_people_lack_joints_at_random():
    from lifting_ros.training.rays import visible
    shares = [1 - visible(20000, np.random.default_rng(0), missing).mean()
              for missing in (0, 0.5, 1)]
    # up to 65 % are missing of those who lack any
    assert shares[0] < shares[1] < shares[2] < 0.65
    assert shares[1] - shares[0] == pytest.approx(shares[2] - shares[1], abs=0.01)
    assert (visible(20000, np.random.default_rng(1), 1).sum(1) >= 4).all()

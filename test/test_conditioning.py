"""Conditioning on what is seen, held to the plain formulas with every matrix written out."""

import numpy as np
import pytest
from scipy.special import erf

from lifting_ros.lifting import linear
from lifting_ros.lifting.believe import _best
from lifting_ros.lifting.density import Belief, RayDensity, gelu
from lifting_ros.lifting.frames import across
from lifting_ros.lifting.lengths import Lengths
from lifting_ros.lifting.proposal import translation
from lifting_ros.prior.model import LENGTHS
from lifting_ros.skeleton import HEAD_TOP, HIPS, MIRROR, NECK, NOSE, NUM_JOINTS, PELVIS, SPINE

SIZE = 3 * NUM_JOINTS
EVERY = frozenset(range(NUM_JOINTS))


def middles():
    """M (51, 51) that makes pelvis and spine the middles of their neighbours."""
    m = np.eye(NUM_JOINTS)
    m[PELVIS] = 0
    m[PELVIS, list(HIPS)] = 0.5
    m[SPINE] = (m[PELVIS] + m[NECK]) / 2
    return np.kron(m, np.eye(3))


def plain(belief, view, dropped, rounds):
    """The posterior of one person, and squares, weights and evidence, with all matrices whole.

    Several times: solve with the noise of the distance and weights of the time before.
    """
    m = middles()
    mean = (m @ belief.mean.ravel()).reshape(NUM_JOINTS, 3)
    guess = mean + translation(mean[None], view.rays[None], view.weight[None])
    wide = m @ belief.covariance @ m.T + np.tile(np.eye(3), (NUM_JOINTS, NUM_JOINTS))
    seen = np.flatnonzero(view.weight)
    measure = np.zeros((2 * len(seen), SIZE))
    for row, j in enumerate(seen):
        measure[2 * row:2 * row + 2, 3 * j:3 * j + 3] = view.axes[j, :2]
    off = -measure @ guess.ravel()
    most = np.where(dropped, 1e-3, 1.0)[seen]
    weight, point = most, guess
    for _ in range(rounds):
        depth = np.maximum((view.rays * point).sum(-1)[seen], 0.1)
        noise = np.zeros((len(off), len(off)))
        more = []
        for row, j in enumerate(seen):
            at = slice(2 * row, 2 * row + 2)
            xx, xy, yy = view.noise[j]
            noise[at, at] = np.array([[xx, xy], [xy, yy]]) * depth[row] ** 2 / (
                view.weight[j] * weight[row])
            more.append(noise[at, at] * (1 - weight[row]))
        total = measure @ wide @ measure.T + noise
        gain = wide @ measure.T @ np.linalg.inv(total)
        point = guess + (gain @ off).reshape(NUM_JOINTS, 3)
        square = np.zeros(len(seen))
        for row in range(len(seen)):
            # what all others expect, by leaving the two numbers out
            rest = np.setdiff1d(np.arange(len(off)), [2 * row, 2 * row + 1])
            at = np.array([2 * row, 2 * row + 1])
            push = total[np.ix_(at, rest)] @ np.linalg.inv(total[np.ix_(rest, rest)])
            spread = total[np.ix_(at, at)] - push @ total[np.ix_(rest, at)] - more[row]
            error = off[at] - push @ off[rest]
            square[row] = error @ np.linalg.solve(spread, error)
        last, weight = weight, np.minimum(np.maximum(8 / (6 + square), 0.02), most)
    evidence = -0.5 * (off @ np.linalg.solve(total, off) + np.linalg.slogdet(total)[1]) + 2 * (
        view.weight[seen] * np.log(depth)).sum()
    return point, wide - gain @ measure @ wide, seen, square, last, evidence


def some(rng, n, rank, seen):
    """Beliefs and views of n people who stand before the camera, ``seen`` (n, 17)."""
    pose = rng.normal(0, 0.25, (n, NUM_JOINTS, 3))
    pose -= pose[:, :1]
    place = np.stack((rng.uniform(1.5, 4, n), *rng.normal(0, 0.4, (2, n))), -1)
    rays = pose + place[:, None] + rng.normal(0, 0.02, pose.shape)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    turn = np.linalg.qr(rng.normal(size=(n, 3, 3)))[0]
    belief = Belief(pose, rng.normal(0, 0.05, (n, NUM_JOINTS, 3, rank)), turn,
                    rng.uniform(0.01, 0.05, pose.shape) ** 2)
    root = rng.normal(0, 0.004, (n, NUM_JOINTS, 2, 2))
    noise = (root @ root.swapaxes(-1, -2) + 1e-5 * np.eye(2))[..., [0, 0, 1], [0, 1, 1]]
    weight = np.where(seen, rng.uniform(0.1, 1, seen.shape), 0)
    return belief, linear.View(np.concatenate((across(rays), rays[:, :, None]), 2), weight, noise,
                               np.full(seen.shape, 0.004), np.ones(n, dtype=bool))


def one(thing, i):
    """Row i of a belief or view, as an object."""
    return type('One', (), {k: getattr(thing, k)[i] for k in vars(thing)} | {
        k: getattr(thing, k)[i] for k in ('rays',) if hasattr(thing, k)})


@pytest.mark.parametrize('hidden', [
    {PELVIS, SPINE, NOSE}, {PELVIS, SPINE, NOSE, HEAD_TOP, *HIPS}, set(), {NECK, HIPS[0]}])
@pytest.mark.parametrize('drop', [False, True])
@pytest.mark.parametrize('rounds', [1, 2, 3])
def test_conditioning_is_the_plain_formula(hidden, drop, rounds):
    rng = np.random.default_rng(len(hidden))
    seen = np.ones((3, NUM_JOINTS), dtype=bool)
    seen[:, list(hidden)] = False
    seen[1, [3, 9]] = False   # one sees less than the others
    belief, view = some(rng, 3, 4, seen)
    dropped = seen & (rng.random(seen.shape) < 0.15) if drop else np.zeros_like(seen)
    without = dropped if drop else None
    solution = linear.condition(belief, view, without, rounds)
    got = solution.posterior()
    whole = belief.covariance()
    for i in range(3):
        alone = one(belief, i)
        alone.covariance = whole[i]
        point, covariance, use, square, weight, evidence = plain(alone, one(view, i), dropped[i],
                                                                  rounds)
        np.testing.assert_allclose(got.mean[i], point, atol=1e-6)
        np.testing.assert_allclose(got.covariance[i], covariance, atol=1e-9)
        np.testing.assert_allclose(got.square[i, use], square, rtol=1e-5)
        np.testing.assert_allclose(got.weight[i, use], weight, rtol=1e-6)
        np.testing.assert_allclose(got.evidence[i], evidence, atol=1e-5)
        assert not np.setdiff1d(np.flatnonzero(got.square[i]), use).size
    some_of_them = solution.posterior(np.array([2, 0]))
    for name in vars(got):
        np.testing.assert_allclose(getattr(some_of_them, name), getattr(got, name)[[2, 0]],
                                   rtol=1e-12, atol=1e-12)
    if rounds == 1:
        quick = linear.condition(belief, view, without, 1, screen=True)
        np.testing.assert_allclose(quick.mean, got.mean, atol=1e-9)
        np.testing.assert_allclose(quick.evidence, got.evidence, atol=1e-9)


def test_lengths_are_the_plain_formula():
    rng = np.random.default_rng(4)
    belief, view = some(rng, 2, 3, np.ones((2, NUM_JOINTS), dtype=bool))
    before = linear.condition(belief, view).posterior()
    root = rng.normal(0, 0.01, (12, 12))
    mean, spread = rng.uniform(0.1, 0.3, 12), root @ root.T + 1e-5 * np.eye(12)
    lengths = Lengths(mean, spread)
    got, stretched = lengths.tell(before), lengths.stretched(before.mean)
    for i in range(2):
        measure, length = np.zeros((12, SIZE)), np.zeros(12)
        for k, (a, b) in enumerate(LENGTHS):
            bone = before.mean[i, a] - before.mean[i, b]
            length[k] = np.linalg.norm(bone)
            measure[k, 3 * a:3 * a + 3] = bone / length[k]
            measure[k, 3 * b:3 * b + 3] = -bone / length[k]
        c, off = before.covariance[i], mean - length
        gain = c @ measure.T @ np.linalg.inv(measure @ c @ measure.T + spread)
        np.testing.assert_allclose(got.mean[i].ravel(), before.mean[i].ravel() + gain @ off,
                                   atol=1e-9)
        np.testing.assert_allclose(got.covariance[i], c - gain @ measure @ c, atol=1e-12)
        left = off - measure @ gain @ off
        np.testing.assert_allclose(got.stretched[i], off @ np.linalg.solve(spread, off) / 12)
        np.testing.assert_allclose(stretched[i], got.stretched[i])
        np.testing.assert_allclose(got.strange[i], left @ np.linalg.solve(spread, left) / 12)
        single = off ** 2 / np.diag(spread)
        for j in range(NUM_JOINTS):
            at = [s for s, pair in zip(single, LENGTHS, strict=True) if j in pair]
            np.testing.assert_allclose(got.odd[i, j], max(at, default=0))


def test_gelu_is_that_of_erf():
    x = np.concatenate((np.linspace(-12, 12, 20001), [-1e4, 1e4, 0])).astype(np.float32)
    want = x.astype(float) * (1 + erf(x / np.sqrt(2.0))) / 2
    np.testing.assert_allclose(gelu(x.copy()), want, rtol=1e-6, atol=4e-6)


def test_the_density_of_the_mirror_image_is_the_mirror_image():
    rng = np.random.default_rng(6)
    density = RayDensity.load()
    _, view = some(rng, 6, 2, np.ones((6, NUM_JOINTS), dtype=bool))
    flip = np.array([1.0, -1.0, 1.0])
    got = density.believe(view.rays, view.weight, view.sigma, view.known)
    other = density.believe((view.rays * flip)[:, MIRROR], view.weight[:, MIRROR], view.sigma,
                            view.known)
    np.testing.assert_allclose(got.mean, (other.mean * flip)[:, MIRROR], atol=1e-5)
    first, second = got.covariance(), other.covariance().reshape(6, NUM_JOINTS, 3, NUM_JOINTS, 3)
    second = (flip[:, None, None] * flip * second)[:, MIRROR][:, :, :, MIRROR]
    np.testing.assert_allclose(first, second.reshape(first.shape), atol=1e-6)


def test_the_best_few_below_a_bound():
    cost = np.array([[3.0, 1, 2, 0], [9, 8, 7, 6], [1, np.inf, np.inf, np.inf]])
    np.testing.assert_array_equal(_best(cost, 2, 5.0), [[0, 1, 0, 1], [0] * 4, [1, 0, 0, 0]])

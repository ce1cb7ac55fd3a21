"""The posterior of poses under a learned density, by Gaussian conditioning (design.md 5.2, 5.3).

The density gives the pose about the pelvis as a Gaussian, in statures. With the place T of the
person as unknown as can be, the joints Y = T + P are a Gaussian too, and that a joint lies on its
ray, A_j Y_j = 0 for the two directions A_j across it, is linear in Y. So what a camera sees is
one linear measurement of 2 x 17 numbers, solved again a few times as its noise follows distance
and as joints that contradict the others lose weight. Stature comes last: it only scales.

Everything is batched over rows that do not affect one another. Frames have z up.
"""

from dataclasses import dataclass, replace

import numpy as np

from ..prior.model import LENGTHS
from ..skeleton import HIPS, NECK, NUM_JOINTS, PELVIS, SPINE
from .proposal import translation

_SIZE = NUM_JOINTS * 3
_EYES = np.tile(np.eye(3), (NUM_JOINTS, NUM_JOINTS))
#: How unknown the place is about a first guess, statures.
_PLACE = 1.0
_NEAREST = 0.1
#: Degrees of freedom of the keypoints' errors: gross ones lose weight.
_FREEDOM = 6.0
#: A keypoint is never quite without weight.
_LEAST = 0.02
#: Weight of one that is dropped. It enters the evidence: -2 log of how seldom keypoints are wrong.
_NOTHING = 1e-3
_PAIRS = np.array(LENGTHS).T
_INDEX = np.arange(NUM_JOINTS)


@dataclass(frozen=True, eq=False)
class Posterior:
    """Joints in place, in statures, frame with z up.

    Args:
        mean: (B, 17, 3); covariance: (B, 51, 51).
        square: (B, 17) squared distance in sigmas of each keypoint from where the others and
            the density expect it, two degrees of freedom; 0 where not seen.
        weight: (B, 17) what its error left of each keypoint's weight, 1 at best.
        evidence: (B,) log density of the keypoints up to a constant.
        stretched: (B,) mean squared distance in sigmas of the bones' lengths from people's,
            before they were told, and strange: after; odd: (B, 17) the largest square before of
            a bone that ends in a joint.
    """

    mean: np.ndarray
    covariance: np.ndarray
    square: np.ndarray
    weight: np.ndarray
    evidence: np.ndarray
    stretched: np.ndarray
    strange: np.ndarray
    odd: np.ndarray


def middles(mean, covariance):
    """Make pelvis and spine the middles of their neighbours, in a Gaussian over (B, 51)."""
    blocks = covariance.reshape(-1, NUM_JOINTS, 3, _SIZE)
    for joint, (a, b) in ((PELVIS, HIPS), (SPINE, (PELVIS, NECK))):
        mean[:, joint] = (mean[:, a] + mean[:, b]) / 2
        blocks[:, joint] = (blocks[:, a] + blocks[:, b]) / 2
        columns = covariance.reshape(-1, _SIZE, NUM_JOINTS, 3)
        columns[:, :, joint] = (columns[:, :, a] + columns[:, :, b]) / 2


def condition(mean, covariance, rays, side, confidence, ray_covariance, dropped=None,
              rounds=3):
    """What is seen, put into a density.

    Args:
        mean: (B, 17, 3) pose about some point, statures; covariance: (B, 51, 51) of it.
        rays: (B, 17, 3) unit; side: (B, 17, 2, 3) across them.
        confidence: (B, 17) 0..1, 0 not seen.
        ray_covariance: (B, 17, 2, 2) of the rays in ``side``, radians^2.
        dropped: (B, 17) joints that are errors and say next to nothing, or None.
        rounds: solutions, each with the noise and the weights of the one before.

    Returns:
        Posterior.
    """
    b = len(mean)
    seen = confidence > 0
    used = np.flatnonzero(seen.any(0))
    k = np.arange(len(used))
    guess = mean + translation(mean, rays, confidence)[:, None]
    flat = guess.reshape(b, _SIZE)
    wide = covariance + _PLACE ** 2 * _EYES
    measure = np.zeros((b, len(used), 2, NUM_JOINTS, 3))
    measure[:, k, :, used] = side[:, used].swapaxes(0, 1)
    measure = measure.reshape(b, 2 * len(used), _SIZE)
    cross = measure @ wide
    inner = cross @ measure.swapaxes(1, 2)
    cross = cross.swapaxes(1, 2)
    off = -(measure @ flat[..., None])
    sure = np.where(seen, confidence, 1e-9)[:, used]
    noise = ray_covariance[:, used]
    most = np.ones((b, len(used)))
    if dropped is not None:
        most[dropped[:, used]] = _NOTHING
    weight = most
    point = guess
    for _ in range(rounds):
        depth = np.maximum((rays[:, used] * point[:, used]).sum(-1), _NEAREST)
        spread = noise * (depth ** 2 / (sure * weight))[..., None, None]
        total = inner.copy().reshape(b, len(used), 2, len(used), 2)
        total[:, k, :, k] += spread.swapaxes(0, 1)
        total = total.reshape(b, 2 * len(used), 2 * len(used))
        inverse = np.linalg.inv(total)
        solved = inverse @ off
        point = (flat + (cross @ solved)[..., 0]).reshape(b, NUM_JOINTS, 3)
        square = _left_out(inverse.reshape(b, len(used), 2, len(used), 2)[:, k, :, k].swapaxes(
            0, 1), solved.reshape(b, len(used), 2), spread * (1 - weight)[..., None, None])
        last = weight
        weight = np.minimum(np.maximum((_FREEDOM + 2) / (_FREEDOM + square), _LEAST), most)
    fit = (off * solved).sum((1, 2)) + np.linalg.slogdet(total)[1]
    evidence = -0.5 * fit + 2 * (confidence[:, used] * np.log(depth)).sum(1)
    squares, weights = np.zeros((b, NUM_JOINTS)), np.ones((b, NUM_JOINTS))
    squares[:, used] = np.where(seen[:, used], square, 0)
    weights[:, used] = np.where(seen[:, used], last, 1)
    return Posterior(point, wide - cross @ inverse @ cross.swapaxes(1, 2), squares, weights,
                     evidence, np.zeros(b), np.zeros(b), np.zeros((b, NUM_JOINTS)))


def _left_out(blocks, solved, more):
    """Squared distances (B, J) of keypoints from what all others expect.

    Args:
        blocks: (B, J, 2, 2) diagonal blocks D of the inverse; solved: (B, J, 2) inverse times
            residuals, x: the innovation is D^-1 x, of covariance D^-1.
        more: (B, J, 2, 2) by how much that covariance has grown because weight was lost.
    """
    a, c, d = blocks[..., 0, 0], blocks[..., 0, 1], blocks[..., 1, 1]
    det = np.maximum(a * d - c * c, 1e-300)
    x, y = solved[..., 0], solved[..., 1]
    u, v = (d * x - c * y) / det, (a * y - c * x) / det
    a, c, d = d / det - more[..., 0, 0], -c / det - more[..., 0, 1], a / det - more[..., 1, 1]
    return (d * u * u - 2 * c * u * v + a * v * v) / np.maximum(a * d - c * c, 1e-300)


def with_lengths(posterior, length_mean, length_covariance):
    """The posterior once more told how long bones are (12,), linear about its mean."""
    a, b = _PAIRS
    count = np.arange(len(a))
    bone = posterior.mean[:, a] - posterior.mean[:, b]
    length = np.sqrt((bone ** 2).sum(-1))
    along = bone / np.maximum(length, 1e-9)[..., None]
    measure = np.zeros((len(bone), len(a), NUM_JOINTS, 3))
    measure[:, count, a] = along
    measure[:, count, b] = -along
    measure = measure.reshape(len(bone), len(a), _SIZE)
    cross = measure @ posterior.covariance
    gain = np.linalg.inv(cross @ measure.swapaxes(1, 2) + length_covariance) @ cross
    gain = gain.swapaxes(1, 2)
    off = length_mean - length
    precision = np.linalg.inv(length_covariance)
    stretched = (off @ precision * off).mean(1)
    step = gain @ off[..., None]
    mean = posterior.mean + step.reshape(-1, NUM_JOINTS, 3)
    off = off - (measure @ step)[..., 0]
    strange = (off @ precision * off).mean(1)
    odd = np.zeros((len(bone), NUM_JOINTS))
    single = (length_mean - length) ** 2 / np.diag(length_covariance)
    for bone_end, square in zip(_PAIRS.T, single.T, strict=True):
        odd[:, bone_end] = np.maximum(odd[:, bone_end], square[:, None])
    return replace(posterior, mean=mean, covariance=posterior.covariance - gain @ cross,
                   stretched=stretched, strange=strange, odd=odd)


def metric(posterior, stature):
    """Joints in metres.

    Args:
        posterior: Posterior; stature: (B, 2) mean and sigma of log stature.

    Returns:
        mean (B, 17, 3) m and covariance (B, 17, 3, 3) m^2.
    """
    size = np.exp(stature[:, 0])[:, None, None]
    mean = size * posterior.mean
    own = posterior.covariance.reshape(-1, NUM_JOINTS, 3, NUM_JOINTS, 3)[:, _INDEX, :, _INDEX]
    scaled = stature[:, 1, None, None] * mean
    return mean, (size ** 2)[..., None] * own.swapaxes(0, 1) + (
        scaled[..., :, None] * scaled[..., None, :])

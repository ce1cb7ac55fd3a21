"""The posterior of poses under a learned density, by Gaussian conditioning (design.md 5.2, 5.3).

The density gives the pose about the pelvis as a Gaussian, in statures. With the place T of the
person as unknown as can be, the joints Y = T + P are a Gaussian too, and that a joint lies on its
ray, A_j Y_j = 0 for the two directions A_j across it, is linear in Y. So what a camera sees is
one linear measurement of 2 x 17 numbers, solved again a few times as its noise follows distance
and as joints that contradict the others lose weight. Stature comes last: it only scales.

All that joints have in common are the place and the few directions of the density: about 15
numbers x, given which joints are independent of one another. So the matrices that are inverted
are of that size, and the rest is 2 x 2 (Woodbury's identity).

Everything is batched over rows that do not affect one another. Frames have z up.
"""

from dataclasses import dataclass, replace

import numpy as np

from ..skeleton import HIPS, NECK, NUM_JOINTS, PELVIS, SPINE
from .proposal import translation

_SIZE = NUM_JOINTS * 3
#: How unknown the place is about a first guess, statures.
_PLACE = 1.0
_NEAREST = 0.1
#: Degrees of freedom of the keypoints' errors: gross ones lose weight.
_FREEDOM = 6.0
#: A keypoint is never quite without weight.
_LEAST = 0.02
#: Weight of one that is dropped. It enters the evidence: -2 log of how seldom keypoints are wrong.
_NOTHING = 1e-3
#: Pelvis and spine are the middles of others: what these have for themselves is shared with them.
_MIDDLES = ((PELVIS, HIPS), (SPINE, (PELVIS, NECK)))
_SHARED = [*HIPS, NECK]
#: Which joints' own errors go together, being made of the same, and what part of whose they are.
_MADE = np.eye(NUM_JOINTS)
for _joint, _pair in _MIDDLES:
    _MADE[_joint] = _MADE[list(_pair)].mean(0)
_FIRST, _SECOND = np.nonzero(_MADE @ _MADE.T)
_SHARES = _MADE[_FIRST] * _MADE[_SECOND]


@dataclass(frozen=True, eq=False)
class Posterior:
    """Joints in place, in statures, frame with z up.

    Args:
        mean: (B, 17, 3); covariance: (B, 51, 51), or None where nobody asked for it.
        square: (B, 17) squared distance in sigmas of each keypoint from where the others and
            the density expect it, two degrees of freedom; 0 where not seen, and in a single
            round without a covariance, which is for the evidence alone.
        weight: (B, 17) what its error left of each keypoint's weight, 1 at best.
        evidence: (B,) log density of the keypoints up to a constant.
        stretched: (B,) mean squared distance in sigmas of the bones' lengths from people's,
            before they were told, and strange: after; odd: (B, 17) the largest square before of
            a bone that ends in a joint.
    """

    mean: np.ndarray
    covariance: np.ndarray | None
    square: np.ndarray
    weight: np.ndarray
    evidence: np.ndarray
    stretched: np.ndarray
    strange: np.ndarray
    odd: np.ndarray


@dataclass(frozen=True, eq=False)
class View:
    """What N people look like, frame with z up.

    Args:
        axes: (N, 17, 3, 3) whose rows are two directions across each ray, and the unit ray.
        weight: (N, 17) confidence, 0 not seen.
        noise: (N, 17, 3) of the rays in the directions across, radians^2: xx, xy, yy.
        sigma: (N, 17) radians, the noise on the whole.
        known: (N,) whether gravity is.
    """

    axes: np.ndarray
    weight: np.ndarray
    noise: np.ndarray
    sigma: np.ndarray
    known: np.ndarray

    @property
    def rays(self):
        """(N, 17, 3)."""
        return self.axes[:, :, 2]

    def read(self, who, order):
        """People ``who`` (K,), their keypoints taken in an ``order`` (K, 17)."""
        row = who[:, None]
        return View(self.axes[row, order], self.weight[row, order], self.noise[row, order],
                    self.sigma[row, order], self.known[who])


def _middles(rows):
    """Make rows (B, 17, ...) of pelvis and spine the means of their neighbours', in place."""
    for joint, (a, b) in _MIDDLES:
        rows[:, joint] = (rows[:, a] + rows[:, b]) / 2


def _factors(belief, shared):
    """What joints have in common, F (B, 17, 3, R), with x = mean + F u + own errors.

    Of the joints ``shared`` their own errors are in F, too.
    """
    b, _, _, rank = belief.low.shape
    out = np.zeros((b, NUM_JOINTS, 3, rank + 3 + 3 * len(shared)))
    out[..., :rank] = belief.low
    out[..., rank:rank + 3] = _PLACE * np.eye(3)
    for k, joint in enumerate(shared, 1):
        first = rank + 3 * k
        out[:, joint, :, first:first + 3] = belief.turn * np.sqrt(belief.variance[:, joint, None])
    _middles(out)
    return out


def condition(belief, view, dropped=None, rounds=2, spread=True):
    """What is seen, put into a density.

    Args:
        belief: :class:`~lifting_ros.lifting.density.Belief` of B people; its pelvis and spine
            are taken for the middles of their neighbours.
        view: View of them.
        dropped: (B, 17) joints that are errors and say next to nothing, or None.
        rounds: solutions, each with the noise and the weights of the one before.
        spread: whether the covariance is wanted.

    Returns:
        Posterior.
    """
    b = len(view.weight)
    seen = view.weight > 0
    used = np.flatnonzero(seen.any(0))
    shared = _SHARED if {PELVIS, SPINE} & set(used.tolist()) else []
    factors = _factors(belief, shared)
    variance = belief.variance.copy()
    variance[:, [PELVIS, SPINE, *shared]] = 0
    mean = belief.mean.copy()
    _middles(mean)
    guess = mean + translation(mean, view.rays, view.weight)[:, None]
    if len(used) == NUM_JOINTS:
        used = slice(None)   # views instead of copies
    seen, sure, axes = seen[:, used], view.weight[:, used], view.axes[:, used]
    noise = view.noise[:, used].transpose(2, 0, 1)
    j = sure.shape[1]
    # in the axes across and along each ray: the factors, the guess, the joints' own errors
    local = axes @ factors[:, used]
    one, two, along = local[:, :, 0], local[:, :, 1], local[:, :, 2]
    flat = local[:, :, :2].reshape(b, 2 * j, -1)
    at = (axes @ guess[:, used, :, None])[..., 0]
    off, far = -at[..., :2], at[..., 2]
    turned = (axes.reshape(b, 3 * j, 3) @ belief.turn).reshape(b, j, 3, 3)
    scaled = turned * variance[:, used, None]
    own = scaled @ turned.swapaxes(-1, -2)
    known = np.where(seen, sure, 1e-9)
    weight = most = np.ones((b, j)) if dropped is None else np.where(
        dropped[:, used], _NOTHING, 1.0)
    weighed = np.empty((b, j, 2, one.shape[-1]))
    pushed = weighed.reshape(b, 2 * j, -1)
    eye = np.eye(one.shape[-1])
    depth = np.maximum(far, _NEAREST)
    for step in range(rounds):
        grown = noise * (depth * depth / (known * weight))
        a, c, d = own[..., 0, 0] + grown[0], own[..., 0, 1] + grown[1], own[..., 1, 1] + grown[2]
        det = a * d - c * c
        p, q, r = d / det, -c / det, a / det      # the inverse of the 2 x 2 covariance
        _push(p, q, r, one, two, weighed)
        matrix = flat.swapaxes(1, 2) @ pushed
        matrix += eye
        inverse = np.linalg.inv(matrix)
        x = inverse @ (pushed.swapaxes(1, 2) @ off.reshape(b, -1, 1))
        left = off - (flat @ x).reshape(b, j, 2)
        solved = np.empty((b, j, 2))
        solved[..., 0] = p * left[..., 0] + q * left[..., 1]
        solved[..., 1] = q * left[..., 0] + r * left[..., 1]
        if rounds == 1 and not spread:
            square = np.zeros((b, j))
            break
        less = (pushed @ inverse).reshape(weighed.shape)
        u, v = less[:, :, 0], weighed[:, :, 1]
        square = _left_out(p - _dot(u, weighed[:, :, 0]), q - _dot(u, v),
                           r - _dot(less[:, :, 1], v), solved, grown * (1 - weight))
        if step == rounds - 1:
            break
        weight = np.minimum(np.maximum((_FREEDOM + 2) / (_FREEDOM + square), _LEAST), most)
        depth = np.maximum(far + (along @ x)[..., 0] + own[..., 2, 0] * solved[..., 0]
                           + own[..., 2, 1] * solved[..., 1], _NEAREST)
    fit = ((off * solved).sum((1, 2)) + np.where(seen, np.log(det), 0).sum(1)
           + np.linalg.slogdet(matrix)[1])
    evidence = -0.5 * fit + 2 * (sure * np.log(depth)).sum(1)
    squares, weights = np.zeros((b, NUM_JOINTS)), np.ones((b, NUM_JOINTS))
    squares[:, used] = np.where(seen, square, 0)
    weights[:, used] = np.where(seen, weight, 1)
    # the joints' own errors
    gain = (scaled[:, :, :2].reshape(b, 2 * j, 3) @ belief.turn.swapaxes(1, 2)).reshape(
        b, j, 2, 3).swapaxes(-1, -2)
    point = guess + (factors.reshape(b, _SIZE, -1) @ x).reshape(b, NUM_JOINTS, 3)
    point[:, used] += (gain @ solved[..., None])[..., 0]
    _middles(point)
    covariance = None
    if spread:
        factors[:, used] -= gain @ weighed
        _middles(factors)
        rest = replace(belief, variance=variance).own()
        back = np.empty_like(gain)
        _push(p, q, r, gain[..., 0], gain[..., 1], back.swapaxes(-1, -2))
        rest[:, used] -= back @ gain.swapaxes(-1, -2)
        covariance = _covariance(factors.reshape(b, _SIZE, -1), inverse, rest)
    return Posterior(point, covariance, squares, weights, evidence, np.zeros(b), np.zeros(b),
                     np.zeros((b, NUM_JOINTS)))


def _push(p, q, r, one, two, out):
    """Matrices ((p, q), (q, r)) (B, J) times rows ``one`` and ``two`` (B, J, R) into ``out``."""
    p, q, r = p[..., None], q[..., None], r[..., None]
    np.multiply(p, one, out=out[:, :, 0])
    out[:, :, 0] += q * two
    np.multiply(q, one, out=out[:, :, 1])
    out[:, :, 1] += r * two


def _dot(a, b):
    """Products (B, J) of rows (B, J, R)."""
    return np.einsum('bjr,bjr->bj', a, b)


def _covariance(factors, inner, own):
    """F C F^T with the joints' own blocks (B, 17, 3, 3), pelvis and spine being middles."""
    out = factors @ inner @ factors.swapaxes(1, 2)
    rest = (_SHARES @ own.reshape(-1, NUM_JOINTS, 9)).reshape(len(out), -1, 3, 3)
    blocks = out.reshape(-1, NUM_JOINTS, 3, NUM_JOINTS, 3)
    blocks[:, _FIRST, :, _SECOND] += rest.swapaxes(0, 1)
    return out


def _left_out(a, c, d, solved, more):
    """Squared distances (B, J) of keypoints from what all others expect.

    Args:
        a, c, d: (B, J) of the diagonal blocks D of the inverse; solved: (B, J, 2) inverse times
            residuals, x: the innovation is D^-1 x, of covariance D^-1.
        more: (3, B, J) by how much that covariance has grown because weight was lost.
    """
    det = np.maximum(a * d - c * c, 1e-300)
    x, y = solved[..., 0], solved[..., 1]
    u, v = (d * x - c * y) / det, (a * y - c * x) / det
    a, c, d = d / det - more[0], -c / det - more[1], a / det - more[2]
    return (d * u * u - 2 * c * u * v + a * v * v) / np.maximum(a * d - c * c, 1e-300)

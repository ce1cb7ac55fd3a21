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

from dataclasses import dataclass, fields

import numpy as np

from ..matrices import inverse
from ..skeleton import HIPS, NECK, NUM_JOINTS, PELVIS, SPINE
from .density import own_errors

_SIZE = NUM_JOINTS * 3
#: How unknown the place is about a first guess, statures.
PLACE = 1.0
NEAREST = 0.1
#: Degrees of freedom of the keypoints' errors: gross ones lose weight.
FREEDOM = 6.0
#: A keypoint is never quite without weight.
LEAST = 0.02
#: Solutions, each with the noise and the weights of the one before.
ROUNDS = 2
#: Weight of one that is dropped. It enters the evidence: -2 log of how seldom keypoints are wrong.
NOTHING = 1e-3
#: Pelvis and spine are the middles of others: what these have for themselves is shared with them.
_MIDDLES = ((PELVIS, HIPS), (SPINE, (PELVIS, NECK)))
SHARED = [*HIPS, NECK]
#: Which joints' own errors go together, being made of the same, and what part of whose they are.
MADE = np.eye(NUM_JOINTS)
for _joint, _pair in _MIDDLES:
    MADE[_joint] = MADE[list(_pair)].mean(0)
_FIRST, _SECOND = np.nonzero(MADE @ MADE.T)
_SHARES = MADE[_FIRST] * MADE[_SECOND]


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

    def put(self, rows, other):
        """Take ``rows`` from another, in place."""
        for name in (f.name for f in fields(self)):
            getattr(self, name)[rows] = getattr(other, name)


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
    out = np.empty((b, NUM_JOINTS, 3, rank + 3 + 3 * len(shared)))
    out[..., :rank] = belief.low
    out[..., rank:rank + 3] = PLACE * np.eye(3)
    out[..., rank + 3:] = 0
    for k, joint in enumerate(shared, 1):
        first = rank + 3 * k
        out[:, joint, :, first:first + 3] = belief.turn * np.sqrt(belief.variance[:, joint, None])
    _middles(out)
    return out


@dataclass(frozen=True, eq=False)
class Solution:
    """What is seen, put into a density, but for the covariance, which few are asked for.

    ``used`` are the J joints that anybody of the B has seen.

    Args:
        mean: (B, 17, 3), evidence: (B,), as :class:`Posterior`'s.
        square, weight: (B, J) as Posterior's, of those used; square None in a solution that is
            for its evidence alone.
        seen: (B, J) bool; used: indices of joints, or slice.
        factors: (B, 51, R) what joints have in common, x = mean + F u + own errors; inner:
            (B, R, R) covariance of u, None with square.
        variance: (B, 17, 3) of own errors along the axes ``turn`` (B, 3, 3), those in F left out.
        gain: (B, J, 3, 2) covariances of own errors with the keypoint's two numbers; weighed:
            (B, J, 2, R) and precision: (B, J, 2, 2), the inverse of these numbers' covariance
            given u, times F and alone.
    """

    mean: np.ndarray
    evidence: np.ndarray
    square: np.ndarray | None
    weight: np.ndarray
    seen: np.ndarray
    used: np.ndarray | slice
    factors: np.ndarray
    inner: np.ndarray | None
    variance: np.ndarray
    turn: np.ndarray
    gain: np.ndarray
    weighed: np.ndarray
    precision: np.ndarray

    def posterior(self, rows=slice(None)):
        """Posterior of some of the people."""
        used, seen, gain = self.used, self.seen[rows], self.gain[rows]
        b, j = seen.shape
        squares, weights = np.zeros((b, NUM_JOINTS)), np.ones((b, NUM_JOINTS))
        squares[:, used] = np.where(seen, self.square[rows], 0)
        weights[:, used] = np.where(seen, self.weight[rows], 1)
        factors = self.factors[rows].reshape(b, NUM_JOINTS, 3, -1)
        if isinstance(rows, slice):
            factors = factors.copy()
        factors[:, used] -= gain @ self.weighed[rows]
        _middles(factors)
        rest = own_errors(self.turn[rows], self.variance[rows])
        # the second of two small factors is laid out as it is read: three times as fast
        rest[:, used] -= gain @ self.precision[rows] @ gain.swapaxes(-1, -2).copy()
        covariance = _covariance(factors.reshape(b, _SIZE, -1), self.inner[rows], rest)
        return Posterior(self.mean[rows], covariance, squares, weights, self.evidence[rows],
                         np.zeros(b), np.zeros(b), np.zeros((b, NUM_JOINTS)))


def condition(belief, view, dropped=None, rounds=ROUNDS, screen=False):
    """What is seen, put into a density.

    Args:
        belief: :class:`~lifting_ros.lifting.density.Belief` of B people; its pelvis and spine
            are taken for the middles of their neighbours.
        view: View of them.
        dropped: (B, 17) joints that are errors and say next to nothing, or None.
        rounds: solutions, each with the noise and the weights of the one before.
        screen: whether mean and evidence of a single round are all that is wanted.

    Returns:
        Solution.
    """
    b = len(view.weight)
    seen = view.weight > 0
    used = np.flatnonzero(seen.any(0))
    shared = SHARED if {PELVIS, SPINE} & set(used.tolist()) else []
    factors = _factors(belief, shared)
    variance = belief.variance.copy()
    variance[:, [PELVIS, SPINE, *shared]] = 0
    point = belief.mean.copy()
    _middles(point)
    if len(used) == NUM_JOINTS:
        used = slice(None)   # views instead of copies
    seen, sure, axes = seen[:, used], view.weight[:, used], view.axes[:, used]
    noise = view.noise[:, used].transpose(2, 0, 1)
    j = sure.shape[1]
    # in the axes across and along each ray: the factors, the guess, the joints' own errors
    local = axes @ factors[:, used]
    flat, along = local[:, :, :2].reshape(b, 2 * j, -1), local[:, :, 2]
    across = flat.reshape(b, j, 2, -1)
    at = (axes @ point[:, used, :, None])[..., 0]
    place = _place(axes, sure, at)
    point += place[:, None]
    at += (axes.reshape(b, 3 * j, 3) @ place[..., None]).reshape(b, j, 3)
    off, far = -at[..., :2], at[..., 2]
    turned = (axes.reshape(b, 3 * j, 3) @ belief.turn).reshape(b, j, 3, 3)
    scaled = turned * variance[:, used, None]
    own = scaled @ turned.swapaxes(-1, -2).copy()
    own, slant = own[..., (0, 0, 1), (0, 1, 1)].transpose(2, 0, 1), own[..., 2, :2]
    known = np.where(seen, sure, 1e-9)
    weight = most = np.ones((b, j)) if dropped is None else np.where(
        dropped[:, used], NOTHING, 1.0)
    precision, weighed = np.empty((b, j, 2, 2)), np.empty_like(across)
    pushed = weighed.reshape(b, 2 * j, -1)
    eye = np.eye(flat.shape[-1])
    depth = np.maximum(far, NEAREST)
    inner = square = None
    for step in range(rounds):
        grown = noise * (depth * depth / (known * weight))
        a, c, d = own + grown
        det = a * d - c * c
        np.divide(d, det, out=precision[..., 0, 0])
        np.divide(a, det, out=precision[..., 1, 1])
        precision[..., 0, 1] = precision[..., 1, 0] = -c / det
        np.matmul(precision, across, out=weighed)
        matrix = flat.swapaxes(1, 2) @ pushed
        matrix += eye
        pull = pushed.swapaxes(1, 2) @ off.reshape(b, -1, 1)
        if screen:
            x = np.linalg.solve(matrix, pull)
        else:
            inner = np.linalg.inv(matrix)
            x = inner @ pull
        left = off - (flat @ x).reshape(b, j, 2)
        solved = (precision @ left[..., None])[..., 0]
        if screen:
            break
        square = _left_out(_blocks(precision, pushed @ inner, weighed), solved,
                           grown * (1 - weight))
        if step == rounds - 1:
            break
        weight = np.minimum(np.maximum((FREEDOM + 2) / (FREEDOM + square), LEAST), most)
        depth = np.maximum(far + (along @ x)[..., 0] + (slant * solved).sum(-1), NEAREST)
    fit = ((off * solved).sum((1, 2)) + np.where(seen, np.log(det), 0).sum(1)
           + np.linalg.slogdet(matrix)[1])
    evidence = -0.5 * fit + 2 * (sure * np.log(depth)).sum(1)
    # the joints' own errors
    gain = (scaled[:, :, :2].reshape(b, 2 * j, 3) @ belief.turn.swapaxes(1, 2)).reshape(
        b, j, 2, 3).swapaxes(-1, -2).copy()
    factors = factors.reshape(b, _SIZE, -1)
    point += (factors @ x).reshape(b, NUM_JOINTS, 3)
    point[:, used] += (gain @ solved[..., None])[..., 0]
    _middles(point)
    return Solution(point, evidence, square, weight, seen, used, factors, inner, variance,
                    belief.turn, gain, weighed, precision)


def _place(axes, sure, at):
    """Where the pelvis is (B, 3), by least squares of the joints' distances from the rays.

    Args:
        axes: (B, J, 3, 3) of View; sure: (B, J) confidence; at: (B, J, 3) the joints about the
            pelvis in these axes.
    """
    b = len(axes)
    across = axes[:, :, :2]
    weighed = (sure[..., None, None] * across).reshape(b, -1, 3).swapaxes(1, 2)
    square = weighed @ across.reshape(b, -1, 3) + 1e-6 * np.eye(3)
    return -(inverse(square) @ (weighed @ at[..., :2].reshape(b, -1, 1)))[..., 0]


def _blocks(precision, less, weighed):
    """Diagonal blocks a, c, d (each (B, J)) of P - less weighed^T, 2 x 2 each."""
    less = less.reshape(weighed.shape)
    u, v = less[:, :, 0], weighed[:, :, 1]
    return (precision[..., 0, 0] - _dot(u, weighed[:, :, 0]), precision[..., 0, 1] - _dot(u, v),
            precision[..., 1, 1] - _dot(less[:, :, 1], v))


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


def _left_out(blocks, solved, more):
    """Squared distances (B, J) of keypoints from what all others expect.

    Args:
        blocks: a, c, d, each (B, J), of the diagonal blocks D of the inverse; solved: (B, J, 2)
            inverse times residuals, x: the innovation is D^-1 x, of covariance D^-1.
        more: (3, B, J) by how much that covariance has grown because weight was lost.
    """
    a, c, d = blocks
    det = np.maximum(a * d - c * c, 1e-300)
    x, y = solved[..., 0], solved[..., 1]
    u, v = (d * x - c * y) / det, (a * y - c * x) / det
    a, c, d = d / det - more[0], -c / det - more[1], a / det - more[2]
    return (d * u * u - 2 * c * u * v + a * v * v) / np.maximum(a * d - c * c, 1e-300)

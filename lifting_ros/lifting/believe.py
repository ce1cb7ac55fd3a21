"""Lifting by the learned density: its Gaussian, given what is seen (design.md 5.2, 5.3).

Who fits badly is looked at again: with limbs of left and right exchanged, and without the joints
that contradict the others.
"""

from dataclasses import fields, replace

import numpy as np

from ..person import ScaleSource
from ..skeleton import INDEX, NUM_JOINTS
from . import linear, scale
from .frames import across, upright
from .inputs import Answer, ray_covariances

#: Sigma in statures by which other people's skeletons differ from those the density knows.
_SKELETON = 0.003
#: The density has seen the same keypoints: their noise counts for more when they are put in once
#: more. Without it noisy keypoints are believed twice (90 mm for 84, 36 % within the 50 %).
_TWICE = 4.0
#: A person is looked at again when a seen joint's mean cost is above this, or a joint's squared
#: distance above that, or bones are stretched by more than the third.
_AGAIN_COST, _AGAIN_SQUARE, _AGAIN_STRETCH = 0.4, 4.0, 12.0
#: Joints that are needed for a second look: fewer do not contradict one another.
_ENOUGH = 10
#: Cost of bones of no human length, times the logarithm of how far off they are.
_STRETCH_COST = 8.0
#: A joint that is this far off (squared, in sigmas) is an error.
_WRONG = 5.0
#: What the noise of a joint that is left out adds to -2 log evidence, and should not.
_DROP_GAIN = 5.0
#: How many joints are left out one at a time.
_SUSPECTS = 5
#: -2 log of how seldom limbs are exchanged: what another reading must gain.
_SWAP_COST = 10.0
#: Where depth measures the joints, errors of the pose are not hidden behind those of the scale.
_LEAST_FACTOR = 0.75
#: Below this log-likelihood a joint the keypoints are no human pose.
_WORST_FIT = -2.5
_TAIL = 6.0


def _exchanged(*limbs):
    order = np.arange(NUM_JOINTS)
    for limb in limbs:
        a, b = INDEX[f'left_{limb}'], INDEX[f'right_{limb}']
        order[[a, b]] = b, a
    return order


#: Which keypoint is taken for which joint in the hypotheses of exchanged limbs.
_SWAPS = np.array([
    _exchanged(), _exchanged('knee', 'ankle'), _exchanged('hip', 'knee', 'ankle'),
    _exchanged('elbow', 'wrist'), _exchanged('shoulder', 'elbow', 'wrist'),
    _exchanged('hip', 'knee', 'ankle', 'shoulder', 'elbow', 'wrist')])


class Believer:
    """Lifts what is seen under a learned density.

    Args:
        prior: :class:`~lifting_ros.prior.PosePrior`, for statures and lengths of bones.
        density: :class:`~lifting_ros.lifting.density.RayDensity`.
        factors: (2, 17) on the variance of joints that are seen, and not seen.
    """

    def __init__(self, prior, density, factors=None):
        self.prior, self.density = prior, density
        self.factors = np.ones((2, NUM_JOINTS)) if factors is None else factors

    def __call__(self, sight):
        """Lift :class:`~lifting_ros.lifting.inputs.Sight`: Answer."""
        up, known = sight.gravity()
        to_up = upright(up, sight.middle)
        found = self._condition(sight, to_up, known)
        cost = _cost(found, sight.weight)
        again = np.flatnonzero(((cost > _AGAIN_COST * sight.weight.sum(1))
                                | (found.square > _AGAIN_SQUARE).any(1)
                                | (found.stretched > _AGAIN_STRETCH))
                               & ((sight.weight > 0).sum(1) >= _ENOUGH))
        if len(again):
            found = self._again(found, again, sight, to_up, known)
        return self._in_metres(found, sight, to_up, known)

    def _condition(self, sight, to_up, known, dropped=None):
        """Posterior of the pose in place, in statures; ``dropped`` (N, 17) joints are hidden
        from the density and count little.
        """
        rays = sight.rays @ to_up.swapaxes(1, 2)
        side = across(rays)
        weight = sight.weight
        shown = weight if dropped is None else np.where(dropped, 0, weight)
        mean, covariance = self.density(rays, shown, sight.angular(), known)
        index = np.arange(covariance.shape[-1])
        covariance[:, index, index] += _SKELETON ** 2
        linear.middles(mean, covariance)
        noise = _TWICE * ray_covariances(sight.rays, side, to_up, sight.covariance, sight.camera)
        found = linear.condition(mean, covariance, rays, side, weight, noise, dropped)
        if self.prior.length_mean is not None:
            found = linear.with_lengths(found, self.prior.length_mean,
                                        self.prior.length_covariance)
        return found

    def _again(self, found, again, sight, to_up, known):
        """The best of what was found and of other readings of the keypoints, for who is in
        ``again``.
        """
        part, square = sight[again], found.square[again]
        count, n = len(_SWAPS) + _SUSPECTS + 1, len(again)
        owner = np.repeat(np.arange(n), count)
        order = np.tile(np.vstack((_SWAPS, np.tile(_SWAPS[:1], (_SUSPECTS + 1, 1)))), (n, 1))
        rows = part[owner]
        take = order[..., None]
        rows.rays[:] = np.take_along_axis(rows.rays, take, 1)
        rows.weight[:] = np.take_along_axis(rows.weight, order, 1)
        rows.covariance[:] = np.take_along_axis(rows.covariance, take[..., None], 1)
        # without each of the joints that are farthest off, and without all of those far off
        dropped = np.zeros((n, count, NUM_JOINTS), dtype=bool)
        doubt = np.where(part.weight > 0, square + found.odd[again], -1)
        worst = np.argsort(-doubt, axis=1)[:, :_SUSPECTS]
        for k in range(_SUSPECTS):
            dropped[np.arange(n), len(_SWAPS) + k, worst[:, k]] = True
        dropped[:, -1] = (square > _WRONG) & (square >= np.sort(square, axis=1)[:, -3:-2])
        dropped &= ((part.weight > 0).sum(1)[:, None] - dropped.sum(2) >= 5)[..., None]
        dropped = dropped.reshape(-1, NUM_JOINTS)
        new = self._condition(rows, to_up[again][owner], known[again][owner], dropped)
        stretched = new.stretched.reshape(n, count).copy()
        # exchanged limbs are no reason for odd lengths, and shall not gain by them
        swaps = stretched[:, :len(_SWAPS)]
        swaps[:] = np.maximum(swaps, swaps[:, :1])
        against = -2 * new.evidence.reshape(n, count) + _STRETCH_COST * np.log1p(stretched)
        against[:, 1:len(_SWAPS)] += _SWAP_COST
        against -= _DROP_GAIN * dropped.sum(1).reshape(n, count)
        best = against.argmin(1)
        row = np.arange(n) * count + best
        out = {f.name: getattr(found, f.name).copy() for f in fields(found)}
        for name, value in out.items():
            value[again] = getattr(new, name)[row]
        sight.rays[again] = rows.rays[row]
        sight.weight[again] = np.where(dropped[row], 0, rows.weight[row])
        sight.covariance[again] = rows.covariance[row]
        return linear.Posterior(**out)

    def _in_metres(self, found, sight, to_up, known):
        sizes, told = scale.statures(sight.stature, self.prior.stature)
        factor = np.where(sight.weight > 0, *self.factors)
        if sight.depth is not None:
            factor = np.maximum(factor, _LEAST_FACTOR)
        root = np.sqrt(factor).repeat(3, axis=1)
        found = replace(found, covariance=root[:, :, None] * found.covariance * root[:, None])
        by_depth = np.zeros(sight.weight.shape, dtype=bool)
        fixed = np.where(told, ScaleSource.STATURE, ScaleSource.PRIOR)
        if sight.depth is not None or np.isfinite(sight.height).any():
            mean, covariance, used = scale.measured(found, sizes, sight, to_up, known)
            by_depth = used[:, :NUM_JOINTS]
            fixed = scale.strongest(used, told)
        else:
            mean, covariance = linear.metric(found, sizes)
        turn = to_up[:, None]
        fit = -0.5 * (_cost(found, sight.weight) / np.maximum(sight.weight.sum(1), 1e-9)
                      + found.strange)
        return Answer(mean @ to_up, turn.swapaxes(-1, -2) @ covariance @ turn, fit,
                      fit > _WORST_FIT, by_depth, fixed)


def _cost(found, weight):
    """Robust cost (B,) of the keypoints: -2 log likelihood but for a constant."""
    return (weight * _TAIL * np.log1p(found.square / _TAIL)).sum(1)

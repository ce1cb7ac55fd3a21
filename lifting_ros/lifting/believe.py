"""Lifting by the learned density: its Gaussian, given what is seen (design.md 5.2, 5.3).

Who fits badly is looked at again: with limbs of left and right exchanged, and without the joints
that contradict the others.
"""

from dataclasses import dataclass

import numpy as np

from ..person import ScaleSource
from ..skeleton import INDEX, NUM_JOINTS
from . import calibration, linear, scale
from .frames import across, upright
from .inputs import Answer, ray_noise
from .lengths import Lengths

#: Sigma in statures by which other people's skeletons differ from those the density knows.
SKELETON = 0.003
#: The density has seen the same keypoints: their noise counts for more when they are put in once
#: more. Without it noisy keypoints are believed twice (90 mm for 84, 36 % within the 50 %).
TWICE = 4.0
#: A person is looked at again when a seen joint's mean cost is above this, or a joint's squared
#: distance above that, or bones are stretched by more than the third.
_AGAIN_COST, _AGAIN_SQUARE, _AGAIN_STRETCH = 0.4, 4.0, 12.0
#: Joints that are needed for a second look: fewer do not contradict one another.
_ENOUGH = 10
#: Cost of bones of no human length, times the logarithm of how far off they are.
STRETCH_COST = 8.0
#: A joint that is this far off (squared, in sigmas) is an error.
_WRONG = 5.0
#: What the noise of a joint that is left out adds to -2 log evidence, and should not.
DROP_GAIN = 5.0
#: How many joints are left out one at a time.
_SUSPECTS = 5
#: -2 log of how seldom limbs are exchanged: what another reading must gain.
SWAP_COST = 10.0
#: So much dearer a reading may be by what the first look believes, which was misled by the errors:
#: the best of exchanged limbs, and the best few of joints left out.
MISLED, MISLED_BY_ONE, FEW = 120.0, 4.0, 2
#: Below this log-likelihood a joint the keypoints are no human pose.
_WORST_FIT = -2.5
TAIL = 6.0


def _exchanged(*limbs):
    order = np.arange(NUM_JOINTS)
    for limb in limbs:
        a, b = INDEX[f'left_{limb}'], INDEX[f'right_{limb}']
        order[[a, b]] = b, a
    return order


#: Which keypoint is taken for which joint, reading by reading: of exchanged limbs; without each
#: suspect; as it is; without all that are far off.
READINGS = [
    _exchanged('knee', 'ankle'), _exchanged('hip', 'knee', 'ankle'),
    _exchanged('elbow', 'wrist'), _exchanged('shoulder', 'elbow', 'wrist'),
    _exchanged('hip', 'knee', 'ankle', 'shoulder', 'elbow', 'wrist')]
SWAPS = len(READINGS)
PLAIN = SWAPS + _SUSPECTS
READINGS = np.array(READINGS + [_exchanged()] * (_SUSPECTS + 2))


@dataclass(frozen=True, eq=False)
class Draft:
    """B people lifted in statures, not calibrated yet; frame with z up.

    Args:
        found: :class:`~lifting_ros.lifting.linear.Posterior`; own: (B, 17, 3, 3) of it.
        to_up: (B, 3, 3) from the optical frame; known: (B,) whether gravity is.
        sizes: (B, 2) mean and sigma of log stature; told: (B,) whether it was given.
        person, joint, rays: of :func:`~lifting_ros.lifting.calibration.describe`.
    """

    found: linear.Posterior
    own: np.ndarray
    to_up: np.ndarray
    known: np.ndarray
    sizes: np.ndarray
    told: np.ndarray
    person: np.ndarray
    joint: np.ndarray
    rays: np.ndarray


class Believer:
    """Lifts what is seen under a learned density.

    Args:
        prior: :class:`~lifting_ros.prior.PosePrior`, for statures and lengths of bones.
        density: :class:`~lifting_ros.lifting.density.RayDensity`.
        factors: (2, 17) on the variance of joints that are seen, and not seen, or a
            :class:`~lifting_ros.lifting.calibration.Calibration`.
    """

    def __init__(self, prior, density, factors=None):
        self.prior, self.density = prior, density
        self.lengths = (None if prior.length_mean is None else
                        Lengths(prior.length_mean, prior.length_covariance))
        factors = np.ones((2, NUM_JOINTS)) if factors is None else factors
        self.factors = factors if callable(factors) else calibration.Constant(factors)

    def __call__(self, sight):
        """Lift :class:`~lifting_ros.lifting.inputs.Sight`: Answer. ``sight`` comes to be as of
        :meth:`found`.
        """
        return self.in_metres(self.draft(sight), sight)

    def draft(self, sight):
        """What is believed before the calibration and the scale: Draft. ``sight`` comes to be
        as of :meth:`found`.
        """
        return self.described(self.found(sight), sight)

    def found(self, sight, second=True):
        """Posterior of people in statures, z up.

        Args:
            second: look again at who fits badly; ``sight`` then comes to be as it was read at
                last, with limbs exchanged and errors left out.
        """
        up, known = sight.gravity()
        to_up = upright(up, sight.middle)
        view = self._view(sight, to_up, known)
        belief = self._believe(view)
        found = self._told(linear.condition(belief, view))
        if second:
            again = np.flatnonzero(doubtful(cost_of(found, sight.weight), found.square.max(1),
                                            found.stretched, sight.weight))
            if len(again):
                found = self._again(found, again, sight, view, belief)
        return found

    def described(self, found, sight):
        """Draft of what was found in ``sight``."""
        up, known = sight.gravity()
        to_up = upright(up, sight.middle)
        sizes, told = scale.statures(sight.stature, self.prior.stature)
        scaled = told | np.isfinite(sight.height) | (sight.depth is not None)
        own = calibration.blocks(found.covariance)
        return Draft(found, own, to_up, known, sizes, told, *calibration.describe(
            found, own, sight.weight, (sight.middle * to_up[:, 2]).sum(1), known, scaled))

    def _view(self, sight, to_up, known):
        """How people look, z up."""
        axes = np.empty(sight.rays.shape[:2] + (3, 3))
        axes[:, :, 2] = sight.rays @ to_up.swapaxes(1, 2)
        axes[:, :, :2] = across(axes[:, :, 2])
        noise = TWICE * ray_noise(sight.rays, axes[:, :, :2], to_up, sight.covariance,
                                   sight.camera)
        return linear.View(axes, sight.weight, noise, sight.angular(), known)

    def _believe(self, view, dropped=None):
        """What the density says; ``dropped`` (N, 17) joints are hidden from it."""
        shown = view.weight if dropped is None else np.where(dropped, 0, view.weight)
        belief = self.density.believe(view.rays, shown, view.sigma, view.known)
        belief.variance[:] += SKELETON ** 2
        return belief

    def _told(self, solution, rows=slice(None)):
        """Posterior of the pose in place of some of the solved, told how long bones are."""
        found = solution.posterior(rows)
        return found if self.lengths is None else self.lengths.tell(found)

    def _stretched(self, solution):
        """As the posterior's, before anything is told."""
        if self.lengths is None:
            return np.zeros(len(solution.mean))
        return self.lengths.stretched(solution.mean)

    def _again(self, found, again, sight, view, belief):
        """The best of what was found and of other readings of the keypoints, for who is in
        ``again``. All are screened by the ``belief`` there is, without the network; the
        density is asked about the best of them.
        """
        n = len(again)
        dropped, possible = proposed(
            found.square[again], found.odd[again], cost_of(found, view.weight)[again],
            view.weight[again])
        # exchanged limbs are no reason for odd lengths, and shall not gain by them
        reading = np.arange(len(READINGS))
        swapped = reading < SWAPS
        least = np.where(swapped, found.stretched[again, None], 0)
        cost = np.where(swapped, SWAP_COST, -DROP_GAIN * dropped.sum(2))

        def read(who, which):
            return view.read(again[who], READINGS[which]), dropped[who, which]

        def against(solution, who, which):
            """What is against solutions of people by readings, (n, readings)."""
            out = np.full((n, len(READINGS)), np.inf)
            out[who, which] = -2 * solution.evidence + cost[who, which] + STRETCH_COST * np.log1p(
                np.maximum(self._stretched(solution), least[who, which]))
            return out

        # left for right altogether: it takes the density to tell that
        turned = reading == SWAPS - 1
        who, which = np.nonzero(~turned & possible | (reading == PLAIN))
        one, without = read(who, which)
        screened = against(linear.condition(belief[again[who]], one, without, 1, screen=True),
                           who, which)
        loss = screened - screened[:, [PLAIN]]
        loss[:, PLAIN] = np.inf
        likely = (turned | _best(np.where(swapped, loss, np.inf), 1, MISLED)
                  | _best(np.where(swapped, np.inf, loss), FEW, MISLED_BY_ONE))
        who, which = np.nonzero(possible & likely)
        if not len(who):
            return found
        one, without = read(who, which)
        solution = linear.condition(self._believe(one, without), one, without)
        exact = against(solution, who, which)
        exact[:, PLAIN] = -2 * found.evidence[again] + STRETCH_COST * np.log1p(
            found.stretched[again])
        best = exact.argmin(1)
        row = np.flatnonzero(best[who] == which)
        if not len(row):
            return found
        who, best = who[row], which[row]
        again = again[who]
        found.put(again, self._told(solution, row))
        reread(sight, again, best, dropped[who, best])
        return found

    def in_metres(self, draft, sight):
        """Answer of a draft."""
        found, to_up = draft.found, draft.to_up
        factor, of_stature, total = self.factors(draft.person, draft.joint)
        sizes = np.stack((draft.sizes[:, 0], draft.sizes[:, 1] * np.sqrt(of_stature)), -1)
        by_depth = np.zeros(sight.weight.shape, dtype=bool)
        fixed = np.where(draft.told, ScaleSource.STATURE, ScaleSource.PRIOR)
        if sight.depth is not None or np.isfinite(sight.height).any():
            mean, covariance, used = scale.measured(
                calibration.grown_whole(found, draft.rays, factor), sizes, sight, to_up,
                draft.known)
            by_depth = used[:, :NUM_JOINTS]
            fixed = scale.strongest(used, draft.told)
        else:
            mean, covariance = calibration.metric(
                found.mean, calibration.grown(draft.own, draft.rays, factor), sizes)
        covariance = total[..., None, None] * covariance
        turn = to_up[:, None]
        return answer(mean @ to_up, turn.swapaxes(-1, -2) @ covariance @ turn,
                      cost_of(found, sight.weight), found.strange, sight.weight, by_depth, fixed)


def answer(joints, covariance, cost, strange, weight, by_depth, fixed):
    """Answer of joints in the optical frame and of what is against them."""
    fit = -0.5 * (cost / np.maximum(weight.sum(1), 1e-9) + strange)
    return Answer(joints, covariance, fit, fit > _WORST_FIT, by_depth, fixed)


def doubtful(cost, worst, stretched, weight):
    """Who is to be looked at again (B,).

    Args:
        cost: (B,) of :func:`cost_of`; worst: (B,) largest squared distance of a keypoint;
            stretched: (B,) of the posterior; weight: (B, 17) confidence, 0 not seen.
    """
    return (((cost > _AGAIN_COST * weight.sum(1)) | (worst > _AGAIN_SQUARE)
             | (stretched > _AGAIN_STRETCH)) & ((weight > 0).sum(1) >= _ENOUGH))


def proposed(square, odd, cost, weight):
    """The readings that are tried of N people who are looked at again.

    Args:
        square, odd: (N, 17) of the posterior; cost: (N,) of :func:`cost_of`; weight: (N, 17)
            confidence, 0 not seen.

    Returns:
        which joints each of :data:`READINGS` leaves out (N, 12, 17), and which readings are
        other than what was found, and may be (N, 12).
    """
    seen, n = weight > 0, len(weight)
    # without each of those that are farthest off, if they are far off, and without all that
    # are farther still
    dropped = np.zeros((n, len(READINGS), NUM_JOINTS), dtype=bool)
    doubt = np.where(seen, square + odd, -1)
    worst = np.argsort(-doubt, axis=1)[:, :_SUSPECTS]
    row = np.arange(n)[:, None]
    dropped[row, SWAPS + np.arange(_SUSPECTS), worst] = doubt[row, worst] > _AGAIN_SQUARE
    dropped[:, -1] = (square > _WRONG) & (square >= np.sort(square, axis=1)[:, -3:-2])
    dropped &= (seen.sum(1)[:, None] - dropped.sum(2) >= 5)[..., None]
    # who fits well as a whole has no limbs exchanged
    can = cost > _AGAIN_COST * weight.sum(1)
    return dropped, (np.arange(len(READINGS)) < SWAPS) & can[:, None] | dropped.any(2)


def reread(sight, who, reading, dropped):
    """Make a sight of people ``who`` (K,) that of their ``reading`` (K,), in place, without the
    joints ``dropped`` (K, 17).
    """
    row, order = who[:, None], READINGS[reading]
    sight.rays[who] = sight.rays[row, order]
    sight.weight[who] = np.where(dropped, 0, sight.weight[row, order])
    sight.covariance[who] = sight.covariance[row, order]


def cost_of(found, weight):
    """Robust cost (B,) of the keypoints: -2 log likelihood but for a constant."""
    return (weight * TAIL * np.log1p(found.square / TAIL)).sum(1)


def _best(cost, few, most):
    """Which of costs (N, M) are among the ``few`` least of their row, and below ``most``."""
    return (cost < most) & (cost <= np.partition(cost, few - 1)[:, few - 1:few])

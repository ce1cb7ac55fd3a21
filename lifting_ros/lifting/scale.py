"""What fixes the scale, as Gaussian terms that combine: stature, ground, depth (design.md 5.4)."""

from dataclasses import replace

import numpy as np

from ..person import ScaleSource
from ..skeleton import NUM_JOINTS
from .depth import measure
from .problem import MARKED

#: A given stature is believed to this relative sigma: it says how tall somebody is, not how long
#: each limb is.
GIVEN_STATURE_SIGMA = 0.025
#: Statures that are believed, metres.
_STATURES = (0.3, 2.6)
#: How high an ankle joint is over the ground on which its foot stands, metres, and its sigma;
#: and the error of gravity that the height of what is far away carries, radians.
_ANKLE = (0.08, 0.03)
_GROUND_TILT = 0.006
#: Heights of a camera that are believed, metres.
_HEIGHTS = (0.05, 50.0)
#: By how much the logarithm of a stature is ever corrected.
_MOST = 1.2
#: A foot counts as seen from this confidence on.
_FOOT_SEEN = 0.3
_FEET = MARKED[NUM_JOINTS:]


def statures(given, prior):
    """Mean and sigma (N, 2) of log stature, and whether it was given (N,)."""
    told = np.isfinite(given) & (given > _STATURES[0]) & (given < _STATURES[1])
    own = np.stack((np.log(np.where(told, given, 1.0)),
                    np.full(len(given), GIVEN_STATURE_SIGMA)), -1)
    return np.where(told[:, None], own, prior), told


def readings(rays, seen_along, points, weight, sigma, depth=None, height=None, level=None):
    """What depth image and ground say about where joints are: marks along directions.

    Args:
        rays: (B, 17, 3) unit, optical frame; seen_along: (B, 17, 3) the same, z up.
        points: (B, 17, 3) m, joints by a lift without them, z up.
        weight: (B, 17) confidence, 0 not seen.
        sigma: (B,) of the lift's log scale.
        depth: DepthImage or None.
        height: (B,) m of the camera over the ground, NaN where unknown.
        level: (B,) whether gravity is known: without it the ground says nothing.

    Returns:
        directions (B, G, 3), values (B, G) m, precisions (B, G) 1/m^2, 0 where there is none,
        of the joints MARKED; and the factor (B,) by which the person is farther than it was.
    """
    b = len(rays)
    direction = np.zeros((b, len(MARKED), 3))
    value, precision = np.zeros((2, b, len(MARKED)))
    factor = np.ones(b)
    direction[:, :NUM_JOINTS] = seen_along
    direction[:, NUM_JOINTS:, 2] = 1
    if depth is not None:
        along = np.maximum((seen_along * points).sum(-1), 0.1)
        value[:, :NUM_JOINTS], precision[:, :NUM_JOINTS], factor = measure(
            depth, rays, along, weight, sigma)
        factor = np.maximum(factor, 0.05)
    # of two feet the lower stands, or none does: then the others' terms win
    feet = points[:, _FEET]
    lower = np.where(weight[:, _FEET] >= _FOOT_SEEN, feet[..., 2], np.inf)
    known = (height > _HEIGHTS[0]) & (height < _HEIGHTS[1]) & level
    stands = known[:, None] & np.isfinite(lower) & (lower <= lower.min(1, keepdims=True))
    value[:, NUM_JOINTS:] = np.where(stands, _ANKLE[0] - np.where(known, height, 0)[:, None], 0)
    tilt = _GROUND_TILT ** 2 * (feet ** 2).sum(-1)
    precision[:, NUM_JOINTS:] = np.where(stands, 1 / (_ANKLE[1] ** 2 + tilt), 0)
    return direction, value, precision, factor


def marked(problem, state, linear, rays, depth, height, level):
    """The refinement's problem with what depth image and ground say.

    Args:
        problem, state, linear: of a refinement without them, B rows.
        rays, depth, height, level: as in :func:`readings`.

    Returns:
        Problem and the State to go on from.
    """
    direction, value, precision, factor = readings(
        rays, problem.rays, linear.about + state.translation[:, None], problem.confidence,
        problem.stature[:, 1], depth, height, level)
    moved = replace(state, translation=state.translation * factor[:, None],
                    log_stature=state.log_stature + np.log(factor))
    return replace(problem, marks=direction, mark_value=value, mark_precision=precision), moved


def measured(found, sizes, sight, to_up, level, rounds=4):
    """Joints in metres by all that is known of the scale, an iterated Kalman update.

    Args:
        found: :class:`~lifting_ros.lifting.linear.Posterior`, statures.
        sizes: (B, 2) mean and sigma of log stature.
        sight: Sight; to_up: (B, 3, 3); level: (B,) whether gravity is known.

    Returns:
        mean (B, 17, 3) m, covariance (B, 17, 3, 3) m^2, z up; and which marks were believed
        (B, G).
    """
    b = len(sizes)
    along = sight.rays @ to_up.swapaxes(1, 2)
    size = sizes[:, 0]
    points = np.exp(size)[:, None, None] * found.mean
    direction, value, precision, factor = readings(
        sight.rays, along, points, sight.weight, sizes[:, 1], sight.depth, sight.height, level)
    known = precision > 0
    noise = 1 / np.where(known, precision, 1e-10)
    flat = found.mean.reshape(b, -1)
    last = flat.shape[1]
    prior = np.concatenate((flat, size[:, None]), 1)
    spread = np.zeros((b, last + 1, last + 1))
    spread[:, :last, :last] = found.covariance
    spread[:, last, last] = sizes[:, 1] ** 2
    at = prior.copy()
    at[:, last] += np.log(factor)
    # what is absurd shall not pull the first step
    where = factor[:, None] * (direction * points[:, MARKED]).sum(-1)
    wide = noise + (sizes[:, 1:] * factor[:, None]
                    * np.sqrt((points[:, MARKED] ** 2).sum(-1))) ** 2
    weight = np.clip(6 / (5 + np.where(known, (value - where) ** 2 / wide, 0)), 1e-4, 1)
    count = np.arange(len(MARKED))
    for _ in range(rounds):
        at[:, last] = np.clip(at[:, last], size - _MOST, size + _MOST)
        grown = np.exp(at[:, last])
        joints = grown[:, None, None] * at[:, :last].reshape(b, NUM_JOINTS, 3)
        expected = (direction * joints[:, MARKED]).sum(-1)
        jac = np.zeros((b, len(MARKED), NUM_JOINTS, 3))
        jac[:, count, MARKED] = grown[:, None, None] * direction
        jac = np.concatenate((jac.reshape(b, len(MARKED), last), expected[..., None]), -1)
        cross = jac @ spread
        more = noise * (1 / weight - 1)
        total = cross @ jac.swapaxes(1, 2)
        total[:, count, count] += noise + more
        inverse = np.linalg.inv(total)
        off = value - expected - (jac @ (prior - at)[..., None])[..., 0]
        solved = (inverse @ off[..., None])[..., 0]
        at = prior + (cross.swapaxes(1, 2) @ solved[..., None])[..., 0]
        own = np.diagonal(inverse, axis1=1, axis2=2)
        square = (solved / own) ** 2 / np.maximum(1 / own - more, 1e-12)
        used, weight = weight, np.clip(6 / (5 + np.where(known, square, 0)), 1e-4, 1)
    spread = spread - cross.swapaxes(1, 2) @ inverse @ cross
    grown = np.exp(at[:, last])[:, None, None]
    mean = grown * at[:, :last].reshape(b, NUM_JOINTS, 3)
    own = spread[:, :last, :last].reshape(b, NUM_JOINTS, 3, NUM_JOINTS, 3)
    own = own[:, np.arange(NUM_JOINTS), :, np.arange(NUM_JOINTS)].swapaxes(0, 1)
    both = grown[..., None] * mean[..., :, None] * spread[:, last, :last].reshape(
        b, NUM_JOINTS, 1, 3)
    covariance = (grown[..., None] ** 2 * own + both + both.swapaxes(-1, -2)
                  + spread[:, last, last, None, None, None] * mean[..., :, None]
                  * mean[..., None, :])
    return mean, covariance, known & (used > 0.25)


def strongest(used, told):
    """ScaleSource (N,) by which marks (N, G) were believed and whether statures were given."""
    fixed = np.where(used[:, NUM_JOINTS:].any(1), ScaleSource.GROUND, ScaleSource.PRIOR)
    fixed = np.where(told, ScaleSource.STATURE, fixed)
    return np.where(used[:, :NUM_JOINTS].any(1), ScaleSource.DEPTH, fixed)


def sources(problem, linear, rows, told):
    """What fixed the scale of the refinement's chosen rows, and which joints depth measured.

    Args:
        problem, linear: refined; rows: (N,) chosen ones; told: (N,) whether a stature was given.

    Returns:
        (N,) ScaleSource, and (N, 17) bool.
    """
    used = np.zeros((len(rows), len(MARKED)), dtype=bool)
    if problem.marks is not None:
        used = (problem.mark_precision[rows] > 0) & (linear.mark_weight[rows] > 0.25)
    return strongest(used, told), used[:, :NUM_JOINTS]

"""What fixes the scale, as Gaussian terms that combine: stature, ground, depth (design.md 5.4)."""

from dataclasses import replace

import numpy as np

from ..person import ScaleSource
from ..skeleton import NUM_JOINTS
from .depth import measure
from .refine import MARKED

#: A given stature is believed to this relative sigma: it says how tall somebody is, not how long
#: each limb is.
GIVEN_STATURE_SIGMA = 0.03
#: Statures that are believed, metres.
_STATURES = (0.3, 2.6)
#: How high an ankle joint is over the ground on which its foot stands, metres, and its sigma;
#: and the error of gravity that the height of what is far away carries, radians.
_ANKLE = (0.08, 0.03)
_GROUND_TILT = 0.006
#: A foot counts as seen from this confidence on.
_FOOT_SEEN = 0.3
_FEET = MARKED[NUM_JOINTS:]


def statures(given, prior):
    """Mean and sigma (N, 2) of log stature, and whether it was given (N,)."""
    told = np.isfinite(given) & (given > _STATURES[0]) & (given < _STATURES[1])
    own = np.stack((np.log(np.where(told, given, 1.0)),
                    np.full(len(given), GIVEN_STATURE_SIGMA)), -1)
    return np.where(told[:, None], own, prior), told


def marked(problem, state, linear, rays, depth=None, height=None, level=None):
    """The problem with what depth image and ground say about where joints are.

    Args:
        problem, state, linear: of a refinement without them, B rows.
        rays: (B, 17, 3) unit, optical frame.
        depth: DepthImage or None.
        height: (B,) m of the camera over the ground, NaN where unknown, or None.
        level: (B,) whether gravity is known: without it the ground says nothing.

    Returns:
        Problem and the State to go on from.
    """
    b = len(rays)
    direction = np.zeros((b, len(MARKED), 3))
    value, precision = np.zeros((2, b, len(MARKED)))
    factor = np.ones(b)
    direction[:, :NUM_JOINTS] = problem.rays
    direction[:, NUM_JOINTS:, 2] = 1
    if depth is not None:
        value[:, :NUM_JOINTS], precision[:, :NUM_JOINTS], factor = measure(
            depth, rays, linear.depth, problem.confidence, problem.stature[:, 1])
    if height is not None:
        point = (linear.about + state.translation[:, None])[:, _FEET]
        # of two feet the lower stands, or none does: then the others' terms win
        lower = np.where(problem.confidence[:, _FEET] >= _FOOT_SEEN, point[..., 2], np.inf)
        known = np.isfinite(height) & (height > 0) & level
        stands = known[:, None] & np.isfinite(lower) & (lower <= lower.min(1, keepdims=True))
        value[:, NUM_JOINTS:] = np.where(stands, _ANKLE[0] - np.where(known, height, 0)[:, None],
                                         0)
        far = np.linalg.norm(point, axis=-1)
        sigma = np.sqrt(_ANKLE[1] ** 2 + (_GROUND_TILT * far) ** 2)
        precision[:, NUM_JOINTS:] = np.where(stands, sigma ** -2, 0)
    moved = replace(state, translation=state.translation * factor[:, None],
                    log_stature=state.log_stature + np.log(np.maximum(factor, 0.05)))
    return replace(problem, marks=direction, mark_value=value, mark_precision=precision), moved


def sources(problem, linear, rows, told):
    """What fixed the scale of the chosen rows, and which joints depth measured.

    Args:
        problem, linear: refined; rows: (N,) chosen ones; told: (N,) whether a stature was given.

    Returns:
        (N,) ScaleSource, and (N, 17) bool.
    """
    scale = np.where(told, ScaleSource.STATURE, ScaleSource.PRIOR)
    if problem.marks is None:
        return scale, np.zeros((len(rows), NUM_JOINTS), dtype=bool)
    used = (problem.mark_precision[rows] > 0) & (linear.mark_weight[rows] > 0.25)
    ground = used[:, NUM_JOINTS:].any(1) & ~told
    scale = np.where(ground, ScaleSource.GROUND, scale)
    by_depth = used[:, :NUM_JOINTS]
    return np.where(by_depth.any(1), ScaleSource.DEPTH, scale), by_depth

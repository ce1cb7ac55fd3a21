"""Calibration of the lifter's covariances: one factor a group of joints (design.md 5.3)."""

import numpy as np
from scipy.stats import chi2

from ..evaluation import measures
from ..evaluation.scenes import scenes
from ..skeleton import GROUPS, LSP_JOINTS
from .mocap import draw_balanced
from .sitting import sitting, upright

#: Ellipsoids whose coverage is to be right, and what each counts.
_LEVELS = ((0.5, 4.0), (0.9, 1.0), (0.95, 1.0))


def factors(square):
    """The factor on the variance that makes squared Mahalanobis distances those of 3 degrees
    of freedom, as far as one factor can: geometric mean of the quantiles' ratios.
    """
    logs = [n * np.log(np.quantile(square, q) / chi2.ppf(q, 3)) for q, n in _LEVELS]
    return float(np.exp(sum(logs) / sum(n for _, n in _LEVELS)))


def calibrate(lifters, sets, people=600, seed=11, rounds=6):
    """Factors by group on the density's variance, over pairs of a lifter and poses.

    Each pair counts alike, so that a lifter fitted without a source, on that source, speaks for
    capture systems that no fit has seen; where there is none, people of other definitions of
    joints (:func:`~lifting_ros.training.mocap.reproportion`) do. Of eight people five have
    fourteen joints, two six fewer, one keypoints that are noisy and said to be.
    The stature's part of the covariance is no business of the factors, so they are found by
    lifting again and again.

    Args:
        lifters: lifters, one a set; they may be one and the same. Their ``scale`` is set.
        sets: :class:`~lifting_ros.training.mocap.Poses`, one a lifter.
        people: how many of each.

    Returns:
        dict of group -> [factor on the variance where the joint is seen, where it is not].
    """
    views = [_views(poses, people, seed + i) for i, poses in enumerate(sets)]
    found = {g: np.ones(2) for g in GROUPS}
    for _ in range(rounds):
        squares = {g: ([], []) for g in GROUPS}
        for lifter, (s, keypoints, confidence, told) in zip(lifters, views, strict=True):
            for group, joints in GROUPS.items():
                lifter.scale[:, joints] = found[group][:, None]
            out = lifter.lift(keypoints, confidence, s.camera, s.up, told)
            ok = np.isfinite(out.joints).all((1, 2))
            square = measures.mahalanobis(out.joints[ok], s.joints[ok], out.covariance[ok])
            for group, joints in GROUPS.items():
                here, seen = square[:, joints], confidence[ok][:, joints] > 0
                squares[group][0].append(here[seen])
                squares[group][1].append(here[~seen])
        for g, pair in squares.items():
            found[g] = np.clip(found[g] * [factors(np.concatenate(v)) for v in pair], 0.1, 20)
    return {g: [round(float(f), 4) for f in pair] for g, pair in found.items()}


def _views(poses, people, seed):
    """Scenes of people, their keypoints, confidence and the covariances that are told."""
    rng = np.random.default_rng(seed)
    sit = people // 10 if upright(poses).any() else 0
    drawn = poses[draw_balanced(poses, people - sit, rng)]
    if sit:
        drawn = drawn + sitting(poses, sit, rng)
    s = scenes(drawn.joints, rng)
    order = rng.permutation(people)
    fewer, noisy = order[:people // 4], order[people // 4:3 * people // 8]
    confidence, keypoints = s.confidence.copy(), s.keypoints.copy()
    for i in fewer:
        confidence[i, rng.choice(LSP_JOINTS, 6, replace=False)] = 0
    sigma = np.full(people, 2.0)
    sigma[noisy] = rng.uniform(3, 10, len(noisy))
    keypoints += np.sqrt(sigma ** 2 - 4)[:, None, None] * rng.standard_normal(keypoints.shape)
    told = (sigma ** 2)[:, None, None, None] * np.ones((1, 17, 1, 1)) * np.eye(2)
    # who is not noisy has the default, as most users have
    told[np.setdiff1d(order, noisy)] = np.nan
    return s, keypoints, confidence, told

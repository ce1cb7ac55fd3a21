"""Calibration of the lifter's covariances: one factor a group of joints (design.md 5.3)."""

import numpy as np
from scipy.stats import chi2

from ..evaluation import measures
from ..evaluation.scenes import scenes
from ..skeleton import GROUPS, LSP_JOINTS
from .mocap import draw_balanced
from .sitting import sitting, upright

#: Ellipsoids whose coverage is to be right, and what each counts.
_LEVELS = ((0.5, 1.0), (0.9, 1.0), (0.95, 2.0))


def factors(square):
    """The factor on the variance that makes squared Mahalanobis distances those of 3 degrees
    of freedom, as far as one factor can: geometric mean of the quantiles' ratios.
    """
    logs = [n * np.log(np.quantile(square, q) / chi2.ppf(q, 3)) for q, n in _LEVELS]
    return float(np.exp(sum(logs) / sum(n for _, n in _LEVELS)))


def calibrate(lifters, sets, people=600, seed=11):
    """Factors by group, over pairs of a lifter and poses that it has not seen.

    Each pair counts alike, so that a lifter fitted without a source, on that source, speaks for
    capture systems that no fit has seen. Half of the people have fourteen joints, a quarter six
    fewer, a quarter keypoints that are noisy and said to be.

    Args:
        lifters: lifters without calibration, one a set.
        sets: :class:`~lifting_ros.training.mocap.Poses`, one a lifter.
        people: how many of each.

    Returns:
        dict of group -> [factor on the variance where the joint is seen, where it is not].
    """
    squares = {g: ([], []) for g in GROUPS}
    for lifter, poses in zip(lifters, sets, strict=True):
        rng = np.random.default_rng(seed)
        sit = people // 10 if upright(poses).any() else 0
        drawn = poses[draw_balanced(poses, people - sit, rng)]
        if sit:
            drawn = drawn + sitting(poses, sit, rng)
        s = scenes(drawn.joints, rng)
        order = rng.permutation(people)
        fewer, noisy = order[:people // 4], order[people // 4:people // 2]
        confidence, keypoints = s.confidence.copy(), s.keypoints.copy()
        for i in fewer:
            confidence[i, rng.choice(LSP_JOINTS, 6, replace=False)] = 0
        sigma = np.full(people, 2.0)
        sigma[noisy] = rng.uniform(3, 10, len(noisy))
        keypoints += np.sqrt(sigma ** 2 - 4)[:, None, None] * rng.standard_normal(keypoints.shape)
        told = (sigma ** 2)[:, None, None, None] * np.ones((1, 17, 1, 1)) * np.eye(2)
        # who is not noisy has the default, as most users have
        told[np.setdiff1d(order, noisy)] = np.nan
        out = lifter.lift(keypoints, confidence, s.camera, s.up, told)
        ok = np.isfinite(out.joints).all((1, 2))
        square = measures.mahalanobis(out.joints[ok], s.joints[ok], out.covariance[ok])
        for group, joints in GROUPS.items():
            here, seen = square[:, joints], confidence[ok][:, joints] > 0
            squares[group][0].append(here[seen])
            squares[group][1].append(here[~seen])
    return {g: [round(factors(np.concatenate(v)), 4) for v in pair]
            for g, pair in squares.items()}

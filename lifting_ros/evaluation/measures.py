"""Measures of 3D poses, as design.md 8 and the literature name them.

Positions are (N, J, 3) metres unless said otherwise; results are in metres.
"""

import numpy as np
from scipy.stats import chi2


def joint_errors(predicted, target):
    """Euclidean error of each joint, (N, J) metres."""
    return np.linalg.norm(predicted - target, axis=-1)


def root_relative(poses, root=0):
    """Poses with joint ``root`` at the origin."""
    return poses - poses[:, root:root + 1]


def mpjpe(predicted, target):
    """Mean joint error of each pose with the pelvis at the origin, (N,)."""
    return joint_errors(root_relative(predicted), root_relative(target)).mean(1)


def n_mpjpe(predicted, target):
    """MPJPE of each pose after the best scale (Rhodin 2018), (N,)."""
    p, t = root_relative(predicted), root_relative(target)
    scale = (p * t).sum((1, 2)) / np.maximum((p * p).sum((1, 2)), 1e-12)
    return joint_errors(scale[:, None, None] * p, t).mean(1)


def procrustes(predicted, target):
    """Each predicted pose brought to its target by the best similarity (Umeyama 1991)."""
    pm, tm = predicted.mean(1, keepdims=True), target.mean(1, keepdims=True)
    p, t = predicted - pm, target - tm
    u, s, vt = np.linalg.svd(np.swapaxes(p, 1, 2) @ t)
    flip = np.ones_like(s)
    flip[:, -1] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * flip[:, None]) @ vt
    scale = (s * flip).sum(1) / np.maximum((p ** 2).sum((1, 2)), 1e-12)
    return scale[:, None, None] * p @ rotation + tm


def pa_mpjpe(predicted, target):
    """MPJPE of each pose after similarity Procrustes, (N,)."""
    return joint_errors(procrustes(predicted, target), target).mean(1)


def mpjae(predicted, target, bones):
    """Mean angle between bone directions of each pose, (N,) radians."""
    child, parent = np.array(bones).T
    p, t = (x[:, child] - x[:, parent] for x in (predicted, target))
    cos = (p * t).sum(-1) / np.maximum(
        np.linalg.norm(p, axis=-1) * np.linalg.norm(t, axis=-1), 1e-12)
    return np.arccos(np.clip(cos, -1, 1)).mean(1)


def mahalanobis(predicted, target, covariance):
    """Squared Mahalanobis distances (N, J) of the truth under each joint's covariance."""
    off = target - predicted
    return (off * np.linalg.solve(covariance, off[..., None])[..., 0]).sum(-1)


def coverage(square, quantile):
    """Share of squared distances within the ellipsoid that should hold ``quantile`` of them."""
    return float((square <= chi2.ppf(quantile, 3)).mean())


def calibration_error(square, bins=20):
    """Mean gap between the coverage asked for and the one found, over evenly spaced levels."""
    levels = (np.arange(bins) + 0.5) / bins
    return float(np.mean([abs(coverage(square, q) - q) for q in levels]))

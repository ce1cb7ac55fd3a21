"""Which person of this image is which of the last: costs, and the best one-to-one matching."""

import numpy as np
from scipy.optimize import linear_sum_assignment

NEVER = 1e6


def keypoint_distance(a, a_seen, a_size, b, b_seen, b_size):
    """Mean distance of shared keypoints as a share of the person's size.

    Args:
        a: (N, J, 2) px; a_seen: (N, J) bool; a_size: (N,) px, square root of the box's area.
        b, b_seen, b_size: the same of M people.

    Returns:
        (N, M); NaN where fewer than three keypoints are shared.
    """
    both = a_seen[:, None] & b_seen[None]                                  # (N, M, J)
    gap = np.linalg.norm(np.nan_to_num(a)[:, None] - np.nan_to_num(b)[None], axis=-1)
    count = both.sum(axis=-1)
    mean = np.where(both, gap, 0).sum(axis=-1) / np.maximum(count, 1)
    size = np.maximum((a_size[:, None] + b_size[None]) / 2, 1.0)
    return np.where(count >= 3, mean / size, np.nan)


def box_distance(a, b):
    """Distance of box middles as a share of the boxes' size: (N, 4), (M, 4) px -> (N, M)."""
    middle = np.linalg.norm((a[:, None, :2] + a[:, None, 2:] - b[None, :, :2] - b[None, :, 2:])
                            / 2, axis=-1)
    size = np.sqrt(box_area(a))[:, None] / 2 + np.sqrt(box_area(b))[None] / 2
    return middle / np.maximum(size, 1.0)


def box_area(boxes):
    """(N, 4) px -> (N,) px^2."""
    return np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)


def box_iou(a, b):
    """Intersection over union: (N, 4), (M, 4) -> (N, M)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inner = np.prod(np.maximum(high - low, 0), axis=-1)
    return inner / np.maximum(box_area(a)[:, None] + box_area(b)[None] - inner, 1e-9)


def root_mahalanobis(a, a_cov, b, b_cov):
    """Squared Mahalanobis distance of roots: (N, 3), (N, 3, 3), (M, 3), (M, 3, 3) -> (N, M)."""
    gap = a[:, None] - b[None]
    cov = a_cov[:, None] + b_cov[None] + 1e-6 * np.eye(3)
    known = np.isfinite(gap).all(axis=-1) & np.isfinite(cov).all(axis=(-1, -2))
    cov = np.where(known[..., None, None], cov, np.eye(3))
    gap = np.where(known[..., None], gap, 0.0)
    d = (gap * np.linalg.solve(cov, gap[..., None])[..., 0]).sum(axis=-1)
    return np.where(known, d, np.nan)


def match(cost, limit):
    """The one-to-one matching of least cost, pairs above ``limit`` left apart.

    Args:
        cost: (N, M), NaN where a pair is impossible.

    Returns:
        list of (row, column).
    """
    cost = np.asarray(cost, dtype=float)
    if cost.size == 0:
        return []
    possible = np.nan_to_num(cost, nan=NEVER, posinf=NEVER)
    possible = np.where(possible > limit, NEVER, possible)
    rows, columns = linear_sum_assignment(possible)
    return [(int(r), int(c)) for r, c in zip(rows, columns) if possible[r, c] < NEVER]

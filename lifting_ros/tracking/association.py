"""Which person of this image is which of the last: costs, and the best one-to-one matching."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..matrices import dot
from ..skeleton import PELVIS

#: Seconds in which the error that stays becomes another one: people turn and are hidden.
DRIFT = 5.0
#: Costs in the image below which somebody is where he was expected, and above which elsewhere.
_HERE, _ELSEWHERE = 0.15, 1.0
#: m, the uncertainty of a root's place at which its cost begins at 0.
_KNOWN = 0.1


def keypoint_distance(a, a_seen, a_size, b, b_seen, b_size):
    """Mean distance of shared keypoints as a share of the person's size.

    Args:
        a: (N, J, 2) px; a_seen: (N, J) bool; a_size: (N,) px, square root of the box's area.
        b, b_seen, b_size: the same of M people.

    Returns:
        (N, M); NaN where fewer than three keypoints are shared.
    """
    gap = np.abs(_complex(a)[:, None] - _complex(b))                       # (N, M, J)
    ours, theirs = a_seen.astype(float), b_seen.astype(float)
    known = np.isfinite(gap)
    if known.all():
        count = ours @ theirs.T
    else:
        gap = np.where(known, gap, 0.0)
        count = np.einsum('nj,mj,nmj->nm', ours, theirs, known)
    total = dot(gap * theirs, ours[:, None])
    size = np.maximum((a_size[:, None] + b_size) / 2, 1.0)
    return np.where(count >= 3, total / (np.maximum(count, 1) * size), np.nan)


def _complex(points):
    """(N, J, 2) -> (N, J): numbers whose distance is one call, and no loop of two."""
    return np.ascontiguousarray(points, dtype=np.float64).view(np.complex128)[..., 0]


def box_distance(a, b):
    """Distance of box middles as a share of the boxes' size: (N, 4), (M, 4) px -> (N, M)."""
    middle = np.linalg.norm((a[:, None, :2] + a[:, None, 2:] - b[None, :, :2] - b[None, :, 2:])
                            / 2, axis=-1)
    size = np.sqrt(box_area(a))[:, None] / 2 + np.sqrt(box_area(b))[None] / 2
    return middle / np.maximum(size, 1.0)


def box_area(boxes):
    """(N, 4) px -> (N,) px^2."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return sides[:, 0] * sides[:, 1]


def box_iou(a, b):
    """Intersection over union: (N, 4), (M, 4) -> (N, M)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inner = np.prod(np.maximum(high - low, 0), axis=-1)
    return inner / np.maximum(box_area(a)[:, None] + box_area(b)[None] - inner, 1e-9)


def image_cost(boxes, points, seen, boxes_new, points_new, seen_new):
    """Distance in the image as a share of the people's size, and of the sizes' logarithms.

    Args:
        boxes: (N, 4) px; points: (N, 17, 2) px, where they are expected; seen: (N, 17) bool.
        boxes_new, points_new, seen_new: of M people.

    Returns:
        (N, M).
    """
    sizes = np.sqrt(np.maximum(box_area(np.concatenate((boxes, boxes_new))), 1))
    size, size_new = sizes[:len(boxes)], sizes[len(boxes):]
    gap = keypoint_distance(points, seen, size, points_new, seen_new, size_new)
    known = np.isfinite(gap)
    if not known.all():
        gap = np.where(known, gap, box_distance(boxes, boxes_new))
    return gap + 0.5 * np.abs(np.log(size[:, None] / size_new[None]))


def plain(image):
    """The pairs where the image leaves no doubt: everybody is near one at most, and all others
    are far away.

    Args:
        image: (N, M) of :func:`image_cost`.

    Returns:
        list of (row, column), or None where there is doubt.
    """
    # plain numbers: for so few numpy takes longer
    near = [(row, column, cost) for row, costs in enumerate(image.tolist())
            for column, cost in enumerate(costs) if cost < _ELSEWHERE]
    if any(cost >= _HERE for _, _, cost in near) or any(
            len({pair[i] for pair in near}) < len(near) for i in (0, 1)):
        return None
    return [pair[:2] for pair in near]


def place_cost(bank, fresh, gap, joints, covariance):
    """Minus the log-likelihood of observed roots, given where the filters have them.

    What may differ is what the filter does not know, what is new in the image, and how far the
    error that stays has drifted since: by what time has passed, and by what the picture says of
    itself, as somebody half hidden is lifted with another error than before.

    Args:
        bank: FilterBank of N people. fresh: indices of those who were moved on to this image's
            time; the others are carried over ``gap`` (N,) s.
        joints: (M, 17, 3) m; covariance: (M, 17, 3, 3) m^2, NaN where not known.

    Returns:
        (N, M), about 0 where the place is right and well known; NaN where not known. Heavy-
        tailed (Student's t of 4 degrees): a picture may be lifted badly.
    """
    n = len(bank)
    root, own = bank.position[:, PELVIS].copy(), bank.own[:, PELVIS].copy()
    stale = np.ones(n, bool)
    stale[np.array(fresh, int)] = False
    stale = np.flatnonzero(stale)
    if len(stale):
        x, _, p = bank.carry(stale, gap[stale])
        root[stale], own[stale] = x[:, PELVIS], p[:, PELVIS]
    new, cov = joints[:, PELVIS], covariance[:, PELVIS]
    ray = root / np.maximum(np.linalg.norm(root, axis=-1, keepdims=True), 1e-9)   # (N, 3)
    line = ray[:, :, None] * ray[:, None, :]
    old_along, old_across = sigmas(bank.bias[:, PELVIS], line)
    along, across = sigmas(cov[None], line[:, None])                             # (N, M)
    forgotten = (-np.expm1(-gap / DRIFT))[:, None]
    total = own[:, None] + 1e-3 * np.eye(3)
    for old, now, part in ((old_along, along, line), (old_across, across, np.eye(3) - line)):
        old = old[:, None]
        drift = (old - now) ** 2 + (0.06 + 2 * forgotten) * old * now
        total = total + drift[..., None, None] * part.reshape(-1, 1, 3, 3)
    square, det = _square(new[None] - root[:, None], total)
    return 3.5 * np.log1p(square / 4) + 0.5 * np.log(det / _KNOWN ** 6)


def sigmas(cov, line):
    """Standard deviations along a ray and across it."""
    along = (cov * line).sum(axis=(-1, -2))
    across = (cov[..., 0, 0] + cov[..., 1, 1] + cov[..., 2, 2] - along) / 2
    return np.sqrt(np.maximum(along, 0)), np.sqrt(np.maximum(across, 0))


def combine(image, place, away, limit):
    """One cost (N, M): of the place where it is known, of the image while it is not long ago.

    Args:
        image, place: (N, M), see above. away: (N,) s since the person was seen.
        limit: cost at which a pair no longer matches.
    """
    away = away[:, None]
    sigma = 0.10 + 0.5 * away
    near = np.where(away < 0.35, 0.5 * np.minimum((image / sigma) ** 2, 25), 0)
    alone = limit * image / (1 + away) / 1.2
    return np.where(np.isfinite(place), np.maximum(place, -1) + near, alone)


def stature_cost(known, count, new, sigma=0.06):
    """Of people's bones, (N,) and (M,) m, NaN where not known: (N, M), 0 on average."""
    gap = np.log(known)[:, None] - np.log(new)[None]
    cost = 0.5 * np.minimum((gap / sigma) ** 2, 9) - 0.5
    return np.where(np.isfinite(cost) & (count >= 5)[:, None], cost, 0)


def appearance_cost(known, new, sigma=9.0):
    """Of appearances (N, D), (M, D) in units of Lab, NaN where not known: (N, M)."""
    gap = (known[:, None] - new[None]) ** 2
    count = np.isfinite(gap).sum(-1)
    mean = np.nansum(gap, -1) / np.maximum(count, 1)
    return np.where(count >= 3, np.minimum(0.5 * mean / sigma ** 2, 6) - 0.5, 0)


def mahalanobis(gap, cov):
    """Squared Mahalanobis distances: (..., 3), (..., 3, 3) -> (...), NaN where not known."""
    square, det = _square(gap, cov)
    return np.where(np.isfinite(square) & np.isfinite(det), square, np.nan)


def _square(gap, cov):
    """Squared Mahalanobis distances (...) of gaps (..., 3), and determinants (...) of symmetric
    covariances (..., 3, 3), by their minors; NaN where not known.
    """
    x, y, z = (gap[..., i] for i in range(3))
    xx, xy, xz = (cov[..., 0, i] for i in range(3))
    yy, yz, zz = cov[..., 1, 1], cov[..., 1, 2], cov[..., 2, 2]
    a, b, c = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
    det = xx * a + xy * b + xz * c
    square = (a * x * x + (xx * zz - xz * xz) * y * y + (xx * yy - xy * xy) * z * z
              + 2 * (b * x * y + c * x * z + (xy * xz - xx * yz) * y * z))
    return square / det, det


def match(cost, limit):
    """The one-to-one matching of least cost, where to leave a row apart costs ``limit``.

    Args:
        cost: (N, M), NaN where a pair is impossible.
        limit: a number, or (N,) of each row.

    Returns:
        list of (row, column).
    """
    cost = np.asarray(cost, dtype=float)
    if cost.size == 0:
        return []
    gain = cost - np.broadcast_to(limit, cost.shape[:1])[:, None]
    gain = np.where(gain < 0, gain, 0.0)      # 0 too where it is not known
    rows, columns = linear_sum_assignment(gain)
    return [(int(r), int(c)) for r, c in zip(rows, columns) if gain[r, c] < 0]

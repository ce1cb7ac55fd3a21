"""What markers show of people, as arrays: trust, ellipsoids, arrows."""

import numpy as np

from ..person import Source
from ..skeleton import NUM_JOINTS

AHEAD = 0.4           # s; an arrow ends where the joint would be then
#: How far joints of a source may be trusted.
_MOST = np.ones(max(Source) + 1)
_MOST[[Source.LIFTED, Source.PREDICTED]] = 0.2
_NEXT, _LAST = np.array([1, 2, 0]), np.array([2, 0, 1])
#: shaft @ this is shaft x y, but for the sign
_ACROSS_Y = np.array([[0.0, 0, 1], [0, 0, 0], [-1, 0, 0]])
_LONGEST = 1.5        # m; an ellipsoid or arrow is never drawn larger


def trust(people):
    """How far the joints may be trusted: (N, 17) in 0..1.

    A joint that is seen: its confidence in the image, doubled. One that is not, 0.2. A person that
    is only predicted: half of that.
    """
    if not people:
        return np.zeros((0, NUM_JOINTS))
    seen = 2 * np.array([p.keypoint_confidence for p in people], dtype=np.float64)
    out = np.maximum(seen, 0.2)        # 0.2 too where confidence is 0
    out = np.minimum(out, _MOST[np.array([p.source for p in people])])
    matched = [p.matched for p in people]
    return out if all(matched) else out * np.where(matched, 1.0, 0.5)[:, None]


def quaternions(rotation):
    """(..., 4) unit quaternions x y z w of rotations (..., 3, 3)."""
    r = np.asarray(rotation, dtype=np.float64)
    flat = r.reshape(-1, 9)
    # 4 q q^T, of which the row with the largest diagonal is the best conditioned
    rows = flat @ _QUATERNION
    rows += _ONE
    best = (flat @ _DIAGONAL).argmax(1)
    row = rows.reshape(-1, 4)[best + 4 * np.arange(len(flat))]
    row /= np.sqrt((row * row).sum(1, keepdims=True))
    return row.reshape(*r.shape[:-2], 4)


def _quaternion():
    """(9, 16) and (9, 4): the above as a linear map."""
    out, at = np.zeros((9, 4, 4)), {n: i for i, n in enumerate(
        ('xx', 'xy', 'xz', 'yx', 'yy', 'yz', 'zx', 'zy', 'zz'))}
    for i in range(4):
        for j, axis in enumerate(('xx', 'yy', 'zz')):
            out[at[axis], i, i] = 1.0 if i in (j, 3) else -1.0
    for i, j, plus, minus, sign in ((0, 1, 'yx', 'xy', 1), (0, 2, 'zx', 'xz', 1),
                                    (1, 2, 'zy', 'yz', 1), (0, 3, 'zy', 'yz', -1),
                                    (1, 3, 'xz', 'zx', -1), (2, 3, 'yx', 'xy', -1)):
        out[at[plus], i, j] = out[at[plus], j, i] = 1
        out[at[minus], i, j] = out[at[minus], j, i] = sign
    return out.reshape(9, 16), np.ascontiguousarray(out[:, range(4), range(4)])


_QUATERNION, _DIAGONAL = _quaternion()
_ONE = np.eye(4).ravel()


def ellipsoids(covariance, sigmas):
    """Axes of the ellipsoids of covariances.

    Args:
        covariance: (..., 3, 3) m^2; NaN where unknown.
        sigmas: standard deviations that the half axes are long.

    Returns:
        diameters (..., 3) m, at least 1 mm; quaternions (..., 4); NaN where unknown.
    """
    covariance = np.asarray(covariance, dtype=np.float64)
    known = np.isfinite(covariance.sum((-1, -2)))
    whole = known.all()
    if not whole:
        covariance = np.where(known[..., None, None], covariance, 0.0)
    values, vectors = np.linalg.eigh(covariance)
    b, c = vectors[..., 1], vectors[..., 2]
    # a rotation, no reflection
    vectors[..., 0] = b[..., _NEXT] * c[..., _LAST] - b[..., _LAST] * c[..., _NEXT]
    size = 2 * sigmas * np.sqrt(np.maximum(values, 0))
    size = np.minimum(np.maximum(size, 0.001), _LONGEST)
    q = quaternions(vectors)
    if not whole:
        size[~known], q[~known] = np.nan, np.nan
    return size, q


def arrows(joints, velocity):
    """Arrows of lines: a shaft, and two barbs at its end.

    Args:
        joints: (..., 3) m; velocity: (..., 3) m/s.

    Returns:
        (..., 6, 3) m: three segments; of no length where a velocity is unknown.
    """
    shaft = AHEAD * np.asarray(velocity, dtype=np.float64)
    square = (shaft * shaft).sum(-1)
    known = np.isfinite(square)
    if not known.all():
        shaft[~known], square[~known] = 0.0, 0.0
    if square.max(initial=0) > _LONGEST ** 2:
        shaft *= np.minimum(1.0, _LONGEST / np.sqrt(np.maximum(square, 1e-18)))[..., None]
        square = np.minimum(square, _LONGEST ** 2)
    out = np.zeros((*shaft.shape[:-1], 6, 3))
    across = out[..., 3, :]
    across[..., 0], across[..., 1] = 0.12 * shaft[..., 1], -0.12 * shaft[..., 0]   # shaft x z
    level = shaft[..., 2] ** 2 > 0.99 * square
    if level.any():
        across[level] = 0.12 * shaft[level] @ _ACROSS_Y
    barb = joints + 0.8 * shaft
    out[..., 5, :] = barb - across
    across += barb
    out[..., 0, :] = joints
    end = joints + shaft
    out[..., 1, :], out[..., 2, :], out[..., 4, :] = end, end, end
    return out

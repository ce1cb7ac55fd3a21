"""What markers show of people, as arrays: trust, ellipsoids, arrows."""

import numpy as np

from ..person import Source
from ..skeleton import NUM_JOINTS

AHEAD = 0.4           # s; an arrow ends where the joint would be then
_NEXT, _LAST = np.array([1, 2, 0]), np.array([2, 0, 1])
_LONGEST = 1.5        # m; an ellipsoid or arrow is never drawn larger


def trust(people):
    """How far the joints may be trusted: (N, 17) in 0..1.

    A joint that is seen: its confidence in the image, doubled. One that is not, 0.2. A person that
    is only predicted: half of that.
    """
    if not people:
        return np.zeros((0, NUM_JOINTS))
    seen = 2 * np.array([p.keypoint_confidence for p in people], dtype=np.float64)
    source = np.array([p.source for p in people])
    hidden = (source == Source.LIFTED) | (source == Source.PREDICTED) | (seen <= 0)
    out = np.where(hidden, 0.2, np.clip(seen, 0.2, 1.0))
    return out * np.array([1.0 if p.matched else 0.5 for p in people])[:, None]


def quaternions(rotation):
    """(..., 4) unit quaternions x y z w of rotations (..., 3, 3)."""
    r = np.asarray(rotation, dtype=np.float64)
    flat = r.reshape(*r.shape[:-2], 9)
    # 4 q q^T, of which the row with the largest diagonal is the best conditioned
    rows = (flat @ _QUATERNION).reshape(*r.shape[:-2], 4, 4)
    rows[..., _EACH, _EACH] += 1
    best = flat @ _DIAGONAL
    row = np.take_along_axis(rows, best.argmax(-1)[..., None, None], axis=-2)[..., 0, :]
    return row / np.sqrt((row * row).sum(-1, keepdims=True))


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
_EACH = np.arange(4)


def ellipsoids(covariance, sigmas):
    """Axes of the ellipsoids of covariances.

    Args:
        covariance: (..., 3, 3) m^2; NaN where unknown.
        sigmas: standard deviations that the half axes are long.

    Returns:
        diameters (..., 3) m, at least 1 mm; quaternions (..., 4); NaN where unknown.
    """
    covariance = np.asarray(covariance, dtype=np.float64)
    known = np.isfinite(covariance).all(axis=(-1, -2))
    values, vectors = np.linalg.eigh(np.where(known[..., None, None], covariance, 0.0))
    a, b, c = (vectors[..., i] for i in range(3))
    size = (a[..., _NEXT] * b[..., _LAST] - a[..., _LAST] * b[..., _NEXT]) * c
    vectors[..., 0] *= np.sign(size.sum(-1))[..., None]            # a rotation, no reflection
    size = np.clip(2 * sigmas * np.sqrt(np.maximum(values, 0)), 0.001, _LONGEST)
    q = quaternions(vectors)
    return np.where(known[..., None], size, np.nan), np.where(known[..., None], q, np.nan)


def arrows(joints, velocity):
    """Arrows of lines: a shaft, and two barbs at its end.

    Args:
        joints: (..., 3) m; velocity: (..., 3) m/s.

    Returns:
        (..., 6, 3) m: three segments; of no length where a velocity is unknown.
    """
    shaft = AHEAD * np.asarray(velocity, dtype=np.float64)
    shaft = np.where(np.isfinite(shaft).all(-1, keepdims=True), shaft, 0.0)
    length = np.sqrt((shaft * shaft).sum(-1, keepdims=True))
    shaft = shaft * np.minimum(1.0, _LONGEST / np.maximum(length, 1e-9))
    across, other = np.zeros(shaft.shape), np.zeros(shaft.shape)
    across[..., 0], across[..., 1] = shaft[..., 1], -shaft[..., 0]         # shaft x z
    other[..., 0], other[..., 2] = -shaft[..., 2], shaft[..., 0]
    level = np.sqrt((across * across).sum(-1, keepdims=True)) < 0.1 * length
    across = 0.12 * np.where(level, other, across)
    end, barb = joints + shaft, joints + 0.8 * shaft
    out = np.empty((*shaft.shape[:-1], 6, 3))
    out[..., 0, :], out[..., 1, :], out[..., 2, :], out[..., 4, :] = joints, end, end, end
    out[..., 3, :], out[..., 5, :] = barb + across, barb - across
    return out

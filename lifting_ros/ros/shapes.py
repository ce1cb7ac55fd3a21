"""What markers show of people, as arrays: trust, ellipsoids, arrows."""

import numpy as np

from ..person import Source
from ..skeleton import NUM_JOINTS

AHEAD = 0.4           # s; an arrow ends where the joint would be then
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
    r = np.asarray(rotation)
    xx, yy, zz = r[..., 0, 0], r[..., 1, 1], r[..., 2, 2]
    # squares of four times each component; the largest one is the safe divisor
    squares = np.stack((1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz, 1 + xx + yy + zz),
                       axis=-1)
    a, b, c = (r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0],
               r[..., 1, 0] - r[..., 0, 1])
    d, e, f = (r[..., 1, 0] + r[..., 0, 1], r[..., 0, 2] + r[..., 2, 0],
               r[..., 2, 1] + r[..., 1, 2])
    sx, sy, sz, sw = np.moveaxis(squares, -1, 0)
    rows = np.stack((np.stack((sx, d, e, a), -1), np.stack((d, sy, f, b), -1),
                     np.stack((e, f, sz, c), -1), np.stack((a, b, c, sw), -1)), axis=-2)
    best = squares.argmax(-1)[..., None, None]
    row = np.take_along_axis(rows, best, axis=-2)[..., 0, :]
    return row / np.linalg.norm(row, axis=-1, keepdims=True)


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
    vectors[..., 0] *= np.sign(np.linalg.det(vectors))[..., None]  # a rotation, no reflection
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
    length = np.linalg.norm(shaft, axis=-1, keepdims=True)
    shaft = shaft * np.minimum(1.0, _LONGEST / np.maximum(length, 1e-9))
    x, y, z = np.moveaxis(shaft, -1, 0)
    none = np.zeros_like(x)
    across = np.stack((y, -x, none), axis=-1)            # shaft x z
    level = np.linalg.norm(across, axis=-1, keepdims=True) < 0.1 * length
    across = np.where(level, np.stack((-z, none, x), axis=-1), across)
    end, barb = joints + shaft, joints + 0.8 * shaft
    return np.stack((joints, end, end, barb + 0.12 * across, end, barb - 0.12 * across), axis=-2)

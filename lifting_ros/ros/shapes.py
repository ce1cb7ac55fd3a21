"""What markers show of people, as arrays: trust, ellipsoids, arrows."""

import numpy as np

from ..matrices import SIX, principal_axes
from ..person import Source

AHEAD = 0.4           # s; an arrow ends where the joint would be then
#: How far joints of a source may be trusted.
_MOST = np.ones(max(Source) + 1)
_MOST[[Source.LIFTED, Source.PREDICTED]] = 0.2
_LONGEST = 1.5        # m; an ellipsoid or arrow is never drawn larger
_SUM = np.ones(3)


def _arrow(across):
    """(3, 18): a shaft times this are the six ends of an arrow's lines: the shaft, and its barbs
    on both sides, across the shaft by the cross product with an axis.
    """
    end, barb, aside = np.eye(3), 0.8 * np.eye(3), 0.12 * np.cross(np.eye(3), across)
    return np.concatenate((0 * end, end, end, barb + aside, end, barb - aside), 1)


_ARROW, _ARROW_UP = _arrow((0, 0, 1)), _arrow((0, 1, 0))     # the second for those along z


def trust(confidence, source, matched):
    """How far joints may be trusted.

    A joint that is seen: its confidence in the image, doubled. One that is not, 0.2. A person that
    is only predicted: half of that.

    Args:
        confidence: (N, 17) of the keypoints. source: (N, 17), Source of the joints. matched: list
            of N bool, whether the person was seen.

    Returns:
        (N, 17) in 0..1.
    """
    out = np.maximum(2 * confidence, 0.2)        # 0.2 too where confidence is 0
    out = np.minimum(out, _MOST.take(source))
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
        diameters (..., 3) m, at least 1 mm, in no order; quaternions (..., 4) of their axes; NaN
        where unknown.
    """
    covariance = np.asarray(covariance, dtype=np.float64)
    six = covariance.reshape(-1, 9).T.take(SIX, 0)
    known = np.isfinite(six.sum(0))
    whole = known.all()
    if not whole:
        six[:, ~known] = 0.0
    values, turns = principal_axes(six)
    size = 2 * sigmas * np.sqrt(np.maximum(values, 0))
    size = np.ascontiguousarray(np.minimum(np.maximum(size, 0.001), _LONGEST).T)
    if not whole:
        size[~known], turns[~known] = np.nan, np.nan
    shape = covariance.shape[:-2]
    return size.reshape(*shape, 3), turns.reshape(*shape, 4)


def arrows(joints, velocity):
    """Arrows of lines: a shaft, and two barbs at its end.

    Args:
        joints: (..., 3) m; velocity: (..., 3) m/s.

    Returns:
        (..., 6, 3) m: three segments; of no length where a velocity is unknown.
    """
    shaft = AHEAD * np.asarray(velocity, dtype=np.float64)
    square = (shaft * shaft) @ _SUM
    longest = square.max(initial=0)
    if not np.isfinite(longest):
        known = np.isfinite(square)
        shaft[~known], square[~known] = 0.0, 0.0
        longest = square.max(initial=0)
    if longest > _LONGEST ** 2:
        shaft *= np.minimum(1.0, _LONGEST / np.sqrt(np.maximum(square, 1e-18)))[..., None]
        square = np.minimum(square, _LONGEST ** 2)
    out = shaft @ _ARROW
    level = shaft[..., 2] ** 2 > 0.99 * square
    if level.any():
        out[level] = shaft[level] @ _ARROW_UP
    out = out.reshape(*shaft.shape[:-1], 6, 3)
    out += joints[..., None, :]
    return out

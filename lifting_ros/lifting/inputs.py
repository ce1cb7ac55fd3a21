"""What comes in, made safe: shapes, keypoint covariances, and what they mean for rays."""

import numpy as np

#: sigma of a keypoint whose covariance is not given: a part of the person's apparent size, and
#: pixels.
_KEYPOINT_SIGMA = (0.006, 2.0)


def rows(value, n, width, name):
    """A number, a vector or rows of them as (n,) or (n, width) float64; None is NaN."""
    shape = (n,) if width is None else (n, width)
    if value is None:
        return np.full(shape, np.nan)
    try:
        return np.broadcast_to(np.asarray(value, dtype=np.float64), shape)
    except ValueError:
        raise ValueError(f'{name} must be of shape {shape} or one for all, not '
                         f'{np.shape(value)}') from None


def keypoint_covariances(keypoints, given, seen):
    """Covariances of the keypoints (N, 17, 2, 2) px^2, the default where none is given."""
    xy = np.where(seen[..., None], keypoints, np.nan)
    low = np.where(seen[..., None], xy, np.inf).min(1)
    high = np.where(seen[..., None], xy, -np.inf).max(1)
    with np.errstate(invalid='ignore'):
        size = np.nan_to_num(np.linalg.norm(high - low, axis=-1), posinf=0)
    part, pixels = _KEYPOINT_SIGMA
    default = ((part * size) ** 2 + pixels ** 2)[:, None, None, None] * np.eye(2)
    default = np.broadcast_to(default, keypoints.shape[:2] + (2, 2))
    if given is None:
        return default
    given = np.asarray(given, dtype=np.float64)
    if given.shape != default.shape:
        raise ValueError(f'keypoint_covariance must be {default.shape}, not {given.shape}')
    a, b, c = given[..., 0, 0], (given[..., 0, 1] + given[..., 1, 0]) / 2, given[..., 1, 1]
    good = np.isfinite(given).all((-1, -2)) & (a > 0) & (c > 0) & (a * c > b * b)
    floor = 0.25 * np.eye(2)  # half a pixel: nothing is located better
    return np.where(good[..., None, None], given + floor, default)


def ray_covariances(rays, side, to_up, covariance, camera):
    """Covariance of rays in the two directions across them, radians^2: (B, 17, 2, 2).

    A pixel moves a ray by d(ray) = (I - d d^T) / |(x, y, 1)| times K^-1 of the step.
    """
    inverse = np.linalg.inv(camera.K[:2, :2])
    scale = rays[..., 2:3, None]  # 1 / |(x, y, 1)|
    camera_side = side @ to_up[:, None]
    jac = camera_side[..., :2] @ inverse * scale
    return jac @ covariance @ np.swapaxes(jac, -1, -2)

"""What comes in, made safe: shapes, keypoint covariances, and what they mean for rays."""

from dataclasses import dataclass, fields

import numpy as np

from ..camera import Camera
from .depth import DepthImage

#: sigma of a keypoint whose covariance is not given: a part of the person's apparent size, and
#: pixels.
_KEYPOINT_SIGMA = (0.006, 2.0)


@dataclass(frozen=True, eq=False)
class Sight:
    """What is known of N people, each with joints enough; optical frame.

    Args:
        rays: (N, 17, 3) unit, ``middle`` where not seen; middle: (N, 3) unit.
        weight: (N, 17) 0..1, 0 where not seen.
        covariance: (N, 17, 2, 2) px^2 of the keypoints.
        camera: Camera.
        up: (N, 3), stature: (N,) m, height: (N,) m of the camera over the ground: NaN unknown.
        depth: DepthImage or None.
    """

    rays: np.ndarray
    middle: np.ndarray
    weight: np.ndarray
    covariance: np.ndarray
    camera: Camera
    up: np.ndarray
    stature: np.ndarray
    height: np.ndarray
    depth: DepthImage | None

    def __len__(self):
        return len(self.rays)

    def __getitem__(self, index):
        return Sight(*(getattr(self, f.name) if f.name in ('camera', 'depth')
                       else getattr(self, f.name)[index] for f in fields(self)))

    def put(self, index, other):
        """Take people's rays, confidence and covariances from another, in place."""
        for name in ('rays', 'weight', 'covariance'):
            getattr(self, name)[index] = getattr(other, name)

    def angular(self):
        """Noise of the rays, (N, 17) radians."""
        c = self.covariance
        return np.sqrt((c[..., 0, 0] + c[..., 1, 1]) / 2) / self.camera.focal

    def gravity(self):
        """Unit vectors against gravity (N, 3), and whether it is known (N,)."""
        length = np.sqrt((np.clip(np.nan_to_num(self.up), -1e9, 1e9) ** 2).sum(1))
        known = np.isfinite(self.up).all(1) & (length > 1e-6)
        unit = self.up / np.where(known, length, 1.0)[:, None]
        return np.where(known[:, None], unit, [0.0, -1.0, 0.0]), known


@dataclass(frozen=True, eq=False)
class Answer:
    """What a way of lifting says of N people.

    Args:
        joints: (N, 17, 3) m, covariance: (N, 17, 3, 3) m^2, optical frame.
        fit: (N,) log-likelihood of the keypoints a seen joint; ok: (N,) whether it is a pose.
        by_depth: (N, 17) joints that depth measured; scale_source: (N,) ScaleSource.
    """

    joints: np.ndarray
    covariance: np.ndarray
    fit: np.ndarray
    ok: np.ndarray
    by_depth: np.ndarray
    scale_source: np.ndarray

    def __getitem__(self, index):
        return Answer(*(getattr(self, f.name)[index] for f in fields(self)))

    def __setitem__(self, index, other):
        for f in fields(self):
            getattr(self, f.name)[index] = getattr(other, f.name)


def covariance_rows(given, n, people):
    """The given keypoint covariances of some of n people, checked; None stays None."""
    if given is None:
        return None
    given = np.asarray(given, dtype=np.float64)
    if given.shape != (n, 17, 2, 2):
        raise ValueError(f'keypoint_covariance must be {(n, 17, 2, 2)}, not {given.shape}')
    return given[people]


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
    low = np.where(seen[..., None], keypoints, np.inf).min(1)
    high = np.where(seen[..., None], keypoints, -np.inf).max(1)
    with np.errstate(invalid='ignore'):
        size = np.sqrt(((high - low) ** 2).sum(-1))
    size = np.where(np.isfinite(size), size, 0)
    part, pixels = _KEYPOINT_SIGMA
    default = np.zeros(keypoints.shape[:2] + (2, 2))
    variance = ((part * size) ** 2 + pixels ** 2)[:, None]
    default[..., 0, 0] = default[..., 1, 1] = variance
    if given is None:
        return default
    a, b, c = given[..., 0, 0], (given[..., 0, 1] + given[..., 1, 0]) / 2, given[..., 1, 1]
    good = np.isfinite(given).all((-1, -2)) & (a > 0) & (c > 0) & (a * c > b * b)
    floor = 0.25 * np.eye(2)  # half a pixel: nothing is located better
    return np.where(good[..., None, None], given + floor, default)


def ray_noise(rays, side, to_up, covariance, camera):
    """Covariance of rays in the two directions across them, radians^2: (B, 17, 3) xx, xy, yy.

    A pixel moves a ray by d(ray) = (I - d d^T) / |(x, y, 1)| times K^-1 of the step.
    """
    (a, b), (c, d) = camera.K[:2, :2].tolist()
    inverse = np.array([[d, -b], [-c, a]]) / (a * d - b * c)
    n, j = rays.shape[:2]
    # 1 / |(x, y, 1)| is a ray's z
    jac = (side.reshape(n, 2 * j, 3) @ to_up)[..., :2] @ inverse
    jac = jac.reshape(n, j, 2, 2) * rays[..., 2:, None]
    xx, yy = covariance[..., 0, 0], covariance[..., 1, 1]
    xy = (covariance[..., 0, 1] + covariance[..., 1, 0]) / 2
    p, q, r, s = jac.reshape(n, j, 4).transpose(2, 0, 1)
    u, v = r * xx + s * xy, r * xy + s * yy
    out = np.empty((n, j, 3))
    out[..., 0] = p * p * xx + 2 * p * q * xy + q * q * yy
    out[..., 1] = p * u + q * v
    out[..., 2] = r * u + s * v
    return out


def ray_covariances(rays, side, to_up, covariance, camera):
    """:func:`ray_noise` as matrices (B, 17, 2, 2)."""
    return ray_noise(rays, side, to_up, covariance, camera)[..., [[0, 1], [1, 2]]]

"""A depth image beside the keypoints: how far the visible joints are (design.md 5.4).

A depth camera sees the skin or the clothes in front of a joint, or something else altogether: an
occluder before it, the wall behind it. So each joint has its own distance under the surface, and
only what agrees with the other joints on how far the person is counts.
"""

from dataclasses import dataclass

import numpy as np

from ..camera import Camera
from ..skeleton import INDEX

#: How far under the surface a joint is along the line of sight, and how that varies: metres for
#: a person of 1.7 m, measured on the body model's shapes in captured poses from all sides.
SURFACE = {
    'pelvis': (0.146, 0.040), 'hip': (0.094, 0.036), 'knee': (0.056, 0.015),
    'ankle': (0.039, 0.012), 'spine': (0.141, 0.045), 'neck': (0.081, 0.030),
    'nose': (0.0, 0.030), 'head_top': (0.014, 0.040), 'shoulder': (0.053, 0.016),
    'elbow': (0.036, 0.014), 'wrist': (0.021, 0.012)}
_OFFSET, _OFFSET_SIGMA = np.array([
    SURFACE[name.removeprefix('left_').removeprefix('right_')] for name in INDEX]).T
#: Half the side of the patch about a keypoint, metres on the person, and samples along it.
_PATCH, _SAMPLES = 0.02, 5
#: Share of a patch that must be valid.
_VALID = 0.4
#: Noise of depth images: metres, and metres a metre squared.
_NOISE = (0.004, 0.0025)
#: How far a joint of a lift without depth is off along the ray when the scale is right, metres.
_POSE_SIGMA = 0.09
#: How much too near a surface may be before it counts less, metres.
_FREE = 0.03
#: Log of the factor by which nobody is larger or smaller than expected.
_ABSURD = np.log(2.5)
#: Depths beyond this are not believed, metres.
_FARTHEST = 20.0


@dataclass(frozen=True, eq=False)
class DepthImage:
    """A depth image and where its camera is.

    Args:
        image: (H, W), depth along the optical axis: metres where floating, millimetres where
            integer; 0, negative and not finite are invalid.
        camera: :class:`~lifting_ros.camera.Camera` of the depth image; its resolution need not
            be that of the colour image.
        rotation: (3, 3), translation: (3,) metres: from the depth camera's optical frame into
            the colour camera's.

    Raises:
        ValueError: shapes that do not fit together.
    """

    image: np.ndarray
    camera: Camera
    rotation: np.ndarray | None = None
    translation: np.ndarray | None = None

    def __post_init__(self):
        image = np.asarray(self.image)
        if image.ndim != 2 or image.dtype.kind not in 'fui':
            raise ValueError('a depth image must be (H, W) of floating metres or whole '
                             f'millimetres, not {image.shape} {image.dtype}')
        if image.shape != (self.camera.height, self.camera.width):
            raise ValueError(f'the depth camera is calibrated for {self.camera.width}x'
                             f'{self.camera.height}, the depth image is {image.shape[1]}x'
                             f'{image.shape[0]}')
        rotation = np.eye(3) if self.rotation is None else np.asarray(self.rotation, float)
        translation = (np.zeros(3) if self.translation is None
                       else np.asarray(self.translation, float).reshape(-1))
        if rotation.shape != (3, 3) or translation.shape != (3,):
            raise ValueError('the depth camera\'s rotation must be (3, 3) and its translation '
                             f'(3,), not {rotation.shape} and {translation.shape}')
        if not (np.isfinite(rotation).all() and np.isfinite(translation).all()):
            raise ValueError('the depth camera\'s rotation and translation must be finite')
        object.__setattr__(self, 'image', image)
        object.__setattr__(self, 'rotation', rotation)
        object.__setattr__(self, 'translation', translation)

    @classmethod
    def of(cls, depth, camera):
        """A DepthImage of what a caller gives: one, an image registered to ``camera``, or
        (image, camera[, rotation, translation]); None stays None.
        """
        if depth is None or isinstance(depth, cls):
            return depth
        if isinstance(depth, (tuple, list)):
            return cls(*depth)
        return cls(depth, camera)

    def ranges(self, rays, expected):
        """Distances at which viewing rays meet what the depth camera sees.

        Args:
            rays: (..., 3) unit, the colour camera's optical frame.
            expected: (...) metres along each, where about the surface is: where to look, for a
                camera that stands elsewhere, and how large a patch is.

        Returns:
            range (...) m, NaN where unknown, and its sigma (...) m: that of the sensor and the
            spread over a patch.
        """
        near = np.clip(np.nan_to_num(expected, nan=1.0), 0.1, 100.0)
        elsewhere = self.translation.any() or not np.allclose(self.rotation, np.eye(3))
        distance, sigma = near, None
        for _ in range(3 if elsewhere else 1):
            point = (rays * distance[..., None] - self.translation) @ self.rotation
            pixel = self.camera.project(point)
            along = np.maximum(point[..., 2], 0.1)
            z, spread = self._patch(pixel, _PATCH * self.camera.focal / along)
            back = point / along[..., None] * z[..., None]
            found = (rays * (back @ self.rotation.T + self.translation)).sum(-1)
            sigma = np.sqrt((_NOISE[0] + _NOISE[1] * z ** 2) ** 2 + spread ** 2)
            distance = np.where(np.isfinite(found) & (found > 0.1), found, near)
        return np.where(found > 0.1, found, np.nan), sigma

    def _patch(self, pixel, radius):
        """Median of the valid depths about pixels (...), metres, and their robust spread."""
        step = np.linspace(-1, 1, _SAMPLES)
        grid = np.stack(np.meshgrid(step, step), -1).reshape(-1, 2)
        size = np.clip(radius, 1.0, 12.0)[..., None, None]
        at = np.rint(np.nan_to_num(pixel, nan=-1e6)[..., None, :] + size * grid)
        at = np.clip(at, -1, 1e6).astype(int)
        height, width = self.image.shape
        inside = (at >= 0).all(-1) & (at[..., 0] < width) & (at[..., 1] < height)
        z = self.image[np.where(inside, at[..., 1], 0), np.where(inside, at[..., 0], 0)]
        unit = 1.0 if z.dtype.kind == 'f' else 1e-3
        z = z.astype(np.float64) * unit
        with np.errstate(invalid='ignore'):
            good = inside & np.isfinite(z) & (z > 0.05) & (z < _FARTHEST)
        count = good.sum(-1)
        ordered = np.sort(np.where(good, z, np.inf), axis=-1)

        def quantile(q):
            index = np.clip(np.rint(q * (count - 1)).astype(int), 0, None)
            return np.take_along_axis(ordered, index[..., None], -1)[..., 0]

        known = count >= _VALID * good.shape[-1]
        middle = np.where(known, quantile(0.5), np.nan)
        with np.errstate(invalid='ignore'):
            spread = np.where(known, 0.74 * (quantile(0.75) - quantile(0.25)), np.nan)
        return middle, spread


def measure(depth, rays, predicted, confidence, scale):
    """What a depth image says of joints that a lift without it has placed.

    Args:
        depth: DepthImage.
        rays: (B, 17, 3) unit, optical frame.
        predicted: (B, 17) m, distance of each joint along its ray.
        confidence: (B, 17), 0 not seen.
        scale: (B,) sigma of the logarithm of the lift's scale.

    Returns:
        reach (B, 17) m of the joints (not the surface), its precision (B, 17) in 1/m^2, 0 where
        there is none or it contradicts the others, and the factor (B,) by which the person is
        farther than predicted.
    """
    found, sigma = depth.ranges(rays, predicted - _OFFSET)
    reach = found + _OFFSET
    with np.errstate(invalid='ignore'):
        known = (confidence > 0) & np.isfinite(reach) & np.isfinite(sigma)
    variance = np.where(known, sigma ** 2 + _OFFSET_SIGMA ** 2, 1.0)
    ratio = np.where(known, reach / np.maximum(predicted, 0.1), 1.0)
    log = np.log(np.maximum(ratio, 1e-3))
    # Each joint proposes a scale; the proposal that most others agree with is taken. Errors of
    # the pose along the rays are no contradiction.
    off = (reach[:, None] - predicted[:, None] * np.exp(log)[..., None]) ** 2  # (B, by, of)
    spread = variance + _POSE_SIGMA ** 2
    with np.errstate(invalid='ignore'):
        agree = np.where(known[:, None], np.exp(-0.5 * np.where(
            known[:, None], off, 0) / spread[:, None]), 0).sum(-1)
    away = np.abs(log) / np.maximum(scale, 0.03)[:, None]
    # a scale that is likely beforehand is worth some joints
    vote = np.where(known, agree + 3 * np.exp(-0.125 * away ** 2), -1)
    best = vote.argmax(1)
    rows = np.arange(len(best))
    close = known & (off[rows, best] < 9 * spread)
    # what few joints say against the scale that is known is an occluder, or the wall
    count, seen = close.sum(1), known.sum(1)
    far = away[rows, best] > 4
    doubt = (count < np.maximum(1, 0.25 * seen)) | (far & (count < np.maximum(5, 0.7 * seen)))
    doubt |= np.abs(log[rows, best]) > _ABSURD
    close &= ~doubt[:, None]
    # limbs hide what is behind them, and nothing is seen through: too near is worth less
    short = np.where(close, predicted * np.exp(log[rows, best])[:, None] - reach, 0)
    variance = variance * (1 + (np.maximum(short - _FREE, 0) / _FREE) ** 2)
    weight = np.where(close, 1 / variance, 0.0)
    total = np.maximum((weight * predicted ** 2).sum(1), 1e-12)
    factor = np.where(close.any(1), (weight * predicted * np.where(close, reach, 0)).sum(1)
                      / total, 1.0)
    return np.where(close, reach, 0.0), weight, factor


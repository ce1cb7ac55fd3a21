"""The camera: from pixels to viewing rays and back, and the crops that are cameras too.

Optical frame: x right, y down, z forward (REP-103). Pixel centres are at integers.
"""

from dataclasses import dataclass

import cv2
import numpy as np

#: Distortion models of sensor_msgs/CameraInfo and how many numbers D may have.
DISTORTION_MODELS = {
    'plumb_bob': (0, 4, 5),
    'rational_polynomial': (0, 4, 5, 8, 12, 14),
    'equidistant': (0, 4),
}


class CameraError(ValueError):
    """A calibration that cannot be used; the message says what is wrong and what to do."""


@dataclass(frozen=True, eq=False)
class Camera:
    """A calibrated camera.

    Args:
        K: (3, 3) or 9 numbers, intrinsics in pixels.
        width, height: size in pixels of the image that K speaks of.
        D: distortion coefficients as in sensor_msgs/CameraInfo, or None.
        model: a key of :data:`DISTORTION_MODELS`.

    Raises:
        CameraError: K all zero (not calibrated), not finite, or with a focal length that is not
            positive; D of a length that the model does not have; an unknown model.
    """

    K: np.ndarray
    width: int
    height: int
    D: np.ndarray | None = None
    model: str = 'plumb_bob'

    def __post_init__(self):
        k = np.asarray(self.K, dtype=np.float64)
        if k.size != 9:
            raise CameraError(f'K has {k.size} numbers; 9 are needed')
        k = k.reshape(3, 3)
        if not np.isfinite(k).all():
            raise CameraError('K has numbers that are not finite')
        if not k.any():
            raise CameraError('K is all zero: the camera is not calibrated. Calibrate it '
                              '(camera_calibration) or let its driver publish a CameraInfo '
                              'with intrinsics')
        if k[0, 0] <= 0 or k[1, 1] <= 0:
            raise CameraError(f'focal lengths must be positive, K has fx={k[0, 0]:g}, '
                              f'fy={k[1, 1]:g}')
        if int(self.width) <= 0 or int(self.height) <= 0:
            raise CameraError(f'image size {self.width}x{self.height} is not positive')
        d = np.zeros(0) if self.D is None else np.asarray(self.D, dtype=np.float64).ravel()
        if self.model not in DISTORTION_MODELS:
            raise CameraError(f'unknown distortion model {self.model!r}; known: '
                              + ', '.join(DISTORTION_MODELS))
        if d.size not in DISTORTION_MODELS[self.model]:
            raise CameraError(f'{self.model} has {DISTORTION_MODELS[self.model]} coefficients, '
                              f'D has {d.size}')
        if not np.isfinite(d).all():
            raise CameraError('D has numbers that are not finite')
        object.__setattr__(self, 'K', k)
        object.__setattr__(self, 'D', d if d.any() else None)
        object.__setattr__(self, 'width', int(self.width))
        object.__setattr__(self, 'height', int(self.height))

    @classmethod
    def from_fov(cls, width, height, fov=0.96):
        """A pinhole camera whose longer image side spans ``fov`` radians (55 degrees)."""
        f = max(width, height) / 2 / np.tan(fov / 2)
        return cls([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1]], width, height)

    @property
    def focal(self):
        """Mean focal length in pixels."""
        return float((self.K[0, 0] + self.K[1, 1]) / 2)

    def normalise(self, pixels):
        """Undistorted image coordinates (x/z, y/z) of pixels.

        Args:
            pixels: (..., 2) px; NaN passes through as NaN.

        Returns:
            (..., 2), float64, no unit.
        """
        pixels = np.asarray(pixels, dtype=np.float64)
        fx, fy, cx, cy, skew = (self.K[i] for i in ((0, 0), (1, 1), (0, 2), (1, 2), (0, 1)))
        y = (pixels[..., 1] - cy) / fy
        xy = np.stack(((pixels[..., 0] - cx - skew * y) / fx, y), axis=-1)
        if self.D is None:
            return xy
        # Fixed-point iteration on the forward model: to 1e-9 where OpenCV's own undistortPoints
        # stops after five steps.
        out = self._straight(xy) if self.model == 'equidistant' else xy.copy()
        for _ in range(40):
            out += xy - self._distort(out)
        bad = np.abs(self._distort(out) - xy).max(axis=-1) > 1e-4  # outside the model's range
        out[bad] = np.nan
        return out

    def _straight(self, xy):
        """Undistorted coordinates of an equidistant lens: the angle by Newton's method, for the
        iteration that serves the other models crawls beyond 60 degrees.
        """
        far = np.linalg.norm(xy, axis=-1)
        angle = np.minimum(far, 1.5)
        for _ in range(12):
            s = angle ** 2
            k1, k2, k3, k4 = self.D
            value = angle * (1 + s * (k1 + s * (k2 + s * (k3 + s * k4)))) - far
            slope = 1 + s * (3 * k1 + s * (5 * k2 + s * (7 * k3 + s * 9 * k4)))
            angle = np.clip(angle - value / np.where(np.abs(slope) > 1e-6, slope, 1.0), 0, 1.55)
        scale = np.where(far > 1e-9, np.tan(angle) / np.maximum(far, 1e-9), 1.0)
        return xy * scale[..., None]

    def rays(self, pixels):
        """Unit viewing rays of pixels.

        Args:
            pixels: (..., 2) px, NaN where unknown.

        Returns:
            (..., 3) unit vectors in the optical frame, float64; NaN where the pixel is.
        """
        xy = self.normalise(pixels)
        ray = np.concatenate((xy, np.ones_like(xy[..., :1])), axis=-1)
        return ray / np.linalg.norm(ray, axis=-1, keepdims=True)

    def project(self, points):
        """Pixels of points.

        Args:
            points: (..., 3) m, optical frame.

        Returns:
            (..., 2) px, float64; NaN for points not in front of the camera.
        """
        points = np.asarray(points, dtype=np.float64)
        z = np.where(points[..., 2] > 1e-9, points[..., 2], np.nan)
        xy = points[..., :2] / z[..., None]
        if self.D is not None:
            xy = self._distort(xy)
        x = self.K[0, 0] * xy[..., 0] + self.K[0, 1] * xy[..., 1] + self.K[0, 2]
        y = self.K[1, 1] * xy[..., 1] + self.K[1, 2]
        return np.stack((x, y), axis=-1)

    def _distort(self, xy):
        flat = xy.reshape(-1, 2)
        known = np.isfinite(flat).all(axis=1)
        out = np.full_like(flat, np.nan)
        if known.any():
            if self.model == 'equidistant':
                out[known] = cv2.fisheye.distortPoints(flat[known][:, None], np.eye(3),
                                                       self.D)[:, 0]
            else:
                ones = np.concatenate((flat[known], np.ones((known.sum(), 1))), axis=1)
                out[known] = cv2.projectPoints(ones, np.zeros(3), np.zeros(3), np.eye(3),
                                               self.D)[0][:, 0]
        return out.reshape(xy.shape)

    def scaled(self, width, height):
        """The same camera with the image resized to width x height pixels."""
        sx, sy = width / self.width, height / self.height
        # pixel centres are at integers: the left edge of the image is at -0.5
        a = np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]])
        return Camera(a @ self.K, width, height, self.D, self.model)


def crop_transform(boxes, size, margin=1.25):
    """Square crops about boxes, as affine maps from image pixels to crop pixels.

    A crop is a square about the box's middle whose side is ``margin`` times the longer side of
    the box, scaled to ``size`` pixels. With x' = scale * x + offset a crop is a camera too:
    K' = [[scale, 0, offset_x], [0, scale, offset_y], [0, 0, 1]] K.

    Args:
        boxes: (N, 4) x0 y0 x1 y1, px.
        size: side of the crop, px.

    Returns:
        scale (N,), offset (N, 2), float64.
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    side = margin * np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    scale = size / np.maximum(side, 1e-6)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    offset = (size - 1) / 2 - scale[:, None] * middle
    return scale, offset

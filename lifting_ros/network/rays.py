"""Between belief maps and what a camera sees of a pose: peaks, their viewing rays, and back.

Rays and joints are in a frame x forward, y left, z up with the camera at its origin.
"""

import math

import torch
import torch.nn.functional as F

from .decode import windows

_FOV = 0.96             # rad a crop is taken to span where its camera is not known (55 degrees)
_WINDOW = 5             # cells about the maximum that make the soft peak
#: Accuracy of a peak in statures: a 64th of the crop's side, of which a person spans 0.8.
SIGMA = 1.0 / 64 / 0.8


def soft_peaks(belief):
    """Expected position in a window about the maximum, and the maximum.

    Args:
        belief: (N, J, h, w) in 0..1.

    Returns:
        xy (N, J, 2) cells, weight (N, J).
    """
    values, top, place, offsets = windows(belief, _WINDOW)
    moments = values @ F.pad(offsets, (0, 1), value=1.0)
    return place + moments[..., :2] / (moments[..., 2:] + 1e-6), top


def span(size):
    """Focal length and principal point x, y in px that a crop of ``size`` px is taken to have."""
    return size / 2 / math.tan(_FOV / 2), (size - 1) / 2, (size - 1) / 2


def rays_of(cells, size, camera=None, stride=4):
    """Unit viewing rays of cells, in a frame x forward, y left, z up.

    Args:
        cells: (N, J, 2) x, y.
        size: side of the crop in px.
        camera: (N, 3) focal length and principal point in px, or None for a crop of 55 degrees.
        stride: px a cell.

    Returns:
        (N, J, 3) unit vectors, focal length (N or 1, 1) px, principal point (N or 1, 1, 2) px.
    """
    if camera is None:
        focal, middle, _ = span(size)
        focal, middle = cells.new_full((1, 1), focal), cells.new_full((1, 1, 2), middle)
    else:
        focal, middle = camera[:, :1], camera[:, None, 1:]
    across = (middle - (stride - 1) / 2 - stride * cells) / focal[..., None]
    ray = F.pad(across, (1, 0), value=1.0)
    return ray / torch.sqrt((ray * ray).sum(2, keepdim=True)), focal, middle


def cells_of(points, depth, focal, middle, stride):
    """Where points are seen: the way back from :func:`rays_of`.

    Args:
        points: (N, J, 3) in the rays' frame; depth: (N, J, 1) what stands for their x, above 0.
        focal, middle: as :func:`rays_of` gives them.
        stride: px a cell.

    Returns:
        (N, J, 2) cells x, y.
    """
    middle = middle - (stride - 1) / 2
    return (middle - focal[..., None] * points[..., 1:] / depth) / stride


def optical(points):
    """Points (..., 3) of the rays' frame in the camera's optical frame."""
    return torch.stack((-points[..., 1], -points[..., 2], points[..., 0]), -1)

"""From belief maps to keypoints: sub-pixel peak, confidence and a 2x2 covariance."""

import torch
import torch.nn.functional as F

from .constants import constant, take

_BLUR = 5       # cells over which a map is averaged before its maximum is looked for
_WINDOW = 7     # cells about the maximum for the position
_SPREAD = 17    # cells about the maximum for the covariance


#: Confidence at which a map's second moments are as wide as the keypoint's error is; below it the
#: error is wider, in proportion (measured on rendered people that were kept out of training).
_FAIR = 0.25
_MOST = 30.0


def calibrated(covariance, confidence):
    """Covariance that holds its promise: a faint map is wrong more often than it is wide.

    Args:
        covariance: (N, J, 2, 2) second moments; confidence: (N, J).

    Returns:
        (N, J, 2, 2).
    """
    factor = (_FAIR / confidence.clamp(min=1e-3)).clamp(max=_MOST)
    return covariance * factor[..., None, None]


def windows(belief, size, by=None):
    """Beliefs about the maximum of each map.

    Args:
        belief: (N, J, h, w); size: cells, odd.
        by: maps (N, J, h, w) whose maxima are taken instead of the beliefs' own.

    Returns:
        values (N, J, size * size), zero beyond the map, rows of y; maximum (N, J); its place
        (N, J, 2) x, y; offsets (size * size, 2) x, y of the values from it.
    """
    by = belief if by is None else by
    w = int(belief.shape[3])
    half, wide = size // 2, w + size - 1
    # the best row, then the best of it: a runtime's search of a whole map takes ten times as long
    rows = by.amax(3)
    y = rows.detach().argmax(2)
    row = by.gather(2, y[..., None, None].expand(-1, -1, -1, w))[:, :, 0]
    x = row.detach().argmax(2)
    step = torch.arange(size, device=belief.device)
    # a margin of zeros all about: nothing has to be asked of what is within
    first = wide * y + x
    at = first[..., None] + (wide * step[:, None] + step).flatten()
    values = F.pad(belief, (half,) * 4).flatten(2).gather(2, at)
    place = torch.stack((x, y), 2).to(belief.dtype)
    around = (step - half).to(belief.dtype)
    offsets = torch.stack((around.repeat(size), around.repeat_interleave(size)), 1)
    return values, rows.amax(2), place, offsets


def _moments(values, offsets):
    """Mass, mean (..., 2) about the maximum, and second central moments xx, xy, yy (..., 3)."""
    x, y = offsets.unbind(1)
    powers = torch.stack((torch.ones_like(x), x, y, x * x, x * y, y * y), 1)
    sums = values @ powers
    sums = sums / (sums[..., :1] + 1e-9)
    mean = sums[..., 1:3]
    return mean, sums[..., 3:] - _products(mean)


def _products(xy):
    """xx, xy, yy (..., 3) of (..., 2)."""
    x, y = xy.split(1, -1)
    return torch.cat((x * xy, y * y), -1)


def decode(belief, stride=4):
    """Keypoints of belief maps.

    Args:
        belief: (N, J, h, w) in 0..1.
        stride: px of the crop a cell.

    Returns:
        xy (N, J, 2) px of the crop (centres at integers), confidence (N, J), covariance
        (N, J, 2, 2) px^2: the second moments of the belief about its peak, so a map of two
        equal peaks says so.
    """
    belief = belief.float()
    # a joint is where most belief is gathered, which need not be at the sharpest peak: of 500
    # athletes of the training 0.7 % more joints are right so, of everyday people as many
    gathered = F.avg_pool2d(belief, _BLUR, 1, _BLUR // 2)
    values, _, place, offsets = windows(belief, _WINDOW, gathered)
    confidence = values.amax(2)
    # a level of the maximum off: the window's edge must not pull at the mean
    values = (values - 0.1 * confidence[..., None]).clamp(min=0) + 1e-9 * values
    peak, _ = _moments(values, offsets)
    wide, _, _, offsets = windows(belief, _SPREAD, gathered)
    mean, spread = _moments((wide - 0.1 * confidence[..., None]).clamp(min=0), offsets)
    spread = spread + _products(mean - peak) + constant((1 / 12, 0.0, 1 / 12), belief)
    covariance = take(spread, (0, 1, 1, 2)).unflatten(2, (2, 2))
    return stride * (place + peak) + (stride - 1) / 2, confidence, covariance * stride ** 2

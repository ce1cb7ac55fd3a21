"""From belief maps to keypoints: sub-pixel peak, confidence and a 2x2 covariance."""

import torch

_WINDOW = 5     # cells about the maximum for the position
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


def _patches(belief, index, size):
    n, j, h, w = belief.shape
    half = size // 2
    offsets = torch.arange(-half, half + 1, device=belief.device)
    xs = index[..., None] % w + offsets                                   # (N, J, size)
    ys = torch.div(index, w, rounding_mode='floor')[..., None] + offsets
    inside = ((xs >= 0) & (xs < w))[:, :, None] & ((ys >= 0) & (ys < h))[..., None]
    flat = ys.clamp(0, h - 1)[..., None] * w + xs.clamp(0, w - 1)[:, :, None]
    values = belief.flatten(2).gather(2, flat.flatten(2)).view(n, j, size, size)
    return values * inside, xs.to(belief.dtype), ys.to(belief.dtype)


def _moments(values, xs, ys):
    mass = values.sum((2, 3)) + 1e-9
    along, down = values.sum(2), values.sum(3)                            # (N, J, size)
    x = (along * xs).sum(2) / mass
    y = (down * ys).sum(2) / mass
    dx, dy = xs - x[..., None], ys - y[..., None]
    xx = (along * dx ** 2).sum(2) / mass
    yy = (down * dy ** 2).sum(2) / mass
    xy = (values * dx[:, :, None] * dy[..., None]).sum((2, 3)) / mass
    return x, y, xx, yy, xy


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
    confidence, index = belief.flatten(2).max(2)
    values, xs, ys = _patches(belief, index, _WINDOW)
    # a level of half the maximum off: the window's edge must not pull at the mean
    values = (values - 0.3 * confidence[..., None, None]).clamp(min=0) + 1e-9 * values
    x, y, *_ = _moments(values, xs, ys)
    wide, xs, ys = _patches(belief, index, _SPREAD)
    wide = (wide - 0.1 * confidence[..., None, None]).clamp(min=0)
    mx, my, xx, yy, xy = _moments(wide, xs, ys)
    dx, dy = mx - x, my - y
    covariance = torch.stack((xx + dx * dx + 1 / 12, xy + dx * dy,
                              xy + dx * dy, yy + dy * dy + 1 / 12), -1)
    xy_px = stride * torch.stack((x, y), -1) + (stride - 1) / 2
    return xy_px, confidence, covariance.view(*x.shape, 2, 2) * stride ** 2

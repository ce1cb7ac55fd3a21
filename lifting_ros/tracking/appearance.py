"""What people wear, in six numbers: the colours of trunk and legs, by which they are told apart
when places do not tell.
"""

import cv2
import numpy as np

from ..skeleton import INDEX

#: Numbers of an appearance: L* a* b* of the trunk, then of the thighs.
NUM_LOOKS = 6
_TRUNK = tuple(INDEX[n] for n in ('right_shoulder', 'left_shoulder', 'right_hip', 'left_hip'))
_LEGS = tuple((INDEX[f'{s}_hip'], INDEX[f'{s}_knee']) for s in ('right', 'left'))
_U, _V = (g.ravel() for g in np.meshgrid(np.linspace(0.15, 0.85, 6), np.linspace(0.1, 0.85, 7)))
_ALONG = np.linspace(0.25, 0.95, 12)[:, None]


def describe(image, keypoints, confidence, least=0.2):
    """Median colours, L* a* b*, of trunk and thighs.

    Args:
        image: (H, W, 3) uint8 BGR.
        keypoints: (N, 17, 2) px; confidence: (N, 17): parts of which a keypoint is below
            ``least`` are not known.

    Returns:
        (N, 6), NaN where not known or outside of the image.
    """
    n = len(keypoints)
    if n == 0:
        return np.zeros((0, 6))
    a, b, c, d = (keypoints[:, j, None] for j in _TRUNK)
    u, v = _U[:, None], _V[:, None]
    trunk = (1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * c + u * d)     # (N, 42, 2)
    legs = np.concatenate([keypoints[:, i, None] + _ALONG * (keypoints[:, j] - keypoints[:, i])[
        :, None] for i, j in _LEGS], 1)                                       # (N, 24, 2)
    at = np.concatenate((trunk, legs), 1)
    height, width = image.shape[:2]
    with np.errstate(invalid='ignore'):
        inside = ((at >= 0) & (at <= [width - 1, height - 1])).all(-1)
    x, y = np.where(inside[..., None], np.rint(np.nan_to_num(at)), 0).astype(int).T
    colour = image[y.T, x.T].astype(np.float32) / 255                          # (N, 66, 3)
    lab = cv2.cvtColor(colour, cv2.COLOR_BGR2Lab).astype(np.float64)
    lab[~inside] = np.nan
    out = np.full((n, 6), np.nan)
    known = (confidence[:, list(_TRUNK)] >= least).all(1), (
        confidence[:, [j for pair in _LEGS for j in pair]] >= least).all(1)
    for part, at, good in ((slice(0, 42), slice(0, 3), known[0]),
                           (slice(42, 66), slice(3, 6), known[1])):
        good = good & (inside[:, part].mean(1) > 0.5)
        if good.any():
            out[good, at] = np.nanmedian(lab[good, part], 1)
    return out

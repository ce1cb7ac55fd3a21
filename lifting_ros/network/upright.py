"""A second look at people who are not upright in the picture: their crop by quarter turns.

Pictures are mostly of people on their feet, so the network knows those who lie or stand on
their hands less well. Turned upright they look like the others.
"""

import numpy as np
import torch

from ..skeleton import INDEX

#: By how much surer (mean confidence) the turned look has to be: where the trunk was seen wrong.
SURER = 0.05
_NECK, _PELVIS = INDEX['neck'], INDEX['pelvis']
#: One quarter turn counter-clockwise, undone: x right, y down.
_BACK = np.stack([np.linalg.matrix_power(np.array([[0.0, -1], [1, 0]]), k) for k in range(4)])


def quarter_turns(xy):
    """Quarter turns counter-clockwise that set each person's trunk upright.

    Args:
        xy: (N, 17, 2) px.

    Returns:
        (N,) integers 0 to 3; 0 where the trunk is within 45 degrees of upright already.
    """
    up = xy[:, _NECK] - xy[:, _PELVIS]
    return np.rint(np.arctan2(up[:, 0], -up[:, 1]) / (np.pi / 2)).astype(int) % 4


def turned(crops, turns):
    """Crops (N, 3, S, S) turned counter-clockwise by (N,) quarter turns."""
    return torch.stack([torch.rot90(c, int(k), (1, 2)) for c, k in zip(crops, turns, strict=True)])


def turned_back(xy, covariance, turns, size):
    """Keypoints of turned crops in the crops as they were.

    Args:
        xy: (N, 17, 2) px; covariance: (N, 17, 2, 2) px^2; turns: (N,) that were made; size: side
        of the crops, px.

    Returns:
        xy, covariance.
    """
    back = _BACK[turns][:, None]                                             # (N, 1, 2, 2)
    middle = (size - 1) / 2
    xy = (back @ (xy - middle)[..., None])[..., 0] + middle
    return xy, back @ covariance @ np.swapaxes(back, -1, -2)

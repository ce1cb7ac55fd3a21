"""Turns of the rays' frame (x forward, y left, z up), as matrices of few operations."""

import numpy as np
import torch

from ..skeleton import INDEX, NUM_JOINTS
from .constants import constant, frozen


def _turn_parts(axis):
    along = np.diag(np.eye(3)[axis])
    cross = np.zeros((3, 3))
    p, q = (axis + 1) % 3, (axis + 2) % 3
    cross[p, q], cross[q, p] = 1, -1
    return tuple(frozen(part) for part in (along, np.eye(3) - along, cross))


_PARTS = tuple(_turn_parts(axis) for axis in range(3))
#: (17, 3): what of the joints makes the trunk's direction in the picture.
_ENDS = np.zeros((NUM_JOINTS, 3))
_ENDS[INDEX['neck'], 1:], _ENDS[INDEX['pelvis'], 1:] = 1, -1
_ENDS = frozen(_ENDS)


def rotation(angle, axis):
    """Turn of the frame about one of its axes: what was ahead is then at -angle.

    Args:
        angle: (..., 2) cosine and sine; axis: 0, 1 or 2.

    Returns:
        (..., 3, 3).
    """
    along, across, cross = _parts(axis, angle)
    return along + angle[..., :1, None] * across + angle[..., 1:, None] * cross


def _parts(axis, like):
    """(3, 3) each: what a turn about an axis keeps, its cosine's and its sine's share."""
    return tuple(constant(part, like) for part in _PARTS[axis])


def upright_turn(rays):
    """The turn about the optical axis that sets the trunk upright: (N, 3, 3)."""
    up = (rays.detach() * constant(_ENDS, rays)).sum(1)                    # (N, 3), x is 0
    up = up / (torch.sqrt((up ** 2).sum(1, keepdim=True)) + 1e-9)
    # rotation() about x by cosine up_z and sine -up_y, as one product
    along, across, cross = _parts(0, rays)
    turn = torch.stack((0 * cross, -cross, across)).flatten(1)
    return (up @ turn + along.flatten()).view(-1, 3, 3)

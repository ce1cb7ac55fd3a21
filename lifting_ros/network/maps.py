"""Belief maps as every network of the family gives them."""

from typing import NamedTuple

import torch

#: What there are maps of outside the seventeen joints.
EXTRAS = ('left_eye', 'right_eye', 'left_ear', 'right_ear')
_FLOOR = 1e-4   # beliefs are kept off 0 and 1 by this when turned into logits


class Maps(NamedTuple):
    """What a network returns for N crops; h = H / 4, w = W / 4, of a ``cpm`` an eighth."""

    logits: list         # per stage (N, 18, h, w): 17 joints and background, before the sigmoid
    extras: torch.Tensor     # (N, 4, h, w) logits of eyes and ears
    coarse: torch.Tensor     # (N, 17, 2) cells x, y: where the regression says each joint is
    centre: torch.Tensor     # (N, 1, h, w) logits: is a person centred here
    lifts: list          # per lift (N, 17, 3) in statures, camera frame; empty when off
    fused: list          # per lift (N, 17, h, w): what the next stage was given
    projected: list      # per lift (N, 17, h, w): the 3D pose drawn as maps


def logit(b):
    """Inverse of the sigmoid, finite."""
    b = b.clamp(_FLOOR, 1 - _FLOOR)
    return torch.log(b / (1 - b))


def grid(h, w, like):
    """Cell indices: x (w,) and y (h,) as floats on the device of ``like``."""
    return (torch.arange(w, device=like.device, dtype=torch.float32),
            torch.arange(h, device=like.device, dtype=torch.float32))

"""The learned density in torch: twin of ``lifting/density.py``, in the frame of the mean ray.

What numpy does step by step to a network's output and to that of the mirror image (mirror back,
average, make pelvis and spine the middles of others) is linear, and is in the weights here.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..lifting.believe import SKELETON
from ..lifting.density import INPUTS, MOST, mirrored_inputs
from ..lifting.linear import MADE
from ..skeleton import MIRROR, NUM_JOINTS

_SIZE = 3 * NUM_JOINTS


def table(values):
    """An array as a single precision tensor, for a buffer."""
    return torch.as_tensor(np.asarray(values, dtype=np.float32))


class Density(nn.Module):
    """Poses given rays.

    Args:
        density: :class:`~lifting_ros.lifting.density.RayDensity`.
    """

    def __init__(self, density):
        super().__init__()
        self.rank = 2 * density.rank     # the plain image's directions and the mirror image's

        def layer(name):
            """Weights and in the last column the bias."""
            return np.column_stack((density.layers[f'{name}.weight'],
                                    density.layers[f'{name}.bias'])).astype(float)

        first = layer('first')
        mirrored = first.copy()
        mirrored[:, :-1] = first[:, :-1] @ mirrored_inputs(np.eye(INPUTS)).T
        self.width = len(first)
        self.first = _linear(np.concatenate((first, mirrored)))
        self.blocks = nn.ModuleList(
            nn.ModuleList(_linear(layer(f'blocks.{i}.{k}')) for k in range(2))
            for i in range(density.blocks))
        self.last = _linear(_both_ways(layer('last'), density.rank))
        self.register_buffer('most', table(MOST))

    def features(self, local, weight, spread, view):
        """The network's inputs.

        Args:
            local: (B, 17, 3) unit rays, ahead along the mean one.
            weight: (B, 17, 1) confidence, 0 not seen.
            spread: (B, 17, 1) variance of the rays, radians^2.
            view: (B, 3) sine and cosine of the mean ray's elevation, and 1: where gravity is
                known, 0 where it is not.

        Returns:
            (B, INPUTS).
        """
        seen = (weight > 0).to(local.dtype)
        count = seen.sum(1, keepdim=True).clamp_min(1)                          # (B, 1, 1)
        flat = local[..., 1:] / local[..., :1].clamp_min(0.1)
        middle = seen.mT @ torch.cat((flat, spread), 2) / count                 # (B, 1, 3)
        flat = (flat - middle[..., :2]) * seen
        size = (flat.square().sum((1, 2), keepdim=True) / count).sqrt() + 1e-6
        noise = middle[..., 2:].sqrt() / size
        joints = torch.cat((flat / size, weight), 2).flatten(1)
        inputs = torch.cat((joints, size[:, 0].log() + 2, view,
                            (noise[:, 0] + 1e-3).log() + 4), 1)
        return torch.clamp(inputs, -self.most, self.most)

    def forward(self, local, weight, spread, view):
        """The density of each person's pose, of :meth:`features`'s arguments.

        Returns:
            mean (B, 17, 3) about the pelvis, statures; variance (B, 17, 3) of the joints' own
            errors; low (B, 17, 3, R) directions that all share. Of mean and low pelvis and spine
            are the middles of their neighbours.
        """
        b = len(local)
        # the mirror image's row under the plain one's
        x = F.gelu(self.first(self.features(local, weight, spread, view))).view(-1, self.width)
        for one, two in self.blocks:
            x = x + F.gelu(two(F.gelu(one(x))))
        out = self.last(x.view(b, -1))
        mean, log, low = out.split((_SIZE, _SIZE, self.rank * _SIZE), 1)
        variance = log.clamp(-14, 2).exp() + SKELETON ** 2
        return (mean.view(b, NUM_JOINTS, 3), variance.view(b, NUM_JOINTS, 3),
                low.view(b, NUM_JOINTS, 3, self.rank))


def _linear(weights):
    """A layer of weights (out, in + 1), the bias last."""
    made = nn.Linear(weights.shape[1] - 1, len(weights), device='meta')
    made.weight = nn.Parameter(table(weights[:, :-1]).contiguous(), False)
    made.bias = nn.Parameter(table(weights[:, -1]), False)
    return made


def _both_ways(last, rank):
    """The last layer for what is known of both images at once: weights (51 (2 + 2 rank),
    2 width + 1), for the mean, the log of the variance, and the directions, scaled.
    """
    order = (3 * np.array(MIRROR)[:, None] + np.arange(3)).ravel()
    swap = np.eye(_SIZE)[order]
    flip = np.tile([1.0, -1.0, 1.0], NUM_JOINTS)[:, None] * swap
    middles = np.kron(MADE, np.eye(3))
    mean, log, low = np.split(last, (_SIZE, 2 * _SIZE))
    low = 0.1 * np.sqrt(0.5) * low.reshape(_SIZE, rank, -1)
    none = np.zeros_like(low)

    def turned(by, rows):
        return np.einsum('ab,b...->a...', by, rows)

    plain = (turned(middles, mean) / 2, log,
             np.concatenate((turned(middles, low), none), 1))
    mirrored = (turned(middles @ flip, mean) / 2, turned(swap, log),
                np.concatenate((none, turned(middles @ flip, low)), 1))
    one, two = (np.concatenate((m, s, w.reshape(2 * rank * _SIZE, -1)))
                for m, s, w in (plain, mirrored))
    return np.concatenate((one[:, :-1], two[:, :-1], one[:, -1:] + two[:, -1:]), 1)

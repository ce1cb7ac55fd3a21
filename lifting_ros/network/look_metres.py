"""How sure a lift is, and metres, in torch: twin of ``lifting/calibration.py``."""

import numpy as np
import torch
from torch import nn

from ..lifting.calibration import HOPS, KIND, MOST
from ..skeleton import NECK, NUM_JOINTS
from .look_density import table
from .look_linear import blocks


class Metres(nn.Module):
    """From statures to metres, calibrated.

    Args:
        calibration: :class:`~lifting_ros.lifting.calibration.Calibration`.
    """

    def __init__(self, calibration):
        super().__init__()
        t = calibration.tensors
        for name in ('person', 'joint', 'out', 'bias', 'person_range', 'joint_range'):
            self.register_buffer(name, table(t[name]))
        self.register_buffer('kind', table(t['kind'][KIND]))
        self.register_buffer('hops', table(HOPS - 4))
        self.register_buffer('eye', table(np.eye(3)))
        # by whether the scale is known: on the stature's variance, on that of each joint where
        # it is not seen, and what is added where it is
        by_scale = np.column_stack(([calibration.stature, 1], calibration.total[:, 0],
                                    calibration.total[:, 1] - calibration.total[:, 0]))
        self.register_buffer('by_scale', table(by_scale))

    def forward(self, found, weight, view, sizes, scaled, up):
        """Metres.

        Args:
            found: :class:`.look_linear.Found`, statures.
            weight: (B, 17) confidence, 0 not seen; view: (B, 3) as of the density.
            sizes: (B, 2) mean and sigma of log stature; scaled: (B, 1) 1 where it was given.
            up: (B, 3, 1) unit vector against gravity in the frame of ``found``.

        Returns:
            mean (B, 17, 3) m, covariance (B, 17, 3, 3) m^2, in the frame of ``found``.
        """
        own = blocks(found.covariance).permute(0, 3, 1, 2)                      # (B, 17, 3, 3)
        far = found.mean.norm(dim=2, keepdim=True)
        rays = found.mean / far.clamp_min(1e-9)
        seen = (weight > 0).to(weight.dtype)
        person, joint = self._describe(found, own, rays, far, weight, seen, view, scaled, up)
        inner = self._within(person, self.person_range) @ self.person
        inner = inner[:, None] + self._within(joint, self.joint_range) @ self.joint
        factor = (torch.tanh(inner + self.kind) @ self.out + self.bias).clamp(-MOST, MOST)
        across, along = (factor / 2).exp()[..., None].unbind(2)                 # of sigma
        by = torch.addcmul(across[..., None] * self.eye, ((along - across) * rays)[..., None],
                           rays[..., None, :])
        size = sizes[:, :1].exp()[..., None]                                    # (B, 1, 1)
        # either of two rows, by arithmetic: an index would be the host's
        of_stature, total, more = torch.lerp(*self.by_scale.unbind(), scaled).split(
            (1, NUM_JOINTS, NUM_JOINTS), 1)
        total = torch.addcmul(total, more, seen)[..., None, None]               # (B, 17, 1, 1)
        mean = size * found.mean
        off = (sizes[:, 1:] * of_stature.sqrt())[..., None] * mean
        spread = by @ own @ by * size.square()[..., None]
        return mean, total * torch.addcmul(spread, off[..., :, None], off[..., None, :])

    def _describe(self, found, own, rays, far, weight, seen, view, scaled, up):
        """See ``calibration.describe``: person (B, PERSON), joint (B, 17, JOINT)."""
        along = (own @ rays[..., None] * rays[..., None]).sum(2)                # (B, 17, 1)
        across = (own.diagonal(dim1=2, dim2=3).sum(2, keepdim=True) - along) / 2
        place = found.mean - found.mean[:, :1]
        height = place @ up                                                     # (B, 17, 1)
        nearest = (self.hops * seen[:, None]).amin(2) + 4
        spread = torch.cat((along, across), 2).clamp_min(1e-10).log()           # (B, 17, 2)
        strange = torch.stack((found.square, found.odd), 2).log1p()
        joint = torch.cat((
            torch.stack((seen, weight), 2), spread, nearest[..., None], strange[..., :1],
            found.weight[..., None], strange[..., 1:], height, far - far[:, :1],
            place.norm(dim=2, keepdim=True)), 2)
        count = seen.sum(1, keepdim=True).clamp_min(1)
        person = torch.cat((
            count / NUM_JOINTS,
            torch.cat((found.square.sum(1, keepdim=True) / count, found.stretched[:, None],
                       found.strange[:, None]), 1).log1p(),
            view[:, 2:], view[:, :1], scaled, far[:, 0].clamp_min(1e-3).log(), height[:, NECK],
            spread[..., 0].mean(1, keepdim=True)), 1)
        return person, joint

    def _within(self, values, both):
        return torch.clamp(values, both[0], both[1])

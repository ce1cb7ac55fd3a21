"""The second look in torch: other readings of the keypoints of who fits badly.

Twin of ``Believer._again``, of fixed shapes: all readings but one are screened by what the density
said of the first, and it is asked about the four that may be best. numpy says which joints are
left out and which readings there can be (``believe.proposed``).
"""

import numpy as np
import torch
from torch import nn

from ..lifting import believe, linear
from ..lifting.believe import PLAIN, READINGS, SWAPS
from ..skeleton import NUM_JOINTS
from .look_density import table
from .look_first import ROW, Given

#: Left for right altogether: it takes the density to tell that.
_TURNED = SWAPS - 1
_SCREENED = np.delete(np.arange(len(READINGS)), _TURNED)
#: What is told of a person besides the row of the first look; see ``lifting.device.proposals``.
TOLD = (1, 1, len(READINGS), len(READINGS) * NUM_JOINTS)


class SecondLook(nn.Module):
    """Rows of people to the best reading of their keypoints, and what it makes of them.

    Args:
        first: :class:`~.look_first.FirstLook`.
    """

    def __init__(self, first):
        super().__init__()
        self.first = first
        self.register_buffer('orders', torch.tensor(READINGS))
        self.register_buffer('screened', torch.tensor(_SCREENED))
        self.register_buffer('orders_screened', torch.tensor(READINGS[_SCREENED].ravel()))
        swapped = np.arange(len(READINGS)) < SWAPS
        self.register_buffer('swapped', table(swapped))
        self.register_buffer('swap_cost', table(believe.SWAP_COST * swapped))
        self.register_buffer('most', table([np.inf, believe.MISLED] + believe.FEW * [
            believe.MISLED_BY_ONE]))
        self.register_buffer('never', table(np.inf))
        self.register_buffer('plain', table(PLAIN))
        self.register_buffer('turned', torch.tensor([_TURNED]))
        self.eval().requires_grad_(False)

    def forward(self, rows):
        """(B, 167 + 218) -> (B, 1 + ...): the reading, ``PLAIN`` where nothing is better than
        what the first look found, and the first look's row, of that reading.
        """
        b = len(rows)
        rows, told = rows.split((ROW, sum(TOLD)), 1)
        plain, stretched, possible, dropped = told.split(TOLD, 1)
        dropped = dropped.reshape(b, len(READINGS), NUM_JOINTS)
        extra = self.swap_cost - believe.DROP_GAIN * dropped.sum(2)             # (B, 12)
        least = stretched * self.swapped
        given = Given.of(rows)
        screened = self._screened(given, dropped, extra, least)
        loss = torch.where(possible > 0, screened - screened[:, PLAIN:PLAIN + 1], self.never)
        loss, reading = self._likely(loss, possible)
        few = reading.shape[1]
        at = (reading + len(READINGS) * self._number(b)).flatten()
        keep = 1 - dropped.reshape(-1, NUM_JOINTS).index_select(0, at)[..., None]  # (4 B, 17, 1)
        read = self._read(rows, given, reading, keep)
        view = given.view[:, None].expand(-1, few, -1).flatten(0, 1)
        out = self.first.answer(read, *self.first.seen(read, read.weight * keep), keep, view)
        exact = self._against(out[:, 4].view(b, few), extra.gather(1, reading),
                              out[:, 2].view(b, few), least.gather(1, reading))
        exact, best = torch.where(loss < self.most, exact, self.never).min(1, keepdim=True)
        reading = torch.where(exact < plain, reading.gather(1, best).to(out.dtype), self.plain)
        return torch.cat((reading, out.index_select(
            0, (best + few * self._number(b)).flatten())), 1)

    def _number(self, b):
        """0, 1, ... (B, 1)."""
        return torch.arange(b, device=self.orders.device)[:, None]

    @staticmethod
    def _against(against, extra, stretched, least):
        """What is against readings, all (B, K)."""
        return against + extra + believe.STRETCH_COST * torch.maximum(stretched, least).log1p()

    def _screened(self, given, dropped, extra, least):
        """What is against readings (B, 12) by what the density says of the first; that which is
        not screened is infinite.
        """
        b, k = len(dropped), len(self.screened)
        believed, axes, noise = self.first.seen(given, given.weight)

        def every(x):
            return x[:, None].expand(-1, k, *x.shape[1:]).flatten(0, 1)

        def read(x):
            return x.index_select(1, self.orders_screened).view(b * k, NUM_JOINTS, *x.shape[2:])

        weight = read(given.weight).to(axes.dtype)
        dropped = dropped.index_select(1, self.screened).view(b * k, NUM_JOINTS, 1)
        most = (1 - dropped).clamp_min(linear.NOTHING).to(axes.dtype)
        mean, against = self.first.conditioning(
            *map(every, believed), read(axes), weight, read(noise), most, screen=True)
        cost = self._against(
            against.float().view(b, k), extra.index_select(1, self.screened),
            self.first.told.stretched(mean).float().view(b, k),
            least.index_select(1, self.screened))
        none = self.never.expand(b, 1)
        return torch.cat((cost[:, :_TURNED], none, cost[:, _TURNED:]), 1)

    def _likely(self, loss, possible):
        """The readings that may be best: losses and they, (B, 4) each. The loss of the one that
        is not screened is 0.
        """
        swaps, drops = loss.split((SWAPS, len(READINGS) - SWAPS), 1)
        losses = [torch.where(possible[:, _TURNED:SWAPS] > 0, 0 * self.plain, self.never)]
        readings = [self.turned.expand(len(loss), 1)]
        least, which = swaps.min(1, keepdim=True)
        losses.append(least)
        readings.append(which)
        for _ in range(believe.FEW):
            least, which = drops.min(1, keepdim=True)
            losses.append(least)
            readings.append(which + SWAPS)
            drops = drops.scatter(1, which, torch.inf)
        return torch.cat(losses, 1), torch.cat(readings, 1)

    def _read(self, rows, given, reading, keep):
        """Given of 4 B people, their keypoints read otherwise, in the frame of the mean ray of
        what is kept.
        """
        b, few = reading.shape
        order = self.orders.index_select(0, reading.flatten()).view(b, -1)
        order = (order + NUM_JOINTS * self._number(b)).flatten()

        def read(x):
            return x.reshape(b * NUM_JOINTS, -1).index_select(0, order).view(
                b * few, NUM_JOINTS, -1)

        def every(x):
            return x[:, None].expand(-1, few, *x.shape[1:]).flatten(0, 1)

        rays, weight, pixels = read(given.rays), read(given.weight), read(given.pixels)
        to_up = every(given.upright.mT @ given.turn)    # from the optical frame, z up
        shown = (weight > 0).to(rays.dtype) * keep
        ahead = (to_up @ (rays.mT @ shown))[..., 0]                             # (4 B, 3)
        frame = _view_frame(ahead / ahead.norm(dim=1, keepdim=True).clamp_min(1e-9))
        view, rise = every(given.view), frame[:, 0, 2:]
        known = view[:, 2:]
        level = (1 - rise.square()).clamp_min(0).sqrt()
        by_pixel = every(given.upright.mT @ given.by_pixel)
        return Given(rays, weight, pixels, frame @ to_up, frame @ by_pixel, frame,
                     torch.cat((known * rise, known * level, known), 1), every(given.sizes),
                     every(given.scaled), every(given.by_focal))


def _view_frame(ahead):
    """See ``density.view_frame``: of unit vectors ahead (B, 3)."""
    x, y, z = ahead.split(1, 1)
    level = torch.hypot(x, y)
    safe, level = level > 1e-3, level.clamp_min(1e-9)
    u, v = torch.where(safe, -y / level, 0 * x), torch.where(safe, x / level, 0 * x + 1)
    left = torch.cat((u, v, 0 * x), 1)
    return torch.stack((ahead, left, torch.cat((-z * v, z * u, x * v - y * u), 1)), 1)

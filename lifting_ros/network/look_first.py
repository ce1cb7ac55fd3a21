"""The lifter's first look in torch: what it does for everybody.

Rows of numbers in, rows of numbers out: :mod:`lifting_ros.lifting.device` fills and reads them.
"""

from typing import NamedTuple

import torch
from torch import nn

from ..lifting import linear
from ..lifting.believe import TAIL, TWICE
from ..skeleton import NUM_JOINTS
from .elimination import bordered_inverse
from .look_density import Density
from .look_linear import Conditioning, Told
from .look_metres import Metres

#: Numbers of a row that are of joints, and those after them; see ``lifting.device.packed``.
_JOINTS, _PERSON = (3, 1, 4), (9, 6, 9, 3, 2, 1, 1)
ROW = NUM_JOINTS * sum(_JOINTS) + sum(_PERSON)


class Given(NamedTuple):
    """What B rows of ``lifting.device.packed`` say, field by field."""

    rays: torch.Tensor          # (B, 17, 3)
    weight: torch.Tensor        # (B, 17, 1)
    pixels: torch.Tensor        # (B, 17, 4)
    turn: torch.Tensor          # (B, 3, 3)
    by_pixel: torch.Tensor      # (B, 3, 2)
    upright: torch.Tensor       # (B, 3, 3)
    view: torch.Tensor          # (B, 3)
    sizes: torch.Tensor         # (B, 2)
    scaled: torch.Tensor        # (B, 1)
    by_focal: torch.Tensor      # (B, 1)

    @classmethod
    def of(cls, rows):
        """Views of rows (B, 167)."""
        b = len(rows)
        joints, person = rows.split((NUM_JOINTS * sum(_JOINTS), sum(_PERSON)), 1)
        turn, by_pixel, upright, *rest = person.split(_PERSON, 1)
        return cls(*joints.view(b, NUM_JOINTS, -1).split(_JOINTS, 2), turn.view(b, 3, 3),
                   by_pixel.view(b, 3, 2), upright.view(b, 3, 3), *rest)


class FirstLook(nn.Module):
    """Rows of :func:`lifting_ros.lifting.device.packed` to what is believed of each person.

    Args:
        believer: :class:`~lifting_ros.lifting.believe.Believer` with lengths and a
            :class:`~lifting_ros.lifting.calibration.Calibration`.
        whole: give out the posterior in statures, z up, with the covariance of all joints, in
            place of metres in the optical frame.
        dtype: in which systems are solved; the density runs in single precision.
        inverse: a function that inverts positive definite matrices (B, n, n).

    Raises:
        ValueError: the believer has no lengths or another calibration.
    """

    def __init__(self, believer, whole=False, dtype=torch.float32, inverse=bordered_inverse):
        super().__init__()
        if believer.lengths is None or not hasattr(believer.factors, 'tensors'):
            raise ValueError('it needs a prior with lengths of bones and a learned calibration')
        self.whole, self.dtype = whole, dtype
        self.density = Density(believer.density)
        self.conditioning = Conditioning(self.density.rank, inverse).to(dtype)
        self.told = Told(believer.lengths, inverse).to(dtype)
        self.metres = Metres(believer.factors).to(dtype)
        self.register_buffer('eye', torch.eye(3)[:2])
        self.eval().requires_grad_(False)

    def forward(self, rows):
        """(B, 167) float32 -> rows of ``lifting.device``'s ``Metres`` or ``Whole``."""
        given = Given.of(rows)
        return self.answer(given, *self.seen(given, given.weight))

    def seen(self, given, shown):
        """What there is to be put together of each person.

        Args:
            given: Given; shown: (B, 17, 1) confidence, 0 where the density shall not see.

        Returns:
            what the density says, as it gives it, and the axes and the noise of the rays; see
            :meth:`~.look_linear.Conditioning.forward`.
        """
        local = given.rays @ given.turn.mT
        spread = (given.pixels[..., :1] + given.pixels[..., 3:]) / 2 * given.by_focal[:, None]
        believed = self.density(local, shown, spread, given.view)
        axes, noise = self._view(local, given.rays, given.pixels, given.by_pixel)
        believed = [x.to(self.dtype) for x in believed]
        return believed, axes.to(self.dtype), noise.to(self.dtype)

    def answer(self, given, believed, axes, noise, keep=None, view=None):
        """The rows of :meth:`forward`.

        Args:
            given: Given; believed, axes, noise: of :meth:`seen`.
            keep: (B, 17, 1) 0 of keypoints that are errors, others 1; None keeps all.
            view: of the person, where that of ``given`` is another.
        """
        b = len(axes)
        weight, most = given.weight.to(self.dtype), None
        if keep is not None:
            most = keep.to(self.dtype).clamp_min(linear.NOTHING)
        found = self.told(self.conditioning(*believed, axes, weight, noise, most))
        weight = (weight if keep is None else weight * keep)[..., 0]
        cost = (weight * (found.square / TAIL).log1p()).sum(1) * TAIL
        numbers = torch.stack((cost, found.square.amax(1), found.stretched, found.strange,
                               found.against), 1)
        numbers = torch.cat((numbers, found.square, found.odd), 1)
        if self.whole:
            parts = self._all(found, given.upright.to(self.dtype))
        else:
            view, sizes, scaled, upright, turn = (x.to(self.dtype) for x in (
                given.view if view is None else view, given.sizes, given.scaled, given.upright,
                given.turn))
            mean, own = self.metres(found, weight, view, sizes, scaled, upright[:, :, 2:])
            # of symmetric C: T^T C T = (C T)^T T
            half = (own.reshape(b, -1, 3) @ turn).view(own.shape).mT.reshape(b, -1, 3)
            parts = mean @ turn, half @ turn
        return torch.cat([numbers, *(p.flatten(1) for p in parts)], 1).float()

    def _view(self, local, rays, pixels, by_pixel):
        """Axes (B, 17, 3, 3) across the rays, twice, and along them, and the rays' noise
        (B, 17, 2, 2) in the first two, radians^2.
        """
        # Householder's reflection of the third axis onto the ray or its opposite: two rows of
        # it are across the ray
        b, ahead = len(local), local[..., 2:]
        sign = torch.ones_like(ahead).copysign(ahead)
        normal = torch.cat((local[..., :2], ahead + sign), 2)
        part = (normal / (1 + ahead.abs()))[..., None, :]
        side = torch.addcmul(self.eye, normal[..., :2, None], part, value=-1)   # (B, 17, 2, 3)
        # 1 / |(x, y, 1)| is a ray's z
        jac = (side.view(b, -1, 3) @ by_pixel).view(b, NUM_JOINTS, 2, 2)
        jac = jac * (TWICE ** 0.5 * rays[..., 2:, None])
        noise = jac @ pixels.unflatten(2, (2, 2)) @ jac.mT
        return torch.cat((side, local[..., None, :]), 2), noise

    def _all(self, found, upright):
        """The posterior, z up: means, covariances, weights."""
        b, size = len(found.mean), 3 * NUM_JOINTS
        half = (found.covariance.view(b, -1, 3) @ upright).view(b, size, size).mT
        whole = half.reshape(b, -1, 3) @ upright
        return found.mean @ upright, whole, found.weight

"""The lifter's first look in torch, for a GPU: what it does for everybody.

Rows of numbers in, rows of numbers out (:mod:`lifting_ros.lifting.device` fills and reads them),
in batches that are filled up to one of a few sizes, each of which is one CUDA graph.
"""

import numpy as np
import torch
from torch import nn

from ..lifting.believe import TAIL, TWICE
from ..skeleton import NUM_JOINTS
from . import look_fused
from .elimination import bordered_inverse
from .estimator import check_device
from .graphs import Graphs, HostCopy, Upload
from .look_density import Density
from .look_linear import Conditioning, Told
from .look_metres import Metres

#: People of a batch.
BATCHES = (1, 2, 4, 8, 16, 32, 64)
#: Numbers of a row that are of joints, and those after them; see ``lifting.device.packed``.
_JOINTS, _PERSON = (3, 1, 4), (9, 6, 9, 3, 2, 1, 1)
ROW = NUM_JOINTS * sum(_JOINTS) + sum(_PERSON)


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
        b = len(rows)
        of_joints = NUM_JOINTS * sum(_JOINTS)
        rays, weight, pixels = rows[:, :of_joints].view(b, NUM_JOINTS, -1).split(_JOINTS, 2)
        turn, by_pixel, upright, view, sizes, scaled, by_focal = rows[:, of_joints:].split(
            _PERSON, 1)
        turn, upright = turn.view(b, 3, 3), upright.view(b, 3, 3)
        local = rays @ turn.mT
        spread = (pixels[..., :1] + pixels[..., 3:]) / 2 * by_focal[:, None]
        believed = self.density(local, weight, spread, view)
        axes, noise = self._view(local, rays, pixels, by_pixel.view(b, 3, 2))
        exact = [x.to(self.dtype) for x in (*believed, axes, weight, noise)]
        found = self.told(self.conditioning(*exact))
        weight = exact[4][..., 0]
        cost = (weight * (found.square / TAIL).log1p()).sum(1) * TAIL
        numbers = torch.stack((cost, found.square.amax(1), found.stretched, found.strange), 1)
        if self.whole:
            parts = self._all(found, upright.to(self.dtype))
        else:
            view, sizes, scaled, upright, turn = (
                x.to(self.dtype) for x in (view, sizes, scaled, upright, turn))
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
        """The posterior, z up: means, covariances, squares, weights, odds."""
        b, size = len(found.mean), 3 * NUM_JOINTS
        half = (found.covariance.view(b, -1, 3) @ upright).view(b, size, size).mT
        whole = half.reshape(b, -1, 3) @ upright
        return found.mean @ upright, whole, found.square, found.weight, found.odd


def lift_on(lifter, device):
    """Let a lifter take its first look on a device; depth, ground and second looks stay numpy's.

    Args:
        lifter: :class:`~lifting_ros.lifting.Lifter`.
        device: a torch device or its name; on 'cpu' torch is no faster than numpy.

    Returns:
        whether it does; where the device fails, or does not give what numpy gives, a warning has
        said so and numpy goes on.
    """
    return lifter.look_on(Look, device)


class Look:
    """The first look on a device.

    Args:
        believer: as of :class:`FirstLook`.
        device: a torch device or its name.
        fused: invert by a Triton kernel, where there is one.
        dtype: as of :class:`FirstLook`.

    Raises:
        RuntimeError: CUDA asked for and absent.
        ValueError: as of :class:`FirstLook`.
    """

    def __init__(self, believer, device, fused=True, dtype=torch.float32):
        self.device = check_device(device)
        self.fused = fused and dtype == torch.float32 and look_fused.ready(self.device)
        inverse = look_fused.inverse if self.fused else bordered_inverse
        self._ways = {
            whole: Graphs(FirstLook(believer, whole, dtype, inverse).to(self.device),
                          self.device.type == 'cuda')
            for whole in (False, True)}
        self._upload, self._to_host = Upload(self.device), HostCopy()

    @torch.inference_mode()
    def __call__(self, rows, whole=False):
        """What is believed of people, rows (N, 167) float32: rows (N, ...) float64."""
        parts = []
        for first in range(0, max(len(rows), 1), BATCHES[-1]):
            some = rows[first:first + BATCHES[-1]]
            n = len(some)
            # the filling is copies of people (of nobody: zeros): nothing in it is not finite
            full = np.resize(some, (next(b for b in BATCHES if b >= n), ROW))
            parts.append(self._to_host(self._ways[whole](self._upload(full)))[:n])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def warm_up(self):
        """Record what may come: better before the first image."""
        for n in BATCHES:
            for whole in self._ways:
                self(np.zeros((n, ROW), np.float32), whole)

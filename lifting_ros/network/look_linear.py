"""Conditioning in torch: twin of ``lifting/linear.py`` and ``lengths.py``, of fixed shapes.

Everything is in the frame of the mean ray, where the joints' own errors are independent of one
another axis by axis. All joints take part, those not seen with next to no weight; hips' and
neck's own errors are always among what joints have in common.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from ..lifting import linear
from ..lifting.lengths import ENDS, PAIRS
from ..skeleton import NUM_JOINTS, PELVIS, SPINE
from .elimination import bordered_inverse
from .look_density import table

_SIZE = 3 * NUM_JOINTS


class Found(NamedTuple):
    """As :class:`~lifting_ros.lifting.linear.Posterior`; ``against`` is -2 times its evidence."""

    mean: torch.Tensor
    covariance: torch.Tensor
    square: torch.Tensor
    weight: torch.Tensor
    against: torch.Tensor
    stretched: torch.Tensor = None
    strange: torch.Tensor = None
    odd: torch.Tensor = None


def blocks(covariance):
    """The joints' own blocks of (B, 51, 51): (B, 3, 3, 17), a view."""
    b = len(covariance)
    return covariance.view(b, NUM_JOINTS, 3, NUM_JOINTS, 3).diagonal(dim1=1, dim2=3)


class Conditioning(nn.Module):
    """What is seen, put into a density.

    Args:
        rank: directions of the density.
        inverse: a function that gives the inverse of positive definite matrices (B, n, n) and the
            logarithm of their determinants (B,).
    """

    def __init__(self, rank, inverse=bordered_inverse):
        super().__init__()
        self.inverse = inverse
        shared = linear.SHARED
        self.size = rank + 3 + 3 * len(shared)
        made = linear.MADE[:, shared]                                           # (17, 3)
        self.register_buffer('made', table(np.einsum('jk,ca->jcka', made, np.eye(3)).reshape(
            NUM_JOINTS, 3, -1)))
        own = np.ones((NUM_JOINTS, 1))
        own[[PELVIS, SPINE, *shared]] = 0
        self.register_buffer('own', table(own))
        self.register_buffer('place', table(np.tile(linear.PLACE * np.eye(3),
                                                    (NUM_JOINTS, 1, 1))))
        self.register_buffer('shared', torch.tensor(shared), False)
        self.register_buffer('eye', table(np.eye(self.size)))
        self.register_buffer('little', table(1e-6 * np.eye(3)))
        self.register_buffer('zero', table(0))
        # the adjugate of four numbers
        self.register_buffer('other', table([[0, 0, 0, 1], [0, -1, 0, 0], [0, 0, -1, 0],
                                             [1, 0, 0, 0]]))

    def forward(self, mean, variance, low, axes, weight, noise, most=None,
                screen=False):
        """Condition.

        Args:
            mean, variance, low: of :class:`~.look_density.Density`.
            axes: (B, 17, 3, 3) rows across each ray, twice, and along it.
            weight: (B, 17, 1) confidence, 0 not seen; noise: (B, 17, 2, 2) radians^2, across.
            most: (B, 17, 1) what a keypoint may weigh at most, 1 or ``linear.NOTHING`` of one that
                is an error; None is 1.
            screen: whether ``mean`` and ``against`` of a single round are all that is wanted.

        Returns:
            Found; of a screening mean (B, 17, 3) and against (B,).
        """
        b, rank = len(mean), self.size
        spread = variance.index_select(1, self.shared).sqrt().flatten(1)[:, None, None]
        factors = torch.cat((low, self.place.expand(b, -1, -1, -1), self.made * spread), 3)
        variance = variance * self.own
        local = axes @ factors
        across, along = local[:, :, :2], local[:, :, 2]
        flat = across.reshape(b, -1, rank)                                      # (B, 34, R)
        at = axes @ mean[..., None]                                             # (B, 17, 3, 1)
        place = self._place(axes, weight, at)                                   # (B, 3, 1)
        at = torch.baddbmm(at.view(b, -1, 1), axes.view(b, -1, 3), place).view(at.shape)
        off, far = at[:, :, :2].reshape(b, -1, 1), at[:, :, 2]
        scaled = axes * variance[:, :, None]
        own = scaled @ axes.mT
        own, slant = own[..., :2, :2], own[..., 2:, :2].reshape(-1, 1, 2)
        seen = weight[..., None] > 0
        noise = noise / weight.clamp_min(1e-9)[..., None]
        trust, depth = most, far.clamp_min(linear.NEAREST)
        for step in range(linear.ROUNDS):
            grown = depth.square() if trust is None else depth.square() / trust
            grown = noise * grown[..., None]
            precision, det = self._two(own + grown)
            weighed = precision @ across                                        # (B, 17, 2, R)
            pushed = weighed.view(b, -1, rank)
            inner, log = self.inverse(torch.baddbmm(self.eye, flat.mT, pushed))
            x = inner @ (pushed.mT @ off)           # of these signs: the other way round
            left = torch.baddbmm(off, flat, x, alpha=-1).view(b, NUM_JOINTS, 2, 1)
            solved = precision @ left
            if screen:
                break
            less = (pushed @ inner).view(-1, 2, rank)
            block = torch.baddbmm(precision.view(-1, 2, 2), less, weighed.view(-1, 2, rank).mT,
                                  alpha=-1).view(precision.shape)
            square = torch.where(seen, self._left_out(block, solved, grown, trust), self.zero)
            if step == linear.ROUNDS - 1:
                break
            trust = ((linear.FREEDOM + 2) / (linear.FREEDOM + square[..., 0])).clamp(
                linear.LEAST, 1)
            if most is not None:
                trust = torch.minimum(trust, most)
            depth = torch.baddbmm(far, along, x, alpha=-1)
            depth = torch.baddbmm(depth.view(-1, 1, 1), slant, solved.view(-1, 2, 1), alpha=-1)
            depth = depth.view(far.shape).clamp_min(linear.NEAREST)
        gain = scaled[:, :, :2].mT                                              # (B, 17, 3, 2)
        moved = torch.baddbmm((gain @ solved).view(b, -1, 1), factors.view(b, -1, rank), x)
        point = mean + (place.mT - moved.view(b, NUM_JOINTS, 3))
        against = ((off * solved.view(off.shape)).sum((1, 2)) + log + (torch.where(
            seen[..., 0, 0], det.log(), self.zero) - 4 * (weight * depth.log())[..., 0]).sum(1))
        if screen:
            return point, against
        joint = (factors - gain @ weighed).view(b, _SIZE, rank)
        covariance = joint @ inner @ joint.mT
        covariance.diagonal(dim1=1, dim2=2).add_(variance.flatten(1))
        blocks(covariance).sub_((gain @ precision @ gain.mT).permute(0, 2, 3, 1))
        return Found(point, covariance, square[..., 0, 0], trust[..., 0], against)

    def _place(self, axes, sure, at):
        """See ``linear._place``: (B, 3, 1)."""
        b = len(axes)
        across = axes[:, :, :2]
        weighed = (sure[..., None] * across).view(b, -1, 3).mT
        square = torch.baddbmm(self.little, weighed, across.reshape(b, -1, 3))
        return -(self.inverse(square)[0] @ (weighed @ at[:, :, :2].reshape(b, -1, 1)))

    def _two(self, a):
        """Inverses of symmetric positive (B, 17, 2, 2), and their determinants (B, 17)."""
        other = (a.flatten(2) @ self.other).view(a.shape)
        det = (a[..., 0, :] * other[..., 0, :]).sum(-1).clamp_min(1e-30)
        return other / det[..., None, None], det

    def _left_out(self, block, solved, grown, trust):
        """See ``linear._left_out``, of matrices (B, 17, 2, 2) and vectors (B, 17, 2, 1): squared
        distances (B, 17, 1, 1).

        Args:
            trust: (B, 17, 1) what is left of weights, or None where all is.
        """
        spread, _ = self._two(block)
        error = spread @ solved
        if trust is not None:
            solved = self._two(torch.addcmul(spread, grown, trust[..., None] - 1))[0] @ error
        return error.mT @ solved


class Told(nn.Module):
    """What the lengths of bones say: twin of ``Lengths.tell``.

    Args:
        lengths: :class:`~lifting_ros.lifting.lengths.Lengths`.
        inverse: as of :class:`Conditioning`.
    """

    def __init__(self, lengths, inverse=bordered_inverse):
        super().__init__()
        self.inverse = inverse
        n = len(lengths.mean)
        ends = np.zeros((n, NUM_JOINTS))
        ends[np.arange(n), PAIRS[0]], ends[np.arange(n), PAIRS[1]] = 1, -1
        self.register_buffer('ends', table(ends))
        self.register_buffer('mean', table(lengths.mean)[:, None])
        self.register_buffer('covariance', table(lengths.covariance))
        self.register_buffer('precision', table(np.linalg.inv(lengths.covariance) / n))
        # of no bone there is nothing odd
        inverse = np.append(1 / np.diag(lengths.covariance), 0)
        self.register_buffer('inverse_variance', table(inverse[ENDS]))          # (17, most)
        self.register_buffer('which', torch.tensor(np.minimum(ENDS, n - 1).ravel()))

    def forward(self, found):
        """The posterior once more told how long bones are."""
        b = len(found.mean)
        off, bone, length = self._off(found.mean)
        jac = self.ends[..., None] * (bone / length.clamp_min(1e-9))[:, :, None]
        jac = jac.flatten(2)
        cross = jac @ found.covariance                                          # (B, 12, 51)
        own = torch.baddbmm(self.covariance, cross, jac.mT)
        gain, _ = self.inverse(own)
        push = gain @ off
        # before and after: off - (own - covariance) push, and own push is off
        both = torch.cat((off, self.covariance @ push), 2)
        square = (both * (self.precision @ both)).sum(1)
        odd = off[:, :, 0].index_select(1, self.which).view(b, NUM_JOINTS, -1).square()
        return Found(
            torch.baddbmm(found.mean.view(b, -1, 1), cross.mT, push).view(found.mean.shape),
            torch.baddbmm(found.covariance, cross.mT, gain @ cross, alpha=-1),
            found.square, found.weight, found.against, square[:, 0], square[:, 1],
            (odd * self.inverse_variance).amax(2))

    def stretched(self, joints):
        """Twin of ``Lengths.stretched``: (B, 17, 3) -> (B,)."""
        off, _, _ = self._off(joints)
        return (off * (self.precision @ off)).sum((1, 2))

    def _off(self, joints):
        """By how much bones are too short (B, 12, 1), they (B, 12, 3), their lengths."""
        bone = self.ends @ joints
        length = bone.norm(dim=2, keepdim=True)
        return self.mean - length, bone, length

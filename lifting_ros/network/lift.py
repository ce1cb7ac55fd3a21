"""The lift between stages: a batched, differentiable twin of the closed form (design 5.1).

Everything is in statures: a person's stature is the unit of length, and depth follows from the
size in the crop. The search over modes, headings and tilts has no gradient; the winner is solved
once more with gradients through coefficients and translation.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..skeleton import NUM_JOINTS
from . import fused
from .constants import constant, take
from .elimination import diagonal, eliminate, inverse
from .rays import SIGMA, cells_of, optical, rays_of, soft_peaks, span
from .turns import rotation, upright_turn

_NEAREST = 0.15         # statures: nobody is nearer than this
_PITCHES = (0.0, -0.52)  # rad the camera may look up: level, and from above
_ROBUST = 2.0           # sigmas at which a ray that the pose contradicts is half believed
#: The six different numbers of a symmetric 3x3: row and column.
_ROW, _COLUMN = (0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2)
_UNIT = (1.0, 1.0, 1.0, 0.0, 0.0, 0.0)      # of the identity


def _table(columns):
    """Products of columns for the six numbers of a symmetric 3x3.

    Args:
        columns: (K, J, 3, C).

    Returns:
        (C, C, K, J * 6): column (j, i) holds d (B^T A B) / d A_i.
    """
    k, j, _, c = columns.shape
    pairs = take(columns, _ROW, 2)[..., None] * take(columns, _COLUMN, 2)[..., None, :]
    both = pairs + pairs.transpose(3, 4)
    both[:, :, :3] = pairs[:, :, :3]
    return both.permute(3, 4, 0, 1, 2).reshape(c, c, k, j * 6)


class Found(NamedTuple):
    """What a lift found, for the next to start from."""

    turn: torch.Tensor      # (N,) pitch, tilt and heading: (pitch * 2 + tilt) * headings + heading
    mode: torch.Tensor      # (N,)
    frame: torch.Tensor     # (N, 3, 3) from the rays' frame to the body's
    joints: torch.Tensor    # (N, 17, 3) statures, the rays' frame


class Lift(nn.Module):
    """Belief maps -> pose in statures -> the pose drawn as maps.

    The prior's tables are buffers, so that they travel with the weights and the network needs no
    second file. Before :meth:`set_prior` they are zeros: a body without extent.

    Args:
        modes, dims, headings: how many of each are searched.
        stride: px a cell of the maps.
    """

    def __init__(self, modes, dims, headings, stride=4):
        super().__init__()
        self.dims, self.headings, self.stride = dims, headings, stride
        self.register_buffer('mean', torch.zeros(modes, NUM_JOINTS, 3))
        self.register_buffer('basis', torch.zeros(modes, dims, NUM_JOINTS, 3))
        self.register_buffer('variance', torch.full((modes,), 0.02 ** 2))
        self.register_buffer('log_weight', torch.full((modes,), -math.log(modes)))
        angle = torch.arange(headings) * (2 * math.pi / headings)
        self.register_buffer('turns', torch.stack((angle.cos(), angle.sin()), 1), False)
        pitch = torch.tensor(_PITCHES)
        self.register_buffer('pitches', torch.stack((pitch.cos(), pitch.sin()), 1), False)
        every = torch.arange(2 * len(_PITCHES) * headings)
        self.register_buffer('tilted', torch.div(every, headings, rounding_mode='floor') % 2,
                             False)
        heading = every % headings
        near = [every - heading + (heading + step) % headings
                for step in (-1, 0, 1, headings // 2)]
        near += [every + headings * (1 - 2 * self.tilted),      # the other tilt
                 (every + 2 * headings) % len(every)]           # the next pitch
        self.register_buffer('near', torch.stack(near, 1), False)
        self.tables = None      # of the fused kernels, made when first needed

    def set_prior(self, mean, basis, variance, weight):
        """Take a mixture of PPCA.

        Args:
            mean: (K, 17, 3), basis: (K, M, 17, 3), variance: (K,) model noise with the
            skeleton's own, weight: (K,): canonical frame, statures. Of more modes the heaviest
            are taken, of more dimensions those of most variance; fewer modes are repeated with
            no weight.
        """
        mean, basis, variance, weight = (np.asarray(v, np.float64)
                                         for v in (mean, basis, variance, weight))
        self.tables = None
        keep = np.argsort(-weight, kind='stable')[:self.mean.shape[0]]
        for slot in range(self.mean.shape[0]):
            k = keep[min(slot, len(keep) - 1)]
            order = np.argsort(-(basis[k] ** 2).sum((1, 2)), kind='stable')
            used, left = order[:self.dims], order[self.dims:]
            self.mean[slot] = torch.from_numpy(mean[k])
            self.basis[slot].zero_()
            self.basis[slot, :len(used)] = torch.from_numpy(basis[k][used])
            # what the dimensions left out explain is noise here
            extra = (basis[k][left] ** 2).sum() / (NUM_JOINTS * 3)
            self.variance[slot] = float(variance[k] + extra)
            self.log_weight[slot] = float(np.log(weight[k] + 1e-12)) if slot < len(keep) else -1e3

    def _load_from_state_dict(self, *args):
        self.tables = None
        super()._load_from_state_dict(*args)

    def forward(self, belief, camera=None, last=None, search=True):
        """Lift and draw.

        Args:
            belief: (N, 17, h, w) in 0..1.
            camera: as in :func:`.rays.rays_of`.
            last: :class:`Found` of an earlier stage; then only its neighbours and its back are
                searched, in all modes. None searches everything.
            search: False takes mode and frame of ``last`` as they are.

        Returns:
            joints (N, 17, 3) in statures, optical frame of the crop's camera; maps (N, 17, h, w);
            Found for the next stage.
        """
        h, w = (int(side) for side in belief.shape[2:])
        if fused.ready(belief, self.dims) and (last is None or not search):
            return self.fused(belief, camera, last)
        cells, weight = soft_peaks(belief)
        rays, focal, middle = rays_of(cells, self.stride * w, camera, self.stride)
        joints, variance, found = self.solve(rays, weight, SIGMA, last, search)
        depth = joints[..., :1].clamp(min=0.2)                                 # (N, 17, 1)
        cell = cells_of(joints, depth, focal, middle, self.stride)             # (N, 17, 2)
        wide = ((focal / self.stride)[..., None] / depth) ** 2
        spread = (variance[..., None] * wide + 1.0).clamp(max=(w / 8) ** 2)    # (N, 17, 1)
        at = torch.arange(max(h, w), device=belief.device, dtype=torch.float32)
        # bounded: products of the tails would be denormal, which is slow on a CPU
        off = (at - cell[..., None]) ** 2                                      # (N, 17, 2, .)
        gauss = torch.exp(-(off / (2 * spread[..., None])).clamp(max=20))
        gx, gy = gauss.split(1, 2)
        # the wider the fainter: a belief, whose mass stays that of a sharp one
        drawn = (gy[:, :, 0, :h] / torch.sqrt(spread))[..., None] * gx[..., :w]
        return optical(joints), drawn, found

    def fused(self, belief, camera=None, last=None):
        """:meth:`forward` by the kernels of :mod:`.fused`; no search where ``last`` is given."""
        if self.tables is None or self.tables.mean is not self.mean:
            self.tables = fused.Tables(self, SIGMA)
        n, _, h, w = belief.shape
        camera = constant(span(self.stride * w), belief).expand(n, 3) if camera is None else camera
        camera = camera.contiguous()
        seen = (*fused.peaks(belief.contiguous()), camera, self.stride)
        if last is None:
            turn, mode = fused.find(self.tables, *seen, _NEAREST)
            pose, _, frame = fused.solve(self.tables, *seen, turn, mode, _ROBUST)
        else:
            turn, mode, frame, pose = last
        pose, variance, frame = fused.solve(self.tables, *seen, turn, mode, _ROBUST, pose, frame)
        drawn = fused.draw(pose, variance, camera, h, w, self.stride)
        return optical(pose), drawn, Found(turn, mode, frame, pose)

    @staticmethod
    def doubt(joints, rays, noise):
        """How much less a peak is believed that the pose (N, 17, 3) contradicts: (N, 17), >= 1."""
        off = joints - (joints * rays).sum(2, keepdim=True) * rays
        return 1 + (off ** 2).sum(2) / (noise * _ROBUST ** 2)[:, None]

    def solve(self, rays, weight, sigma, last=None, search=True):
        """The most probable pose.

        Args:
            rays: (N, 17, 3) unit, x forward, y left, z up.
            weight: (N, 17) in 0..1, 0 where not seen.
            sigma: standard deviation of a ray in statures at the person.
            last, search: as in :meth:`forward`.

        Returns:
            joints (N, 17, 3) statures in the rays' frame, variance (N, 17) per axis, Found.
        """
        rays, weight = rays.to(self.mean.dtype), weight.to(self.mean.dtype)
        noise = self.variance + sigma ** 2                                     # (K,)
        with torch.no_grad():
            if last is None or search:
                turn, mode, frame = self.find(rays, weight, noise, last and last.turn)
            else:
                turn, mode, frame = last[:3]
            # a peak that the rest contradicts is likelier on another limb than far off its own
            joints = self.solve_one(rays, weight, noise, mode, frame)[0] if last is None else (
                last.joints)
            doubt = self.doubt(joints, rays, noise[mode])
        joints, variance = self.solve_one(rays, weight / doubt, noise, mode, frame)
        return joints, variance, Found(turn, mode, frame, joints.detach())

    def find(self, rays, weight, noise, near=None):
        """The best turn (N,), mode (N,) and frame (N, 3, 3), ``near`` turns (N,) or of all."""
        every = torch.arange(len(self.near), device=rays.device)[None]
        turns = every if near is None else self.near[near]                     # (N or 1, R)
        frames = self.frames(turns, upright_turn(rays))                        # (N, R, 3, 3)
        best = self.search(rays, weight, noise, frames).argmin(1)              # (N,)
        modes = len(self.mean)
        pick = torch.div(best, modes, rounding_mode='trunc')
        chosen = pick[:, None] == every[:, :int(turns.shape[1])]                    # (N, R)
        frame = (frames * chosen[..., None, None].to(frames.dtype)).sum(1)
        turn = pick if near is None else (turns * chosen.to(turns.dtype)).sum(1)
        return turn, best - modes * pick, frame

    def frames(self, turns, upright):
        """Rotations from the rays' frame to the body's for turns (N, R): (N, R, 3, 3).

        The picture is turned ``upright`` (N, 3, 3) where the turn says so, then the camera's
        pitch taken out, then the heading.
        """
        # of constants, which an exporter works out beforehand: (pitch, 1, heading, 3, 3)
        level = (rotation(self.turns, 2) @ rotation(self.pitches, 1)[:, None])[:, None]
        level = torch.cat((level, level), 1).flatten(0, 2)
        eye = torch.eye(3, device=upright.device, dtype=upright.dtype)
        tilted = self.tilted.to(upright.dtype)[:, None, None].expand(-1, 3, 3)[turns]
        return level[turns] @ (eye + tilted * (upright - eye)[:, None])

    def solve_one(self, rays, weight, noise, mode, frame, whole=False):
        """Pose and variance for a given mode (N,) and frame (N, 3, 3); see :meth:`solve`.

        ``whole``: the covariance (N, 17, 3, 3) without the mode's noise in the variance's place.
        """
        c = self.dims + 3
        a = self.normal(rays @ frame.transpose(1, 2), weight)                  # (N, 17, 3, 3)
        columns = self.columns()
        rows = columns[..., :c].flatten(1, 2)[mode]                            # (N, 51, c)
        right = (a @ columns[mode]).reshape(-1, 3 * NUM_JOINTS, c + 1)
        full = rows.transpose(1, 2) @ right / noise[mode][:, None, None]
        full, right = full.split((c, 1), 2)
        through = rows @ inverse(full + diagonal(self.damping()))              # (N, 51, c)
        pose = self.mean[mode] - (through @ right).view(-1, NUM_JOINTS, 3)
        if whole:
            spread = (through.view(-1, NUM_JOINTS, 3, c)
                      @ rows.view(-1, NUM_JOINTS, 3, c).transpose(2, 3))
            return pose @ frame, frame.transpose(1, 2)[:, None] @ spread @ frame[:, None]
        variance = (through * rows).view(-1, NUM_JOINTS, 3 * c).sum(2) / 3
        return pose @ frame, variance + self.variance[mode][:, None]

    def damping(self):
        """Prior precision of (a, T): one for the coefficients, next to none for the place."""
        return torch.cat((torch.ones_like(self.basis[0, :, 0, 0]),
                          torch.full_like(self.mean[0, 0], 1e-6)))

    def columns(self):
        """[E | I | mu] per mode: (K, 17, 3, M + 4)."""
        k = len(self.mean)
        eye = torch.eye(3, device=self.mean.device, dtype=self.mean.dtype)
        return torch.cat((self.basis.permute(0, 2, 3, 1), eye.expand(k, NUM_JOINTS, 3, 3),
                          self.mean[..., None]), 3)

    @staticmethod
    def normal(rays, weight):
        """w (I - d d^T): (..., 17, 3, 3)."""
        eye = torch.eye(3, device=rays.device, dtype=rays.dtype)
        return weight[..., None, None] * (eye - rays[..., :, None] * rays[..., None, :])

    def search(self, rays, weight, noise, frames):
        """-2 log of the evidence of every (frame, mode): (N, R * K), mode fastest."""
        r, k, c = int(frames.shape[1]), len(self.mean), self.dims + 3
        local = rays[:, None] @ frames.transpose(2, 3)                         # (N, R, 17, 3)
        # w (I - d d^T), its six numbers; and a one, by which the damping comes in
        six = weight[:, None, :, None] * (constant(_UNIT, rays)
                                          - take(local, _ROW) * take(local, _COLUMN))
        six = F.pad(six.reshape(-1, 6 * NUM_JOINTS), (0, 1), value=1.0)
        ridge = torch.cat((self.damping(), torch.full_like(self.mean[0, 0, :1], 1e-6)))
        ridge = diagonal(ridge)[:, :, None, None].expand(-1, -1, k, 1)
        table = torch.cat((_table(self.columns()) / noise[:, None], ridge), 3)
        full = table.flatten(0, 2) @ six.T
        rest, (*_, x, y, z), pivots = eliminate(full.view(c + 1, c + 1, -1), c)
        logdet = torch.log(pivots).sum(0).view(k, -1)
        residual = rest.view(k, -1)                        # of rays, and |a|^2, at the optimum
        tz = -z
        xy, x = x.split((2, 1), 1)                         # by y and z; of nothing else
        yz, y = y.split((1, 1), 1)
        ty = -(y + yz * tz)
        tx = -(x + (xy * torch.cat((ty, tz), 1)).sum(1, keepdim=True))
        middle = local.mean(2).view(-1, 3).T[:, None]                          # (3, 1, N R)
        place = torch.cat((tx, ty, tz)).view(3, k, -1)
        depth = (middle * place).sum(0)                                        # (K, N R)
        seen = (weight.sum(1, keepdim=True) * weight.new_ones(1, r)).flatten()
        # distances from rays are small for whoever is near; angles are what is measured
        score = (residual + 2 * seen * torch.log(noise)[:, None] + logdet
                 - 2 * self.log_weight[:, None]
                 - 4 * seen * torch.log(depth.clamp(min=_NEAREST)))
        score = torch.where(depth > _NEAREST, score, score + 1e6)
        return score.T.reshape(-1, r * k)

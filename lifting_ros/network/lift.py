"""The lift between stages: a batched, differentiable twin of the closed form (design 5.1).

Everything is in statures: a person's stature is the unit of length, and depth follows from the
size in the crop. The search over modes, headings and tilts has no gradient; the winner is solved
once more with gradients through coefficients and translation.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..skeleton import INDEX, NUM_JOINTS

_FOV = 0.96             # rad a crop is taken to span where its camera is not known (55 degrees)
_WINDOW = 5             # cells about the maximum that make the soft peak
_SIGMA_PX = 1.0 / 64    # accuracy of a peak as a share of the crop's side
_NEAREST = 0.15         # statures: nobody is nearer than this
_PITCHES = (0.0, -0.52)  # rad the camera may look up: level, and from above
_ROBUST = 2.0           # sigmas at which a ray that the pose contradicts is half believed
_FILL = 0.8             # a person spans 1 / 1.25 of the crop


def soft_peaks(belief):
    """Expected position in a window about the maximum, and the maximum.

    Args:
        belief: (N, J, h, w) in 0..1.

    Returns:
        xy (N, J, 2) cells, weight (N, J).
    """
    n, j, h, w = belief.shape
    top, index = belief.detach().flatten(2).max(2)
    x0, y0 = (index % w), torch.div(index, w, rounding_mode='floor')
    half = _WINDOW // 2
    offsets = torch.arange(-half, half + 1, device=belief.device)
    xs = (x0[..., None] + offsets)                                       # (N, J, 5)
    ys = (y0[..., None] + offsets)
    inside = (((xs >= 0) & (xs < w))[:, :, None] & ((ys >= 0) & (ys < h))[..., None])
    flat = (ys.clamp(0, h - 1)[..., None] * w + xs.clamp(0, w - 1)[:, :, None]).flatten(2)
    values = belief.flatten(2).gather(2, flat) * inside.flatten(2)       # (N, J, 25)
    mass = values.sum(2) + 1e-6
    px = (values * xs[:, :, None].expand(n, j, _WINDOW, _WINDOW).flatten(2)).sum(2) / mass
    py = (values * ys[..., None].expand(n, j, _WINDOW, _WINDOW).flatten(2)).sum(2) / mass
    return torch.stack((px, py), 2), belief.flatten(2).amax(2)


def rays_of(cells, size, camera=None, stride=4):
    """Unit viewing rays of cells, in a frame x forward, y left, z up.

    Args:
        cells: (N, J, 2) x, y.
        size: side of the crop in px.
        camera: (N, 3) focal length and principal point in px, or None for a crop of 55 degrees.
        stride: px a cell.

    Returns:
        (N, J, 3) unit vectors, focal length (N, 1) px, principal point (N, 1, 2) px.
    """
    px = stride * cells + (stride - 1) / 2
    if camera is None:
        focal = px.new_full((px.shape[0], 1), size / 2 / math.tan(_FOV / 2))
        middle = px.new_full((px.shape[0], 1, 2), (size - 1) / 2)
    else:
        focal, middle = camera[:, :1], camera[:, None, 1:]
    uv = (px - middle) / focal[..., None]
    ray = torch.stack((torch.ones_like(uv[..., 0]), -uv[..., 0], -uv[..., 1]), -1)
    return F.normalize(ray, dim=-1), focal, middle


def eliminate(square, count):
    """Gauss elimination of the first ``count`` unknowns of many symmetric systems.

    Unrolled, for count is small and fixed: batches of any size run as a few operations, on every
    device and in ONNX. The systems are last, where a vector unit finds them side by side.

    Args:
        square: (n, n, B), the leading count x count blocks positive definite.

    Returns:
        Schur complement (n - count, n - count, B); list of the rows (B on the right of what is
        left of n after the pivot) by which was eliminated, over their pivots; pivots (count, B).
    """
    rows, pivots = [], []
    for _ in range(count):
        pivot = square[:1, :1].clamp(min=1e-12)
        rows.append(square[:1, 1:] / pivot)
        pivots.append(pivot)
        square = square[1:, 1:] - square[1:, :1] * rows[-1]
    return square, rows, torch.cat(pivots)[:, 0]


def inverse(square):
    """Inverse of positive definite matrices (..., n, n) by Gauss and Jordan, unrolled likewise."""
    n = square.shape[-1]
    eye = torch.eye(n, device=square.device, dtype=square.dtype)
    both = torch.cat((square, torch.zeros_like(square) + eye), -1)
    for i in range(n):
        row = both[..., i:i + 1, :]
        row = row / row[..., i:i + 1].clamp(min=1e-12)
        # the pivot's own row: both - (pivot - 1) * row is the row over its pivot
        both = both - (both[..., :, i:i + 1] - eye[:, i:i + 1]) * row
    return both[..., n:]


def diagonal(values):
    """(n,) -> (n, n); torch.diag has no ONNX counterpart."""
    return values * torch.eye(len(values), device=values.device, dtype=values.dtype)


def _table(columns):
    """Products of columns for the nine numbers of a 3x3.

    Args:
        columns: (K, J, 3, C).

    Returns:
        (C * C * K, J * 9): column (j, p, q) holds d (B^T A B) / d A_pq.
    """
    k, j, _, c = columns.shape
    pairs = columns[:, :, :, None, :, None] * columns[:, :, None, :, None, :]
    return pairs.permute(4, 5, 0, 1, 2, 3).reshape(c * c * k, j * 9)


class Lift(nn.Module):
    """Belief maps -> pose in statures -> the pose drawn as maps.

    The prior's tables are buffers, so that they travel with the weights and the network needs no
    second file. Before :meth:`set_prior` they hold a standing stick figure.

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

    def forward(self, belief, camera=None, near=None):
        """Lift and draw.

        Args:
            belief: (N, 17, h, w) in 0..1.
            camera: as in :func:`rays_of`.
            near: (N,) pitch, tilt and heading that an earlier stage found; then only its
                neighbours and its back are searched, in all modes. None searches everything.

        Returns:
            joints (N, 17, 3) in statures, optical frame of the crop's camera; maps (N, 17, h, w);
            pitch, tilt and heading found (N,), for the next stage.
        """
        h, w = belief.shape[2:]
        cells, weight = soft_peaks(belief)
        rays, focal, middle = rays_of(cells, self.stride * w, camera, self.stride)
        joints, variance, found = self.solve(rays, weight, _SIGMA_PX / _FILL, near)
        depth = joints[..., 0].clamp(min=0.2)
        px = focal[..., None] * torch.stack((-joints[..., 1], -joints[..., 2]), -1)
        cell = ((px / depth[..., None] + middle) - (self.stride - 1) / 2) / self.stride
        spread = (variance * (focal / (self.stride * depth)) ** 2 + 1.0).clamp(max=(w / 8) ** 2)
        x = torch.arange(w, device=belief.device, dtype=torch.float32)
        y = torch.arange(h, device=belief.device, dtype=torch.float32)
        # bounded: products of the tails would be denormal, which is slow on a CPU
        off = ((at - cell[..., i, None]) ** 2 for i, at in enumerate((x, y)))
        gx, gy = (torch.exp(-(d / (2 * spread[..., None])).clamp(max=20)) for d in off)
        # the wider the fainter: a belief, whose mass stays that of a sharp one
        drawn = (gy / torch.sqrt(spread)[..., None])[..., None] * gx[:, :, None]
        optical = torch.stack((-joints[..., 1], -joints[..., 2], joints[..., 0]), -1)
        return optical, drawn, found

    @staticmethod
    def tilts(rays):
        """Turns about the optical axis to try: none, and the one that sets the trunk upright.

        Returns:
            (N, 2, 2) cosine and sine of each, for :meth:`rotation` about x.
        """
        up = (rays[:, INDEX['neck'], 1:] - rays[:, INDEX['pelvis'], 1:]).detach()
        up = up / (torch.sqrt((up ** 2).sum(1, keepdim=True)) + 1e-9)
        turned = torch.stack((up[:, 1], -up[:, 0]), 1)                        # z is the cosine
        level = torch.cat((torch.ones_like(up[:, :1]), torch.zeros_like(up[:, :1])), 1)
        return torch.stack((level, turned), 1)

    def solve(self, rays, weight, sigma, near=None):
        """The most probable pose.

        Args:
            rays: (N, 17, 3) unit, x forward, y left, z up.
            weight: (N, 17) in 0..1, 0 where not seen.
            sigma: standard deviation of a ray in statures at the person.
            near: as in :meth:`forward`.

        Returns:
            joints (N, 17, 3) statures in the rays' frame, variance (N, 17) per axis, pitch, tilt
            and heading (N,).
        """
        rays, weight = rays.to(self.mean.dtype), weight.to(self.mean.dtype)
        noise = self.variance + sigma ** 2                                     # (K,)
        tilt = self.tilts(rays)                                                # (N, R, 2)
        with torch.no_grad():
            turns = self.candidates(near, weight)                              # (N, R)
            frames = self.frames(turns, tilt)                                  # (N, R, 3, 3)
            best = self.search(rays, weight, noise, frames).argmin(1)          # (N,)
        modes = self.mean.shape[0]
        pick = torch.div(best, modes, rounding_mode='floor')[:, None]
        turn = turns.gather(1, pick)[:, 0]
        frame = frames.gather(1, pick[..., None, None].expand(-1, -1, 3, 3))[:, 0]
        mode = best % modes
        with torch.no_grad():
            # a peak that the rest contradicts is likelier on another limb than far off its own
            joints, _ = self.solve_one(rays, weight, noise, mode, frame)
            off = joints - (joints * rays).sum(2, keepdim=True) * rays
            doubt = 1 + (off ** 2).sum(2) / (noise[mode] * _ROBUST ** 2)[:, None]
        joints, variance = self.solve_one(rays, weight / doubt, noise, mode, frame)
        return joints, variance, turn

    def candidates(self, near, like):
        """Pitches, tilts and headings to search, (pitch * 2 + tilt) * headings + heading.

        Args:
            near: as in :meth:`forward`; like: (N, 17).

        Returns:
            (N, R).
        """
        h, every = self.headings, 2 * len(_PITCHES) * self.headings
        if near is None:    # no expand(): the exporter would write the number of people down
            return torch.arange(every, device=like.device) + torch.zeros_like(like[:, :1]).long()
        heading = near % h
        first = near - heading
        around = [first + (heading + step) % h for step in (-1 + h, 0, 1, h // 2)]
        even = torch.div(near, h, rounding_mode='floor') % 2 == 0
        other = torch.where(even, near + h, near - h)
        return torch.stack((*around, other, (near + 2 * h) % every), 1)

    def frames(self, turns, tilt):
        """Rotations from the rays' frame to the body's for turns (N, R): (N, R, 3, 3).

        The picture is turned upright, then the camera's pitch taken out, then the heading.
        """
        # of constants, which an exporter works out beforehand: (pitch * headings + heading, 3, 3)
        level = (self.rotation(self.turns, 2)
                 @ self.rotation(self.pitches, 1)[:, None]).flatten(0, 1)
        which = torch.div(turns, self.headings, rounding_mode='floor')
        place = torch.div(which, 2, rounding_mode='floor') * self.headings
        upright = self.rotation(tilt, 0).gather(
            1, (which % 2)[..., None, None].expand(-1, -1, 3, 3))
        return level[place + turns % self.headings] @ upright

    def solve_one(self, rays, weight, noise, mode, frame):
        """Pose and variance for a given mode (N,) and frame (N, 3, 3); see :meth:`solve`."""
        c = self.dims + 3
        a = self.normal(rays @ frame.transpose(1, 2), weight)                  # (N, 17, 3, 3)
        b = self.columns()[mode]                                               # (N,17,3,c+1)
        full = (b.transpose(2, 3) @ a @ b).sum(1) / noise[mode][:, None, None]
        spread = inverse(full[:, :c, :c] + diagonal(self.damping()))           # (N, c, c)
        rows = b[..., :c].flatten(1, 2)                                        # (N, 51, c)
        through = rows @ spread
        pose = self.mean[mode] - (through @ full[:, :c, c:]).view(-1, NUM_JOINTS, 3)
        variance = (through * rows).sum(2).view(-1, NUM_JOINTS, 3).mean(2)
        return pose @ frame, variance + self.variance[mode][:, None]

    def damping(self):
        """Prior precision of (a, T): one for the coefficients, next to none for the place."""
        return torch.cat((torch.ones_like(self.basis[0, :, 0, 0]),
                          torch.full_like(self.mean[0, 0], 1e-6)))

    def columns(self):
        """[E | I | mu] per mode: (K, 17, 3, M + 4)."""
        k = self.mean.shape[0]
        eye = torch.eye(3, device=self.mean.device, dtype=self.mean.dtype)
        return torch.cat((self.basis.permute(0, 2, 3, 1), eye.expand(k, NUM_JOINTS, 3, 3),
                          self.mean[..., None]), 3)

    @staticmethod
    def rotation(angle, axis):
        """Turn of the frame about one of its axes: what was ahead is then at -angle.

        Args:
            angle: (..., 2) cosine and sine; axis: 0, 1 or 2.

        Returns:
            (..., 3, 3).
        """
        # along + cos * across - sin * cross
        along = torch.zeros(3, 3, device=angle.device, dtype=angle.dtype)
        along[axis, axis] = 1
        across = torch.eye(3, device=angle.device, dtype=angle.dtype) - along
        p, q = (axis + 1) % 3, (axis + 2) % 3
        cross = torch.zeros_like(along)
        cross[p, q], cross[q, p] = 1, -1
        return along + angle[..., :1, None] * across + angle[..., 1:, None] * cross

    @staticmethod
    def normal(rays, weight):
        """w (I - d d^T): (..., 17, 3, 3)."""
        eye = torch.eye(3, device=rays.device, dtype=rays.dtype)
        return weight[..., None, None] * (eye - rays[..., :, None] * rays[..., None, :])

    def search(self, rays, weight, noise, frames):
        """-2 log of the evidence of every (frame, mode): (N, R * K), mode fastest."""
        n, r = frames.shape[:2]
        k, c = self.mean.shape[0], self.dims + 3
        local = rays[:, None] @ frames.transpose(2, 3)                         # (N, R, 17, 3)
        nine = self.normal(local, weight[:, None]).flatten(3).reshape(n * r, -1)
        full = (_table(self.columns()) @ nine.T).view(c + 1, c + 1, k, -1)     # (., ., K, N R)
        ridge = torch.cat((self.damping(), torch.full_like(self.mean[0, 0, :1], 1e-6)))
        full = full / noise[:, None] + diagonal(ridge)[..., None, None]
        rest, (*_, x, y, z), pivots = eliminate(full.view(c + 1, c + 1, -1), c)
        logdet = torch.log(pivots).sum(0).view(k, -1)
        residual = rest[0, 0].view(k, -1)                  # of rays, and |a|^2, at the optimum
        tz = -z[0, 0]
        ty = -(y[0, 1] + y[0, 0] * tz)
        tx = -(x[0, 2] + x[0, 0] * ty + x[0, 1] * tz)
        middle = local.mean(2).view(-1, 3).T[:, None]                          # (3, 1, N R)
        place = torch.stack((tx, ty, tz)).view(3, k, -1)
        depth = (middle * place).sum(0)                                        # (K, N R)
        seen = weight.sum(1, keepdim=True).expand(n, r).reshape(-1)
        # distances from rays are small for whoever is near; angles are what is measured
        score = (residual + 2 * seen * torch.log(noise)[:, None] + logdet
                 - 2 * self.log_weight[:, None]
                 - 4 * seen * torch.log(depth.clamp(min=_NEAREST)))
        score = torch.where(depth > _NEAREST, score, score + 1e6)
        return score.T.reshape(n, r * k)

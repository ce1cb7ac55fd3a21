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


def rays_of(cells, size, camera=None):
    """Unit viewing rays of cells of stride 4, in a frame x forward, y left, z up.

    Args:
        cells: (N, J, 2) x, y.
        size: side of the crop in px.
        camera: (N, 3) focal length and principal point in px, or None for a crop of 55 degrees.

    Returns:
        (N, J, 3) unit vectors, focal length (N, 1) px, principal point (N, 1, 2) px.
    """
    px = 4 * cells + 1.5
    if camera is None:
        focal = px.new_full((px.shape[0], 1), size / 2 / math.tan(_FOV / 2))
        middle = px.new_full((px.shape[0], 1, 2), (size - 1) / 2)
    else:
        focal, middle = camera[:, :1], camera[:, None, 1:]
    uv = (px - middle) / focal[..., None]
    ray = torch.stack((torch.ones_like(uv[..., 0]), -uv[..., 0], -uv[..., 1]), -1)
    return F.normalize(ray, dim=-1), focal, middle


def cholesky(square):
    """Columns of the Cholesky factor of (..., n, n), the i-th of length n - i from the diagonal.

    Unrolled, for n is small and fixed: batches of any size run as a few elementwise operations,
    on every device and in ONNX.
    """
    columns = []
    for _ in range(square.shape[-1]):
        root = torch.sqrt(square[..., 0, :1].clamp(min=1e-9))
        column = square[..., :, 0] / root
        columns.append(column)
        square = square[..., 1:, 1:] - column[..., 1:, None] * column[..., None, 1:]
    return columns


def forward(columns, b):
    """L^-1 b for columns of :func:`cholesky` and b (..., n, m)."""
    out = []
    for column in columns:
        top = b[..., :1, :] / column[..., :1, None]
        out.append(top)
        b = b[..., 1:, :] - column[..., 1:, None] * top
    return torch.cat(out, -2)


def diagonal(values):
    """(n,) -> (n, n); torch.diag has no ONNX counterpart."""
    return values * torch.eye(len(values), device=values.device, dtype=values.dtype)


def _triangle(a):
    """Symmetric (..., 3, 3) -> (..., 6): xx yy zz xy xz yz."""
    return torch.stack((a[..., 0, 0], a[..., 1, 1], a[..., 2, 2],
                        a[..., 0, 1], a[..., 0, 2], a[..., 1, 2]), -1)


def _table(columns):
    """Products of columns for the six numbers of a symmetric 3x3.

    Args:
        columns: (K, J, 3, C).

    Returns:
        (J * 6, K * C * C): row (j, s) holds d (B^T A B) / d A_s.
    """
    k, j, _, c = columns.shape

    def pair(p, q):
        return columns[:, :, p, :, None] * columns[:, :, q, None, :]
    six = [pair(0, 0), pair(1, 1), pair(2, 2)]
    six += [pair(p, q) + pair(q, p) for p, q in ((0, 1), (0, 2), (1, 2))]
    return torch.stack(six, 2).permute(1, 2, 0, 3, 4).reshape(j * 6, k * c * c)


class Lift(nn.Module):
    """Belief maps -> pose in statures -> the pose drawn as maps.

    The prior's tables are buffers, so that they travel with the weights and the network needs no
    second file. Before :meth:`set_prior` they hold a standing stick figure.

    Args:
        modes, dims, headings: how many of each are searched.
    """

    def __init__(self, modes, dims, headings):
        super().__init__()
        self.dims, self.headings = dims, headings
        self.register_buffer('mean', torch.zeros(modes, NUM_JOINTS, 3))
        self.register_buffer('basis', torch.zeros(modes, dims, NUM_JOINTS, 3))
        self.register_buffer('variance', torch.full((modes,), 0.02 ** 2))
        self.register_buffer('log_weight', torch.full((modes,), -math.log(modes)))
        angle = torch.arange(headings) * (2 * math.pi / headings)
        self.register_buffer('turns', torch.stack((angle.cos(), angle.sin()), 1), False)

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

    def forward(self, belief, camera=None):
        """Lift and draw.

        Args:
            belief: (N, 17, h, w) in 0..1.
            camera: as in :func:`rays_of`.

        Returns:
            joints (N, 17, 3) in statures, optical frame of the crop's camera; maps (N, 17, h, w).
        """
        h, w = belief.shape[2:]
        cells, weight = soft_peaks(belief)
        rays, focal, middle = rays_of(cells, 4 * w, camera)
        joints, variance = self.solve(rays, weight, _SIGMA_PX / _FILL)
        depth = joints[..., 0].clamp(min=0.2)
        px = focal[..., None] * torch.stack((-joints[..., 1], -joints[..., 2]), -1)
        cell = ((px / depth[..., None] + middle) - 1.5) / 4
        spread = (variance * (focal / (4 * depth)) ** 2 + 1.0).clamp(max=(w / 8) ** 2)
        x = torch.arange(w, device=belief.device, dtype=torch.float32)
        y = torch.arange(h, device=belief.device, dtype=torch.float32)
        gx = torch.exp(-(x - cell[..., 0, None]) ** 2 / (2 * spread[..., None]))
        gy = torch.exp(-(y - cell[..., 1, None]) ** 2 / (2 * spread[..., None]))
        # the wider the fainter: a belief, whose mass stays that of a sharp one
        drawn = gy[..., None] * gx[:, :, None] / torch.sqrt(spread)[..., None, None]
        optical = torch.stack((-joints[..., 1], -joints[..., 2], joints[..., 0]), -1)
        return optical, drawn

    @staticmethod
    def tilts(rays):
        """Turns about the optical axis to try: none, and the one that sets the trunk upright.

        Returns:
            (N, 2, 2) cosine and sine of each.
        """
        up = (rays[:, INDEX['neck'], 1:] - rays[:, INDEX['pelvis'], 1:]).detach()
        up = up / (torch.sqrt((up ** 2).sum(1, keepdim=True)) + 1e-9)
        turned = up.flip(1)                                                   # z is the cosine
        level = torch.cat((torch.ones_like(up[:, :1]), torch.zeros_like(up[:, :1])), 1)
        return torch.stack((level, turned), 1)

    def solve(self, rays, weight, sigma):
        """The most probable pose.

        Args:
            rays: (N, 17, 3) unit, x forward, y left, z up.
            weight: (N, 17) in 0..1, 0 where not seen.
            sigma: standard deviation of a ray in statures at the person.

        Returns:
            joints (N, 17, 3) statures in the rays' frame, variance (N, 17) per axis.
        """
        rays, weight = rays.to(self.mean.dtype), weight.to(self.mean.dtype)
        noise = self.variance + sigma ** 2                                     # (K,)
        tilt = self.tilts(rays)                                                # (N, R, 2)
        with torch.no_grad():
            best = self.search(rays, weight, noise, tilt).argmin(1)            # (N,)
        modes = self.mean.shape[0]
        turn = torch.div(best, modes, rounding_mode='floor')
        picked = tilt.gather(1, torch.div(turn, self.headings, rounding_mode='floor')
                             [:, None, None].expand(-1, 1, 2))[:, 0]
        frame = self.rotation(self.turns[turn % self.headings], picked)        # (N, 3, 3)
        return self.solve_one(rays, weight, noise, best % modes, frame)

    def solve_one(self, rays, weight, noise, mode, frame):
        """Pose and variance for a given mode (N,) and frame (N, 3, 3); see :meth:`solve`."""
        c = self.dims + 3
        a = self.normal(rays @ frame.transpose(1, 2), weight)                  # (N, 17, 3, 3)
        b = self.columns()[mode]                                               # (N,17,3,c+1)
        full = (b.transpose(2, 3) @ a @ b).sum(1) / noise[mode][:, None, None]
        columns = cholesky(full[:, :c, :c] + diagonal(self.damping()))
        rows = b[..., :c].flatten(1, 2).transpose(1, 2)                        # (N, c, 51)
        # L^-1 of the right-hand side and of every joint's row
        y = forward(columns, torch.cat((full[:, :c, c:], rows), 2))
        x = -(y[:, :, :1] * y[:, :, 1:]).sum(1)                                # rows @ solution
        pose = self.mean[mode] + x.view(-1, NUM_JOINTS, 3)
        variance = (y[:, :, 1:] ** 2).sum(1).view(-1, NUM_JOINTS, 3).mean(2)
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
    def rotation(turn, tilt):
        """From the rays' frame to the body's: level out the tilt, then turn by -heading.

        Args:
            turn, tilt: (..., 2) cosine and sine.

        Returns:
            (..., 3, 3).
        """
        (ct, st), (cp, sp) = turn.unbind(-1), tilt.unbind(-1)
        zero, one = torch.zeros_like(ct), torch.ones_like(ct)
        level = torch.stack((one, zero, zero, zero, cp, -sp, zero, sp, cp), -1)
        around = torch.stack((ct, st, zero, -st, ct, zero, zero, zero, one), -1)
        shape = ct.shape + (3, 3)
        return around.view(shape) @ level.view(shape)

    @staticmethod
    def normal(rays, weight):
        """w (I - d d^T): (..., 17, 3, 3)."""
        eye = torch.eye(3, device=rays.device, dtype=rays.dtype)
        return weight[..., None, None] * (eye - rays[..., :, None] * rays[..., None, :])

    def search(self, rays, weight, noise, tilt):
        """-2 log of the evidence of every (tilt, heading, mode): (N, R * H * K), mode fastest."""
        n, r, h = rays.shape[0], tilt.shape[1], self.headings
        k, c = self.mean.shape[0], self.dims + 3
        frame = self.rotation(self.turns.expand(n, r, h, 2),
                              tilt[:, :, None].expand(n, r, h, 2))            # (N, R, H, 3, 3)
        local = rays[:, None, None] @ frame.transpose(3, 4)                    # (N, R, H, 17, 3)
        six = _triangle(self.normal(local, weight[:, None, None]))
        full = six.reshape(n * r * h, -1) @ _table(self.columns())
        full = full.view(-1, k, c + 1, c + 1) / noise[:, None, None]
        ridge = torch.cat((self.damping(), torch.full_like(self.mean[0, 0, :1], 1e-6)))
        columns = cholesky(full + diagonal(ridge))
        logdet = 2 * torch.log(torch.stack([col[..., 0] for col in columns[:-1]], -1)).sum(-1)
        residual = columns[-1][..., 0] ** 2                # of rays, and |a|^2, at the optimum
        z, y, x = columns[c - 1], columns[c - 2], columns[c - 3]
        tz = -z[..., 1] / z[..., 0]
        ty = -(y[..., 2] + y[..., 1] * tz) / y[..., 0]
        tx = -(x[..., 3] + x[..., 1] * ty + x[..., 2] * tz) / x[..., 0]
        middle = local.mean(3).reshape(-1, 1, 3)
        depth = middle[..., 0] * tx + middle[..., 1] * ty + middle[..., 2] * tz
        seen = weight.sum(1)[:, None].expand(n, r * h).reshape(-1, 1)
        # distances from rays are small for whoever is near; angles are what is measured
        score = (residual + 2 * seen * torch.log(noise) + logdet - 2 * self.log_weight
                 - 4 * seen * torch.log(depth.clamp(min=_NEAREST)))
        return torch.where(depth > _NEAREST, score, score + 1e6).view(n, -1)

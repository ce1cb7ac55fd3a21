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
    b = columns
    def pair(p, q):
        return b[:, :, p, :, None] * b[:, :, q, None, :]
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
        joints, variance = self.solve(rays, weight, _SIGMA_PX / _FILL,
                                      torch.ones_like(focal[:, 0]))
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

    def tilts(self, rays):
        """In-plane angles (N, 2) about the optical axis to try: level, and the trunk upright."""
        up = (rays[:, INDEX['neck']] - rays[:, INDEX['pelvis']]).detach()
        return torch.stack((torch.zeros_like(up[:, 0]), torch.atan2(up[:, 1], up[:, 2])), 1)

    def solve(self, rays, weight, sigma, scale):
        """The most probable pose.

        Args:
            rays: (N, 17, 3) unit, x forward, y left, z up.
            weight: (N, 17) in 0..1, 0 where not seen.
            sigma: standard deviation of a ray in statures at the person.
            scale: (N,) factor on sigma.

        Returns:
            joints (N, 17, 3) statures in the rays' frame, variance (N, 17) per axis.
        """
        rays, weight = rays.float(), weight.float()
        noise = self.variance + sigma ** 2                                     # (K,)
        tilt = self.tilts(rays)                                                # (N, R)
        step = 2 * math.pi / self.headings
        turn = torch.arange(self.headings, device=rays.device) * step         # (H,)
        with torch.no_grad():
            best = self.search(rays, weight, noise, tilt, turn)                # (N,)
        headings, modes = self.headings, self.mean.shape[0]
        k = best % modes
        theta = turn[torch.div(best, modes, rounding_mode='floor') % headings]
        r = torch.div(best, modes * headings, rounding_mode='floor')
        phi = tilt.gather(1, r[:, None])[:, 0]
        frame = self.rotation(theta, phi)                                      # (N, 3, 3)
        local = rays @ frame.transpose(1, 2)
        a = self.normal(local, weight)                                         # (N, 17, 3, 3)
        b = self.columns()[k]                                                  # (N, 17, 3, C+1)
        full = torch.einsum('njpc,njpq,njqd->ncd', b, a, b) / noise[k][:, None, None]
        c = self.dims + 3
        lhs = full[:, :c, :c] + torch.diag(self.damping(rays.device))
        lower = torch.linalg.cholesky(lhs)
        x = -torch.cholesky_solve(full[:, :c, c:], lower)[..., 0]              # (N, C)
        pose = self.mean[k] + torch.einsum('njpc,nc->njp', b[..., :c], x)
        spread = torch.cholesky_solve(torch.eye(c, device=x.device).expand_as(lhs), lower)
        variance = torch.einsum('njpc,ncd,njpd->nj', b[..., :c], spread, b[..., :c]) / 3
        return pose @ frame, variance + self.variance[k][:, None]

    def damping(self, device):
        """Prior precision of (a, T): one for the coefficients, next to none for the place."""
        return torch.cat((torch.ones(self.dims, device=device),
                          torch.full((3,), 1e-3, device=device)))

    def columns(self):
        """[E | I | mu] per mode: (K, 17, 3, M + 4)."""
        k = self.mean.shape[0]
        eye = torch.eye(3, device=self.mean.device).expand(k, NUM_JOINTS, 3, 3)
        return torch.cat((self.basis.permute(0, 2, 3, 1), eye, self.mean[..., None]), 3)

    @staticmethod
    def rotation(theta, phi):
        """From the rays' frame to the body's: level out the tilt, then turn by -heading.

        Args:
            theta, phi: (...,) rad.

        Returns:
            (..., 3, 3).
        """
        ct, st, cp, sp = torch.cos(theta), torch.sin(theta), torch.cos(phi), torch.sin(phi)
        zero, one = torch.zeros_like(ct), torch.ones_like(ct)
        level = torch.stack((one, zero, zero, zero, cp, -sp, zero, sp, cp), -1)
        turn = torch.stack((ct, st, zero, -st, ct, zero, zero, zero, one), -1)
        shape = theta.shape + (3, 3)
        return turn.view(shape) @ level.view(shape)

    @staticmethod
    def normal(rays, weight):
        """w (I - d d^T): (..., 17, 3, 3)."""
        eye = torch.eye(3, device=rays.device)
        return weight[..., None, None] * (eye - rays[..., :, None] * rays[..., None, :])

    def search(self, rays, weight, noise, tilt, turn):
        """Index (N,) of the best (tilt, heading, mode), mode fastest."""
        n, r, h = rays.shape[0], tilt.shape[1], turn.shape[0]
        k, c = self.mean.shape[0], self.dims + 3
        phi = tilt[:, :, None].expand(n, r, h)
        frame = self.rotation(turn.expand(n, r, h), phi)
        local = torch.einsum('njq,nrhpq->nrhjp', rays, frame)
        six = _triangle(self.normal(local, weight[:, None, None]))             # (N,R,H,17,6)
        full = six.reshape(n * r * h, -1) @ _table(self.columns())
        full = full.view(-1, k, c + 1, c + 1) / noise[:, None, None]
        lhs = full[..., :c, :c] + torch.diag(self.damping(rays.device))
        rhs = full[..., :c, c]
        lower = torch.linalg.cholesky(lhs)
        y = torch.linalg.solve_triangular(lower, rhs[..., None], upper=False)[..., 0]
        residual = full[..., c, c] - (y ** 2).sum(-1)      # of rays, and |a|^2, at the optimum
        seen = weight.sum(1).repeat_interleave(r * h)[:, None]
        logdet = 2 * torch.log(torch.diagonal(lower, dim1=-2, dim2=-1)).sum(-1)
        score = residual + 2 * seen * torch.log(noise) + logdet - 2 * self.log_weight
        x = torch.linalg.solve_triangular(lower.transpose(-1, -2), -y[..., None],
                                          upper=True)[..., -3:, 0]             # T, body's frame
        place = torch.einsum('bkp,bp->bk', x, frame.reshape(-1, 3, 3)[..., :, 0])
        score = torch.where(place > 0.2, score, score + 1e6)   # behind the camera: out
        return score.view(n, -1).argmin(1)

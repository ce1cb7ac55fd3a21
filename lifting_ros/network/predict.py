"""What the lifted pose says of each joint beyond what the joint's own belief map has said."""

import torch

from .rays import SIGMA, cells_of, optical, rays_of, soft_peaks


def predict(lift, belief, camera=None, last=None, search=True):
    """Lift, and say where the others put each joint: its likelihood left out.

    The pose that a joint's own peak has drawn towards itself says of that peak nothing new;
    see :func:`cavity`.

    Args:
        as :meth:`Lift.forward`; lift: Lift.

    Returns:
        joints (N, 17, 3) in statures, optical frame of the crop's camera; place (N, 17, 2)
        cells x, y; covariance (N, 17, 2, 2) cells^2; Found for the next stage.
    """
    w = int(belief.shape[3])
    cells, weight = soft_peaks(belief)
    rays, focal, middle = rays_of(cells, lift.stride * w, camera, lift.stride)
    *_, found = lift.solve(rays, weight, SIGMA, last, search)
    noise = lift.variance + SIGMA ** 2
    weight = weight / lift.doubt(found.joints, rays, noise[found.mode])
    joints, whole = lift.solve_one(rays, weight, noise, found.mode, found.frame, True)
    q, spread, axes = cavity(joints, whole, rays, weight / noise[found.mode][:, None])
    along = (joints * rays).sum(2, keepdim=True).clamp(min=0.2)
    at = along * rays + (q[..., None] * axes).sum(2)
    place = cells_of(at, at[..., :1].clamp(min=0.1), focal, middle, lift.stride)
    scale = (focal / lift.stride)[..., None, None] / along[..., None]
    spread = scale ** 2 * (spread + lift.variance[found.mode][:, None, None, None]
                         * torch.eye(2, device=spread.device, dtype=spread.dtype))
    return optical(joints), place, spread, found


def cavity(joints, covariance, rays, own):
    """Each joint across its ray, without what its own ray says.

    There a joint's posterior is Gaussian, (q, Q), and so was what its ray told it, (0, I / own):
    the quotient of the two, (I - own Q)^-1 (q, Q), is what the other joints and the prior say.

    Args:
        joints: (N, 17, 3) posterior mean, covariance: (N, 17, 3, 3) of it; rays: (N, 17, 3)
        unit; own: (N, 17) precision of each joint's ray, 0 where not seen.

    Returns:
        q (N, 17, 2), covariance (N, 17, 2, 2), axes (N, 17, 2, 3): unit, across the ray.
    """
    x, y, z = rays.unbind(2)
    level = torch.sqrt(x * x + y * y + 1e-12)
    side = torch.stack((-y, x, 0 * x), 2) / level[..., None]
    up = torch.stack((-x * z, -y * z, level * level), 2) / level[..., None]
    axes = torch.stack((side, up), 2)
    q, spread = (axes @ joints[..., None])[..., 0], axes @ covariance @ axes.transpose(2, 3)
    eye = torch.eye(2, device=spread.device, dtype=spread.dtype)
    m = eye - own[..., None, None] * spread      # own Q is below one, but for rounding
    trace = m[..., 0, 0] + m[..., 1, 1]
    det = (m[..., 0, 0] * m[..., 1, 1] - m[..., 0, 1] * m[..., 1, 0]).clamp(min=1e-3)
    without = (trace[..., None, None] * eye - m) / det[..., None, None]       # the inverse
    return (without @ q[..., None])[..., 0], without @ spread, axes


def bowl(place, covariance, h, w):
    """Half the squared Mahalanobis distance of every cell from a place.

    Args:
        place: (N, J, 2) cells x, y; covariance: (N, J, 2, 2) cells^2, a cell is added; h, w.

    Returns:
        (N, J, h, w), at most 20: products of the tails would be denormal, slow on a CPU.
    """
    a, b, d = covariance[..., 0, 0] + 1, covariance[..., 0, 1], covariance[..., 1, 1] + 1
    det = (a * d - b * b).clamp(min=1.0)
    a, b, d = (v[..., None, None] for v in (d / det, -b / det, a / det))
    x = torch.arange(w, device=place.device, dtype=torch.float32) - place[..., :1]
    y = torch.arange(h, device=place.device, dtype=torch.float32) - place[..., 1:]
    x, y = x[..., None, :], y[..., None]
    return ((a * x / 2 + b * y) * x + d / 2 * y * y).clamp(max=20)

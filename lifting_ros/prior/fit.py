"""Fitting the prior: heading alignment and EM of a mixture of PPCA, alternating (design.md 4)."""

import numpy as np

from .model import PosePrior


def facing(poses):
    """Heading of poses by their hips and shoulders, radians about z, 0 where they face +x.

    Args:
        poses: (..., 17, 3), z up, any unit.
    """
    across = (poses[..., 4, :] - poses[..., 1, :]) + (poses[..., 11, :] - poses[..., 14, :])
    return np.arctan2(-across[..., 0], across[..., 1])


def turn(poses, angle):
    """Poses (..., J, 3) turned about z by angle (...), radians."""
    c, s = np.cos(angle)[..., None], np.sin(angle)[..., None]
    x, y, z = np.moveaxis(poses, -1, 0)
    return np.stack((c * x - s * y, s * x + c * y, z), -1)


def align(poses, targets):
    """Angle about z that brings poses closest to targets: 2D Procrustes (paper, eq. 4).

    Args:
        poses, targets: (N, J, 3).

    Returns:
        (N,) radians.
    """
    cross = (poses[..., 0] * targets[..., 1] - poses[..., 1] * targets[..., 0]).sum(-1)
    dot = (poses[..., 0] * targets[..., 0] + poses[..., 1] * targets[..., 1]).sum(-1)
    return np.arctan2(cross, dot)


def start(poses, modes, rng, rounds=15):
    """Responsibilities (N, modes), 0 or 1, by k-means from spread-out seeds (k-means++)."""
    x = poses.reshape(len(poses), -1)
    centres = x[rng.integers(len(x))][None]
    for _ in range(modes - 1):
        near = ((x ** 2).sum(1)[:, None] - 2 * x @ centres.T + (centres ** 2).sum(1)).min(1)
        near = np.maximum(near, 0)
        centres = np.vstack((centres, x[rng.choice(len(x), p=near / near.sum())]))
    for _ in range(rounds):
        label = ((centres ** 2).sum(1) - 2 * x @ centres.T).argmin(1)
        for k in range(modes):
            if (label == k).any():
                centres[k] = x[label == k].mean(0)
    return np.eye(modes)[label]


def maximise(poses, resp, dimensions):
    """The M step in closed form (Tipping and Bishop 1999, eq. 7 and 8), per mode.

    The pelvis is the origin of every pose, so only the other coordinates carry noise.

    Args:
        poses: (N, 17, 3) canonical.
        resp: (N, K) responsibilities.
        dimensions: M.

    Returns:
        mean (K, 17, 3), basis (K, M, 17, 3), psi (K,), weight (K,).
    """
    n, k = resp.shape
    x = poses.reshape(n, -1)
    means, bases, psis = [], [], []
    for i in range(k):
        total = resp[:, i].sum() + 1e-9
        mean = resp[:, i] @ x / total
        d = x - mean
        cov = (resp[:, i, None] * d).T @ d / total
        value, vector = np.linalg.eigh(cov)
        value, vector = value[::-1], vector[:, ::-1]
        free = x.shape[1] - 3 - dimensions
        psi = max(value[dimensions:].sum() / free, 1e-7)
        scale = np.sqrt(np.maximum(value[:dimensions] - psi, 1e-10))
        means.append(mean)
        bases.append((vector[:, :dimensions] * scale).T)
        psis.append(psi)
    shape = poses.shape[1:]
    return (np.array(means).reshape(k, *shape), np.array(bases).reshape(k, dimensions, *shape),
            np.array(psis), (resp.sum(0) + 1) / (n + k))


def reconstruct(prior, poses, mode):
    """Each pose as its mode's subspace explains it (posterior mean), (N, 17, 3)."""
    out = np.empty_like(poses)
    for k in range(prior.modes):
        mine = mode == k
        if mine.any():
            e = prior.basis[k].reshape(prior.dimensions, -1)
            d = (poses[mine] - prior.mean[k]).reshape(mine.sum(), -1)
            a = np.linalg.solve(e @ e.T + prior.psi[k] * np.eye(len(e)), e @ d.T)
            out[mine] = prior.mean[k] + (a.T @ e).reshape(-1, *poses.shape[1:])
    return out


def fit(poses, modes, dimensions, rng, stature, rounds=40, align_every=4, noise=0.0):
    """Fit a prior.

    Args:
        poses: (N, 17, 3), z up, pelvis at the origin, in statures, any heading.
        modes, dimensions: K and M.
        rng: numpy Generator (start of the modes).
        stature: (2,) see :class:`PosePrior`; taken over.
        rounds: EM rounds.
        align_every: rounds between alignments of the headings.
        noise: sigma in statures added to psi in the responsibilities, so that small bone
            differences between subjects do not split modes.

    Returns:
        PosePrior and the mean log-likelihood of the poses after each round.
    """
    poses = turn(poses, -facing(poses))
    resp = start(poses, modes, rng)
    curve = []
    for i in range(rounds):
        prior = PosePrior(*maximise(poses, resp, dimensions), stature)
        log = prior.log_density(poses, noise)
        top = log.max(1, keepdims=True)
        like = np.exp(log - top)
        resp = like / like.sum(1, keepdims=True)
        curve.append(float((top[:, 0] + np.log(like.sum(1))).mean()))
        if i % align_every == align_every - 1:
            mode = resp.argmax(1)
            poses = turn(poses, align(poses, reconstruct(prior, poses, mode)))
    angle = -facing(prior.mean)
    basis = turn(prior.basis, np.repeat(angle[:, None], dimensions, 1))
    order = np.argsort(-prior.weight)
    return PosePrior(turn(prior.mean, angle)[order], basis[order], prior.psi[order],
                     prior.weight[order], stature), curve

"""From refined candidates to joints with covariances (design.md 5.3)."""

import numpy as np

from ..skeleton import HIPS, NECK, PELVIS, SPINE


def joints(problem, state, linear):
    """Laplace at each row, with what the skeleton noise leaves after the rays.

    A joint is x = model(variables) + e, e the noise of mode and skeleton. Given the variables,
    a seen joint's ray measures e across itself: gain G = n (n + pixels)^-1 there. So the mean
    moves by G times the residual, and the covariance is
    (I - G) J H^-1 J^T (I - G)^T + n (I - G).

    Returns:
        mean (B, 17, 3) m, covariance (B, 17, 3, 3) m^2 in the problem's frame, and the log
        evidence (B,) of the row up to a constant.
    """
    b = len(linear.cost)
    noise = problem.noise * np.exp(2 * state.log_stature)
    along = linear.depth[..., None, None]
    # spread is in radians; linear.weight is confidence times the robust weight
    total = linear.spread * along ** 2
    a, c, d = total[..., 0, 0], total[..., 0, 1], total[..., 1, 1]
    inverse = np.stack((np.stack((d, -c), -1), np.stack((-c, a), -1)), -2) / (
        a * d - c * c)[..., None, None]
    # a joint of little weight moves the body little, and is itself little moved
    gain = (noise[:, None] * linear.weight)[..., None, None] * inverse
    across = problem.across
    lift = np.swapaxes(across, -1, -2)
    moved = lift @ (gain @ (linear.residual * linear.depth[..., None])[..., None])
    mean = linear.about + state.translation[:, None] - moved[..., 0]
    left = np.eye(3) - lift @ gain @ across
    if problem.marks is not None:
        mean, left = _along(problem, linear, noise, mean, left)
    inverse_matrix = np.linalg.inv(linear.matrix)
    jac = left @ linear.jacobian
    # the middles are made of their neighbours; their covariance follows the same rule
    for joint, (p, q) in ((PELVIS, HIPS), (SPINE, (PELVIS, NECK))):
        mean[:, joint] = (mean[:, p] + mean[:, q]) / 2
        jac[:, joint] = (jac[:, p] + jac[:, q]) / 2
    covariance = jac @ inverse_matrix[:, None] @ np.swapaxes(jac, -1, -2)
    own = noise[:, None, None, None] * left
    own[:, PELVIS] = (own[:, HIPS[0]] + own[:, HIPS[1]]) / 4
    own[:, SPINE] = (own[:, PELVIS] + own[:, NECK]) / 4
    covariance = covariance + (own + np.swapaxes(own, -1, -2)) / 2
    sign, logdet = np.linalg.slogdet(linear.matrix)
    evidence = -0.5 * (linear.cost + np.where(sign > 0, logdet, np.inf)).reshape(b)
    return mean, covariance, evidence


def _along(problem, linear, noise, mean, left):
    """What depth says of a joint's own noise: the same along its ray."""
    n = mean.shape[1]
    ray = problem.marks[:, :n]
    precision = problem.mark_precision[:, :n] * linear.mark_weight[:, :n]
    share = noise[:, None] * precision / (1 + noise[:, None] * precision)
    off = problem.mark_value[:, :n] - (ray * mean).sum(-1)
    mean = mean + (share * off)[..., None] * ray
    onto = share[..., None, None] * ray[..., :, None] * ray[..., None, :]
    return mean, left - onto @ left


def mix(mean, covariance, log_weight):
    """Moments of a mixture of Gaussians over axis 1.

    Args:
        mean: (N, C, 17, 3); covariance: (N, C, 17, 3, 3); log_weight: (N, C).

    Returns:
        mean (N, 17, 3), covariance (N, 17, 3, 3), weights (N, C).
    """
    top = log_weight.max(1, keepdims=True)
    weight = np.exp(log_weight - np.where(np.isfinite(top), top, 0))
    weight = weight / np.maximum(weight.sum(1, keepdims=True), 1e-300)
    w = weight[..., None, None]
    middle = (w * mean).sum(1)
    off = mean - middle[:, None]
    spread = covariance + off[..., :, None] * off[..., None, :]
    return middle, (w[..., None] * spread).sum(1), weight

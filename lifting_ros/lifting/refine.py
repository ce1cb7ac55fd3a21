"""Refinement: Levenberg's damped Gauss-Newton on the rays, robustly (design.md 5.2).

Everything is batched over rows, as in :mod:`lifting_ros.lifting.problem`; those that have
converged are left alone.
"""

from dataclasses import dataclass

import numpy as np

from .problem import MARKED, canonical, cost, length_terms, residuals, robust, skew

_EYE = np.eye(3)


@dataclass(frozen=True, eq=False)
class Linear:
    """The problem about a state, and what the posterior needs of it.

    Args:
        cost: (B,). matrix: (B, P, P), the robust normal matrix; gradient: (B, P) of half the cost;
            P = M + 7 variables as in :meth:`State.moved`.
        about: (B, 17, 3) m, joints about the pelvis; jacobian: (B, 17, 3, P) of them in place.
        depth, residual, spread: of :func:`~lifting_ros.lifting.problem.residuals`.
        weight: (B, 17) confidence times what the residual left of it.
        mark_weight: (B, G) what is left of each mark, 0 where there is none; (B, 0) without marks.
    """

    cost: np.ndarray
    matrix: np.ndarray
    gradient: np.ndarray
    about: np.ndarray
    jacobian: np.ndarray
    depth: np.ndarray
    residual: np.ndarray
    spread: np.ndarray
    weight: np.ndarray
    mark_weight: np.ndarray


def linearise(problem, state):
    """The cost and its Gauss-Newton quadratic about a state; variables as in State.moved."""
    b, m = state.coefficients.shape
    pose = canonical(problem, state)
    about, depth, residual, spread, distance = residuals(problem, state, pose)
    weight = problem.confidence * robust(distance)[1]
    jac = np.empty((b, 17, 3, m + 7))
    _joint_jacobian(jac, problem, state, about)
    rows, off = _white_rows(problem, weight, depth, residual, spread, jac)
    transposed = np.swapaxes(rows, -1, -2)
    matrix = transposed @ rows
    gradient = (transposed @ off)[..., 0]
    index = np.arange(m)
    matrix[:, index, index] += 1
    gradient[:, :m] += state.coefficients
    off_length = None
    if problem.length_mean is not None:
        off_length, along = length_terms(problem, pose)
        slope = problem.length_root @ np.einsum('bmpc,bpc->bpm', problem.bones, along)
        matrix[:, :m, :m] += np.swapaxes(slope, -1, -2) @ slope
        gradient[:, :m] += (off_length[:, None] @ slope)[:, 0]
    # tilt: a rotation vector w moves the body's vertical v by w x v
    tilt = -skew(state.rotation[:, :, 2])[:, :2] / problem.tilt_sigma[:, None, None]
    off = state.rotation[:, :2, 2] / problem.tilt_sigma[:, None]
    matrix[:, m:m + 3, m:m + 3] += np.swapaxes(tilt, -1, -2) @ tilt
    gradient[:, m:m + 3] += (off[:, None] @ tilt)[:, 0]
    matrix[:, m + 3, m + 3] += problem.stature[:, 1] ** -2
    gradient[:, m + 3] += ((state.log_stature - problem.stature[:, 0])
                           / problem.stature[:, 1] ** 2)
    value = cost(problem, state, spread, distance, off_length)
    belief = np.zeros((b, 0))
    if problem.marks is not None:
        extra, belief = _add_marks(problem, state, about, jac, matrix, gradient)
        value = value + extra
    return Linear(value, matrix, gradient, about, jac, depth, residual, spread, weight, belief)


def _add_marks(problem, state, about, jac, matrix, gradient):
    """Add to matrix and gradient what marks measure; returns cost (B,) and robust weights."""
    point = (about + state.translation[:, None])[:, MARKED]
    off = (problem.marks * point).sum(-1) - problem.mark_value
    known = problem.mark_precision > 0
    model = problem.noise * np.exp(2 * state.log_stature)
    variance = 1 / np.where(known, problem.mark_precision, 1.0) + model[:, None]
    value, belief = robust(np.abs(off) / np.sqrt(variance))
    weight = np.where(known, belief / variance, 0.0)
    rows = (problem.marks[:, :, None] @ jac[:, MARKED])[:, :, 0]
    scaled = np.swapaxes(weight[..., None] * rows, -1, -2)
    matrix += scaled @ rows
    gradient += (scaled @ off[..., None])[..., 0]
    return np.where(known, value, 0).sum(1), np.where(known, belief, 0.0)


def _joint_jacobian(out, problem, state, about):
    """Fill out (B, 17, 3, M + 7) with d joints / d (a, rotation vector, log stature, place)."""
    b, m = state.coefficients.shape
    turn = np.exp(state.log_stature)[:, None, None] * state.rotation
    basis = problem.basis.reshape(b, m * 17, 3) @ np.swapaxes(turn, -1, -2)
    out[..., :m] = basis.reshape(b, m, 17, 3).transpose(0, 2, 3, 1)
    out[..., m:m + 3] = skew(-about)
    out[..., m + 3] = about
    out[..., m + 4:] = _EYE


def _white_rows(problem, weight, depth, residual, spread, jac):
    """Rows (B, 34, P) and values (B, 34, 1) of the residuals in sigmas, times root weights."""
    b = len(depth)
    # d residual = (across - residual ray^T) dX / depth
    into = (problem.across - residual[..., None] * problem.rays[..., None, :]) / depth[
        ..., None, None]
    # whiten: spread = L L^T, 2 x 2 in closed form
    l00 = np.sqrt(spread[..., 0, 0])
    l10 = spread[..., 0, 1] / l00
    l11 = np.sqrt(np.maximum(spread[..., 1, 1] - l10 ** 2, 1e-18))
    root = np.sqrt(weight)
    white = np.empty((b, 17, 2, 4))
    white[..., :3], white[..., 3] = into, residual
    white[..., 0, :] *= (root / l00)[..., None]
    white[..., 1, :] = ((root / l11)[..., None] * white[..., 1, :]
                        - (l10 / l11)[..., None] * white[..., 0, :])
    return (white[..., :3] @ jac).reshape(b, 34, -1), white[..., 3].reshape(b, 34, 1)


def refine(problem, state, rounds=8, tolerance=0.02):
    """Minimise the cost of every row.

    Args:
        problem: Problem of B rows.
        state: where to start.
        rounds: steps at most.
        tolerance: a row has converged when a step would gain less than this in cost.

    Returns:
        State, and Linear about it.
    """
    size = problem.mean.shape[0]
    damping = np.full(size, 1e-3)
    linear = linearise(problem, state)
    active = np.ones(size, dtype=bool)
    for _ in range(rounds):
        rows = np.flatnonzero(active)
        if not len(rows):
            break
        damped = linear.matrix[rows]
        index = np.arange(damped.shape[1])
        damped[:, index, index] *= 1 + damping[rows, None]
        step = -np.linalg.solve(damped, linear.gradient[rows][..., None])[..., 0]
        gain = -(step * linear.gradient[rows]).sum(1)
        part = problem[rows] if len(rows) < size else problem
        trial = state[rows].moved(step)
        new = linearise(part, trial)
        better = new.cost < linear.cost[rows]
        take = rows[better]
        damping[rows] = np.where(better, damping[rows] * 0.2, damping[rows] * 8)
        active[rows] = (gain > tolerance) & (damping[rows] < 1e6)
        if len(take) == size:
            state, linear = trial, new
        elif len(take):
            for old, fresh in ((state, trial), (linear, new)):
                for name, value in old.__dict__.items():
                    value[take] = getattr(fresh, name)[better]
    return state, linear

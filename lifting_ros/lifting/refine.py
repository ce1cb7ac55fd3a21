"""Refinement: Levenberg's damped Gauss-Newton on the rays, robustly (design.md 5.2).

Everything is batched over rows, a row being one candidate of one person; rows do not affect
one another, those that have converged are left alone. Frames have z up; lengths are metres.
"""

from dataclasses import dataclass

import numpy as np

from ..prior.model import LENGTHS
from ..skeleton import INDEX

_NEAR = 0.15  # metres: nothing is nearer to the camera
_PAIRS = np.array(LENGTHS).T
_EYE = np.eye(3)
#: Joints of the marks: each by depth, then the ankles by the ground.
MARKED = np.r_[np.arange(17), INDEX['right_ankle'], INDEX['left_ankle']]
_TAIL = 6.0  # sigmas^2: where a joint's residual starts to count as an error


@dataclass(frozen=True, eq=False)
class Problem:
    """What is known about each row.

    Args:
        rays: (B, 17, 3) unit viewing rays, z up.
        across: (B, 17, 2, 3) see :func:`~lifting_ros.lifting.frames.across`.
        confidence: (B, 17) 0..1, 0 not seen.
        ray_covariance: (B, 17, 2, 2) of the rays in ``across``, radians^2.
        mean: (B, 17, 3) and basis: (B, M, 17, 3) of the row's mode, statures.
        noise: (B,) variance of a joint about the mode, psi + skeleton^2, statures^2.
        tilt_sigma: (B,) how well gravity is known, radians.
        stature: (B, 2) mean and sigma of log stature in metres.
        pose_mean: (B, 17, 3) statures about the pelvis, or None: a learned density's opinion,
        pose_precision: (B, 51, 51) and its precision, 1/statures^2.
        length_mean: (12,) lengths of the prior, statures, or None,
        length_root: (12, 12) W with W^T W their precision,
        bones: (B, M, 12, 3) their part in the basis; made if not given.
        marks: (B, G, 3) unit directions, or None: joint MARKED[g] is measured along each,
        mark_value: (B, G) metres, and mark_precision (B, G), 1/m^2, 0 where it is not.
    """

    rays: np.ndarray
    across: np.ndarray
    confidence: np.ndarray
    ray_covariance: np.ndarray
    mean: np.ndarray
    basis: np.ndarray
    noise: np.ndarray
    tilt_sigma: np.ndarray
    stature: np.ndarray
    pose_mean: np.ndarray | None = None
    pose_precision: np.ndarray | None = None
    length_mean: np.ndarray | None = None
    length_root: np.ndarray | None = None
    bones: np.ndarray | None = None
    marks: np.ndarray | None = None
    mark_value: np.ndarray | None = None
    mark_precision: np.ndarray | None = None

    def __post_init__(self):
        if self.length_mean is not None and self.bones is None:
            object.__setattr__(self, 'bones', self.basis[:, :, _PAIRS[0]]
                               - self.basis[:, :, _PAIRS[1]])

    def __getitem__(self, rows):
        return Problem(**{k: v if v is None or k.startswith('length') else v[rows]
                          for k, v in self.__dict__.items()})


@dataclass(frozen=True, eq=False)
class State:
    """Variables of each row: a (B, M), rotation (B, 3, 3) of the body into the frame,
    translation (B, 3) of the pelvis in metres, log_stature (B,).
    """

    coefficients: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    log_stature: np.ndarray

    def __getitem__(self, rows):
        return State(*(v[rows] for v in self.__dict__.values()))

    def moved(self, step):
        """The state after a step (B, M + 7): a, rotation vector, log stature, translation."""
        m = self.coefficients.shape[1]
        return State(self.coefficients + step[:, :m],
                     exponential(step[:, m:m + 3]) @ self.rotation,
                     self.translation + step[:, m + 4:], self.log_stature + step[:, m + 3])


def exponential(vector):
    """Rotation matrices (B, 3, 3) of rotation vectors (B, 3) (Rodrigues)."""
    angle = np.linalg.norm(vector, axis=-1)[:, None, None]
    cross = skew(vector)
    safe = np.maximum(angle, 1e-12)
    return (_EYE + np.sin(angle) / safe * cross
            + (1 - np.cos(angle)) / safe ** 2 * cross @ cross)


def skew(v):
    """Matrices (..., 3, 3) with skew(v) u = v x u."""
    out = np.zeros(v.shape + (3,))
    out[..., 0, 1], out[..., 0, 2], out[..., 1, 2] = -v[..., 2], v[..., 1], -v[..., 0]
    out[..., 1, 0], out[..., 2, 0], out[..., 2, 1] = v[..., 2], -v[..., 1], v[..., 0]
    return out


def canonical(problem, state):
    """Joints in the canonical frame, (B, 17, 3) statures."""
    shape = problem.mean.shape
    flat = state.coefficients[:, None] @ problem.basis.reshape(shape[0], -1, 51)
    return problem.mean + flat.reshape(shape)


def length_terms(problem, pose):
    """Residuals (B, 12) of the lengths, in sigmas, and unit vectors (B, 12, 3) along them."""
    a, b = _PAIRS
    bone = pose[:, a] - pose[:, b]
    length = np.sqrt((bone ** 2).sum(-1))
    return ((length - problem.length_mean) @ problem.length_root.T,
            bone / np.maximum(length, 1e-9)[..., None])


def body(problem, state, pose=None):
    """Joints about the pelvis, (B, 17, 3) metres, z up."""
    pose = canonical(problem, state) if pose is None else pose
    turn = np.exp(state.log_stature)[:, None, None] * state.rotation
    return pose @ np.swapaxes(turn, -1, -2)


@dataclass(frozen=True, eq=False)
class Linear:
    """The problem about a state: cost (B,), robust normal matrix (B, P, P) without the
    learned density's Hessian left out, gradient (B, P), and what the posterior needs.
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


def residuals(problem, state, pose=None):
    """Joints, depths along the rays, residuals across them and their covariance.

    Returns:
        about (B, 17, 3) m; depth (B, 17) m, clipped from below; residual (B, 17, 2) radians;
        spread (B, 17, 2, 2) radians^2; distance (B, 17) in sigmas.
    """
    about = body(problem, state, pose)
    point = about + state.translation[:, None]
    along = (problem.rays * point).sum(-1)
    depth = np.maximum(along, _NEAR)
    residual = (problem.across @ point[..., None])[..., 0] / depth[..., None]
    model = problem.noise * np.exp(2 * state.log_stature)
    spread = problem.ray_covariance + (model[:, None] / depth ** 2)[..., None, None] * _EYE[:2, :2]
    a, b, c = spread[..., 0, 0], spread[..., 0, 1], spread[..., 1, 1]
    x, y = residual[..., 0], residual[..., 1]
    square = (c * x * x - 2 * b * x * y + a * y * y) / (a * c - b * b)
    # a joint behind the camera is as wrong as can be, and more so the further it is behind
    square = square + np.where(along < _NEAR, ((_NEAR - along) / 0.05) ** 2, 0)
    return about, depth, residual, spread, np.sqrt(square)


def robust(distance):
    """A cost of distances in sigmas that grows with their logarithm, and the weight of its
    quadratic. Keypoints of a network have gross errors; Huber's cost, which grows with the
    distance, left 97 mm where this leaves 80 with one joint in fourteen 40 px off.
    """
    square = distance ** 2
    return _TAIL * np.log1p(square / _TAIL), _TAIL / (_TAIL + square)


def prior_cost(problem, state, off_length, off_density):
    """Cost (B,) of coefficients, tilt, stature, lengths (their residuals in sigmas, or None),
    and the learned density (pose less its mean (B, 51, 1), or None).
    """
    tilt = state.rotation[:, :2, 2] / problem.tilt_sigma[:, None]
    size = (state.log_stature - problem.stature[:, 0]) / problem.stature[:, 1]
    cost = (state.coefficients ** 2).sum(1) + (tilt ** 2).sum(1) + size ** 2
    if off_length is not None:
        cost = cost + (off_length ** 2).sum(1)
    if off_density is not None:
        cost = cost + ((problem.pose_precision @ off_density) * off_density).sum((1, 2))
    return cost


def _data_cost(problem, spread, distance):
    """Robust cost and log-determinant of what is seen (B,): -2 log likelihood but for a
    constant, each joint counting as its confidence says.
    """
    det = spread[..., 0, 0] * spread[..., 1, 1] - spread[..., 0, 1] ** 2
    return (problem.confidence * (robust(distance)[0] + np.log(det))).sum(1)


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
    off_density = None
    if problem.pose_mean is not None:
        small = np.exp(-state.log_stature)[:, None, None]
        off_density = (small * about - problem.pose_mean).reshape(b, 51, 1)
        flat = jac[..., :m + 3].reshape(b, 51, -1) * small
        pulled = problem.pose_precision @ flat
        matrix[:, :m + 3, :m + 3] += np.swapaxes(flat, -1, -2) @ pulled
        gradient[:, :m + 3] += (np.swapaxes(pulled, -1, -2) @ off_density)[..., 0]
    value = _data_cost(problem, spread, distance) + prior_cost(problem, state, off_length,
                                                               off_density)
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


def start(problem, candidates_a, heading, translation):
    """The state of a closed-form solution: statures to metres, heading to rotation."""
    size = problem.stature[:, 0]
    c, s, zero = np.cos(heading), np.sin(heading), np.zeros_like(heading)
    rotation = np.stack((np.stack((c, -s, zero), -1), np.stack((s, c, zero), -1),
                         np.stack((zero, zero, zero + 1), -1)), -2)
    return State(candidates_a.copy(), rotation, translation * np.exp(size)[:, None],
                 size.copy())

"""What refinement minimises: what is known, the variables, and what they cost (design.md 5.2).

Everything is batched over rows, a row being one candidate of one person; rows do not affect
one another. Frames have z up; lengths are metres.
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


def start(problem, candidates_a, heading, translation):
    """The state of a closed-form solution: statures to metres, heading to rotation."""
    size = problem.stature[:, 0]
    c, s, zero = np.cos(heading), np.sin(heading), np.zeros_like(heading)
    rotation = np.stack((np.stack((c, -s, zero), -1), np.stack((s, c, zero), -1),
                         np.stack((zero, zero, zero + 1), -1)), -2)
    return State(candidates_a.copy(), rotation, translation * np.exp(size)[:, None],
                 size.copy())


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


def body(state, pose):
    """Joints about the pelvis, (B, 17, 3) metres, z up, of a canonical pose (B, 17, 3)."""
    turn = np.exp(state.log_stature)[:, None, None] * state.rotation
    return pose @ np.swapaxes(turn, -1, -2)


def residuals(problem, state, pose):
    """Joints, depths along the rays, residuals across them and their covariance.

    Args:
        problem: Problem of B rows; state: State of them.
        pose: (B, 17, 3) statures, of :func:`canonical`.

    Returns:
        about (B, 17, 3) m; depth (B, 17) m, clipped from below; residual (B, 17, 2) radians;
        spread (B, 17, 2, 2) radians^2; distance (B, 17) in sigmas.
    """
    about = body(state, pose)
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


def cost(problem, state, spread, distance, off_length):
    """What there is against a state (B,): -2 log density but for a constant.

    Args:
        spread, distance: of :func:`residuals`; each joint counts as its confidence says.
        off_length: (B, 12) of :func:`length_terms`, or None.
    """
    det = spread[..., 0, 0] * spread[..., 1, 1] - spread[..., 0, 1] ** 2
    seen = (problem.confidence * (robust(distance)[0] + np.log(det))).sum(1)
    tilt = state.rotation[:, :2, 2] / problem.tilt_sigma[:, None]
    size = (state.log_stature - problem.stature[:, 0]) / problem.stature[:, 1]
    prior = (state.coefficients ** 2).sum(1) + (tilt ** 2).sum(1) + size ** 2
    if off_length is not None:
        prior = prior + (off_length ** 2).sum(1)
    return seen + prior

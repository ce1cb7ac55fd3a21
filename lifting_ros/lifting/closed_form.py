"""The closed form: rays to 3D poses by one linear solve for each mode and heading (design 5.1).

A joint at T + R(heading) P_j lies on its ray d_j when (I - d_j d_j^T)(T + R P_j) = 0. With the
rays turned by -heading, and P_j = mean_kj + E_kj a, that is linear in x = (a, T). For
B_j = [E_kj | I | mean_kj] the augmented normal matrix of a candidate is

    S = sum_j w_j B_j^T (I - d_j d_j^T) B_j + diag(1 .. 1, 0, 0, 0, 0),

linear in the six numbers of w_j (I - d_j d_j^T): a row of 17 x 6 numbers times a constant
table. The Cholesky factor L of S holds everything: the last row without its end is L^-1 b, its
end squared is the least value of residual + |a|^2, and the diagonal is the log-determinant.

Lengths are in statures, frames have z up.
"""

from dataclasses import dataclass

import numpy as np

from ..skeleton import NUM_JOINTS

#: Upper triangle of a symmetric 3x3 matrix: the order of the six numbers.
SIX = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
_RIDGE = 1e-9
_NEAREST = 0.15  # statures: a person's pelvis is not nearer than this


@dataclass(frozen=True, eq=False)
class Candidates:
    """C solutions for each of N people, best first.

    Args:
        mode: (N, C) mode of the prior.
        heading: (N, C) radians about z.
        coefficients: (N, C, M) a.
        translation: (N, C, 3) the pelvis, in statures, in the frame of the rays.
        score: (N, C) -2 log of the evidence up to a constant; inf where there is no solution.
    """

    mode: np.ndarray
    heading: np.ndarray
    coefficients: np.ndarray
    translation: np.ndarray
    score: np.ndarray


def turned(vectors, angles):
    """Vectors (..., 3) turned by -angle about z, a new axis of the angles in front of the last
    two: (N, J, 3), (H,) -> (N, H, J, 3).
    """
    c, s = np.cos(angles)[:, None], np.sin(angles)[:, None]
    x, y, z = (vectors[:, None, :, i] for i in range(3))
    return np.stack((c * x + s * y, c * y - s * x, np.broadcast_to(z, x.shape[:1] + (
        len(angles),) + x.shape[2:])), axis=-1)


def projectors(rays):
    """The six numbers of I - d d^T for unit rays (..., 3): (..., 6)."""
    x, y, z = np.moveaxis(rays, -1, 0)
    return np.stack((1 - x * x, 1 - y * y, 1 - z * z, -x * y, -x * z, -y * z), axis=-1)


def table(design):
    """The constant table of one mode.

    Args:
        design: (17, 3, D) the matrices B_j.

    Returns:
        (17 * 6, D (D + 1) / 2): row (j, six) times w_j (I - d d^T) gives the upper triangle
        of sum_j w_j B_j^T (I - d d^T) B_j, packed by rows (numpy.triu_indices).
    """
    size = design.shape[-1]
    rows, cols = np.triu_indices(size)
    out = np.empty((NUM_JOINTS, 6, len(rows)))
    for n, (a, b) in enumerate(SIX):
        one = design[:, a, :, None] * design[:, b, None, :]
        if a != b:
            one = one + np.swapaxes(one, 1, 2)
        out[:, n] = one[:, rows, cols]
    return out.reshape(NUM_JOINTS * 6, -1)


def designs(prior, dimensions):
    """B_j of every mode with the first ``dimensions`` directions: (K, 17, 3, dimensions + 4)."""
    k = prior.modes
    basis = np.moveaxis(prior.basis[:, :dimensions], 1, -1)
    eye = np.broadcast_to(np.eye(3), (k, NUM_JOINTS, 3, 3))
    return np.concatenate((basis, eye, prior.mean[..., None]), axis=-1)


class ClosedForm:
    """The search over modes and headings: few dimensions for all, all for the best few.

    Args:
        prior: :class:`~lifting_ros.prior.PosePrior`.
        headings: how many headings, evenly spaced.
        coarse: directions of each mode in the first pass; what the others explain is noise
            there. None makes the first pass the full one.
        keep: how many (mode, heading) of the first pass are solved with all directions.
    """

    def __init__(self, prior, headings=32, coarse=8, keep=24):
        self.prior = prior
        self.angles = np.arange(headings) * (2 * np.pi / headings)
        self.coarse = prior.dimensions if coarse is None else min(coarse, prior.dimensions)
        self.keep = keep
        few = designs(prior, self.coarse)
        # The first pass only ranks: where it has fewer directions it is in single precision, and
        # its ridge covers the rounding.
        narrow = self.coarse < prior.dimensions
        self._real = np.float32 if narrow else np.float64
        self.tables = np.stack([table(b) for b in few]).astype(self._real)
        size = few.shape[-1]
        rows, cols = np.triu_indices(size)
        self._unpack = np.empty((size, size), dtype=int)
        self._unpack[rows, cols] = self._unpack[cols, rows] = np.arange(len(rows))
        self._ridge = np.diag(np.r_[np.ones(self.coarse), np.full(4, 1e-2 if narrow else _RIDGE)])
        self.full = designs(prior, prior.dimensions).reshape(
            prior.modes, NUM_JOINTS, 3, prior.dimensions + 4)
        self._full_ridge = np.diag(np.r_[np.ones(prior.dimensions), np.full(4, _RIDGE)])
        noise = prior.psi[:, None] + prior.skeleton_noise ** 2
        dropped = (prior.basis[:, self.coarse:] ** 2).sum((1, 3)) / 3
        self.noise = np.broadcast_to(noise, (prior.modes, NUM_JOINTS)).copy()
        self.coarse_noise = self.noise + dropped
        self._log_weight = -2 * np.log(prior.weight)
        # how far visible joints are from one another across the line of sight, statures
        spread = (prior.mean ** 2).sum(-1) + (prior.basis ** 2).sum((1, 3))
        self.spread = 2 / 3 * (prior.weight[:, None] * spread).sum(0)

    def distance(self, rays, confidence):
        """Distance of people by the apparent size of what is seen, (N,) statures."""
        total = confidence.sum(1, keepdims=True)
        middle = (confidence[..., None] * rays).sum(1, keepdims=True) / total[..., None]
        angular = (confidence * ((rays - middle) ** 2).sum(-1)).sum(1) / total[:, 0]
        # the mean of what is seen moves with it: about half of the spread about the pelvis
        size = 0.6 * (confidence * self.spread).sum(1) / total[:, 0]
        return np.clip(np.sqrt(size / np.maximum(angular, 1e-9)), 0.3, 60)

    def search(self, rays, confidence, angle_sigma, candidates=4, distance=None):
        """The best solutions of each person.

        Args:
            rays: (N, 17, 3) unit, z up; anything finite where not seen.
            confidence: (N, 17) 0..1, 0 where not seen.
            angle_sigma: (N, 17) noise of the rays, radians.
            candidates: C.
            distance: (N,) statures for the first pass's weights, None by apparent size.

        Returns:
            Candidates, distinct in mode or heading.
        """
        n, k, h = len(rays), self.prior.modes, len(self.angles)
        if distance is None:
            distance = self.distance(rays, confidence)
        pixel = (angle_sigma * distance[:, None]) ** 2
        weight = confidence / (self.coarse_noise[:, None] + pixel)           # (K, N, 17)
        around = turned(rays, self.angles)                                   # (N, H, 17, 3)
        rows = (weight[:, :, None, :, None].astype(self._real)
                * projectors(around).astype(self._real))                     # (K, N, H, 17, 6)
        packed = rows.reshape(k, n * h, -1) @ self.tables
        square = np.take(packed.reshape(k, n, h, -1), self._unpack, axis=-1) + self._ridge
        score, _, forward = self._evaluate(square, around.mean(2)[None], self.coarse,
                                           confidence.sum(1)[None, :, None])
        score += self._constant(weight, confidence)[:, :, None]
        score = np.where(forward, score, np.inf)
        flat = score.transpose(1, 0, 2).reshape(n, k * h)
        keep = min(self.keep, k * h)
        best = np.argpartition(flat, keep - 1, axis=1)[:, :keep]
        mode, turn = best // h, best % h
        first = flat.argmin(1)
        # once more, with all directions and the distance of the first pass's best
        depth = self._depth(square[first // h, np.arange(n), first % h], self.coarse)
        return self.solve(rays, confidence, angle_sigma, mode, self.angles[turn],
                          np.where(np.isfinite(depth), depth, distance), candidates)

    def solve(self, rays, confidence, angle_sigma, mode, heading, distance, candidates=None):
        """Solve given modes and headings with all directions, and sort them.

        Args:
            rays, confidence, angle_sigma: as in :meth:`search`.
            mode, heading: (N, Q).
            distance: (N,) statures.
            candidates: how many to return; None all.

        Returns:
            Candidates.
        """
        n, q = mode.shape
        m = self.prior.dimensions
        pixel = (angle_sigma * distance[:, None]) ** 2
        weight = confidence[:, None] / (self.noise[mode] + pixel[:, None])   # (N, Q, 17)
        c, s = np.cos(heading)[..., None], np.sin(heading)[..., None]
        x, y, z = (rays[:, None, :, i] for i in range(3))
        around = np.stack((c * x + s * y, c * y - s * x,
                           np.broadcast_to(z, (n, q, NUM_JOINTS))), -1)
        design = self.full[mode]                                             # (N, Q, 17, 3, D)
        root = np.sqrt(weight)[..., None, None]
        # (I - d d^T) is its own square: S = A^T A with A = sqrt(w) (I - d d^T) B
        along = around[..., None, :] @ design
        a = (root * (design - around[..., None] * along)).reshape(n, q, NUM_JOINTS * 3, m + 4)
        square = np.swapaxes(a, -1, -2) @ a + self._full_ridge
        score, factor, forward = self._evaluate(square, around.mean(2), m,
                                                confidence.sum(1)[:, None])
        score += self._log_weight[mode] - 2 * (confidence[:, None] * np.log(
            np.maximum(weight, 1e-30))).sum(-1)
        score = np.where(forward, score, np.inf)
        order = np.argsort(score, axis=1)[:, :candidates]
        pick = np.take_along_axis
        factor = factor[np.arange(n)[:, None], order]
        x = -np.linalg.solve(np.swapaxes(factor[..., :-1, :-1], -1, -2),
                             factor[..., -1, :-1, None])[..., 0]
        heading = pick(heading, order, 1)
        c, s = np.cos(heading), np.sin(heading)
        t = x[..., m:]
        t = np.stack((c * t[..., 0] - s * t[..., 1], s * t[..., 0] + c * t[..., 1], t[..., 2]),
                     -1)
        return Candidates(pick(mode, order, 1), heading, x[..., :m], t, pick(score, order, 1))

    def _constant(self, weight, confidence):
        """Terms of the score that do not depend on the heading, (K, N)."""
        log = confidence * np.log(np.maximum(weight, 1e-30))
        return self._log_weight[:, None] - 2 * log.sum(-1)

    def _evaluate(self, square, middle, m, seen):
        """Score (...), Cholesky factor and whether the person is in front of the camera.

        Distances from the rays are small for whoever is near. What is measured are angles,
        whose density has the factor Z^2 for each joint; ``seen`` is the sum of confidences.
        """
        factor = np.linalg.cholesky(square)
        diagonal = np.diagonal(factor, axis1=-2, axis2=-1)
        score = diagonal[..., -1] ** 2 + 2 * np.log(diagonal[..., :-1]).sum(-1)
        depth = (self._translation(factor, m) * middle).sum(-1)
        score = score - 4 * seen * np.log(np.maximum(depth, _NEAREST))
        return score, factor, depth > _NEAREST

    @staticmethod
    def _translation(factor, m):
        """T by back substitution in the last three rows of the factor, (..., 3)."""
        low = factor[..., m:m + 3, m:m + 3]
        b = -factor[..., m + 3, m:m + 3]
        z = b[..., 2] / low[..., 2, 2]
        y = (b[..., 1] - low[..., 2, 1] * z) / low[..., 1, 1]
        x = (b[..., 0] - low[..., 1, 0] * y - low[..., 2, 0] * z) / low[..., 0, 0]
        return np.stack((x, y, z), -1)

    def _depth(self, square, m):
        return np.linalg.norm(self._translation(np.linalg.cholesky(square), m), axis=-1)

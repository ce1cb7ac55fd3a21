"""The prior of poses: a mixture of probabilistic PCA (Tipping and Bishop 1999).

Canonical frame: z up, the person faces +x, left is +y, the pelvis is the origin, and the unit
of length is the person's stature.
"""

from dataclasses import dataclass, field

import numpy as np

from ..skeleton import INDEX, MIRROR, NUM_JOINTS
from .file import WEIGHTS, WeightsError, load_tensors, save_tensors

#: Pairs of joints whose distances the prior knows: a linear model of poses does not.
LENGTHS = tuple((INDEX[a], INDEX[b]) for a, b in (
    ('right_hip', 'right_knee'), ('left_hip', 'left_knee'), ('right_knee', 'right_ankle'),
    ('left_knee', 'left_ankle'), ('right_shoulder', 'right_elbow'),
    ('left_shoulder', 'left_elbow'), ('right_elbow', 'right_wrist'),
    ('left_elbow', 'left_wrist'), ('pelvis', 'neck'), ('neck', 'head_top'),
    ('right_hip', 'left_hip'), ('right_shoulder', 'left_shoulder')))


def lengths(poses):
    """Distances (..., 12) of :data:`LENGTHS` in poses (..., 17, 3)."""
    a, b = np.array(LENGTHS).T
    return np.linalg.norm(poses[..., a, :] - poses[..., b, :], axis=-1)


@dataclass(frozen=True, eq=False)
class PosePrior:
    """Mode k: P = mean_k + basis_k a + e, a ~ N(0, I_M), e ~ N(0, psi_k I), of weight_k.

    Args:
        mean: (K, 17, 3) in statures.
        basis: (K, M, 17, 3) in statures, strongest direction first.
        psi: (K,) variance a coordinate, statures^2.
        weight: (K,), sums to one.
        stature: (2,) mean and sigma of the natural logarithm of the stature in metres.
        skeleton_noise: sigma in statures by which other people's skeletons differ from the
            fit's in where a joint is said to be; to be added to psi, squared (design.md 4).
        length_mean: (12,) and length_covariance (12, 12) of :data:`LENGTHS`, statures, or None:
            left and right alike, their sum the stature.
        metadata: strings of the file.
    """

    mean: np.ndarray
    basis: np.ndarray
    psi: np.ndarray
    weight: np.ndarray
    stature: np.ndarray
    skeleton_noise: float = 0.015
    length_mean: np.ndarray | None = None
    length_covariance: np.ndarray | None = None
    metadata: dict = field(default_factory=dict)

    def __post_init__(self):
        for name in ('mean', 'basis', 'psi', 'weight', 'stature'):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        k, m = self.basis.shape[:2]
        shapes = {'mean': (k, NUM_JOINTS, 3), 'basis': (k, m, NUM_JOINTS, 3), 'psi': (k,),
                  'weight': (k,), 'stature': (2,)}
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value.shape != shape or not np.isfinite(value).all():
                raise WeightsError(f'the prior\'s {name} must be finite of shape {shape}, '
                                   f'not {value.shape}')

    @property
    def modes(self):
        """K, the number of modes."""
        return self.basis.shape[0]

    @property
    def dimensions(self):
        """M, the number of directions of a mode."""
        return self.basis.shape[1]

    @classmethod
    def load(cls, path=None):
        """Read a prior's file; None is the shipped one.

        Raises:
            WeightsError: missing, damaged, or not a prior.
        """
        path = WEIGHTS / 'prior.safetensors' if path is None else path
        tensors, metadata = load_tensors(path)
        names = ('mean', 'basis', 'psi', 'weight', 'stature')
        missing = [n for n in names if n not in tensors]
        if missing:
            raise WeightsError(f'{path} is no pose prior: it lacks {", ".join(missing)}. '
                               'Fit one with: lifting-ros train prior --mocap PATH --out FILE')
        optional = {n: tensors[n].astype(np.float64) for n in
                    ('length_mean', 'length_covariance') if n in tensors}
        return cls(**{n: tensors[n] for n in names}, **optional,
                   skeleton_noise=float(metadata.get('skeleton_noise', 0.015)),
                   metadata=metadata)

    def save(self, path):
        """Write the prior's file (float32)."""
        names = ('mean', 'basis', 'psi', 'weight', 'stature', 'length_mean',
                 'length_covariance')
        save_tensors(path, {n: getattr(self, n).astype(np.float32) for n in names
                            if getattr(self, n) is not None},
                     {**self.metadata, 'skeleton_noise': f'{self.skeleton_noise:.5f}'})

    def log_density(self, poses, noise=0.0):
        """Log density of poses in the canonical frame.

        Args:
            poses: (N, 17, 3) statures.
            noise: sigma of further noise a coordinate, statures.

        Returns:
            (N, K) log of weight times density of each mode; log-sum-exp over modes is the
            density of the mixture.
        """
        x = np.asarray(poses, dtype=np.float64).reshape(len(poses), -1)
        out = np.empty((len(x), self.modes))
        for k in range(self.modes):
            e = self.basis[k].reshape(self.dimensions, -1)
            psi = self.psi[k] + noise ** 2
            d = x - self.mean[k].ravel()
            # Woodbury: the inverse of e^T e + psi I needs an M x M solve only
            inner = np.eye(len(e)) + e @ e.T / psi
            chol = np.linalg.cholesky(inner)
            half = np.linalg.solve(chol, e @ d.T) / psi
            dist = (d ** 2).sum(1) / psi - (half ** 2).sum(0)
            logdet = 2 * np.log(np.diag(chol)).sum() + d.shape[1] * np.log(psi)
            out[:, k] = (np.log(self.weight[k])
                         - 0.5 * (dist + logdet + d.shape[1] * np.log(2 * np.pi)))
        return out

    def sample(self, n, rng):
        """n poses (n, 17, 3) in the canonical frame, statures, and their modes (n,)."""
        k = rng.choice(self.modes, n, p=self.weight / self.weight.sum())
        a = rng.standard_normal((n, self.dimensions))
        e = rng.standard_normal((n, NUM_JOINTS, 3)) * np.sqrt(self.psi[k])[:, None, None]
        return self.mean[k] + np.einsum('nm,nmjc->njc', a, self.basis[k]) + e, k


def mirror(poses):
    """Left and right exchanged: poses (..., 17, 3) in a frame whose y points left."""
    return poses[..., MIRROR, :] * np.array([1.0, -1.0, 1.0])

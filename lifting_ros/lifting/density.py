"""A learned density of poses given rays: a residual MLP in numpy (design.md 5.2).

It sees the rays in the frame of their mean ray, what is seen and how well, and how far the mean
ray is from level; it says where the joints are about the pelvis, in statures, with a covariance
of a diagonal and a few common directions. Trained by ``lifting_ros.training.rays``.
"""

import numpy as np
from scipy.special import erf

from ..prior.file import WEIGHTS, WeightsError, load_tensors
from ..skeleton import NUM_JOINTS

#: Inputs: for each joint two angles and a confidence, then the five numbers of the view.
INPUTS = NUM_JOINTS * 3 + 5
_OUT = NUM_JOINTS * 3


def view_frame(rays, confidence):
    """Frames of the mean rays of what is seen.

    Args:
        rays: (N, 17, 3) unit, z up; confidence: (N, 17), 0 not seen.

    Returns:
        (N, 3, 3) R with rows along the mean ray, to its left, and up in its vertical plane.
    """
    seen = (confidence > 0)[..., None]
    ahead = (seen * rays).sum(1)
    ahead = ahead / np.maximum(np.linalg.norm(ahead, axis=1, keepdims=True), 1e-9)
    left = np.stack((-ahead[:, 1], ahead[:, 0], 0 * ahead[:, 0]), -1)
    level = np.linalg.norm(left, axis=1, keepdims=True)
    left = np.where(level > 1e-3, left / np.maximum(level, 1e-9), [0.0, 1.0, 0.0])
    return np.stack((ahead, left, np.cross(ahead, left)), 1)


def features(rays, confidence, sigma, known):
    """The network's inputs.

    Args:
        rays: (N, 17, 3) unit, z up (up assumed where gravity is not known).
        confidence: (N, 17) 0..1, 0 not seen.
        sigma: (N, 17) noise of the rays, radians.
        known: (N,) whether gravity is.

    Returns:
        inputs (N, INPUTS) float32 and the view frames (N, 3, 3).
    """
    frame = view_frame(rays, confidence)
    local = rays @ np.swapaxes(frame, 1, 2)
    seen = confidence > 0
    count = np.maximum(seen.sum(1, keepdims=True), 1)
    flat = local[..., 1:] / np.maximum(local[..., :1], 0.1)
    flat = np.where(seen[..., None], flat, 0)
    middle = flat.sum(1, keepdims=True) / count[..., None]
    flat = np.where(seen[..., None], flat - middle, 0)
    spread = np.sqrt((flat ** 2).sum((1, 2)) / count[:, 0]) + 1e-6
    noise = np.sqrt((seen * sigma ** 2).sum(1) / count[:, 0]) / spread
    rise = frame[:, 0, 2]
    view = np.stack((np.log(spread) + 2, np.where(known, rise, 0),
                     np.where(known, np.sqrt(np.maximum(1 - rise ** 2, 0)), 0),
                     np.asarray(known, dtype=float), np.log(noise + 1e-3) + 4), -1)
    joints = np.concatenate((flat / spread[:, None, None], confidence[..., None]), -1)
    joints = np.clip(joints, -6, 6)
    return np.concatenate((joints.reshape(len(rays), -1), view), 1).astype(np.float32), frame


class RayDensity:
    """The network.

    Args:
        tensors: name -> array, as ``lifting_ros.training.rays`` writes them.
        metadata: strings of the file.

    Raises:
        WeightsError: a tensor is missing or has another shape.
    """

    def __init__(self, tensors, metadata=None):
        self.metadata = metadata or {}
        self.layers = {k: np.ascontiguousarray(v, dtype=np.float32) for k, v in tensors.items()}
        try:
            self.blocks = sum(k.startswith('blocks.') and k.endswith('.0.weight')
                              for k in self.layers)
            inputs = self.layers['first.weight'].shape[1]
            outputs = self.layers['last.weight'].shape[0]
        except KeyError as error:
            raise WeightsError(f'the file is no learned density: it lacks {error}') from None
        if inputs != INPUTS or outputs % _OUT or not self.blocks:
            raise WeightsError(f'the learned density takes {inputs} numbers and gives {outputs}; '
                               f'{INPUTS} and a multiple of {_OUT} were expected')
        self.rank = outputs // _OUT - 2

    @classmethod
    def load(cls, path=None):
        """Read a file; None is the shipped one. Raises WeightsError."""
        return cls(*load_tensors(WEIGHTS / 'lifter.safetensors' if path is None else path))

    def _linear(self, name, x):
        return x @ self.layers[f'{name}.weight'].T + self.layers[f'{name}.bias']

    def __call__(self, rays, confidence, sigma, known):
        """The density of each person's pose.

        Args:
            as :func:`features`.

        Returns:
            mean (N, 17, 3) about the pelvis, statures, z up; covariance (N, 51, 51) of it.
        """
        inputs, frame = features(rays, confidence, sigma, known)
        x = gelu(self._linear('first', inputs))
        for i in range(self.blocks):
            inner = gelu(self._linear(f'blocks.{i}.0', x))
            x = x + gelu(self._linear(f'blocks.{i}.1', inner))
        out = self._linear('last', x).astype(np.float64)
        n = len(out)
        mean = out[:, :_OUT].reshape(n, NUM_JOINTS, 3) @ frame
        sd = np.exp(np.clip(out[:, _OUT:2 * _OUT], -7, 1))
        low = (out[:, 2 * _OUT:] * 0.1).reshape(n, NUM_JOINTS, 3, self.rank)
        low = (np.swapaxes(frame, 1, 2)[:, None] @ low).reshape(n, _OUT, self.rank)
        diagonal = np.swapaxes(frame, 1, 2)[:, None] @ (
            (sd ** 2).reshape(n, NUM_JOINTS, 3)[..., None] * frame[:, None])
        covariance = low @ np.swapaxes(low, 1, 2)
        index = np.arange(NUM_JOINTS)
        blocks = covariance.reshape(n, NUM_JOINTS, 3, NUM_JOINTS, 3)
        blocks[:, index, :, index] += np.moveaxis(diagonal, 1, 0)
        return mean, covariance


def gelu(x):
    """The Gaussian error linear unit."""
    return (0.5 * x * (1 + erf(x * np.float32(0.70710678)))).astype(np.float32)

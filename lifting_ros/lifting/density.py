"""A learned density of poses given rays: a residual MLP in numpy (design.md 5.2).

It sees the rays in the frame of their mean ray, what is seen and how well, and how far the mean
ray is from level; it says where the joints are about the pelvis, in statures, with a covariance
of a diagonal and a few common directions. Trained by ``lifting_ros.training.rays``.
"""

import numpy as np
from scipy.special import erf

from ..prior.file import WEIGHTS, WeightsError, load_tensors
from ..skeleton import MIRROR, NUM_JOINTS

#: Inputs: for each joint two angles and a confidence, then the five numbers of the view.
INPUTS = NUM_JOINTS * 3 + 5
_OUT = NUM_JOINTS * 3
#: Coordinates of the mirrored pose in the view's frame, and the sign that left then has.
_MIRROR = (3 * np.array(MIRROR)[:, None] + np.arange(3)).ravel()
_FLIP = np.tile([1.0, -1.0, 1.0], NUM_JOINTS)


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
    return np.stack((ahead, left, _cross(ahead, left)), 1)


def _cross(a, b):
    """a x b of (N, 3) arrays; numpy's own takes ten times as long for a few rows."""
    (x, y, z), (u, v, w) = a.T, b.T
    return np.stack((y * w - z * v, z * u - x * w, x * v - y * u), -1)


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
        return self.layers[f'{name}.weight'] @ x + self.layers[f'{name}.bias'][:, None]

    def __call__(self, rays, confidence, sigma, known):
        """The density of each person's pose: the mean of the network's answers to the scene
        and to its mirror image.

        Args:
            as :func:`features`.

        Returns:
            mean (N, 17, 3) about the pelvis, statures, z up; covariance (N, 51, 51) of it.
        """
        inputs, frame = features(rays, confidence, sigma, known)
        n = len(inputs)
        out = self._forward(np.concatenate((inputs, mirrored_inputs(inputs))))
        mean = (out[:n, :_OUT] + _FLIP * out[n:, _MIRROR]) / 2
        log_sd = (out[:n, _OUT:2 * _OUT] + out[n:, _OUT:2 * _OUT][:, _MIRROR]) / 2
        sd = np.exp(np.clip(log_sd, -7, 1))
        low = 0.1 * out[:, 2 * _OUT:].reshape(2 * n, _OUT, self.rank)
        # both directions' common parts, each of half the weight
        low = np.sqrt(0.5) * np.concatenate(
            (low[:n], _FLIP[:, None] * low[n:, _MIRROR]), axis=2)
        turn = np.swapaxes(frame, 1, 2)[:, None]
        low = (turn @ low.reshape(n, NUM_JOINTS, 3, -1)).reshape(n, _OUT, -1)
        diagonal = turn @ ((sd ** 2).reshape(n, NUM_JOINTS, 3)[..., None] * frame[:, None])
        covariance = low @ np.swapaxes(low, 1, 2)
        index = np.arange(NUM_JOINTS)
        blocks = covariance.reshape(n, NUM_JOINTS, 3, NUM_JOINTS, 3)
        blocks[:, index, :, index] += np.moveaxis(diagonal, 1, 0)
        return mean.reshape(n, NUM_JOINTS, 3) @ frame, covariance

    def _forward(self, inputs):
        """The network's raw outputs (N, 51 (2 + rank)) float64."""
        # one column a person: half the time of one row a person where people are few
        x = gelu(self._linear('first', np.ascontiguousarray(inputs.T)))
        for i in range(self.blocks):
            inner = gelu(self._linear(f'blocks.{i}.0', x))
            x = x + gelu(self._linear(f'blocks.{i}.1', inner))
        return np.ascontiguousarray(self._linear('last', x).T, dtype=np.float64)


def mirrored_inputs(inputs):
    """Inputs of the mirrored scene: left and right exchanged, the angle to the left negated."""
    joints = inputs[:, :_OUT].reshape(-1, NUM_JOINTS, 3)[:, MIRROR] * np.float32([-1, 1, 1])
    return np.concatenate((joints.reshape(len(inputs), -1), inputs[:, _OUT:]), 1)


def gelu(x):
    """The Gaussian error linear unit."""
    out = erf(x * np.float32(0.70710678))
    out += 1
    out *= x
    out *= np.float32(0.5)
    return out

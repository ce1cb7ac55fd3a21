"""A learned density of poses given rays: a residual MLP in numpy (design.md 5.2).

It sees the rays in the frame of their mean ray, what is seen and how well, and how far the mean
ray is from level; it says where the joints are about the pelvis, in statures, with a covariance
of a diagonal and a few common directions. Trained by ``lifting_ros.training.rays``.
"""

from dataclasses import dataclass

import numpy as np

from ..prior.file import WEIGHTS, WeightsError, load_tensors
from ..skeleton import MIRROR, NUM_JOINTS

#: Inputs: for each joint two angles and a confidence, then the five numbers of the view.
INPUTS = NUM_JOINTS * 3 + 5
_OUT = NUM_JOINTS * 3
#: Inputs are at most so large: angles six times the pose's spread; the numbers of the view so that
#: noise is at most three times as wide as the person.
MOST = np.repeat([6.0, 5.0], [_OUT, INPUTS - _OUT])
#: Coordinates of the mirrored pose in the view's frame, and the sign that left then has.
_MIRROR = (3 * np.array(MIRROR)[:, None] + np.arange(3)).ravel()
_FLIP = np.tile([1.0, -1.0, 1.0], NUM_JOINTS)
_FLIPPED = 0.1 * np.sqrt(0.5) * _FLIP[:, None]
#: The same of the inputs, whose angle to the left is each joint's first number.
_MIRROR_INPUT = np.concatenate((_MIRROR, np.arange(_OUT, INPUTS)))
_FLIP_INPUT = np.concatenate((np.tile([-1, 1, 1], NUM_JOINTS), np.ones(INPUTS - _OUT))).astype(
    np.float32)
#: gelu(x) is x / 2 (1 + tanh(x p(x^2))), p of these coefficients, highest first: within 3.5e-6
#: of the one with erf, which takes ten times as long.
_GELU = np.array([1.1126342e-06, -3.0467241e-05, -1.2547600e-04, 3.6469929e-02, 0.7978276],
                 dtype=np.float32)
#: A layer's product with few columns goes in parts of so many multiplications at most: OpenBLAS
#: does not copy the weights first then, which takes as long as the product.
_FEW, _SMALL = 32, 1000 ** 2
#: Up to so many columns any number is as fast a column as a multiple of 8; from there on up to
#: _FEW so many are faster than fewer.
_ODD = 20


@dataclass(frozen=True, eq=False)
class Belief:
    """Gaussians of N poses about the pelvis, statures, z up: x = mean + low z + turn sd e.

    Args:
        mean: (N, 17, 3); low: (N, 17, 3, R) directions that all joints share.
        turn: (N, 3, 3) whose columns are the axes of the joints' own errors; variance:
            (N, 17, 3) along them.
    """

    mean: np.ndarray
    low: np.ndarray
    turn: np.ndarray
    variance: np.ndarray

    def __getitem__(self, index):
        return Belief(self.mean[index], self.low[index], self.turn[index], self.variance[index])

    def own(self):
        """Covariances of the joints' own errors, (N, 17, 3, 3)."""
        return own_errors(self.turn, self.variance)

    def covariance(self):
        """(N, 51, 51)."""
        n = len(self.mean)
        low = self.low.reshape(n, _OUT, -1)
        whole = low @ np.swapaxes(low, 1, 2)
        index = np.arange(NUM_JOINTS)
        whole.reshape(n, NUM_JOINTS, 3, NUM_JOINTS, 3)[:, index, :, index] += np.moveaxis(
            self.own(), 1, 0)
        return whole


def own_errors(turn, variance):
    """Covariances (N, 17, 3, 3) of errors of a ``variance`` (N, 17, 3) along axes, the columns
    of ``turn`` (N, 3, 3).
    """
    scaled = (turn[:, None] * variance[:, :, None]).reshape(-1, _OUT, 3)
    return (scaled @ turn.swapaxes(1, 2)).reshape(-1, NUM_JOINTS, 3, 3)


def view_frame(rays, confidence):
    """Frames of the mean rays of what is seen.

    Args:
        rays: (N, 17, 3) unit, z up; confidence: (N, 17), 0 not seen.

    Returns:
        (N, 3, 3) R with rows along the mean ray, to its left, and up in its vertical plane.
    """
    ahead = ((confidence > 0).astype(float)[:, None] @ rays)[:, 0]
    ahead /= np.maximum(np.sqrt((ahead * ahead).sum(1, keepdims=True)), 1e-9)
    x, y, z = ahead.T
    level = np.sqrt(x * x + y * y)
    safe, level = level > 1e-3, np.maximum(level, 1e-9)
    u, v = np.where(safe, -y / level, 0.0), np.where(safe, x / level, 1.0)
    frame = np.empty((len(rays), 3, 3))
    frame[:, 0] = ahead
    frame[:, 1, 0], frame[:, 1, 1], frame[:, 1, 2] = u, v, 0
    frame[:, 2, 0], frame[:, 2, 1], frame[:, 2, 2] = -z * v, z * u, x * v - y * u
    return frame


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
    n = len(rays)
    seen = (confidence > 0).astype(float)
    frame = view_frame(rays, seen)
    local = rays @ np.swapaxes(frame, 1, 2)
    count = np.maximum(seen.sum(1), 1)
    flat = local[..., 1:] / np.maximum(local[..., :1], 0.1)
    flat -= (seen[:, None] @ flat) / count[:, None, None]
    flat *= seen[..., None]
    spread = np.sqrt(np.einsum('njk,njk->n', flat, flat) / count) + 1e-6
    noise = np.sqrt((seen * sigma * sigma).sum(1) / count) / spread
    rise = frame[:, 0, 2]
    inputs = np.empty((n, INPUTS))
    joints, view = inputs[:, :_OUT].reshape(n, NUM_JOINTS, 3), inputs[:, _OUT:]
    np.divide(flat, spread[:, None, None], out=joints[..., :2])
    joints[..., 2] = confidence
    view[:, 0] = np.log(spread) + 2
    view[:, 1] = known * rise
    view[:, 2] = known * np.sqrt(np.maximum(1 - rise * rise, 0))
    view[:, 3] = known
    view[:, 4] = np.log(noise + 1e-3) + 4
    # beyond what was seen in training the network says anything
    return np.minimum(np.maximum(inputs, -MOST), MOST).astype(np.float32), frame


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
        weight, n = self.layers[f'{name}.weight'], x.shape[1]
        parts = _parts(len(weight), weight.size * n / _SMALL) if n <= _FEW else 1
        out = (weight.reshape(parts, -1, weight.shape[1]) @ x).reshape(-1, n)
        out += self.layers[f'{name}.bias'][:, None]
        return out

    def __call__(self, rays, confidence, sigma, known):
        """The density of each person's pose.

        Args:
            as :func:`features`.

        Returns:
            mean (N, 17, 3) about the pelvis, statures, z up; covariance (N, 51, 51) of it.
        """
        belief = self.believe(rays, confidence, sigma, known)
        return belief.mean, belief.covariance()

    def believe(self, rays, confidence, sigma, known):
        """The density of each person's pose: the mean of the network's answers to the scene
        and to its mirror image.

        Args:
            as :func:`features`.

        Returns:
            Belief.
        """
        inputs, frame = features(rays, confidence, sigma, known)
        n = len(inputs)
        mean, log_sd, low = _split(
            self._forward(np.concatenate((inputs, mirrored_inputs(inputs)))), self.rank)
        mean = (mean[:n] + _FLIP * mean[n:, _MIRROR]) / 2
        log_sd = (log_sd[:n] + log_sd[n:, _MIRROR]) / 2
        # both directions' common parts, each of half the weight
        low = np.concatenate((0.1 * np.sqrt(0.5) * low[:n],
                              _FLIPPED * low[n:, _MIRROR]), axis=2)
        variance = np.exp(2 * np.minimum(np.maximum(log_sd, -7), 1))
        turn = np.swapaxes(frame, 1, 2)
        return Belief(mean.reshape(n, NUM_JOINTS, 3) @ frame,
                      turn[:, None] @ low.reshape(n, NUM_JOINTS, 3, -1), turn,
                      variance.reshape(n, NUM_JOINTS, 3))

    def _forward(self, inputs):
        """The network's raw outputs (N, 51 (2 + rank)) float64."""
        # one column a person: half the time of one row a person where people are few; and
        # whole vectors of them where there are more
        n = len(inputs)
        width = n if n <= _ODD else max(_FEW, -(-n // 8) * 8)
        columns = np.zeros((inputs.shape[1], width), np.float32)
        columns[:, :n] = inputs.T
        x = gelu(self._linear('first', columns))
        for i in range(self.blocks):
            inner = gelu(self._linear(f'blocks.{i}.0', x))
            x += gelu(self._linear(f'blocks.{i}.1', inner))
        return np.ascontiguousarray(self._linear('last', x)[:, :n].T, dtype=np.float64)


def _parts(rows, least):
    """A number of equal parts of some rows, not much above the ``least``; a power of two where
    there is one, whose parts are faster.
    """
    parts = 1
    while parts < least and rows % (2 * parts) == 0:
        parts *= 2
    while parts < least or rows % parts:
        parts += 1
    return min(parts, rows)


def _split(out, rank):
    """Means (N, 51), log sigmas (N, 51) and directions (N, 51, R) of raw outputs."""
    return (out[:, :_OUT], out[:, _OUT:2 * _OUT],
            out[:, 2 * _OUT:].reshape(len(out), _OUT, rank))


def mirrored_inputs(inputs):
    """Inputs of the mirrored scene: left and right exchanged, the angle to the left negated."""
    return inputs[:, _MIRROR_INPUT] * _FLIP_INPUT


def gelu(x):
    """The Gaussian error linear unit, put in place of ``x`` (float32)."""
    square = x * x
    out = _GELU[0] * square
    for coefficient in _GELU[1:-1]:
        out += coefficient
        out *= square
    out += _GELU[-1]
    out *= x
    np.tanh(out, out=out)
    out += 1
    x *= 0.5
    x *= out
    return x

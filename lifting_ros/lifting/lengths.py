"""What the lengths of people's bones say of a pose that is known but for an error."""

from dataclasses import replace

import numpy as np

from ..prior.model import LENGTHS
from ..skeleton import NUM_JOINTS

PAIRS = np.array(LENGTHS).T
_BONES = np.arange(len(LENGTHS))
#: The bones that end in each joint, the last again where there are fewer; none: one of no length.
ENDS = [[i for i, pair in enumerate(LENGTHS) if j in pair] or [len(LENGTHS)]
         for j in range(NUM_JOINTS)]
ENDS = np.array([(e + 9 * e[-1:])[:max(map(len, ENDS))] for e in ENDS])


class Lengths:
    """How long people's bones are.

    What it takes and gives are of :class:`~lifting_ros.lifting.linear.Posterior`.

    Args:
        mean: (12,) and covariance (12, 12) of :data:`~lifting_ros.prior.model.LENGTHS`, statures.
    """

    def __init__(self, mean, covariance):
        self.mean, self.covariance = mean, covariance
        self._precision = np.linalg.inv(covariance)
        self._variance = np.diag(covariance)

    def _off(self, joints):
        """By how much bones are too short (B, 12), and unit vectors along them (B, 12, 3)."""
        bone = joints[:, PAIRS[0]] - joints[:, PAIRS[1]]
        length = np.sqrt((bone ** 2).sum(-1))
        return self.mean - length, bone / np.maximum(length, 1e-9)[..., None]

    def _square(self, off):
        return (off @ self._precision * off).sum(1) / len(self.mean)

    def stretched(self, joints):
        """Mean squared distance in sigmas (B,) of the bones' lengths of joints (B, 17, 3)."""
        return self._square(self._off(joints)[0])

    def tell(self, posterior):
        """The posterior once more told how long bones are, linear about its mean."""
        b, n = len(posterior.mean), len(self.mean)
        off, along = self._off(posterior.mean)
        jac = np.zeros((b, n, NUM_JOINTS, 3))
        jac[:, _BONES, PAIRS[0]], jac[:, _BONES, PAIRS[1]] = along, -along
        jac = jac.reshape(b, n, -1)
        cross = jac @ posterior.covariance
        own = cross @ jac.swapaxes(1, 2)
        gain = np.linalg.inv(own + self.covariance)
        push = gain @ off[..., None]
        back = cross.swapaxes(1, 2)
        single = np.zeros((b, n + 1))
        single[:, :-1] = off * off / self._variance
        return replace(
            posterior, mean=posterior.mean + (back @ push).reshape(b, NUM_JOINTS, 3),
            covariance=posterior.covariance - back @ (gain @ cross),
            stretched=self._square(off), strange=self._square(off - (own @ push)[..., 0]),
            odd=single[:, ENDS].max(-1))

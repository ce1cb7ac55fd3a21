"""What the lengths of people's bones say of a pose that is known but for an error."""

from dataclasses import replace

import numpy as np

from ..prior.model import LENGTHS
from ..skeleton import NUM_JOINTS

_PAIRS = np.array(LENGTHS).T
#: The bones that end in each joint, the last again where there are fewer; none: one of no length.
_ENDS = [[i for i, pair in enumerate(LENGTHS) if j in pair] or [len(LENGTHS)]
         for j in range(NUM_JOINTS)]
_ENDS = np.array([(e + 9 * e[-1:])[:max(map(len, _ENDS))] for e in _ENDS])


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
        bone = joints[:, _PAIRS[0]] - joints[:, _PAIRS[1]]
        length = np.sqrt((bone ** 2).sum(-1))
        return self.mean - length, bone / np.maximum(length, 1e-9)[..., None]

    def _square(self, off):
        return (off @ self._precision * off).mean(1)

    def judge(self, posterior):
        """The posterior with ``stretched`` alone."""
        return replace(posterior, stretched=self._square(self._off(posterior.mean)[0]))

    def tell(self, posterior):
        """The posterior once more told how long bones are, linear about its mean."""
        b = len(posterior.mean)
        off, along = self._off(posterior.mean)
        rows = posterior.covariance.reshape(b, NUM_JOINTS, 3, 3 * NUM_JOINTS)
        cross = (along[:, :, None] @ (rows[:, _PAIRS[0]] - rows[:, _PAIRS[1]]))[:, :, 0]
        own = self._along(cross, along)
        gain = np.linalg.inv(own + self.covariance)
        push = gain @ off[..., None]
        step = (cross.swapaxes(1, 2) @ push).reshape(b, NUM_JOINTS, 3)
        single = np.zeros((b, len(self.mean) + 1))
        single[:, :-1] = off ** 2 / self._variance
        return replace(
            posterior, mean=posterior.mean + step,
            covariance=posterior.covariance - cross.swapaxes(1, 2) @ (gain @ cross),
            stretched=self._square(off), strange=self._square(off - (own @ push)[..., 0]),
            odd=single[:, _ENDS].max(-1))

    def _along(self, cross, along):
        """Covariance of lengths (B, 12, 12) by that of lengths with joints (B, 12, 51)."""
        columns = cross.reshape(len(cross), -1, NUM_JOINTS, 3).swapaxes(1, 2)
        bones = columns[:, _PAIRS[0]] - columns[:, _PAIRS[1]]
        return (bones @ along[..., None])[..., 0]

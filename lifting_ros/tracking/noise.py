"""How noisy a person's measurements are: learnt from how unevenly the joints seem to move."""

import numpy as np

from ..skeleton import INDEX, NUM_JOINTS
from .small import EYE, median, outer, split, unit, within

#: Share of S that is new in each image, along the viewing ray and across it, of
#: torso, elbows and knees, wrists and ankles: second differences of the lifter's joints against
#: the demo clip's truth (`lifting-ros eval filter` prints them). Scaled to each person's own.
_WHITE = np.tile([[0.004], [0.010]], NUM_JOINTS)
for _name in ('knee', 'ankle', 'elbow', 'wrist'):
    for _side in ('left', 'right'):
        _WHITE[:, INDEX[f'{_side}_{_name}']] = ((0.006, 0.04) if _name == 'wrist'
                                                else (0.005, 0.02))
#: Joints that tell how noisy this person's measurements are: their own accelerations are small.
_CALM = np.array([INDEX[n] for n in ('pelvis', 'right_hip', 'left_hip', 'spine', 'neck',
                                     'head_top', 'left_shoulder', 'right_shoulder')])
#: For a variance along the ray, and for the sum of two across it.
_USUAL = _WHITE[:, None, _CALM]
#: s, no more than which three measurements are apart that tell of noise.
_CLOSE = 0.15


class Noise:
    """The noise of T people's measurements, over the usual.

    Vectors and covariances have their coordinates first (small.py).

    Args:
        memory: images over which it is learnt.

    Attributes:
        level: (2, T) along the viewing ray and across it; 1 is the usual.
    """

    def __init__(self, memory):
        """Start with nobody."""
        self.memory = memory
        self.level = np.zeros((2, 0))
        self._learnt = np.zeros(0)
        self._past = np.zeros((2, 3, 0, len(_CALM)))   # the last two measurements, newest first
        self._gap = np.zeros(0)                        # s between them

    def keep(self, rows):
        """Keep these people (indices or mask), in this order."""
        self.level, self._learnt = self.level[:, rows], self._learnt[rows]
        self._past, self._gap = self._past[:, :, rows], self._gap[rows]

    def add(self, position):
        """Start people from one measurement each: (3, K, 17) m."""
        k = position.shape[1]
        past = np.full((2, 3, k, len(_CALM)), np.nan)
        past[0] = position[..., _CALM]
        self.level = np.concatenate((self.level, np.ones((2, k))), axis=1)
        self._learnt = np.concatenate((self._learnt, np.zeros(k)))
        self._past = np.concatenate((self._past, past), axis=2)
        self._gap = np.concatenate((self._gap, np.full(k, np.nan)))

    def turn(self, rotation, translation):
        """Express what is held in another frame: x_new = R x_old + t, (3, 3) and (3,) m."""
        self._past = np.einsum('ij,pj...->pi...', rotation, self._past) + np.asarray(
            translation)[:, None, None]

    def forget(self, rows):
        """Forget these people's last measurements, not how noisy they are."""
        self._past[:, :, rows] = self._gap[rows] = np.nan

    def parts(self, rows, position, covariance):
        """A measurement's covariance S as what is new in it, W, and what stays, B.

        Args:
            rows: of the people; position: (3, K, 17) m; covariance: (6, K, 17) m^2.

        Returns:
            W and B, (6, K, 17) m^2 each.
        """
        share = np.empty((2, 2, *position.shape[1:]))     # along and across, of W and of B
        share[:, 0] = np.minimum(_WHITE[:, None] * self.level[:, rows, None], 0.9)
        share[:, 1] = 1 - share[:, 0]
        white, bias = split(unit(position), covariance, share)
        white += 1e-8 * EYE
        return white, bias

    def learn(self, rows, position, covariance, dt):
        """Learn from what a straight line through the last three measurements leaves in the
        middle one, in joints that hardly accelerate.

        Args:
            rows: of the people; position: (3, K, 17) m; covariance: (6, K, 17) m^2.
            dt: (K,) s since their last measurement.
        """
        now = position.take(_CALM, -1)
        last, before = self._past[:, :, rows]
        gap = self._gap[rows]                             # from before to last
        known = (np.minimum(gap, dt) > 0) & (np.maximum(gap, dt) < _CLOSE)   # not where it is NaN
        if known.any():
            share = (gap / (gap + dt))[:, None]
            other = 1 - share
            rest = last - other * before - share * now
            # squares along the ray and across it: of the measured, and of the covariance
            found, usual = np.empty((2, 2, *now.shape[1:]))
            far, along, whole = np.array((last * last, last * rest, rest * rest)).sum(1)
            np.divide(along * along, far, out=found[0])
            np.subtract(whole, found[0], out=found[1])
            cov = covariance.take(_CALM, -1)
            np.divide(within(cov, outer(last)), far, out=usual[0])
            np.subtract(cov[0] + cov[3] + cov[5], usual[0], out=usual[1])
            found /= usual * (_USUAL * (1 + share * share + other * other))
            found = median(found)
            known &= np.isfinite(found).all(0)
            self._learnt[rows] += known
            rate = known / np.minimum(self._learnt[rows] + 3, self.memory)
            level = self.level[:, rows]
            found = np.where(known, np.minimum(np.maximum(found, 0.02), 60), level)
            self.level[:, rows] = level + rate * (found - level)
        self._past[1][:, rows], self._past[0][:, rows] = last, now
        self._gap[rows] = dt

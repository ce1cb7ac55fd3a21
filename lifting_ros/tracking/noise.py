"""How noisy a person's measurements are: learnt from how unevenly the joints seem to move."""

import numpy as np

from ..skeleton import INDEX, NUM_JOINTS
from .small import median, outer, root_of, unit

#: Share of S that is new in each image, along the viewing ray and across it, of
#: torso, elbows and knees, wrists and ankles: second differences of the lifter's joints against
#: the demo clip's truth (`lifting-ros eval filter` prints them). Scaled to each person's own.
_WHITE = np.tile([0.004, 0.010], (NUM_JOINTS, 1))
for _name in ('knee', 'ankle', 'elbow', 'wrist'):
    for _side in ('left', 'right'):
        _WHITE[INDEX[f'{_side}_{_name}']] = ((0.006, 0.04) if _name == 'wrist'
                                             else (0.005, 0.02))
#: Joints that tell how noisy this person's measurements are: their own accelerations are small.
_CALM = [INDEX[n] for n in ('pelvis', 'right_hip', 'left_hip', 'spine', 'neck', 'head_top',
                            'left_shoulder', 'right_shoulder')]
_USUAL = _WHITE[_CALM].T[:, None]
_EYE = np.eye(3)
#: s, no more than which three measurements are apart that tell of noise.
_CLOSE = 0.15


class Noise:
    """The noise of T people's measurements, over the usual.

    Args:
        memory: images over which it is learnt.

    Attributes:
        level: (T, 2) along the viewing ray and across it; 1 is the usual.
    """

    def __init__(self, memory):
        """Start with nobody."""
        self.memory = memory
        self.level = np.zeros((0, 2))
        self._learnt = np.zeros(0)
        self._past = np.zeros((2, 0, len(_CALM), 3))   # the last two measurements, newest first
        self._gap = np.zeros((2, 0))                   # s between them and the next

    def keep(self, rows):
        """Keep these people (indices or mask), in this order."""
        self.level, self._learnt = self.level[rows], self._learnt[rows]
        self._past, self._gap = self._past[:, rows], self._gap[:, rows]

    def add(self, position):
        """Start people from one measurement each: (K, 17, 3) m."""
        k = len(position)
        past = np.full((2, k, len(_CALM), 3), np.nan)
        past[0] = position[:, _CALM]
        self.level = np.concatenate((self.level, np.ones((k, 2))))
        self._learnt = np.concatenate((self._learnt, np.zeros(k)))
        self._past = np.concatenate((self._past, past), axis=1)
        self._gap = np.concatenate((self._gap, np.full((2, k), np.nan)), axis=1)

    def turn(self, rotation, translation):
        """Express what is held in another frame: x_new = R x_old + t, (3, 3) and (3,) m."""
        self._past = self._past @ rotation.T + translation

    def forget(self, rows):
        """Forget these people's last measurements, not how noisy they are."""
        self._past[:, rows] = self._gap[:, rows] = np.nan

    def parts(self, rows, position, covariance):
        """A measurement's covariance S as what is new in it, W, and what stays, B.

        Args:
            rows: of the people; position: (K, 17, 3) m; covariance: (K, 17, 3, 3) m^2.

        Returns:
            W and B, (K, 17, 3, 3) m^2 each.
        """
        share = np.empty((2, *position.shape[:-1], 2))
        share[0] = np.minimum(_WHITE * self.level[rows][:, None], 0.9)
        share[1] = 1 - share[0]
        root = root_of(outer(unit(position)), share)
        white, bias = root @ covariance @ root
        return white + 1e-8 * _EYE, bias

    def learn(self, rows, position, covariance, dt):
        """Learn from what a straight line through the last three measurements leaves in the
        middle one, in joints that hardly accelerate.

        Args:
            rows: of the people; position: (K, 17, 3) m; covariance: (K, 17, 3, 3) m^2.
            dt: (K,) s since their last measurement.
        """
        now = position[:, _CALM]
        last, before = self._past[:, rows]
        gap = self._gap[0, rows]                          # from before to last
        known = (gap < _CLOSE) & (dt < _CLOSE) & (gap > 0) & (dt > 0)   # not where it is NaN
        if known.any():
            share = (gap / (gap + dt))[:, None, None]
            rest = last - (1 - share) * before - share * now
            far = (last * last).sum(-1)
            along = (rest * last).sum(-1) ** 2 / far
            across = ((rest * rest).sum(-1) - along) / 2
            cov = covariance[:, _CALM]
            s = ((cov @ last[..., None])[..., 0] * last).sum(-1) / far
            t = (np.einsum('kjii->kj', cov) - s) / 2
            usual = (1 + share ** 2 + (1 - share) ** 2)[..., 0] * _USUAL
            found = median(np.stack((along / (usual[0] * s), across / (usual[1] * t)), 1))
            known &= np.isfinite(found).all(1)
            self._learnt[rows] += known
            rate = known / np.minimum(self._learnt[rows] + 3, self.memory)
            level = self.level[rows]
            found = np.where(known[:, None], np.minimum(np.maximum(found, 0.02), 60), level)
            self.level[rows] = level + rate[:, None] * (found - level)
        self._past[1, rows], self._past[0, rows] = last, now
        self._gap[0, rows] = dt

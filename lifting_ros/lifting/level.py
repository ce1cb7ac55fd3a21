"""Which way is up, told by how people stand: for cameras of which nobody knows it.

People on their feet are upright in the mean. A lift without gravity has each of them leaning as
seen from the camera, and what they have in common is the camera's pitch and roll.
"""

from collections import deque

import numpy as np

from ..person import Source
from ..skeleton import INDEX

#: Degrees (sigma) by which one person's axis is off: as lifted, and as people lean. Measured on
#: captured poses, all kinds, 0 to 45 degrees down: 8 to 10 in the median.
_LEAN = 9.0
_FREEDOM = 3.0      # of Student's distribution: some lie, or bend down
#: What an image is worth that follows another of the same people: poses and errors last.
_REPEATED = 0.3
#: Cameras look down rather than up, and hang straight: sigmas, degrees.
_PITCH, _PITCH_SIGMA, _ROLL_SIGMA = 12.0, 22.0, 5.0
_GRID = np.stack(np.meshgrid(np.arange(-40, 86, 2.5), np.arange(-20, 21, 2.5),
                             indexing='ij'), -1).reshape(-1, 2)     # degrees: down, roll
_SURE = 7.0         # degrees of the posterior's sigma from which it is said
_OFF = 22.0         # degrees by which looks have to be off ...
_TURNED = 4         # ... so many times one after the other: the camera was moved


def up_of(down, roll):
    """Direction against gravity in the optical frame of a camera.

    Args:
        down, roll: degrees that the camera looks down, and is turned clockwise (...,).

    Returns:
        (..., 3) unit vectors; (0, -1, 0) of a level camera.
    """
    down, roll = np.radians(down), np.radians(roll)
    return np.stack((-np.sin(roll) * np.cos(down), -np.cos(roll) * np.cos(down),
                     -np.sin(down)), -1)


def angles(up):
    """Degrees that a camera with this ``up`` (3,) looks down, and is turned clockwise."""
    x, y, z = up
    return (float(np.degrees(np.arctan2(-z, np.hypot(x, y)))),
            float(np.degrees(np.arctan2(-x, -y))))


_UPS = up_of(*_GRID.T)
_PRIOR = -0.5 * (((_GRID - (_PITCH, 0)) / (_PITCH_SIGMA, _ROLL_SIGMA)) ** 2).sum(1)


def axes(lifted):
    """Unit vectors from feet (or the pelvis, where the legs are not seen) to neck.

    Args:
        lifted: Lifted of N people, without gravity.

    Returns:
        (M, 3) of whom enough is seen, optical frame.
    """
    joints, seen = lifted.joints, lifted.source == Source.OBSERVED
    ankles = [INDEX['left_ankle'], INDEX['right_ankle']]
    shoulders = [INDEX['left_shoulder'], INDEX['right_shoulder']]
    hips = [INDEX['left_hip'], INDEX['right_hip']]
    standing = seen[:, ankles].all(1)
    foot = np.where(standing[:, None], joints[:, ankles].mean(1), joints[:, hips].mean(1))
    axis = joints[:, shoulders].mean(1) - foot
    length = np.linalg.norm(axis, axis=1)
    with np.errstate(invalid='ignore'):
        use = (seen[:, shoulders].any(1) & seen[:, hips].any(1)
               & (length > np.where(standing, 0.8, 0.3)))       # m: neither crouching nor folded
    return axis[use] / length[use, None]


class Level:
    """The camera's up, from people seen over some time.

    Args:
        memory: seconds after which what was seen counts half.
        most: images that are remembered.

    Attributes:
        up: (3,) unit vector against gravity in the optical frame; None while it is not known.
    """

    def __init__(self, memory=20.0, most=64):
        self.memory, self.up = memory, None
        self._looks, self._off = deque(maxlen=most), 0

    def see(self, lifted, now):
        """Take the people of an image, lifted without gravity.

        Args:
            lifted: Lifted of N people; now: s, not before the image last seen.
        """
        axis = axes(lifted)
        if not len(axis):
            return
        if self.up is not None:
            off = np.degrees(np.arccos(np.clip(axis @ self.up, -1, 1)))
            self._off = self._off + 1 if np.median(off) > _OFF else 0
            if self._off == _TURNED:    # what was seen before is of another view
                self._looks = deque(list(self._looks)[1 - _TURNED:], self._looks.maxlen)
                self._off = 0
        angle = np.degrees(np.arccos(np.clip(axis @ _UPS.T, -1, 1)))             # (M, grid)
        log = -(_FREEDOM + 2) / 2 * np.log1p((angle / _LEAN) ** 2 / _FREEDOM)
        self._looks.append((now, log.sum(0)))
        self.up = self._mean(now)

    def _mean(self, now):
        stamps, logs = zip(*self._looks)
        worth = np.full(len(stamps), _REPEATED)
        worth[0] = 1.0      # the first look at people is a look at all that they are
        worth *= 0.5 ** ((now - np.array(stamps)) / self.memory)
        log = _PRIOR + worth @ np.array(logs)
        weight = np.exp(log - log.max())
        weight /= weight.sum()
        mean = weight @ _UPS
        mean /= np.linalg.norm(mean)
        spread = weight @ np.arccos(np.clip(_UPS @ mean, -1, 1)) ** 2
        return mean if np.degrees(np.sqrt(spread / 2)) < _SURE else None

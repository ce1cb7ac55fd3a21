"""Where the lifter looks: numpy, or torch on a GPU.

What is done for everybody (the density, conditioning, lengths, calibration, metres) and the second
look at the doubtful have twins in torch, :mod:`lifting_ros.network.look`. This module says in
numbers what the twins are to look at, and reads what they say;
:mod:`lifting_ros.lifting.device_check` finds out whether they can be trusted here.
"""

import logging

import numpy as np

from ..person import ScaleSource
from ..skeleton import NUM_JOINTS
from . import scale
from .believe import PLAIN, READINGS, STRETCH_COST, answer, doubtful, proposed, reread
from .density import view_frame
from .device_check import trusted, trusted_again
from .frames import upright
from .linear import Posterior

log = logging.getLogger(__name__)

_SIZE = 3 * NUM_JOINTS
_NUMBERS = 5 + 2 * NUM_JOINTS


def packed(sight, prior_stature):
    """What the twin is told of N people.

    Args:
        sight: :class:`~lifting_ros.lifting.inputs.Sight`, whose middle is that of the rays seen:
            the twin takes it for the density's mean ray.
        prior_stature: (2,) mean and sigma of log stature.

    Returns:
        (N, 167) float32. Of each joint: ray (3), optical; confidence; covariance (4) px^2. Of each
        person: rotation (9) from the optical frame into that of the mean ray, z up; what a pixel
        turns a ray by (6), in that frame; rotation (9) from z up into it; sine and cosine of the
        mean ray's elevation and 1, zeros where gravity is not known (3); log stature and its
        sigma (2); whether it is given (1); 1 / focal length^2 (1).
    """
    n = len(sight)
    up, known = sight.gravity()
    to_up = upright(up, sight.middle)
    frame = view_frame((to_up @ sight.middle[..., None]).swapaxes(1, 2), np.ones((n, 1)))
    turn = frame @ to_up
    sizes, told = scale.statures(sight.stature, prior_stature)
    rise = frame[:, 0, 2]
    out = np.empty((n, NUM_JOINTS * 8 + 31), dtype=np.float32)
    joints, person = out[:, :NUM_JOINTS * 8].reshape(n, NUM_JOINTS, 8), out[:, NUM_JOINTS * 8:]
    joints[..., :3], joints[..., 3] = sight.rays, sight.weight
    pixels = sight.covariance
    joints[..., 4], joints[..., 7] = pixels[..., 0, 0], pixels[..., 1, 1]
    joints[..., 5] = joints[..., 6] = (pixels[..., 0, 1] + pixels[..., 1, 0]) / 2
    person[:, :9] = turn.reshape(n, 9)
    person[:, 9:15] = (turn[:, :, :2] @ np.linalg.inv(sight.camera.K[:2, :2])).reshape(n, 6)
    person[:, 15:24] = frame.reshape(n, 9)
    person[:, 24], person[:, 26] = known * rise, known
    person[:, 25] = known * np.sqrt(np.maximum(1 - rise * rise, 0))
    person[:, 27:29], person[:, 29] = sizes, told
    person[:, 30] = 1 / sight.camera.focal ** 2
    return out


def proposals(numbers, weight):
    """What the second look's twin is told of N people besides the row of the first look.

    Args:
        numbers: Numbers of the first look; weight: (N, 17) confidence, 0 not seen.

    Returns:
        (N, 218) float32: what is against what was found; how far bones are stretched in it; which
        readings there can be (12); which joints they leave out (12 x 17).
    """
    dropped, possible = proposed(numbers.square, numbers.odd, numbers.cost, weight)
    plain = numbers.against + STRETCH_COST * np.log1p(numbers.stretched)
    return np.concatenate((plain[:, None], numbers.stretched[:, None], possible,
                           dropped.reshape(len(dropped), -1)), 1, dtype=np.float32)


class Numbers:
    """Views of what the twins' rows (N, 39 + ...) begin with.

    Attributes:
        cost, worst, stretched, strange: (N,), see ``believe.doubtful`` and Posterior; against:
            (N,) -2 times the evidence; square, odd: (N, 17) of Posterior.
        rest: (N, ...).
    """

    def __init__(self, rows):
        self.cost, self.worst, self.stretched, self.strange, self.against = rows[:, :5].T
        self.square, self.odd = rows[:, 5:5 + NUM_JOINTS], rows[:, 5 + NUM_JOINTS:_NUMBERS]
        self.rest = rows[:, _NUMBERS:]

    def doubtful(self, weight):
        """Who is to be looked at again (N,), of confidences (N, 17)."""
        return doubtful(self.cost, self.worst, self.stretched, weight)


class OnDevice:
    """Lifts with twins of the looks; a way of lifting, as a Believer is.

    Args:
        believer: :class:`~lifting_ros.lifting.believe.Believer`.
        look: :class:`lifting_ros.network.look.Look`, or what does the same.

    Attributes:
        look: None from where it has failed: the believer then does all.
        second: whether its second look is taken, too; the believer's where not.
        looked_again: how many people of the last call were looked at twice.
    """

    def __init__(self, believer, look):
        self.believer, self.look, self.second = believer, look, True
        self.looked_again = 0

    def __call__(self, sight):
        """Lift :class:`~lifting_ros.lifting.inputs.Sight`: Answer."""
        if self.look is not None:
            try:
                return self._lift(sight)
            except RuntimeError as error:       # of the device, as of memory that is full
                log.warning('the GPU does not lift any more (%s): the CPU does',
                            str(error).splitlines()[0])
                self.look = None
        return self.believer(sight)

    def _lift(self, sight):
        whole = sight.depth is not None or bool(np.isfinite(sight.height).any())
        told, rows = self._look(sight, whole)
        again = np.flatnonzero(Numbers(rows).doubtful(sight.weight))
        self.looked_again = len(again)
        if len(again) and self.second:
            self._look_again(again, told, rows, sight, whole)
            again = again[:0]
        some = sight[again]
        if not whole:
            out = self._answer(rows, sight)
            if len(again):
                out[again] = self.believer(some)
                sight.put(again, some)
            return out
        found = self._posterior(rows)
        if len(again):
            found.put(again, self.believer.found(some))
            sight.put(again, some)
        return self.believer.in_metres(self.believer.described(found, sight), sight)

    def _look(self, sight, whole):
        """What the twin is told, and says: rows."""
        told = packed(sight, self.believer.prior.stature)
        return told, self.look(told, whole)

    def _look_again(self, again, told, rows, sight, whole):
        """Put into ``rows`` and ``sight`` the best readings of people ``again``."""
        more = proposals(Numbers(rows[again]), sight.weight[again])
        out = self.look.again(np.concatenate((told[again], more), 1), whole)
        reading = out[:, 0].astype(int)
        other = np.flatnonzero(reading != PLAIN)
        if len(other):
            dropped = more[:, -len(READINGS) * NUM_JOINTS:].reshape(-1, len(READINGS), NUM_JOINTS)
            again, reading = again[other], reading[other]
            rows[again] = out[other, 1:]
            reread(sight, again, reading, dropped[other, reading] > 0)

    def metres(self, sight):
        """The first look's Answer, and who is doubtful (N,); neither depth nor ground count."""
        _, rows = self._look(sight, False)
        return self._answer(rows, sight), Numbers(rows).doubtful(sight.weight)

    def found(self, sight):
        """The first look's Posterior, and who is doubtful (N,)."""
        _, rows = self._look(sight, True)
        return self._posterior(rows), Numbers(rows).doubtful(sight.weight)

    def _answer(self, rows, sight):
        """Answer of rows in metres."""
        numbers = Numbers(rows)
        joints, covariance = np.split(numbers.rest, [_SIZE], 1)
        _, told = scale.statures(sight.stature, self.believer.prior.stature)
        fixed = np.where(told, ScaleSource.STATURE, ScaleSource.PRIOR)
        return answer(joints.reshape(-1, NUM_JOINTS, 3), covariance.reshape(-1, NUM_JOINTS, 3, 3),
                      numbers.cost, numbers.strange, sight.weight,
                      np.zeros(sight.weight.shape, dtype=bool), fixed)

    @staticmethod
    def _posterior(rows):
        """Posterior of whole rows."""
        numbers = Numbers(rows)
        mean, covariance, weight = np.split(numbers.rest, [_SIZE, _SIZE + _SIZE ** 2], 1)
        return Posterior(mean.reshape(-1, NUM_JOINTS, 3), covariance.reshape(-1, _SIZE, _SIZE),
                         numbers.square.copy(), weight.copy(), -numbers.against / 2,
                         numbers.stretched.copy(), numbers.strange.copy(), numbers.odd.copy())


def quick(believer, make, device):
    """A believer's twin on a torch device, or the believer where there can be none: that is said.

    Args:
        believer: :class:`~lifting_ros.lifting.believe.Believer`.
        make: :class:`lifting_ros.network.look.Look`, which this room may not import.
        device: torch device or its name.
    """
    for fused in (True, False):
        way, why = _tried(believer, make, device, fused)
        if why is None:
            why = trusted_again(way)
            way.second = why is None
            if not way.second:
                log.warning('second looks are not taken on %s (%s): the CPU takes them, slower',
                            device, why.splitlines()[0])
            log.info('people are lifted on %s', device)
            return way
        log.debug('fused: %s; %s', fused, why)
    log.warning('people cannot be lifted on %s (%s): the CPU lifts, slower', device,
                why.splitlines()[0])
    return believer


def _tried(believer, make, device, fused):
    """OnDevice, warmed up, and why it cannot be trusted, or None."""
    try:
        way = OnDevice(believer, make(believer, device, fused))
        why = trusted(way)
        if why is None:
            way.look.warm_up()
        return way, why
    except Exception as error:      # a driver's, a compiler's: whatever it is, there is numpy
        return None, f'{type(error).__name__}: {error}'

"""Is somebody who comes into sight one of those who were lost? By place, velocity and clothes.

All costs are minus logarithms of likelihood ratios: that it is the same person, against its being
anybody.
"""

from dataclasses import dataclass

import numpy as np

from ..matrices import dot
from ..skeleton import PELVIS
from . import motion
from .association import DRIFT, sigmas

#: How people out of sight move: (q m^2/s^3, tau s of motion.py, probability): as people in
#: general, or walking on.
_WAYS = ((motion.PELVIS_Q, motion.PELVIS_TAU, 0.5), (0.1, 20.0, 0.5))
#: Degrees of freedom of the tails; what somebody costs who may be anywhere (1.5 m, 0.7 m/s).
_TAIL = 4.0
_ANYWHERE = 3 * np.log(1.5 * 0.7) + 3.0
#: 1/s^2, velocity that errors which stay pretend as somebody comes out from behind something.
_PRETENDED = 3.0
#: L*, a*, b* of clothes: how they differ from one sight of somebody to the next, and between
#: people.
_SAME = np.array([10.0, 5.0, 6.0])
_PEOPLE = np.array([20.0, 10.0, 13.0])


@dataclass
class Sight:
    """Where the pelvis was, seen as clearly as it was of late.

    Attributes:
        stamp: s. place: (3,) m; velocity: (3,) m/s. own: (3, 3) m^2, what the filter does not
        know; stays: (3, 3) m^2, of the error that stays; speed: (3, 3) m^2/s^2. sigma: m, that
        of ``stays`` along the ray.
    """

    stamp: float
    place: np.ndarray
    velocity: np.ndarray
    own: np.ndarray
    stays: np.ndarray
    speed: np.ndarray
    sigma: float

    @classmethod
    def of(cls, bank, stamp):
        """Of everybody in a FilterBank."""
        vectors, covariances = bank.joint(PELVIS)
        place, stays = vectors[:, 0], covariances[:, 1]
        along = dot((stays @ place[..., None])[..., 0], place)
        sigma = np.sqrt(np.maximum(along, 0) / np.maximum(dot(place, place), 1e-18))
        return [cls(stamp, *both, *three, s) for both, three, s in zip(
            vectors, covariances, sigma.tolist(), strict=True)]

    def replaces(self, old):
        """Is it worth more than an older one? Who vanishes behind something is lifted worse and
        worse, and seems to run: what was known before may be better though it is not new.
        """
        if old is None or self.sigma <= old.sigma:
            return True
        moved = motion.pelvis_variance(self.stamp - old.stamp, *motion.FITTED[PELVIS])
        return (self.sigma - old.sigma) ** 2 < moved + (0.1 * old.sigma) ** 2

    def turn(self, rotation, translation):
        """Express it in another frame: x_new = R x_old + t, (3, 3) and (3,) m."""
        self.place, self.velocity = rotation @ self.place + translation, rotation @ self.velocity
        self.own, self.stays, self.speed = (rotation @ c @ rotation.T
                                            for c in (self.own, self.stays, self.speed))


def cost(old, new):
    """By place and velocity of the pelvis.

    Those who were lost may have walked on as they did, or gone anywhere; the error of a place
    that stays may have drifted, as in :func:`.association.place_cost`.

    Args:
        old, new: lists of L and M :class:`Sight`.

    Returns:
        (L, M). Heavy-tailed (Student's t).
    """
    def table(name, axis):
        return np.expand_dims(np.array([getattr(s, name) for s in (old, new)[axis]]), 1 - axis)
    gap = np.maximum(table('stamp', 1) - table('stamp', 0), 1e-3)
    x, x_new, v, v_new = (table(n, k) for n in ('place', 'velocity') for k in (0, 1))
    speed, speed_new, own = table('speed', 0), table('speed', 1), table('own', 0)
    line = _line(x)
    forgotten = -np.expm1(-gap / DRIFT)
    drift = np.zeros(gap.shape + (3, 3))
    for then, now, part in zip(sigmas(table('stays', 0), line), sigmas(table('stays', 1), line),
                               (line, np.eye(3) - line), strict=True):
        off = (then - now) ** 2 + (0.06 + 2 * forgotten) * then * now
        drift += off[..., None, None] * part
        pretended = _PRETENDED * (then ** 2 + now ** 2)
        speed_new = speed_new + pretended[..., None, None] * part
    costs = []
    for q, tau, share in _WAYS:
        t = gap[..., None, None]
        a, go = np.exp(-t / tau), motion.pelvis_gain(t, tau)
        total = np.zeros(gap.shape + (6, 6))
        total[..., :3, :3] = (own + go ** 2 * speed + table('own', 1) + drift
                              + motion.pelvis_variance(t, q, tau) * np.eye(3))
        total[..., 3:, 3:] = (a ** 2 * speed + speed_new
                              + q * tau / 2 * (1 - a ** 2) * np.eye(3))
        total[..., :3, 3:] = go * a * speed + q * tau ** 2 / 2 * (1 - a) ** 2 * np.eye(3)
        total[..., 3:, :3] = np.swapaxes(total[..., :3, 3:], -1, -2)
        off = np.concatenate((x_new - x - go[..., 0] * v, v_new - a[..., 0] * v), -1)
        square = (off * np.linalg.solve(total, off[..., None])[..., 0]).sum(-1)
        costs.append((_TAIL + 6) / 2 * np.log1p(square / _TAIL)
                     + 0.5 * np.linalg.slogdet(total)[1] - np.log(share))
    return -np.logaddexp(-costs[0], -costs[1]) - _ANYWHERE


def clothes_cost(known, new):
    """By appearances (N, 6), (M, 6) of tracking.appearance, NaN where not known: (N, M)."""
    gap = (known[:, None] - new[None]) ** 2
    same = np.tile(_SAME, 2) ** 2
    other = same + 2 * np.tile(_PEOPLE, 2) ** 2
    return np.nansum(0.5 * (np.minimum(gap / same, 16) - gap / other + np.log(same / other)), -1)


def _line(place):
    """Projection (..., 3, 3) onto the ray through a place (..., 3)."""
    ray = place / np.maximum(np.linalg.norm(place, axis=-1, keepdims=True), 1e-9)
    return ray[..., :, None] * ray[..., None, :]

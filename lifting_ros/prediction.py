"""People a little earlier or later: joints moved by their velocities, less and less surely.

How fast a velocity is forgotten, and how far people get beside it, are motion capture's numbers
(tracking/motion.py).
"""

from dataclasses import replace

import numpy as np

from .person import stacked
from .skeleton import PELVIS
from .tracking import motion

#: m/s in each direction where a velocity is not known: a walk.
UNKNOWN_SPEED = 0.8
#: m/s: what says that a joint, or its sigma, is faster says nothing.
FASTEST = 1e3


def known_velocity(velocity, covariance):
    """Velocities and covariances where each is known; else 0 and ``UNKNOWN_SPEED`` squared.

    Args:
        velocity: (..., 3) m/s; covariance: (..., 3, 3) m^2/s^2, NaN where unknown; what is
            beyond :data:`FASTEST` is taken for unknown.

    Returns:
        The same shapes, all finite.
    """
    velocity = np.asarray(velocity, dtype=np.float64)
    covariance = np.asarray(covariance, dtype=np.float64)
    known = (np.abs(velocity) < FASTEST).all(-1)
    known &= (np.abs(covariance) < FASTEST ** 2).all((-1, -2))
    return (np.where(known[..., None], velocity, 0.0),
            np.where(known[..., None, None], covariance, UNKNOWN_SPEED ** 2 * np.eye(3)))


def _rounder(covariance, variance):
    """Covariances (N, 17, 3, 3), changed in place, with a variance (N, 17) more on each axis."""
    covariance.reshape(*covariance.shape[:-2], 9)[..., ::4] += variance[..., None]
    return covariance


def carried(joints, covariance, velocity, velocity_covariance, seconds):
    """People moved in time.

    The pelvis loses its velocity slowly, the limbs theirs about the pelvis soon. What two
    velocities have in common is not known: their spreads are added as if it were all.

    Args:
        joints: (N, 17, 3) m; covariance: (N, 17, 3, 3) m^2.
        velocity: (N, 17, 3) m/s; velocity_covariance: (N, 17, 3, 3) m^2/s^2; NaN where unknown.
        seconds: number or (N,); negative moves back.

    Returns:
        The four of the same shapes. Covariances never shrink; ``seconds`` 0 changes nothing but
        unknown velocities.
    """
    velocity, spread = known_velocity(velocity, velocity_covariance)
    seconds = np.broadcast_to(np.asarray(seconds, dtype=np.float64), joints.shape[:1])[:, None]
    t, sign = np.abs(seconds), np.sign(seconds)                                       # (N, 1)
    q, tau = motion.PELVIS_Q, motion.PELVIS_TAU
    limbs, time = np.array(motion.SPREAD), np.array(motion.TIME)
    limbs[PELVIS], time[PELVIS] = 0.0, tau
    whole = motion.pelvis_gain(t, tau)
    own = np.minimum(motion.limb_gain(t, time), whole)                                # (N, 17)
    own[:, PELVIS] = whole[:, 0]
    rest = whole - own
    root, root_spread = velocity[:, PELVIS, None], spread[:, PELVIS, None]
    moved = joints + (sign * own)[..., None] * velocity + (sign * rest)[..., None] * root
    both = own[..., None, None] * spread + rest[..., None, None] * root_spread
    place = motion.pelvis_variance(t, q, tau) + motion.limb_variance(t, limbs, time)
    covariance = _rounder(covariance + whole[..., None, None] * both, np.maximum(place, 0))
    slow = np.exp(-t / tau)
    share = np.exp(-(t / time) ** 2) * np.maximum(1 - 2 * (t / time) ** 2, 0)
    share[:, PELVIS] = slow[:, 0]
    share = np.minimum(share, slow)
    speed = share[..., None] * velocity + (slow - share)[..., None] * root
    new = q * tau / 2 * (1 - slow ** 2) + np.minimum(
        3 * limbs ** 2 / time ** 3 * t, 2 * limbs ** 2 / time ** 2)
    return moved, covariance, speed, _rounder(np.array(spread), new)


def moved_on(people, seconds):
    """Persons ``seconds`` later (or earlier): new objects, pixels unchanged.

    Args:
        people: list of :class:`~lifting_ros.person.Person`; those without joints stay as they are.
        seconds: number.
    """
    which = [i for i, p in enumerate(people) if np.isfinite(p.joints).all()]
    out = list(people)
    if not which or seconds == 0:
        return out
    parts = carried(*stacked([people[i] for i in which]), seconds)
    for row, i in enumerate(which):
        joints, covariance, velocity, spread = (part[row] for part in parts)
        out[i] = replace(people[i], joints=joints, covariance=covariance, velocity=velocity,
                         velocity_covariance=spread, age=people[i].age + seconds)
    return out

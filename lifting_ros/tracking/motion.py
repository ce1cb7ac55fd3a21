"""How people move: what the filters assume, fitted to motion capture.

The pelvis has a velocity that is forgotten in ``tau`` s and driven by white noise of density
``q`` m^2/s^3. The other joints move about the pelvis: what is known of their velocity is of use
for a time, and then they are somewhere within their reach. The numbers are those that
``lifting-ros train motion`` prints.
"""

import numpy as np

from ..skeleton import PELVIS


def pelvis_gain(t, tau):
    """How far (m) a velocity of 1 m/s carries the pelvis in t s."""
    return tau * (1 - np.exp(-t / tau))


def pelvis_variance(t, q, tau):
    """Variance (m^2) of the pelvis's place t s after place and velocity were known."""
    a = np.exp(-t / tau)
    return q * tau ** 2 * (t - 2 * tau * (1 - a) + tau / 2 * (1 - a ** 2))


def limb_gain(t, time):
    """How far (m) a velocity of 1 m/s about the pelvis carries a joint in t s."""
    return t * np.exp(-(t / time) ** 2)


def limb_variance(t, spread, time):
    """Variance (m^2) of a joint about the pelvis t s after place and velocity were known."""
    return spread ** 2 * -np.expm1(-(t / time) ** 3)


#: Of each joint (order of skeleton.JOINTS): the pelvis's (q, tau), the others' (spread, time).
FITTED = np.array((
    (0.60, 1.20), (0.027, 0.83), (0.146, 0.30), (0.184, 0.36), (0.027, 0.83), (0.144, 0.31),
    (0.198, 0.36), (0.054, 0.63), (0.109, 0.63), (0.166, 0.68), (0.170, 0.70), (0.137, 0.64),
    (0.151, 0.43), (0.215, 0.39), (0.145, 0.65), (0.181, 0.47), (0.239, 0.41)))

PELVIS_Q, PELVIS_TAU = FITTED[PELVIS]
SPREAD, TIME = FITTED.T

"""The second table of ``lifting-ros eval 3d``: people of all adults' statures.

A few subjects' statures are no sample of anybody's: whether an ellipsoid that knows adults holds
what it says cannot be seen on them. So the people of the first table are scaled to statures drawn
from adult anthropometry, and stand before cameras anew.
"""

import numpy as np

from ..training.mocap import adult_statures, resized, stature
from .groups3d import seen_and_unseen
from .scenes import scenes
from .tables3d import Trial, draw, fewer, legs_hidden, measure


def evaluate(lifter, poses, n, seed=0, batch=64):
    """Errors and calibration on people whose statures are drawn.

    Args:
        lifter: :class:`~lifting_ros.lifting.Lifter`.
        poses: held-out :class:`~lifting_ros.training.mocap.Poses`.
        n: people; seed: of poses (the first table's), statures, cameras and noise.
        batch: people a call.

    Returns:
        dict of row name -> row, as :func:`~lifting_ros.evaluation.tables3d.measure` has them;
        and the curves of calibration for plots.
    """
    drawn = draw(poses, n, np.random.default_rng(seed))
    rng = np.random.default_rng([seed, 7])
    s = scenes(resized(drawn.joints, adult_statures(n, rng)), rng)
    trial, tall = Trial(lifter, batch), stature(s.joints)
    eight = fewer(s, 8, np.random.default_rng([seed, 8]))
    legs = legs_hidden(s)
    lifts = {'gravity known': trial(s), 'gravity unknown': trial(s, up=None),
             'stature given': trial(s, stature=tall),
             'ground plane': trial(s, camera_height=s.height),
             'eight joints seen': trial(s, confidence=eight),
             'legs not seen': trial(s, confidence=legs)}
    table = {k: measure(v.joints, s.joints, v.covariance) for k, v in lifts.items()}
    groups, levels = seen_and_unseen([(lifts['gravity known'], s.confidence),
                                      (lifts['eight joints seen'], eight),
                                      (lifts['legs not seen'], legs)], s.joints)
    return {f'adults: {k}': row for k, row in (table | groups).items()}, levels

"""``lifting-ros eval 3d --bodies``: the lifter on shapes of a body model, a skeleton of its own.

Joints of the body model ``anny`` are defined by its rig and skin, not by a capture system's
markers, and no fit has seen them.
"""

import numpy as np

from ..skeleton import NUM_JOINTS
from .groups3d import seen_and_unseen
from .scenes import scenes
from .tables3d import Trial, fewer, measure

#: Who is smaller is no adult, metres.
_ADULT = 1.45


def made(path, n, rng, progress=iter):
    """Adult bodies of random shape in captured poses of the subjects that are held out.

    Args:
        path: folder or npz of motion capture; n: how many; rng: numpy Generator.
        progress: wraps the iterable of people, for a bar.

    Returns:
        joints (n, 17, 3) m, z up, the floor at z = 0; statures (n,) m, from sole to crown.

    Raises:
        ImportError: the body model is not installed; the message says how to get it.
    """
    from ..training.bodies import Bodies
    from ..training.captures import Captures
    from ..training.retarget import Style, place, rotations
    captures = Captures(path, held_out=True)
    try:
        bodies = Bodies()
    except ImportError as error:
        raise ImportError('--bodies needs the body model anny: pip install --no-deps -r '
                          f'requirements/render.txt ({error})') from error
    joints, tall = np.empty((n, NUM_JOINTS, 3)), np.empty(n)
    for i in progress(range(n)):
        body = bodies.sample(rng)
        while body.stature < _ADULT:
            body = bodies.sample(rng)
        capture = captures.draw(rng)
        joints[i] = body.joints(*place(body, rotations(body, capture, Style.sample(rng)),
                                       capture))
        tall[i] = body.stature
    return joints, tall


def evaluate(lifter, joints, tall, seed=0, batch=64):
    """Errors and calibration on made bodies.

    Args:
        lifter: :class:`~lifting_ros.lifting.Lifter`.
        joints, tall: of :func:`made`.
        seed: of cameras, noise and missing joints; batch: people a call.

    Returns:
        dict of row name -> row, as :func:`~lifting_ros.evaluation.tables3d.measure` has them.
    """
    from ..training.mocap import stature
    s = scenes(joints, np.random.default_rng([seed, 5]))
    trial = Trial(lifter, batch)
    eight = fewer(s, 8, np.random.default_rng([seed, 6]))
    lifts = {'bodies: gravity known': trial(s),
             'bodies: gravity unknown': trial(s, up=None),
             'bodies: stature of the bones given': trial(s, stature=stature(s.joints)),
             'bodies: stature from sole to crown given': trial(s, stature=tall),
             'bodies: ground plane': trial(s, camera_height=s.height),
             'bodies: eight joints seen': trial(s, confidence=eight)}
    table = {name: measure(lifted.joints, s.joints, lifted.covariance)
             for name, lifted in lifts.items()}
    groups, _ = seen_and_unseen([(lifts['bodies: gravity known'], s.confidence),
                                 (lifts['bodies: eight joints seen'], eight)], s.joints)
    return table | {f'bodies: {name}': row for name, row in groups.items()}

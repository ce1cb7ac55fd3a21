"""``lifting-ros train motion``: how people move, for the tracker (tracking/motion.py).

From captured clips of the subjects that are not held out: how far off a joint is, some time
after its place and velocity were known.
"""

import numpy as np
from scipy.optimize import least_squares

from ..skeleton import JOINTS, PELVIS
from ..tracking.motion import limb_gain, limb_variance, pelvis_gain, pelvis_variance
from .mocap import HELD_OUT_SUBJECTS, draw_balanced, read

_STEPS = (2, 3, 4, 6, 9, 12, 18, 24)
_FPS = 12.0
#: What people do about a robot. Climbing, dancing and cartwheels are not typical of it.
_KINDS = ('walk', 'reach', 'bend_lift', 'bend_reach', 'squat_kneel', 'gesture', 'sports',
          'exercise', 'run')
#: A joint that moves so much about the pelvis in a frame (m) is a fault of the recording.
_JUMP = 0.4
#: m/s, a pelvis that is faster is on its way somewhere.
_WALK = 0.4


def clips(poses):
    """Slices of the clips in poses."""
    change = np.flatnonzero(poses.clip[1:] != poses.clip[:-1]) + 1
    edges = [0, *change, len(poses)]
    return [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]


def samples(poses, step, rng, count=6000):
    """Places ``step`` frames on, and velocities before, kinds of motion balanced.

    Returns:
        moved, velocity (N, 17, 3) m and m/s: of the pelvis, and of all others about it.
    """
    first = np.concatenate([np.arange(c.start + 1, c.stop - step) for c in clips(poses)
                            if c.stop - c.start > step + 1])
    x = poses.joints.copy()
    others = [j for j in range(len(JOINTS)) if j != PELVIS]
    x[:, others] -= x[:, PELVIS:PELVIS + 1]
    jump = np.append(np.abs(np.diff(x[:, others], axis=0)).max((1, 2)) > _JUMP, True)
    faults = np.concatenate(([0], np.cumsum(jump)))
    first = first[faults[first + step] == faults[first - 1]]
    first = first[draw_balanced(poses[first], min(count, 4 * len(first)), rng)]
    return x[first + step] - x[first], (x[first + 1] - x[first - 1]) * _FPS / 2


def fit(poses, seed=0):
    """Fit the two numbers of each joint's motion (see tracking/motion.py).

    Returns:
        (17, 2): of the pelvis (q m^2/s^3, tau s), of the others (spread m, time s).
    """
    rng = np.random.default_rng(seed)
    data = [samples(poses, s, rng) for s in _STEPS]
    times = np.array(_STEPS) / _FPS
    out = np.zeros((len(JOINTS), 2))
    for j in range(len(JOINTS)):
        gain, variance, start = ((pelvis_gain, pelvis_variance, (0.5, 1.0)) if j == PELVIS
                                 else (limb_gain, limb_variance, (0.2, 0.4)))

        def off(p, j=j, gain=gain, variance=variance):
            a, b = np.exp(p)
            gaps = []
            for t, (m, v) in zip(times, data, strict=True):
                if j == PELVIS:     # how long a walk lasts, not how long somebody sways
                    walks = np.linalg.norm(v[:, j], axis=1) > _WALK
                    m, v = m[walks], v[walks]
                best = (m[:, j] * v[:, j]).sum() / (v[:, j] ** 2).sum()
                rest = ((m[:, j] - best * v[:, j]) ** 2).mean()
                trust = 10 if j == PELVIS else 2
                gaps += [np.log(rest / variance(t, a, b)), trust * (best - gain(t, b)) / t]
            return np.array(gaps)
        out[j] = np.exp(least_squares(off, np.log(start)).x)
    return out


def add_arguments(parser):
    parser.add_argument('--mocap', default='../shared/data/mocap',
                        help='folder or npz of motion capture (%(default)s)')


def run(args):
    poses = read(args.mocap)
    # cmu_actions was put together by others, and its headings jump
    pick = ~np.isin(poses.subject, HELD_OUT_SUBJECTS) & np.isin(poses.kind, _KINDS)
    pick &= poses.source != 'cmu_actions'
    for name, (a, b) in zip(JOINTS, fit(poses[pick]), strict=True):
        text = 'q %.2f m^2/s^3  tau' if name == JOINTS[PELVIS] else 'spread %.3f m  time'
        print(f'{name:15} {text % a} {b:.2f} s')
    return 0

"""Sitting poses by inverse kinematics from standing ones: the motion capture has no chairs.

The trunk, head and arms stay as captured; the legs go to a seat of 0.40 to 0.60 m.
"""

import numpy as np

from ..prior.fit import facing, turn
from ..skeleton import INDEX, PELVIS
from .mocap import Poses, stature

_HIP_OVER_SEAT = 0.085     # metres: hip joint over the seat
_ANKLE_OVER_FLOOR = 0.08   # metres


def upright(poses):
    """Which poses (N,) stand or walk: trunk within 25 degrees of the vertical, ankles low."""
    trunk = poses.joints[:, INDEX['neck']] - poses.joints[:, PELVIS]
    lean = trunk[:, 2] / np.linalg.norm(trunk, axis=1)
    height = stature(poses.joints)
    ankles = poses.joints[:, [INDEX['left_ankle'], INDEX['right_ankle']], 2]
    low = poses.joints[:, PELVIS, 2][:, None] - ankles > 0.40 * height[:, None]
    return (lean > np.cos(np.radians(25))) & low.all(1)


def seat(joints, rng, squats=0.2):
    """Legs of upright poses put on a seat.

    The hips are as high as the seat has them. The ankle is put on the floor at a random
    distance, and the knee where thigh and shin meet, in the upright plane of the thigh: in
    front of the hip. Legs may be spread, one stretched, feet under the seat; the trunk leans
    -10 to 35 degrees in half of the poses.

    Args:
        joints: (N, 17, 3) metres, z up.
        rng: numpy Generator.
        squats: share that squats or sits lower, 0.10 to 0.40 m.

    Returns:
        (N, 17, 3) metres, facing as before, the pelvis at its seat's height over z = 0.
    """
    n = len(joints)
    heading = facing(joints)
    x = turn(joints - joints[:, :1], -heading)
    lean = np.radians(rng.uniform(-10, 35, n)) * (rng.random(n) < 0.5)
    c, s = np.cos(lean)[:, None], np.sin(lean)[:, None]
    upper = [j for j, name in enumerate(INDEX) if not name.endswith(('hip', 'knee', 'ankle'))]
    a, b = x[:, upper, 0].copy(), x[:, upper, 2].copy()
    x[:, upper, 0], x[:, upper, 2] = c * a + s * b, c * b - s * a
    low = rng.random(n) < squats
    height = np.where(low, rng.uniform(0.10, 0.40, n), rng.uniform(0.40, 0.60, n))
    height = height + _HIP_OVER_SEAT
    both = rng.uniform(-0.30, 0.75, n)          # tilt of the shins, radians, feet ahead > 0
    turned = np.radians(rng.normal(0, 8, n))    # the legs' heading against the trunk's
    for side, sign in (('left', 1.0), ('right', -1.0)):
        hip, knee, ankle = (INDEX[f'{side}_{j}'] for j in ('hip', 'knee', 'ankle'))
        thigh = np.linalg.norm(joints[:, knee] - joints[:, hip], axis=1)
        shin = np.linalg.norm(joints[:, ankle] - joints[:, knee], axis=1)
        wide = np.linalg.norm(x[:, hip] - x[:, INDEX['pelvis']], axis=1)
        x[:, hip] = np.stack((np.zeros(n), sign * wide, np.zeros(n)), -1)
        splay = turned + sign * np.radians(np.clip(rng.normal(9, 12, n), -15, 45))
        tilt = np.clip(both + rng.normal(0, 0.2, n), -0.7, 1.25)
        # the ankle stands on the floor, unless the thigh would point down by over 40 degrees
        # or up by over 55: then the foot hangs or rests on something
        drop = height - _ANKLE_OVER_FLOOR - shin * np.cos(tilt)
        pitch = np.arcsin(np.clip(drop / thigh, -0.82, 0.64))
        forward = np.stack((np.cos(splay), np.sin(splay)), -1)
        x[:, knee, :2] = x[:, hip, :2] + forward * (thigh * np.cos(pitch))[:, None]
        x[:, knee, 2] = -thigh * np.sin(pitch)
        turned_shin = splay + sign * rng.normal(0, 0.25, n)
        forward = np.stack((np.cos(turned_shin), np.sin(turned_shin)), -1)
        x[:, ankle, :2] = x[:, knee, :2] + forward * (shin * np.sin(tilt))[:, None]
        x[:, ankle, 2] = x[:, knee, 2] - shin * np.cos(tilt)
    x = turn(x, heading)
    x[..., 2] += height[:, None]
    return x


def sitting(poses, n, rng):
    """n sitting poses of kind ``sit`` from the upright ones of ``poses``; see :func:`seat`."""
    standing = np.flatnonzero(upright(poses))
    pick = poses[rng.choice(standing, n)]
    return Poses(seat(pick.joints, rng), pick.source, pick.subject,
                 np.full(n, 'sit', dtype=pick.kind.dtype), pick.clip)

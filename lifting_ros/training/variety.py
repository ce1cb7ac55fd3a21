"""Poses that nobody captured: limbs recombined between clips, trunks bent, people lying down.

A few subjects' motion capture holds few of the poses that people take. Everything here is made
of captured parts and keeps bones' lengths; it is drawn for a share of the poses of a fit only.
"""

import numpy as np

from ..prior.fit import facing, turn
from ..skeleton import INDEX, NECK, PELVIS, SPINE

_UPPER = [i for n, i in INDEX.items() if not n.endswith(('hip', 'knee', 'ankle', 'pelvis'))]
_HEAD = [INDEX['nose'], INDEX['head_top']]


def _frame(side, up):
    """Right-handed frames (N, 3, 3), columns ahead, left, up, by Gram-Schmidt from up."""
    up = up / np.linalg.norm(up, axis=1, keepdims=True)
    side = side - (side * up).sum(1, keepdims=True) * up
    side = side / np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-9)
    return np.stack((np.cross(side, up), side, up), -1)


def _torso(x):
    return _frame(x[:, INDEX['left_shoulder']] - x[:, INDEX['right_shoulder']],
                  x[:, NECK] - x[:, PELVIS])


def rotation(axis, angle):
    """Rotations (N, 3, 3) about unit axes (N, 3) by angles (N,)."""
    x, y, z = axis.T
    zero = np.zeros_like(x)
    k = np.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1).reshape(-1, 3, 3)
    s, c = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    return np.eye(3) + s * k + (1 - c) * k @ k


def _about(x, joints, centre, turn_by):
    x[:, joints] = ((x[:, joints] - x[:, centre][:, None]) @ np.swapaxes(turn_by, 1, 2)
                    + x[:, centre][:, None])


def recombine(joints, others, rng):
    """Arms and legs of ``others`` on the trunks of ``joints``.

    Each arm keeps its place about the torso; legs keep theirs about the vertical through the
    pelvis, so that who stands goes on standing when the trunk above is bent.

    Args:
        joints, others: (N, 17, 3) metres, z up.
        rng: numpy Generator: each arm is exchanged with probability 0.6, both legs with 0.5.

    Returns:
        (N, 17, 3), pelvis where it was.
    """
    out = joints.copy()
    n = len(out)
    move = _torso(joints) @ np.swapaxes(_torso(others), 1, 2)
    level = facing(joints) - facing(others)
    c, s, zero = np.cos(level), np.sin(level), np.zeros(n)
    yaw = np.stack((c, -s, zero, s, c, zero, zero, zero, zero + 1), -1).reshape(n, 3, 3)
    legs = rng.random(n) < 0.5
    for side in ('left', 'right'):
        for chain, by, chosen in (
                (('shoulder', 'elbow', 'wrist'), move, rng.random(n) < 0.6),
                (('hip', 'knee', 'ankle'), yaw, legs)):
            at = INDEX[f'{side}_{chain[0]}']
            for name in chain[1:]:
                j = INDEX[f'{side}_{name}']
                parent = at
                bone = (by @ (others[:, j] - others[:, parent])[..., None])[..., 0]
                own = np.linalg.norm(joints[:, j] - joints[:, parent], axis=1, keepdims=True)
                bone = bone / np.linalg.norm(bone, axis=1, keepdims=True) * own
                keep = joints[:, j] - joints[:, parent]
                out[:, j] = out[:, parent] + np.where(chosen[:, None], bone, keep)
                at = j
    return out


def bend(joints, rng):
    """Trunks bent over the hips (-15 to 95 degrees forwards, mostly little), sideways and
    twisted, heads turned; in a third of those that are bent the arms keep hanging.
    """
    out = joints.copy()
    n = len(out)
    heading = facing(out)
    c, s, zero = np.cos(heading), np.sin(heading), np.zeros(n)
    left, ahead = np.stack((-s, c, zero), -1), np.stack((c, s, zero), -1)
    forward = np.radians(np.where(rng.random(n) < 0.5, rng.normal(5, 12, n),
                                  rng.uniform(10, 95, n)))
    # who is bent already is not folded any further
    trunk = out[:, NECK] - out[:, PELVIS]
    lean = np.arctan2((trunk * ahead).sum(1), trunk[:, 2])
    forward = np.clip(forward, np.radians(-20) - lean, np.radians(110) - lean) * (
        trunk[:, 2] > 0)
    arms = {side: [INDEX[f'{side}_{a}'] for a in ('elbow', 'wrist')] for side in
            ('left', 'right')}
    hang = rng.random(n) < 0.33
    before = out.copy()
    for axis, angle in ((left, forward), (ahead, np.radians(rng.normal(0, 9, n))),
                        (np.tile([0.0, 0, 1], (n, 1)), np.radians(rng.normal(0, 14, n)))):
        _about(out, _UPPER, PELVIS, rotation(axis, angle))
    for side, chain in arms.items():
        at = INDEX[f'{side}_shoulder']
        for j in chain:
            hung = out[:, at] + before[:, j] - before[:, at]
            out[:, j] = np.where(hang[:, None], hung, out[:, j])
            at = j
    torso = _torso(out)
    _about(out, _HEAD, NECK, rotation(torso[..., 1], np.radians(rng.normal(5, 15, n))))
    _about(out, _HEAD, NECK, rotation(torso[..., 2], np.radians(rng.normal(0, 20, n))))
    return out


def lie(joints, rng):
    """The same poses lying: on the back, the front or a side, with some tilt left."""
    n = len(joints)
    body = turn(joints - joints[:, :1], -facing(joints))
    roll = rng.choice([0, np.pi, np.pi / 2, -np.pi / 2], n) + rng.normal(0, 0.3, n)
    axis_y, axis_z = np.tile([0.0, 1, 0], (n, 1)), np.tile([0.0, 0, 1], (n, 1))
    down = rotation(axis_y, np.full(n, -np.pi / 2) + np.abs(rng.normal(0, 0.25, n)))
    by = down @ rotation(axis_z, roll)
    return turn(body @ np.swapaxes(by, 1, 2), rng.uniform(-np.pi, np.pi, n))


def vary(joints, others, rng, share=0.5, lying=0.04):
    """A share of poses recombined and bent, a few lying; the rest as they are.

    Args:
        joints: (N, 17, 3) metres, z up; others: (N, 17, 3), whose limbs are borrowed.
        rng: numpy Generator.
        share: of poses that are changed; lying: of poses laid down.

    Returns:
        (N, 17, 3), pelvis at the origin.
    """
    out = joints - joints[:, :1]
    which = rng.random(len(out)) < share
    out[which] = recombine(out[which], others[which], rng)
    which &= rng.random(len(out)) < 0.6
    out[which] = bend(out[which], rng)
    which = rng.random(len(out)) < lying
    out[which] = lie(out[which], rng)
    out[:, SPINE] = (out[:, PELVIS] + out[:, NECK]) / 2
    return out - out[:, :1]

"""Motion capture to poses of the project's joints, and skeletons of one definition.

Positions come as y-up metres of named joints (an npz with positions, joint_names, clip_start,
clip_name, source, subject, kind); they leave as z-up metres of the seventeen joints.
"""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from ..skeleton import INDEX, MIRROR, NECK, NUM_JOINTS, PELVIS, SPINE

#: Subjects that no shipped fit sees: the evaluation is on them.
HELD_OUT_SUBJECTS = ('hdm05_mm', 'cmu_02', 'cmu_05', 'cmu_131')
#: Statures of adults, metres: mean and sigma of men and of women.
ADULTS = ((1.756, 0.069), (1.629, 0.064))

_LIMB = {side: {name: INDEX[f'{side}_{name}'] for name in
                ('hip', 'knee', 'ankle', 'shoulder', 'elbow', 'wrist')}
         for side in ('left', 'right')}
_NOSE, _TOP = INDEX['nose'], INDEX['head_top']


@dataclass(frozen=True, eq=False)
class Poses:
    """Poses and where each is from.

    Args:
        joints: (N, 17, 3) metres, z up.
        source, subject, kind, clip: (N,) strings.
    """

    joints: np.ndarray
    source: np.ndarray
    subject: np.ndarray
    kind: np.ndarray
    clip: np.ndarray

    def __len__(self):
        return len(self.joints)

    def __getitem__(self, index):
        return Poses(*(getattr(self, f.name)[index] for f in fields(self)))

    def __add__(self, other):
        return Poses(*(np.concatenate((getattr(self, f.name), getattr(other, f.name)))
                       for f in fields(self)))


def read(path):
    """Read poses of an npz of motion capture (y up, metres, named joints).

    Args:
        path: the npz, or a folder with ``poses_common.npz`` in it.

    Returns:
        Poses.

    Raises:
        ValueError: a key or a joint that is needed is missing.
    """
    path = Path(path)
    path = path / 'poses_common.npz' if path.is_dir() else path
    with np.load(path, allow_pickle=False) as data:
        missing = {'positions', 'joint_names', 'clip_start'} - set(data.files)
        if missing:
            raise ValueError(f'{path} lacks {", ".join(sorted(missing))}')
        names = [str(n) for n in data['joint_names']]
        start = data['clip_start']
        clips = len(start) - 1
        of_clip = {k: data[k].astype(str) if k in data.files else np.full(clips, k)
                   for k in ('source', 'subject', 'kind', 'clip_name')}
        raw = data['positions'].astype(np.float64)
    if 'pelvis' not in names and {'left_hip', 'right_hip'} <= set(names):
        middle = (raw[:, names.index('left_hip')] + raw[:, names.index('right_hip')]) / 2
        raw, names = np.concatenate((raw, middle[:, None]), 1), [*names, 'pelvis']
    needed = [j for j in INDEX if j != 'spine']
    missing = [j for j in needed if j not in names]
    if missing:
        raise ValueError(f'{path} lacks the joints {", ".join(missing)}')
    joints = np.empty((len(raw), NUM_JOINTS, 3))
    for j in needed:
        joints[:, INDEX[j]] = raw[:, names.index(j)]
    joints[:, PELVIS] = (joints[:, _LIMB['left']['hip']] + joints[:, _LIMB['right']['hip']]) / 2
    joints[:, SPINE] = (joints[:, PELVIS] + joints[:, NECK]) / 2
    joints = np.stack((joints[..., 0], -joints[..., 2], joints[..., 1]), -1)
    frames = np.repeat(np.arange(clips), np.diff(start))
    return Poses(joints, of_clip['source'][frames], of_clip['subject'][frames],
                 of_clip['kind'][frames], of_clip['clip_name'][frames])


def stature(joints):
    """Stature by bone lengths, so that it does not depend on the pose.

    Shin, thigh, pelvis to neck and neck to head top, and 5 % for what lies below the ankle
    (checked against standing frames of each subject to 2 %).

    Args:
        joints: (..., 17, 3) metres.

    Returns:
        (...,) metres.
    """
    def length(a, b):
        return np.linalg.norm(joints[..., a, :] - joints[..., b, :], axis=-1)
    legs = sum(length(s['hip'], s['knee']) + length(s['knee'], s['ankle'])
               for s in _LIMB.values()) / 2
    return 1.05 * (legs + length(PELVIS, NECK) + length(NECK, _TOP))


def adult_statures(n, rng):
    """Statures (n,) m of adults, men and women alike often."""
    mean, sigma = np.array(ADULTS)[rng.integers(2, size=n)].T
    return rng.normal(mean, sigma)


def resized(joints, size):
    """The same people, scaled about the origin.

    Args:
        joints: (N, 17, 3) m; size: (N,) m, the :func:`stature` that they shall have.

    Returns:
        (N, 17, 3) m.
    """
    return joints * (size / stature(joints))[:, None, None]


def normalise(joints):
    """Poses with the pelvis at the origin and the stature as unit; also the statures (N,) m."""
    size = stature(joints)
    return (joints - joints[:, :1]) / size[:, None, None], size


def mirrored(joints):
    """Left and right exchanged, in any frame (a reflection through the xz plane)."""
    return joints[..., MIRROR, :] * np.array([1.0, -1.0, 1.0])


def draw_balanced(poses, n, rng, power=0.35):
    """Indices (n,) of poses drawn so that no kind, subject or clip dominates.

    A kind's share is its frame count to ``power``; within a kind so is a subject's, and within
    that a clip's.
    """
    weight = np.ones(len(poses))
    group = np.zeros(len(poses), dtype=int)
    for labels in (poses.kind, poses.subject, poses.clip):
        _, inverse = np.unique(labels, return_inverse=True)
        _, group_new = np.unique(group * (inverse.max() + 1) + inverse, return_inverse=True)
        count = np.bincount(group_new)
        share = count.astype(float) ** power
        parent = np.zeros(len(count), dtype=int)
        parent[group_new] = group
        share /= np.bincount(parent, share)[parent]
        weight *= share[group_new]
        group = group_new
    weight /= np.bincount(group)[group]
    return rng.choice(len(poses), n, p=weight / weight.sum())


def reproportion(joints, rng, strength=1.0):
    """The same poses on bodies of other proportions and other joint definitions.

    Each pose gets a place on the way from the captures' definitions (0: hips narrow, shoulders
    wide and over the neck, arms long) to those of body models and other capture systems (1: see
    the numbers); what a definition moves, it moves together. Beside that everything varies by
    itself: limbs, alike on both sides, trunks, necks, head tops and noses.

    Args:
        joints: (N, 17, 3) metres, z up.
        rng: numpy Generator.
        strength: factor on every change.

    Returns:
        (N, 17, 3) metres, the pelvis where it was.
    """
    n = len(joints)
    size = stature(joints)[:, None]
    way = strength * rng.uniform(0, 1, (n, 1))

    def normal(sigma):
        return strength * sigma * np.clip(rng.standard_normal((n, 1)), -2.5, 2.5)

    def uniform(low, high):
        return rng.uniform(low, high, (n, 1))

    out = joints.copy()
    pelvis = joints[:, PELVIS]
    trunk = joints[:, NECK] - pelvis
    trunk_new = trunk * np.exp(normal(0.045))
    thigh, shin = np.exp(normal(0.045)), np.exp(normal(0.045))
    # arms of the captures are long: forearms 0.17 statures, elsewhere 0.14 to 0.15
    upper = (1 - 0.07 * way) * np.exp(normal(0.05))
    fore = (1 - 0.15 * way) * np.exp(normal(0.06))
    hips = joints[:, _LIMB['left']['hip']] - joints[:, _LIMB['right']['hip']]
    hips_wide = np.linalg.norm(hips, axis=1, keepdims=True)
    hips_new = hips_wide + way * (0.142 * size - hips_wide) + size * normal(0.020)
    hips_new = np.clip(hips_new, np.minimum(0.07 * size, hips_wide), 0.19 * size)
    shoulders = joints[:, _LIMB['left']['shoulder']] - joints[:, _LIMB['right']['shoulder']]
    wide = np.linalg.norm(shoulders, axis=1, keepdims=True)
    wide_new = wide + way * (0.195 * size - wide) + size * normal(0.016)
    wide_new = np.clip(wide_new, 0.14 * size, np.maximum(0.28 * size, wide))
    up = trunk / np.linalg.norm(trunk, axis=1, keepdims=True)
    neck_new = pelvis + trunk_new
    out[:, NECK] = neck_new + up * size * (way * uniform(-0.01, 0.03) + normal(0.004))
    # captures have the shoulders 5 cm over the neck, bodies and annotators 5 cm under it
    shoulder_drop = up * size * (way * uniform(-0.055, 0.0) + normal(0.006))
    hip_drop = up * size * strength * uniform(-0.015, 0.015)
    for side, sign in (('left', 0.5), ('right', -0.5)):
        j = _LIMB[side]
        hip = joints[:, j['hip']]
        # the pelvis stays the middle of the hips: the legs are moved, not the pelvis
        out[:, j['hip']] = pelvis + sign * hips / hips_wide * hips_new
        down = out[:, j['hip']] + hip_drop
        out[:, j['knee']] = down + thigh * (joints[:, j['knee']] - hip)
        out[:, j['ankle']] = out[:, j['knee']] + shin * (joints[:, j['ankle']]
                                                         - joints[:, j['knee']])
        arm = joints[:, j['shoulder']]
        middle = arm - joints[:, NECK] - sign * shoulders
        out[:, j['shoulder']] = (neck_new + middle + shoulder_drop
                                 + sign * shoulders / wide * wide_new)
        out[:, j['elbow']] = out[:, j['shoulder']] + upper * (joints[:, j['elbow']] - arm)
        out[:, j['wrist']] = out[:, j['elbow']] + fore * (joints[:, j['wrist']]
                                                          - joints[:, j['elbow']])
    head = joints[:, _TOP] - joints[:, NECK]
    nose = joints[:, _NOSE] - joints[:, NECK]
    base = neck_new
    out[:, _TOP] = base + head * (1 + normal(0.04) + way * uniform(-0.2, 0.25))
    across = head / np.linalg.norm(head, axis=1, keepdims=True)
    along = (nose * across).sum(1, keepdims=True) * across
    # the captures' nose is made up, and 5 cm too high: half-way to the head's top is usual
    out[:, _NOSE] = (base + along * (1 + normal(0.03) + way * uniform(-0.5, 0.05))
                     + (nose - along) * (1 + normal(0.1) + way * uniform(-0.2, 0.6)))
    out[:, SPINE] = (out[:, PELVIS] + out[:, NECK]) / 2
    return out

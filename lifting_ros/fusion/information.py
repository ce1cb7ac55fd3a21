"""Fusing what several cameras say of the same joints.

The error of one camera is of two kinds. Distance: the person is scaled about the camera's centre,
x = X - s (x - o), one number s for all joints, for what fixes it (stature) is one number. The rest
belongs to each joint. A joint's covariance S is s2 d d^T + R with d = x - o, and s2, which the
messages do not carry, is nowhere more than 1 / (d^T S^-1 d): the least of that over the joints.

The scales of several cameras come from the same prior of stature: their correlation is not known,
so their joint covariance is bounded as covariance intersection bounds it (C times the diagonal
for C cameras). The rests are partly alike (the same reading of the same pose): of the variance a
share RHO is taken as common, more where two cameras look from the same side. Given the scales all
is linear, and the scales are solved for with the joints: where rays cross, they follow from that.
"""

from dataclasses import dataclass

import numpy as np

from ..matrices import inverse
from ..skeleton import INDEX

#: Correlation of two cameras' own errors (of the same joint and axis) at 60 degrees and more:
#: measured on held-out motion capture, see docs/fusion.md.
RHO = 0.25
#: What all joints together say of a scale counts as if it were this share of the joints: their
#: errors are not independent of each other.
JOINTLY = 0.25
#: Share of the bound that is taken for s2.
_SHARE = 0.95
_EYE = np.eye(3)
#: Joints by which people are told apart: a half will do, at half the time.
_WHO = np.array([INDEX[n] for n in ('right_hip', 'right_knee', 'left_hip', 'left_knee', 'neck',
                                    'head_top', 'left_elbow', 'right_elbow')])
#: Those that will do to tell who is far away.
_SOME = _WHO[[0, 4]]
#: So many pairs of people are compared as fast by all joints.
_FEW = 16


@dataclass(frozen=True, eq=False)
class Parts:
    """Covariances of people of one camera, taken apart.

    Args:
        ray: (N, 17, 3) m from the camera to the joint, 0 where its centre is not known.
        scale: (N,) variance of the scale; 0 where the centre is not known.
        own: (N, 17, 3, 3) m^2, the rest.
    """

    ray: np.ndarray
    scale: np.ndarray
    own: np.ndarray


def take_apart(joints, covariance, origin):
    """Take covariances apart into scale and the rest.

    Args:
        joints: (N, 17, 3) m; covariance: (N, 17, 3, 3) m^2; origin: (3,) or (N, 3) m of the
            camera's centre in the same frame, NaN or None where it is not known.
    """
    joints, covariance = (np.asarray(a, dtype=np.float64) for a in (joints, covariance))
    known = False if origin is None else np.isfinite(origin).all(-1)
    if not np.any(known) or not len(joints):
        return Parts(np.zeros(joints.shape), np.zeros(len(joints)), covariance)
    known = np.broadcast_to(known, joints.shape[:1])
    ray = np.where(known[:, None, None], joints - np.asarray(origin)[..., None, :], 0.0)
    weighed = (inverse(covariance) @ ray[..., None])[..., 0]
    scale = np.where(known, _SHARE / np.maximum((ray * weighed).sum(-1).max(-1), 1e-12), 0.0)
    own = covariance - scale[:, None, None, None] * ray[..., :, None] * ray[..., None, :]
    return Parts(ray, scale, own)


def alike(first, second):
    """Correlation of the own errors of two cameras that look along (..., 3) and (..., 3).

    1 from the same place, RHO from 60 degrees on; 1 too where a direction is 0 (not known).
    """
    length = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    return _alike((first * second).sum(-1), length)


def _alike(product, length):
    """:func:`alike` of two directions' scalar product, and the product of their lengths."""
    near = np.maximum(2 * product / np.maximum(length, 1e-12) - 1, 0)
    return np.where(length > 1e-9, RHO + (1 - RHO) * (near * near), 1.0)


def fuse(joints, parts, there):
    """Joints that several cameras agree on.

    Args:
        joints: (C, N, 17, 3) m in one frame, at one time; whatever where not ``there``.
        parts: list of C :class:`Parts` of N people each, or one of arrays (C, N, ...).
        there: (C, N) bool, which camera sees whom; each person at least by one.

    Returns:
        joints (N, 17, 3) m, covariance (N, 17, 3, 3) m^2, and own (N, 17, 3, 3) m^2, the part of
        it that is not of the scales. One camera alone comes back as it was.
    """
    c, n = there.shape
    count = there.sum(0)
    if not isinstance(parts, Parts):
        parts = Parts(*(np.stack([getattr(p, name) for p in parts]) for name in (
            'ray', 'scale', 'own')))
    ray, scale, own, x = parts.ray, parts.scale, parts.own, joints
    if not there.all():
        ray, x = (np.where(there[..., None, None], a, 0) for a in (ray, x))
        own = np.where(there[..., None, None, None], own, _EYE)
    information = (inverse(own) * _trust(ray, there)[..., None, None, None])
    spread = inverse(information.sum(0))
    pulled = (information @ x[..., None]).sum(0)
    mean = (spread @ pulled)[..., 0]
    if not scale.any():
        return mean, spread, spread
    weighed = (information @ ray[..., None])[..., 0]                       # (C, N, 17, 3)
    moves = (spread @ weighed[..., None])[..., 0]                          # d mean / d s
    flat = weighed.swapaxes(0, 1).reshape(n, c, -1)
    matrix = -JOINTLY * flat @ moves.swapaxes(0, 1).reshape(n, c, -1).swapaxes(-1, -2)
    each = np.arange(c)
    with np.errstate(divide='ignore'):
        # a camera that is not there, or has no scale of its own, has s = 0
        prior = np.where(there & (scale > 0), 1 / (count * scale), 1.0)
    matrix[:, each, each] += JOINTLY * (weighed * ray).sum((-1, -2)).T + prior.T
    right = -JOINTLY * (weighed * (x - mean)).sum((-1, -2)).T
    unsure = np.linalg.inv(matrix)
    s = (unsure @ right[..., None])[..., 0]                               # (N, C)
    turned = np.moveaxis(moves, 0, -1)                                     # (N, 17, 3, C)
    mean = mean + (turned @ s[:, None, :, None])[..., 0]
    return mean, spread + turned @ unsure[:, None] @ turned.swapaxes(-1, -2), spread


def _trust(ray, there):
    """(C, N) factors on the information of each camera, for errors that are alike."""
    look = ray[:, :, 0].swapaxes(0, 1)
    product = look @ look.swapaxes(-1, -2)                                # (N, C, C)
    each = np.arange(len(there))
    length = np.sqrt(product[:, each, each])
    pair = _alike(product, length[:, :, None] * length[:, None]) * there.T[:, None]
    pair[:, each, each] = 1.0
    return there / pair.sum(-1).T


def distances(a, a_parts, b, b_parts, slack=0.0, beyond=np.inf):
    """How far people of one camera are from those of another, scales left free.

    Args:
        a, a_parts: (N, 17, 3) m and its parts; b, b_parts: (M, 17, 3) m and its.
        slack: m, standard deviation of what else may lie between them (extrinsics).
        beyond: nobody asks how much farther than this people are.

    Returns:
        (N, M): mean squared Mahalanobis distance a joint and axis. About 1 for the same person.
        Where it is more than ``beyond``, some number that is too.
    """
    n, m = len(a), len(b)
    first, second = np.repeat(np.arange(n), m), np.tile(np.arange(m), n)
    return apart(a, a_parts, b, b_parts, first, second, slack, beyond).reshape(n, m)


def apart(a, a_parts, b, b_parts, first, second, slack=0.0, beyond=np.inf):
    """:func:`distances` (P,) of the people ``first`` (P,) of a from ``second`` (P,) of b."""
    if len(first) <= _FEW or not np.isfinite(beyond):
        return _apart(a, a_parts, b, b_parts, first, second, _WHO, slack)
    # more joints never bring people nearer
    far = _apart(a, a_parts, b, b_parts, first, second, _SOME, slack)
    near = np.flatnonzero(far <= beyond)
    if len(near):
        far[near] = _apart(a, a_parts, b, b_parts, first[near], second[near], _WHO, slack)
    return far


def _apart(a, a_parts, b, b_parts, first, second, joints, slack):
    """(P,) distances of the people ``first`` (P,) of a from ``second`` (P,) of b, by some joints:
    at most the distance by all.
    """
    p, j = len(first), len(joints)
    one, other = (first[:, None], joints), (second[:, None], joints)
    own = a_parts.own[one] + b_parts.own[other] + slack ** 2 * _EYE
    sides = np.empty((p, j, 3, 3))                                # columns: s_a, s_b, gap
    sides[..., 0], sides[..., 1] = a_parts.ray[one], b_parts.ray[other]
    np.negative(sides[..., 1], out=sides[..., 1])
    sides[..., 2] = a[one] - b[other]
    weighed = (inverse(own) @ sides).reshape(p, 3 * j, 3)
    gram = JOINTLY * (sides.reshape(p, 3 * j, 3).swapaxes(-1, -2) @ weighed)
    with np.errstate(divide='ignore'):
        xx, yy = (gram[:, k, k] + np.where(scale > 0, 0.5 / scale, 1.0)[who]
                  for k, scale, who in ((0, a_parts.scale, first), (1, b_parts.scale, second)))
    both, x, y = gram[:, 0, 1], gram[:, 0, 2], gram[:, 1, 2]
    # what is left of the gap with the best scales: two equations, solved
    explained = (yy * x * x - 2 * both * x * y + xx * y * y) / (xx * yy - both * both)
    return (gram[:, 2, 2] - explained) / (JOINTLY * 3 * len(_WHO))

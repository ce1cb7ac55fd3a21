"""Whether the twins of the looks on a device can be trusted: they and numpy see people drawn."""

from dataclasses import replace

import numpy as np

from ..camera import Camera
from ..skeleton import INDEX, LSP_JOINTS, NUM_JOINTS
from .believe import READINGS
from .inputs import Sight, keypoint_covariances

#: How far the twin may be off: metres, and a part of a sigma's square.
TOLERANCE = 1e-3, 1e-2
_CHECKED, _CHECKED_AGAIN = 8, 32    # people who are drawn to compare the two


def exchanged(sight, seed=0):
    """Sight of which every other person has knees and ankles of left and right exchanged, and
    every fourth one a wrist that is off by a tenth of a radian.
    """
    who = {}
    for name in ('rays', 'weight', 'covariance'):
        who[name] = getattr(sight, name).copy()
        who[name][::2] = who[name][::2, READINGS[0]]
    wrist = who['rays'][1::4, INDEX['left_wrist']]
    wrist += np.random.default_rng(seed).normal(0, 0.06, wrist.shape)
    who['rays'][1::4, INDEX['left_wrist']] = wrist / np.linalg.norm(wrist, axis=1, keepdims=True)
    return replace(sight, **who)


def drawn(prior, n=_CHECKED, seed=0):
    """Sight of n people of a prior, every other one without gravity, some of their joints missing
    and some with a given stature.
    """
    rng = np.random.default_rng(seed)
    poses, _ = prior.sample(n, rng)
    camera = Camera([[560, 0, 319.5], [0, 565, 239.5], [0, 0, 1]], 640, 480)
    body = np.stack((-poses[..., 1], -poses[..., 2], poses[..., 0]), -1) * 1.7
    points = body + np.stack((rng.normal(0, 0.5, n), rng.normal(0, 0.2, n),
                              rng.uniform(2.5, 6, n)), -1)[:, None]
    keypoints = camera.project(points) + rng.normal(0, 2, (n, NUM_JOINTS, 2))
    weight = np.where(rng.random((n, NUM_JOINTS)) < 0.9, rng.uniform(0.3, 1, (n, NUM_JOINTS)), 0)
    weight[::3] = np.isin(np.arange(NUM_JOINTS), LSP_JOINTS)
    seen = weight > 0
    rays = camera.rays(keypoints)
    middle = np.where(seen[..., None], rays, 0).sum(1)
    middle /= np.linalg.norm(middle, axis=1, keepdims=True)
    even = np.arange(n) % 2 == 0
    return Sight(np.where(seen[..., None], rays, middle[:, None]), middle, weight,
                 keypoint_covariances(keypoints, None, seen), camera,
                 np.where(even[:, None], [0.0, -1.0, 0.0], np.nan),
                 np.where(np.arange(n) % 4 == 1, 1.8, np.nan), np.full(n, np.nan), None)


def difference(ours, plain):
    """How far Answers about the same people are apart: metres, and a part of sigmas' squares."""
    off = np.sqrt(((ours.joints - plain.joints) ** 2).sum(-1)).max()
    size = np.trace(plain.covariance, axis1=-2, axis2=-1)[..., None, None]
    return off, (np.abs(ours.covariance - plain.covariance) / size).max()


def trusted(way):
    """Why the twin of an OnDevice cannot be trusted here, or None where it can.

    Both ways of it are asked about people who are drawn, and compared with numpy.
    """
    believer, sight = way.believer, drawn(way.believer.prior)
    found = believer.found(sight, second=False)
    plain = believer.in_metres(believer.described(found, sight), sight)
    ours, again = way.metres(sight)
    other, again_too = way.found(sight)
    other = believer.in_metres(believer.described(other, sight), sight)
    for one in (ours, other):
        off, part = difference(one, plain)
        if not (off < TOLERANCE[0] and part < TOLERANCE[1]):
            return (f'it is off by {1e3 * off:.3g} mm, and {100 * part:.3g} % of the covariances')
        if not np.abs(one.fit - plain.fit).max() < TOLERANCE[1]:
            return 'it judges fits otherwise'
    if not (again == again_too).all():
        return 'its two ways disagree on whom to look at again'
    return None


def trusted_again(way):
    """As :func:`trusted`, of the second look at people with errors, where whom the first finds
    doubtful is the same: readings that are about as good as one another may be taken for one
    another by one person in twenty.
    """
    believer = way.believer
    for more in ({}, {'height': np.full(_CHECKED_AGAIN, 1.5)}):
        plain, ours = (replace(exchanged(drawn(believer.prior, _CHECKED_AGAIN)), **more)
                       for _ in range(2))
        answers = believer(plain), way(ours)
        if way.look is None:
            return 'it failed'
        same = (plain.weight == ours.weight).all(1) & (plain.rays == ours.rays).all((1, 2))
        if same.mean() < 0.95:
            return f'of {len(same)} people it reads {(~same).sum()} otherwise'
        one, other = (a[same & answers[0].ok] for a in answers)
        off, part = difference(one, other)
        if not (off < 10 * TOLERANCE[0] and part < 10 * TOLERANCE[1]):
            return f'it is off by {1e3 * off:.3g} mm, and {100 * part:.3g} % of the covariances'
    return None

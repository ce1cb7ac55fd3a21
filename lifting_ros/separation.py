"""How far points are from people whose limbs are capsules, and how far they may be.

The terms are those of ISO/TS 15066, 5.5.4 (speed and separation monitoring): Z_d, the uncertainty
of the person's place, and S_h, how far the person comes in the robot's reaction and stopping time.
What is computed here comes from cameras and a learned model: it is no safety function.
"""

from dataclasses import dataclass

import numpy as np

from .skeleton import BONES, INDEX, JOINTS

#: m/s at which ISO 13855 lets a person walk or reach towards a machine.
WALK = 1.6


def _limbs():
    """(first joint, second joint, radius in m, how far it goes on beyond the second joint, m)."""
    radius = {'spine': 0.17, 'neck': 0.16, 'nose': 0.10, 'head_top': 0.11}
    for side in ('left', 'right'):
        radius |= {f'{side}_hip': 0.13, f'{side}_knee': 0.10, f'{side}_ankle': 0.08,
                   f'{side}_shoulder': 0.10, f'{side}_elbow': 0.07, f'{side}_wrist': 0.06}
    # hands and feet are beyond the last joint that is estimated
    beyond = {f'{side}_{n}': length for side in ('left', 'right')
              for n, length in (('wrist', 0.20), ('ankle', 0.0))}
    for child, parent in BONES:
        name = JOINTS[child]
        yield parent, child, radius[name], beyond.get(name, 0.0)
    for side in ('left', 'right'):  # a foot points anywhere: a ball about the ankle
        ankle = INDEX[f'{side}_ankle']
        yield ankle, ankle, 0.22, 0.0


_FIRST, _SECOND, RADIUS, _BEYOND = (np.array(x) for x in zip(*_limbs(), strict=True))
#: Name of each capsule: the joint at its far end.
LIMBS = tuple(JOINTS[j] if i != j else JOINTS[j].replace('ankle', 'foot')
              for i, j in zip(_FIRST, _SECOND, strict=True))


@dataclass(frozen=True, eq=False)
class Capsules:
    """Limbs of N people.

    Args:
        first, second: (N, L, 3) m, ends of the middle lines; radius: (N, L) m.
        spread: (N, L, 2, 3, 3) m^2, covariances of the ends.
        velocity: (N, L, 2, 3) m/s of the ends; velocity_spread: (N, L, 2, 3, 3) m^2/s^2.
    """

    first: np.ndarray
    second: np.ndarray
    radius: np.ndarray
    spread: np.ndarray
    velocity: np.ndarray
    velocity_spread: np.ndarray


def capsules(joints, covariance, velocity, velocity_covariance, inflate=0.0):
    """Capsules around the limbs; the forearms go on over the hands.

    Args:
        joints: (N, 17, 3) m; covariance: (N, 17, 3, 3) m^2; velocity: (N, 17, 3) m/s, its
            covariance (N, 17, 3, 3): finite (prediction.known_velocity makes them so).
        inflate: m added to every radius: clothes, tools.
    """
    a, b = joints[:, _FIRST], joints[:, _SECOND]
    along = b - a
    length = np.linalg.norm(along, axis=-1, keepdims=True)
    end = b + _BEYOND[:, None] * along / np.maximum(length, 1e-9)
    # errors of the two ends are carried on over the hand as if they worked against each other
    reach = (_BEYOND / np.maximum(length[..., 0], 0.1))[..., None, None]
    grown = [((1 + reach) * ((1 + reach) * c[:, _SECOND] + reach * c[:, _FIRST]), c[:, _FIRST])
             for c in (covariance, velocity_covariance)]
    speed = (1 + reach[..., 0]) * velocity[:, _SECOND] - reach[..., 0] * velocity[:, _FIRST]
    return Capsules(
        a, end, np.broadcast_to(RADIUS + inflate, a.shape[:2]),
        np.stack((grown[0][1], grown[0][0]), 2),
        np.stack((velocity[:, _FIRST], speed), 2), np.stack((grown[1][1], grown[1][0]), 2))


@dataclass(frozen=True, eq=False)
class Nearest:
    """Of P points each: the nearest limb.

    Args:
        distance: (P,) m between the surfaces, 0 where they touch; inf without people.
        person, limb: (P,) indices, -1 without people.
        robot, human: (P, 3) m, the pair of points on the two surfaces.
        z_d: (P,) m, k sigma of the limb's place towards the point.
        speed: (P,) m/s of the limb towards the point, with k sigma of it.
    """

    distance: np.ndarray
    person: np.ndarray
    limb: np.ndarray
    robot: np.ndarray
    human: np.ndarray
    z_d: np.ndarray
    speed: np.ndarray


def nearest(points, radii, limbs, k=0.0, pieces=9):
    """The nearest limbs, each as it may be k sigma nearer.

    A place on a limb may be nearer by k times the standard deviation of its place towards the
    point, which changes along the limb: it is looked for at ``pieces`` places and where the
    middle line is nearest.

    Args:
        points: (P, 3) m, middles of balls on the robot; radii: (P,) m.
        limbs: :class:`Capsules`.
        k: standard deviations; 0: where the limbs most likely are.

    Returns:
        Nearest.
    """
    points, radii = np.asarray(points, np.float64), np.asarray(radii, np.float64)
    count = len(points)
    n, m = limbs.radius.shape
    if n == 0:
        nan, far = np.full((count, 3), np.nan), np.full(count, np.inf)
        none = np.full(count, -1)
        return Nearest(far, none, none, nan, nan, np.full(count, np.nan), np.full(count, np.nan))
    along = limbs.second - limbs.first                                          # (N, L, 3)
    square = np.maximum((along ** 2).sum(-1), 1e-12)
    start = points[:, None, None] - limbs.first                                 # (P, N, L, 3)
    foot = np.clip((start * along).sum(-1) / square, 0, 1)
    share = np.concatenate((np.broadcast_to(np.linspace(0, 1, pieces), foot.shape + (pieces,)),
                            foot[..., None]), -1)                               # (P, N, L, S)
    off = start[..., None, :] - share[..., None] * along[..., None, :]
    gap = np.linalg.norm(off, axis=-1)
    towards = off / np.maximum(gap, 1e-9)[..., None]
    sigma = _along(limbs.spread, share, towards)
    clear = gap - limbs.radius[..., None] - radii[:, None, None, None] - k * sigma
    best = clear.reshape(count, -1).argmin(1)
    person, limb, place = np.unravel_index(best, (n, m, share.shape[-1]))
    row = np.arange(count)
    pick = (row, person, limb, place)
    towards, share = towards[pick], share[pick]
    middle = limbs.first[person, limb] + share[:, None] * along[person, limb]
    z_d = k * sigma[pick]
    skin = (limbs.radius[person, limb] + z_d)[:, None]
    ends = limbs.velocity[person, limb]
    speed = (1 - share[:, None]) * ends[:, 0] + share[:, None] * ends[:, 1]
    unsure = _along(limbs.velocity_spread[person, limb], share[:, None], towards[:, None])[:, 0]
    return Nearest(
        np.maximum(clear[pick], 0.0), person, limb, points - radii[:, None] * towards,
        middle + skin * towards, z_d, (speed * towards).sum(-1) + k * unsure)


def _along(spread, share, towards):
    """Standard deviation along directions of places on limbs.

    The errors of a limb's two ends may be one and the same: standard deviations are mixed, not
    variances.

    Args:
        spread: (..., 2, 3, 3); share, towards: (..., S), (..., S, 3).
    """
    first, second = (np.sqrt(np.maximum((towards * (towards @ spread[..., e, :, :])).sum(-1), 0))
                     for e in (0, 1))
    return (1 - share) * first + share * second

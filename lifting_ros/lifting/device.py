"""Where the lifter's first look is taken: numpy, or torch on a GPU.

What is done for everybody (the density, conditioning, lengths, calibration, metres) has a twin in
torch, :mod:`lifting_ros.network.look`. This module says in numbers what the twin is to look at,
reads what it says, and leaves to numpy whom the twin finds doubtful, whole. It also finds out
whether the twin can be trusted here.
"""

import logging

import numpy as np

from ..camera import Camera
from ..person import ScaleSource
from ..skeleton import LSP_JOINTS, NUM_JOINTS
from . import scale
from .believe import answer, doubtful
from .density import view_frame
from .frames import upright
from .inputs import Sight, keypoint_covariances
from .linear import Posterior

log = logging.getLogger(__name__)

_SIZE = 3 * NUM_JOINTS
#: How far the twin may be off: metres, and a part of a sigma's square.
TOLERANCE = 1e-3, 1e-2
_CHECKED = 8        # people who are drawn to compare the two


def packed(sight, prior_stature):
    """What the twin is told of N people.

    Args:
        sight: :class:`~lifting_ros.lifting.inputs.Sight`, whose middle is that of the rays seen:
            the twin takes it for the density's mean ray.
        prior_stature: (2,) mean and sigma of log stature.

    Returns:
        (N, 167) float32. Of each joint: ray (3), optical; confidence; covariance (4) px^2. Of each
        person: rotation (9) from the optical frame into that of the mean ray, z up; what a pixel
        turns a ray by (6), in that frame; rotation (9) from z up into it; sine and cosine of the
        mean ray's elevation and 1, zeros where gravity is not known (3); log stature and its
        sigma (2); whether it is given (1); 1 / focal length^2 (1).
    """
    n = len(sight)
    up, known = sight.gravity()
    to_up = upright(up, sight.middle)
    frame = view_frame((to_up @ sight.middle[..., None]).swapaxes(1, 2), np.ones((n, 1)))
    turn = frame @ to_up
    sizes, told = scale.statures(sight.stature, prior_stature)
    rise = frame[:, 0, 2]
    out = np.empty((n, NUM_JOINTS * 8 + 31), dtype=np.float32)
    joints, person = out[:, :NUM_JOINTS * 8].reshape(n, NUM_JOINTS, 8), out[:, NUM_JOINTS * 8:]
    joints[..., :3], joints[..., 3] = sight.rays, sight.weight
    pixels = sight.covariance
    joints[..., 4], joints[..., 7] = pixels[..., 0, 0], pixels[..., 1, 1]
    joints[..., 5] = joints[..., 6] = (pixels[..., 0, 1] + pixels[..., 1, 0]) / 2
    person[:, :9] = turn.reshape(n, 9)
    person[:, 9:15] = (turn[:, :, :2] @ np.linalg.inv(sight.camera.K[:2, :2])).reshape(n, 6)
    person[:, 15:24] = frame.reshape(n, 9)
    person[:, 24], person[:, 26] = known * rise, known
    person[:, 25] = known * np.sqrt(np.maximum(1 - rise * rise, 0))
    person[:, 27:29], person[:, 29] = sizes, told
    person[:, 30] = 1 / sight.camera.focal ** 2
    return out


def _read(rows, *shapes):
    """Rows (N, ...) as cost, worst, stretched, strange, (N,) each, and arrays of shapes."""
    cost, worst, stretched, strange = rows[:, :4].T
    sizes = np.cumsum([4] + [int(np.prod(s)) for s in shapes])
    parts = [rows[:, a:b].reshape(-1, *s) for a, b, s in zip(sizes, sizes[1:], shapes)]
    return (cost, worst, stretched, strange), parts


class OnDevice:
    """Lifts with a twin of the first look; a way of lifting, as a Believer is.

    Args:
        believer: :class:`~lifting_ros.lifting.believe.Believer`.
        look: :class:`lifting_ros.network.look.Look`, or what does the same.

    Attributes:
        look: None from where it has failed: the believer then does all.
    """

    def __init__(self, believer, look):
        self.believer, self.look = believer, look

    def __call__(self, sight):
        """Lift :class:`~lifting_ros.lifting.inputs.Sight`: Answer."""
        if self.look is not None:
            try:
                return self._lift(sight)
            except RuntimeError as error:       # of the device, as of memory that is full
                log.warning('the GPU does not lift any more (%s): the CPU does',
                            str(error).splitlines()[0])
                self.look = None
        return self.believer(sight)

    def _lift(self, sight):
        if sight.depth is None and not np.isfinite(sight.height).any():
            out, again = self.metres(sight)
        else:
            out, again = self.found(sight)
        again = np.flatnonzero(again)
        some = sight[again]
        if not isinstance(out, Posterior):
            if len(again):
                out[again] = self.believer(some)
                sight.put(again, some)
            return out
        if len(again):
            out.put(again, self.believer.found(some))
            sight.put(again, some)
        return self.believer.in_metres(self.believer.described(out, sight), sight)

    def metres(self, sight):
        """The first look's Answer, and who is doubtful (N,); neither depth nor ground count."""
        rows = self.look(packed(sight, self.believer.prior.stature))
        (cost, worst, stretched, strange), (joints, covariance) = _read(
            rows, (NUM_JOINTS, 3), (NUM_JOINTS, 3, 3))
        _, told = scale.statures(sight.stature, self.believer.prior.stature)
        fixed = np.where(told, ScaleSource.STATURE, ScaleSource.PRIOR)
        return (answer(joints, covariance, cost, strange, sight.weight,
                       np.zeros(sight.weight.shape, dtype=bool), fixed),
                doubtful(cost, worst, stretched, sight.weight))

    def found(self, sight):
        """The first look's Posterior, without its evidence, and who is doubtful (N,)."""
        rows = self.look(packed(sight, self.believer.prior.stature), whole=True)
        (cost, worst, stretched, strange), parts = _read(
            rows, (NUM_JOINTS, 3), (_SIZE, _SIZE), *[(NUM_JOINTS,)] * 3)
        mean, covariance, square, weight, odd = parts
        found = Posterior(mean, covariance, square, weight, np.full(len(rows), np.nan),
                          stretched.copy(), strange.copy(), odd)
        return found, doubtful(cost, worst, stretched, sight.weight)


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


def quick(believer, make, device):
    """A believer's twin on a torch device, or the believer where there can be none: that is said.

    Args:
        believer: :class:`~lifting_ros.lifting.believe.Believer`.
        make: :class:`lifting_ros.network.look.Look`, which this room may not import.
        device: torch device or its name.
    """
    for fused in (True, False):
        way, why = _tried(believer, make, device, fused)
        if why is None:
            log.info('people are lifted on %s', device)
            return way
        log.debug('fused: %s; %s', fused, why)
    log.warning('people cannot be lifted on %s (%s): the CPU lifts, slower', device,
                why.splitlines()[0])
    return believer


def _tried(believer, make, device, fused):
    """OnDevice, warmed up, and why it cannot be trusted, or None."""
    try:
        way = OnDevice(believer, make(believer, device, fused))
        why = trusted(way)
        if why is None:
            way.look.warm_up()
        return way, why
    except Exception as error:      # a driver's, a compiler's: whatever it is, there is numpy
        return None, f'{type(error).__name__}: {error}'

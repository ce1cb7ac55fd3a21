"""Scenes of several people who walk and hide each other, of known truth, for the tracker.

The people are captured ones on bodies of other proportions, sent along paths before a camera at
rest. What the camera sees is made up: exact projections, with the errors the network makes
(sequences.py); joints behind another person or a board are hidden; who is hidden for the most
part is not found; some are missed, for one image or for a second, and some are found where
nobody is. The real lifter and tracker run on it.
"""

from dataclasses import dataclass, field

import numpy as np

from ..camera import Camera
from ..pipeline import keypoint_boxes
from ..skeleton import INDEX, NUM_JOINTS, PELVIS
from .sequences import BONES_OF, SIZE, THICK, behind, clips, noise, other_body, size_of
from .walks import cycle_of, person, routes_of

#: Joints behind others, with a rendered film of four people through the network that ships
#: (`lifting-ros eval identity --make-film`, seed 1): errors of hidden joints, which are put on the
#: other one as often as not, over those of joints behind oneself; confidence from and to; the
#: share of joints in sight below which nobody is found, and above which nearly everybody is.
_ELSEWHERE, _UNSURE, _FOUND = 2.2, (0.08, 0.45), (0.35, 0.6)
#: Others who come in after the first along each way, of strangers.
_VISITS = 8


@dataclass(frozen=True, eq=False)
class Crowd:
    """A scene.

    Args:
        name: what happens in it. camera: Camera; up: (3,) against gravity, optical frame.
        rate: frames/s.
        people: of each frame (P,) numbers of those before the camera, in sight or not,
            (P, 17, 3) m their joints in the optical frame, (P, 17) which are visible, not even
            behind their own bones, and (P,) whose pelvis lies in the image, seen or hidden.
        seen: of each frame (N, 17, 2) px, (N, 17) confidence and (N, 17, 2, 2) px^2 as the
            network would say; and (N,) whose they are, -1 nobody's.
        looks: of each frame (N, 6), what tracking.appearance would say: colours drawn for each
            person, 5 units of noise, mixed with a stranger's where trunk or legs are hidden.
        lifted: of each frame what the lifter makes of it, see :func:`lift`.
    """

    name: str
    camera: Camera
    up: np.ndarray
    rate: float
    people: list
    seen: list
    looks: list
    lifted: list = field(default_factory=list)


def make(kind, people, seed, mocap, rate=15.0, seconds=20.0):
    """A scene.

    Args:
        kind: 'apart' (nobody hides anybody), 'crossing', 'hidden' (crossing, and behind a
            board for 0.5 to 3 s), 'leaving' (crossing, going out of the image and coming
            back) or 'strangers' (the same ways, but whoever comes in is somebody new).
        people: how many. seed: of everything. mocap: folder of the motion capture.

    Returns:
        Crowd, not yet lifted.
    """
    rng = np.random.default_rng([seed, people, sum(map(ord, kind))])
    frames = int(rate * seconds)
    walks = [c for c in clips(mocap, rate) if c.kind == 'walk']
    cycles = [cycle_of(other_body(c, rng)) for c in walks for _ in range(2)]
    routes, boards = routes_of(kind, rng, people)
    world = np.stack([person(cycles, rng, rate, *r, frames) for r in routes])  # (P, F, 17, 3)
    if kind == 'strangers':
        others = [person(cycles, np.random.default_rng([seed, people, i, 5, k]), rate,
                          *routes[i], frames) for i in range(people) for k in range(_VISITS)]
        world = np.concatenate((world, np.stack(others)))
    grown = rng.normal(1, 0.04, len(world))
    root = world[:, :, PELVIS:PELVIS + 1] * [1, 1, 0]
    world = root + (world - root) * grown[:, None, None, None]
    camera = Camera.from_fov(640, 480, 1.1)
    pitch = np.radians(rng.uniform(0, 15))
    ahead = np.array([np.cos(pitch), 0, -np.sin(pitch)])
    right = np.array([0, -1.0, 0])
    rotation = np.stack((right, np.cross(ahead, right), ahead))
    eye = np.array([0, 0, 1.0 + 3.5 * np.sin(pitch)])
    joints = (world - eye) @ rotation.T
    if kind == 'strangers':
        joints = _replaced(joints, people, camera)
    visible = _visible(joints, camera, boards)
    crowd = Crowd(f'{kind}, {people} people', camera, rotation[:, 2], rate,
                  *_observed(joints, visible, camera, rate, rng), [])
    _dress(crowd, len(joints), visible, np.random.default_rng([seed, people, 3]))
    return crowd


def _replaced(joints, people, camera):
    """Let another one come in wherever somebody has left the image: of (P + P * _VISITS, F, 17,
    3) the first P are the first to come.
    """
    out = joints.copy()
    out[..., 2] = -9.0                                  # behind the camera: not there
    pixels = np.nan_to_num(camera.project(joints[:people]), nan=-1e4)
    inside = ((pixels > 0) & (pixels < [camera.width, camera.height])).all(-1).any(-1)
    for i in range(people):
        edges = np.flatnonzero(np.diff(inside[i].astype(int)))
        gone = edges[np.diff(inside[i].astype(int))[edges] < 0]
        who, start = i, 0
        for k, end in enumerate((*gone[:_VISITS], len(inside[i]) - 1)):
            out[who, start:end + 1] = joints[who, start:end + 1]
            who, start = people + i * _VISITS + k, end + 1
    return out


def _dress(crowd, people, visible, rng):
    """Fill in how people look: shirts of all colours, trousers mostly dark."""
    middle, spread = np.array([45, 2, 5, 30, 1, -2.0]), np.array([20, 12, 15, 15, 5, 10.0])
    colours = rng.normal(size=(people, 6)) * spread + middle
    for f, (_, confidence, _, who) in enumerate(crowd.seen):
        out = rng.normal(size=(len(who), 6)) * spread + middle
        for row, i in enumerate(who):
            if i < 0:
                continue
            for part, joints in ((slice(0, 3), _TRUNK), (slice(3, 6), _THIGHS)):
                share = visible[i, f, joints].mean()
                out[row, part] = (share * colours[i, part] + (1 - share) * out[row, part]
                                  + rng.normal(0, 5, 3))
                if (confidence[row, joints] < 0.2).any():
                    out[row, part] = np.nan
        crowd.looks.append(out)


_TRUNK = [INDEX[n] for n in ('left_hip', 'right_hip', 'left_shoulder', 'right_shoulder')]
_THIGHS = [INDEX[n] for n in ('left_hip', 'right_hip', 'left_knee', 'right_knee')]


def _visible(joints, camera, boards):
    """Which joints (P, F, 17) are in the image and behind nothing."""
    pixels = np.nan_to_num(camera.project(joints), nan=-1e4)
    inside = ((pixels > 0) & (pixels < [camera.width - 1, camera.height - 1])).all(-1)
    inside &= joints[..., 2] > 0.3
    for distance, low, high in boards:
        across = -joints[..., 0] / joints[..., 2] * distance
        inside &= ~((joints[..., 2] > distance) & (across > low) & (across < high))
    for i in range(len(joints)):
        for k in range(len(joints)):
            if i == k:
                continue
            nearer = joints[k, :, PELVIS, 2] < joints[i, :, PELVIS, 2] - 0.1
            close = np.abs(pixels[i, :, PELVIS, 0] - pixels[k, :, PELVIS, 0]) < 250
            f = np.flatnonzero(nearer & close)
            if len(f):
                a, b = pixels[k, f][:, BONES_OF[:, 0]], pixels[k, f][:, BONES_OF[:, 1]]
                away = _from_segments(pixels[i, f], a, b)              # (f, 17, bones)
                thick = camera.focal * THICK / joints[k, f, PELVIS, 2][:, None]
                inside[i, f] &= ~(away < thick[:, None]).any(-1)
    return inside


def _from_segments(p, a, b):
    """Distances of points (F, J, 2) from segments (F, B, 2): (F, J, B)."""
    line = (b - a)[:, None]
    u = ((p[:, :, None] - a[:, None]) * line).sum(-1) / np.maximum((line ** 2).sum(-1), 1e-9)
    return np.linalg.norm(p[:, :, None] - a[:, None] - np.clip(u, 0, 1)[..., None] * line,
                          axis=-1)


def _observed(joints, visible, camera, rate, rng):
    """People before the camera and what the network would say of them, frame by frame."""
    count, frames = joints.shape[:2]
    pixels = camera.project(joints)
    before = joints[:, :, PELVIS, 2] > 0.3
    with np.errstate(invalid='ignore'):
        middle = pixels[:, :, PELVIS]
        inside = before & ((middle > 0) & (middle < [camera.width, camera.height])).all(-1)
    size = np.nan_to_num(size_of(pixels), nan=SIZE)
    own = np.stack([behind(p[:, None], camera)[:, 0] for p in joints])
    errors, told, confidences = (np.stack(x) for x in zip(*(
        noise(own[i] | ~visible[i], rate, rng) for i in range(count)), strict=True))
    share = (visible & ~own).mean(-1)
    chance = np.clip((share - _FOUND[0]) / (_FOUND[1] - _FOUND[0]), 0, 1) * 0.98
    missed = np.zeros((count, frames), bool)      # a second is missed now and then
    for i in range(count):
        for f in np.flatnonzero(rng.random(frames) < 0.03 / rate):
            missed[i, f:f + int(rate)] = True
    found = (rng.random((count, frames)) < chance) & ~missed
    people, seen, ghost = [], [], None
    for f in range(frames):
        there = np.flatnonzero(before[:, f])
        people.append((there, joints[there, f], (visible & ~own)[there, f], inside[there, f]))
        rows = []
        for i in np.flatnonzero(found[:, f]):
            scale = size[i, f] / SIZE
            hidden = ~visible[i, f]
            wrong = np.where(hidden, _ELSEWHERE, 1.0)[:, None]
            xy = pixels[i, f] + scale * wrong * errors[i, f]
            confidence = np.where(hidden, rng.uniform(*_UNSURE, NUM_JOINTS), confidences[i, f])
            outside = ~np.isfinite(xy).all(-1)
            xy[outside], confidence[outside] = 0.0, 0.0
            rows.append((xy, confidence, (scale * told[i, f]) ** 2, i))
        ghost = _ghost(ghost, pixels, f, camera, rate, rng)
        if ghost is not None:
            rows.append(ghost[1:])
        seen.append(tuple(np.array(x) for x in zip(*rows, strict=True)) if rows else (
            np.zeros((0, NUM_JOINTS, 2)), np.zeros((0, NUM_JOINTS)), np.zeros((0, NUM_JOINTS)),
            np.zeros(0, int)))
    return people, seen


def _ghost(ghost, pixels, f, camera, rate, rng):
    """Somebody found where nobody is, for some images: (images left, xy, confidence, var, -1)."""
    if ghost is not None:
        left, xy, confidence, var, who = ghost
        return None if left <= 1 else (left - 1, xy + rng.normal(0, 2, xy.shape),
                                       confidence, var, who)
    if rng.random() > 0.1 / rate:
        return None
    shape = pixels[int(rng.integers(len(pixels))), f]
    shape = (shape - shape[PELVIS]) * rng.uniform(0.5, 1.0)
    if not np.isfinite(shape).all():
        return None
    xy = shape + rng.uniform([80, 150], [camera.width - 80, camera.height - 100])
    return (1 + int(rng.exponential(3)), xy + rng.normal(0, 8, xy.shape),
            rng.uniform(0.05, 0.45, NUM_JOINTS), np.full(NUM_JOINTS, 100.0), -1)


def lift(crowd, lifter, batch=32):
    """Run the lifter on all that was seen; fills ``crowd.lifted`` with a Lifted-like tuple
    (joints, covariance, source, scale_source, log_likelihood) a frame.
    """
    xy, confidence, var, _ = (np.concatenate(x) for x in zip(*crowd.seen, strict=True))
    told = var[..., None, None] * np.eye(2)
    parts = [lifter.lift(xy[i:i + batch], confidence[i:i + batch], crowd.camera, up=crowd.up,
                         keypoint_covariance=told[i:i + batch])
             for i in range(0, len(xy), batch)]
    whole = [np.concatenate([getattr(p, name) for p in parts]) for name in
             ('joints', 'covariance', 'source', 'scale_source', 'log_likelihood')]
    edges = np.cumsum([len(s[0]) for s in crowd.seen])[:-1]
    crowd.lifted.clear()
    crowd.lifted.extend(zip(*(np.split(w, edges) for w in whole), strict=True))


def observation(crowd, f, looks=True):
    """Frame f as the tracker takes it: :class:`~lifting_ros.tracking.Observation`; with what
    people look like or without.
    """
    from ..tracking import Observation
    xy, confidence, var, _ = crowd.seen[f]
    joints, covariance, source, scale, fit = crowd.lifted[f]
    return Observation(
        confidence=confidence.mean(-1), box=keypoint_boxes(xy, confidence), keypoints=xy,
        keypoint_confidence=confidence, keypoint_covariance=var[..., None, None] * np.eye(2),
        joints=joints, covariance=covariance, source=source, scale_source=scale,
        log_likelihood=fit, appearance=crowd.looks[f] if looks else None,
        image_size=(crowd.camera.width, crowd.camera.height))


def truth(crowd, f):
    """Numbers (P,) of the people before the camera in frame f, their keypoints (P, 17, 2) px,
    which are visible (P, 17), and whose pelvis is in the image (P,).
    """
    who, joints, visible, inside = crowd.people[f]
    return who, crowd.camera.project(joints), visible, inside

"""People in motion before a camera, of known truth: held-out clips at camera rate, with the
keypoint errors that the network makes.

How large they are, what the network says of them and how often they are gross is of rendered
people of all poses (errors2d.py: `lifting-ros eval filter --keypoint-errors FOLDER` prints it),
scaled to the person's size. How long they stay and what is new in each image is of the demo clip
with the same network.
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from ..camera import Camera
from ..skeleton import BONES, INDEX, NUM_JOINTS, PELVIS
from ..training.mocap import HELD_OUT_SUBJECTS, read, reproportion


def _by_joint(usual, **groups):
    out = np.full(NUM_JOINTS, usual)
    for name, value in groups.items():
        out[[INDEX[f'left_{name}'], INDEX[f'right_{name}']]] = value
    return out


#: Height px of the person that all px here are of; s for which the usual errors stay.
SIZE, STAYS = 280.0, 0.7
#: px an axis: what the network says (median) of joints in sight, and what is new in each image.
TOLD = _by_joint(6.4, hip=7.0, knee=7.2, ankle=7.7, elbow=7.9, wrist=8.8)
WHITE = _by_joint(0.75, ankle=0.9, knee=0.9, elbow=0.95, wrist=1.0)
#: Deviations of the logarithm of what it says, between people and between joints; the usual
#: errors in units of it, of joints in sight and of hidden ones.
PERSON, JOINT, USUAL = 0.27, 0.32, (0.78, 1.02)
#: Joints taken for something else: share of the time in sight and hidden, for how long (s), how
#: far in units of what the network says; the share of those after which the limb's end goes
#: astray, too.
ASTRAY = np.stack((
    _by_joint(0.03, hip=0.01, knee=0.08, ankle=0.05, elbow=0.1, wrist=0.07),
    _by_joint(0.07, hip=0.05, knee=0.2, ankle=0.12, elbow=0.15, shoulder=0.05, wrist=0.3)))
ASTRAY[:, [PELVIS, INDEX['spine']]] = 0
LONG, FAR, WITH = 0.3, 4.7, 0.5
#: What the network says of hidden joints, of what it says of those in sight; confidence.
VEILED = _by_joint(1.25, knee=1.7, ankle=2.2, elbow=1.7, wrist=1.9)
CONFIDENCE = np.stack((_by_joint(0.53, ankle=0.45, knee=0.48, elbow=0.44, wrist=0.4),
                       _by_joint(0.4, ankle=0.2, knee=0.25, elbow=0.24, wrist=0.2)))
#: Bones (child, parent); m, how thick bodies are about them.
BONES_OF = np.array(BONES)
THICK = np.full(len(BONES), 0.06)
for _k, (_child, _) in enumerate(BONES):
    if _child in (INDEX['spine'], INDEX['neck'], INDEX['left_hip'], INDEX['right_hip'],
                  INDEX['left_shoulder'], INDEX['right_shoulder']):
        THICK[_k] = 0.14
    elif _child in (INDEX['nose'], INDEX['head_top']):
        THICK[_k] = 0.1
#: Bones that end in a joint cannot hide it.
_OWN = (BONES_OF[None] == np.arange(NUM_JOINTS)[:, None, None]).any(-1)
_ENDS = {INDEX[f'{s}_{a}']: INDEX[f'{s}_{b}'] for s in ('left', 'right')
         for a, b in (('elbow', 'wrist'), ('knee', 'ankle'))}


@dataclass(frozen=True, eq=False)
class Clip:
    """One captured clip at camera rate.

    Args:
        name, kind: strings. joints: (F, 17, 3) m, z up. rate: frames/s.
    """

    name: str
    kind: str
    joints: np.ndarray
    rate: float


def clips(mocap, rate=30.0, held_out=True, least=1.0):
    """Clips of at least ``least`` s, interpolated (cubic) from 12 frames/s to ``rate``.

    Args:
        held_out: True for the subjects no fit has seen, False for the others without
            cmu_actions, whose headings jump.

    Returns:
        list of Clip.
    """
    poses = read(mocap)
    pick = np.isin(poses.subject, HELD_OUT_SUBJECTS) == held_out
    poses = poses[pick & (poses.source != 'cmu_actions')]
    edges = [0, *(np.flatnonzero(poses.clip[1:] != poses.clip[:-1]) + 1), len(poses)]
    out = []
    for a, b in zip(edges[:-1], edges[1:], strict=True):
        seconds = (b - a - 1) / 12
        if seconds < least:
            continue
        t = np.arange(0, seconds + 1e-9, 1 / rate)
        joints = CubicSpline(np.arange(b - a) / 12, poses.joints[a:b])(t)
        out.append(Clip(str(poses.clip[a]), str(poses.kind[a]), joints, rate))
    return out


def _slow(rng, rate, shape):
    """Normal numbers (F, ...) of variance 1 that stay for about STAYS s."""
    keep = np.exp(-1 / (rate * STAYS))
    out = rng.normal(size=shape)
    for f in range(1, shape[0]):
        out[f] = keep * out[f - 1] + np.sqrt(1 - keep ** 2) * out[f]
    return out


def noise(hidden, rate, rng):
    """What the network makes of a person SIZE px tall.

    Args:
        hidden: (F, 17) bool, joints behind something. rate: images/s.

    Returns:
        errors (F, 17, 2) px, what the network says of them (F, 17) px, confidence (F, 17).
    """
    shape = len(hidden), NUM_JOINTS
    told = TOLD * np.exp(PERSON * rng.normal() + JOINT * _slow(rng, rate, shape))
    off = np.where(hidden, *USUAL[::-1])[..., None] * _slow(rng, rate, (*shape, 2))
    often = np.where(hidden, ASTRAY[1], ASTRAY[0])
    for f, j in np.argwhere(rng.random(shape) < often / LONG / rate):
        end = f + 1 + int(rng.exponential(LONG) * rate)
        off[f:end, j] = FAR * rng.normal(size=2)
        if j in _ENDS and rng.random() < WITH:
            off[f:end, _ENDS[j]] = FAR * rng.normal(size=2)
    told = np.where(hidden, VEILED, 1) * told
    confidence = np.where(hidden, CONFIDENCE[1], CONFIDENCE[0]) + 0.1 * rng.normal(size=shape)
    return (told[..., None] * off + WHITE[:, None] * rng.normal(size=off.shape), told,
            np.clip(confidence, 0.03, 0.9))


@dataclass(frozen=True, eq=False)
class Shot:
    """A clip before a camera.

    Args:
        camera: Camera; up: (3,) against gravity, optical frame.
        joints: (F, 17, 3) m, optical frame, the truth; keypoints: (F, 17, 2) px, NaN where not
        given; confidence: (F, 17); told: (F, 17, 2, 2) px^2; rate: frames/s.
    """

    camera: Camera
    up: np.ndarray
    joints: np.ndarray
    keypoints: np.ndarray
    confidence: np.ndarray
    told: np.ndarray
    rate: float


def size_of(pixels):
    """Height of people (..., 17, 2) px, the longer side of their joints' extent."""
    return np.ptp(pixels, axis=-2).max(-1)


def behind(joints, camera):
    """Which joints are behind somebody's bones, their own person's or another's.

    Args:
        joints: (F, P, 17, 3) m, optical frame.

    Returns:
        (F, P, 17) bool.
    """
    pixels = np.nan_to_num(camera.project(joints), nan=-1e4)
    out = np.zeros(joints.shape[:-1], bool)
    for k in range(joints.shape[1]):
        a, b = (joints[:, k, BONES_OF[:, i]] for i in (0, 1))            # (F, B, 3)
        p, q = (pixels[:, k, BONES_OF[:, i]] for i in (0, 1))
        line = (q - p)[:, None]
        for i in range(joints.shape[1]):
            gap = pixels[:, i, :, None] - p[:, None]                       # (F, 17, B, 2)
            u = (gap * line).sum(-1) / np.maximum((line ** 2).sum(-1), 1e-9)
            u = np.clip(u, 0, 1)[..., None]
            away = np.linalg.norm(gap - u * line, axis=-1)
            z = (a[:, None] + u * (b - a)[:, None])[..., 2]
            near = z < joints[:, i, :, None, 2] - 0.1
            if i == k:
                near &= ~_OWN
            out[:, i] |= (near & (z > 0.1) & (away < camera.focal * THICK
                                              / np.maximum(z, 0.1))).any(-1)
    return out


def shoot(clip, rng, distance=(2.5, 5.0), pitch=(0.0, 30.0), still=None):
    """Put a clip before a camera at rest that looks at its middle.

    Args:
        distance: m; pitch: degrees down; still: a frame to hold instead, for 3 s.
    """
    joints = clip.joints if still is None else np.repeat(clip.joints[still:still + 1], 90, 0)
    middle = joints[:, PELVIS].mean(0)
    angle, heading = np.radians(rng.uniform(*pitch)), rng.uniform(-np.pi, np.pi)
    away = rng.uniform(*distance) + np.linalg.norm(joints[:, PELVIS] - middle, axis=1).max()
    ahead = np.array([np.cos(angle) * np.cos(heading), np.cos(angle) * np.sin(heading),
                      -np.sin(angle)])
    right = np.array([np.sin(heading), -np.cos(heading), 0])
    rotation = np.stack((right, np.cross(ahead, right), ahead))
    camera = Camera.from_fov(640, 480, 1.0)
    seen = (joints - middle) @ rotation.T + [0, 0, away]
    keypoints = camera.project(seen)
    scale = (size_of(keypoints) / SIZE)[:, None, None]
    errors, sigma, confidence = noise(behind(seen[:, None], camera)[:, 0], clip.rate, rng)
    keypoints = keypoints + scale * errors
    confidence[~((keypoints > 0) & (keypoints < [640, 480])).all(-1)] = 0
    keypoints[confidence == 0] = np.nan
    told = ((scale[..., 0] * sigma) ** 2)[..., None, None] * np.eye(2)
    return Shot(camera, rotation[:, 2], seen, keypoints, confidence, told, clip.rate)


def lift(lifter, shot, batch=32):
    """The lifter on each image by itself: joints (F, 17, 3), covariance (F, 17, 3, 3)."""
    parts = []
    for i in range(0, len(shot.joints), batch):
        part = slice(i, i + batch)
        parts.append(lifter.lift(shot.keypoints[part], shot.confidence[part], shot.camera,
                                 up=shot.up, keypoint_covariance=shot.told[part]))
    return (np.concatenate([p.joints for p in parts]),
            np.concatenate([p.covariance for p in parts]))


class _Alike:
    """Draws one number where a generator would draw one for each row."""

    def __init__(self, rng):
        self._rng = rng

    def standard_normal(self, shape):
        return np.broadcast_to(self._rng.standard_normal((1, *shape[1:])), shape)

    def uniform(self, low, high, shape):
        return np.broadcast_to(self._rng.uniform(low, high, (1, *shape[1:])), shape)


def other_body(clip, rng):
    """The clip with another body: proportions, and what is meant by each joint, of other
    capture systems and annotators, the same in all frames (training.mocap.reproportion).
    """
    return Clip(clip.name, clip.kind, reproportion(clip.joints, _Alike(rng)), clip.rate)

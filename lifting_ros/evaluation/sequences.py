"""People in motion before a camera, of known truth: held-out clips at camera rate, with the
keypoint errors that the network makes.

The errors are those of the demo clip, for a person as large as there (`lifting-ros eval filter`
prints them): most stay for some tenths of a second, little is new in each image, and now and
then a wrist is taken for something else.
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from ..camera import Camera
from ..skeleton import INDEX, NUM_JOINTS, PELVIS
from ..training.mocap import HELD_OUT_SUBJECTS, read, reproportion


def _by_joint(usual, **groups):
    out = np.full(NUM_JOINTS, usual)
    for name, value in groups.items():
        out[[INDEX[f'left_{name}'], INDEX[f'right_{name}']]] = value
    return out


#: px of a person SIZE px tall: errors that stay for about STAYS s; errors that are new in each
#: image; what the network says of its errors.
SIZE, STAYS = 280.0, 0.4
LASTING = _by_joint(2.9, knee=2.2, ankle=2.5, elbow=4.0, shoulder=4.0, wrist=4.0)
WHITE = _by_joint(0.65, ankle=0.9, elbow=0.8, wrist=2.5)
TOLD = _by_joint(4.6, elbow=5.5, shoulder=5.3, wrist=6.7)
#: Wrists taken for something else: times a second, for how long (s), how far off (px).
ASTRAY = (0.15, 0.3, 40.0)


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


def noise(frames, rate, rng):
    """Errors (F, 17, 2) px of the keypoints of a person SIZE px tall."""
    keep = np.exp(-1 / (rate * STAYS))
    drive = rng.normal(size=(frames, NUM_JOINTS, 2))
    slow = drive.copy()
    for f in range(1, frames):
        slow[f] = keep * slow[f - 1] + np.sqrt(1 - keep ** 2) * drive[f]
    out = LASTING[:, None] * slow + WHITE[:, None] * rng.normal(size=slow.shape)
    often, long, far = ASTRAY
    for wrist in (INDEX['left_wrist'], INDEX['right_wrist']):
        for start in np.flatnonzero(rng.random(frames) < often / rate):
            length = 1 + int(rng.exponential(long) * rate)
            out[start:start + length, wrist] += far * rng.normal(size=2)
    return out


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
    keypoints = keypoints + scale * noise(len(joints), clip.rate, rng)
    confidence = np.full((len(joints), NUM_JOINTS), 0.5)
    confidence[~((keypoints > 0) & (keypoints < [640, 480])).all(-1)] = 0
    keypoints[confidence == 0] = np.nan
    told = ((scale[..., 0] * TOLD) ** 2)[..., None, None] * np.eye(2)
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

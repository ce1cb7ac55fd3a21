"""Scenes of known truth: poses before random cameras, with noisy keypoints."""

from dataclasses import dataclass

import numpy as np

from ..camera import Camera
from ..prior.fit import turn
from ..skeleton import LSP_JOINTS, NUM_JOINTS


@dataclass(frozen=True, eq=False)
class Scenes:
    """N people, each alone before one camera that is pitched for each of them.

    Args:
        camera: Camera.
        keypoints: (N, 17, 2) px, NaN where not given; confidence: (N, 17) 0 or 1.
        up: (N, 3) against gravity, optical frame.
        joints: (N, 17, 3) m, optical frame, the truth.
        pitch: (N,) radians the camera looks down; distance: (N,) m to the pelvis.
        height: (N,) m of the camera over the floor, where the poses' z = 0 is.
    """

    camera: Camera
    keypoints: np.ndarray
    confidence: np.ndarray
    up: np.ndarray
    joints: np.ndarray
    pitch: np.ndarray
    distance: np.ndarray
    height: np.ndarray


def scenes(joints, rng, pitch=(0.0, 45.0), distance=(2.0, 6.0), roll=0.0, noise=2.0,
           given=LSP_JOINTS, focal=(480.0, 720.0), size=(640, 480)):
    """Put poses before a camera.

    Args:
        joints: (N, 17, 3) m, z up, the floor at z = 0.
        rng: numpy Generator.
        pitch: range in degrees, down; roll: sigma in degrees.
        distance: range in metres to the pelvis.
        noise: sigma of the keypoints, px.
        given: joints that are given as keypoints.
        focal: range of the focal length, px, one for all; size: of the image, px.

    Returns:
        Scenes.
    """
    n = len(joints)
    f = rng.uniform(*focal)
    w, h = size
    camera = Camera([[f, 0, (w - 1) / 2], [0, f, (h - 1) / 2], [0, 0, 1]], w, h)
    body = turn(joints - joints[:, :1], rng.uniform(-np.pi, np.pi, n))
    angle = np.radians(rng.uniform(*pitch, n))
    rolled = np.radians(rng.normal(0, 1, n) * roll)
    c, s, zero = np.cos(angle), np.sin(angle), np.zeros(n)
    ahead = np.stack((c, zero, -s), -1)
    right = np.stack((zero, zero - 1, zero), -1)
    down = np.cross(ahead, right)
    cr, sr = np.cos(rolled)[:, None], np.sin(rolled)[:, None]
    rotation = np.stack((cr * right + sr * down, cr * down - sr * right, ahead), 1)
    away = rng.uniform(*distance, n)
    # the pelvis somewhere in the middle of the image
    ray = camera.rays(np.stack((rng.uniform(0.3, 0.7, n) * w, rng.uniform(0.4, 0.6, n) * h), -1))
    seen = body @ np.swapaxes(rotation, 1, 2) + (ray * away[:, None])[:, None]
    keypoints = camera.project(seen) + rng.normal(0, noise, (n, NUM_JOINTS, 2))
    confidence = np.zeros((n, NUM_JOINTS))
    confidence[:, list(given)] = 1
    confidence[~np.isfinite(keypoints).all(-1)] = 0
    keypoints[confidence == 0] = np.nan
    up = rotation[:, :, 2]
    height = joints[:, 0, 2] - (seen[:, 0] * up).sum(-1)
    return Scenes(camera, keypoints, confidence, up, seen, angle, away, height)

"""Several cameras around people of known truth: what the lifter says in each of them."""

from dataclasses import dataclass

import numpy as np

from ..camera import Camera
from ..person import Person
from ..skeleton import LSP_JOINTS, NUM_JOINTS


@dataclass(frozen=True, eq=False)
class Mount:
    """A camera at rest: x_camera = rotation (x_world - origin); world: z up, metres."""

    camera: Camera
    origin: np.ndarray
    rotation: np.ndarray


def mount(azimuth, distance, height, at=(0.0, 0.0, 0.9), focal=600.0):
    """A camera of 640x480 px that looks at a point from an azimuth in degrees."""
    angle = np.radians(azimuth)
    origin = np.array([at[0] + distance * np.cos(angle), at[1] + distance * np.sin(angle), height])
    ahead = np.asarray(at) - origin
    ahead = ahead / np.linalg.norm(ahead)
    right = np.cross(ahead, [0.0, 0, 1])
    right /= np.linalg.norm(right)
    camera = Camera([[focal, 0, 319.5], [0, focal, 239.5], [0, 0, 1]], 640, 480)
    return Mount(camera, origin, np.stack((right, np.cross(ahead, right), ahead)))


def lift(lifter, mounted, joints, errors, noise, batch=64):
    """What a camera says of people: joints (N, 17, 3) m and covariance, in the world.

    Args:
        mounted: :class:`Mount`.
        joints: (N, 17, 3) m, world, the truth.
        errors: (N, 17, 2) px added to the exact projections; noise: px, what is said of them.
    """
    keypoints = mounted.camera.project((joints - mounted.origin) @ mounted.rotation.T) + errors
    confidence = np.zeros((len(joints), NUM_JOINTS))
    confidence[:, list(LSP_JOINTS)] = 1
    size = mounted.camera.width, mounted.camera.height
    inside = np.isfinite(keypoints).all(-1) & (keypoints > 0).all(-1) & (keypoints < size).all(-1)
    confidence[~inside] = 0
    keypoints = np.where(inside[..., None], keypoints, np.nan)
    said = np.broadcast_to(noise ** 2 * np.eye(2), keypoints.shape + (2,))
    parts = [lifter.lift(keypoints[i:i + batch], confidence[i:i + batch], mounted.camera,
                         up=mounted.rotation[:, 2], keypoint_covariance=said[i:i + batch])
             for i in range(0, len(joints), batch)]
    out, covariance, source = (np.concatenate([getattr(p, f) for p in parts])
                               for f in ('joints', 'covariance', 'source'))
    turn = mounted.rotation
    return out @ turn + mounted.origin, turn.T @ covariance @ turn, source


def lasting(frames, rate, rng, sigma, stays=0.4, new=0.3):
    """Errors (F, 17, 2) px of keypoints in time: most of the variance stays for ``stays`` s, a
    share ``new`` is new in each image.
    """
    keep = np.exp(-1 / (rate * stays))
    drive = rng.normal(size=(frames, NUM_JOINTS, 2))
    slow = drive.copy()
    for f in range(1, frames):
        slow[f] = keep * slow[f - 1] + np.sqrt(1 - keep ** 2) * drive[f]
    return sigma * (np.sqrt(1 - new) * slow + np.sqrt(new) * rng.normal(size=slow.shape))


def persons(joints, covariance, source, names, velocity=None, spread=None):
    """Persons of arrays; those that were not lifted are left out."""
    out = []
    for n, name in enumerate(names):
        if np.isfinite(joints[n]).all():
            p = Person(id=name, confidence=0.8, box=np.full(4, np.nan), joints=joints[n],
                       covariance=covariance[n], source=source[n])
            p.keypoint_confidence = np.full(NUM_JOINTS, 0.8)
            if velocity is not None:
                p.velocity, p.velocity_covariance = velocity[n], spread[n]
            out.append(p)
    return out

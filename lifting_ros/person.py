"""What the pipeline says of one person in one image."""

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from .skeleton import NUM_JOINTS


class Source(IntEnum):
    """Where a joint's 3D position comes from. The numbers are those of msg/Joint.msg."""

    UNKNOWN = 0    # no position (NaN)
    OBSERVED = 1   # seen in the image; its depth comes from the prior
    LIFTED = 2     # not seen: where the prior says it is, given the joints that are seen
    DEPTH = 3      # seen, and measured by the depth camera
    PREDICTED = 4  # the person was not seen in this image: carried on by the tracker


class ScaleSource(IntEnum):
    """What says how large, and so how far, the person is. Numbers of msg/Skeleton.msg."""

    NONE = 0     # no metric position
    PRIOR = 1    # stature of people in general
    GROUND = 2   # camera height over the ground and feet seen
    STATURE = 3  # a stature that was given
    DEPTH = 4    # a depth camera


def _nan(*shape):
    return field(default_factory=lambda: np.full(shape, np.nan))


@dataclass
class Person:
    """One person in one image.

    Positions, velocities and covariances are in the camera's optical frame (x right, y down,
    z forward), in metres and seconds. Unknown is NaN.
    """

    id: str                                   # five characters, never given twice in a run
    confidence: float                         # 0..1
    box: np.ndarray                           # (4,) x0 y0 x1 y1, px
    keypoints: np.ndarray = _nan(NUM_JOINTS, 2)              # px
    keypoint_confidence: np.ndarray = field(                 # 0..1, 0 not seen
        default_factory=lambda: np.zeros(NUM_JOINTS))
    keypoint_covariance: np.ndarray = _nan(NUM_JOINTS, 2, 2)  # px^2
    joints: np.ndarray = _nan(NUM_JOINTS, 3)                 # m
    covariance: np.ndarray = _nan(NUM_JOINTS, 3, 3)          # m^2
    velocity: np.ndarray = _nan(NUM_JOINTS, 3)               # m/s
    velocity_covariance: np.ndarray = _nan(NUM_JOINTS, 3, 3)  # m^2/s^2
    source: np.ndarray = field(                              # Source of each joint
        default_factory=lambda: np.full(NUM_JOINTS, Source.UNKNOWN, dtype=np.uint8))
    scale_source: ScaleSource = ScaleSource.NONE
    log_likelihood: float = float('nan')      # of the lift, see lifting.Lifted
    age: float = 0.0                          # s since the person was first seen
    matched: bool = True                      # seen in this very image
    occluded: bool = False                    # several joints hidden though the person is seen


def stacked(people):
    """What is known in space of a list of Person, side by side.

    Returns:
        joints (N, 17, 3) m, covariance (N, 17, 3, 3) m^2, velocity (N, 17, 3) m/s and
        velocity_covariance (N, 17, 3, 3) m^2/s^2, float64 copies.

    Raises:
        ValueError, TypeError: one of them has something else there.
    """
    return tuple(np.array([getattr(p, name) for p in people], np.float64).reshape(
        (len(people), NUM_JOINTS) + shape) for name, shape in (
            ('joints', (3,)), ('covariance', (3, 3)), ('velocity', (3,)),
            ('velocity_covariance', (3, 3))))

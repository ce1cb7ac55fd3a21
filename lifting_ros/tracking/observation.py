"""People of one image, before they have names."""

from dataclasses import dataclass

import numpy as np


@dataclass
class Observation:
    """N people in one image, before they have names.

    Shapes and units as in :class:`lifting_ros.person.Person`, people first; joints and
    covariance may be NaN where there is no calibrated camera.
    """

    confidence: np.ndarray           # (N,)
    box: np.ndarray                  # (N, 4)
    keypoints: np.ndarray            # (N, 17, 2)
    keypoint_confidence: np.ndarray  # (N, 17)
    keypoint_covariance: np.ndarray  # (N, 17, 2, 2)
    joints: np.ndarray               # (N, 17, 3)
    covariance: np.ndarray           # (N, 17, 3, 3)
    source: np.ndarray               # (N, 17)
    scale_source: np.ndarray         # (N,)
    log_likelihood: np.ndarray       # (N,)
    appearance: np.ndarray | None = None  # (N, D) of tracking.appearance, NaN where not known
    image_size: tuple | None = None       # width, height, px

    def __len__(self):
        """How many people."""
        return len(self.box)

    def lifted(self):
        """(N,) whether a person's joints are known in metres."""
        return np.isfinite(self.joints.sum((1, 2)) + self.covariance.sum((1, 2, 3)))

"""What is published of people as arrays, put together once for all who publish some of it."""

import numpy as np

from ..body_frame import body_state
from ..person import stacked
from ..skeleton import NUM_JOINTS
from .shapes import quaternions


class BodyStates:
    """People as arrays, and their bodies as a whole (see ``body_frame.body_state``).

    Attributes:
        joints: (N, 17, 3) m; covariance, velocity and spread: as people have them.
        placed, moving: (N,) bool, whether all joints are known, and all their velocities.
        boxes: (N, 4) px; keypoints: (N, 17, 2) px; keypoint_confidence: (N, 17); confidence: (N,).
        rotation: (N, 3, 3); quaternion: (N, 4) x y z w; pose: (N, 6, 6); twist: (N, 6);
            twist_covariance: (N, 6, 6).
    """

    def __init__(self, people):
        """Work them out of a list of Person. Raises where one of them is no person."""
        n = len(people)
        self.joints, self.covariance, self.velocity, self.spread = stacked(people)
        self.placed, self.moving = (np.isfinite(a.reshape(n, 3 * NUM_JOINTS).sum(1))
                                    for a in (self.joints, self.velocity))
        self.boxes = np.array([p.box for p in people], np.float64).reshape(n, 4)
        self.keypoints = np.array([p.keypoints for p in people], np.float64).reshape(
            n, NUM_JOINTS, 2)
        self.keypoint_confidence = np.array(
            [p.keypoint_confidence for p in people], np.float64).reshape(n, NUM_JOINTS)
        self.confidence = np.array([p.confidence for p in people], np.float64)
        self.rotation, self.pose, self.twist, self.twist_covariance = body_state(
            self.joints, self.covariance, self.velocity, self.spread)
        self.quaternion = quaternions(self.rotation)

"""The bodies of people as a whole, worked out once for all that publish something of them."""

from ..body_frame import body_state
from ..person import stacked
from .shapes import quaternions


class BodyStates:
    """The bodies of people as a whole, all at once (see ``body_frame.body_state``).

    Attributes:
        joints: (N, 17, 3) m; covariance, velocity and spread: as people have them.
        rotation: (N, 3, 3); quaternion: (N, 4) x y z w; pose: (N, 6, 6); twist: (N, 6);
            twist_covariance: (N, 6, 6).
    """

    def __init__(self, people):
        """Work them out of a list of Person. Raises where one of them is no person."""
        self.joints, self.covariance, self.velocity, self.spread = stacked(people)
        self.rotation, self.pose, self.twist, self.twist_covariance = body_state(
            self.joints, self.covariance, self.velocity, self.spread)
        self.quaternion = quaternions(self.rotation)

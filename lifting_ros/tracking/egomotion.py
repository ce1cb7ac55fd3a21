"""A camera that moves: what the tracker knows is carried into the camera's new frame.

Measurements stay in the camera's frame, where their errors are simple (along the ray and across
it). Without this a camera that turns would make everybody seem to run in circles about it.
"""

import numpy as np

from .. import rigid


class EgoMotion:
    """Remembers where the camera was, and moves a tracker's people when it is elsewhere."""

    def __init__(self):
        """Nothing is known yet."""
        self._last = None

    def follow(self, tracker, pose):
        """Carry the people of a tracker into the frame of the camera as it is now.

        Velocities are then those against the fixed frame, along the camera's axes.

        Args:
            tracker: :class:`~.tracker.Tracker`.
            pose: (R, t), x_fixed = R x_camera + t in metres, or None where it is not known: then
                the camera is taken to be where it was, and the next pose starts afresh.
        """
        if pose is None:
            self._last = None
            return
        pose = tuple(np.asarray(part, dtype=np.float64) for part in pose)
        if self._last is not None:
            tracker.turn(*rigid.chained(self._last, rigid.inverse(pose)))
        self._last = pose

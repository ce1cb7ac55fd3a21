"""Which way is up in the image: from TF, from an IMU, from a parameter; else it is estimated."""

import time
from collections import deque

import numpy as np
from sensor_msgs.msg import Imu

from .. import rigid
from . import qos
from .frames import SECOND, NotThere

#: an IMU's message counts for images within this, ns
NEAR = SECOND // 10
#: seconds over which accelerations are averaged, and how far from 1 g their length may be
SMOOTH, OFF = 0.5, 0.2
G = 9.80665


def imu_up(msg):
    """Unit vector against gravity in the IMU's frame, from its orientation (REP-145), or None.

    An orientation whose covariance begins with -1 is none; neither is one that is no rotation.
    """
    if msg.orientation_covariance[0] == -1:
        return None
    q = msg.orientation
    try:
        return rigid.matrix((q.x, q.y, q.z, q.w))[2]  # the world's z seen from the IMU
    except ValueError:
        return None


class Gravity:
    """Keeps what is known of gravity.

    Args:
        node: rclpy node.
        frames: :class:`~lifting_ros.ros.frames.Frames`.
    """

    def __init__(self, node, frames):
        self._node, self._frames = node, frames
        self._subscription, self._samples = None, deque(maxlen=400)
        self._mean, self._last = None, 0
        self.problem, self.source = None, 'estimated'

    def listen(self, wanted):
        """Subscribe to `imu`, or no more."""
        if wanted and self._subscription is None:
            self._subscription = self._node.create_subscription(Imu, 'imu', self.take, qos.IMU)
        elif not wanted and self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription, self._mean = None, None
            self._samples.clear()

    def take(self, msg):
        """Take a message of the IMU."""
        stamp = msg.header.stamp.sec * SECOND + msg.header.stamp.nanosec
        up = imu_up(msg)
        if up is None:
            up = self._average(msg, stamp)
        if up is not None:
            self._samples.append((stamp, up, msg.header.frame_id))

    def _average(self, msg, stamp):
        """At rest an accelerometer shows 1 g upwards; shaking averages out."""
        a = msg.linear_acceleration
        a = np.array([a.x, a.y, a.z])
        if not np.isfinite(a).all():
            return None
        dt = 1e-9 * (stamp - self._last)
        self._last = stamp
        if self._mean is None or not 0 < dt < 1:
            self._mean = a
        else:
            self._mean = self._mean + (1 - np.exp(-dt / SMOOTH)) * (a - self._mean)
        size = np.linalg.norm(self._mean)
        return self._mean / size if abs(size / G - 1) < OFF else None

    def up(self, frame, stamp, values):
        """Unit vector against gravity in an image's frame, or None where it is to be estimated.

        Args:
            frame: of the image; stamp: of the image, ns.
            values: of the node's parameters: gravity_frame, imu, tf_timeout, up.
        """
        self.problem = None
        if values['gravity_frame']:
            found = self._from_tf(values['gravity_frame'], frame, stamp, values['tf_timeout'])
            if found is not None:
                self.source = 'tf'
                return found
        if values['imu']:
            found = self._from_imu(frame, stamp)
            if found is not None:
                self.source = 'imu'
                return found
        given = np.asarray(values['up'], dtype=np.float64)
        norm = np.linalg.norm(given)
        self.source = 'parameter' if norm > 1e-6 else 'estimated'
        return given / norm if norm > 1e-6 else None

    def _from_tf(self, gravity_frame, frame, stamp, timeout):
        # The pipeline needs it now, so here is the one place where the node waits. Images that
        # arrive meanwhile replace one another: the newest is next.
        end = time.monotonic() + timeout
        while True:
            try:
                return self._frames.lookup(frame, gravity_frame, stamp)[0][:, 2]
            except NotThere as error:
                if not error.later or time.monotonic() >= end:
                    self.problem = f'no gravity from TF: {error}'
                    return None
            time.sleep(0.001)

    def _from_imu(self, frame, stamp):
        near = [s for s in self._samples if abs(s[0] - stamp) <= NEAR]
        if not near:
            self.problem = (f'no gravity from {self._node.resolve_topic_name("imu")}: nothing '
                            'usable within 100 ms of the image')
            return None
        _, up, source = min(near, key=lambda s: abs(s[0] - stamp))
        if source in ('', frame):
            return up
        try:
            return self._frames.lookup(frame, source, stamp)[0] @ up
        except NotThere as error:
            self.problem = f'no gravity from the IMU: {error}'
            return None

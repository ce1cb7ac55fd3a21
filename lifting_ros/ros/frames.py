"""Transforms at the very stamp that is asked for: never the latest, never extrapolated.

tf2_ros does it where it is installed; elsewhere the package's own buffer, from the same topics.
"""

import numpy as np
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time

from .. import rigid
from ..frame_tree import SECOND, Buffer, NotThere
from . import compat


class _OwnListener:
    """Feeds a Buffer from /tf and /tf_static."""

    def __init__(self, node, message):
        self.buffer, self._node, self._bad = Buffer(), node, set()
        static = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._subscriptions = [
            node.create_subscription(message, '/tf', self._take, QoSProfile(depth=200)),
            node.create_subscription(message, '/tf_static', self._take_static, static)]
        self._message = message

    def _take(self, msg, static=False):
        for t in msg.transforms:
            p, q = t.transform.translation, t.transform.rotation
            stamp = t.header.stamp.sec * SECOND + t.header.stamp.nanosec
            try:
                self.buffer.add(t.header.frame_id.lstrip('/'), t.child_frame_id.lstrip('/'),
                                stamp, (p.x, p.y, p.z), (q.x, q.y, q.z, q.w), static)
            except ValueError as error:
                if t.child_frame_id not in self._bad:
                    self._bad.add(t.child_frame_id)
                    self._node.get_logger().warning(f'TF left out: {error}')

    def _take_static(self, msg):
        self._take(msg, static=True)

    def poll(self):
        drain(self._subscriptions[0], self._take)
        drain(self._subscriptions[1], self._take_static)

    def close(self):
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def lookup(self, target, source, stamp):
        return self.buffer.lookup(target, source, stamp)


class _Tf2Listener:
    """The same by tf2_ros."""

    def __init__(self, node, tf2_ros):
        self._tf2 = tf2_ros
        self._buffer = tf2_ros.Buffer()
        self._listener = tf2_ros.TransformListener(self._buffer, node)

    def poll(self):
        for name, callback in (('tf_sub', 'callback'), ('tf_static_sub', 'static_callback')):
            subscription = getattr(self._listener, name, None)
            take = getattr(self._listener, callback, None)
            if subscription is not None and take is not None:
                drain(subscription, take)

    def close(self):
        if hasattr(self._listener, 'unregister'):
            self._listener.unregister()

    def lookup(self, target, source, stamp):
        try:
            found = self._buffer.lookup_transform(target, source, Time(nanoseconds=stamp))
        except self._tf2.ExtrapolationException as error:
            raise NotThere(str(error), later='future' in str(error)) from error
        except self._tf2.TransformException as error:
            raise NotThere(str(error)) from error
        p, q = found.transform.translation, found.transform.rotation
        return rigid.matrix((q.x, q.y, q.z, q.w)), np.array([p.x, p.y, p.z])


def drain(subscription, callback):
    """Take what has arrived while this thread was busy, without going through the executor."""
    while True:
        with subscription.handle:
            taken = subscription.handle.take_message(subscription.msg_type, False)
        if taken is None:
            return
        callback(taken[0])


class Frames:
    """Looks up transforms for a node; listens from the first question on.

    Args:
        node: rclpy node.
    """

    def __init__(self, node):
        self._node, self._listener, self._asked = node, None, False

    def listen(self):
        """Listen from now on. Returns False where no package for it is installed."""
        if self._listener is None:
            if compat.tf2_ros is not None:
                self._listener = _Tf2Listener(self._node, compat.tf2_ros)
            elif compat.TFMessage is not None:
                self._listener = _OwnListener(self._node, compat.TFMessage)
        return self._listener is not None

    def lookup(self, target, source, stamp):
        """The motion (R, t) with x_target = R x_source + t, m, at a stamp in ns.

        Raises:
            NotThere: it is not to be had; says whether it may come yet.
        """
        if target == source:
            return np.eye(3), np.zeros(3)
        if not source:
            raise NotThere('the frame_id of the image is empty')
        if stamp <= 0:  # tf2 would take this as a question for the latest
            raise NotThere('the stamp of the image is zero')
        if not self.listen():
            raise NotThere('neither tf2_ros nor tf2_msgs is installed')
        self._listener.poll()
        return self._listener.lookup(target, source, stamp)

    def close(self):
        """Listen no more."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

"""Transforms at the very stamp that is asked for: never the latest, never extrapolated.

tf2_ros does it where it is installed; elsewhere the buffer of this module, from the same topics.
"""

from bisect import bisect_left

import numpy as np
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time

from .. import rigid
from . import compat

SECOND = 1_000_000_000


class NotThere(LookupError):
    """A transform that is not to be had; the text says why.

    Args:
        reason: in words.
        later: the transform at this stamp may still arrive, waiting for it makes sense.
    """

    def __init__(self, reason, later=False):
        super().__init__(reason)
        self.later = later


class Buffer:
    """A tree of transforms over the last few seconds, interpolated between their stamps.

    Args:
        keep: seconds of history.
    """

    def __init__(self, keep=10.0):
        """Start with no frame at all."""
        self._keep = int(keep * SECOND)
        self._edges = {}  # child -> (parent, stamps in order or None if static, values)

    def add(self, parent, child, stamp, translation, quaternion, static=False):
        """Take a transform: x_parent = R x_child + t.

        A publisher whose time jumps back beyond the history (a looped bag) starts afresh.

        Args:
            stamp: ns; translation: (3,) m; quaternion: (4,) x y z w.

        Raises:
            ValueError: not a rotation, or numbers that are not finite.
        """
        rigid.matrix(quaternion)
        t = np.asarray(translation, dtype=np.float64)
        if not np.isfinite(t).all() or parent == child or not parent or not child:
            raise ValueError(f'transform of {child!r} in {parent!r} makes no sense')
        q = np.asarray(quaternion, dtype=np.float64)
        value = t, q / np.linalg.norm(q)
        if static:
            self._edges[child] = parent, None, [value]
            return
        known, stamps, values = self._edges.get(child, (None, None, None))
        if known != parent or stamps is None or stamp < stamps[-1] - self._keep:
            self._edges[child] = parent, [stamp], [value]
            return
        at = bisect_left(stamps, stamp)
        if at < len(stamps) and stamps[at] == stamp:
            values[at] = value
            return
        stamps.insert(at, stamp)
        values.insert(at, value)
        old = bisect_left(stamps, stamps[-1] - self._keep)
        if old > 64:  # now and then, not at every message
            del stamps[:old], values[:old]

    def lookup(self, target, source, stamp):
        """The motion (R, t) with x_target = R x_source + t at a stamp in ns.

        Raises:
            NotThere: a frame is not known, the two are in different trees, or the stamp is not
                within what was heard.
        """
        if target == source:
            return np.eye(3), np.zeros(3)
        up, down = self._path(source), self._path(target)
        common = next((f for f in up if f in set(down)), None)
        for name, path in ((source, up), (target, down)):
            if len(path) == 1 and not any(e[0] == name for e in self._edges.values()):
                raise NotThere(f'frame {name!r} is not in TF')
        if common is None:
            raise NotThere(f'frames {source!r} and {target!r} are in two trees of TF '
                           f'({up[-1]!r} and {down[-1]!r})')
        sides = [self._climb(path[:path.index(common)], stamp) for path in (up, down)]
        return rigid.chained(sides[0], rigid.inverse(sides[1]))

    def _path(self, frame):
        """Frames from one to the root of its tree; cut where it runs in a circle."""
        path = [frame]
        while path[-1] in self._edges:
            parent = self._edges[path[-1]][0]
            if parent in path:
                break
            path.append(parent)
        return path

    def _climb(self, children, stamp):
        motion = np.eye(3), np.zeros(3)
        for child in children:
            motion = rigid.chained(motion, self._edge(child, stamp))
        return motion

    def _edge(self, child, stamp):
        _, stamps, values = self._edges[child]
        if stamps is None:
            t, q = values[0]
            return rigid.matrix(q), t
        if stamp > stamps[-1]:
            raise NotThere(f'TF of {child!r} ends {1e-6 * (stamp - stamps[-1]):.0f} ms before the '
                           'stamp of the image', later=True)
        at = bisect_left(stamps, stamp)
        if stamps[at] == stamp:
            t, q = values[at]
            return rigid.matrix(q), t
        if at == 0:
            raise NotThere(f'TF of {child!r} begins {1e-6 * (stamps[0] - stamp):.0f} ms after the '
                           'stamp of the image')
        (t0, q0), (t1, q1) = values[at - 1:at + 1]
        share = (stamp - stamps[at - 1]) / (stamps[at] - stamps[at - 1])
        return rigid.matrix(rigid.slerp(q0, q1, share)), (1 - share) * t0 + share * t1


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

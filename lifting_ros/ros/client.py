"""People for other nodes: the newest, in their own frame, refused where too old.

See docs/arm.md for the ten lines that use it.
"""

from collections import deque
from dataclasses import dataclass

from rclpy.serialization import deserialize_message

from ..msg import SkeletonArray
from ..person import Person
from ..prediction import moved_on
from ..rigid import moved_all
from . import qos, wire
from .frames import Frames, NotThere


@dataclass(frozen=True, eq=False)
class People:
    """People in one frame at one time.

    Args:
        people: list of :class:`~lifting_ros.person.Person` in ``frame``; may be empty.
        frame: its name. stamp: ns, the time for which they hold. seen: ns, stamp of the image.
        age: s from the image to ``stamp``, or to when they were asked for, whichever is later.
    """

    people: list[Person]
    frame: str
    stamp: int
    seen: int
    age: float


class SkeletonListener:
    """Subscribes to people and gives them in a frame of the caller's.

    Args:
        node: rclpy node; it must be spun.
        topic: of lifting_ros/SkeletonArray.
        frame: frame of TF in which people are wanted; empty: that of the messages.
        max_age: s; what is older is refused.
        callback: called with each SkeletonArray as it arrives, or None.

    Attributes:
        reason: why the last question had no answer, in words; empty where it had one.
    """

    def __init__(self, node, topic, frame='', max_age=0.5, callback=None):
        self._node, self._frame, self.max_age, self._callback = node, frame, max_age, callback
        self._frames, self._kept, self.reason = Frames(node), deque(maxlen=8), ''
        self._topic, self._known = node.resolve_topic_name(topic), (None, None)
        if frame:
            self._frames.listen()
        # bytes: most messages are never looked at, and those that are, as arrays
        self._subscription = qos.subscription(node, SkeletonArray, topic, self._take, qos.NEWEST,
                                              raw=True)

    def _take(self, data):
        seen = wire.stamp_of(data)
        if self._kept and seen < self._kept[-1][0]:
            self._kept.clear()  # a looped bag, or a publisher that was started again
        self._kept.append((seen, data))
        if self._callback is not None:
            self._callback(deserialize_message(data, SkeletonArray))

    def newest(self):
        """The newest :class:`People`, at the time of their image.

        Returns:
            None where nothing has come, it is too old, or TF lacks the frame: see ``reason``.
        """
        return self._at(None)

    def predict(self, when=None):
        """The newest people as they will be: moved on by their velocities, less and less surely.

        Args:
            when: ns of the node's clock (``rclpy.time.Time.nanoseconds``), such as that of the
                next control step; None: now.

        Returns:
            :class:`People`, or None as :meth:`newest`; also where ``when`` is more than
            ``max_age`` after the image.
        """
        return self._at(self._now() if when is None else int(when))

    def close(self):
        """Subscribe no more."""
        self._node.destroy_subscription(self._subscription)
        self._frames.close()

    def _now(self):
        return self._node.get_clock().now().nanoseconds

    def _at(self, when):
        if not self._kept:
            self.reason = f'nothing has come on {self._topic}'
            return None
        now, problem = self._now(), ''
        for seen, data in reversed(self._kept):
            age = 1e-9 * (max(now, when or now) - seen)
            if not -self.max_age <= 1e-9 * (now - seen) <= age <= self.max_age:
                problem = problem or (f'the newest people on {self._topic} are {age:.2f} s old'
                                      if seen < now else f'people on {self._topic} are '
                                      f'{1e-9 * (seen - now):.2f} s ahead of this node\'s clock')
                break
            try:
                people, frame = self._people(data, seen)
            except NotThere as error:  # an older one may do: its transform is there
                problem = problem or str(error)
                continue
            self.reason = ''
            if when is None:
                return People(list(people), frame, seen, seen, age)
            return People(moved_on(people, 1e-9 * (when - seen)), frame, when, seen, age)
        self.reason = problem
        return None

    def _people(self, data, seen):
        if self._known[0] is data:
            return self._known[1]
        header, people = wire.read(data)
        frame = header.frame_id
        if self._frame and frame != self._frame:
            people = moved_all(people, *self._frames.lookup(self._frame, frame, seen))
            frame = self._frame
        self._known = data, (people, frame)
        return people, frame

"""What goes out: one answer for an image, handed to everybody who publishes something of it."""

import time
from collections import deque
from dataclasses import dataclass

import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from ..drawing import draw_people
from ..msg import SkeletonArray, SkeletonModel
from ..rigid import moved_all
from . import hri, qos, wire
from .body_states import BodyStates
from .conversions import to_model
from .frames import NotThere
from .images import fill
from .markers import Markers
from .transforms import Transforms


@dataclass
class Answer:
    """The people of one image and what belongs to them.

    ``people`` are in the frame of ``header``: the output frame, once it has been found, with the
    image's stamp. ``states`` are those of their bodies, there when the extras are called.
    ``framed`` says whose ``body_<id>`` REP-155's transforms have brought already.
    """

    people: list                   # of Person
    header: Header
    image: np.ndarray              # (H, W, 3) uint8 BGR
    camera: object                 # Camera, or None
    up: object                     # (3,) against gravity in the camera's frame, or None
    started: float                 # time.perf_counter() when the image was taken
    frame: str = ''                # the camera's own frame
    states: BodyStates = None
    framed: np.ndarray = None      # (N,) bool, or None: nobody's


class Outputs:
    """Publishes answers.

    To publish more of them, call :meth:`add` with something that takes an :class:`Answer`: it is
    called after the skeletons are out, in the order of adding. Where it raises, the others go on.

    Args:
        node: rclpy node.
        values: callable that returns the values of the node's parameters.
    """

    def __init__(self, node, values):
        self._node, self._values = node, values
        self._markers, self._transforms = Markers(), Transforms(node)
        self._extras, self._said = [], set()
        self._bodies = None   # REP-155: hri.Bodies, or False where hri_msgs is not installed
        self._skeletons = qos.publisher(node, SkeletonArray, '~/skeletons', qos.RESULT)
        self._marker_out = qos.publisher(node, MarkerArray, '~/markers', qos.RESULT)
        self._annotated = qos.publisher(node, Image, '~/image_annotated', qos.PICTURE)
        self._model = qos.publisher(node, SkeletonModel, '~/skeleton_model', qos.LATCHED)
        self._model.publish(to_model())
        self.publishers = (self._skeletons, self._marker_out, self._annotated, self._model)
        for extra in (self._show_markers, self._show_picture, self._show_bodies,
                      self._show_frames):
            self.add(extra)
        self._shown = None  # header of the markers on display

    def add(self, extra):
        """Call ``extra(answer)`` for every answer from now on."""
        self._extras.append(extra)

    def publish(self, answer):
        """Publish an answer; the skeletons first."""
        height, width = answer.image.shape[:2]
        answer.people, answer.states = self._whole(answer.people)
        self._skeletons.publish(wire.write(
            answer.people, answer.header, width, height, self._lost,
            lambda: time.perf_counter() - answer.started, answer.states))
        for extra in self._extras:
            try:
                extra(answer)
            except Exception as error:  # noqa: BLE001 (what is beside the skeletons ends nothing)
                name = getattr(extra, '__qualname__', repr(extra))
                self._once(name, 'error', f'{name}: {type(error).__name__}: {error}')

    def clear(self):
        """Take away what is on display."""
        if self._shown is not None:
            self._marker_out.publish(self._markers.clear(self._shown))
            self._shown = None

    def status(self):
        """Figures for the diagnostics, as a dict."""
        return self._bodies.status() if self._bodies else {}

    def close(self):
        """Publish no more."""
        if self._bodies:
            self._bodies.close()
        self._bodies = None
        for publisher in self.publishers:
            self._node.destroy_publisher(publisher)

    def _once(self, key, level, text):
        if key not in self._said:
            self._said.add(key)
            getattr(self._node.get_logger(), level)(text)

    def _whole(self, people):
        """The people of whom a body can be made, and these."""
        try:
            return people, BodyStates(people)
        except Exception:  # noqa: BLE001 (whatever is wrong with one, keep the rest)
            whole = []
            for person in people:
                try:
                    BodyStates([person])
                    whole.append(person)
                except Exception as error:  # noqa: BLE001
                    self._lost(person, error)
            return whole, BodyStates(whole)

    def _lost(self, person, error):
        self._node.get_logger().error(f'person {person.id} left out: {type(error).__name__}: '
                                      f'{error}', throttle_duration_sec=5.0)

    def _show_markers(self, answer):
        if self._marker_out.get_subscription_count():
            values = self._values()
            self._marker_out.publish(self._markers.render(
                answer.people, answer.header, values['marker_lifetime'], values['ellipsoids'],
                states=answer.states))
            self._shown = answer.header

    def _show_picture(self, answer):
        if self._values()['drawing'] and self._annotated.get_subscription_count():
            picture = draw_people(np.ascontiguousarray(answer.image), answer.people)
            header = Header(stamp=answer.header.stamp, frame_id=answer.frame)
            self._annotated.publish(fill(Image(header=header), picture))

    def _show_frames(self, answer):
        values, told = self._values(), True
        if values['view_frame']:
            header = Header(stamp=answer.header.stamp, frame_id=answer.frame)
            told = self._transforms.view(header, values['view_frame'], answer.up)
        kind = self._kind()
        if kind != 'none':
            people, turns = answer.people, answer.states.quaternion
            if answer.framed is not None:
                left = np.flatnonzero(~answer.framed)
                people, turns = [people[i] for i in left], turns[left]
            told = self._transforms.people(answer.header, people, turns,
                                          joints=kind == 'joints') and told
        if not told:
            self._once('tf', 'error', 'transforms are asked for (tf, view_frame), but neither '
                       'tf2_ros nor tf2_msgs is installed: there are none')

    def _kind(self):
        """Which frames are broadcast; publish_tf is the older name of one."""
        values = self._values()
        return 'body' if values['tf'] == 'none' and values['publish_tf'] else values['tf']

    def _show_bodies(self, answer):
        if self._values()['ros4hri'] and self._bodies is None:
            self._bodies = hri.start(self._node) or False
        elif self._bodies and not self._values()['ros4hri']:
            self._bodies.close()
            self._bodies = None
        if self._bodies:
            header = Header(stamp=answer.header.stamp, frame_id=answer.frame)
            # joints' frames are below those of bodies, and go with them
            answer.framed = self._bodies.publish(
                answer.header, answer.people, answer.image, states=answer.states,
                body_frames=self._kind() != 'joints', image_header=header)


class Delivery:
    """Brings answers into the frame that is asked for, at the stamp of their image.

    The answer is there before the transform, at times: it then waits, in its turn, until its
    time is over. No image waits for it: what is held are people, not work.

    Args:
        frames: :class:`~lifting_ros.ros.frames.Frames`.
        publish: called with each :class:`Answer` when its turn has come.
    """

    def __init__(self, frames, publish):
        self._frames, self._publish, self._held = frames, publish, deque()
        self.problem, self.left = None, 0  # why the last was left in its frame; how many were

    def __len__(self):
        """How many answers wait."""
        return len(self._held)

    def give(self, answer, target, timeout):
        """Take an answer and publish whatever is ready.

        Args:
            target: frame, or empty for the camera's.
            timeout: seconds the transform may take, from now.
        """
        self._held.append((answer, target, time.monotonic() + timeout))
        self.flush()

    def flush(self, all_of_them=False):
        """Publish those in front whose transform is there, or whose time is over."""
        while self._held:
            answer, target, end = self._held[0]
            if target and target != answer.header.frame_id and not self._carry(
                    answer, target, all_of_them or time.monotonic() >= end):
                return
            self._held.popleft()
            self._publish(answer)

    def _carry(self, answer, target, late):
        """Move an answer to its frame. Returns False where that is worth waiting for."""
        header = answer.header
        stamp = header.stamp.sec * 1_000_000_000 + header.stamp.nanosec
        try:
            rotation, translation = self._frames.lookup(target, header.frame_id, stamp)
        except NotThere as error:
            if error.later and not late:
                return False
            self.problem, self.left = f'people are in the camera\'s frame: {error}', self.left + 1
            return True
        self.problem = None
        answer.people = moved_all(answer.people, rotation, translation)
        answer.header = Header(stamp=header.stamp, frame_id=target)
        return True

"""People as REP-155 (ROS4HRI) has them: /humans/bodies/..., see docs/rep155.md.

The messages are those of ``hri_msgs``, which some distributions lack: it is looked for when this
output is asked for, and nowhere else.
"""

import importlib
import time
from types import SimpleNamespace

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.clock import Clock, ClockType

from .. import human_model, kinematics
from ..skeleton import INDEX, NUM_JOINTS
from . import compat, qos
from .body_states import BodyStates
from .hri_body import POINTS2D, RESIDUAL_LINKS, Body
from .template import Patched, Sheaf

#: The joints of skeleton2d in its order; eyes and ears (14 to 17) are not estimated: c is 0.
SKELETON2D = tuple(INDEX[name] for name in (
    'nose', 'neck', 'right_shoulder', 'right_elbow', 'right_wrist', 'left_shoulder',
    'left_elbow', 'left_wrist', 'right_hip', 'right_knee', 'right_ankle', 'left_hip',
    'left_knee', 'left_ankle'))
_SKELETON2D = np.array(SKELETON2D)
_LINGER = 2.0      # s that the topics of somebody who was lost stay: he may come back
_PAUSE = 1.0       # s without an image after which nobody is tracked
_ORDERS = 8        # what is made for people in an order is kept for so many
_MODELLED = np.array(kinematics.MODELLED)


def _parts(**counts):
    ends = np.cumsum(list(counts.values())).tolist()
    return {name: slice(end - count, end) for (name, count), end in zip(counts.items(), ends)}


#: The numbers of a person's messages side by side.
_PARTS = _parts(roi=5, skeleton2d=3 * POINTS2D, joint_states=len(human_model.ANGLES),
                residual=len(RESIDUAL_LINKS), position=3, velocity=6)
_ANGLES, _RESIDUAL, _POSITION, _VELOCITY = (_PARTS[n] for n in (
    'joint_states', 'residual', 'position', 'velocity'))
_NUMBERS = _VELOCITY.stop


def load_messages():
    """Return the messages of hri_msgs used here, or None where it is not installed."""
    try:
        msg = importlib.import_module('hri_msgs.msg')
        return SimpleNamespace(
            IdsList=msg.IdsList, Point=msg.NormalizedPointOfInterest2D,
            Region=msg.NormalizedRegionOfInterest2D, Skeleton2D=msg.Skeleton2D)
    except (ImportError, AttributeError):
        return None


def start(node, messages=None):
    """Return a :class:`Bodies` of a node; None, after one line that says why, if it cannot be.

    Args:
        node: of rclpy.
        messages: as :func:`load_messages` gives them; None: look for them.
    """
    messages = messages or load_messages()
    if messages is None:
        node.get_logger().error(
            'ros4hri is asked for, but the package hri_msgs is not installed (apt install '
            'ros-$ROS_DISTRO-hri-msgs; Kilted has none): there is nothing on /humans, all else '
            'works')
        return None
    return Bodies(node, messages)


class Bodies:
    """Publishes the bodies of each image; opens and closes their topics as people come and go.

    Args:
        node: of rclpy; the parameters ``human_description_<id>`` are declared on it.
        messages: as :func:`load_messages` gives them.
        clock: seconds, for how long somebody has been away.
    """

    def __init__(self, node, messages, clock=time.monotonic):
        self._node, self._messages, self._clock = node, messages, clock
        self._bodies, self._sheaves = {}, {}
        self._header = None
        self._tracked = node.create_publisher(messages.IdsList, '/humans/bodies/tracked',
                                              qos.RESULT)
        self._tf_type, self._tf = compat.TFMessage, None
        if self._tf_type is None:
            node.get_logger().error('ros4hri: tf2_msgs is not installed, there are no frames of '
                                    'bodies')
        else:
            self._tf = node.create_publisher(self._tf_type, '/tf', 100)
        # the node's own clock may stand still (use_sim_time)
        self._timer = node.create_timer(_PAUSE, self._on_timer,
                                        clock=Clock(clock_type=ClockType.STEADY_TIME))

    def publish(self, header, people, image=None, size=None, skeletons=None, body_frames=True,
                image_header=None, twists=None, states=None):
        """Publish the people of an image.

        Args:
            header: of the positions: the image's stamp, the frame they are in.
            people: list of :class:`~lifting_ros.person.Person`. Those without positions have
                regions and 2D points only.
            image: (H, W, 3) uint8 BGR, or None: then nothing is cropped.
            size: (width, height) px of the image; None: that of ``image``.
            skeletons: the SkeletonArray of the same people, which has their twists; or None.
            body_frames: broadcast ``body_<id>`` with the frames of the links; False where the
                node does so.
            image_header: of the image, where positions are in another frame than it, with the
                same stamp; or None.
            twists: (N, 6) m/s and rad/s of the people, instead of ``skeletons``; or None.
            states: :class:`~lifting_ros.ros.body_states.BodyStates` of the people, where they
                are there already.

        Returns:
            (N,) bool, whose ``body_<id>`` was broadcast.
        """
        now, self._header = self._clock(), header
        seen = image_header or header
        if not people:
            self._tracked.publish(self._messages.IdsList(header=seen))
            self._expire(now)
            return np.zeros(0, bool)
        if size is None and image is not None:
            size = image.shape[1::-1]
        states = states or BodyStates(people)
        twists = states.twist if twists is None else twists
        if skeletons is not None:
            told = {s.id: _rates(s) for s in skeletons.skeletons}
            twists = [told.get(p.id, twist) for p, twist in zip(people, twists)]
        bodies = [self._body(p.id, now) for p in people]
        rows, boxes = np.zeros((len(people), _NUMBERS)), None
        if size is not None:
            boxes = states.boxes
            _image(rows, states, size)
        good, frames = self._space(rows, people, bodies, states, twists, now, body_frames)
        self._send(header, seen, people, rows, frames, boxes, good, states.moving, body_frames)
        if image is not None:
            for body, box in zip(bodies, boxes):
                body.crop(seen, box, image, size)
        self._expire(now)
        return good & (body_frames and self._tf is not None)

    def _body(self, name, now):
        body = self._bodies.get(name)
        if body is None:
            self._sheaves.clear()
            body = self._bodies[name] = Body(self._node, self._messages, name)
        body.seen = now
        return body

    def _space(self, rows, people, bodies, states, twists, now, body_frames):
        """Fill in what is known in space.

        Returns:
            (N,) bool, of whom it is; (M, 26 or 27, 7) the frames of these M.
        """
        joints, rotation = states.joints, states.rotation
        good = states.placed
        # limbs do not grow: once known, lengths are looked at now and then, everybody is asked
        if any([body.curious() for body in bodies]):
            for body, person, dims, placed in zip(bodies, people, kinematics.measure(joints),
                                                  good):
                if placed and np.isfinite(dims).all():
                    body.know(dims, person.matched, now)
        dims = np.array([body.dimensions for body in bodies])
        posture = kinematics.inverse(joints, dims, rotation)
        # somebody folded up like a knife has no axes: leave him out
        good = good & np.isfinite(posture.angles.sum(1) + dims.sum(1) + rotation.sum((1, 2)))
        residual = posture.residual[:, _MODELLED]
        rows[:, _ANGLES], rows[:, _RESIDUAL] = posture.angles, residual
        rows[:, _POSITION], rows[:, _VELOCITY] = posture.position, twists
        for body, known, worst in zip(bodies, good.tolist(), residual.max(1).tolist()):
            if known:
                body.residual = worst
        if self._tf is None:
            return good, np.zeros(0)
        frames = np.empty((len(people), 1 + len(human_model.LINKS), 7))
        frames[:, 1:] = kinematics.transforms(posture)
        if body_frames:
            frames[:, 0, :3], frames[:, 0, 3:] = posture.position, states.quaternion
        else:
            frames = frames[:, 1:]
        return good, frames if good.all() else frames[good]

    def _send(self, header, seen, people, rows, frames, boxes, good, moving, body_frames):
        """Publish all there is, all of it patched at once."""
        # the order of people in the answers changes with their confidence
        known = (None if boxes is None else np.isfinite(boxes.sum(1)).tobytes())
        key = (header.frame_id, seen.frame_id, tuple([p.id for p in people]), known,
               good.tobytes(), moving.tobytes(), body_frames)
        found = self._sheaves.get(key)
        if found is None:
            if len(self._sheaves) >= _ORDERS:
                self._sheaves.clear()
            found = self._sheaves[key] = self._sheaf(header.frame_id, seen.frame_id, people,
                                                     boxes, good, moving, body_frames)
        sheaf, ways = found
        values = np.concatenate((rows.ravel(), frames.ravel()))
        for (wanted, publish), message in zip(ways, sheaf.messages(header.stamp, values)):
            if wanted():
                publish(message)

    def _sheaf(self, frame, seen, people, boxes, good, moving, body_frames):
        """What is published of people, and by whom."""
        names = [p.id for p in people]
        items = [(self._tracked, Patched(lambda header, array: self._messages.IdsList(
            header=header, ids=names)), seen, 0, 0)]
        for i, name in enumerate(names):
            body, topics = self._bodies[name], []
            if boxes is not None:
                topics += ['roi'] * bool(np.isfinite(boxes[i]).all()) + ['skeleton2d']
            if good[i]:
                topics += ['joint_states', 'residual', 'position'] + ['velocity'] * bool(moving[i])
            for topic in topics:
                part = _PARTS[topic]
                items.append((body.out[topic], body.make[topic],
                              seen if topic in ('roi', 'skeleton2d') else frame,
                              i * _NUMBERS + part.start, part.stop - part.start))
        placed = [name for name, known in zip(names, good) if known]
        if placed and self._tf is not None:
            items.append((self._tf, Patched(lambda header, array: self._tf_type(
                transforms=_frames(header, array, placed, body_frames))), frame,
                len(names) * _NUMBERS,
                len(placed) * (len(human_model.LINKS) + bool(body_frames)) * 7))
        sheaf = Sheaf([item[1:] for item in items])
        ways = [_way(item[0], sheaf.whole) for item in items]
        # the list of who is tracked, and frames, are for everybody
        return sheaf, [(_always if item[0] in (self._tracked, self._tf) else wanted, publish)
                       for item, (wanted, publish) in zip(items, ways)]

    def _expire(self, now):
        for name in [n for n, body in self._bodies.items() if now - body.seen > _LINGER]:
            self._bodies.pop(name).close()
            self._sheaves.clear()

    def _on_timer(self):
        """Where no image comes any more, nobody is tracked."""
        if self._bodies:
            now = self._clock()
            if now - max(body.seen for body in self._bodies.values()) > _PAUSE:
                self._tracked.publish(self._messages.IdsList(header=self._header))
            self._expire(now)

    def status(self):
        """Figures for the diagnostics, as a dict."""
        residuals = [body.residual for body in self._bodies.values()
                     if np.isfinite(body.residual)]
        worst = 1e3 * max(residuals) if residuals else float('nan')
        return {'ros4hri bodies': len(self._bodies), 'ros4hri residual (mm)': worst}

    def close(self):
        """Close all topics."""
        for body in self._bodies.values():
            body.close()
        self._bodies, self._sheaves = {}, {}
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._tracked)
        if self._tf is not None:
            self._node.destroy_publisher(self._tf)


def _image(rows, states, size):
    """Fill in regions and 2D points."""
    scale = np.array((1 / size[0], 1 / size[1]) * 2)
    region, points = rows[:, :5], rows[:, 5:5 + 3 * len(SKELETON2D)]
    np.multiply(states.boxes, scale, out=region[:, :4])
    region[:, 4] = states.confidence
    seen = np.empty((len(rows), NUM_JOINTS, 3))
    np.multiply(states.keypoints, scale[:2], out=seen[..., :2])
    seen[..., 2] = states.keypoint_confidence
    seen = seen.take(_SKELETON2D, 1)
    points[:] = seen.reshape(len(rows), -1)
    both = rows[:, :_PARTS['skeleton2d'].stop]
    np.maximum(both, 0, out=both)
    np.minimum(both, 1, out=both)
    known = (seen[..., 2] > 0) & np.isfinite(seen.sum(-1))
    if not known.all():
        points[~np.repeat(known, 3, axis=1)] = 0.0


def _always():
    return True


def _way(publisher, raw):
    """Functions that say whether somebody listens, and that publish.

    Args:
        raw: what is published is bytes. Then what rclpy does about each message is left out: it
            takes as long as the message.
    """
    handle = getattr(publisher, 'handle', None)
    if raw and hasattr(handle, 'publish_raw') and hasattr(handle, 'get_subscription_count'):
        return handle.get_subscription_count, handle.publish_raw
    return publisher.get_subscription_count, publisher.publish


def _rates(skeleton):
    """(6,) m/s and rad/s of a Skeleton message."""
    v, w = skeleton.velocity.twist.linear, skeleton.velocity.twist.angular
    return np.array([v.x, v.y, v.z, w.x, w.y, w.z])


def _frames(header, array, names, body_frames):
    """TransformStamped of the links of people."""
    out = []
    for name in names:
        links = [(header.frame_id, 'body')] * body_frames
        links += [(f'{link.parent}_{name}', link.name) for link in human_model.LINKS]
        for parent, link in links:
            t = TransformStamped(child_frame_id=f'{link}_{name}')
            t.header.stamp, t.header.frame_id = header.stamp, parent
            p, q = t.transform.translation, t.transform.rotation
            p.x, p.y, p.z, q.x, q.y, q.z, q.w = array(7)
            out.append(t)
    return out

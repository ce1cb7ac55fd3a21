"""People as REP-155 (ROS4HRI) has them: /humans/bodies/..., see docs/rep155.md.

The messages are those of ``hri_msgs``, which some distributions lack: it is looked for when this
output is asked for, and nowhere else.
"""

import importlib
import time
from types import SimpleNamespace

import numpy as np
from geometry_msgs.msg import PointStamped, TransformStamped, TwistStamped
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.clock import Clock, ClockType
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String

from .. import human_model, kinematics
from ..body_frame import body_state
from ..skeleton import INDEX
from . import compat, qos, shapes
from .images import fill
from .template import Patched

#: The joints of skeleton2d in its order; eyes and ears (14 to 17) are not estimated: c is 0.
SKELETON2D = tuple(INDEX[name] for name in (
    'nose', 'neck', 'right_shoulder', 'right_elbow', 'right_wrist', 'left_shoulder',
    'left_elbow', 'left_wrist', 'right_hip', 'right_knee', 'right_ankle', 'left_hip',
    'left_knee', 'left_ankle'))
_SKELETON2D = np.array(SKELETON2D)
POINTS2D = 18
#: Topics below /humans/bodies/<id>/ and their quality of service.
TOPICS = {'roi': qos.RESULT, 'skeleton2d': qos.RESULT, 'joint_states': qos.RESULT,
          'residual': qos.RESULT, 'position': qos.RESULT, 'velocity': qos.RESULT,
          'cropped': qos.PICTURE, 'urdf': qos.LATCHED}
_LINGER = 2.0      # s that the topics of somebody who was lost stay: he may come back
_MEMORY = 100      # measurements over which a person's dimensions are averaged:
_SOON, _NOW_AND_THEN = 30, 5   # in each of so many images, then in one of so many
_CHANGE = 0.01     # m; a new URDF is worth it from here on,
_PAUSE = 1.0       # s; but not more often than this
_RESIDUAL_LINKS = [human_model.LINK_OF_JOINT[j] for j in kinematics.MODELLED]


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
        self._bodies = {}
        self._header = None
        self._tracked = node.create_publisher(messages.IdsList, '/humans/bodies/tracked',
                                              qos.RESULT)
        self._tf_type, self._frames, self._frames_of = compat.TFMessage, None, None
        self._tf = None
        if self._tf_type is None:
            node.get_logger().error('ros4hri: tf2_msgs is not installed, there are no frames of '
                                    'bodies')
        else:
            self._tf = node.create_publisher(self._tf_type, '/tf', 100)
        # the node's own clock may stand still (use_sim_time)
        self._timer = node.create_timer(_PAUSE, self._on_timer,
                                        clock=Clock(clock_type=ClockType.STEADY_TIME))

    def publish(self, header, people, image=None, size=None, skeletons=None, body_frames=True,
                image_header=None, twists=None):
        """Publish the people of an image.

        Args:
            header: of the positions: the image's stamp, the frame they are in.
            people: list of :class:`~lifting_ros.person.Person`. Those without positions have
                regions and 2D points only.
            image: (H, W, 3) uint8 BGR, or None: then nothing is cropped.
            size: (width, height) px of the image; None: that of ``image``.
            skeletons: the SkeletonArray of the same people, which has their twists; or None.
            body_frames: broadcast ``body_<id>`` too; False where the node does so already.
            image_header: of the image, where positions are in another frame than it; or None.
            twists: (N, 6) m/s and rad/s of the people, instead of ``skeletons``; or None.
        """
        now, self._header = self._clock(), header
        if size is None and image is not None:
            size = image.shape[1::-1]
        if twists is not None:
            twists = {p.id: twist for p, twist in zip(people, twists)}
        else:
            twists = {s.id: _rates(s) for s in skeletons.skeletons} if skeletons else {}
        self._tracked.publish(self._messages.IdsList(
            header=image_header or header, ids=[p.id for p in people]))
        placed = []
        for person in people:
            body = self._bodies.get(person.id)
            if body is None:
                body = self._bodies[person.id] = _Body(self._node, self._messages, person.id)
            body.seen = now
            if np.isfinite(person.joints).all():
                placed.append((body, person))
        if size is not None and people:
            self._publish_2d(image_header or header, people, image, size)
        if placed:
            self._publish_3d(header, placed, now, twists, body_frames)
        self._expire(now)

    def _publish_2d(self, header, people, image, size):
        scale = 1 / np.asarray(size, dtype=np.float64)
        boxes = np.array([p.box for p in people], dtype=np.float64)
        regions = np.empty((len(people), 5))
        regions[:, :2], regions[:, 2:4] = boxes[:, :2] * scale, boxes[:, 2:] * scale
        regions = regions.clip(0, 1)
        regions[:, 4] = [p.confidence for p in people]
        points = np.zeros((len(people), POINTS2D, 3))
        some = points[:, :len(SKELETON2D)]
        some[..., :2] = (np.array([p.keypoints for p in people])[:, _SKELETON2D] * scale).clip(
            0, 1)
        some[..., 2] = np.array([p.keypoint_confidence for p in people])[:, _SKELETON2D].clip(
            0, 1)
        some[~(np.isfinite(some).all(-1) & (some[..., 2] > 0))] = 0.0
        good = np.isfinite(boxes).all(1)
        for i, person in enumerate(people):
            self._bodies[person.id].publish_2d(header, regions[i], points[i].ravel(),
                                               boxes[i] if good[i] else None, image, size)

    def _publish_3d(self, header, placed, now, twists, body_frames):
        joints = np.array([person.joints for _, person in placed], dtype=np.float64)
        # limbs do not grow: once known, lengths are looked at now and then, everybody is asked
        if any([body.curious() for body, _ in placed]):
            for (body, person), dims in zip(placed, kinematics.measure(joints)):
                if np.isfinite(dims).all():
                    body.know(dims, person.matched, now)
        dimensions = np.array([body.dimensions for body, _ in placed])
        posture = kinematics.inverse(joints, dimensions)
        # somebody folded up like a knife has no axes: leave him out
        good = np.isfinite(dimensions).all(1) & np.isfinite(posture.angles).all(1) & np.isfinite(
            posture.rotation).all((1, 2))
        if not good.all():
            placed = [p for p, g in zip(placed, good) if g]
            if not placed:
                return
            posture = kinematics.inverse(joints[good], dimensions[good])
        origins, quaternions = kinematics.transforms(posture)
        for i, (body, person) in enumerate(placed):
            body.publish_3d(header, person, posture, i, twists.get(person.id))
        if self._tf is not None:
            self._publish_frames(header, [person.id for _, person in placed], posture,
                                 origins, quaternions, body_frames)

    def _publish_frames(self, header, names, posture, origins, quaternions, body_frames):
        """All links of all people in one message, ``body_<id>`` first."""
        key = (tuple(names), body_frames)
        if key != self._frames_of:
            self._frames_of = key
            self._frames = Patched(lambda header, array: self._tf_type(transforms=_frames(
                header, array, names, body_frames)))
        values = np.empty((len(names), 1 + len(human_model.LINKS), 7))
        turned = shapes.quaternions(posture.rotation)
        values[:, 0, :3] = posture.position
        values[:, 0, 3:] = turned
        values[:, 1:, :3], values[:, 1:, 3:] = origins, quaternions
        values = values[:, 0 if body_frames else 1:]
        self._tf.publish(self._frames.message(header, values.ravel()))

    def _expire(self, now):
        for name in [n for n, body in self._bodies.items() if now - body.seen > _LINGER]:
            self._bodies.pop(name).close()

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
        self._bodies = {}
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._tracked)
        if self._tf is not None:
            self._node.destroy_publisher(self._tf)


def _rates(skeleton):
    """(6,) m/s and rad/s of a Skeleton message."""
    v, w = skeleton.velocity.twist.linear, skeleton.velocity.twist.angular
    return np.array([v.x, v.y, v.z, w.x, w.y, w.z])


def _position(header, array):
    message = PointStamped(header=header)
    message.point.x, message.point.y, message.point.z = array(3)
    return message


def _velocity(header, array):
    message = TwistStamped(header=header)
    v, w = message.twist.linear, message.twist.angular
    v.x, v.y, v.z, w.x, w.y, w.z = array(6)
    return message


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


class _Body:
    """The topics of one person."""

    def __init__(self, node, messages, name):
        self._node, self._name, self.seen, self.residual = node, name, 0.0, float('nan')
        kinds = {'roi': messages.Region, 'skeleton2d': messages.Skeleton2D,
                 'joint_states': JointState, 'residual': JointState, 'position': PointStamped,
                 'velocity': TwistStamped, 'cropped': Image, 'urdf': String}
        self._out = {topic: node.create_publisher(
            kinds[topic], f'/humans/bodies/{name}/{topic}', profile)
            for topic, profile in TOPICS.items()}
        angles = [f'{a}_{name}' for a in human_model.ANGLES]
        links = [f'{n}_{name}' for n in _RESIDUAL_LINKS]

        def region(header, array):
            xmin, ymin, xmax, ymax, c = array(5)
            return messages.Region(header=header, xmin=xmin, ymin=ymin, xmax=xmax, ymax=ymax, c=c)

        def skeleton(header, array):
            return messages.Skeleton2D(header=header, skeleton=[
                messages.Point(x=x, y=y, c=c) for x, y, c in array(POINTS2D, 3)])

        def states(header, array):
            return JointState(header=header, name=angles, position=array(len(angles)))

        def residuals(header, array):
            return JointState(header=header, name=links, position=array(len(links)))

        self._make = {topic: Patched(make) for topic, make in (
            ('roi', region), ('skeleton2d', skeleton), ('joint_states', states),
            ('residual', residuals), ('position', _position), ('velocity', _velocity))}
        self._parameter = f'human_description_{name}'
        self.dimensions = np.full(len(human_model.DIMENSIONS), np.nan)  # of the URDF, m
        self._mean, self._count, self._looked, self._told = 0.0, 0, 0, -np.inf

    def _wanted(self, topic):
        return self._out[topic].get_subscription_count() > 0

    # ------------------------------------------------------------------------------- the image
    def _send(self, topic, header, values):
        self._out[topic].publish(self._make[topic].message(header, values))

    def publish_2d(self, header, region, points, box, image, size):
        """Publish roi, skeleton2d, and cropped where somebody wants it.

        Args:
            region: (5,) of the roi; points: (54,) of the skeleton2d, as the messages have them.
            box: (4,) px, or None where it is not known.
        """
        if box is not None and self._wanted('roi'):
            self._send('roi', header, region)
        if self._wanted('skeleton2d'):
            self._send('skeleton2d', header, points)
        if image is not None and box is not None and self._wanted('cropped'):
            x0, y0 = np.clip(np.floor(box[:2]), 0, None).astype(int)
            x1, y1 = np.clip(np.ceil(box[2:]) + 1, 0, size).astype(int)
            if x0 < x1 and y0 < y1:
                self._out['cropped'].publish(fill(Image(header=header), np.ascontiguousarray(
                    image[y0:y1, x0:x1])))

    # ----------------------------------------------------------------------------------- space
    def curious(self):
        """Whether the person's dimensions are worth measuring in this image."""
        self._looked += 1
        return self._count < _SOON or self._looked % _NOW_AND_THEN == 0

    def know(self, measured, matched, now):
        """Take dimensions (14,) m; renew the URDF where it is off by now."""
        if matched or not self._count:
            self._count = min(self._count + 1, _MEMORY)
            self._mean += (measured - self._mean) / self._count
        if np.isfinite(self.dimensions).all() and (
                now - self._told < _PAUSE
                or np.abs(self._mean - self.dimensions).max() <= _CHANGE):
            return
        # to the micrometre, as the text has it: the angles are those of the text
        self.dimensions, self._told = np.round(self._mean, 6), now
        text = human_model.urdf(self._name, self.dimensions)
        self._out['urdf'].publish(String(data=text))
        if not self._node.has_parameter(self._parameter):
            self._node.declare_parameter(self._parameter, text, ParameterDescriptor(
                description='URDF of a body (REP-155)'))
        else:
            self._node.set_parameters([Parameter(self._parameter, value=text)])

    def publish_3d(self, header, person, posture, i, twist):
        """Publish joint_states, residual, position, velocity of the i-th of a posture."""
        residual = posture.residual[i, kinematics.MODELLED]
        self.residual = float(residual.max())
        if self._wanted('joint_states'):
            self._send('joint_states', header, posture.angles[i])
        if self._wanted('residual'):
            self._send('residual', header, residual)
        if self._wanted('position'):
            self._send('position', header, posture.position[i])
        if self._wanted('velocity') and np.isfinite(person.velocity).all():
            if twist is None:
                twist = body_state(person.joints, person.covariance, person.velocity,
                                   person.velocity_covariance)[2]
            self._send('velocity', header, twist)

    def close(self):
        """Close the topics and take back the parameter."""
        for publisher in self._out.values():
            self._node.destroy_publisher(publisher)
        if self._node.has_parameter(self._parameter):
            self._node.undeclare_parameter(self._parameter)

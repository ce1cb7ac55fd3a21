"""The topics of one person as REP-155 has them, and what is remembered of the person's build."""

import numpy as np
from geometry_msgs.msg import PointStamped, TwistStamped
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String

from .. import human_model, kinematics
from . import qos
from .images import fill
from .template import Patched

POINTS2D = 18
#: Topics below /humans/bodies/<id>/ and their quality of service.
TOPICS = {'roi': qos.RESULT, 'skeleton2d': qos.RESULT, 'joint_states': qos.RESULT,
          'residual': qos.RESULT, 'position': qos.RESULT, 'velocity': qos.RESULT,
          'cropped': qos.PICTURE, 'urdf': qos.LATCHED}
_MEMORY = 100      # measurements over which a person's dimensions are averaged:
_SOON, _NOW_AND_THEN = 30, 5   # in each of so many images, then in one of so many
_CHANGE = 0.01     # m; a new URDF is worth it from here on,
_SELDOM = 1.0      # s; but not more often than this
RESIDUAL_LINKS = [human_model.LINK_OF_JOINT[j] for j in kinematics.MODELLED]


def _position(header, array):
    message = PointStamped(header=header)
    message.point.x, message.point.y, message.point.z = array(3)
    return message


def _velocity(header, array):
    message = TwistStamped(header=header)
    v, w = message.twist.linear, message.twist.angular
    v.x, v.y, v.z, w.x, w.y, w.z = array(6)
    return message


class Body:
    """The topics of one person."""

    def __init__(self, node, messages, name):
        self._node, self._name, self.seen, self.residual = node, name, 0.0, float('nan')
        kinds = {'roi': messages.Region, 'skeleton2d': messages.Skeleton2D,
                 'joint_states': JointState, 'residual': JointState, 'position': PointStamped,
                 'velocity': TwistStamped, 'cropped': Image, 'urdf': String}
        self.out = {topic: node.create_publisher(
            kinds[topic], f'/humans/bodies/{name}/{topic}', profile)
            for topic, profile in TOPICS.items()}
        angles = [f'{a}_{name}' for a in human_model.ANGLES]
        links = [f'{n}_{name}' for n in RESIDUAL_LINKS]

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

        self.make = {topic: Patched(make) for topic, make in (
            ('roi', region), ('skeleton2d', skeleton), ('joint_states', states),
            ('residual', residuals), ('position', _position), ('velocity', _velocity))}
        self._parameter = f'human_description_{name}'
        self.dimensions = np.full(len(human_model.DIMENSIONS), np.nan)  # of the URDF, m
        self._mean, self._count, self._looked, self._told = 0.0, 0, 0, -np.inf

    def crop(self, header, box, image, size):
        """Publish the part of an image that a box (4,) px shows, where somebody wants it."""
        if not self.out['cropped'].get_subscription_count() or not np.isfinite(box).all():
            return
        x0, y0 = np.clip(np.floor(box[:2]), 0, None).astype(int)
        x1, y1 = np.clip(np.ceil(box[2:]) + 1, 0, size).astype(int)
        if x0 < x1 and y0 < y1:
            self.out['cropped'].publish(fill(Image(header=header), np.ascontiguousarray(
                image[y0:y1, x0:x1])))

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
                now - self._told < _SELDOM
                or np.abs(self._mean - self.dimensions).max() <= _CHANGE):
            return
        # to the micrometre, as the text has it: the angles are those of the text
        self.dimensions, self._told = np.round(self._mean, 6), now
        text = human_model.urdf(self._name, self.dimensions)
        self.out['urdf'].publish(String(data=text))
        if not self._node.has_parameter(self._parameter):
            self._node.declare_parameter(self._parameter, text, ParameterDescriptor(
                description='URDF of a body (REP-155)'))
        else:
            self._node.set_parameters([Parameter(self._parameter, value=text)])

    def close(self):
        """Close the topics and take back the parameter."""
        for publisher in self.out.values():
            self._node.destroy_publisher(publisher)
        if self._node.has_parameter(self._parameter):
            self._node.undeclare_parameter(self._parameter)

"""The node ``separation``: how far links of a robot are from the people around it.

No safety-rated device; see docs/arm.md.
"""

import importlib
import sys

import numpy as np
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from ..msg import LinkSeparation, Separation
from ..person import stacked
from ..prediction import known_velocity
from ..separation import LIMBS, WALK, capsules, nearest
from . import qos, spin
from .capsules import Scene, Shown
from .client import SkeletonListener
from .frames import Frames, NotThere

PARAMETERS = (
    ('frame', 'base_link', 'Frame of TF in which the distances and points are given.'),
    ('links', ['base_link'], 'Frames of the robot from which distances are taken.'),
    ('radii', [0.1], 'Radius in metres of a ball about each link\'s origin; one number for all.'),
    ('k_sigma', 2.0, 'Standard deviations by which people may be nearer than they seem.'),
    ('rate', 30.0, 'Messages per second.'),
    ('max_age', 0.5, 'Seconds after which people are too old: the state is then UNKNOWN.'),
    ('reaction_time', 0.1, 'Seconds the robot takes to react.'),
    ('stopping_time', 0.3, 'Seconds the robot takes to stop.'),
    ('human_speed', WALK, 'Least speed of people in metres per second for S_h (ISO 13855: 1.6).'),
    ('inflate', 0.0, 'Metres added to the radius of every limb.'),
    ('planning_scene', False, 'Publish people as moveit_msgs/PlanningScene differences.'),
)


class SeparationNode(Node):
    """See docs/topics.md."""

    def __init__(self, **options):
        super().__init__('separation', **options)
        self.values = v = {name: self.declare_parameter(name, default, ParameterDescriptor(
            description=text)).value for name, default, text in PARAMETERS}
        radii = list(v['radii']) * (len(v['links']) if len(v['radii']) == 1 else 1)
        if len(radii) != len(v['links']) or not v['links']:
            raise ValueError(f'{len(v["radii"])} radii for {len(v["links"])} links')
        if min(*radii, 0.0) < 0 or v['k_sigma'] < 0 or not 0 < v['rate'] <= 1000:
            raise ValueError('radii, k_sigma and rate must not be negative')
        self._radii = np.array(radii)
        self._frames = Frames(self)
        self._frames.listen()
        self._listener = SkeletonListener(self, 'skeletons', v['frame'], v['max_age'])
        self._out = qos.publisher(self, Separation, '~/separation', qos.RESULT)
        self._markers = qos.publisher(self, MarkerArray, '~/markers', qos.RESULT)
        self._shown, self._scene = Shown(), None
        if v['planning_scene']:
            try:
                messages = importlib.import_module('moveit_msgs.msg')
                self._scene = Scene(self, messages)
            except ImportError:
                self.get_logger().error('planning_scene is asked for, but moveit_msgs is not '
                                        'installed: there is none')
        self._last = None
        self.create_timer(1 / v['rate'], self._tick)

    def _tick(self):
        now = self.get_clock().now()
        msg = self.measure(now.nanoseconds)
        self._out.publish(msg)
        if msg.state == Separation.UNKNOWN and msg.reason != self._last:
            self.get_logger().warning(f'nothing is known of people: {msg.reason}')
        self._last = msg.reason

    def measure(self, now):
        """Separation message for a time in ns."""
        v = self.values
        header = Header(frame_id=v['frame'])
        header.stamp.sec, header.stamp.nanosec = divmod(now, 10 ** 9)
        msg = Separation(header=header, state=Separation.UNKNOWN, k_sigma=float(v['k_sigma']),
                         age=float('nan'))
        msg.links = [_unknown(name) for name in v['links']]
        seen = self._listener.predict(now)
        if seen is None:
            msg.reason = self._listener.reason
            return self._done(msg, [])
        msg.age = seen.age
        people = [p for p in seen.people if np.isfinite(p.joints).all()
                  and np.isfinite(p.covariance).all()]
        if len(people) < len(seen.people):
            msg.reason = 'a person without a position in metres: is the camera calibrated?'
            return self._done(msg, people)
        try:
            points = np.array([self._origin(name, now) for name in v['links']])
        except NotThere as error:
            msg.reason = str(error)
            return self._done(msg, people)
        msg.state = Separation.PEOPLE if people else Separation.NOBODY
        limbs = self._limbs(people)
        self._fill(msg, people, *(nearest(points, self._radii, limbs, k)
                                  for k in (0.0, v['k_sigma'])))
        return self._done(msg, people, limbs)

    def _limbs(self, people):
        joints, covariance, velocity, spread = stacked(people)
        return capsules(joints, covariance, *known_velocity(velocity, spread),
                        self.values['inflate'])

    def _origin(self, link, now):
        """Where a link is: at ``now``, or as lately as TF has it within a tenth of a second."""
        for back in (0.0, 0.02, 0.05, 0.1):
            try:
                return self._frames.lookup(self.values['frame'], link, now - int(1e9 * back))[1]
            except NotThere as error:
                if not error.later or back == 0.1:
                    raise
        return None

    def _fill(self, msg, people, likely, sure):
        v = self.values
        time = v['reaction_time'] + v['stopping_time']
        for n, link in enumerate(msg.links):
            link.distance, link.distance_sigma = likely.distance[n], sure.distance[n]
            link.s_h = v['human_speed'] * time
            if not people:
                continue
            link.person, link.limb = people[likely.person[n]].id, LIMBS[likely.limb[n]]
            link.person_sigma, link.limb_sigma = people[sure.person[n]].id, LIMBS[sure.limb[n]]
            for point, value in ((link.robot_point, likely.robot), (link.person_point,
                                 likely.human), (link.robot_point_sigma, sure.robot),
                                 (link.person_point_sigma, sure.human)):
                point.x, point.y, point.z = value[n].tolist()
            link.z_d, link.speed = float(sure.z_d[n]), float(sure.speed[n])
            link.s_h = max(v['human_speed'], link.speed) * time

    def _done(self, msg, people, limbs=None):
        if self._scene is not None or self._markers.get_subscription_count():
            limbs = self._limbs(people) if limbs is None else limbs
            names = [p.id for p in people]
            if self._markers.get_subscription_count():
                self._markers.publish(self._shown.markers(msg, names, limbs))
            if self._scene is not None and msg.state != Separation.UNKNOWN:
                self._scene.publish(msg.header, names, limbs, msg.k_sigma)
        return msg

    def close(self):
        """End."""
        self._listener.close()
        self._frames.close()


def _unknown(name):
    nan = float('nan')
    out = LinkSeparation(link=name, distance=nan, distance_sigma=nan, z_d=nan, speed=nan, s_h=nan)
    for point in (out.robot_point, out.person_point, out.robot_point_sigma,
                  out.person_point_sigma):
        point.x = point.y = point.z = nan
    return out


def main(args=None):
    """Run the node; returns the exit status."""
    return spin.run(SeparationNode, args)


if __name__ == '__main__':
    sys.exit(main())

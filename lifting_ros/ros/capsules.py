"""People as capsules: markers to look at, and objects of MoveIt's planning scene."""

import numpy as np
from geometry_msgs.msg import Point, Pose
from shape_msgs.msg import SolidPrimitive
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from ..separation import LIMBS
from . import qos
from .shapes import quaternions


def poses(limbs):
    """Poses of capsules with z along them: middles (N, L, 3), quaternions (N, L, 4), lengths."""
    along = limbs.second - limbs.first
    length = np.linalg.norm(along, axis=-1)
    z = np.where(length[..., None] > 1e-6, along / np.maximum(length, 1e-9)[..., None],
                 [0.0, 0, 1])
    other = np.where(np.abs(z[..., :1]) < 0.8, [1.0, 0, 0], [0.0, 1, 0])
    x = np.cross(other, z)
    x = x / np.linalg.norm(x, axis=-1, keepdims=True)
    turn = np.stack((x, np.cross(z, x), z), -1)
    return (limbs.first + limbs.second) / 2, quaternions(turn), length


class Shown:
    """Markers of capsules (cylinders and balls at their ends) and of the nearest pair."""

    def __init__(self):
        """Start with nothing on display."""
        self._count = 0

    def markers(self, msg, names, limbs):
        """MarkerArray for a Separation message and the capsules of its people."""
        out, number = [], 0
        if names:
            middles, turns, lengths = poses(limbs)
            ends = np.stack((limbs.first, limbs.second), 2)
        for n in range(len(names)):
            for limb in range(len(LIMBS)):
                size = 2 * float(limbs.radius[n, limb])
                for ball in ends[n, limb]:
                    out.append(self._marker(msg, number, Marker.SPHERE, ball, (0, 0, 0, 1),
                                            (size, size, size)))
                    number += 1
                out.append(self._marker(msg, number, Marker.CYLINDER, middles[n, limb],
                                        turns[n, limb], (size, size, lengths[n, limb])))
                number += 1
        gone = [Marker(header=msg.header, ns='capsules', id=i, action=Marker.DELETE)
                for i in range(number, self._count)]
        self._count = number
        return MarkerArray(markers=out + gone + [self._lines(msg)])

    @staticmethod
    def _marker(msg, number, kind, place, turn, size):
        m = Marker(header=msg.header, ns='capsules', id=number, type=kind, action=Marker.ADD)
        p, q, s = m.pose.position, m.pose.orientation, m.scale
        p.x, p.y, p.z = (float(x) for x in place)
        q.x, q.y, q.z, q.w = (float(x) for x in turn)
        s.x, s.y, s.z = (float(x) for x in size)
        m.color, m.lifetime.sec = ColorRGBA(r=1.0, g=0.6, b=0.1, a=0.35), 1
        return m

    @staticmethod
    def _lines(msg):
        m = Marker(header=msg.header, ns='nearest', id=0, type=Marker.LINE_LIST,
                   action=Marker.ADD)
        m.pose.orientation.w, m.scale.x, m.lifetime.sec = 1.0, 0.01, 1
        m.color = ColorRGBA(r=1.0, g=0.1, b=0.1, a=1.0)
        for link in msg.links:
            if np.isfinite((link.robot_point_sigma.x, link.person_point_sigma.x)).all():
                m.points += [link.robot_point_sigma, link.person_point_sigma]
        if not m.points:
            m.action = Marker.DELETE
        return m


class Scene:
    """Publishes people as collision objects, on the topic planning_scene.

    Args:
        node: rclpy node; messages: the module moveit_msgs.msg.
    """

    def __init__(self, node, messages):
        self._messages, self._there = messages, set()
        self._out = qos.publisher(node, messages.PlanningScene, 'planning_scene', qos.RESULT)

    def publish(self, header, names, limbs, k):
        """One object a person: a cylinder a limb, and a ball at its far end, grown by k sigma."""
        kinds, objects = self._messages, []
        middles, turns, lengths = poses(limbs)
        wide = np.sqrt(np.linalg.eigvalsh(limbs.spread).max(-1).max(-1)) if names else []
        for n, name in enumerate(names):
            thing = kinds.CollisionObject(header=header, id=f'person_{name}')
            thing.operation = kinds.CollisionObject.ADD  # of an id that is there: replaces it
            thing.pose.orientation.w = 1.0
            for limb in range(len(LIMBS)):
                radius = float(limbs.radius[n, limb] + k * wide[n, limb])
                if lengths[n, limb] > 1e-3:
                    self._add(thing, SolidPrimitive.CYLINDER, [float(lengths[n, limb]), radius],
                              middles[n, limb], turns[n, limb])
                self._add(thing, SolidPrimitive.SPHERE, [radius], limbs.second[n, limb],
                          (0, 0, 0, 1))
            objects.append(thing)
        gone = self._there - set(names)
        for name in sorted(gone):
            objects.append(kinds.CollisionObject(
                header=header, id=f'person_{name}', operation=kinds.CollisionObject.REMOVE))
        self._there = set(names)
        if objects:
            scene = kinds.PlanningScene(is_diff=True)
            scene.robot_state.is_diff = True
            scene.world.collision_objects = objects
            self._out.publish(scene)

    @staticmethod
    def _add(thing, kind, sizes, place, turn):
        pose = Pose(position=Point(**dict(zip('xyz', map(float, place)))))
        q = pose.orientation
        q.x, q.y, q.z, q.w = (float(x) for x in turn)
        thing.primitives.append(SolidPrimitive(type=kind, dimensions=sizes))
        thing.primitive_poses.append(pose)

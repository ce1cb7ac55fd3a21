"""People as visualization_msgs/MarkerArray, for RViz and Foxglove."""

import numpy as np
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from ..drawing import bone_colour
from ..skeleton import BONES, HEAD_TOP, JOINTS

#: namespaces; a person has one marker in each
BONE, JOINT, LABEL = 'bones', 'joints', 'labels'


def _colour(joint, alpha=1.0):
    b, g, r = bone_colour(joint)
    return ColorRGBA(r=r / 255, g=g / 255, b=b / 255, a=float(alpha))


_COLOURS = [_colour(j) for j in range(len(JOINTS))]
_FAINT = [_colour(j, 0.35) for j in range(len(JOINTS))]


class Markers:
    """Remembers which people are on display, so that those who leave are deleted."""

    def __init__(self):
        """Start with nobody on display."""
        self._shown = {}  # id of a person -> number of its markers, the same all along
        self._next = 0

    def update(self, people, header, lifetime):
        """Markers of the people of an image, and the deletion of those no longer there.

        Args:
            people: list of :class:`~lifting_ros.person.Person`; those without positions are not
                shown.
            header: of the image.
            lifetime: seconds until a viewer drops markers that are not renewed.

        Returns:
            MarkerArray: for each person bones (LINE_LIST), joints (SPHERE_LIST) and a label.
        """
        markers, shown = [], {}
        for person in people:
            points = np.asarray(person.joints, dtype=np.float64)
            if not np.isfinite(points).all():
                continue
            number = self._shown.get(person.id)
            if number is None:
                number, self._next = self._next, (self._next + 1) % 2**31
            shown[person.id] = number
            markers += self._person(person, points, number, header, lifetime)
        for name, number in self._shown.items():
            if name not in shown:
                markers += [Marker(header=header, ns=ns, id=number, action=Marker.DELETE)
                            for ns in (BONE, JOINT, LABEL)]
        self._shown = shown
        return MarkerArray(markers=markers)

    def _person(self, person, points, number, header, lifetime):
        spots = [Point(x=p[0], y=p[1], z=p[2]) for p in points.tolist()]
        colours = _COLOURS if person.matched else _FAINT

        def marker(ns, kind, size):
            m = Marker(header=header, ns=ns, id=number, type=kind, action=Marker.ADD)
            m.pose.orientation.w = 1.0
            m.scale.x = m.scale.y = m.scale.z = size
            m.lifetime.sec = int(lifetime)
            m.lifetime.nanosec = int(1e9 * (lifetime - int(lifetime)))
            return m

        bones = marker(BONE, Marker.LINE_LIST, 0.03)
        bones.points = [spots[j] for bone in BONES for j in bone]
        bones.colors = [colours[child] for child, _ in BONES for _ in range(2)]
        joints = marker(JOINT, Marker.SPHERE_LIST, 0.06)
        joints.points, joints.colors = spots, list(colours)
        label = marker(LABEL, Marker.TEXT_VIEW_FACING, 0.15)
        label.text = f'{person.id} {person.confidence:.2f}'
        top = points[HEAD_TOP]
        label.pose.position = Point(x=float(top[0]), y=float(top[1]) - 0.15, z=float(top[2]))
        label.color = ColorRGBA(r=1.0, g=1.0, b=1.0, a=0.9)
        return [bones, joints, label]

    def clear(self, header):
        """Delete whoever is on display. Returns a MarkerArray."""
        return self.update([], header, 1.0)

"""People as visualization_msgs/MarkerArray, for RViz and Foxglove.

Namespaces, and the ids in them: ``bones``, ``joints``, ``labels`` and ``velocities`` have the
person's number; ``ellipsoids`` have 17 times that plus the joint. A person keeps its number all
along.
"""

import numpy as np
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from ..drawing import bone_colour
from ..matrices import dot
from ..skeleton import BONES, HEAD_TOP, INDEX, JOINTS, NECK, NUM_JOINTS, PELVIS
from .body_states import BodyStates
from .shapes import arrows, ellipsoids, trust
from .template import Marks, Template

BONE, JOINT, LABEL, VELOCITY, ELLIPSOID = ('bones', 'joints', 'labels', 'velocities',
                                           'ellipsoids')
#: Joints whose velocity is drawn.
MOVING = (PELVIS, HEAD_TOP, *(INDEX[s + n] for s in ('left_', 'right_')
                              for n in ('elbow', 'wrist', 'knee', 'ankle')))
_FAINTEST = 0.2       # opacity of what is not trusted at all
_COLOURS = np.array([bone_colour(j)[::-1] for j in range(NUM_JOINTS)]) / 255  # r g b
_MOVING = np.array(MOVING)
_CHILDREN = [child for child, _ in BONES]


class _Drawing:
    """The people of an image as arrays, and a key of everything in them that is no number."""

    def __init__(self, people, sigmas, velocities, states):
        # the order of people in the answers changes with their confidence; here it must not
        order = sorted((i for i, known in enumerate(states.placed.tolist()) if known),
                       key=lambda i: people[i].id)
        people, n = [people[i] for i in order], len(order)
        order = np.array(order, int)
        self.names = [p.id for p in people]
        self.texts = [f'{p.id} {p.confidence:.2f}' for p in people]
        self.joints = states.joints.take(order, 0)
        self.alpha = _FAINTEST + (1 - _FAINTEST) * trust(
            states.keypoint_confidence.take(order, 0),
            np.array([p.source for p in people], int).reshape(n, NUM_JOINTS),
            [p.matched for p in people])
        self.faint = 0.25 * self.alpha
        up = self.joints[:, HEAD_TOP] - self.joints[:, NECK]
        self.tops = self.joints[:, HEAD_TOP] + 0.15 * up / np.maximum(
            np.sqrt(dot(up, up)), 1e-6)[:, None]
        self.moving = np.zeros(n, bool)
        self.lines = np.zeros((n, 6 * len(MOVING), 3))
        self.visible = np.zeros((n, NUM_JOINTS), bool)
        self.axes = np.zeros((n, NUM_JOINTS, 7))
        if velocities and n:
            self.moving = states.moving.take(order)
            self.lines = arrows(
                self.joints.take(_MOVING, 1),
                states.velocity.take(order, 0).take(_MOVING, 1)).reshape(n, -1, 3)
        if sigmas > 0 and n:
            self.axes[..., :3], self.axes[..., 3:] = ellipsoids(
                states.covariance.take(order, 0), sigmas)
            self.visible = np.isfinite(self.axes[..., 0])
        self.key = (tuple(self.names), tuple(len(t) for t in self.texts), self.moving.tobytes(),
                    self.visible.tobytes())

    def values(self):
        """All numbers in one row, in the order of :meth:`marks`."""
        some = [values if known.all() else values[known] for values, known in (
            (self.lines, self.moving), (self.axes, self.visible), (self.faint, self.visible))]
        return np.concatenate([a.ravel() for a in (self.joints, self.alpha, self.tops, *some)])

    def rows(self):
        """For each person what :meth:`_Shown.update` takes, as lists."""
        return zip(self.joints.tolist(), self.alpha.tolist(), self.tops.tolist(), self.texts,
                   _or_none(self.lines.tolist(), self.moving),
                   [_or_none(axes, seen) for axes, seen in zip(self.axes.tolist(), self.visible)],
                   self.faint.tolist())

    def marks(self, marks):
        """As :meth:`rows`, with marks in the place of the numbers."""
        n = len(self.names)
        joints, alpha = marks.array(*self.joints.shape), marks.array(*self.alpha.shape)
        tops = marks.array(*self.tops.shape)
        lines = [marks.array(*self.lines.shape[1:]) if moving else None for moving in self.moving]
        axes = [[marks.array(7) if seen else None for seen in row] for row in self.visible]
        faint = [[marks.number() if seen else None for seen in row] for row in self.visible]
        texts = [marks.text(len(t)) for t in self.texts]
        return zip(joints, alpha, tops, texts, lines, axes, faint) if n else ()


def _or_none(values, known):
    return [v if k else None for v, k in zip(values, known)]


class Markers:
    """Remembers who is on display: the same marker is changed all along, and deleted at the end.

    The markers are made once and filled again with each image: publish (or copy) an array before
    the next call.
    """

    def __init__(self):
        """Start with nobody on display."""
        self._shown = {}  # id of a person -> _Shown
        self._next, self._stamp, self._pause = 0, None, 0.0
        self._key, self._template = None, None

    def update(self, people, header, lifetime, sigmas=0.0, velocities=True, states=None):
        """Markers of the people of an image, and the deletion of those no longer there.

        Args:
            people: list of :class:`~lifting_ros.person.Person`; those without positions are not
                shown.
            header: of the image.
            lifetime: seconds until a viewer drops markers that are not renewed; more where
                images come at longer intervals, so that nothing blinks.
            sigmas: size of the ellipsoids in standard deviations; 0: none.
            velocities: draw arrows.
            states: :class:`~lifting_ros.ros.body_states.BodyStates` of the people, where they
                are there already.

        Returns:
            MarkerArray: for each person bones (LINE_LIST), joints (SPHERE_LIST), a label, arrows
            (LINE_LIST) where its velocity is known, and ellipsoids (SPHERE) where asked for.
        """
        drawing = _Drawing(people, sigmas, velocities, states or BodyStates(people))
        return self._array(drawing, header, self._lifetime(header, lifetime))

    def render(self, people, header, lifetime, sigmas=0.0, velocities=True, states=None):
        """As :meth:`update`, but bytes wherever nothing but numbers changed since the last call.

        rclpy publishes either; bytes cost a tenth.
        """
        drawing = _Drawing(people, sigmas, velocities, states or BodyStates(people))
        lifetime = self._lifetime(header, lifetime)
        if (header.frame_id, lifetime, drawing.key) != self._key or self._template is False:
            return self._array(drawing, header, lifetime)
        if self._template is None:
            marks = Marks()
            try:
                message = self._fill(drawing.names, drawing.marks(marks),
                                     marks.header(header.frame_id), lifetime)
                self._template = Template(MarkerArray(markers=message), marks)
            except ValueError:
                self._template = False
                return self._array(drawing, header, lifetime)
        return self._template.fill(header.stamp, drawing.values(),
                                   [text.encode() for text in drawing.texts])

    def _array(self, drawing, header, lifetime):
        key = (header.frame_id, lifetime, drawing.key)
        if key != self._key:
            self._key, self._template = key, None
        shown = {}
        for name in drawing.names:
            figure = self._shown.get(name)
            if figure is None:
                figure, self._next = _Shown(self._next), (self._next + 1) % 2**26
            shown[name] = figure
        gone = [m for name, figure in self._shown.items() if name not in shown
                for m in figure.delete(header)]
        self._shown = shown
        return MarkerArray(markers=self._fill(drawing.names, drawing.rows(), header, lifetime)
                           + gone)

    def _fill(self, names, rows, header, lifetime):
        return [m for name, row in zip(names, rows)
                for m in self._shown[name].update(header, lifetime, *row)]

    def _lifetime(self, header, least):
        """Seconds; in steps, for it is no number that changes with every image."""
        needed = 3 * self._interval(header.stamp)
        return least if needed <= least else float(np.ceil(2 * needed) / 2)

    def _interval(self, stamp):
        """Seconds between images, lately."""
        now, last = stamp.sec + 1e-9 * stamp.nanosec, self._stamp
        self._stamp = now
        if last is not None and 0 < now - last < 10:
            self._pause = max(now - last, 0.9 * self._pause)
        return self._pause

    def clear(self, header):
        """Delete whoever is on display. Returns a MarkerArray."""
        return self.update([], header, 1.0)


def _place(points, spots):
    for point, (x, y, z) in zip(points, spots):
        point.x, point.y, point.z = x, y, z


class _Shown:
    """The markers of a person on display."""

    def __init__(self, number):
        self._number = number
        self._points = [Point() for _ in JOINTS]
        self._colours = [ColorRGBA(r=r, g=g, b=b) for r, g, b in _COLOURS.tolist()]
        self._bones = self._marker(BONE, number, Marker.LINE_LIST, 0.03)
        self._bones.points = [self._points[j] for bone in BONES for j in bone]
        self._bones.colors = [self._colours[child] for child in _CHILDREN for _ in range(2)]
        self._joints = self._marker(JOINT, number, Marker.SPHERE_LIST, 0.06)
        self._joints.points, self._joints.colors = self._points, self._colours
        self._label = self._marker(LABEL, number, Marker.TEXT_VIEW_FACING, 0.15)
        self._label.color = ColorRGBA(r=1.0, g=1.0, b=1.0, a=0.9)
        self._arrows, self._ellipsoids = None, None
        self._visible = set()   # of the ellipsoids

    @staticmethod
    def _marker(ns, number, kind, size):
        m = Marker(ns=ns, id=number, type=kind, action=Marker.ADD)
        m.pose.orientation.w = 1.0
        m.scale.x = m.scale.y = m.scale.z = size
        return m

    def update(self, header, lifetime, spots, alpha, top, text, lines, axes, faint):
        """Return the list of markers, those to delete among them."""
        _place(self._points, spots)
        for colour, a in zip(self._colours, alpha):
            colour.a = a
        p = self._label.pose.position
        (p.x, p.y, p.z), self._label.text = top, text
        out = [self._bones, self._joints, self._label]
        if lines is not None:
            out.append(self._arrow_marker(lines))
        elif self._arrows is not None:
            out.append(self._gone(header, self._arrows))
            self._arrows = None
        sec, nanosec = int(lifetime), int(1e9 * (lifetime - int(lifetime)))
        deleted = []
        if self._visible or any(a is not None for a in axes):
            deleted = self._ellipsoid_markers(header, spots, axes, faint, out)
        for m in out:
            m.header, m.lifetime.sec, m.lifetime.nanosec = header, sec, nanosec
        return out + deleted

    def _arrow_marker(self, lines):
        if self._arrows is None:
            self._arrows = self._marker(VELOCITY, self._number, Marker.LINE_LIST, 0.015)
            self._arrows.color = ColorRGBA(r=1.0, g=0.85, b=0.1, a=0.9)
            self._arrows.points = [Point() for _ in lines]
        _place(self._arrows.points, lines)
        return self._arrows

    def _ellipsoid_markers(self, header, spots, axes, faint, out):
        if self._ellipsoids is None:
            self._ellipsoids = []
            for j in range(NUM_JOINTS):
                m = self._marker(ELLIPSOID, NUM_JOINTS * self._number + j, Marker.SPHERE, 0.0)
                m.color.r, m.color.g, m.color.b = _COLOURS[j].tolist()
                self._ellipsoids.append(m)
        visible = set()
        for j, (m, spot, axis, a) in enumerate(zip(self._ellipsoids, spots, axes, faint)):
            if axis is None:
                continue
            visible.add(j)
            p, q, s = m.pose.position, m.pose.orientation, m.scale
            p.x, p.y, p.z = spot
            s.x, s.y, s.z, q.x, q.y, q.z, q.w = axis
            m.color.a = a
            out.append(m)
        gone = self._visible - visible
        self._visible = visible
        return [self._gone(header, self._ellipsoids[j]) for j in sorted(gone)]

    @staticmethod
    def _gone(header, marker):
        return Marker(header=header, ns=marker.ns, id=marker.id, action=Marker.DELETE)

    def delete(self, header):
        """Return the markers that delete everything of the person."""
        shown = [self._bones, self._joints, self._label]
        shown += [self._arrows] if self._arrows is not None else []
        shown += [self._ellipsoids[j] for j in sorted(self._visible)]
        return [self._gone(header, m) for m in shown]

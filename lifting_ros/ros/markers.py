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
from ..person import Source
from ..skeleton import BONES, HEAD_TOP, INDEX, JOINTS, NECK, NUM_JOINTS, PELVIS

BONE, JOINT, LABEL, VELOCITY, ELLIPSOID = ('bones', 'joints', 'labels', 'velocities',
                                           'ellipsoids')
#: Joints whose velocity is drawn, and over how long: an arrow ends where the joint would be.
MOVING = (PELVIS, HEAD_TOP, *(INDEX[s + n] for s in ('left_', 'right_')
                              for n in ('elbow', 'wrist', 'knee', 'ankle')))
AHEAD = 0.4           # s
_FAINTEST = 0.2       # opacity of what is not trusted at all
_LONGEST = 1.5        # m; an ellipsoid or arrow is never drawn larger
_COLOURS = np.array([bone_colour(j)[::-1] for j in range(NUM_JOINTS)]) / 255  # r g b
_CHILDREN = [child for child, _ in BONES]


def trust(people):
    """How far the joints may be trusted: (N, 17) in 0..1.

    A joint that is seen: its confidence in the image, doubled. One that is not, 0.2. A person that
    is only predicted: half of that.
    """
    if not people:
        return np.zeros((0, NUM_JOINTS))
    seen = 2 * np.array([p.keypoint_confidence for p in people], dtype=np.float64)
    source = np.array([p.source for p in people])
    hidden = (source == Source.LIFTED) | (source == Source.PREDICTED) | (seen <= 0)
    out = np.where(hidden, 0.2, np.clip(seen, 0.2, 1.0))
    return out * np.array([1.0 if p.matched else 0.5 for p in people])[:, None]


def quaternions(rotation):
    """(..., 4) unit quaternions x y z w of rotations (..., 3, 3)."""
    r = np.asarray(rotation)
    xx, yy, zz = r[..., 0, 0], r[..., 1, 1], r[..., 2, 2]
    # squares of four times each component; the largest one is the safe divisor
    squares = np.stack((1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz, 1 + xx + yy + zz),
                       axis=-1)
    a, b, c = (r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0],
               r[..., 1, 0] - r[..., 0, 1])
    d, e, f = (r[..., 1, 0] + r[..., 0, 1], r[..., 0, 2] + r[..., 2, 0],
               r[..., 2, 1] + r[..., 1, 2])
    sx, sy, sz, sw = np.moveaxis(squares, -1, 0)
    rows = np.stack((np.stack((sx, d, e, a), -1), np.stack((d, sy, f, b), -1),
                     np.stack((e, f, sz, c), -1), np.stack((a, b, c, sw), -1)), axis=-2)
    best = squares.argmax(-1)[..., None, None]
    row = np.take_along_axis(rows, best, axis=-2)[..., 0, :]
    return row / np.linalg.norm(row, axis=-1, keepdims=True)


def ellipsoids(covariance, sigmas):
    """Axes of the ellipsoids of covariances.

    Args:
        covariance: (..., 3, 3) m^2; NaN where unknown.
        sigmas: standard deviations that the half axes are long.

    Returns:
        diameters (..., 3) m, at least 1 mm; quaternions (..., 4); NaN where unknown.
    """
    covariance = np.asarray(covariance, dtype=np.float64)
    known = np.isfinite(covariance).all(axis=(-1, -2))
    values, vectors = np.linalg.eigh(np.where(known[..., None, None], covariance, 0.0))
    vectors[..., 0] *= np.sign(np.linalg.det(vectors))[..., None]  # a rotation, no reflection
    size = np.clip(2 * sigmas * np.sqrt(np.maximum(values, 0)), 0.001, _LONGEST)
    q = quaternions(vectors)
    return np.where(known[..., None], size, np.nan), np.where(known[..., None], q, np.nan)


def arrows(joints, velocity):
    """Arrows of lines: a shaft, and two barbs at its end.

    Args:
        joints: (..., 3) m; velocity: (..., 3) m/s.

    Returns:
        (..., 6, 3) m: three segments; of no length where a velocity is unknown.
    """
    shaft = AHEAD * np.asarray(velocity, dtype=np.float64)
    shaft = np.where(np.isfinite(shaft).all(-1, keepdims=True), shaft, 0.0)
    length = np.linalg.norm(shaft, axis=-1, keepdims=True)
    shaft = shaft * np.minimum(1.0, _LONGEST / np.maximum(length, 1e-9))
    across = np.cross(shaft, [0.0, 0, 1])
    level = np.linalg.norm(across, axis=-1, keepdims=True) < 0.1 * length
    across = np.where(level, np.cross(shaft, [0.0, 1, 0]), across)
    end, barb = joints + shaft, joints + 0.8 * shaft
    return np.stack((joints, end, end, barb + 0.12 * across, end, barb - 0.12 * across), axis=-2)


class Markers:
    """Remembers who is on display: the same marker is changed all along, and deleted at the end.

    The markers are made once and filled again with each image: publish (or copy) an array before
    the next call.
    """

    def __init__(self):
        """Start with nobody on display."""
        self._shown = {}  # id of a person -> _Shown
        self._next, self._stamp, self._pause = 0, None, 0.0

    def update(self, people, header, lifetime, sigmas=0.0, velocities=True):
        """Markers of the people of an image, and the deletion of those no longer there.

        Args:
            people: list of :class:`~lifting_ros.person.Person`; those without positions are not
                shown.
            header: of the image.
            lifetime: seconds until a viewer drops markers that are not renewed; more where
                images come at longer intervals, so that nothing blinks.
            sigmas: size of the ellipsoids in standard deviations; 0: none.
            velocities: draw arrows.

        Returns:
            MarkerArray: for each person bones (LINE_LIST), joints (SPHERE_LIST), a label, arrows
            (LINE_LIST) where its velocity is known, and ellipsoids (SPHERE) where asked for.
        """
        people = [p for p in people if np.isfinite(p.joints).all()]
        lifetime = max(lifetime, 3 * self._interval(header.stamp))
        out, shown = [], {}
        if people:
            joints = np.array([p.joints for p in people], dtype=np.float64)
            alpha = _FAINTEST + (1 - _FAINTEST) * trust(people)
            up = joints[:, HEAD_TOP] - joints[:, NECK]
            tops = joints[:, HEAD_TOP] + 0.15 * up / np.maximum(
                np.linalg.norm(up, axis=1, keepdims=True), 1e-6)
            lines, axes = [None] * len(people), [None] * len(people)
            if velocities:
                speed = np.array([p.velocity for p in people], dtype=np.float64)
                known = np.isfinite(speed).all(axis=(1, 2))
                moving = list(MOVING)
                drawn = arrows(joints[:, moving], speed[:, moving]).reshape(len(people), -1, 3)
                lines = [line if good else None for line, good in zip(drawn.tolist(), known)]
            if sigmas > 0:
                size, turn = ellipsoids(np.array([p.covariance for p in people]), sigmas)
                axes = np.concatenate((size, turn), axis=-1).tolist()
            for i, (spots, person) in enumerate(zip(joints.tolist(), people)):
                figure = self._shown.get(person.id)
                if figure is None:
                    figure, self._next = _Shown(self._next), (self._next + 1) % 2**26
                shown[person.id] = figure
                text = f'{person.id} {person.confidence:.2f}'
                out += figure.update(header, lifetime, spots, alpha[i].tolist(), tops[i].tolist(),
                                     text, lines[i], axes[i])
        for name, figure in self._shown.items():
            if name not in shown:
                out += figure.delete(header)
        self._shown = shown
        return MarkerArray(markers=out)

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

    def update(self, header, lifetime, spots, alpha, top, text, lines, axes):
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
        if axes is not None:
            deleted = self._ellipsoid_markers(header, spots, alpha, axes, out)
        elif self._ellipsoids is not None:
            deleted = [self._gone(header, self._ellipsoids[j]) for j in sorted(self._visible)]
            self._ellipsoids, self._visible = None, set()
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

    def _ellipsoid_markers(self, header, spots, alpha, axes, out):
        if self._ellipsoids is None:
            self._ellipsoids = []
            for j in range(NUM_JOINTS):
                m = self._marker(ELLIPSOID, NUM_JOINTS * self._number + j, Marker.SPHERE, 0.0)
                m.color.r, m.color.g, m.color.b = _COLOURS[j].tolist()
                self._ellipsoids.append(m)
        visible = set()
        for j, (m, spot, (sx, sy, sz, qx, qy, qz, qw), a) in enumerate(
                zip(self._ellipsoids, spots, axes, alpha)):
            if sx != sx:   # NaN: not known
                continue
            visible.add(j)
            p, q, s = m.pose.position, m.pose.orientation, m.scale
            p.x, p.y, p.z = spot
            q.x, q.y, q.z, q.w = qx, qy, qz, qw
            s.x, s.y, s.z, m.color.a = sx, sy, sz, 0.25 * a
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

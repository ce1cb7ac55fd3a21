"""What the node says on /tf: a frame for each person, and one to look at them from."""

import numpy as np
from geometry_msgs.msg import TransformStamped
from std_msgs.msg import Header

from ..lifting.frames import LEVEL, upright
from ..rigid import matrix
from ..skeleton import JOINTS, PELVIS
from . import compat
from .template import Patched

_KEPT = 8
_SAME = np.cos(np.radians(2.0))     # directions of gravity nearer than this are one


class Transforms:
    """Broadcasts transforms of a node, where the packages for that are installed."""

    def __init__(self, node):
        self._node, self._people, self._static, self._view = node, None, None, None
        self._patched = {}      # for who is there, in one way or another

    def people(self, header, people, quaternions, joints=False):
        """Broadcast body_<id> at the pelvis of each person, in the frame of a header.

        Args:
            header: of the positions.
            people: list of :class:`~lifting_ros.person.Person`.
            quaternions: (N, 4) x y z w of their bodies; NaN where unknown.
            joints: broadcast <joint>_<id> of every joint too: children of body_<id>, with its
                axes.

        Returns:
            False where it cannot be done: neither tf2_ros nor tf2_msgs is installed.
        """
        if self._people is None:
            broadcaster = compat.transform_broadcaster(self._node)
            if broadcaster is None:
                return False
            # broadcasters take messages only; this is where theirs go (tf2_ros', the stand-in's)
            self._people = (getattr(broadcaster, 'pub_tf', None)
                            or broadcaster._publisher)
        if not people:
            return True
        # the order of people in the answers changes with their confidence
        order = sorted(range(len(people)), key=lambda i: people[i].id)
        people = [people[i] for i in order]
        spots = np.array([p.joints for p in people], np.float64)
        values = np.concatenate((spots[:, PELVIS], np.asarray(quaternions)[order]), 1)
        good = np.isfinite(values.sum(1))
        if not good.all():
            people = [p for p, known in zip(people, good) if known]
            spots, values = spots[good], values[good]
        names, known = tuple([p.id for p in people]), None
        if joints and names:
            turns = np.array([matrix(q) for q in values[:, 3:]])
            inside = (spots - spots[:, PELVIS, None]) @ turns
            known = np.isfinite(inside.sum(-1))
            values = np.concatenate([np.concatenate((row, each[seen].ravel()))
                                     for row, each, seen in zip(values, inside, known)])
        if names:
            self._people.publish(self._message(names, known).message(header, values.ravel()))
        return True

    def _message(self, names, known):
        """What is patched for people of these names, and their joints (N, 17) or None."""
        key = names, None if known is None else known.tobytes()
        if key not in self._patched:
            if len(self._patched) >= _KEPT:
                self._patched.clear()
            self._patched[key] = Patched(lambda header, array: compat.TFMessage(
                transforms=_frames(header, array, names, known)))
        return self._patched[key]

    def view(self, header, name, up):
        """Broadcast once a frame at the camera with x ahead, y left and z up, a child of the
        images' frame: viewers turn about z, and people stand in it.

        Args:
            header: of an image.
            name: of the frame.
            up: (3,) against gravity in the optical frame, or None: a level camera.

        Returns:
            as :meth:`people`.
        """
        up = LEVEL if up is None else up
        # what is estimated moves by fractions of a degree all the time: no reason to turn the view
        if self._view is not None:
            *same, last = self._view
            if same == [header.frame_id, name] and np.dot(up, last) > _SAME * np.linalg.norm(up):
                return True
        if self._static is None:
            self._static = compat.transform_broadcaster(self._node, static=True)
            if self._static is None:
                return False
        self._view = (header.frame_id, name, up / np.linalg.norm(up))
        turn = np.eye(4)
        turn[:3, :3] = upright(up[None], np.array([[0.0, 0, 1]]))[0].T
        t = TransformStamped(header=header, child_frame_id=name)
        q = t.transform.rotation
        q.x, q.y, q.z, q.w = compat.quaternion_from_matrix(turn).tolist()
        self._static.sendTransform([t])
        return True


def _frames(header, array, names, known):
    """TransformStamped of the bodies of people, each followed by its joints."""
    out = []
    for i, name in enumerate(names):
        t = TransformStamped(header=header, child_frame_id=f'body_{name}')
        p, q = t.transform.translation, t.transform.rotation
        p.x, p.y, p.z, q.x, q.y, q.z, q.w = array(7)
        out.append(t)
        below = Header(stamp=header.stamp, frame_id=f'body_{name}')
        for joint, seen in zip(JOINTS, () if known is None else known[i]):
            if seen:
                t = TransformStamped(header=below, child_frame_id=f'{joint}_{name}')
                p = t.transform.translation
                (p.x, p.y, p.z), t.transform.rotation.w = array(3), 1.0
                out.append(t)
    return out

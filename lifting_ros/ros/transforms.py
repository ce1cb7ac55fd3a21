"""What the node says on /tf: a frame for each person, and one to look at them from."""

import numpy as np
from geometry_msgs.msg import TransformStamped
from std_msgs.msg import Header

from ..lifting.frames import LEVEL, upright
from ..rigid import matrix
from ..skeleton import JOINTS, PELVIS
from . import compat


class Transforms:
    """Broadcasts transforms of a node, where the packages for that are installed."""

    def __init__(self, node):
        self._node, self._people, self._static, self._view = node, None, None, None

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
            self._people = compat.transform_broadcaster(self._node)
            if self._people is None:
                return False
        transforms = []
        for person, turn in zip(people, np.asarray(quaternions)):
            root = np.asarray(person.joints[PELVIS], np.float64)
            if np.isfinite(root).all() and np.isfinite(turn).all():
                t = TransformStamped(header=header, child_frame_id=f'body_{person.id}')
                p, q = t.transform.translation, t.transform.rotation
                p.x, p.y, p.z = root.tolist()
                q.x, q.y, q.z, q.w = turn.tolist()
                transforms.append(t)
                if joints:
                    transforms += _joints(person, root, turn, header)
        if transforms:
            self._people.sendTransform(transforms)
        return True

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
        key = (header.frame_id, name, *np.round(up, 6))
        if key == self._view:
            return True
        if self._static is None:
            self._static = compat.transform_broadcaster(self._node, static=True)
            if self._static is None:
                return False
        self._view = key
        turn = np.eye(4)
        turn[:3, :3] = upright(up[None], np.array([[0.0, 0, 1]]))[0].T
        t = TransformStamped(header=header, child_frame_id=name)
        q = t.transform.rotation
        q.x, q.y, q.z, q.w = compat.quaternion_from_matrix(turn).tolist()
        self._static.sendTransform([t])
        return True


def _joints(person, root, turn, header):
    """TransformStamped of each joint below the person's body frame."""
    inside = (np.asarray(person.joints, np.float64) - root) @ matrix(turn)
    header, out = Header(stamp=header.stamp, frame_id=f'body_{person.id}'), []
    for name, (x, y, z) in zip(JOINTS, inside.tolist()):
        if np.isfinite((x, y, z)).all():
            t = TransformStamped(header=header, child_frame_id=f'{name}_{person.id}')
            t.transform.translation.x, t.transform.translation.y = x, y
            t.transform.translation.z, t.transform.rotation.w = z, 1.0
            out.append(t)
    return out

"""Cameras that see one person who stands still, and the robot's frames; started by tests.

Arguments: seconds after which camera 2 stops (0: never); metres by which camera 2's people are
off upwards.
"""

import sys

import numpy as np
from geometry_msgs.msg import TransformStamped
from lifting_ros.msg import SkeletonArray
from rclpy.node import Node
from std_msgs.msg import Header
from test_fusion import ORIGINS, SCALE, body, person, seen

from lifting_ros.rigid import moved
from lifting_ros.ros import compat, spin
from lifting_ros.ros.conversions import to_array

#: Axes of camera n in the map, columns: each turned otherwise.
TURNS = [np.array([[0, 0, -1.0], [-1, 0, 0], [0, 1, 0]]), np.eye(3),
         np.array([[0, 1.0, 0], [0, 0, 1], [1, 0, 0]])]
TOOL = np.array([1.5, 0.0, 1.0])


def truth():
    """(17, 3) m in the map."""
    return body(np.random.default_rng(5))


class Cameras(Node):
    """Publishes /camera<n>/skeletons at 20 Hz, each in its own frame, and /tf_static."""

    def __init__(self, stop, shift):
        super().__init__('cameras')
        self.rng, self.stop, self.shift, self.count = np.random.default_rng(1), stop, shift, 0
        self.scales = SCALE * self.rng.normal() + 0.01 * self.rng.normal(size=3)
        self.out = [self.create_publisher(SkeletonArray, f'/camera{n}/skeletons', 5)
                    for n in range(3)]
        self.tf = compat.transform_broadcaster(self, static=True)
        frames = [(f'camera{n}', ORIGINS[n], TURNS[n]) for n in range(3)]
        frames += [('tool', TOOL, np.eye(3)), ('base', np.array([0.5, 0, 0]), np.eye(3))]
        self.tf.sendTransform([self.transform(*f) for f in frames])
        self.create_timer(0.05, self.tick)

    def transform(self, name, place, turn):
        t = TransformStamped(child_frame_id=name)
        t.header.frame_id = 'map'
        t.header.stamp = self.get_clock().now().to_msg()
        matrix = np.eye(4)
        matrix[:3, :3] = turn
        p, q = t.transform.translation, t.transform.rotation
        p.x, p.y, p.z = place.tolist()
        q.x, q.y, q.z, q.w = compat.quaternion_from_matrix(matrix).tolist()
        return t

    def tick(self):
        self.count += 1
        for n, out in enumerate(self.out):
            if n == 2 and self.stop and 0.05 * self.count > self.stop:
                continue
            joints, covariance = seen(self.rng, truth(), ORIGINS[n], self.scales[n])
            joints = joints + (n == 2) * np.array([0, 0, self.shift])
            turn = TURNS[n].T
            who = moved(person(f'cam{n}x', joints, covariance), turn, -turn @ ORIGINS[n])
            header = Header(frame_id=f'camera{n}', stamp=self.get_clock().now().to_msg())
            out.publish(to_array([who], header, 640, 480))


if __name__ == '__main__':
    sys.exit(spin.run(lambda: Cameras(*map(float, sys.argv[1:3]))))

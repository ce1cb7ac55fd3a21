"""Where to hand over: a wrist in the robot's base frame, when it can be trusted.

Publishes `hand_over_pose` (geometry_msgs/PoseStamped) while a wrist is seen, is sure to
`max_sigma` metres and slower than `max_speed`. The robot's own planner goes there.

    ros2 run --prefix python3 lifting_ros hand_over.py --ros-args -p frame:=base_link
"""

import sys

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node

from lifting_ros.person import Source
from lifting_ros.ros import spin
from lifting_ros.ros.client import SkeletonListener
from lifting_ros.skeleton import INDEX

SEEN = (Source.OBSERVED, Source.DEPTH)


class HandOver(Node):
    """The nearest trustworthy wrist, at 20 Hz."""

    def __init__(self):
        super().__init__('hand_over')
        self.frame = self.declare_parameter('frame', 'base_link').value
        self.max_sigma = self.declare_parameter('max_sigma', 0.05).value     # m
        self.max_speed = self.declare_parameter('max_speed', 0.25).value     # m/s
        topic = self.declare_parameter('topic', '/pose/skeletons').value
        max_age = self.declare_parameter('max_age', 0.3).value               # s
        self.listener = SkeletonListener(self, topic, self.frame, max_age)
        self.goal = self.create_publisher(PoseStamped, 'hand_over_pose', 5)
        self.create_timer(0.05, self.tick)

    def wrists(self, people):
        """Yield the positions (3,) m of the wrists that may be gone to."""
        for person in people:
            for name in ('left_wrist', 'right_wrist'):
                j = INDEX[name]
                if person.source[j] not in SEEN or not np.isfinite(person.joints[j]).all():
                    continue
                sigma = np.sqrt(np.linalg.eigvalsh(person.covariance[j])[-1])
                speed = np.linalg.norm(person.velocity[j])
                if sigma <= self.max_sigma and speed <= self.max_speed:
                    yield person.joints[j]

    def tick(self):
        """Look, and publish or keep still."""
        seen = self.listener.predict()
        if seen is None:
            self.get_logger().info(self.listener.reason, throttle_duration_sec=5.0)
            return
        wrist = min(self.wrists(seen.people), key=np.linalg.norm, default=None)
        if wrist is None:
            return
        goal = PoseStamped()
        goal.header.frame_id = seen.frame
        goal.header.stamp.sec, goal.header.stamp.nanosec = divmod(seen.stamp, 10 ** 9)
        p = goal.pose.position
        p.x, p.y, p.z = wrist.tolist()
        goal.pose.orientation.w = 1.0
        self.goal.publish(goal)


if __name__ == '__main__':
    sys.exit(spin.run(HandOver))

"""Slow a velocity command by the distance of people: full speed afar, standstill near.

Takes `cmd_vel_in` and the messages of the node `separation`, gives `cmd_vel`. Where nothing is
known of people, or nothing has come for 0.2 s, the robot stands. No safety-rated device.

    ros2 run --prefix python3 lifting_ros keep_out.py --ros-args -p stop:=0.5 -p slow:=1.5
"""

import sys

from geometry_msgs.msg import Twist
from lifting_ros.msg import Separation
from rclpy.node import Node
from rclpy.time import Time

from lifting_ros.ros import spin


def share(separation, stop, slow):
    """How much of the speed is allowed, 0 to 1.

    Args:
        separation: lifting_ros/Separation, or None.
        stop, slow: m, beyond what the person may come (S_h): standstill below the first, full
            speed above the second.
    """
    if separation is None or separation.state == Separation.UNKNOWN or not separation.links:
        return 0.0
    if separation.state == Separation.NOBODY:
        return 1.0
    # distance_sigma has Z_d in it already
    near = min(link.distance_sigma - link.s_h for link in separation.links)
    return min(1.0, max(0.0, (near - stop) / (slow - stop))) if near == near else 0.0


class KeepOut(Node):
    """Scales every command."""

    def __init__(self):
        super().__init__('keep_out')
        self.stop = self.declare_parameter('stop', 0.3).value
        self.slow = self.declare_parameter('slow', 1.5).value
        self.patience = self.declare_parameter('patience', 0.2).value
        self.known, self.heard = None, -1e9
        topic = self.declare_parameter('topic', '/separation/separation').value
        self.create_subscription(Separation, topic, self.take, 1)
        self.create_subscription(Twist, 'cmd_vel_in', self.command, 1)
        self.out = self.create_publisher(Twist, 'cmd_vel', 1)

    def take(self, msg):
        """Keep the newest separation, and the time it holds for."""
        self.known, self.heard = msg, 1e-9 * Time.from_msg(msg.header.stamp).nanoseconds

    def command(self, msg):
        """Scale a command."""
        old = 1e-9 * self.get_clock().now().nanoseconds - self.heard > self.patience
        factor = share(None if old else self.known, self.stop, self.slow)
        for part in (msg.linear, msg.angular):
            part.x, part.y, part.z = factor * part.x, factor * part.y, factor * part.z
        self.out.publish(msg)


if __name__ == '__main__':
    sys.exit(spin.run(KeepOut))

"""Two nodes that do not match: a warning names topic, both profiles and the remedy."""
# ruff: noqa: I001 (ros_support goes first: it skips where there is no ROS)

import pytest
import ros_support  # noqa: F401
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from test_ros_pose_node import Bench

from lifting_ros.msg import SkeletonArray
from lifting_ros.ros import watch

BEST, SURE = ReliabilityPolicy.BEST_EFFORT, ReliabilityPolicy.RELIABLE


def profile(reliability=SURE, durability=DurabilityPolicy.VOLATILE):
    return QoSProfile(depth=5, reliability=reliability, durability=durability)


class Matched(Bench):
    """A bench in which the log is waited for."""

    def says(self, *words):
        """Wait for a line with all these words; return the first."""
        def lines():
            return [line for line in self.process.log.read_text().splitlines()
                    if all(word in line for word in words)]
        self.spin_until(lines)
        return lines()[0]


@pytest.fixture(scope='module')
def bench(tmp_path_factory):
    b = Matched(tmp_path_factory.mktemp('qos'), '--ros-args',
                '-p', 'qos_overrides./pose/skeletons.publisher.reliability:=best_effort',
                '-p', 'qos_overrides./image.subscription.reliability:=reliable',
                '-r', 'camera_info:=/camera/infos', wait=False)
    yield b
    b.close()


def test_the_patience_leaves_room_for_three_seconds():
    assert watch.PATIENCE + 1.0 <= 3.0  # it looks once a second


def test_reliable_subscriber_on_best_effort_output(bench):
    line = bench.says('gets nothing from /pose/skeletons')  # the bench's own subscription
    assert '[WARN]' in line and '/test' in line
    assert 'asks for reliable, volatile' in line and 'publishes best_effort, volatile' in line
    assert 'qos_overrides./pose/skeletons.publisher.reliability:=reliable' in line


def test_best_effort_publisher_for_a_reliable_subscription(bench):
    line = bench.says('nothing arrives on /image')
    assert 'publishes best_effort, volatile' in line and 'asks for reliable, volatile' in line
    assert 'qos_overrides./image.subscription.reliability:=best_effort' in line


def test_a_wrong_name_is_named_with_the_right_one(bench):
    line = bench.says('nobody publishes /camera/infos', 'are published: /camera_info')
    assert '-r camera_info:=/camera_info' in line
    bench.status('nobody publishes /camera/infos')  # and on /diagnostics


def test_a_subscriber_to_a_name_that_nobody_publishes(bench):
    sub = bench.node.create_subscription(SkeletonArray, 'pose/skeleton', lambda m: None, 1)
    line = bench.says('subscribes to /pose/skeleton ')
    assert '-r /pose/skeleton:=/pose/skeletons' in line
    bench.node.destroy_subscription(sub)


def test_who_fits_later_is_not_complained_about_and_the_diagnostic_is_clean_again(tmp_path):
    bench = Matched(tmp_path)
    try:
        other = bench.node.create_publisher(Image, 'image', profile(SURE))
        sub = bench.node.create_subscription(
            SkeletonArray, 'pose/skeletons', lambda m: None,
            profile(SURE, DurabilityPolicy.TRANSIENT_LOCAL))
        bench.says('gets nothing from /pose/skeletons', 'transient_local')
        bench.status('gets nothing from')
        bench.node.destroy_subscription(sub)
        bench.info()
        bench.spin_until(lambda: 'gets nothing' not in bench.diagnostics[-1].message)
        assert 'nothing arrives' not in bench.process.log.read_text()
        bench.node.destroy_publisher(other)
    finally:
        bench.close()


def test_images_of_another_type(tmp_path):
    bench = Matched(tmp_path, '--ros-args', '-r', 'image:=/cam/compressed', wait=False)
    try:
        bench.node.create_publisher(CompressedImage, '/cam/compressed', 1)
        line = bench.says('/cam/compressed is published as sensor_msgs/msg/CompressedImage')
        assert 'image_transport' in line
    finally:
        bench.close()

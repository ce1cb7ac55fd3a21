"""Publishes the demo clip's true people by REP-155, without a pose node; started by a test.

Two people walk all the time; a third is there up to half of the time. The frame n has the stamp
1000 + n / 30 s.
"""

import pathlib
import sys
import time

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import Header

from lifting_ros.person import Person
from lifting_ros.ros import hri

FRAMES = 90
SHIFT = {'anna1': (0.0, 0, 0), 'bert2': (1.0, 0.1, 0.5), 'carl3': (-1.0, 0, 1)}
CLIP = pathlib.Path(__file__).resolve().parent.parent / 'resource' / 'demo' / 'truth.npz'


def people(n):
    """People of frame n, and the image."""
    with np.load(CLIP, allow_pickle=False) as data:
        joints, keypoints = data['joints'][n], data['keypoints'][n]
        width, height = (int(v) for v in data['size'])
    image = np.full((height, width, 3), (7, 8, 9), np.uint8)
    out = []
    for name, shift in SHIFT.items():
        if name == 'carl3' and n >= FRAMES // 2:
            continue
        p = Person(id=name, confidence=0.75, box=np.array([10.0, 20, 109, 219]))
        p.joints = joints + np.array(shift)
        p.covariance = np.tile(1e-4 * np.eye(3), (17, 1, 1))
        p.keypoints, p.keypoint_confidence = keypoints, np.full(17, 0.5)
        p.keypoint_confidence[2] = 0.0
        p.velocity = np.tile([0.1, 0.2, 0.3], (17, 1))
        p.velocity_covariance = p.covariance
        out.append(p)
    return out, image


def main():
    rclpy.init()
    node = rclpy.create_node('pose')
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    bodies = hri.start(node)
    if bodies is None:
        return 3
    end = time.monotonic() + 90
    # a node of its own: while it waits for a slow consumer, the bodies' timer stands still
    listener, heard = rclpy.create_node('listener'), []
    ears = SingleThreadedExecutor()
    ears.add_node(listener)
    listener.create_subscription(Header, '/heard', lambda m: heard.append(m.stamp), 1000)

    def spin(seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            executor.spin_once(timeout_sec=0.01)

    def send(n, count):
        header = Header(frame_id='camera_optical')
        header.stamp.sec, header.stamp.nanosec = 1000 + count // 30, (count % 30) * 33_333_333
        found, image = people(n)
        bodies.publish(header, found, image)
        spin(0.04)
        return header.stamp

    def send_and_wait(n, count):
        stamp = send(n, count)
        while time.monotonic() < end and stamp not in heard[-1:]:
            ears.spin_once(timeout_sec=0.1)

    # the first frame until every publisher has its subscriber: discovery takes its time
    count = 0
    while time.monotonic() < end and (not heard or not all(
            p.get_subscription_count() for p in node.publishers
            if p.topic_name.startswith('/humans') or p.topic_name == '/tf')):
        send(0, count)
        ears.spin_once(timeout_sec=0)
        count += 1
    print('first', count, flush=True)
    for n in range(FRAMES):
        send_and_wait(n, count + n)
    print('status', bodies.status(), flush=True)
    names = sorted(n for n, _ in node.get_topic_names_and_types())
    print('has carl3', any('carl3' in n for n in names), node.has_parameter(
        'human_description_carl3'), flush=True)

    def left():
        own = [t for t, _ in node.get_publisher_names_and_types_by_node('pose', '/')]
        return sorted(t for t in own if t.startswith('/humans'))

    while time.monotonic() < end and len(left()) > 1:
        spin(0.1)
    print('left', left(), node.has_parameter('human_description_anna1'), flush=True)
    spin(1.0)  # the last list is on its way
    listener.destroy_node()
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())

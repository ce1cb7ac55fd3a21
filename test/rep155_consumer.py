"""A consumer of REP-155 that knows the REP and nothing of this project; started by a test.

Follows /humans/bodies/tracked and subscribes to what it lists. On the way it says ``listed <ns>``
for every list, on /heard too, and ``whole <id>`` once for each body of which there is something on
every topic and all frames of one image. After SIGINT it takes what is still to come, and prints
what it has found as JSON: topics and counts of each body, the tree of /tf, and forward kinematics
of joint_states over the URDF's text beside /tf and the residuals that were stated.
"""

import json
import math
import signal
import sys
import time
import xml.etree.ElementTree as ET

import numpy as np
import rclpy
from geometry_msgs.msg import PointStamped, TwistStamped
from hri_msgs.msg import IdsList, NormalizedRegionOfInterest2D, Skeleton2D
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Header, String
from tf2_msgs.msg import TFMessage

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
DEPTH = 1000        # on a busy machine this process lags behind for seconds
QUIET = 1.0         # s without a message after which nothing more is expected
KINDS = {'roi': NormalizedRegionOfInterest2D, 'skeleton2d': Skeleton2D, 'cropped': Image,
         'joint_states': JointState, 'residual': JointState, 'position': PointStamped,
         'velocity': TwistStamped, 'urdf': String}


def nanoseconds(stamp):
    return stamp.sec * 10**9 + stamp.nanosec


def turn(axis, angle):
    """Rotation (3, 3) about a unit axis."""
    x, y, z = axis
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * k + (1 - math.cos(angle)) * k @ k


def matrix(q):
    """Rotation (3, 3) of a quaternion message."""
    n = math.hypot(q.x, q.y, q.z)
    assert abs(n**2 + q.w**2 - 1) < 1e-6
    return np.eye(3) if n < 1e-12 else turn((q.x / n, q.y / n, q.z / n), 2 * math.atan2(n, q.w))


class Consumer:
    def __init__(self, node):
        self.node, self.messages, self.subscriptions = node, {}, {}
        self.frames = {}   # ns -> child -> (parent, position, rotation)
        self.lists, self.told, self.last = [], set(), time.monotonic()
        self.heard = node.create_publisher(Header, '/heard', DEPTH)
        node.create_subscription(IdsList, '/humans/bodies/tracked', self.on_tracked, DEPTH)
        node.create_subscription(TFMessage, '/tf', self.on_tf, DEPTH)

    def on_tracked(self, msg):
        self.last = time.monotonic()
        self.lists.append([nanoseconds(msg.header.stamp), list(msg.ids)])
        print('listed', self.lists[-1][0], flush=True)
        self.heard.publish(msg.header)
        for name in msg.ids:
            if name not in self.messages:
                self.messages[name] = {topic: [] for topic in KINDS}
                for topic, kind in KINDS.items():
                    self.subscriptions[name, topic] = self.node.create_subscription(
                        kind, f'/humans/bodies/{name}/{topic}',
                        lambda m, name=name, topic=topic: self.on_body(name, topic, m),
                        LATCHED if topic == 'urdf' else DEPTH)

    def on_body(self, name, topic, msg):
        self.last = time.monotonic()
        self.messages[name][topic].append(msg)
        self.tell(name)

    def tell(self, name):
        """Say once that a body is whole; its velocity may not be known."""
        got = self.messages[name]
        if name not in self.told and all(got[topic] for topic in KINDS if topic != 'velocity'):
            check = self.check(name)
            if set(check['points']) & set(check['residual']):
                self.told.add(name)
                print('whole', name, flush=True)

    def on_tf(self, msg):
        self.last = time.monotonic()
        for t in msg.transforms:
            p = t.transform.translation
            self.frames.setdefault(nanoseconds(t.header.stamp), {})[t.child_frame_id] = (
                t.header.frame_id, np.array([p.x, p.y, p.z]), matrix(t.transform.rotation))
        for name in self.messages:
            self.tell(name)

    def joints(self, name):
        """Name, parent, child, origin, axis (or None) of the joints of the last URDF."""
        def vector(text):
            return np.array([float(v) for v in text.split()])
        return [(e.get('name'), e.find('parent').get('link'), e.find('child').get('link'),
                 vector(e.find('origin').get('xyz')),
                 None if e.find('axis') is None else vector(e.find('axis').get('xyz')))
                for e in ET.fromstring(self.messages[name]['urdf'][-1].data).iter('joint')]

    def place(self, frames, name):
        """Position and rotation of a frame in the root of its tree, and that root."""
        position, rotation = np.zeros(3), np.eye(3)
        for _ in range(100):
            if name not in frames:
                return position, rotation, name
            name, p, r = frames[name]
            position, rotation = p + r @ position, r @ rotation
        raise AssertionError('the frames go round in a circle')

    def check(self, name):
        """Forward kinematics of every joint_states over the URDF, beside /tf."""
        got = self.messages[name]
        if not got['urdf']:
            return None
        joints = self.joints(name)
        wanted = {f'body_{name}', *(child for _, _, child, _, _ in joints)}
        worst, links, points = 0.0, 0, {}
        for msg in got['joint_states']:
            frames = self.frames.get(nanoseconds(msg.header.stamp), {})
            if not wanted <= set(frames):  # another publisher's part is still to come
                continue
            parent, p, r = frames[f'body_{name}']
            assert parent == msg.header.frame_id
            angles = dict(zip(msg.name, msg.position))
            there = {f'body_{name}': (p, r)}
            for _ in joints:
                for joint, above, below, xyz, axis in joints:
                    if above in there and below not in there:
                        p, r = there[above]
                        there[below] = (p + r @ xyz, r if axis is None else
                                        r @ turn(axis, angles[joint]))
            assert len(there) == len(joints) + 1
            for link, (p, _) in there.items():
                worst = max(worst, float(np.linalg.norm(p - self.place(frames, link)[0])))
                links += 1
            points[nanoseconds(msg.header.stamp)] = {k: v[0].tolist() for k, v in there.items()}
        residual = {nanoseconds(m.header.stamp): dict(zip(m.name, m.position))
                    for m in got['residual']}
        return {'urdfs': len(got['urdf']), 'tf_off': worst, 'compared': links, 'points': points,
                'residual': residual}

    def found(self):
        roots = {self.place(frames, child)[2] for frames in self.frames.values()
                 for child in frames
                 # where the one publisher was heard and the other was not yet, there is no tree
                 if not any(child.endswith(f'_{name}') and f'body_{name}' not in frames
                            for name in self.messages)}
        out = {'lists': self.lists, 'roots': sorted(roots), 'bodies': {}}
        for name, got in self.messages.items():
            sent = [m for m in got['skeleton2d']]
            out['bodies'][name] = {
                'counts': {topic: len(m) for topic, m in got.items()},
                'check': self.check(name),
                'roi': [[m.xmin, m.ymin, m.xmax, m.ymax, m.c] for m in got['roi'][-1:]],
                'skeleton2d': [[[p.x, p.y, p.c] for p in m.skeleton] for m in sent[-1:]],
                'cropped': [[m.width, m.height, m.encoding, bytes(m.data[:3]).hex()]
                            for m in got['cropped'][-1:]],
                'velocity': [[m.twist.linear.x, m.twist.linear.y, m.twist.linear.z]
                             for m in got['velocity'][-1:]],
                'links': sorted({c for f in self.frames.values() for c in f
                                 if c.endswith(f'_{name}')})}
        return out


def main():
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    stop = []
    signal.signal(signal.SIGINT, lambda *a: stop.append(1))
    node = rclpy.create_node('consumer')
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    consumer = Consumer(node)
    while not stop:
        executor.spin_once(timeout_sec=0.2)
    # what was sent may still be on its way
    consumer.last = time.monotonic()
    end = consumer.last + 60
    while consumer.last + QUIET > time.monotonic() < end:
        executor.spin_once(timeout_sec=0.2)
    print(json.dumps(consumer.found()), flush=True)
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == '__main__':
    sys.exit(main())

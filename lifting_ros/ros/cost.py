"""What tracking, frames, REP-155 and markers cost per image, and what the node fuse costs: CPU
time, with somebody listening.

Run as a process by ``lifting-ros bench outputs``; prints one line of JSON.
"""

import argparse
import contextlib
import importlib
import json
import os
import subprocess
import sys
import time

import numpy as np
import rclpy
from geometry_msgs.msg import TransformStamped
from rclpy._rclpy_pybind11 import RCLError
from rclpy.executors import ExternalShutdownException
from rclpy.parameter import Parameter
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from ..body_frame import quaternion
from ..frame_tree import NotThere
from ..msg import SkeletonArray
from ..person import Person, ScaleSource, Source
from ..tracking import Observation, Tracker, TrackerOptions
from . import compat, hri, qos, wire
from .body_states import BodyStates
from .markers import Markers
from .source_node import clip
from .transforms import Transforms

_TOPICS = ('/humans/', '/tf', '/cost/', '/fuse/skeletons')


def observations(people, frames, seed=0):
    """Yield an Observation per frame: copies of the clip's person, side by side, with noise."""
    rng = np.random.default_rng(seed)
    with np.load(clip()[1], allow_pickle=False) as data:
        joints, k = data['joints'].astype(float), data['K']
    size = (people,)
    for n in range(frames):
        # to and fro, lest somebody jumps where the clip begins again
        turn = n % (2 * len(joints) - 2)
        true = joints[turn if turn < len(joints) else 2 * len(joints) - 2 - turn]
        spots = true + np.array([[1.2 * (i - (people - 1) / 2), 0, 2.0] for i in range(people)]
                                )[:, None]
        ray = spots / np.linalg.norm(spots, axis=-1, keepdims=True)
        cov = 0.02**2 * np.eye(3) + 0.1**2 * ray[..., :, None] * ray[..., None, :]
        pixels = (spots @ k.T)[..., :2] / spots[..., 2:]
        yield Observation(
            confidence=np.full(size, 0.8), box=np.concatenate((pixels.min(1), pixels.max(1)), 1),
            keypoints=pixels + rng.normal(size=pixels.shape),
            keypoint_confidence=rng.uniform(0.4, 0.9, (people, 17)),
            keypoint_covariance=np.tile(2.0 * np.eye(2), (people, 17, 1, 1)),
            joints=spots + 0.02 * rng.normal(size=spots.shape), covariance=cov,
            source=np.full((people, 17), Source.OBSERVED, np.uint8),
            scale_source=np.ones(size, int), log_likelihood=np.zeros(size))


def listen():
    """Subscribe to everything that is measured, for ever."""
    node, taken = rclpy.create_node('listener'), set()
    while rclpy.ok():
        for topic, kinds in node.get_topic_names_and_types():
            if topic not in taken and topic.startswith(_TOPICS):
                package, _, name = kinds[0].split('/')
                kind = getattr(importlib.import_module(f'{package}.msg'), name)
                node.create_subscription(kind, topic, lambda data: None, 10, raw=True)
                taken.add(topic)
        rclpy.spin_once(node, timeout_sec=0.1)


@contextlib.contextmanager
def _listening(wanted, *nodes):
    """A process that subscribes to everything, or None; at the end it and the nodes are gone."""
    process = None
    if wanted:
        process = subprocess.Popen([sys.executable, '-m', 'lifting_ros.ros.cost', '--listen'])
    try:
        yield process
    finally:
        if process is not None:
            process.terminate()
            process.wait(30)
        for node in nodes:
            getattr(node, 'close', lambda: None)()
            node.destroy_node()


def measure(people=4, frames=400, rate=60.0, sigmas=1.0, listeners=True):
    """CPU milliseconds per image of each part, of this process with all its threads.

    Args:
        people: in each image; frames: how many images, after 120 to settle.
        rate: images per second. sigmas: of the ellipsoids. listeners: whether a process
            subscribes to all of it.

    Returns:
        dict of part -> {'least', 'mean', 'p50', 'p99'}, and notes of what could not be measured.
    """
    node = rclpy.create_node('cost')
    bodies, tf, markers = hri.start(node), Transforms(node), Markers()
    skeletons = node.create_publisher(SkeletonArray, '/cost/skeletons', qos.RESULT)
    out = node.create_publisher(MarkerArray, '/cost/markers', qos.RESULT)
    tracker = Tracker(TrackerOptions())
    notes = [] if bodies else ['hri_msgs is not installed: REP-155 is not in the sum']
    if compat.TFMessage is None and compat.tf2_ros is None:
        notes.append('tf2_msgs is not installed: no frames are sent')
    spent = {part: [] for part in ('tracking', 'messages', 'rep155', 'tf', 'markers')}
    with _listening(listeners, node) as process:
        settle = 120
        for n, seen in enumerate(observations(people, settle + frames)):
            until = time.monotonic() + 1 / rate
            if n == settle - 1 and process is not None:
                _wait(node, process, out)
            header = Header(frame_id='camera')
            header.stamp.sec, header.stamp.nanosec = 100 + n // 30, (n % 30) * 33_333_333
            clock = [time.process_time_ns()]
            found = tracker.update(seen, 100 + n / 30)
            clock.append(time.process_time_ns())
            states = BodyStates(found)
            skeletons.publish(wire.write(found, header, 640, 480, states=states))
            clock.append(time.process_time_ns())
            framed = np.zeros(len(found), bool)
            if bodies:
                framed = bodies.publish(header, found, states=states, size=(640, 480))
            clock.append(time.process_time_ns())
            left = np.flatnonzero(~framed)      # as the node does: nothing is said twice
            tf.people(header, [found[i] for i in left], states.quaternion[left])
            clock.append(time.process_time_ns())
            if out.get_subscription_count() or not listeners:
                out.publish(markers.render(found, header, 0.5, sigmas, states=states))
            clock.append(time.process_time_ns())
            if n >= settle:
                for part, ns in zip(spent, np.diff(clock)):
                    spent[part].append(1e-6 * ns)
            while time.monotonic() < until:
                time.sleep(0.001)
    spent['asked for'] = [a + b + c + d for a, b, c, d in zip(
        *(spent[part] for part in ('tracking', 'rep155', 'tf', 'markers')))]
    return {'people': people, 'frames': frames, 'listeners': listeners, 'notes': notes,
            'parts': {part: _figures(ms) for part, ms in spent.items()}}


def crowd(cameras, people, frames, seed=0):
    """Yield for each time what each camera says: lists of Person, in the cameras' own frames.

    Args:
        cameras: list of (R, t), x_map = R x_camera + t in metres.
    """
    rng = np.random.default_rng(seed)
    with np.load(clip()[1], allow_pickle=False) as data:
        joints = data['joints'].astype(float)
    joints = joints - joints[:, :1].mean(0)
    places = np.stack(np.meshgrid((-0.9, 0.0, 0.9), (-0.7, 0.7)), -1).reshape(-1, 2)
    places = np.concatenate((places, np.ones((len(places), 1))), 1)[:people, None]
    upright = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])    # of the clip's camera
    scales = 0.03 * rng.normal(size=(len(cameras), people, 1, 1))
    for n in range(frames):
        turn = n % (2 * len(joints) - 2)
        true = joints[turn if turn < len(joints) else 2 * len(joints) - 2 - turn]
        said = []
        for (r, t), scale in zip(cameras, scales):
            ray = ((true @ upright.T + places) - t) @ r
            unit = ray / np.linalg.norm(ray, axis=-1, keepdims=True)
            cov = (0.02**2 * np.eye(3) + 0.06**2 * unit[..., :, None] * unit[..., None, :]
                   + 0.05**2 * ray[..., :, None] * ray[..., None, :])
            spots = (1 + scale) * ray + 0.02 * rng.normal(size=ray.shape)
            said.append([Person(
                id=f'p{i:04d}', confidence=0.8, box=np.array([10.0, 20, 110, 220]),
                keypoints=rng.uniform(0, 400, (17, 2)),
                keypoint_confidence=rng.uniform(0.4, 0.9, 17), joints=spots[i],
                covariance=cov[i], velocity=0.1 * rng.normal(size=(17, 3)),
                velocity_covariance=np.tile(0.1 * np.eye(3), (17, 1, 1)),
                source=np.full(17, Source.OBSERVED, np.uint8),
                scale_source=ScaleSource.PRIOR) for i in range(people)])
        yield said


def measure_fuse(people=6, cameras=3, frames=400, rate=30.0, listeners=True):
    """CPU milliseconds of the node ``fuse`` for the messages of its cameras, those read and its
    own written and published; transforms looked up. As :func:`measure`.
    """
    from .fuse_node import FuseNode
    mounts = []
    for angle in 2 * np.pi / cameras * np.arange(cameras):
        origin = np.array([4 * np.cos(angle), 4 * np.sin(angle), 2.0])
        z = ([0, 0, 1.0] - origin) / np.linalg.norm([0, 0, 1.0] - origin)
        x = np.cross(z, [0, 0, 1.0]) / np.linalg.norm(np.cross(z, [0, 0, 1.0]))
        mounts.append((np.stack((x, np.cross(z, x), z), 1), origin))
    if not compat.frames_can_be_sent():
        return {'people': people, 'cameras': cameras, 'frames': 0, 'parts': {},
                'notes': ['neither tf2_ros nor tf2_msgs is installed: fuse, which needs the '
                          "cameras' frames, is not measured"]}
    node = rclpy.create_node('cost')
    topics = [f'/cost/camera{c}' for c in range(cameras)]
    fuse = FuseNode(parameter_overrides=[Parameter('topics', value=topics),
                                         Parameter('target_frame', value='map')])
    static = compat.transform_broadcaster(node, static=True)
    static.sendTransform([_transform(f'camera{c}', *m) for c, m in enumerate(mounts)])
    spent, settle, count = [], 120, []
    with _listening(listeners, fuse, node) as process:
        for n, said in enumerate(crowd(mounts, people, settle + frames)):
            until = time.monotonic() + 1 / rate
            if n == 0:
                _wait_for_frames(fuse, cameras)
            if n == settle - 1 and process is not None:
                _wait(fuse, process, fuse._out)
            data = []
            for c, who in enumerate(said):
                header = Header(frame_id=f'camera{c}')
                header.stamp.sec = 100 + n // 30
                header.stamp.nanosec = (n % 30) * 33_333_333 + c * 3_000_000
                data.append(wire.write(who, header, 640, 480))
            begin = time.process_time_ns()
            for camera, message in zip(fuse._cameras, data):
                fuse._take(camera, message)
            if n >= settle:
                spent.append(1e-6 * (time.process_time_ns() - begin))
                count.append(fuse._people)
            while time.monotonic() < until:
                time.sleep(0.001)
    return {'people': people, 'cameras': cameras, 'frames': frames, 'listeners': listeners,
            'fused': round(float(np.mean(count)), 2), 'notes': [],
            'parts': {'fuse': _figures(spent)}}


def _transform(name, rotation, translation):
    t = TransformStamped(child_frame_id=name)
    t.header.frame_id = 'map'
    p, q = t.transform.translation, t.transform.rotation
    p.x, p.y, p.z = translation.tolist()
    q.x, q.y, q.z, q.w = quaternion(rotation).tolist()
    return t


def _wait_for_frames(fuse, cameras):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            for c in range(cameras):
                fuse._frames.lookup('map', f'camera{c}', 10 ** 9)
            return
        except NotThere:
            rclpy.spin_once(fuse, timeout_sec=0.1)
    raise RuntimeError('the transforms have not come within a minute')


def _figures(ms):
    return {'least': round(float(np.min(ms)), 3), 'mean': round(float(np.mean(ms)), 3),
            'p50': round(float(np.median(ms)), 3), 'p99': round(float(np.percentile(ms, 99)), 3)}


def _wait(node, process, out):
    """Wait until the listener has subscribed to all there is."""
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        mine = [t for t, _ in node.get_publisher_names_and_types_by_node(node.get_name(), '/')
                if t.startswith(_TOPICS)]
        if out.get_subscription_count() and all(node.count_subscribers(t) for t in mine):
            return
        time.sleep(0.1)
    raise RuntimeError('the process that listens has not subscribed within two minutes')


def main(argv=None):
    """Measure, or listen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--listen', action='store_true')
    parser.add_argument('--fuse', action='store_true', help='the node fuse, instead of the rest')
    parser.add_argument('--people', type=int)
    parser.add_argument('--frames', type=int, default=400)
    parser.add_argument('--nobody', action='store_true', help='without a process that listens')
    args = parser.parse_args(argv)
    os.environ.setdefault('ROS_DOMAIN_ID', str(os.getpid() % 100 + 1))
    rclpy.init(args=[])
    try:
        if args.listen:
            # told to end in the middle of a wait: either is raised
            with contextlib.suppress(ExternalShutdownException, RCLError):
                listen()
        else:
            work = measure_fuse if args.fuse else measure
            sys.stdout.write(json.dumps(work(args.people or (6 if args.fuse else 4),
                                             frames=args.frames,
                                             listeners=not args.nobody)) + '\n')
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())

"""The examples and SkeletonListener on the demo clip, with the real node, over DDS."""
# ruff: noqa: I001 (ros_support goes first: it skips where there is no ROS)

import importlib.util
import pathlib
from types import SimpleNamespace

import ros_support
import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped, Twist
from test_ros_fuse import PATIENT, environment

from lifting_ros.msg import LinkSeparation, Separation
from lifting_ros.ros.client import SkeletonListener
from lifting_ros.ros.source_node import FRAME, clip
from lifting_ros.skeleton import INDEX

EXAMPLES = pathlib.Path(__file__).resolve().parent.parent / 'examples'


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize('name', sorted(p.stem for p in EXAMPLES.glob('*.py')))
def test_short(name):
    assert len((EXAMPLES / f'{name}.py').read_text().splitlines()) < 80


def test_keep_out_never_speeds_up_on_what_it_does_not_know():
    share = load('keep_out').share
    def near(*clear, state=Separation.PEOPLE):
        return Separation(state=state, links=[LinkSeparation(distance_sigma=c + 0.6, s_h=0.6)
                                              for c in clear])
    assert share(None, 0.5, 1.5) == 0
    assert share(near(9.0, state=Separation.UNKNOWN), 0.5, 1.5) == 0
    assert share(near(float('nan')), 0.5, 1.5) == 0 and share(near(), 0.5, 1.5) == 0
    assert share(near(0.4, 9.0), 0.5, 1.5) == 0
    assert share(near(9.0, 1.0), 0.5, 1.5) == pytest.approx(0.5)
    assert share(near(2.0), 0.5, 1.5) == 1
    assert share(near(float('inf'), state=Separation.NOBODY), 0.5, 1.5) == 1


def test_hand_over_takes_sure_slow_seen_wrists_alone():
    hand_over = load('hand_over')
    seen = SimpleNamespace(source=np.full(17, 1), joints=np.zeros((17, 3)) + 0.5,
                           covariance=np.tile(1e-4 * np.eye(3), (17, 1, 1)),
                           velocity=np.zeros((17, 3)))
    limits = SimpleNamespace(max_sigma=0.05, max_speed=0.25)
    found = list(hand_over.HandOver.wrists(limits, [seen]))
    assert len(found) == 2
    left, right = INDEX['left_wrist'], INDEX['right_wrist']
    seen.source[left] = 2            # lifted: not seen
    seen.covariance[right, 2, 2] = 0.01
    assert not list(hand_over.HandOver.wrists(limits, [seen]))
    seen.source[left], seen.velocity[left] = 1, [0.3, 0, 0]
    assert not list(hand_over.HandOver.wrists(limits, [seen]))


def test_on_the_demo_clip(graph, request, record_property):
    try:
        film, truth = clip()
    except FileNotFoundError:
        pytest.skip('no demo clip')
    env, goals, speeds, apart, late = environment(request), [], [], [], []
    node = graph.node
    node.create_subscription(PoseStamped, 'hand_over_pose', goals.append, 50)
    node.create_subscription(Twist, 'cmd_vel', speeds.append, 50)
    node.create_subscription(Separation, '/separation/separation', apart.append, 50)
    command = node.create_publisher(Twist, 'cmd_vel_in', 5)

    def heard(msg):
        stamp = msg.header.stamp.sec * 10 ** 9 + msg.header.stamp.nanosec
        late.append(1e-6 * (node.get_clock().now().nanoseconds - stamp))
    listener = SkeletonListener(node, '/pose/skeletons', max_age=5.0, callback=heard)
    with np.load(truth, allow_pickle=False) as data:
        wrists = data['joints'][:, [INDEX['left_wrist'], INDEX['right_wrist']]]
        up = [round(float(x), 6) for x in data['up']]
    pose = graph.start('-m', 'lifting_ros.ros.pose_node', '--ros-args', '-p', f'up:={up}', **env)
    graph.start(EXAMPLES / 'keep_out.py', '--ros-args', '-p', 'patience:=5.0', '-p', 'stop:=0.0',
                '-p', 'slow:=9.0', **env)
    graph.start('-m', 'lifting_ros.ros.separation_node', *PATIENT, f'frame:={FRAME}', '-p',
                f'links:=["{FRAME}"]', '-r', 'skeletons:=/pose/skeletons', **env)
    graph.start(EXAMPLES / 'hand_over.py', *PATIENT, f'frame:={FRAME}', '-p', 'max_sigma:=1.0',
                '-p', 'max_speed:=5.0', **env)
    twist = Twist()
    twist.linear.x = 1.0

    def drive():
        command.publish(twist)
    graph.spin_until(lambda: apart and speeds, again=drive)   # before anybody is known
    assert apart[-1].state == Separation.UNKNOWN
    graph.spin_until(lambda: 'active' in pose.log.read_text(), limit=ros_support.LONG)
    graph.start('-m', 'lifting_ros.ros.source_node', '--ros-args', '-p', f'source:={film}', '-p',
                f'truth:={truth}', '-p', 'seconds:=900.0', '-p', 'rate:=5.0', **env)

    def all_there():
        return (goals and apart[-1].state == Separation.PEOPLE
                and apart[-1].links[0].distance_sigma > 0 and len(late) >= 20
                and any(0 < s.linear.x < 1 for s in speeds) and listener.predict() is not None)
    graph.spin_until(all_there, limit=ros_support.LONG, again=drive, every=0.1)
    seen = listener.predict()
    assert seen.frame == FRAME and 0 < seen.age < 5.5
    goal = goals[-1].pose.position
    gap = np.linalg.norm(wrists.reshape(-1, 3) - [goal.x, goal.y, goal.z], axis=1).min()
    assert gap < 1.0 and goals[-1].header.frame_id == FRAME
    link = apart[-1].links[0]
    nearest = np.linalg.norm(wrists.reshape(-1, 3), axis=1).min()
    assert 0 < link.distance_sigma < link.distance < nearest + 1.0
    assert speeds[0].linear.x == 0 and max(s.linear.x for s in speeds) <= 1
    figures = {f'p{q}': round(float(np.percentile(late[5:], q)), 1) for q in (0, 50, 90)}
    record_property('stamp to callback (ms)', figures)
    print('from the stamp of the image to the callback of SkeletonListener, ms:', figures)

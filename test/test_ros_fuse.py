"""The nodes fuse and separation over DDS, on cameras whose truth is known."""
# ruff: noqa: I001 (ros_support goes first: it skips where there is no ROS)

import os
import pathlib

import ros_support  # noqa: F401
import ros_interfaces
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from visualization_msgs.msg import MarkerArray

from lifting_ros.msg import Separation, SkeletonArray
from lifting_ros.ros.conversions import nanoseconds, to_person
from lifting_ros.separation import RADIUS, LIMBS

HERE = pathlib.Path(__file__).resolve().parent
TOPICS = 'topics:=[' + ','.join(f'"/camera{n}/skeletons"' for n in range(3)) + ']'

#: On a busy machine people may be old when they come.
PATIENT = ['--ros-args', '-p', 'max_age:=5.0', '-p']


def environment(request):
    """Environment of processes: the checkout's package, and tf2_msgs."""
    env = ros_interfaces.environment(request.config)
    path = env.get('PYTHONPATH') or os.environ.get('PYTHONPATH', '')
    return {**env, 'PYTHONPATH': os.pathsep.join([str(HERE.parent), *[path] * bool(path)])}


def cameras(graph, request, stop=0.0, shift=0.0):
    """Start the cameras and fuse; return the environment and what is received."""
    env = environment(request)
    got, told = [], []
    graph.node.create_subscription(SkeletonArray, '/fuse/skeletons', got.append, 50)
    graph.node.create_subscription(DiagnosticArray, '/diagnostics', told.append, 50)
    fuse = graph.start('-m', 'lifting_ros.ros.fuse_node', '--ros-args', '-p', TOPICS, '-p',
                       'target_frame:=map', **env)
    graph.start(HERE / 'people_source.py', stop, shift, **env)
    return env, got, told, fuse


def status(told):
    """Newest (message, values) of fuse."""
    s = next((s for m in reversed(told) for s in m.status if s.name == 'fuse: fusion'), None)
    return ('', {}) if s is None else (s.message, {v.key: v.value for v in s.values})


def test_one_person_of_three_cameras_then_of_two_and_the_robot(graph, request):
    from people_source import TOOL, truth

    env, got, told, fuse = cameras(graph, request, stop=6.0)
    apart, shapes = [], []
    graph.node.create_subscription(Separation, '/separation/separation', apart.append, 50)
    graph.node.create_subscription(MarkerArray, '/separation/markers', shapes.append, 5)
    graph.start('-m', 'lifting_ros.ros.separation_node', *PATIENT, 'frame:=map', '-p',
                'links:=["tool","nowhere_yet"]', '-r', 'skeletons:=/fuse/skeletons', **env)
    graph.spin_until(lambda: len(got) > 60 and apart)
    # a frame that TF lacks: nothing is known, and it says which
    graph.spin_until(lambda: 'nowhere_yet' in apart[-1].reason)
    assert apart[-1].state == Separation.UNKNOWN and np.isnan(apart[-1].links[0].distance)
    assert all(len(m.skeletons) == 1 and m.header.frame_id == 'map' for m in got[20:])
    stamps = [nanoseconds(m.header.stamp) for m in got]
    assert all(a < b for a, b in zip(stamps, stamps[1:]))
    ids = {m.skeletons[0].id for m in got[20:]}
    assert len(ids) == 1
    error = [np.linalg.norm(to_person(m.skeletons[0]).joints - truth(), axis=1).mean()
             for m in got[20:60]]
    assert np.mean(error) < 0.06           # one camera alone: 0.05 of 4 m
    graph.spin_until(lambda: '/camera2/skeletons has been silent' in status(told)[0])
    before = len(got)
    graph.spin_until(lambda: len(got) > before + 20)
    assert {m.skeletons[0].id for m in got[before:]} == ids
    error = np.linalg.norm(to_person(got[-1].skeletons[0]).joints - truth(), axis=1).mean()
    assert error < 0.1
    assert TOOL is not None and graph.interrupt(fuse) == 0


def test_separation_of_a_tool(graph, request):
    from people_source import TOOL, truth

    env, got, told, _ = cameras(graph, request)
    apart, shapes = [], []
    graph.node.create_subscription(Separation, '/separation/separation', apart.append, 50)
    graph.node.create_subscription(MarkerArray, '/separation/markers', shapes.append, 5)
    node = graph.start('-m', 'lifting_ros.ros.separation_node', *PATIENT, 'frame:=base', '-p',
                       'links:=["tool"]', '-r', 'skeletons:=/fuse/skeletons', **env)
    graph.spin_until(lambda: apart)
    graph.spin_until(lambda: apart[-1].state == Separation.PEOPLE and len(shapes) > 2)
    msg = apart[-1]
    (link,) = msg.links
    joints = truth()
    middles = np.linalg.norm(joints - TOOL, axis=1).min() - RADIUS.max() - 0.1
    assert middles - 0.25 < link.distance < middles + 0.4 and link.limb in LIMBS
    assert link.distance_sigma < link.distance and 0 < link.z_d < 0.5
    assert link.s_h == pytest.approx(0.4 * max(1.6, link.speed))
    # in the frame that was asked for: the tool is at x = 1 of base
    assert abs(link.robot_point.x - 1.0) < 0.11 and abs(link.robot_point.z - 1.0) < 0.11
    assert 0 <= msg.age <= 5.0 and msg.header.frame_id == 'base'
    graph.spin_until(lambda: {m.ns for m in shapes[-1].markers} == {'capsules', 'nearest'})
    for process in graph.processes[:2]:    # no people any more: not "nobody", but "unknown"
        graph.interrupt(process)
    graph.spin_until(lambda: apart[-1].state == Separation.UNKNOWN)
    assert 's old' in apart[-1].reason and np.isnan(apart[-1].links[0].distance)
    assert Separation.NOBODY not in {m.state for m in apart}
    assert graph.interrupt(node) == 0


def test_a_camera_that_is_off_by_five_centimetres_is_named(graph, request):
    _, got, told, _ = cameras(graph, request, shift=0.05)
    graph.spin_until(lambda: 'extrinsic' in status(told)[0])  # how soon: test_fusion
    text, values = status(told)
    assert text.startswith('/camera2/skeletons sees people')
    assert 0.02 < float(values['/camera2/skeletons off (m)']) < 0.08


@pytest.mark.parametrize('wrong', [[], ['-p', 'topics:=["/a","/a"]']])
def test_senseless_parameters_are_refused(graph, wrong):
    process = graph.start('-m', 'lifting_ros.ros.fuse_node', '--ros-args', *wrong)
    graph.spin_until(lambda: process.poll() is not None)
    assert process.poll() == 1 and 'cannot start' in process.log.read_text()

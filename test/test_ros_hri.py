"""REP-155: what a consumer that knows the REP alone finds; topics of people who come and go."""
# ruff: noqa: I001 (ros_support goes first: it skips where there is no ROS)

import copy
import json
import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest
from ros_support import HERE, LIMIT, Graph

import ros_interfaces
from rclpy.serialization import deserialize_message
from std_msgs.msg import Header

import rep155_source
from test_ros_pose_node import Bench
from lifting_ros.human_model import ANGLES, LINK_OF_JOINT
from lifting_ros.ros import hri, hri_body
from lifting_ros.ros.body_states import BodyStates
from lifting_ros.ros.conversions import to_array
from lifting_ros.ros.hri import SKELETON2D
from lifting_ros.skeleton import INDEX, JOINTS


# ---------------------------------------------------------------------- over DDS, real messages
@pytest.fixture(scope='module')
def seen(tmp_path_factory, request):
    """What the consumer has found, the source's output, and the number of its first frame."""
    env = ros_interfaces.environment(request.config)
    graph = Graph(tmp_path_factory.mktemp('rep155'))
    try:
        consumer = graph.start(os.path.join(HERE, 'rep155_consumer.py'), **env)
        source = graph.start(os.path.join(HERE, 'rep155_source.py'), **env)
        assert source.wait(LIMIT + 60) == 0, source.log.read_text()
        consumer.send_signal(signal.SIGINT)
        assert consumer.wait(LIMIT) == 0, consumer.log.read_text()
        said = source.log.read_text()
        first = int(said.split('first ')[1].split()[0])
        return json.loads(consumer.log.read_text().splitlines()[-1]), said, first
    finally:
        graph.close()


def frame_of(stamp, first):
    """Number of the clip's frame with a stamp, ns; those sent while waiting show frame 0."""
    count = round((stamp * 1e-9 - 1000) * 30)
    return max(0, count - first)


def test_the_consumer_finds_every_body(seen):
    found, _, _ = seen
    assert set(found['bodies']) == set(rep155_source.SHIFT)
    stamps = [stamp for stamp, _ in found['lists']]
    assert [ids for _, ids in found['lists']][-1] == [], 'nobody is tracked once images cease'
    assert stamps == sorted(stamps)
    for name, body in found['bodies'].items():
        some = 40 if name == 'carl3' else 85
        for topic, count in body['counts'].items():
            assert count >= (1 if topic == 'urdf' else some), (name, topic)
    assert any('carl3' not in ids and 'anna1' in ids for _, ids in found['lists'])


def test_the_frames_are_one_tree(seen):
    found, _, _ = seen
    assert found['roots'] == ['camera_optical']
    for name, body in found['bodies'].items():
        assert len(body['links']) == 27 and f'body_{name}' in body['links']
        assert {f'{n}_{name}' for n in ('l_wrist', 'r_ankle', 'head', 'waist', 'l_p_hip')} <= set(
            body['links'])


def test_forward_kinematics_agree_with_the_joints_within_the_stated_residual(seen):
    found, _, first = seen
    for name, body in found['bodies'].items():
        check = body['check']
        assert check['compared'] > 1000 and check['tf_off'] < 1e-6
        errors, moved = [], 0
        for stamp, points in check['points'].items():
            if stamp not in check['residual']:
                continue
            n = frame_of(int(stamp), first)
            moved = max(moved, n)
            with np.load(rep155_source.CLIP, allow_pickle=False) as data:
                truth = data['joints'][n].astype(float) + rep155_source.SHIFT[name]
            for j, link in LINK_OF_JOINT.items():
                away = np.linalg.norm(np.array(points[f'{link}_{name}']) - truth[j])
                stated = check['residual'][stamp][f'{link}_{name}']
                assert away <= stated + 1e-5, (name, n, JOINTS[j])
                errors.append(away)
        assert moved >= 40 and np.mean(errors) < 0.012 and max(errors) < 0.05


def test_what_the_image_says(seen):
    found, _, _ = seen
    with np.load(rep155_source.CLIP, allow_pickle=False) as data:
        keypoints, size = data['keypoints'], data['size'].astype(float)
    body = found['bodies']['anna1']
    assert np.allclose(body['roi'][0], [10 / size[0], 20 / size[1], 109 / size[0],
                                        219 / size[1], 0.75])
    assert body['cropped'][0] == [100, 200, 'bgr8', '070809']
    assert np.allclose(body['velocity'][0], [0.1, 0.2, 0.3], atol=1e-6)
    points = np.array(body['skeleton2d'][0])
    assert points.shape == (18, 3)
    last = keypoints[rep155_source.FRAMES - 1] / size
    # the REP's numbers, written out: neck 1, right wrist 4, left wrist 7, left ankle 13
    for number, name in ((0, 'nose'), (1, 'neck'), (2, 'right_shoulder'), (4, 'right_wrist'),
                         (7, 'left_wrist'), (8, 'right_hip'), (13, 'left_ankle')):
        assert np.allclose(points[number, :2], np.clip(last[INDEX[name]], 0, 1), atol=1e-6)
        assert points[number, 2] == 0.5
    assert points[9].tolist() == [0, 0, 0]               # right knee: not seen
    assert not points[14:].any()                         # eyes and ears: not estimated
    assert len(set(SKELETON2D)) == 14


def test_topics_of_people_who_have_gone_are_closed(seen):
    _, said, _ = seen
    assert "left ['/humans/bodies/tracked'] False" in said
    assert "'ros4hri bodies': 3" in said or "'ros4hri bodies': 2" in said


def test_the_pose_node_publishes_them_by_a_parameter(tmp_path, request, monkeypatch):
    for variable, value in ros_interfaces.environment(request.config).items():
        monkeypatch.setenv(variable, value)
    bench = Bench(tmp_path, '--ros-args', '-p', 'ros4hri:=true', '-p', 'tf:=joints')
    try:
        consumer = bench.start(os.path.join(HERE, 'rep155_consumer.py'))
        bench.info()

        def said(line):
            return line in consumer.log.read_text().splitlines()

        def whole():
            bench.ask(bench.image(people=2))
            return said('whole abc00') and said('whole abc01')
        bench.spin_until(whole)
        for _ in range(5):  # it hears by now: no image goes by without a list
            stamp = bench.ask(bench.image(people=2)).header.stamp
            line = f'listed {stamp.sec * 10**9 + stamp.nanosec}'
            bench.spin_until(lambda line=line: said(line))
        consumer.send_signal(signal.SIGINT)
        assert consumer.wait(LIMIT) == 0, consumer.log.read_text()
        found = json.loads(consumer.log.read_text().splitlines()[-1])
        assert set(found['bodies']) == {'abc00', 'abc01'}
        assert found['roots'] == ['camera_optical']       # one tree, frames of joints included
        for body in found['bodies'].values():
            assert body['check']['compared'] >= 27 and body['check']['tf_off'] < 1e-6
            assert len(body['links']) == 27 + 17
            assert min(body['counts'].values()) >= 1 or body['counts']['velocity'] == 0
        assert 'ros4hri residual (mm)' in bench.values()
    finally:
        bench.close()


def test_without_hri_msgs_one_line_says_so(tmp_path):
    graph = Graph(tmp_path)
    try:
        process = graph.start('-c', 'import sys; sys.modules["hri_msgs"] = None\n'
                              f'sys.path.insert(0, {HERE!r})\n'
                              'import rep155_source; sys.exit(rep155_source.main())')
        assert process.wait(LIMIT) == 3
        text = process.log.read_text()
        assert text.count('hri_msgs is not installed') == 1 and 'Traceback' not in text
    finally:
        graph.close()


# ------------------------------------------------------------ in this process, no graph around it
class Recorder:
    """A publisher that keeps copies."""

    def __init__(self, kind, topic):
        self.kind, self.topic, self.sent, self.listeners = kind, topic, [], 1

    def publish(self, msg):
        if isinstance(msg, bytes):
            msg = deserialize_message(msg, self.kind)
        self.sent.append(copy.deepcopy(msg))

    def get_subscription_count(self):
        return self.listeners


class FakeNode:
    """The few calls of a node that are used."""

    def __init__(self):
        self.open, self.all, self.parameters = {}, {}, {}

    def create_publisher(self, kind, topic, profile):
        self.open[topic] = self.all[topic] = Recorder(kind, topic)
        return self.open[topic]

    def destroy_publisher(self, publisher):
        self.open.pop(publisher.topic, None)

    def create_timer(self, period, callback, clock=None):
        return callback

    def destroy_timer(self, timer):
        pass

    def has_parameter(self, name):
        return name in self.parameters

    def declare_parameter(self, name, value, descriptor):
        assert name not in self.parameters
        self.parameters[name] = value

    def set_parameters(self, parameters):
        for p in parameters:
            self.parameters[p.name] = p.value

    def undeclare_parameter(self, name):
        del self.parameters[name]

    def get_logger(self):
        return SimpleNamespace(error=lambda text: None)


def plain(**defaults):
    """Stand-in for a message: fields with values."""
    def make(**values):
        return SimpleNamespace(**{**copy.deepcopy(defaults), **values})
    return make


MESSAGES = SimpleNamespace(
    IdsList=plain(header=None, ids=[]), Point=plain(x=0.0, y=0.0, c=0.0),
    Region=plain(header=None, xmin=0.0, ymin=0.0, xmax=0.0, ymax=0.0, c=0.0),
    Skeleton2D=plain(header=None, skeleton=[]))


@pytest.fixture
def world(monkeypatch):
    """Bodies on a node that records; its clock; the frames that were sent."""
    # the type may be missing here; no ROS message is no harm
    monkeypatch.setattr(hri.compat, 'TFMessage', plain(transforms=[]))
    w = SimpleNamespace(node=FakeNode(), now=0.0)
    w.bodies = hri.Bodies(w.node, MESSAGES, clock=lambda: w.now)
    w.frames = w.node.open.pop('/tf').sent
    w.header = Header(frame_id='eye')
    return w


def test_topics_come_and_go_with_their_people(world):
    found, image = rep155_source.people(0)
    topics = {f'/humans/bodies/{p.id}/{t}' for p in found for t in hri_body.TOPICS}
    world.bodies.publish(world.header, found, image)
    assert set(world.node.open) == topics | {'/humans/bodies/tracked'}
    assert set(world.node.parameters) == {f'human_description_{p.id}' for p in found}
    first = world.node.open['/humans/bodies/anna1/roi']
    world.now = 1.5
    world.bodies.publish(world.header, found[1:], image)        # lost for a moment
    assert world.node.open['/humans/bodies/tracked'].sent[-1].ids == [p.id for p in found[1:]]
    world.bodies.publish(world.header, found, image)
    assert world.node.open['/humans/bodies/anna1/roi'] is first
    for world.now in (2.0, 3.0, 3.6):
        world.bodies.publish(world.header, found[1:], image)
    assert not [t for t in world.node.open if 'anna1' in t]
    assert 'human_description_anna1' not in world.node.parameters
    assert len([t for t in world.node.open if 'bert2' in t]) == len(hri_body.TOPICS)
    world.now = 7.0
    world.bodies._on_timer()
    assert set(world.node.open) == {'/humans/bodies/tracked'} and not world.node.parameters
    assert world.node.all['/humans/bodies/tracked'].sent[-1].ids == []
    world.bodies.close()
    assert not world.node.open


def test_nothing_is_made_for_nobody(world):
    found, image = rep155_source.people(0)
    world.bodies.publish(world.header, found[:1], image)
    for publisher in world.node.open.values():
        publisher.listeners = 0
        publisher.sent.clear()
    world.bodies.publish(world.header, found[:1], image)
    assert [t for t, p in world.node.open.items() if p.sent] == ['/humans/bodies/tracked']
    assert len(world.frames) == 2  # frames are for everybody


def test_without_positions_there_is_the_image_alone(world):
    found, image = rep155_source.people(0)
    found[0].joints = np.full((17, 3), np.nan)
    found[0].velocity = np.full((17, 3), np.nan)
    world.bodies.publish(world.header, found, image)
    sent = {t.split('/')[-1] for t, p in world.node.open.items() if p.sent and 'anna1' in t}
    assert sent == {'roi', 'skeleton2d', 'cropped'}
    assert {t.child_frame_id for t in world.frames[0].transforms
            if 'anna1' in t.child_frame_id} == set()
    assert any('bert2' in t.child_frame_id for t in world.frames[0].transforms)


def test_the_urdf_follows_a_person_who_turns_out_different(world):
    found, image = rep155_source.people(0)
    person = found[0]
    joints = person.joints.copy()
    urdf = '/humans/bodies/anna1/urdf'
    for n in range(40):
        world.now = 0.1 * n
        person.joints = joints * (1.0 if n < 10 else 1.1)
        world.bodies.publish(world.header, [person])
    sent = world.node.open[urdf].sent
    assert 2 <= len(sent) <= 4                    # once a second at most
    assert world.node.parameters['human_description_anna1'] == sent[-1].data
    assert sent[-1].data != sent[0].data
    for n in range(40, 80):
        world.now = 0.1 * n
        world.bodies.publish(world.header, [person])
    assert len(world.node.open[urdf].sent) - len(sent) <= 4


def test_positions_may_be_in_another_frame_than_the_image(world):
    found, image = rep155_source.people(0)
    elsewhere = Header(frame_id='odom')
    world.bodies.publish(elsewhere, found[:1], image, image_header=world.header,
                         body_frames=False)
    out = {t.split('/')[-1]: p.sent[-1].header.frame_id for t, p in world.node.open.items()
           if p.sent and not t.endswith('urdf')}
    assert {k for k, v in out.items() if v == 'odom'} == {'joint_states', 'residual', 'position',
                                                         'velocity'}
    assert {k for k, v in out.items() if v == 'eye'} == {'tracked', 'roi', 'skeleton2d',
                                                        'cropped'}
    assert len(world.frames[0].transforms) == 26  # body_<id> is the node's own business then
    states = world.node.open['/humans/bodies/anna1/joint_states'].sent[-1]
    assert list(states.name) == [f'{a}_anna1' for a in ANGLES] and len(states.position) == 20


def test_the_twist_is_that_of_the_skeletons(world):
    found, image = rep155_source.people(0)
    for p in found:
        p.velocity = np.random.default_rng(0).normal(size=(17, 3))
    message = to_array(found, world.header, 640, 480)
    world.bodies.publish(world.header, found, image, skeletons=message)
    told = world.node.open['/humans/bodies/bert2/velocity'].sent[-1].twist
    assert told == message.skeletons[1].velocity.twist and told.angular.x != 0
    world.bodies.publish(world.header, found, image)       # worked out where it is not given
    again = world.node.open['/humans/bodies/bert2/velocity'].sent[-1].twist
    assert np.allclose([again.linear.y, again.angular.z], [told.linear.y, told.angular.z])


def test_a_person_that_cannot_be_crops_nothing_and_breaks_nothing(world):
    found, image = rep155_source.people(0)
    found[0].box = np.full(4, np.nan)
    found[1].box = np.array([-50.0, -50, -10, -10])
    found[2].joints = np.zeros((17, 3))           # no axes
    world.bodies.publish(world.header, found, image)
    assert not world.node.open['/humans/bodies/anna1/roi'].sent
    assert not world.node.open['/humans/bodies/bert2/cropped'].sent
    assert not world.node.open['/humans/bodies/carl3/joint_states'].sent
    assert world.node.open['/humans/bodies/anna1/joint_states'].sent


def leaves(thing):
    """What a message says, as a flat list."""
    if hasattr(thing, 'get_fields_and_field_types'):
        return [x for f in thing.get_fields_and_field_types() for x in leaves(getattr(thing, f))]
    if isinstance(thing, SimpleNamespace):
        return leaves(vars(thing))
    if isinstance(thing, dict):
        return [x for k in sorted(thing) for x in (k, *leaves(thing[k]))]
    if not isinstance(thing, str) and hasattr(thing, '__iter__'):
        return [x for one in thing for x in leaves(one)]
    return [thing]


def near(thing):
    return [pytest.approx(x, abs=1e-9) if isinstance(x, float) else x for x in leaves(thing)]


def test_everybody_is_told_his_own_in_whatever_order_they_come(world, rng):
    """More orders and conditions than are remembered, each against the person alone."""
    found, image = rep155_source.people(0)
    for p in found:
        p.velocity = rng.normal(size=(17, 3))
    alone = SimpleNamespace(node=FakeNode())
    alone.bodies = hri.Bodies(alone.node, MESSAGES, clock=lambda: 0.0)
    for n in range(25):
        who = [copy.deepcopy(found[i]) for i in rng.permutation(3)[:rng.integers(1, 4)]]
        for p in who:
            p.joints = p.joints + 0.1 * rng.normal(size=3)
            p.keypoints = p.keypoints + rng.normal(size=p.keypoints.shape)
            if rng.random() < 0.2:
                p.velocity = np.full((17, 3), np.nan)
            if rng.random() < 0.2:
                p.box = np.full(4, np.nan)
            if rng.random() < 0.2:
                p.joints = np.full((17, 3), np.nan)
        header = Header(frame_id='eye')
        header.stamp.sec = n
        for publisher in (*world.node.open.values(), *alone.node.open.values()):
            publisher.sent.clear()
        world.frames.clear()
        states = BodyStates(who) if n % 2 else None
        world.bodies.publish(header, who, image, states=states)
        assert world.node.open['/humans/bodies/tracked'].sent[-1].ids == [p.id for p in who]
        mine = {t.child_frame_id: t for m in world.frames for t in m.transforms}
        theirs = {}
        for p in who:
            alone.bodies.publish(header, [p], image)
            for m in alone.node.open['/tf'].sent[-1:]:
                theirs.update({t.child_frame_id: t for t in m.transforms})
        assert leaves(mine) == near(theirs)
        for p in who:
            for topic in ('roi', 'skeleton2d', 'joint_states', 'residual', 'position',
                          'velocity'):
                path = f'/humans/bodies/{p.id}/{topic}'
                got, want = world.node.open[path].sent, alone.node.open[path].sent
                assert len(got) == len(want) and leaves(got) == near(want), (n, path)

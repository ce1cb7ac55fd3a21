"""The node over real DDS, with a small pipeline: headers, bad input, newest frame, topics."""

# ruff: noqa: I001 (ros_support goes first: it skips where there is no ROS)
import array
import math
import os
import time
from types import SimpleNamespace

import numpy as np
import pytest
from ros_support import HERE, LIMIT, Graph


from diagnostic_msgs.msg import DiagnosticArray
import rclpy
from rcl_interfaces.msg import Parameter, ParameterType
from rcl_interfaces.srv import DescribeParameters, SetParameters
from scipy.spatial.transform import Rotation
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image
from visualization_msgs.msg import Marker, MarkerArray

from lifting_ros.camera import Camera
from lifting_ros.msg import Joint, SkeletonArray, SkeletonModel
from fake_pose_node import FakePipeline
from lifting_ros.ros import compat, hri, parameters, qos
from lifting_ros.ros.conversions import fill_camera_info
from lifting_ros.ros.images import fill
from lifting_ros.ros.pose_node import PoseNode
from lifting_ros.ros.transforms import Transforms
from lifting_ros.skeleton import JOINTS, PARENTS

W, H = 64, 48


class Bench(Graph):
    """A graph with the fake node, and the camera that feeds it."""

    def __init__(self, tmp_path, *arguments, delay=0.0, wait=True, **env):
        super().__init__(tmp_path)
        n = self.node
        self.images = n.create_publisher(Image, 'image', qos_profile_sensor_data)
        self.infos = n.create_publisher(CameraInfo, 'camera_info', qos_profile_sensor_data)
        self.answers, self.sent, self.repeats, self.diagnostics = [], 0, 0, []
        n.create_subscription(SkeletonArray, 'pose/skeletons', self.answers.append, 100)
        n.create_subscription(DiagnosticArray, '/diagnostics',
                              lambda m: self.diagnostics.extend(m.status), 10)
        self.process = self.start(os.path.join(HERE, 'fake_pose_node.py'), *arguments,
                                  FAKE_DELAY=str(delay), **env)
        self.spin_until(lambda: not wait or self.images.get_subscription_count()
                        and self.infos.get_subscription_count()
                        and n.count_publishers('pose/skeletons'))

    def wire(self, msg):
        """What is published for an image."""
        return msg

    def image(self, people=1, red=0, pixels=(H, W)):
        """Return an image message with a number of its own."""
        self.sent += 1
        picture = np.zeros((*pixels, 3), np.uint8)
        picture[0, 0] = people, self.sent % 256, red
        msg = fill(Image(), picture)
        msg.header.frame_id = 'camera_optical'
        msg.header.stamp.sec, msg.header.stamp.nanosec = 1000 + self.sent, 123_456_789
        return msg

    def info(self, f=50.0):
        """Send a calibration (0: K is all zero) until an answer shows that it is known."""
        msg = CameraInfo(width=W, height=H)
        if f:
            fill_camera_info(msg, Camera([[f, 0, W / 2], [0, f, H / 2], [0, 0, 1]], W, H))

        def known():
            self.infos.publish(msg)
            z = self.ask(self.image()).skeletons[0].joints[0].position.z
            return math.isclose(z, f + 0.04) if f else math.isnan(z)
        self.spin_until(known)

    def ask(self, msg, limit=LIMIT):
        """Publish an image until it is answered (best effort may lose one); the answer."""
        before, times = len(self.answers), []

        def found():  # those to earlier images, asked twice, may still come
            return self.answered(msg, before)

        def publish():
            assert self.process.poll() is None, self.process.log.read_text()
            self.images.publish(self.wire(msg))
            times.append(1)
        self.spin_until(found, limit, again=publish, slower=1.5)
        self.repeats += len(times) - 1
        return found()[0]

    def answered(self, msg, since=0):
        """Answers to an image, of those that have come since there were so many."""
        return [a for a in self.answers[since:] if a.header.stamp == msg.header.stamp]

    def give(self, msg):
        """Publish an image until the pipeline has taken it."""
        line = f'took {msg.header.stamp.sec}'
        self.spin_until(lambda: line in self.process.log.read_text().splitlines(),
                        again=lambda: self.images.publish(self.wire(msg)), every=2.0)

    def status(self, wanted, again=None):
        """Wait for a diagnostic whose message contains a text."""
        self.diagnostics.clear()
        self.spin_until(lambda: any(wanted in s.message for s in self.diagnostics), again=again)

    def values(self, check=lambda values: True, more=2):
        """Wait for diagnostics of now (the first may be of before) that a check finds good.

        Returns:
            Their values, a dict of strings.
        """
        self.diagnostics.clear()

        def good():
            return len(self.diagnostics) >= more and check(newest())

        def newest():
            return {v.key: v.value for v in self.diagnostics[-1].values}
        self.spin_until(good)
        return newest()


@pytest.fixture(scope='module')
def bench(tmp_path_factory):
    """One node for several tests: it takes seconds to start."""
    b = Bench(tmp_path_factory.mktemp('bench'))
    yield b
    b.close()


def test_header_is_copied_and_positions_are_there(bench):
    bench.info()
    stamps = []
    for people in (1, 0, 3, 2):
        msg = bench.image(people)
        answer = bench.ask(msg)
        assert answer.header == msg.header
        assert len(answer.skeletons) == people
        assert 0 <= answer.processing_latency
        stamps.append(answer.header.stamp.sec)
    assert stamps == sorted(set(stamps))
    skeleton = answer.skeletons[1]
    assert skeleton.id == 'abc01' and skeleton.matched and not skeleton.occluded
    assert [j.name for j in skeleton.joints] == list(JOINTS)
    first = skeleton.joints[0]
    assert first.source == Joint.OBSERVED and first.confidence == 0.75
    assert (first.pixel_x, first.pixel_y) == (3.0, 4.0)
    assert first.position.x == bench.sent % 256 and math.isclose(first.position.z, 50.04)
    assert np.allclose(np.reshape(first.covariance, (3, 3)), 0.01 * np.eye(3))
    assert (skeleton.roi.x_offset, skeleton.roi.y_offset) == (1, 2)
    assert (skeleton.roi.width, skeleton.roi.height) == (9, 11)
    assert skeleton.root.pose.position == first.position
    assert np.allclose(np.reshape(skeleton.root.covariance, (6, 6))[:3, :3], 0.01 * np.eye(3))
    q = skeleton.root.pose.orientation
    assert math.isclose(q.x**2 + q.y**2 + q.z**2 + q.w**2, 1.0)


BAD = {
    'unknown encoding': lambda m: setattr(m, 'encoding', 'infrared9'),
    'depth image': lambda m: setattr(m, 'encoding', '32FC1'),
    'truncated': lambda m: setattr(m, 'data', m.data[:100]),
    'no data': lambda m: setattr(m, 'data', array.array('B')),
    'zero size': lambda m: (setattr(m, 'width', 0), setattr(m, 'height', 0)),
    'small step': lambda m: setattr(m, 'step', W),
    'huge size': lambda m: (setattr(m, 'width', 2**31), setattr(m, 'height', 2**31)),
}


def test_alive_after_every_kind_of_bad_image(bench):
    bench.info()
    bench.ask(bench.image())

    def rejected():
        return bench.process.log.read_text().count('frame rejected')
    for name, spoil in BAD.items():
        msg, before = bench.image(), rejected()
        spoil(msg)
        bench.spin_until(lambda before=before: rejected() > before,
                         again=lambda msg=msg: bench.images.publish(msg))
        assert bench.process.poll() is None, name
        good = bench.image()
        assert bench.ask(good).header == good.header, name
    bad = bench.image(red=13)
    bench.status('the pipeline fell over', again=lambda: bench.images.publish(bad))
    answered = bench.ask(bench.image())
    assert answered.header.stamp.sec == 1000 + bench.sent
    bench.values(lambda values: int(values['frames rejected']) >= len(BAD))
    text = bench.process.log.read_text()
    for wanted in ('infrared9', 'depth image', 'cut off', 'no pixels', 'step is'):
        assert wanted in text, wanted


def test_one_person_s_failure_loses_no_other(bench):
    answer = bench.ask(bench.image(people=3, red=14))
    assert [s.id for s in answer.skeletons] == ['abc01', 'abc02']


def test_without_calibration_pixels_only_and_said_once(tmp_path):
    bench = Bench(tmp_path, '--ros-args', '-p', 'camera_info_wait:=0.0')
    try:
        for _ in range(3):
            answer = bench.ask(bench.image())
            joint = answer.skeletons[0].joints[0]
            assert math.isnan(joint.position.z) and np.isnan(joint.covariance).all()
            assert joint.pixel_x == 3.0 and joint.source == Joint.UNKNOWN
            assert math.isnan(answer.skeletons[0].root.pose.orientation.w)
        bench.status('no camera_info')
        bench.info(f=0)
        bench.status('K is all zero', again=lambda: bench.info(f=0))
        for _ in range(3):
            assert math.isnan(bench.ask(bench.image()).skeletons[0].joints[0].position.z)
        text = bench.process.log.read_text()
        assert text.count('no message on') == 1
        assert text.count('K is all zero') == 1
        bench.info()
        assert not math.isnan(bench.ask(bench.image()).skeletons[0].joints[0].position.z)
        wrong = CameraInfo(width=W, height=H, k=np.diag([1.0, -1.0, 1.0]).ravel())
        bench.spin_until(lambda: math.isnan(
            bench.ask(bench.image()).skeletons[0].joints[0].position.z),
            again=lambda: bench.infos.publish(wrong))
    finally:
        bench.close()


def test_newest_frame_wins_and_nothing_queues(tmp_path):
    delay, many = 0.25, 60
    bench = Bench(tmp_path, delay=delay)
    try:
        bench.info()
        bench.ask(bench.image())
        before = bench.values()
        # after this one nothing that was sent before is still to be answered
        bench.ask(bench.image())
        first, begin = bench.sent + 1, time.monotonic()
        for _ in range(many):
            bench.images.publish(bench.image(people=0))
            bench.spin(0.01)
        took, last = time.monotonic() - begin, 1000 + bench.sent
        bench.spin_until(lambda: bench.answers[-1].header.stamp.sec == last)
        numbers = [n for n in (a.header.stamp.sec - 1000 for a in bench.answers) if n >= first]
        assert numbers == sorted(set(numbers))
        # while they were sent, one each time it was free; afterwards the newest alone (with a
        # queue of ten there would be ten more)
        assert len(numbers) <= took / delay + 2 + 3, numbers
        done = int(before['frames processed']) + 1 + len(numbers)
        after = bench.values(lambda values: int(values['frames processed']) >= done)
        dropped = int(after['frames dropped']) - int(before['frames dropped'])
        assert dropped == pytest.approx(many - len(numbers), abs=2 + bench.repeats)
        assert bench.interrupt(bench.process) == 0
    finally:
        bench.close()


def test_markers_and_picture_are_there_for_who_asks(bench):
    markers, pictures, models = {}, {}, []
    bench.node.create_subscription(SkeletonModel, 'pose/skeleton_model', models.append,
                                   qos.LATCHED)
    bench.spin_until(lambda: models)  # latched: it was published long ago
    assert models[0].joint_names == list(JOINTS) and list(models[0].parents) == list(PARENTS)
    bench.info()

    def on_markers(msg):
        for m in msg.markers:
            if m.action == Marker.ADD:
                markers[m.header.stamp.sec] = msg.markers
    bench.node.create_subscription(MarkerArray, 'pose/markers', on_markers, 10)
    bench.node.create_subscription(
        Image, 'pose/image_annotated', lambda m: pictures.update({m.header.stamp.sec: m}), 10)
    # one after another until somebody who has just come is heard by the node
    bench.spin_until(lambda: set(markers) & set(pictures),
                     again=lambda: bench.ask(bench.image(people=2)))
    (number, *_) = set(markers) & set(pictures)
    shown = {(m.ns, m.id) for m in markers[number] if m.action == Marker.ADD}
    assert len(shown) == 2 * (3 + 17)
    assert {ns for ns, _ in shown} == {'bones', 'joints', 'labels', 'ellipsoids'}
    assert all(m.header.frame_id == 'camera_optical' for m in markers[number])
    picture = pictures[number]
    assert (picture.height, picture.width, picture.encoding) == (H, W, 'bgr8')
    last = bench.ask(bench.image(people=1)).header.stamp.sec
    bench.spin_until(lambda: last in markers)
    gone = {(m.ns, m.id) for m in markers[last] if m.action == Marker.DELETE}
    assert gone < shown and len(gone) == 20


def test_parameters_are_described_bounded_and_changeable(bench):
    describe = bench.node.create_client(DescribeParameters, 'pose/describe_parameters')
    change = bench.node.create_client(SetParameters, 'pose/set_parameters')
    names = [p.name for p in parameters.PARAMETERS]
    told = bench.call(describe, DescribeParameters.Request(names=names)).descriptors
    for p, d in zip(parameters.PARAMETERS, told):
        assert d.description == p.description and d.read_only == p.fixed
        bounds = [(r.from_value, r.to_value) for r in (*d.integer_range, *d.floating_point_range)]
        assert bounds == ([] if p.low is None else [(p.low, p.high)])

    def put(name, kind, **value):
        p = Parameter(name=name)
        p.value.type = kind
        for k, v in value.items():
            setattr(p.value, k, v)
        return bench.call(change, SetParameters.Request(parameters=[p])).results[0]

    double = ParameterType.PARAMETER_DOUBLE
    assert put('threshold', double, double_value=0.6).successful
    assert not put('threshold', double, double_value=1.5).successful
    assert not put('device', ParameterType.PARAMETER_STRING, string_value='cuda').successful
    up = ParameterType.PARAMETER_DOUBLE_ARRAY
    assert put('up', up, double_array_value=[0.0, -1.0, 0.0]).successful
    assert not put('up', up, double_array_value=[0.0, -1.0]).successful
    bench.ask(bench.image())


def test_a_bad_value_at_the_start_is_one_clear_line(tmp_path):
    graph = Graph(tmp_path)
    try:
        p = graph.start(os.path.join(HERE, 'fake_pose_node.py'), '--ros-args', '-p',
                        'device:=tpu')
        assert p.wait(LIMIT) == 1
        text = p.log.read_text()
        assert 'auto, cpu, cuda' in text and 'device' in text and 'Traceback' not in text
    finally:
        graph.close()


@pytest.mark.parametrize('name, value, word', [
    ('threshold', 7.0, '0 to 1'), ('threshold', 'much', 'double'), ('threshold', 1, 'double'),
    ('up', [1.0], '3 numbers'), ('max_people', 0, '1 to 64')])
def test_bad_values_are_named(tmp_path, name, value, word):
    graph = Graph(tmp_path)
    try:
        with pytest.raises(ValueError, match=f'{name}.*{word}'):
            PoseNode(lambda values: FakePipeline(), context=graph.context,
                     parameter_overrides=[rclpy.Parameter(name, value=value)])
    finally:
        graph.close()


def test_who_asks_for_more_than_is_offered_is_named(bench):
    bench.node.create_subscription(SkeletonArray, 'pose/skeletons', lambda m: None, qos.LATCHED)
    bench.spin_until(lambda: 'gets nothing from /pose/skeletons' in bench.process.log.read_text())


@pytest.fixture
def node(tmp_path):
    """The node in this process, without a graph around it; publish_tf is set."""
    graph = Graph(tmp_path)
    made = PoseNode(lambda values: FakePipeline(), context=graph.context,
                    parameter_overrides=[rclpy.Parameter('publish_tf', value=True)])
    made.graph = graph
    yield made
    made.destroy_node()
    graph.close()


def one_image(people):
    picture = np.zeros((H, W, 3), np.uint8)
    picture[0, 0] = people, 7, 0
    msg = fill(Image(), picture)
    msg.header.frame_id, msg.header.stamp.sec = 'eye', 5
    return msg


def test_transforms_of_people(node, monkeypatch):
    """What is broadcast; that it arrives as frames is tested over DDS (test_ros_tf.py)."""
    sent = []

    def people(self, header, people, quaternions, joints=False):
        sent.append((header, [p.id for p in people], [p.joints[0] for p in people], quaternions))
        return True
    monkeypatch.setattr(Transforms, 'people', people)
    node._on_image(one_image(1), {})
    assert not np.isfinite(sent[-1][3]).any()   # no calibration yet: no positions, no frames
    node.calibration.take(fill_camera_info(CameraInfo(), Camera([[50, 0, 9], [0, 50, 9],
                                                                [0, 0, 1]], W, H)))
    node._on_image(one_image(2), {})
    header, names, places, quaternions = sent[-1]
    assert names == ['abc00', 'abc01']
    assert header.frame_id == 'eye' and header.stamp.sec == 5
    assert [p[1] for p in places] == [0.01, 1.01]
    assert np.allclose(np.linalg.norm(quaternions, axis=1), 1.0)


@pytest.mark.parametrize('framed', [(False, True), (True, True), None])
def test_frames_of_bodies_are_broadcast_once(node, monkeypatch, framed):
    """With REP-155's, whose they are; where those cannot be, without."""
    sent, asked = [], []

    def publish(header, people, image, states, body_frames, image_header):
        asked.append(body_frames)
        if framed is None:
            raise ValueError('nothing is published')
        return np.array(framed)

    def people(self, header, people, quaternions, joints=False):
        assert len(people) == len(quaternions)
        sent.append([p.id for p in people])
        return True
    monkeypatch.setattr(Transforms, 'people', people)
    monkeypatch.setattr(hri, 'start', lambda n: SimpleNamespace(
        publish=publish, close=lambda: None, status=dict))
    node.set_parameters([rclpy.Parameter('ros4hri', value=True)])
    node._on_image(one_image(2), {})
    node.set_parameters([rclpy.Parameter('tf', value='joints')])
    node._on_image(one_image(2), {})
    assert asked == [True, False]
    assert sent[0] == [n for n, done in zip(('abc00', 'abc01'), framed or (False, False))
                       if not done]


def test_view_frame_is_upright_and_said_once(node, monkeypatch):
    sent = []
    monkeypatch.setattr(compat, 'transform_broadcaster',
                        lambda n, static=False: SimpleNamespace(sendTransform=sent.extend))
    up = np.array([0.0, -math.cos(0.3), -math.sin(0.3)])  # looking down by 0.3 rad
    node.set_parameters([rclpy.Parameter('view_frame', value='people_view'),
                         rclpy.Parameter('up', value=(2 * up).tolist())])
    for _ in range(2):
        node._on_image(one_image(0), {})
    (t,) = sent
    assert (t.header.frame_id, t.child_frame_id) == ('eye', 'people_view')
    q = t.transform.rotation
    axes = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
    assert np.allclose(axes[:, 2], up)
    assert np.allclose(axes[:, 0], [0, -math.sin(0.3), math.cos(0.3)])
    near = [0.0, -math.cos(0.31), -math.sin(0.31)]        # estimated anew, half a degree off
    node.set_parameters([rclpy.Parameter('up', value=near)])
    node._on_image(one_image(0), {})
    assert len(sent) == 1
    node.set_parameters([rclpy.Parameter('up', value=[0.0, 0.0, 0.0])])
    node._on_image(one_image(0), {})
    assert len(sent) == 2


def test_without_tf_packages_the_node_goes_on(node, monkeypatch, capfd):
    monkeypatch.setattr(compat, 'transform_broadcaster', lambda n, static=False: None)
    for _ in range(3):
        node._on_image(one_image(1), {})
    assert node.diagnostics.problem is None and node.diagnostics.processed == 3
    assert ''.join(capfd.readouterr()).count('transforms are asked for') == 1


def test_stamps_that_stand_still_are_named_once(node, capfd):
    for _ in range(3):
        node._on_image(one_image(0), {})
    assert ''.join(capfd.readouterr()).count('stamps of the images do not increase') == 1


def test_missing_weights_are_named(tmp_path):  # damaged ones: test_ros_faults
    path = tmp_path / 'missing.safetensors'
    graph = Graph(tmp_path)
    try:
        p = graph.start('-m', 'lifting_ros.ros.pose_node', '--ros-args', '-p', f'weights:={path}')
        graph.spin_until(lambda: 'cannot start' in p.log.read_text())
        assert str(path) in p.log.read_text() and 'Traceback' not in p.log.read_text()
        assert p.poll() is None and graph.interrupt(p) == 0  # unconfigured: see the life cycle
    finally:
        graph.close()


def test_a_rate_limit_skips_and_counts(node):
    node.set_parameters([rclpy.Parameter('max_rate', value=0.001)])
    for _ in range(5):
        node._on_image(one_image(0), {})
    counts = node.diagnostics
    assert (counts.processed, counts.skipped, counts.frames.received) == (1, 4, 5)
    node.set_parameters([rclpy.Parameter('max_rate', value=0.0)])
    node._on_image(one_image(0), {})
    assert counts.processed == 2


@pytest.mark.parametrize('name, value, word', [
    ('target_frame', '/map', 'slash'), ('gravity_frame', 'a b', 'spaces'),
    ('tf', 'all', 'none, body, joints'), ('tf_timeout', 9.0, 'out of range'),
    ('up', [0.0, math.nan, 0.0], 'finite'), ('max_rate', -1.0, 'out of range')])
def test_changes_are_refused_with_a_reason(node, name, value, word):
    before = dict(node.values)
    (answer,) = node.set_parameters([rclpy.Parameter(name, value=value)])
    assert not answer.successful and name in answer.reason and word in answer.reason
    assert node.values == before


def test_what_is_known_of_gravity_is_said(node):
    assert node._up() == 'not known'
    node.pipeline.up = np.array([0.0, -math.cos(0.35), -math.sin(0.35)])
    assert node._up() == 'how people stand: the camera looks 20 deg down, rolled by 0 deg'
    node.gravity.source = 'imu'
    assert node._up().startswith('imu: ')


def test_depth_and_imu_are_subscribed_to_when_asked_for(node):
    def topics():
        return {s.topic_name for s in node.subscriptions}

    assert not topics() & {'/depth', '/imu'}
    node.set_parameters([rclpy.Parameter('depth', value=True), rclpy.Parameter('imu', value=True)])
    node._on_image(one_image(0), {})
    assert {'/depth', '/depth_info', '/imu'} <= topics()
    node.set_parameters([rclpy.Parameter('depth', value=False)])
    node._on_image(one_image(0), {})
    assert '/imu' in topics() and '/depth' not in topics()


@pytest.mark.parametrize('name, state', [('/image.subscription', 'inactive'),
                                         ('/pose/skeletons.publisher', 'unconfigured')])
def test_an_impossible_quality_of_service_is_named(tmp_path, name, state):
    graph = Graph(tmp_path)
    made = PoseNode(lambda values: FakePipeline(), context=graph.context, parameter_overrides=[
        rclpy.Parameter(f'qos_overrides.{name}.reliability', value='sometimes')])
    try:
        assert made._state_machine.current_state[1] == state
        assert 'sometimes' in made.diagnostics.reason or 'reliability' in made.diagnostics.reason
    finally:
        made.destroy_node()
        graph.close()

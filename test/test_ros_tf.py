"""TF at the stamp of the image: the buffer against scipy, the node over DDS."""
# ruff: noqa: I001 (ros_support goes first: it skips where there is no ROS)

import ctypes
import math
import os
import pathlib
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import ros_support  # noqa: F401
import ros_interfaces
from geometry_msgs.msg import TransformStamped
from scipy.spatial.transform import Rotation, Slerp
from sensor_msgs.msg import Imu
from std_msgs.msg import Header
from test_ros_lifecycle import Managed
from test_ros_pose_node import Bench  # noqa: F401

from lifting_ros.msg import SkeletonArray
from lifting_ros.frame_tree import Buffer, NotThere
from lifting_ros.ros import compat, frames, gravity
from lifting_ros.ros.transforms import Transforms
from lifting_ros.skeleton import JOINTS

MS = 1_000_000


# -------------------------------------------------------------------------------- the buffer
class Truth:
    """A tree of frames that turn at a constant rate and move in a straight line."""

    TREE = {'odom': 'map', 'base': 'odom', 'mast': 'base', 'eye': 'mast', 'arm': 'base'}

    def __init__(self, rng):
        self.axis = {f: rng.normal(size=3) for f in self.TREE}
        self.start = {f: Rotation.random(random_state=rng) for f in self.TREE}
        self.at, self.speed = ({f: rng.normal(size=3) for f in self.TREE} for _ in range(2))

    def edge(self, frame, seconds):
        turn = Rotation.from_rotvec(0.3 * seconds * self.axis[frame]) * self.start[frame]
        return turn, self.at[frame] + seconds * self.speed[frame]

    def point(self, target, source, seconds, x):
        """Coordinates in target of a point in source."""
        while source != 'map':
            turn, at = self.edge(source, seconds)
            x, source = turn.apply(x) + at, self.TREE[source]
        path = []
        while target != 'map':
            path.append(target)
            target = self.TREE[target]
        for frame in reversed(path):
            turn, at = self.edge(frame, seconds)
            x = turn.inv().apply(x - at)
        return x


@pytest.fixture
def filled(rng):
    truth, buffer = Truth(rng), Buffer()
    for i, frame in enumerate(Truth.TREE):
        for k in rng.permutation(60):  # out of order, each frame at stamps of its own
            s = 1.0 + 0.05 * k + 0.007 * i
            turn, at = truth.edge(frame, s)
            buffer.add(Truth.TREE[frame], frame, round(s * 1e9), at, turn.as_quat())
    return truth, buffer


def test_every_pair_of_frames_at_any_stamp(filled, rng):
    truth, buffer = filled
    names = ['map', *Truth.TREE]
    for _ in range(200):
        target, source = rng.choice(names, 2)
        seconds, x = rng.uniform(1.05, 3.9), rng.normal(size=3)
        r, t = buffer.lookup(target, source, round(seconds * 1e9))
        assert np.allclose(r @ x + t, truth.point(target, source, seconds, x), atol=1e-6)


def test_between_two_stamps_it_turns_at_a_constant_rate(rng):
    two, buffer = Rotation.random(2, random_state=rng), Buffer()
    for stamp, q, x in zip((0, 1000), two.as_quat(), (1.0, 3.0)):
        buffer.add('a', 'b', stamp, (x, 0, 0), q)
    r, t = buffer.lookup('a', 'b', 250)
    assert np.allclose(r, Slerp([0, 1000], two)(250).as_matrix()) and np.allclose(t, [1.5, 0, 0])


def test_what_is_not_there_is_named_and_never_guessed(filled):
    _, buffer = filled
    buffer.add('island', 'hut', 2_000_000_000, (0, 0, 0), (0, 0, 0, 1))
    for target, source, stamp, word, later in (
            ('map', 'eye', 9_000_000_000, 'before the stamp', True),
            ('map', 'eye', 500_000_000, 'after the stamp', False),
            ('map', 'nose', 2_000_000_000, "'nose' is not in TF", False),
            ('moon', 'eye', 2_000_000_000, "'moon' is not in TF", False),
            ('map', 'hut', 2_000_000_000, 'two trees', False)):
        with pytest.raises(NotThere, match=word) as caught:
            buffer.lookup(target, source, stamp)
        assert caught.value.later == later
    assert np.allclose(buffer.lookup('nose', 'nose', 5)[0], np.eye(3))


def test_static_ones_count_at_any_time_and_nonsense_is_refused(rng):
    buffer = Buffer()
    q = Rotation.random(random_state=rng)
    buffer.add('a', 'b', 7, (1, 2, 3), 5 * q.as_quat(), static=True)
    for stamp in (1, 10**18):
        r, t = buffer.lookup('b', 'a', stamp)
        assert np.allclose(r, q.inv().as_matrix()) and np.allclose(r @ [1, 2, 3] + t, 0)
    for bad in (('a', 'c', 1, (0, 0, math.nan), (0, 0, 0, 1)), ('a', 'c', 1, (0, 0, 0), (0,) * 4),
                ('a', 'a', 1, (0, 0, 0), (0, 0, 0, 1)), ('', 'c', 1, (0, 0, 0), (0, 0, 0, 1))):
        with pytest.raises(ValueError):
            buffer.add(*bad)
    buffer.add('b', 'a', 7, (1, 2, 3), (0, 0, 0, 1), static=True)  # a circle ends nothing
    with pytest.raises(NotThere):
        buffer.lookup('c', 'a', 1)


def test_time_that_jumps_back_starts_afresh_and_history_is_bounded():
    buffer = Buffer(keep=1.0)
    for k in range(1000):
        buffer.add('a', 'b', 100_000_000_000 + 10 * k * MS, (k, 0, 0), (0, 0, 0, 1))
    assert len(buffer._edges['b'][1]) < 250
    buffer.add('a', 'b', 5_000_000_000, (-1, 0, 0), (0, 0, 0, 1))  # the bag starts again
    assert buffer.lookup('a', 'b', 5_000_000_000)[1][0] == -1


def test_tf2_ros_is_asked_for_the_stamp_where_it_is_installed(monkeypatch):
    asked = []

    class TransformError(Exception):
        pass

    class ExtrapolationError(TransformError):
        pass

    class FakeBuffer:
        def lookup_transform(self, target, source, time):
            asked.append((target, source, time.nanoseconds))
            if target == 'late':
                raise ExtrapolationError('would require extrapolation into the future')
            if target == 'lost':
                raise TransformError('no such frame')
            out = TransformStamped()
            out.transform.translation.x = 4.0
            out.transform.rotation.z, out.transform.rotation.w = 1.0, 0.0
            return out

    monkeypatch.setattr(compat, 'tf2_ros', SimpleNamespace(
        Buffer=FakeBuffer, TransformListener=lambda buffer, node: SimpleNamespace(),
        TransformException=TransformError, ExtrapolationException=ExtrapolationError))
    f = frames.Frames(None)
    r, t = f.lookup('map', 'eye', 123)
    assert np.allclose(r, np.diag([-1, -1, 1])) and np.allclose(t, [4, 0, 0])
    for target, later in (('late', True), ('lost', False)):
        with pytest.raises(NotThere) as caught:
            f.lookup(target, 'eye', 123)
        assert caught.value.later is later
    with pytest.raises(NotThere, match='zero'):  # for tf2 this means the latest
        f.lookup('map', 'eye', 0)
    assert asked == [('map', 'eye', 123), ('late', 'eye', 123), ('lost', 'eye', 123)]


# --------------------------------------------------------------------------------- gravity
def imu(stamp, orientation=None, acceleration=None, frame='imu'):
    msg = Imu()
    msg.header.stamp.sec, msg.header.stamp.nanosec = divmod(stamp, 10**9)
    msg.header.frame_id = frame
    if orientation is None:
        msg.orientation_covariance[0] = -1.0
    else:
        q = msg.orientation
        q.x, q.y, q.z, q.w = map(float, orientation)
    if acceleration is not None:
        a = msg.linear_acceleration
        a.x, a.y, a.z = map(float, acceleration)
    return msg


VALUES = {'gravity_frame': '', 'imu': True, 'tf_timeout': 0.0, 'up': [0.0, 0.0, 0.0]}


def test_up_from_an_imu_s_orientation_or_its_acceleration(rng):
    lever = Rotation.random(random_state=rng).as_matrix()   # imu -> eye
    looked = SimpleNamespace(lookup=lambda target, source, stamp: (lever, np.zeros(3)))
    node = SimpleNamespace(resolve_topic_name=lambda n: '/' + n)
    pose = Rotation.random(random_state=rng)                # imu -> world
    up = pose.inv().apply([0, 0, 1])
    g = gravity.Gravity(node, looked)
    g.take(imu(10**9, pose.as_quat()))
    assert np.allclose(g.up('eye', 10**9, VALUES), lever @ up) and g.source == 'imu'
    assert np.allclose(g.up('imu', 10**9, VALUES), up)
    assert g.up('eye', 2 * 10**9, VALUES) is None and 'within 100 ms' in g.problem
    assert np.allclose(g.up('eye', 2 * 10**9, {**VALUES, 'up': [0, -2, 0]}), [0, -1, 0])
    g = gravity.Gravity(node, looked)
    for k in range(300):  # shaken, 100 Hz: half a second of mean
        g.take(imu(10**9 + 10 * k * MS, None, 9.81 * up + rng.normal(0, 2, 3)))
    found = g.up('imu', 10**9 + 2990 * MS, VALUES)
    assert math.degrees(math.acos(found @ up)) < 5
    g.take(imu(10**9 + 3000 * MS, None, [math.nan, 0, 0]))
    for k in range(100):  # falling: not gravity
        g.take(imu(10**9 + (3010 + 10 * k) * MS, None, [0, 0, 0]))
    assert g.up('imu', 10**9 + 4000 * MS, VALUES) is None


# ------------------------------------------------------------------------------- over DDS
@pytest.fixture(scope='module')
def tf(request):
    """tf2_msgs' TFMessage in this process, and the variables for others."""
    env = ros_interfaces.environment(request.config)
    if env:  # the like of tf2_msgs, made for the tests
        os.environ['LD_LIBRARY_PATH'] = env['LD_LIBRARY_PATH']
        os.environ['AMENT_PREFIX_PATH'] = env['AMENT_PREFIX_PATH']
        sys.path.insert(0, env['PYTHONPATH'].split(os.pathsep)[0])
        libraries = list(pathlib.Path(env['LD_LIBRARY_PATH'].split(os.pathsep)[0]).glob(
            'libtf2_msgs__*.so'))
        for _ in range(5):  # in whatever order they need one another
            for library in libraries:
                try:
                    ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
                except OSError:
                    pass
    from tf2_msgs.msg import TFMessage
    return TFMessage, env


class Carried(Managed):
    """A bench whose node publishes in `odom`, and the TF it needs."""

    def __init__(self, tmp_path, tf, *arguments, **more):
        message, env = tf
        super().__init__(tmp_path, '--ros-args', '-p', 'target_frame:=odom', *arguments,
                         **env, **more)
        self._message = message
        self._tf = self.node.create_publisher(message, '/tf', 100)
        self.spin_until(lambda: self._tf.get_subscription_count())
        self.info()

    def transform(self, stamp, angle, x=0.0, child='camera_optical', parent='odom'):
        """Send one: turned by an angle about z, at x."""
        t = TransformStamped(child_frame_id=child)
        t.header.frame_id = parent
        t.header.stamp.sec, t.header.stamp.nanosec = divmod(stamp, 10**9)
        t.transform.translation.x = float(x)
        t.transform.rotation.z, t.transform.rotation.w = math.sin(angle / 2), math.cos(angle / 2)
        self._tf.publish(self._message(transforms=[t]))


def stamp_of(msg):
    return msg.header.stamp.sec * 10**9 + msg.header.stamp.nanosec


def test_people_come_in_the_target_frame_at_the_stamp_of_the_image(tmp_path, tf):
    bench = Carried(tmp_path, tf, '-p', 'tf_timeout:=2.0', '-p', 'tf:=joints')
    heard = []
    bench.node.create_subscription(tf[0], '/tf', lambda m: heard.extend(m.transforms), 100)
    try:
        for _ in range(20):  # again where this process was held up for longer than the node waits
            msg = bench.image(people=2)
            stamp = stamp_of(msg)
            bench.transform(stamp - 50 * MS, 0.0, x=0.0)
            bench.give(msg)
            bench.spin(0.3)
            early = bench.answered(msg)
            # the transform at the stamp is half way between the two; the latest is far off
            bench.transform(stamp + 50 * MS, math.pi / 2, x=2.0)
            bench.transform(stamp + 900 * MS, -1.0, x=-9.0)
            bench.spin_until(lambda msg=msg: bench.answered(msg))
            answer = bench.answered(msg)[0]
            if answer.header.frame_id == 'odom':
                break
        assert not early, 'its transform was not there yet'
        assert answer.header.frame_id == 'odom' and answer.header.stamp == msg.header.stamp
        turn = Rotation.from_euler('z', 45, degrees=True)
        number = bench.sent % 256
        for n, skeleton in enumerate(answer.skeletons):
            own = np.tile([number, n, 50.0], (17, 1)) + 0.01 * np.arange(51).reshape(17, 3) ** 2
            got = np.array([(j.position.x, j.position.y, j.position.z) for j in skeleton.joints])
            assert np.allclose(got, turn.apply(own) + [1, 0, 0], atol=1e-6)
            assert np.allclose(skeleton.joints[3].covariance, 0.01 * np.eye(3).ravel())

        def frame(child):
            return next((t for t in heard if t.child_frame_id == child
                         and t.header.stamp == msg.header.stamp), None)
        bench.spin_until(lambda: frame('left_wrist_abc01') and frame('body_abc01'),
                         again=lambda: bench.ask(msg), every=2.0)  # it may hear late
        body, wrist = frame('body_abc01'), frame('left_wrist_abc01')
        assert body.header.frame_id == 'odom' and wrist.header.frame_id == 'body_abc01'
        assert body.header.stamp == wrist.header.stamp == msg.header.stamp
        q, p = body.transform.rotation, body.transform.translation
        w = wrist.transform.translation
        there = Rotation.from_quat([q.x, q.y, q.z, q.w]).apply([w.x, w.y, w.z]) + [p.x, p.y, p.z]
        joint = answer.skeletons[1].joints[13]
        assert joint.name == 'left_wrist'
        assert np.allclose(there, [joint.position.x, joint.position.y, joint.position.z])
        # what cannot come: the camera's frame, at once, and a reason
        bad = bench.image()
        bad.header.frame_id = 'nowhere'
        assert bench.ask(bad).header.frame_id == 'nowhere'
        bench.status('nowhere')
        bad = bench.image()
        bad.header.stamp.sec = bad.header.stamp.nanosec = 0
        assert bench.ask(bad).header == bad.header
        # and what has not come in time
        late = bench.image()
        late.header.stamp.sec += 1000
        bench.give(late)
        bench.spin_until(lambda: bench.answered(late))
        assert bench.answered(late)[0].header == late.header
        assert bench.answered(late)[0].processing_latency > 1.9
        bench.status('before the stamp of the image')
    finally:
        bench.close()


def test_images_do_not_wait_for_a_transform(tmp_path, tf):
    """The TF lags three images behind: each is taken all the same, and answered in order."""
    bench = Carried(tmp_path, tf, '-p', 'tf_timeout:=2.0')
    try:
        bench.transform(1000 * 10**9, 0.0)
        sent, lag = [], 3
        for k in range(40):
            msg = bench.image(people=1)
            sent.append(stamp_of(msg))
            bench.give(msg)
            if k >= lag:
                bench.transform(sent[k - lag], 0.0)
        for stamp in sent[-lag:]:
            bench.transform(stamp, 0.0)
        bench.spin_until(lambda: set(sent) <= {stamp_of(a) for a in bench.answers})
        answers = [a for a in bench.answers if stamp_of(a) >= sent[0]]
        got = [stamp_of(a) for a in answers]
        assert got == sorted(got) and set(got) == set(sent)
        # had each waited for its transform, all would have waited in vain; few may have where
        # this process was held up
        assert sum(a.header.frame_id == 'odom' for a in answers) >= 20
        bench.values(lambda values: int(values['frames processed']) >= len(sent))
    finally:
        bench.close()


def test_gravity_from_tf_reaches_the_pipeline(tmp_path, tf):
    bench = Carried(tmp_path, tf, '-p', 'gravity_frame:=odom', '-p', 'tf_timeout:=0.0')
    try:
        msg = bench.image(people=1)
        bench.transform(stamp_of(msg) - MS, 0.3)
        bench.transform(stamp_of(msg) + MS, 0.3)

        def said():
            text = bench.process.log.read_text()
            return 'up [0.0, 0.0, 1.0]' in text and 'pose [0.0, 0.0, 0.0]' in text
        # turned about its own z; the image may overtake the transforms
        bench.spin_until(said, again=lambda: bench.ask(msg))
        assert isinstance(bench.answers[-1], SkeletonArray)
    finally:
        bench.close()


# --------------------------------------------------------------------------- frames of people
class Sent:
    """A node and its publisher of /tf; what is no ROS message is sent as it is made."""

    def __init__(self):
        self.sent = []

    def create_publisher(self, kind, topic, depth):
        assert topic == '/tf'
        return self

    def publish(self, message):
        self.sent.append(message.transforms)


@pytest.mark.parametrize('joints', [False, True])
def test_frames_are_those_of_each_person_whoever_else_is_there(rng, monkeypatch, joints):
    monkeypatch.setattr(compat, 'tf2_ros', None)
    monkeypatch.setattr(compat, 'TFMessage', SimpleNamespace)
    node = Sent()
    transforms = Transforms(node)
    names = ['abcde', 'bcdef', 'cdefg', 'defgh']
    for n in range(6):
        order = rng.permutation(4)
        spots, turns = rng.normal(size=(4, 17, 3)), Rotation.random(4, random_state=rng)
        if n == 3:
            spots[1] = np.nan
        if n == 4:
            spots[2, 5] = np.nan
        people = [SimpleNamespace(id=names[i], joints=spots[i]) for i in order]
        header = Header(frame_id='eye' if n < 2 else 'odom')
        header.stamp.sec = n
        assert transforms.people(header, people, turns.as_quat()[order], joints=joints)
        got = {t.child_frame_id: t for t in node.sent[-1]}
        for i, name in enumerate(names):
            body = got.pop(f'body_{name}', None)
            assert (body is None) == bool(np.isnan(spots[i, 0]).any())
            if body is None:
                continue
            p, q = body.transform.translation, body.transform.rotation
            assert body.header == header and [p.x, p.y, p.z] == spots[i, 0].tolist()
            assert [q.x, q.y, q.z, q.w] == turns.as_quat()[i].tolist()
            for j, joint in enumerate(JOINTS):
                t = got.pop(f'{joint}_{name}', None)
                assert (t is not None) == bool(joints and np.isfinite(spots[i, j]).all())
                if t is None:
                    continue
                assert t.header.frame_id == f'body_{name}' and t.header.stamp.sec == n
                p, q = t.transform.translation, t.transform.rotation
                assert np.allclose(turns[i].apply([p.x, p.y, p.z]) + spots[i, 0], spots[i, j])
                assert (q.x, q.y, q.z, q.w) == (0, 0, 0, 1)
        assert not got
    transforms.people(Header(), [], np.zeros((0, 4)))
    assert len(node.sent) == 6

"""Markers: what is drawn of people, and that nothing blinks or stays behind."""
# ruff: noqa: I001 (ros_support goes first: it skips where there is no ROS)

import ros_support  # noqa: F401
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from rclpy.serialization import deserialize_message, serialize_message
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from lifting_ros.matrices import SIX, principal_axes
from lifting_ros.person import Person, Source
from lifting_ros.ros import markers, shapes
from lifting_ros.skeleton import BONES, INDEX


def person(rng, name='abcde', **values):
    p = Person(id=name, confidence=0.8, box=np.array([0.0, 0, 9, 9]))
    p.joints = rng.normal(size=(17, 3)) + [0, 0, 4]
    a = rng.normal(size=(17, 3, 3)) * 0.1
    p.covariance = a @ a.swapaxes(1, 2)
    p.velocity = rng.normal(size=(17, 3))
    p.keypoint_confidence = np.full(17, 0.45)
    p.source = np.full(17, Source.OBSERVED, np.uint8)
    for key, value in values.items():
        setattr(p, key, value)
    return p


def header(seconds=0.0):
    return Header(frame_id='eye', stamp=Time(sec=int(seconds),
                                             nanosec=int(1e9 * (seconds - int(seconds)))))


def keys(array, action=Marker.ADD):
    return {(m.ns, m.id) for m in array.markers if m.action == action}


def xyz(p):
    return [p.x, p.y, p.z]


class Viewer:
    """What RViz does with markers."""

    def __init__(self):
        self.shown = {}

    def take(self, array):
        assert len({(m.ns, m.id) for m in array.markers}) == len(array.markers)
        for m in array.markers:
            if m.action == Marker.ADD:
                self.shown[m.ns, m.id] = m.type
            else:
                del self.shown[m.ns, m.id]  # what is deleted was there


def test_every_part_is_where_it_belongs(rng):
    p = person(rng)
    array = markers.Markers().update([p], header(), 0.75, sigmas=2.0)
    by = {}
    for m in array.markers:
        by.setdefault(m.ns, []).append(m)
        assert m.header.frame_id == 'eye' and m.action == Marker.ADD
        assert (m.lifetime.sec, m.lifetime.nanosec) == (0, 750_000_000)
        serialize_message(m)
    assert {k: len(v) for k, v in by.items()} == {'bones': 1, 'joints': 1, 'labels': 1,
                                                 'velocities': 1, 'ellipsoids': 17}
    bones = by['bones'][0]
    assert bones.type == Marker.LINE_LIST and len(bones.points) == len(bones.colors) == 32
    want = [p.joints[j] for bone in BONES for j in bone]
    assert np.allclose([xyz(q) for q in bones.points], want)
    assert np.allclose([xyz(q) for q in by['joints'][0].points], p.joints)
    assert by['labels'][0].text == 'abcde 0.80'
    left = by['joints'][0].colors[INDEX['left_wrist']]
    right = by['joints'][0].colors[INDEX['right_wrist']]
    assert left.b > left.r and right.r > right.b
    lines = np.array([xyz(q) for q in by['velocities'][0].points]).reshape(-1, 3, 2, 3)
    moving = list(markers.MOVING)
    assert np.allclose(lines[:, 0, 0], p.joints[moving])
    step = lines[:, 0, 1] - p.joints[moving]
    along = p.velocity[moving] / np.linalg.norm(p.velocity[moving], axis=1)[:, None]
    assert np.allclose(step, along * np.linalg.norm(step, axis=1)[:, None])
    assert np.allclose(lines[:, 1:, 0], lines[:, :1, 1])  # barbs begin at the tip
    # an ellipsoid: axes of 2 sigma, the rotation and the sizes give the covariance back
    for j, m in enumerate(by['ellipsoids']):
        q = m.pose.orientation
        axes = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
        half = np.array(xyz(m.scale)) / 2 / 2.0
        assert np.allclose(axes @ np.diag(half**2) @ axes.T, p.covariance[j], atol=1e-6)
        assert m.type == Marker.SPHERE and np.allclose(xyz(m.pose.position), p.joints[j])


@pytest.mark.parametrize('values', [
    (1, 2, 3), (-1, 0, 1), (0, 1, 1), (1, 1, 1e-6), (1, 1e-6, 1e-6), (1, 1 + 1e-9, 2),
    (1, 2, 2 + 1e-13), (1, 1 + 1e-8, 1 + 1e-9), (1, 1, 1), (0, 0, 0), (1e-9, 2e-9, 1e-3)])
def test_principal_axes_of_any_symmetric_matrix(rng, values):
    """However near eigenvalues are to each other; turned in any way and in none."""
    turns = np.concatenate((Rotation.random(50, rng).as_matrix(),
                            [np.eye(3)[list(p)] for p in ((0, 1, 2), (1, 2, 0), (2, 0, 1))]))
    a = turns @ np.diag(values) @ turns.swapaxes(1, 2)
    found, q = principal_axes(a.reshape(-1, 9).T.take(SIX, 0))
    axes, size = Rotation.from_quat(q).as_matrix(), max(map(abs, values))
    assert np.allclose(np.linalg.norm(q, axis=1), 1.0)
    assert np.abs(axes @ (found.T[:, :, None] * axes.swapaxes(1, 2)) - a).max() <= 1e-14 * size
    assert np.abs(np.sort(found, 0).T - np.linalg.eigvalsh(a)).max() <= 1e-14 * size


def test_quaternions_of_all_rotations(rng):
    turns = np.concatenate((Rotation.random(200, rng).as_matrix(),
                            Rotation.from_rotvec(np.pi * np.eye(3)).as_matrix(), [np.eye(3)]))
    q = shapes.quaternions(turns)
    assert np.allclose(Rotation.from_quat(q).as_matrix(), turns, atol=1e-9)


def test_opacity_follows_trust(rng):
    sure, unsure, hidden = person(rng), person(rng), person(rng)
    unsure.keypoint_confidence = np.full(17, 0.2)
    hidden.source[5], hidden.keypoint_confidence[5] = Source.LIFTED, 0.0
    lost = person(rng, matched=False, keypoint_confidence=np.zeros(17))
    lost.source[:] = Source.PREDICTED
    for i, p in enumerate((sure, unsure, hidden, lost)):
        p.id = f'p{i}'
    array = markers.Markers().update([sure, unsure, hidden, lost], header(), 0.5)
    a = np.array([[c.a for c in m.colors] for m in array.markers if m.ns == 'joints'])
    assert a.max() <= 1.0 and a.min() >= 0.2
    assert (a[0] > a[1] + 0.2).all() and (a[1] > a[3]).all()
    assert a[2, 5] < a[2, 4] - 0.3 and a[2, 5] > a[3, 5]


def test_ids_stay_and_everything_is_deleted_in_the_end(rng):
    m, viewer = markers.Markers(), Viewer()
    a, b, c = (person(rng, n * 5) for n in 'abc')
    first = m.update([a, b], header(1.0), 0.5, sigmas=1.0)
    ids = keys(first)
    viewer.take(first)
    assert len(ids) == 2 * 21
    for n, crowd in enumerate(([b, a], [a, b, c], [c, b, a], [b])):
        got = m.update(crowd, header(1.1 + 0.1 * n), 0.5, sigmas=1.0)
        assert {k for k in keys(got) if k in ids} >= (ids if a in crowd else set())
        viewer.take(got)
    assert len(viewer.shown) == 21
    numbers = {i for ns, i in ids if ns == 'bones'}
    back = m.update([a, b], header(2.0), 0.5, sigmas=1.0)  # a new marker: none is used twice
    viewer.take(back)
    assert {i for ns, i in keys(back) if ns == 'bones'} - numbers
    viewer.take(m.clear(header(3.0)))
    assert not viewer.shown and not m.clear(header(4.0)).markers


def test_what_becomes_unknown_or_unwanted_is_deleted(rng):
    m, viewer, p = markers.Markers(), Viewer(), person(rng)
    viewer.take(m.update([p], header(0), 0.5, sigmas=1.0))
    p.covariance[3], p.velocity = np.nan, np.full((17, 3), np.nan)
    viewer.take(m.update([p], header(0.1), 0.5, sigmas=1.0))
    assert len(viewer.shown) == 3 + 16
    viewer.take(m.update([p], header(0.2), 0.5))
    assert len(viewer.shown) == 3
    p.covariance[3], p.velocity = np.eye(3), np.zeros((17, 3))
    viewer.take(m.update([p], header(0.3), 0.5, sigmas=1.0))
    assert len(viewer.shown) == 21
    p.joints = np.full((17, 3), np.nan)
    viewer.take(m.update([p], header(0.4), 0.5, sigmas=1.0))
    assert not viewer.shown


def test_bytes_say_what_the_messages_would(rng):
    """Two instances, one with bytes: people come and go, become unknown, change places."""
    slow, fast, kinds = markers.Markers(), markers.Markers(), []
    crowd = [person(rng, n * 5) for n in 'abc']
    for n in range(30):
        for p in crowd:
            p.joints = p.joints + 0.01 * rng.normal(size=(17, 3))
            p.velocity, p.confidence = rng.normal(size=(17, 3)), float(rng.uniform(0.1, 0.99))
            p.keypoint_confidence = rng.uniform(0, 1, 17)
        here = crowd[:2] if 10 <= n < 14 else crowd
        if n == 20:
            crowd[1].covariance[4] = np.nan
        if n == 24:
            crowd[0].velocity = np.full((17, 3), np.nan)
        here = [here[i] for i in rng.permutation(len(here))]
        h = Header(frame_id='odom' if n > 26 else 'eye', stamp=Time(sec=100 + n // 10,
                                                                    nanosec=n % 10 * 10**8))
        want = slow.update(here, h, 0.5, sigmas=1.0 if n < 28 else 0.0)
        got = fast.render(here, h, 0.5, sigmas=1.0 if n < 28 else 0.0)
        kinds.append(isinstance(got, bytes))
        if not kinds[-1]:
            got = serialize_message(got)
        assert deserialize_message(got, MarkerArray) == deserialize_message(
            serialize_message(want), MarkerArray), n
    assert kinds.count(True) >= 15 and not kinds[0] and not kinds[10]
    assert keys(fast.clear(header(1.0)), Marker.DELETE) == keys(slow.clear(header(1.0)),
                                                                Marker.DELETE)


def test_slow_images_do_not_blink(rng):
    m, p = markers.Markers(), person(rng)
    for n in range(5):
        array = m.update([p], header(100 + 2.0 * n), 0.5)
    life = array.markers[0].lifetime
    assert life.sec + 1e-9 * life.nanosec >= 4.0
    for n in range(60):
        array = m.update([p], header(108 + 0.1 * n), 0.5)
    life = array.markers[0].lifetime
    assert life.sec + 1e-9 * life.nanosec == pytest.approx(0.5, abs=0.05)
    array = m.update([p], header(1.0), 0.5)   # a looped bag
    assert array.markers[0].lifetime.sec < 2

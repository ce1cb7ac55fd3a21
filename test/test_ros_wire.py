"""People written to bytes and read from bytes are those of the messages, field by field."""
# ruff: noqa: I001 (ros_support goes first: it skips where there is no ROS)

import time

import ros_support
import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Header

from lifting_ros.msg import SkeletonArray
from lifting_ros.person import Person, ScaleSource, Source
from lifting_ros.ros import conversions, wire

W, H = 640, 480


def person(rng, name, **more):
    root = rng.normal(size=(2, 17, 3, 3)) * 0.05
    spread = root @ root.swapaxes(-1, -2)
    p = Person(id=name, confidence=float(rng.uniform()), box=rng.uniform(-50, 700, 4).round(1))
    p.keypoints, p.keypoint_confidence = rng.uniform(0, 400, (17, 2)), rng.uniform(0, 1, 17)
    p.keypoint_confidence[rng.integers(17)] = 0.0
    p.joints, p.covariance = rng.normal(size=(17, 3)) + [0, 0, 4], spread[0]
    p.velocity, p.velocity_covariance = rng.normal(size=(17, 3)), spread[1]
    p.source = rng.integers(0, 5, 17).astype(np.uint8)
    p.scale_source, p.age = ScaleSource(int(rng.integers(5))), float(rng.uniform(0, 100))
    p.matched, p.occluded = bool(rng.integers(2)), bool(rng.integers(2))
    for key, value in more.items():
        setattr(p, key, value)
    return p


def header(frame='camera'):
    out = Header(frame_id=frame)
    out.stamp.sec, out.stamp.nanosec = 1_700_000_000, 123_456_789
    return out


def people(rng, count):
    return [person(rng, f'p{n:04d}') for n in range(count)]


def rows(msg):
    """All fields of a SkeletonArray in order: texts and numbers."""
    if hasattr(msg, 'get_fields_and_field_types'):
        return [x for name in msg.get_fields_and_field_types() for x in rows(getattr(msg, name))]
    if isinstance(msg, str):
        return [msg]
    if np.ndim(msg):
        return [x for part in msg for x in rows(part)]
    return [float(msg)]


def test_this_middleware_is_known():
    assert wire._usual()


@pytest.mark.parametrize('count', [0, 1, 2, 7])
@pytest.mark.parametrize('frame', ['', 'a', 'eye', 'camera_optical', 'caméra'])
def test_bytes_are_those_of_the_message(rng, count, frame):
    some = people(rng, count)
    if count > 1:                                     # without a calibrated camera
        some[1] = Person(id='empty', confidence=0.1, box=np.full(4, np.nan), matched=False)
    want = conversions.to_array(some, header(frame), W, H)
    want.processing_latency = 0.125
    data = wire.write(some, header(frame), W, H, latency=lambda: 0.125)
    assert isinstance(data, bytes)
    a, b = rows(deserialize_message(data, SkeletonArray)), rows(want)
    assert len(a) == len(b) > 3
    for x, y in zip(a, b):
        assert x == pytest.approx(y, rel=1e-6, abs=1e-12, nan_ok=True) if isinstance(
            x, float) else x == y
    assert len(data) == len(serialize_message(want))


@pytest.mark.parametrize('count', [0, 1, 3])
@pytest.mark.parametrize('frame', ['', 'a', 'camera_optical'])
def test_people_are_those_of_the_message(rng, monkeypatch, count, frame):
    msg = conversions.to_array(people(rng, count), header(frame), W, H)
    data = serialize_message(msg)
    assert wire._read(data) is not None
    assert wire.stamp_of(data) == 1_700_000_000_123_456_789
    quick = wire.read(data)
    monkeypatch.setattr(wire, '_usual', lambda: False)
    slow = wire.read(data)
    assert quick[0] == slow[0] == msg.header and len(quick[1]) == len(slow[1]) == count
    for a, b in zip(quick[1], slow[1]):
        for name in Person.__dataclass_fields__:
            assert np.array_equal(np.asarray(getattr(a, name), float)
                                  if name != 'id' else a.id,
                                  np.asarray(getattr(b, name), float)
                                  if name != 'id' else b.id, equal_nan=name != 'id'), name
        assert isinstance(a.scale_source, ScaleSource) and isinstance(a.matched, bool)


def test_what_is_unusual_goes_field_by_field(rng):
    some = [person(rng, 'somebody'), person(rng, 'abcde')]
    msg = wire.write(some, header(), W, H, latency=0.5)
    assert isinstance(msg, SkeletonArray) and msg.processing_latency == 0.5
    assert [p.id for p in wire.read(serialize_message(msg))[1]] == ['somebody', 'abcde']
    msg.skeletons[0].id = 'fghij'
    msg.skeletons[1].joints = msg.skeletons[1].joints[::-1]       # another order of joints
    data = serialize_message(msg)
    assert wire._read(data) is None
    back = wire.read(data)[1][1]
    assert np.array_equal(back.joints, some[1].joints[::-1])


def test_one_spoiled_person_is_left_out(rng):
    some, lost = people(rng, 3), []
    some[1].joints = 'nothing'
    msg = wire.write(some, header(), W, H, lambda p, e: lost.append(p.id))
    assert [s.id for s in msg.skeletons] == ['p0000', 'p0002'] and lost == ['p0001']


def test_spoiled_bytes_are_refused_or_read_as_the_middleware_reads_them(rng):
    data = wire.write(people(rng, 2), header(), W, H)
    assert wire._read(data[:-40]) is None and wire._read(data[:13]) is None
    assert wire._read(data[:4]) is None
    many = bytearray(data)
    many[24:28] = b'\xff\xff\xff\x7f'                             # so many people
    assert wire._read(bytes(many)) is None
    other = bytearray(data)
    at = other.index(b'pelvis')
    other[at:at + 6] = b'belvis'
    assert wire._read(bytes(other)) is None
    assert max(Source) == 4     # a source that nobody knows is not taken for one
    at = data.index(b'pelvis') + 7
    bad = bytearray(data)
    bad[at] = 9
    assert wire._read(bytes(bad)) is None


def test_what_was_written_is_not_written_over(rng):
    first, second = people(rng, 1), people(rng, 1)
    a = wire.write(first, header(), W, H)
    kept = wire.read(a)[1][0].joints.copy()
    wire.write(second, header(), W, H)
    got = wire.read(a)[1][0]
    wire.read(wire.write(second, header(), W, H))
    assert np.array_equal(kept, first[0].joints) and np.array_equal(got.joints, kept)


def test_fuse_lives_through_a_message_that_makes_no_sense(rng):
    import rclpy
    from rclpy.parameter import Parameter

    from lifting_ros.ros.fuse_node import FuseNode

    rclpy.init(domain_id=ros_support.new_domain())
    try:
        node = FuseNode(parameter_overrides=[Parameter('topics', value=['/a', '/b']),
                                             Parameter('target_frame', value='map')])
        bad = conversions.to_array(people(rng, 1), header('map'), W, H)
        bad.skeletons[0].scale_source = 77
        good = wire.write(people(rng, 2), header('map'), W, H)
        sent = []
        node._out.publish = sent.append
        for camera, data in zip(node._cameras, (serialize_message(bad), good)):
            node._take(camera, data)
        end = time.monotonic() + 60      # the good one waits for the other's next, for a while
        while not sent and time.monotonic() < end:
            node._check()
        assert 'cannot be used' in node._cameras[0].problem and not node._cameras[1].problem
        assert len(wire.read(sent[-1])[1]) == 2
        node.close()
        node.destroy_node()
    finally:
        rclpy.try_shutdown()

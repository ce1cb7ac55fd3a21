"""Messages that are patched instead of made: the same as those that are made."""
# ruff: noqa: I001 (ros_support goes first: it skips where there is no ROS)

import ros_support  # noqa: F401
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped, TwistStamped
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import JointState
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from lifting_ros.ros.template import Marks, Patched, Sheaf, Template


def states(header, array):
    return JointState(header=header, name=['a', 'bcd', 'efgh1'], position=array(3))


def twist(header, array):
    m = TwistStamped(header=header)
    m.twist.linear.x, m.twist.angular.z = array(2)
    return m


def markers(header, array):
    """float64 and float32 beside each other, a header in a list."""
    out = []
    for ns in ('bones', 'x'):
        m = Marker(header=header, ns=ns, type=Marker.SPHERE)
        m.pose.position.x, m.scale.y = array(2)
        r, g, b, a = array(4)
        m.color = ColorRGBA(r=r, g=g, b=b, a=a)
        out.append(m)
    return MarkerArray(markers=out)


def transform(header, array):
    t = TransformStamped(header=header, child_frame_id='odd')
    p, q = t.transform.translation, t.transform.rotation
    p.x, p.y, p.z, q.x, q.y, q.z, q.w = array(7)
    return t


@pytest.mark.parametrize('make, count', [(states, 3), (twist, 2), (markers, 12), (transform, 7)])
@pytest.mark.parametrize('frame', ['', 'a', 'camera_optical', 'camera_optical_frame_7'])
def test_what_is_patched_is_what_would_be_made(rng, make, count, frame):
    patched = Patched(make)
    for n in range(5):
        values = rng.normal(size=count) * 10.0 ** rng.integers(-9, 9, count)
        if n == 3:
            values[:] = 0.0
        header = Header(stamp=Time(sec=17 + n, nanosec=999_999_999 - n), frame_id=frame)
        left = iter(values.tolist())

        def array(*shape, left=left):
            return [array(*shape[1:]) for _ in range(shape[0])] if shape else next(left)
        want = make(header, array)
        got = patched.message(header, values)
        assert isinstance(got, bytes) and len(got) == len(serialize_message(want))
        # not the bytes: what fills the gaps between fields is not defined
        assert deserialize_message(got, type(want)) == deserialize_message(
            serialize_message(want), type(want))


def test_another_frame_is_another_template(rng):
    patched = Patched(states)
    for frame in ('eye', 'odom', 'eye'):
        got = deserialize_message(patched.message(Header(frame_id=frame), np.arange(3.0)),
                                  JointState)
        assert got.header.frame_id == frame and got.position.tolist() == [0, 1, 2]


def test_marks_in_several_places_and_texts(rng):
    marks = Marks()
    twice, text = marks.number(), marks.text(6)
    m = Marker(header=marks.header('eye'), text=text)
    m.pose.position.x = m.pose.position.y = twice
    m.color.a = twice
    template = Template(m, marks)
    got = deserialize_message(template.fill(Time(sec=3), np.array([0.25]), [b'abc de']), Marker)
    assert (got.pose.position.x, got.pose.position.y, got.color.a) == (0.25, 0.25, 0.25)
    assert got.text == 'abc de' and got.header.stamp.sec == 3
    with pytest.raises(ValueError, match='6 bytes'):
        template.fill(Time(), np.array([0.0]), [b'ab'])


def test_what_is_left_in_the_gaps_is_no_mark(rng):
    """Gaps between fields hold what earlier messages of the same size had there."""
    for _ in range(300):
        marks, out = Marks(), []
        count = int(rng.integers(40, 60))
        for i in range(count):
            m = Marker(header=marks.header('eye'), ns='n' * int(rng.integers(1, 9)), id=i,
                       action=Marker.ADD, text='t' * int(rng.integers(0, 9)))
            p, q = m.pose.position, m.pose.orientation
            p.x, p.y, p.z, q.x, q.y, q.z, q.w = marks.array(7)
            m.color.r, m.color.g, m.color.b, m.color.a = marks.array(4)
            out.append(m)
        template = Template(MarkerArray(markers=out), marks)
        got = deserialize_message(template.fill(Time(), np.full(marks.numbers, 0.3)), MarkerArray)
        assert [(m.ns, m.text, m.id, m.action, m.frame_locked, len(m.points)) for m in got.markers
                ] == [(m.ns, m.text, m.id, Marker.ADD, False, 0) for m in out]


def test_what_cannot_be_patched_is_made():
    class NoMessage:
        def __init__(self, header, values):
            self.values = values

    patched = Patched(lambda header, array: NoMessage(header, array(2, 2)))
    for _ in range(2):
        got = patched.message(Header(), np.arange(4.0))
        assert got.values == [[0.0, 1.0], [2.0, 3.0]]


def test_a_mark_that_is_lost_is_noticed():
    marks = Marks()
    m = JointState(header=marks.header('x'), position=[marks.number()])
    marks.number()
    with pytest.raises(ValueError, match='marks are missing'):
        Template(m, marks)


@pytest.mark.parametrize('frames', [('', 'eye'), ('camera_optical', 'odom'), ('a', 'a')])
def test_a_sheaf_is_what_each_would_be(rng, frames):
    kinds = ((states, 3), (markers, 12), (twist, 2), (transform, 7), (states, 3))
    values = rng.normal(size=40)
    items, at = [], 2                        # what is nobody's number lies before and between
    for i, (make, count) in enumerate(kinds):
        items.append((Patched(make), frames[i % 2], at, count))
        at += count + 1
    sheaf = Sheaf(items)
    for n in range(3):
        values, stamp = values * 10.0 ** rng.integers(-3, 4, 40), Time(sec=-5 + n, nanosec=n)
        for got, (patched, frame, first, count) in zip(sheaf.messages(stamp, values), items):
            want = patched.message(Header(stamp=stamp, frame_id=frame),
                                   values[first:first + count])
            assert isinstance(got, bytes) and got == want


def test_a_sheaf_of_what_cannot_be_patched_is_made():
    class NoMessage:
        def __init__(self, header, values):
            self.header, self.values = header, values

    sheaf = Sheaf([(Patched(lambda header, array: NoMessage(header, array(2))), 'eye', 1, 2),
                   (Patched(twist), 'odom', 4, 2)])
    first, second = sheaf.messages(Time(sec=3), np.arange(6.0))
    assert first.values == [1.0, 2.0] and first.header.frame_id == 'eye'
    second = deserialize_message(second, TwistStamped)
    assert second.twist.angular.z == 5.0 and second.header.stamp.sec == 3
    assert Sheaf([]).messages(Time(), np.zeros(0)) == []

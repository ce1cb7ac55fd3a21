"""SkeletonArray as bytes: people are written to what is sent and read from what came, as arrays.

A message of a person has some 500 fields. Python takes a millisecond to make it and send it, and
as long to take it apart. Where everything of variable length is as usual (ids of five bytes, this
package's joints in their order), each number has its place in the bytes. Where it is not, or
where the middleware encodes otherwise (that is tried out first), messages are made and read field
by field.
"""

import functools
import struct

import numpy as np
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Header

from ..body_frame import body_state
from ..msg import SkeletonArray
from ..person import Person, ScaleSource, Source
from ..skeleton import JOINTS, NUM_JOINTS, PELVIS
from .conversions import nanoseconds, to_array, to_person, to_rois
from .shapes import quaternions

_ID = 5             # bytes of an id
_LEAD = 4           # bytes before the body: how it is encoded
_LITTLE = b'\x00\x01\x00\x00'
_SCALES = {int(s): s for s in ScaleSource}
_SOURCES = max(Source)


class _Places:
    """Where the fields of one kind go: collects offsets, as CDR aligns them."""

    def __init__(self, start):
        self.at = start
        self.f8, self.f4, self.u4, self.u1, self.fixed = [], [], [], [], []

    def _next(self, size, count, into):
        self.at += -self.at % size
        into += range(self.at, self.at + size * count, size)
        self.at += size * count

    def double(self, count=1):
        self._next(8, count, self.f8)

    def single(self, count=1):
        self._next(4, count, self.f4)

    def word(self, count=1):
        self._next(4, count, self.u4)

    def byte(self, count=1):
        self._next(1, count, self.u1)

    def constant(self, data):
        """A number of four bytes, and what follows."""
        self.at += -self.at % 4
        self.fixed.append((self.at, data))
        self.at += len(data)

    def text(self, data):
        self.constant(struct.pack('<I', len(data) + 1) + data + b'\0')

    def skeleton(self):
        """Fields of a Skeleton, in the order of msg/Skeleton.msg."""
        self.constant(struct.pack('<I', _ID + 1))
        self.byte(_ID)                  # id
        self.at += 1
        self.single(2)                  # confidence, age
        self.byte(2)                    # matched, occluded
        self.word(4)                    # roi: x_offset, y_offset, height, width
        self.byte()                     # roi: do_rectify
        self.double(7 + 36 + 6 + 36)    # root, velocity
        self.byte()                     # scale_source
        self.constant(struct.pack('<I', NUM_JOINTS))
        for name in JOINTS:
            self.text(name.encode())
            self.byte()                 # source
            self.single()               # confidence
            self.double(24)             # position, covariance, velocity, velocity_covariance
            self.single(2)              # pixel_x, pixel_y


#: x0 y0 x1 y1 of x, y, height, width: but for 1
_BOX = np.array([[1.0, 0, 1, 0], [0, 1, 0, 1], [0, 0, 0, 1], [0, 0, 1, 0]])
_ROOT, _JOINTS = 85, 24 * NUM_JOINTS
_BYTES = _ID + 4 + NUM_JOINTS


class _Layout:
    """The bytes of messages of ``count`` people in a frame, and where the numbers are."""

    def __init__(self, frame, count):
        places = _Places(0)
        places.word(2)                                  # stamp
        places.text(frame)
        places.constant(struct.pack('<I', count))
        for _ in range(count):
            places.skeleton()
        places.single()                                 # processing_latency
        self.size = places.at
        self.bytes = np.zeros(-(-self.size // 8) * 8, np.uint8)
        fixed = []
        for at, data in places.fixed:
            self.bytes[at:at + len(data)] = np.frombuffer(data, np.uint8)
            fixed += range(at, at + len(data))
        self._f8, self._f4, self._u4 = (self.bytes.view(k) for k in ('<f8', '<f4', '<u4'))
        self.f8 = np.array(places.f8, int).reshape(count, _ROOT + _JOINTS) // 8
        self.latency = places.f4.pop() // 4
        self.f4 = np.array(places.f4, int).reshape(count, 2 + 3 * NUM_JOINTS) // 4
        self.u4 = np.array(places.u4[2:], int).reshape(count, 4) // 4
        self.u1 = np.array(places.u1, int).reshape(count, _BYTES)
        self.fixed = np.array(fixed, int)
        self.constant = self.bytes[self.fixed].copy()

    def fill(self, stamp, latency, f8, f4, u4, u1):
        """Bytes of a message."""
        self._u4[0], self._u4[1] = stamp.sec & 0xFFFFFFFF, stamp.nanosec
        self._f8[self.f8], self._f4[self.f4], self._u4[self.u4] = f8, f4, u4
        self._f4[self.latency], self.bytes[self.u1] = latency, u1
        return _LITTLE + self.bytes[:self.size].tobytes()

    def read(self, body):
        """The numbers of a body (bytes), or None where it is laid out otherwise."""
        # what fills the end differs between writers
        if not 0 <= len(body) - self.size < 8:
            return None
        data = np.zeros(len(self.bytes) + 8, np.uint8)
        data[:len(body)] = np.frombuffer(body, np.uint8)
        if (data[self.fixed] != self.constant).any():
            return None
        return (data.view('<f8')[self.f8], data.view('<f4')[self.f4], data.view('<u4')[self.u4],
                data[self.u1])


_layout = functools.lru_cache(maxsize=64)(_Layout)


class States:
    """The bodies of people as a whole, all at once (see ``body_frame.body_state``).

    Attributes:
        joints: (N, 17, 3) m; covariance, velocity and spread: as people have them.
        rotation: (N, 3, 3); quaternion: (N, 4) x y z w; pose: (N, 6, 6); twist: (N, 6);
            twist_covariance: (N, 6, 6).
    """

    def __init__(self, people):
        """Work them out of a list of Person. Raises where one of them is no person."""
        self.joints, self.covariance, self.velocity, self.spread = _arrays(people)
        self.rotation, self.pose, self.twist, self.twist_covariance = body_state(
            self.joints, self.covariance, self.velocity, self.spread)
        self.quaternion = quaternions(self.rotation)


def write(people, header, width, height, on_error=None, latency=0.0, states=None):
    """SkeletonArray of the people of an image, to be published.

    Args:
        people: list of :class:`~lifting_ros.person.Person`.
        header: of the image. width, height: of the image, px.
        on_error: called with (person, exception) for each that is left out.
        latency: callable that is asked at the end for the seconds since the image was taken, or
            those seconds.
        states: :class:`States` of the people, where they are there already.

    Returns:
        Bytes as rclpy publishes them; the message itself where that cannot be.
    """
    out = None
    if _usual() and all(len(p.id) == _ID and p.id.isascii() for p in people):
        try:
            numbers = _numbers(people, width, height, states or States(people))
            layout = _layout(header.frame_id.encode(), len(people))
            out = functools.partial(layout.fill, header.stamp)
        except Exception:  # noqa: BLE001 (something is wrong with one of them: find out who)
            out = None
    if out is not None:
        return out(latency() if callable(latency) else latency, *numbers)
    msg = to_array(people, header, width, height, on_error)
    msg.processing_latency = float(latency() if callable(latency) else latency)
    return msg


def _numbers(people, width, height, states):
    """What :meth:`_Layout.fill` takes, of people."""
    n = len(people)
    f8 = np.empty((n, _ROOT + _JOINTS))
    f8[:, :3], f8[:, 3:7] = states.joints[:, PELVIS], states.quaternion
    f8[:, 7:43], f8[:, 43:49] = states.pose.reshape(n, 36), states.twist
    f8[:, 49:85] = states.twist_covariance.reshape(n, 36)
    parts = f8[:, 85:].reshape(n, NUM_JOINTS, 24)
    parts[..., :3], parts[..., 12:15] = states.joints, states.velocity
    parts[..., 3:12] = states.covariance.reshape(n, NUM_JOINTS, 9)
    parts[..., 15:] = states.spread.reshape(n, NUM_JOINTS, 9)
    f4 = np.empty((n, 2 + 3 * NUM_JOINTS), np.float32)
    f4[:, 0], f4[:, 1] = [p.confidence for p in people], [p.age for p in people]
    parts = f4[:, 2:].reshape(n, NUM_JOINTS, 3)
    seen = np.array([p.keypoint_confidence for p in people], np.float64).reshape(n, NUM_JOINTS)
    parts[..., 0] = seen
    pixels = np.array([p.keypoints for p in people], np.float64).reshape(n, NUM_JOINTS, 2)
    parts[..., 1:] = np.where(seen[..., None] > 0, pixels, np.nan)
    u4 = to_rois(np.array([p.box for p in people], np.float64).reshape(n, 4), width, height)
    u1 = np.zeros((n, _BYTES), np.uint8)
    u1[:, :_ID] = np.frombuffer(''.join(p.id for p in people).encode(), np.uint8).reshape(n, _ID)
    u1[:, _ID] = [bool(p.matched) for p in people]
    u1[:, _ID + 1] = [bool(p.occluded) for p in people]
    u1[:, _ID + 3] = [int(p.scale_source) for p in people]
    u1[:, _ID + 4:] = np.array([p.source for p in people], np.uint8).reshape(n, NUM_JOINTS)
    return f8, f4, u4[:, [0, 1, 3, 2]], u1


def stamp_of(data):
    """Nanoseconds of the stamp of a message's bytes."""
    if data[:2] != _LITTLE[:2] or len(data) < 16:
        return nanoseconds(deserialize_message(data, SkeletonArray).header.stamp)
    sec, nanosec = struct.unpack_from('<iI', data, _LEAD)
    return 1_000_000_000 * sec + nanosec


def read(data):
    """People of the bytes of a SkeletonArray.

    Args:
        data: bytes, as a subscription with ``raw=True`` has them.

    Returns:
        header, list of Person: all but log_likelihood, as ``conversions.to_person`` has them.
    """
    header, people, _ = read_all(data)
    return header, people


def read_all(data):
    """As :func:`read`, and what is known in space as arrays too.

    Returns:
        header, list of Person, and their joints (N, 17, 3) m, covariance (N, 17, 3, 3), velocity
        (N, 17, 3) m/s and velocity_covariance (N, 17, 3, 3).
    """
    if _usual() and data[:2] == _LITTLE[:2]:
        found = _read(data)
        if found is not None:
            return found
    msg = deserialize_message(data, SkeletonArray)
    people = [to_person(s) for s in msg.skeletons]
    return msg.header, people, _arrays(people)


def _arrays(people):
    """Joints, covariance, velocity and velocity_covariance of people."""
    return tuple(np.array([getattr(p, name) for p in people], np.float64).reshape(
        (len(people), NUM_JOINTS) + shape) for name, shape in (
            ('joints', (3,)), ('covariance', (3, 3)), ('velocity', (3,)),
            ('velocity_covariance', (3, 3))))


def _read(data):
    try:
        sec, nanosec, length = struct.unpack_from('<iII', data, _LEAD)
        frame = data[_LEAD + 12:_LEAD + 11 + length]
        name = frame.decode()
        count, = struct.unpack_from('<I', data, _LEAD + -(-(12 + length) // 4) * 4)
    except (struct.error, UnicodeDecodeError):
        return None
    # no more people than the bytes have room for
    if length == 0 or count * 8 * (_ROOT + _JOINTS) > len(data):
        return None
    found = _layout(frame, count).read(data[_LEAD:])
    if found is None:
        return None
    f8, f4, roi, u1 = found
    sources, scales = u1[:, _ID + 4:], u1[:, _ID + 3].tolist()
    if (sources > _SOURCES).any() or not _SCALES.keys() >= set(scales):
        return None
    header = Header(frame_id=name)
    header.stamp.sec, header.stamp.nanosec = sec, nanosec
    parts = f8[:, 85:].reshape(count, NUM_JOINTS, 24)
    joints, velocity = parts[..., :3], parts[..., 12:15]
    covariance, spread = (parts[..., a:b].reshape(count, NUM_JOINTS, 3, 3)
                          for a, b in ((3, 12), (15, 24)))
    points = f4[:, 2:].reshape(count, NUM_JOINTS, 3).astype(np.float64)
    boxes = roi @ _BOX - (0, 0, 1, 1)
    names = u1[:, :_ID].tobytes()
    names = [names[i:i + _ID].decode() for i in range(0, len(names), _ID)]
    unknown = np.full((count, NUM_JOINTS, 2, 2), np.nan)
    return header, [
        Person(id=name, confidence=confidence, box=boxes[i], keypoints=points[i, :, 1:],
               keypoint_confidence=points[i, :, 0], keypoint_covariance=unknown[i],
               joints=joints[i], covariance=covariance[i], velocity=velocity[i],
               velocity_covariance=spread[i], source=sources[i], scale_source=_SCALES[scale],
               age=age, matched=matched, occluded=occluded)
        for i, (name, (confidence, age), (matched, occluded), scale) in enumerate(zip(
            names, f4[:, :2].tolist(), (u1[:, _ID:_ID + 2] != 0).tolist(), scales))], (
                joints, covariance, velocity, spread)


@functools.cache
def _usual():
    """Whether the middleware puts numbers where this module expects them."""
    rng = np.random.default_rng(0)
    people = [Person(
        id=name, confidence=0.5, box=np.array([1.0, 2, 30, 40]),
        keypoints=rng.normal(size=(NUM_JOINTS, 2)),
        keypoint_confidence=rng.uniform(0.1, 1, NUM_JOINTS),
        joints=rng.normal(size=(NUM_JOINTS, 3)), covariance=rng.normal(size=(NUM_JOINTS, 3, 3)),
        velocity=rng.normal(size=(NUM_JOINTS, 3)),
        velocity_covariance=rng.normal(size=(NUM_JOINTS, 3, 3)),
        source=rng.integers(1, 4, NUM_JOINTS).astype(np.uint8), scale_source=ScaleSource.GROUND,
        age=3.5, occluded=True) for name in ('abcde', 'fghij')]
    for frame in ('camera', 'a'):       # the people begin at a multiple of eight, and do not
        header = Header(frame_id=frame)
        header.stamp.sec, header.stamp.nanosec = -3, 5
        message = to_array(people, header, 640, 480)
        message.processing_latency = 0.25
        theirs = serialize_message(message)
        if theirs[:2] != _LITTLE[:2]:
            return False
        layout = _layout(frame.encode(), len(people))
        ours = layout.read(theirs[_LEAD:])
        if ours is None or not all(np.allclose(a, b) for a, b in zip(
                ours, _numbers(people, 640, 480, States(people)))):
            return False
        mine = layout.fill(header.stamp, 0.25, *ours)
        if deserialize_message(mine, SkeletonArray) != deserialize_message(theirs, SkeletonArray):
            return False
    return True

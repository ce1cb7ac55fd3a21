"""SkeletonArray as bytes: people are written to what is sent and read from what came, as arrays.

A message of a person has some 500 fields. Python takes a millisecond to make it and send it, and
as long to take it apart. Where everything of variable length is as usual (ids of five bytes, this
package's joints in their order), each number has its place in the bytes (``wire_layout.py``).
Where it is not, or where the middleware encodes otherwise (that is tried out first), messages are
made and read field by field.
"""

import functools
import struct

import numpy as np
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Header

from ..msg import SkeletonArray
from ..person import Person, ScaleSource, Source, stacked
from ..skeleton import NUM_JOINTS, PELVIS
from .body_states import BodyStates
from .conversions import nanoseconds, to_array, to_person, to_rois
from .wire_layout import BYTES, DOUBLES, ID, LEAD, LITTLE, ROOT, SINGLES, layout_of

_SCALES = {int(s): s for s in ScaleSource}
_SOURCES = max(Source)
#: x0 y0 x1 y1 of x, y, height, width: but for 1
_BOX = np.array([[1.0, 0, 1, 0], [0, 1, 0, 1], [0, 0, 0, 1], [0, 0, 1, 0]])


def write(people, header, width, height, on_error=None, latency=0.0, states=None):
    """SkeletonArray of the people of an image, to be published.

    Args:
        people: list of :class:`~lifting_ros.person.Person`.
        header: of the image. width, height: of the image, px.
        on_error: called with (person, exception) for each that is left out.
        latency: callable that is asked at the end for the seconds since the image was taken, or
            those seconds.
        states: :class:`~lifting_ros.ros.body_states.BodyStates` of the people, where they are
            there already.

    Returns:
        Bytes as rclpy publishes them; the message itself where that cannot be.
    """
    out = None
    if _usual() and all(len(p.id) == ID and p.id.isascii() for p in people):
        try:
            numbers = _numbers(people, width, height, states or BodyStates(people))
            layout = layout_of(header.frame_id.encode(), len(people))
            out = functools.partial(layout.fill, header.stamp)
        except Exception:  # noqa: BLE001 (something is wrong with one of them: find out who)
            out = None
    if out is not None:
        return out(latency() if callable(latency) else latency, *numbers)
    msg = to_array(people, header, width, height, on_error)
    msg.processing_latency = float(latency() if callable(latency) else latency)
    return msg


def _numbers(people, width, height, states):
    """What :meth:`~lifting_ros.ros.wire_layout.Layout.fill` takes, of people."""
    n = len(people)
    f8 = np.empty((n, DOUBLES))
    f8[:, :3], f8[:, 3:7] = states.joints[:, PELVIS], states.quaternion
    f8[:, 7:43], f8[:, 43:49] = states.pose.reshape(n, 36), states.twist
    f8[:, 49:ROOT] = states.twist_covariance.reshape(n, 36)
    parts = f8[:, ROOT:].reshape(n, NUM_JOINTS, 24)
    parts[..., :3], parts[..., 12:15] = states.joints, states.velocity
    parts[..., 3:12] = states.covariance.reshape(n, NUM_JOINTS, 9)
    parts[..., 15:] = states.spread.reshape(n, NUM_JOINTS, 9)
    f4 = np.empty((n, SINGLES), np.float32)
    f4[:, 0], f4[:, 1] = states.confidence, [p.age for p in people]
    parts = f4[:, 2:].reshape(n, NUM_JOINTS, 3)
    parts[..., 0] = states.keypoint_confidence
    parts[..., 1:] = np.where(states.keypoint_confidence[..., None] > 0, states.keypoints, np.nan)
    u4 = to_rois(states.boxes, width, height)
    u1 = np.zeros((n, BYTES), np.uint8)
    u1[:, :ID] = np.frombuffer(''.join(p.id for p in people).encode(), np.uint8).reshape(n, ID)
    u1[:, ID] = [bool(p.matched) for p in people]
    u1[:, ID + 1] = [bool(p.occluded) for p in people]
    u1[:, ID + 3] = [int(p.scale_source) for p in people]
    u1[:, ID + 4:] = np.array([p.source for p in people], np.uint8).reshape(n, NUM_JOINTS)
    return f8, f4, u4[:, [0, 1, 3, 2]], u1


def stamp_of(data):
    """Nanoseconds of the stamp of a message's bytes."""
    if data[:2] != LITTLE[:2] or len(data) < 16:
        return nanoseconds(deserialize_message(data, SkeletonArray).header.stamp)
    sec, nanosec = struct.unpack_from('<iI', data, LEAD)
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
    if _usual() and data[:2] == LITTLE[:2]:
        found = _read(data)
        if found is not None:
            return found
    msg = deserialize_message(data, SkeletonArray)
    people = [to_person(s) for s in msg.skeletons]
    return msg.header, people, stacked(people)


def _read(data):
    try:
        sec, nanosec, length = struct.unpack_from('<iII', data, LEAD)
        frame = data[LEAD + 12:LEAD + 11 + length]
        name = frame.decode()
        count, = struct.unpack_from('<I', data, LEAD + -(-(12 + length) // 4) * 4)
    except (struct.error, UnicodeDecodeError):
        return None
    # no more people than the bytes have room for
    if length == 0 or count * 8 * DOUBLES > len(data):
        return None
    found = layout_of(frame, count).read(data[LEAD:])
    if found is None:
        return None
    f8, f4, roi, u1 = found
    sources, scales = u1[:, ID + 4:], u1[:, ID + 3].tolist()
    if (sources > _SOURCES).any() or not _SCALES.keys() >= set(scales):
        return None
    header = Header(frame_id=name)
    header.stamp.sec, header.stamp.nanosec = sec, nanosec
    parts = f8[:, ROOT:].reshape(count, NUM_JOINTS, 24)
    joints, velocity = parts[..., :3], parts[..., 12:15]
    covariance, spread = (parts[..., a:b].reshape(count, NUM_JOINTS, 3, 3)
                          for a, b in ((3, 12), (15, 24)))
    points = f4[:, 2:].reshape(count, NUM_JOINTS, 3).astype(np.float64)
    boxes = roi @ _BOX - (0, 0, 1, 1)
    names = u1[:, :ID].tobytes()
    names = [names[i:i + ID].decode() for i in range(0, len(names), ID)]
    unknown = np.full((count, NUM_JOINTS, 2, 2), np.nan)
    return header, [
        Person(id=name, confidence=confidence, box=boxes[i], keypoints=points[i, :, 1:],
               keypoint_confidence=points[i, :, 0], keypoint_covariance=unknown[i],
               joints=joints[i], covariance=covariance[i], velocity=velocity[i],
               velocity_covariance=spread[i], source=sources[i], scale_source=_SCALES[scale],
               age=age, matched=matched, occluded=occluded)
        for i, (name, (confidence, age), (matched, occluded), scale) in enumerate(zip(
            names, f4[:, :2].tolist(), (u1[:, ID:ID + 2] != 0).tolist(), scales))], (
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
        if theirs[:2] != LITTLE[:2]:
            return False
        layout = layout_of(frame.encode(), len(people))
        ours = layout.read(theirs[LEAD:])
        if ours is None or not all(np.allclose(a, b) for a, b in zip(
                ours, _numbers(people, 640, 480, BodyStates(people)))):
            return False
        mine = layout.fill(header.stamp, 0.25, *ours)
        if deserialize_message(mine, SkeletonArray) != deserialize_message(theirs, SkeletonArray):
            return False
    return True

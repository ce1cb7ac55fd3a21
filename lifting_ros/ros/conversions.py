"""Calibrations and people <-> messages."""

import numpy as np
from sensor_msgs.msg import RegionOfInterest

from ..body_frame import body_state, quaternion
from ..camera import Camera, CameraError
from ..msg import Joint, Skeleton, SkeletonArray, SkeletonModel
from ..person import Person, ScaleSource, Source
from ..skeleton import JOINTS, NUM_JOINTS, PARENTS, PELVIS


def seconds(stamp):
    """Seconds (float) of a builtin_interfaces/Time; to 0.2 microseconds."""
    return stamp.sec + 1e-9 * stamp.nanosec


def nanoseconds(stamp):
    """Whole nanoseconds of a builtin_interfaces/Time."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def to_camera(info, width, height):
    """Camera of a CameraInfo, for images of a size.

    Binning and region of interest are taken into account (REP-104): K speaks of the full
    picture, the image may be a binned part of it.

    Args:
        info: sensor_msgs/CameraInfo.
        width, height: of the image, px.

    Returns:
        :class:`~lifting_ros.camera.Camera` of that size.

    Raises:
        CameraError: not calibrated (K all zero), senseless, or of another size than the image.
    """
    k = np.asarray(info.k, dtype=np.float64).reshape(3, 3).copy()
    if not k.any():
        raise CameraError('K is all zero: the camera is not calibrated. Calibrate it '
                          '(camera_calibration), or let its driver publish a CameraInfo with '
                          'intrinsics')
    roi = info.roi
    w, h = info.width, info.height
    if roi.width and roi.height:
        k[0, 2] -= roi.x_offset
        k[1, 2] -= roi.y_offset
        w, h = roi.width, roi.height
    bx, by = max(1, info.binning_x), max(1, info.binning_y)
    if (w, h) != (0, 0) and (w // bx, h // by) != (width, height):
        raise CameraError(f'camera_info is for images of {w // bx}x{h // by}, the image is '
                          f'{width}x{height}')
    # pixel centres are at integers: a binned pixel's centre is between those of its parts
    shrink = np.array([[1 / bx, 0, (1 / bx - 1) / 2], [0, 1 / by, (1 / by - 1) / 2], [0, 0, 1]])
    return Camera(shrink @ k, width, height, np.asarray(info.d, dtype=np.float64),
                  info.distortion_model or 'plumb_bob')


def fill_camera_info(info, camera):
    """Put a camera into a CameraInfo; its header is left as it is. Returns it."""
    info.width, info.height = camera.width, camera.height
    info.distortion_model = camera.model
    info.d = [] if camera.D is None else [float(x) for x in camera.D]
    info.k = np.asarray(camera.K, dtype=np.float64).ravel()
    info.r = np.eye(3).ravel()
    info.p = np.concatenate((camera.K, np.zeros((3, 1))), axis=1).ravel()
    return info


def to_rois(boxes, width, height):
    """Boxes (N, 4) x0 y0 x1 y1 px, cut at the edges of the image: (N, 4) int x, y, width, height
    of regions of interest.
    """
    boxes = np.array(boxes, dtype=np.float64)
    if not np.isfinite(boxes.sum()):
        boxes = np.nan_to_num(boxes)
    np.floor(boxes[:, :2], out=boxes[:, :2])
    np.ceil(boxes[:, 2:], out=boxes[:, 2:])
    boxes[:, 2:] += 1
    np.minimum(np.maximum(boxes, 0, out=boxes), (width, height, width, height), out=boxes)
    boxes[:, 2:] -= boxes[:, :2]
    return np.maximum(boxes, 0, out=boxes).astype(np.int64)


def to_roi(box, width, height):
    """RegionOfInterest of a box (4,) x0 y0 x1 y1 px, cut at the edges of the image."""
    x, y, w, h = to_rois(np.asarray(box)[None], width, height)[0].tolist()
    return RegionOfInterest(x_offset=x, y_offset=y, width=w, height=h)


def to_skeleton(person, width, height):
    """Skeleton message of a person.

    Args:
        person: :class:`~lifting_ros.person.Person`.
        width, height: of the image, px.

    Returns:
        lifting_ros/Skeleton.
    """
    msg = Skeleton(
        id=person.id, confidence=float(person.confidence), age=float(person.age),
        matched=bool(person.matched), occluded=bool(person.occluded),
        roi=to_roi(person.box, width, height), scale_source=int(person.scale_source))
    _fill_root(msg.root, msg.velocity, person)
    joints = []
    seen = np.asarray(person.keypoint_confidence, dtype=np.float64)
    pixels = np.where(seen[:, None] > 0, person.keypoints, np.nan)
    values = zip(JOINTS, np.asarray(person.source).tolist(), seen.tolist(),
                 np.asarray(person.joints, dtype=np.float64).tolist(), pixels.tolist(),
                 np.asarray(person.velocity, dtype=np.float64).tolist(),
                 _rows(person.covariance), _rows(person.velocity_covariance))
    for name, source, confidence, position, pixel, velocity, covariance, spread in values:
        joint = Joint(name=name, source=int(source), confidence=confidence,
                      covariance=covariance, pixel_x=pixel[0], pixel_y=pixel[1],
                      velocity_covariance=spread)
        joint.position.x, joint.position.y, joint.position.z = position
        joint.velocity.x, joint.velocity.y, joint.velocity.z = velocity
        joints.append(joint)
    msg.joints = joints
    return msg


def _rows(covariance):
    return np.ascontiguousarray(covariance, dtype=np.float64).reshape(NUM_JOINTS, 9)


def _fill_root(pose, twist, person):
    rotation, pose_cov, rates, twist_cov = body_state(
        person.joints, person.covariance, person.velocity, person.velocity_covariance)
    q = quaternion(rotation)
    p, o = pose.pose.position, pose.pose.orientation
    p.x, p.y, p.z = np.asarray(person.joints[PELVIS], dtype=np.float64).tolist()
    o.x, o.y, o.z, o.w = q.tolist()
    pose.covariance = np.ascontiguousarray(pose_cov).ravel()
    v, w = twist.twist.linear, twist.twist.angular
    v.x, v.y, v.z, w.x, w.y, w.z = rates.tolist()
    twist.covariance = np.ascontiguousarray(twist_cov).ravel()


def to_array(people, header, width, height, on_error=None):
    """SkeletonArray of the people in an image.

    A person that cannot be put into a message is left out; the others are not.

    Args:
        people: list of :class:`~lifting_ros.person.Person`.
        header: of the image; used as it is.
        width, height: of the image, px.
        on_error: called with (person, exception) for each that is left out.
    """
    out = SkeletonArray(header=header)
    skeletons = []
    for person in people:
        try:
            skeletons.append(to_skeleton(person, width, height))
        except Exception as error:  # noqa: BLE001 (whatever is wrong with one, keep the rest)
            if on_error is not None:
                on_error(person, error)
    out.skeletons = skeletons
    return out


def to_model():
    """The SkeletonModel message of this package's joints."""
    return SkeletonModel(joint_names=list(JOINTS), parents=list(PARENTS))


def to_person(msg):
    """Person of a Skeleton message: what a subscriber may want of it, all but log_likelihood."""
    covariance = np.array([j.covariance for j in msg.joints], dtype=np.float64)
    spread = np.array([j.velocity_covariance for j in msg.joints], dtype=np.float64)
    box = msg.roi
    person = Person(
        id=msg.id, confidence=msg.confidence,
        box=np.array([box.x_offset, box.y_offset, box.x_offset + box.width - 1,
                      box.y_offset + box.height - 1], dtype=np.float64))
    person.keypoints = np.array([(j.pixel_x, j.pixel_y) for j in msg.joints], dtype=np.float64)
    person.keypoint_confidence = np.array([j.confidence for j in msg.joints])
    person.joints = np.array([(j.position.x, j.position.y, j.position.z) for j in msg.joints])
    person.covariance = covariance.reshape(-1, 3, 3)
    person.velocity = np.array([(j.velocity.x, j.velocity.y, j.velocity.z) for j in msg.joints])
    person.velocity_covariance = spread.reshape(-1, 3, 3)
    person.source = np.array([Source(j.source) for j in msg.joints], dtype=np.uint8)
    person.scale_source = ScaleSource(msg.scale_source)
    person.age, person.matched, person.occluded = msg.age, msg.matched, msg.occluded
    return person


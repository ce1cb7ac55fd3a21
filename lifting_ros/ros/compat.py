"""Other ROS packages: the real ones where they are installed, else the few calls used here.

``cv_bridge``, ``tf_transformations`` and ``tf2_ros`` come with every ROS desktop, but there are no
wheels of them. Nodes import the names below and do not ask which it is; what stands in for
``cv_bridge`` is in images.py. ``sensor_msgs_py`` belongs here as soon as a node calls it.
"""

import numpy as np

from ..body_frame import quaternion

try:
    import cv_bridge
except ImportError:
    cv_bridge = None
try:
    import tf_transformations
except ImportError:
    tf_transformations = None
try:
    import tf2_ros
except ImportError:
    tf2_ros = None
try:
    from tf2_msgs.msg import TFMessage
except ImportError:
    TFMessage = None


def installed():
    """Which of the real packages are there, as a dict name -> bool."""
    return {'cv_bridge': cv_bridge is not None,
            'tf_transformations': tf_transformations is not None, 'tf2_ros': tf2_ros is not None}


def quaternion_from_matrix(matrix):
    """Quaternion x y z w of a homogeneous (4, 4) matrix, as tf_transformations has it."""
    if tf_transformations is not None:
        return np.asarray(tf_transformations.quaternion_from_matrix(matrix))
    return quaternion(np.asarray(matrix)[:3, :3])


class _Broadcaster:
    """What tf2_ros' broadcasters do: TFMessage on /tf, or latched on /tf_static."""

    def __init__(self, node, static):
        from rclpy.qos import DurabilityPolicy, QoSProfile

        profile = QoSProfile(depth=100)
        if static:
            profile = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._publisher = node.create_publisher(TFMessage, '/tf_static' if static else '/tf',
                                                profile)

    def sendTransform(self, transforms):  # noqa: N802 (tf2_ros' name)
        self._publisher.publish(TFMessage(transforms=list(transforms)))


def frames_can_be_sent():
    """Whether :func:`transform_broadcaster` gives one."""
    return tf2_ros is not None or TFMessage is not None


def transform_broadcaster(node, static=False):
    """Return a broadcaster of transforms; None where neither tf2_ros nor tf2_msgs is there."""
    if tf2_ros is not None:
        return (tf2_ros.StaticTransformBroadcaster if static
                else tf2_ros.TransformBroadcaster)(node)
    return None if TFMessage is None else _Broadcaster(node, static)

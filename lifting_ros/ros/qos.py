"""Qualities of service of all topics, and how a user changes them."""

from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.qos_overriding_options import QoSOverridingOptions

#: Sensor data in: best effort, and only the newest; nothing queues up behind a slow node.
NEWEST = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1,
                    reliability=ReliabilityPolicy.BEST_EFFORT,
                    durability=DurabilityPolicy.VOLATILE)
#: Results out: reliable, which a best-effort subscriber may have too.
RESULT = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=5,
                    reliability=ReliabilityPolicy.RELIABLE,
                    durability=DurabilityPolicy.VOLATILE)
#: Pictures out: reliable for RViz's sake, but never more than one waits.
PICTURE = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1,
                     reliability=ReliabilityPolicy.RELIABLE,
                     durability=DurabilityPolicy.VOLATILE)
#: Said once, heard by whoever comes later.
LATCHED = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1,
                     reliability=ReliabilityPolicy.RELIABLE,
                     durability=DurabilityPolicy.TRANSIENT_LOCAL)


#: An IMU's samples about an image are all wanted.
IMU = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=200,
                 reliability=ReliabilityPolicy.BEST_EFFORT,
                 durability=DurabilityPolicy.VOLATILE)

#: What a user may override with parameters ``qos_overrides.<topic>.<publisher|subscription>...``.
#: Not the depth of what comes in: the newest frame wins.
_IN = (QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY)
_OUT = (*_IN, QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH)


def copied(profile):
    """A profile that may be changed: rclpy writes the overrides into the one it is given."""
    return QoSProfile(history=profile.history, depth=profile.depth,
                      reliability=profile.reliability, durability=profile.durability)


def publisher(node, kind, topic, profile):
    """Create a publisher whose quality of service the user may override."""
    made = node.create_publisher(kind, topic, copied(profile),
                                 qos_overriding_options=QoSOverridingOptions(_OUT))
    return made


def subscription(node, kind, topic, callback, profile, raw=False):
    """Create a subscription whose quality of service the user may override."""
    return node.create_subscription(kind, topic, callback, copied(profile), raw=raw,
                                    qos_overriding_options=QoSOverridingOptions(_IN))

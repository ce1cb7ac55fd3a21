"""Qualities of service of all topics, and how a user changes them."""

from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.qos_overriding_options import QoSOverridingOptions


def _profile(reliability, depth, durability=DurabilityPolicy.VOLATILE):
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability,
                      durability=durability)


#: Sensor data in: best effort, and only the newest; nothing queues up behind a slow node.
NEWEST = _profile(ReliabilityPolicy.BEST_EFFORT, 1)
#: Results out: reliable, which a best-effort subscriber may have too.
RESULT = _profile(ReliabilityPolicy.RELIABLE, 5)
#: Pictures out: reliable for RViz's sake, but never more than one waits.
PICTURE = _profile(ReliabilityPolicy.RELIABLE, 1)
#: Said once, heard by whoever comes later.
LATCHED = _profile(ReliabilityPolicy.RELIABLE, 1, DurabilityPolicy.TRANSIENT_LOCAL)
#: An IMU's samples about an image are all wanted.
IMU = _profile(ReliabilityPolicy.BEST_EFFORT, 200)

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

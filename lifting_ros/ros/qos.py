"""Qualities of service of all topics, and a word where they do not fit together."""

from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSProfile,
    ReliabilityPolicy,
)

try:  # Iron and later
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

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


def subscription_events(node, topic):
    """Event callbacks that say why nothing arrives on a topic."""
    def incompatible(event):
        node.get_logger().error(
            f'a publisher of `{topic}` offers a quality of service that does not fit '
            f'(policy {event.last_policy_kind}): nothing will arrive from it. This node asks for '
            'best effort and volatile, the least there is')
    return SubscriptionEventCallbacks(incompatible_qos=incompatible)


def publisher_events(node, topic):
    """Event callbacks that say why a subscriber of a topic gets nothing."""
    def incompatible(event):
        node.get_logger().warning(
            f'a subscriber of `{topic}` asks for a quality of service that is not offered '
            f'(policy {event.last_policy_kind}): it will get nothing')
    return PublisherEventCallbacks(incompatible_qos=incompatible)

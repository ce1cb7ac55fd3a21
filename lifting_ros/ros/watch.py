"""Says why nothing arrives: wrong names, wrong types, qualities of service that do not match."""

import difflib

from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible

#: seconds until the lack of a publisher is worth a word: discovery takes its time
PATIENCE = 1.5


def words(profile):
    """A profile in a few words: what compatibility depends on."""
    return f'{profile.reliability.name.lower()}, {profile.durability.name.lower()}'


def near(name, others):
    """Names of others, the most alike first; at most three."""
    def alike(other):
        last = difflib.SequenceMatcher(None, name.split('/')[-1], other.split('/')[-1]).ratio()
        return difflib.SequenceMatcher(None, name, other).ratio() + last
    return sorted(others, key=alike, reverse=True)[:3]


class Watch:
    """Looks at the graph, says each thing once, and forgets it when it is over.

    Args:
        node: rclpy node.
        clock: returns seconds.
    """

    def __init__(self, node, clock):
        self._node, self._clock, self._since = node, clock, {}
        self._said, self.problems = set(), []

    def look(self, subscriptions, publishers):
        """Look once; call it about once a second.

        Args:
            subscriptions: list of (topic as the user remaps it, rclpy subscription).
            publishers: list of rclpy publishers.

        Returns:
            list of sentences, one for each thing that is wrong; new ones are logged.
        """
        found = {}
        for wanted, subscription in subscriptions:
            found.update(self._incoming(wanted, subscription))
        for publisher in publishers:
            found.update(self._outgoing(publisher))
        for key, text in found.items():
            if key not in self._said:
                self._node.get_logger().warning(text)
        self._said = set(found)
        self.problems = list(found.values())
        return self.problems

    def _own(self, info):
        return (info.node_name, info.node_namespace) == (self._node.get_name(),
                                                         self._node.get_namespace())

    def _named(self, info):
        """Whether it is known whose an end is; where it stays unknown, that has to do."""
        if 'UNKNOWN' not in info.node_name:
            return True
        since = self._since.setdefault(bytes(info.endpoint_gid), self._clock())
        return self._clock() - since >= PATIENCE

    def _incoming(self, wanted, subscription):
        topic, kind = subscription.topic_name, _type_name(subscription.msg_type)
        ours = list(filter(self._own, self._node.get_subscriptions_info_by_topic(topic)))
        profile = ours[0].qos_profile if ours else subscription.qos_profile
        others = self._node.get_publishers_info_by_topic(topic)
        if not any(i.topic_type == kind for i in others):
            since = self._since.setdefault(topic, self._clock())
            if self._clock() - since >= PATIENCE:
                text = self._lonely(wanted, topic, kind, others)
                yield ('lonely', text), text  # said again when there is better advice
            return
        self._since.pop(topic, None)
        for info in others:
            if info.topic_type == kind and self._named(info):
                wrong = _mismatch(info.qos_profile, profile)
                if wrong:
                    yield ('in', topic, bytes(info.endpoint_gid)), (
                        f'nothing arrives on {topic} from {_full(info)}: it publishes '
                        f'{words(info.qos_profile)}, this node asks for {words(profile)}. '
                        f'{wrong}: let it publish that, or set here '
                        + _remedy(topic, 'subscription', info.qos_profile, profile))

    def _lonely(self, wanted, topic, kind, others):
        if others:
            types = ', '.join(sorted({i.topic_type for i in others}))
            hint = ' (set image_transport to compressed and take `/compressed` off the name)' \
                if 'sensor_msgs/msg/CompressedImage' in types else ''
            return f'{topic} is published as {types}, this node needs {kind}{hint}'
        # not by get_publishers_info_by_topic: that would remap the names it is given
        own = [p.topic_name for p in self._node.publishers]
        names = [name for name, types in self._node.get_topic_names_and_types()
                 if kind in types and name != topic
                 and self._node.count_publishers(name) > own.count(name)]
        there = (f'topics of this type that are published: {", ".join(near(topic, names))}. '
                 f'Remap: -r {wanted}:={near(topic, names)[0]}' if names else
                 'no topic of this type is published at all: is its node running, in this ROS '
                 'domain?')
        return f'nobody publishes {topic} ({kind}); {there}'

    def _outgoing(self, publisher):
        topic, kind = publisher.topic_name, _type_name(publisher.msg_type)
        profile = publisher.qos_profile
        for info in self._node.get_publishers_info_by_topic(topic):
            if self._own(info):
                profile = info.qos_profile
        for info in self._node.get_subscriptions_info_by_topic(topic):
            wrong = _mismatch(profile, info.qos_profile)
            if wrong and info.topic_type == kind and self._named(info):
                yield ('out', topic, bytes(info.endpoint_gid)), (
                    f'{_full(info)} gets nothing from {topic}: it asks for '
                    f'{words(info.qos_profile)}, this node publishes {words(profile)}. {wrong}: '
                    'let it ask for what is offered, or set here '
                    + _remedy(topic, 'publisher', info.qos_profile, profile))
        yield from self._astray(topic, kind)

    def _astray(self, topic, kind):
        """Subscribers of our type on names that nobody publishes."""
        if not kind.startswith('lifting_ros/'):
            return
        for name, types in self._node.get_topic_names_and_types():
            if kind in types and not self._node.count_publishers(name):
                for info in self._node.get_subscriptions_info_by_topic(name):
                    key = name, bytes(info.endpoint_gid)
                    since = self._since.setdefault(key, self._clock())
                    if self._clock() - since >= PATIENCE:
                        yield ('astray', *key), (
                            f'{_full(info)} subscribes to {name} ({kind}), which nobody '
                            f'publishes; this node publishes {topic}. Remap it there: '
                            f'-r {name}:={topic}')


def _full(info):
    return f'{info.node_namespace.rstrip("/")}/{info.node_name}'


def _type_name(kind):
    package, *_, name = (*kind.__module__.split('.'), kind.__name__)
    return f'{package}/msg/{name}'


def _known(profile):
    """The profile without what the middleware does not tell."""
    return QoSProfile(depth=max(profile.depth, 1), reliability=profile.reliability,
                      durability=profile.durability)


def _mismatch(offered, wanted):
    """What is too little in an offer, in words; None where it fits."""
    result, _ = qos_check_compatible(_known(offered), _known(wanted))
    if result != QoSCompatibility.ERROR:
        return None
    return ' and '.join(
        f'{ask} is asked for, only {give} offered' for ask, give in
        ((wanted.reliability.name.lower(), offered.reliability.name.lower()),
         (wanted.durability.name.lower(), offered.durability.name.lower()))
        if (ask, give) in (('reliable', 'best_effort'), ('transient_local', 'volatile')))


def _remedy(topic, side, theirs, ours):
    """Parameters of this node that would make both ends fit."""
    lines = [f'qos_overrides.{topic}.{side}.{policy}:={there}' for policy, there, here in (
        ('reliability', theirs.reliability.name.lower(), ours.reliability.name.lower()),
        ('durability', theirs.durability.name.lower(), ours.durability.name.lower()))
        if there != here]
    return ' '.join(f'-p {line}' for line in lines)

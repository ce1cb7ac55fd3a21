"""SkeletonListener: ages, refusals, prediction."""
# ruff: noqa: I001 (ros_support goes first: it skips where there is no ROS)

import ros_support  # noqa: F401
import numpy as np
import pytest
from std_msgs.msg import Header

from lifting_ros.frame_tree import Buffer
from lifting_ros.msg import SkeletonArray
from lifting_ros.person import Person, Source
from lifting_ros.ros import qos
from lifting_ros.ros.client import SkeletonListener
from lifting_ros.ros.conversions import to_array


def somebody(rng):
    p = Person(id='abcde', confidence=0.9, box=np.zeros(4), joints=rng.normal(size=(17, 3)),
               covariance=np.tile(0.01 * np.eye(3), (17, 1, 1)))
    p.velocity = np.tile([1.0, 0, 0], (17, 1))
    p.velocity_covariance = np.tile(0.04 * np.eye(3), (17, 1, 1))
    p.source = np.full(17, Source.OBSERVED, np.uint8)
    return p


class Sender:
    """Sends people with a stamp so many seconds before now."""

    def __init__(self, graph, rng):
        self.graph, self.person = graph, somebody(rng)
        self.out = graph.node.create_publisher(SkeletonArray, '/people', qos.RESULT)

    def now(self):
        return self.graph.node.get_clock().now().nanoseconds

    def send(self, back, frame='camera'):
        stamp, header = self.now() - int(1e9 * back), Header(frame_id=frame)
        header.stamp.sec, header.stamp.nanosec = divmod(stamp, 10 ** 9)
        self.out.publish(to_array([self.person], header, 640, 480))
        return stamp


def test_newest_with_age_and_too_old_refused(graph, rng):
    got, sender = [], Sender(graph, rng)
    listener = SkeletonListener(graph.node, '/people', max_age=60.0, callback=got.append)
    assert listener.newest() is None and '/people' in listener.reason
    graph.spin_until(lambda: sender.out.get_subscription_count())
    first = sender.send(2.0)
    graph.spin_until(lambda: len(got) == 1)
    seen = listener.newest()
    assert seen.stamp == seen.seen == first and seen.frame == 'camera' and listener.reason == ''
    assert seen.age == pytest.approx(1e-9 * (sender.now() - first), abs=5.0) and seen.age > 2.0
    np.testing.assert_allclose(seen.people[0].joints, sender.person.joints)
    np.testing.assert_allclose(seen.people[0].velocity, sender.person.velocity)
    newer = sender.send(1.0)
    graph.spin_until(lambda: len(got) == 2)
    assert listener.newest().seen == newer
    listener.max_age = 0.5
    assert listener.newest() is None and 's old' in listener.reason
    assert listener.predict() is None
    sender.send(-500.0)    # of a machine whose clock is ahead
    graph.spin_until(lambda: len(got) == 3)
    assert listener.newest() is None and 'ahead' in listener.reason
    listener.max_age = 60.0
    sender.send(30.0)      # a looped bag: time goes back, and that is the newest
    graph.spin_until(lambda: len(got) == 4)
    assert 29 < listener.newest().age
    listener.close()


def test_prediction_to_the_control_time(graph, rng):
    got, sender = [], Sender(graph, rng)
    listener = SkeletonListener(graph.node, '/people', max_age=60.0, callback=got.append)
    graph.spin_until(lambda: sender.out.get_subscription_count())
    stamp = sender.send(0.0)
    graph.spin_until(lambda: got)
    last = sender.person.covariance
    for ahead in (0.05, 0.1, 0.3):
        when = stamp + int(1e9 * ahead)
        then = listener.predict(when)
        assert then.stamp == when and then.seen == stamp
        moved = then.people[0].joints - sender.person.joints
        assert (moved[:, 0] > 0.7 * ahead).all() and (moved[:, 0] <= ahead + 1e-9).all()
        assert (np.linalg.eigvalsh(then.people[0].covariance - last) > 0).all()
        last = then.people[0].covariance
    np.testing.assert_allclose(listener.newest().people[0].joints, sender.person.joints)
    assert listener.predict(stamp + 100 * 10 ** 9) is None


def test_own_frame_at_the_stamp_of_the_image(graph, rng, monkeypatch):
    got, sender = [], Sender(graph, rng)
    listener = SkeletonListener(graph.node, '/people', 'base', max_age=60.0, callback=got.append)
    tree = Buffer()
    monkeypatch.setattr(listener._frames, 'lookup', tree.lookup)
    graph.spin_until(lambda: sender.out.get_subscription_count())
    stamp = sender.send(1.0)
    graph.spin_until(lambda: got)
    assert listener.newest() is None and 'TF' in listener.reason
    for k in range(20):     # the camera moves at 1 m/s: the stamp decides where it was
        tree.add('base', 'camera', stamp + (k - 5) * 10 ** 8, (0.1 * (k - 5), 0, 0), (0, 0, 1, 0))
    seen = listener.newest()
    half_turn = np.diag([-1.0, -1, 1])
    assert seen.frame == 'base'
    np.testing.assert_allclose(seen.people[0].joints, sender.person.joints @ half_turn, atol=1e-6)
    np.testing.assert_allclose(seen.people[0].velocity, sender.person.velocity @ half_turn,
                               atol=1e-9)
    # the newest image's transform has not come yet: the one before is given, and is older
    sender.send(-30.0)
    graph.spin_until(lambda: len(got) == 2)
    assert listener.newest().seen == stamp


def test_messages_that_are_not_laid_out_as_usual_are_read_too(graph, rng):
    got, sender = [], Sender(graph, rng)
    sender.person.id = 'anna-maria'
    listener = SkeletonListener(graph.node, '/people', max_age=60.0, callback=got.append)
    graph.spin_until(lambda: sender.out.get_subscription_count())
    sender.send(1.0)
    graph.spin_until(lambda: got)
    seen = listener.newest().people[0]
    assert seen.id == 'anna-maria' and isinstance(got[0], SkeletonArray)
    np.testing.assert_allclose(seen.joints, sender.person.joints)
    assert listener.newest().people[0] is seen       # read once
    listener.close()

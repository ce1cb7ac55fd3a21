"""The managed life cycle over DDS: transitions, what runs in which state, errors with a reason."""
# ruff: noqa: I001 (ros_support goes first: it skips where there is no ROS)

import pytest
from ros_support import LIMIT, LONG
from test_ros_pose_node import Bench

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState


class Managed(Bench):
    """The bench with a manager's two services."""

    def __init__(self, tmp_path, *arguments, **more):
        super().__init__(tmp_path, *arguments, **more)
        self._change = self.node.create_client(ChangeState, 'pose/change_state')
        self._get = self.node.create_client(GetState, 'pose/get_state')
        self.spin_until(self._change.service_is_ready)
        self.state()  # answered: the two know each other by now

    def change(self, transition):
        """Ask for a transition; was it granted?"""
        future = self._change.call_async(
            ChangeState.Request(transition=Transition(id=transition)))
        self.spin_until(future.done, limit=LONG)  # configuring may load the real weights
        return future.result().success

    def state(self):
        """Number of the primary state."""
        return self.call(self._get, GetState.Request()).current_state.id

    def subscribed(self):
        """Does the node subscribe to the images?"""
        return self.node.count_subscribers('image') > 0


@pytest.fixture
def managed(tmp_path):
    """Start Managed benches; end them."""
    made = []

    def start(*args, **kwargs):
        made.append(Managed(tmp_path, *args, **kwargs))
        return made[-1]
    yield start
    for bench in made:
        bench.close()


def test_every_transition(managed):
    bench = managed('--ros-args', '-p', 'autostart:=false', wait=False)
    assert bench.state() == State.PRIMARY_STATE_UNCONFIGURED
    bench.status('unconfigured: waiting')
    assert not bench.subscribed() and not bench.node.count_publishers('pose/skeletons')
    assert bench.change(Transition.TRANSITION_CONFIGURE)
    assert bench.state() == State.PRIMARY_STATE_INACTIVE
    bench.spin_until(lambda: bench.node.count_publishers('pose/skeletons'))
    assert not bench.subscribed()
    bench.status('inactive')
    for _ in range(2):
        assert bench.change(Transition.TRANSITION_ACTIVATE)
        bench.spin_until(bench.subscribed)
        bench.spin_until(lambda: bench.images.get_subscription_count())
        bench.info()
        assert len(bench.ask(bench.image(people=2)).skeletons) == 2
        assert bench.change(Transition.TRANSITION_DEACTIVATE)
        bench.spin_until(lambda: not bench.subscribed())
        first = 1000 + bench.sent + 1
        for _ in range(30):  # not heard, and not counted as dropped later
            bench.images.publish(bench.image())
            bench.spin(0.01)
        bench.values()
        assert not [a for a in bench.answers if a.header.stamp.sec >= first]
    assert 'reset 2' in bench.process.log.read_text()  # people get new ids at each activation
    assert int(bench.values()['frames dropped']) <= bench.repeats
    assert bench.change(Transition.TRANSITION_CLEANUP)
    assert bench.state() == State.PRIMARY_STATE_UNCONFIGURED
    bench.spin_until(lambda: not bench.node.count_publishers('pose/skeletons'))
    assert bench.change(Transition.TRANSITION_CONFIGURE)
    assert bench.change(Transition.TRANSITION_INACTIVE_SHUTDOWN)
    assert bench.process.wait(LIMIT) == 0


def test_what_fails_in_configuring_leaves_it_unconfigured_with_the_reason(managed, tmp_path):
    path = tmp_path / 'weights.bin'
    bench = managed(wait=False, FAKE_WEIGHTS=str(path))
    bench.status(f'unconfigured: no weights at {path}')
    assert bench.state() == State.PRIMARY_STATE_UNCONFIGURED and not bench.subscribed()
    assert not bench.change(Transition.TRANSITION_CONFIGURE)
    assert bench.state() == State.PRIMARY_STATE_UNCONFIGURED
    path.write_bytes(b'there they are')
    assert bench.change(Transition.TRANSITION_CONFIGURE)
    assert bench.change(Transition.TRANSITION_ACTIVATE)
    bench.spin_until(lambda: bench.images.get_subscription_count())
    assert bench.ask(bench.image()).skeletons
    text = bench.process.log.read_text()
    assert text.count('cannot start') == 2 and 'Traceback' not in text

"""What stands under nodes and their tests: domains of their own, and how nodes end."""

import subprocess
import sys

import pytest
from ros_support import HERE, LIMIT, new_domain, release_domain


def first_try(domain):
    """The domain that another process gets which would begin with this one."""
    done = subprocess.run(
        [sys.executable, '-c', 'import itertools, ros_support\n'
         f'ros_support._domains = itertools.count({domain - 1})\n'
         'print(ros_support.new_domain())'],
        cwd=HERE, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_no_other_run_gets_a_domain_that_is_held():
    mine, other = new_domain(), new_domain()
    assert mine != other and 1 <= min(mine, other) and max(mine, other) <= 100
    assert first_try(mine) not in (mine, other)
    release_domain(mine)
    release_domain(other)


#: A node that has something to publish when it is told to end, as by a signal.
LATE = """
import sys
import rclpy
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from lifting_ros.ros import spin


class Late(Node):
    def __init__(self):
        super().__init__('late')
        self.out = self.create_publisher(Clock, 'late', 1)
        self.create_timer(0.01, self.tell)

    def tell(self):
        if {end}:
            rclpy.shutdown()
        self.out.publish(Clock())
        raise ValueError('of its own')


sys.exit(spin.run(Late))
"""


@pytest.mark.parametrize('end', [True, False])
def test_who_is_told_to_end_while_it_publishes_ends_well(end, graph):
    node = graph.start('-c', LATE.format(end=end))
    assert node.wait(LIMIT) == (0 if end else 1)
    said = node.log.read_text()
    assert ('Traceback' in said) == (not end) and ('of its own' in said) == (not end)

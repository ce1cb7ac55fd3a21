"""For tests over real DDS: processes with a domain and a time limit of their own."""

import itertools
import os
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2: scripts/setup.sh, then . scripts/env.sh')
pytest.importorskip('lifting_ros.msg', reason='the messages are not built: scripts/setup.sh')

import rclpy  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
LIMIT = 120.0  # s; a test that hangs ends here, however busy the machine is
_domains = itertools.count(os.getpid())


def new_domain():
    """Return a ROS domain that no other test of this run uses."""
    return next(_domains) % 100 + 1


class Graph:
    """A node of the test's own and the processes of a test, in one domain."""

    def __init__(self, tmp_path):
        self.domain = new_domain()
        self.tmp_path = tmp_path
        self.context = rclpy.Context()
        self.context.init(domain_id=self.domain)
        self.node = rclpy.create_node('test', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.processes = []

    def start(self, *command, **env):
        """Start a Python process in the domain; its output goes to a file."""
        log = self.tmp_path / f'process{len(self.processes)}.txt'
        with open(log, 'wb') as out:
            process = subprocess.Popen(
                [sys.executable, *map(str, command)], stdout=out, stderr=subprocess.STDOUT,
                env={**os.environ, 'ROS_DOMAIN_ID': str(self.domain), 'OMP_NUM_THREADS': '1',
                     'ROS_PYTHON_CHECK_FIELDS': '1', 'ROS_LOG_DIR': str(self.tmp_path),
                     **env})
        process.log = log
        self.processes.append(process)
        return process

    def spin_until(self, done, limit=LIMIT):
        """Spin until done() is true; fail with the logs if it never is."""
        end = time.monotonic() + limit
        while not done():
            if time.monotonic() > end:
                pytest.fail('time limit\n' + '\n'.join(p.log.read_text()
                                                       for p in self.processes))
            self.executor.spin_once(timeout_sec=0.05)

    def spin(self, seconds):
        """Spin for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.02)

    def interrupt(self, process):
        """End a process as a user does; return its exit status."""
        process.send_signal(signal.SIGINT)
        try:
            return process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            pytest.fail('did not end on SIGINT\n' + process.log.read_text())

    def close(self):
        """End everything; gently, for a killed process leaves its shared memory behind."""
        for p in self.processes:
            if p.poll() is None:
                p.send_signal(signal.SIGINT)
        for p in self.processes:
            try:
                p.wait(60)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()

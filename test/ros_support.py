"""For tests over real DDS: processes with a domain and a time limit of their own."""

import atexit
import fcntl
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2: scripts/setup.sh, then . scripts/env.sh')
pytest.importorskip('lifting_ros.msg', reason='the messages are not built: scripts/setup.sh')

import rclpy  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
LIMIT = 240.0  # s; a test that hangs ends here, however busy the machine is
LONG = 600.0   # s; the same where a process loads the real weights or lasts itself
_domains = itertools.count(os.getpid())
_started = []  # processes, to leave none behind
_held = {}     # domain -> its open lock file


def new_domain():
    """Return a ROS domain that no other test on this machine uses until it is released."""
    for n in itertools.islice(_domains, 1000):
        domain = n % 100 + 1
        if domain in _held:
            continue
        try:
            lock = open(os.path.join(tempfile.gettempdir(),  # noqa: SIM115 (open as long as held)
                                     f'lifting_ros_test_domain_{domain}'), 'a')
        except OSError:  # another user's
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        _held[domain] = lock
        return domain
    raise RuntimeError('all ROS domains are in use by other tests')


def release_domain(domain):
    """Let others have a domain; do so when no process is left in it."""
    _held.pop(domain).close()


@atexit.register
def _end_the_rest():
    """End what a test left that failed before it had a graph to close."""
    for process in _started:
        if process.poll() is None:
            process.kill()


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
        _started.append(process)
        self.processes.append(process)
        return process

    def spin_until(self, done, limit=LIMIT, again=None, every=0.5, slower=1.0):
        """Spin until done() is true; fail with the logs if it never is.

        Args:
            done: called now and then.
            limit: s.
            again: called first, and then every so many seconds: sends what may get lost, because
                the other side has not been discovered, or because it is best effort.
            every: s.
            slower: factor of ``every`` from one time to the next.
        """
        end, turn = time.monotonic() + limit, -1e9
        while True:
            if again is not None and time.monotonic() >= turn:
                again()
                turn, every = time.monotonic() + every, every * slower
            if done():
                return
            if time.monotonic() > end:
                pytest.fail('time limit\n' + '\n'.join(p.log.read_text()
                                                       for p in self.processes))
            self.executor.spin_once(timeout_sec=0.05)

    def call(self, client, request, limit=LIMIT):
        """Call a service; ask again where the answer has got lost. For requests that may repeat.

        Returns:
            The response.
        """
        futures = []
        self.spin_until(client.service_is_ready, limit)
        self.spin_until(lambda: any(f.done() for f in futures), limit,
                        again=lambda: futures.append(client.call_async(request)), every=10.0)
        return next(f for f in futures if f.done()).result()

    def spin(self, seconds):
        """Spin for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.02)

    def interrupt(self, process):
        """End a process as a user does; return its exit status."""
        process.send_signal(signal.SIGINT)
        try:
            if status := process.wait(LIMIT):
                print(process.log.read_text())
            return status
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
                p.wait(LIMIT)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()
        release_domain(self.domain)

"""What the node says of itself at 1 Hz (REP-107), in every state of its life cycle."""

import time

from diagnostic_msgs.msg import DiagnosticArray

from . import qos, statistics
from .statistics import ERROR, OK, STALE, WARN


class Diagnostics:
    """Counts and times of a node, and the diagnostic made of them.

    Args:
        node: rclpy node.
    """

    def __init__(self, node):
        self._node = node
        self._out = node.create_publisher(DiagnosticArray, '/diagnostics', qos.RESULT)
        self.frames = statistics.FrameCounter()
        self.rejected, self.skipped, self.processed, self.people = 0, 0, 0, 0
        self.problem = None       # of the last image
        self.reason = None        # why the node is not active
        self.latency, self.work, self.overhead = (statistics.Times() for _ in range(3))
        self._tick, self._last_in, self._last_out = time.monotonic(), 0, 0

    def publish(self, state, device, timing, notes, more=None):
        """Publish the state of things; call it once a second.

        Args:
            state: of the life cycle, in words.
            device: where the network runs, in words.
            timing: dict part of the pipeline -> ms.
            notes: sentences that are worth a warning.
            more: dict of further values, or None.
        """
        now = time.monotonic()
        span = max(now - self._tick, 1e-6)
        taken, done = self.frames.received - self._last_in, self.processed - self._last_out
        self._tick, self._last_in, self._last_out = now, self.frames.received, self.processed
        level, message = self._verdict(state, taken, notes)
        self._out.publish(statistics.diagnostic_array(
            self._node.get_clock().now().to_msg(),
            statistics.status(f'{self._node.get_name()}: skeletons', 'lifting_ros', level, message,
                              {**self._values(state, device, timing, taken / span, done / span),
                               **(more or {})})))
        if done == 0:
            for times in (self.latency, self.work, self.overhead):
                times.clear()

    def _values(self, state, device, timing, rate_in, rate):
        p50, p90, p99 = self.latency.percentiles(50, 90, 99)
        values = {
            'state': state, 'device': device, 'rate in (Hz)': rate_in, 'rate (Hz)': rate,
            'frames received': self.frames.received, 'frames processed': self.processed,
            'frames dropped': self.frames.dropped, 'frames rejected': self.rejected,
            'frames skipped': self.skipped, 'people': self.people,
            'latency p50 (ms)': p50, 'latency p90 (ms)': p90, 'latency p99 (ms)': p99,
            'pipeline p50 (ms)': self.work.percentiles(50)[0],
            'overhead p50 (ms)': self.overhead.percentiles(50)[0],
        }
        values.update({f'{part} (ms)': float(ms) for part, ms in timing.items()})
        return values

    def _verdict(self, state, taken, notes):
        if state != 'active':
            level = WARN if self.reason is None else ERROR
            return level, f'{state}: ' + (self.reason or 'waiting for a life-cycle transition')
        if self.problem is not None:
            return ERROR, self.problem
        if taken == 0:
            level = STALE if self.frames.received else WARN
            text = f'no images on {self._node.resolve_topic_name("image")}'
            return level, '; '.join((text, *notes))
        p50 = self.latency.percentiles(50)[0]
        if p50 < 0 or p50 > 10_000:
            notes = (*notes, 'the clock of the images is not this machine\'s')
        return (WARN, '; '.join(notes)) if notes else (OK, 'running')

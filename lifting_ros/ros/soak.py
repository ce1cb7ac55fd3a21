"""A long run: source and pose node as two processes, watched from a third for whatever grows.

python -m lifting_ros.ros.soak --minutes 30 --json soak.json
"""

import argparse
import json
import os
import pathlib
import sys
import tempfile
import time

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor

from ..msg import SkeletonArray
from .conversions import nanoseconds
from .demo import _end, _node

#: minutes after which memory may grow no more, and by how much it may all the same, MB
SETTLED, GROWTH = 2.0, 20.0


def usage(pid):
    """Resident memory (MB), threads, open files and CPU time (s) of a process."""
    status = pathlib.Path(f'/proc/{pid}/status').read_text()
    values = dict(line.split(':', 1) for line in status.splitlines() if ':' in line)
    times = pathlib.Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[11:13]
    return (int(values['VmRSS'].split()[0]) / 1024, int(values['Threads']),
            len(os.listdir(f'/proc/{pid}/fd')), sum(map(int, times)) / os.sysconf('SC_CLK_TCK'))


class Listener:
    """Takes answers and diagnostics, as a user's node would."""

    def __init__(self, node):
        self.stamps, self.latency, self.node, self.messages = [], [], {}, set()
        self._clock = node.get_clock()
        node.create_subscription(SkeletonArray, '/pose/skeletons', self._on_skeletons, 1000)
        node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)

    def _on_skeletons(self, msg):
        stamp = nanoseconds(msg.header.stamp)
        self.stamps.append(stamp)
        self.latency.append(1e-6 * (self._clock.now().nanoseconds - stamp))

    def _on_diagnostics(self, msg):
        for status in msg.status:
            if status.name == 'pose: skeletons':
                self.node = {v.key: v.value for v in status.values}
                self.messages.add(status.message)


def by_minute(listener, sent, samples, load=()):
    """What each whole minute of the run was like: list of dicts.

    Args:
        listener, sent, samples: as for :func:`summary`.
        load: (T, 2) seconds since the start, load average of the machine over a minute: where
            other work takes the processor, latency tells of that.
    """
    stamps, latency = np.array(listener.stamps), np.array(listener.latency)
    rows, load = np.array(samples['pose'], float), np.array(load, float).reshape(-1, 2)
    at, out = 1e-9 * (stamps - sent[0]), []
    for minute in range(int(1e-9 * (sent[-1] - sent[0]) / 60)):
        now = (at >= 60 * minute) & (at < 60 * minute + 60)
        mine = rows[(rows[:, 0] >= 60 * minute) & (rows[:, 0] < 60 * minute + 60)]
        busy = load[(load[:, 0] >= 60 * minute) & (load[:, 0] < 60 * minute + 60), 1]
        if not now.any() or len(mine) < 2:
            continue
        out.append({
            'minute': minute, 'answers': int(now.sum()),
            'latency_p50_ms': round(float(np.median(latency[now])), 1),
            'cpu_ms_per_answer': round(1e3 * float(mine[-1, 4] - mine[0, 4])
                                       / max(now.sum() * (mine[-1, 0] - mine[0, 0]) / 60, 1), 1),
            'memory_mb': round(float(np.median(mine[:, 1])), 1), 'threads': int(mine[-1, 2]),
            'files': int(mine[-1, 3]),
            'load': round(float(busy.mean()), 1) if len(busy) else None})
    return out


def summary(listener, sent, samples, settled):
    """The figures of a run.

    Args:
        listener: :class:`Listener`.
        sent: (N,) stamps of the images, ns.
        samples: process -> (T, 5) seconds since the start, MB, threads, open files, s of CPU.
        settled: seconds after which nothing may grow.
    """
    stamps, latency = np.array(listener.stamps), np.array(listener.latency)
    tenth = max(len(latency) // 10, 1)
    counts = {key: int(listener.node.get(f'frames {key}', -1))
              for key in ('processed', 'dropped', 'rejected', 'skipped')}
    out = {
        'images_in': len(sent), 'answers_out': len(stamps), **counts,
        'unaccounted': len(sent) - sum(counts.values()),
        'stamps_increase': bool((np.diff(stamps) > 0).all()),
        'stamps_are_inputs': bool(np.isin(stamps, sent).all()),
        'latency_ms': dict(zip(('p50', 'p90', 'p99'),
                               np.round(np.percentile(latency, (50, 90, 99)), 2).tolist())),
        'latency_p50_first_tenth_ms': round(float(np.median(latency[tenth:2 * tenth])), 2),
        'latency_p50_last_tenth_ms': round(float(np.median(latency[-tenth:])), 2),
        'settled_after_s': settled, 'processes': {}, 'said': sorted(listener.messages),
    }
    for name, rows in samples.items():
        rows = np.array(rows[:-3] or rows)  # the last ones may be of a process that is ending
        late = rows[rows[:, 0] >= settled]
        late = late if len(late) else rows[-1:]
        n = max(len(late) // 10, 1)
        out['processes'][name] = {
            'memory_settled_mb': round(float(np.median(late[:n, 1])), 1),
            'memory_end_mb': round(float(np.median(late[-n:, 1])), 1),
            'memory_growth_mb': round(float(np.median(late[-n:, 1]) - np.median(late[:n, 1])), 1),
            'threads': [int(late[0, 2]), int(late[-1, 2])],
            'files': [int(late[0, 3]), int(late[-1, 3])],
            'cpu_ms_per_answer': round(1e3 * float(rows[-1, 4] - rows[0, 4])
                                       / max(len(stamps), 1), 1)}
    out['passed'] = bool(
        out['unaccounted'] == 0 and counts['processed'] == len(stamps)
        and out['stamps_increase'] and out['stamps_are_inputs']
        and all(p['memory_growth_mb'] < GROWTH and p['threads'][1] <= p['threads'][0]
                and p['files'][1] <= p['files'][0] for p in out['processes'].values()))
    return out


def main(argv=None):
    """Run it; returns 0 where nothing has grown and everything is accounted for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--minutes', type=float, default=30.0)
    parser.add_argument('--rate', type=float, default=30.0)
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu')
    parser.add_argument('--threads', type=int, default=0, help='of the network on the CPU')
    parser.add_argument('--json', type=pathlib.Path, help='write the figures to this file')
    args = parser.parse_args(argv)
    os.environ.setdefault('ROS_DOMAIN_ID', str(os.getpid() % 100 + 1))
    with tempfile.TemporaryDirectory() as folder:
        figures = _watch(args, pathlib.Path(folder))
    text = json.dumps(figures, indent=1)
    if args.json:
        args.json.write_text(text + '\n')
    sys.stdout.write(text + '\n')
    return 0 if figures['passed'] else 1


def _watch(args, folder):
    stamps = folder / 'stamps.npz'
    rclpy.init(args=[])
    node = rclpy.create_node('soak')
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    listener = Listener(node)
    pose = _node('pose', folder / 'pose.txt', device=args.device, threads=args.threads)
    source, samples, load = None, {'pose': [], 'source': []}, []
    start = then = None
    try:
        while source is None or source.poll() is None:
            executor.spin_once(timeout_sec=0.2)
            text = '' if start is not None else (folder / 'pose.txt').read_text()
            if pose.poll() is not None or 'cannot start: ' in text:
                raise RuntimeError((folder / 'pose.txt').read_text())
            if source is None and listener.node.get('state') == 'active':
                listener.messages.clear()
                source = _node('source', folder / 'source.txt', stamps=stamps, rate=args.rate,
                               seconds=60.0 * args.minutes)
            if start is None and listener.stamps:
                start = then = time.monotonic()
            if start is not None and time.monotonic() >= then:
                then += 1.0
                load.append((time.monotonic() - start, os.getloadavg()[0]))
                for name, process in (('pose', pose), ('source', source)):
                    try:
                        samples[name].append((time.monotonic() - start, *usage(process.pid)))
                    except (OSError, KeyError):
                        pass  # it is just ending
        end = time.monotonic() + 3.5  # the last answers, and a diagnostic after them
        while time.monotonic() < end:
            executor.spin_once(timeout_sec=0.2)
        if not listener.stamps:
            raise RuntimeError('no answer came:\n' + (folder / 'pose.txt').read_text())
    finally:
        for process in filter(None, (source, pose)):
            _end(process, 30)
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
    with np.load(stamps, allow_pickle=False) as data:
        sent = data['stamp']
    settled = 60 * min(SETTLED, 0.5 * args.minutes)
    return {'minutes': args.minutes, 'rate_hz': args.rate, 'device': args.device,
            **summary(listener, sent, samples, settled),
            'by_minute': by_minute(listener, sent, samples, load)}


if __name__ == '__main__':
    sys.exit(main())

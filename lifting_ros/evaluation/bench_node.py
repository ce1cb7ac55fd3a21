"""The node as a whole: three processes, the clip of the project at 30 images a second.

The processes are those of the demo; this module only starts them and reads their figures.
"""

import json
import pathlib
import subprocess
import sys
import tempfile


def measure(args):
    """Figures of a run of ``args.seconds`` seconds at 30 Hz, as scripts/demo.sh writes them.

    Raises:
        RuntimeError: the run failed (no ROS, no weights, ...); the text is the processes' own.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, '-m', 'lifting_ros.ros.demo', '--figures-only', '--rate', '30',
                   '--seconds', str(args.seconds), '--device', args.device, '--output', folder]
        done = subprocess.run(command, capture_output=True, text=True)
        path = pathlib.Path(folder) / 'summary.json'
        if done.returncode or not path.is_file():
            raise RuntimeError('the run of the node failed:\n' + done.stdout + done.stderr)
        return json.loads(path.read_text())


def report(figures):
    """The figures as text."""
    latency, node = figures['latency_ms'], figures['node']
    lines = [f'{figures["source"]}: {figures["frames_in"]} images at 30 Hz, '
             f'{figures["frames_out"]} answered ({figures["rate_hz"]} Hz)',
             f'image stamp to receipt: p50 {latency["p50"]} p90 {latency["p90"]} '
             f'p99 {latency["p99"]} ms',
             f'pipeline p50 {node.get("pipeline p50 (ms)")} ms, the node beyond it p50 '
             f'{node.get("overhead p50 (ms)")} ms']
    if figures['latency_drift_ms'] is not None:
        lines.append('median latency of the last 10 s less that of the first: '
                     f'{figures["latency_drift_ms"]} ms; of that transport and waiting for the '
                     f'frame before {figures["waiting_drift_ms"]} ms '
                     f'(p50 {figures["waiting_ms"]["p50"]}, p99 {figures["waiting_ms"]["p99"]})')
    return '\n'.join(lines)

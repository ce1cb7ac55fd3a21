"""A long run of the node: what grows, and whether every image is accounted for.

The processes and their watcher are ROS's, in ``lifting_ros.ros.soak``; this module starts it.
"""

import json
import pathlib
import subprocess
import sys
import tempfile


def measure(args):
    """Figures of a run of ``args.minutes`` minutes at 30 Hz.

    Raises:
        RuntimeError: the run failed (no ROS, no weights, ...); the text is the processes' own.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / 'soak.json'
        done = subprocess.run([sys.executable, '-m', 'lifting_ros.ros.soak', '--minutes',
                               str(args.minutes), '--device', args.device, '--json', str(path)],
                              capture_output=True, text=True)
        if not path.is_file():
            raise RuntimeError('the soak failed:\n' + done.stdout + done.stderr)
        return json.loads(path.read_text())


def report(f):
    """The figures as text."""
    latency = f['latency_ms']
    lines = [
        f'{f["minutes"]:g} minutes at {f["rate_hz"]:g} Hz on {f["device"]}: '
        f'{f["images_in"]} images in, {f["answers_out"]} answers out, {f["dropped"]} dropped, '
        f'{f["rejected"]} rejected, {f["skipped"]} skipped, {f["unaccounted"]} unaccounted for',
        f'stamps strictly increasing: {f["stamps_increase"]}, all of them of inputs: '
        f'{f["stamps_are_inputs"]}',
        f'image stamp to receipt: p50 {latency["p50"]} p90 {latency["p90"]} p99 {latency["p99"]} '
        f'ms; p50 of the second tenth {f["latency_p50_first_tenth_ms"]}, of the last '
        f'{f["latency_p50_last_tenth_ms"]} ms']
    for name, p in f['processes'].items():
        lines.append(
            f'{name}: memory {p["memory_settled_mb"]} MB after {f["settled_after_s"]:g} s, '
            f'{p["memory_end_mb"]} MB at the end ({p["memory_growth_mb"]:+} MB); threads '
            f'{p["threads"][0]} -> {p["threads"][1]}, open files {p["files"][0]} -> '
            f'{p["files"][1]}; CPU {p["cpu_ms_per_answer"]} ms an answer')
    if f.get('by_minute'):
        names = list(f['by_minute'][0])
        lines.append('of each minute: ' + ', '.join(names))
        lines += ['  ' + ' '.join(f'{row[n]!s:>8}' for n in names) for row in f['by_minute']]
    lines.append('passed' if f['passed'] else 'NOT passed')
    return '\n'.join(lines)

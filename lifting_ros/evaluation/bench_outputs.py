"""What tracking, frames, REP-155 output and markers cost for an image of four people, and the
node fuse for three cameras and six.

The process that is measured is ``lifting_ros.ros.cost``; this module starts it and reads it.
"""

import json
import subprocess
import sys

RUNS = 3
_NAMES = {'tracking': 'tracking', 'rep155': 'REP-155, 7 topics each, and 108 frames',
          'tf': 'body frames that REP-155 has not', 'markers': 'markers with ellipsoids',
          'asked for': 'the four together', 'messages': '(skeletons, for comparison)',
          'fuse': 'messages read, fused, written'}


def measure(args):
    """CPU milliseconds per image, with a process that subscribes to everything and without.

    Each is run three times and the run with the least median kept: a machine that does other
    work as well makes everything slower, never faster.

    Raises:
        RuntimeError: a run failed (no ROS, ...); the text is the process's own.
    """
    return {name: min((_run(extra) for _ in range(RUNS)), key=_whole)
            for name, extra in (('listened to', ()), ('nobody listens', ('--nobody',)),
                                ('fuse', ('--fuse',)))}


def _whole(figures):
    """Median of what the run is about, ms."""
    parts = figures['parts']
    return parts.get('asked for', parts.get('fuse', {'p50': 0.0}))['p50']


def _run(extra):
    done = subprocess.run([sys.executable, '-m', 'lifting_ros.ros.cost', *extra],
                          capture_output=True, text=True)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        raise RuntimeError('the run failed:\n' + done.stdout + done.stderr)
    return json.loads(lines[-1])


def report(figures):
    """The figures as text."""
    out = []
    for name, run in figures.items():
        seen = f', {run["cameras"]} cameras' if 'cameras' in run else ''
        out.append(f'{run["people"]} people{seen}, {run["frames"]} images, {name}; CPU ms an '
                   f'image, the best of {RUNS} runs:')
        for part, text in _NAMES.items():
            t = run['parts'].get(part)
            if t is None:
                continue
            out.append(f'  {text:<40} least {t["least"]:6.2f}   p50 {t["p50"]:6.2f}   p99 '
                       f'{t["p99"]:6.2f}')
        out += [f'  note: {note}' for note in run['notes']]
    return '\n'.join(out)

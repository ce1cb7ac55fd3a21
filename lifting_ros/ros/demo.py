"""The demo: source, pose node and recorder as three processes; ends by itself."""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np

from .source_node import clip


def _node(name, log, **values):
    """Start a node of this package with parameters; its output goes to a log file."""
    def text(value):
        return f"'{value}'" if isinstance(value, (str, pathlib.Path)) else str(value).lower()

    command = [sys.executable, '-m', f'lifting_ros.ros.{name}_node', '--ros-args',
               '--log-level', 'info']
    for key, value in values.items():
        command += ['-p', f'{key}:={text(value)}']
    out = None if log is None else open(log, 'wb')  # noqa: SIM115 (lives as long as the node)
    return subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT if out else None)


def _end(process, limit):
    """Interrupt a process and wait for it; return its exit status."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def build_parser():
    """The command line."""
    parser = argparse.ArgumentParser(prog='scripts/demo.sh', description=__doc__)
    parser.add_argument('--source', help='video, GIF, photo or number of a camera; default: the '
                        'clip of the project, whose truth is known')
    parser.add_argument('--seconds', type=float, default=0.0,
                        help='how long; default: once through a file, 5 s of a photo, 20 s of a '
                        'camera')
    parser.add_argument('--device', choices=('auto', 'cpu', 'cuda'), default='auto')
    parser.add_argument('--rate', type=float, default=0.0, help='frames per second; default: '
                        'those of the file')
    parser.add_argument('--figures-only', action='store_true', help='no pictures and no bag: the '
                        'recorder takes the skeletons only')
    parser.add_argument('--view', action='store_true', help='write view.html too, a page with '
                        'the skeletons in 3D to turn, and print its path; needs no ROS')
    parser.add_argument('--output', type=pathlib.Path, default=pathlib.Path('output/demo'))
    return parser


def main(argv=None):
    """Run the demo; returns the exit status."""
    args = build_parser().parse_args(argv)
    truth, up = '', None
    if args.source is None:
        source, truth = clip()
        with np.load(truth, allow_pickle=False) as data:
            up = [round(float(x), 6) for x in data['up']]
    else:
        source = args.source
        if source.isdigit():
            args.seconds = args.seconds or 20.0
        elif not os.path.isfile(source):
            sys.stderr.write(f'demo: no such file: {source}\n')
            return 2
        else:
            source = os.path.abspath(source)
    args.output.mkdir(parents=True, exist_ok=True)
    return _run(args, source, truth, up)


def _run(args, source, truth, up):
    output = args.output.resolve()
    logs = {name: output / f'{name}.txt' for name in ('pose', 'source')}
    stamps = output / 'stamps.npz'
    for old in (stamps, output / 'summary.json'):
        old.unlink(missing_ok=True)
    os.environ.setdefault('ROS_DOMAIN_ID', str(os.getpid() % 100 + 1))
    title = f'{pathlib.Path(source).name} on {args.device}'
    sys.stdout.write(f'demo: {source}, ROS domain {os.environ["ROS_DOMAIN_ID"]}\n')
    sys.stdout.flush()
    pose_values = {} if up is None else {'up': up}
    pose = _node('pose', logs['pose'], device=args.device, **pose_values)
    more = not args.figures_only
    recorder = _node('recorder', None, output=output, stamps=stamps, truth=truth, title=title,
                     bag=more, video=more, view=args.view)
    play = _node('source', logs['source'], source=source, truth=truth, stamps=stamps,
                 seconds=args.seconds, rate=args.rate, wait_for=1 + (more or args.view))
    others = {'pose': pose, 'recorder': recorder}
    try:
        while play.poll() is None:
            for name, process in others.items():
                if process.poll() is not None:
                    sys.stderr.write(f'demo: the node {name} ended with status '
                                     f'{process.returncode}\n')
                    if name in logs:
                        sys.stderr.write(logs[name].read_text())
                    return 1
            text = logs['pose'].read_text()
            if 'cannot start: ' in text:  # a managed node: it stays, unconfigured
                sys.stderr.write(text)
                return 1
            time.sleep(0.1)
        if play.returncode:
            sys.stderr.write(logs['source'].read_text())
            return 1
        time.sleep(1.0)  # the last answers
        if more:
            sys.stdout.write('demo: writing the overlay video\n')
            sys.stdout.flush()
        status = _end(recorder, 600)
    except KeyboardInterrupt:
        return 130
    finally:
        for process in (play, pose, recorder):
            _end(process, 30)
    if status:
        return 1
    summary = json.loads((output / 'summary.json').read_text())
    files = [*summary.get('files', []), 'summary.json'] + ['bag/'] * more
    sys.stdout.write(f'demo: {", ".join(files)} are in {args.output}\n')
    if args.view:
        sys.stdout.write(f'demo: turn the people in 3D in a browser: {output / "view.html"}\n')
    return 0 if summary['frames_out'] else 1


if __name__ == '__main__':
    sys.exit(main())

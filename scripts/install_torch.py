"""Install torch, the CPU build where there is no NVIDIA driver; never several GB unasked.

Run with the Python of the environment that torch goes to. Without a driver, in this order:

1. torch==2.13.0+cpu from the package indexes that pip is configured with,
2. the same from the index named by LIFTING_ROS_TORCH_INDEX,
3. torch==2.13.0 as pip resolves it, if that brings no CUDA packages,
4. otherwise nothing, unless LIFTING_ROS_ALLOW_CUDA=1 (or yes at the prompt).
"""

import importlib.metadata
import json
import os
import pathlib
import shutil
import subprocess
import sys

VERSION = '2.13.0'
HEAVY = ('nvidia-', 'triton', 'cuda-')


def say(text):
    """Tell the user."""
    sys.stdout.write(f'setup: {text}\n')
    sys.stdout.flush()


def pip(*args, capture=False):
    """Run pip; return the finished process."""
    command = [sys.executable, '-m', 'pip', 'install', '-qq', *args]
    return subprocess.run(command, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE if capture else None,
                          stderr=subprocess.PIPE if capture else None)


def has_driver():
    """Return whether an NVIDIA driver works here."""
    if pathlib.Path('/proc/driver/nvidia/version').exists():
        return True
    tool = shutil.which('nvidia-smi')
    return bool(tool) and subprocess.run([tool], capture_output=True).returncode == 0


def installed():
    """Version of torch that is there, or None."""
    try:
        return importlib.metadata.version('torch')
    except importlib.metadata.PackageNotFoundError:
        return None


def heavy_packages():
    """Names of the CUDA packages that a plain install would bring; None: it cannot be told."""
    found = pip('--dry-run', '--ignore-installed', '--report', '-', f'torch=={VERSION}',
                capture=True)
    if found.returncode:
        sys.stderr.write(found.stderr)
        return None
    items = json.loads(found.stdout)['install']
    names = [i['metadata']['name'] for i in items]
    return [n for n in names if n.lower().startswith(HEAVY)]


def main():
    """Return the exit status."""
    have = installed()
    if have and have.split('+')[0] == VERSION:
        say(f'torch {have} is there')
        return 0
    if has_driver():
        say(f'an NVIDIA driver is there: installing torch {VERSION} with CUDA, 3 to 5 GB')
        return pip(f'torch=={VERSION}').returncode
    say(f'installing torch {VERSION} for the CPU, about 0.2 GB to fetch (1 to 3 minutes)')
    if pip('--no-deps', f'torch=={VERSION}+cpu', capture=True).returncode == 0:
        return 0
    index = os.environ.get('LIFTING_ROS_TORCH_INDEX')
    if index:
        tried = pip('--no-deps', '--timeout', '15', '--retries', '1', '--index-url', index,
                    f'torch=={VERSION}+cpu', capture=True)
        if tried.returncode == 0:
            return 0
        sys.stderr.write(tried.stderr)
        say('the index in LIFTING_ROS_TORCH_INDEX did not give it')
    heavy = heavy_packages()
    if heavy is None:
        say(f'torch {VERSION} is not to be had from the package indexes that pip is '
            'configured with')
        return 1
    allowed = os.environ.get('LIFTING_ROS_ALLOW_CUDA') == '1'
    if heavy and not allowed:
        say('there is no NVIDIA driver here, and the only torch that pip finds brings '
            f'{len(heavy)} CUDA packages, 3 to 5 GB. Better: set LIFTING_ROS_TORCH_INDEX to the '
            'index of CPU wheels that the PyTorch installation page names for "Pip, Linux, '
            'CPU", and run this again. Or LIFTING_ROS_ALLOW_CUDA=1 takes the large one.')
        if not sys.stdin.isatty() or input('setup: fetch the large one now? [y/N] ') != 'y':
            return 1
    return pip(f'torch=={VERSION}').returncode


if __name__ == '__main__':
    sys.exit(main())

"""BVH motion: joint positions by forward kinematics."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .asf import euler


@dataclass(frozen=True, eq=False)
class Motion:
    """Positions (F, J, 3) in the file's unit and frame, names (J,), parents (J,) (-1 the root),
    and the frames a second.
    """

    positions: np.ndarray
    names: tuple
    parents: tuple
    rate: float


def read_bvh(path, every=1):
    """Read a BVH file; an end site is a joint named after its parent with ``_end``.

    Note that the BVH conversions of the CMU data that are most widespread drop two bones (see
    docs/prior.md): take bone lengths from ASF.

    Args:
        path: the file.
        every: keep one frame of so many.

    Returns:
        Motion.

    Raises:
        ValueError: no HIERARCHY or MOTION, or rows of a length that the channels do not have.
    """
    lines = Path(path).read_text().splitlines()
    names, parents, offsets, channels, stack = [], [], [], [], []
    motion = None
    for number, line in enumerate(lines):
        words = line.split()
        if not words:
            continue
        if words[0] in ('ROOT', 'JOINT', 'End'):
            parents.append(stack[-1] if stack else -1)
            names.append(words[1] if words[0] != 'End' else f'{names[stack[-1]]}_end')
            offsets.append(np.zeros(3))
            channels.append(())
        elif words[0] == '{':
            stack.append(len(names) - 1)
        elif words[0] == '}':
            stack.pop()
        elif words[0] == 'OFFSET':
            offsets[stack[-1]] = np.array(words[1:4], dtype=float)
        elif words[0] == 'CHANNELS':
            channels[stack[-1]] = tuple(words[2:])
        elif words[0] == 'MOTION':
            motion = number
            break
    if motion is None or not names:
        raise ValueError(f'{path} has no HIERARCHY or no MOTION: it is no BVH file')
    rate = 1 / float(lines[motion + 2].split(':')[1])
    rows = np.array([x.split() for x in lines[motion + 3:] if x.strip()][::every], dtype=float)
    if rows.ndim != 2 or rows.shape[1] != sum(map(len, channels)):
        raise ValueError(f'{path}: {sum(map(len, channels))} channels, rows of {rows.shape}')
    n = len(rows)
    positions, turned = np.empty((n, len(names), 3)), np.empty((n, len(names), 3, 3))
    at = 0
    for i, parent in enumerate(parents):
        mine = rows[:, at:at + len(channels[i])]
        at += len(channels[i])
        moved = np.broadcast_to(offsets[i], (n, 3)).copy()
        angles, order = [], ''
        for k, channel in enumerate(channels[i]):
            if channel.endswith('position'):
                moved[:, 'XYZ'.index(channel[0])] += mine[:, k]
            else:
                angles.append(mine[:, k])
                order += channel[0].lower()
        # the first channel is the outermost rotation: the last one turns the bone first
        own = (euler(np.radians(np.stack(angles[::-1], -1)), order[::-1]) if order
               else np.broadcast_to(np.eye(3), (n, 3, 3)))
        if parent < 0:
            positions[:, i], turned[:, i] = moved, own
        else:
            positions[:, i] = positions[:, parent] + (
                turned[:, parent] @ moved[..., None])[..., 0]
            turned[:, i] = turned[:, parent] @ own
    return Motion(positions, tuple(names), tuple(parents), rate)

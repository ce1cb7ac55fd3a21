"""ASF skeletons and AMC motions (Acclaim): joint positions by forward kinematics.

A bone turns by C M C^-1 in its parent's frame: C from its ``axis``, M from the motion's angles,
both in x, then y, then z. Positions are those of the bones' ends.
"""

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np

#: Metres of one unit of the files: 1 / 0.45 inch.
UNIT = 0.0254 / 0.45

#: Ends of bones -> joints of the project that they are.
TO_JOINTS = {'right_hip': 'rhipjoint', 'right_knee': 'rfemur', 'right_ankle': 'rtibia',
             'left_hip': 'lhipjoint', 'left_knee': 'lfemur', 'left_ankle': 'ltibia',
             'neck': 'thorax', 'head_top': 'head', 'left_shoulder': 'lclavicle',
             'left_elbow': 'lhumerus', 'left_wrist': 'lwrist', 'right_shoulder': 'rclavicle',
             'right_elbow': 'rhumerus', 'right_wrist': 'rwrist'}


@dataclass(frozen=True, eq=False)
class Bone:
    """One bone: parent's index (-1 the root has none), offset (3,) metres in the file's rest
    frame, axis (3, 3) C, and the letters of its degrees of freedom in the motion's order.
    """

    name: str
    parent: int
    offset: np.ndarray
    axis: np.ndarray
    freedom: tuple


def euler(angles, order='xyz'):
    """Rotations (..., 3, 3) by angles (..., len(order)) radians, the first letter first."""
    out = np.broadcast_to(np.eye(3), angles.shape[:-1] + (3, 3))
    for i, letter in enumerate(order):
        a = 'xyz'.index(letter)
        b, c = (a + 1) % 3, (a + 2) % 3
        one = np.zeros(angles.shape[:-1] + (3, 3))
        cos, sin = np.cos(angles[..., i]), np.sin(angles[..., i])
        one[..., a, a] = 1
        one[..., b, b] = one[..., c, c] = cos
        one[..., c, b], one[..., b, c] = sin, -sin
        out = one @ out
    return out


def _text(path):
    path = Path(path)
    raw = gzip.decompress(path.read_bytes()) if path.suffix == '.gz' else path.read_bytes()
    return raw.decode('latin-1').splitlines()


def read_asf(path):
    """The skeleton of an ASF file: a list of :class:`Bone`, the root first, parents first.

    Raises:
        ValueError: a section is missing, or angles are not in degrees.
    """
    bones, parents, section, current = {}, {}, '', None
    for line in _text(path):
        words = line.split('#')[0].split()
        if not words:
            continue
        if words[0].startswith(':'):
            section = words[0]
        elif section == ':units' and words[0] == 'angle' and not words[1].startswith('deg'):
            raise ValueError(f'{path}: angles in {words[1]}; degrees are read')
        elif section == ':bonedata':
            if words[0] == 'begin':
                current = {'freedom': ()}
            elif words[0] == 'end':
                bones[current['name']] = current
            elif words[0] in ('direction', 'axis'):
                current[words[0]] = np.array(words[1:4], dtype=float)
            elif words[0] == 'name':
                current['name'] = words[1]
            elif words[0] == 'length':
                current['length'] = float(words[1])
            elif words[0] == 'dof':
                current['freedom'] = tuple(w[1] for w in words[1:] if w[0] == 'r')
        elif section == ':hierarchy' and words[0] not in ('begin', 'end'):
            parents.update({child: words[0] for child in words[1:]})
    if not bones or not parents:
        raise ValueError(f'{path} has no :bonedata or no :hierarchy: it is no ASF skeleton')
    out, index = [Bone('root', -1, np.zeros(3), np.eye(3), ())], {'root': 0}
    for name, parent in parents.items():
        b = bones[name]
        index[name] = len(out)
        out.append(Bone(name, index[parent], UNIT * b['length'] * b['direction'],
                        euler(np.radians(b['axis'])), b['freedom']))
    return out


def read_amc(path, bones, every=1):
    """Joint positions of an AMC motion (plain or .gz) on a skeleton.

    Args:
        path: the motion.
        bones: of :func:`read_asf`.
        every: keep one frame of so many (the files have 120 a second).

    Returns:
        (F, len(bones), 3) metres, y up: the root's position and the bones' ends.

    Raises:
        ValueError: a bone that the skeleton lacks.
    """
    frames, current = [], None
    for line in _text(path):
        words = line.split()
        if not words or words[0][0] in '#:':
            continue
        if len(words) == 1 and words[0].isdigit():
            current = {}
            frames.append(current)
        elif current is not None:
            current[words[0]] = np.array(words[1:], dtype=float)
    frames = frames[::every]
    unknown = set(frames[0]) - {b.name for b in bones} if frames else set()
    if unknown:
        raise ValueError(f'{path} moves {", ".join(sorted(unknown))}, which the skeleton lacks')
    n = len(frames)
    root = np.array([f['root'] for f in frames]).reshape(n, 6)
    position, turned = np.empty((n, len(bones), 3)), np.empty((n, len(bones), 3, 3))
    position[:, 0], turned[:, 0] = UNIT * root[:, :3], euler(np.radians(root[:, 3:]))
    for i, bone in enumerate(bones[1:], 1):
        own = np.eye(3)
        if bone.freedom:
            angles = np.array([f[bone.name] for f in frames]).reshape(n, len(bone.freedom))
            own = bone.axis @ euler(np.radians(angles), ''.join(bone.freedom)) @ bone.axis.T
        turned[:, i] = turned[:, bone.parent] @ own
        position[:, i] = position[:, bone.parent] + turned[:, i] @ bone.offset
    return position

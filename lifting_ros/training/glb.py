"""glTF binary: positions of the nodes of an animated rig."""

import json
import struct
from pathlib import Path

import numpy as np

from .bvh import Motion

_TYPES = {5120: 'b', 5121: 'B', 5122: 'h', 5123: 'H', 5125: 'I', 5126: 'f'}
_WIDTH = {'SCALAR': 1, 'VEC2': 2, 'VEC3': 3, 'VEC4': 4, 'MAT4': 16}


def read_glb(path, rate=30.0, animation=0):
    """Positions of every node of a .glb under one of its animations.

    Args:
        path: the file.
        rate: frames a second to sample at.
        animation: index of the animation.

    Returns:
        Motion, positions in metres, y up; nodes whose parent comes later in the file are
        ordered after it.

    Raises:
        ValueError: not glTF 2 binary, no such animation, sparse accessors, cubic splines.
    """
    raw = Path(path).read_bytes()
    magic, version, _ = struct.unpack_from('<4sII', raw)
    if magic != b'glTF' or version != 2:
        raise ValueError(f'{path} is no glTF 2 binary file')
    length = struct.unpack_from('<I', raw, 12)[0]
    tree = json.loads(raw[20:20 + length])
    blob = raw[28 + length:]
    if animation >= len(tree.get('animations', [])):
        raise ValueError(f'{path} has no animation {animation}')
    nodes = tree['nodes']
    parents = [-1] * len(nodes)
    for i, node in enumerate(nodes):
        for child in node.get('children', []):
            parents[child] = i
    channels = tree['animations'][animation]['channels']
    samplers = tree['animations'][animation]['samplers']
    times = {s['input']: _accessor(tree, blob, s['input'])[:, 0] for s in samplers}
    end = max(t[-1] for t in times.values())
    clock = np.arange(0, end + 1e-9, 1 / rate)
    moving = {}
    for channel in channels:
        sampler = samplers[channel['sampler']]
        kind = sampler.get('interpolation', 'LINEAR')
        if kind == 'CUBICSPLINE':
            raise ValueError(f'{path}: cubic splines are not read')
        value = _accessor(tree, blob, sampler['output'])
        moving[channel['target'].get('node'), channel['target']['path']] = _sample(
            times[sampler['input']], value, clock, kind, channel['target']['path'])
    order = sorted(range(len(nodes)), key=lambda i: _depth(parents, i))
    world = {}
    n = len(clock)
    for i in order:
        node = nodes[i]
        if 'matrix' in node:
            own = np.broadcast_to(np.reshape(node['matrix'], (4, 4)).T, (n, 4, 4))
        else:
            t, r, s = (moving.get((i, p), np.broadcast_to(node.get(p, d), (n, len(d))))
                       for p, d in (('translation', (0, 0, 0)), ('rotation', (0, 0, 0, 1)),
                                    ('scale', (1, 1, 1))))
            own = np.zeros((n, 4, 4))
            own[:, :3, :3] = _quaternion(np.asarray(r, float)) * np.asarray(s)[:, None]
            own[:, :3, 3], own[:, 3, 3] = t, 1
        world[i] = own if parents[i] < 0 else world[parents[i]] @ own
    place = {i: k for k, i in enumerate(order)}
    return Motion(np.stack([world[i][:, :3, 3] for i in order], 1),
                  tuple(nodes[i].get('name', f'node_{i}') for i in order),
                  tuple(place.get(parents[i], -1) for i in order), rate)


def _depth(parents, i):
    depth = 0
    while parents[i] >= 0:
        i, depth = parents[i], depth + 1
    return depth


def _accessor(tree, blob, index):
    a = tree['accessors'][index]
    if 'sparse' in a:
        raise ValueError('sparse accessors are not read')
    view = tree['bufferViews'][a['bufferView']]
    width, dtype = _WIDTH[a['type']], np.dtype('<' + _TYPES[a['componentType']])
    start = view.get('byteOffset', 0) + a.get('byteOffset', 0)
    stride = view.get('byteStride', width * dtype.itemsize)
    out = np.ndarray((a['count'], width), dtype, blob, start, (stride, dtype.itemsize))
    if a.get('normalized'):
        return np.maximum(out / np.iinfo(dtype).max, -1.0)
    return out.astype(float)


def _sample(times, value, clock, kind, path):
    after = np.clip(np.searchsorted(times, clock, side='right'), 1, len(times)) - 1
    if kind == 'STEP' or len(times) == 1:
        return value[after]
    following = np.minimum(after + 1, len(times) - 1)
    gap = np.maximum(times[following] - times[after], 1e-9)
    part = np.clip((clock - times[after]) / gap, 0, 1)[:, None]
    a, b = value[after], value[following]
    if path == 'rotation':  # the short way round; frames are close, so no slerp is needed
        b = b * np.where((a * b).sum(1, keepdims=True) < 0, -1, 1)
    return a + part * (b - a)


def _quaternion(q):
    """Rotations (N, 3, 3) of quaternions (N, 4) x y z w."""
    x, y, z, w = (q / np.linalg.norm(q, axis=1, keepdims=True)).T
    return np.stack((1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
                     2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
                     2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
                    -1).reshape(-1, 3, 3)

"""The original Caffe CPM weights into a ``cpm``: ``lifting-ros convert caffe``.

Layers are found by their names (``conv1_1`` ... ``conv4_7_CPM``, ``conv5_1_CPM``,
``conv5_2_CPM``, ``Mconv1_stage2`` ... ``Mconv7_stage6``), in a ``.caffemodel`` (read here without
Caffe and without protobuf) or in an ``.npz`` of those names.
"""

import struct
import sys
from pathlib import Path

import numpy as np
import torch

from ..skeleton import JOINTS, NUM_JOINTS, ORDERS
from .cpm import TRUNK, CpmConfig, CpmNet

#: Joint orders of CPM's fourteen maps; the fifteenth is the background.
_CPM = ('head_top', 'neck', 'right_shoulder', 'right_elbow', 'right_wrist', 'left_shoulder',
        'left_elbow', 'left_wrist', 'right_hip', 'right_knee', 'right_ankle', 'left_hip',
        'left_knee', 'left_ankle')
MAPS = {'cpm': _CPM, 'lsp': ORDERS['lsp']}
#: Joints that CPM has no map for, and whose maps' mean they start from.
NEIGHBOURS = {'pelvis': ('right_hip', 'left_hip'), 'spine': ('right_hip', 'left_hip', 'neck'),
              'nose': ('head_top', 'neck')}
_STAGES = 6
_WEIGHT, _BIAS = ('/weights', '.weight', '_w', ''), ('/biases', '.bias', '_b')


def _varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def fields(data):
    """Fields of one protobuf message: (number, value); value is an int, or bytes.

    Raises:
        ValueError: the bytes are no protobuf message.
    """
    at, end = 0, len(data)
    try:
        while at < end:
            key, at = _varint(data, at)
            kind = key & 7
            if kind == 0:
                value, at = _varint(data, at)
            elif kind in (1, 5):
                length = 8 if kind == 1 else 4
                value, at = data[at:at + length], at + length
            elif kind == 2:
                length, at = _varint(data, at)
                value, at = data[at:at + length], at + length
            else:
                raise ValueError(f'a field of kind {kind}')
            if at > end:
                raise ValueError('a field reaches beyond the end')
            yield key >> 3, value
    except IndexError as error:
        raise ValueError('a number is cut off') from error


def _blob(data):
    shape, old, values = [], [0, 0, 0, 0], []
    for number, value in fields(data):
        if number == 7:                                  # shape: dim, packed or one by one
            for n, dims in fields(value):
                if n == 1 and isinstance(dims, int):
                    shape.append(dims)
                elif n == 1:
                    at = 0
                    while at < len(dims):
                        dim, at = _varint(dims, at)
                        shape.append(dim)
        elif number in (1, 2, 3, 4):                     # num, channels, height, width
            old[number - 1] = value
        elif number == 5:                                # data, packed or one by one
            values.append(np.frombuffer(value, '<f4'))
        elif number == 8:
            values.append(np.frombuffer(value, '<f8').astype(np.float32))
    flat = np.concatenate(values) if values else np.zeros(0, np.float32)
    return flat.reshape(shape or (old if all(old) else [-1]))


def read_caffemodel(data):
    """Blobs of a .caffemodel by layer.

    Args:
        data: the file's bytes.

    Returns:
        dict layer name -> list of float32 arrays (weights (out, in, k, k), bias (out,)).

    Raises:
        ValueError: not a .caffemodel.
    """
    layers = {}
    for number, value in fields(memoryview(data)):
        if number not in (100, 2) or isinstance(value, int):    # layer, and layers of old files
            continue
        name_at, blob_at = (1, 7) if number == 100 else (4, 6)
        name, blobs = '', []
        for inner, part in fields(value):
            if inner == name_at and not isinstance(part, int):
                name = bytes(part).decode()
            elif inner == blob_at:
                blobs.append(_blob(part))
        if blobs:
            layers[name] = blobs
    if not layers:
        raise ValueError('no layer with weights in it: not a .caffemodel')
    return layers


def read_npz(path):
    """The same from an .npz: ``NAME/weights`` and ``NAME/biases`` (or .weight/.bias, _w/_b)."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    names = [n for n, _, _ in TRUNK] + ['conv5_1_CPM', 'conv5_2_CPM']
    names += [f'Mconv{i}_stage{t}' for t in range(2, _STAGES + 1) for i in range(1, 8)]
    layers = {}
    for name in names:
        for place in ('', 'PoseNet/'):
            weight = next((arrays[place + name + s] for s in _WEIGHT
                           if place + name + s in arrays), None)
            bias = next((arrays[place + name + s] for s in _BIAS if place + name + s in arrays),
                        None)
            if weight is not None and bias is not None:
                layers[name] = [weight, bias]
    return layers


def _fit(name, blobs, out, inside, k):
    """Weight and bias as (out, in, k, k) and (out,) float32; TensorFlow's layout is turned.

    Raises:
        ValueError: of another shape.
    """
    weight, bias = np.asarray(blobs[0], np.float32), np.asarray(blobs[1], np.float32).reshape(-1)
    if weight.shape == (k, k, inside, out) and (k, k, inside, out) != (out, inside, k, k):
        weight = weight.transpose(3, 2, 0, 1)
    if weight.shape != (out, inside, k, k) or bias.shape != (out,):
        raise ValueError(f'layer {name} is {weight.shape} and {bias.shape}, a CPM with 14 joints '
                         f'and VGG trunk has {(out, inside, k, k)} and {(out,)}')
    return weight, bias


def _rows(order):
    """(18, 15) matrix: our maps from CPM's."""
    names, mix = list(MAPS[order]), np.zeros((NUM_JOINTS + 1, 15), np.float32)
    for j, joint in enumerate(JOINTS):
        for name in NEIGHBOURS.get(joint, (joint,)):
            mix[j, names.index(name)] = 1 / len(NEIGHBOURS.get(joint, (joint,)))
    mix[NUM_JOINTS, 14] = 1
    return mix


def convert(layers, order='cpm', channels='bgr', config=None):
    """A ``cpm`` with the weights of Caffe's layers.

    Joints without a counterpart (pelvis, spine, nose) start as the mean of their neighbours'
    maps and later stages do not look at them yet; the fusion weights start at next to one, so
    that the network says what the original says until it is trained.

    Args:
        layers: of :func:`read_caffemodel` or :func:`read_npz`.
        order: order of the maps, a key of :data:`MAPS`.
        channels: 'bgr' or 'rgb': what the original was fed, as value / 256 - 0.5.
        config: CpmConfig with ``linear`` (default: as many stages as there are).

    Returns:
        CpmNet.

    Raises:
        ValueError: a layer is missing or of another shape.
    """
    stages = max([t for t in range(2, _STAGES + 1) if f'Mconv1_stage{t}' in layers], default=1)
    model = CpmNet(config or CpmConfig(stages=stages, linear=True))
    rows = _rows(order)
    names = list(MAPS[order])
    # what a later stage is shown of our maps: those that CPM has, the others not at all
    columns = np.array([[j < 14 and JOINTS[i] == names[j] for j in range(15)]
                        for i in range(NUM_JOINTS)] + [[False] * 14 + [True]], np.float32)
    state = model.state_dict()

    def put(part, name, weight, bias):
        state[f'{part}.{name}.weight'] = torch.from_numpy(np.ascontiguousarray(weight))
        state[f'{part}.{name}.bias'] = torch.from_numpy(np.ascontiguousarray(bias))
    parts = ([('trunk', n, layer) for n, layer in model.trunk.items()]
             + [('first', n, layer) for n, layer in model.first.items()]
             + [('later', n, layer) for n, layer in model.later.items()])
    for part, name, layer in parts:
        if name not in layers or len(layers[name]) < 2:
            raise ValueError(f'layer {name} is not in the file')
        last = name == 'conv5_2_CPM' or name.startswith('Mconv7')
        enters = name.startswith('Mconv1_')
        weight, bias = _fit(name, layers[name], 15 if last else layer.out_channels,
                            layer.in_channels - 3 if enters else layer.in_channels,
                            layer.kernel_size[0])
        if name == 'conv1_1':
            # ours: x = rgb / 127.5 - 1; theirs: y = value / 256 - 0.5
            weight = weight[:, ::-1] if channels == 'bgr' else weight
            bias = bias + weight.sum((1, 2, 3)) * (127.5 / 256 - 0.5)
            weight = weight * (127.5 / 256)
        if last:
            weight, bias = np.tensordot(rows, weight, 1), rows @ bias
        if enters:
            seen = np.einsum('ij,ojkl->oikl', columns, weight[:, :15])
            weight = np.concatenate((seen, weight[:, 15:]), 1)
        put(part, name, weight, bias)
    state['fusion'] = torch.full_like(state['fusion'], 8.0)
    state['extras.weight'].zero_()
    state['extras.bias'].fill_(-4.0)        # eyes and ears: nothing seen until it is trained
    model.load_state_dict(state)
    return model.eval()


def add_arguments(parser):
    """Arguments of ``lifting-ros convert caffe``."""
    parser.add_argument('file', help='.caffemodel, or .npz with the same layer names')
    parser.add_argument('--out', required=True, help='weights file to write (.safetensors)')
    parser.add_argument('--order', choices=sorted(MAPS), default='cpm',
                        help="order of the 14 maps: the original's, or that of LSP")
    parser.add_argument('--channels', choices=('bgr', 'rgb'), default='bgr',
                        help='what the original was fed')
    parser.add_argument('--prior', help='pose prior for the lift; default: the shipped one')


def run(args):
    """Convert and say what came of it."""
    from ..prior import PosePrior
    from . import weights
    path = Path(args.file)
    try:
        layers = (read_npz(path) if path.suffix == '.npz'
                  else read_caffemodel(path.read_bytes()))
        model = convert(layers, args.order, args.channels)
    except (ValueError, struct.error) as error:
        raise ValueError(f'{path}: {error}') from error
    prior = PosePrior.load(args.prior)
    model.lift.set_prior(prior.mean, prior.basis, prior.psi + prior.skeleton_noise ** 2,
                         prior.weight)
    weights.save(model, args.out, {'converted_from': path.name, 'order': args.order})
    sys.stdout.write(f'{args.out}: cpm of {model.config.stages} stages, '
                     f'{sum(p.numel() for p in model.parameters()) / 1e6:.1f} million '
                     f'parameters; maps of {", ".join(NEIGHBOURS)} start from their neighbours\n')
    return 0

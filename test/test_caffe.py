"""Caffe's weights: read without Caffe, and a network that says what the original says."""

import struct

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lifting_ros.cli import main
from lifting_ros.network import caffe
from lifting_ros.network.cpm import TRUNK, CpmConfig
from lifting_ros.skeleton import INDEX, NUM_JOINTS

WIDTH, CHANNELS = 1 / 16, 6


def _plain(stages, rng):
    """Layers of the original's kind, thinner: name -> [weight, bias]."""
    layers, inside = {}, 3

    def add(name, out, into, k):
        scale = np.sqrt(2 / (into * k * k))
        layers[name] = [rng.normal(0, scale, (out, into, k, k)).astype(np.float32),
                        rng.normal(0, 0.1, out).astype(np.float32)]
        return out
    for name, out, _ in TRUNK:
        inside = add(name, round(WIDTH * out), inside, 3)
    wide = add('conv5_1_CPM', round(WIDTH * 512), inside, 1)
    add('conv5_2_CPM', 15, wide, 1)
    for t in range(2, stages + 1):
        into = 15 + inside + 1
        for i in range(1, 8):
            into = add(f'Mconv{i}_stage{t}', 15 if i == 7 else CHANNELS, into, 7 if i < 6 else 1)
    return layers


def _reference(layers, image, stages):
    """The original's stages on an image (H, W, 3) uint8 RGB, by plain convolutions."""
    def conv(x, name):
        weight, bias = (torch.from_numpy(v) for v in layers[name])
        return F.conv2d(x, weight, bias, padding=weight.shape[2] // 2)
    x = torch.from_numpy(image[..., ::-1].astype(np.float32)).permute(2, 0, 1)[None] / 256 - 0.5
    for name, _, pooled in TRUNK:
        x = F.relu(conv(x, name))
        x = F.max_pool2d(x, 2) if pooled else x
    belief = conv(F.relu(conv(x, 'conv5_1_CPM')), 'conv5_2_CPM')
    h, w = x.shape[2:]
    rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing='ij')
    far = (8 * (columns - (w - 1) / 2)) ** 2 + (8 * (rows - (h - 1) / 2)) ** 2
    middle = torch.exp(-far / (2 * (21 * 8 * w / 368) ** 2))[None, None]
    out = [belief]
    for t in range(2, stages + 1):
        y = torch.cat((belief, x, middle), 1)
        for i in range(1, 7):
            y = F.relu(conv(y, f'Mconv{i}_stage{t}'))
        belief = conv(y, f'Mconv7_stage{t}')
        out.append(belief)
    return out


def _number(value):
    out = b''
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def _field(number, payload):
    return _number(number << 3 | 2) + _number(len(payload)) + payload


def _written(layers, old=False):
    """A .caffemodel of these layers, as Caffe writes it now or as it once did."""
    out = _field(1, b'pose')
    for name, blobs in layers.items():
        body = b''.join(_field(6 if old else 7, _stored(blob, old)) for blob in blobs)
        named = _field(4 if old else 1, name.encode())
        out += _field(2 if old else 100, named + body + _number(5 << 3) + _number(4))
    return out


def _stored(blob, old):
    data = _field(5, struct.pack(f'<{blob.size}f', *blob.ravel()))
    if old:
        dims = (1,) * (4 - blob.ndim) + blob.shape
        return b''.join(_number(i + 1 << 3) + _number(n) for i, n in enumerate(dims)) + data
    return _field(7, _field(1, b''.join(_number(n) for n in blob.shape))) + data


def _config(stages, lift=False):
    return CpmConfig(stages=stages, channels=CHANNELS, size=64, width=WIDTH, lift=lift,
                     linear=True, lift_modes=2, lift_dims=2, lift_headings=4)


@pytest.fixture
def layers(rng):
    return _plain(3, rng)


@pytest.mark.parametrize('old', [False, True])
def test_read_what_was_written(layers, old):
    back = caffe.read_caffemodel(_written(layers, old))
    assert list(back) == list(layers)
    for name, (weight, bias) in layers.items():
        np.testing.assert_array_equal(back[name][0], weight)
        np.testing.assert_array_equal(back[name][1].ravel(), bias)


@pytest.mark.parametrize('data', [b'', b'no model', _field(1, b'only a name'),
                                  b'\x22\xff\xff\xff\x7f'])
def test_other_files_are_refused(data):
    with pytest.raises(ValueError):
        caffe.read_caffemodel(data)


def test_it_says_what_the_original_says(layers, rng):
    """Every stage, map by map; joints that the original lacks are the mean of their neighbours."""
    image = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    x = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
    net = caffe.convert(layers, config=_config(3))
    names = caffe.MAPS['cpm']
    with torch.no_grad():
        maps, theirs = net(x), _reference(layers, image, 3)
    for logits, other in zip(maps.logits, theirs):
        ours, other = torch.sigmoid(logits)[0], other[0].clamp(1e-4, 1 - 1e-4)
        for i, name in enumerate(names):
            # zeros beside the picture are another grey to the original: 0.5 / 256
            torch.testing.assert_close(ours[INDEX[name]], other[i], atol=0.02, rtol=0.02)
        torch.testing.assert_close(ours[NUM_JOINTS], other[14], atol=0.02, rtol=0.02)
    first = theirs[0][0]
    pelvis = (first[names.index('left_hip')] + first[names.index('right_hip')]) / 2
    torch.testing.assert_close(torch.sigmoid(maps.logits[0])[0, 0], pelvis.clamp(1e-4, 1 - 1e-4),
                               atol=0.02, rtol=0.02)


def test_orders_and_layouts(layers, tmp_path):
    """TensorFlow's layout and names give the same; LSP's order puts the maps elsewhere."""
    arrays = {}
    for name, (weight, bias) in layers.items():
        arrays[f'PoseNet/{name}/weights'] = weight.transpose(2, 3, 1, 0)
        arrays[f'PoseNet/{name}/biases'] = bias
    np.savez(tmp_path / 'net.npz', **arrays)
    one = caffe.convert(layers, config=_config(3)).state_dict()
    two = caffe.convert(caffe.read_npz(tmp_path / 'net.npz'), config=_config(3)).state_dict()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value)
    lsp = caffe.convert(layers, order='lsp', config=_config(3)).state_dict()
    last = 'later.Mconv7_stage3.bias'
    bias = layers['Mconv7_stage3'][1]
    assert lsp[last][INDEX['right_ankle']] == pytest.approx(bias[0])
    assert one[last][INDEX['head_top']] == pytest.approx(bias[0])


def test_missing_and_other_layers_are_named(layers):
    other = dict(layers)
    del other['Mconv3_stage2']
    with pytest.raises(ValueError, match='Mconv3_stage2'):
        caffe.convert(other, config=_config(3))
    other = {**layers, 'conv3_2': [layers['conv3_2'][0][:, :1], layers['conv3_2'][1]]}
    with pytest.raises(ValueError, match='conv3_2'):
        caffe.convert(other, config=_config(3))


def test_command_names_what_is_wrong(tmp_path, capsys):
    (tmp_path / 'pose.caffemodel').write_bytes(_field(1, b'empty'))
    assert main(['convert', 'caffe', str(tmp_path / 'pose.caffemodel'), '--out',
                 str(tmp_path / 'out.safetensors')]) == 1
    assert 'pose.caffemodel' in capsys.readouterr().err

"""int8: what is a convolution of the trunk is int8, and the maps stay near those in float."""

import cv2
import numpy as np
import onnx
import pytest
import torch

from lifting_ros.cli import main
from lifting_ros.network import quantise, weights
from lifting_ros.network.export import OnnxRunner, crop_side, fold_padding, to_onnx
from lifting_ros.network.trunk import Trunk

SIDE = 64


class _Features(torch.nn.Module):
    """Crops to the trunk's features at stride 4."""

    names = ('features',)

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.trunk, self.axes = Trunk(), {0: 'people'}
        self.example = torch.zeros(1, 3, SIDE, SIDE)

    def forward(self, x):
        return self.trunk(x)[0]


def _crops(n, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(-1, 1, (n, 8, 8, 3)).astype(np.float32)
    return [cv2.resize(c, (SIDE, SIDE)).transpose(2, 0, 1)[None] for c in coarse]


@pytest.fixture(scope='module')
def graph():
    return _Features().eval().requires_grad_(False)


@pytest.fixture(scope='module')
def data(graph):
    return to_onnx(graph)


def test_paddings_are_inside_the_convolutions(graph, data):
    kinds = [n.op_type for n in onnx.load_from_string(data).graph.node]
    assert 'Pad' not in kinds and 'Conv' in kinds
    x = _crops(2)
    both = np.concatenate(x)
    np.testing.assert_allclose(OnnxRunner(data, 1)(both)[0], graph(torch.from_numpy(both)).numpy(),
                               atol=1e-4, rtol=1e-4)
    assert crop_side(data) == SIDE


def test_a_padding_that_is_not_a_convolutions_stays():
    class Padded(torch.nn.Module):
        names, axes = ('y',), {0: 'people'}
        example = torch.zeros(1, 3, SIDE, SIDE)

        def forward(self, x):
            return torch.nn.functional.pad(x, (0, 1, 2, 0)) * 2
    data = to_onnx(Padded())
    assert 'Pad' in [n.op_type for n in onnx.load_from_string(fold_padding(data)).graph.node]
    assert OnnxRunner(data, 1)(_crops(1)[0])[0].shape == (1, 3, SIDE + 2, SIDE + 1)


def test_int8_says_about_the_same(data):
    crops = _crops(6)
    small = quantise.quantised(data, crops)
    assert len(small) < 0.5 * len(data)
    stored = {i.name: i.data_type for i in onnx.load_from_string(small).graph.initializer
              if len(i.dims) == 4}
    assert set(stored.values()) == {onnx.TensorProto.INT8}
    for x in _crops(3, seed=5):
        one, two = (OnnxRunner(d, 1)(x)[0] for d in (data, small))
        assert np.abs(one - two).max() > 0
        assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.97


def test_what_is_left_out_stays_float(data):
    names = quantise.convolutions(data)
    left = [n for n in names if 'fpn' in n]
    assert left
    small = onnx.load_from_string(quantise.quantised(data, _crops(2), leave=left)).graph
    kinds = {i.data_type for i in small.initializer if len(i.dims) == 4}
    assert kinds == {onnx.TensorProto.INT8, onnx.TensorProto.FLOAT}


def test_nothing_to_calibrate_on_is_refused(data):
    with pytest.raises(ValueError, match='calibrate'):
        quantise.quantised(data, [])
    with pytest.raises(ValueError, match='stages'):
        quantise.quantised(data, _crops(1), parts=('stages',))


def test_pictures_of_folders_and_zips(tmp_path):
    import zipfile
    (tmp_path / 'a').mkdir()
    for i in range(6):
        cv2.imwrite(str(tmp_path / 'a' / f'{i}.png'), np.full((4, 5, 3), i, np.uint8))
    (tmp_path / 'a' / 'no.jpg').write_bytes(b'no picture')
    with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as file:
        for path in (tmp_path / 'a').iterdir():
            file.write(path, path.name)
    for path in (tmp_path, tmp_path / 'a.zip'):
        assert [int(p[0, 0, 0]) for p in quantise.pictures(path, 100)] == list(range(6))
        assert len(list(quantise.pictures(path, 3))) == 3


def test_command_needs_pictures_for_int8(tmp_path, capsys):
    out = ['--out', str(tmp_path / 'x.onnx')]
    assert main(['export', '--int8', *out]) == 1
    assert '--calibrate' in capsys.readouterr().err
    assert main(['export', '--size', '100', *out]) == 1
    assert 'multiple of 32' in capsys.readouterr().err
    assert weights.DEFAULT.name == 'network.safetensors' and not list(tmp_path.iterdir())
